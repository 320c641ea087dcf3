//! Seals: what the Kafka commit of a partition says about the range that is being inserted.
//!
//! A commit of offset `s` with the metadata of a [`Seal`] says: everything before `s` is done, and the
//! records `s..=last` are being inserted, in one range, by the transform of that digest and that pin. Empty
//! metadata: nothing is pending. One commit a batch says both "the one before is done" and "this one is next"
//! (promises D1 and D2 of `docs/invariants.md`). Metadata also says which epoch of the topic it is about, from the
//! second one on, and, where a person set the position back, up to where rows may stand already.

use std::collections::BTreeMap;
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
    /// Which series of attempts is under way, part by part.
    pub series: Series,
    /// Which life of the topic the range is of; see [`crate::epochs`].
    pub epoch: u16,
    /// The session that inserts of the range go in, where they do; see [`crate::clickhouse::session`].
    pub session: Option<String>,
}

/// Which series of attempts each part of a range has come to: a token's second life, after the server lost the rows of
/// the first. Of one part it says nothing about another: an owner before this one may still write that with the first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Series(BTreeMap<u32, u32>);

impl Series {
    /// That of the part of this index; 0 is the first.
    pub fn of(&self, part: u32) -> u32 {
        self.0.get(&part).copied().unwrap_or_default()
    }

    /// The part has come to this one.
    pub fn raise(&mut self, part: u32, series: u32) {
        if series > 0 {
            self.0.insert(part, series);
        }
    }

    /// Reads `0`, `PART:SERIES,…`, or the one number of an older host, which stands for its first part.
    fn parse(text: &str) -> Option<Series> {
        let mut all = Series::default();
        for one in text.split(',') {
            let (part, series) = one.split_once(':').unwrap_or(("0", one));
            all.raise(part.parse().ok()?, series.parse().ok()?);
        }
        Some(all)
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("0");
        }
        for (index, (part, series)) in self.0.iter().enumerate() {
            write!(f, "{}{part}:{series}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// What a commit's metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Which life of the topic the position is of. 0 where nothing is said.
    pub epoch: u16,
    /// What is pending.
    pub seal: Option<Seal>,
    /// The offset before which rows may stand already, if the position was set back.
    pub written_to: Option<i64>,
}

/// Digits of a digest that stand in a seal and in `_transform`.
pub const DIGEST_DIGITS: usize = 16;

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1;e={};r={};a={}", self.last, self.transform, self.series)?;
        if let Some(pin) = &self.pin {
            write!(f, ";p={pin}")?;
        }
        if let Some(session) = &self.session {
            write!(f, ";s={session}")?;
        }
        if self.epoch > 0 { write!(f, ";n={}", self.epoch) } else { Ok(()) }
    }
}

impl Seal {
    /// Reads a commit's metadata. None: nothing is pending. An error where it is not ours: another program
    /// commits with this group.
    pub fn parse(metadata: &str) -> Result<Option<Seal>, String> {
        Committed::parse(metadata).map(|committed| committed.seal)
    }
}

impl Committed {
    /// Reads a commit's metadata.
    ///
    /// # Errors
    /// It is not ours: another program commits with this group.
    pub fn parse(metadata: &str) -> Result<Self, String> {
        if metadata.is_empty() {
            return Ok(Committed { epoch: 0, seal: None, written_to: None });
        }
        let not_ours = || format!("the commit's metadata {metadata:?} was not written by this program");
        let mut parts = metadata.split(';');
        if parts.next() != Some("v1") {
            return Err(not_ours());
        }
        let (transform, series) = (String::new(), Series::default());
        let mut seal = Seal { last: -1, transform, pin: None, series, epoch: 0, session: None };
        let (mut sealed, mut other, mut written_to) = (false, false, None);
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(not_ours)?;
            match name {
                "e" => seal.last = value.parse().map_err(|_| not_ours())?,
                "r" => seal.transform = value.to_owned(),
                "p" => seal.pin = Some(value.to_owned()),
                "s" => seal.session = Some(value.to_owned()),
                "a" => seal.series = Series::parse(value).ok_or_else(not_ours)?,
                "n" => seal.epoch = value.parse().map_err(|_| not_ours())?,
                "u" => written_to = Some(value.parse().map_err(|_| not_ours())?),
                // A later version may say more.
                _ => {}
            }
            let of_seal = SEAL.contains(&name);
            (sealed, other) = (sealed || of_seal, other || !of_seal);
        }
        let epoch = seal.epoch;
        let seal = match sealed {
            false if other => None,
            true if seal.last >= 0 && !seal.transform.is_empty() => Some(seal),
            _ => return Err(not_ours()),
        };
        Ok(Committed { epoch, seal, written_to })
    }
}

