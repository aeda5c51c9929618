"""Values that stood in their tables without Tink: made, and compared once they are Tink's.

`vault` fills the table vault with native cells, `raw` fills a column with AES-GCM cells that name no
key (nonce, ciphertext, tag), both with their shadow: the SHA-256 of each value. `compare` decrypts
every cell of the columns with one Tink keyset, once, and compares it with the shadow in both
directions; it prints {cells, wrong, missing, extra, key_ids} and exits with 1 on any difference.
"""

import argparse
import base64
import collections
import hashlib
import json
import os
import random
import sys

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import tables


def fill(url, table, columns, rows):
    """`columns`: name: a function of id and plaintext that gives the cell."""
    rng = random.Random(table)
    shadow = []
    with psycopg.connect(url) as db, db.cursor() as cursor:
        names = ", ".join(columns)
        with cursor.copy(f"copy {table} (id, {names}) from stdin (format binary)") as copy:
            copy.set_types(["int8"] + ["bytea"] * len(columns))
            for row_id in range(1, rows + 1):
                cells = []
                for name, seal in columns.items():
                    plaintext = b"" if row_id % 100 == 0 else rng.randbytes(rng.randint(1, 100))
                    cells.append(seal(row_id, plaintext))
                    shadow.append((f"{table}.{name}", row_id, hashlib.sha256(plaintext).digest()))
                copy.write_row((row_id, *cells))
        with cursor.copy('copy "check".shadow (place, id, sha256) from stdin (format binary)') as copy:
            copy.set_types(["text", "int8", "bytea"])
            for row in shadow:
                copy.write_row(row)


def vault(args):
    own, other = tables.read_aead(args.keyset), tables.read_aead(args.other)
    columns = {
        "sealed": lambda row_id, plaintext: own.encrypt(plaintext, b""),
        "bound": lambda row_id, plaintext: own.encrypt(plaintext, f"vault.bound:{row_id}".encode()),
        "other": lambda row_id, plaintext: other.encrypt(plaintext, b""),
    }
    fill(args.url, "vault", columns, args.rows)


def raw_cell(cipher, associated_data, row_id, plaintext):
    nonce = os.urandom(12)
    return nonce + cipher.encrypt(nonce, plaintext, associated_data.format(id=row_id).encode())


def raw(args):
    with open(args.key, encoding="ascii") as file:
        cipher = AESGCM(bytes.fromhex(file.read()))
    table, column = args.place.split(".")
    seal = lambda row_id, plaintext: raw_cell(cipher, args.associated_data, row_id, plaintext)
    fill(args.url, table, {column: seal}, args.rows)


def compare(args):
    primitive = tables.read_aead(args.keyset)
    found, key_ids = collections.Counter(), collections.Counter()

    def note(what, place, row_id, why=""):
        found[what] += 1
        if found[what] < 5:
            print(f"{what}: {place} {row_id} {why}", file=sys.stderr)

    with psycopg.connect(args.url) as db:
        for place, encoding, associated_data in (column.split("|") for column in args.columns):
            table, column = place.split(".")
            shadow = {
                row_id: sha256
                for row_id, sha256 in rows(
                    db, f"select id, sha256 from \"check\".shadow where place = '{place}'", ["int8", "bytea"]
                )
            }
            types = ["int8", "bytea" if encoding == "bytes" else "text"]
            for row_id, cell in rows(db, f"select id, {column} from {table} where {column} is not null", types):
                found["cells"] += 1
                if row_id not in shadow:
                    note("extra", place, row_id)
                    continue
                expected = shadow.pop(row_id)
                try:
                    cell = cell if encoding == "bytes" else base64.b64decode(cell, validate=True)
                    key_ids[tables.key_id(cell)] += 1
                    plaintext = primitive.decrypt(cell, associated_data.format(id=row_id).encode())
                except (tables.TinkError, ValueError) as error:
                    note("wrong", place, row_id, f"does not open: {error}")
                    continue
                if hashlib.sha256(plaintext).digest() != expected:
                    note("wrong", place, row_id, f"is another value: {plaintext[:60]!r}")
            for row_id in shadow:
                note("missing", place, row_id)
    names = ("cells", "wrong", "missing", "extra")
    print(json.dumps({**{name: found[name] for name in names}, "key_ids": key_ids}))
    if any(found[name] for name in names[1:]):
        sys.exit(1)


def rows(db, query, types):
    with db.cursor().copy(f"copy ({query}) to stdout (format binary)") as copy:
        copy.set_types(types)
        yield from copy.rows()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("vault")
    command.add_argument("url")
    command.add_argument("keyset", help="cleartext JSON")
    command.add_argument("other", help="another one")
    command.add_argument("rows", type=int)
    command.set_defaults(run=vault)
    command = commands.add_parser("raw")
    command.add_argument("url")
    command.add_argument("key", help="a file with hexadecimal digits")
    command.add_argument("place", help="table.column")
    command.add_argument("associated_data", help="with {id} for the row's id")
    command.add_argument("rows", type=int)
    command.set_defaults(run=raw)
    command = commands.add_parser("compare")
    command.add_argument("url")
    command.add_argument("keyset", help="cleartext JSON")
    command.add_argument("columns", nargs="+", help="table.column|bytes or base64|associated data")
    command.set_defaults(run=compare)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
