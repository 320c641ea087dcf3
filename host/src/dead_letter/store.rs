//! The tables of dead letters and of the marks on them: what is read there, page by page, and what is added.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::filter::{Filter, Place};
use super::marks::{self, Mark, State};
use super::read::{Done, Group, Letter, Outline, Reader, rows};
use crate::clickhouse::client::Client;
use crate::clickhouse::ddl::{self, MARK_COLUMNS};
use crate::clickhouse::names::{identifier, literal};
use crate::clickhouse::request::Insert;
use crate::clickhouse::response::{Class, Failure};
use crate::clickhouse::table::Table;
use crate::error::Classify;

/// How long the server may take for one insert of marks.
const MAX_EXECUTION_TIME_S: u32 = 60;
/// How often an insert of marks is tried, and the wait between two attempts.
const ATTEMPTS: u32 = 10;
const WAIT: Duration = Duration::from_millis(500);

/// A number in a reason that says nothing about what went wrong, and what stands for it. Those of types, in parentheses,
/// say something.
const NUMBER: (&str, &str) = (r"([a-z:@/=] ?)\b[0-9]+\b", r"\1#");

/// The tables.
pub struct Store {
    client: Client,
    database: String,
    table: String,
    marks: String,
    has_marks: bool,
    /// When a letter was kept, as text of UTC that sorts.
    kept: String,
    timestamp: String,
    headers: String,
    epoch: &'static str,
}

impl Store {
    /// The tables of a database: that of the letters, and beside it that of the marks. None: there are no letters.
    ///
    /// # Errors
    /// The server does not answer, or the table is none of letters.
    pub fn open(client: Client, database: &str, table: &str) -> Result<Option<Self>> {
        let described = answered(Table::describe(&client, database, table))?;
        let Some(described) = described else { return Ok(None) };
        let column = |name: &str| described.columns.iter().find(|column| column.name == name);
        let text_of_time = |name: &str| {
            let is_time = column(name).is_some_and(|column| column.ty.to_string().contains("DateTime"));
            let name = identifier(name);
            if is_time { format!("toString({name}, 'UTC')") } else { format!("toString({name})") }
        };
        let wanted = super::columns(false).iter().map(|(name, _)| *name).chain(["ts"]);
        let lacks: Vec<&str> = wanted.filter(|name| column(name).is_none()).collect();
        if !lacks.is_empty() {
            return Err(anyhow!("the table {table} lacks columns of dead letters: {}", lacks.join(", ")))
                .usage()
                .help("name the table in which the host keeps them, with --dead-letters table:NAME");
        }
        let marks = format!("{table}{}", marks::SUFFIX);
        let has_marks = answered(Table::describe(&client, database, &marks))?.is_some();
        Ok(Some(Store {
            kept: text_of_time("ts"),
            timestamp: text_of_time("timestamp"),
            headers: match column("headers") {
                Some(_) => format!("toString({})", identifier("headers")),
                None => "''".to_owned(),
            },
            epoch: if column(ddl::DEAD_LETTER_EPOCH.0).is_some() { "toUInt16(epoch)" } else { "toUInt16(0)" },
            client,
            database: database.to_owned(),
            table: table.to_owned(),
            marks,
            has_marks,
        }))
    }

    /// The name of the table of marks.
    pub fn marks(&self) -> &str {
        &self.marks
    }

    fn named(&self, table: &str) -> String {
        format!("{}.{}", identifier(&self.database), identifier(table))
    }

