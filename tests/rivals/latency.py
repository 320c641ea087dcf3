#!/usr/bin/env python3
"""How long a commit in PostgreSQL takes to be a visible row in ClickHouse, and how much of that the host adds.

    HOST=path/of/the/host latency.py [--seconds 60] [--rate 20] [--linger-ms 50] [--inserts-per-second 20]

All clocks are this machine's. A commit is when psql has its answer; a record is written when Kafka's timestamp of it says,
which the connector sets when it hands it to its producer; a row is visible when the answer to a query shows it, of which one follows
the other all the time. So what the host adds is what lies between the last two, and is never taken too small.

Status 0 also where a target is missed, 1 where rows are missing or are others, 2 where the run itself failed.
"""
import argparse
import http.client
import signal
import sys
import threading
import time

from bench import ROOT, ClickHouse, Failed, Process, host_command, machine, main, say, servers, stack, until, verdict, versions, work

sys.path.insert(0, str(ROOT / "examples"))
# pylint: disable=wrong-import-position
from update_postgres import TABLE, Psql  # noqa: E402

# Of what the host adds, in milliseconds: half of the rows, and all but one of a hundred.
TARGETS = {50: 60, 99: 120}
# Rows that are updated in turn.
ROWS = 10
# The first commits of a run find everything cold, and do not count.
WARM_UP_S = 5


