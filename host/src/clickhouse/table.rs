//! Tables: what the server says of them, and which column of a plan goes where.

use anyhow::{Context as _, Result, anyhow};

use super::client::Client;
use super::convert::{self, Fit, Source};
use super::ddl;
use super::keyed::{self, Replacing};
use super::level::{Facts, Memory, Verdict};
use super::names::{identifier, literal};
use super::policy::Rules;
use super::profile::Profile;
use super::response::{self, Failure};
use super::types::{ColumnType, DefaultKind, TableColumn};
use super::views;
use crate::columns::{Input, Kind, kind_of};
use crate::debezium::shape::{Shape, Wire};
use crate::error::Classify;
use crate::transform::plan::{EPOCH, LINEAGE, Origin, Output, OutputColumn, VERSION};

/// The columns that together identify a row.
const IDENTITY: &[&str] = LINEAGE.split_at(4).0;

/// A table that rows are written to.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its columns, in their order.
    pub columns: Vec<TableColumn>,
    /// Its engine.
    pub engine: String,
    /// The columns that it is sorted by.
    pub sorting_key: Vec<String>,
    /// Where it is a ReplacingMergeTree, what by.
    pub replacing: Option<Replacing>,
    /// What the guarantee of its rows follows from.
    pub facts: Facts,
}

/// Where the values of a written column come from.
#[derive(Debug, Clone, PartialEq)]
pub enum From {
    /// The change.
    Copy(Input),
    /// The plan.
    Constant(String),
    /// The transform: which of the output's computed columns.
    Computed(usize, Kind),
    /// The row's place among those of its record.
    Seq,
    /// The transform's digest.
    Transform,
    /// The record's place in the order of its key's records.
    Version,
    /// Whether the row's key leaves.
    IsDeleted,
    /// Which life of its topic the record is of.
    Epoch,
}

/// What a written column is in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A column of the plan that is not part of its output's key.
    Plain,
    /// A column of the key.
    Key,
    /// A column that the host adds.
    Host,
}

/// A column that is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// Its name in the table.
    pub name: String,
    /// Its type in the table.
    pub ty: ColumnType,
    /// Where its values come from.
    pub from: From,
    /// What becomes of values that do not fit; as it stands here, nothing but that the table is sorted by it.
    pub rules: Rules,
    /// What it is in its row.
    pub role: Role,
}

/// Which column of an output goes to which column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The written columns: the plan's, then those of the lineage that the table has.
    pub columns: Vec<Bound>,
    /// What is to be said once: values that are checked one by one, lineage columns that the table lacks.
    pub notes: Vec<String>,
    /// Columns of the plan that are not written, because the table does not have them.
    pub left_out: Vec<String>,
}

impl Binding {
    /// Of the columns just those of the key.
    pub fn of_key(&self) -> Binding {
        let columns = self.columns.iter().filter(|column| column.role == Role::Key).cloned();
        Binding { columns: columns.collect(), notes: vec![], left_out: vec![] }
    }

    /// The names of the columns that say something of a row whose key leaves: the key's, and the host's.
    pub fn of_leaving(&self) -> Vec<&str> {
        let telling = self.columns.iter().filter(|column| column.role != Role::Plain);
        telling.map(|column| column.name.as_str()).collect()
    }
}

