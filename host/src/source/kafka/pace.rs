//! How long batches wait that are not full, so that the inserts into one table stay few.
//!
//! A batch is one partition's. If each of P partitions that feed a table closed a batch every `linger_ms`, the
//! table would get P inserts, and so P parts, in that time, however small.

use crate::locked::locked;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use super::ownership::Partition;

/// The wait of batches in milliseconds: long enough that `partitions` of them, all feeding one table, make at
/// most `per_second` inserts a second, and never less than `linger_ms`.
pub(super) fn linger_ms(linger_ms: u32, partitions: usize, per_second: u32) -> u32 {
    let needed = (partitions as u64).saturating_mul(1000).div_ceil(u64::from(per_second.max(1)));
    linger_ms.max(u32::try_from(needed).unwrap_or(u32::MAX))
}

/// Which partitions feed which table, as the delivery has seen it by now.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    tables: Mutex<(HashMap<String, HashSet<Partition>>, u64)>,
}

impl Feeds {
    /// Rows of `partition` go to `table`.
    pub(super) fn note(&self, table: &str, partition: &Partition) {
        let mut lock = locked(&self.tables);
        let (tables, changes) = &mut *lock;
        if tables.get(table).is_some_and(|partitions| partitions.contains(partition)) {
            return;
        }
        tables.entry(table.to_owned()).or_default().insert(partition.clone());
        *changes += 1;
    }
}

/// The waits of the partitions that this host has.
#[derive(Debug)]
pub(super) struct Pace {
    linger_ms: u32,
    per_second: u32,
    /// For how many changes of [`Feeds`] the waits were computed; none: they are stale.
    seen: Option<u64>,
    /// Only waits that are longer than `linger_ms`.
    waits: HashMap<Partition, u32>,
    /// The longest wait that was said.
    said_ms: u32,
}

impl Pace {
    pub(super) fn new(linger_ms: u32, per_second: u32) -> Self {
        Pace { linger_ms, per_second, seen: None, waits: HashMap::new(), said_ms: 0 }
    }

    /// Partitions came or went.
    pub(super) fn assignment_changed(&mut self) {
        self.seen = None;
    }

    /// Computes the waits anew, if anything changed.
    pub(super) fn refresh<'p>(&mut self, feeds: &Feeds, assigned: impl Iterator<Item = &'p Partition>) {
        let lock = locked(&feeds.tables);
        let (tables, changes) = &*lock;
        if self.seen == Some(*changes) {
            return;
        }
        self.seen = Some(*changes);
        self.waits.clear();
        let assigned: HashSet<&Partition> = assigned.collect();
        let mut longest = (self.linger_ms, "", 0);
        for (table, partitions) in tables {
            let own: Vec<&Partition> =
                partitions.iter().filter(|partition| assigned.contains(partition)).collect();
            let wait = linger_ms(self.linger_ms, own.len(), self.per_second);
            if wait <= self.linger_ms {
                continue;
            }
            if wait > longest.0 {
                longest = (wait, table, own.len());
            }
            for partition in own {
                let longer = self.waits.entry(partition.clone()).or_default();
                *longer = wait.max(*longer);
            }
        }
        // Said when it has doubled, for the partitions of a table become known one by one.
        if longest.0 > self.said_ms.max(self.linger_ms).saturating_mul(2) {
            self.said_ms = longest.0;
            tracing::info!(
                table = longest.1,
                partitions = longest.2,
                linger_ms = longest.0,
                "batches that are not full wait longer, since many partitions feed the table (inserts_per_second)"
            );
        }
    }

    /// How long a batch of `partition` waits, in milliseconds.
    pub(super) fn linger_ms(&self, partition: &Partition) -> u32 {
        self.waits.get(partition).copied().unwrap_or(self.linger_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_with_the_partitions_and_never_falls_below_the_setting() {
        assert_eq!(linger_ms(1000, 1, 10), 1000);
        assert_eq!(linger_ms(1000, 10, 10), 1000);
        assert_eq!(linger_ms(1000, 11, 10), 1100);
        assert_eq!(linger_ms(100, 20, 10), 2000);
        assert_eq!(linger_ms(100, 1, 3), 334);
        assert_eq!(linger_ms(100, 0, 10), 100);
        assert_eq!(linger_ms(100, usize::MAX, 1), u32::MAX);
    }

    #[test]
    fn a_partition_waits_for_the_fullest_of_its_tables_and_only_this_hosts_partitions_count() {
        let partitions: Vec<Partition> = (0..30).map(|number| ("t".into(), number)).collect();
        let feeds = Feeds::default();
        partitions.iter().for_each(|partition| feeds.note("all", partition));
        feeds.note("one", &partitions[0]);
        let mut pace = Pace::new(100, 10);
        pace.refresh(&feeds, partitions[..20].iter());
        assert_eq!(pace.linger_ms(&partitions[0]), 2000);
        assert_eq!(pace.linger_ms(&("other".into(), 0)), 100);
        // The others were revoked.
        pace.assignment_changed();
        pace.refresh(&feeds, partitions[..5].iter());
        assert_eq!(pace.linger_ms(&partitions[0]), 500);
    }

    #[test]
    fn what_the_delivery_learns_counts_at_once() {
        let (one, two): (Partition, Partition) = (("t".into(), 0), ("t".into(), 1));
        let feeds = Feeds::default();
        let mut pace = Pace::new(100, 10);
        feeds.note("table", &one);
        pace.refresh(&feeds, [&one, &two].into_iter());
        assert_eq!(pace.linger_ms(&one), 100);
        feeds.note("table", &two);
        pace.refresh(&feeds, [&one, &two].into_iter());
        assert_eq!(pace.linger_ms(&one), 200);
    }
}
