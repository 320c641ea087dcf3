//! How the host ends: an exit code that tells a supervisor whether a restart helps, and one message.
//!
//! Every stage works with [`anyhow::Error`]. Where a failure is the user's or the surroundings' fault, the
//! stage that knows marks it with [`Classify`]; what nobody marked is an internal fault.

use std::fmt;
use std::process::ExitCode;

/// Why the host ends other than well. The numbers are part of the command line's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// A fault of the host. A restart may help.
    Internal = 1,
    /// Wrong usage or configuration; a component or a table that does not fit; a truncate or schema change
    /// that needs a decision. A restart does not help.
    Usage = 2,
    /// Something around the host is unreachable, refuses, or is taken. A restart helps in time.
    Environment = 3,
    /// A record cannot be processed, and `dead_letters` says stop. A restart does not help.
    TransformFailed = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// An error with its class and a piece of advice. It shows itself as the error that it holds, so that
/// a chain of causes names nothing twice.
#[derive(Debug)]
pub struct Failure {
    exit: Option<Exit>,
    help: Option<String>,
    error: anyhow::Error,
}

impl Failure {
    /// The marked error itself, for those who look for its type.
    pub fn inner(&self) -> &anyhow::Error {
        &self.error
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Marks a failure with the class of exit that it calls for. The outermost mark of a chain counts.
pub trait Classify<T> {
    /// Wrong usage or configuration, or a component that does not fit: exit 2.
    fn usage(self) -> anyhow::Result<T>;
    /// Unreachable, refused, taken: exit 3.
    fn environment(self) -> anyhow::Result<T>;
    /// The transform failed and the policy says stop: exit 4.
    fn transform_failed(self) -> anyhow::Result<T>;
    /// Says what to do about it: one sentence, lower case, no full stop.
    fn help(self, advice: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Classify<T> for Result<T, E> {
    fn usage(self) -> anyhow::Result<T> {
        self.map_err(|error| mark(error, Some(Exit::Usage), None))
    }

    fn environment(self) -> anyhow::Result<T> {
        self.map_err(|error| mark(error, Some(Exit::Environment), None))
    }

    fn transform_failed(self) -> anyhow::Result<T> {
        self.map_err(|error| mark(error, Some(Exit::TransformFailed), None))
    }

    fn help(self, advice: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| mark(error, None, Some(advice.into())))
    }
}

/// Marks `error` with the class of exit that something else calls for, and with its advice, if it has one.
pub fn of_class(error: anyhow::Error, exit: Exit, help: Option<String>) -> anyhow::Error {
    mark(error, Some(exit), help)
}

fn mark(error: impl Into<anyhow::Error>, exit: Option<Exit>, help: Option<String>) -> anyhow::Error {
    anyhow::Error::new(Failure { exit, help, error: error.into() })
}

/// The class of `error`.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    marks(error).find_map(|failure| failure.exit).unwrap_or(Exit::Internal)
}

/// The advice that goes with `error`, the outermost one.
pub fn help_of(error: &anyhow::Error) -> Option<&str> {
    marks(error).find_map(|failure| failure.help.as_deref())
}

/// The marks of an error, outermost first: those in its chain, and those that a mark wraps.
fn marks(error: &anyhow::Error) -> impl Iterator<Item = &Failure> {
    let mut next = first_mark(error);
    std::iter::from_fn(move || {
        let mark = next?;
        next = first_mark(&mark.error);
        Some(mark)
    })
}

fn first_mark(error: &anyhow::Error) -> Option<&Failure> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>())
}

/// What is shown of `error`, once, when the host ends: `what: cause: cause`, and the advice on a line of its own.
pub fn report(error: &anyhow::Error) -> String {
    match help_of(error) {
        Some(help) => format!("error: {error:#}\nhelp: {help}"),
        None => format!("error: {error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    fn failing() -> anyhow::Result<()> {
        Err(anyhow!("connection refused"))
    }

    #[test]
    fn an_unmarked_error_is_an_internal_fault() {
        let error = failing().context("cannot reach the broker").unwrap_err();
        assert_eq!(exit_of(&error), Exit::Internal);
        assert_eq!(report(&error), "error: cannot reach the broker: connection refused");
    }

    #[test]
    fn a_mark_survives_context_and_is_not_shown_twice() {
        let error = failing()
            .context("cannot reach localhost:9092")
            .environment()
            .help("is the broker up?")
            .context("cannot start the source")
            .unwrap_err();
        assert_eq!(exit_of(&error), Exit::Environment);
        assert_eq!(
            report(&error),
            "error: cannot start the source: cannot reach localhost:9092: connection refused\n\
             help: is the broker up?"
        );
    }

    #[test]
    fn the_outermost_mark_counts() {
        let error = failing().environment().help("inner").context("above").usage().help("outer").unwrap_err();
        assert_eq!(exit_of(&error), Exit::Usage);
        assert_eq!(help_of(&error), Some("outer"));
    }

    #[test]
    fn the_marked_error_keeps_its_type() {
        let io = std::io::Error::other("disk");
        let error = Err::<(), _>(io).environment().unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert!(failure.inner().downcast_ref::<std::io::Error>().is_some());
    }
}
