"""The history that the workload writes, and what must become of each record: known from its number and the seed alone."""
import hashlib
import json
from dataclasses import dataclass

# Of 256 records, so many of each kind; the rest are updates.
CREATES, DELETES, TOMBSTONES, POISON = 40, 24, 12, 6
MICROSECONDS = 1_704_067_200_000_000

# Which operations have rows.
OPERATIONS = {"update_only": "u", "all_changes": "cud", "mirror": "cud"}


@dataclass(frozen=True)
class Record:
    """The record of one number."""

    n: int
    id: int
    partition: int
    table: str
    # One of c, u, d; `tombstone`; `poison`, which must become a dead letter.
    kind: str
    hash: str


@dataclass(frozen=True)
class History:
    """All records of one tag, without an end."""

    tag: str
    seed: int
    partitions: int = 2
    tables: int = 1
    keys: int = 300

    @property
    def topic(self) -> str:
        """The one topic."""
        return f"{self.tag}.public.orders"

    def names(self) -> list[str]:
        """Of the tables."""
        return ["orders"] + [f"orders{at}" for at in range(1, self.tables)]

    def record(self, n: int) -> Record:
        """The record of this number."""
        digest = hashlib.sha256(f"{self.seed}/{self.tag}/{n}".encode()).digest()
        key = int.from_bytes(digest[:4]) % self.keys
        at, kind = digest[4], "u"
        for name, share in (("c", CREATES), ("d", DELETES), ("tombstone", TOMBSTONES), ("poison", POISON)):
            if 0 <= at < share:
                kind = name
            at -= share
        return Record(n, key, key % self.partitions, self.names()[key // self.partitions % self.tables], kind, digest.hex()[:32])

    def message(self, record: Record) -> tuple[bytes, bytes | None]:
        """Its key and its value, as Debezium writes them without a schema."""
        key = json.dumps({"id": record.id}).encode()
        # These two have keys of their own, so that compaction keeps them apart from the rows.
        if record.kind == "tombstone":
            return b'{"gone": %d}' % record.n, None
        if record.kind == "poison":
            return b'{"broken": %d}' % record.n, b'{"broken": %d' % record.n
        row = {"id": record.id, "n": record.n, "tag": self.tag, "hash": record.hash, "filler": record.hash[: record.n % 30], "at": MICROSECONDS + record.n}
        # Of a deleted row all is known, as with the replica identity FULL.
        before = row if record.kind == "d" else None
        source = {"version": "3.6.3.Final", "connector": "postgresql", "name": self.tag, "ts_ms": 1795343205916, "snapshot": "false", "db": "app",
                  "schema": "public", "table": record.table, "txId": record.n, "lsn": 26374536 + record.n}
        value = {"before": before, "after": None if record.kind == "d" else row, "source": source, "transaction": None, "op": record.kind, "ts_ms": 1795343206005}
        return key, json.dumps(value, separators=(",", ":")).encode()
