//! One shard, generation by generation: it is replaced by a larger one while it is in use.
//!
//! Lines of slots are a *generation*. At most two count: the one that was, and the next one while
//! words move there. Where a tag's word is, is decided by the older: as long as its slot there
//! holds a word, that is the word. Only if there is none, or the marker MOVED, the next one counts.
//!
//! ```text
//! begin    the next generation is shown; from now on new tags go there, and nowhere else
//! carry    slot by slot: its word is written to the next generation, where nobody looks for it
//!          yet; then a compare-and-swap puts MOVED in its place. If the word has changed since,
//!          it is written anew.
//! end      all slots have moved: the next generation is the only one
//! retire   the older one gives its memory back; it reads as empty from then on
//! ```
//!
//! So a word is in force in one place only, at every instant, and a kill at any of them leaves
//! what the next opener goes on from.
//!
//! Who reads goes by the span that he loaded first. If that was long ago, he may look into a
//! generation that has moved or was emptied, and find nothing there: he looks at the span again
//! before he believes that there is nothing.

use std::sync::OnceLock;

use super::Region;
use super::claims::{ClaimLock, Claims};
use super::layout::{Line, Slot};
use super::lines::{self, Choice, Wanted};
use crate::algorithm::Word;
use crate::key::Tag;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Timestamp;

/// Generations of a shard in the life of a process.
// Bound: from the fewest lines to the most a directory can be made for it doubles twenty times.
// Each stays mapped, the older ones without memory: twice the address space of the last.
const GENERATIONS: usize = 24;

/// Slots used of a hundred at which a shard wants to be larger.
const GROW_PERCENT: u64 = 60;

/// Slots of a hundred that are used or kept at most while words move: who comes then finds no more.
// Bound: with so many used a tag finds no slot in reach once in ten billion times. Newcomers who
// took the room of what moves would end the growth for good.
const KEEP_PERCENT: u64 = 75;

pub(super) struct Shard {
    /// Which generations count, see [`Span`].
    span: AtomicU64,
    generations: [OnceLock<Region>; GENERATIONS],
    /// How much it wants to be larger, see [`Want`].
    want: AtomicU64,
    /// Held while a slot is claimed or moved; never while one is only hit.
    claims: ClaimLock,
}

/// The generations that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    /// The older of them, or the only one.
    first: usize,
    /// True if words are on the way from it to the one after it.
    is_growing: bool,
}

/// How much a shard wants to be larger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u64)]
pub(super) enum Want {
    Nothing = 0,
    /// Most of the slots were used, if perhaps by words that have died.
    Soon = 1,
    /// A tag found no slot.
    Now = 2,
}

/// What became of an insertion.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Insert {
    Done,
    /// Done, and so many slots are used that the shard should grow.
    DoneAndPressing,
    /// Somebody else inserted the tag meanwhile.
    Exists,
    /// Every slot in reach is live.
    Full,
}

impl Span {
    fn decode(bits: u64) -> Self {
        Self {
            first: usize::try_from(bits >> 1).unwrap_or(GENERATIONS),
            is_growing: bits & 1 == 1,
        }
    }

    fn encode(self) -> u64 {
        (self.first as u64) << 1 | u64::from(self.is_growing)
    }

    /// The one that new tags go to.
    fn last(self) -> usize {
        self.first + usize::from(self.is_growing)
    }
}

impl Shard {
    /// A shard of this generation, and of the next one if it was growing into that.
    pub(super) fn new(region: Region, next: Option<Region>) -> Self {
        let span = Span {
            first: 0,
            is_growing: next.is_some(),
        };
        let to_move = next.as_ref().map_or(0, |_| region.used());
        let regions = [Some(region), next].into_iter().flatten();
        let mut regions = regions.map(OnceLock::from);
        Self {
            span: AtomicU64::new(span.encode()),
            generations: std::array::from_fn(|_| regions.next().unwrap_or_default()),
            want: AtomicU64::new(Want::Nothing as u64),
            claims: ClaimLock::new(Claims { to_move }),
        }
    }

