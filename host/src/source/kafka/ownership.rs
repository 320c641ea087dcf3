//! Which partitions are this host's, and what of them is under way.
//!
//! The thread that polls Kafka assigns and revokes; the delivery asks before it seals a batch. So a batch
//! of a partition that was taken away is dropped, and one that is being inserted is waited for
//! (promise D5 of `docs/invariants.md`).

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A topic and one of its partitions.
pub type Partition = (Arc<str>, i32);

#[derive(Debug)]
struct Owned {
    assignment: u64,
    delivering: bool,
    leaving: bool,
    /// Everything before this offset is done.
    done: Option<i64>,
    /// The offset that was committed last, with nothing pending.
    committed: Option<i64>,
    /// Which life of the topic its positions are of.
    epoch: u16,
}

/// The partitions of this host. Shared between the polling thread and the delivery.
#[derive(Debug, Default)]
pub struct Ownership {
    owned: Mutex<HashMap<Partition, Owned>>,
    changed: Condvar,
}

impl Ownership {
    fn lock(&self) -> MutexGuard<'_, HashMap<Partition, Owned>> {
        // No code panics while it holds the lock; and the map is whole between statements.
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition came, under a new assignment. `done`: its position, if that is not committed yet.
    pub fn assign(&self, partition: Partition, assignment: u64, done: Option<i64>) {
        let owned = Owned { assignment, delivering: false, leaving: false, done, committed: None, epoch: 0 };
        self.lock().insert(partition, owned);
    }

    /// Says of which life of its topic the positions of a partition are, under its assignment of now.
    pub fn set_epoch(&self, partition: &Partition, epoch: u16) {
        if let Some(owned) = self.lock().get_mut(partition) {
            owned.epoch = epoch;
        }
    }

    /// Of which life of its topic the positions of a partition are.
    pub fn epoch(&self, partition: &Partition) -> u16 {
        self.lock().get(partition).map_or(0, |owned| owned.epoch)
    }

    /// Makes void what was read of a topic that is not there any more: its positions are of no other one.
    pub fn forget(&self, topic: &str) {
        self.lock().retain(|(name, _), _| **name != *topic);
        self.changed.notify_all();
    }

    /// Whether a batch read under `assignment` may still be delivered.
    pub fn is_current(&self, partition: &Partition, assignment: u64) -> bool {
        self.lock().get(partition).is_some_and(|owned| owned.assignment == assignment && !owned.leaving)
    }

    /// Begins the delivery of a batch; false where it is void. Each true is followed by [`Self::end`].
    pub fn begin(&self, partition: &Partition, assignment: u64) -> bool {
        match self.lock().get_mut(partition) {
            Some(owned) if owned.assignment == assignment && !owned.leaving => {
                owned.delivering = true;
                true
            }
            _ => false,
        }
    }

    /// Ends a delivery; `done`: everything before that offset is done and nothing is pending. None: the
    /// commit in Kafka is to stay as it is, since it may hold the seal of a range that is not done.
    pub fn end(&self, partition: &Partition, assignment: u64, done: Option<i64>) {
        if let Some(owned) = self.lock().get_mut(partition).filter(|owned| owned.assignment == assignment) {
            owned.delivering = false;
            owned.done = done;
        }
        self.changed.notify_all();
    }

    /// Partitions whose done position is not committed, and that position.
    pub fn uncommitted(&self) -> Vec<(Partition, i64)> {
        let lock = self.lock();
        let rest = lock.iter().filter(|(_, owned)| !owned.delivering && owned.done != owned.committed);
        rest.filter_map(|(partition, owned)| Some((partition.clone(), owned.done?))).collect()
    }

    /// Notes that `done` was committed with nothing pending.
    pub fn committed(&self, partition: &Partition, done: i64) {
        if let Some(owned) = self.lock().get_mut(partition) {
            owned.committed = Some(done);
        }
    }

