//! A server that rows go to, with each attempt at an insert recorded.

use std::sync::Arc;
use std::time::Instant;

use super::{Attempt, Recorder};
use crate::clickhouse::insert::Identity;
use crate::clickhouse::request::Insert;
use crate::clickhouse::response::Failure;
use crate::clickhouse::target::{Look, Target};

/// The server `target`, as `recorder` sees it.
#[derive(Debug, Clone)]
pub struct Measured<T> {
    /// The server.
    pub target: T,
    /// Where attempts are recorded.
    pub recorder: Arc<Recorder>,
}

impl<T: Target> Target for Measured<T> {
    fn insert(&self, insert: &Insert<'_>, block: &[u8]) -> Result<(), Failure> {
        let begin = Instant::now();
        let ended = self.target.insert(insert, block);
        let attempt = if ended.is_ok() { Attempt::Ok } else { Attempt::Failed };
        self.recorder.inserted(attempt, block.len() as u64, begin.elapsed());
        ended
    }

    fn identities(&self, look: &Look<'_>) -> Result<Vec<Identity>, Failure> {
        self.target.identities(look)
    }

    fn end_attempts(&self, token: &str) -> Result<(), Failure> {
        self.target.end_attempts(token)
    }

    fn open_session(&self) -> Result<String, Failure> {
        self.target.open_session()
    }

    fn close_session(&self, session: &str) -> Result<(), Failure> {
        self.target.close_session(session)
    }
}
