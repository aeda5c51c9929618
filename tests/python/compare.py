"""Decrypts every row with an exported keyset and compares it with the shadow, in both directions.

Prints one JSON object, {rows, wrong, missing, extra, key_ids}: `wrong` decrypts to something else
or not at all, `missing` is in the shadow only, `extra` in the table only. Examples go to standard
error. Exit code 1 on any difference. Nobody may write meanwhile.
"""

import argparse
import collections
import hashlib
import json
import multiprocessing
import os
import sys

import psycopg

import tables


def part(job):
    """One table's rows whose id falls into one of `parts` shares."""
    url, shadow_url, keyset, table, number, parts = job
    primitive = tables.read_aead(keyset)
    column = tables.TABLES[table][0]
    share = f"(hashtext(id::text) & 1048575) % {parts} = {number}"
    found = collections.Counter()
    key_ids = collections.Counter()
    examples = []

    def note(what, row_id):
        found[what] += 1
        if len(examples) < 5:
            examples.append(f"{what}: {table} {row_id}")

    with psycopg.connect(shadow_url) as db:
        query = f"select id, sha256 from \"check\".shadow where tbl = '{table}' and {share}"
        shadow = {row_id: sha256 for row_id, sha256 in rows(db, query)}
    with psycopg.connect(url) as db:
        for row_id, cell in rows(db, f"select id::text, {column} from {table} where {share}"):
            found["rows"] += 1
            key_ids[tables.key_id(cell)] += 1
            if row_id not in shadow:
                note("extra", row_id)
                continue
            expected = shadow.pop(row_id)
            try:
                sha256 = None
                if cell is not None:
                    plaintext = primitive.decrypt(cell, tables.associated_data(table, row_id))
                    sha256 = hashlib.sha256(plaintext).digest()
            except tables.TinkError as error:
                note("wrong", f"{row_id} under {tables.key_id(cell)}: {error}")
                continue
            if sha256 != expected:
                note("wrong", row_id)
    for row_id in shadow:
        note("missing", row_id)
    return found, key_ids, examples


def rows(db, query):
    with db.cursor().copy(f"copy ({query}) to stdout (format binary)") as copy:
        copy.set_types(["text", "bytea"])
        yield from copy.rows()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the PostgreSQL database")
    parser.add_argument("keyset", help="cleartext JSON")
    parser.add_argument("--shadow-url", help="another database for the shadow")
    args = parser.parse_args()
    shadow_url = args.shadow_url or args.url
    parts = os.cpu_count() or 1
    jobs = [
        (args.url, shadow_url, args.keyset, table, number, parts)
        for table in tables.TABLES
        for number in range(parts)
    ]
    found = collections.Counter()
    key_ids = collections.Counter()
    with multiprocessing.get_context("spawn").Pool(parts, tables.end_with_parent) as pool:
        for counts, ids, examples in pool.imap_unordered(part, jobs):
            found += counts
            key_ids += ids
            for example in examples:
                print(example, file=sys.stderr)
    names = ("rows", "wrong", "missing", "extra")
    print(json.dumps({**{name: found[name] for name in names}, "key_ids": dict(key_ids)}))
    if any(found[name] for name in names[1:]):
        sys.exit(1)


if __name__ == "__main__":
    main()
