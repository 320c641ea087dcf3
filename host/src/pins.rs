//! Pins: what decides the rows of a range, and where it is kept.
//!
//! The component, its parameters, and the settings that decide rows have one digest together, the *pin*. It
//! stands in the seal of each range. What it stands for is kept in a directory, so that a range is finished by
//! the transform that sealed it, whichever has taken its place by then (promise D12 of `docs/invariants.md`).

pub mod deployed;
pub mod store;

use serde_json::{Value, json};

use crate::commit::DIGEST_DIGITS;
use crate::config::Deciding;
use crate::transform::digest;

/// To be raised where a host makes other rows of the same records, component and settings than the one before it:
/// it cannot finish that one's ranges.
const FORM: u32 = 1;
/// What a file of a kept transform begins with.
const MARK: &str = "rowgate transform";

/// A transform with all that decides its rows.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// The component's bytes.
    pub component: Vec<u8>,
    /// The settings that decide rows.
    pub deciding: Deciding,
    pin: String,
}

impl Kept {
    /// A transform as it runs now.
    pub fn new(component: Vec<u8>, deciding: Deciding) -> Self {
        let pin = pin_of(&header(&component, &deciding));
        Kept { component, deciding, pin }
    }

    /// Its pin, [`DIGEST_DIGITS`] hexadecimal digits.
    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// As it is kept: a line of JSON, and the component.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = header(&self.component, &self.deciding).into_bytes();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.component);
        bytes
    }

    /// Reads what was kept under `pin`.
    ///
    /// # Errors
    /// Where it is not, byte by byte, what was kept; or this host cannot make the same rows of it.
    fn from_bytes(pin: &str, bytes: &[u8]) -> Result<Self, String> {
        let damaged = || "it is damaged".to_owned();
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
        let line = std::str::from_utf8(&bytes[..end]).map_err(|_| damaged())?;
        if pin_of(line) != pin {
            return Err(damaged());
        }
        let header: Value = serde_json::from_str(line).map_err(|_| damaged())?;
        if header[0] != MARK || header[1] != FORM {
            return Err("a host of another version kept it, which makes other rows".to_owned());
        }
        let component = bytes[end + 1..].to_vec();
        if header[2] != digest(&component) {
            return Err(damaged());
        }
        let deciding = serde_json::from_value(header[3].clone()).map_err(|_| damaged())?;
        Ok(Kept { component, deciding: Deciding(deciding), pin: pin.to_owned() })
    }
}

/// Arrays only: an object's members have no order that lasts.
fn header(component: &[u8], deciding: &Deciding) -> String {
    json!([MARK, FORM, digest(component), deciding.0]).to_string()
}

fn pin_of(header: &str) -> String {
    digest(header.as_bytes())[..DIGEST_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(component: &[u8], settings: &[(&str, Option<&str>, &str)]) -> Kept {
        let own = |(name, member, text): &(&str, Option<&str>, &str)| {
            ((*name).to_owned(), member.map(str::to_owned), (*text).to_owned())
        };
        Kept::new(component.to_vec(), Deciding(settings.iter().map(own).collect()))
    }

    #[test]
    fn a_pin_differs_with_all_that_decides_rows_and_with_nothing_else() {
        let all = [
            kept(b"a", &[]),
            kept(b"b", &[]),
            kept(b"a", &[("params", Some("x"), "1")]),
            kept(b"a", &[("params", Some("x"), "2")]),
            kept(b"a", &[("params", None, "x1")]),
            kept(b"a", &[("params", Some("x"), "1"), ("table", None, "t")]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other.pin() != one.pin()), "{at}");
        }
        assert!(kept(b"a", &[("table", None, "t")]) == kept(b"a", &[("table", None, "t")]));
        // This one stands in commits: a change of it leaves pending ranges without their transform.
        assert_eq!(kept(b"a", &[("table", None, "t")]).pin(), "26fbc6bf57bbf29c");
    }

    #[test]
    fn a_kept_transform_reads_back_and_no_byte_of_it_can_change_unnoticed() {
        let kept = kept(b"\0asm\nbytes", &[("params", Some("line"), "a\nb\u{1f600}\""), ("table", None, "")]);
        let bytes = kept.to_bytes();
        assert!(Kept::from_bytes(kept.pin(), &bytes) == Ok(kept.clone()));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Kept::from_bytes(kept.pin(), &changed).is_err(), "byte {at}");
            assert!(Kept::from_bytes(kept.pin(), &bytes[..at]).is_err(), "{at} bytes");
        }
        assert!(Kept::from_bytes(kept.pin(), &[&bytes[..], b"x"].concat()).is_err());
        assert!(Kept::from_bytes("0123456789abcdef", &bytes).is_err());
    }
}
