"""The tables of the zoo: for each type that PostgreSQL has a column, with values at the edges of what it holds.

A column has a kind, by which `expect.py` knows what must stand in ClickHouse. What a pool gives is the text of a value as
PostgreSQL reads it, or None for a null. Nothing here depends on the clock or on the order of a hash.
"""
import random
import uuid
from dataclasses import dataclass, field
from typing import Callable

SCHEMA = "zoo"
# Debezium 3.6.3 ends at a double quote in the name of a schema or a table.
ODD_SCHEMA = "Zoo Odd"

Pool = Callable[[random.Random], str | None]


def quote(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | None, sql_type: str) -> str:
    """A value as an expression of its type."""
    if text is None:
        return f"NULL::{sql_type}"
    if "\\" in text:
        return "E'" + text.replace("\\", "\\\\").replace("'", "''") + f"'::{sql_type}"
    return "'" + text.replace("'", "''") + f"'::{sql_type}"


@dataclass
class Column:
    """One column; `kind` is what `expect.py` knows it by."""

    name: str
    type: str
    kind: str
    pool: Pool
    nullable: bool = True
    # Where `type` cannot stand in a definition: none does so far, but for defaults.
    clause: str = ""

    def value(self, rng: random.Random) -> str:
        """A value of it, as an expression."""
        text = None if self.nullable and rng.random() < 0.12 else self.pool(rng)
        return literal(text, self.type)


@dataclass
class Table:
    """One table. `key` makes, of a number, the texts of a key; its columns are not among `columns`."""

    name: str
    columns: list[Column]
    schema: str = SCHEMA
    key_columns: list[Column] = field(default_factory=lambda: [Column("id", "bigint", "int", _never, False)])
    key: Callable[[int], list[str]] = lambda n: [str(n)]
    weight: int = 10
    full_identity: bool = False
    # Whether updates may leave columns as they are: then one of TOAST's size is not sent.
    partial_updates: bool = True
    # Changes of the table's definition: (share of the workload at which it happens, what it does).
    alters: list[tuple[float, Callable[["Table"], str]]] = field(default_factory=list)

    @property
    def full_name(self) -> str:
        return f"{quote(self.schema)}.{quote(self.name)}"

    def create(self) -> str:
        """The statement that makes it."""
        parts = [f"{quote(c.name)} {c.type}{'' if c.nullable else ' NOT NULL'}{c.clause}" for c in self.key_columns + self.columns]
        key = ", ".join(quote(c.name) for c in self.key_columns)
        statement = f"CREATE TABLE {self.full_name} ({', '.join(parts)}, PRIMARY KEY ({key}));"
        if self.full_identity:
            statement += f" ALTER TABLE {self.full_name} REPLICA IDENTITY FULL;"
        return statement


def _never(_rng: random.Random) -> str:
    raise AssertionError("a key's values come from the table")


# --- pools

def some(*edges: str, other: Pool | None = None, share: float = 0.5) -> Pool:
    """One of the edges, or with the rest of the probability one of another pool."""
    def pool(rng: random.Random) -> str | None:
        return other(rng) if other and rng.random() > share else rng.choice(edges)
    return pool


def integers(bits: int) -> Pool:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    edges = [str(n) for n in (low, low + 1, -1, 0, 1, high - 1, high)]
    return some(*edges, other=lambda rng: str(rng.randint(low, high) >> rng.randrange(bits)), share=0.4)


def decimals(precision: int, scale: int, nan: bool = True) -> Pool:
    """Decimals that fit numeric(precision, scale) exactly."""
    whole = precision - scale

    def text(digits: str) -> str:
        if scale <= 0:
            return digits + "0" * -scale
        digits = digits.rjust(scale + 1, "0")
        return digits[:-scale] + "." + digits[-scale:]

    def other(rng: random.Random) -> str:
        return rng.choice(["", "-"]) + text(str(rng.randrange(10 ** rng.randint(1, precision))))

    most = text("9" * precision)
    least = text("1")
    more = () if whole <= 0 or scale < 0 else ("1", "-1")
    return some("0", most, "-" + most, least, "-" + least, *more, *(["NaN"] if nan else []), other=other, share=0.4)


