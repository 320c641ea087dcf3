//! What delivery asks of a server that rows go to.

use super::client::Client;
use super::insert::{Identity, IdentityColumns};
use super::names::identifier;
use super::request::Insert;
use super::response::Failure;
use super::session;

/// A server that rows go to. Calls block until it answers, or until nobody knows whether it will.
pub trait Target {
    /// Inserts a `Native` block.
    fn insert(&self, insert: &Insert<'_>, block: &[u8]) -> Result<(), Failure>;

    /// The identities of the rows that stand in a table, each as often as it stands there.
    fn identities(&self, look: &Look<'_>) -> Result<Vec<Identity>, Failure>;

    /// Ends the inserts that may still be running of attempts on this token, and waits until they have ended.
    fn end_attempts(&self, token: &str) -> Result<(), Failure>;

    /// Opens a session that nobody had before, and returns its name.
    fn open_session(&self) -> Result<String, Failure>;

    /// Closes a session for good: once this has succeeded, no attempt in it runs, and none begins any more. Doing it
    /// again is harmless.
    fn close_session(&self, session: &str) -> Result<(), Failure>;
}

/// Which rows are looked up.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The table's database.
    pub database: &'a str,
    /// The table.
    pub table: &'a str,
    /// Where it holds identities.
    pub columns: &'a IdentityColumns,
    /// The first and the last offset.
    pub range: (i64, i64),
}

impl Look<'_> {
    /// The statement; its answer are 10 bytes for each row.
    fn sql(&self) -> String {
        let IdentityColumns { condition, offset, seq } = self.columns;
        let offset = identifier(offset);
        let seq = seq.as_deref().map_or_else(|| "0".to_owned(), identifier);
        let (first, last) = self.range;
        format!(
            "SELECT toInt64({offset}), toUInt16({seq}) FROM {}.{} WHERE {condition} \
             AND {offset} BETWEEN {first} AND {last} FORMAT RowBinary",
            identifier(self.database),
            identifier(self.table),
        )
    }
}

impl Target for Client {
    fn insert(&self, insert: &Insert<'_>, block: &[u8]) -> Result<(), Failure> {
        Client::insert(self, insert, block)
    }

    fn identities(&self, look: &Look<'_>) -> Result<Vec<Identity>, Failure> {
        let found = self.query(&look.sql())?;
        let identity = |row: &[u8]| {
            let (offset, seq) = row.split_at(8);
            (
                i64::from_le_bytes(offset.try_into().unwrap_or_default()),
                u16::from_le_bytes(seq.try_into().unwrap_or_default()),
            )
        };
        Ok(found.chunks_exact(10).map(identity).collect())
    }

    fn end_attempts(&self, token: &str) -> Result<(), Failure> {
        self.end_queries(&format!("{token}-%"))
    }

    fn open_session(&self) -> Result<String, Failure> {
        let session = session::unused_name();
        self.open(&session).map(|()| session)
    }

    fn close_session(&self, session: &str) -> Result<(), Failure> {
        match self.close(session) {
            Err(failure) if failure.code == Some(session::LOCKED) => {
                // An attempt runs in it, or its request has come in part. Where ending it fails, it is waited for.
                let _ = self.end_queries(&format!("%-{session}"));
                self.close(session)
            }
            closed => closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_asks_for_the_identities_of_a_range_by_quoted_names() {
        let columns =
            IdentityColumns { condition: "_topic = 't'".into(), offset: "_offset".into(), seq: None };
        let look = Look { database: "d", table: "a`b", columns: &columns, range: (3, 7) };
        assert_eq!(
            look.sql(),
            "SELECT toInt64(`_offset`), toUInt16(0) FROM `d`.`a\\`b` WHERE _topic = 't' \
             AND `_offset` BETWEEN 3 AND 7 FORMAT RowBinary"
        );
    }
}
