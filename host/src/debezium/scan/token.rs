//! Single values in a record: strings, numbers, and the three words.

use super::keys::{Known, MAX_KEY_BYTES};
use super::lanes::{LOOK, Look, Way, Work};
use super::{Json, MAX_STRING_BYTES};
use crate::debezium::text::{ascii_end, digits_end, hex4, low_surrogate, plain_end};

/// What is wrong, and where in the scanned bytes.
pub(super) struct Wrong(pub usize, pub &'static str);

pub(super) type Step<T> = Result<T, Wrong>;

/// The bytes of a record. What follows them may be looked at, so that nearly all looks are at many bytes at a
/// time, but nothing ends there.
#[derive(Clone, Copy)]
pub(super) struct Text<'a, W> {
    /// The record, and what follows.
    pub all: &'a [u8],
    /// The record.
    pub bytes: &'a [u8],
    pub way: W,
}

/// So many bytes hold a remembered key and the look after the first byte of its value. A power of two, so that
/// what is within needs no check.
const WINDOW: usize = 128;

impl<W: Way> Text<'_, W> {
    /// Where the value begins, if the remembered key stands at `at`.
    pub(super) fn after(self, at: usize, key: &Known) -> Option<usize> {
        let length = usize::from(key.length);
        let text = self.bytes.get(at..at + length)?;
        let (start, rest) = text.split_at_checked(LOOK).unwrap_or((text, &[]));
        (key.start.starts_with(start) && *key.rest == *rest).then_some(at + length)
    }

    /// The value of a member that stands at `at`, if its key is the remembered one, and it holds no others. Of an
    /// object with members, its start is its end. None where a closer look is needed.
    #[inline(always)]
    pub(super) fn expected(&self, at: usize, key: &Known) -> Step<Option<Value>> {
        let Some(window) = self.all.get(at..).and_then(<[u8]>::first_chunk::<WINDOW>) else {
            return Ok(None);
        };
        let look = |from: usize| -> &Look { window[from..].first_chunk().unwrap_or(&[0; LOOK]) };
        if self.way.differ(look(0), &key.start) & key.mask != 0 {
            return Ok(None);
        }
        let start = usize::from(key.length) & MAX_KEY_BYTES;
        if start > LOOK && !window[LOOK..].starts_with(&key.rest) {
            return Ok(None);
        }
        let (json, length) = match window[start] {
            b'"' => {
                let end = self.way.special(look(start + 1)).trailing_zeros() as usize + start + 1;
                if window[end] != b'"' {
                    if at + start >= self.bytes.len() {
                        return Ok(None);
                    }
                    let (end, _) = self.string(at + start + 1)?;
                    return Ok(Some(Value { json: Json::Text, start: at + start, end }));
                }
                (Json::Text, end + 1)
            }
            first @ (b'-' | b'0'..=b'9') => {
                let negative = usize::from(first == b'-');
                let others = self.way.no_digits(look(start + negative));
                let digits = others.trailing_zeros() as usize;
                let usual = match window[start + negative] {
                    b'0' => digits == 1,
                    // So many are within 64 bits.
                    b'9' => digits < 19,
                    _ => matches!(digits, 1..20),
                };
                let whole = start + negative + digits;
                match window[whole] {
                    _ if !usual => return Ok(None),
                    b'.' => {
                        let others = others & others.wrapping_sub(1);
                        let end = start + negative + others.trailing_zeros() as usize;
                        if others == 0 || end == whole + 1 || matches!(window[end], b'e' | b'E') {
                            return Ok(None);
                        }
                        (Json::Float, end)
                    }
                    b'e' | b'E' => return Ok(None),
                    _ => (Json::Int, whole),
                }
            }
            b'{' if window[start + 1] == b'"' => (Json::Object, start),
            b'n' if window[start..].starts_with(b"null") => (Json::Null, start + 4),
            b't' if window[start..].starts_with(b"true") => (Json::Bool, start + 4),
            b'f' if window[start..].starts_with(b"false") => (Json::Bool, start + 5),
            _ => return Ok(None),
        };
        Ok(Some(Value { json, start: at + start, end: at + length }))
    }

    /// A value that holds no others, and its end; none at the start of an array or object, and where there is no
    /// value.
    #[inline]
    pub(super) fn scalar(self, at: usize) -> Step<Option<(Json, usize)>> {
        let literal =
            |text: &[u8], json| self.bytes[at..].starts_with(text).then_some((json, at + text.len()));
        match self.bytes.get(at) {
            Some(b'"') => self.string(at + 1).map(|(end, _)| Some((Json::Text, end))),
            Some(b'-' | b'0'..=b'9') => number(self.bytes, at).map(Some),
            Some(b'n') => Ok(literal(b"null", Json::Null)),
            Some(b't') => Ok(literal(b"true", Json::Bool)),
            Some(b'f') => Ok(literal(b"false", Json::Bool)),
            _ => Ok(None),
        }
    }

    /// From after a string's opening quote to after the closing one; and whether there were escapes.
    #[inline(always)]
    pub(super) fn string(self, at: usize) -> Step<(usize, bool)> {
        self.way.run(Inside { bytes: self.bytes, start: at, way: self.way })
    }
}

