//! Which counters were reset, and when: what was taken before is forgotten, and a refund of it must
//! not give back what others have taken since.

use std::collections::HashMap;

use crate::key::Tag;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::time::Timestamp;

/// Resets that are remembered one by one.
// Bound: beyond it all counters count as reset at the latest of them. Then some refunds give
// nothing back, and too much is counted, never too little.
const RESETS_MAX: usize = 1 << 16;

/// The resets of this process. Refunds do not outlive it.
#[derive(Default)]
pub(super) struct Resets {
    /// The latest of all, in nanoseconds: most refunds need to know no more.
    latest: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_tag: HashMap<Tag, Timestamp>,
    /// Every counter counts as reset then.
    all: Timestamp,
}

impl Resets {
    /// Notes that the counter of `tag` was reset at `at`.
    pub(super) fn note(&self, tag: Tag, at: Timestamp) {
        let mut known = lock(&self.known);
        if known.by_tag.len() >= RESETS_MAX && !known.by_tag.contains_key(&tag) {
            let latest = known.by_tag.values().copied().max();
            known.all = known.all.max(latest.unwrap_or_default());
            known.by_tag.clear();
        }
        let noted = known.by_tag.entry(tag).or_default();
        *noted = at.max(*noted);
        // Ordering: release, pairs with the acquire below, and before the word is amended: who
        // finds the counter reset finds this.
        self.latest.fetch_max(at.as_nanos(), Ordering::AcqRel);
    }

    /// True if the counter of `tag` was reset after `taken`.
    pub(super) fn is_after(&self, tag: Tag, taken: Timestamp) -> bool {
        // Ordering: acquire, as above.
        if self.latest.load(Ordering::Acquire) <= taken.as_nanos() {
            return false;
        }
        let known = lock(&self.known);
        let reset = known.by_tag.get(&tag).copied().unwrap_or_default();
        reset.max(known.all) > taken
    }
}

#[cfg(all(test, not(tollgate_loom)))]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn what_was_taken_before_a_reset_is_told_from_what_came_after() {
        let resets = Resets::default();
        let [one, other] = [4, 8].map(Tag::from_bits);
        assert!(!resets.is_after(one, at(0)));
        resets.note(one, at(10));
        assert!(resets.is_after(one, at(9)) && !resets.is_after(one, at(10)));
        assert!(!resets.is_after(other, at(9)));
        resets.note(one, at(5));
        assert!(resets.is_after(one, at(9)), "the latest counts");
    }

    #[test]
    fn beyond_the_bound_too_many_count_as_reset_and_never_too_few() {
        let resets = Resets::default();
        let tag = |number: u64| Tag::from_bits((number + 1) << 2);
        let count = RESETS_MAX as u64 + 1;
        (0..count).for_each(|number| resets.note(tag(number), at(number)));
        assert!(lock(&resets.known).by_tag.len() <= RESETS_MAX);
        assert!((1..count).all(|number| resets.is_after(tag(number), at(number - 1))));
        assert!(!resets.is_after(tag(7), at(count)));
    }
}
