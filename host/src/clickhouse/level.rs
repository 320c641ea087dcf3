//! What is guaranteed of rows in a table: from what the server says of it, and of the tables behind it, to a
//! level with its reason. Nothing here asks anybody.

use std::fmt;

use super::ddl;
use super::names::identifier;

/// Engines that keep each row as it was inserted, but for a TTL.
const PLAIN: [&str; 3] = ["MergeTree", "ReplicatedMergeTree", "SharedMergeTree"];
/// The window that an advice names.
const WINDOW: &str = "non_replicated_deduplication_window";
const REPLICATED_WINDOW: &str = "replicated_deduplication_window";
const WINDOW_BLOCKS: u32 = 10_000;

/// What is guaranteed of rows, from the strongest to the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A: no row is lost or doubled. Inserts carry tokens, and retries are verified.
    ExactlyOnce,
    /// B: no row is lost or doubled, by verification and sessions alone. Where the server keeps no sessions, one is
    /// doubled by a cut-off insert that lands after its retry was verified.
    Verified,
    /// C: rows that are inserted twice count once for those who read with `FINAL`.
    Converging,
    /// D: retries can double rows.
    AtLeastOnce,
}

impl Level {
    /// The letter that it goes by.
    pub fn letter(self) -> char {
        match self {
            Level::ExactlyOnce => 'A',
            Level::Verified => 'B',
            Level::Converging => 'C',
            Level::AtLeastOnce => 'D',
        }
    }

    /// Its name.
    pub fn words(self) -> &'static str {
        match self {
            Level::ExactlyOnce => "effectively exactly once",
            Level::Verified => "verified",
            Level::Converging => "converging",
            Level::AtLeastOnce => "at least once",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.letter(), self.words())
    }
}

/// How many of its latest inserts a table knows again by their tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// So many; 0 is none.
    Window(u64),
    /// So many, in Keeper.
    Replicated(u64),
    /// Its engine cannot.
    Never,
}

/// What a server remembers where a table says nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// Of tables without replicas.
    pub window: u64,
    /// Of replicated ones.
    pub replicated: u64,
}

impl Memory {
    /// Reads `engine` and `engine_full` of `system.tables`.
    pub fn read(engine: &str, engine_full: &str, defaults: Defaults) -> Self {
        if !engine.ends_with("MergeTree") {
            return Memory::Never;
        }
        match engine.starts_with("Replicated") || engine.starts_with("Shared") {
            true => {
                Memory::Replicated(setting(engine_full, REPLICATED_WINDOW).unwrap_or(defaults.replicated))
            }
            false => Memory::Window(setting(engine_full, WINDOW).unwrap_or(defaults.window)),
        }
    }

    fn remembers(self) -> bool {
        matches!(self, Memory::Window(1..) | Memory::Replicated(1..))
    }

    /// The setting that gives the table `place` a memory; none where its engine cannot have one.
    fn remedy(self, place: &str) -> Option<String> {
        let name = match self {
            Memory::Window(_) => WINDOW,
            Memory::Replicated(_) => REPLICATED_WINDOW,
            Memory::Never => return None,
        };
        Some(format!("ALTER TABLE {place} MODIFY SETTING {name} = {WINDOW_BLOCKS}"))
    }
}

/// A setting of a table; none where `engine_full` does not have it.
fn setting(engine_full: &str, name: &str) -> Option<u64> {
    let settings = &engine_full[engine_full.rfind("SETTINGS ")? + "SETTINGS ".len()..];
    let value = settings.split(',').find_map(|one| one.trim().strip_prefix(name)?.strip_prefix(" = "))?;
    value.trim().parse().ok()
}

/// A materialized view that gets the table's rows, at whatever remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Where it writes to.
    pub target: Target,
}

/// Where a view writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A table: its place in SQL, its engine, what it remembers.
    Table(String, String, Memory),
    /// It could not be found out, and why.
    Unknown(String),
}

/// What a level follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The table's place in SQL: database and name, quoted.
    pub place: String,
    /// Its engine.
    pub engine: String,
    /// Whether its rows expire.
    pub expires: bool,
    /// The columns that identify a row, and that it lacks.
    pub lacks: Vec<&'static str>,
    /// Whether it replaces rows, and is sorted by all columns that identify one.
    pub by_identity: bool,
    /// Whether inserts can carry a token at all; servers before 21.12 know none.
    pub tokens: bool,
    /// Whether inserts can go in a session that is closed before retries are verified.
    pub sessions: bool,
    /// What it remembers.
    pub memory: Memory,
    /// The views that get its rows.
    pub views: Vec<View>,
}

