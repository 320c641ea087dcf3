//! What a run found.

use std::collections::BTreeMap;
use std::fmt;

/// What the memory of the host's process may rise by for one of the known attacks, which use all that they may, KiB: twice
/// what an instance may have, once what it may hand back, and the code.
const MOST_RISE_KNOWN_KIB: u64 = (2 * 64 + 64 + 32) << 10;
/// The same, for one of the components that are grown: they are to cost the host nothing, also one that is costly
/// to compile and passes, since its native code is mapped.
const MOST_RISE_GROWN_KIB: u64 = 10 << 10;
/// How many times as long the neighbour's batches may take.
pub const MOST_RATIO: f64 = 2.0;

/// Of one family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many components were tried.
    pub tried: u64,
    /// How each ended.
    pub ends: BTreeMap<String, u64>,
    /// The largest rise of memory, KiB, and with which component.
    pub worst: (u64, String),
    /// The longest that one took, ms.
    pub slowest_ms: u64,
}

/// Of all.
#[derive(Debug, Default)]
pub struct Report {
    /// By family, in the order in which they ran.
    pub families: Vec<(String, Tally)>,
    /// Components that ended the process, and how.
    pub crashes: Vec<String>,
    /// The neighbour's batches: without attacks, with them (µs, 99 of 100), and how many.
    pub neighbour: Option<(u64, u64, u64)>,
}

impl Tally {
    /// What memory may rise by for one component of a family, KiB.
    fn most_rise_kib(family: &str) -> u64 {
        if family == "known" { MOST_RISE_KNOWN_KIB } else { MOST_RISE_GROWN_KIB }
    }
}

impl Report {
    /// What must not be; nothing where all is well.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.crashes.iter().map(|crash| format!("crash: {crash}")).collect();
        for (family, tally) in &self.families {
            let (rise_kib, name) = &tally.worst;
            if *rise_kib > Tally::most_rise_kib(family) {
                faults.push(format!("{family}: memory rose by {} MiB with {name}", rise_kib >> 10));
            }
        }
        if self.ratio().is_some_and(|ratio| ratio > MOST_RATIO) {
            faults.push(format!("the neighbour was held up more than {MOST_RATIO} times"));
        }
        faults
    }

    fn ratio(&self) -> Option<f64> {
        let (quiet, attack, _) = self.neighbour?;
        Some(attack as f64 / quiet.max(1) as f64)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "family      components  ends")?;
        for (family, tally) in &self.families {
            let ends: Vec<String> = tally.ends.iter().map(|(end, count)| format!("{end} {count}")).collect();
            writeln!(f, "{family:<10}  {:>10}  {}", tally.tried, ends.join(", "))?;
        }
        let tried: u64 = self.families.iter().map(|(_, tally)| tally.tried).sum();
        writeln!(f, "components tried        {tried}")?;
        writeln!(f, "host crashes            {}", self.crashes.len())?;
        for (family, tally) in &self.families {
            let ((rise_kib, name), most) = (&tally.worst, Tally::most_rise_kib(family) >> 10);
            let rise = *rise_kib as f64 / 1024.0;
            writeln!(f, "worst memory rise       {rise:.1} MiB ({family}: {name}; at most {most})")?;
        }
        if let (Some(ratio), Some((quiet, attack, batches))) = (self.ratio(), self.neighbour) {
            writeln!(
                f,
                "worst neighbour p99     {ratio:.2} times ({quiet} us without, {attack} us with attacks; {batches} batches; at most {MOST_RATIO})"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_too_much_memory_and_a_neighbour_held_up_are_faults() {
        let mut report = Report { neighbour: Some((100, 200, 9)), ..Report::default() };
        let tally = Tally { tried: 1, worst: (MOST_RISE_KNOWN_KIB, "a".into()), ..Tally::default() };
        report.families.push(("known".into(), tally.clone()));
        assert_eq!(report.faults(), [""; 0]);
        report.neighbour = Some((100, 201, 9));
        assert_eq!(report.faults().len(), 1);
        let worst = (MOST_RISE_GROWN_KIB + 1, "b".into());
        report.families.push(("random".into(), Tally { worst, ..tally }));
        report.crashes.push("c".into());
        let faults = report.faults();
        assert_eq!(faults.len(), 3, "{faults:?}");
    }
}
