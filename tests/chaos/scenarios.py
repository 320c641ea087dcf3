"""Every row of the table of crashes and faults, and how it is brought about. Each must show that the fault did happen."""
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from faults import Failed, Pipeline, until

# As host/src/chaos.rs has them.
POINTS = ("assigned", "closed", "prepared", "sealing", "sealed", "inserted", "rows_done", "letters_done", "audited", "done", "committed")


@dataclass(frozen=True)
class Scenario:
    """One way in which a fault comes about."""

    # Of the table.
    row: int
    name: str
    run: Callable[[Pipeline, int], None]
    levels: tuple[str, ...] = ("A", "C")
    # What the pipeline is made with.
    options: tuple[tuple[str, object], ...] = ()
    # Whether it is so quick that the short form has it.
    quick: bool = True
    # Whether servers are killed or halted, so that nothing else runs meanwhile.
    alone: bool = False


# --- kills of the host

def at(*points: str, more: tuple = ()) -> Callable[[Pipeline, int], None]:
    """Kills at fail points, each so many times, at one of their first passes."""

    def run(p: Pipeline, times: int) -> None:
        for _ in range(times):
            for point in points:
                p.die_at(point, p.rng.randint(1, p.history.partitions if point == "assigned" else 1 if point == "committed" else 4), more=more)

    return run


def killed_while_the_proxy(kind: str, **fault: object) -> Callable[[Pipeline, int], None]:
    """Kills while an insert of the host is held up by the proxy."""

    def run(p: Pipeline, times: int) -> None:
        for _ in range(times):
            matching = p.arm(kind, skip=p.rng.randint(0, 3), **fault)
            host = p.host(proxy=True)
            p.fired(matching)
            if kind == "delay_response":
                # Its rows are there, and it does not know.
                before = p.rows()
                until("the rows", lambda: before or p.rows())
            host.kill("host killed in mid-insert")

    return run


def killed_before_it_begins(p: Pipeline, times: int) -> None:
    """The host dies with an insert on its way; it comes to the server when the next host has looked, and gone on."""
    for _ in range(times):
        matching = p.arm("late", wait=True, skip=p.rng.randint(0, 3), seconds=p.rng.uniform(1, 5))
        host = p.host(proxy=True)
        p.fired(matching)
        host.kill("host killed with an insert on its way")
        p.goes_on(following := p.host(), "host killed")
        until("the late insert", p.lab.none_is_late)
        following.kill()


def at_random(p: Pipeline, times: int) -> None:
    """Kills at any moment."""
    for _ in range(times):
        host = p.host()
        host.wait_for("partition assigned")
        time.sleep(p.rng.random())
        host.kill()


# --- answers that are lost, broken, late

ANSWERS = (
    {"kind": "drop_response"}, {"kind": "half_response"}, {"kind": "slow_response", "seconds": 0.3}, {"kind": "late", "seconds": 0.3},
    {"kind": "exception_in_200", "style": "tagged"}, {"kind": "exception_in_200", "style": "plain"}, {"kind": "exception_in_200", "style": "header"},
    {"kind": "exception_in_200", "style": "tagged", "apply": True}, {"kind": "reset_request", "after_bytes": 200}, {"kind": "hang", "seconds": 0.3},
    {"kind": "status", "status": 503}, {"kind": "exception", "code": 252},
)


def answers(*kinds: dict, table: str = "orders", name: str = "answer lost, broken or late") -> Callable[[Pipeline, int], None]:
    """The host lives on, and each kind of answer comes so many times."""

    def run(p: Pipeline, times: int) -> None:
        host = p.host(proxy=True)
        for _ in range(times):
            for fault in kinds:
                fault = dict(fault)
                p.fired(p.arm(fault.pop("kind"), table=table, **fault))
                p.lab.count(name)
        if not host.is_running():
            raise Failed(f"the host ended: {host.last()}")

    return run


# --- groups

def rebalance_in_mid_insert(p: Pipeline, times: int) -> None:
    """A second host joins while an insert of the first is under way, and leaves."""
    first = p.host(instance=None, proxy=True)
    for _ in range(times):
        p.fired(p.arm("delay_response", seconds=1), first)
        assigned = first.said().count("partition assigned")
        second = p.host(instance=None)
        second.wait_for("partition assigned")
        p.lab.count("rebalance with an insert under way")
        second.drain()
        first.wait_for("partition assigned", assigned + p.history.partitions)
        p.lab.count("rebalance with an insert under way")


