"""What faults are put into: servers, hosts, and pipelines of a workload, hosts and a checker."""
import collections
import functools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from history import History
from wire import Broker

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "zoo"))
# pylint: disable=wrong-import-position
import servers  # noqa: E402
from servers import ClickHouse, Failed, addresses, say, stack  # noqa: E402

# What is expected to happen and has not within so many seconds has failed; far above what it takes on a busy machine.
BOUND = float(os.environ.get("CHAOS_BOUND", "120"))
# A member that died without a word is thought alive for so long; the broker allows no less.
SESSION_MS = 6000
HERE = Path(__file__).resolve().parent
until = functools.partial(servers.until, bound=BOUND, pause=0.02)

LINEAGE = "_topic LowCardinality(String), _partition UInt32, _offset UInt64, _seq UInt16, _transform LowCardinality(String)"
COLUMNS = "id Int64, n Nullable(Int64), tag Nullable(String), hash Nullable(String), filler Nullable(String), at Nullable(Int64), op LowCardinality(String)"


class Level:
    """What a target can promise: how its tables are made, and what the checker may rely on."""

    def __init__(self, name: str, about: str, transform: str, columns: str | None, *, old: bool = False) -> None:
        self.name, self.about, self.transform, self.columns, self.old = name, about, transform, columns, old
        self.keyed = transform == "mirror"
        self.lineage = columns is None or "_topic" in columns

    def ddl(self, table: str) -> str | None:
        """Made beforehand, where the host is not to make it."""
        return self.columns and f"CREATE TABLE {table} ({self.columns}) ENGINE = MergeTree ORDER BY tuple()"


LEVELS = {level.name: level for level in (
    Level("A", "tables that the host made: tokens and verification", "update_only", None),
    Level("B", "a table that remembers no tokens, with lineage: verification alone", "update_only", f"{COLUMNS}, {LINEAGE}"),
    Level("B old", "a server of 2018 that knows no tokens, with lineage: verification alone", "update_only", None, old=True),
    Level("C", "tables with a key, read with FINAL", "mirror", None),
    Level("D", "a table without lineage that remembers no tokens", "update_only", COLUMNS),
)}


def is_gone(pid: int) -> bool:
    """Whether a process has ended, although nobody may have asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


class Lab:
    """The servers, the binaries, and what was done by now. Several threads use it."""

    def __init__(self, host: Path, transforms: Path, seed: int) -> None:
        self.host_binary, self.transforms, self.seed = host, transforms, seed
        self.env = addresses()
        self.folder = Path(self.env["STACK_DIR"]) / "chaos"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.faults: collections.Counter = collections.Counter()
        self.points: collections.Counter = collections.Counter()
        self.recoveries: dict[str, list[float]] = collections.defaultdict(list)
        self.lock = threading.Lock()
        # What is still running when the run ends is killed.
        self.processes: list[subprocess.Popen] = []
        self.names = 0
        # Of this run: topics and databases of an earlier one may be there.
        self.run = f"{time.time_ns() // 1_000_000_000:x}"

    def count(self, fault: str, times: int = 1) -> None:
        """A fault that did happen."""
        with self.lock:
            self.faults[fault] += times

    def name(self, what: str) -> str:
        """One that nobody had before."""
        with self.lock:
            self.names += 1
            return f"chaos_{self.run}_{self.names}_{re.sub('[^a-z0-9]+', '_', what.lower())[:28]}".rstrip("_")

    def spawn(self, command: list, log: Path | None, env: dict[str, str], **more) -> subprocess.Popen:
        """A process that does not outlive the run."""
        with (log.open("ab") if log else open(os.devnull, "ab")) as file:
            # A group of its own: an interrupt from the terminal is the runner's to handle.
            process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=more.get("stdout", file), stderr=file,
                                       env=env, cwd=self.folder, start_new_session=True)
        with self.lock:
            self.processes.append(process)
        return process

    def clear(self) -> None:
        """Ends what is left."""
        for process in self.processes:
            if process.poll() is None:
                # What it started, too.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def clickhouse(self, old: bool = False) -> ClickHouse:
        """A client."""
        return ClickHouse(self.env | ({"CLICKHOUSE_URL": self.env["CLICKHOUSE_OLD_URL"]} if old else {}))

    # --- the proxy before ClickHouse

    def proxy(self, what: str, body: dict | None = None):
        """Asks it."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.env['FAULTS_ADMIN_URL']}/{what}", data), timeout=60) as answer:
            return json.load(answer)

    def left(self, matching: str) -> int:
        """How many faults with exactly this match have not happened yet."""
        return sum(fault["left"] for fault in self.proxy("_fault") if fault.get("match") == matching)

    def none_is_late(self) -> bool:
        """Whether all inserts that the proxy held back have come to the server."""
        count = self.proxy("_stats")["count"]
        return count.get("applied_late", 0) + count.get("late_lost", 0) >= count.get("fault:late", 0)

    # --- servers

    def kill_clickhouse(self, rest: float = 0) -> None:
        """SIGKILL, and a start after `rest` seconds."""
        self.kill("clickhouse", self.env["CLICKHOUSE_URL"].rpartition("/")[2])
        time.sleep(rest)
        stack("start", "clickhouse")
        self.count("ClickHouse killed")

    def kill(self, name: str, address: str) -> None:
        """SIGKILL of a server. Its threads may hold its port for a moment after it is a zombie."""
        pid = int((Path(self.env["STACK_DIR"]) / "run" / f"{name}.pid").read_text().split()[0])
        # At once: the stack's own command takes longer than an insert.
        os.kill(pid, signal.SIGKILL)
        until(f"the end of the killed {name}", lambda: is_gone(pid))

        def refuses() -> bool:
            with socket.socket() as probe:
                host, port = address.split(":")
                return probe.connect_ex((host, int(port))) != 0

        until(f"the end of the killed {name}", refuses)

    def kill_kafka(self) -> None:
        """SIGKILL, and a start."""
        self.kill("kafka", self.env["BROKERS"])
        stack("start", "kafka")
        self.count("Kafka killed")

    def pause_kafka(self, seconds: float) -> None:
        """Requests go unanswered for this long."""
        stack("pause", "kafka")
        time.sleep(seconds)
        stack("continue", "kafka")
        self.count("Kafka halted")


