//! The fastest that was found to do this one rule on this one table: slices of the event's bytes, and no parser.
//!
//! It knows the members of the event and the columns of the table, and takes them in their order; what it does not
//! need it steps over by counting braces outside of strings, 64 bytes at a time with AVX2. Of what it steps over it
//! checks nothing, and of the rest no more than it has to read; the UTF-8 of a whole event is checked in one go.
//! No host could be built like that: it is the measure of what strictness, types and plans cost.

use std::arch::x86_64::*;
use std::borrow::Cow;

use crate::Design;
use crate::consumer::{Row, Rows};
use crate::corpus::Record;

/// The rule on slices.
pub struct Raw {
    digest: String,
    rows: Rows,
}

impl Raw {
    /// None: the processor lacks what it is written for.
    pub fn new(digest: &str) -> Option<Raw> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("pclmulqdq");
        has.then(|| Raw { digest: digest.to_owned(), rows: Rows::default() })
    }
}

impl Design for Raw {
    fn name(&self) -> &'static str {
        "raw slices"
    }

    fn block(&mut self, first: i64, records: &[Record<'_>]) -> Vec<u8> {
        self.rows.clear();
        for (offset, (_, value)) in (first..).zip(records) {
            self.rows.offset = offset;
            // SAFETY: `new` has asked the processor.
            let taken = unsafe { event(value, &mut self.rows) };
            taken.expect("every event of the corpus can be read");
        }
        self.rows.block(&self.digest)
    }
}

#[target_feature(enable = "avx2,bmi1,bmi2,pclmulqdq")]
fn event(bytes: &[u8], rows: &mut Rows) -> Option<()> {
    let text = str::from_utf8(bytes).ok()?;
    let mut at = after(bytes, 0, b"{\"before\":")?;
    at = skip(bytes, at)?;
    at = after(bytes, at, b",\"after\":")?;
    let row = at;
    at = skip(bytes, at)?;
    at = after(bytes, at, b",\"source\":")?;
    at = skip(bytes, at)?;
    at = after(bytes, at, b",\"transaction\":null,\"op\":\"")?;
    if bytes.get(at) == Some(&b'u') {
        rows.push(&columns(text, row)?)?;
    }
    Some(())
}

#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn columns(text: &str, at: usize) -> Option<Row<'_>> {
    let bytes = text.as_bytes();
    let (id, end) = integer(bytes, after(bytes, at, b"{\"id\":")?)?;
    let (customer_id, end) = integer(bytes, after(bytes, end, b",\"customer_id\":")?)?;
    let (status, end) = string(text, after(bytes, end, b",\"status\":")?)?;
    let (currency, end) = string(text, after(bytes, end, b",\"currency\":")?)?;
    let (total, end) = number(text, after(bytes, end, b",\"total\":")?)?;
    let (is_gift, end) = boolean(bytes, after(bytes, end, b",\"is_gift\":")?)?;
    let (email, end) = string(text, after(bytes, end, b",\"email\":")?)?;
    let (note, end) = string(text, after(bytes, end, b",\"note\":")?)?;
    let (created_at, end) = integer(bytes, after(bytes, end, b",\"created_at\":")?)?;
    let (updated_at, _) = string(text, after(bytes, end, b",\"updated_at\":")?)?;
    let id = id?;
    Some(Row { id, customer_id, status, currency, total, is_gift, email, note, created_at, updated_at })
}

/// From after a text that must stand at `at`.
#[inline(always)]
fn after(bytes: &[u8], at: usize, text: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(text).then_some(at + text.len())
}

fn is_null(bytes: &[u8], at: usize) -> Option<usize> {
    after(bytes, at, b"null")
}

#[inline(always)]
fn integer(bytes: &[u8], at: usize) -> Option<(Option<i64>, usize)> {
    if let Some(end) = is_null(bytes, at) {
        return Some((None, end));
    }
    let start = at + usize::from(bytes.get(at) == Some(&b'-'));
    let (mut end, mut number) = (start, 0_i64);
    while let Some(digit @ b'0'..=b'9') = bytes.get(end) {
        number = number.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
        end += 1;
    }
    // So many digits are within 64 bits.
    (1..=18).contains(&(end - start)).then_some((Some(if start > at { -number } else { number }), end))
}

#[inline(always)]
fn number(text: &str, at: usize) -> Option<(Option<f64>, usize)> {
    if let Some(end) = is_null(text.as_bytes(), at) {
        return Some((None, end));
    }
    let rest = &text.as_bytes()[at..];
    let end = at + rest.iter().position(|byte| matches!(byte, b',' | b'}'))?;
    Some((Some(text.get(at..end)?.parse().ok()?), end))
}