    fn select<T>(&self, sql: &str, row: impl Fn(&mut Reader<'_>) -> Result<T, String>) -> Result<Vec<T>> {
        let answer = answered(self.client.query(&format!("{sql} FORMAT RowBinary")))?;
        rows(&answer, row).map_err(|what| anyhow!(what)).environment()
    }

    fn condition(&self, filter: &Filter, state: State) -> String {
        let marks = self.has_marks.then(|| self.named(&self.marks));
        let state = state.condition(&filter.pipeline, &marks::identity(&self.kept), marks.as_deref());
        format!("{} AND {state}", filter.condition(&self.kept))
    }

    /// How many letters each pipeline has, marked ones among them.
    ///
    /// # Errors
    /// The server's.
    pub fn pipelines(&self) -> Result<Vec<(String, u64)>> {
        let sql = format!(
            "SELECT toString({0}) AS p_, count() FROM {1} GROUP BY p_ ORDER BY p_ LIMIT 20",
            identifier("pipeline"),
            self.named(&self.table)
        );
        self.select(&sql, |reader| Ok((reader.text()?, reader.number()?)))
    }

    /// The groups of letters that are alike, the largest first; at most `limit`.
    ///
    /// # Errors
    /// The server's.
    pub fn groups(&self, filter: &Filter, state: State, limit: u64) -> Result<Vec<Group>> {
        let [pipeline, topic, stage, reason] =
            ["pipeline", "topic", "stage", "reason"].map(|name| format!("toString({})", identifier(name)));
        let sql = format!(
            "SELECT {pipeline} AS p_, {topic} AS t_, {stage} AS s_, replaceRegexpAll({reason}, {}, {}) AS r_, count() AS n_, \
             min({kept}) AS f_, max({kept}) FROM {} WHERE {} GROUP BY p_, t_, s_, r_ ORDER BY n_ DESC, t_, s_, r_ LIMIT {limit}",
            literal(NUMBER.0),
            literal(NUMBER.1),
            self.named(&self.table),
            self.condition(filter, state),
            kept = self.kept,
        );
        self.select(&sql, |reader| reader.group())
    }

    /// How many letters there are.
    ///
    /// # Errors
    /// The server's.
    pub fn count(&self, filter: &Filter, state: State) -> Result<u64> {
        let sql = format!(
            "SELECT count() FROM (SELECT {} FROM {} WHERE {} GROUP BY {0})",
            ["topic", "partition", "offset"].map(identifier).join(", "),
            self.named(&self.table),
            self.condition(filter, state),
        );
        Ok(self.select(&sql, |reader| reader.number())?.first().copied().unwrap_or(0))
    }

    /// The letters after a place, in the order of places; at most `limit`.
    ///
    /// # Errors
    /// The server's.
    pub fn outlines(
        &self,
        filter: &Filter,
        state: State,
        after: Option<&Place>,
        limit: u64,
    ) -> Result<Vec<Outline>> {
        let [topic, partition, offset] = ["topic", "partition", "offset"].map(identifier);
        let after = match after {
            None => String::new(),
            Some(Place { topic: t, partition: p, offset: o }) => format!(
                " AND ({topic} > {0} OR ({topic} = {0} AND ({partition} > {p} OR ({partition} = {p} AND {offset} > {o}))))",
                literal(t)
            ),
        };
        let last = |name: &str| format!("argMax(toString({}), {})", identifier(name), self.kept);
        let length = |name: &str| format!("length(ifNull({}, ''))", identifier(name));
        let sql = format!(
            "SELECT toString({topic}) AS t_, toUInt32({partition}) AS p_, toUInt64({offset}) AS o_, {}, {}, \
             arraySort(groupUniqArray({})), toUInt64(max({} + {})) FROM {} WHERE {}{after} \
             GROUP BY t_, p_, o_ ORDER BY t_, p_, o_ LIMIT {limit}",
            last("stage"),
            last("reason"),
            self.kept,
            length("key"),
            length("value"),
            self.named(&self.table),
            self.condition(filter, state),
        );
        self.select(&sql, |reader| reader.outline())
    }

    /// The letters at these offsets of a partition, with their records, whatever was done about them; of each offset the
    /// one that was kept last.
    ///
    /// # Errors
    /// The server's.
    pub fn letters(&self, pipeline: &str, of: &Place, offsets: &[i64]) -> Result<Vec<Letter>> {
        let text = |name: &str| format!("toString({})", identifier(name));
        let bytes = |name: &str| format!("CAST({} AS Nullable(String))", identifier(name));
        let sql = format!(
            "SELECT toUInt64({}) AS o_, {} AS k_, CAST({} AS Nullable(String)), {}, {}, {}, {}, {}, {}, {} FROM {} WHERE {} \
             ORDER BY o_, k_",
            identifier("offset"),
            self.kept,
            self.timestamp,
            bytes("key"),
            bytes("value"),
            text("stage"),
            text("reason"),
            text("transform"),
            self.headers,
            self.epoch,
            self.named(&self.table),
            at(pipeline, of, offsets),
        );
        let mut letters: Vec<Letter> = self.select(&sql, |reader| reader.letter())?;
        // The later of two takes the place of the one before it.
        letters.dedup_by(|later, kept| {
            let same = later.offset == kept.offset;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        Ok(letters)
    }

    /// What was done about the letters of a record, in its order.
    ///
    /// # Errors
    /// The server's.
    pub fn history(&self, pipeline: &str, of: &Place) -> Result<Vec<Done>> {
        if !self.has_marks {
            return Ok(vec![]);
        }
        let columns = ["letter", "how", "transform", "by", "reason"];
        let columns = columns.map(|name| format!("toString({})", identifier(name))).join(", ");
        let sql = format!(
            "SELECT {columns}, toString(ts, 'UTC') AS a_ FROM {} WHERE {} ORDER BY a_",
            self.named(&self.marks),
            at(pipeline, of, &[of.offset]),
        );
        self.select(&sql, |reader| reader.done())
    }

    /// Which letters a retry has begun with, by offset and when they were kept; true for those of which no outcome came
    /// after that.
    ///
    /// # Errors
    /// The server's.
    pub fn begun(&self, pipeline: &str, of: &Place, offsets: &[i64]) -> Result<HashMap<(i64, String), bool>> {
        if !self.has_marks {
            return Ok(HashMap::new());
        }
        let is_begun = format!("{} = {}", identifier("how"), literal(marks::How::Begun.name()));
        let sql = format!(
            "SELECT toUInt64({}) AS o_, toString({}) AS l_, toUInt64(maxIf(ts, {is_begun}) > maxIf(ts, NOT ({is_begun}))) \
             FROM {} WHERE {} GROUP BY o_, l_ HAVING countIf({is_begun}) > 0",
            identifier("offset"),
            identifier("letter"),
            self.named(&self.marks),
            at(pipeline, of, offsets),
        );
        let row = |reader: &mut Reader<'_>| Ok(((reader.offset()?, reader.text()?), reader.number()? == 1));
        let begun = self.select(&sql, row)?;
        Ok(begun.into_iter().collect())
    }

    /// The sessions that retries of letters at these offsets have begun in.
    ///
    /// # Errors
    /// The server's.
    pub fn sessions(&self, pipeline: &str, of: &Place, offsets: &[i64]) -> Result<Vec<String>> {
        if !self.has_marks {
            return Ok(vec![]);
        }
        let sql = format!(
            "SELECT DISTINCT toString({}) FROM {} WHERE {} AND {} = {}",
            identifier("reason"),
            self.named(&self.marks),
            at(pipeline, of, offsets),
            identifier("how"),
            literal(marks::How::Begun.name()),
        );
        let reasons = self.select(&sql, |reader| reader.text())?;
        Ok(reasons.iter().filter_map(|reason| marks::session_of(reason)).map(str::to_owned).collect())
    }

    /// Adds marks. When it returns the server has them, some perhaps twice, which means the same.
    ///
    /// # Errors
    /// The server's, after a few attempts where it may pass.
    pub fn mark(&mut self, marks: &[Mark<'_>]) -> Result<()> {
        if marks.is_empty() {
            return Ok(());
        }
        if !self.has_marks {
            let sql = ddl::create_marks(&self.database, &self.marks, &self.client.profile());
            let sql = sql.map_err(|what| anyhow!(what)).usage()?;
            answered(self.client.query(&sql))?;
            self.has_marks = true;
        }
        let block = marks::encode(marks, &self.client.profile());
        let columns = MARK_COLUMNS.map(|(name, _)| name);
        let mut attempt = 1;
        loop {
            let insert = Insert {
                database: &self.database,
                table: &self.marks,
                columns: &columns,
                token: None,
                query_id: &format!("mark-{:016x}", fastrand::u64(..)),
                session: None,
                max_execution_time_s: MAX_EXECUTION_TIME_S,
            };
            match self.client.insert(&insert, &block) {
                Err(failure)
                    if attempt < ATTEMPTS && matches!(failure.class, Class::Retry | Class::Unknown) =>
                {
                    tracing::warn!("waiting for ClickHouse: {failure}");
                    std::thread::sleep(WAIT);
                    attempt += 1;
                }
                outcome => return answered(outcome),
            }
        }
    }
}

/// The condition of letters, or marks, at these offsets of a partition.
fn at(pipeline: &str, of: &Place, offsets: &[i64]) -> String {
    let offsets: Vec<String> = offsets.iter().map(i64::to_string).collect();
    format!(
        "{} = {} AND {} = {} AND {} = {} AND {} IN ({})",
        identifier("pipeline"),
        literal(pipeline),
        identifier("topic"),
        literal(&of.topic),
        identifier("partition"),
        of.partition,
        identifier("offset"),
        offsets.join(", ")
    )
}

fn answered<T>(outcome: Result<T, Failure>) -> Result<T> {
    outcome
        .map_err(|failure| anyhow!("ClickHouse: {failure}"))
        .environment()
        .help("nothing is lost, and what was done is marked: run it again")
}
