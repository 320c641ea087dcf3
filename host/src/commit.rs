//! Seals: what the Kafka commit of a partition says about the range that is being inserted.
//!
//! A commit of offset `s` with the metadata of a [`Seal`] says: everything before `s` is done, and the
//! records `s..=last` are being inserted, in one range, by the transform of that digest. Empty metadata:
//! nothing is pending. One commit a batch says both "the one before is done" and "this one is next"
//! (promises D1 and D2 of `docs/invariants.md`). Where a person set the position back, metadata also says up to
//! where rows may stand already.

use std::fmt;

/// The pending range of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The last offset of the range; its first is the commit's offset.
    pub last: i64,
    /// The beginning of the digest of the transform that made the rows.
    pub transform: String,
    /// Which series of attempts is under way: a token's second life after the server forgot its rows.
    pub series: u32,
}

/// Digits of a digest that stand in a seal and in `_transform`.
pub const DIGEST_DIGITS: usize = 16;

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1;e={};r={};a={}", self.last, self.transform, self.series)
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
        let mut seal = Seal { last: -1, transform: String::new(), series: 0 };
        let (mut sealed, mut other) = (false, false);
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(not_ours)?;
            match name {
                "e" => seal.last = value.parse().map_err(|_| not_ours())?,
                "r" => seal.transform = value.to_owned(),
                "a" => seal.series = value.parse().map_err(|_| not_ours())?,
                "u" => _ = value.parse::<i64>().map_err(|_| not_ours())?,
                // A later version may say more.
                _ => {}
            }
            let of_seal = SEAL.contains(&name);
            (sealed, other) = (sealed || of_seal, other || !of_seal);
        }
        match sealed {
            false if other => Ok(None),
            true if seal.last >= 0 && !seal.transform.is_empty() => Ok(Some(seal)),
            _ => Err(not_ours()),
        }
    }
}

/// The names of a seal's parts in metadata.
const SEAL: [&str; 3] = ["e", "r", "a"];

/// A commit's metadata: the pending range, if there is one, and the offset before which rows may stand already
/// from an earlier pass, if the position was set back.
pub fn metadata(seal: Option<&Seal>, written_to: Option<i64>) -> String {
    let mut text = seal.map(Seal::to_string).unwrap_or_default();
    if let Some(offset) = written_to {
        text += &if text.is_empty() { format!("v1;u={offset}") } else { format!(";u={offset}") };
    }
    text
}

/// The offset before which rows may stand already, by a commit's metadata that [`Seal::parse`] takes.
pub fn written_to(metadata: &str) -> Option<i64> {
    metadata.split(';').find_map(|part| part.strip_prefix("u=")?.parse().ok())
}

/// The metadata of a commit that a person moves: nothing is pending any more, `written_to` is new, and what a
/// later version says beyond that stays.
pub fn moved(metadata: &str, written_to: Option<i64>) -> String {
    let stays =
        |part: &&str| part.split_once('=').is_some_and(|(name, _)| name != "u" && !SEAL.contains(&name));
    let mut parts: Vec<String> = metadata.split(';').filter(stays).map(str::to_owned).collect();
    parts.extend(written_to.map(|offset| format!("u={offset}")));
    if parts.is_empty() { String::new() } else { format!("v1;{}", parts.join(";")) }
}

/// Where a partition that came goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The first offset to read.
    pub start: i64,
    /// The range that begins there, if it is pending: it is cut again as it was sealed, and verified.
    pub seal: Option<Seal>,
    /// Rows of records before this offset may stand already: a person set the position back.
    pub written_to: Option<i64>,
    /// Whether the commits do not say it yet.
    pub is_new: bool,
}

impl Position {
    /// Where the group's commit says.
    ///
    /// # Errors
    /// Metadata that is not ours; see [`Seal::parse`].
    pub fn of_commit(offset: i64, metadata: &str) -> Result<Position, String> {
        let (seal, written_to) = (Seal::parse(metadata)?, written_to(metadata));
        Ok(Position { start: offset, seal, written_to, is_new: false })
    }

    /// Where the start policy says, since there is no commit.
    pub fn first(start: i64) -> Position {
        Position { start, seal: None, written_to: None, is_new: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_seal_reads_back_as_it_was_written(last in 0i64.., transform in "[0-9a-f]{16}", series: u32) {
            let seal = Seal { last, transform, series };
            prop_assert_eq!(Seal::parse(&seal.to_string()), Ok(Some(seal)));
        }

        #[test]
        fn no_metadata_makes_the_parser_panic(metadata in ".*") {
            let _ = Seal::parse(&metadata);
        }
    }

    #[test]
    fn foreign_metadata_is_an_error_and_not_a_guess() {
        assert_eq!(Seal::parse(""), Ok(None));
        assert!(Seal::parse("NO_METADATA").is_err());
        assert!(Seal::parse("v1;e=x;r=a").is_err());
        assert!(Seal::parse("v1;e=5").is_err());
        assert!(Seal::parse("v1").is_err());
        assert!(Seal::parse("v1;u=x").is_err());
        assert!(Seal::parse("v1;u=5;e=5").is_err());
    }

    #[test]
    fn what_may_stand_already_is_said_with_a_seal_and_without_and_lasts_until_it_is_passed() {
        let seal = Seal { last: 9, transform: "abc".to_owned(), series: 1 };
        assert_eq!(metadata(None, None), "");
        for pending in [None, Some(&seal)] {
            let text = metadata(pending, Some(20));
            assert_eq!((Seal::parse(&text), written_to(&text)), (Ok(pending.cloned()), Some(20)), "{text}");
        }
        assert_eq!(written_to(&metadata(Some(&seal), None)), None);
    }

    #[test]
    fn a_moved_position_keeps_what_this_version_does_not_know() {
        assert_eq!(moved("", None), "");
        assert_eq!(moved("v1;e=9;r=abc;a=0", None), "");
        assert_eq!(moved("v1;e=9;r=abc;a=0;n=x;u=3", Some(12)), "v1;n=x;u=12");
    }
}
