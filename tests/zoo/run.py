#!/usr/bin/env python3
"""Proves that what stands in ClickHouse is what stands in PostgreSQL; README.md tells more.

    run.py [--changes 1000] [--seed 1] [--matrix pairwise|full|NAME,NAME] [--keep] ...

Works on the servers of tests/stack, by its settings STACK_DIR and PORT_BASE; starts what is down, and stops what it started.
Status 1 with any difference, 2 where the run itself failed.
"""
import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import checker
import matrix
import workload
from matrix import Combination
from servers import PATIENCE, ROOT, ClickHouse, Connectors, Failed, Postgres, addresses, run, say, stack
from tables import ODD_SCHEMA, PATH, SCHEMA, quote

# How many connectors read at once.
GROUP = int(os.environ.get("ZOO_GROUP", "3"))
# How many combinations begin with a snapshot and read along; the others read the log of the whole workload afterwards.
ALONG = 1


class Clock:
    """What has taken how long."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def lap(self) -> str:
        """Since the last one."""
        now = time.monotonic()
        took, self.began = now - self.began, now
        return f"{took:.1f} s"


class Zoo:
    """One run."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        formats = tuple(name for name in matrix.FORMATS if name != "avro" or not given.no_avro)
        self.combinations = matrix.named(given.matrix, formats)
        self.with_alters = not given.no_alters
        self.started: list[str] = []
        self.failed: list[str] = []

    # --- servers

    def start_servers(self) -> None:
        """Those that are down, with room for all slots."""
        slots = len(self.combinations) + 20
        os.environ["PG_ARGS"] = f"{os.environ.get('PG_ARGS', '')} -c max_replication_slots={slots} -c max_wal_senders={slots} -c max_wal_size=4GB -c synchronous_commit=off"
        # These compute for long: with the better compiler, and room for what is young.
        os.environ.setdefault("CONNECT_JAVA_ARGS", "-Xms2g -Xmx2g -Xmn1g -XX:TieredStopAtLevel=4")
        os.environ.setdefault("KAFKA_JAVA_ARGS", "-Xms512m -Xmx512m -XX:TieredStopAtLevel=4")
        wanted = ["postgres", "kafka", "connect", "clickhouse"] + ["registry"] * any(one.format == "avro" for one in self.combinations)
        down = {line.split()[0] for line in stack("status").splitlines() if line.split()[1] == "down"}
        self.started = [name for name in wanted if name in down]
        stack("up", *wanted)
        self.env = addresses()
        self.postgres = Postgres(self.env)
        self.clickhouse = ClickHouse(self.env)
        self.connectors = Connectors(self.env, self.postgres)

    def stop_servers(self) -> None:
        """Those that this run started."""
        if self.started and not self.given.keep:
            stack("stop", *reversed(self.started))

    def clear(self) -> None:
        """Removes connectors of these names that an earlier run left."""
        with urllib.request.urlopen(f"{self.env['CONNECT_URL']}/connectors", timeout=60) as answer:
            there = json.load(answer)
        self.connectors.remove([one.name for one in matrix.full() if one.name in there])
        names = ", ".join(f"'{one.name}_slot'" for one in matrix.full())
        self.postgres.execute(f"select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name in ({names})")
        self.postgres.execute("".join(f"drop publication if exists {one.name}_publication;" for one in matrix.full()))

    # --- the workload

    def change(self) -> str:
        """Runs the workload; returns the position after it."""
        clock = Clock()
        rows, rng = workload.begin(self.given.seed, self.with_alters)
        self.postgres.execute(workload.setup(self.with_alters))
        for one in self.combinations:
            self.postgres.execute(f"create publication {one.name}_publication for tables in schema {SCHEMA}, {quote(ODD_SCHEMA)}")
        for one in self.combinations[ALONG:]:
            self.postgres.execute(f"select pg_create_logical_replication_slot('{one.name}_slot', 'pgoutput')")
        self.postgres.execute(PATH + "\n".join(text for text, _ in workload.seeded_rows(rows, rng)))
        for one in self.combinations[:ALONG]:
            self.connectors.start(one.name, one.options(True))
        say(f"zoo: the tables are there after {clock.lap()}")
        count = 0
        chunk: list[str] = []
        for text, changed in workload.changes(rows, rng, self.given.changes):
            chunk.append(text)
            count += changed
            if len(chunk) == 500:
                self.postgres.execute(PATH + "\n".join(chunk))
                chunk.clear()
        self.postgres.execute(PATH + "\n".join(chunk))
        position = self.postgres.execute("select pg_current_wal_insert_lsn()").strip()
        # Two, so that the position of the first is certainly confirmed.
        self.postgres.execute("insert into zoo.zoo_end values (1)")
        self.postgres.execute("insert into zoo.zoo_end values (2)")
        took = clock.lap()
        self.source = checker.read_source(self.postgres, self.with_alters)
        there = sum(map(len, self.source.values()))
        say(f"zoo: {count} changes of {len(self.source)} tables in {took} (seed {self.given.seed}), which leave {there} rows")
        return position

    # --- one combination

    def host(self, one: Combination) -> str:
        """Runs the host until it has read all, into a new database."""
        self.clickhouse.query(f"DROP DATABASE IF EXISTS {one.name}")
        self.clickhouse.query(f"CREATE DATABASE {one.name}")
        command = [self.given.host, "--transform", self.given.transform, "--name", f"zoo_{time.time_ns()}", "--brokers", self.env["BROKERS"],
                   "--topic", f"^{one.name}[.].*$", "--clickhouse-url", self.env["CLICKHOUSE_URL"], "--database", one.name, "--until-caught-up", "--for", f"{PATIENCE:.0f}s"]
        settings = {"ROWGATE_USER": self.env["CLICKHOUSE_USER"], "ROWGATE_PASSWORD": self.env["CLICKHOUSE_PASSWORD"]}
        if one.format == "avro":
            settings["ROWGATE_REGISTRY_URL"] = self.env["REGISTRY_URL"]
        log = Path(self.env["STACK_DIR"]) / "log" / f"zoo-{one.name}.log"
        with log.open("w", encoding="utf-8") as file:
            done = subprocess.run([*map(str, command), *self.given.host_args], stdout=file, stderr=subprocess.STDOUT, env=os.environ | settings, timeout=PATIENCE + 60, check=False)
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()
        if done.returncode != 0:
            raise Failed(f"the host ended with status {done.returncode}: {chr(10).join(said[-4:])[:1500]}, see {log}")
        return ", ".join(" ".join(line.split()) for line in said if line.startswith(("consumed", "rejected", "rows written")))

    def compare(self, one: Combination) -> None:
        """Lets the host write one combination, and compares."""
        clock = Clock()
        try:
            said = self.host(one)
            took = clock.lap()
            found = checker.check(self.clickhouse, self.source, one, one.name, one.name, self.with_alters, self.env["REGISTRY_URL"])
        except Failed as error:
            self.failed.append(one.name)
            say(f"{one.name}: FAILED: {error}")
            return
        say(found.show(one.name))
        say(f"    host: {took} ({said}); checked in {clock.lap()}")
        if found.count:
            self.failed.append(one.name)
            return
        if one == self.combinations[0]:
            self.spoil(one)
        if not self.given.keep:
            self.clickhouse.query(f"DROP DATABASE {one.name}")

    def spoil(self, one: Combination) -> None:
        """Changes a cell, removes a row and adds one: the checker must find these three, and nothing else."""
        table = f"{one.name}.z_int"
        faults = ("i4n = 7 ? 8 : 7 AS i4n", "1 AS _is_deleted", "-id - 1000000 AS id")
        for place, fault in enumerate(faults):
            row = f"SELECT * FROM {table} FINAL WHERE _is_deleted = 0 ORDER BY id DESC LIMIT 1 OFFSET {place}"
            self.clickhouse.query(f"INSERT INTO {table} SELECT * REPLACE(_version + 1 AS _version, {fault}) FROM ({row})")
        found = checker.check(self.clickhouse, self.source, one, one.name, one.name, self.with_alters, self.env["REGISTRY_URL"])
        for where, texts in found.differences.items():
            say(f"    put there: {where} {texts[0]}")
        if found.count != len(faults):
            self.failed.append(f"{one.name}, in which {found.count} of {len(faults)} faults that were put there are found")

    def go(self) -> int:
        """All of it."""
        clock = Clock()
        self.start_servers()
        self.clear()
        say(f"zoo: the servers are up after {clock.lap()}; {len(self.combinations)} combinations")
        position = self.change()
        groups = [self.combinations[at: at + GROUP] for at in range(0, len(self.combinations), GROUP)]
        self.begin(groups[0])
        for at, group in enumerate(groups):
            lap = Clock()
            self.connectors.wait([one.name for one in group], position)
            say(f"zoo: Kafka has all of {', '.join(one.name for one in group)} after {lap.lap()} more")
            # The next ones read while the host writes these.
            if at + 1 < len(groups):
                self.begin(groups[at + 1])
            for one in group:
                self.compare(one)
            if not self.given.keep:
                self.connectors.remove([one.name for one in group])
        say(f"zoo: {len(self.combinations)} combinations in {clock.lap()}, {len(self.failed)} not equal{': ' if self.failed else ''}{', '.join(self.failed)}")
        return 1 if self.failed else 0

    def begin(self, group: list[Combination]) -> None:
        """Starts those connectors that do not run yet."""
        for one in group:
            if one not in self.combinations[:ALONG]:
                self.connectors.start(one.name, one.options(False))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path.home() / ".cache" / "rowgate" / "target"))
    parser.add_argument("--changes", type=int, default=1000, help="how many rows are inserted, updated, deleted, or given another key")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--matrix", default="pairwise", help="pairwise, full, or names such as precise_adaptive_bytes_schema with commas between")
    parser.add_argument("--no-alters", action="store_true", help="leave out what changes the tables' definitions")
    parser.add_argument("--no-avro", action="store_true", help="leave out Avro, and with it the registry")
    parser.add_argument("--host", type=Path, default=target / "debug" / "host")
    parser.add_argument("--transform", type=Path, default=ROOT / "guest-transforms" / "dist" / "mirror.wasm")
    parser.add_argument("--keep", action="store_true", help="leave servers, connectors, topics and databases as they are")
    parser.add_argument("host_args", nargs="*", help="after --: more arguments for the host")
    return parser.parse_args()


def main() -> int:
    zoo = Zoo(arguments())
    try:
        return zoo.go()
    except Failed as error:
        say(f"zoo: FAILED: {error}")
        return 2
    finally:
        zoo.stop_servers()


if __name__ == "__main__":
    sys.exit(main())
