//! The simulated outside: a log with a group, and a server with tables, as far as delivery can tell them from
//! real ones.

use std::collections::{BTreeMap, BTreeSet};

use crate::clickhouse::ddl;
use crate::clickhouse::insert::Identity;
use crate::clickhouse::profile::Profile;
use crate::clickhouse::response::{Class, Failure};

/// What the target can do; the levels of docs/guarantees.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// Lineage and tokens: each row once.
    A,
    /// Lineage, and no tokens, but sessions.
    B,
    /// Lineage, and neither tokens nor sessions: what lands late may be doubled.
    LineageAlone,
    /// A key and versions: a row that is there twice counts once.
    C,
    /// Nothing: rows may be doubled.
    D,
    /// Tokens, and no lineage: a server that is killed may lose rows.
    TokensAlone,
}

impl Level {
    /// Whether a table remembers tokens. That of dead letters is always one of the host's own.
    pub fn has_tokens(self, table: usize) -> bool {
        matches!(self, Level::A | Level::TokensAlone) || (self == Level::C && table == LETTERS)
    }

    /// Whether a table says which rows it has.
    pub fn has_lineage(self, table: usize) -> bool {
        matches!(self, Level::A | Level::B | Level::LineageAlone) || (self == Level::C && table == LETTERS)
    }

    /// Whether inserts go in a session.
    pub fn has_sessions(self) -> bool {
        self == Level::B
    }

    /// Whether a row that is there twice counts once.
    pub fn converges(self, table: usize) -> bool {
        self == Level::C && table != LETTERS
    }
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A row in the first table, and, with 2, one in the second.
    Rows(u16),
    /// A row that the server refuses: a dead letter.
    Refused,
    /// A dead letter from the start.
    Rejected,
    /// Filtered.
    Nothing,
}

/// The tables: two for rows, one for dead letters.
pub const TABLES: [&str; 3] = ["t0", "t1", "letters"];
pub const LETTERS: usize = 2;

/// A row: its table, its partition, its identity.
pub type Row = (usize, usize, Identity);

/// An insert as it reaches the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    pub table: usize,
    pub token: Option<String>,
    pub session: Option<String>,
    pub query_id: String,
    pub rows: Vec<(usize, Identity)>,
}

/// An insert that its host has given up, and that may still be applied.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Straggler {
    pub request: Request,
    /// Whether it runs in the server, where it can be ended. Otherwise it is still on its way there.
    pub runs: bool,
}

pub struct World {
    pub level: Level,
    pub kinds: Vec<Vec<Kind>>,
    /// By partition: position and metadata.
    pub commits: Vec<Option<(i64, String)>>,
    pub generation: u32,
    /// The generation that each host is a member of.
    pub members: Vec<Option<u32>>,
    /// Which host a partition is assigned to, as the brokers see it.
    pub owners: Vec<usize>,
    pub rows: BTreeMap<Row, u32>,
    pub tokens: BTreeSet<(usize, String)>,
    window: bool,
    pub stragglers: Vec<Straggler>,
    /// Those that are open.
    pub sessions: BTreeSet<String>,
    /// How many were ever opened.
    opened: u32,
    /// What broke a promise.
    pub broken: Option<String>,
}

impl World {
    pub fn new(level: Level, kinds: Vec<Vec<Kind>>, hosts: usize) -> Self {
        let partitions = kinds.len();
        let created = ddl::create_dead_letters("d", "t", &Profile::default()).unwrap_or_default();
        World {
            level,
            kinds,
            commits: vec![None; partitions],
            generation: 1,
            members: vec![Some(1); hosts],
            owners: (0..partitions).map(|partition| partition % hosts).collect(),
            rows: BTreeMap::new(),
            tokens: BTreeSet::new(),
            window: created.contains("non_replicated_deduplication_window = "),
            stragglers: vec![],
            sessions: BTreeSet::new(),
            opened: 0,
            broken: None,
        }
    }

    pub fn is_member(&self, host: usize) -> bool {
        self.members[host] == Some(self.generation)
    }