def floats(*edges: str) -> Pool:
    return some("0", "-0", "1", "-1.5", "0.1", "NaN", "Infinity", "-Infinity", *edges,
                other=lambda rng: repr(rng.uniform(-1, 1) * 10.0 ** rng.randint(-30, 30)))


TEXTS = ("", " ", "a", "O'Brien \"the\" \\ größte 🙂", "tab\tnewline\nreturn\r", "\\N", "NULL", "null", "\\", "'", '"', "`", "$$", "0",
         "\x01\x1f\x7f", "\ufffe\uffff", "e\u0301", "\u202e\u200b", "{\"a\": 1}", "%s{}", "-- ;", "日本語", "\U0010ffff", "1e5", "true", "2024-01-01")


def texts(most: int, *edges: str) -> Pool:
    alphabet = "abcXYZ 019'\"\\\t\n,;äß€🙂{}[]"
    return some(*(t for t in (*TEXTS, *edges) if len(t) <= most),
                other=lambda rng: "".join(rng.choices(alphabet, k=rng.randint(0, min(most, 60)))))


def blob(rng: random.Random) -> str:
    return "\\x" + rng.randbytes(rng.choice((0, 1, 2, 3, 7, 16, 100))).hex()


def bits(least: int, most: int) -> Pool:
    def other(rng: random.Random) -> str:
        n = rng.randint(least, most)
        return "".join(rng.choices("01", k=n))
    return some("0" * most, "1" * most, "1" + "0" * (most - 1), "0" * (most - 1) + "1", other=other)


def times(digits: int) -> Pool:
    def other(rng: random.Random) -> str:
        return f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}." + str(rng.randrange(10**6)).rjust(6, "0")[:digits]
    edges = ["00:00:00", "24:00:00", "23:59:59"]
    if digits:
        edges += ["23:59:59." + "9" * digits, "00:00:00." + "1".rjust(digits, "0"), "12:34:56.1"]
        return some(*edges, other=other)
    return some(*edges, other=lambda rng: other(rng).rstrip("."))


def days(low_year: int, high_year: int) -> Pool:
    return lambda rng: f"{rng.randint(low_year, high_year):04}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


# The years 1900 to 2299 fit DateTime64 and Date32 of every server; those beyond are in tables of their own.
DAYS = some("1970-01-01", "1969-12-31", "2024-02-29", "1900-01-01", "1900-02-28", "2299-12-31", "1925-01-01", "2106-02-08", "2149-06-07", "2283-11-12", other=days(1900, 2299))
OLD_DAYS = some("1899-12-31", "2300-01-01", "1582-10-04", "1582-10-10", "1582-10-15", "0001-01-01", "0999-12-31", "9999-12-31", "1970-01-01", other=days(1, 9999))
FAR_DAYS = some("infinity", "-infinity", "0001-12-31 BC", "0044-03-15 BC", "4713-01-01 BC", "10000-01-01", "20240-02-29", "5874897-12-31", other=days(10000, 50000))


def moments(digits: int, zone: str = "") -> Pool:
    """Timestamps of the years 1900 to 2299."""
    clock = times(digits)
    edges = ["1970-01-01 00:00:00", "1969-12-31 23:59:59", "1900-01-01 00:00:00", "2299-12-31 23:59:59", "2262-04-11 23:47:16", "2262-04-11 23:47:17", "2038-01-19 03:14:08"]
    if digits:
        nines = "." + "9" * digits
        edges += ["1969-12-31 23:59:59" + nines, "2024-02-29 23:59:59" + nines, "2299-12-31 23:59:59" + nines, "1970-01-01 00:00:00." + "1".rjust(digits, "0")]
    edges = [edge + zone for edge in edges]
    zones = [zone] if not zone else ["+00", "+14", "-12", "+05:30", "-03:30"]
    # The pool of the clock may say 24:00:00, which is the next day's midnight.
    return some(*edges, other=lambda rng: f"{days(1901, 2298)(rng)} {clock(rng)}{rng.choice(zones)}")