/// The names of a seal's parts in metadata.
const SEAL: [&str; 5] = ["e", "r", "a", "p", "s"];

/// A commit's metadata: the pending range, if there is one; which epoch of the topic the position is of, from the
/// second one on; and the offset before which rows may stand already from an earlier pass, if it was set back.
pub fn metadata(seal: Option<&Seal>, epoch: u16, written_to: Option<i64>) -> String {
    let mut text = match seal {
        Some(seal) => seal.to_string(),
        None if epoch > 0 => format!("v1;n={epoch}"),
        None => String::new(),
    };
    if let Some(offset) = written_to {
        text += &if text.is_empty() { format!("v1;u={offset}") } else { format!(";u={offset}") };
    }
    text
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
        let Committed { seal, written_to, .. } = Committed::parse(metadata)?;
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
        fn a_seal_reads_back_as_it_was_written(
            last in 0i64..,
            transform in "[0-9a-f]{16}",
            pin in proptest::option::of("[0-9a-f]{16}"),
            series in proptest::collection::btree_map(0_u32..70, 1_u32.., 0..4),
            epoch: u16,
            session in proptest::option::of("[0-9a-z]{1,40}"),
        ) {
            let series = Series(series);
            let seal = Seal { last, transform, pin, series, epoch, session };
            prop_assert_eq!(Seal::parse(&seal.to_string()), Ok(Some(seal.clone())));
            prop_assert_eq!(Committed::parse(&seal.to_string()), Ok(Committed { epoch, seal: Some(seal), written_to: None }));
            let plain = Committed { epoch, seal: None, written_to: None };
            prop_assert_eq!(Committed::parse(&metadata(None, epoch, None)), Ok(plain));
        }

        #[test]
        fn no_metadata_makes_the_parser_panic(metadata in ".*") {
            let _ = Seal::parse(&metadata);
        }
    }

    #[test]
    fn seals_of_older_hosts_have_no_pin_and_what_newer_ones_add_is_passed_over() {
        let old = Seal::parse("v1;e=5;r=a;a=1").unwrap().unwrap();
        let expected = Seal {
            last: 5,
            transform: "a".into(),
            pin: None,
            series: Series([(0, 1)].into()),
            epoch: 0,
            session: None,
        };
        assert_eq!(old, expected);
        let new = Seal::parse("v1;e=5;r=a;a=1;p=b;z=7").unwrap().unwrap();
        assert_eq!(new, Seal { pin: Some("b".into()), ..old });
    }

    #[test]
    fn foreign_metadata_is_an_error_and_not_a_guess() {
        assert_eq!(Seal::parse(""), Ok(None));
        assert!(Seal::parse("NO_METADATA").is_err());
        assert!(Seal::parse("v1;e=x;r=a").is_err());
        assert!(Seal::parse("v1;e=5").is_err());
        assert!(Seal::parse("v1;r=a;n=1").is_err());
        assert!(Seal::parse("v1;n=65536").is_err());
        assert!(Seal::parse("v1").is_err());
        assert!(Seal::parse("v1;u=x").is_err());
        assert!(Seal::parse("v1;u=5;e=5").is_err());
    }

    #[test]
    fn the_first_epoch_is_not_said() {
        let seal = |epoch| {
            let (transform, series) = ("ab".into(), Series::default());
            Seal { last: 5, transform, pin: None, series, epoch, session: None }.to_string()
        };
        assert_eq!((seal(0), seal(1)), ("v1;e=5;r=ab;a=0".into(), "v1;e=5;r=ab;a=0;n=1".into()));
        assert_eq!(metadata(None, 0, None), "");
    }

    #[test]
    fn what_may_stand_already_is_said_with_a_seal_and_without_and_lasts_until_it_is_passed() {
        let seal = Seal {
            last: 9,
            transform: "abc".to_owned(),
            pin: None,
            series: Series([(2, 1)].into()),
            epoch: 2,
            session: Some("rowgate1".to_owned()),
        };
        for pending in [None, Some(&seal)] {
            let said = Committed::parse(&metadata(pending, 2, Some(20))).unwrap();
            assert_eq!(said, Committed { epoch: 2, seal: pending.cloned(), written_to: Some(20) });
        }
        assert_eq!(Committed::parse(&metadata(Some(&seal), 2, None)).unwrap().written_to, None);
    }

    #[test]
    fn a_moved_position_keeps_what_this_version_does_not_know() {
        assert_eq!(moved("", None), "");
        assert_eq!(moved("v1;e=9;r=abc;a=0", None), "");
        assert_eq!(moved("v1;e=9;r=abc;a=0;p=def;n=1;x=y;u=3", Some(12)), "v1;n=1;x=y;u=12");
    }
}
