"""Tables whose names and keys are awkward, written with Tink and read back with Tink.

`write` makes them and keeps what it wrote in TRUTH. `read` decrypts every cell with the keysets at
hand, compares it with TRUTH in both directions, and prints one JSON object: cells, wrong, missing,
extra, and the key ids of each keyset. Exit code 1 on any difference. The keysets are cleartext JSON.
"""

import argparse
import base64
import collections
import json
import random
import sys
import uuid

import psycopg
from psycopg import sql

import tables

CREATE = '''
create schema "Sales ""EU""";
create table "Sales ""EU"""."Customer ""Files"" 1" (
  "Tenant Id" uuid, "Ref ""x""" text collate "en-x-icu",
  "Secret Body" bytea, "Token" varchar(400), note text,
  primary key ("Tenant Id", "Ref ""x"""));
create table "Blob Store" ("K" bytea primary key, v text, free bytea);
create table "Sales ""EU""".events (id bigint, region text, detail bytea, primary key (id, region))
  partition by list (region);
create table "Sales ""EU"""."events EU" partition of "Sales ""EU""".events for values in ('EU');
create table "Sales ""EU""".events_us partition of "Sales ""EU""".events for values in ('US');
create table "Sales ""EU""".events_rest partition of "Sales ""EU""".events default;
'''

SCHEMA = 'Sales "EU"'
FILES = (SCHEMA, 'Customer "Files" 1')
BLOBS = ("public", "Blob Store")
EVENTS = (SCHEMA, "events")

TEXTS = [
    *["", " ", "  ", " leading", "trailing ", "a", "A", "aB", "Ab", "AB", "ab", "a b", "ba", "Z", "z", "Ä", "ä"],
    *["'", "''", '"', '""', "\\", "\\\\", "\\x41", "\\N", "`", "$1", "$reseal$", "%s", "?", ":a", "--", "; drop"],
    *["{", "}", "{}", "{{", "{Tenant Id}", "[", "]", '["a","b"]', '{"a": [1]}', '","', "null", "NULL", "true"],
    *[",", "a,b", "(a,b)", "\n", "a\nb", "\r\n", "\t", "\x01", "\x7f", "/", "files/", "x" * 2_000, "ü" * 2_000],
    *["😀", "👩‍👩‍👧", "\u00e9", "e\u0301", "ß", "ss", "İ", "ı", "\u202eabc", "\ufeff", "\u00a0", "\u2126", "\u03a9", "10", "9", "09"],
]


def standard(cell):
    return base64.b64encode(cell).decode()


def url_unpadded(cell):
    return base64.urlsafe_b64encode(cell).decode().rstrip("=")


# table: its key, and column: (keyset, associated data of a key, encoding)
COLUMNS = {
    FILES: (
        ["Tenant Id", 'Ref "x"'],
        {
            "Secret Body": ("alpha", lambda tenant, ref: f"files/{tenant}/{ref}", None),
            "Token": ("beta", lambda tenant, ref: f"Token {ref} of {tenant}", standard),
        },
    ),
    BLOBS: (
        ["K"],
        {"v": ("beta", lambda k: f"blob {k.hex()}", url_unpadded), "free": ("alpha", lambda k: "", None)},
    ),
    EVENTS: (["id", "region"], {"detail": ("alpha", lambda id, region: f"events:{region}:{id}", None)}),
}


def keys(rng):
    tenants = [uuid.UUID(int=0), *(uuid.UUID(int=rng.getrandbits(128)) for _ in range(2)), uuid.UUID(int=2**128 - 1)]
    yield from ((FILES, (tenant, text)) for tenant in tenants for text in TEXTS)
    blobs = {b"", b"\0", b"\0\0", b"\xff", b"\xff" * 300, b"\\x00", b"'"}
    while len(blobs) < 200:
        blobs.add(rng.randbytes(rng.randint(1, 40)))
    yield from ((BLOBS, (blob,)) for blob in sorted(blobs))
    regions = ["EU", "US", "", 'Nord, "Süd"', "eu"]
    yield from ((EVENTS, (number, region)) for number in range(-30, 30) for region in regions)


def named(table, key, column):
    parts = [part.hex() if isinstance(part, bytes) else str(part) for part in key]
    return json.dumps([*table, *parts, column])


def write(url, truth_file, aeads):
    rng, truth = random.Random(7), {}
    with psycopg.connect(url) as db:
        db.execute(CREATE)
        for table, key in keys(rng):
            key_columns, columns = COLUMNS[table]
            values = dict(zip(key_columns, key))
            for column, (keyset, associated_data, encode) in columns.items():
                if rng.random() < 0.1:
                    continue  # stays NULL
                plaintext = rng.choice([b"", rng.randbytes(rng.randint(1, 200)), "text ü".encode()])
                truth[named(table, key, column)] = plaintext.hex()
                cell = aeads[keyset].encrypt(plaintext, associated_data(*key).encode())
                values[column] = encode(cell) if encode else cell
            insert = sql.SQL("insert into {} ({}) values ({})").format(
                sql.Identifier(*table),
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join(sql.Placeholder() * len(values)),
            )
            db.execute(insert, list(values.values()))
    with open(truth_file, "w", encoding="utf-8") as file:
        json.dump(truth, file)
    return {"cells": len(truth)}


def read(url, truth_file, aeads):
    with open(truth_file, encoding="utf-8") as file:
        truth = json.load(file)
    found, key_ids = collections.Counter(), {keyset: collections.Counter() for keyset in aeads}

    def note(what, name, why=""):
        found[what] += 1
        if found[what] < 5:
            print(f"{what}: {name[:200]} {why}", file=sys.stderr)

    with psycopg.connect(url) as db:
        for table, (key_columns, columns) in COLUMNS.items():
            query = sql.SQL("select {} from {}").format(
                sql.SQL(", ").join(map(sql.Identifier, [*key_columns, *columns])), sql.Identifier(*table)
            )
            for row in db.execute(query):
                key, cells = row[: len(key_columns)], row[len(key_columns) :]
                for (column, (keyset, associated_data, encode)), cell in zip(columns.items(), cells):
                    name = named(table, key, column)
                    if cell is None:
                        continue
                    found["cells"] += 1
                    if name not in truth:
                        note("extra", name)
                        continue
                    expected = bytes.fromhex(truth.pop(name))
                    if encode:
                        text = cell
                        cell = base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4))
                        if encode(cell) != text:
                            note("wrong", name, "is not encoded as it was")
                            continue
                    key_ids[keyset][tables.key_id(cell)] += 1
                    try:
                        if aeads[keyset].decrypt(cell, associated_data(*key).encode()) != expected:
                            note("wrong", name, "is another value")
                    except tables.TinkError as error:
                        note("wrong", name, f"under {tables.key_id(cell)}: {error}")
    for name in truth:
        note("missing", name)
    return {**{name: found[name] for name in ("cells", "wrong", "missing", "extra")}, "key_ids": key_ids}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["write", "read"])
    parser.add_argument("url", help="of the PostgreSQL database")
    parser.add_argument("truth", help="a file")
    parser.add_argument("alpha", help="a keyset")
    parser.add_argument("beta", help="a keyset")
    args = parser.parse_args()
    aeads = {"alpha": tables.read_aead(args.alpha), "beta": tables.read_aead(args.beta)}
    done = (write if args.command == "write" else read)(args.url, args.truth, aeads)
    print(json.dumps(done))
    if any(done.get(name) for name in ("wrong", "missing", "extra")):
        sys.exit(1)


if __name__ == "__main__":
    main()