    /// The brokers look at the member's generation, and not at whose the partition is.
    pub fn commit(&mut self, host: usize, partition: usize, offset: i64, metadata: &str) -> bool {
        if !self.is_member(host) {
            return false;
        }
        if self.owners[partition] != host {
            self.fail(format!("host {host} commits {offset} of {partition}, which it has not"));
        }
        self.commits[partition] = Some((offset, metadata.to_owned()));
        for before in 0..offset {
            if let Err(why) = self.is_done(partition, before, true) {
                self.fail(format!("position {offset} of {partition} is committed, and {why}"));
            }
        }
        true
    }

    /// Applies an insert: its block is atomic.
    pub fn apply(&mut self, request: &Request) -> Result<(), Failure> {
        let Request { table, token, rows, .. } = request;
        let kind = |(partition, (offset, _)): &(usize, Identity)| self.kinds[*partition][*offset as usize];
        if *table != LETTERS && rows.iter().any(|row| kind(row) == Kind::Refused) {
            return Err(failure(Class::Permanent, Some(469)));
        }
        if self.remembers(request) {
            return Ok(());
        }
        self.remember(*table, token.clone());
        for (partition, identity) in rows {
            let count = self.rows.entry((*table, *partition, *identity)).or_default();
            *count += 1;
            if *count > 1 && !self.level.converges(*table) {
                let why = format!("row {identity:?} of {partition} is there twice in {}", TABLES[*table]);
                self.fail(why);
            }
        }
        Ok(())
    }

    /// The server dies between logging a token and storing its rows.
    pub fn kill_server(&mut self, request: &Request) {
        if !self.remembers(request) {
            self.remember(request.table, request.token.clone());
        }
        self.stragglers.retain(|straggler| !straggler.runs);
        self.sessions.clear();
    }

    /// Opens a session that was never there.
    pub fn open(&mut self) -> String {
        self.opened += 1;
        let name = format!("s{}", self.opened);
        self.sessions.insert(name.clone());
        name
    }

    /// Whether the server lets an insert begin: its session is open.
    pub fn begins(&self, request: &Request) -> bool {
        request.session.as_ref().is_none_or(|session| self.sessions.contains(session))
    }

    fn remembers(&self, request: &Request) -> bool {
        let token = request.token.as_ref();
        token.is_some_and(|token| self.tokens.contains(&(request.table, token.clone())))
    }

    fn remember(&mut self, table: usize, token: Option<String>) {
        if let Some(token) = token.filter(|_| self.window && self.level.has_tokens(table)) {
            self.tokens.insert((table, token));
        }
    }

    pub fn look(&self, table: usize, partition: usize, (first, last): (i64, i64)) -> Vec<Identity> {
        let rows = self.rows.range((table, partition, (first, 0))..=(table, partition, (last, u16::MAX)));
        rows.flat_map(|((_, _, identity), count)| vec![*identity; *count as usize]).collect()
    }

    /// Whether a record is where it belongs. `least`: it may be there more often.
    pub fn is_done(&self, partition: usize, offset: i64, least: bool) -> Result<(), String> {
        let kind = self.kinds[partition][offset as usize];
        for (table, name) in TABLES.iter().enumerate() {
            let expected = match kind {
                Kind::Rows(rows) => u32::from(table < usize::from(rows)),
                Kind::Refused | Kind::Rejected => u32::from(table == LETTERS),
                Kind::Nothing => 0,
            };
            let found = self.look(table, partition, (offset, offset)).len() as u32;
            let is_fine = match least || (self.level.converges(table) && expected > 0) {
                true => found >= expected,
                false => found == expected,
            };
            if !is_fine {
                return Err(format!(
                    "record {offset} of {partition} is {found} times in {name}, not {expected}"
                ));
            }
        }
        Ok(())
    }

    /// Whether all of the log is committed, and nothing pending.
    pub fn is_committed(&self) -> bool {
        self.kinds.iter().zip(&self.commits).all(|(kinds, commit)| {
            commit.as_ref().is_some_and(|(offset, seal)| *offset == kinds.len() as i64 && seal.is_empty())
        })
    }

    pub fn fail(&mut self, why: String) {
        self.broken.get_or_insert(why);
    }
}

pub fn failure(class: Class, code: Option<u32>) -> Failure {
    Failure { code, name: None, message: "on purpose".into(), view: None, class, then: &[] }
}
