"""Fills the reference tables with cells that Python's Tink made, and the shadow beside them.

The plaintexts are 64 to 1024 random bytes and, like the uuids, follow from --seed. Prints one JSON
object: the rows of each table and the seconds it took.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import time
import uuid

import psycopg

import tables

CHUNK = 20_000


def load(job):
    url, shadow_url, keyset, table, first, rows, seed = job
    rng = random.Random(f"{seed} {table} {first}")
    primitive = tables.read_aead(keyset)
    column, kind = tables.TABLES[table]
    shadow = []
    with psycopg.connect(url) as db, db.cursor() as cursor:
        with cursor.copy(f"copy {table} (id, {column}) from stdin (format binary)") as copy:
            copy.set_types(["uuid" if kind == "uuid" else "int8", "bytea"])
            for number in range(first, first + rows):
                row_id = uuid.UUID(int=rng.getrandbits(128), version=4) if kind == "uuid" else number
                plaintext = rng.randbytes(rng.randint(64, 1024))
                cell = primitive.encrypt(plaintext, tables.associated_data(table, row_id))
                copy.write_row((row_id, cell))
                shadow.append((table, str(row_id), hashlib.sha256(plaintext).digest()))
        if shadow_url == url:
            write_shadow(cursor, shadow)
    if shadow_url != url:
        with psycopg.connect(shadow_url) as db, db.cursor() as cursor:
            write_shadow(cursor, shadow)
    return rows


def write_shadow(cursor, rows):
    with cursor.copy('copy "check".shadow (tbl, id, sha256) from stdin (format binary)') as copy:
        copy.set_types(["text", "text", "bytea"])
        for row in rows:
            copy.write_row(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the PostgreSQL database")
    parser.add_argument("keyset", help="cleartext JSON")
    parser.add_argument("--user-profiles", type=int, default=0, metavar="ROWS")
    parser.add_argument("--messages", type=int, default=0, metavar="ROWS")
    parser.add_argument("--sync-queue", type=int, default=0, metavar="ROWS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shadow-url", help="another database for the shadow")
    parser.add_argument("--create-tables", action="store_true", help="without Reseal's migration")
    args = parser.parse_args()
    started = time.monotonic()
    shadow_url = args.shadow_url or args.url
    counts = {name: getattr(args, name) for name in tables.TABLES}
    jobs = []
    with psycopg.connect(shadow_url) as db:
        db.execute(tables.CREATE_SHADOW)
    with psycopg.connect(args.url) as db:
        if args.create_tables:
            db.execute(tables.CREATE_TABLES)
        for name, count in counts.items():
            first = 1
            if tables.TABLES[name][1] == "bigint":
                first = db.execute(f"select coalesce(max(id), 0) + 1 from {name}").fetchone()[0]
            for at in range(first, first + count, CHUNK):
                rows = min(CHUNK, first + count - at)
                jobs.append((args.url, shadow_url, args.keyset, name, at, rows, args.seed))
    # spawned, not forked: Tink's C++ and libpq keep threads and locks
    pool = multiprocessing.get_context("spawn").Pool(
        min(os.cpu_count() or 1, max(len(jobs), 1)), tables.end_with_parent
    )
    with pool:
        pool.map(load, jobs, chunksize=1)
    with psycopg.connect(shadow_url) as db:
        # after the load, because an index that is kept up costs more than one that is made
        db.execute('create unique index if not exists shadow_key on "check".shadow (tbl, id)')
    with psycopg.connect(args.url, autocommit=True) as db:
        for name, (_, kind) in tables.TABLES.items():
            if counts[name] and kind == "bigint":
                db.execute(
                    "select setval(sequence, (select max(id) from " + name + ")) "
                    "from pg_get_serial_sequence(%s, 'id') sequence where sequence is not null",
                    (name,),
                )
            if counts[name]:
                db.execute(f"analyze {name}")
    print(json.dumps({**counts, "seconds": round(time.monotonic() - started, 1)}))


if __name__ == "__main__":
    main()
