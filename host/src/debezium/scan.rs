//! A strict scanner of JSON that yields spans and builds no values.
//!
//! One pass checks a record against RFC 8259 and writes the members of its outer objects, down to the
//! columns of a row, onto a tape. Keys, strings and numbers are looked at 32 bytes at a time, by vectors where
//! the processor has them. Nothing is allocated once the scanner's own buffers have grown to the size of the
//! usual record.

use std::borrow::Cow;
use std::fmt;

use crate::batch::Span;

mod keys;
mod lanes;
mod pass;
mod token;

pub use super::text::unescape;
pub use keys::KeysId;
use keys::Memory;
pub use lanes::Lanes;
use lanes::{Way as _, Which};
use pass::{Open, Pass};
use token::long_string;

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
    lanes: Lanes,
    tape: Vec<Member>,
    open: Vec<Open>,
    /// Keys of the objects that are open and have others than are remembered, the outermost first; and
    /// whether they have escapes.
    keys: Vec<(Span, bool)>,
    /// Those of one object's keys.
    hashes: Vec<u32>,
    memory: Memory,
    /// Members on the tape whose value is an object with remembered keys, or [`ROOT`] where the whole is one, and
    /// which keys.
    alike: Vec<(u32, KeysId)>,
}

impl Scanner {
    /// A scanner with empty buffers, that looks at bytes in the fastest way that the processor has.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, for this way to look at bytes.
    pub fn with(lanes: Lanes) -> Self {
        Scanner { lanes, ..Self::default() }
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
        if span.range().len() > MAX_RECORD_BYTES {
            return Err(Fault { at: MAX_RECORD_BYTES, what: "a record of more than 16 MiB" });
        }
        let scanned = self.pass(bytes, span, known)?;
        // In no other record there can be one.
        if span.range().len() > MAX_STRING_BYTES
            && let Some(at) = long_string(span.of(bytes))
        {
            return Err(Fault { at, what: "a string of more than 8 MiB" });
        }
        Ok(scanned)
    }

    fn pass<K: AsRef<[u8]>>(&mut self, all: &[u8], span: Span, known: &[K]) -> Result<Scanned, Fault> {
        match self.lanes.0 {
            #[cfg(target_arch = "x86_64")]
            Which::Avx2(way) => way.run(Pass::new(all, span, self, known, way)),
            #[cfg(target_arch = "x86_64")]
            Which::Sse2(way) => way.run(Pass::new(all, span, self, known, way)),
            Which::Words(way) => way.run(Pass::new(all, span, self, known, way)),
        }
    }

    /// The member with this index.
    pub fn member(&self, index: u32) -> Option<&Member> {
        self.tape.get(index as usize)
    }

    /// The members of the scanned object, with their indices.
    pub fn members(&self) -> Members<'_> {
        Members { tape: &self.tape, at: 0, end: self.tape.len() }
    }

    /// Says which keys the object has that is the value of the member `parent`, or the [`ROOT`]: objects of any two
    /// records for which scanners say the same have the same keys, written the same, in the same order.
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
    /// picks are not given any more. Indices of members after them change, and of no object it is said any more which
    /// keys it has.
    pub fn take_out(&mut self, parent: u32, gone: impl Fn(&Member) -> bool) {
        self.alike.clear();
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
    use serde_json::Value as Tree;

    use super::*;

    /// What a scanner says that has met nothing yet. Others of each way must say the same, again and again,
    /// whatever follows the text.
    fn scan_text(text: &[u8]) -> (Scanner, Result<Scanned, Fault>) {
        let mut scanner = Scanner::with(Lanes::named("words").unwrap());
        let span = Span { start: 0, end: text.len() as u32 };
        let scanned = scanner.scan::<&[u8]>(text, span, &[]);
        if text.len() < 100_000 {
            for lanes in Lanes::all() {
                let mut other = Scanner::with(lanes);
                for follows in ["", "\"a\":1,}\"", "11111111,\"b\":2,"] {
                    let arena = [text, follows.repeat(20).as_bytes()].concat();
                    for _ in 0..2 {
                        let again = other.scan::<&[u8]>(&arena, span, &[]);
                        let (name, shown) = (lanes.name(), String::from_utf8_lossy(text));
                        assert_eq!(again, scanned, "{name} before {follows:?}: {shown}");
                        if scanned.is_ok() {
                            assert_eq!(other.tape, scanner.tape, "{name} before {follows:?}: {shown}");
                        }
                    }
                }
            }
        }
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

    /// A text, and another that it becomes by a few edits.
    fn mutated() -> impl Strategy<Value = (String, String)> {
        let bytes = prop::sample::select(b"{}[],:\"\\ 0-+.eEu1dD8a\n\x01\x7ftn".to_vec());
        let text = prop_oneof![json_text(), alike()];
        (text, prop::collection::vec((any::<prop::sample::Index>(), bytes, 0..3), 1..4)).prop_map(
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
                (text, characters.into_iter().collect())
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
        fn what_is_nearly_json_is_refused_where_serde_json_refuses_it((_, text) in mutated()) {
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
        fn what_was_scanned_before_changes_nothing(texts in prop::collection::vec(mutated(), 1..8)) {
            let texts: Vec<String> = texts.into_iter().flat_map(|(text, edited)| [text, edited]).collect();
            let arena = texts.concat() + &" ".repeat(200);
            for lanes in Lanes::all() {
                let (mut scanner, mut start) = (Scanner::with(lanes), 0);
                for text in &texts {
                    let span = Span { start, end: start + text.len() as u32 };
                    start = span.end;
                    let (fresh, expected) = scan_text(text.as_bytes());
                    prop_assert_eq!(scanner.scan::<&[u8]>(arena.as_bytes(), span, &[]), expected, "{}", text);
                    if expected.is_ok() {
                        let parts = |scanner: &Scanner, arena: &str| -> Vec<_> {
                            let part = |m: &Member| {
                                let of = |span: Span| arena[span.range()].to_owned();
                                (of(m.key), of(m.value), m.json, m.escaped, m.next)
                            };
                            scanner.tape.iter().map(part).collect()
                        };
                        prop_assert_eq!(parts(&scanner, &arena), parts(&fresh, text), "{}", text);
                    }
                }
            }
        }

        #[test]
        fn objects_that_are_said_to_have_the_same_keys_do(texts in prop::collection::vec(alike(), 1..12), repeat in 1..4_usize) {
            let padded: Vec<String> = texts.iter().map(|text| format!("{text:<300}")).collect();
            let mut scanner = Scanner::new();
            let mut known: Vec<(KeysId, Vec<String>)> = Vec::new();
            for text in padded.iter().flat_map(|text| std::iter::repeat_n(text, repeat)) {
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
    fn two_scanners_never_call_different_keys_the_same() {
        let keys = |text: &str| {
            let mut scanner = Scanner::new();
            let span = Span { start: 0, end: text.len() as u32 };
            for _ in 0..2 {
                assert!(scanner.scan::<&[u8]>(text.as_bytes(), span, &[]).is_ok());
            }
            scanner.keys_of(ROOT).expect("the keys are remembered")
        };
        assert_ne!(keys(r#"{"op":"c","ts_ms":1}"#), keys(r#"{"ts_ms":1,"op":"c"}"#));
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
