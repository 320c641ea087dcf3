//! Decimal numbers of any size, from Kafka Connect's encodings to plain text.

use num_bigint::BigInt;

/// The largest unscaled number, in bytes: PostgreSQL's largest has 147,455 digits, which take 61,233.
const MAX_BYTES: usize = 65_536;
/// The most zeros that a scale or an exponent may stand for.
const MAX_ZEROS: i64 = 150_000;

/// The decimal text of a big-endian two's complement integer, divided by ten to the power of `scale`.
pub fn from_unscaled(bytes: &[u8], scale: i32) -> Result<String, String> {
    let Some(first) = bytes.first() else { return Err("a decimal without digits".into()) };
    if bytes.len() > MAX_BYTES {
        return Err(format!("a decimal of {} bytes, which is more than {MAX_BYTES}", bytes.len()));
    }
    if bytes.len() <= 16 {
        let negative = *first >= 0x80;
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        let number = i128::from_be_bytes(wide);
        let mut buffer = itoa::Buffer::new();
        return shift(negative, buffer.format(number.unsigned_abs()), i64::from(scale));
    }
    let number = BigInt::from_signed_bytes_be(bytes);
    let negative = number.sign() == num_bigint::Sign::Minus;
    shift(negative, &number.magnitude().to_string(), i64::from(scale))
}

/// The plain text of a JSON number: without exponent, every digit kept.
pub fn from_number(number: &str) -> Result<String, String> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            exponent.parse::<i32>().map_err(|_| "a number that is too large or too small".to_owned())?,
        ),
        None => return Ok(number.to_owned()),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}");
    shift(negative, digits.trim_start_matches('0'), fraction.len() as i64 - i64::from(exponent))
}

/// Whether a text is a number: digits with at most one point among them, a sign before and an exponent after.
pub fn is_number(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    [whole, fraction, exponent].iter().all(|part| !part.is_empty() && digits(part))
}

/// The bytes of hex digits; none where it is not an even number of them.
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? * 16 + digit(*low)?) as u8);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// Puts the point before the last `scale` digits; a negative scale appends zeros.
fn shift(negative: bool, digits: &str, scale: i64) -> Result<String, String> {
    if scale.abs() > MAX_ZEROS {
        return Err(format!("a decimal's scale that is beyond {MAX_ZEROS}"));
    }
    let digits = if digits.is_empty() { "0" } else { digits };
    let mut text = String::with_capacity(digits.len() + 3 + scale.unsigned_abs() as usize);
    if negative && digits != "0" {
        text.push('-');
    }
    if scale <= 0 {
        text.push_str(digits);
        if digits != "0" {
            text.extend(std::iter::repeat_n('0', scale.unsigned_abs() as usize));
        }
        return Ok(text);
    }
    let scale = scale as usize;
    match digits.len().checked_sub(scale) {
        Some(point) if point > 0 => {
            let (whole, fraction) = digits.split_at(point);
            text.extend([whole, ".", fraction]);
        }
        _ => {
            text.push_str("0.");
            text.extend(std::iter::repeat_n('0', scale - digits.len()));
            text.push_str(digits);
        }
    }
    Ok(text)
}

/// How many significant digits a JSON number has: those after its leading and before its trailing zeros.
pub fn significant_digits(number: &str) -> usize {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let (mut seen, mut trailing_zeros) = (0, 0);
    for digit in mantissa.bytes().filter(u8::is_ascii_digit) {
        match digit {
            b'0' if seen == 0 => {}
            b'0' => {
                seen += 1;
                trailing_zeros += 1;
            }
            _ => {
                seen += 1;
                trailing_zeros = 0;
            }
        }
    }
    seen - trailing_zeros
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unscaled_integers_get_their_point() {
        for (bytes, scale, expected) in [
            (vec![0x30, 0x39], 2, "123.45"),
            (vec![0x9c], 2, "-1.00"),
            (vec![0, 255, 255, 255, 255, 255, 255, 255, 255], 0, "18446744073709551615"),
            (vec![0xff], 4, "-0.0001"),
            (vec![0], 4, "0.0000"),
            (vec![0x0c], -3, "12000"),
            (vec![0], -3, "0"),
            (
                vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                0,
                "-170141183460469231731687303715884105728",
            ),
        ] {
            assert_eq!(from_unscaled(&bytes, scale).unwrap(), expected);
        }
    }

    #[test]
    fn numbers_lose_their_exponent_and_nothing_else() {
        for (number, expected) in [
            ("12345.6789", "12345.6789"),
            ("1.50", "1.50"),
            ("-0.0", "-0.0"),
            ("1.2345678901234568e+39", "1234567890123456800000000000000000000000"),
            ("5e-3", "0.005"),
            ("-12.5E1", "-125"),
            ("0e10", "0"),
            ("0.0e0", "0.0"),
            ("100e-2", "1.00"),
        ] {
            assert_eq!(from_number(number).unwrap(), expected, "{number}");
        }
    }

    #[test]
    fn decimals_that_would_fill_the_memory_are_refused() {
        assert!(from_number("1e1000000000").is_err());
        assert!(from_number("1e-99999999999999999999").is_err());
        assert!(from_unscaled(&[1], i32::MIN).is_err());
        assert!(from_unscaled(&vec![1; MAX_BYTES + 1], 0).is_err());
        assert!(from_unscaled(&[], 0).is_err());
    }

    #[test]
    fn zeros_at_either_end_are_not_significant() {
        for (number, expected) in [("0.0", 0), ("-100", 1), ("0.00120", 2), ("1.20e5", 2), ("10.01", 4)] {
            assert_eq!(significant_digits(number), expected, "{number}");
        }
    }

    proptest! {
        #[test]
        fn short_and_long_integers_are_read_alike(number in any::<i128>(), scale in 0_i32..60) {
            let short = from_unscaled(&number.to_be_bytes(), scale).unwrap();
            let mut long = vec![if number < 0 { 0xff } else { 0 }; 4];
            long.extend(number.to_be_bytes());
            prop_assert_eq!(&short, &from_unscaled(&long, scale).unwrap());
            let digits: String = short.chars().filter(|c| *c != '.').collect();
            prop_assert_eq!(digits.parse::<i128>().unwrap(), number);
            prop_assert_eq!(short.split_once('.').map_or(0, |(_, fraction)| fraction.len()), scale as usize);
        }

        #[test]
        fn an_exponent_changes_no_value(digits in "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,6})?", exponent in -8_i32..8) {
            let number = format!("{digits}e{exponent}");
            let plain = from_number(&number).unwrap();
            prop_assert_eq!(plain.parse::<f64>().unwrap(), number.parse::<f64>().unwrap());
            prop_assert!(!plain.contains('e'));
        }
    }
}
