//! The lock on what only one thread changes at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for it; a panic elsewhere does not make what it guards useless.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
