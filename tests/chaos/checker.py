#!/usr/bin/env python3
"""Reads what stands in ClickHouse after the end, and judges it by the workload's rule; shares nothing with the host.

    checker.py SPEC.json      prints what it found, as JSON; status 1 where the checker itself failed on planted errors

It finds lost rows, doubled ones, rows that say something else than their record (of a key: an older version), rows of
somebody else, and the same of dead letters. Each time it also plants one of each in a copy, and must see these four.
"""
import collections
import json
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field

from history import OPERATIONS, History, Record

KINDS = ("lost", "doubled", "stale", "foreign")
COLUMNS = ("id", "n", "tag", "hash")
PLACE = ("_topic", "_partition", "_offset")


@dataclass
class Found:
    """How many of each kind, and the first few of them."""

    rows: int = 0
    expected: int = 0
    count: collections.Counter = field(default_factory=collections.Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, kind: str, what: str, times: int = 1) -> None:
        """One more."""
        self.count[kind] += times
        if len(self.examples) < 12:
            self.examples.append(f"{kind}: {what}")


class Checker:
    """Of one pipeline."""

    def __init__(self, spec: dict) -> None:
        self.spec = spec
        self.history = History(spec["tag"], spec["seed"], spec["partitions"], spec["tables"])
        self.database, self.keyed, self.lineage = spec["database"], spec["keyed"], spec["lineage"]
        self.records: list[Record] = []
        # Of each record, its offset: nobody else writes to these partitions.
        self.offsets: list[int] = []
        # Which life of the topic a record is from: offsets begin again where it was made anew.
        self.lives: list[int] = []
        ends = collections.Counter()
        for n in range(spec["sent"]):
            record = self.history.record(n)
            if n in spec.get("anew", []):
                ends.clear()
            self.lives.append(sum(n >= begin for begin in spec.get("anew", [])))
            self.records.append(record)
            self.offsets.append(ends[record.partition])
            ends[record.partition] += 1
        self.n_at = {(life, record.partition, offset): record.n for life, record, offset in zip(self.lives, self.records, self.offsets)}

    def query(self, sql: str) -> str:
        """ClickHouse's answer."""
        request = urllib.request.Request(self.spec["url"] + "/?insert_deduplicate=0" * (not self.spec.get("old")), sql.encode())
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise SystemExit(f"checker: {error.read().decode(errors='replace')[:1000]}\n{sql[:500]}") from error

    def tables(self, database: str) -> list[str]:
        """That are there."""
        return self.query(f"SELECT name FROM system.tables WHERE database = '{database}' FORMAT TabSeparated").split()

    def has_row(self, record: Record, offset: int) -> bool:
        """By the transform that had to write this record."""
        transform = self.spec["transform"]
        for partition, last, other in self.spec.get("before", []):
            if record.partition == partition and offset <= last:
                transform = other
                break
        if self.is_gone(record, offset):
            return False
        return record.kind in OPERATIONS[transform] and offset >= self.spec.get("from", {}).get(str(record.partition), 0)

    def is_gone(self, record: Record, offset: int) -> bool:
        """Whether it was removed before anybody read it."""
        return any(record.partition == partition and first <= offset <= last for partition, first, last in self.spec.get("gone", []))

    # --- rows

    def read(self, database: str, table: str) -> list[tuple[str, ...]]:
        """The rows as a reader sees them."""
        columns = ", ".join(COLUMNS + (PLACE if self.lineage else ()))
        final = " FINAL WHERE _is_deleted = 0" if self.keyed else ""
        answer = self.query(f"SELECT {columns} FROM {database}.{table}{final} FORMAT TabSeparated")
        return [tuple(line.split("\t")) for line in answer.split("\n")[:-1]]

    def judge(self, rows: dict[str, list[tuple[str, ...]]]) -> Found:
        """All tables of the pipeline."""
        found = Found(rows=sum(map(len, rows.values())))
        (self.judge_keyed if self.keyed else self.judge_log)(rows, found)
        return found

    def is_foreign(self, cells: tuple[str, ...]) -> bool:
        """No record of this pipeline says that."""
        return cells[2] != self.spec["tag"] or not cells[1].isdigit() or int(cells[1]) >= len(self.records)

    def says(self, table: str, cells: tuple[str, ...], record: Record) -> bool:
        """Whether a row says what the record says, and where it came from."""
        said = (str(record.id), str(record.n), self.spec["tag"], record.hash)
        if self.lineage:
            said += (self.history.topic, str(record.partition), str(self.offsets[record.n]))
        return said == cells and table == record.table

    def judge_log(self, rows: dict, found: Found) -> None:
        """One row for each record that has one."""
        expected = {record.n for record, offset in zip(self.records, self.offsets) if self.has_row(record, offset)}
        found.expected = len(expected)
        seen = collections.Counter()
        for table, cells in ((table, cells) for table, some in rows.items() for cells in some):
            # With lineage a row is known by its record's place, without by the number in it.
            n = None if self.is_foreign(cells) else int(cells[1])
            if self.lineage and n is not None:
                n = self.n_at.get((self.lives[n], int(cells[5]), int(cells[6])))
            if n not in expected:
                found.add("foreign", f"{table} {cells}")
                continue
            seen[n] += 1
            if not self.says(table, cells, self.records[n]):
                found.add("stale", f"{table} {cells} of {self.records[n]}")
        for n, times in seen.items():
            if times > 1:
                found.add("doubled", f"{times} times {self.records[n]} at {self.offsets[n]}", times - 1)
        for n in sorted(expected - seen.keys()):
            found.add("lost", f"{self.records[n]} at {self.offsets[n]}")

    def judge_keyed(self, rows: dict, found: Found) -> None:
        """The newest row of each key, and none of a deleted one."""
        newest: dict[int, Record] = {}
        for record, offset in zip(self.records, self.offsets):
            if self.has_row(record, offset):
                newest[record.id] = record
        newest = {key: record for key, record in newest.items() if record.kind != "d"}
        found.expected = len(newest)
        seen = collections.Counter()
        for table, cells in ((table, cells) for table, some in rows.items() for cells in some):
            if self.is_foreign(cells):
                found.add("foreign", f"{table} {cells}")
                continue
            record = self.records[int(cells[1])]
            if str(record.id) != cells[0]:
                # A record has one row, under its own key.
                found.add("doubled", f"{table} {cells} beside {record}")
                continue
            seen[record.id] += 1
            if seen[record.id] > 1:
                found.add("doubled", f"{table} {cells}")
            elif newest.get(record.id) != record or not self.says(table, cells, record):
                found.add("stale", f"{table} {cells}, the newest is {newest.get(record.id)}")
        for key in sorted(newest.keys() - seen.keys()):
            found.add("lost", f"{newest[key]} at {self.offsets[newest[key].n]}")

    # --- dead letters

    def judge_letters(self, found: Found) -> tuple[int, int]:
        """One for each record that is no event; how many there are, and should be."""
        places = ((record.partition, offset) for record, offset in zip(self.records, self.offsets) if record.kind == "poison" and not self.is_gone(record, offset))
        # Once for each life of the topic.
        poison = collections.Counter(places)
        answer = ""
        if "_rowgate_dead_letters" in self.tables(self.database):
            answer = self.query(f"SELECT topic, partition, offset, count() FROM {self.database}._rowgate_dead_letters GROUP BY topic, partition, offset FORMAT TabSeparated")
        seen, there = collections.Counter(), 0
        for topic, partition, offset, times in (line.split("\t") for line in answer.split("\n")[:-1]):
            place = (int(partition), int(offset))
            there += int(times)
            if topic != self.history.topic or place not in poison:
                found.add("letters foreign", f"{place}")
                continue
            seen[place] = int(times)
        for place, times in (seen - poison).items():
            found.add("letters doubled", f"{place}", times)
        for place, times in (poison - seen).items():
            found.add("letters lost", f"{place}", times)
        return there, poison.total()

    # --- planted errors

    def older(self, record: Record) -> Record | None:
        """An earlier row of the same key, of the same life of the topic."""
        earlier = (self.records[n] for n in range(record.n - 1, -1, -1))
        return next((other for other in earlier if other.id == record.id and other.kind in "cu" and self.lives[other.n] == self.lives[record.n]), None)

    def plant(self, rows: dict[str, list[tuple[str, ...]]]) -> list[str]:
        """Plants one error of each kind in a copy; returns those that are not seen."""
        table = max(rows, key=lambda name: len(rows[name]))
        before = self.judge(rows)
        count = collections.Counter(cells[1] for cells in rows[table])
        sound = [cells for cells in rows[table] if count[cells[1]] == 1 and not self.is_foreign(cells)]
        # Of the stale one, an older record of its key is needed.
        stale, old = next(((cells, old) for cells in sound if (old := self.older(self.records[int(cells[1])]))), (None, None))
        rest = [cells for cells in sound if cells is not stale]
        if stale is None or len(rest) < 2:
            return ["too few rows to plant errors in"]
        lost, doubled = rest[0], rest[-1]
        copy = f"{self.database}_planted"
        self.query(f"DROP DATABASE IF EXISTS {copy}")
        self.query(f"CREATE DATABASE {copy}")
        self.query(f"CREATE TABLE {copy}.{table} AS {self.database}.{table}")
        answer = self.query(f"SELECT name FROM system.columns WHERE database = '{self.database}' AND table = '{table}' FORMAT TabSeparated")
        columns = answer.split()

        def insert(where: str, **instead: str) -> None:
            picked = ", ".join(f"{instead.get(name, name)} AS {name}_" for name in columns)
            source = f"SELECT {', '.join(columns)} FROM {self.database}.{table}{' FINAL' if self.keyed else ''}"
            self.query(f"INSERT INTO {copy}.{table} ({', '.join(columns)}) SELECT {picked} FROM ({source}) WHERE {where}")

        insert(f"n NOT IN ({lost[1]}, {stale[1]})" + (" AND _is_deleted = 0" if self.keyed else ""))
        # Of a table that keeps one row of each key, a double is seen under another key.
        insert(f"n = {doubled[1]}", **({"id": "id + 1000000"} if self.keyed else {}))
        insert(f"n = {stale[1]}", n=f"toInt64({old.n})" if self.keyed or self.lineage else "n", hash=f"'{old.hash}'",
               **({"_offset": f"toUInt64({self.offsets[old.n]})"} if self.keyed else {}))
        insert(f"n = {doubled[1]}", tag="'somebody_else'", **({"id": "id + 2000000"} if self.keyed else {}))
        after = self.judge(rows | {table: self.read(copy, table)})
        self.query(f"DROP DATABASE {copy}")
        return [f"{kind} ({after.count[kind] - before.count[kind]} in place of 1)" for kind in KINDS if after.count[kind] - before.count[kind] != 1]

    def check(self) -> dict:
        """All of it."""
        there = self.tables(self.database)
        rows = {table: self.read(self.database, table) if table in there else [] for table in self.history.names()}
        found = self.judge(rows)
        letters, poison = self.judge_letters(found)
        unseen = self.plant(rows) if self.spec.get("plant", True) else []
        return {"records": len(self.records), "rows": found.rows, "expected": found.expected, "letters": letters, "poison": poison,
                "count": dict(found.count), "examples": found.examples, "unseen": unseen}


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    said = Checker(spec).check()
    print(json.dumps(said))
    return 1 if said["unseen"] else 0


if __name__ == "__main__":
    sys.exit(main())
