//! The JSON scanner against serde_json.

use std::collections::HashSet;
use std::fmt;

use host::batch::Span;
use host::debezium::scan::{Json, Lanes, Members, Scanned, Scanner};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Tree;

/// How deep the scanner says which members there are.
const TAPE_DEPTH: usize = 3;

/// Texts with zero bytes between them, for scanners of all the ways to look at bytes, which remember keys and
/// schemas: they must say of each what a new one says that looks at words and at nothing behind the text, and accept
/// what serde_json accepts, with the same members.
pub(crate) fn scan(bytes: &[u8]) {
    let mut remembering: Vec<Scanner> = Lanes::all().into_iter().map(Scanner::with).collect();
    let mut known: Vec<Vec<u8>> = Vec::new();
    let mut start = 0;
    for part in bytes.split(|byte| *byte == 0) {
        let span = Span { start: start as u32, end: (start + part.len()) as u32 };
        start += part.len() + 1;
        let mut fresh = Lanes::named("words").map(Scanner::with).unwrap_or_default();
        let alone = bytes.get(..span.end as usize).unwrap_or_default();
        let scanned = fresh.scan::<&[u8]>(alone, span, &[]);
        if let Err(fault) = scanned {
            assert!(fault.at <= part.len(), "{fault} in {} bytes", part.len());
        }
        for remembering in &mut remembering {
            let again = remembering.scan(bytes, span, &known);
            assert_eq!(scanned.map(|scanned| scanned.root), again.map(|scanned| scanned.root));
            if again.is_ok_and(|scanned| scanned.known.is_none()) {
                same_members(&fresh, remembering);
            }
        }
        compare(bytes, part, &fresh, scanned.ok());
        if scanned.is_ok() && known.len() < 4 {
            let schema = fresh
                .members()
                .find(|(_, member)| member.json == Json::Object && member.name(bytes).as_ref() == b"schema");
            known.extend(schema.map(|(_, member)| member.value.of(bytes).to_vec()));
        }
    }
}

fn same_members(one: &Scanner, other: &Scanner) {
    assert!(one.members().eq(other.members()), "what was scanned before changes the members");
}

fn compare(bytes: &[u8], part: &[u8], scanner: &Scanner, scanned: Option<Scanned>) {
    let Ok(text) = str::from_utf8(part) else {
        assert!(scanned.is_none(), "it is not UTF-8, and is accepted");
        return;
    };
    let Some(expected) = expected(text) else { return };
    assert_eq!(scanned.is_some(), expected, "{text}");
    if let (Some(scanned), Ok(tree)) = (scanned, serde_json::from_str::<Tree>(text)) {
        assert_eq!(scanned.root == Json::Object, tree.is_object());
        if tree.is_object() {
            check_members(bytes, scanner, scanner.members(), &tree, 1);
        }
    }
}

fn check_members(bytes: &[u8], scanner: &Scanner, members: Members<'_>, tree: &Tree, depth: usize) {
    let Some(tree) = tree.as_object() else { panic!("{tree} has members") };
    let members: Vec<_> = members.collect();
    assert_eq!(members.len(), tree.len());
    for ((index, member), (name, expected)) in members.into_iter().zip(tree) {
        assert_eq!(member.name(bytes).as_ref(), name.as_bytes());
        let value = String::from_utf8_lossy(member.value.of(bytes));
        assert_eq!(value, value.trim(), "a value with space around it");
        let fits = match expected {
            Tree::Null => member.json == Json::Null,
            Tree::Bool(_) => member.json == Json::Bool,
            Tree::Number(number) if number.is_i64() => member.json == Json::Int,
            Tree::Number(_) => matches!(member.json, Json::BigInt | Json::Float | Json::Int),
            Tree::String(_) => member.json == Json::Text,
            Tree::Array(_) => member.json == Json::Array,
            Tree::Object(_) => member.json == Json::Object,
        };
        assert!(fits, "{value} is no {expected}");
        assert!(serde_json::from_str::<Tree>(&value).is_ok_and(|value| value == *expected), "{value}");
        if expected.is_object() && depth < TAPE_DEPTH {
            check_members(bytes, scanner, scanner.members_of(index), expected, depth + 1);
        } else {
            assert_eq!(scanner.members_of(index).count(), 0);
        }
    }
}

/// Whether the scanner should accept a text: serde_json does, and no object has a key twice. None where they
/// rightly differ: serde_json refuses numbers that no float can hold, and the scanner looks at no number's size.
fn expected(text: &str) -> Option<bool> {
    match serde_json::from_str::<Duplicates>(text) {
        Ok(Duplicates(found)) => Some(!found),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(_) => Some(false),
    }
}

/// Whether an object anywhere in a JSON text has a key twice.
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
