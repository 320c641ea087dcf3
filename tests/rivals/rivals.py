#!/usr/bin/env python3
"""The host side by side with other ways from Kafka to ClickHouse: the same topics, the same servers, one run.

    HOST=path/of/the/host rivals.py [--events 200000] [--rounds 9] [--seconds 15] [--host-args='--batch-bytes 67108864']

Status 0 also where a target is missed, 1 where rows are missing or are others, 2 where the run itself failed.
"""
import argparse
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench import ROOT, STACK, ClickHouse, Failed, Process, Used, host_command, machine, main, make_topic, run, say, servers, spread, summary, verdict, versions, work
from events import DIGEST, TABLE, TOPIC, events, schemas

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
# Where the converter's schema is in each key and value, and where it is not.
FORMS = {"without schemas": TOPIC, "with schemas": f"{TOPIC}_with_schemas"}


class Run(NamedTuple):
    """Of one program, from a topic into a table."""

    events: int
    # From the first event to the last row, as near as can be told.
    seconds: float
    used: Used


class Program(NamedTuple):
    """One of those that are compared."""

    name: str
    # Reads so many events of a topic into a table.
    run: Callable[[str, str, int], Run]
    # How many times as fast the host is to be; of the host itself there is none.
    target: int | None = None


class Wrong(Exception):
    """Rows are missing, or are others."""


class Comparison:
    """One run."""

    def __init__(self, given: argparse.Namespace, env: dict[str, str], venv: Path, faucet: Path | None) -> None:
        self.given, self.env, self.venv, self.faucet = given, env, venv, faucet
        self.clickhouse, self.folder = ClickHouse(env), work(env)
        self.programs = [Program("host", self.run_host),
                         Program("Python, an insert for each row", functools.partial(self.run_naive, 1), 800),
                         Program("Python, inserts of 1,000 rows", functools.partial(self.run_naive, 1000), 40)]
        if faucet:
            self.programs.append(Program("faucet", self.run_faucet, 8))

    # --- each of them

    def run_host(self, topic: str, table: str, count: int) -> Run:
        """By its own summary, from the first record to the end of the last batch."""
        command, env = host_command(self.env, f"bench-{time.time_ns()}", topic, table, "--until-caught-up", *self.given.host_args.split())
        with Process(command, self.folder / "host.log", env) as host:
            used = host.end()
        return Run(count, count / summary(used.said, count), used)

    def run_naive(self, rows: int, topic: str, table: str, count: int) -> Run:
        """By its own clock, from the first record to the answer to the last insert."""
        options = {"brokers": self.env["BROKERS"], "topic": topic, "group": f"bench-{time.time_ns()}", "url": self.env["CLICKHOUSE_URL"], "user": self.env["CLICKHOUSE_USER"],
                   "password": self.env["CLICKHOUSE_PASSWORD"], "table": table, "rows": rows, "events": count, "seconds": self.given.seconds}
        command = [self.venv / "python", HERE / "naive.py", *(f"--{name}={value}" for name, value in options.items())]
        with Process(command, self.folder / "naive.log") as naive:
            used = naive.end()
        said = json.loads(used.said.splitlines()[-1])
        return Run(said["events"], said["seconds"], used)

    def run_faucet(self, topic: str, table: str, count: int) -> Run:
        """By the clock on the wall: it does not say when it reads the first record, so that a run of that one alone, which makes no row, is taken off."""
        one = self.faucet_once(topic, table, 1)
        used = self.faucet_once(topic, table, count)
        if used.wall_s <= one.wall_s:
            raise Failed(f"faucet took no longer for {count} events than for one; more of them are needed")
        return Run(count, used.wall_s - one.wall_s, used)

    def faucet_once(self, topic: str, table: str, count: int) -> Used:
        """A whole run of it."""
        source = {"brokers": self.env["BROKERS"], "topics": [topic], "group_id": f"bench-{time.time_ns()}", "auto_offset_reset": "earliest", "max_messages": count}
        sink = {"url": self.env["CLICKHOUSE_URL"], "database": "default", "user": self.env["CLICKHOUSE_USER"], "password": self.env["CLICKHOUSE_PASSWORD"], "table": table}
        config = self.folder / "faucet.json"
        config.write_text(json.dumps({"version": 1, "name": "bench", "pipeline": {
            "source": {"type": "kafka", "config": source}, "transforms": [{"type": "wasm", "config": {"module": str(self.given.rule)}}],
            "sink": {"type": "clickhouse", "config": sink}}}), encoding="utf-8")
        with Process([self.faucet, "run", config], self.folder / "faucet.log") as faucet:
            return faucet.end()

    def about(self) -> str:
        """What is compared with what, on which servers."""
        faucet = [run([self.faucet, "--version"]).strip()] if self.faucet else []
        libraries = [line.replace("==", " ") for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if "==" in line]
        return ", ".join([versions(self.env), f"Python {platform.python_version()}", *libraries, *faucet])

    # --- events

    def fill(self, topic: str, with_schemas: bool) -> float:
        """Makes the topic, and writes the events; returns the mean size of a value."""
        make_topic(topic)
        wrap = [f'{{"schema":{schema},"payload":%s}}' if with_schemas else "%s" for schema in schemas()]
        size = 0
        command = [STACK, "tool", "org.apache.kafka.tools.ConsoleProducer", "--topic", topic, "--reader-property", "parse.key=true"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, encoding="utf-8") as producer:
            for key, value, _ in events(self.given.events):
                value = wrap[1] % value
                size += len(value.encode())
                producer.stdin.write(f"{wrap[0] % key}\t{value}\n")
        if producer.returncode:
            raise Failed(f"filling the topic {topic} ended with status {producer.returncode}")
        return size / self.given.events

    def expect(self) -> None:
        """Lets ClickHouse know which rows must be there, each with its event's number."""
        self.clickhouse.query("DROP TABLE IF EXISTS bench_expected")
        self.clickhouse.query(f"CREATE TABLE bench_expected (n UInt32, {TABLE}) ENGINE = MergeTree ORDER BY n")
        rows = (f'{{"n":{number},{row[1:]}' for number, (_, _, row) in enumerate(events(self.given.events)) if row)
        self.clickhouse.query("INSERT INTO bench_expected FORMAT JSONEachRow\n" + "\n".join(rows))

    # --- all together

    def once(self, program: Program, topic: str) -> Run:
        """One of them, into a new table; its rows must be those that are expected."""
        self.clickhouse.query("DROP TABLE IF EXISTS bench_rows SYNC")
        if program.target:
            self.clickhouse.query(f"CREATE TABLE bench_rows ({TABLE}) ENGINE = MergeTree ORDER BY tuple()")
        done = program.run(topic, "bench_rows", self.given.events)
        found, expected = (self.clickhouse.rows(f"SELECT {DIGEST} FROM {table}")[0] for table in ("bench_rows", f"bench_expected WHERE n < {done.events}"))
        if found != expected:
            raise Wrong(f"{program.name}, {topic}: count and sum of the rows are {found}, and must be {expected}")
        return done

    def go(self) -> None:
        """Fills topics, lets all take turns, and prints the tables."""
        say(self.about())
        self.expect()
        sizes = {form: self.fill(topic, form == "with schemas") for form, topic in FORMS.items()}
        runs: dict[str, dict[Program, list[Run]]] = {form: {program: [] for program in self.programs} for form in FORMS}
        for number in range(self.given.rounds):
            # Another one begins each time.
            first = number % len(self.programs)
            for form, topic in FORMS.items():
                for program in self.programs[first:] + self.programs[:first]:
                    runs[form][program].append(self.once(program, topic))
                say(f"round {number + 1} of {self.given.rounds}, {form}: " + ", ".join(f"{program.name} {speed(those[-1]):.0f}/s" for program, those in runs[form].items()))
        for form, size in sizes.items():
            say(f"\n{self.given.events} events of {size:.0f} bytes, {form}, one partition, {self.given.rounds} rounds, {machine()}; medians [least .. most]")
            report(runs[form])
        self.clickhouse.query("DROP TABLE bench_rows, bench_expected")


