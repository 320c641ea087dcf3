//! What a process takes: memory now, and at most since it was asked last.

use std::fs;

/// KiB of this process's memory, now.
pub fn resident_kib() -> u64 {
    of_status("VmRSS:")
}

/// The most since [`reset_peak`], KiB.
pub fn peak_kib() -> u64 {
    of_status("VmHWM:")
}

/// Has [`peak_kib`] begin anew.
pub fn reset_peak() {
    // Where the kernel does not let it, the peak stays the highest: that reads worse than it is, never better.
    _ = fs::write("/proc/self/clear_refs", "5");
}

fn of_status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}