    #[inline]
    fn span(&self) -> Span {
        // Ordering: acquire, pairs with the releases in `begin` and `end`: whoever sees a
        // generation counts finds it made, and finds there all that moved there before.
        Span::decode(self.span.load(Ordering::Acquire))
    }

    #[inline]
    fn region(&self, number: usize) -> Option<&Region> {
        self.generations.get(number)?.get()
    }

    #[inline]
    fn lines(&self, number: usize) -> &[Line] {
        self.region(number).map_or(&[], Region::lines)
    }

    /// The tag's home line.
    #[inline(always)]
    pub(super) fn home(&self, wanted: Wanted) -> Option<&Line> {
        lines::home(self.lines(self.span().first), wanted)
    }

    /// Finds the tag's slot, and a word that was the tag's: loads only.
    #[inline(always)]
    pub(super) fn search(&self, wanted: Wanted) -> Option<(&Slot, Word)> {
        let home = self.home(wanted);
        match home.and_then(|home| lines::find_at(home, wanted.tag)) {
            None => self.search_all(wanted),
            found => found,
        }
    }

    /// The same, wherever the slot may be: what most searches do not come to.
    #[inline(never)]
    pub(super) fn search_all(&self, wanted: Wanted) -> Option<(&Slot, Word)> {
        let span = self.span();
        match lines::find(self.lines(span.first), wanted) {
            None => self.search_on(wanted, span),
            found => found,
        }
    }

    /// The same where the older of the generations that `span` names was found not to have it.
    fn search_on(&self, wanted: Wanted, mut span: Span) -> Option<(&Slot, Word)> {
        loop {
            if span.is_growing
                && let Some(found) = lines::find(self.lines(span.last()), wanted)
            {
                return Some(found);
            }
            // It may have moved on, or what was searched been emptied, before it was searched.
            let again = self.span();
            if again == span {
                return None;
            }
            span = again;
            if let Some(found) = lines::find(self.lines(span.first), wanted) {
                return Some(found);
            }
        }
    }

    /// Puts `word` into a slot for the tag, if it has none.
    #[cold]
    pub(super) fn insert(&self, wanted: Wanted, now: Timestamp, word: Word) -> Insert {
        let claims = self.claims.try_and_lock();
        // It changes under our lock only.
        let span = self.span();
        if span.is_growing && lines::find(self.lines(span.first), wanted).is_some() {
            return Insert::Exists;
        }
        let Some(region) = self.region(span.last()) else {
            return Insert::Full;
        };
        loop {
            match lines::choose(region.lines(), wanted, now) {
                Choice::Taken(_) => return Insert::Exists,
                Choice::None => return Insert::Full,
                Choice::Free(slot, seen) => {
                    let is_new = slot.is_unused();
                    if is_new && span.is_growing && !has_room(region, claims.to_move) {
                        return Insert::Full;
                    }
                    if slot.claim(seen, wanted.tag, word) {
                        let is_pressing = is_new && note_used(region);
                        return if is_pressing {
                            Insert::DoneAndPressing
                        } else {
                            Insert::Done
                        };
                    }
                    // The owner revived the word between the look and the claim: look again.
                }
            }
        }
    }

    /// Every tag and word that stand in this shard, whatever their age. One that moves meanwhile
    /// may be shown twice, the later word last.
    pub(super) fn for_each(&self, shard_bits: u32, see: &mut dyn FnMut(Tag, Word)) {
        let mut number = self.span().first;
        lines::for_each(self.lines(number), see);
        // What moves in the meantime is met in the next generation: it stands there before it
        // goes here.
        while number < self.span().last() {
            let older = self.lines(number);
            number += 1;
            let newer = self.lines(number);
            lines::for_each(newer, &mut |tag, _| {
                let wanted = Wanted { tag, shard_bits };
                // What has not moved yet may stand here in an earlier state: first it is looked
                // for there, and then read.
                if lines::find(older, wanted).is_none()
                    && let Some((_, word)) = lines::find(newer, wanted)
                {
                    see(tag, word);
                }
            });
        }
    }

