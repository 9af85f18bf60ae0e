//! A value in force: replaced now and then, read at every check without a lock.
//!
//! Every thread keeps its own reference and looks only at a number to see whether it is still the
//! one in force. A shared reference count would be written by every check of every thread.

#[cfg(all(test, tollgate_loom))]
mod loom;

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::sync::atomic::AtomicU64 as Count;

use crate::sync::{Arc, AtomicU64, Mutex, Ordering, lock};

/// Values of one kind that a thread keeps at once. One more, and the one that was asked for
/// least lately goes.
// Bound: an idle thread keeps at most so many replaced values in memory, until it reads or ends.
const KEPT: usize = 8;

/// A thread's own reference to a value: counting it disturbs no other thread.
pub(crate) type Own<T> = Arc<Kept<T>>;

/// A value that a thread keeps.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    /// Whose value it is, and which one of all that were in force there.
    cell: u64,
    generation: u64,
    value: Arc<T>,
}

impl<T> Deref for Kept<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

/// What can be in force. A static cannot be generic, so each kind brings its own.
pub(crate) trait Keep: Sized + 'static {
    /// Calls `visit` with what this thread keeps of this kind.
    fn with_keeping<R>(visit: impl FnOnce(&Keeping<Self>) -> R) -> R;
}

/// What a thread keeps of one kind.
pub(crate) struct Keeping<T> {
    /// What it asked for last; none while that is in use.
    last: Cell<Option<Own<T>>>,
    /// What it asked for before, the latest last.
    others: RefCell<Vec<Own<T>>>,
}

impl<T> Kept<T> {
    #[inline(always)]
    fn is(&self, cell: u64, generation: u64) -> bool {
        self.cell == cell && self.generation == generation
    }
}

impl<T> Keeping<T> {
    pub(crate) const fn new() -> Self {
        Self {
            last: Cell::new(None),
            others: RefCell::new(Vec::new()),
        }
    }

    /// Takes out what was asked for last, if it is this.
    #[inline(always)]
    fn take(&self, cell: u64, generation: u64) -> Option<Own<T>> {
        let last = self.last.take()?;
        if last.is(cell, generation) {
            return Some(last);
        }
        self.put_aside(last);
        None
    }

    /// Puts in what was asked for last.
    #[inline(always)]
    fn put(&self, value: Own<T>) {
        if let Some(before) = self.last.replace(Some(value)) {
            self.put_aside(before);
        }
    }

    #[cold]
    #[inline(never)]
    fn put_aside(&self, value: Own<T>) {
        let mut others = self.others.borrow_mut();
        others.retain(|other| other.cell != value.cell);
        if others.len() == KEPT - 1 {
            others.remove(0);
        }
        others.push(value);
    }

    /// Takes out what was put aside, if it is this.
    fn take_aside(&self, cell: u64, generation: u64) -> Option<Own<T>> {
        let mut others = self.others.borrow_mut();
        let place = others.iter().position(|other| other.is(cell, generation))?;
        Some(others.remove(place))
    }
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

    /// Calls `visit` with this thread's own reference to the value in force. That is taken out of
    /// what the thread keeps meanwhile, so nothing stands in the way of reading while it is read.
    #[inline(always)]
    pub(crate) fn with<R>(&self, visit: impl FnOnce(&Own<T>) -> R) -> R {
        let generation = self.number();
        let own = match T::with_keeping(|keeping| keeping.take(self.id, generation)) {
            Some(own) => own,
            None => self.find(generation),
        };
        let result = visit(&own);
        T::with_keeping(|keeping| keeping.put(own));
        result
    }

    /// This thread's own reference to the value in force.
    #[inline]
    pub(crate) fn read(&self) -> Own<T> {
        self.with(Own::clone)
    }

    /// The value in force, where it is not what was asked for last.
    #[cold]
    #[inline(never)]
    fn find(&self, generation: u64) -> Own<T> {
        let aside = T::with_keeping(|keeping| keeping.take_aside(self.id, generation));
        // The present value under the number that was read before it: it may be a later one's, and
        // is fetched once more then; under a number read later an old value would stay.
        aside.unwrap_or_else(|| {
            Arc::new(Kept {
                cell: self.id,
                generation,
                value: self.current(),
            })
        })
    }

    /// Which of all that were in force here this is: 1, and with every replacement one more.
    #[inline(always)]
    pub(crate) fn number(&self) -> u64 {
        // Ordering: acquire, pairs with the release in `replace`: who sees the number finds at
        // least that value behind the lock, and sees what was done before it was replaced.
        self.generation.load(Ordering::Acquire)
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
        // Ordering: release, pairs with the acquire in `number`.
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