class Watcher(threading.Thread):
    """Asks ClickHouse over one connection, again and again, which rows are there."""

    def __init__(self, env: dict[str, str], table: str) -> None:
        super().__init__(daemon=True)
        self.address, self.sql = env["CLICKHOUSE_URL"].rpartition("/")[2], f"SELECT max(_offset) FROM {table}"
        self.headers = {"X-ClickHouse-User": env["CLICKHOUSE_USER"], "X-ClickHouse-Key": env["CLICKHOUSE_PASSWORD"]}
        # When each answer came that showed more than the one before, and the last offset in it.
        self.answers: list[tuple[float, int]] = []
        self.stopped = False
        # From one answer to the next.
        self.period_ms = 0.0

    def run(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        asked, began = 0, time.monotonic()
        while not self.stopped:
            connection.request("POST", "/", self.sql, self.headers)
            answer = connection.getresponse()
            last = int(answer.read())
            asked += 1
            if last > self.last():
                self.answers.append((time.time(), last))
        connection.close()
        self.period_ms = (time.monotonic() - began) / asked * 1000

    def check(self) -> bool:
        """True while it runs; fails where it has ended."""
        if not self.is_alive():
            raise Failed("the queries that look for rows have failed, see above")
        return True

    def last(self) -> int:
        """The last offset that it saw."""
        return self.answers[-1][1] if self.answers else -1

    def seen(self) -> dict[int, float]:
        """When the row of each offset was there; offsets ascend, and so do rows."""
        seen, before = {}, -1
        for at, last in self.answers:
            seen |= dict.fromkeys(range(before + 1, last + 1), at)
            before = last
        return seen


def percentile(values: list[float], percent: int) -> float:
    """The value that so many percent do not exceed."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def timestamps(topic: str, count: int) -> dict[int, float]:
    """When each record of the topic was written, by its offset; in seconds."""
    properties = [f"--formatter-property=print.{name}" for name in ("timestamp=true", "offset=true", "value=false")]
    lines = stack("tool", "org.apache.kafka.tools.consumer.ConsoleConsumer", "--topic", topic, "--from-beginning", "--max-messages", str(count), *properties).splitlines()
    parts = (dict(part.split(":") for part in line.split("\t") if ":" in part) for line in lines)
    return {int(part["Offset"]): int(part["CreateTime"]) / 1000 for part in parts}


def measure(given: argparse.Namespace) -> str | None:
    """Returns what is wrong."""
    with servers("postgres", "kafka", "connect", "clickhouse") as env:
        say(versions(env))
        name = f"latency_{time.time_ns() // 1_000_000_000}"
        psql = Psql(env["PSQL"], env["PG_URL"])
        psql.run(TABLE.read_text(encoding="utf-8"))
        psql.run(f"truncate public.my_table; insert into public.my_table (id, name) select id, 'none' from generate_series(1, {ROWS}) id;")
        try:
            stack("connector", name)
            topic = f"{name}.public.my_table"
            command, settings = host_command(env, name, topic, name, "--linger-ms", str(given.linger_ms), "--inserts-per-second", str(given.inserts_per_second))
            with Process(command, work(env) / "host.log", settings) as host:
                return report(given, *commit(given, env, psql, host, name), topic)
        finally:
            psql.close()
            stack("connector", name, "remove")


def commit(given: argparse.Namespace, env: dict[str, str], psql: Psql, host: Process, table: str) -> tuple[dict[str, float], list[tuple[str, int]], Watcher]:
    """Commits at the rate; gives when each name was committed, the names and offsets of all rows, and who saw them."""
    clickhouse, commits = ClickHouse(env), {}

    def update(number: int) -> None:
        psql.run(f"update public.my_table set name = 'n {number}' where id = {number % ROWS + 1};")
        commits[f"n {number}"] = time.time()

    update(0)
    until("the first row", lambda: host.check() and clickhouse.rows(f"EXISTS TABLE {table}") == [[b"1"]] and clickhouse.rows(f"SELECT count() FROM {table}") == [[b"1"]])
    watcher = Watcher(env, table)
    watcher.start()
    count, began = int((WARM_UP_S + given.seconds) * given.rate), time.monotonic()
    for number in range(1, count + 1):
        time.sleep(max(0.0, began + number / given.rate - time.monotonic()))
        update(number)

    def all_seen() -> bool:
        # The order of records is kept, so that none before the last one is to come.
        found = clickhouse.rows(f"SELECT _offset FROM {table} WHERE name = 'n {count}'")
        return host.check() and watcher.check() and bool(found) and watcher.last() >= int(found[0][0])

    until("the last row", all_seen)
    watcher.stopped = True
    watcher.join()
    host.end(signal.SIGTERM)
    rows = [(name.decode(), int(offset)) for name, offset in clickhouse.rows(f"SELECT name, _offset FROM {table}")]
    clickhouse.query(f"DROP TABLE {table}")
    return commits, rows, watcher


def report(given: argparse.Namespace, commits: dict[str, float], rows: list[tuple[str, int]], watcher: Watcher, topic: str) -> str | None:
    """Prints the table; returns what is wrong."""
    offsets = dict(rows)
    if offsets.keys() != commits.keys() or len(rows) != len(commits):
        return f"{len(commits)} commits have {len(rows)} rows, and {len(commits.keys() - offsets.keys())} of them none"
    seen, written = watcher.seen(), timestamps(topic, max(offsets.values()) + 1)
    parts: dict[str, list[float]] = {"commit to record": [], "record to row: the host": [], "commit to row": []}
    for name, committed in list(commits.items())[int(WARM_UP_S * given.rate) + 1:]:
        record, row = written[offsets[name]], seen[offsets[name]]
        for values, took_s in zip(parts.values(), (record - committed, row - record, row - committed)):
            values.append(took_s * 1000)
    say(f"{len(parts['commit to row'])} commits, {given.rate:g} a second, linger {given.linger_ms} ms, {given.inserts_per_second} inserts a second at most, {machine()}; "
        f"ClickHouse was asked every {watcher.period_ms:.1f} ms\n{'ms':<28}{'p50':>8}{'p90':>8}{'p99':>8}{'most':>8}")
    for what, values in parts.items():
        say(f"{what:<28}" + "".join(f"{percentile(values, percent):>8.0f}" for percent in (50, 90, 99, 100)))
    for percent, target in TARGETS.items():
        added = percentile(parts["record to row: the host"], percent)
        say(f"added by the host, p{percent}: {added:.0f} ms, target {target}: {verdict(added <= target)}")
    return None


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--rate", type=float, default=20, help="commits a second")
    options.add_argument("--linger-ms", type=int, default=50, help="the host's")
    # With the host's default of 10, the batches of one partition are 100 ms apart, whatever they may linger.
    options.add_argument("--inserts-per-second", type=int, default=20, help="the host's")
    sys.exit(main(measure, options.parse_args()))
