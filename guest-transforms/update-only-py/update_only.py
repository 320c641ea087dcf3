"""The default transform in Python: keeps updates, with every column of the row after them, times in UTC, and a
column `op`. It gives what `update-only`, in Rust, gives; guest-transforms/README.md says what that is.

The interpreter is slow and its built-in functions are not: what can be done with a whole column at once is.
"""

from itertools import compress

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import (
    Answer, Batch, Cells_Ints, Column, Computed, Field, Input_After, Input_Op, Kind, Ops, Origin_Computed, Origin_Copy,
    Output, OutputColumn, Part, Plan, Reject, Table,
)

import parameters
import times

# What the other names give way to: those of columns that the transform or the host adds.
TAKEN = {"op", "ts", "_topic", "_partition", "_offset", "_seq", "_transform", "_version", "_is_deleted"}


class Handler(exports.Handler):
    # Each function is called on an object of its own: what they share is the class's.
    settings: parameters.Settings
    # By the number of a table, the names of its columns that are read as times.
    times_of: dict[int, list[str]] = {}

    def configure(self, params: list[tuple[str, str]]) -> None:
        try:
            Handler.settings = parameters.read(params)
        except ValueError as why:
            raise Err(str(why)) from None
        self.times_of.clear()

    def prepare(self, table: Table) -> Plan:
        names, reads, columns = [], [], []
        for at, field in enumerate(table.fields):
            origin = Origin_Copy(Input_After(at))
            if not table.typed and field.kind in (Kind.INT, Kind.TEXT) and self.settings.is_time(field.name):
                origin = Origin_Computed(Computed(Kind.TIMESTAMP, True, None))
                names.append(field.name)
                reads.append(Input_After(at))
            columns.append(OutputColumn(free_name(field.name, table.fields), origin))
        columns.append(OutputColumn("op", Origin_Copy(Input_Op())))
        self.times_of[table.id] = names
        return Plan(Ops.UPDATE, reads, [Output(None, columns, [])])

    def apply(self, batch: Batch) -> Answer:
        names = self.times_of.get(batch.table)
        if names is None:
            raise Err(f"the host sent a batch of table {batch.table}, which is not prepared")
        faults: dict[int, str] = {}
        computed = []
        for name, column in zip(names, batch.columns):
            read = times.from_integers if isinstance(column.cells, Cells_Ints) else times.from_texts
            micros, wrong = read(column.cells.value, column.states, self.settings)
            computed.append(Column(column.states, Cells_Ints(micros)))
            for row, reason in wrong.items():
                faults.setdefault(row, f"{name}: {reason}")
        if faults:
            return without(faults, batch.rows, computed)
        return Answer([Part(list(range(batch.rows)), b"", computed)], [])


def without(faults: dict[int, str], rows: int, computed: list[Column]) -> Answer:
    """The answer where cells of some rows are at fault: these are rejected."""
    kept = [row not in faults for row in range(rows)]
    columns = [
        Column(bytes(compress(column.states, kept)), Cells_Ints(list(compress(column.cells.value, kept))))
        for column in computed
    ]
    rejects = [Reject(row, reason) for row, reason in sorted(faults.items())]
    return Answer([Part(list(compress(range(rows), kept)), b"", columns)], rejects)


def free_name(name: str, fields: list[Field]) -> str:
    """A name for a column that neither is taken nor is that of another column."""
    free = name
    while free in TAKEN or (free != name and any(field.name == free for field in fields)):
        free = f"source_{free}"
    return free
