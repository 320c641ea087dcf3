//! Numbers: exactly, or not at all.

use num_bigint::{BigInt, Sign};

use crate::debezium::value::Value;

use super::refuse;

const OUT_OF_RANGE: &str = "the number is outside the column's range";
const FRACTION: &str = "the number has a fraction";
const ROUNDED: &str = "the column would round the number";
const NOT_FINITE: &str = "NaN and the infinities are no decimals";

/// A whole number of up to 64 bits, as the narrower type `T`.
///
/// # Errors
/// What is no whole number, or does not fit `T`.
pub fn integer<T: TryFrom<i64> + TryFrom<i128>>(value: &Value<'_>) -> Result<T, String> {
    let wide = match value {
        Value::Int(number) => return T::try_from(*number).map_err(|_| OUT_OF_RANGE.to_owned()),
        Value::Bool(flag) => i128::from(*flag),
        Value::Decimal(text) => scaled(text, 38, 0)?,
        Value::Time(nanos) if nanos % 1_000 == 0 => i128::from(nanos / 1_000),
        Value::Time(_) => return Err("the time is finer than a microsecond".to_owned()),
        Value::Bytes(bytes) => bits(bytes)?,
        other => return Err(refuse(other, "a whole number")),
    };
    T::try_from(wide).map_err(|_| OUT_OF_RANGE.to_owned())
}

/// Little-endian bits as a number.
fn bits(bytes: &[u8]) -> Result<i128, String> {
    let mut number = 0_i128;
    for (index, byte) in bytes.iter().enumerate() {
        if index < 8 {
            number |= i128::from(*byte) << (8 * index);
        } else if *byte != 0 {
            return Err("the bit string is longer than 64 bits".to_owned());
        }
    }
    Ok(number)
}

/// A whole number of 128 or 256 bits, little-endian, in the first `size` (16 or 32) bytes.
///
/// # Errors
/// What is no whole number, or does not fit.
pub fn wide_integer(value: &Value<'_>, signed: bool, size: usize) -> Result<[u8; 32], String> {
    let number = match value {
        Value::Decimal(text) => big_scaled(text, 78, 0)?,
        other => BigInt::from(integer::<i64>(other)?),
    };
    if !signed && number.sign() == Sign::Minus {
        return Err(OUT_OF_RANGE.to_owned());
    }
    let fits =
        if signed { number.to_signed_bytes_le().len() <= size } else { number.to_bytes_le().1.len() <= size };
    if !fits {
        return Err(OUT_OF_RANGE.to_owned());
    }
    Ok(extend(&number))
}

/// A number's two's complement in 32 bytes; the caller has checked that it fits.
fn extend(number: &BigInt) -> [u8; 32] {
    let fill = if number.sign() == Sign::Minus { 0xff } else { 0 };
    let mut bytes = [fill; 32];
    for (to, from) in bytes.iter_mut().zip(number.to_signed_bytes_le()) {
        *to = from;
    }
    bytes
}

/// A whole number of any length; none of anything else.
pub fn whole(value: &Value<'_>) -> Option<BigInt> {
    match value {
        Value::Int(number) => Some(BigInt::from(*number)),
        Value::Decimal(text) => {
            let (before, after) = text.split_once('.').unwrap_or((text, ""));
            after.bytes().all(|digit| digit == b'0').then(|| before.parse().ok()).flatten()
        }
        _ => None,
    }
}

/// What stands before a decimal number's point; none of what is no number.
pub fn before_point(value: &Value<'_>) -> Option<BigInt> {
    match value {
        Value::Int(number) => Some(BigInt::from(*number)),
        Value::Decimal(text) | Value::Text(text) => {
            let (before, after) = text.split_once('.').unwrap_or((text, "0"));
            let plain = !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| before.parse().ok()).flatten()
        }
        _ => None,
    }
}

/// The first and the last of integers of so many bits.
pub fn int_range(signed: bool, bits: u16) -> (BigInt, BigInt) {
    let power = |bits: u16| BigInt::from(1) << usize::from(bits);
    match signed {
        true => (-power(bits - 1), power(bits - 1) - 1),
        false => (BigInt::ZERO, power(bits) - 1),
    }
}

/// A decimal number multiplied by `10^scale`, for a precision of at most 38.
///
/// # Errors
/// What is no number, or has more digits than the column keeps, before or after the point.
pub fn decimal(value: &Value<'_>, precision: u8, scale: u8) -> Result<i128, String> {
    match value {
        Value::Decimal(text) | Value::Text(text) => scaled(text, precision, scale),
        Value::Int(number) => scaled(itoa::Buffer::new().format(*number), precision, scale),
        other => Err(refuse(other, "a decimal")),
    }
}

/// The same for a precision of 39 to 76: 32 bytes, little-endian.
///
/// # Errors
/// As [`decimal`].
pub fn wide_decimal(value: &Value<'_>, precision: u8, scale: u8) -> Result<[u8; 32], String> {
    let number = match value {
        Value::Decimal(text) | Value::Text(text) => big_scaled(text, precision, scale)?,
        Value::Int(number) => big_scaled(itoa::Buffer::new().format(*number), precision, scale)?,
        other => return Err(refuse(other, "a decimal")),
    };
    Ok(extend(&number))
}

