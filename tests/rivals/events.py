"""The events: always the same, as Debezium's PostgreSQL connector writes them, and the rows that must become of them."""
import json
import random
from collections.abc import Iterator

TOPIC = "shop.public.orders"
# 2024-11-22T00:00:00Z, in microseconds since 1970.
START_US = 1_732_233_600_000_000
WORDS = ("please", "leave", "with", "neighbour", "ring", "twice", "gift", "wrap", "café", "garden", "door", "fragile")
# Of a row's columns, what the converter's schema says.
COLUMNS = (
    ("id", "int64", None), ("customer_id", "int64", None), ("status", "string", None), ("currency", "string", None), ("total", "double", None),
    ("is_gift", "boolean", None), ("email", "string", None), ("note", "string", None),
    ("created_at", "int64", "io.debezium.time.MicroTimestamp"), ("updated_at", "string", "io.debezium.time.ZonedTimestamp"))
# The table for those who make none themselves; `n` is the event's number in the one of what is expected.
TABLE = ("id Int64, customer_id Nullable(Int64), status Nullable(String), currency Nullable(String), total Nullable(Float64), is_gift Nullable(Bool),"
         " email Nullable(String), note Nullable(String), created_at Nullable(DateTime64(6, 'UTC')), updated_at Nullable(DateTime64(6, 'UTC')), op String")
# What two tables are compared by: how many rows, and a sum of hashes of their values.
DIGEST = "count(), sum(cityHash64(" + ", ".join(
    [f"ifNull(toString({name}), '-')" for name, _, _ in COLUMNS[:-2]]
    + [f"ifNull(toString(toUnixTimestamp64Micro({name})), '-')" for name, _, _ in COLUMNS[-2:]] + ["toString(op)"]) + "))"


def compact(value) -> str:
    """As the connector writes JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def iso(micros: int) -> str:
    """A time of the day of `START_US`, as ISO 8601 has it."""
    seconds, micros = divmod(micros - START_US, 1_000_000)
    return f"2024-11-22T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micros:06}Z"


def structure(name: str, fields: list[dict], optional: bool = False) -> dict:
    """What the converter says of an object."""
    return {"type": "struct", "fields": fields, "optional": optional, "name": f"{TOPIC}.{name}", "version": 1}


def field(name: str, kind: str, semantic: str | None = None, optional: bool = True) -> dict:
    """What the converter says of a member."""
    return {"type": kind, "optional": optional, **({"name": semantic, "version": 1} if semantic else {}), "field": name}


def schemas() -> tuple[str, str]:
    """The converter's, of keys and of values."""
    row = [field(name, kind, semantic, optional=name != "id") for name, kind, semantic in COLUMNS]
    texts = {"version", "connector", "name", "snapshot", "db", "sequence", "schema", "table", "origin"}
    source = [field(name, "string" if name in texts else "int64") for name in
              ("version", "connector", "name", "ts_ms", "snapshot", "db", "sequence", "ts_us", "ts_ns", "schema", "table", "txId", "lsn", "xmin", "origin", "origin_lsn")]
    transaction = [field("id", "string"), field("total_order", "int64"), field("data_collection_order", "int64")]
    members = [structure("Value", row, True) | {"field": "before"}, structure("Value", row, True) | {"field": "after"},
               structure("Source", source) | {"field": "source", "name": "io.debezium.connector.postgresql.Source"},
               structure("Block", transaction, True) | {"field": "transaction", "name": "event.block"},
               field("op", "string", optional=False), *(field(name, "int64") for name in ("ts_ms", "ts_us", "ts_ns"))]
    return compact(structure("Key", row[:1])), compact(structure("Envelope", members))


def row(rng: random.Random, number: int) -> dict:
    """What a row holds after an event."""
    customer = rng.randrange(1, 2_000_000)
    note = (' "' if rng.random() < 0.1 else " ").join(rng.choices(WORDS, k=rng.randrange(3, 9)))
    return {"id": rng.randrange(1, 5_000_000), "customer_id": customer, "status": rng.choice(("new", "paid", "packed", "shipped", "returned")),
            "currency": rng.choice(("EUR", "USD", "JPY")), "total": rng.randrange(100, 90_000) / 100, "is_gift": rng.random() < 0.125,
            "email": f"customer{customer}@example.com", "note": note if number == 0 or rng.random() < 0.8 else None,
            "created_at": START_US - rng.randrange(90 * 86_400_000_000), "updated_at": iso(START_US + number * 3000 + rng.randrange(1000))}


def events(count: int, seed: int = 1) -> Iterator[tuple[str, str, str | None]]:
    """Key and value of each, and of an update the row that must become of it, all as JSON: 60 % updates, 25 % creates, 10 % deletes, 5 % reads of a snapshot."""
    rng = random.Random(seed)
    for number in range(count):
        # The first shows what all columns look like.
        op = rng.choices("ucdr", (60, 25, 10, 5))[0] if number else "c"
        after = row(rng, number)
        before = after | {"status": "new", "updated_at": iso(START_US + number * 2000)}
        at, lsn = START_US // 1000 + number * 3, 26_374_496 + number * 3
        source = {"version": "3.6.3.Final", "connector": "postgresql", "name": "shop", "ts_ms": at, "snapshot": "true" if op == "r" else "false", "db": "shop",
                  "sequence": f'["{lsn - 56}","{lsn}"]', "ts_us": at * 1000 + 7, "ts_ns": at * 1_000_000 + 7000, "schema": "public", "table": "orders",
                  "txId": 700 + number // 2, "lsn": lsn, "xmin": None, "origin": None, "origin_lsn": None}
        value = {"before": before if op in "ud" else None, "after": None if op == "d" else after, "source": source, "transaction": None, "op": op,
                 "ts_ms": at + 45, "ts_us": at * 1000 + 45_011, "ts_ns": at * 1_000_000 + 45_011_022}
        expected = after | {"updated_at": after["updated_at"][:-1].replace("T", " "), "op": op}
        yield compact({"id": after["id"]}), compact(value), compact(expected) if op == "u" else None
