"""What the zoo and others need of the servers: PostgreSQL by psql, ClickHouse by HTTP, connectors and topics by the stack."""
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STACK = ROOT / "tests" / "stack" / "stack"

# What has not come to an end after this many seconds has failed.
PATIENCE = float(os.environ.get("ZOO_PATIENCE", "900"))


class Failed(Exception):
    """Something of the run itself went wrong; what was compared says nothing then."""


def run(command: list, text: str | None = None, timeout: float = PATIENCE) -> str:
    """What a command prints; fails with what it says where it fails."""
    try:
        done = subprocess.run([str(part) for part in command], input=text, capture_output=True, encoding="utf-8", timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]} has not ended after {timeout:.0f} s") from error
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))[:300]}: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout


def stack(*arguments: str) -> str:
    """A command of the stack."""
    return run([STACK, *arguments])


def until(what: str, look, bound: float = PATIENCE, pause: float = 0.05):
    """What `look` returns, once that is something."""
    end = time.monotonic() + bound
    while not (found := look()):
        if time.monotonic() > end:
            raise Failed(f"waited for {what}, and gave up after {bound:.0f} s")
        time.sleep(pause)
    return found


def addresses() -> dict[str, str]:
    """Where the stack's servers are."""
    lines = (line.partition("=") for line in stack("env").splitlines())
    return {name: value.replace("'", "") for name, _, value in lines}


def unescape(cell: bytes) -> bytes | None:
    """A cell as PostgreSQL's COPY and ClickHouse's TabSeparated write it; a null is None."""
    if b"\\" not in cell:
        return cell
    if cell == b"\\N":
        return None
    return re.sub(rb"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), cell, flags=re.DOTALL)


ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"0": b"\0", b"a": b"\a"}


class Postgres:
    """PostgreSQL, by psql."""

    def __init__(self, env: dict[str, str]) -> None:
        self.psql, self.url = env["PSQL"], env["PG_URL"]

    def execute(self, sql: str) -> str:
        """Runs statements, and returns what they print."""
        command = [self.psql, "-XqAt", "-v", "ON_ERROR_STOP=1", self.url]
        os.environ["PGOPTIONS"] = "-c client_min_messages=warning"
        return run(command, sql)

    def rows(self, query: str) -> list[list[bytes | None]]:
        """The rows of a query in the canonical text of their types."""
        settings = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; SET lc_monetary = 'C';"
        done = subprocess.run([self.psql, "-XqAt", "-v", "ON_ERROR_STOP=1", self.url], input=f"{settings}\nCOPY ({query}) TO STDOUT;\n".encode(),
                              capture_output=True, timeout=PATIENCE, check=False)
        if done.returncode != 0:
            raise Failed(f"psql: {done.stderr.decode(errors='replace')}")
        return [[unescape(cell) for cell in line.split(b"\t")] for line in done.stdout.split(b"\n")[:-1]]


class ClickHouse:
    """ClickHouse, by HTTP."""

    def __init__(self, env: dict[str, str]) -> None:
        self.url, self.user, self.password = env["CLICKHOUSE_URL"], env["CLICKHOUSE_USER"], env["CLICKHOUSE_PASSWORD"]

    def query(self, sql: str) -> bytes:
        """Its answer."""
        request = urllib.request.Request(self.url + "/?wait_end_of_query=1", sql.encode(), {"X-ClickHouse-User": self.user, "X-ClickHouse-Key": self.password})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise Failed(f"clickhouse: {error.read().decode(errors='replace')[:2000]}\n{sql[:500]}") from error

    def rows(self, sql: str) -> list[list[bytes | None]]:
        """The rows of a query."""
        return [[unescape(cell) for cell in line.split(b"\t")] for line in self.query(sql + " FORMAT TabSeparated").split(b"\n")[:-1]]


class Connectors:
    """Debezium's connectors."""

    def __init__(self, env: dict[str, str], postgres: Postgres) -> None:
        self.url, self.postgres = env["CONNECT_URL"], postgres

    def start(self, name: str, options: list[str]) -> None:
        """Makes one and waits until it streams."""
        stack("connector", name, *options)

    def remove(self, names: list[str]) -> None:
        """With their slots, publications and topics."""
        for name in names:
            stack("connector", name, "remove")
        if names:
            stack("tool", "org.apache.kafka.tools.TopicCommand", "--delete", "--if-exists", "--topic", f"({'|'.join(names)})[.].*")

    def wait(self, names: list[str], position: str) -> None:
        """Waits until Kafka has all that PostgreSQL wrote before the position.

        A connector confirms a position to its slot when Kafka has acknowledged every record before it.
        """
        end = time.monotonic() + PATIENCE
        left = set(names)
        while left:
            behind = self.postgres.execute(f"select slot_name from pg_replication_slots where confirmed_flush_lsn < '{position}'").split()
            left = {name for name in left if f"{name}_slot" in behind}
            for name in left:
                with urllib.request.urlopen(f"{self.url}/connectors/{name}/status", timeout=60) as answer:
                    status = json.load(answer)
                for part in [status["connector"], *status["tasks"]]:
                    if part["state"] == "FAILED":
                        raise Failed(f"connector {name} failed: {part.get('trace', '')[:3000]}")
            if time.monotonic() > end:
                raise Failed(f"connectors {sorted(left)} have not read all after {PATIENCE:.0f} s")
            time.sleep(0.2)


def say(text: str) -> None:
    """A line of what is going on."""
    print(text, flush=True)


def warn(text: str) -> None:
    """A line for those who look for a fault."""
    print(text, file=sys.stderr, flush=True)
