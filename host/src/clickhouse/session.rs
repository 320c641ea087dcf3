//! Sessions of the server, as what keeps a cut-off attempt from beginning late.
//!
//! A request can reach the server long after its sender was killed, and until it runs nothing ends it: it is not among
//! the server's queries yet. An insert that names a session, and asks the server to check it, begins only while that
//! is open; one at a time runs in it. So who closes a session knows that no attempt in it runs, and that none will
//! begin (promise D4 of `docs/invariants.md`). The server looks before it reads the rows, whatever its version.
//!
//! A session is closed by making it read-only, which cannot be taken back: servers before 2024 know no other way. One
//! that a restart of the server or its timeout has ended is closed, too, since none is ever opened twice.

use std::hash::{BuildHasher, RandomState};

use super::client::Client;
use super::names::literal;
use super::request::{Compression, SESSION_TIMEOUT_S};
use super::response::Failure;
use super::target::Target;

/// The server's code for a session that is not there.
pub const NOT_FOUND: u32 = 372;
/// Its code for a session in which something runs.
pub const LOCKED: u32 = 373;
/// Its code for what a read-only session does not let one do.
const READ_ONLY: u32 = 164;
const CLOSE: &str = "SET readonly = 1";

/// The session of one writer's attempts.
#[derive(Debug, Default)]
pub struct Session {
    /// That of the next attempt.
    open: Option<String>,
    /// One in which an attempt may still run, or begin.
    doubtful: Option<String>,
}

impl Session {
    /// The one that attempts go in; none before [`Session::settle`].
    pub fn name(&self) -> Option<&str> {
        self.open.as_deref()
    }

    /// One in which attempts of another process may still run or begin.
    pub fn left(session: Option<&str>) -> Self {
        Session { open: None, doubtful: session.map(str::to_owned) }
    }

    /// Attempts may still run or begin in the open one.
    pub fn doubt(&mut self) {
        self.doubtful = self.open.take().or(self.doubtful.take());
    }

    /// Whether [`Session::settle`] has nothing to do.
    pub fn is_settled(&self, wanted: bool) -> bool {
        self.doubtful.is_none() && (self.open.is_some() || !wanted)
    }

    /// Closes the doubtful one, and opens another if one is wanted and none is open.
    ///
    /// # Errors
    /// The server does not answer, or an attempt still runs there: to be tried again.
    pub fn settle(&mut self, target: &dyn Target, wanted: bool) -> Result<(), Failure> {
        if let Some(session) = &self.doubtful {
            target.close_session(session)?;
            self.doubtful = None;
        }
        if wanted && self.open.is_none() {
            self.open = Some(target.open_session()?);
        }
        Ok(())
    }
}

/// Whether an attempt in a session may still run or begin after this failure, or the session is of no more use.
pub fn leaves_doubt(failure: &Failure) -> bool {
    // With a code the server has answered, and the statement is over.
    failure.code.is_none_or(|code| matches!(code, NOT_FOUND | READ_ONLY))
}

/// 128 random bits as a name.
pub(super) fn unused_name() -> String {
    // Each has keys of its own, from the system's randomness.
    let bits = || RandomState::new().hash_one(std::process::id());
    format!("rowgate{:016x}{:016x}", bits(), bits())
}

impl Client {
    /// Whether the server keeps sessions between requests and closes them for good. Not so, as a rule, where requests
    /// go to one server after the other.
    pub(super) fn has_sessions(&self) -> bool {
        let session = unused_name();
        let closed = self.open(&session).and_then(|()| self.in_session(&session, true, CLOSE));
        let opened = || self.in_session(&session, true, "SET readonly = 0");
        closed.is_ok() && matches!(opened(), Err(Failure { code: Some(READ_ONLY), .. }))
    }

    pub(super) fn open(&self, session: &str) -> Result<(), Failure> {
        self.in_session(session, false, "SELECT 1")
    }

    pub(super) fn close(&self, session: &str) -> Result<(), Failure> {
        match self.in_session(session, true, CLOSE) {
            Err(failure) if matches!(failure.code, Some(NOT_FOUND | READ_ONLY)) => Ok(()),
            closed => closed,
        }
    }

    fn in_session(&self, session: &str, check: bool, sql: &str) -> Result<(), Failure> {
        let timeout = SESSION_TIMEOUT_S.to_string();
        let check = if check { "1" } else { "0" };
        let parameters =
            [("session_id", session), ("session_timeout", timeout.as_str()), ("session_check", check)];
        self.post(&parameters, sql.as_bytes(), Compression::None).map(drop)
    }

    /// Ends queries of this pattern, and waits until they have ended.
    pub(super) fn end_queries(&self, pattern: &str) -> Result<(), Failure> {
        self.query(&format!("KILL QUERY WHERE query_id LIKE {} SYNC FORMAT Null", literal(pattern))).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_comes_twice_and_each_stands_in_a_pattern_for_itself() {
        let names: std::collections::HashSet<String> = (0..1000).map(|_| unused_name()).collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|name| name.len() == 39 && name.bytes().all(|c| c.is_ascii_alphanumeric())));
    }
}