    /// Takes partitions away: no delivery of theirs begins any more, and one under way is waited for, at
    /// most `wait`. Returns the positions to commit.
    pub fn revoke(&self, partitions: &[Partition], wait: Duration) -> Vec<(Partition, i64)> {
        let end = Instant::now() + wait;
        let mut lock = self.lock();
        for partition in partitions {
            if let Some(owned) = lock.get_mut(partition) {
                owned.leaving = true;
            }
        }
        let busy = |lock: &HashMap<Partition, Owned>| {
            partitions.iter().any(|p| lock.get(p).is_some_and(|owned| owned.delivering))
        };
        while busy(&lock) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(
                    "an insert is still under way while its partition is revoked: its new owner finishes it"
                );
                break;
            }
            lock = self.changed.wait_timeout(lock, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let gone = partitions.iter().filter_map(|p| lock.remove(p).map(|owned| (p.clone(), owned)));
        let finished = gone.filter(|(_, owned)| !owned.delivering && owned.done != owned.committed);
        finished.filter_map(|(partition, owned)| Some((partition, owned.done?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        ("t".into(), 0)
    }

    #[test]
    fn a_batch_of_a_revoked_partition_is_void_even_when_the_partition_comes_back() {
        let ownership = Ownership::default();
        ownership.assign(partition(), 1, None);
        assert!(ownership.is_current(&partition(), 1));
        ownership.revoke(&[partition()], Duration::ZERO);
        assert!(!ownership.begin(&partition(), 1));
        ownership.assign(partition(), 2, None);
        assert!(!ownership.begin(&partition(), 1));
        assert!(ownership.begin(&partition(), 2));
    }

    #[test]
    fn revoking_waits_for_the_delivery_under_way_and_returns_what_it_did() {
        let ownership = Arc::new(Ownership::default());
        ownership.assign(partition(), 1, None);
        assert!(ownership.begin(&partition(), 1));
        let other = ownership.clone();
        let delivery = std::thread::spawn(move || {
            // Ends once the revocation is under way, and only then.
            while other.is_current(&partition(), 1) {
                std::thread::yield_now();
            }
            other.end(&partition(), 1, Some(7));
        });
        let done = ownership.revoke(&[partition()], Duration::from_secs(60));
        assert_eq!(done, [(partition(), 7)]);
        delivery.join().unwrap();
    }

    #[test]
    fn a_delivery_that_outlasts_the_wait_is_not_committed() {
        let ownership = Ownership::default();
        ownership.assign(partition(), 1, Some(3));
        assert!(ownership.begin(&partition(), 1));
        assert_eq!(ownership.revoke(&[partition()], Duration::ZERO), []);
    }

    #[test]
    fn a_delivery_that_failed_leaves_the_seal_in_place() {
        let ownership = Ownership::default();
        ownership.assign(partition(), 1, Some(3));
        assert!(ownership.begin(&partition(), 1));
        ownership.end(&partition(), 1, None);
        assert_eq!(ownership.uncommitted(), []);
        assert_eq!(ownership.revoke(&[partition()], Duration::ZERO), []);
    }

    #[test]
    fn what_was_read_of_a_topic_that_is_gone_is_neither_delivered_nor_committed() {
        let ownership = Ownership::default();
        ownership.assign(partition(), 1, Some(3));
        ownership.set_epoch(&partition(), 2);
        ownership.assign(("other".into(), 0), 1, Some(4));
        assert_eq!((ownership.epoch(&partition()), ownership.epoch(&("other".into(), 0))), (2, 0));
        assert!(ownership.begin(&partition(), 1));
        ownership.forget("t");
        ownership.end(&partition(), 1, Some(9));
        assert!(!ownership.is_current(&partition(), 1));
        assert_eq!(ownership.uncommitted(), [(("other".into(), 0), 4)]);
    }

    #[test]
    fn a_position_is_committed_once() {
        let ownership = Ownership::default();
        ownership.assign(partition(), 1, Some(3));
        assert_eq!(ownership.uncommitted(), [(partition(), 3)]);
        ownership.committed(&partition(), 3);
        assert_eq!(ownership.uncommitted(), []);
    }
}