impl Table {
    /// The table as the server describes it; none if there is no such table.
    pub fn describe(client: &Client, database: &str, name: &str) -> Result<Option<Table>, Failure> {
        let place =
            |column: &str| format!("database = {} AND {column} = {}", literal(database), literal(name));
        let sql = format!(
            "SELECT name, type, default_kind, is_in_sorting_key FROM system.columns WHERE {} FORMAT TabSeparated",
            place("table")
        );
        let answer = client.query(&sql)?;
        let rows: Vec<[String; 4]> = response::table(&answer)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let columns = rows.iter().map(|[name, ty, default, key]| {
            TableColumn::parse(name, ty, default).map(|column| TableColumn { in_key: key == "1", ..column })
        });
        let columns =
            columns.collect::<Result<Vec<TableColumn>, _>>().map_err(|e: String| Failure::halt(&e))?;
        let place = (database.to_owned(), name.to_owned());
        let node = views::nodes(client, &[place])?.into_iter().next().unwrap_or_default();
        let profile = client.profile();
        let views = views::behind(&node, profile.remembered, |places| views::nodes(client, places))?;
        let replacing = Replacing::parse(&node.engine, &node.engine_full);
        let sorting_key = keyed::sorting_key(&node.sorting_key);
        let has = |wanted: &str| columns.iter().any(|column| column.name == wanted);
        let is_sorted_by = |wanted: &&str| sorting_key.iter().any(|column| column == wanted);
        let facts = Facts {
            place: format!("{}.{}", identifier(database), identifier(name)),
            expires: node.engine_full.contains(" TTL "),
            lacks: IDENTITY.iter().copied().filter(|wanted| !has(wanted)).collect(),
            by_identity: replacing.is_some() && IDENTITY.iter().all(is_sorted_by),
            tokens: profile.tokens,
            sessions: profile.sessions,
            memory: Memory::read(&node.engine, &node.engine_full, profile.remembered),
            views,
            engine: node.engine.clone(),
        };
        Ok(Some(Table {
            database: database.to_owned(),
            name: name.to_owned(),
            columns,
            engine: node.engine,
            sorting_key,
            replacing,
            facts,
        }))
    }

    /// The table as the host would create it for rows of this key, or without one; what is written to where
    /// there is no server.
    pub fn planned(
        database: &str,
        name: &str,
        columns: &[(String, ColumnType)],
        key: &[String],
        profile: &Profile,
    ) -> Result<Table> {
        let plain = |(name, ty): &(String, ColumnType)| TableColumn {
            name: name.clone(),
            ty: ty.clone(),
            default_kind: DefaultKind::None,
            in_key: false,
        };
        let mut columns: Vec<TableColumn> = columns.iter().map(plain).collect();
        let version = if key.is_empty() { &[][..] } else { &ddl::VERSION[..] };
        for (name, ty) in ddl::LINEAGE.iter().chain(version) {
            columns.push(plain(&((*name).to_owned(), ddl::own_type(ty, profile))));
        }
        Ok(Table {
            database: database.to_owned(),
            name: name.to_owned(),
            columns,
            engine: if key.is_empty() { "MergeTree" } else { "ReplacingMergeTree" }.into(),
            sorting_key: key.to_vec(),
            replacing: (!key.is_empty()).then(|| Replacing {
                version: Some(VERSION[0].to_owned()),
                deleted: Some(VERSION[1].to_owned()),
            }),
            facts: Facts::created(format!("{}.{}", identifier(database), identifier(name)), !key.is_empty()),
        })
    }

    fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether it says of each row which record it comes from.
    pub fn has_lineage(&self) -> bool {
        self.facts.lacks.is_empty()
    }

    /// Whether the table can say which rows of a range it has.
    pub fn can_verify(&self) -> bool {
        self.facts.can_verify()
    }

    /// Whether rows of a topic that was made anew could not be told from those before: the rows have places, and
    /// nothing says in which life of the topic.
    pub fn lacks_epoch(&self) -> bool {
        self.can_verify() && self.column(EPOCH).is_none()
    }

    /// SQL that is true for the rows of this topic, in this life of it, and partition.
    pub fn condition(&self, topic: &str, epoch: u16, partition: i32) -> String {
        let of_partition = format!("_topic = {} AND _partition = {partition}", literal(topic));
        match self.column(EPOCH) {
            Some(_) => format!("{of_partition} AND {EPOCH} = {epoch}"),
            None => of_partition,
        }
    }

    /// Whether a row of a log that is inserted twice counts once, for those who read with `FINAL`.
    pub fn converges(&self) -> bool {
        self.facts.by_identity && !self.is_keyed()
    }

