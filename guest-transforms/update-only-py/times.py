"""What the values of columns that are times say, as microseconds since 1970."""

from struct import iter_unpack

NO_INTEGER = "not a time: an integer beyond its unit's range"
NO_TEXT = "not a time: text that is not as ISO 8601 has it"
TOO_PRECISE = "more precise than a microsecond; `subsecond=floor` would round it down"

# Of a timestamp.
LEAST, MOST = -(2**63), 2**63 - 1


def from_integers(numbers, states, settings):
    """Of a column of integers, and by their rows the reasons why some are no times."""
    unit = settings.unit
    if unit is None and numbers and not states:
        # Where the least and the most are taken for the same, all are.
        least, most = min(numbers), max(numbers)
        if least > 0 and guess(least) == guess(most):
            unit = guess(least)
    if unit == "us":
        return numbers, {}
    if unit == "ms" and LEAST <= 1_000 * min(numbers, default=0) and 1_000 * max(numbers, default=0) <= MOST:
        return [1_000 * number for number in numbers], {}
    return each(lambda number: from_integer(number, unit, settings.floor), numbers, states)


def from_texts(blobs, states, settings):
    """Of a column of text, and by their rows the reasons why some are no times."""
    micros = None if states else all_alike(blobs.offsets, blobs.bytes)
    if micros is not None:
        return micros, {}
    data = blobs.bytes
    cells = [data[start:end] for start, end in zip(blobs.offsets, blobs.offsets[1:])]
    return each(lambda text: from_text(text, settings.floor), cells, states)


def each(read, cells, states):
    """Reads one cell after the other; 0 stands for those that are not there or cannot be read."""
    micros, faults = [0] * len(cells), {}
    for row, cell in enumerate(cells):
        if not states or states[row] == 0:
            try:
                micros[row] = read(cell)
            except ValueError as why:
                faults[row] = str(why)
    return micros, faults


def from_integer(number, unit, floor):
    match unit or guess(number):
        case "s":
            micros = number * 1_000_000
        case "ms":
            micros = number * 1_000
        case "us":
            micros = number
        case _:
            micros, nanos = divmod(number, 1_000)
            if nanos and not floor:
                raise ValueError(TOO_PRECISE)
    if not LEAST <= micros <= MOST:
        raise ValueError(NO_INTEGER)
    return micros


def guess(number):
    """The unit that a number most likely counts."""
    size = abs(number)
    if size < 100_000_000_000:
        return "s"
    if size < 100_000_000_000_000:
        return "ms"
    return "us" if size < 100_000_000_000_000_000 else "ns"


# The microseconds of `09.`, by the text.
SECONDS = {b"%02d." % second: second * 1_000_000 for second in range(60)}


class Seconds(dict):
    """The microseconds of `2024-05-06T07:08:09.`, by the text: changes that come together were mostly made in the same second,
    and those of one minute need its day only once."""

    def __init__(self):
        super().__init__()
        self.minutes = {}

    def __missing__(self, text):
        minute, second = text[:17], text[17:]
        if minute not in self.minutes:
            check(minute[10:11] in b"Tt ")
            self.minutes[minute] = from_text(minute[:-1], False)
        micros = self[text] = self.minutes[minute] + SECONDS[second]
        return micros


def all_alike(offsets, data):
    """Of a column in which each cell is as long as the first, such as `2024-05-06T07:08:09.123456Z`; none where one is
    not, or ends otherwise."""
    rows = len(offsets) - 1
    length = len(data) // rows if rows else 0
    digits = length - len("2024-05-06T07:08:09.Z")
    if not 1 <= digits <= 6 or offsets != list(range(0, len(data) + 1, length)):
        return None
    behind_point = (data[at::length] for at in range(20, length - 1))
    if data[16::length] != b":" * rows or data[length - 1 :: length] != b"Z" * rows:
        return None
    if not all(digits.isdigit() for digits in behind_point):
        return None
    seconds, unit = Seconds(), 10 ** (6 - digits)
    cells = iter_unpack(f"20s{digits}sx", data)
    try:
        if unit == 1:
            return [seconds[second] + int(fraction) for second, fraction in cells]
        return [seconds[second] + unit * int(fraction) for second, fraction in cells]
    except (KeyError, ValueError):
        return None


def from_text(text, floor):
    """Of one text, `2024-05-06`, then perhaps `T` or a space and `07:08` or `07:08:09` with up to nine digits after a
    point, then perhaps `Z`, `+01`, `+01:30` or `-01:30`. A ValueError where it is anything else."""
    seconds = 86_400 * days_since_1970(text[:10])
    rest, nanos = text[10:], 0
    if rest[:1] in (b"T", b"t", b" ") and rest:
        seconds += 60 * clock(rest[1:6])
        rest = rest[6:]
        if rest[:1] == b":":
            second = number(rest[1:3], 2)
            check(second < 60)
            seconds += second
            rest = rest[3:]
            if rest[:1] == b".":
                after = rest[1:].lstrip(b"0123456789")
                fraction = rest[1 : len(rest) - len(after)]
                check(1 <= len(fraction) <= 9)
                nanos = int(fraction) * 10 ** (9 - len(fraction))
                rest = after
    seconds -= zone(rest)
    if nanos % 1_000 and not floor:
        raise ValueError(TOO_PRECISE)
    return seconds * 1_000_000 + nanos // 1_000


def check(holds):
    if not holds:
        raise ValueError(NO_TEXT)


def number(text, digits):
    """The number that so many digits say."""
    check(len(text) == digits and text.isdigit())
    return int(text)


def clock(text):
    """The minutes of `07:08`."""
    hour, minute = number(text[:2], 2), number(text[3:], 2)
    check(text[2:3] == b":" and hour < 24 and minute < 60)
    return 60 * hour + minute


def zone(text):
    """How many seconds the zone that a text ends with is ahead of UTC."""
    if text in (b"", b"Z", b"z"):
        return 0
    check(text[:1] in (b"+", b"-"))
    minutes = clock(text[1:]) if len(text) > 3 else 60 * number(text[1:], 2)
    check(minutes < 24 * 60)
    return 60 * minutes if text[:1] == b"+" else -60 * minutes


def days_since_1970(text):
    """Of a day of the Gregorian calendar, as `2024-05-06`."""
    year, month, day = number(text[:4], 4), number(text[5:7], 2), number(text[8:], 2)
    check(text[4:5] == text[7:8] == b"-" and 1 <= month <= 12 and 1 <= day <= days_of(year, month))
    # Counted from the first of March of the year 0, so that the leap day is a year's last.
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    # Five months from March or from August have 153 days: 31 30 31 30 31.
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 1 - 719_468


def days_of(year, month):
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31
