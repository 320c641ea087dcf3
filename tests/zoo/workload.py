#!/usr/bin/env python3
"""Random changes of the zoo's tables as SQL, for psql. The same seed gives the same SQL.

    workload.py --seed 1 --changes 1000 [--no-alters] > changes.sql

Begins with the statements that make the tables, unless --only-changes.
"""
import argparse
import random
import sys
from collections.abc import Iterator

from tables import PATH, SETUP, Column, Table, literal, quote, tables

# Rows of one statement at most (fewer where the whole workload is small, so that each table has its share), and statements of
# one transaction.
MOST_ROWS = 40
MOST_STATEMENTS = 4
# Fewer rows than these are added to.
FEW_ROWS = 10


class Rows:
    """What there is of one table: the numbers of its keys."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.live: list[int] = []
        self.freed: list[int] = []
        self.next = 1

    def fresh(self, rng: random.Random, count: int) -> list[int]:
        """Numbers that no row has; now and then of rows that were deleted."""
        taken = []
        for _ in range(count):
            if self.freed and rng.random() < 0.3:
                taken.append(self.freed.pop(rng.randrange(len(self.freed))))
            else:
                taken.append(self.next)
                self.next += 1
        self.live += taken
        return taken

    def pick(self, rng: random.Random, count: int) -> list[int]:
        """Different rows."""
        return rng.sample(self.live, min(count, len(self.live)))

    def take(self, rng: random.Random, count: int) -> list[int]:
        """The same, and they are gone."""
        gone = []
        for _ in range(min(count, len(self.live))):
            place = rng.randrange(len(self.live))
            self.live[place], self.live[-1] = self.live[-1], self.live[place]
            gone.append(self.live.pop())
        self.freed += gone
        return gone


def key_values(table: Table, n: int) -> list[str]:
    return [literal(text, column.type) for column, text in zip(table.key_columns, table.key(n))]


def names(columns: list[Column]) -> str:
    return ", ".join(quote(column.name) for column in columns)


def insert(rows: Rows, rng: random.Random, count: int) -> tuple[str, int]:
    """Inserts rows; those of keys that were deleted, too."""
    table = rows.table
    lines = []
    for n in rows.fresh(rng, count):
        lines.append("(" + ", ".join(key_values(table, n) + [column.value(rng) for column in table.columns]) + ")")
    return f"INSERT INTO {table.full_name} ({names(table.key_columns + table.columns)}) VALUES\n" + ",\n".join(lines) + ";", len(lines)


def matching(table: Table) -> str:
    return " AND ".join(f"z.{quote(c.name)} = v.k{i}" for i, c in enumerate(table.key_columns))


def update(rows: Rows, rng: random.Random, count: int) -> tuple[str, int]:
    """Updates rows, some of their columns."""
    table = rows.table
    picked = rows.pick(rng, count)
    changed = table.columns if rng.random() < 0.3 else rng.sample(table.columns, rng.randint(1, len(table.columns)))
    if table.name == "z_lazy" and rng.random() < 0.7:
        # What is stored out of line stays as it is, and is not sent.
        changed = [column for column in table.columns if column.name == "n"]
    lines = ["(" + ", ".join(key_values(table, n) + [column.value(rng) for column in changed]) + ")" for n in picked]
    setting = ", ".join(f"{quote(c.name)} = v.c{i}" for i, c in enumerate(changed))
    values = [f"k{i}" for i in range(len(table.key_columns))] + [f"c{i}" for i in range(len(changed))]
    return f"UPDATE {table.full_name} AS z SET {setting} FROM (VALUES\n" + ",\n".join(lines) + f") AS v({', '.join(values)}) WHERE {matching(table)};", len(lines)


def delete(rows: Rows, rng: random.Random, count: int) -> tuple[str, int]:
    """Deletes rows, but for a few."""
    table = rows.table
    count = min(count, len(rows.live) - FEW_ROWS // 2)
    lines = ["(" + ", ".join(key_values(table, n)) + ")" for n in rows.take(rng, count)]
    return f"DELETE FROM {table.full_name} WHERE ({names(table.key_columns)}) IN ({', '.join(lines)});", len(lines)


def move(rows: Rows, rng: random.Random, count: int) -> tuple[str, int]:
    """Gives rows other keys. New numbers only: a key that another row of the statement gives up may clash before it is free."""
    table = rows.table
    gone = rows.take(rng, count)
    freed, rows.freed = rows.freed, []
    lines = ["(" + ", ".join(key_values(table, old) + key_values(table, new)) + ")" for old, new in zip(gone, rows.fresh(rng, len(gone)))]
    rows.freed = freed
    width = range(len(table.key_columns))
    setting = ", ".join(f"{quote(c.name)} = v.n{i}" for i, c in enumerate(table.key_columns))
    values = ", ".join([f"k{i}" for i in width] + [f"n{i}" for i in width])
    return f"UPDATE {table.full_name} AS z SET {setting} FROM (VALUES\n" + ",\n".join(lines) + f") AS v({values}) WHERE {matching(table)};", len(lines)


def statement(rows: Rows, rng: random.Random, most: int) -> tuple[str, int]:
    """One statement on one table, and how many rows it changes."""
    count = rng.randint(1, most)
    if len(rows.live) < FEW_ROWS:
        return insert(rows, rng, count)
    what = rng.choices((insert, update, delete, move), (35, 45, 15, 5))[0]
    return what(rows, rng, count)


def setup(with_alters: bool) -> str:
    """Makes the tables."""
    return SETUP + "\n".join(table.create() for table in tables(with_alters)) + "\n"


def seeded_rows(zoo: list[Rows], rng: random.Random) -> Iterator[tuple[str, int]]:
    """A few rows in each table."""
    for rows in zoo:
        yield insert(rows, rng, 5)


def changes(zoo: list[Rows], rng: random.Random, total: int) -> Iterator[tuple[str, int]]:
    """Transactions of `total` changes, and how many changes each has."""
    weights = [rows.table.weight for rows in zoo]
    due = sorted(((share, rows, alter) for rows in zoo for share, alter in rows.table.alters), key=lambda one: (one[0], one[1].table.name))
    most = min(MOST_ROWS, max(4, total // 250))
    done = 0
    while done < total:
        while due and done >= due[0][0] * total:
            _, rows, alter = due.pop(0)
            yield alter(rows.table), 0
        parts = []
        here = 0
        for rows in rng.choices(zoo, weights, k=rng.randint(1, MOST_STATEMENTS)):
            # Small ones also go on with the same table, so that a row is changed more than once in a transaction.
            for _ in range(rng.choice((1, 1, 1, 2))):
                if done + here < total:
                    text, count = statement(rows, rng, min(most, total - done - here))
                    parts.append(text)
                    here += count
        done += here
        yield "BEGIN;\n" + "\n".join(parts) + "\nCOMMIT;", here


def begin(seed: int, with_alters: bool) -> tuple[list[Rows], random.Random]:
    """The empty tables, and where chance comes from."""
    return [Rows(table) for table in tables(with_alters)], random.Random(seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--no-alters", action="store_true")
    parser.add_argument("--only-changes", action="store_true")
    given = parser.parse_args()
    zoo, rng = begin(given.seed, not given.no_alters)
    if not given.only_changes:
        print(setup(not given.no_alters))
    print(PATH)
    for text, _ in seeded_rows(zoo, rng):
        print(text)
    for text, _ in changes(zoo, rng, given.changes):
        print(text)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(1)