#[inline(always)]
fn boolean(bytes: &[u8], at: usize) -> Option<(Option<bool>, usize)> {
    match bytes.get(at)? {
        b'n' => Some((None, is_null(bytes, at)?)),
        b't' => Some((Some(true), after(bytes, at, b"true")?)),
        _ => Some((Some(false), after(bytes, at, b"false")?)),
    }
}

#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn string(text: &str, at: usize) -> Option<(Option<Cow<'_, str>>, usize)> {
    let bytes = text.as_bytes();
    if let Some(end) = is_null(bytes, at) {
        return Some((None, end));
    }
    let start = after(bytes, at, b"\"")?;
    let (mut end, mut escaped) = (start, false);
    loop {
        end += special(bytes, end)?;
        match bytes.get(end)? {
            b'"' => break,
            _ => {
                escaped = true;
                end += 2;
            }
        }
    }
    let raw = text.get(start..end)?;
    Some((Some(if escaped { host::debezium::scan::unescape(raw) } else { raw.into() }), end + 1))
}

/// How far the next quote or backslash is.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn special(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let mut skipped = 0;
    for chunk in rest.as_chunks::<32>().0 {
        let chunk = load(chunk);
        let found = equal(chunk, b'"') | equal(chunk, b'\\');
        if found != 0 {
            return Some(skipped + found.trailing_zeros() as usize);
        }
        skipped += 32;
    }
    let rest = rest.get(skipped..)?;
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|at| at + skipped)
}

/// The end of the object or null at `at`.
#[target_feature(enable = "avx2,bmi1,bmi2,pclmulqdq")]
fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) == Some(&b'n') {
        return is_null(bytes, at);
    }
    let (mut depth, mut in_string, mut escaping) = (0_i32, 0_u64, 0_u64);
    let mut start = at;
    loop {
        let rest = bytes.get(start..)?;
        let mut last = [b' '; 64];
        let block: &[u8; 64] = match rest.first_chunk() {
            Some(block) => block,
            None if rest.is_empty() => return None,
            None => {
                last[..rest.len()].copy_from_slice(rest);
                &last
            }
        };
        let (halves, _) = block.as_chunks::<32>();
        let [low, high] = [load(&halves[0]), load(&halves[1])];
        let find = |byte: u8| u64::from(equal(low, byte)) | u64::from(equal(high, byte)) << 32;
        let quotes = find(b'"') & !escaped(find(b'\\'), &mut escaping);
        // A bit for each byte from an opening quote up to the closing one.
        let inside = within(quotes) ^ in_string;
        in_string = (inside.cast_signed() >> 63).cast_unsigned();
        let (mut open, mut close) = (find(b'{') & !inside, find(b'}') & !inside);
        while close != 0 {
            let end = close.trailing_zeros();
            let before = open & ((1_u64 << end) - 1);
            depth += before.count_ones().cast_signed() - 1;
            if depth == 0 {
                return Some(start + end as usize + 1);
            }
            open &= !before;
            close &= close - 1;
        }
        depth += open.count_ones().cast_signed();
        start += 64;
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(chunk: &[u8; 32]) -> __m256i {
    // SAFETY: 32 bytes are a vector, which may stand at any address.
    unsafe { _mm256_loadu_si256(chunk.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn equal(chunk: __m256i, byte: u8) -> u32 {
    _mm256_movemask_epi8(_mm256_cmpeq_epi8(chunk, _mm256_set1_epi8(byte.cast_signed()))).cast_unsigned()
}

/// Which bytes are escaped by the backslashes; `escaping`: the last block ended with an open one, 1 or 0.
#[inline(always)]
fn escaped(backslashes: u64, escaping: &mut u64) -> u64 {
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    if backslashes == 0 {
        return std::mem::take(escaping);
    }
    let backslashes = backslashes & !*escaping;
    let follows = backslashes << 1 | *escaping;
    let starts = backslashes & ODD & !follows;
    let (ends, over) = starts.overflowing_add(backslashes);
    *escaping = over.into();
    (!ODD ^ (ends << 1)) & follows
}

/// The sum without carry of all bits up to each.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn within(quotes: u64) -> u64 {
    let all = _mm_set1_epi8(-1);
    let product = _mm_clmulepi64_si128(_mm_set_epi64x(0, quotes.cast_signed()), all, 0);
    _mm_cvtsi128_si64(product).cast_unsigned()
}