/// A level, why it is that, and what would make it a higher one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The level.
    pub level: Level,
    /// What is guaranteed and why, in one sentence.
    pub why: String,
    /// What to do for a higher one; empty where there is none, or none is wanted.
    pub advice: Vec<String>,
}

impl Facts {
    /// Of a table that the host is about to create.
    pub fn created(place: String, keyed: bool) -> Self {
        Facts {
            place,
            engine: if keyed { "ReplacingMergeTree" } else { "MergeTree" }.into(),
            expires: false,
            lacks: vec![],
            by_identity: false,
            tokens: true,
            sessions: true,
            memory: Memory::Window(if keyed { 0 } else { WINDOW_BLOCKS.into() }),
            views: vec![],
        }
    }

    /// Whether a row that was inserted stays as it is: the engine does not merge rows into others, send them
    /// elsewhere, or let them expire.
    pub fn keeps_rows(&self) -> bool {
        PLAIN.contains(&self.engine.as_str()) && !self.expires
    }

    /// Whether the table can say which rows of a range it has.
    pub fn can_verify(&self) -> bool {
        self.keeps_rows() && self.lacks.is_empty()
    }

    /// Whether inserts go in a session: nothing else keeps a cut-off one from landing after its retry was verified.
    pub fn wants_session(&self) -> bool {
        self.sessions && self.can_verify() && self.forgetful().is_some()
    }

    /// Whether an insert that is repeated with its token is dropped.
    pub fn remembers(&self) -> bool {
        self.tokens && self.memory.remembers()
    }

    /// What is guaranteed of rows in this table: of those of an output with a key (`keyed`), or of a log's.
    pub fn verdict(&self, keyed: bool) -> Verdict {
        if keyed || self.by_identity {
            return self.converging(keyed);
        }
        match (self.can_verify(), self.forgetful()) {
            (true, None) => Verdict {
                level: Level::ExactlyOnce,
                why: "each row lands once: inserts carry a token, and retries are verified".into(),
                advice: vec![],
            },
            (true, Some((why, advice))) => Verdict {
                level: Level::Verified,
                why: match self.sessions {
                    true => format!(
                        "each row lands once, since retries are verified in sessions; no tokens: {why}"
                    ),
                    false => format!(
                        "each row lands once unless a cut-off insert lands after its retry was verified (the server \
                         keeps no sessions): {why}"
                    ),
                },
                advice,
            },
            (false, forgetful) => self.at_least_once(forgetful.is_none()),
        }
    }

    fn converging(&self, keyed: bool) -> Verdict {
        let what = match keyed {
            true => "each key has its newest row once",
            false => "each row stands there once, since it is sorted by what identifies a row",
        };
        let mut why = format!("read with FINAL, {what}: the same row twice counts once");
        if let Some(View { name, .. }) = self.views.first() {
            why += &format!("; its view {name} gets the repeated row, too");
        }
        Verdict { level: Level::Converging, why, advice: vec![] }
    }

    /// Why a repeated insert would not be dropped everywhere, and what helps; none where it is.
    fn forgetful(&self) -> Option<(String, Vec<String>)> {
        if !self.tokens {
            let advice = "a ClickHouse of 21.12 or later knows tokens".to_owned();
            return Some(("the server is too old to know deduplication tokens".into(), vec![advice]));
        }
        if !self.memory.remembers() {
            let why = match self.memory {
                Memory::Never => format!("its engine {} knows no tokens", self.engine),
                _ => "the table has no deduplication window".to_owned(),
            };
            return Some((why, self.memory.remedy(&self.place).into_iter().collect()));
        }
        let doubling: Vec<(String, String)> = self.views.iter().filter_map(View::doubles).collect();
        let (whys, advice): (Vec<String>, Vec<String>) = doubling.into_iter().unzip();
        (!whys.is_empty()).then(|| (whys.join("; "), advice))
    }