/// The digits of `-?digits(.digits)?`, without zeros that mean nothing.
struct Digits<'t> {
    negative: bool,
    before: &'t str,
    after: &'t str,
}

fn digits(text: &str, precision: u8, scale: u8) -> Result<Digits<'_>, String> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (before, after) = rest.split_once('.').unwrap_or((rest, "0"));
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !number(before) || !number(after) {
        return Err(match text {
            "NaN" | "Infinity" | "-Infinity" => NOT_FINITE.to_owned(),
            _ => "the text is not a decimal number".to_owned(),
        });
    }
    let (before, after) = (before.trim_start_matches('0'), after.trim_end_matches('0'));
    if after.len() > usize::from(scale) {
        return Err(match scale {
            0 => FRACTION.to_owned(),
            _ => format!("the number has more than {scale} digits after the point"),
        });
    }
    if before.len() + usize::from(scale) > usize::from(precision) {
        return Err(OUT_OF_RANGE.to_owned());
    }
    Ok(Digits { negative, before, after })
}

fn scaled(text: &str, precision: u8, scale: u8) -> Result<i128, String> {
    let digits = digits(text, precision, scale)?;
    let add = |number: i128, digit: u8| number * 10 + i128::from(digit - b'0');
    let mut number = digits.before.bytes().chain(digits.after.bytes()).fold(0, add);
    for _ in digits.after.len()..usize::from(scale) {
        number *= 10;
    }
    Ok(if digits.negative { -number } else { number })
}

fn big_scaled(text: &str, precision: u8, scale: u8) -> Result<BigInt, String> {
    let digits = digits(text, precision, scale)?;
    let mut all = String::with_capacity(usize::from(precision) + 2);
    all.push_str(if digits.negative { "-0" } else { "0" });
    all.push_str(digits.before);
    all.push_str(digits.after);
    all.extend(std::iter::repeat_n('0', usize::from(scale) - digits.after.len()));
    all.parse().map_err(|_| "the text is not a decimal number".to_owned())
}

/// A 64-bit float.
///
/// # Errors
/// What is no number, and integers that it would round.
pub fn float64(value: &Value<'_>) -> Result<f64, String> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(number) => {
            let float = *number as f64;
            if float as i128 == i128::from(*number) { Ok(float) } else { Err(ROUNDED.to_owned()) }
        }
        Value::Text(text) => float_text::<f64>(text, f64::is_infinite),
        other => Err(refuse(other, "a float")),
    }
}

/// A 32-bit float.
///
/// # Errors
/// What is no number, and numbers that it would round; text is read as the nearest float.
pub fn float32(value: &Value<'_>) -> Result<f32, String> {
    match value {
        Value::Float(number) => {
            let float = *number as f32;
            if f64::from(float) == *number || number.is_nan() { Ok(float) } else { Err(ROUNDED.to_owned()) }
        }
        Value::Int(number) => {
            let float = *number as f32;
            if float as i128 == i128::from(*number) { Ok(float) } else { Err(ROUNDED.to_owned()) }
        }
        Value::Text(text) => float_text::<f32>(text, f32::is_infinite),
        other => Err(refuse(other, "a float")),
    }
}

/// `NaN`, `Infinity`, `-Infinity`, or a number as JSON has it.
fn float_text<T: Copy + std::str::FromStr>(text: &str, is_infinite: fn(T) -> bool) -> Result<T, String> {
    let named = matches!(text, "NaN" | "Infinity" | "-Infinity");
    // Rust reads more than that: `inf`, `+1`, `.5`.
    let number = text.strip_prefix('-').unwrap_or(text).starts_with(|first: char| first.is_ascii_digit());
    let float: T =
        text.parse().ok().filter(|_| named || number).ok_or_else(|| "the text is not a number".to_owned())?;
    if !named && is_infinite(float) {
        return Err(OUT_OF_RANGE.to_owned());
    }
    Ok(float)
}

