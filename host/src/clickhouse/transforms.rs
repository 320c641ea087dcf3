//! The table of transforms: from which record on which one made the rows of a partition.
//!
//! A line is written where one takes the place of another; none is ever changed. A line that comes twice says nothing
//! more.

use std::collections::HashMap;

use super::client::{Client, MAX_EXECUTION_TIME_S};
use super::ddl::{self, TRANSFORMS_COLUMNS};
use super::names::{identifier, literal};
use super::native::{Block, Encoding};
use super::request::Insert;
use super::response::{self, Failure};
use crate::batch::Batch;
use crate::debezium::value::{self, Value};
use crate::source::kafka::ownership::Partition;

/// Its name, in the target's database.
pub const TABLE: &str = "_rowgate_transforms";
/// There is no such table.
const UNKNOWN_TABLE: u32 = 60;

/// A transform, as a line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hand {
    /// The beginning of its digest, as in the column `_transform`.
    pub transform: String,
    /// Its pin.
    pub pin: String,
}

/// A line of the table.
pub struct Line<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The first range of the transform.
    pub batch: &'a Batch,
    /// The transform.
    pub now: &'a Hand,
    /// The one that made the range before.
    pub before: &'a Hand,
}

/// Who made the last rows of the pipeline's partitions; nothing where there is no table.
///
/// # Errors
/// The server does not say, or says something else.
pub fn read(client: &Client, database: &str, pipeline: &str) -> Result<HashMap<Partition, Hand>, Failure> {
    let sql = format!(
        "SELECT topic, partition, transform, pin FROM {}.{} WHERE pipeline = {} \
         ORDER BY epoch DESC, from_offset DESC, at DESC LIMIT 1 BY topic, partition FORMAT TabSeparated",
        identifier(database),
        identifier(TABLE),
        literal(pipeline)
    );
    let rows = match client.query(&sql) {
        Err(failure) if failure.code == Some(UNKNOWN_TABLE) => return Ok(HashMap::new()),
        answer => response::table(&answer?)?,
    };
    rows.into_iter().map(hand).collect()
}

fn hand([topic, partition, transform, pin]: [String; 4]) -> Result<(Partition, Hand), Failure> {
    let wrong = || Failure::halt(&format!("the table {TABLE} has another form than this host's"));
    let partition = partition.parse().map_err(|_| wrong())?;
    Ok(((topic.into(), partition), Hand { transform, pin }))
}

/// Writes a line, into a table that is created for the first one. Doing it again is harmless.
///
/// # Errors
/// What the server says.
pub fn write(client: &Client, database: &str, line: &Line<'_>) -> Result<(), Failure> {
    match insert(client, database, line) {
        Err(failure) if failure.code == Some(UNKNOWN_TABLE) => {
            let sql = ddl::create_transforms(database, TABLE, &client.profile());
            client.query(&sql.map_err(|why| Failure::halt(&why))?)?;
            insert(client, database, line)
        }
        done => done,
    }
}

fn insert(client: &Client, database: &str, line: &Line<'_>) -> Result<(), Failure> {
    let profile = client.profile();
    let encoding = Encoding { profile: &profile, decode: value::decode };
    let mut block = Block::new(encoding, TRANSFORMS_COLUMNS.len(), 1);
    for (name, ty) in TRANSFORMS_COLUMNS {
        block.column(name, &ddl::own_type(ty, &profile), std::iter::once(Ok(cell(line, name))));
    }
    let insert = Insert {
        database,
        table: TABLE,
        columns: &TRANSFORMS_COLUMNS.map(|(name, _)| name),
        token: None,
        query_id: "",
        session: None,
        max_execution_time_s: MAX_EXECUTION_TIME_S,
    };
    client.insert(&insert, &block.finish().0)
}

fn cell<'a>(line: &Line<'a>, column: &str) -> Value<'a> {
    let Line { pipeline, batch, now, before } = *line;
    match column {
        "pipeline" => Value::Text(pipeline.into()),
        "topic" => Value::Text((&*batch.topic).into()),
        "partition" => Value::Int(batch.partition.into()),
        "epoch" => Value::Int(batch.epoch.into()),
        "from_offset" => Value::Int(batch.first),
        "transform" => Value::Text(now.transform.as_str().into()),
        "pin" => Value::Text(now.pin.as_str().into()),
        "before" => Value::Text(before.transform.as_str().into()),
        _ => Value::Text(before.pin.as_str().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_what_is_none_stops() {
        let cells = |partition: &str| ["t", partition, "ab", "cd"].map(str::to_owned);
        let expected = Hand { transform: "ab".to_owned(), pin: "cd".to_owned() };
        assert_eq!(hand(cells("3")).unwrap(), (("t".into(), 3), expected));
        assert!(hand(cells("x")).is_err());
    }
}
