"""What must stand in ClickHouse, given what stands in PostgreSQL: by a column's kind and the connector's modes.

Two forms: `wire` is what the connector writes in JSON, which is all that a schemaless record has; `meant` is the value that
the host must make of it where a schema says what it is. Where a mode loses something at the source, the form is the one after
the loss, and the loss has a name, which the checker counts.
"""
import base64
import json
import re
import struct
from decimal import Decimal, localcontext
from fractions import Fraction

from matrix import Combination

# A value as it must arrive, and the name of what the source loses, or None.
Expected = tuple[object, str | None]

US_INFINITY, US_MINUS_INFINITY = 9223372036825200000, -9223372036832400000
DATE_INFINITY, DATE_MINUS_INFINITY = -2147472692, -2147472691
DAY_NS = 86_400 * 10**9


class Meant(tuple):
    """A value with what it is: `("int", 5)`, `("text", b"..")`, `("num", Decimal)`, `("ns", 1)`, `("days", 1)`, ..."""


def meant(tag: str, value: object) -> Meant:
    return Meant((tag, value))


# --- the calendar, since Python's ends at the years 1 and 9999

def days_of(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar; the year 0 is 1 BC."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


DATE = re.compile(r"(-|\+)?(\d{4,})-(\d\d)-(\d\d)")
CLOCK = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?")
ZONE = re.compile(r"(Z|[+-]\d\d(?::\d\d)?(?::\d\d)?)?( BC)?$")


def parse_date(text: str) -> int | str:
    """Days; or `infinity`, `-infinity`."""
    if text.endswith("infinity"):
        return text
    found = DATE.match(text)
    year = int(found[2])
    if found[1] == "-":
        year = -year
    if text.endswith(" BC"):
        year = 1 - year
    return days_of(year, int(found[3]), int(found[4]))


def parse_clock(text: str) -> int:
    """Nanoseconds since midnight."""
    found = CLOCK.match(text)
    return ((int(found[1]) * 60 + int(found[2])) * 60 + int(found[3])) * 10**9 + int((found[4] or "").ljust(9, "0"))


def parse_zone(text: str) -> int:
    """Nanoseconds east of Greenwich."""
    if text in ("", "Z"):
        return 0
    parts = [int(part) for part in text[1:].split(":")] + [0, 0]
    return (1 if text[0] == "+" else -1) * (parts[0] * 3600 + parts[1] * 60 + parts[2]) * 10**9


def parse_moment(text: str) -> int | str:
    """Nanoseconds since 1970, UTC where there is no zone; or `infinity`, `-infinity`."""
    if text.endswith("infinity"):
        return text
    date, separator, rest = text.replace("T", " ").partition(" ")
    clock = CLOCK.match(rest)
    zone = ZONE.match(rest[clock.end():])
    days = parse_date(date + (zone[2] or ""))
    return days * DAY_NS + parse_clock(rest) - parse_zone(zone[1] or "")


def parse_timetz(text: str) -> int:
    """Nanoseconds since midnight in UTC."""
    clock = CLOCK.match(text)
    return (parse_clock(text) - parse_zone(text[clock.end():])) % DAY_NS


# --- kinds

def decimal_of(kind: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"numeric\((\d+),(-?\d+)\)", kind)
    return (int(found[1]), int(found[2])) if found else ((19, 2) if kind == "money" else None)


def exact(text: str) -> Decimal:
    with localcontext() as context:
        context.prec = 200_000
        return Decimal(text)


def unscaled(text: str, scale: int) -> str:
    """A decimal as Connect writes it."""
    with localcontext() as context:
        context.prec = 200_000
        number = int(exact(text).scaleb(scale))
    size = (number + (number < 0)).bit_length() // 8 + 1
    return base64.b64encode(number.to_bytes(size, "big", signed=True)).decode()


def money(text: str) -> str:
    return text.replace("$", "").replace(",", "")


def bits_bytes(text: str) -> bytes:
    """As Debezium writes bits: the last one first, in little-endian bytes, without zero bytes at the end."""
    number = int(text or "0", 2)
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def float_text(text: str) -> object:
    value = float(text)
    return {"NaN": "NaN", "Infinity": "Infinity", "-Infinity": "-Infinity"}.get(text, value)


def numeric(kind: str, text: str, how: Combination) -> tuple[object, Meant | None, str | None]:
    """The wire form of a decimal, what is meant, and what is lost."""
    text = money(text)
    if how.decimal == "string" and kind == "numeric(4,-2)" and text != "NaN":
        return meant("number_text", exact(text)), meant("number_text", exact(text)), "negative_scale_has_zeros"
    if how.decimal == "string":
        # The host is told only that it is text.
        text = "NAN" if text == "NaN" else text
        return text, meant("text", text), None
    if how.decimal == "double":
        value = float(text)
        lost = text != "NaN" and exact(text) != exact(repr(value))
        return float_text(text) if text == "NaN" else value, meant("float", value), "double_rounds" if lost else None
    if text == "NaN":
        return None, None, "nan_is_null"
    digits = decimal_of(kind)
    if digits is None:
        # Debezium drops the zeros at the end.
        short = text.rstrip("0").rstrip(".") if "." in text else text
        scale = len(short.partition(".")[2])
        return {"scale": scale, "value": unscaled(short, scale)}, meant("text", short), None if short == text else "unbounded_numeric_without_zeros_at_the_end"
    precision, scale = digits
    if scale < 0:
        # Debezium takes the eleven bits of the scale for a number without a sign.
        return unscaled(text, scale & 2047), meant("number_text", exact(text)), "negative_scale_has_zeros"
    wire = unscaled(text, scale)
    if precision > 76:
        return wire, meant("text", text), None
    return wire, meant("num", exact(text)), None


def clock(text: str, digits: int, how: Combination) -> tuple[object, Meant, str | None]:
    """A time of day."""
    ns = parse_clock(text)
    us, ms = ns // 1000, ns // 10**6
    match how.time:
        case "connect":
            return ms, meant("clock", ms * 10**6), "cut_to_ms" if us % 1000 else None
        case "isostring":
            return meant("iso_time", ns), meant("iso_time", ns), None
        case "nanoseconds":
            return ns, meant("clock", ns), None
        case "adaptive" if digits <= 3:
            return ms, meant("clock", us * 1000), None
    return us, meant("clock", us * 1000), None


def moment(text: str, digits: int, how: Combination) -> tuple[object, Meant | None, str | None]:
    """A timestamp without a zone."""
    ns = parse_moment(text)
    unit = {"connect": 10**6, "microseconds": 1000, "nanoseconds": 1, "isostring": 0}.get(how.time, 10**6 if digits <= 3 else 1000)
    if isinstance(ns, str):
        if unit == 0:
            return "+294247-01-10T04:00:25.2Z" if ns == "infinity" else "-290308-12-21T19:59:27.6Z", meant("infinite", ns), None
        if unit == 1:
            return (1 << 63) - 1 if ns == "infinity" else -(1 << 63), meant("infinite", ns), None
        wire = (US_INFINITY if ns == "infinity" else US_MINUS_INFINITY) * 1000 // unit
        return wire, meant("infinite", ns), None
    if unit == 0:
        return meant("iso", ns), meant("ns", ns), None
    # Debezium looks at the whole seconds, and takes the first that are in the range for outside.
    if unit == 1 and not -9_223_372_035 * 10**9 <= ns < 1 << 63:
        return None, None, "nanoseconds_out_of_range_null"
    return ns // unit, meant("ns", ns // unit * unit), "cut_to_ms" if ns % unit else None


def date(text: str, how: Combination) -> tuple[object, Meant]:
    days = parse_date(text)
    if isinstance(days, str):
        wire = DATE_INFINITY if days == "infinity" else DATE_MINUS_INFINITY
        if how.time == "isostring":
            wire = "-5877611-06-21Z" if days == "infinity" else "-5877611-06-22Z"
        return wire, meant("infinite", days)
    return meant("iso_date", days) if how.time == "isostring" else days, meant("days", days)


def span(text: str) -> tuple[object, Meant, str | None]:
    """An interval, as `months days microseconds`: Debezium's months have 30.4375 days."""
    months, of_days, us = map(int, text.split())
    total = (Fraction(months) * Fraction("30.4375") + of_days) * 86_400 * 10**6 + us
    return int(total), meant("int", int(total)), "months_have_30.4375_days" if months else None


def binary(raw: bytes, how: Combination) -> tuple[object, Meant]:
    if how.binary == "hex":
        return raw.hex(), meant("text", raw.hex())
    coded = base64.b64encode(raw).decode()
    return coded, meant("text", coded) if how.binary == "base64" else meant("bytes", raw)


def both(kind: str, text: str, how: Combination) -> tuple[object, Meant | None, str | None]:
    """A value that is not null: its wire form, what is meant, and what is lost."""
    digits = int(found[1]) if (found := re.search(r"\((\d)\)$", kind)) else 6
    match kind.partition("(")[0]:
        case "int":
            return int(text), meant("int", int(text)), None
        case "bool" | "bit1":
            value = text in ("t", "1", "true")
            return value, meant("bool", value), None
        case "numeric" | "money":
            return numeric(kind, text, how)
        case "float4":
            return meant("float4", float(text)), meant("float4", float(text)), None
        case "float8":
            return float_text(text), meant("float", float(text)), None
        case "uuid":
            return text, meant("uuid", text), None
        case "bytea":
            return *binary(bytes.fromhex(text[2:]), how), None
        case "bits":
            # Bits stay bytes in every mode.
            raw = bits_bytes(text)
            return base64.b64encode(raw).decode(), meant("bytes", raw), None
        case "date":
            return *date(text, how), None
        case "time":
            return clock(text, digits, how)
        case "timetz":
            ns = parse_timetz(text)
            return meant("iso_time", ns), meant("iso_time", ns), "timetz_in_utc" if not text.endswith("+00") else None
        case "timestamp":
            return moment(text, digits, how)
        case "timestamptz":
            ns = parse_moment(text)
            if isinstance(ns, str):
                return ns, meant("infinite", ns), None
            return meant("iso", ns), meant("ns", ns), None
        case "interval":
            return span(text)
        case "hstore":
            value = json.loads(text)
            return meant("json", value), meant("json", value), None
        case "point":
            x, y = (float(part) for part in text.strip("()").split(","))
            return meant("point", (x, y)), meant("point", (x, y)), None
    return text, meant("text", text), None


def select(kind: str, column: str) -> str:
    """The expression whose text is what `expected` reads."""
    if kind.startswith("array:"):
        return f"to_json({column}::text[])"
    if kind == "hstore":
        return f"hstore_to_json({column})"
    if kind == "interval":
        return f"(extract(year from {column}) * 12 + extract(month from {column}))::bigint || ' ' || extract(day from {column})::bigint || ' ' || " \
               f"(extract(epoch from {column} - date_trunc('day', {column})) * 1000000)::bigint"
    return column


def expected(kind: str, text: str | None, how: Combination) -> Expected:
    """What must stand in ClickHouse: None, or a value that `same` compares."""
    typed = how.format != "plain"
    if text is None:
        return None, None
    if kind.startswith("array:"):
        elements = [expected(kind[6:], element, how) for element in json.loads(text)]
        return meant("array", [value for value, _ in elements]), next((lost for _, lost in elements if lost), None)
    wire, value, lost = both(kind, text, how)
    return (value if typed else wire), lost


# --- comparing

def same_float(got: str, value: float, narrow: bool = False) -> bool:
    try:
        number = float(got)
    except ValueError:
        return False
    if narrow:
        pack = struct.Struct("f").pack
        try:
            return pack(number) == pack(value) or (number != number and value != value)
        except OverflowError:
            return False
    return (number, str(number)) == (value, str(value)) or (number != number and value != value)


def same_text(got: str, value: object) -> bool:
    """Whether the text of a value is that value: an element of an array, or what a schemaless record has."""
    if not isinstance(value, Meant):
        if isinstance(value, bool):
            return got in (("true", "1") if value else ("false", "0"))
        if isinstance(value, float):
            return same_float(got, value)
        if isinstance(value, str):
            # A text column that became a float's, for it held NaN among numbers.
            return got == value or (value in ("NaN", "Infinity", "-Infinity") and same_float(got, float(value)))
        if isinstance(value, dict):
            try:
                return json.loads(got) == value
            except ValueError:
                return False
        return got == str(value)
    tag, inner = value
    try:
        match tag:
            case "int":
                return got == str(inner)
            case "num" | "number_text":
                return exact(got) == inner
            case "float" | "float4":
                return same_float(got, inner, tag == "float4")
            case "bool":
                return got in (("true", "1") if inner else ("false", "0"))
            case "text" | "uuid" | "infinite":
                return got == inner
            case "iso" | "ns":
                return parse_moment(got) == inner
            case "iso_date" | "days":
                return parse_date(got.rstrip("Z")) == inner
            case "iso_time":
                return got.endswith("Z") and parse_timetz(got) == inner % DAY_NS or parse_clock(got) == inner
            case "clock":
                return parse_clock(got) == inner
            case "json":
                return json.loads(got) == inner
            case "point":
                return (json.loads(got)["x"], json.loads(got)["y"]) == inner
            case "array":
                elements = json.loads(got, parse_int=str, parse_float=str, parse_constant=str)
                return len(elements) == len(inner) and all(same_element(a, b) for a, b in zip(elements, inner))
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError):
        return False
    raise AssertionError(tag)


