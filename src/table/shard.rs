//! One shard: lines of slots, found without a lock, claimed under a short one.
//!
//! A slot goes through these states and no others:
//!
//! ```text
//! EMPTY    tag 0, word absent            never used
//! LIVE     tag t, word of t              hits compare-and-swap the word
//! DEAD     tag t, word whose time is up  t may revive it in place, a claim may take it
//! CLAIMED  tag old or new, marker word   between the steps of a claim, by the lock's holder
//! ```
//!
//! A claim swaps the dead word for the marker, stores the new tag, then stores the new word. A hit
//! reads tag, word, tag. If it read a word that belongs to another tag, one of the two reads of
//! the tag shows it; if the slot was claimed after that, its compare-and-swap fails, because the
//! word it saw never comes back: a slot is claimed when that word's time is up, and every word put
//! there later dies later.
//!
//! A process killed between those steps leaves a marker behind. Nobody was told anything about
//! that slot yet, so the next claim that comes by takes it as free.

use super::layout::{Line, PROBE_LINES, SLOTS, Slot};
use super::region::Region;
use crate::algorithm::Word;
use crate::key::Tag;
use crate::sync::{Mutex, Ordering, lock};
use crate::time::Timestamp;

pub(super) struct Shard {
    region: Region,
    /// Held while a slot is claimed; never while one is only hit.
    claims: Mutex<()>,
}

/// What a search finds.
pub(super) enum Search<'a> {
    /// The tag's slot, and a word that was the tag's.
    Found(&'a Slot, Word),
    Missing,
}

/// What became of an insertion.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Insert {
    Done,
    /// Somebody else inserted the tag meanwhile.
    Exists,
    /// Every slot in reach is live.
    Full,
}

impl Shard {
    pub(super) fn new(region: Region) -> Self {
        Self {
            region,
            claims: Mutex::new(()),
        }
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    /// The lines that can hold `tag`, home line first.
    fn reach(&self, tag: Tag, shard_bits: u32) -> impl Iterator<Item = &Line> {
        let lines = self.region.lines();
        let (before, from) = lines.split_at(home_line(tag, shard_bits, lines.len()));
        from.iter().chain(before).take(PROBE_LINES)
    }

    /// Loads something from the tag's home line.
    #[inline]
    pub(super) fn touch(&self, tag: Tag, shard_bits: u32) -> u64 {
        let lines = self.region.lines();
        let home = lines.get(home_line(tag, shard_bits, lines.len()));
        // Ordering: relaxed; nothing is made of it.
        home.map_or(0, |line| line.slots[0].tag.load(Ordering::Relaxed))
    }

    /// Finds the tag's slot: loads only.
    #[inline]
    pub(super) fn search(&self, tag: Tag, shard_bits: u32) -> Search<'_> {
        for line in self.reach(tag, shard_bits) {
            for slot in &line.slots {
                // Ordering: acquire, pairs with the release store of a tag in `claim`: whoever
                // sees the tag sees the marker or a later word, never the word before the claim.
                let seen = slot.tag.load(Ordering::Acquire);
                if seen == tag.bits() {
                    if let Some(word) = slot.word_of(tag) {
                        return Search::Found(slot, word);
                    }
                } else if seen == 0 {
                    // Slots fill in this order and never become empty again.
                    return Search::Missing;
                }
            }
        }
        Search::Missing
    }

    /// Puts `word` into a slot for `tag`, if the tag has none.
    #[cold]
    pub(super) fn insert(&self, tag: Tag, shard_bits: u32, now: Timestamp, word: Word) -> Insert {
        let _claim = lock(&self.claims);
        loop {
            match self.choose(tag, shard_bits, now) {
                Choice::Taken => return Insert::Exists,
                Choice::None => return Insert::Full,
                Choice::Free(slot, seen) => {
                    if slot.claim(seen, tag, word) {
                        return Insert::Done;
                    }
                    // The owner revived the word between the look and the claim: look again.
                }
            }
        }
    }