def speed(one: Run) -> float:
    """Events a second."""
    return one.events / one.seconds


def report(runs: dict[Program, list[Run]]) -> None:
    """A table of one form of events, and where the host is behind."""
    say(f"{'':<32}{'events/s':<30}{'read':>8}{'whole run s':>13}{'CPU us/event':>14}{'peak MiB':>10}   the host is so many times as fast")
    host, behind = next(iter(runs.values())), []
    least_cpu, least_peak = cpu_us(host), peak_mib(host)
    for program, those in runs.items():
        line = (f"{program.name:<32}{spread([speed(one) for one in those], 0):<30}{statistics.median(one.events for one in those):>8.0f}"
                f"{statistics.median(one.used.wall_s for one in those):>13.1f}{cpu_us(those):>14.1f}{peak_mib(those):>10.0f}")
        if program.target:
            ratios = [speed(of_host) / speed(one) for of_host, one in zip(host, those)]
            faster = statistics.median(ratios)
            line += f"   {spread(ratios, 1)}  target {program.target}: {verdict(faster >= program.target)}"
            less = {"time": faster < 1, "CPU": cpu_us(those) < least_cpu, "memory": peak_mib(those) < least_peak}
            behind += [f"- {program.name} takes less {what} than the host" for what, is_less in less.items() if is_less]
        say(line)
    say("\n".join(behind or ["- the host is behind in nothing of this"]))


def cpu_us(runs: list[Run]) -> float:
    """Of the whole process, for each event."""
    return statistics.median(one.used.cpu_s / one.events * 1e6 for one in runs)


def peak_mib(runs: list[Run]) -> float:
    """The most memory that it had."""
    return statistics.median(one.used.peak_mib for one in runs)


def compare(given: argparse.Namespace) -> str | None:
    """Returns what is wrong."""
    venv = Path(run(["bash", "-c", '. "$0" && venv "$1"', ROOT / "tests/stack/lib/venv.sh", REQUIREMENTS]).strip())
    built = subprocess.run([HERE / "faucet.sh"], stdout=subprocess.PIPE, encoding="utf-8", check=False)
    if built.returncode:
        say(f"SKIPPED: faucet, which could not be built (status {built.returncode}, see above)")
    with servers("kafka", "clickhouse") as env:
        try:
            Comparison(given, env, venv, None if built.returncode else Path(built.stdout.strip())).go()
        except Wrong as wrong:
            return str(wrong)
    return None


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path.home() / ".cache" / "rowgate" / "target"))
    options.add_argument("--events", type=int, default=200_000)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--seconds", type=float, default=15, help="how long the consumers in Python read at most")
    options.add_argument("--host-args", default="", help="more arguments of the host")
    options.add_argument("--rule", type=Path, default=target / "rivals" / "rivals_rule.wasm", help="the rule as a module for faucet")
    sys.exit(main(compare, options.parse_args()))
