//! How a record says which schema its bytes have.

use std::fmt;

use super::Side;
use crate::batch::Batch;

/// Which of the formats that look alike the bytes are in; they cannot tell it themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Confluent's: 0 and an id of 4 bytes, or 1 and a GUID of 16; or the GUID in a header.
    #[default]
    Confluent,
    /// Apicurio's own: 0 and a global id of 8 bytes; or an id in a header.
    Apicurio,
}

/// Headers that may have the id of a key's and of a value's schema.
const CONFLUENT: [&str; 2] = ["__key_schema_id", "__value_schema_id"];
const APICURIO_GLOBAL: [&str; 2] = ["apicurio.key.globalId", "apicurio.value.globalId"];
const APICURIO_CONTENT: [&str; 2] = ["apicurio.key.contentId", "apicurio.value.contentId"];

impl Framing {
    /// The headers in which records may name their schemas.
    pub fn headers(self) -> Vec<&'static str> {
        match self {
            Framing::Confluent => CONFLUENT.to_vec(),
            Framing::Apicurio => [APICURIO_GLOBAL, APICURIO_CONTENT].concat(),
        }
    }
}

/// What a registry finds a schema by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaId {
    /// Confluent's number; in Apicurio's words a content id.
    Number(u32),
    /// Confluent's GUID.
    Guid([u8; 16]),
    /// Apicurio's global id.
    Global(u64),
    /// Apicurio's content id, where it has eight bytes.
    Content(u64),
}

impl SchemaId {
    /// Bytes that are different for different ids, and that no JSON begins with.
    pub fn label(self) -> [u8; 17] {
        let mut label = [0; 17];
        let (kind, id) = match self {
            SchemaId::Number(id) => (0, u128::from(id)),
            SchemaId::Guid(id) => (1, u128::from_be_bytes(id)),
            SchemaId::Global(id) => (2, u128::from(id)),
            SchemaId::Content(id) => (3, u128::from(id)),
        };
        label[0] = kind;
        label[1..].copy_from_slice(&id.to_be_bytes());
        label
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaId::Number(id) => write!(f, "id {id}"),
            SchemaId::Guid(id) => write!(f, "guid {}", super::hyphenated(*id)),
            SchemaId::Global(id) => write!(f, "global id {id}"),
            SchemaId::Content(id) => write!(f, "content id {id}"),
        }
    }
}

/// The id that `bytes` begin with, and how many bytes it takes. None: they begin like no frame.
///
/// An error where they do, and end too early.
pub fn prefix(framing: Framing, bytes: &[u8]) -> Result<Option<(SchemaId, usize)>, String> {
    let found = match (bytes.split_first(), framing) {
        (Some((0, rest)), Framing::Confluent) => {
            rest.first_chunk().map(|id| (SchemaId::Number(u32::from_be_bytes(*id)), 5))
        }
        (Some((1, rest)), Framing::Confluent) => rest.first_chunk().map(|id| (SchemaId::Guid(*id), 17)),
        (Some((0, rest)), Framing::Apicurio) => {
            rest.first_chunk().map(|id| (SchemaId::Global(u64::from_be_bytes(*id)), 9))
        }
        _ => return Ok(None),
    };
    match found {
        Some(found) => Ok(Some(found)),
        None => Err("it begins like a schema registry's format and ends within the schema's id".into()),
    }
}

/// The id that a header of a record names for its key or value, and what follows it there; then the bytes of
/// the key or value are nothing but data.
///
/// An error where such a header is none.
pub fn header(
    framing: Framing,
    side: Side,
    batch: &Batch,
    record: u32,
) -> Result<Option<(SchemaId, &[u8])>, String> {
    let of = |names: [&'static str; 2]| {
        let name = names[usize::from(side == Side::Value)];
        batch.header(record, name).map(|value| (name, value))
    };
    let long = |value: &[u8]| Some(u64::from_be_bytes(*value.first_chunk()?)).filter(|_| value.len() == 8);
    let (name, found) = match framing {
        Framing::Confluent => match of(CONFLUENT) {
            Some((name, value)) => {
                let found = prefix(framing, value).ok().flatten();
                (name, found.map(|(id, length)| (id, value.get(length..).unwrap_or_default())))
            }
            None => return Ok(None),
        },
        Framing::Apicurio => match (of(APICURIO_GLOBAL), of(APICURIO_CONTENT)) {
            (Some((name, value)), _) => (name, long(value).map(|id| (SchemaId::Global(id), &[][..]))),
            (None, Some((name, value))) => (name, long(value).map(|id| (SchemaId::Content(id), &[][..]))),
            (None, None) => return Ok(None),
        },
    };
    found.map(Some).ok_or_else(|| format!("the header `{name}` has no schema's id"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_stand_before_the_data() {
        assert_eq!(prefix(Framing::Confluent, &[0, 0, 0, 1, 2, 9]), Ok(Some((SchemaId::Number(258), 5))));
        let guid: Vec<u8> = (1..=17).collect();
        let (id, length) = prefix(Framing::Confluent, &guid).unwrap().unwrap();
        assert_eq!((id.to_string().as_str(), length), ("guid 02030405-0607-0809-0a0b-0c0d0e0f1011", 17));
        assert_eq!(
            prefix(Framing::Apicurio, &[0, 0, 0, 0, 0, 0, 0, 1, 2]),
            Ok(Some((SchemaId::Global(258), 9)))
        );
    }

    #[test]
    fn what_begins_otherwise_has_no_frame_and_what_ends_early_is_an_error() {
        for bytes in [&b""[..], b"{", b"\"", b"\x02\0\0\0\0\0"] {
            assert_eq!(prefix(Framing::Confluent, bytes), Ok(None), "{bytes:?}");
        }
        assert_eq!(prefix(Framing::Apicurio, &[1; 20]), Ok(None));
        assert!(prefix(Framing::Confluent, &[0, 0, 0, 1]).is_err());
        assert!(prefix(Framing::Confluent, &[1; 16]).is_err());
        assert!(prefix(Framing::Apicurio, &[0; 8]).is_err());
    }

    #[test]
    fn labels_differ_and_begin_like_no_json() {
        let ids = [
            SchemaId::Number(1),
            SchemaId::Number(2),
            SchemaId::Global(1),
            SchemaId::Content(1),
            SchemaId::Guid([1; 16]),
        ];
        let labels: HashSet<_> = ids.iter().map(|id| id.label()).collect();
        assert_eq!(labels.len(), ids.len());
        assert!(labels.iter().all(|label| label[0] < b' '));
    }
}
