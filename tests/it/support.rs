//! What the tests stand on: servers, the host as a process, events, and waiting with bounds.

pub mod cleanup;
pub mod clickhouse;
pub mod events;
pub mod host;
pub mod kafka;
pub mod log;
pub mod minisign;
pub mod oci;
pub mod places;
pub mod stack;

use std::time::{Duration, Instant};

pub use self::clickhouse::Database;
pub use self::host::{Ended, Host, Running};
pub use self::kafka::Topic;
pub use self::oci::OciRegistry;
pub use self::stack::Stack;

/// How long anything may take that is expected to happen. Far above what it takes on a busy machine, so that a
/// test that reaches it has found a fault.
pub const BOUND: Duration = Duration::from_secs(90);

/// The pause between two looks at a condition.
const LOOK: Duration = Duration::from_millis(15);

/// Waits until `look` finds something, and returns it. `what` completes "waited for ...".
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < BOUND, "waited for {what}, and gave up after {} s", BOUND.as_secs());
        std::thread::sleep(LOOK);
    }
}

/// Waits until `look` says yes.
pub fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    wait_for(what, || look().then_some(()));
}

/// Checks that two lists are the same; says which lines are only in one of them where they are not.
pub fn assert_same(what: &str, found: &[String], expected: &[String]) {
    let beyond = |these: &[String], those: &[String]| -> String {
        these.iter().filter(|line| !those.contains(line)).map(|line| format!("  {line:.300}\n")).collect()
    };
    let (more, missing) = (beyond(found, expected), beyond(expected, found));
    assert!(found == expected, "{what}: not expected:\n{more}missing:\n{missing}(or the order differs)");
}