    /// The slot to claim for `tag`: one left half-claimed by a killed process under this very
    /// tag, else the first that is empty, dead, or half-claimed. Called under the lock.
    fn choose(&self, tag: Tag, shard_bits: u32, now: Timestamp) -> Choice<'_> {
        let mut free = Choice::None;
        for line in self.reach(tag, shard_bits) {
            for slot in &line.slots {
                // Ordering: acquire on both, as in `search`; tags change only under our lock.
                let seen = slot.tag.load(Ordering::Acquire);
                let word = Word::from_bits(slot.word.load(Ordering::Acquire));
                if seen == tag.bits() {
                    return if word.is_marker() {
                        Choice::Free(slot, word)
                    } else {
                        Choice::Taken
                    };
                }
                if matches!(free, Choice::None) && !word.is_live(now) {
                    free = Choice::Free(slot, word);
                }
                if seen == 0 {
                    return free;
                }
            }
        }
        free
    }

    /// Every tag and word that stand in this shard, whatever their age.
    pub(super) fn for_each(&self, mut see: impl FnMut(Tag, Word)) {
        for line in self.region.lines() {
            for slot in &line.slots {
                // Ordering: acquire, as in `search`.
                let tag = slot.tag.load(Ordering::Acquire);
                if tag == 0 {
                    continue;
                }
                let tag = Tag::from_bits(tag);
                if let Some(word) = slot.word_of(tag) {
                    see(tag, word);
                }
            }
        }
    }

    /// Takes over what stands in a shard of as many lines, when nobody else uses either.
    #[cfg(not(tollgate_loom))]
    pub(super) fn copy_from(&self, other: &Self) {
        let pairs = self.region.lines().iter().zip(other.region.lines());
        for (to, from) in pairs.flat_map(|(to, from)| to.slots.iter().zip(&from.slots)) {
            for (to, from) in [(&to.tag, &from.tag), (&to.word, &from.word)] {
                // Ordering: relaxed, both; there is no other thread yet.
                let value = from.load(Ordering::Relaxed);
                // What is empty is so already, and its page need not be touched.
                if value != 0 {
                    to.store(value, Ordering::Relaxed);
                }
            }
        }
    }
}

enum Choice<'a> {
    /// The tag has a slot already.
    Taken,
    Free(&'a Slot, Word),
    None,
}

impl Slot {
    /// The word, if the slot was `tag`'s before and after it was read, and it is no marker.
    #[inline]
    fn word_of(&self, tag: Tag) -> Option<Word> {
        // Ordering: acquire, pairs with the release store of the word in `claim`: whoever sees a
        // new owner's word also sees the new owner's tag in the load below.
        let word = Word::from_bits(self.word.load(Ordering::Acquire));
        // Ordering: acquire; it must not be satisfied before the load of the word above.
        let same = self.tag.load(Ordering::Acquire) == tag.bits();
        (same && !word.is_marker()).then_some(word)
    }

    /// Replaces `seen` by `next`; false if the word has changed since.
    #[inline]
    pub(super) fn swap(&self, seen: Word, next: Word) -> bool {
        // Ordering: acquire-release. Release, so that who reads this word sees what its writer
        // saw; acquire, so that the writer of the next word has seen all before it. On failure
        // nothing was decided: the caller searches again.
        self.word
            .compare_exchange(
                seen.bits(),
                next.bits(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Takes the slot over for `tag`; false if its word is no longer `seen`. Under the lock.
    fn claim(&self, seen: Word, tag: Tag, word: Word) -> bool {
        // A marker found under the lock is a killed process's: its claim is ours to finish.
        if !seen.is_marker() && !self.swap(seen, Word::CLAIMED) {
            return false;
        }
        // Ordering: release, after the marker: who sees the new tag sees no old word under it.
        self.tag.store(tag.bits(), Ordering::Release);
        // Ordering: release, after the tag: who sees the new word sees whose it is.
        self.word.store(word.bits(), Ordering::Release);
        true
    }
}

/// The line at which the search for a tag begins, of so many in its shard.
pub(super) fn home_line(tag: Tag, shard_bits: u32, lines: usize) -> usize {
    // The bits that chose the shard are shifted out; the rest, as a fraction of their range,
    // picks the line. A shard with twice the lines splits each of them in two.
    let fraction = u64::from(tag.home() << shard_bits);
    usize::try_from((fraction * lines as u64) >> 32).unwrap_or(0)
}

/// Slots that so many lines have.
pub(super) fn slots(lines: usize) -> u64 {
    lines as u64 * SLOTS as u64
}
