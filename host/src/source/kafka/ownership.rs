//! Which partitions are this host's, and what of them is under way.
//!
//! The thread that polls Kafka assigns and revokes; a delivery asks before it seals a batch. So a batch
//! of a partition that was taken away is dropped, and one that is being inserted is waited for
//! (promise D5 of `docs/invariants.md`). Of a partition there is one delivery at a time, and while there is, only that
//! one commits: another's commit would take its seal away.

use crate::locked::locked;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a commit may hold up a revocation: as long as it does, the host cannot join its group again, and what
/// it commits is of its old generation. After `max.poll.interval.ms` the brokers take none of it.
const COMMIT_WAIT: Duration = Duration::from_secs(300);

/// A topic and one of its partitions.
pub type Partition = (Arc<str>, i32);

#[derive(Debug)]
struct Owned {
    assignment: u64,
    delivering: bool,
    committing: bool,
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
        locked(&self.owned)
    }

    /// A partition came, under a new assignment. `done`: its position, if that is not committed yet.
    pub fn assign(&self, partition: Partition, assignment: u64, done: Option<i64>) {
        let (delivering, committing, leaving) = (false, false, false);
        let owned = Owned { assignment, delivering, committing, leaving, done, committed: None, epoch: 0 };
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

    /// Begins the delivery of a batch, once no position of its partition is being committed; false where it is void.
    /// Each true is followed by [`Self::end`].
    pub fn begin(&self, partition: &Partition, assignment: u64) -> bool {
        let mut lock = self.lock();
        loop {
            match lock.get_mut(partition) {
                Some(owned) if owned.assignment == assignment && !owned.leaving => {
                    if !owned.committing {
                        owned.delivering = true;
                        return true;
                    }
                }
                _ => return false,
            }
            // The brokers answer a commit within its request's time, or librdkafka says that they do not.
            lock = self.changed.wait(lock).unwrap_or_else(PoisonError::into_inner);
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

    /// Partitions without a delivery whose done position is not committed: the assignment, and that position.
    pub fn uncommitted(&self) -> Vec<(Partition, u64, i64)> {
        let lock = self.lock();
        let rest = lock.iter().filter(|(_, owned)| !owned.delivering && owned.done != owned.committed);
        let rest =
            rest.filter_map(|(partition, owned)| Some((partition.clone(), owned.assignment, owned.done?)));
        let mut rest: Vec<_> = rest.collect();
        // In one order, so that a history of the model can be told again.
        rest.sort_unstable();
        rest
    }

    /// Notes that `done` was committed with nothing pending.
    pub fn committed(&self, partition: &Partition, assignment: u64, done: i64) {
        if let Some(owned) = self.lock().get_mut(partition).filter(|owned| owned.assignment == assignment) {
            owned.committed = Some(done);
        }
    }

    /// Commits for the delivery that is under way, unless the partition was taken away. A revocation waits until that
    /// is over. The brokers look only at the member's generation: what it commits after it has joined again would be
    /// taken, whoever has the partition then.
    pub fn committing<T>(
        &self,
        partition: &Partition,
        assignment: u64,
        commit: impl FnOnce() -> T,
    ) -> Option<T> {
        self.committing_if(partition, assignment, |_| true, commit)
    }

    /// The same for what [`Self::uncommitted`] gave, unless a delivery has begun or ended since, or somebody else commits
    /// it.
    pub fn committing_finished<T>(
        &self,
        (partition, assignment, done): &(Partition, u64, i64),
        commit: impl FnOnce() -> T,
    ) -> Option<T> {
        let is_so_still = |owned: &Owned| !owned.delivering && !owned.committing && owned.done == Some(*done);
        self.committing_if(partition, *assignment, is_so_still, commit)
    }

    fn committing_if<T>(
        &self,
        partition: &Partition,
        assignment: u64,
        may: impl FnOnce(&Owned) -> bool,
        commit: impl FnOnce() -> T,
    ) -> Option<T> {
        let current = |owned: &&mut Owned| owned.assignment == assignment;
        {
            let mut lock = self.lock();
            let owned =
                lock.get_mut(partition).filter(current).filter(|owned| !owned.leaving && may(owned))?;
            owned.committing = true;
        }
        let committed = commit();
        if let Some(owned) = self.lock().get_mut(partition).filter(current) {
            owned.committing = false;
        }
        self.changed.notify_all();
        Some(committed)
    }

    /// Takes partitions away: no delivery of theirs begins any more, and one under way is waited for, at
    /// most `wait`; a commit as long as it takes. Returns the positions to commit.
    pub fn revoke(&self, partitions: &[Partition], wait: Duration) -> Vec<(Partition, i64)> {
        self.leave(partitions);
        let begun = Instant::now();
        let mut lock = self.lock();
        loop {
            let of_these = || partitions.iter().filter_map(|partition| lock.get(partition));
            let limit = match (of_these().any(|one| one.committing), of_these().any(|one| one.delivering)) {
                (true, _) => COMMIT_WAIT,
                (false, true) => wait,
                (false, false) => break,
            };
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                tracing::warn!(
                    "an insert is still under way while its partition is revoked: its new owner finishes it"
                );
                break;
            }
            lock = self.changed.wait_timeout(lock, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(lock);
        self.gone(partitions)
    }

    /// The first step of [`Self::revoke`]: nothing of these partitions begins any more.
    pub(crate) fn leave(&self, partitions: &[Partition]) {
        let mut lock = self.lock();
        for partition in partitions {
            if let Some(owned) = lock.get_mut(partition) {
                owned.leaving = true;
            }
        }
    }

    /// The last step of [`Self::revoke`]: they are not ours any more. Returns the positions to commit.
    pub(crate) fn gone(&self, partitions: &[Partition]) -> Vec<(Partition, i64)> {
        let mut lock = self.lock();
        let gone = partitions.iter().filter_map(|p| lock.remove(p).map(|owned| (p.clone(), owned)));
        let finished = gone.filter(|(_, owned)| !owned.delivering && owned.done != owned.committed);
        finished.filter_map(|(partition, owned)| Some((partition, owned.done?))).collect()
    }
}

#[cfg(test)]
impl Ownership {
    /// Whether a revocation would wait for the delivery, or a commit.
    pub(crate) fn is_busy(&self, partition: &Partition) -> bool {
        self.lock().get(partition).is_some_and(|owned| owned.delivering || owned.committing)
    }

    /// Whether a commit of the partition is under way.
    pub(crate) fn is_committing(&self, partition: &Partition) -> bool {
        self.lock().get(partition).is_some_and(|owned| owned.committing)
    }

    /// What it holds of a partition, apart from the assignment's number.
    pub(crate) fn state(&self, partition: &Partition) -> Option<([bool; 3], Option<i64>, Option<i64>)> {
        let lock = self.lock();
        let owned = lock.get(partition)?;
        let flags = [owned.delivering, owned.committing, owned.leaving];
        Some((flags, owned.done, owned.committed))
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
    fn a_commit_is_waited_for_however_long_and_none_begins_after_that() {
        let ownership = Arc::new(Ownership::default());
        ownership.assign(partition(), 1, Some(7));
        let (begun, ends) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let other = ownership.clone();
        let commit = std::thread::spawn(move || {
            other.committing(&partition(), 1, || {
                begun.0.send(()).unwrap();
                ends.1.recv().unwrap();
            })
        });
        begun.1.recv().unwrap();
        let other = ownership.clone();
        let revocation = std::thread::spawn(move || other.revoke(&[partition()], Duration::ZERO));
        while ownership.is_current(&partition(), 1) {
            std::thread::yield_now();
        }
        assert!(ownership.is_committing(&partition()));
        assert_eq!(ownership.committing(&partition(), 1, || ()), None);
        ends.0.send(()).unwrap();
        assert_eq!(commit.join().unwrap(), Some(()));
        assert_eq!(revocation.join().unwrap(), [(partition(), 7)]);
        assert_eq!(ownership.committing(&partition(), 1, || ()), None);
    }

    #[test]
    fn a_finished_position_is_committed_by_one_and_never_when_a_delivery_has_begun_since() {
        let ownership = Arc::new(Ownership::default());
        ownership.assign(partition(), 1, Some(3));
        // Somebody asks, and then another one begins a delivery, seals its range, and ends it.
        let found = ownership.uncommitted().remove(0);
        assert!(ownership.begin(&partition(), 1));
        assert_eq!(ownership.committing_finished(&found, || ()), None);
        let nested = ownership.committing(&partition(), 1, || ownership.committing_finished(&found, || ()));
        assert_eq!(nested, Some(None));
        ownership.end(&partition(), 1, Some(5));
        assert_eq!(ownership.committing_finished(&found, || ()), None, "it would go back to 3");

        let found = ownership.uncommitted().remove(0);
        let (begun, ends) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let (other, again) = (ownership.clone(), found.clone());
        let commit = std::thread::spawn(move || {
            other.committing_finished(&again, || {
                begun.0.send(()).unwrap();
                ends.1.recv().unwrap();
            })
        });
        begun.1.recv().unwrap();
        assert_eq!(ownership.committing_finished(&found, || ()), None);
        let other = ownership.clone();
        let delivery = std::thread::spawn(move || {
            assert!(other.begin(&partition(), 1));
            other.is_committing(&partition())
        });
        assert!(ownership.is_committing(&partition()));
        ends.0.send(()).unwrap();
        assert_eq!(commit.join().unwrap(), Some(()));
        assert!(!delivery.join().unwrap(), "it began when the commit was over");
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
        assert_eq!(ownership.uncommitted(), [(("other".into(), 0), 1, 4)]);
    }

    #[test]
    fn a_position_is_committed_once() {
        let ownership = Ownership::default();
        ownership.assign(partition(), 1, Some(3));
        assert_eq!(ownership.uncommitted(), [(partition(), 1, 3)]);
        ownership.committed(&partition(), 1, 3);
        assert_eq!(ownership.uncommitted(), []);
    }
}