def zombie(points: str) -> Callable[[Pipeline, int], None]:
    """A host is halted until its session is over and others have gone on, and then goes on itself."""

    def run(p: Pipeline, times: int) -> None:
        hosts = [p.host(instance=None, points=points), p.host(instance=None, points=points)]
        for host in hosts:
            host.wait_for("partition assigned")
        for turn in range(times):
            halted, other = hosts[turn % 2], hosts[1 - turn % 2]
            until("new rows", progress(p))
            assigned = other.said().count("partition assigned")
            halted.signal(signal.SIGSTOP)
            other.wait_for("partition assigned", assigned + p.history.partitions)
            until("new rows of the other host", progress(p))
            said = halted.said().count("partition assigned")
            halted.signal(signal.SIGCONT)
            p.lab.count("zombie: host halted for longer than its session")
            halted.wait_for("partition assigned", said + 1)

    return run


def progress(p: Pipeline) -> Callable[[], bool]:
    """Whether there are rows that were not there when this was called."""
    before = p.newest()
    return lambda: p.newest() > before


def fenced(p: Pipeline, times: int) -> None:
    """A second host with the same instance takes the place of the first, whose commits are refused from then on."""
    host = p.host()
    host.wait_for("partition assigned")
    for _ in range(times):
        until("new rows", progress(p))
        following = p.host()
        following.wait_for("partition assigned")
        host.wait()
        p.lab.count("commits refused: member fenced")
        host = following


# --- what changes between two attempts

def other_transform(p: Pipeline, times: int) -> None:
    """Between the seal and the insert the transform is replaced by one that makes the same rows and has another digest."""
    plain = Path(p.transform)
    other = p.lab.folder / f"{p.name}-other.wasm"
    # A custom section: 0, its size, its name's size, its name.
    other.write_bytes(plain.read_bytes() + b"\0\x06\x05other")
    for turn in range(times):
        p.transform = str((plain, other)[turn % 2])
        p.die_at("sealed", p.rng.randint(1, 3))
        p.transform = str((other, plain)[turn % 2])
        p.goes_on(host := p.host(), "host killed")
        p.lab.count("transform replaced between seal and insert")
        host.kill()


def pinned_transform(p: Pipeline, times: int) -> None:
    """The same with a transform that makes other rows: the sealed range is the old one's, what follows the new one's."""
    before = p.spec["before"] = []
    current = p.level.transform
    for _ in range(times):
        p.die_at("sealed", p.rng.randint(1, 3))
        other = "all_changes" if current == "update_only" else "update_only"
        for partition, (offset, metadata) in p.positions().items():
            last = sealed_end(metadata)
            before.append([partition, offset - 1 if last is None else last, current])
        current = p.spec["transform"] = other
        p.transform = str(p.lab.transforms / f"{other}.wasm")
        p.lab.count("transform replaced between seal and insert")


def transform_gone(p: Pipeline, times: int) -> None:
    """The transform of a sealed range is neither the one at hand nor kept: with `pin: strict` the host stops before it.

    Of one partition: another one without a pending range goes on with the new transform, rightly.
    """
    plain = p.transform
    for _ in range(times):
        p.transform = plain
        p.die_at("sealed", p.rng.randint(1, 3))
        shutil.rmtree(p.state)
        p.transform = str(p.lab.transforms / "all_changes.wasm")
        refused = p.host(more=("--pin", "strict"))
        if refused.wait() != 3 or "error:" not in refused.said():
            raise Failed(f"a transform is gone, and the host does not stop: {refused.last()}")
        p.lab.count("transform of a sealed range gone: host stops")
    p.transform = plain


def made_anew(p: Pipeline, times: int) -> None:
    """The topic is deleted and made anew, so that offsets come again; then a kill in mid-range."""
    p.spec["anew"] = []
    for turn in range(times):
        host = p.host()
        until("new rows", progress(p))
        first = p.end_workload()
        p.catch_up(host)
        p.broker.delete(p.history.topic)
        p.broker.create(p.history.topic, p.history.partitions)
        p.spec["anew"].append(first)
        p.write(first)
        p.lab.count("topic made anew")
        p.die_at(("sealed", "inserted")[turn % 2], p.rng.randint(1, 3))


