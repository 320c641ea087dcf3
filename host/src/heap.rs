//! The process's heap.

/// So many arenas may glibc's `malloc` have, one of which is `main`'s.
///
/// What another thread frees goes back to the arena that it is from, and stays there. A batch is made by one thread and freed
/// by another, and eight arenas a core, which is the default, kept several batches each: a host that caught up with four
/// partitions of 300 MB (`it/memory`) took 620 to 670 MiB with them, and 420 MiB with two.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 2;

/// Has the heap keep no more than what a few threads at once need. To be called while there is one thread.
pub fn keep_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `mallopt` takes two numbers, and is called before there is another thread that allocates.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}
