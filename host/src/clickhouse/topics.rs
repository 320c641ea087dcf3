//! The table of topics: which ids the topics of pipelines have had, each id an epoch (see [`crate::epochs`]).
//!
//! A line is written when an id is first seen, and when its topic has got more partitions; none is ever changed.
//! Hosts that see the same at once write the same line twice, which says nothing more.

use super::client::{Client, MAX_EXECUTION_TIME_S};
use super::ddl::{self, TOPICS_COLUMNS};
use super::names::{identifier, literal};
use super::native::{Block, Encoding};
use super::request::Insert;
use super::response::{self, Failure};
use crate::debezium::value::{self, Value};
use crate::epochs::Line;

/// Its name, in the target's database.
pub const TABLE: &str = "_rowgate_topics";
/// There is no such table.
const UNKNOWN_TABLE: u32 = 60;

/// What was written down for a pipeline; nothing where there is no table.
///
/// # Errors
/// The server does not say, or says something else.
pub fn read(client: &Client, database: &str, pipeline: &str) -> Result<Vec<Line>, Failure> {
    let sql = format!(
        "SELECT DISTINCT topic, topic_id, epoch, partitions FROM {}.{} WHERE pipeline = {} FORMAT TabSeparated",
        identifier(database),
        identifier(TABLE),
        literal(pipeline)
    );
    match client.query(&sql) {
        Err(failure) if failure.code == Some(UNKNOWN_TABLE) => Ok(vec![]),
        Err(failure) => Err(failure),
        Ok(answer) => response::table(&answer)?.into_iter().map(line).collect(),
    }
}

fn line([topic, topic_id, epoch, partitions]: [String; 4]) -> Result<Line, Failure> {
    let wrong = || Failure::halt(&format!("the table {TABLE} has another form than this host's"));
    let epoch = epoch.parse().map_err(|_| wrong())?;
    let partitions = partitions.parse().map_err(|_| wrong())?;
    Ok(Line { topic, topic_id, epoch, partitions })
}

/// Writes a line down, in a table that is created for the first one. Doing it again is harmless.
///
/// # Errors
/// What the server says.
pub fn write(client: &Client, database: &str, pipeline: &str, line: &Line) -> Result<(), Failure> {
    match insert(client, database, pipeline, line) {
        Err(failure) if failure.code == Some(UNKNOWN_TABLE) => {
            let sql =
                ddl::create_topics(database, TABLE, &client.profile()).map_err(|why| Failure::halt(&why))?;
            client.query(&sql)?;
            insert(client, database, pipeline, line)
        }
        done => done,
    }
}

fn insert(client: &Client, database: &str, pipeline: &str, line: &Line) -> Result<(), Failure> {
    let profile = client.profile();
    let encoding = Encoding { profile: &profile, decode: value::decode };
    let mut block = Block::new(encoding, TOPICS_COLUMNS.len(), 1);
    for (name, ty) in TOPICS_COLUMNS {
        let value = match name {
            "pipeline" => Value::Text(pipeline.into()),
            "topic" => Value::Text(line.topic.as_str().into()),
            "topic_id" => Value::Text(line.topic_id.as_str().into()),
            "epoch" => Value::Int(line.epoch.into()),
            _ => Value::Int(line.partitions.into()),
        };
        block.column(name, &ddl::own_type(ty, &profile), std::iter::once(Ok(value)));
    }
    let insert = Insert {
        database,
        table: TABLE,
        columns: &TOPICS_COLUMNS.map(|(name, _)| name),
        token: None,
        query_id: "",
        session: None,
        max_execution_time_s: MAX_EXECUTION_TIME_S,
    };
    client.insert(&insert, &block.finish().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_what_is_none_stops() {
        let cells = |epoch: &str, partitions: &str| ["t", "id", epoch, partitions].map(str::to_owned);
        let expected = Line { topic: "t".into(), topic_id: "id".into(), epoch: 65_535, partitions: 3 };
        assert_eq!(line(cells("65535", "3")).unwrap(), expected);
        assert!(line(cells("65536", "3")).is_err());
        assert!(line(cells("1", "-3")).is_err());
    }
}
