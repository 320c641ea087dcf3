"""Tests of the transform; they need what `componentize-py bindings` makes."""

import unittest

from componentize_py_types import Err
from wit_world.imports.types import (
    Batch, Blobs, Cells_Blobs, Cells_Ints, Column, Field, Kind, Ops, Origin_Computed, Part, Reject, Table,
)

from update_only import Handler

NO_TEXT = "not a time: text that is not as ISO 8601 has it"
MINUTE = 1_714_979_280_000_000


def table(fields, typed=False):
    fields = [Field(name, kind, True, False, "", "") for name, kind in fields]
    return Table(7, "shop.public.events", "postgresql", "shop", "public", "events", typed, fields)


EVENTS = [("created_at", Kind.INT), ("updated_at", Kind.TEXT), ("id", Kind.INT), ("note_at", Kind.JSON)]


def integers(*cells, states=b""):
    return Column(states, Cells_Ints(list(cells)))


def texts(*cells, states=b""):
    encoded = [cell.encode() for cell in cells]
    offsets = [sum(map(len, encoded[:at])) for at in range(len(cells) + 1)]
    return Column(states, Cells_Blobs(Blobs(offsets, b"".join(encoded))))


def answer(rows, *columns, params=()):
    # As in a component, where each function has an object of its own.
    Handler().configure(list(params))
    Handler().prepare(table(EVENTS[: len(columns)]))
    return Handler().apply(Batch(7, rows, list(columns)))


def read(*cells, params=()):
    """What one column of texts becomes: microseconds, or the reasons."""
    made = answer(len(cells), integers(*[0] * len(cells)), texts(*cells), params=params)
    outcome = dict(zip(made.parts[0].rows, made.parts[0].computed[1].cells.value))
    outcome.update((reject.row, reject.reason) for reject in made.rejects)
    return [outcome[row] for row in range(len(cells))]


class Times(unittest.TestCase):
    def test_iso_text_is_read_in_all_its_forms(self):
        cases = {
            "1970-01-01": 0,
            "1970-01-01T00:00": 0,
            "1970-01-01T00:00:01": 1_000_000,
            "1970-01-01 00:00:01.5": 1_500_000,
            "1970-01-01t00:00:01.000001z": 1_000_001,
            "1970-01-01T01:00:00+01": 0,
            "1970-01-01T01:30:00+01:30": 0,
            "1969-12-31T18:29:59.999999-05:30": -1,
            "2024-02-29T12:34:56.789012Z": 1_709_210_096_789_012,
            "2000-02-29 00:00:00+00": 951_782_400_000_000,
            "2017-09-15Z": 1_505_433_600_000_000,
            "0000-01-01": -62_167_219_200_000_000,
            "9999-12-31T23:59:59.999999": 253_402_300_799_999_999,
        }
        self.assertEqual(read(*cases), list(cases.values()))
        for text, micros in cases.items():
            self.assertEqual(read(text, text), [micros, micros], text)

    def test_other_texts_are_no_times(self):
        cases = [
            "", " ", "now", "1700000000", "2024-1-2", "24-01-02", "2024-13-01", "2024-00-01", "0000-00-00 00:00:00",
            "2024-02-30", "2023-02-29", "1900-02-29", "2024-04-31", "2024-01-02T", "2024-01-02T1",
            "2024-01-02T24:00:00", "2024-01-02T00:60:00", "2024-01-02T00:00:60", "2024-01-02T00:00:00.",
            "2024-01-02T00:00:00.1234567890", "2024-01-02T00:00:00,5", "2024-01-02T00:00:00+1",
            "2024-01-02T00:00:00+0100", "2024-01-02T00:00:00+24:00", "2024-01-02T00:00:00+01:60",
            "2024-01-02T00:00:00 UTC", "2024-01-02T00:00:00ZZ", "2024-01-02T00:00:00Z ", " 2024-01-02", "+2024-01-02",
            "2024-01-02T-1:00:00", "２024-01-02", "2024-05-06+01:30:09.123456Z", "2024-05-06T07:08:60.500000Z",
            "2024-05-06T07:08:0x.500000Z", "2024-05-06T07:08:00.50000xZ", "2024-05-06T07:08:00.500000+",
            "2024-05-06T07:08:00.+50000Z", "2024-05-06T07:08:00.5_0000Z", "2024-05-06T07-08:00.500000Z",
            "2024-05-06T07:08-00.500000Z", "2024-05-06T07:08:+1.500000Z", "2024-05-06T07:08: 1.500000Z",
        ]
        reason = f"updated_at: {NO_TEXT}"
        self.assertEqual(read(*cases), [reason] * len(cases))
        # Beside one that is as long and a time: columns in which all are alike are read in another way.
        for text in cases:
            time = "2024-05-06T07:08:09.123456Z"
            self.assertEqual(read(time, text, time), [MINUTE + 9_123_456, reason, MINUTE + 9_123_456], text)

    def test_texts_that_are_all_alike_are_read_at_once(self):
        self.assertEqual(
            read("2024-05-06T07:08:09.123456Z", "2024-05-06 07:09:00.000001Z", "0001-01-01T00:00:01.000001Z"),
            [MINUTE + 9_123_456, MINUTE + 60_000_001, -62_135_596_798_999_999],
        )
        self.assertEqual(
            read("2024-05-06T07:08:09.5Z", "2024-05-06T07:08:59.1Z"), [MINUTE + 9_500_000, MINUTE + 59_100_000]
        )
        # As many bytes, and other lengths.
        self.assertEqual(
            read("2024-05-06T07:08:09.25Z", "2024-05-06T07:08:09.5000Z", "2024-05-06T07:08:09.375Z"),
            [MINUTE + 9_250_000, MINUTE + 9_500_000, MINUTE + 9_375_000],
        )

    def test_integers_are_read_by_their_size_or_as_the_parameter_says(self):
        def guessed(*cells):
            return answer(len(cells), integers(*cells)).parts[0].computed[0].cells.value

        second, micros = 1_700_000_000, 1_700_000_000_000_000
        for factor in (1, 1_000, 1_000_000, 1_000_000_000):
            self.assertEqual(guessed(second * factor, second * factor), [micros, micros])
        self.assertEqual(guessed(0, -99_999_999_999, micros), [0, -99_999_999_999_000_000, micros])
        self.assertEqual(guessed(-1_700_000_000_123_456_000), [-1_700_000_000_123_456])
        self.assertEqual(
            guessed(99_999_999_999, 10**11, 10**14 - 1, 10**14, 10**17 - 1, 10**17),
            [99_999_999_999_000_000, 10**14, 99_999_999_999_999_000, 10**14, 10**17 - 1, 10**14],
        )
        for unit, factor in (("s", 1_000_000), ("ms", 1_000), ("us", 1)):
            made = answer(1, integers(7), params=[("unit", unit)])
            self.assertEqual(made.parts[0].computed[0].cells.value, [7 * factor])
        far = 2**63 - 1
        for unit in ("s", "ms"):
            made = answer(2, integers(7, far), params=[("unit", unit)])
            reason = "created_at: not a time: an integer beyond its unit's range"
            self.assertEqual(made.rejects, [Reject(1, reason)])

    def test_what_is_more_precise_is_rounded_down_only_on_demand(self):
        cells = ["1969-12-31T23:59:59.999999999Z", "2024-01-01"]
        reason = "updated_at: more precise than a microsecond; `subsecond=floor` would round it down"
        self.assertEqual(read(*cells), [reason, 1_704_067_200_000_000])
        self.assertEqual(read(*cells, params=[("subsecond", "floor")]), [-1, 1_704_067_200_000_000])


