"""The parameters `times`, `unit` and `subsecond`."""

from collections.abc import Callable
from dataclasses import dataclass

NAMES = ("times", "unit", "subsecond")


@dataclass
class Settings:
    """What the parameters say."""

    is_time: Callable[[str], bool]
    # What integers count; none: it is guessed from their size.
    unit: str | None
    # Rounds down to microseconds what is more precise.
    floor: bool


def read(params: list[tuple[str, str]]) -> Settings:
    """What the parameters say; a ValueError where one is wrong."""
    given: dict[str, str] = {}
    for name, value in params:
        if name in given:
            raise ValueError(f"parameter `{name}` is given twice")
        given[name] = value
    for name in given:
        if name not in NAMES:
            known = ", ".join(f"`{name}`" for name in NAMES)
            raise ValueError(f"unknown parameter `{name}`: there are {known}")
    times = patterns("times", given.get("times", "*_at"))
    unit = given.get("unit", "auto")
    if unit not in ("s", "ms", "us", "ns", "auto"):
        raise ValueError(f"parameter `unit` is `{unit}`: it must be `s`, `ms`, `us`, `ns` or `auto`")
    subsecond = given.get("subsecond", "exact")
    if subsecond not in ("exact", "floor"):
        raise ValueError(f"parameter `subsecond` is `{subsecond}`: it must be `exact` or `floor`")
    return Settings(
        lambda name: any(matches(pattern, name) for pattern in times),
        None if unit == "auto" else unit,
        subsecond == "floor",
    )


def patterns(parameter: str, value: str) -> list[str]:
    """What stands between commas."""
    if not value.strip():
        return []
    names = [name.strip() for name in value.split(",")]
    if "" in names:
        raise ValueError(
            f"parameter `{parameter}` is `{value}`: it must be names with commas between them, such as `id,paid_at`"
        )
    return names


def matches(pattern: str, name: str) -> bool:
    """Whether a name is what a pattern says, in which `*` stands for any characters."""
    first, *parts = pattern.split("*")
    if not parts:
        return name == first
    if not name.startswith(first):
        return False
    *parts, last = parts
    at = len(first)
    for part in parts:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - at >= len(last) and name.endswith(last)