    /// Slots that tags go to.
    pub(super) fn slots(&self) -> u64 {
        lines::slots(self.last_lines())
    }

    /// True while words move.
    pub(super) fn is_growing(&self) -> bool {
        self.span().is_growing
    }

    /// Lines of the generation that tags go to.
    pub(super) fn last_lines(&self) -> usize {
        self.lines(self.span().last()).len()
    }

    /// Notes that it wants to be larger; true if that is news.
    #[cold]
    pub(super) fn note_want(&self, want: Want) -> bool {
        // Ordering: relaxed; a hint, and the thread that acts on it looks for itself.
        self.want.fetch_max(want as u64, Ordering::Relaxed) < want as u64
    }
}

/// Whether it should grow, and what the thread is told that sees to it.
#[cfg(not(tollgate_loom))]
impl Shard {
    /// The generations that count, the older first.
    pub(super) fn regions(&self) -> impl Iterator<Item = &Region> {
        let span = self.span();
        (span.first..=span.last()).filter_map(|number| self.region(number))
    }

    /// True if it wants to be larger, for all it knows.
    pub(super) fn has_want(&self) -> bool {
        // Ordering: relaxed, as in `note_want`.
        self.want.load(Ordering::Relaxed) != Want::Nothing as u64
    }

    /// True if somebody has found no slot in it since it was asked last.
    pub(super) fn is_waited_for(&self) -> bool {
        // Ordering: relaxed, as in `note_want`.
        self.want.load(Ordering::Relaxed) == Want::Now as u64
    }

    /// How much it wants to be larger, asked at `now`; the wish is struck out. What was used by
    /// words that are dead now is used again in place, and needs no other.
    pub(super) fn take_want(&self, now: Timestamp) -> Want {
        // Ordering: relaxed, as in `note_want`.
        let want = self.want.swap(Want::Nothing as u64, Ordering::Relaxed);
        let span = self.span();
        let Some(region) = self.region(span.first).filter(|_| !span.is_growing) else {
            return Want::Nothing;
        };
        if want == Want::Now as u64 {
            return Want::Now;
        }
        let is_used = region.used() >= pressing(region.lines());
        // A sample: it may be short of what is used by some.
        if is_used && lines::live_percent(region.lines(), now) >= GROW_PERCENT * 5 / 6 {
            Want::Soon
        } else {
            Want::Nothing
        }
    }
}

/// How it grows. One thread does that; those that check go on meanwhile.
impl Shard {
    /// Lines of the generation that words move from.
    pub(super) fn first_lines(&self) -> usize {
        self.lines(self.span().first).len()
    }

    /// Shows the next generation, which is empty: from now on new tags go there. False if there
    /// can be no more.
    pub(super) fn begin(&self, next: Region) -> bool {
        let mut claims = self.claims.lock();
        let span = self.span();
        let next_span = Span {
            is_growing: true,
            ..span
        };
        let place = self.generations.get(next_span.last());
        if span.is_growing || place.is_none_or(|place| place.set(next).is_err()) {
            return false;
        }
        claims.to_move = self.region(span.first).map_or(0, Region::used);
        self.set_span(next_span);
        true
    }

    /// Moves what stands in `some` lines from number `from` on to the next generation. False if
    /// something found no room there.
    pub(super) fn carry(&self, from: usize, some: usize, shard_bits: u32, now: Timestamp) -> bool {
        let span = self.span();
        let Some(next) = self.region(span.last()).filter(|_| span.is_growing) else {
            return true;
        };
        if from == 0 {
            let used = self.region(span.first).map_or(0, Region::used);
            self.claims.lock().to_move = used;
        }
        let mut all = true;
        for line in self.lines(span.first).iter().skip(from).take(some) {
            // Line by line: who waits for the lock is a check.
            let mut claims = self.claims.lock();
            for slot in &line.slots {
                all &= carry_slot(slot, next, shard_bits, now);
                claims.to_move = claims.to_move.saturating_sub(u64::from(!slot.is_unused()));
            }
            drop(claims);
            self.claims.let_in();
        }
        all
    }

