//! The one place that chooses between the real primitives and loom's models of them.
//!
//! Everything that races imports from here, so a model runs the very code that ships. Our own cfg,
//! because plain `cfg(loom)` also changes dependencies.

#[cfg(not(tollgate_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(tollgate_loom))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};

#[cfg(tollgate_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(tollgate_loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};

/// Locks, whatever happened to a thread that held the lock before.
///
/// Everything a lock guards here is left valid at every step, so a panic elsewhere poisons nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}
