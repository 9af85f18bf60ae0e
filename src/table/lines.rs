//! Lines of slots: searched without a lock, claimed under a short one.
//!
//! A slot goes through these states and no others:
//!
//! ```text
//! EMPTY    tag 0, word absent            never used
//! LIVE     tag t, word of t              hits compare-and-swap the word
//! DEAD     tag t, word whose time is up  t may revive it in place, a claim may take it; if it is
//!                                        still to be written, only where nothing else is free
//! CLAIMED  tag old or new, marker word   between the steps of a claim, by the lock's holder
//! MOVED    tag t, another marker         for good: see `shard.rs`
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
//!
//! A word of no bits at all is no word: the tag counts as without a slot. So nobody ever swaps a
//! zero for something, and lines that were emptied can be swapped into by no one.

use std::ops::ControlFlow;

use super::layout::{Line, PROBE_LINES, SLOTS, Slot};
use crate::algorithm::Word;
use crate::key::Tag;
use crate::sync::Ordering;
use crate::time::Timestamp;

/// Where the search for a tag begins: the bits of the tag that chose its shard are no use here.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) tag: Tag,
    pub(super) shard_bits: u32,
}

/// The slot to claim for a tag.
pub(super) enum Choice<'a> {
    /// The tag has a slot already.
    Taken(&'a Slot),
    Free(&'a Slot, Word),
    None,
}

/// The lines that can hold what is wanted, home line first.
fn reach(lines: &[Line], wanted: Wanted) -> impl Iterator<Item = &Line> {
    let home = home_line(wanted.tag, wanted.shard_bits, lines.len());
    let (before, from) = lines.split_at(home);
    from.iter().chain(before).take(PROBE_LINES)
}

/// The line at which the search begins.
#[inline(always)]
pub(super) fn home(lines: &[Line], wanted: Wanted) -> Option<&Line> {
    lines.get(home_line(wanted.tag, wanted.shard_bits, lines.len()))
}

/// The tag's slot, and a word that was the tag's: loads only.
#[inline(always)]
pub(super) fn find(lines: &[Line], wanted: Wanted) -> Option<(&Slot, Word)> {
    match find_in(home(lines, wanted)?, wanted.tag) {
        ControlFlow::Break(found) => found,
        ControlFlow::Continue(()) => find_beyond(lines, wanted),
    }
}

/// The same of one line alone, and of the first slot in it that has the tag: none says nothing.
#[inline(always)]
pub(super) fn find_at(line: &Line, tag: Tag) -> Option<(&Slot, Word)> {
    let slot = first(line, places(&tags(line), tag))?;
    slot.word_of(tag).map(|word| (slot, word))
}

/// The same where the home line is full and the tag is not in it.
#[inline(never)]
fn find_beyond(lines: &[Line], wanted: Wanted) -> Option<(&Slot, Word)> {
    for line in reach(lines, wanted).skip(1) {
        if let ControlFlow::Break(found) = find_in(line, wanted.tag) {
            return found;
        }
    }
    None
}

/// Looks for the tag in one line; goes on if it may stand in the next.
///
/// All of the line is looked at, and then where the tag was: which slot it has is as good as drawn,
/// so a branch on it would be foreseen wrongly, and while the line is fetched the processor would
/// be busy with what is not going to happen instead of what comes next.
#[inline(always)]
fn find_in(line: &Line, tag: Tag) -> ControlFlow<Option<(&Slot, Word)>> {
    let tags = tags(line);
    let mut found = places(&tags, tag);
    while let Some(slot) = first(line, found) {
        if let Some(word) = slot.word_of(tag) {
            return ControlFlow::Break(Some((slot, word)));
        }
        found &= found - 1;
    }
    if tags.contains(&0) {
        return ControlFlow::Break(None);
    }
    ControlFlow::Continue(())
}

/// The tags that stand in a line.
#[inline(always)]
fn tags(line: &Line) -> [u64; SLOTS] {
    // Ordering: acquire, pairs with the release store of a tag in `claim`: whoever sees the tag
    // sees the marker or a later word, never the word before the claim. And in this order: slots
    // fill in it and never become empty again, so behind an empty one there was nothing yet.
    line.slots
        .each_ref()
        .map(|slot| slot.tag.load(Ordering::Acquire))
}

/// A bit for every place at which the tag stands.
#[inline(always)]
fn places(tags: &[u64; SLOTS], tag: Tag) -> usize {
    let tags = tags.iter().enumerate();
    tags.fold(0, |places, (place, seen)| {
        places | usize::from(*seen == tag.bits()) << place
    })
}

/// The slot at the first of these places.
#[inline(always)]
fn first(line: &Line, places: usize) -> Option<&Slot> {
    let place = usize::try_from(places.trailing_zeros()).unwrap_or_default();
    (places != 0).then(|| &line.slots[place % SLOTS])
}

/// The slot to claim: one left half-claimed by a killed process under this very tag, else the
/// first that is empty, dead, or half-claimed. Called under the lock.
///
/// A dead word that is still to be written comes last: it was reset or given back, and until the
/// journal has it, only it says that the journal's older record is over.
pub(super) fn choose(lines: &[Line], wanted: Wanted, now: Timestamp) -> Choice<'_> {
    let (mut free, mut unwritten) = (Choice::None, Choice::None);
    for line in reach(lines, wanted) {
        for slot in &line.slots {
            // Ordering: acquire on both, as in `find`; tags change only under our lock.
            let seen = slot.tag.load(Ordering::Acquire);
            let word = Word::from_bits(slot.word.load(Ordering::Acquire));
            if seen == wanted.tag.bits() {
                return if word.is_void() {
                    Choice::Free(slot, word)
                } else {
                    Choice::Taken(slot)
                };
            }
            let place = match word.is_dirty() {
                true => &mut unwritten,
                false => &mut free,
            };
            if matches!(place, Choice::None) && !word.is_live(now) {
                *place = Choice::Free(slot, word);
            }
            if seen == 0 {
                return free;
            }
        }
    }
    match free {
        Choice::None => unwritten,
        free => free,
    }
}

