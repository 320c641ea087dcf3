"""Bugs planted in the host on purpose (`Bug` in host/src/chaos.rs), each with the faults that bring it to light."""
import signal
from typing import Callable

from faults import Failed, Pipeline, until
from scenarios import killed_while_the_proxy, made_anew, pinned_transform, progress

# What a host may have said when it stops because of a bug, in place of losing or doubling rows.
STOPPED = "error:"


def killed_before_the_insert(p: Pipeline) -> None:
    """A position that is committed too early passes over the range."""
    killed_while_the_proxy("hang", seconds=20)(p, 6)


def answers_lost(p: Pipeline) -> None:
    """The rows are there, and the next attempt is not known for the same."""
    host = p.host(proxy=True)
    for _ in range(6):
        p.fired(p.arm("drop_response"))
    host.drain()


def cut_elsewhere(p: Pipeline) -> None:
    """A range that has its rows is cut by other limits when it is repeated."""
    for turn in range(8):
        p.batch_rows = (40, 23)[turn % 2]
        p.die_at("inserted", p.rng.randint(2, 4))


def owner_lost(p: Pipeline) -> None:
    """A host that was halted writes what it had taken in, though others own it by now."""
    p.batch_rows = 23
    halted = p.host(instance=None, points="prepared=sleep:200")
    until("new rows", progress(p))
    for _ in range(3):
        p.batch_rows = 40
        other = p.host(instance=None)
        # All partitions come to the other when the halted one's session is over.
        halted.signal(signal.SIGSTOP)
        other.wait_for("partition assigned", p.history.partitions)
        until("new rows of the other host", progress(p))
        said = halted.said().count("partition revoked")
        halted.signal(signal.SIGCONT)
        until("the halted host to notice", lambda: not halted.is_running() or halted.said().count("partition revoked") > said)
        until("new rows", progress(p))
        if not halted.is_running():
            raise Failed(f"the host stopped: {halted.last()}")
        other.drain()


def transform_replaced(p: Pipeline) -> None:
    """A sealed range is finished by a transform that makes other rows."""
    pinned_transform(p, 4)


def topic_made_anew(p: Pipeline) -> None:
    """Offsets come again, and are taken for those that were."""
    made_anew(p, 4)


def inserts_late(p: Pipeline) -> None:
    """An insert that was given up begins after its rows were looked for, and inserted again."""
    host = p.host(proxy=True)
    for _ in range(6):
        p.fired(p.arm("late", seconds=0.5))
        until("the late insert", p.lab.none_is_late)
    host.drain()


# By its name: what brings it to light. At level A, but for sessions.
BUGS: dict[str, Callable[[Pipeline], None]] = {
    "commit_before_insert": killed_before_the_insert,
    "token_of_attempt": answers_lost,
    "no_window": answers_lost,
    "other_cut_on_replay": cut_elsewhere,
    "commit_after_revocation": owner_lost,
    "pin_ignored": transform_replaced,
    "epochs_ignored": topic_made_anew,
    "row_vanishes": answers_lost,
    "sessions_ignored": inserts_late,
}


def noticed(p: Pipeline, bug: str) -> str:
    """How a planted bug is noticed; empty where it is not."""
    p.bug = bug
    try:
        BUGS[bug](p)
        p.bug = ""
        found = p.finish()
    except Failed as failed:
        p.end_hosts()
        stopped = next((line for host in reversed(p.hosts) for line in host.said().splitlines() if line.startswith(STOPPED)), "")
        if not stopped:
            raise failed
        return f"the host stops: {stopped[:200]}"
    wrong = {kind: count for kind, count in found["count"].items() if count}
    return ", ".join(f"{count} {kind}" for kind, count in wrong.items())
