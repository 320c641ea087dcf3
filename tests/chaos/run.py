#!/usr/bin/env python3
"""Puts faults into the real stack under load, and shows that no row is lost or doubled; README.md tells more.

    run.py [--short] [--seed 1] [--minutes 55] [--only TEXT] [--times 20] [--keep]

Works on the servers of tests/stack, by its settings STACK_DIR and PORT_BASE; starts what is down, and stops what it started.
Status 1 with any violation, 2 where the run itself failed.
"""
import argparse
import collections
import concurrent.futures
import os
import platform
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import wire
from bugs import BUGS, noticed
from faults import ROOT, Failed, Lab, Pipeline, say, stack, until
from scenarios import ANSWERS, NOT_RUN, POINTS, SCENARIOS, Scenario, answers, at, at_random, killed_while_the_proxy

# A kill of ClickHouse that cut an insert off.
IN_MID_INSERT = "ClickHouse killed in mid-insert"
# How many seconds the model may take longer than all else.
GRACE = 300
WRONG = ("lost", "doubled", "stale", "foreign", "letters lost", "letters doubled", "letters foreign")


class Chaos:
    """One run."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.began = time.monotonic()
        self.end = self.began + given.minutes * 60
        self.started: list[str] = []
        self.violations: list[str] = []
        # Of each level: records, rows, and what the checker found.
        self.totals: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        self.done: collections.Counter = collections.Counter()
        self.bugs: dict[str, str] = {}
        # Of each level, the inserts that kills of ClickHouse cut off.
        self.hits: collections.Counter = collections.Counter()
        self.model: subprocess.Popen | None = None
        self.lock = threading.Lock()

    # --- servers

    def start_servers(self) -> None:
        """Those that are down."""
        wanted = ["kafka", "clickhouse", "faults"] + ["clickhouse-old"] * (not self.given.short)
        down = {line.split()[0] for line in stack("status").splitlines() if line.split()[1] == "down"}
        self.started = [name for name in wanted if name in down]
        stack("up", *wanted)
        self.lab = Lab(self.given.host, self.given.transforms, self.given.seed)

    def stop_servers(self) -> None:
        """Those that this run started."""
        if hasattr(self, "lab"):
            self.lab.clear()
        if self.started and not self.given.keep:
            stack("stop", *reversed(self.started))

    # --- one pipeline after its faults

    def judge(self, p: Pipeline, what: str, found: dict) -> bool:
        """Adds to the totals; says what is wrong, and whether nothing is."""
        level = p.level.name
        wrong = {kind: found["count"].get(kind, 0) for kind in WRONG if found["count"].get(kind, 0)}
        with self.lock:
            totals = self.totals[level]
            totals.update({"pipelines": 1, **{name: found[name] for name in ("records", "expected", "rows", "letters", "poison")}, **wrong})
        # What level D does not promise.
        if bad := {kind: count for kind, count in wrong.items() if not (level == "D" and kind == "doubled")}:
            self.violation(f"{what} at level {level} ({p.name}): {bad}\n    " + "\n    ".join(found["examples"][:5]))
        say(f"chaos: {what} at level {level}: {found['records']} records, {found['rows']} rows"
            + "".join(f", {count} {kind}" for kind, count in wrong.items()) + f" ({time.monotonic() - self.began:.0f} s)")
        return not bad

    def violation(self, text: str) -> None:
        """Something that must not be."""
        with self.lock:
            self.violations.append(text)
        say(f"chaos: VIOLATION: {text}")

    def one(self, what: str, level: str, run, options: dict | None = None) -> None:
        """A pipeline, its faults, and the checker's word."""
        if os.environ.get("CHAOS_TRACE"):
            say(f"chaos: begins: {what} at level {level}")
        p = None
        try:
            p = Pipeline(self.lab, what, level, **(options or {}))
            run(p)
            self.finish(p, what)
        except (Failed, OSError, wire.KafkaError, subprocess.SubprocessError) as error:
            self.violation(f"{what} at level {level} ({p.name if p else '-'}): {error}")
        except Exception:  # pylint: disable=broad-exception-caught
            self.violation(f"{what} at level {level}: {traceback.format_exc()}")
        finally:
            if p:
                p.end_hosts()
                if p.workload.poll() is None:
                    p.workload.kill()

    def finish(self, p: Pipeline, what: str) -> None:
        """No more faults: the checker's word."""
        if self.judge(p, what, p.finish()) and not self.given.keep:
            p.forget()

    def together(self, jobs: list) -> None:
        """Runs jobs, some at a time."""
        with concurrent.futures.ThreadPoolExecutor(self.given.lanes) as pool:
            for job in concurrent.futures.as_completed([pool.submit(*job) for job in jobs]):
                job.result()

    # --- the parts of a run

    def scenarios(self) -> list:
        """Those to run, with their levels and how often each fault comes."""
        jobs = []
        for scenario in SCENARIOS:
            if self.given.only not in f"{scenario.row} {scenario.name}" or (self.given.short and not scenario.quick):
                continue
            # Each fault its full number of times at the first level; fewer at the others.
            for place, level in enumerate(scenario.levels[:1] if self.given.short else scenario.levels):
                jobs.append((scenario, level, self.given.times if place == 0 else max(1, self.given.times // 4)))
        return jobs

    def job(self, scenario: Scenario, level: str, times: int) -> None:
        """One scenario at one level."""

        if time.monotonic() > self.end:
            self.violation(f"{scenario.row} {scenario.name} at level {level}: not run, the time is over")
            return

        def run(p: Pipeline) -> None:
            scenario.run(p, times)
            with self.lock:
                self.done[(scenario.row, scenario.name)] += times

        self.one(f"{scenario.row} {scenario.name}", level, run, dict(scenario.options))

    def named(self) -> None:
        """Rows of the table."""
        jobs = self.scenarios()
        together = [(self.job, *job) for job in jobs if not job[0].alone]
        if self.given.short and not self.given.only:
            # Each point once, one after the other.
            together = [job for job in together if job[1].row not in (1, 2, 6)]
            together.insert(0, (self.one, "killed at each fail point", "A", lambda p: at(*POINTS)(p, 1), {"rate": 100}))
        if not self.given.only:
            together.append((self.one, "killed after ClickHouse has the rows", "D", lambda p: killed_while_the_proxy("delay_response", seconds=20)(p, 2)))
        self.together(together)
        for job in jobs:
            if job[0].alone:
                self.job(*job)

    def clickhouse_kills(self, times: int) -> None:
        """SIGKILL of ClickHouse in the middle of inserts, under pipelines of all levels at once. Only those count that cut one off."""
        rng = random.Random(f"{self.given.seed} clickhouse")
        names = ["A", "B", "C", "D"]
        pipelines = [Pipeline(self.lab, "ClickHouse killed", name, rate=150) for name in names]
        try:
            hosts = [p.host() for p in pipelines]
            for p, host in zip(pipelines, hosts):
                p.goes_on(host, "first start")
            turn = 0
            while (hits := self.lab.faults[IN_MID_INSERT]) < times:
                if time.monotonic() > self.end:
                    raise Failed(f"only {hits} of {times} kills hit an insert, the time is over")
                p = pipelines[turn % len(pipelines)]
                p.before, said = p.newest(), [len(host.said()) for host in hosts]
                time.sleep(rng.uniform(0, 0.3))
                until(f"an insert of {p.name}", p.inserts, pause=0)
                # Whatever it is at by then.
                time.sleep(rng.uniform(0, 0.004))
                killed = time.monotonic()
                self.lab.kill_clickhouse()
                # Someone must get on, so that kills do not fall into the same silence.
                until(f"new rows of {p.name}", lambda p=p: p.newest() > p.before)
                self.lab.recoveries["ClickHouse killed"].append(time.monotonic() - killed)
                for place, other in enumerate(pipelines):
                    if not hosts[place].is_running():
                        raise Failed(f"the host ended: {hosts[place].last()}")
                    self.hits[other.level.name] += hosts[place].was_hit(said[place])
                self.lab.count(IN_MID_INSERT, any(host.was_hit(before) for host, before in zip(hosts, said)))
                turn += 1
                if turn % 10 == 0:
                    place = rng.randrange(len(pipelines))
                    hosts[place].kill()
                    hosts[place] = pipelines[place].host()
                    # One that finds no ClickHouse at its start ends, as it should.
                    hosts[place].wait_for("partition assigned")
            self.together([(self.finish, p, f"ClickHouse killed {turn} times") for p in pipelines])
        except (Failed, OSError, wire.KafkaError) as error:
            self.violation(f"ClickHouse killed: {error}")
        finally:
            for p in pipelines:
                p.end_hosts()
                p.workload.kill()

    def random_kills(self, level: str, end: float) -> None:
        """Kills and broken answers at random until the time is over."""

        def run(p: Pipeline) -> None:
            while time.monotonic() < end:
                kind = p.rng.random()
                if kind < 0.5:
                    p.goes_on(host := p.host(proxy=not p.level.old), "host killed")
                    time.sleep(p.rng.uniform(0, 0.5))
                    host.kill()
                elif kind < 0.8 or p.level.old:
                    at(p.rng.choice(POINTS[:-1]))(p, 1)
                else:
                    answers(p.rng.choice(ANSWERS))(p, 1)
                    p.hosts[-1].kill()

        self.one("random kills", level, run, {"rate": 300})

    def planted(self) -> None:
        """Bugs that the checker or the host itself must notice."""
        for bug in BUGS:
            if self.given.only not in bug:
                continue
            p = None
            try:
                p = Pipeline(self.lab, bug, "B" if bug == "sessions_ignored" else "A", rate=300)
                self.bugs[bug] = noticed(p, bug)
            except (Failed, OSError, wire.KafkaError) as error:
                self.violation(f"planted bug {bug}: {error}")
                self.bugs[bug] = ""
            finally:
                if p:
                    p.end_hosts()
                    p.workload.kill()
            if not self.bugs[bug]:
                self.violation(f"planted bug {bug} is not noticed")
            say(f"chaos: planted bug {bug}: {self.bugs[bug] or 'NOT NOTICED'}")

    # --- the model

    @property
    def model_log(self) -> Path:
        """What it says."""
        return self.lab.folder / "model.log"

    def start_model(self) -> None:
        """The model of delivery beside all else, which mostly waits. It gives way to the hosts."""
        self.model = self.lab.spawn(["nice", "-n", "10", "make", "-C", ROOT, "model"], self.model_log, os.environ | {"ROWGATE_SEED": str(self.given.seed)})

    def end_model(self) -> None:
        """Waits for it, and shows its figures."""
        try:
            status = self.model.wait(max(60.0, self.end + GRACE - time.monotonic()))
        except subprocess.TimeoutExpired:
            status = "still running when the time is over"
        print("model of delivery, with simulated servers")
        for line in re.findall(r"(?:level \w+, |planted bugs caught|\w+: (?:not )?caught).*", self.model_log.read_text(encoding="utf-8")):
            print(f"  {line}")
        if status != 0:
            self.violation(f"the model of delivery: {status}, see {self.model_log}")

    # --- the end

    def show(self) -> None:
        """The table."""
        lab = self.lab
        print()
        print("faults")
        for fault, times in sorted(lab.faults.items()):
            print(f"  {times:6}  {fault}")
        print(f"  {sum(lab.faults.values()) - lab.faults[IN_MID_INSERT]:6}  all")
        if self.hits:
            print("inserts that kills of ClickHouse cut off: " + ", ".join(f"{level} {count}" for level, count in sorted(self.hits.items())))
        print("rows of the table of faults")
        for (row, name), times in sorted(self.done.items()):
            print(f"  {row:3}  {times:4} times  {name}")
        if not self.given.short:
            for row, name, why in NOT_RUN:
                print(f"  {row:3}  not run     {name}: {why}")
        print("level     records       rows  expected      lost   doubled     stale   foreign  dead letters (lost, doubled)")
        for level, sums in sorted(self.totals.items()):
            cells = "".join(f"{sums[name]:10}" for name in ("expected", "lost", "doubled", "stale", "foreign"))
            print(f"{level:6}{sums['records']:11}{sums['rows']:11}{cells}  {sums['letters']} of {sums['poison']} ({sums['letters lost']}, {sums['letters doubled']})")
        covered = [point for point in POINTS if lab.points[point]]
        print(f"crash points covered {len(covered)} of {len(POINTS)}: " + ", ".join(f"{point} {lab.points[point]}" for point in POINTS))
        if self.bugs:
            print(f"planted bugs noticed {sum(map(bool, self.bugs.values()))} of {len(self.bugs)}")
            for bug, how in self.bugs.items():
                print(f"  {bug}: {how or 'NOT NOTICED'}")
        for what, times in sorted(lab.recoveries.items()):
            print(f"first new row after {'a restart' if what != 'ClickHouse killed' else 'the kill'} ({what}): p50 {quantile(times, 0.5):.1f} s, p99 {quantile(times, 0.99):.1f} s, of {len(times)}")
        print(f"checker: saw one lost, one doubled, one stale, one foreign row in each of {sum(sums['pipelines'] for sums in self.totals.values())} copies with planted errors")
        try:
            print(self.versions())
        except OSError as error:
            self.violation(f"a server does not answer at the end: {error}")

    def versions(self) -> str:
        """What was tested with what."""
        clickhouse = self.lab.clickhouse().query("SELECT version()").decode().strip()
        libraries = sorted(Path(os.environ.get("ROWGATE_CACHE", Path.home() / ".cache" / "rowgate")).glob("stack/java-*/kafka/kafka-clients-*.jar"))
        kafka = libraries[-1].stem.removeprefix("kafka-clients-") if libraries else "?"
        host = subprocess.run([self.given.host, "--version"], capture_output=True, encoding="utf-8", check=False).stdout.strip()
        old = "" if self.given.short else f", ClickHouse {self.lab.clickhouse(True).query('SELECT version()').decode().strip()}"
        return f"seed {self.given.seed}; {host}, ClickHouse {clickhouse}{old}, Kafka {kafka}; {platform.machine()}, {os.cpu_count()} CPUs; {time.monotonic() - self.began:.0f} s"

    def go(self) -> int:
        """All of it."""
        given = self.given
        self.start_servers()
        say(f"chaos: the servers are up after {time.monotonic() - self.began:.1f} s; seed {given.seed}")
        parts = given.parts.split(",")
        if "model" in parts and not given.only:
            self.start_model()
        if "named" in parts:
            self.named()
        if "clickhouse" in parts and not given.only:
            self.clickhouse_kills(given.clickhouse_kills)
        if "bugs" in parts:
            self.planted()
        if "random" in parts and not given.only:
            end = max(self.end, time.monotonic() + 30)
            levels = ["A", "B", "B old", "C", "D"]
            # Two rounds, so that one pipeline's histories stay small enough to be read at once.
            half = time.monotonic() + (end - time.monotonic()) / 2
            for until_then in (half, end):
                with concurrent.futures.ThreadPoolExecutor(len(levels)) as pool:
                    list(pool.map(lambda level, stop=until_then: self.random_kills(level, stop), levels))
        self.complete()
        self.show()
        if self.model:
            self.end_model()
        for text in self.violations:
            print(f"VIOLATION: {text}")
        print("lost 0, doubled 0 at levels A, B and C" if not self.violations else f"{len(self.violations)} violations")
        return 1 if self.violations else 0

    def complete(self) -> None:
        """Whether the run was as much as it says."""
        source = (ROOT / "host" / "src" / "chaos.rs").read_text(encoding="utf-8")
        for what, names in (("POINTS", POINTS), ("BUGS", tuple(BUGS))):
            there = re.findall(r'"(\w+)"', source.partition(f"pub const {what}")[2].partition("];")[0])
            if sorted(there) != sorted(names):
                self.violation(f"host/src/chaos.rs has other {what} than are tried here: {sorted(set(there) ^ set(names))}")
        if self.given.only or "named" not in self.given.parts:
            return
        least = 1 if self.given.short else self.given.times
        if few := [point for point in POINTS if self.lab.points[point] < least]:
            self.violation(f"fail points that were not killed at {least} times: {', '.join(few)}")
        if self.totals["D"]["doubled"] == 0:
            self.violation("nothing was doubled at level D, where it should be: the faults do not bite")


def quantile(times: list[float], share: float) -> float:
    """Of a list."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] if times else statistics.mean([0.0])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path.home() / ".cache" / "rowgate" / "target"))
    parser.add_argument("--short", action="store_true", help="each fail point and each quick row once, ten kills of ClickHouse")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=55, help="what has not begun by then is a violation; random kills fill what is left")
    parser.add_argument("--times", type=int, help="how often each named fault comes (20)")
    parser.add_argument("--clickhouse-kills", type=int, help="how many (200)")
    parser.add_argument("--only", default="", help="named faults and bugs with this text in their name")
    parser.add_argument("--parts", help="named,clickhouse,bugs,model,random")
    parser.add_argument("--lanes", type=int, help="how many pipelines at once: 6, or 3 where it is short")
    parser.add_argument("--host", type=Path, default=target / "debug" / "host-chaos", help="built with the feature `chaos`")
    parser.add_argument("--transforms", type=Path, default=ROOT / "guest-transforms" / "dist")
    parser.add_argument("--keep", action="store_true", help="leave servers, topics and databases as they are")
    given = parser.parse_args()
    given.lanes = given.lanes or (3 if given.short else 6)
    given.times = given.times or (1 if given.short else 20)
    given.clickhouse_kills = given.clickhouse_kills or (10 if given.short else 200)
    given.parts = given.parts or ("named,clickhouse" if given.short else "named,clickhouse,bugs,model,random")
    return given


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    chaos = Chaos(arguments())
    try:
        return chaos.go()
    except Failed as error:
        say(f"chaos: FAILED: {error}")
        return 2
    finally:
        chaos.stop_servers()


if __name__ == "__main__":
    sys.exit(main())
