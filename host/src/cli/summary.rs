//! What a run did, counted.

use std::fmt;
use std::time::Duration;

use crate::clickhouse::level::Level;
use crate::clickhouse::policy::Replaced;

/// The counters of a run. Every record consumed is kept, filtered or rejected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Records that were read, and whose batch was finished.
    pub consumed: u64,
    /// Changes of which at least one row was made.
    pub kept: u64,
    /// Records of which no row was made, and rightly so.
    pub filtered: u64,
    /// Those of `filtered` that are no change: tombstones, heartbeats and the like.
    pub not_changes: u64,
    /// Records that went to the dead letters.
    pub rejected: u64,
    /// Rows that were written.
    pub rows: u64,
    /// Values that others stand for in those rows, by `table.column`.
    pub replaced: Replaced,
    /// Rows that were left out because a later one of their change has the same key.
    pub same_key: u64,
    /// Rows that were written without columns that their table lacks.
    pub left_out: u64,
    /// Truncates that outputs with a key were told to ignore.
    pub truncates_ignored: u64,
    /// Topics of rows with a key that had got more partitions.
    pub grown: u64,
    /// Ranges that another transform had sealed, and that was gone.
    pub other_transform: u64,
    /// What is guaranteed of rows in the tables that were written to.
    pub levels: Vec<(String, Level)>,
    /// From when the first record was taken in to when the last batch was done.
    pub elapsed: Duration,
}

impl Summary {
    /// Records consumed in a second of the run, rounded down; 0 for a run without length.
    pub fn records_per_second(&self) -> u64 {
        let seconds = self.elapsed.as_secs_f64();
        // A float's cast to an integer saturates, and no run counts beyond 2^53.
        if seconds > 0.0 { (self.consumed as f64 / seconds) as u64 } else { 0 }
    }

    /// Checks that every record is accounted for.
    ///
    /// # Errors
    /// When it is not; that is a fault of the host.
    pub fn check(&self) -> anyhow::Result<()> {
        let Self { consumed, kept, filtered, not_changes, rejected, .. } = self;
        let sum = u128::from(*kept) + u128::from(*filtered) + u128::from(*rejected);
        anyhow::ensure!(
            u128::from(*consumed) == sum && not_changes <= filtered,
            "the counters do not add up: {consumed} consumed, but {kept} kept + {filtered} filtered \
             ({not_changes} no changes) + {rejected} rejected = {sum}"
        );
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "consumed      {}", self.consumed)?;
        writeln!(f, "kept          {}", self.kept)?;
        match self.not_changes {
            0 => writeln!(f, "filtered      {}", self.filtered)?,
            not_changes => {
                writeln!(f, "filtered      {} (of these no changes: {not_changes})", self.filtered)?
            }
        }
        writeln!(f, "rejected      {}", self.rejected)?;
        writeln!(f, "rows written  {}", self.rows)?;
        for ((column, replacement), count) in &self.replaced.0 {
            writeln!(f, "replaced      {count} in {column} ({})", replacement.words())?;
        }
        for (name, count) in [
            ("rows of a key twice", self.same_key),
            ("rows without new columns", self.left_out),
            ("truncates ignored", self.truncates_ignored),
            ("grown topics  ", self.grown),
            ("ranges begun by a transform that is gone", self.other_transform),
        ] {
            if count > 0 {
                writeln!(f, "{name} {count}")?;
            }
        }
        for (table, level) in &self.levels {
            writeln!(f, "level         {level} of {table}")?;
        }
        writeln!(f, "records/s     {} (in {:.1} s)", self.records_per_second(), self.elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn summary() -> Summary {
        Summary {
            consumed: 1000,
            kept: 600,
            filtered: 399,
            not_changes: 12,
            rejected: 1,
            rows: 650,
            replaced: Replaced::default(),
            same_key: 0,
            left_out: 0,
            truncates_ignored: 0,
            grown: 0,
            other_transform: 0,
            levels: vec![("my_table".into(), Level::ExactlyOnce)],
            elapsed: Duration::from_millis(2500),
        }
    }

    #[test]
    fn each_counter_has_a_line() {
        assert_eq!(
            summary().to_string(),
            "consumed      1000\nkept          600\nfiltered      399 (of these no changes: 12)\nrejected      1\n\
             rows written  650\nlevel         A (effectively exactly once) of my_table\nrecords/s     400 (in 2.5 s)\n"
        );
        assert_eq!(Summary::default().records_per_second(), 0);
    }

    #[test]
    fn a_record_that_is_not_accounted_for_is_found() {
        summary().check().unwrap();
        Summary::default().check().unwrap();
        let lost = Summary { kept: 599, ..summary() };
        assert_eq!(
            lost.check().unwrap_err().to_string(),
            "the counters do not add up: 1000 consumed, but 599 kept + 399 filtered (12 no changes) + 1 rejected = 999"
        );
        Summary { not_changes: 400, ..summary() }.check().unwrap_err();
    }

    proptest! {
        #[test]
        fn counters_add_up_exactly_when_they_do(consumed: u64, kept: u64, filtered: u64, rejected: u64) {
            let summary = Summary { consumed, kept, filtered, rejected, ..Summary::default() };
            let sum = kept.checked_add(filtered).and_then(|sum| sum.checked_add(rejected));
            prop_assert_eq!(summary.check().is_ok(), sum == Some(consumed));
            if let Some(sum) = sum {
                Summary { consumed: sum, ..summary }.check().unwrap();
            }
        }
    }
}