    /// What is guaranteed of rows in this table: of those of an output with a key, or of a log's.
    pub fn verdict(&self, keyed: bool) -> Verdict {
        self.facts.verdict(keyed)
    }

    /// Whether it is as the host makes tables for outputs with a key, whatever the key.
    pub fn is_keyed(&self) -> bool {
        let by = self.replacing.as_ref().and_then(|replacing| replacing.version.as_deref());
        by == Some(VERSION[0]) && VERSION.iter().all(|name| self.column(name).is_some())
    }

    /// Whether rows of an output with this key replace each other in this table.
    ///
    /// # Errors
    /// What it is instead, or lacks, and what helps.
    pub fn check_key(&self, key: &[String]) -> Result<()> {
        let place = format!("table {}.{}", self.database, self.name);
        let listed = key.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(", ");
        let anew = format!(
            "rename it (RENAME TABLE {} TO …) and let the host create it, or create it with ENGINE = \
             ReplacingMergeTree(_version, _is_deleted) ORDER BY ({listed})",
            identifier(&self.name)
        );
        let wrong = |what: String, help: String| {
            Err(anyhow!("{place} {what}, and the output has the key ({listed})")).help(help)
        };
        let Some(replacing) = &self.replacing else {
            return wrong(format!("has the engine {}, which keeps all rows of a key", self.engine), anew);
        };
        match replacing.version.as_deref() {
            Some("_version") => {}
            Some(other) => {
                return wrong(format!("replaces rows by {}, not by _version", identifier(other)), anew);
            }
            None => return wrong("replaces rows by no version, but by when they were inserted".into(), anew),
        }
        let mut sorted: Vec<&String> = self.sorting_key.iter().collect();
        let mut wanted: Vec<&String> = key.iter().collect();
        sorted.sort();
        wanted.sort();
        if sorted != wanted {
            return wrong(format!("is sorted by ({})", self.sorting_key.join(", ")), anew);
        }
        let is_wide = |ty: &ColumnType| matches!(ty, ColumnType::Int { signed: false, bits } if *bits >= 64);
        let written = |name: &str| self.column(name).filter(|column| column.default_kind.takes_values());
        if written("_version").is_none_or(|column| !is_wide(&column.ty)) {
            return wrong("has no column _version of the type UInt64 that can be written".into(), anew);
        }
        if written("_is_deleted").is_none() {
            let add = format!(
                "ALTER TABLE {}.{} ADD COLUMN _is_deleted UInt8",
                identifier(&self.database),
                identifier(&self.name)
            );
            return wrong("has no column _is_deleted that can be written".into(), add);
        }
        match replacing.deleted.as_deref() {
            None | Some("_is_deleted") => Ok(()),
            Some(other) => {
                wrong(format!("takes keys out by {}, not by _is_deleted", identifier(other)), anew)
            }
        }
    }