class Transform(unittest.TestCase):
    def test_what_is_no_time_rejects_its_change_alone_with_the_first_column_at_fault(self):
        made = answer(3, integers(1, 2**63 - 1, 3), texts("x", "y", "2024-01-01"), params=[("unit", "s")])
        reason = "created_at: not a time: an integer beyond its unit's range"
        self.assertEqual(made.rejects, [Reject(0, f"updated_at: {NO_TEXT}"), Reject(1, reason)])
        columns = [integers(3_000_000), integers(1_704_067_200_000_000)]
        self.assertEqual(made.parts, [Part([2], b"", columns)])

    def test_null_and_unavailable_pass(self):
        states = bytes([1, 2, 0])
        made = answer(3, integers(0, 0, 1, states=states), texts("", "", "2024-01-01", states=states))
        columns = [integers(0, 0, 1_000_000, states=states), integers(0, 0, 1_704_067_200_000_000, states=states)]
        self.assertEqual(made.parts, [Part([0, 1, 2], b"", columns)])

    def test_columns_that_the_parameter_names_are_times_where_there_is_no_schema_and_others_are_copied(self):
        def computed(*params, typed=False):
            handler = Handler()
            handler.configure(list(params))
            plan = handler.prepare(table(EVENTS, typed))
            self.assertEqual(plan.ops, Ops.UPDATE)
            return [column.name for column in plan.outputs[0].columns if isinstance(column.origin, Origin_Computed)]

        self.assertEqual(computed(), ["created_at", "updated_at"])
        self.assertEqual(computed(typed=True), [])
        self.assertEqual(computed(("times", "updated_at, i*d")), ["updated_at", "id"])
        self.assertEqual(computed(("times", "")), [])
        self.assertEqual(computed(("times", "d*_at")), [])

    def test_a_name_that_is_taken_is_given_another(self):
        handler = Handler()
        handler.configure([])
        plan = handler.prepare(table([(name, Kind.INT) for name in ("op", "_topic", "source_op", "Op")]))
        names = [column.name for column in plan.outputs[0].columns]
        self.assertEqual(names, ["source_source_op", "source__topic", "source_op", "Op", "op"])

    def test_a_parameter_that_is_not_understood_is_refused(self):
        def reason(*params):
            with self.assertRaises(Err) as caught:
                Handler().configure(list(params))
            return caught.exception.value

        self.assertEqual(reason(("units", "s")), "unknown parameter `units`: there are `times`, `unit`, `subsecond`")
        self.assertEqual(reason(("unit", "s"), ("unit", "s")), "parameter `unit` is given twice")
        self.assertEqual(
            reason(("unit", "min")), "parameter `unit` is `min`: it must be `s`, `ms`, `us`, `ns` or `auto`"
        )
        self.assertEqual(
            reason(("subsecond", "ceil")), "parameter `subsecond` is `ceil`: it must be `exact` or `floor`"
        )
        self.assertEqual(
            reason(("times", "a,,b")),
            "parameter `times` is `a,,b`: it must be names with commas between them, such as `id,paid_at`",
        )

    def test_a_batch_of_a_table_that_is_not_prepared_is_refused(self):
        handler = Handler()
        handler.configure([])
        with self.assertRaises(Err) as caught:
            handler.apply(Batch(3, 0, []))
        self.assertEqual(caught.exception.value, "the host sent a batch of table 3, which is not prepared")


if __name__ == "__main__":
    unittest.main()
