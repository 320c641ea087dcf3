//! Faults put into the host on purpose, for tests of delivery: named points at which the process dies or
//! halts, and known bugs that the tests must notice. Compiled into tests and with the feature `chaos`;
//! elsewhere [`point`] does nothing and [`has`] is false, and both vanish.
//!
//! A process takes them from its environment: `ROWGATE_FAIL_POINTS="sealed=kill@3,inserted=sleep:500"` dies by
//! SIGKILL when it comes to the point `sealed` for the third time, and halts for 500 ms each time at `inserted`.
//! `ROWGATE_BUG=commit_before_insert` plants a bug.

/// Every place at which a fault can be put, in the order in which a batch passes them.
pub const POINTS: [&str; 11] = [
    // A partition was assigned, and its position and seal are known.
    "assigned",
    // A batch is closed, and not yet decoded.
    "closed",
    // A batch is decoded, transformed and encoded.
    "prepared",
    // Before the seal is committed.
    "sealing",
    // The seal is committed, and nothing inserted.
    "sealed",
    // One of the range's inserts is acknowledged.
    "inserted",
    // All rows are there, and no dead letter.
    "rows_done",
    // The dead letters are kept.
    "letters_done",
    // The range's row of the audit is there, where one is kept.
    "audited",
    // The range is done, and not committed.
    "done",
    // A plain commit of finished positions is written.
    "committed",
];

/// A known mistake that the tests of delivery must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A position is committed before its rows are inserted.
    CommitBeforeInsert,
    /// A token differs with each attempt, and nothing is verified.
    TokenOfAttempt,
    /// Created tables remember no tokens, and nothing is verified.
    NoWindow,
    /// A sealed range is cut by today's limits, not where it was sealed.
    OtherCutOnReplay,
    /// A batch of a revoked partition is written and committed.
    CommitAfterRevocation,
    /// A sealed range is finished by whichever transform is there.
    PinIgnored,
    /// A topic that was made anew is taken for the one before.
    EpochsIgnored,
    /// A row vanishes between its encoding and its insert.
    RowVanishes,
    /// Inserts go in no session, where only that keeps one from landing late.
    SessionsIgnored,
}

/// All of them, with the names that the environment knows.
pub const BUGS: [(Bug, &str); 9] = [
    (Bug::CommitBeforeInsert, "commit_before_insert"),
    (Bug::TokenOfAttempt, "token_of_attempt"),
    (Bug::NoWindow, "no_window"),
    (Bug::OtherCutOnReplay, "other_cut_on_replay"),
    (Bug::CommitAfterRevocation, "commit_after_revocation"),
    (Bug::PinIgnored, "pin_ignored"),
    (Bug::EpochsIgnored, "epochs_ignored"),
    (Bug::RowVanishes, "row_vanishes"),
    (Bug::SessionsIgnored, "sessions_ignored"),
];

/// A place where a fault may have been put; `name` is one of [`POINTS`].
#[cfg(not(any(test, feature = "chaos")))]
#[inline(always)]
pub fn point(_name: &'static str) {}

/// Whether this bug is planted.
#[cfg(not(any(test, feature = "chaos")))]
#[inline(always)]
pub const fn has(_bug: Bug) -> bool {
    false
}

#[cfg(any(test, feature = "chaos"))]
pub use planted::{has, point};

#[cfg(test)]
pub use planted::with;

#[cfg(any(test, feature = "chaos"))]
mod planted {
    use std::cell::Cell;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::{BUGS, Bug, POINTS};

    /// What happens at a point.
    enum Fault {
        /// SIGKILL, at this pass.
        Kill(u64),
        /// A halt, at each pass.
        Sleep(Duration),
    }

    struct Planted {
        name: String,
        fault: Fault,
        passed: AtomicU64,
    }

    fn planted() -> &'static [Planted] {
        static PLANTED: OnceLock<Vec<Planted>> = OnceLock::new();
        PLANTED.get_or_init(|| {
            let text = std::env::var("ROWGATE_FAIL_POINTS").unwrap_or_default();
            text.split(',').filter(|one| !one.is_empty()).map(parse).collect()
        })
    }

    /// Reads `name=kill`, `name=kill@N` or `name=sleep:MS`.
    fn parse(text: &str) -> Planted {
        let wrong = || -> ! { panic!("ROWGATE_FAIL_POINTS: `{text}` is none of name=kill@N, name=sleep:MS") };
        let (name, what) = text.split_once('=').unwrap_or_else(|| wrong());
        assert!(POINTS.contains(&name), "ROWGATE_FAIL_POINTS: there is no point `{name}`");
        let number = |digits: &str| digits.parse().unwrap_or_else(|_| wrong());
        let fault = match what.split_once(['@', ':']) {
            None if what == "kill" => Fault::Kill(1),
            Some(("kill", pass)) => Fault::Kill(number(pass)),
            Some(("sleep", ms)) => Fault::Sleep(Duration::from_millis(number(ms))),
            _ => wrong(),
        };
        Planted { name: name.to_owned(), fault, passed: AtomicU64::new(0) }
    }

    /// See the other one.
    pub fn point(name: &'static str) {
        debug_assert!(POINTS.contains(&name), "{name}");
        for planted in planted().iter().filter(|planted| planted.name == name) {
            let pass = planted.passed.fetch_add(1, Ordering::Relaxed) + 1;
            match planted.fault {
                Fault::Kill(at) if pass == at => die(),
                Fault::Sleep(time) => std::thread::sleep(time),
                Fault::Kill(_) => {}
            }
        }
    }

    /// As the kernel ends a process: nothing is flushed, dropped or caught.
    fn die() -> ! {
        let own = std::process::id().to_string();
        let _ = std::process::Command::new("kill").args(["-9", &own]).status();
        std::process::abort()
    }

    thread_local! {
        static OWN: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// See the other one.
    pub fn has(bug: Bug) -> bool {
        static BUG: OnceLock<Option<Bug>> = OnceLock::new();
        let of_process = BUG.get_or_init(|| {
            let name = std::env::var("ROWGATE_BUG").ok()?;
            let found = BUGS.iter().find(|(_, known)| *known == name);
            Some(found.unwrap_or_else(|| panic!("ROWGATE_BUG: there is no bug `{name}`")).0)
        });
        OWN.get() == Some(bug) || *of_process == Some(bug)
    }

    /// Plants a bug for what `run` does on this thread.
    #[cfg(test)]
    pub fn with<T>(bug: Option<Bug>, run: impl FnOnce() -> T) -> T {
        let before = OWN.replace(bug);
        let result = run();
        OWN.set(before);
        result
    }
}
