"""An application without a key: copies values between rows and tables, whatever stands there.

Each copy and its shadow are one statement. --insert and --update name two columns, from and to;
--misplace does as well, and copies what is bound to its row into another one, where nothing opens it:
the first five before it says `copying` on standard error, later ones now and then, each with a row in
"check".misplaced and none in the shadow. At its end (SIGTERM) it prints one JSON object: the copies of
each kind, and those that a fence refused (SQLSTATE RS001, RS002).
"""

import argparse
import collections
import json
import random
import signal
import sys
import time

import psycopg

FENCED = ("RS001", "RS002")
MISPLACED_FIRST, MISPLACED_MAX = 5, 12

SOURCE = """
with source as (
  select t.{from_column} as value, s.sha256 from {from_table} t
  left join "check".shadow s on s.place = %(from)s and s.id = t.id
  where t.id = %(id)s and t.{from_column} is not null
    and not exists (select from "check".misplaced where place = %(from)s and id = t.id)
),
"""
KEPT = """
insert into "check".shadow (place, id, sha256)
select %(to)s, copied.id, source.sha256 from source, copied
on conflict (place, id) do update set sha256 = excluded.sha256
"""
INSERT = SOURCE + "copied as (insert into {to_table} (id, {to_column}) select %(to_id)s, value from source returning id)" + KEPT
UPDATE = (
    SOURCE
    + """copied as (
  update {to_table} t set {to_column} = value from source where t.id = %(to_id)s
  and not exists (select from "check".misplaced where place = %(to)s and id = t.id) returning t.id)
"""
    + KEPT
)
MISPLACE = (
    SOURCE
    + """copied as (
  update {to_table} t set {to_column} = value from source where t.id = %(to_id)s and %(to_id)s <> %(id)s
  and substring(value from 1 for 5) <> %(not_under)s and t.{to_column} is not null returning t.id, value),
kept as (insert into "check".misplaced (place, id, sha256) select %(to)s, id, sha256(value) from copied returning id)
delete from "check".shadow using kept where place = %(to)s and shadow.id = kept.id
"""
)


class Copier:
    def __init__(self, args):
        self.db = psycopg.connect(args.url, autocommit=True)
        self.rng = random.Random(args.seed)
        self.count = collections.Counter()
        self.not_under = b"\x01" + args.not_under.to_bytes(4, "big")
        self.kinds = [("insert", *pair) for pair in args.insert] + [("update", *pair) for pair in args.update]
        self.misplace = args.misplace
        places = {place for pair in args.insert + args.update + args.misplace for place in pair}
        self.ids = {
            table: [row[0] for row in self.db.execute(f"select id from {table} order by id")]
            for table in {place.split(".")[0] for place in places}
        }
        self.next = 10_000_000

    def copy(self, kind, source, target):
        (from_table, from_column), (to_table, to_column) = source.split("."), target.split(".")
        statement = {"insert": INSERT, "update": UPDATE, "misplace": MISPLACE}[kind].format(
            from_table=from_table, from_column=from_column, to_table=to_table, to_column=to_column
        )
        values = {
            "from": source,
            "to": target,
            "id": self.rng.choice(self.ids[from_table]),
            "to_id": self.rng.choice(self.ids[to_table]),
            "not_under": self.not_under,
        }
        if kind == "insert":
            self.next += 1
            values["to_id"] = self.next
        try:
            done = self.db.execute(statement, values).rowcount == 1
        except psycopg.Error as error:
            if error.sqlstate not in FENCED:
                raise
            self.count["refused"] += 1
            return
        self.count[kind] += done
        if done and kind == "insert":
            self.ids[to_table].append(values["to_id"])

    def run(self, until):
        while self.misplace and self.count["misplace"] < MISPLACED_FIRST:
            self.copy("misplace", *self.rng.choice(self.misplace))
        print("copying", file=sys.stderr, flush=True)
        while not until():
            if self.misplace and self.count["misplace"] < MISPLACED_MAX and self.rng.random() < 0.01:
                self.copy("misplace", *self.rng.choice(self.misplace))
            self.copy(*self.rng.choice(self.kinds))
            time.sleep(0.002)  # its users think


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    for kind in ("insert", "update", "misplace"):
        parser.add_argument(f"--{kind}", nargs=2, action="append", default=[], metavar="TABLE.COLUMN")
    parser.add_argument("--not-under", type=int, required=True, metavar="KEY_ID", help="never misplaced: its cells")
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    copier = Copier(args)
    copier.run(lambda: told)
    print(json.dumps({name: copier.count[name] for name in ("insert", "update", "misplace", "refused")}))


if __name__ == "__main__":
    main()
