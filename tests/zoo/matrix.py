"""The combinations of a connector's settings that the zoo is read through."""
import itertools
from dataclasses import dataclass

from tables import ODD_SCHEMA, SCHEMA

DECIMALS = ("precise", "double", "string")
TIMES = ("adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds")
BINARIES = ("bytes", "base64", "hex")
FORMATS = ("schema", "plain", "avro")


@dataclass(frozen=True)
class Combination:
    """One of them. `format`: JSON with a schema, plain JSON without, or Avro."""

    decimal: str
    time: str
    binary: str
    format: str

    @property
    def name(self) -> str:
        """Also its connector's, its topics' prefix, and its database's."""
        return f"{self.decimal}_{self.time}_{self.binary}_{self.format}"

    def options(self, snapshot: bool) -> list[str]:
        """What its connector is told; with a snapshot it begins with the rows at hand, else where its slot does."""
        schemas = str(self.format == "schema").lower()
        options = [
            "table.include.list=", f"schema.include.list={SCHEMA},{ODD_SCHEMA}", "publication.autocreate.mode=disabled",
            f"snapshot.mode={'initial' if snapshot else 'no_data'}",
            f"decimal.handling.mode={self.decimal}", f"time.precision.mode={self.time}", f"binary.handling.mode={self.binary}",
            f"value.converter.schemas.enable={schemas}", f"key.converter.schemas.enable={schemas}",
            "max.batch.size=4096", "max.queue.size=16384", "producer.override.compression.type=lz4", "producer.override.linger.ms=20",
            "producer.override.batch.size=262144",
        ]
        if self.format == "avro":
            options += ["avro", "field.name.adjustment.mode=avro"]
        return options


def full(formats: tuple[str, ...] = FORMATS) -> list[Combination]:
    """All of them."""
    return [Combination(*values) for values in itertools.product(DECIMALS, TIMES, BINARIES, formats)]


def pairwise(formats: tuple[str, ...] = FORMATS) -> list[Combination]:
    """Few of them, in which each value of a setting meets each value of every other."""
    def pairs(one: Combination) -> set:
        return set(itertools.combinations(enumerate((one.decimal, one.time, one.binary, one.format)), 2))
    left = set().union(*map(pairs, full(formats)))
    chosen = []
    while left:
        best = max(full(formats), key=lambda one: len(pairs(one) & left))
        chosen.append(best)
        left -= pairs(best)
    return chosen


def named(names: str, formats: tuple[str, ...] = FORMATS) -> list[Combination]:
    """`pairwise`, `full`, or names with commas between."""
    if names in ("", "pairwise"):
        return pairwise(formats)
    if names == "full":
        return full(formats)
    by_name = {one.name: one for one in full()}
    unknown = [name for name in names.split(",") if name not in by_name]
    if unknown:
        raise SystemExit(f"no combination {unknown}; a name is like {full()[0].name}")
    return [by_name[name] for name in names.split(",")]
