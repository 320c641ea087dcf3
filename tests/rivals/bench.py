"""What the comparisons share: servers that are brought up and stopped again, topics, processes and what they used, tables of figures."""
import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "zoo"))
# pylint: disable=wrong-import-position,unused-import
from servers import STACK, ClickHouse, Failed, addresses, run, say, stack, until  # noqa: E402,F401


@contextlib.contextmanager
def servers(*names: str) -> Iterator[dict[str, str]]:
    """Brings up those that are down, gives their addresses, and stops those again."""
    down = {line.split()[0] for line in stack("status").splitlines() if line.split()[1] == "down"}
    try:
        stack("up", *names)
        yield addresses()
    finally:
        if started := [name for name in reversed(names) if name in down]:
            stack("stop", *started)


def make_topic(name: str) -> None:
    """An empty topic of one partition, as a connector makes them."""
    tool = ("tool", "org.apache.kafka.tools.TopicCommand", "--topic", name)
    stack(*tool, "--delete", "--if-exists")
    until(f"the end of the old topic {name}", lambda: name not in stack(*tool[:2], "--list").split())
    stack(*tool, "--create", "--partitions", "1")


class Used(NamedTuple):
    """What a process took, from its start to its end."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    said: str


class Process:
    """A program that is measured; its output goes to a file."""

    def __init__(self, command: list, log: Path, env: dict[str, str] | None = None, **more) -> None:
        # Nothing of the caller's settings is to change what is measured.
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ROWGATE_", "FAUCET_")) and name != "RUST_LOG"}
        self.name, self.log = Path(str(command[0])).name, log
        self.began = time.monotonic()
        with log.open("wb") as file:
            self.process = subprocess.Popen([str(part) for part in command], env=clean | {"NO_COLOR": "1"} | (env or {}), cwd=log.parent,
                                            stderr=file, **{"stdin": subprocess.DEVNULL, "stdout": file} | more)

    def memory_mib(self, field: str) -> float | None:
        """`VmRSS`, what it has in memory, or `VmHWM`, the most that it had; None once it has ended."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8", errors="replace")
        found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
        return int(found[1]) / 1024 if found else None

    def check(self) -> bool:
        """True while it runs; fails where it has ended."""
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with status {self.process.returncode}, see {self.log}:\n{self.said()[-2000:]}")
        return True

    def said(self) -> str:
        """All that it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def end(self, number: signal.Signals | None = None) -> Used:
        """Waits until it has ended, after a signal if one is given; it must have ended well."""
        if number:
            self.process.send_signal(number)
        peak = 0.0

        def reap():
            nonlocal peak
            # Asked again and again, as nobody can say it afterwards: the peak that wait4 gives has this program's own memory in it.
            peak = self.memory_mib("VmHWM") or peak
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            return (status, usage) if pid else None

        status, usage = until(f"the end of {self.name}", reap, pause=0.005)
        wall = time.monotonic() - self.began
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            self.check()
        return Used(wall, usage.ru_utime + usage.ru_stime, peak, self.said())

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_) -> None:
        """Does not outlive the run, however that ends."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def host_binary() -> Path:
    """The host to measure."""
    if not (host := Path(os.environ.get("HOST", ""))).is_file():
        raise Failed(f"the variable HOST must say where the host is, and says '{host}'")
    return host.resolve()


def host_command(env: dict[str, str], name: str, topic: str, table: str, *more: str) -> tuple[list, dict[str, str]]:
    """The host as a pipeline from a topic into a table, with the built-in transform: the command and its environment."""
    command = [host_binary(), "--name", name, "--brokers", env["BROKERS"], "--topic", topic, "--clickhouse-url", env["CLICKHOUSE_URL"],
               "--user", env["CLICKHOUSE_USER"], "--table", table, "--state-dir", Path(env["STACK_DIR"]) / "bench-state", "--show-last", "0", *more]
    return command, {"ROWGATE_PASSWORD": env["CLICKHOUSE_PASSWORD"]}


def summary(said: str, count: int) -> int:
    """Records a second, by the host's own summary: from the first record to the end of the last batch. All must have been consumed."""
    found = re.search(r"^consumed +(\d+)$.*^records/s +(\d+) ", said, re.MULTILINE | re.DOTALL)
    if not found or int(found[1]) != count:
        raise Failed(f"the host has not consumed {count} records: {said[-2000:]}")
    return int(found[2])


def versions(env: dict[str, str]) -> str:
    """Of the host and the servers."""
    kafka = stack("tool", "org.apache.kafka.tools.TopicCommand", "--version").strip()
    clickhouse = ClickHouse(env).rows("SELECT version()")[0][0].decode()
    return f"{run([host_binary(), '--version']).strip()}, Kafka {kafka}, ClickHouse {clickhouse}"


def machine() -> str:
    """What a run has to do with others."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


def spread(values: list[float], digits: int) -> str:
    """The median, and the least and the most."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f} .. {max(values):.{digits}f}]"


def verdict(met: bool) -> str:
    """Of a target."""
    return "met" if met else "missed"


def work(env: dict[str, str]) -> Path:
    """A folder for files of a run."""
    folder = Path(env["STACK_DIR"]) / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main(program, arguments) -> int:
    """Runs it; 0 also where a target is missed, 1 where rows are missing or are others, 2 where the run itself failed."""
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        wrong = program(arguments)
    except (Failed, OSError) as error:
        say(f"FAILED: {error}")
        return 2
    if wrong:
        say(f"FAULT: {wrong}")
    return 1 if wrong else 0
