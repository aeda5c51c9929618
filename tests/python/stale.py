"""An application of before the adoption: inserts values that no Tink key encrypted.

Plaintexts, or raw AES-GCM cells with --raw. Ends when a fence refuses one (SQLSTATE RS001, or RS002 for what is no cell); with
--on it goes on until SIGTERM. Says `inserting` on standard error when the first one was answered, and
prints one JSON object at its end: inserted, refused.
"""

import argparse
import collections
import hashlib
import itertools
import json
import signal
import sys
import time

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adopted import raw_cell

FENCED = ("RS001", "RS002")
INSERT = """
with inserted as (insert into {table} (id, {column}) values (%(id)s, %(value)s) returning id)
insert into "check".shadow (place, id, sha256) select %(place)s, id, %(sha256)s from inserted
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("places", nargs="+", metavar="TABLE.COLUMN", help="a bytes column, or text with :text behind it")
    parser.add_argument("--first", type=int, required=True, metavar="ID")
    parser.add_argument("--raw", nargs=2, metavar=("KEY", "ASSOCIATED_DATA"), help="a file of hexadecimal digits")
    parser.add_argument("--on", action="store_true")
    args = parser.parse_args()
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    count = collections.Counter()
    if args.raw:
        with open(args.raw[0], encoding="ascii") as file:
            cipher = AESGCM(bytes.fromhex(file.read()))
    with psycopg.connect(args.url, autocommit=True) as db:
        for row_id in itertools.count(args.first):
            place, _, text = args.places[row_id % len(args.places)].partition(":")
            table, column = place.split(".")
            plaintext = f"said by a stale application {row_id}".encode()
            value = plaintext.decode() if text else plaintext
            if args.raw:
                value = raw_cell(cipher, args.raw[1], row_id, plaintext)
            values = {"id": row_id, "value": value, "place": place, "sha256": hashlib.sha256(plaintext).digest()}
            try:
                db.execute(INSERT.format(table=table, column=column), values)
                count["inserted"] += 1
            except psycopg.Error as error:
                if error.sqlstate not in FENCED:
                    raise
                count["refused"] += 1
            if sum(count.values()) == 1:
                print("inserting", file=sys.stderr, flush=True)
            if told or (count["refused"] and not args.on):
                break
            time.sleep(0.005)  # its users think
    print(json.dumps({name: count[name] for name in ("inserted", "refused")}))


if __name__ == "__main__":
    main()