/// Every tag and word that stand in these lines, whatever their age.
pub(super) fn for_each(lines: &[Line], see: &mut dyn FnMut(Tag, Word)) {
    for slot in lines.iter().flat_map(|line| &line.slots) {
        // Ordering: acquire, as in `find`.
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

/// How many of a hundred slots hold a live word, by a look at some of the lines.
#[cfg(not(tollgate_loom))]
pub(super) fn live_percent(lines: &[Line], now: Timestamp) -> u64 {
    /// Lines looked at.
    // Bound: a thousand slots, so the answer is off by five at most once in a thousand times.
    const SOME: usize = 256;
    let step = lines.len().div_ceil(SOME).max(1);
    let (mut live, mut seen) = (0, 0);
    for slot in lines.iter().step_by(step).flat_map(|line| &line.slots) {
        // Ordering: relaxed; a number to go by.
        let word = Word::from_bits(slot.word.load(Ordering::Relaxed));
        live += u64::from(word.is_live(now));
        seen += 1;
    }
    live * 100 / seen.max(1)
}

impl Slot {
    /// The word, if the slot was `tag`'s before and after it was read, and it is a word at all.
    #[inline]
    fn word_of(&self, tag: Tag) -> Option<Word> {
        // Ordering: acquire, pairs with the release store of the word in `claim`: whoever sees a
        // new owner's word also sees the new owner's tag in the load below. And with the swap in
        // `Shard::carry`: whoever sees that a word has moved finds it where it is now.
        let word = Word::from_bits(self.word.load(Ordering::Acquire));
        // Ordering: acquire; it must not be satisfied before the load of the word above.
        let same = self.tag.load(Ordering::Acquire) == tag.bits();
        (same && !word.is_void()).then_some(word)
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
    pub(super) fn claim(&self, seen: Word, tag: Tag, word: Word) -> bool {
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

    /// True if no tag ever stood here.
    pub(super) fn is_unused(&self) -> bool {
        // Ordering: relaxed; tags change under the lock, and the caller has it.
        self.tag.load(Ordering::Relaxed) == 0
    }
}

/// The line at which the search for a tag begins, of so many in its shard.
pub(super) fn home_line(tag: Tag, shard_bits: u32, lines: usize) -> usize {
    // The bits that chose the shard are shifted out; the rest, as a fraction of their range,
    // picks the line. So with twice the lines each of them is split in two, and a shard is copied
    // into a larger one from front to back in both.
    let fraction = u64::from(tag.home() << shard_bits);
    usize::try_from((fraction * lines as u64) >> 32).unwrap_or(0)
}

/// Slots that so many lines have.
pub(super) fn slots(lines: usize) -> u64 {
    lines as u64 * SLOTS as u64
}