    /// Lets the next generation alone count; everything has moved there.
    pub(super) fn end(&self) {
        let _claim = self.claims.lock();
        let span = self.span();
        self.set_span(Span {
            first: span.last(),
            is_growing: false,
        });
        // What was called for meanwhile was not heard.
        if let Some(region) = self.region(span.last())
            && region.used() >= pressing(region.lines())
        {
            self.note_want(Want::Soon);
        }
    }

    /// Gives the memory of the generation before this one back.
    pub(super) fn retire(&self) -> std::io::Result<()> {
        let before = self.span().first.checked_sub(1);
        match before.and_then(|number| self.region(number)) {
            Some(region) => region.retire(),
            None => Ok(()),
        }
    }

    fn set_span(&self, span: Span) {
        // Ordering: release, after all that was done to the generations it names.
        self.span.store(span.encode(), Ordering::Release);
    }
}

/// True if the next generation has room for a newcomer beside what is still to move there.
fn has_room(next: &Region, to_move: u64) -> bool {
    let most = lines::slots(next.lines().len()) * KEEP_PERCENT / 100;
    next.used().saturating_add(to_move) < most
}

/// How many slots of so many lines may be used before there should be more.
fn pressing(lines: &[Line]) -> u64 {
    lines::slots(lines.len()) * GROW_PERCENT / 100
}

/// Counts a slot that was never used before; true if it is the one at which the shard should grow.
/// Under the lock.
fn note_used(region: &Region) -> bool {
    let used = region.used() + 1;
    region.set_used(used);
    used == pressing(region.lines())
}

/// Moves a slot's word to `next`; false if there is no room for it. Under the lock.
fn carry_slot(slot: &Slot, next: &Region, shard_bits: u32, now: Timestamp) -> bool {
    // Ordering: relaxed; tags change under the lock.
    let tag = slot.tag.load(Ordering::Relaxed);
    if tag == 0 {
        return true;
    }
    let tag = Tag::from_bits(tag);
    loop {
        // Ordering: acquire, as in `find`.
        let word = Word::from_bits(slot.word.load(Ordering::Acquire));
        if word == Word::MOVED {
            return true;
        }
        // A marker was left by a process that was killed: nobody was told of that slot.
        if !word.is_void() && !put(next, Wanted { tag, shard_bits }, now, word) {
            return false;
        }
        // Acquire-release: who meets the marker finds the word; who was faster is seen.
        if slot.swap(word, Word::MOVED) {
            return true;
        }
    }
}

/// Writes a word where nobody looks for it yet; a dead one only over one that stands there, or if
/// it is still to be written. False if there is no room for one that lives. Under the lock.
fn put(next: &Region, wanted: Wanted, now: Timestamp, word: Word) -> bool {
    loop {
        match lines::choose(next.lines(), wanted, now) {
            Choice::Taken(slot) => {
                // Ordering: release, as in `claim`; nobody else changes it before it is in force.
                slot.word.store(word.bits(), Ordering::Release);
                return true;
            }
            Choice::None => return !word.is_live(now),
            Choice::Free(..) if !word.is_live(now) && !word.is_dirty() => return true,
            Choice::Free(slot, seen) => {
                let is_new = slot.is_unused();
                if slot.claim(seen, wanted.tag, word) {
                    if is_new {
                        note_used(next);
                    }
                    return true;
                }
            }
        }
    }
}

/// What is done while nobody else uses the shard.
#[cfg(not(tollgate_loom))]
impl Shard {
    /// Takes over what stands in a shard of as many lines that is not growing.
    pub(super) fn copy_from(&self, other: &Self) {
        for (to, from) in self.regions().zip(other.regions()) {
            let pairs = to.lines().iter().zip(from.lines());
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
            to.set_used(from.used());
        }
    }
}
