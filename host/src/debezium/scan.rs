//! A strict scanner of JSON that yields spans and builds no values.
//!
//! One pass checks a record against RFC 8259 and writes the members of its outer objects, down to the
//! columns of a row, onto a tape. Strings are read eight bytes at a time. Nothing is allocated once the
//! scanner's own buffers have grown to the size of the usual record.

use std::borrow::Cow;
use std::fmt;

use crate::batch::Span;

mod keys;

pub use super::text::unescape;
use super::text::{digits_end, hex4, low_surrogate, plain_end};
pub use keys::KeysId;
use keys::Memory;

/// The largest record that is looked into, in bytes.
pub const MAX_RECORD_BYTES: usize = 16 << 20;
/// The longest string, in bytes as it is written.
pub const MAX_STRING_BYTES: usize = 8 << 20;
/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 128;
/// How many members one object may have.
pub const MAX_MEMBERS: usize = 10_000;
/// How many values, nested ones counted, one record may have.
pub const MAX_VALUES: u32 = 1_000_000;

/// Objects nested deeper than this are checked, but not taped: `payload`, `after`, its columns.
const TAPE_DEPTH: usize = 3;

/// In place of a member's index: the scanned value itself, which is no member's.
pub const ROOT: u32 = u32::MAX;

/// The type of a JSON value; numbers are told apart by how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool,
    /// A number without fraction or exponent, in the range of a signed 64-bit integer.
    Int,
    /// Any other number without fraction or exponent.
    BigInt,
    /// A number with fraction or exponent.
    Float,
    /// A string.
    Text,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A member of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The key, without its quotes.
    pub key: Span,
    /// Whether the key has escapes.
    pub escaped: bool,
    /// The value's type.
    pub json: Json,
    /// The value's text, without the space around it.
    pub value: Span,
    /// Index on the tape past this member and everything inside its value.
    next: u32,
}

impl Member {
    /// The key's bytes, unescaped. `bytes` is what was scanned.
    #[inline(always)]
    pub fn name<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let raw = self.key.of(bytes);
        if self.escaped { unescaped(raw) } else { Cow::Borrowed(raw) }
    }
}

fn unescaped(raw: &[u8]) -> Cow<'_, [u8]> {
    match str::from_utf8(raw) {
        Ok(raw) => Cow::Owned(unescape(raw).into_owned().into_bytes()),
        Err(_) => Cow::Borrowed(raw),
    }
}

/// Why a text is not acceptable JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Bytes from the start of the record.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not acceptable as json: {} at byte {}", self.what, self.at)
    }
}

/// What [`Scanner::scan`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// The type of the whole value.
    pub root: Json,
    /// Which of the known schema texts the root's member `schema` was recognised as.
    pub known: Option<usize>,
}

/// The scanner with its buffers; one serves any number of records, one after the other.
#[derive(Debug, Default)]
pub struct Scanner {
    tape: Vec<Member>,
    open: Vec<Open>,
    /// Keys of the objects that are open and have others than are remembered, the outermost first; and
    /// whether they have escapes.
    keys: Vec<(Span, bool)>,
    /// Those of one object's keys.
    hashes: Vec<u32>,
    memory: Memory,
    /// Members on the tape whose value is an object with remembered keys, and which keys.
    alike: Vec<(u32, KeysId)>,
}

impl Scanner {
    /// A scanner with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks `bytes[span]` and tapes its members; the spans on the tape are into `bytes`.
    ///
    /// `known` are texts of objects that an earlier scan accepted: where the root's member `schema` is one
    /// of them, it is stepped over without another look.
    pub fn scan<K: AsRef<[u8]>>(&mut self, bytes: &[u8], span: Span, known: &[K]) -> Result<Scanned, Fault> {
        self.tape.clear();
        self.open.clear();
        self.keys.clear();
        self.alike.clear();
        self.memory.begin();
        let start = span.start as usize;
        let bytes = &bytes[..span.end as usize];
        if bytes.len() - start > MAX_RECORD_BYTES {
            return Err(Fault { at: MAX_RECORD_BYTES, what: "a record of more than 16 MiB" });
        }
        let mut pass = Pass { bytes, scanner: self, known, found: None, values: 0 };
        let root = match pass.document(start) {
            Ok(root) => root,
            Err(Wrong(at, what)) => return Err(Fault { at: at - start, what }),
        };
        let found = pass.found;
        // In no other record there can be one.
        if bytes.len() - start > MAX_STRING_BYTES
            && let Some(at) = long_string(bytes, start)
        {
            return Err(Fault { at: at - start, what: "a string of more than 8 MiB" });
        }
        Ok(Scanned { root, known: found })
    }

    /// The member with this index.
    pub fn member(&self, index: u32) -> Option<&Member> {
        self.tape.get(index as usize)
    }

