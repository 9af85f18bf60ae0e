//! A value in force: replaced now and then, read at every check without a lock.
//!
//! Every thread keeps its own reference and looks only at a number to see whether it is still the
//! one in force. A shared reference count would be written by every check of every thread.

#[cfg(all(test, tollgate_loom))]
mod loom;

use std::sync::atomic::AtomicU64 as Count;

use crate::sync::{Arc, AtomicU64, Mutex, Ordering, lock};

/// Values of one kind that a thread keeps at once. One more, and the eldest is fetched anew when
/// asked.
// Bound: an idle thread keeps at most so many replaced values in memory, until it reads or ends.
const KEPT: usize = 8;

/// A thread's own reference to a value: counting it disturbs no other thread.
pub(crate) type Own<T> = Arc<Arc<T>>;

/// What can be in force. A static cannot be generic, so each kind brings its own.
pub(crate) trait Keep: Sized + 'static {
    /// Calls `visit` with what this thread keeps of this kind.
    fn with_kept<R>(visit: impl FnOnce(&mut Vec<Kept<Self>>) -> R) -> R;
}

/// A value that a thread keeps, and when it was in force.
pub(crate) struct Kept<T> {
    cell: u64,
    generation: u64,
    value: Own<T>,
}

#[derive(Debug)]
pub(crate) struct InForce<T> {
    /// Tells this one from every other of the process.
    id: u64,
    generation: AtomicU64,
    current: Mutex<Arc<T>>,
}

impl<T: Keep> InForce<T> {
    pub(crate) fn new(value: T) -> Self {
        static NEXT: Count = Count::new(1);
        // Ordering: relaxed; the numbers only have to differ.
        let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self {
            id,
            generation: AtomicU64::new(1),
            current: Mutex::new(Arc::new(value)),
        }
    }

    /// Calls `read` with the value in force.
    #[inline]
    pub(crate) fn read<R>(&self, read: impl FnOnce(&Own<T>) -> R) -> R {
        // Ordering: acquire, pairs with the release in `replace`: who sees the number finds at
        // least that value behind the lock, and sees what was done before it was replaced.
        let generation = self.generation.load(Ordering::Acquire);
        T::with_kept(|kept| {
            let found = kept.iter().position(|one| one.cell == self.id);
            let place = match found {
                Some(place) if kept[place].generation == generation => place,
                _ => self.fetch(kept, found, generation),
            };
            read(&kept[place].value)
        })
    }

    /// Keeps the present value under the number that was read before it: it may be a later one's,
    /// and is fetched once more then; under a number read later an old value would stay.
    #[cold]
    fn fetch(&self, kept: &mut Vec<Kept<T>>, found: Option<usize>, generation: u64) -> usize {
        let value = Arc::new(self.current());
        let fresh = Kept {
            cell: self.id,
            generation,
            value,
        };
        if let Some(place) = found {
            kept[place] = fresh;
            return place;
        }
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(fresh);
        kept.len() - 1
    }

    /// The value in force, to keep.
    pub(crate) fn current(&self) -> Arc<T> {
        lock(&self.current).clone()
    }

    /// Replaces the value by what `next` makes of it, and gives both; an error leaves it in force.
    pub(crate) fn replace<E>(
        &self,
        next: impl FnOnce(&T) -> Result<T, E>,
    ) -> Result<Replaced<T>, E> {
        let mut current = lock(&self.current);
        let now = Arc::new(next(&current)?);
        let before = std::mem::replace(&mut *current, now.clone());
        // Ordering: release, pairs with the acquire in `read`.
        self.generation.fetch_add(1, Ordering::Release);
        Ok(Replaced { before, now })
    }
}

/// A value that was in force and the one that is in its place.
#[must_use]
pub(crate) struct Replaced<T> {
    pub(crate) before: Arc<T>,
    pub(crate) now: Arc<T>,
}
