//! What is noted of a value in force, for those who need no more of it than that.

use crate::sync::{AtomicU64, Mutex, Ordering, fence, lock};

/// `N` words that belong together, and to one of the values in force: written once for each, if at
/// all, and read without a lock and without the value.
#[derive(Debug)]
pub(crate) struct Note<const N: usize> {
    /// The value's number; zero while there is none, or the words change.
    number: AtomicU64,
    words: [AtomicU64; N],
    /// The latest number that was noted.
    last: Mutex<u64>,
}

impl<const N: usize> Note<N> {
    pub(crate) fn new() -> Self {
        Self {
            number: AtomicU64::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            last: Mutex::new(0),
        }
    }

    /// True if there seem to be words on the value of this number.
    #[inline(always)]
    pub(crate) fn is_of(&self, number: u64) -> bool {
        // Ordering: relaxed; who goes by it reads them by `read`.
        self.number.load(Ordering::Relaxed) == number
    }

    /// The words on the value of this number, if there are any.
    #[inline(always)]
    pub(crate) fn read(&self, number: u64) -> Option<[u64; N]> {
        // Ordering: acquire, pairs with the release that ends `write`: who sees the number sees
        // its words, or later ones, which the second look shows.
        if self.number.load(Ordering::Acquire) != number {
            return None;
        }
        // Ordering: relaxed; the number makes them belong together.
        let words = self
            .words
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed));
        // Ordering: the fence keeps the loads above before the look below.
        fence(Ordering::Acquire);
        (self.number.load(Ordering::Relaxed) == number).then_some(words)
    }

    /// Notes the words on the value of this number, at least 1, unless some of that or of a later
    /// one were noted before. So no number ever stands for two sets of words.
    #[cold]
    pub(crate) fn write(&self, number: u64, words: [u64; N]) {
        let mut last = lock(&self.last);
        if number <= *last {
            return;
        }
        *last = number;
        // Ordering: relaxed, and a release fence behind it: who sees one of the words stored
        // below sees that the number before no longer stands.
        self.number.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        for (place, word) in self.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        // Ordering: release, as in `read`.
        self.number.store(number, Ordering::Release);
    }
}
