//! The kinds of values: how Debezium writes each, and what must come back.

use host::clickhouse::profile::Profile;
use host::debezium::shape::{Guess, Wire};

use super::created;
use super::expected::{base64, days, hex, month_days, unscaled};
use super::random::Random;

/// One value.
pub struct Case {
    /// As it stands in the event.
    pub json: String,
    /// What the column shows; none: it must be refused.
    pub expected: Option<String>,
}

/// A source type and a column's type.
pub struct Kind {
    /// For messages.
    pub name: &'static str,
    /// How the values stand in the events.
    pub wire: Wire,
    /// The column's type.
    pub ty: String,
    /// The SQL of what is compared, of the column `x`.
    pub shown: &'static str,
    /// Makes a value.
    pub make: Make,
}

type Make = Box<dyn Fn(&mut Random) -> Case>;

const TEXT: &str = "toString(x)";
/// As it is, since `toString` leaves out the zeros at the end of a decimal.
const PLAIN: &str = "x";
const BYTES: &str = "hex(x)";
const BITS64: &str = "if(isNaN(x), 'nan', toString(reinterpretAsUInt64(x)))";
const BITS32: &str = "if(isNaN(x), 'nan', toString(reinterpretAsUInt32(x)))";

fn case(json: impl Into<String>, expected: impl Into<String>) -> Case {
    Case { json: json.into(), expected: Some(expected.into()) }
}

fn refused(json: impl Into<String>) -> Case {
    Case { json: json.into(), expected: None }
}

