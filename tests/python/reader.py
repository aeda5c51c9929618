"""An application that reads: pages of random rows, each row decrypted at the first try.

It loads the keyset file again when that changes, looks for that before a read and never after one,
and says `holds KEY_ID,…` on standard error each time, and `read N` now and then. At its end (SIGTERM)
it prints one JSON object: the reads, those that failed, and the reads by key id.
"""

import argparse
import collections
import hashlib
import json
import os
import random
import signal
import sys

import psycopg

import tables

PAGE = 25


class Reader:
    def __init__(self, url, path):
        self.path, self.stamp = path, None
        self.db = psycopg.connect(url, autocommit=True)
        self.ids = {
            table: [row[0] for row in self.db.execute(f"select id from {table}")] for table in tables.TABLES
        }
        self.by_key = collections.Counter()
        self.failed = 0

    def reload(self):
        stat = os.stat(self.path)
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if stamp == self.stamp:
            return
        handle = tables.read_keyset(self.path)
        self.aead, self.stamp = handle.primitive(tables.aead.Aead), stamp
        tell("holds " + ",".join(str(key.key_id) for key in handle.keyset_info().key_info))

    def page(self):
        self.reload()
        table = random.choice(list(self.ids))
        column = tables.TABLES[table][0]
        # one statement, so value and shadow are of one moment; rows may be gone by now
        query = (
            f'select t.id, t.{column}, s.sha256 from {table} t left join "check".shadow s '
            f"on s.tbl = '{table}' and s.id = t.id::text where t.id = any(%s)"
        )
        rows = self.db.execute(query, (random.choices(self.ids[table], k=PAGE),), binary=True)
        for row_id, cell, sha256 in rows:
            self.by_key[tables.key_id(cell)] += 1
            try:
                plaintext = self.aead.decrypt(cell, tables.associated_data(table, row_id))
                if hashlib.sha256(plaintext).digest() == sha256:
                    continue
                why = "is another value"
            except tables.TinkError as error:
                why = str(error)
            self.failed += 1
            if self.failed < 5:
                tell(f"failed: {table} {row_id} under {tables.key_id(cell)}: {why}")

    def run(self, until):
        told = 0
        while not until():
            self.page()
            reads = sum(self.by_key.values())
            if reads >= told + 1_000:
                told = reads
                tell(f"read {told}")


def tell(line):
    print(line, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the PostgreSQL database, with the shadow in it")
    parser.add_argument("keyset", help="cleartext JSON")
    args = parser.parse_args()
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    reader = Reader(args.url, args.keyset)
    reader.run(lambda: stopped)
    print(json.dumps({"reads": sum(reader.by_key.values()), "failed": reader.failed, "by_key": reader.by_key}))


if __name__ == "__main__":
    main()