    /// The members of the scanned object, with their indices.
    pub fn members(&self) -> Members<'_> {
        Members { tape: &self.tape, at: 0, end: self.tape.len() }
    }

    /// Says which keys the object has that is the value of the member `parent`: objects of any two records
    /// for which this scanner says the same have the same keys, written the same, in the same order.
    pub fn keys_of(&self, parent: u32) -> Option<KeysId> {
        self.alike.iter().find(|(member, _)| *member == parent).map(|(_, keys)| *keys)
    }

    /// Lists the keys so far of the innermost object, which is the value of the member `slot`, or the root.
    #[cold]
    fn list_keys(&mut self, slot: Option<u32>) {
        let at = slot.map_or(0, |slot| slot as usize + 1);
        let members = Members { tape: &self.tape, at, end: self.tape.len() };
        self.keys.extend(members.map(|(_, member)| (member.key, member.escaped)));
    }

    /// Takes members out of an object, the value of the member `parent` or the [`ROOT`]: the ones that `gone`
    /// picks are not given any more. Indices of members after them change.
    pub fn take_out(&mut self, parent: u32, gone: impl Fn(&Member) -> bool) {
        let range = match self.member(parent) {
            Some(member) => parent as usize + 1..member.next as usize,
            None => 0..self.tape.len(),
        };
        let (mut to, mut at) = (range.start, range.start);
        while let Some(member) = self.tape.get(at).filter(|_| at < range.end) {
            let next = member.next as usize;
            if !gone(member) {
                self.shift(at..next, to);
                to += next - at;
            }
            at = next;
        }
        let end = self.tape.len();
        self.shift(range.end..end, to);
        self.tape.truncate(to + (end - range.end));
        if let Some(member) = self.tape.get_mut(parent as usize) {
            member.next = to as u32;
        }
    }

    /// Moves members towards the front of the tape.
    fn shift(&mut self, members: std::ops::Range<usize>, to: usize) {
        let by = (members.start - to) as u32;
        if by == 0 {
            return;
        }
        for (to, at) in (to..).zip(members) {
            if let Some(mut member) = self.tape.get(at).copied() {
                member.next -= by;
                self.tape[to] = member;
            }
        }
    }

    /// The members of the object that is the value of the member `parent`, or of the [`ROOT`]; none where it
    /// is no object.
    pub fn members_of(&self, parent: u32) -> Members<'_> {
        match self.member(parent) {
            Some(member) => Members { tape: &self.tape, at: parent as usize + 1, end: member.next as usize },
            None if parent == ROOT => self.members(),
            None => Members { tape: &[], at: 0, end: 0 },
        }
    }
}

/// Iterates over the members of one object.
#[derive(Debug, Clone)]
pub struct Members<'s> {
    tape: &'s [Member],
    at: usize,
    end: usize,
}

impl<'s> Iterator for Members<'s> {
    type Item = (u32, &'s Member);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let index = self.at;
        let member = self.tape.get(index)?;
        self.at = member.next as usize;
        Some((index as u32, member))
    }
}

/// An array or object that is not at its end yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Array or object.
    json: Json,
    /// Whether its members go onto the tape.
    taped: bool,
    /// The member on the tape whose value it is, if it is one's.
    slot: Option<u32>,
    /// How many keys of the objects around it are listed.
    first_key: u32,
    /// What is remembered of its keys.
    known: Option<u32>,
    /// How many keys it has so far, if all of them are as remembered. They stand on the tape only.
    as_known: Option<u32>,
}

