//! What becomes of a value that its column cannot hold, where somebody has said so; else it is refused.
//!
//! Nothing is replaced in silence: each replacement is counted by column, and said in the log and at the end.

use std::collections::BTreeMap;

use num_bigint::BigInt;

use super::convert::{calendar, number};
use super::profile::Profile;
use super::types::ColumnType;
use crate::debezium::value::Value;

/// What to do with a value beyond its column's range: too large, too early, infinite, or no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutOfRange {
    /// The change goes to the dead letters.
    #[default]
    Reject,
    /// Null, where the column is Nullable.
    Null,
    /// The first or the last value that the column can hold. There is none for NaN.
    Saturate,
    /// A created column is text, which holds every value; in a table that there is, as `Reject`.
    AsString,
}

/// What to do with a value that the source did not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unavailable {
    /// The change goes to the dead letters.
    #[default]
    Reject,
    /// Null, where the column is Nullable. A CoalescingMergeTree keeps the value before it then; any other
    /// table loses it.
    Null,
    /// Null where the column is Nullable, else the type's zero, empty text, or first label.
    Default,
}

/// What a pipeline's settings say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// For all columns.
    pub out_of_range: OutOfRange,
    /// For columns by their name, or by `table.column`, which counts more.
    pub columns: Vec<(String, OutOfRange)>,
    /// For all columns.
    pub unavailable: Unavailable,
}

/// What holds for one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Values beyond its range.
    pub out_of_range: OutOfRange,
    /// Values that the source did not send.
    pub unavailable: Unavailable,
    /// Whether rows are sorted by it: then nothing is replaced, and NaN is refused.
    pub in_key: bool,
}

impl Policies {
    fn out_of_range(&self, table: &str, column: &str) -> OutOfRange {
        let of = |name: &str| self.columns.iter().find(|(known, _)| known == name).map(|(_, policy)| *policy);
        of(&format!("{table}.{column}")).or_else(|| of(column)).unwrap_or(self.out_of_range)
    }

    /// What holds for a column.
    pub fn rules(&self, table: &str, column: &str, in_key: bool) -> Rules {
        match in_key {
            true => Rules { in_key, ..Rules::default() },
            false => Rules {
                out_of_range: self.out_of_range(table, column),
                unavailable: self.unavailable,
                in_key,
            },
        }
    }

    /// The type of a column to be created, where `ty` would be right: text, if it is to hold every value.
    pub fn created(&self, table: &str, column: &str, ty: ColumnType) -> ColumnType {
        if self.out_of_range(table, column) != OutOfRange::AsString {
            return ty;
        }
        let ranged = matches!(
            ty.bare(),
            ColumnType::Date
                | ColumnType::Date32
                | ColumnType::DateTime(_)
                | ColumnType::DateTime64(..)
                | ColumnType::Time
                | ColumnType::Time64(_)
                | ColumnType::Decimal { .. }
        );
        match (ranged, ty.is_nullable()) {
            (false, _) => ty,
            (true, true) => ColumnType::String.into_nullable(),
            (true, false) => ColumnType::String,
        }
    }
}

/// What was written in place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Replacement {
    /// The first or last value that the column can hold, for one beyond its range.
    Saturated,
    /// Null, for one beyond its range.
    Nulled,
    /// An empty array or map, for null.
    Emptied,
    /// Null, for one that the source did not send.
    UnavailableNulled,
    /// The type's default, for one that the source did not send.
    UnavailableDefault,
}

impl Replacement {
    /// What was done, for people.
    pub fn words(self) -> &'static str {
        match self {
            Replacement::Saturated => "beyond its range: saturated",
            Replacement::Nulled => "beyond its range: made null",
            Replacement::Emptied => "null: made empty",
            Replacement::UnavailableNulled => "not sent by the source: made null",
            Replacement::UnavailableDefault => "not sent by the source: made the type's default",
        }
    }
}

/// How many values were replaced, by column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replaced(pub BTreeMap<(String, Replacement), u64>);

