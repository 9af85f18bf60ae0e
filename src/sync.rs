//! The one place that chooses between the real primitives and loom's models of them.
//!
//! Everything that races imports from here, so a model runs the very code that ships. Our own cfg,
//! because plain `cfg(loom)` also changes dependencies.

use std::time::Duration;

#[cfg(not(tollgate_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(tollgate_loom))]
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
#[cfg(not(tollgate_loom))]
pub(crate) use std::thread;

#[cfg(tollgate_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(tollgate_loom)]
pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
#[cfg(tollgate_loom)]
pub(crate) use loom::thread;

/// Locks, whatever happened to a thread that held the lock before.
///
/// Everything a lock guards here is left valid at every step, so a panic elsewhere poisons nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// The lock, if nobody holds it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}

/// Starts a thread of that name.
///
/// # Errors
/// If the system gives none.
pub(crate) fn spawn(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(run)
}

/// Lets another thread run.
pub(crate) fn yield_now() {
    thread::yield_now();
}

/// Waits for the bell, or no longer than `limit` where one is given; may also wake for no reason.
pub(crate) fn wait<'a, T>(
    bell: &Condvar,
    guard: MutexGuard<'a, T>,
    limit: Option<Duration>,
) -> MutexGuard<'a, T> {
    match limit {
        None => match bell.wait(guard) {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        },
        Some(limit) => match bell.wait_timeout(guard, limit) {
            Ok((guard, _)) => guard,
            Err(poisoned) => poisoned.into_inner().0,
        },
    }
}

/// Parks this thread, no longer than `limit` where one is given; may also wake for no reason.
///
/// Models have no time: there it waits to be unparked.
pub(crate) fn park(limit: Option<Duration>) {
    match limit {
        #[cfg(not(tollgate_loom))]
        Some(limit) => thread::park_timeout(limit),
        _ => thread::park(),
    }
}

/// A bounded queue that never waits: crossbeam's, or for models a locked one of the same shape.
#[cfg(not(tollgate_loom))]
pub(crate) type Queue<T> = crossbeam_queue::ArrayQueue<T>;

#[cfg(tollgate_loom)]
pub(crate) use model_queue::Queue;

#[cfg(tollgate_loom)]
mod model_queue {
    use std::collections::VecDeque;

    /// What `ArrayQueue` promises, and no more: loom cannot see inside that one.
    #[derive(Debug)]
    pub(crate) struct Queue<T> {
        items: super::Mutex<VecDeque<T>>,
        capacity: usize,
    }

    impl<T> Queue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            Self {
                items: super::Mutex::new(VecDeque::new()),
                capacity,
            }
        }

        pub(crate) fn push(&self, item: T) -> Result<(), T> {
            let mut items = super::lock(&self.items);
            if items.len() == self.capacity {
                return Err(item);
            }
            items.push_back(item);
            Ok(())
        }

        pub(crate) fn pop(&self) -> Option<T> {
            super::lock(&self.items).pop_front()
        }

        pub(crate) fn len(&self) -> usize {
            super::lock(&self.items).len()
        }
    }
}