class Host:
    """One process of the host."""

    def __init__(self, lab: Lab, command: list, env: dict[str, str], log: Path) -> None:
        self.lab, self.log = lab, log
        self.began = time.monotonic()
        # Where its own lines begin: a log is that of all hosts of a pipeline with one name.
        self.offset = log.stat().st_size if log.exists() else 0
        settings = {name: value for name, value in os.environ.items() if not name.startswith("ROWGATE_") and name != "RUST_LOG"}
        self.process = lab.spawn(command, log, settings | {"NO_COLOR": "1"} | env)

    def said(self) -> str:
        """All that it wrote so far."""
        with self.log.open("rb") as file:
            file.seek(self.offset)
            return file.read().decode(errors="replace")

    def wait_for(self, text: str, times: int = 1) -> None:
        """Until it has written that."""

        def look() -> bool:
            if self.said().count(text) >= times:
                return True
            if self.process.poll() is not None:
                raise Failed(f"the host ended with {self.process.returncode} before it said {text!r}: {self.last()}")
            return False

        until(f"{text!r} in {self.log}", look)

    def was_hit(self, said: int) -> bool:
        """Whether, after so many bytes that it had said, it speaks of an insert that was cut off: sent, and without an answer."""
        waits = [line.partition("waiting for ClickHouse: ")[2] for line in self.said()[said:].splitlines()]
        return any(why and "tcp connect error" not in why and not why.startswith("code ") for why in waits)

    def last(self) -> str:
        """Its last lines."""
        return "\n".join(self.said().splitlines()[-6:])[:1500] + f"\nsee {self.log}"

    def signal(self, number: int) -> None:
        """Sends it."""
        self.process.send_signal(number)

    def wait(self, bound: float = BOUND) -> int:
        """Its status."""
        try:
            return self.process.wait(bound)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"the host has not ended after {bound:.0f} s: {self.last()}") from error

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def kill(self, why: str = "host killed at any moment") -> None:
        """SIGKILL; it must have been alive."""
        self.process.kill()
        if self.wait() != -signal.SIGKILL:
            raise Failed(f"the host had ended by itself: {self.last()}")
        self.lab.count(why)

    def drain(self) -> None:
        """SIGTERM, and a good end."""
        self.signal(signal.SIGTERM)
        if self.wait() != 0:
            raise Failed(f"the host ended with {self.process.returncode} after SIGTERM: {self.last()}")