    fn at_least_once(&self, tokens: bool) -> Verdict {
        let add = |name: &&'static str| {
            let own = ddl::LINEAGE.iter().find(|(known, _)| known == name).map_or("String", |(_, ty)| *ty);
            // Servers without tokens have LowCardinality as an experiment, if at all.
            let ty = if self.tokens || !own.contains("String") { own } else { "String" };
            format!("ADD COLUMN {} {ty}", identifier(name))
        };
        let elsewhere =
            "let the host write to a MergeTree without TTL, and a materialized view fill this table";
        let (why, advice) = match (PLAIN.contains(&self.engine.as_str()), self.expires) {
            (false, _) => {
                let why = format!("its engine {} does not keep each row as it was inserted", self.engine);
                (why, elsewhere.to_owned())
            }
            (true, true) => ("its rows expire (TTL)".to_owned(), elsewhere.to_owned()),
            (true, false) => {
                let why = format!("it lacks the columns {}", self.lacks.join(", "));
                let columns: Vec<String> = self.lacks.iter().map(add).collect();
                (why, format!("ALTER TABLE {} {}", self.place, columns.join(", ")))
            }
        };
        let how = match tokens {
            true => "retries carry a token, but a crash of the server can lose or double rows",
            false => "retries can double rows",
        };
        let why = format!("{how}; retries cannot be verified, since {why}");
        Verdict { level: Level::AtLeastOnce, why, advice: vec![advice] }
    }
}

