//! The insides of JSON strings and numbers, eight bytes at a time.

use std::borrow::Cow;

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);
const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
const SIXES: u64 = u64::from_le_bytes([0x06; 8]);
const UPPER: u64 = u64::from_le_bytes([0xf0; 8]);

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|chunk| u64::from_le_bytes(*chunk))
}

/// Where, from `at` on, a string's plain characters end: at a quote, a backslash, a control character, or
/// the end of `bytes`; and whether all of them are ASCII.
#[inline(always)]
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> (usize, bool) {
    let mut all = 0;
    while let Some(word) = word(bytes, at) {
        let quote = word ^ QUOTES;
        let backslash = word ^ BACKSLASHES;
        // Borrows can mark bytes after the first true hit, never one before it.
        let below = word.wrapping_sub(SPACES) & !word;
        let hits =
            (below | (quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash))
                & HIGHS;
        if hits != 0 {
            let before = (hits & hits.wrapping_neg()) - 1;
            all |= word & before;
            return (at + (hits.trailing_zeros() / 8) as usize, all & HIGHS == 0);
        }
        all |= word;
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte < b' ' || byte == b'"' || byte == b'\\' {
            break;
        }
        all |= u64::from(byte);
        at += 1;
    }
    (at, all & HIGHS == 0)
}

/// The same, but ends at a byte that is not ASCII, too.
#[inline(always)]
pub(super) fn ascii_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(bytes, at) {
        let (quote, backslash) = (word ^ QUOTES, word ^ BACKSLASHES);
        // Borrows can mark bytes after the first true hit, never one before it.
        let hits =
            (word.wrapping_sub(SPACES) | quote.wrapping_sub(ONES) | backslash.wrapping_sub(ONES) | word)
                & HIGHS;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\' || !byte.is_ascii();
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(special).unwrap_or(rest.len())
}

/// A bit for each byte that is not zero, the lowest for the first.
#[inline(always)]
pub(super) fn not_zero(word: u64) -> u64 {
    bits((word & !HIGHS).wrapping_add(!HIGHS) | word)
}

/// A bit for each byte whose highest bit is set.
#[inline(always)]
fn bits(word: u64) -> u64 {
    // Each highest bit is moved to a bit of its own of the highest byte.
    ((word & HIGHS) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// A bit for each byte that is a quote, a backslash, a control character, or not ASCII.
#[inline(always)]
pub(super) fn special(word: u64) -> u64 {
    // Nothing is carried from byte to byte.
    let (low, high) = (word & !HIGHS, word & HIGHS);
    let not_below = low.wrapping_add(HIGHS - SPACES);
    let not_quote = (low ^ QUOTES).wrapping_add(!HIGHS);
    let not_backslash = (low ^ BACKSLASHES).wrapping_add(!HIGHS);
    bits(!(not_below & not_quote & not_backslash) | high)
}

/// A bit for each byte that is no digit.
#[inline(always)]
pub(super) fn no_digits(word: u64) -> u64 {
    const TO_NINE: u64 = u64::from_le_bytes([0x80 - b'9' - 1; 8]);
    let low = word & !HIGHS;
    let not_below = low.wrapping_add(HIGHS - ZEROS);
    let above = low.wrapping_add(TO_NINE);
    bits(!not_below | above | word)
}

/// Zero where all bytes are digits; otherwise the lowest byte that is not zero is that of the first that is
/// none.
#[inline(always)]
fn other_than_digits(word: u64) -> u64 {
    // The second part finds the bytes from ':' to '?', whose upper half is a digit's too. A carry can mark
    // bytes after the first true hit, never one before it.
    (word & UPPER ^ ZEROS) | (word.wrapping_add(SIXES) & UPPER ^ ZEROS)
}

/// Whether all eight bytes are digits.
#[inline(always)]
pub(super) fn all_digits(word: u64) -> bool {
    other_than_digits(word) == 0
}

/// Where, from `at` on, digits end.
#[inline(always)]
pub(super) fn digits_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(bytes, at) {
        let others = other_than_digits(word);
        if others != 0 {
            return at + (others.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The number that four hex digits are.
pub(super) fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..)?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |sum, &digit| Some(sum * 16 + char::from(digit).to_digit(16)?))
}

/// The second half of a surrogate pair, where its escape stands at `at`.
pub(super) fn low_surrogate(bytes: &[u8], at: usize) -> Option<u32> {
    if bytes.get(at) != Some(&b'\\') || bytes.get(at + 1) != Some(&b'u') {
        return None;
    }
    hex4(bytes, at + 2).filter(|low| (0xdc00..=0xdfff).contains(low))
}

/// The text that a JSON string stands for; `raw` is what is between its quotes.
///
/// Meant for text that a [`Scanner`] accepted. An escape that it would not accept becomes U+FFFD.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', raw.as_bytes()) else { return Cow::Borrowed(raw) };
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    let mut escape = first;
    loop {
        text.push_str(&rest[..escape]);
        let (character, used) = unescape_one(&rest.as_bytes()[escape..]);
        text.push(character);
        rest = rest.get(escape + used..).unwrap_or("");
        match memchr::memchr(b'\\', rest.as_bytes()) {
            Some(next) => escape = next,
            None => break,
        }
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character of the escape that `bytes` starts with, and how many bytes it takes.
fn unescape_one(bytes: &[u8]) -> (char, usize) {
    let character = match bytes.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => match (hex4(bytes, 2), low_surrogate(bytes, 6)) {
            (Some(high @ 0xd800..=0xdbff), Some(low)) => {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
            }
            (Some(code), _) => return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
            (None, _) => return (char::REPLACEMENT_CHARACTER, 1),
        },
        _ => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (character, 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_escaped_string_comes_back(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(unescape(&json[1..json.len() - 1]), text.as_str());
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            prop_assert_eq!(unescape(&escaped), text.as_str());
        }

        #[test]
        fn unescaping_takes_any_text(text in "(\\\\|u|d|8|0|é|[a-f]){0,30}") {
            unescape(&text);
        }

        #[test]
        fn plain_text_and_digits_end_where_a_look_at_each_byte_says(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
            let end = bytes.iter().position(special).unwrap_or(bytes.len());
            prop_assert_eq!(plain_end(&bytes, 0), (end, bytes[..end].is_ascii()));
            let digits: Vec<u8> = bytes.iter().map(|byte| b'0' + byte % 11).collect();
            let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
            prop_assert_eq!(digits_end(&digits, 0), end);
            let end = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
            prop_assert_eq!(digits_end(&bytes, 0), end);
        }
    }
}