/// Looks for the end of a string, from after its opening quote on.
struct Inside<'a, W> {
    bytes: &'a [u8],
    start: usize,
    way: W,
}

impl<W: Way> Work for Inside<'_, W> {
    /// After the closing quote; and whether there were escapes.
    type Done = Step<(usize, bool)>;

    #[inline(always)]
    fn go(self) -> Self::Done {
        let Inside { bytes, start, way } = self;
        let (mut at, mut ascii, mut escaped) = (start, true, false);
        loop {
            at = match bytes.get(at..).and_then(<[u8]>::first_chunk::<LOOK>) {
                Some(look) => match way.special(look) {
                    0 => {
                        at += LOOK;
                        continue;
                    }
                    special => at + special.trailing_zeros() as usize,
                },
                None => ascii_end(bytes, at),
            };
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at = escape(bytes, at)?;
                }
                Some(0x80..) => {
                    ascii = false;
                    at = plain_end(bytes, at).0;
                }
                Some(_) => return Err(Wrong(at, "a control character in a string")),
                None => return Err(Wrong(at, "the end inside a string")),
            }
        }
        // Only strings can have other characters, so nothing else is looked at for UTF-8.
        if !ascii && let Err(error) = str::from_utf8(&bytes[start..at]) {
            return Err(Wrong(start + error.valid_up_to(), "invalid utf-8"));
        }
        Ok((at + 1, escaped))
    }
}

/// A value that holds no others, or an object at its start.
pub(super) struct Value {
    pub json: Json,
    pub start: usize,
    pub end: usize,
}

/// The first string in JSON that was accepted that is too long.
#[cold]
pub(super) fn long_string(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(quote) = memchr::memchr(b'"', bytes.get(at..)?) {
        let start = at + quote + 1;
        at = start;
        loop {
            (at, _) = plain_end(bytes, at);
            match bytes.get(at) {
                Some(b'\\') => at += 2,
                _ => break,
            }
        }
        if at - start > MAX_STRING_BYTES {
            return Some(start - 1);
        }
        at += 1;
    }
    None
}

/// The end of the escape that starts at `at`.
fn escape(bytes: &[u8], at: usize) -> Step<usize> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match (hex4(bytes, at + 2), low_surrogate(bytes, at + 6)) {
            (Some(0xd800..=0xdbff), Some(_)) => Ok(at + 12),
            (Some(0xd800..=0xdfff), _) => Err(Wrong(at, "half a surrogate pair")),
            (Some(_), _) => Ok(at + 6),
            (None, _) => Err(Wrong(at, "an escape without four hex digits")),
        },
        _ => Err(Wrong(at, "an unknown escape")),
    }
}

/// A number's type and its end.
#[inline(never)]
fn number(bytes: &[u8], at: usize) -> Step<(Json, usize)> {
    let negative = bytes.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let whole = match bytes.get(start) {
        Some(b'0') => start + 1,
        Some(b'1'..=b'9') => digits_end(bytes, start),
        _ => return Err(Wrong(start, "a number without digits")),
    };
    if let Some(b'.' | b'e' | b'E') = bytes.get(whole) {
        return Ok((Json::Float, float_end(bytes, whole)?));
    }
    let fits = whole - start < 19 || fits_i64(&bytes[start..whole], negative);
    Ok((if fits { Json::Int } else { Json::BigInt }, whole))
}

/// The end of a number's fraction and exponent.
fn float_end(bytes: &[u8], mut at: usize) -> Step<usize> {
    let digits = |at| match digits_end(bytes, at) {
        end if end == at => Err(Wrong(at, "a number without digits")),
        end => Ok(end),
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        at = digits(at + usize::from(matches!(bytes.get(at), Some(b'+' | b'-'))))?;
    }
    Ok(at)
}

fn fits_i64(digits: &[u8], negative: bool) -> bool {
    let limit: &[u8; 19] = if negative { b"9223372036854775808" } else { b"9223372036854775807" };
    // Without leading zeros longer is greater, and as long compares like text.
    digits.len() < limit.len() || (digits.len() == limit.len() && digits <= limit.as_slice())
}