    /// Binds `output`, for changes of `shape`, to this table. Columns that it lacks are left out if `leave_out`
    /// says so.
    ///
    /// # Errors
    /// A column that the table lacks or cannot take, or one whose type cannot hold the source's.
    pub fn bind(&self, output: &Output, shape: &Shape, leave_out: bool) -> Result<Binding> {
        let place = || format!("table {}.{}", self.database, self.name);
        if output.is_keyed() {
            self.check_key(&output.key)?;
        } else if self.is_keyed() {
            // Its rows would have the version 0, and lose against any row of their key without a word.
            return Err(anyhow!("{} keeps the newest row of each key, and the output has no key", place()))
                .help(
                    "write the log to another table (--table), or use a transform whose output has the key",
                );
        }
        let (mut notes, mut left_out) = (Vec::new(), Vec::new());
        let mut columns = Vec::with_capacity(output.columns.len() + LINEAGE.len() + VERSION.len());
        let mut computed = 0;
        for column in &output.columns {
            let name = &column.name;
            let from = match &column.origin {
                Origin::Copy(input) => From::Copy(input.clone()),
                Origin::Constant(text) => From::Constant(text.clone()),
                Origin::Computed { kind, .. } => {
                    computed += 1;
                    From::Computed(computed - 1, *kind)
                }
            };
            let target = self.column(name).or_else(|| self.column(&ddl::plain_name(name)));
            let Some(target) = target else {
                if leave_out {
                    notes.push(format!("column {name} is left out: the table does not have it"));
                    left_out.push(name.clone());
                    continue;
                }
                return Err(anyhow!(
                    "{} has no column {name:?}, which the transform writes for {}: add it (ALTER TABLE … ADD \
                     COLUMN), or let the transform leave it out",
                    place(),
                    source_name(shape)
                ));
            };
            if !target.default_kind.takes_values() {
                return Err(anyhow!(
                    "column {name:?} of {} is {:?}: it cannot be written",
                    place(),
                    target.default_kind
                ));
            }
            if columns.iter().any(|bound: &Bound| bound.name == target.name) {
                return Err(anyhow!(
                    "two columns of the transform go to column {:?} of {}: let it name one otherwise",
                    target.name,
                    place()
                ));
            }
            let (source, nullable) = source_of_column(column, shape);
            match convert::check(source, nullable, &target.ty) {
                Ok(Fit::Exact) => {}
                Ok(Fit::Checked(note)) => notes.push(format!("column {name}: {note}")),
                Err(why) => {
                    return Err(anyhow!(why)).with_context(|| format!("column {name:?} of {}", place()));
                }
            }
            let role = if output.key.contains(name) { Role::Key } else { Role::Plain };
            let rules = Rules { in_key: target.in_key || role == Role::Key, ..Rules::default() };
            columns.push(Bound { name: target.name.clone(), ty: target.ty.clone(), from, rules, role });
        }
        let mut lacking = Vec::new();
        let version = if output.is_keyed() { &VERSION[..] } else { &[][..] };
        for name in LINEAGE.iter().chain(version).copied() {
            match self.column(name).filter(|column| column.default_kind.takes_values()) {
                Some(column) => {
                    let (from, kind) = lineage(name);
                    convert::check(Source::Kind(kind), false, &column.ty)
                        .map_err(|why| anyhow!("column {name:?} of {}: {why}", place()))?;
                    let (name, ty) = (name.to_owned(), column.ty.clone());
                    let rules = Rules { in_key: column.in_key, ..Rules::default() };
                    columns.push(Bound { name, ty, from, rules, role: Role::Host });
                }
                None => lacking.push(name),
            }
        }
        if let Some(column) = self.column(EPOCH).filter(|column| column.default_kind.takes_values()) {
            convert::check(Source::Kind(Kind::Int), false, &column.ty)
                .map_err(|why| anyhow!("column {EPOCH:?} of {}: {why}", place()))?;
            let rules = Rules { in_key: column.in_key, ..Rules::default() };
            let (name, ty) = (EPOCH.to_owned(), column.ty.clone());
            columns.push(Bound { name, ty, from: From::Epoch, rules, role: Role::Host });
        }
        if !lacking.is_empty() {
            notes.push(format!("it lacks the lineage columns {}", lacking.join(", ")));
        }
        Ok(Binding { columns, notes, left_out })
    }
}

/// Where the values of a column come from that the host adds.
fn lineage(name: &str) -> (From, Kind) {
    match name {
        "_topic" => (From::Copy(Input::Topic), Kind::Text),
        "_partition" => (From::Copy(Input::Partition), Kind::Int),
        "_offset" => (From::Copy(Input::Offset), Kind::Int),
        "_seq" => (From::Seq, Kind::Int),
        "_version" => (From::Version, Kind::Int),
        "_is_deleted" => (From::IsDeleted, Kind::Boolean),
        _ => (From::Transform, Kind::Text),
    }
}

fn source_name(shape: &Shape) -> String {
    [&shape.database, &shape.schema, &shape.table].iter().filter(|name| !name.is_empty()).fold(
        String::new(),
        |all, name| if all.is_empty() { (*name).clone() } else { format!("{all}.{name}") },
    )
}