def sealed_end(metadata: str) -> int | None:
    """The last offset of the range that a commit says is pending."""
    parts = dict(part.split("=", 1) for part in metadata.split(";") if "=" in part)
    return int(parts["e"]) if "e" in parts else None


def column_added(p: Pipeline, times: int) -> None:
    """Between the seal and the retry of the insert the table gets a column."""
    for turn in range(times):
        p.die_at(("sealed", "inserted")[turn % 2], p.rng.randint(1, 3))
        p.server.query(f"ALTER TABLE {p.name}.orders ADD COLUMN extra{turn} String")
        p.lab.count("column added between two attempts")


def truncated(p: Pipeline, times: int) -> None:
    """The table is emptied between two attempts: the pending range is inserted again, and nothing before it."""
    for _ in range(times):
        p.die_at("inserted", p.rng.randint(2, 4))
        until("the end of its inserts", lambda: p.server.query(f"SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO _{p.name}%'").strip() == b"0")
        p.spec["from"] = {str(partition): offset for partition, (offset, _) in p.positions().items()}
        p.server.query(f"TRUNCATE TABLE {p.name}.orders")
        p.lab.count("table emptied between two attempts")


def retention(p: Pipeline, times: int) -> None:
    """Records that were not read are gone: the host stops and says so, and goes on once somebody decided."""
    p.spec["gone"] = []
    for _ in range(times):
        host = p.host(instance=None)
        until("new rows", progress(p))
        host.drain()
        place = p.positions()
        until("records that are not read yet", lambda: unread(p) >= 20)
        for partition, (offset, _) in place.items():
            upto = offset + 20
            p.broker.delete_records(p.history.topic, partition, upto)
            p.spec["gone"].append([partition, offset, upto - 1])
        refused = p.host(instance=None)
        if refused.wait() == 0 or "error:" not in refused.said():
            raise Failed(f"records are gone, and the host does not stop: {refused.last()}")
        p.lab.count("retention passed the position: host stops")
        until("the group to be empty", lambda: decide(p, p.spec["gone"][-p.history.partitions:]))


def unread(p: Pipeline) -> int:
    """How many records each partition has at least that were not read."""
    place = p.positions()
    return min(end - place[partition][0] for partition, end in p.broker.ends(p.history.topic, p.history.partitions).items() if partition in place)


def decide(p: Pipeline, gone: list) -> bool:
    """Sets the group's positions past what is gone, as somebody in charge would; a group with members refuses."""
    return p.broker.commit(f"rowgate-{p.name}", p.history.topic, {partition: upto + 1 for partition, _, upto in gone})


def compacted(p: Pipeline, times: int) -> None:
    """Of a sealed range, records disappear before it is finished."""
    checkpoint = Path(p.lab.env["STACK_DIR"]) / "data" / "kafka" / "cleaner-offset-checkpoint"

    def cleaned(partition: int) -> int:
        lines = (line.split() for line in checkpoint.read_text().splitlines()) if checkpoint.exists() else ()
        return next((int(line[2]) for line in lines if line[:2] == [p.history.topic, str(partition)]), 0)

    for _ in range(times):
        p.die_at("sealed", p.rng.randint(2, 4))
        sealed = {partition: last for partition, (_, metadata) in p.positions().items() if (last := sealed_end(metadata)) is not None}
        if not sealed:
            raise Failed(f"no range of {p.name} is sealed after a kill at `sealed`")
        until("the compaction", lambda: all(cleaned(partition) > last for partition, last in sealed.items()), pause=0.1)
        p.lab.count("topic compacted between two attempts")


# --- servers

def clickhouse_down(p: Pipeline, times: int) -> None:
    """ClickHouse is away for a while, and comes back."""
    host = p.host()
    for _ in range(times):
        until("new rows", progress(p))
        p.lab.kill_clickhouse(2)
        until("new rows after the outage", progress(p))
    if not host.is_running():
        raise Failed(f"the host ended: {host.last()}")


