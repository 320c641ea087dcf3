#!/usr/bin/env python3
"""A mixed load and a fault each minute, for hours: a host's memory, descriptors and lag must stay flat, and its rows right.

    soak.py [--minutes 120] [--seed 1] [--rate 200]

Status 1 where one of them grows beyond its bound, or the checker finds something; 2 where the run itself failed.
"""
import argparse
import os
import random
import signal
import sys
import time
from pathlib import Path

import wire
from faults import ROOT, Failed, Host, Lab, Pipeline, say, stack, until
from scenarios import ANSWERS, progress

# What a fitted line may rise in a minute, over the last two thirds of the run; and what it may rise in all of them
# together where these are short, for a single allocation, reconnect or outage is no leak.
BOUNDS = {"memory, MiB": (0.25, 16.0), "descriptors": (0.05, 4.0), "lag, records": (5.0, 1000.0)}


def sample(p: Pipeline, host: Host) -> dict[str, float]:
    """What the host uses now."""
    proc = Path(f"/proc/{host.process.pid}")
    pages = int((proc / "statm").read_text().split()[1])
    return {"memory, MiB": pages * os.sysconf("SC_PAGESIZE") / 2**20, "descriptors": len(list((proc / "fd").iterdir())), "lag, records": p.lag()}


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line that fits best, for each unit of the first coordinate."""
    x0, y0 = (sum(values) / len(points) for values in zip(*points))
    spread = sum((x - x0) ** 2 for x, _ in points)
    return sum((x - x0) * (y - y0) for x, y in points) / spread if spread else 0.0


def fault(p: Pipeline, turn: int, rng: random.Random) -> str:
    """One of the kinds, in turn; the host that is looked at lives on."""
    match turn % 5:
        case 0:
            some = dict(rng.choice(ANSWERS))
            p.fired(p.arm(some.pop("kind"), **some))
            return "an answer broken"
        case 1:
            p.lab.kill_clickhouse(rng.uniform(0, 3))
            return "ClickHouse killed"
        case 2:
            first = p.hosts[0]
            assigned = first.said().count("partition assigned")
            other = p.host(instance=None)
            other.wait_for("partition assigned")
            other.drain()
            p.hosts.remove(other)
            first.wait_for("partition assigned", assigned + p.history.partitions)
            return "another host came and left"
        case 3:
            p.lab.pause_kafka(rng.uniform(0.5, 3))
            return "Kafka halted"
        case _:
            stack("pause", "clickhouse")
            time.sleep(rng.uniform(1, 5))
            stack("continue", "clickhouse")
            return "ClickHouse halted"


def soak(lab: Lab, given: argparse.Namespace) -> list[str]:
    """Returns what is wrong."""
    rng = random.Random(given.seed)
    p = Pipeline(lab, "soak", "A", rate=given.rate, partitions=4, batch_rows=500, linger_ms=500, ahead=1_000_000)
    host = p.host(instance=None, proxy=True)
    until("the first rows", lambda: p.newest() >= 0)
    begin = time.monotonic()
    end, faults, told = begin + given.minutes * 60, 0, begin
    samples: list[tuple[float, dict[str, float]]] = []
    while (now := time.monotonic()) < end:
        if not host.is_running():
            raise Failed(f"the host ended: {host.last()}")
        samples.append(((now - begin) / 60, sample(p, host)))
        if now - begin >= (faults + 0.5) * given.every:
            there = progress(p)
            what = fault(p, faults, rng)
            until("new rows after a fault", there)
            faults += 1
            lab.count(what)
        if now - told >= 60:
            told = now
            say(f"soak: {samples[-1][0]:.0f} min: " + ", ".join(f"{name} {value:.0f}" for name, value in samples[-1][1].items()) + f", {faults} faults")
        time.sleep(max(0.0, now + 1 - time.monotonic()))
    wrong = flat(samples)
    found = p.finish()
    say(f"soak: {found['records']} records, {found['rows']} rows, " + (", ".join(f"{n} {kind}" for kind, n in found["count"].items()) or "lost 0, doubled 0")
        + f", {found['letters']} dead letters of {found['poison']}, {faults} faults in {given.minutes:g} minutes, seed {given.seed}")
    wrong += [f"{count} {kind}" for kind, count in found["count"].items()]
    if not wrong:
        p.forget()
    return wrong


def flat(samples: list[tuple[float, dict[str, float]]]) -> list[str]:
    """Prints the slopes; returns those that are too steep."""
    last = [one for one in samples if one[0] >= samples[-1][0] / 3]
    minutes = last[-1][0] - last[0][0]
    wrong = []
    for name, (each, once) in BOUNDS.items():
        values = [values[name] for _, values in last]
        bound = max(each, once / minutes)
        rise = slope([(at, values[name]) for at, values in last])
        say(f"soak: {name}: {rise:+.3f} a minute (bound {bound:.3f}) over {minutes:.1f} minutes, {len(last)} samples; least {min(values):.0f}, most {max(values):.0f}, last {values[-1]:.0f}")
        if rise > bound:
            wrong.append(f"{name} rises by {rise:.3f} a minute")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path.home() / ".cache" / "rowgate" / "target"))
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=200, help="records a second")
    parser.add_argument("--every", type=float, default=60, help="seconds between two faults")
    parser.add_argument("--host", type=Path, default=target / "debug" / "host")
    parser.add_argument("--transforms", type=Path, default=ROOT / "guest-transforms" / "dist")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    wanted = ["kafka", "clickhouse", "faults"]
    down = {line.split()[0] for line in stack("status").splitlines() if line.split()[1] == "down"}
    lab = None
    try:
        stack("up", *wanted)
        lab = Lab(given.host, given.transforms, given.seed)
        wrong = soak(lab, given)
    except (Failed, OSError, wire.KafkaError) as error:
        say(f"soak: FAILED: {error}")
        return 2
    finally:
        if lab:
            lab.clear()
        if started := [name for name in reversed(wanted) if name in down]:
            stack("stop", *started)
    for what in wrong:
        say(f"soak: VIOLATION: {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