/// How a copied column's values are written, and whether they may be null.
fn wire<'a>(input: &Input, shape: &'a Shape) -> Option<(&'a Wire, bool)> {
    let (Input::After(index) | Input::Before(index) | Input::Latest(index)) = input else { return None };
    shape.fields.get(*index as usize).map(|field| (&field.wire, field.nullable))
}

fn source_of<'a>(input: &Input, shape: &'a Shape) -> Source<'a> {
    match wire(input, shape) {
        Some((wire, _)) => Source::Wire(wire),
        None => Source::Kind(kind_of(input, shape)),
    }
}

/// What the values of a column of an output are, and whether they may be null.
pub fn source_of_column<'a>(column: &OutputColumn, shape: &'a Shape) -> (Source<'a>, bool) {
    match &column.origin {
        Origin::Copy(input) => (source_of(input, shape), may_be_null(input, shape)),
        Origin::Constant(_) => (Source::Kind(Kind::Text), false),
        Origin::Computed { kind, nullable, .. } => (Source::Kind(*kind), *nullable),
    }
}

/// Whether a copied input may be null in a row that the plan makes. `before` is null wherever the change
/// has no such row; `after` only in changes that few plans keep, and those are refused one by one.
pub fn may_be_null(input: &Input, shape: &Shape) -> bool {
    match (input, wire(input, shape)) {
        (Input::Before(_), _) => true,
        (_, Some((_, nullable))) => nullable,
        (Input::CommittedAt | Input::CapturedAt | Input::Detail(_), None) => true,
        _ => false,
    }
}

/// Names and types of the columns of `output` in a table that the host creates.
pub fn planned_columns(output: &Output, shape: &Shape, profile: &Profile) -> Vec<(String, ColumnType)> {
    let columns = output.columns.iter().map(|column| {
        let ty = planned_type(column, shape, profile);
        (ddl::created_name(&column.name, &ty), ty)
    });
    columns.collect()
}

/// The type of a column of an output in a table that the host creates.
pub fn planned_type(column: &OutputColumn, shape: &Shape, profile: &Profile) -> ColumnType {
    match &column.origin {
        Origin::Copy(input) => match wire(input, shape) {
            Some((wire, _)) => ddl::column_type(wire, may_be_null(input, shape), profile),
            None => ddl::own_type(copied_type(input), profile),
        },
        Origin::Constant(_) => ddl::own_type("LowCardinality(String)", profile),
        Origin::Computed { target_type: Some(ty), nullable, .. } => {
            let ty = profile.nearest(ty.clone());
            if *nullable { ty.into_nullable() } else { ty }
        }
        Origin::Computed { kind, nullable, .. } => ddl::computed_type(*kind, *nullable, profile),
    }
}

fn copied_type(input: &Input) -> &'static str {
    match input {
        Input::Op | Input::Topic => "LowCardinality(String)",
        Input::CommittedAt | Input::CapturedAt => "Nullable(DateTime64(6, 'UTC'))",
        Input::Partition => "UInt32",
        Input::Offset => "UInt64",
        _ => "Nullable(String)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_topic_are_told_apart_by_epoch_once_the_table_says_it() {
        let profile = Profile::default();
        let columns = [("id".to_owned(), ColumnType::String)];
        let log = Table::planned("db", "t", &columns, &[], &profile).unwrap();
        assert!(log.lacks_epoch());
        assert_eq!(log.condition("it's", 0, 3), "_topic = 'it\\'s' AND _partition = 3");
        let told = super::super::evolve::with_epoch(&log, &profile);
        assert!(!told.lacks_epoch());
        assert_eq!(told.condition("a", 0, 3), "_topic = 'a' AND _partition = 3 AND _epoch = 0");
        assert_eq!(told.condition("a", 2, 3), "_topic = 'a' AND _partition = 3 AND _epoch = 2");
        // Versions say it where rows replace each other.
        let keyed = Table::planned("db", "t", &columns, &["id".to_owned()], &profile).unwrap();
        assert!(!keyed.lacks_epoch());
    }
}