/// A case that must be refused where `fits` is false.
fn within(fits: bool, json: impl Into<String>, expected: impl Into<String>) -> Case {
    Case { json: json.into(), expected: fits.then(|| expected.into()) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// All kinds.
pub fn all(profile: &Profile) -> Vec<Kind> {
    let mut kinds = Kinds { kinds: Vec::new(), profile: profile.clone() };
    kinds.numbers();
    kinds.floats();
    kinds.text_and_bytes();
    kinds.decimals();
    kinds.dates();
    kinds.times();
    kinds.timestamps();
    kinds.without_a_schema();
    kinds.nested();
    kinds.kinds
}

struct Kinds {
    kinds: Vec<Kind>,
    profile: Profile,
}

impl Kinds {
    /// A kind for the type that the host would create, and one for that type with nulls among the values.
    fn created(
        &mut self,
        name: &'static str,
        wire: Wire,
        shown: &'static str,
        make: impl Fn(&mut Random) -> Case + Copy + 'static,
    ) {
        let ty = created(&wire, false, &self.profile);
        self.existing(name, wire.clone(), &ty, shown, make);
        if matches!(wire, Wire::Array(_) | Wire::Map(_)) {
            return;
        }
        let ty = created(&wire, true, &self.profile);
        let make = move |random: &mut Random| match random.one_in(8) {
            true => case("null", if shown == PLAIN { "\\N" } else { "NULL" }),
            false => make(random),
        };
        let shown: &'static str = match shown {
            PLAIN => PLAIN,
            TEXT => "ifNull(toString(x), 'NULL')",
            BYTES => "ifNull(hex(x), 'NULL')",
            BITS32 => {
                "if(x IS NULL, 'NULL', if(isNaN(x), 'nan', toString(reinterpretAsUInt32(assumeNotNull(x)))))"
            }
            _ => {
                "if(x IS NULL, 'NULL', if(isNaN(x), 'nan', toString(reinterpretAsUInt64(assumeNotNull(x)))))"
            }
        };
        self.existing(name, wire, &ty, shown, make);
    }

    /// A kind for a column of this type.
    fn existing(
        &mut self,
        name: &'static str,
        wire: Wire,
        ty: &str,
        shown: &'static str,
        make: impl Fn(&mut Random) -> Case + 'static,
    ) {
        self.kinds.push(Kind { name, wire, ty: ty.to_owned(), shown, make: Box::new(make) });
    }

    fn numbers(&mut self) {
        self.created("boolean", Wire::Bool, TEXT, |random| {
            let text = random.one_in(2).to_string();
            case(text.clone(), text)
        });
        self.existing("boolean", Wire::Bool, "UInt8", TEXT, |random| match random.one_in(2) {
            true => case("true", "1"),
            false => case("false", "0"),
        });
        self.created("int8", Wire::Int(8), TEXT, |random| int(random, i8::MIN.into(), i8::MAX.into()));
        self.created("int16", Wire::Int(16), TEXT, |random| int(random, i16::MIN.into(), i16::MAX.into()));
        self.created("int32", Wire::Int(32), TEXT, |random| int(random, i32::MIN.into(), i32::MAX.into()));
        self.created("int64", Wire::Int(64), TEXT, |random| int(random, i64::MIN, i64::MAX));
        for ty in ["Int128", "Int256", "Decimal(19, 0)", "String", "LowCardinality(String)"] {
            self.existing("int64", Wire::Int(64), ty, TEXT, |random| int(random, i64::MIN, i64::MAX));
        }
        for (ty, first, last) in [
            ("Int8", -128_i64, 127_i64),
            ("UInt8", 0, 255),
            ("UInt16", 0, 65_535),
            ("UInt32", 0, 4_294_967_295),
            ("UInt64", 0, i64::MAX),
            ("UInt256", 0, i64::MAX),
            ("Decimal(4, 2)", -99, 99),
        ] {
            self.existing("int64", Wire::Int(64), ty, PLAIN, move |random| {
                let number = random.between(
                    first.saturating_mul(2).saturating_sub(300),
                    last.saturating_mul(2).saturating_add(300),
                );
                let point = if ty == "Decimal(4, 2)" { ".00" } else { "" };
                within((first..=last).contains(&number), number.to_string(), format!("{number}{point}"))
            });
        }
        self.existing("int64", Wire::Int(64), "Float64", "toString(toInt64(x))", |random| {
            let number = random.between(-(1 << 55), 1 << 55);
            // A double holds 53 bits of it.
            let spare = 64 - number.unsigned_abs().leading_zeros() as i64 - 53;
            let exact = spare <= 0 || number.trailing_zeros() as i64 >= spare;
            within(exact, number.to_string(), number.to_string())
        });
        self.existing("int64", Wire::Int(64), "Enum8('a' = -1, 'b' = 7)", TEXT, |random| {
            match random.between(-3, 9) {
                -1 => case("-1", "a"),
                7 => case("7", "b"),
                other => refused(other.to_string()),
            }
        });
    }

    fn floats(&mut self) {
        self.created("double", Wire::Float64, BITS64, double);
        self.created("float", Wire::Float32, BITS32, |random| {
            let number = f32::from_bits(match random.below(8) {
                0 => random.below(1 << 23) as u32,
                _ => random.bits() as u32,
            });
            if !number.is_finite() {
                return not_finite(f64::from(number), number.to_bits().into());
            }
            case(format!("{number:?}"), number.to_bits().to_string())
        });
        self.existing("float", Wire::Float32, "Float64", "toString(reinterpretAsUInt64(x))", |random| {
            let number = f32::from_bits(random.bits() as u32 & 0x7eff_ffff);
            case(format!("{number:?}"), f64::from(number).to_bits().to_string())
        });
        self.existing("double", Wire::Float64, "Float32", "toString(reinterpretAsUInt32(x))", |random| {
            let narrow = f32::from_bits(random.bits() as u32 & 0x7eff_ffff);
            let number =
                if random.one_in(2) { f64::from(narrow) } else { f64::from(narrow) * 1.000_000_000_1 };
            let exact = number == f64::from(narrow);
            within(exact, format!("{number:?}"), narrow.to_bits().to_string())
        });
    }

    fn text_and_bytes(&mut self) {
        let text = |random: &mut Random| {
            let text = random.text();
            case(quoted(&text), hex(text.as_bytes()))
        };
        self.created("string", Wire::Text, BYTES, text);
        self.existing("string", Wire::Text, "LowCardinality(String)", BYTES, text);
        self.existing("string", Wire::Text, "FixedString(5)", BYTES, |random| {
            let text = random.text();
            within(text.len() == 5, quoted(&text), hex(text.as_bytes()))
        });
        self.existing("string", Wire::Text, "Enum16('a' = 1, 'é\\'' = 300)", TEXT, |random| {
            match *random.pick(&["a", "é'", "b", ""]) {
                known @ ("a" | "é'") => case(quoted(known), known),
                other => refused(quoted(other)),
            }
        });
        let bytes = |random: &mut Random| {
            let bytes = random.bytes(40);
            case(quoted(&base64(&bytes)), hex(&bytes))
        };
        self.created("bytes", Wire::Bytes, BYTES, bytes);
        self.created("bits", Wire::Bits(None), BYTES, bytes);
        self.existing("bits", Wire::Bits(Some(64)), "UInt64", TEXT, |random| {
            let number = random.bits() >> random.below(64);
            let bytes = &number.to_le_bytes()[..8 - number.leading_zeros() as usize / 8];
            case(quoted(&base64(bytes)), number.to_string())
        });
        self.created("uuid", Wire::Uuid, TEXT, uuid);
        self.existing("uuid", Wire::Uuid, "FixedString(36)", "x", uuid);
        self.existing("uuid", Wire::Text, "UUID", TEXT, uuid);
        self.existing("address", Wire::Text, "IPv4", TEXT, |random| {
            let text = (random.bits() as u32).to_be_bytes().map(|byte| byte.to_string()).join(".");
            case(quoted(&text), text)
        });
        let json = |random: &mut Random| {
            let json = format!("{{\"{}\": [{}, {}]}}", random.word(), random.bits(), quoted(&random.text()));
            case(quoted(&json), hex(json.as_bytes()))
        };
        self.created("json", Wire::JsonText, BYTES, json);
        self.existing("json", Wire::JsonText, "JSON", "toString(x.a)", |random| {
            let number = random.bits() as i64;
            case(quoted(&format!("{{\"a\": {number}}}")), number.to_string())
        });
        self.created("struct", Wire::Json, BYTES, |random| {
            let json = format!("{{\"{}\":{}}}", random.word(), quoted(&random.text()));
            case(json.clone(), hex(json.as_bytes()))
        });
    }

    fn decimals(&mut self) {
        for (precision, scale) in [(9, 2), (9, 9), (18, 4), (38, 0), (38, 10), (76, 0), (76, 20)] {
            let wire = Wire::Decimal { scale: scale as i32, precision: Some(precision as u32) };
            self.created("decimal", wire, PLAIN, move |random| decimal(random, precision, scale, 0));
        }
        let open = Wire::Decimal { scale: 3, precision: None };
        self.created("decimal of any length", open, PLAIN, |random| decimal(random, 38, 3, 4));
        let wire = Wire::Decimal { scale: 4, precision: Some(18) };
        self.existing("decimal", wire.clone(), "Decimal(10, 4)", PLAIN, |random| decimal(random, 10, 4, 4));
        self.existing("decimal", wire.clone(), "String", PLAIN, |random| decimal(random, 18, 4, 0));
        self.existing("decimal", wire, "Decimal(30, 2)", PLAIN, |random| {
            let (before, after) = (random.digits(8), random.digits(4));
            let (after, fits) =
                if random.one_in(2) { (format!("{}00", &after[..2]), true) } else { (after, false) };
            let whole = before.trim_start_matches('0');
            let whole = if whole.is_empty() { "0" } else { whole };
            let json = quoted(&base64(&unscaled(&format!("{before}{after}"))));
            within(fits || after.ends_with("00"), json, format!("{whole}.{}", &after[..2]))
        });
        let whole = Wire::Decimal { scale: 0, precision: Some(20) };
        self.existing("bigint unsigned", whole, "UInt64", PLAIN, |random| {
            let number = u128::from(random.bits()) * if random.one_in(4) { 3 } else { 1 };
            let text = number.to_string();
            within(number <= u128::from(u64::MAX), quoted(&base64(&unscaled(&text))), text)
        });
        self.created("decimal of any scale", Wire::VariableDecimal, PLAIN, |random| {
            let (digits, scale) = (1 + random.below(60) as usize, random.below(20) as usize);
            let (unscaled_text, text) = digits_of(random, digits + scale, scale);
            let value = base64(&unscaled(&unscaled_text));
            case(format!("{{\"scale\":{scale},\"value\":\"{value}\"}}"), text)
        });
    }

    fn dates(&mut self) {
        let profile = self.profile.clone();
        let (first, last) = profile.date32_days.unwrap_or((0, -1));
        self.created("date", Wire::Date, TEXT, move |random| {
            let (days, text) = date(random);
            within((first..=last).contains(&days), days.to_string(), text)
        });
        self.created("iso date", Wire::IsoDate, TEXT, move |random| {
            let (days, text) = date(random);
            within((first..=last).contains(&days), format!("\"{text}Z\""), text)
        });
        self.existing("date", Wire::Date, "String", TEXT, |random| {
            let (days, text) = date(random);
            case(days.to_string(), text)
        });
        let (first, last) = profile.date_days;
        self.existing("date", Wire::Date, "Date", TEXT, move |random| {
            let (days, text) = date(random);
            within((first..=last).contains(&days), days.to_string(), text)
        });
    }

    fn times(&mut self) {
        for (name, wire, digits) in [
            ("time in milliseconds", Wire::TimeMillis, 3),
            ("time in microseconds", Wire::TimeMicros, 6),
            ("time in nanoseconds", Wire::TimeNanos, 9),
        ] {
            self.created(name, wire.clone(), TEXT, move |random| time(random, digits));
            self.existing(name, wire, "Nullable(Time)", "ifNull(toString(x), 'NULL')", move |random| {
                let unit = 10_i64.pow(digits as u32);
                let ticks = random.between(-3_599_999, 3_599_999) * unit + i64::from(random.one_in(4));
                let text = clock(ticks / unit, 0, 0);
                within(ticks % unit == 0, ticks.to_string(), text)
            });
        }
        self.existing("time in microseconds", Wire::TimeMicros, "Int64", TEXT, |random| {
            int(random, -3_600_000_000_000, 3_600_000_000_000)
        });
    }

    fn timestamps(&mut self) {
        let range = self.profile.datetime64_seconds.unwrap_or((0, -1));
        for (name, wire, digits) in [
            ("timestamp in milliseconds", Wire::TimestampMillis, 3),
            ("timestamp in microseconds", Wire::TimestampMicros, 6),
            ("timestamp in nanoseconds", Wire::TimestampNanos, 9),
        ] {
            let make = move |random: &mut Random| {
                let at = instant(random, digits);
                let fits = (range.0..=range.1).contains(&at.seconds);
                match at.ticks(digits) {
                    Some(ticks) => within(fits, ticks.to_string(), at.shown(digits)),
                    None => case("0", at_zero(digits)),
                }
            };
            self.created(name, wire.clone(), TEXT, make);
            let exact = format!("DateTime64({digits})");
            self.existing(name, wire.clone(), &exact, TEXT, make);
            self.existing(name, wire, "DateTime('UTC')", TEXT, move |random| {
                let at = instant(random, digits);
                let fits = (0..=i64::from(u32::MAX)).contains(&at.seconds) && at.nanos == 0;
                match at.ticks(digits) {
                    Some(ticks) => within(fits, ticks.to_string(), at.shown(0)),
                    None => case("0", at_zero(0)),
                }
            });
        }
        self.created("timestamp as text", Wire::TimestampIso, TEXT, move |random| {
            let at = instant(random, 6);
            let fits = (range.0..=range.1).contains(&at.seconds);
            within(fits, quoted(&at.iso(random)), at.shown(6))
        });
        self.existing("timestamp as text", Wire::TimestampIso, "DateTime64(3)", TEXT, move |random| {
            let at = instant(random, 6);
            let fits = (range.0..=range.1).contains(&at.seconds) && at.nanos % 1_000_000 == 0;
            within(fits, quoted(&at.iso(random)), at.shown(3))
        });
    }

    fn without_a_schema(&mut self) {
        self.created("a boolean", Wire::Guess(Guess::Bool), TEXT, |random| {
            let text = random.one_in(2).to_string();
            case(text.clone(), text)
        });
        self.created("an integer", Wire::Guess(Guess::Int), TEXT, |random| int(random, i64::MIN, i64::MAX));
        self.created("a long integer", Wire::Guess(Guess::BigInt), TEXT, |random| {
            let count = 1 + random.below(80) as usize;
            let (text, _) = digits_of(random, count, 0);
            case(text.clone(), text)
        });
        self.created("text", Wire::Guess(Guess::Text), BYTES, |random| {
            let text = random.text();
            case(quoted(&text), hex(text.as_bytes()))
        });
        self.existing("text", Wire::Guess(Guess::Text), "Nullable(Date32)", "ifNull(toString(x), 'NULL')", {
            let (first, last) = self.profile.date32_days.unwrap_or((0, -1));
            move |random: &mut Random| {
                let (days, text) = date(random);
                within((first..=last).contains(&days), quoted(&text), text)
            }
        });
    }

    fn nested(&mut self) {
        let list = |wire| Wire::Array(Box::new(wire));
        self.created("array of int32", list(Wire::Int(32)), TEXT, |random| {
            several(random, |random| {
                let number = random.between(i32::MIN.into(), i32::MAX.into()).to_string();
                (number.clone(), number)
            })
        });
        self.created("array of arrays", list(list(Wire::Int(8))), TEXT, |random| {
            let inner = |random: &mut Random| {
                let all = several(random, |random| {
                    let number = random.between(-128, 127).to_string();
                    (number.clone(), number)
                });
                (all.json, all.expected.unwrap_or_default())
            };
            listed(random, inner)
        });
        self.created(
            "array of text",
            list(Wire::Text),
            "toString(arrayMap(e -> ifNull(hex(e), 'n'), x))",
            |random| {
                listed(random, |random| match random.one_in(6) {
                    true => ("null".to_owned(), "'n'".to_owned()),
                    false => {
                        let text = random.text();
                        (quoted(&text), format!("'{}'", hex(text.as_bytes())))
                    }
                })
            },
        );
        self.created(
            "array of decimals",
            list(Wire::Decimal { scale: 2, precision: Some(9) }),
            TEXT,
            |random| {
                several(random, |random| {
                    let (unscaled_text, text) = digits_of(random, 9, 2);
                    (quoted(&base64(&unscaled(&unscaled_text))), text)
                })
            },
        );
        self.created("map to text", Wire::Map(Box::new(Wire::Text)), TEXT, |random| {
            let count = random.below(5);
            let words: Vec<(String, String)> =
                (0..count).map(|n| (format!("{}{n}", random.word()), random.word())).collect();
            let json: Vec<String> =
                words.iter().map(|(key, value)| format!("\"{key}\":\"{value}\"")).collect();
            let text: Vec<String> = words.iter().map(|(key, value)| format!("'{key}':'{value}'")).collect();
            case(format!("{{{}}}", json.join(",")), format!("{{{}}}", text.join(",")))
        });
        self.existing("struct", Wire::Json, "Tuple(a Int64, b Nullable(String))", TEXT, |random| {
            let (number, word) = (random.bits() as i64, random.word());
            match random.below(4) {
                0 => case(format!("{{\"a\":{number}}}"), format!("({number},NULL)")),
                1 => refused(format!("{{\"b\":\"{word}\"}}")),
                2 => case(format!("{{\"b\":\"{word}\",\"a\":{number}}}"), format!("({number},'{word}')")),
                _ => refused(format!("{{\"a\":{number},\"{word}x\":1}}")),
            }
        });
        self.existing("struct", Wire::Json, "Variant(Int64, String, Array(Int64))", TEXT, |random| {
            let number = random.bits() as i64;
            case(format!("[{number},{number}]"), format!("[{number},{number}]"))
        });
        self.existing("struct", Wire::Json, "Point", TEXT, |random| {
            let (x, y) = (random.between(-1000, 1000), random.between(-1000, 1000));
            case(format!("{{\"x\":{x}.5,\"y\":{y},\"wkb\":\"AA==\",\"srid\":null}}"), format!("({x}.5,{y})"))
        });
    }
}

fn int(random: &mut Random, first: i64, last: i64) -> Case {
    let text = random.between(first, last).to_string();
    case(text.clone(), text)
}

fn not_finite(number: f64, bits: u64) -> Case {
    match number {
        _ if number.is_nan() => case("\"NaN\"", "nan"),
        _ if number > 0.0 => case("\"Infinity\"", bits.to_string()),
        _ => case("\"-Infinity\"", bits.to_string()),
    }
}

fn double(random: &mut Random) -> Case {
    let number = match random.below(8) {
        0 => f64::from_bits(random.below(1 << 52)),
        1 => random.between(-1_000_000, 1_000_000) as f64 / 1000.0,
        2 => *random.pick(&[f64::MAX, f64::MIN_POSITIVE, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]),
        _ => f64::from_bits(random.bits()),
    };
    match number.is_finite() {
        true => case(format!("{number:?}"), number.to_bits().to_string()),
        false => not_finite(number, number.to_bits()),
    }
}

fn uuid(random: &mut Random) -> Case {
    let digits = hex(&[random.bits().to_be_bytes(), random.bits().to_be_bytes()].concat()).to_lowercase();
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    let text = parts.join("-");
    case(quoted(&text), text)
}

/// A number of so many digits: as a whole, and with its point.
fn digits_of(random: &mut Random, count: usize, scale: usize) -> (String, String) {
    let digits = random.digits(count);
    let (before, after) = digits.split_at(count - scale);
    let before = before.trim_start_matches('0');
    let before = if before.is_empty() { "0" } else { before };
    let zero = digits.bytes().all(|digit| digit == b'0');
    let sign = if !zero && random.one_in(2) { "-" } else { "" };
    let text = if after.is_empty() { format!("{sign}{before}") } else { format!("{sign}{before}.{after}") };
    let whole = digits.trim_start_matches('0');
    (format!("{sign}{}", if whole.is_empty() { "0" } else { whole }), text)
}

/// A decimal of up to `precision` digits and `more`, of which those with more must be refused.
fn decimal(random: &mut Random, precision: usize, scale: usize, more: u64) -> Case {
    let count = scale + random.below((precision - scale) as u64 + 1 + more) as usize;
    let (whole, text) = digits_of(random, count.max(scale), scale);
    let digits = text.trim_start_matches('-').split('.').next().unwrap_or_default();
    let before = if digits == "0" { 0 } else { digits.len() };
    within(before + scale <= precision, quoted(&base64(&unscaled(&whole))), text)
}

/// A date as days, and its text.
fn date(random: &mut Random) -> (i64, String) {
    let year = match random.below(4) {
        0 => random.between(0, 9999),
        1 => *random.pick(&[1899, 1900, 1925, 1970, 2000, 2105, 2149, 2283, 2299, 2300]),
        _ => random.between(1890, 2310),
    };
    let month = random.between(1, 12);
    let day = random.between(1, month_days(year, month));
    (days(year, month, day), format!("{year:04}-{month:02}-{day:02}"))
}

/// `hh:mm:ss` with so many digits of the fraction.
fn clock(seconds: i64, fraction: i64, digits: usize) -> String {
    let sign = if seconds < 0 || fraction < 0 { "-" } else { "" };
    let (seconds, fraction) = (seconds.abs(), fraction.abs());
    let text = format!("{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if digits == 0 { text } else { format!("{text}.{fraction:0digits$}") }
}

fn time(random: &mut Random, digits: usize) -> Case {
    let unit = 10_i64.pow(digits as u32);
    let ticks = match random.below(3) {
        0 => random.between(-3_600_100 * unit, 3_600_100 * unit),
        _ => random.between(0, 86_400 * unit),
    };
    let fits = (ticks / unit).abs() <= 3_599_999;
    within(fits, ticks.to_string(), clock(ticks / unit, ticks % unit, digits))
}

/// A point of time, and its date's text.
struct Instant {
    seconds: i64,
    nanos: i64,
    date: String,
    of_day: i64,
}

fn instant(random: &mut Random, digits: usize) -> Instant {
    let (days, date) = date(random);
    let of_day = random.between(0, 86_399);
    let unit = 10_i64.pow(9 - digits as u32);
    let nanos = match random.below(4) {
        0 => 0,
        1 => random.between(0, 999) * 1_000_000,
        _ => random.between(0, 999_999_999) / unit * unit,
    };
    Instant { seconds: days * 86_400 + of_day, nanos, date, of_day }
}

/// What 1970-01-01 is shown as.
fn at_zero(digits: usize) -> String {
    let point = if digits == 0 { "" } else { "." };
    format!("1970-01-01 00:00:00{point}{}", "0".repeat(digits))
}

impl Instant {
    /// In units of so many digits, where 64 bits hold them.
    fn ticks(&self, digits: usize) -> Option<i64> {
        let unit = 10_i128.pow(digits as u32);
        let ticks = i128::from(self.seconds) * unit + i128::from(self.nanos) * unit / 1_000_000_000;
        i64::try_from(ticks).ok()
    }

    fn shown(&self, digits: usize) -> String {
        let fraction = self.nanos / 10_i64.pow(9 - digits as u32);
        format!("{} {}", self.date, clock(self.of_day, fraction, digits))
    }

    /// In ISO 8601, with as many digits as it needs, in UTC or with another offset.
    fn iso(&self, random: &mut Random) -> String {
        let fraction = format!("{:09}", self.nanos);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        // An offset that leaves the date as it is.
        if self.of_day >= 7_200 && random.one_in(3) {
            return format!("{}T{}{point}{fraction}-02:00", self.date, clock(self.of_day - 7_200, 0, 0));
        }
        format!("{}T{}{point}{fraction}Z", self.date, clock(self.of_day, 0, 0))
    }
}

/// An array of a few values, of each its JSON and what is shown.
fn listed(random: &mut Random, mut element: impl FnMut(&mut Random) -> (String, String)) -> Case {
    let all: Vec<(String, String)> = (0..random.below(6)).map(|_| element(random)).collect();
    let join = |texts: Vec<&str>| format!("[{}]", texts.join(","));
    let json = join(all.iter().map(|(json, _)| json.as_str()).collect());
    case(json, join(all.iter().map(|(_, shown)| shown.as_str()).collect()))
}

/// The same, with nulls among them.
fn several(random: &mut Random, mut element: impl FnMut(&mut Random) -> (String, String)) -> Case {
    listed(random, |random| match random.one_in(6) {
        true => ("null".to_owned(), "NULL".to_owned()),
        false => element(random),
    })
}
