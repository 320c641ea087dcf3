#!/usr/bin/env python3
"""Compares what stands in ClickHouse with what stands in PostgreSQL: row by row, cell by cell.

    eval "$(tests/stack/stack env)"; export PG_URL PSQL CLICKHOUSE_URL CLICKHOUSE_USER CLICKHOUSE_PASSWORD REGISTRY_URL
    checker.py --combination precise_adaptive_bytes_schema [--database NAME] [--no-alters]

It has nothing of the host's. A row that differs is a difference, unless a record of its key is in the dead letters; a cell that
differs because the source loses something is as `expect.py` says that it must be, and counted. Status 1 with any difference.
"""
import argparse
import io
import json
import os
import re
import struct
import sys
import urllib.request
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field

import matrix
from expect import Meant, expected, same, same_text, select
from matrix import Combination
from servers import ClickHouse, Postgres
from tables import Table, quote, tables

Row = list[bytes | None]
DEAD_LETTERS = "_rowgate_dead_letters"
# Differences that are shown of one column.
SHOWN = 3


@dataclass
class Found:
    """What comparing found."""

    tables: int = 0
    rows: int = 0
    cells: int = 0
    # By table and column.
    differences: dict[str, list[str]] = field(default_factory=dict)
    # Cells whose loss at the source has a name, rows and columns that are left out for a reason that has one.
    policies: Counter = field(default_factory=Counter)
    # Rows that are not as in PostgreSQL, for a record of theirs is in the dead letters: by stage and reason.
    letters: Counter = field(default_factory=Counter)
    # All that is in the dead letters, by stage and reason.
    all_letters: Counter = field(default_factory=Counter)

    def differ(self, where: str, what: str) -> None:
        """Keeps a difference."""
        self.differences.setdefault(where, []).append(what)

    @property
    def count(self) -> int:
        """How many differences there are."""
        return sum(map(len, self.differences.values()))

    def show(self, name: str) -> str:
        """For people."""
        lines = [f"{name}: {self.tables} tables, {self.rows} rows and {self.cells} cells compared, {self.count} differences"]
        lines += [f"    policy {policy}: {count}" for policy, count in sorted(self.policies.items())]
        lines += [f"    rows in the dead letters, {reason}: {count}" for reason, count in self.letters.most_common()]
        lines += [f"    records in the dead letters: {sum(self.all_letters.values())}"] if self.all_letters else []
        for where, texts in self.differences.items():
            lines += [f"  DIFFERENCE {where} {text}" for text in texts[:SHOWN]]
            lines += [f"  DIFFERENCE {where}: {len(texts) - SHOWN} more"] if len(texts) > SHOWN else []
        return "\n".join(lines)


# --- PostgreSQL

def final_tables(with_alters: bool) -> list[Table]:
    """The tables as they are after all that happens to them."""
    final = tables(with_alters)
    for table in final:
        for _, alter in table.alters:
            alter(table)
    return final


def read_source(postgres: Postgres, with_alters: bool) -> dict[str, list[Row]]:
    """The rows of all tables, with the columns of the key first."""
    source = {}
    for table in final_tables(with_alters):
        columns = ", ".join(select(column.kind, quote(column.name)) for column in table.key_columns + table.columns)
        source[table.full_name] = postgres.rows(f"SELECT {columns} FROM {table.full_name}")
    return source


# --- the dead letters

