#!/usr/bin/env python3
"""What the host has in memory: idle between Kafka and ClickHouse, and after few and after many records from a pipe.

    HOST=path/of/the/host memory.py [--idle 60] [--records 100000,10000000]

Status 0 also where a target is missed, 2 where the run itself failed.
"""
import argparse
import itertools
import signal
import statistics
import subprocess
import sys
import time

from bench import Process, host_binary, host_command, machine, main, make_topic, say, servers, spread, summary, verdict, versions, work
from events import events

# Of a host with one pipeline that has nothing to do, in MiB.
TARGET = 60
# The events of which the pipe is made, again and again.
CHUNK = 100_000


def idle(env: dict[str, str], seconds: float) -> None:
    """A pipeline whose topic has no record: samples of the last third."""
    make_topic("bench.public.idle")
    command, settings = host_command(env, f"bench-{time.time_ns()}", "bench.public.idle", "bench_idle")
    samples = []
    with Process(command, work(env) / "host.log", settings) as host:
        for second in range(int(seconds)):
            time.sleep(1)
            if host.check() and second >= seconds * 2 / 3:
                samples.append(host.memory_mib("VmRSS"))
        used = host.end(signal.SIGTERM)
    say(f"idle for {seconds:.0f} s with one pipeline: {spread(samples, 1)} MiB, most {used.peak_mib:.1f}, {used.cpu_s:.2f} s of CPU; target {TARGET}: {verdict(statistics.median(samples) <= TARGET)}")


def piped(env: dict[str, str], chunk: bytes, count: int) -> None:
    """A run of so many records from standard input to JSON lines that nobody keeps."""
    log = work(env) / "host.log"
    command = [host_binary(), "--input", "-", "--output", "-", "--state-dir", log.parent / "state"]
    with Process(command, log, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as host:
        for part in itertools.repeat(chunk, count // CHUNK):
            host.process.stdin.write(part)
        host.check()
        resident = host.memory_mib("VmRSS")
        host.process.stdin.close()
        used = host.end()
    rate = summary(used.said, count)
    say(f"{count} records through a pipe: {resident:.1f} MiB at their end, most {used.peak_mib:.1f}; {rate} a second, {used.cpu_s / count * 1e6:.2f} us of CPU for each")


def measure(given: argparse.Namespace) -> None:
    """Nothing of this can be wrong."""
    with servers("kafka", "clickhouse") as env:
        say(f"{versions(env)}; {machine()}")
        idle(env, given.idle)
    chunk = "".join(f"{value}\n" for _, value, _ in events(CHUNK)).encode()
    for count in given.records:
        piped(env, chunk, count)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--idle", type=float, default=60, help="seconds, at least 3")
    options.add_argument("--records", type=lambda text: [max(1, int(part) // CHUNK) * CHUNK for part in text.split(",")], default=[100_000, 10_000_000], help=f"how many each run reads, in multiples of {CHUNK}")
    sys.exit(main(measure, options.parse_args()))