/// What is wrong, and where in the scanned bytes.
struct Wrong(usize, &'static str);

type Step<T> = Result<T, Wrong>;

/// A key, and whether it has escapes.
type Key = (Span, bool);

/// How the look at an array or object ended, and where to go on.
enum Flow {
    /// At the first member or element of another one in it.
    Entered(usize),
    /// After its end.
    Left(usize),
}

/// One pass over one record. The position is passed on by value: it stays in a register that way.
struct Pass<'a, 's, K> {
    bytes: &'a [u8],
    scanner: &'s mut Scanner,
    known: &'a [K],
    found: Option<usize>,
    values: u32,
}

impl<K: AsRef<[u8]>> Pass<'_, '_, K> {
    fn document(&mut self, start: usize) -> Step<Json> {
        let at = space(self.bytes, start);
        let (json, end) = match self.scalar(at)? {
            Some(scalar) => scalar,
            None => match self.enter(None, at)? {
                (json, Flow::Left(end)) => (json, end),
                (json, Flow::Entered(first)) => (json, self.nested(first)?),
            },
        };
        let end = space(self.bytes, end);
        if end < self.bytes.len() { Err(Wrong(end, "something after the value")) } else { Ok(json) }
    }

    /// From the first member or element of the outermost array or object to its end.
    fn nested(&mut self, mut at: usize) -> Step<usize> {
        while let Some(open) = self.scanner.open.last().copied() {
            let flow = match open.json {
                Json::Object => self.members(at, open)?,
                _ => self.elements(at, open)?,
            };
            at = match flow {
                Flow::Entered(first) => first,
                Flow::Left(end) => self.next(end)?,
            };
        }
        Ok(at)
    }

    /// From after an array or object to what comes next in those around it; after the outermost, to its end.
    fn next(&mut self, mut at: usize) -> Step<usize> {
        while let Some(open) = self.scanner.open.last().copied() {
            let end = space(self.bytes, at);
            match (self.bytes.get(end), open.json) {
                (Some(b','), _) => return Ok(space(self.bytes, end + 1)),
                (Some(b'}'), Json::Object) => self.leave_object(end, open)?,
                (Some(b']'), Json::Array) => self.leave(end, open),
                (_, Json::Object) => return Err(Wrong(end, "neither a comma nor the end of an object")),
                _ => return Err(Wrong(end, "neither a comma nor the end of an array")),
            }
            at = end + 1;
        }
        Ok(at)
    }

    /// The members of the innermost object, from the one at `at` on.
    fn members(&mut self, mut at: usize, mut open: Open) -> Step<Flow> {
        loop {
            let (key, start) = self.key(at, &mut open)?;
            let (json, end) = match self.scalar(start)? {
                Some(scalar) => scalar,
                None => {
                    if let Some(innermost) = self.scanner.open.last_mut() {
                        *innermost = open;
                    }
                    match self.enter(open.taped.then_some(key), start)? {
                        (json, Flow::Left(end)) => (json, end),
                        (_, entered) => return Ok(entered),
                    }
                }
            };
            if open.taped {
                let (next, (key, escaped)) = (self.scanner.tape.len() as u32 + 1, key);
                self.scanner.tape.push(Member { key, escaped, json, value: span(start, end), next });
            }
            at = space(self.bytes, end);
            match self.bytes.get(at) {
                Some(b',') => at = space(self.bytes, at + 1),
                Some(b'}') => {
                    self.leave_object(at, open)?;
                    return Ok(Flow::Left(at + 1));
                }
                _ => return Err(Wrong(at, "neither a comma nor the end of an object")),
            }
        }
    }

    /// The elements of the innermost array, from the one at `at` on.
    fn elements(&mut self, mut at: usize, open: Open) -> Step<Flow> {
        loop {
            let end = match self.scalar(at)? {
                Some((_, end)) => end,
                None => match self.enter(None, at)? {
                    (_, Flow::Left(end)) => end,
                    (_, entered) => return Ok(entered),
                },
            };
            at = space(self.bytes, end);
            match self.bytes.get(at) {
                Some(b',') => at = space(self.bytes, at + 1),
                Some(b']') => {
                    self.leave(at, open);
                    return Ok(Flow::Left(at + 1));
                }
                _ => return Err(Wrong(at, "neither a comma nor the end of an array")),
            }
        }
    }

    /// A value that holds no others, and its end; none at the start of an array or object.
    #[inline(always)]
    fn scalar(&mut self, at: usize) -> Step<Option<(Json, usize)>> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Wrong(at, "more than 1,000,000 values"));
        }
        let literal = |text: &[u8], json| {
            if self.bytes[at..].starts_with(text) {
                Ok(Some((json, at + text.len())))
            } else {
                Err(Wrong(at, "no value"))
            }
        };
        match self.bytes.get(at) {
            Some(b'"') => string(self.bytes, at + 1).map(|(end, _)| Some((Json::Text, end))),
            Some(b'-' | b'0'..=b'9') => number(self.bytes, at).map(Some),
            Some(b'{' | b'[') => Ok(None),
            Some(b'n') => literal(b"null", Json::Null),
            Some(b't') => literal(b"true", Json::Bool),
            Some(b'f') => literal(b"false", Json::Bool),
            Some(_) => Err(Wrong(at, "no value")),
            None => Err(Wrong(at, "the end instead of a value")),
        }
    }

    /// Enters the array or object at `at`, the value of `key` if it is taped; its type. One that is empty or
    /// known is stepped over.
    fn enter(&mut self, key: Option<Key>, at: usize) -> Step<(Json, Flow)> {
        let json = if self.bytes[at] == b'{' { Json::Object } else { Json::Array };
        let depth = self.scanner.open.len();
        if depth >= MAX_DEPTH {
            return Err(Wrong(at, "nesting deeper than 128"));
        }
        if let Some(end) = self.known_schema(key, depth, at) {
            return Ok((json, Flow::Left(end)));
        }
        let first = space(self.bytes, at + 1);
        match (self.bytes.get(first), json) {
            (Some(b'}'), Json::Object) | (Some(b']'), Json::Array) => {
                return Ok((json, Flow::Left(first + 1)));
            }
            _ => {}
        }
        let slot = key.map(|(key, escaped)| {
            let slot = self.scanner.tape.len() as u32;
            self.scanner.tape.push(Member { key, escaped, json, value: span(at, at), next: slot + 1 });
            slot
        });
        let taped = json == Json::Object && depth < TAPE_DEPTH && (depth == 0 || slot.is_some());
        let known = if taped { self.remembered() } else { None };
        let first_key = self.scanner.keys.len() as u32;
        self.scanner.open.push(Open { json, taped, slot, first_key, known, as_known: known.and(Some(0)) });
        Ok((json, Flow::Entered(first)))
    }

    /// What is remembered of the keys of the object that is about to be entered, the value of the last key.
    fn remembered(&mut self) -> Option<u32> {
        let Some(around) = self.scanner.open.last() else { return Some(self.scanner.memory.root()) };
        self.scanner.memory.inside(around.known?, around.as_known?.checked_sub(1)?)
    }

    /// Reads the key at `at`, up to its value.
    #[inline(always)]
    fn key(&mut self, at: usize, open: &mut Open) -> Step<(Key, usize)> {
        if let Some(count) = open.as_known {
            if let Some((length, escaped)) = self.scanner.memory.expect(open.known, count, self.bytes, at) {
                open.as_known = Some(count + 1);
                let key = (span(at + 1, at + length - 2), escaped);
                return Ok((key, space(self.bytes, at + length)));
            }
            open.as_known = None;
            self.scanner.list_keys(open.slot);
        }
        if self.bytes.get(at) != Some(&b'"') {
            return Err(Wrong(at, "no key"));
        }
        let (end, escaped) = string(self.bytes, at + 1)?;
        let key = (span(at + 1, end - 1), escaped);
        self.scanner.keys.push(key);
        let colon = space(self.bytes, end);
        if self.bytes.get(colon) != Some(&b':') {
            return Err(Wrong(colon, "no colon after a key"));
        }
        Ok((key, space(self.bytes, colon + 1)))
    }

    fn leave_object(&mut self, at: usize, open: Open) -> Step<()> {
        let Scanner { keys, hashes, memory, alike, .. } = &mut *self.scanner;
        let first = open.first_key as usize;
        // What is remembered has no duplicates, and so has its beginning none; nor is it too long.
        if let Some(count) = open.as_known {
            let same = memory.keep(open.known, count);
            alike.extend(open.slot.zip(same));
        } else {
            let own = &keys[first..];
            if own.len() > MAX_MEMBERS {
                return Err(Wrong(at, "an object of more than 10,000 members"));
            }
            if keys::has_duplicate(self.bytes, own, hashes) {
                return Err(Wrong(at, "a key that comes twice in the object that ends"));
            }
            memory.learn(open.known, self.bytes, own);
        }
        keys.truncate(first);
        self.leave(at, open);
        Ok(())
    }

    fn leave(&mut self, at: usize, open: Open) {
        self.scanner.open.pop();
        let next = self.scanner.tape.len() as u32;
        if let Some(member) = open.slot.and_then(|slot| self.scanner.tape.get_mut(slot as usize)) {
            member.value.end = at as u32 + 1;
            member.next = next;
        }
    }

    /// The end of the root's member `schema` where its text is known. A text that was accepted as an object
    /// ends with that object, so whatever starts with it has the whole object there.
    #[inline]
    fn known_schema(&mut self, key: Option<Key>, depth: usize, at: usize) -> Option<usize> {
        if self.known.is_empty() || depth != 1 || key?.0.of(self.bytes) != b"schema" {
            return None;
        }
        let rest = &self.bytes[at..];
        self.found = self.known.iter().position(|text| rest.starts_with(text.as_ref()));
        Some(at + self.known[self.found?].as_ref().len())
    }
}

