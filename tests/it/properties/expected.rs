//! What ClickHouse must show, from the values themselves.

/// Days since 1970-01-01 of a date, by counting the days of the years and months before it.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    // Leap days of the years from 0 to before this one; year 0 is one of them.
    let leaps = if year > 0 { (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 + 1 } else { 0 };
    let months: i64 = (1..month).map(|month| month_days(year, month)).sum();
    // 719,528 days lie between 0000-01-01 and 1970-01-01.
    365 * year + leaps + months + day - 1 - 719_528
}

/// How many days a month has.
pub fn month_days(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Bytes as hexadecimal digits, in capitals as ClickHouse has them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Bytes in base64.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            match place <= chunk.len() {
                true => text.push(char::from(ALPHABET[(word >> (18 - 6 * place)) as usize & 63])),
                false => text.push('='),
            }
        }
    }
    text
}

/// A number's big-endian two's complement, in as few bytes as hold it.
pub fn unscaled(text: &str) -> Vec<u8> {
    let number: num_bigint::BigInt = text.parse().expect("a whole number");
    number.to_signed_bytes_be()
}