def far_moments(zone: str = "") -> Pool:
    # A timestamp without a zone after 294246 is more microseconds than 64 bits hold, and Debezium 3.6.3 lets them wrap.
    last = "294276-12-31 23:59:59.999999" if zone else "294246-12-31 23:59:59.999999"
    edges = ["4713-01-01 00:00:00 BC", "0044-03-15 12:34:56.789012 BC", "0001-12-31 23:59:59.999999 BC", "10000-01-01 00:00:00", last, "20240-01-01 00:00:00",
             "1582-10-10 12:00:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1899-12-31 23:59:59.999999", "2300-01-01 00:00:00", "1677-09-21 00:12:44",
             "1677-09-21 00:12:43", "1883-11-18 12:03:57", "2024-02-29 12:00:00"]
    return some("infinity", "-infinity", *(e.replace(" BC", f"{zone} BC") if "BC" in e else e + zone for e in edges))


def uuids(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128)))


UUIDS = some("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "11111111-2222-3333-4444-555555555555", other=uuids, share=0.3)
JSONS = some("null", "true", "0", "-1.5e-7", '""', '"text"', "[]", "{}", '{"a": null}', '{"a.b": 1, "a": {"b": 2}}', '[1, [2, [3, {"x": "\\u00e4\\\\ \\" 🙂"}]]]',
             "123456789012345678901234567890.123456789", '{"k": 9007199254740993}', '{"": ""}', '"__debezium_unavailable_values"', "[" * 60 + "]" * 60,
             other=lambda rng: '{"n": %d, "t": "%s"}' % (rng.randint(-10**12, 10**12), "".join(rng.choices("abc äß🙂", k=rng.randint(0, 20)))))


# Debezium 3.6.3 makes null of an array of numerics with a NaN, and of an array of an enum with a null; where the column cannot
# be null it ends. It reads times in arrays by the calendar of Java's older classes: those before 1582-10-15 come out shifted.
# So there are none of these here.
def arrays(element: Pool, plain: bool = True, nulls: bool = True) -> Pool:
    """Arrays in PostgreSQL's own notation; `plain` elements need no quotes."""
    def one(rng: random.Random) -> str:
        text = None if nulls and rng.random() < 0.2 else element(rng)
        if text is None:
            return "NULL"
        return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return lambda rng: "{" + ",".join(one(rng) for _ in range(rng.choice((0, 1, 2, 3, 7)))) + "}"


def number_ranges(low: int, high: int) -> Pool:
    def other(rng: random.Random) -> str:
        a, b = sorted((rng.randint(low, high - 1), rng.randint(low, high - 1)))
        return f"{rng.choice('[(')}{a},{b}{rng.choice(')]')}"
    return some("empty", "(,)", "[1,)", "(,5]", other=other)


def toast(rng: random.Random) -> str:
    """Text that PostgreSQL stores out of line: long, and it cannot be compressed well."""
    return rng.randbytes(rng.randint(1500, 3000)).hex()


def moods() -> Pool:
    return some(*MOODS)


MOODS = ("sad", "ok", "happy", "a,b", 'q"uote', "back\\slash", "o'clock", "größe 🙂", " blank ")
NETS = some("10.0.0.1", "10.0.0.1/8", "::1", "2001:db8::ff00:42:8329/64", "0.0.0.0/0", "::/0", "::ffff:1.2.3.4", other=lambda rng: ".".join(str(rng.randrange(256)) for _ in range(4)))
STRINGS_BY_TEXT = texts(200)


def key_text(n: int) -> str:
    """A text for a key, with what is awkward in one."""
    return TEXTS[n % len(TEXTS)].replace("\x01\x1f\x7f", "ctl") + str(n)


# Where the types of the zoo are.
PATH = f"SET search_path = {SCHEMA}, public;"

# No domain over an enum: Debezium 3.6.3 does not start where there is one (a null pointer in its TypeRegistry).
SETUP = f"""
CREATE EXTENSION IF NOT EXISTS hstore; CREATE EXTENSION IF NOT EXISTS citext; CREATE EXTENSION IF NOT EXISTS ltree;
DROP SCHEMA IF EXISTS {quote(SCHEMA)} CASCADE; DROP SCHEMA IF EXISTS {quote(ODD_SCHEMA)} CASCADE;
CREATE SCHEMA {quote(SCHEMA)}; CREATE SCHEMA {quote(ODD_SCHEMA)};
{PATH}
CREATE TYPE mood AS ENUM ({", ".join(literal(m, "text").removesuffix("::text") for m in MOODS)});
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS integer CHECK (value > 0);
CREATE DOMAIN label AS text CHECK (length(value) < 1000);
CREATE DOMAIN price AS numeric(10,2);
CREATE DOMAIN noon AS timestamp;
CREATE DOMAIN ident AS uuid;
CREATE TABLE zoo_end (id bigint PRIMARY KEY);
"""


def _add(name: str, sql_type: str, kind: str, pool: Pool) -> Callable[[Table], str]:
    def alter(table: Table) -> str:
        table.columns.append(Column(name, sql_type, kind, pool))
        return f"ALTER TABLE {table.full_name} ADD COLUMN {quote(name)} {sql_type};"
    return alter


def _drop(name: str) -> Callable[[Table], str]:
    def alter(table: Table) -> str:
        table.columns = [c for c in table.columns if c.name != name]
        return f"ALTER TABLE {table.full_name} DROP COLUMN {quote(name)};"
    return alter


def _retype(name: str, sql_type: str, kind: str, pool: Pool) -> Callable[[Table], str]:
    def alter(table: Table) -> str:
        table.columns = [Column(name, sql_type, kind, pool) if c.name == name else c for c in table.columns]
        return f"ALTER TABLE {table.full_name} ALTER COLUMN {quote(name)} TYPE {sql_type};"
    return alter


def _keyed(name: str, columns: list[tuple[str, str, str]], key: Callable[[int], list[str]]) -> Table:
    keys = [Column(n, t, k, _never, False) for n, t, k in columns]
    return Table(name, [Column("t", "text", "text", texts(50)), Column("n", "integer", "int", integers(32))], key_columns=keys, key=key, weight=3)


def tables(with_alters: bool = True) -> list[Table]:
    """All of them, new."""
    c = Column
    plain = [
        Table("z_int", [c("i2", "smallint", "int", integers(16)), c("i4", "integer", "int", integers(32)), c("i8", "bigint", "int", integers(64)),
                        c("b", "boolean", "bool", some("true", "false")), c("o", "oid", "int", some("0", "1", "4294967295", "2147483648")),
                        c("pos", "positive", "int", some("1", "2147483647")), c("i4n", "integer", "int", integers(32), False),
                        c("m", "money", "money", some("0", "0.01", "-0.01", "12.34", "92233720368547758.07", "-92233720368547758.08"))]),
        Table("z_num", [c("n18", "numeric(18,4)", "numeric(18,4)", decimals(18, 4)), c("n38", "numeric(38,0)", "numeric(38,0)", decimals(38, 0)),
                        c("n60", "numeric(60,10)", "numeric(60,10)", decimals(60, 10)), c("n76", "numeric(76,38)", "numeric(76,38)", decimals(76, 38)),
                        c("n100", "numeric(100,20)", "numeric(100,20)", decimals(100, 20)), c("neg", "numeric(4,-2)", "numeric(4,-2)", decimals(4, -2)),
                        c("tiny", "numeric(3,5)", "numeric(3,5)", decimals(3, 5)), c("pr", "price", "numeric(10,2)", decimals(10, 2)),
                        c("a", "numeric", "numeric", some("0", "-0.0", "1.10", "3.14159", "1e-30", "1e60", "123456789012345678901234567890.123456789", "-1e3", "0.000", "NaN", "1e-400",
                                                          other=decimals(40, 15)))]),
        Table("z_float", [c("f4", "real", "float4", floats("1e-45", "3.4028235e38", "1.1754944e-38", "16777217", "0.3")),
                          c("f8", "double precision", "float8", floats("5e-324", "1.7976931348623157e308", "9007199254740993", "2.2250738585072014e-308", "1e23"))]),
        Table("z_text", [c("t", "text", "text", texts(10000, "x" * 10000)), c("v", "varchar(40)", "text", texts(40)), c("vn", "varchar", "text", STRINGS_BY_TEXT),
                         c("ch", "char(8)", "text", texts(8)), c("ci", "citext", "text", texts(40)), c("e", "mood", "text", moods()),
                         c("l", "label", "text", texts(60)), c("tn", "text", "text", texts(100), False),
                         c("x", "xml", "text", some("<a>b</a>", "<r a=\"1\"><![CDATA[<>]]></r>", "<ü>🙂</ü>", "text only", "<?xml version=\"1.0\"?><r/>"))]),
        Table("z_text2", [c("lt", "ltree", "text", some("top", "top.sci.astro", "a.b.c.d_1", "")), c("ts", "tsvector", "text", some("'cat' 'fat'", "'a':1A 'b':2,3B", "''''", "")),
                          c("u", "uuid", "uuid", UUIDS), c("ud", "ident", "uuid", UUIDS), c("h", "hstore", "hstore", some("", "a=>1", "a=>1, b=>NULL", '"k k"=>"v\\"v", "ä"=>"🙂"', '""=>""')),
                          c("j", "json", "text", JSONS), c("jb", "jsonb", "text", JSONS), c("jd", "json", "text", some('{"a":1,"a":2}', '  {"a" :\n1}', '{"n":1e400}', '"\\u0000"'))]),
        Table("z_bin", [c("b", "bytea", "bytea", some("\\x", "\\x00", "\\xdeadbeef", "\\x" + bytes(range(256)).hex(), "\\x0d0a09275c", other=blob)), c("b1", "bit(1)", "bit1", bits(1, 1)),
                        c("b8", "bit(8)", "bits", bits(8, 8)), c("b10", "bit(10)", "bits", bits(10, 10)), c("b64", "bit(64)", "bits", bits(64, 64)), c("b70", "bit(70)", "bits", bits(70, 70)),
                        c("vb", "varbit", "bits", bits(0, 33)), c("vb20", "varbit(20)", "bits", bits(0, 20))]),
        Table("z_date", [c("d", "date", "date", DAYS), c("t", "time", "time(6)", times(6)), c("t3", "time(3)", "time(3)", times(3)), c("t0", "time(0)", "time(0)", times(0)),
                         c("tz", "timetz", "timetz", some("00:00:00+14", "23:59:59.999999-12", "12:34:56.789+02", "12:00:00+00", "12:34:56+05:30"))]),
        Table("z_ts", [c("t6", "timestamp", "timestamp(6)", moments(6)), c("t3", "timestamp(3)", "timestamp(3)", moments(3)), c("t0", "timestamp(0)", "timestamp(0)", moments(0)),
                       c("tz", "timestamptz", "timestamptz", moments(6, "+00")), c("tz3", "timestamptz(3)", "timestamptz", moments(3, "+00")), c("dn", "noon", "timestamp(6)", moments(6))], weight=15),
        Table("z_far", [c("d", "date", "date", lambda rng: rng.choice((OLD_DAYS, FAR_DAYS))(rng)), c("t6", "timestamp", "timestamp(6)", far_moments()), c("t3", "timestamp(3)", "timestamp(3)", far_moments()),
                        c("tz", "timestamptz", "timestamptz", far_moments("+00")), c("n", "integer", "int", integers(32))], weight=3),
        Table("z_span", [c("i", "interval", "interval", some("0", "1 day", "-1 day", "00:00:00.000001", "1 mon", "1 year 2 mons -3 days 04:05:06.789", "1000 years", "-04:00:00", "30 days 24:00:00"))], weight=4),
        Table("z_arr", [c("i", "integer[]", "array:int", arrays(integers(32))), c("b", "bigint[]", "array:int", arrays(integers(64))), c("t", "text[]", "array:text", arrays(texts(40), False)),
                        c("n", "numeric(10,2)[]", "array:numeric(10,2)", arrays(decimals(10, 2, False))), c("u", "uuid[]", "array:uuid", arrays(UUIDS)),
                        c("ts", "timestamp[]", "array:timestamp(6)", arrays(moments(6), False)), c("d", "date[]", "array:date", arrays(DAYS)), c("bo", "boolean[]", "array:bool", arrays(some("true", "false"))),
                        c("f", "float8[]", "array:float8", arrays(floats("1e23")))]),
        Table("z_arrn", [c("i", "integer[]", "array:int", arrays(integers(32)), False), c("t", "text[]", "array:text", arrays(texts(40), False), False),
                         c("n", "numeric(10,2)[]", "array:numeric(10,2)", arrays(decimals(10, 2, False)), False), c("tz", "timestamptz[]", "array:timestamptz", arrays(moments(6, "+00"), False), False),
                         c("e", "mood[]", "array:text", arrays(moods(), False, False), False), c("u", "uuid[]", "array:uuid", arrays(UUIDS), False)], weight=5),
        Table("z_range", [c("i4", "int4range", "text", number_ranges(-2**31, 2**31 - 2)), c("i8", "int8range", "text", number_ranges(-2**63, 2**63 - 2)), c("n", "numrange", "text", number_ranges(-10**20, 10**20)),
                          c("d", "daterange", "text", some("empty", "[2024-01-01,2024-02-29]", "(,2024-01-01)", "[0044-03-15 BC,infinity]")),
                          c("t", "tsrange", "text", some("empty", "[2024-01-01 00:00:00.000001,infinity)", "(,)")), c("tz", "tstzrange", "text", some("empty", "[2024-01-01 00:00:00+02,)"))], weight=4),
        Table("z_net", [c("i", "inet", "text", NETS), c("c", "cidr", "text", some("10.0.0.0/8", "::/0", "2001:db8::/32", "192.168.1.1/32")), c("m", "macaddr", "text", some("08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff")),
                        c("m8", "macaddr8", "text", some("08:00:2b:01:02:03:04:05"))], weight=4),
        Table("z_geo", [c("p", "point", "point", some("(0,0)", "(1.5,-2)", "(1e300,-1e-300)", "(0.1,0.2)")), c("l", "line", "unsent", some("{1,2,3}")), c("s", "lseg", "unsent", some("[(0,0),(1,1)]")),
                        c("bx", "box", "unsent", some("(1,1),(0,0)")), c("pa", "path", "unsent", some("((0,0),(1,1))")), c("po", "polygon", "unsent", some("((0,0),(1,1),(1,0))")),
                        c("ci", "circle", "unsent", some("<(0,0),1>")), c("cp", "pair", "unsent", some('(1,"a b")', "(,)")), c("mr", "int4multirange", "unsent", some("{[1,3),[5,7)}", "{}")), c("n", "integer", "int", integers(32))], weight=4),
        Table("z_toast", [c("big", "text", "text", toast), c("bin", "bytea", "bytea", lambda rng: "\\x" + toast(rng)), c("n", "integer", "int", integers(32))], weight=3, full_identity=True),
        Table("z_lazy", [c("big", "text", "text", toast), c("bin", "bytea", "bytea", lambda rng: "\\x" + toast(rng)), c("n", "integer", "int", integers(32))], weight=3),
        Table('z odd `näme` \\ 🙂', [c("Upper", "text", "text", texts(20)), c("with space", "integer", "int", integers(32)), c("quote\"d", "text", "text", texts(20)), c("o'clock", "text", "text", texts(20)),
                                       c("back`tick", "text", "text", texts(20)), c("back\\slash\\", "text", "text", texts(20)), c("emoji 🙂", "text", "text", texts(20)), c("select", "integer", "int", integers(32)),
                                       c("a.b", "text", "text", texts(20)), c("{x:String}", "text", "text", texts(20)), c("op", "text", "text", texts(20)), c("ts", "timestamp", "timestamp(6)", moments(6)), c("before", "integer", "int", integers(32))],
              schema=ODD_SCHEMA, weight=4),
        Table("z_ours", [c("_offset", "integer", "int", integers(32)), c("_version", "bigint", "int", integers(64)), c("_topic", "text", "text", texts(20)), c("_is_deleted", "boolean", "bool", some("true", "false"))], weight=3),
        _keyed("k_pair", [("b", "text", "text"), ("a", "integer", "int")], lambda n: [key_text(n // 3), str(n % 3 - 1)]),
        _keyed("k_text", [("k", "varchar(100)", "text")], lambda n: [key_text(n)]),
        _keyed("k_uuid", [("k", "uuid", "uuid")], lambda n: [str(uuid.uuid5(uuid.NAMESPACE_OID, str(n)))]),
        _keyed("k_num", [("k", "numeric(20,3)", "numeric(20,3)")], lambda n: [f"{n // 7}.{n % 7}00"]),
        _keyed("k_ts", [("k", "timestamp", "timestamp(6)")], lambda n: [f"2024-01-{n % 28 + 1:02} {n // 28 % 24:02}:00:00.{n:06}"]),
        _keyed("k_date", [("k", "date", "date"), ("b", "boolean", "bool")], lambda n: [f"{1900 + n // 28 % 300}-{n // 8400 % 12 + 1:02}-{n % 28 + 1:02}", str(n // 100800 % 2 == 0).lower()]),
        _keyed("k_bytes", [("k", "bytea", "bytea")], lambda n: ["\\x" + n.to_bytes(4, "little").hex()]),
        _keyed("k_small", [("k", "smallint", "int")], lambda n: [str(n % 32768)]),
    ]
    if with_alters:
        plain += [
            Table("a_add", [c("a", "integer", "int", integers(32))], weight=4, alters=[
                (0.25, _add("t", "text", "text", texts(40))), (0.5, _add("n", "numeric(10,2)", "numeric(10,2)", decimals(10, 2))), (0.75, _add("at", "timestamp", "timestamp(6)", moments(6)))]),
            Table("a_drop", [c("a", "integer", "int", integers(32)), c("gone", "text", "text", texts(40)), c("z", "text", "text", texts(40))], weight=4, alters=[(0.5, _drop("gone"))]),
            Table("a_widen", [c("a", "integer", "int", integers(32)), c("s", "smallint", "int", integers(16))], weight=4, alters=[
                (0.4, _retype("a", "bigint", "int", integers(64))), (0.6, _retype("s", "integer", "int", integers(32)))]),
            Table("a_text", [c("v", "varchar(10)", "text", texts(10)), c("n", "numeric(10,2)", "numeric(10,2)", decimals(10, 2))], weight=4, alters=[
                (0.5, _retype("v", "text", "text", texts(500))), (0.6, _retype("n", "numeric(14,2)", "numeric(14,2)", decimals(14, 2)))]),
        ]
    return plain