def kafka_down(p: Pipeline, times: int) -> None:
    """Kafka dies or halts under a host that delivers: commits fail, and the coordinator is gone."""
    # Without a name of its own: a named member whose request to join was answered into a dead connection is fenced by itself.
    host = p.host(instance=None)
    for turn in range(times):
        until("new rows", progress(p))
        if turn % 4 == 0:
            p.lab.kill_kafka()
        else:
            p.lab.pause_kafka(p.rng.uniform(0.5, 3))
        until("new rows after Kafka is back", progress(p))
    if not host.is_running():
        raise Failed(f"the host ended: {host.last()}")


SCENARIOS = (
    Scenario(1, "killed while it fills a batch or runs the transform", at("closed", "prepared")),
    Scenario(1, "killed while it is assigned partitions", at("assigned")),
    Scenario(2, "killed after the seal, before the insert", at("sealing", "sealed"), levels=("A", "B", "B old", "C")),
    Scenario(3, "killed while a request's body is under way", killed_while_the_proxy("hang", seconds=20)),
    Scenario(4, "killed after ClickHouse has the rows, before it knows", killed_while_the_proxy("delay_response", seconds=20), levels=("A", "B", "C")),
    Scenario(4, "killed with an insert on its way, which comes when the next host has looked", killed_before_it_begins, levels=("B", "A", "C")),
    Scenario(5, "killed after some of three tables have their rows", at("inserted"), options=(("tables", 3), ("batch_rows", 80))),
    Scenario(6, "killed after the inserts, before the next seal", at("rows_done", "letters_done", "done"), levels=("A", "B", "B old", "C")),
    Scenario(6, "killed after a plain commit", at("committed"), options=(("rate", 100),)),
    Scenario(7, "the answer is lost, broken or late, and the host lives", answers(*ANSWERS), levels=("A", "B", "C")),
    Scenario(8, "ClickHouse is away for a while", clickhouse_down, quick=False, alone=True),
    Scenario(11, "rebalance with an insert under way", rebalance_in_mid_insert),
    Scenario(12, "the old owner is halted beyond its session, then goes on", zombie("")),
    Scenario(13, "the old owner, halted before its commit, commits late", zombie("done=sleep:150"), quick=False),
    Scenario(14, "commits are refused: the member is fenced", fenced, quick=False),
    Scenario(14, "commits fail: Kafka dies or halts", kafka_down, quick=False, alone=True),
    Scenario(15, "the transform is replaced between seal and insert, with the same rows", other_transform),
    Scenario(15, "the transform is replaced between seal and insert, with other rows", pinned_transform, levels=("A",)),
    Scenario(16, "the transform that sealed a range is gone", transform_gone, levels=("A",), options=(("partitions", 1),)),
    Scenario(18, "the table gets a column between two attempts", column_added),
    Scenario(19, "the table is emptied between two attempts", truncated, levels=("A",)),
    Scenario(20, "the topic is compacted between two attempts", compacted, levels=("C",), quick=False,
             options=(("topic", {"cleanup_policy": "compact", "segment_ms": "300", "min_cleanable_dirty_ratio": "0.001", "max_compaction_lag_ms": "300"}),)),
    Scenario(21, "retention passes the position", retention, levels=("A",)),
    Scenario(22, "the topic is deleted and made anew", made_anew),
    Scenario(24, "dead letters cannot be kept for a while", answers({"kind": "exception", "code": 242}, table="_rowgate_dead_letters", name="dead letters refused")),
    Scenario(25, "ClickHouse's disk is full (answered by the proxy)",
             answers({"kind": "exception", "code": 243, "message": "Cannot reserve 1.00 MiB, not enough space", "status": 500}, name="no space")),
)

NOT_RUN = (
    (9, "ClickHouse dies right after it answered", "in the loop of ClickHouse's kills: SIGKILL at any moment"),
    (10, "power loss of ClickHouse", "not on one machine without taking the machine down; nothing is promised"),
    (17, "a transform that answers differently each time", "the sandbox gives it neither clock nor randomness"),
    (23, "poison records", "in every scenario: the workload has them, and the checker their dead letters"),
    (26, "the clock jumps", "the machine's clock is everybody's; no identity is made of it"),
    (27, "two pipelines of one name in two groups", "nothing is promised: each takes the other's rows for its own, or stops"),
)