def same_element(got: object, value: object) -> bool:
    if got is None or value is None:
        return got is value
    if isinstance(got, bool):
        got = str(got).lower()
    return isinstance(got, str) and same_text(got, value)


# The types that a value must have where a schema says what it is; elsewhere it may be text.
TYPES = {
    "int": r"U?Int\d+", "num": r"Decimal\(.*", "float": "Float64", "float4": "Float32", "bool": "Bool", "text": "String|LowCardinality\\(String\\)", "bytes": "String", "uuid": "UUID",
    "ns": r"DateTime64\(.*", "days": "Date32", "iso_time": "String", "clock": r"Time64\(.*", "json": "String", "point": "String", "number_text": "String", "infinite": "String", "array": r"String|Array\(.*",
}


def same(got: bytes | None, ch_type: str, value: object, how: Combination) -> bool:
    """Whether a cell of a column of this type is the value that is expected."""
    if got is None or value is None:
        return got is value
    plain = ch_type.removeprefix("Nullable(").removesuffix(")") if ch_type.startswith("Nullable(") else ch_type
    if isinstance(value, Meant) and value[0] == "bytes":
        return got == value[1]
    if how.format != "plain" and isinstance(value, Meant) and not re.fullmatch(TYPES[value[0]], plain):
        return False
    try:
        text = got.decode()
    except UnicodeDecodeError:
        return False
    return same_text(text, value)