class Pipeline:
    """A workload, its hosts, and what must come of it."""

    def __init__(self, lab: Lab, what: str, level: str, *, partitions: int = 2, tables: int = 1, rate: float = 400, batch_rows: int = 40, linger_ms: int = 50, ahead: int = 1500,
                 topic: dict | None = None) -> None:
        self.lab, self.level, self.rate, self.tables = lab, LEVELS[level], rate, tables
        self.batch_rows, self.linger_ms, self.ahead = batch_rows, linger_ms, ahead
        self.name = lab.name(f"{level} {what}")
        self.rng = random.Random(f"{lab.seed} {what} {level}")
        self.history = History(self.name, lab.seed, partitions, tables)
        self.broker = Broker(lab.env["BROKERS"], BOUND)
        self.server = lab.clickhouse(self.level.old)
        self.transform = str(lab.transforms / f"{self.level.transform}.wasm")
        self.workload: subprocess.Popen | None = None
        self.hosts: list[Host] = []
        # What the checker must know besides the level: see checker.py.
        self.spec: dict = {"transform": self.level.transform}
        # A bug that is planted in each of its hosts.
        self.bug = ""
        # The newest row before a fault.
        self.before = -1
        self.broker.create(self.history.topic, partitions, **(topic or {}))
        self.server.query(f"CREATE DATABASE {self.name}")
        if self.level.columns:
            for table in self.history.names():
                self.server.query(self.level.ddl(f"{self.name}.{table}"))
        self.write()

    # --- the workload

    @property
    def sent_log(self) -> Path:
        """Where the workload says how far it is."""
        return self.lab.folder / f"{self.name}.workload"

    def write(self, first: int = 0) -> None:
        """Starts it, at this number."""
        given = ["--brokers", self.lab.env["BROKERS"], "--tag", self.history.tag, "--seed", self.history.seed, "--partitions", self.history.partitions,
                 "--tables", self.history.tables, "--rate", self.rate, "--group", f"rowgate-{self.name}", "--ahead", self.ahead, "--first", first]
        self.workload = self.lab.spawn([sys.executable, HERE / "workload.py", *given], self.sent_log, dict(os.environ))

    def sent(self) -> int:
        """How many records the broker has acknowledged."""
        said = self.sent_log.read_text().split()
        if self.workload.poll() not in (None, 0):
            raise Failed(f"the workload failed: {self.sent_log.read_text()[-500:]}")
        return int(said[-1]) if said else 0

    @property
    def state(self) -> Path:
        """What hosts keep on the disk."""
        return self.lab.folder / f"{self.name}.state"

    def end_workload(self) -> int:
        """Lets it finish the records at hand; returns how many there are."""
        # One that is not up yet would not hear the signal.
        until("the first records", self.sent)
        self.workload.send_signal(signal.SIGTERM)
        try:
            self.workload.wait(BOUND)
        except subprocess.TimeoutExpired as error:
            raise Failed("the workload does not end") from error
        return self.sent()

    # --- hosts

    def host(self, *, instance: str | None = "one", points: str = "", proxy: bool = False, more: tuple = ()) -> Host:
        """Starts one. With an instance it is let in again at once after a SIGKILL; without, members are told apart and come and go."""
        url = self.lab.env["CLICKHOUSE_OLD_URL" if self.level.old else "FAULTS_URL" if proxy else "CLICKHOUSE_URL"]
        command = [self.lab.host_binary, "--brokers", self.lab.env["BROKERS"], "--topic", self.history.topic, "--clickhouse-url", url, "--database", self.name,
                   "--name", self.name, "--transform", self.transform, "--batch-rows", self.batch_rows, "--linger-ms", self.linger_ms,
                   "-X", f"session.timeout.ms={SESSION_MS}", "-X", "heartbeat.interval.ms=500", *more]
        if instance:
            command += ["-X", f"group.instance.id={instance}"]
        # What a host keeps on the disk is that of its pipeline.
        env = {"XDG_STATE_HOME": str(self.state)} | ({"ROWGATE_FAIL_POINTS": points} if points else {}) | ({"ROWGATE_BUG": self.bug} if self.bug else {})
        host = Host(self.lab, command, env, self.lab.folder / f"{self.name}-{instance or len(self.hosts)}.log")
        self.hosts.append(host)
        return host

    def die_at(self, point: str, passes: int = 1, **more) -> None:
        """A host that dies at a fail point."""
        host = self.host(points=f"{point}=kill@{passes}", **more)
        if host.wait() != -signal.SIGKILL:
            raise Failed(f"the host ended by itself before it came to `{point}`: {host.last()}")
        with self.lab.lock:
            self.lab.points[point] += 1
        self.lab.count("host killed at a fail point")

    def inserts(self) -> bool:
        """Whether the server is at an insert of its rows."""
        return int(self.server.rows(f"SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO _{self.name}_.%'")[0][0]) > 0

    def rows(self) -> int:
        """How many are there; 0 while the server is away."""
        try:
            counts = self.server.rows(f"SELECT sum(total_rows) FROM system.tables WHERE database = '{self.name}' AND name LIKE 'orders%' AND name NOT LIKE '%current'") if not self.level.old \
                else self.server.rows(f"SELECT sum(rows) FROM system.parts WHERE active AND database = '{self.name}' AND table LIKE 'orders%'")
            return int(counts[0][0] or 0)
        except (OSError, Failed):
            return 0

    def newest(self) -> int:
        """The greatest number that a row has; -1 without one."""
        try:
            found = [self.server.rows(f"SELECT max(n), count() FROM {self.name}.{table}")[0] for table in self.history.names()[:1]]
            return max((int(newest or 0) for newest, count in found if int(count)), default=-1)
        except (OSError, Failed):
            return -1

    def goes_on(self, host: Host, what: str) -> None:
        """Waits for a row that was not there; `what` names the figure that the time since the host's start is part of."""
        before = self.newest()

        def look() -> bool:
            if not host.is_running():
                raise Failed(f"the host ended with {host.process.returncode}: {host.last()}")
            return self.newest() > before

        until(f"new rows of {self.name}", look)
        with self.lab.lock:
            self.lab.recoveries[what].append(time.monotonic() - host.began)

    def positions(self) -> dict[int, tuple[int, str]]:
        """What the group has committed."""
        return self.broker.positions(f"rowgate-{self.name}", self.history.topic, self.history.partitions)

    def lag(self) -> int:
        """Records that are not committed yet."""
        done = self.positions()
        return sum(end - done.get(partition, (0, ""))[0] for partition, end in self.broker.ends(self.history.topic, self.history.partitions).items())

    def arm(self, kind: str, table: str = "orders", **more) -> str:
        """A fault of the proxy for the next insert into a table of this pipeline; returns what it is known by."""
        matching = f"INSERT INTO .{self.name}.\\..{table}."
        self.lab.proxy("_fault", {"kind": kind, "match": matching} | more)
        return matching

    def fired(self, matching: str, host: Host | None = None) -> None:
        """Waits until the armed faults have happened to a host; to the newest, unless it is said."""
        host = host or self.hosts[-1]

        def look() -> bool:
            if not host.is_running():
                raise Failed(f"the host ended with {host.process.returncode}: {host.last()}")
            return self.lab.left(matching) == 0

        until(f"the fault on {matching}", look)

    # --- the end

    def end_hosts(self) -> None:
        """Kills what still runs."""
        for host in self.hosts:
            if host.is_running():
                host.signal(signal.SIGCONT)
                host.process.kill()
                host.wait()

    def finish(self) -> dict:
        """No more faults: all must be read within bounds. Then the checker is asked."""
        self.spec["sent"] = self.end_workload()
        for host in self.hosts:
            if host.is_running():
                host.drain()
        self.catch_up(self.host())
        return self.check()

    def catch_up(self, host: Host) -> None:
        """Waits until the lag is 0, and drains the host."""

        def look() -> bool:
            if not host.is_running():
                raise Failed(f"the host of {self.name} ended with {host.process.returncode}: {host.last()}")
            # No range is pending. A host that is not up yet would not hear the signal.
            return self.lag() == 0 and all("e=" not in metadata for _, metadata in self.positions().values()) and "partition assigned" in host.said()

        until(f"lag 0 of {self.name} after the faults", look, pause=0.1)
        host.drain()

    def check(self) -> dict:
        """What the checker finds."""
        level = self.level
        url = self.lab.env["CLICKHOUSE_OLD_URL" if level.old else "CLICKHOUSE_URL"]
        spec = {"url": url, "database": self.name, "tag": self.history.tag, "seed": self.history.seed, "partitions": self.history.partitions, "tables": self.tables,
                "keyed": level.keyed, "lineage": level.lineage, "old": level.old} | self.spec
        path = self.lab.folder / f"{self.name}.spec"
        path.write_text(json.dumps(spec))
        done = subprocess.run([sys.executable, HERE / "checker.py", path], capture_output=True, encoding="utf-8", timeout=BOUND * 2, check=False)
        if not done.stdout.startswith("{"):
            raise Failed(f"the checker failed: {done.stdout[-500:]}{done.stderr[-1500:]}")
        found = json.loads(done.stdout)
        (self.lab.folder / f"{self.name}.found").write_text(done.stdout)
        if found["unseen"]:
            raise Failed(f"the checker does not see what was planted in {self.name}: {', '.join(found['unseen'])}")
        return found

    def forget(self) -> None:
        """Removes its topic and its database; they are kept where something is wrong."""
        self.end_hosts()
        if self.workload.poll() is None:
            self.workload.kill()
        self.server.query(f"DROP DATABASE IF EXISTS {self.name}")
        self.broker.delete(self.history.topic)
        shutil.rmtree(self.state, ignore_errors=True)
        for path in self.lab.folder.glob(f"{self.name}[-.]*"):
            path.unlink()
