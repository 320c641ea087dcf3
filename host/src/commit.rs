//! Seals: what the Kafka commit of a partition says about the range that is being inserted.
//!
//! A commit of offset `s` with the metadata of a [`Seal`] says: everything before `s` is done, and the
//! records `s..=last` are being inserted, in one range, by the transform of that digest and that pin. Empty
//! metadata: nothing is pending. One commit a batch says both "the one before is done" and "this one is next"
//! (promises D1 and D2 of `docs/invariants.md`).

use std::fmt;

/// The pending range of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The last offset of the range; its first is the commit's offset.
    pub last: i64,
    /// The beginning of the digest of the transform that made the rows.
    pub transform: String,
    /// The pin: everything that decides the rows (see [`crate::pins`]). None: sealed by an older host.
    pub pin: Option<String>,
    /// Which series of attempts is under way: a token's second life after the server forgot its rows.
    pub series: u32,
}

/// Digits of a digest that stand in a seal and in `_transform`.
pub const DIGEST_DIGITS: usize = 16;

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1;e={};r={};a={}", self.last, self.transform, self.series)?;
        self.pin.as_ref().map_or(Ok(()), |pin| write!(f, ";p={pin}"))
    }
}

impl Seal {
    /// Reads a commit's metadata. None: nothing is pending. An error where it is not ours: another program
    /// commits with this group.
    pub fn parse(metadata: &str) -> Result<Option<Seal>, String> {
        if metadata.is_empty() {
            return Ok(None);
        }
        let not_ours = || format!("the commit's metadata {metadata:?} was not written by this program");
        let mut parts = metadata.split(';');
        if parts.next() != Some("v1") {
            return Err(not_ours());
        }
        let mut seal = Seal { last: -1, transform: String::new(), pin: None, series: 0 };
        for part in parts {
            match part.split_once('=').ok_or_else(not_ours)? {
                ("e", last) => seal.last = last.parse().map_err(|_| not_ours())?,
                ("r", transform) => seal.transform = transform.to_owned(),
                ("p", pin) => seal.pin = Some(pin.to_owned()),
                ("a", series) => seal.series = series.parse().map_err(|_| not_ours())?,
                // A later version may say more.
                _ => {}
            }
        }
        if seal.last < 0 || seal.transform.is_empty() { Err(not_ours()) } else { Ok(Some(seal)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_seal_reads_back_as_it_was_written(
            last in 0i64..,
            transform in "[0-9a-f]{16}",
            pin in proptest::option::of("[0-9a-f]{16}"),
            series: u32,
        ) {
            let seal = Seal { last, transform, pin, series };
            prop_assert_eq!(Seal::parse(&seal.to_string()), Ok(Some(seal)));
        }

        #[test]
        fn no_metadata_makes_the_parser_panic(metadata in ".*") {
            let _ = Seal::parse(&metadata);
        }
    }

    #[test]
    fn seals_of_older_hosts_have_no_pin_and_what_newer_ones_add_is_passed_over() {
        let old = Seal::parse("v1;e=5;r=a;a=1").unwrap().unwrap();
        assert_eq!(old, Seal { last: 5, transform: "a".into(), pin: None, series: 1 });
        let new = Seal::parse("v1;e=5;r=a;a=1;p=b;z=7").unwrap().unwrap();
        assert_eq!(new, Seal { pin: Some("b".into()), ..old });
    }

    #[test]
    fn foreign_metadata_is_an_error_and_not_a_guess() {
        assert_eq!(Seal::parse(""), Ok(None));
        assert!(Seal::parse("NO_METADATA").is_err());
        assert!(Seal::parse("v1;e=x;r=a").is_err());
        assert!(Seal::parse("v1;e=5").is_err());
    }
}