impl View {
    /// Why a repeated insert doubles rows behind it, and what helps; none where it does not.
    fn doubles(&self) -> Option<(String, String)> {
        let name = &self.name;
        match &self.target {
            Target::Table(_, _, memory) if memory.remembers() => None,
            Target::Table(place, engine, memory) => Some(match memory.remedy(place) {
                Some(sql) => {
                    (format!("its view {name} writes to {place}, which has no deduplication window"), sql)
                }
                None => (
                    format!("its view {name} writes to {place}, whose engine {engine} knows no tokens"),
                    format!(
                        "let the view {name} write to a table of the MergeTree family with a deduplication window"
                    ),
                ),
            }),
            Target::Unknown(why) => Some((
                format!("where its view {name} writes to is not known: {why}"),
                format!("let the host's user see the view {name} and its table (GRANT SHOW TABLES)"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults = Defaults { window: 0, replicated: 100 };

    fn log() -> Facts {
        Facts::created("`db`.`t`".into(), false)
    }

    fn view(memory: Memory) -> View {
        View {
            name: "db.v".into(),
            target: Target::Table("`db`.`behind`".into(), "MergeTree".into(), memory),
        }
    }

    fn level(facts: &Facts) -> (char, String, String) {
        let Verdict { level, why, advice } = facts.verdict(false);
        (level.letter(), why, advice.join(" | "))
    }

    #[test]
    fn a_log_with_lineage_and_a_window_is_at_level_a_whatever_its_views_remember() {
        for memory in [Memory::Window(1), Memory::Replicated(100)] {
            let facts =
                Facts { memory, views: vec![view(Memory::Window(5)), view(Memory::Replicated(5))], ..log() };
            assert_eq!(facts.verdict(false).level, Level::ExactlyOnce);
            assert!(facts.verdict(false).advice.is_empty());
        }
        for engine in PLAIN {
            assert_eq!(level(&Facts { engine: engine.into(), ..log() }).0, 'A');
        }
    }

    #[test]
    fn what_forgets_tokens_makes_it_level_b_and_the_statement_that_helps_is_named() {
        let (letter, why, advice) = level(&Facts { memory: Memory::Window(0), ..log() });
        assert!(letter == 'B' && why.ends_with("the table has no deduplication window"), "{why}");
        assert_eq!(advice, "ALTER TABLE `db`.`t` MODIFY SETTING non_replicated_deduplication_window = 10000");
        let (letter, _, advice) = level(&Facts { memory: Memory::Replicated(0), ..log() });
        assert_eq!(letter, 'B');
        assert_eq!(advice, "ALTER TABLE `db`.`t` MODIFY SETTING replicated_deduplication_window = 10000");
        let (letter, why, advice) = level(&Facts { tokens: false, ..log() });
        assert!(letter == 'B' && why.ends_with("too old to know deduplication tokens"), "{why}");
        assert!(advice.contains("21.12"), "{advice}");
    }

    #[test]
    fn where_tokens_do_not_help_inserts_go_in_sessions_if_the_server_keeps_them() {
        let forgetful = Facts { memory: Memory::Window(0), ..log() };
        assert!(forgetful.wants_session() && Facts { tokens: false, ..log() }.wants_session());
        assert!(level(&forgetful).1.contains("verified in sessions"));
        let none = Facts { sessions: false, ..forgetful.clone() };
        assert!(!none.wants_session() && level(&none).1.contains("unless a cut-off insert lands"));
        for needless in
            [log(), Facts { lacks: vec!["_seq"], ..forgetful.clone() }, Facts::created("t".into(), true)]
        {
            assert!(!needless.wants_session(), "{needless:?}");
        }
    }

    #[test]
    fn one_view_that_forgets_is_enough_for_level_b() {
        let facts = Facts { views: vec![view(Memory::Window(9)), view(Memory::Window(0))], ..log() };
        let (letter, why, advice) = level(&facts);
        assert!(
            letter == 'B' && why.contains("its view db.v writes to `db`.`behind`, which has no"),
            "{why}"
        );
        assert_eq!(
            advice,
            "ALTER TABLE `db`.`behind` MODIFY SETTING non_replicated_deduplication_window = 10000"
        );
        let (letter, why, advice) = level(&Facts { views: vec![view(Memory::Never)], ..log() });
        assert!(
            letter == 'B' && why.contains("knows no tokens") && advice.contains("MergeTree family"),
            "{why}"
        );
        let unseen = View { name: "v".into(), target: Target::Unknown("it cannot be seen".into()) };
        let (letter, why, advice) = level(&Facts { views: vec![unseen], ..log() });
        assert!(
            letter == 'B' && why.contains("not known: it cannot be seen") && advice.contains("GRANT"),
            "{why}"
        );
    }

    #[test]
    fn rows_that_replace_each_other_by_key_or_by_identity_are_at_level_c() {
        let keyed = Facts::created("t".into(), true);
        let Verdict { level, why, advice } = keyed.verdict(true);
        assert!(level == Level::Converging && why.contains("each key has its newest row once"), "{why}");
        assert!(advice.is_empty(), "an output with a key wants no other: {advice:?}");
        let identity = Facts { by_identity: true, ..keyed.clone() };
        assert_eq!(identity.verdict(false).level, Level::Converging);
        assert_eq!(keyed.verdict(false).level, Level::AtLeastOnce, "it replaces by something else");
        let viewed = Facts { views: vec![view(Memory::Window(9))], ..keyed };
        assert!(viewed.verdict(true).why.contains("its view db.v gets the repeated row"), "{viewed:?}");
    }

    #[test]
    fn what_cannot_be_verified_is_at_level_d_for_a_reason() {
        let without = Facts { lacks: vec!["_offset", "_seq"], ..log() };
        let (letter, why, advice) = level(&without);
        assert!(
            letter == 'D'
                && why.contains("retries carry a token")
                && why.contains("lacks the columns _offset, _seq"),
            "{why}"
        );
        assert_eq!(advice, "ALTER TABLE `db`.`t` ADD COLUMN `_offset` UInt64, ADD COLUMN `_seq` UInt16");
        let (letter, why, _) = level(&Facts { memory: Memory::Window(0), ..without });
        assert!(letter == 'D' && why.starts_with("retries can double rows"), "{why}");
        let (_, _, advice) = level(&Facts { tokens: false, lacks: vec!["_topic"], ..log() });
        assert_eq!(advice, "ALTER TABLE `db`.`t` ADD COLUMN `_topic` String");
        let (letter, why, advice) = level(&Facts { expires: true, ..log() });
        assert!(letter == 'D' && why.contains("TTL") && advice.contains("without TTL"), "{why}");
        for engine in ["SummingMergeTree", "Distributed", "Null", "Buffer", "View", ""] {
            let (letter, why, _) = level(&Facts { engine: engine.into(), ..log() });
            assert!(letter == 'D' && why.contains("does not keep each row"), "{why}");
        }
    }

    #[test]
    fn what_a_table_remembers_is_read_from_its_engine_or_is_the_servers_default() {
        let read = |engine: &str, rest: &str| Memory::read(engine, &format!("{engine}{rest}"), DEFAULTS);
        let set =
            " ORDER BY a SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 7, x = 1";
        assert_eq!(read("MergeTree", set), Memory::Window(7));
        assert_eq!(read("SummingMergeTree", set), Memory::Window(7));
        assert_eq!(read("MergeTree", " ORDER BY a SETTINGS index_granularity = 8192"), Memory::Window(0));
        assert_eq!(
            Memory::read("MergeTree", "MergeTree ORDER BY a", Defaults { window: 3, ..DEFAULTS }),
            Memory::Window(3)
        );
        // Each of the two has its own setting, and the other's name ends in it.
        assert_eq!(read("ReplicatedMergeTree", set), Memory::Replicated(100));
        assert_eq!(
            read(
                "ReplicatedMergeTree",
                "('/p', 'r') ORDER BY a SETTINGS replicated_deduplication_window = 0"
            ),
            Memory::Replicated(0)
        );
        for engine in ["Null", "Memory", "Distributed", "Buffer", "View", ""] {
            assert_eq!(read(engine, set), Memory::Never);
        }
    }
}
