"""An application: inserts, updates and deletes in the reference tables at full speed.

Each change and its shadow are one statement, so one transaction. Reloads the keyset file when it
changes, unless --stale. Says `writing` on standard error when it begins, and at its end (SIGTERM
or --seconds) prints one JSON object: `refused` are writes that a fence refused (SQLSTATE RS001),
`unreadable` are cells that the keyset at hand did not decrypt to what the shadow says.
"""

import argparse
import collections
import hashlib
import json
import os
import random
import signal
import sys
import time
import uuid

import psycopg

import tables

FENCED = ("RS001", "RS002")
SAMPLE = 20_000


class Keyset:
    def __init__(self, path, stale):
        self.path, self.stale, self.stamp = path, stale, None
        self.reload(first=True)

    def reload(self, first=False):
        """Takes a changed file; one that is half written stays for the next time."""
        if self.stale and not first:
            return
        try:
            stat = os.stat(self.path)
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if stamp != self.stamp:
                self.aead, self.stamp = tables.read_aead(self.path), stamp
        except Exception:
            if first:
                raise


class Writer:
    def __init__(self, args):
        self.url = args.url
        self.rng = random.Random(args.seed)
        self.keyset = Keyset(args.keyset, args.stale)
        self.count = collections.Counter()
        self.db = psycopg.connect(self.url, autocommit=True)
        self.live, self.gone, self.next = {}, collections.defaultdict(list), {}
        for table, (_, kind) in tables.TABLES.items():
            query = f"select id from {table} order by random() limit {SAMPLE}"
            self.live[table] = [row[0] for row in self.db.execute(query)]
            if kind == "bigint":
                query = f"select coalesce(max(id), 0) from {table}"
                # apart from other writers' numbers
                self.next[table] = self.db.execute(query).fetchone()[0] + args.writer * 10_000_000

    def new_id(self, table):
        # An old place too: an insert behind the worker that has been there.
        if self.gone[table] and self.rng.random() < 0.5:
            return self.gone[table].pop()
        if table not in self.next:
            return uuid.UUID(int=self.rng.getrandbits(128), version=4)
        self.next[table] += 1
        return self.next[table]

    def step(self):
        table = self.rng.choice(list(tables.TABLES))
        live = self.live[table]
        kind = self.rng.choices(["insert", "update", "delete"], [2, 6, 1])[0]
        if not live:
            kind = "insert"
        if kind == "insert":
            row_id = self.new_id(table)
            if self.write(kind, table, row_id):
                live.append(row_id)
            return
        at = self.rng.randrange(len(live))
        row_id = live[at]
        if kind == "update":
            self.read(table, row_id)
            self.write(kind, table, row_id)
        elif self.write(kind, table, row_id):
            live[at] = live[-1]
            live.pop()
            self.gone[table].append(row_id)

    def read(self, table, row_id):
        column = tables.TABLES[table][0]
        query = (
            f'select {column}, (select sha256 from "check".shadow where tbl = %s and id = %s) '
            f"from {table} where id = %s"
        )
        for last in (False, True):
            row = self.db.execute(query, (table, str(row_id), row_id), binary=True).fetchone()
            if row is None or row[0] is None:
                return
            try:
                plaintext = self.keyset.aead.decrypt(row[0], tables.associated_data(table, row_id))
                if hashlib.sha256(plaintext).digest() == row[1]:
                    return
            except tables.TinkError:
                pass
            if last:
                self.count["unreadable"] += 1
            self.keyset.reload()

    def write(self, kind, table, row_id):
        """Whether it wrote. A refused write is tried once more with a reloaded keyset."""
        for _ in range(2):
            try:
                return self.write_once(kind, table, row_id)
            except psycopg.Error as error:
                if error.sqlstate not in FENCED:
                    raise
                self.count["refused"] += 1
                if self.keyset.stale:
                    return False
                self.keyset.reload()
        return False

    def write_once(self, kind, table, row_id):
        column = tables.TABLES[table][0]
        values = {"table": table, "id": row_id, "text": str(row_id)}
        shadow = (
            'insert into "check".shadow (tbl, id, sha256) select %(table)s, %(text)s, %(sha256)s '
            "from changed on conflict (tbl, id) do update set sha256 = excluded.sha256"
        )
        if kind != "delete":
            plaintext = self.rng.randbytes(self.rng.randint(64, 1024))
            values["sha256"] = hashlib.sha256(plaintext).digest()
            values["cell"] = self.keyset.aead.encrypt(plaintext, tables.associated_data(table, row_id))
        if kind == "insert":
            change = f"insert into {table} (id, {column}) values (%(id)s, %(cell)b) on conflict do nothing"
        elif kind == "update":
            change = f"update {table} set {column} = %(cell)b where id = %(id)s"
        else:
            change = f"delete from {table} where id = %(id)s"
            shadow = 'delete from "check".shadow s using changed where s.tbl = %(table)s and s.id = %(text)s'
        done = self.db.execute(f"with changed as ({change} returning id) {shadow}", values).rowcount == 1
        self.count[kind + "s"] += done
        return done

    def run(self, until):
        while not until():
            self.keyset.reload()
            try:
                self.step()
            except psycopg.OperationalError as error:
                # 40001 and 40P01 rolled back; anything else may be a server that restarts
                if not self.db.closed and error.sqlstate in ("40001", "40P01"):
                    continue
                self.connect_again(until)

    def connect_again(self, until):
        self.count["reconnects"] += 1
        self.db.close()
        while not until():
            try:
                self.db = psycopg.connect(self.url, autocommit=True)
                return
            except psycopg.OperationalError:
                time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the PostgreSQL database, with the shadow in it")
    parser.add_argument("keyset", help="cleartext JSON")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--stale", action="store_true", help="never reload the keyset")
    parser.add_argument("--writer", type=int, default=0, help="its number, among several at once")
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    writer = Writer(args)
    end = time.monotonic() + args.seconds
    print("writing", file=sys.stderr, flush=True)
    writer.run(lambda: told or time.monotonic() >= end)
    names = ("inserts", "updates", "deletes", "refused", "unreadable", "reconnects")
    print(json.dumps({name: writer.count[name] for name in names}))


if __name__ == "__main__":
    main()