impl Replaced {
    /// Counts some more.
    pub fn add(&mut self, column: &str, replacement: Replacement, count: u64) {
        if let Some(known) = self.0.get_mut(&(column.to_owned(), replacement)) {
            *known += count;
        } else {
            self.0.insert((column.to_owned(), replacement), count);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What to write in place of a value.
#[derive(Debug, PartialEq)]
pub enum Instead {
    /// Null.
    Null,
    /// The type's default.
    Empty,
    /// Another value.
    Value(Value<'static>),
}

impl Rules {
    /// What to write where `value` was refused; none: the change is refused.
    pub fn instead(
        self,
        value: &Value<'_>,
        ty: &ColumnType,
        nullable: bool,
        profile: &Profile,
    ) -> Option<(Instead, Replacement)> {
        if self.in_key {
            return None;
        }
        if matches!(value, Value::Unavailable) {
            return match self.unavailable {
                Unavailable::Null | Unavailable::Default if nullable => {
                    Some((Instead::Null, Replacement::UnavailableNulled))
                }
                Unavailable::Default => Some((Instead::Empty, Replacement::UnavailableDefault)),
                Unavailable::Null | Unavailable::Reject => None,
            };
        }
        let listed = matches!(ty.bare(), ColumnType::Array(_) | ColumnType::Map(..));
        match self.out_of_range {
            OutOfRange::Null if listed && matches!(value, Value::Null) => {
                Some((Instead::Empty, Replacement::Emptied))
            }
            OutOfRange::Null if nullable => {
                beyond(value, ty.bare(), profile).map(|_| (Instead::Null, Replacement::Nulled))
            }
            OutOfRange::Saturate => match beyond(value, ty.bare(), profile)? {
                Beyond::Number => None,
                end => Some((Instead::Value(last(ty.bare(), profile, end)?), Replacement::Saturated)),
            },
            _ => None,
        }
    }
}

/// Which end of its column's range a value is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beyond {
    First,
    Last,
    /// It is no number.
    Number,
}

fn side(value: i64, (first, last): (i64, i64)) -> Option<Beyond> {
    match value {
        _ if value < first => Some(Beyond::First),
        _ if value > last => Some(Beyond::Last),
        _ => None,
    }
}

/// Whether `value` is beyond the range of a column of type `ty`: none where it is within it, or has no place
/// in it for another reason.
fn beyond(value: &Value<'_>, ty: &ColumnType, profile: &Profile) -> Option<Beyond> {
    let temporal = matches!(
        ty,
        ColumnType::Date | ColumnType::Date32 | ColumnType::DateTime(_) | ColumnType::DateTime64(..)
    );
    if let Value::Infinite { negative } = value {
        return temporal.then_some(if *negative { Beyond::First } else { Beyond::Last });
    }
    match ty {
        ColumnType::Date => side(calendar::any_days(value)?, profile.date_days),
        ColumnType::Date32 => side(calendar::any_days(value)?, profile.date32_days?),
        ColumnType::DateTime(_) => side(calendar::any_instant(value)?.0, profile.datetime_seconds),
        ColumnType::DateTime64(digits, _) => {
            let (seconds, nanos) = calendar::any_instant(value)?;
            side(seconds, profile.datetime64_seconds?).or_else(|| {
                // Nanoseconds since 1970 end with 64 bits, in 2262.
                let ticks = calendar::wide_ticks(seconds, nanos, *digits);
                match i64::try_from(ticks) {
                    Ok(_) => None,
                    Err(_) => Some(if ticks < 0 { Beyond::First } else { Beyond::Last }),
                }
            })
        }
        ColumnType::Time | ColumnType::Time64(_) => match value {
            Value::Time(nanos) => {
                side(nanos / 1_000_000_000, (-calendar::MAX_TIME_SECONDS, calendar::MAX_TIME_SECONDS))
            }
            _ => None,
        },
        ColumnType::Int { signed, bits } => {
            let whole = number::whole(value)?;
            let (first, last) = number::int_range(*signed, *bits);
            whole_side(&whole, &first, &last)
        }
        ColumnType::Decimal { precision, scale } => decimal_side(value, *precision, *scale),
        ColumnType::Float32 => match value {
            Value::Float(number) if number.is_finite() && number.abs() > f64::from(f32::MAX) => {
                Some(if *number < 0.0 { Beyond::First } else { Beyond::Last })
            }
            _ => None,
        },
        _ => None,
    }
}

fn whole_side(value: &BigInt, first: &BigInt, last: &BigInt) -> Option<Beyond> {
    match value {
        _ if value < first => Some(Beyond::First),
        _ if value > last => Some(Beyond::Last),
        _ => None,
    }
}

fn decimal_side(value: &Value<'_>, precision: u8, scale: u8) -> Option<Beyond> {
    if let Value::Decimal(text) | Value::Text(text) = value {
        match &**text {
            "NaN" => return Some(Beyond::Number),
            "Infinity" => return Some(Beyond::Last),
            "-Infinity" => return Some(Beyond::First),
            _ => {}
        }
    }
    let end = BigInt::from(10).pow(u32::from(precision.saturating_sub(scale)));
    // What is before the point decides: a whole number at the end or beyond it has too many digits.
    let whole = number::before_point(value)?;
    whole_side(&whole, &(1 - &end), &(end - 1))
}

/// The first or last value of a column of type `ty`.
fn last(ty: &ColumnType, profile: &Profile, end: Beyond) -> Option<Value<'static>> {
    let pick = |(first, last): (i64, i64)| if end == Beyond::First { first } else { last };
    Some(match ty {
        ColumnType::Date => Value::Date(pick(profile.date_days)),
        ColumnType::Date32 => Value::Date(pick(profile.date32_days?)),
        ColumnType::DateTime(_) => Value::Timestamp { seconds: pick(profile.datetime_seconds), nanos: 0 },
        ColumnType::DateTime64(digits, _) => {
            let (seconds, nanos) =
                calendar::datetime64_end(profile.datetime64_seconds?, *digits, end == Beyond::Last);
            Value::Timestamp { seconds, nanos }
        }
        ColumnType::Time | ColumnType::Time64(_) => {
            let digits = if let ColumnType::Time64(digits) = ty { *digits } else { 0 };
            let nanos = calendar::MAX_TIME_SECONDS * 1_000_000_000 + i64::from(calendar::last_nanos(digits));
            Value::Time(if end == Beyond::First { -nanos } else { nanos })
        }
        ColumnType::Int { signed, bits } => {
            let (first, last) = number::int_range(*signed, *bits);
            Value::Decimal(if end == Beyond::First { first } else { last }.to_string().into())
        }
        ColumnType::Decimal { precision, scale } => {
            let sign = if end == Beyond::First { "-" } else { "" };
            let before = "9".repeat(usize::from(precision.saturating_sub(*scale)).max(1));
            // A type whose digits are all after the point has a zero before it.
            let before = if precision == scale { "0" } else { &before };
            let after = "9".repeat(usize::from(*scale));
            let point = if after.is_empty() { "" } else { "." };
            Value::Decimal(format!("{sign}{before}{point}{after}").into())
        }
        ColumnType::Float32 => {
            Value::Float(f64::from(if end == Beyond::First { f32::MIN } else { f32::MAX }))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(text: &str) -> ColumnType {
        ColumnType::parse(text).expect("a type")
    }

    fn instead(policy: OutOfRange, value: &Value<'_>, column: &str) -> Option<Instead> {
        let rules = Rules { out_of_range: policy, ..Rules::default() };
        let column = ty(column);
        rules.instead(value, &column, column.is_nullable(), &Profile::default()).map(|(instead, _)| instead)
    }

    #[test]
    fn what_is_beyond_a_range_saturates_at_its_nearer_end() {
        let decimal = |text: &'static str| Value::Decimal(text.into());
        let at = |seconds, nanos| Value::Timestamp { seconds, nanos };
        let infinite = |negative| Value::Infinite { negative };
        for (value, column, end) in [
            (Value::Int(300), "UInt8", decimal("255")),
            (Value::Int(-1), "UInt64", decimal("0")),
            (decimal("18446744073709551616"), "UInt64", decimal("18446744073709551615")),
            (Value::Int(-129), "Int8", decimal("-128")),
            (decimal("100"), "Decimal(4, 2)", decimal("99.99")),
            (decimal("-100.5"), "Decimal(4, 2)", decimal("-99.99")),
            (decimal("1"), "Decimal(2, 2)", decimal("0.99")),
            (decimal("-Infinity"), "Decimal(3, 0)", decimal("-999")),
            (Value::Float(1e300), "Float32", Value::Float(f64::from(f32::MAX))),
            (Value::Date(-1), "Date", Value::Date(0)),
            (Value::Date(3_000_000), "Date32", Value::Date(2_932_896)),
            (infinite(true), "Date32", Value::Date(-719_528)),
            (at(-1, 0), "DateTime", at(0, 0)),
            (infinite(false), "DateTime", at(4_294_967_295, 0)),
            (infinite(false), "DateTime64(3)", at(253_402_300_799, 999_000_000)),
            (infinite(true), "DateTime64(6)", at(-62_167_219_200, 0)),
            (infinite(false), "DateTime64(9)", at(9_223_372_036, 854_775_807)),
            (at(9_300_000_000, 0), "DateTime64(9)", at(9_223_372_036, 854_775_807)),
            (infinite(true), "DateTime64(9)", at(-9_223_372_037, 145_224_192)),
            (Value::Time(3_600_000_000_000_000), "Time64(3)", Value::Time(3_599_999_999_000_000)),
        ] {
            assert_eq!(instead(OutOfRange::Saturate, &value, column), Some(Instead::Value(end)), "{column}");
            assert_eq!(
                instead(OutOfRange::Null, &value, &format!("Nullable({column})")),
                Some(Instead::Null)
            );
            for policy in [OutOfRange::Reject, OutOfRange::AsString] {
                assert_eq!(instead(policy, &value, &format!("Nullable({column})")), None);
            }
            assert_eq!(instead(OutOfRange::Null, &value, column), None);
        }
    }

    #[test]
    fn what_is_wrong_for_another_reason_is_never_replaced() {
        for (value, column) in [
            (Value::Decimal("1.5".into()), "Int8"),
            (Value::Decimal("1.239".into()), "Decimal(10, 2)"),
            (Value::Text("x".into()), "Date32"),
            (Value::Timestamp { seconds: 0, nanos: 1 }, "DateTime64(3)"),
            (Value::Int(5), "Bool"),
            (Value::Text("a".into()), "FixedString(3)"),
            (Value::Null, "Int8"),
            (Value::Int(16_777_217), "Float32"),
        ] {
            for policy in [OutOfRange::Saturate, OutOfRange::Null] {
                assert_eq!(instead(policy, &value, column), None, "{column}");
            }
        }
        let nan = Value::Decimal("NaN".into());
        assert_eq!(instead(OutOfRange::Saturate, &nan, "Decimal(4, 2)"), None);
        assert_eq!(instead(OutOfRange::Null, &nan, "Nullable(Decimal(4, 2))"), Some(Instead::Null));
    }

    #[test]
    fn nothing_is_replaced_in_a_key() {
        let policies = Policies {
            out_of_range: OutOfRange::Saturate,
            columns: vec![],
            unavailable: Unavailable::Default,
        };
        let rules = policies.rules("t", "id", true);
        for value in [Value::Int(300), Value::Unavailable] {
            assert_eq!(rules.instead(&value, &ty("Int8"), false, &Profile::default()), None);
        }
    }

    #[test]
    fn what_was_not_sent_is_refused_unless_it_is_said_otherwise() {
        let of = |unavailable, column: &str| {
            let rules = Rules { unavailable, ..Rules::default() };
            let column = ty(column);
            rules.instead(&Value::Unavailable, &column, column.is_nullable(), &Profile::default())
        };
        assert_eq!(of(Unavailable::Reject, "Nullable(String)"), None);
        assert_eq!(of(Unavailable::Null, "String"), None);
        let null = Some((Instead::Null, Replacement::UnavailableNulled));
        assert_eq!(of(Unavailable::Null, "Nullable(String)"), null);
        assert_eq!(of(Unavailable::Default, "Nullable(String)"), null);
        let empty = Some((Instead::Empty, Replacement::UnavailableDefault));
        assert_eq!(of(Unavailable::Default, "String"), empty);
    }

    #[test]
    fn the_nearest_name_of_a_column_rules() {
        let policies = Policies {
            out_of_range: OutOfRange::Null,
            columns: vec![("a".into(), OutOfRange::Saturate), ("t.a".into(), OutOfRange::AsString)],
            unavailable: Unavailable::Reject,
        };
        let of = |table, column| policies.rules(table, column, false).out_of_range;
        assert_eq!(of("t", "a"), OutOfRange::AsString);
        assert_eq!(of("u", "a"), OutOfRange::Saturate);
        assert_eq!(of("t", "b"), OutOfRange::Null);
        assert_eq!(policies.created("t", "a", ty("Nullable(Date32)")).to_string(), "Nullable(String)");
        assert_eq!(policies.created("t", "a", ty("Int64")).to_string(), "Int64");
        assert_eq!(policies.created("t", "b", ty("Date32")).to_string(), "Date32");
    }
}