class Avro:
    """Reads what Confluent's framing holds, as far as keys need it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.schemas: dict[int, object] = {}

    def read(self, data: bytes) -> object:
        number = struct.unpack(">I", data[1:5])[0]
        if number not in self.schemas:
            with urllib.request.urlopen(f"{self.url}/schemas/ids/{number}", timeout=60) as answer:
                self.schemas[number] = json.loads(json.load(answer)["schema"])
        return self.value(self.schemas[number], io.BytesIO(data[5:]))

    def long(self, stream: io.BytesIO) -> int:
        number = shift = 0
        while True:
            byte = stream.read(1)[0]
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number >> 1 ^ -(number & 1)

    def value(self, schema: object, stream: io.BytesIO) -> object:
        if isinstance(schema, list):
            return self.value(schema[self.long(stream)], stream)
        kind = schema["type"] if isinstance(schema, dict) else schema
        match kind:
            case "record":
                return {one["name"]: self.value(one["type"], stream) for one in schema["fields"]}
            case "int" | "long":
                return self.long(stream)
            case "string":
                return stream.read(self.long(stream)).decode()
            case "bytes":
                return b64encode(stream.read(self.long(stream))).decode()
            case "boolean":
                return stream.read(1) == b"\x01"
            case "float":
                return struct.unpack("<f", stream.read(4))[0]
            case "double":
                return struct.unpack("<d", stream.read(8))[0]
            case "null":
                return None
        return self.value(kind, stream)


# What may be in the dead letters: by table, what the reason says. Anything else is a difference, whether its row is equal or not.
OUT_OF_RANGE = "outside the column's range"
EXPECTED_LETTERS = {
    "z_far": f"{OUT_OF_RANGE}|an infinite date or time",
    "z_lazy": "unchanged TOAST",
}


def plain_reason(stage: str, reason: str) -> str:
    """A reason without the values and places in it, so that alike ones are counted together."""
    reason = re.sub(r"`[^`]*`|'UTC'", "…", reason)
    return f"{stage}: {re.sub(r'-?[0-9]+', 'N', reason)[:140]}"


@dataclass
class Letters:
    """The dead letters of one topic: the last of each key, with its offset and reason."""

    keys: list[tuple[dict, int, str]] = field(default_factory=list)
    by_text: dict[tuple[str, ...], tuple[int, str]] = field(default_factory=dict)
    used: int = 0


def read_letters(clickhouse: ClickHouse, database: str, registry_url: str, found: Found) -> dict[str, Letters]:
    """All dead letters by topic."""
    by_topic: dict[str, Letters] = {}
    if clickhouse.query(f"EXISTS TABLE {database}.{DEAD_LETTERS}").strip() != b"1":
        return by_topic
    avro = Avro(registry_url)
    for topic, offset, key, stage, reason in clickhouse.rows(f"SELECT topic, offset, key, stage, reason FROM {database}.{DEAD_LETTERS} ORDER BY topic, partition, offset"):
        letters = by_topic.setdefault(topic.decode(), Letters())
        why = plain_reason(stage.decode(), reason.decode(errors="replace"))
        found.all_letters[why] += 1
        if key is None:
            found.differ(f"{topic.decode()}: a dead letter", f"without a key at offset {int(offset)}: {why}")
            continue
        value = avro.read(key) if key[:1] == b"\0" else json.loads(key)
        value = value["payload"] if isinstance(value, dict) and value.keys() == {"schema", "payload"} else value
        letters.keys.append((value, int(offset), why))
        letters.by_text[tuple(map(str, value.values()))] = int(offset), why
    return by_topic


def letter_of(letters: Letters | None, table: Table, row: Row, how: Combination) -> tuple[int, str] | None:
    """The last dead letter with the key of this row: its offset, and why it is one."""
    if letters is None:
        return None
    # A key's JSON has the form of a schemaless record, whether it has a schema or not.
    plain = Combination(how.decimal, how.time, how.binary, "plain")
    key = [expected(column.kind, cell.decode(), plain)[0] for column, cell in zip(table.key_columns, row)]
    if not any(isinstance(value, Meant) for value in key):
        return letters.by_text.get(tuple(map(str, key)))
    for value, offset, why in reversed(letters.keys):
        if all(same_text(str(a), b) for a, b in zip(value.values(), key)):
            return offset, why
    return None


# --- ClickHouse

def avro_name(name: str) -> str:
    """What `field.name.adjustment.mode=avro` makes of a name."""
    name = re.sub(r"[^A-Za-z0-9_]", lambda m: "_" * (len(m[0].encode("utf-16-le")) // 2), name)
    return name if re.match(r"[A-Za-z_]", name) else "_" + name


def topic_name(text: str) -> str:
    """What Debezium makes of a topic's name; what Java has two characters for becomes two underscores."""
    return re.sub(r"[^A-Za-z0-9._-]", lambda m: "_" * (len(m[0].encode("utf-16-le")) // 2), text)


def column_in(columns: dict[str, str], name: str) -> str | None:
    """What a column is called there: as at the source, or as the transform or Avro must call it."""
    for candidate in (f"source_{name}", name, f"source_{avro_name(name)}", avro_name(name)):
        if candidate in columns:
            return candidate
    return None


def ident(name: str) -> str:
    """An identifier of ClickHouse."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def text_literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def cell_text(name: str, ch_type: str) -> str:
    """The expression whose text `expect.same` reads."""
    if ch_type.startswith("Array("):
        return f"toJSONString(arrayMap(x -> toString(x), {ident(name)}))"
    return f"toString({ident(name)})"


@dataclass
class Copy:
    """What ClickHouse has of a table: its columns with their types, and how its rows of now are read."""

    columns: dict[str, str]
    source: str
    # The table with the offset of each row.
    table: str = ""


def find_copy(clickhouse: ClickHouse, database: str, table: Table) -> Copy | None:
    """The view of the rows of now; where there is only a log of changes, the last change of each key."""
    def columns(name: str) -> dict[str, str]:
        rows = clickhouse.rows(f"SELECT name, type FROM system.columns WHERE database = {text_literal(database)} AND table = {text_literal(name)}")
        return {a.decode(): b.decode() for a, b in rows}
    view = f"{table.name}_current"
    if there := columns(view):
        return Copy(there, f"{ident(database)}.{ident(view)}", f"{ident(database)}.{ident(table.name)}")
    if there := columns(table.name):
        key = ", ".join(ident(column_in(there, column.name)) for column in table.key_columns)
        log = f"{ident(database)}.{ident(table.name)}"
        return Copy(there, f"(SELECT * FROM {log} ORDER BY _offset DESC, _seq DESC LIMIT 1 BY {key}) WHERE op != 'd'", log)
    return None


# --- comparing

class Comparison:
    """Of one table."""

    def __init__(self, table: Table, how: Combination, copy: Copy, letters: Letters | None, found: Found) -> None:
        self.table, self.how, self.copy, self.letters, self.found = table, how, copy, letters, found
        self.columns = [(column, column_in(copy.columns, column.name)) for column in table.key_columns + table.columns]
        # What was written last of each key.
        self.offsets: dict[tuple, int] = {}
        self.there = [(column, name) for column, name in self.columns if name]

    def differ(self, row: Row, wrong: dict[str, str]) -> None:
        """Counts a row that is not as it should be as a dead letter, where one came after what was written last of the key; or
        as differences, by column."""
        letter = letter_of(self.letters, self.table, row, self.how)
        if letter and letter[0] > self.written(row):
            self.found.letters[letter[1]] += 1
            return
        key = ", ".join(cell.decode(errors="replace") for cell in row[: len(self.table.key_columns)])
        for column, what in wrong.items():
            self.found.differ(f"{self.table.name}{column}", f"({key[:60]}) {what}")

    def written(self, row: Row) -> int:
        """The offset of what was written last of a row's key; -1 where nothing was."""
        key = [expected(column.kind, cell.decode(), self.how)[0] for column, cell in zip(self.table.key_columns, row)]
        kinds = [self.copy.columns[name] for _, name in self.there[: len(key)]]
        direct = self.offsets.get(tuple(row[: len(key)]))
        if direct is not None:
            return direct
        found = [offset for there, offset in self.offsets.items() if all(same(a, kind, b, self.how) for a, kind, b in zip(there, kinds, key))]
        return max(found, default=-1)

    def missing_columns(self, source: list[Row]) -> None:
        """Those that the source does not send are a policy, as is an added one that no row has a value in; others a difference."""
        for place, (column, name) in enumerate(self.columns):
            if column.kind == "unsent":
                self.found.policies["type_is_not_sent"] += 1
                if name:
                    self.found.differ(f"{self.table.name}.{column.name}", "is there, which the source does not send: say what it must be")
            elif not name and self.table.alters and all(row[place] is None for row in source):
                self.found.policies["added_column_without_values"] += 1
            elif not name:
                self.found.differ(f"{self.table.name}.{column.name}", "there is no such column")

    def read(self, clickhouse: ClickHouse) -> dict[tuple, Row]:
        """The rows of now by the texts of their keys."""
        width = len(self.table.key_columns)
        rows = clickhouse.rows(f"SELECT {', '.join(cell_text(name, self.copy.columns[name]) for _, name in self.there)} FROM {self.copy.source}")
        if self.letters:
            keys = ", ".join(cell_text(name, self.copy.columns[name]) for _, name in self.there[:width])
            last = clickhouse.rows(f"SELECT {keys}, max(_offset) FROM {self.copy.table} GROUP BY ALL")
            self.offsets = {tuple(row[:width]): int(row[width]) for row in last}
        by_key = {tuple(row[:width]): row for row in rows}
        if len(by_key) != len(rows):
            self.found.differ(self.table.name, f"{len(rows) - len(by_key)} keys are there twice")
        return by_key

    def find(self, row: Row, rows: dict[tuple, Row]) -> Row | None:
        """The row with this one's key, which is taken away."""
        direct = rows.pop(tuple(row[: len(self.table.key_columns)]), None)
        if direct is not None:
            return direct
        width = len(self.table.key_columns)
        key = [expected(column.kind, cell.decode(), self.how)[0] for column, cell in zip(self.table.key_columns, row)]
        kinds = [self.copy.columns[name] for _, name in self.there[:width]]
        for there in rows:
            if all(same(a, kind, b, self.how) for a, kind, b in zip(there, kinds, key)):
                return rows.pop(there)
        return None

    def compare(self, source: list[Row], rows: dict[tuple, Row]) -> None:
        """Each row of the source with the one there, and what is there beyond."""
        self.found.tables += 1
        self.missing_columns(source)
        places = {column.name: place for place, (column, _) in enumerate(self.columns)}
        for row in source:
            self.found.rows += 1
            there = self.find(row, rows)
            if there is None:
                self.differ(row, {"": "is not there"})
                continue
            wrong = {f".{column.name}": text for (column, name), got in zip(self.there, there)
                     if (text := self.cell(column, self.copy.columns[name], row[places[column.name]], got))}
            if wrong:
                self.differ(row, wrong)
        for key in rows:
            # Its delete is in the dead letters, where as many keys are that no row has.
            if self.letters and self.letters.used < len(self.letters.keys):
                self.letters.used += 1
                self.found.letters["a delete is there, and the row still is"] += 1
            else:
                self.differ(list(key), {"": "is there, and not in PostgreSQL"})

    def cell(self, column, ch_type: str, cell: bytes | None, got: bytes | None) -> str | None:
        """What is wrong with a cell."""
        self.found.cells += 1
        value, lost = expected(column.kind, None if cell is None else cell.decode(), self.how)
        if same(got, ch_type, value, self.how):
            if lost:
                self.found.policies[lost] += 1
            return None
        if got is None and self.table.name == "z_lazy" and column.kind == "bytea" and self.how.binary == "base64":
            self.found.policies["unchanged_toast_of_bytea_is_null"] += 1
            return None
        cell = None if cell is None else cell[:70].decode(errors="replace")
        return f"{column.type} {cell!r} is {None if got is None else got[:90]!r} in {ch_type}, not {str(value)[:90]}"


def check(clickhouse: ClickHouse, source: dict[str, list[Row]], how: Combination, database: str, prefix: str, with_alters: bool, registry_url: str) -> Found:
    """Compares all tables."""
    found = Found()
    letters = read_letters(clickhouse, database, registry_url, found)
    for table in final_tables(with_alters):
        topic = topic_name(f"{prefix}.{table.schema}.{table.name}")
        for value, offset, why in letters.get(topic, Letters()).keys:
            if not re.search(EXPECTED_LETTERS.get(table.name, "(?!)"), why):
                found.differ(f"{table.name}: a dead letter", f"{str(value)[:60]} at offset {offset}: {why}")
        if table.name == "k_ts" and how.time == "connect":
            found.policies["keys_that_differ_below_a_ms_are_not_compared"] += len(source[table.full_name])
            continue
        copy = find_copy(clickhouse, database, table)
        if copy is None:
            nothing = Comparison(table, how, Copy({}, ""), letters.get(topic), found)
            for row in source[table.full_name]:
                nothing.differ(row, {"": "is not there, and there is no table"})
            continue
        comparison = Comparison(table, how, copy, letters.get(topic), found)
        comparison.compare(source[table.full_name], comparison.read(clickhouse))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--combination", required=True)
    parser.add_argument("--database")
    parser.add_argument("--no-alters", action="store_true")
    given = parser.parse_args()
    (how,) = matrix.named(given.combination)
    source = read_source(Postgres(os.environ), not given.no_alters)
    found = check(ClickHouse(os.environ), source, how, given.database or how.name, how.name, not given.no_alters, os.environ.get("REGISTRY_URL", ""))
    print(found.show(how.name))
    return 1 if found.differences else 0


if __name__ == "__main__":
    sys.exit(main())