/// The first string in JSON that was accepted that is too long.
#[cold]
fn long_string(bytes: &[u8], mut at: usize) -> Option<usize> {
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

#[inline(always)]
fn span(start: usize, end: usize) -> Span {
    // A batch's arena is indexed by 32 bits, so neither is cut.
    Span { start: start as u32, end: end as u32 }
}

#[inline(always)]
fn space(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'\0'..=b' ') => space_from(bytes, at),
        _ => at,
    }
}

#[cold]
fn space_from(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// From after a string's opening quote to after the closing one; and whether there were escapes.
#[inline(always)]
fn string(bytes: &[u8], at: usize) -> Step<(usize, bool)> {
    let (end, ascii) = plain_end(bytes, at);
    if ascii && bytes.get(end) == Some(&b'"') { Ok((end + 1, false)) } else { string_from(bytes, at, end) }
}

/// The same of a string that is plain up to `at`, but perhaps not in ASCII. Only strings can have other
/// characters, so nothing else is looked at for UTF-8.
#[inline(never)]
fn string_from(bytes: &[u8], start: usize, mut at: usize) -> Step<(usize, bool)> {
    let mut escaped = false;
    while let Some(b'\\') = bytes.get(at) {
        escaped = true;
        (at, _) = plain_end(bytes, escape(bytes, at)?);
    }
    match bytes.get(at) {
        Some(b'"') => {}
        Some(_) => return Err(Wrong(at, "a control character in a string")),
        None => return Err(Wrong(at, "the end inside a string")),
    }
    match str::from_utf8(&bytes[start..at]) {
        Ok(_) => Ok((at + 1, escaped)),
        Err(error) => Err(Wrong(start + error.valid_up_to(), "invalid utf-8")),
    }
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
#[inline(always)]
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
    use serde_json::Value as Tree;

    use super::*;

    fn scan_text(text: &[u8]) -> (Scanner, Result<Scanned, Fault>) {
        let mut scanner = Scanner::new();
        let span = Span { start: 0, end: text.len() as u32 };
        let scanned = scanner.scan::<&[u8]>(text, span, &[]);
        (scanner, scanned)
    }

    fn accepts(text: &str) -> bool {
        scan_text(text.as_bytes()).1.is_ok()
    }

    fn what(text: impl AsRef<[u8]>) -> &'static str {
        scan_text(text.as_ref()).1.unwrap_err().what
    }

    /// Says whether an object anywhere in a JSON text has a key twice.
    struct Duplicates(bool);

    impl<'de> Deserialize<'de> for Duplicates {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Duplicates(false))
        }
    }

    impl<'de> Visitor<'de> for Duplicates {
        type Value = Self;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("json")
        }

        fn visit_unit<E>(self) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_str<E>(self, _: &str) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<Self, A::Error> {
            while let Some(Duplicates(found)) = elements.next_element()? {
                self.0 |= found;
            }
            Ok(self)
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self, A::Error> {
            let mut keys = HashSet::new();
            while let Some((key, Duplicates(found))) = members.next_entry::<String, Duplicates>()? {
                self.0 |= found | !keys.insert(key);
            }
            Ok(self)
        }
    }

    /// What the scanner should say, by serde_json, which takes a key that comes twice; none for numbers that
    /// no float can hold, of which serde_json reads more than their form.
    fn expected(text: &str) -> Option<bool> {
        match serde_json::from_str::<Duplicates>(text) {
            Ok(Duplicates(found)) => Some(!found),
            Err(error) if error.to_string().starts_with("number out of range") => None,
            Err(_) => Some(false),
        }
    }

    fn json_text() -> impl Strategy<Value = String> {
        let space = prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\n\t\r ")];
        let string = prop_oneof![
            4 => "[a-c]{0,2}",
            2 => "[ -!#-\\[\\]-~é🙂]{0,30}",
            1 => "(\\\\[\"\\\\/bfnrt]|\\\\u00[0-9a-fA-F]{2}|\\\\uD83D\\\\uDE42|\\\\ud800|\\\\u0061){1,4}",
        ];
        let string = string.prop_map(|inside| format!("\"{inside}\""));
        let scalar = prop_oneof![
            4 => string.clone(),
            1 => "-?(0|[1-9][0-9]{0,22})",
            1 => "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?",
            1 => prop_oneof![Just("null"), Just("true"), Just("false")].prop_map(String::from),
        ];
        scalar.prop_recursive(5, 60, 6, move |inner| {
            let members = prop::collection::vec((string.clone(), space.clone(), inner.clone()), 0..6);
            prop_oneof![
                prop::collection::vec((space.clone(), inner), 0..6).prop_map(|elements| {
                    let elements: Vec<_> =
                        elements.into_iter().map(|(space, v)| format!("{space}{v}{space}")).collect();
                    format!("[{}]", elements.join(","))
                }),
                members.prop_map(|members| {
                    let members = members
                        .into_iter()
                        .map(|(k, space, v)| format!("{space}{k}{space}:{space}{v}{space}"));
                    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    /// Objects in objects with keys of a few, so that many begin as one before them did.
    fn alike() -> impl Strategy<Value = String> {
        let key = prop::sample::select(vec![
            "a\":",
            "b\":",
            "bb\":",
            "\\u0061\":",
            "b\" :",
            "a_long_name_1\":",
            "a_long_name_of_it\":",
        ]);
        let object = move |value: BoxedStrategy<String>| {
            prop::collection::vec((key.clone(), value), 0..4).prop_map(|members| {
                let members = members.into_iter().map(|(key, value)| format!("\"{key}{value}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            })
        };
        let inner = prop_oneof![Just("1".to_owned()), Just("[{\"a\":1}]".to_owned())].boxed();
        let middle = object(prop_oneof![inner.clone(), object(inner).boxed()].boxed()).boxed();
        object(prop_oneof![1 => Just("null".to_owned()).boxed(), 4 => middle].boxed())
    }

    fn mutated() -> impl Strategy<Value = String> {
        let bytes = prop::sample::select(b"{}[],:\"\\ 0-+.eEu1dD8a\n\x01\x7ftn".to_vec());
        (json_text(), prop::collection::vec((any::<prop::sample::Index>(), bytes, 0..3), 1..4)).prop_map(
            |(text, edits)| {
                let mut characters: Vec<char> = text.chars().collect();
                for (at, byte, how) in edits {
                    let at = at.index(characters.len() + 1);
                    match how {
                        0 => characters.insert(at, char::from(byte)),
                        1 if at < characters.len() => characters[at] = char::from(byte),
                        _ if at < characters.len() => drop(characters.remove(at)),
                        _ => characters.truncate(at / 2),
                    }
                }
                characters.into_iter().collect()
            },
        )
    }

    /// Checks the tape's members of one object against the tree that serde_json makes of it.
    fn check_members(scanner: &Scanner, text: &str, members: Members<'_>, tree: &Tree, depth: usize) {
        let tree = tree.as_object().unwrap();
        let members: Vec<_> = members.collect();
        assert_eq!(members.len(), tree.len());
        for ((index, member), (name, expected)) in members.into_iter().zip(tree) {
            assert_eq!(member.name(text.as_bytes()).as_ref(), name.as_bytes());
            let value = &text[member.value.range()];
            assert_eq!(value, value.trim());
            let fits = match expected {
                Tree::Null => member.json == Json::Null,
                Tree::Bool(_) => member.json == Json::Bool,
                Tree::Number(number) if number.is_i64() => member.json == Json::Int,
                Tree::Number(_) => matches!(member.json, Json::BigInt | Json::Float | Json::Int),
                Tree::String(text) => {
                    unescape(&value[1..value.len() - 1]) == *text && member.json == Json::Text
                }
                Tree::Array(_) => member.json == Json::Array,
                Tree::Object(_) => member.json == Json::Object,
            };
            assert!(fits, "{value} is no {expected}");
            assert_eq!(&serde_json::from_str::<Tree>(value).unwrap(), expected);
            if expected.is_object() && depth < TAPE_DEPTH {
                check_members(scanner, text, scanner.members_of(index), expected, depth + 1);
            } else {
                assert_eq!(scanner.members_of(index).count(), 0);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_json_is_accepted_and_taped_as_serde_json_reads_it(text in json_text()) {
            prop_assert_eq!(Some(accepts(&text)), expected(&text), "{}", text);
            let (scanner, scanned) = scan_text(text.as_bytes());
            if let (Ok(scanned), Ok(tree)) = (scanned, serde_json::from_str::<Tree>(&text)) {
                prop_assert_eq!(scanned.root == Json::Object, tree.is_object());
                if tree.is_object() {
                    check_members(&scanner, &text, scanner.members(), &tree, 1);
                }
            }
        }

        #[test]
        fn what_is_nearly_json_is_refused_where_serde_json_refuses_it(text in mutated()) {
            let expected = expected(&text);
            prop_assume!(expected.is_some());
            prop_assert_eq!(Some(accepts(&text)), expected, "{}", text);
        }

        #[test]
        fn any_bytes_are_accepted_or_refused(text in prop::collection::vec(any::<u8>(), 0..60)) {
            let (_, scanned) = scan_text(&text);
            if let Err(fault) = scanned {
                prop_assert!(fault.at <= text.len());
            }
        }

        #[test]
        fn what_was_scanned_before_changes_nothing(texts in prop::collection::vec(alike(), 1..12)) {
            let mut scanner = Scanner::new();
            for text in &texts {
                let (fresh, expected) = scan_text(text.as_bytes());
                let span = Span { start: 0, end: text.len() as u32 };
                prop_assert_eq!(scanner.scan::<&[u8]>(text.as_bytes(), span, &[]), expected, "{}", text);
                if expected.is_ok() {
                    prop_assert_eq!(&scanner.tape, &fresh.tape, "{}", text);
                }
            }
        }

        #[test]
        fn objects_that_are_said_to_have_the_same_keys_do(texts in prop::collection::vec(alike(), 1..12), repeat in 1..4_usize) {
            let mut scanner = Scanner::new();
            let mut known: Vec<(KeysId, Vec<String>)> = Vec::new();
            for text in texts.iter().flat_map(|text| std::iter::repeat_n(text, repeat)) {
                let span = Span { start: 0, end: text.len() as u32 };
                if scanner.scan::<&[u8]>(text.as_bytes(), span, &[]).is_err() {
                    continue;
                }
                for index in 0..scanner.tape.len() as u32 {
                    let Some(id) = scanner.keys_of(index) else { continue };
                    let keys = scanner.members_of(index).map(|(_, member)| text[member.key.range()].to_owned());
                    let keys: Vec<String> = keys.collect();
                    match known.iter().find(|(other, _)| *other == id) {
                        Some((_, others)) => prop_assert_eq!(others, &keys),
                        None => known.push((id, keys)),
                    }
                }
            }
        }

        #[test]
        fn the_place_in_the_arena_changes_nothing(text in json_text(), before in "[\"{a]{0,20}", after in "[\"}0]{0,20}") {
            let arena = format!("{before}{text}{after}");
            let span = Span { start: before.len() as u32, end: (before.len() + text.len()) as u32 };
            let (alone, expected) = scan_text(text.as_bytes());
            let mut scanner = Scanner::new();
            prop_assert_eq!(scanner.scan::<&[u8]>(arena.as_bytes(), span, &[]), expected);
            let moved = scanner.members().map(|(_, member)| &arena[member.value.range()]);
            prop_assert!(moved.eq(alone.members().map(|(_, member)| &text[member.value.range()])));
        }
    }

    #[test]
    fn each_limit_is_the_last_that_is_accepted() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(accepts(&nested(MAX_DEPTH)));
        assert_eq!(what(nested(MAX_DEPTH + 1)), "nesting deeper than 128");
        let object = |members: usize| {
            let members: Vec<_> = (0..members).map(|index| format!("\"{index}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(accepts(&object(MAX_MEMBERS)));
        assert_eq!(what(object(MAX_MEMBERS + 1)), "an object of more than 10,000 members");
        let array = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
        assert!(accepts(&array(MAX_VALUES as usize)));
        assert_eq!(what(array(MAX_VALUES as usize + 1)), "more than 1,000,000 values");
        let text = |bytes: usize| format!("\"{}\"", "a".repeat(bytes));
        let record = |bytes: usize| {
            let half = text(MAX_STRING_BYTES / 2);
            let rest = bytes - 3 * (half.len() + 1) - 4;
            format!("[{half},{half},{half},{}]", text(rest))
        };
        assert_eq!(record(MAX_RECORD_BYTES).len(), MAX_RECORD_BYTES);
        assert!(accepts(&record(MAX_RECORD_BYTES)));
        assert_eq!(what(record(MAX_RECORD_BYTES + 1)), "a record of more than 16 MiB");
        let escaped = |bytes: usize| format!("[\"\",\"\\\"\",{{\"{}\\n\":1}}]", "a".repeat(bytes - 2));
        for string in [text, escaped] {
            assert!(accepts(&string(MAX_STRING_BYTES)));
            assert_eq!(what(string(MAX_STRING_BYTES + 1)), "a string of more than 8 MiB");
        }
        let at = scan_text(escaped(MAX_STRING_BYTES + 1).as_bytes()).1.unwrap_err().at;
        assert_eq!(&escaped(MAX_STRING_BYTES + 1)[at..at + 2], "\"a");
    }

    #[test]
    fn text_is_unicode_or_refused() {
        for (text, fault) in [
            (&b"\"\xc3\xa9 \xf0\x9f\x99\x82 \xef\xbf\xbe\""[..], None),
            (b"\"\xc3\"", Some("invalid utf-8")),
            (b"\"\xc0\x80\"", Some("invalid utf-8")),
            (b"\"\xed\xa0\x80\"", Some("invalid utf-8")),
            (b"{\"\xff\":1}", Some("invalid utf-8")),
            (b"\"\\ud83d\\ude42\"", None),
            (b"\"\\ud83d\"", Some("half a surrogate pair")),
            (b"\"\\ude42\\ud83d\"", Some("half a surrogate pair")),
            (b"{\"\\ud83d\":1}", Some("half a surrogate pair")),
            (b"\"\\u0000\"", None),
        ] {
            assert_eq!(
                scan_text(text).1.err().map(|fault| fault.what),
                fault,
                "{}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn a_key_that_comes_twice_is_found_at_any_depth_and_however_written() {
        let twice = "a key that comes twice in the object that ends";
        assert_eq!(what(r#"{"a":1,"b":2,"a":3}"#), twice);
        assert_eq!(what(r#"{"a":1,"\u0061":3}"#), twice);
        assert_eq!(what(r#"[[{"x":[{"é":1,"\u00e9":3}]}]]"#), twice);
        assert!(accepts(r#"{"a":{"a":{"a":[{"a":1}]}},"A":1,"":1}"#));
        let mut many: Vec<_> = (0..500).map(|index| format!("\"column_{index}\":0")).collect();
        assert!(accepts(&format!("{{{}}}", many.join(","))));
        many.push("\"column_17\":0".into());
        assert_eq!(what(format!("{{{}}}", many.join(","))), twice);
    }

    #[test]
    fn a_fault_says_what_and_where() {
        for (text, at, what) in [
            (&b""[..], 0, "the end instead of a value"),
            (b"{\"a\":1} x", 8, "something after the value"),
            (b"{\"a\":1}{}", 7, "something after the value"),
            (b"[1,]", 3, "no value"),
            (b"{\"a\":1,}", 7, "no key"),
            (b"{\"a\" 1}", 5, "no colon after a key"),
            (b"[1 2]", 3, "neither a comma nor the end of an array"),
            (b"{\"a\":1]", 6, "neither a comma nor the end of an object"),
            (b"\"a\nb\"", 2, "a control character in a string"),
            (b"\"abc", 4, "the end inside a string"),
            (b"\"a\\x\"", 2, "an unknown escape"),
            (b"\"\\u12g4\"", 1, "an escape without four hex digits"),
            (b"\"\\ud800\"", 1, "half a surrogate pair"),
            (b"\"\\ud800\\u0041\"", 1, "half a surrogate pair"),
            (b"\"\\udc00\"", 1, "half a surrogate pair"),
            (b"[01]", 2, "neither a comma nor the end of an array"),
            (b"-", 1, "a number without digits"),
            (b"1.", 2, "a number without digits"),
            (b"1e+", 3, "a number without digits"),
            (b"nul", 0, "no value"),
            (b"NaN", 0, "no value"),
            (b"\"\xff\"", 1, "invalid utf-8"),
        ] {
            assert_eq!(scan_text(text).1, Err(Fault { at, what }), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn numbers_are_told_apart_by_how_they_are_written() {
        for (text, expected) in [
            ("0", Json::Int),
            ("-0", Json::Int),
            ("9223372036854775807", Json::Int),
            ("9223372036854775808", Json::BigInt),
            ("-9223372036854775808", Json::Int),
            ("-9223372036854775809", Json::BigInt),
            ("100000000000000000000", Json::BigInt),
            ("1.0", Json::Float),
            ("1e0", Json::Float),
            ("1e400", Json::Float),
        ] {
            assert_eq!(scan_text(text.as_bytes()).1.unwrap().root, expected, "{text}");
        }
    }

    #[test]
    fn a_known_schema_is_stepped_over_and_only_as_the_roots_member() {
        let schema: &[u8] = br#"{"type":"struct"}"#;
        let known = [&br#"{"other":1}"#[..], schema];
        let scan = |text: &str| {
            let mut scanner = Scanner::new();
            let span = Span { start: 0, end: text.len() as u32 };
            let scanned = scanner.scan(text.as_bytes(), span, &known);
            let members: Vec<_> =
                scanner.members().map(|(_, member)| text[member.value.range()].to_owned()).collect();
            (scanned.map(|scanned| scanned.known), members)
        };
        let (found, members) = scan(r#"{"schema":{"type":"struct"},"payload":1}"#);
        assert_eq!(found, Ok(Some(1)));
        assert_eq!(members, [r#"{"type":"struct"}"#, "1"]);
        assert_eq!(scan(r#"{"schema":{"type":"struct","x":1},"payload":1}"#).0, Ok(None));
        assert_eq!(scan(r#"{"payload":{"schema":{"type":"struct"}}}"#).0, Ok(None));
        assert!(scan(r#"{"schema":{"type":"struct"}}}"#).0.is_err());
    }

    #[test]
    fn members_that_are_taken_out_leave_the_others_in_place() {
        let text = r#"{"schema":{"s":1},"payload":{"__op":"c","a":{"x":1,"y":2},"__deleted":{"z":1},"b":2,"__x":1},"end":{"e":1}}"#;
        let own = |name: &[u8]| name.starts_with(b"__");
        let (mut scanner, scanned) = scan_text(text.as_bytes());
        assert!(scanned.is_ok());
        let payload = scanner.members().nth(1).map(|(index, _)| index).unwrap();
        scanner.take_out(payload, |member| own(member.key.of(text.as_bytes())));
        let names = |scanner: &Scanner, parent: u32| {
            let members = scanner.members_of(parent);
            members.map(|(index, member)| (text[member.key.range()].to_owned(), index)).collect::<Vec<_>>()
        };
        let row = names(&scanner, payload);
        assert_eq!(row.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(names(&scanner, row[0].1).len(), 2);
        let root = names(&scanner, ROOT);
        assert_eq!(
            root.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["schema", "payload", "end"]
        );
        assert_eq!(names(&scanner, root[2].1)[0].0, "e");
        scanner.take_out(ROOT, |member| member.key.of(text.as_bytes()) == b"schema");
        assert_eq!(names(&scanner, ROOT).len(), 2);
        assert_eq!(names(&scanner, names(&scanner, ROOT)[0].1).len(), 2);
    }
}