/// A boolean; 0 and 1 are such.
///
/// # Errors
/// Anything else.
pub fn boolean(value: &Value<'_>) -> Result<bool, String> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::Int(0) => Ok(false),
        Value::Int(1) => Ok(true),
        Value::Int(_) => Err("the number is neither 0 nor 1".to_owned()),
        other => Err(refuse(other, "a boolean")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dec(text: &str) -> Value<'_> {
        Value::Decimal(text.into())
    }

    #[test]
    fn decimals_are_scaled_exactly_or_refused() {
        for (text, precision, scale, expected) in [
            ("12.5", 10, 2, Some(1250)),
            ("-12.50", 4, 2, Some(-1250)),
            ("12.50000", 4, 2, Some(1250)),
            ("0012.5", 4, 2, Some(1250)),
            ("0.05", 2, 2, Some(5)),
            ("-0.00", 2, 2, Some(0)),
            ("12.505", 10, 2, None),
            ("100", 4, 2, None),
            ("99.99", 4, 2, Some(9999)),
            ("1", 2, 2, None),
            ("99999999999999999999999999999999999999", 38, 0, Some(10_i128.pow(38) - 1)),
            ("100000000000000000000000000000000000000", 38, 0, None),
            ("NaN", 10, 2, None),
            ("-Infinity", 10, 2, None),
            ("", 10, 2, None),
            ("-", 10, 2, None),
            (".5", 10, 2, None),
            ("5.", 10, 2, None),
            ("1e3", 10, 2, None),
            ("+1", 10, 2, None),
            ("1.2.3", 10, 2, None),
        ] {
            assert_eq!(decimal(&dec(text), precision, scale).ok(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn both_widths_scale_alike(number in any::<i64>(), cut in 0_usize..18) {
            let text = format!("{number:+020}").replacen('+', "", 1);
            let (before, after) = text.split_at(text.len() - cut.min(text.len() - 2));
            let text = if after.is_empty() { before.to_owned() } else { format!("{before}.{after}") };
            let narrow = decimal(&dec(&text), 38, 18).expect("19 digits fit 38");
            let wide = wide_decimal(&dec(&text), 76, 18).expect("19 digits fit 76");
            prop_assert_eq!(&wide[..16], &narrow.to_le_bytes());
            let sign = if narrow < 0 { [0xff; 16] } else { [0; 16] };
            prop_assert_eq!(&wide[16..], &sign);
        }
    }

    #[test]
    fn integers_keep_their_range() {
        assert_eq!(integer::<i8>(&Value::Int(-128)), Ok(-128));
        assert!(integer::<i8>(&Value::Int(128)).is_err());
        assert!(integer::<u64>(&Value::Int(-1)).is_err());
        assert_eq!(integer::<u64>(&dec("18446744073709551615")), Ok(u64::MAX));
        assert!(integer::<u64>(&dec("18446744073709551616")).is_err());
        assert!(integer::<i64>(&dec("1.5")).is_err());
        assert_eq!(integer::<i64>(&dec("1.0")), Ok(1));
        assert_eq!(integer::<u64>(&Value::Bytes(b"\x01\x02"[..].into())), Ok(0x201));
        assert!(integer::<u64>(&Value::Bytes([1; 9][..].into())).is_err());
        assert_eq!(integer::<i64>(&Value::Time(-1_000)), Ok(-1));
        assert!(integer::<i64>(&Value::Time(1)).is_err());
        assert!(integer::<i64>(&Value::Text("1".into())).is_err());
    }

    #[test]
    fn wide_integers_keep_their_range() {
        let max = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        assert_eq!(wide_integer(&dec(max), false, 32), Ok([0xff; 32]));
        assert!(wide_integer(&dec(max), true, 32).is_err());
        assert!(wide_integer(&dec(max), false, 16).is_err());
        let over = "115792089237316195423570985008687907853269984665640564039457584007913129639936";
        assert!(wide_integer(&dec(over), false, 32).is_err());
        let least = "-170141183460469231731687303715884105728";
        assert_eq!(wide_integer(&dec(least), true, 16).map(|bytes| bytes[15]), Ok(0x80));
        assert!(wide_integer(&dec("-170141183460469231731687303715884105729"), true, 16).is_err());
        assert!(wide_integer(&Value::Int(-1), false, 16).is_err());
        assert_eq!(wide_integer(&Value::Int(-2), true, 16).map(|bytes| bytes[0]), Ok(0xfe));
    }

    #[test]
    fn floats_never_round_an_integer_or_a_double() {
        assert_eq!(float64(&Value::Int(1 << 53)), Ok(9_007_199_254_740_992.0));
        assert!(float64(&Value::Int((1 << 53) + 1)).is_err());
        assert!(float64(&Value::Int(i64::MAX)).is_err());
        assert_eq!(float64(&Value::Int(i64::MIN)), Ok(-9_223_372_036_854_775_808.0));
        assert!(float32(&Value::Int((1 << 24) + 1)).is_err());
        assert!(float32(&Value::Float(0.1)).is_err());
        assert_eq!(float32(&Value::Float(0.5)), Ok(0.5));
        assert!(float32(&Value::Float(1e300)).is_err());
        assert!(float32(&Value::Float(f64::NAN)).is_ok_and(f32::is_nan));
        assert_eq!(float32(&Value::Float(f64::INFINITY)), Ok(f32::INFINITY));
    }

    #[test]
    fn only_numbers_are_read_from_text() {
        let float = |text: &'static str| float64(&Value::Text(text.into()));
        assert_eq!(float("-1.5e3"), Ok(-1500.0));
        assert_eq!(float("-Infinity"), Ok(f64::NEG_INFINITY));
        for text in ["inf", "nan", "infinity", "+1", ".5", "", "1 ", "1e400", "0x10", "1_000"] {
            assert!(float(text).is_err(), "{text}");
        }
    }

    #[test]
    fn booleans_are_zero_and_one_at_most() {
        assert_eq!(boolean(&Value::Int(1)), Ok(true));
        assert!(boolean(&Value::Int(2)).is_err());
        assert!(boolean(&Value::Text("true".into())).is_err());
    }
}
