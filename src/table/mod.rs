//! The table of counters: tags to words, lock-free to hit, bounded in memory.
//!
//! **Invariant:** a live counter is never thrown out; only words whose time is up make room.
//! **Invariant:** a hit takes no lock, allocates nothing and does no I/O.

mod claims;
#[cfg(not(tollgate_loom))]
pub(crate) mod file;
mod growth;
#[cfg(not(tollgate_loom))]
mod in_flight;
pub(crate) mod layout;
mod lines;
#[cfg(all(test, tollgate_loom))]
mod loom;
mod region;
mod room;
mod shard;
#[cfg(not(tollgate_loom))]
pub(crate) mod survey;
#[cfg(all(test, not(tollgate_loom)))]
mod tests;

#[cfg(not(tollgate_loom))]
pub(crate) use growth::Carried;
#[cfg(not(tollgate_loom))]
pub(crate) use in_flight::{InFlight, Position};
pub(crate) use region::Region;

use crate::algorithm::Word;
use crate::key::Tag;
use crate::prefetch::prefetch;
use crate::time::Timestamp;
use layout::{PROBE_LINES, Slot};
use lines::Wanted;
use room::{Room, Waiting};
use shard::{Insert, Shard, Want};

/// Shards of a table, a power of two: so many threads can insert at once.
pub(crate) const SHARDS: u32 = 16;

/// Slots used of a hundred when the table holds what it was made for.
const LOAD_PERCENT: u64 = 68;

/// Counters, found by tag.
pub(crate) struct Table {
    /// The one indirection: everything finds its shard here.
    shards: Box<[Shard]>,
    shard_bits: u32,
    room: Room,
}

/// What an update came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Update {
    /// The step was made on this word, and left this one.
    Done { before: Word, after: Word },
    /// The tag has no slot, and none in reach is free.
    Full,
}

/// Where a tag's word was found, and what it was; [`Word::ABSENT`] for a tag without a slot.
#[derive(Clone, Copy)]
pub(crate) struct Found<'t> {
    slot: Option<&'t Slot>,
    pub(crate) word: Word,
}

impl Found<'_> {
    /// What is found of a tag without a slot.
    #[cfg(all(test, not(tollgate_loom)))]
    pub(crate) const NOWHERE: Self = Self {
        slot: None,
        word: Word::ABSENT,
    };

    /// True if the tag has a slot.
    #[inline]
    pub(crate) fn has_slot(&self) -> bool {
        self.slot.is_some()
    }

    /// Puts `next` in the place of the word; false if there is none, or it has changed since.
    #[inline]
    pub(crate) fn replace(&self, next: Word) -> bool {
        self.slot.is_some_and(|slot| slot.swap(self.word, next))
    }
}

/// What became of a word that was to be put in another's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    Done,
    /// Another thread was faster: find it again.
    Raced,
    /// The tag has no slot, and none in reach is free.
    Full,
}

/// Which of two to the power of `shard_bits` shards a tag belongs to.
#[inline]
fn shard_number(tag: Tag, shard_bits: u32) -> usize {
    usize::try_from(u64::from(tag.home()) << shard_bits >> 32).unwrap_or(0)
}

/// Lines that each of `shards` shards needs for `counters` counters in all.
pub(crate) fn lines_per_shard(counters: u64, shards: u32) -> u64 {
    let slots = counters.saturating_mul(100).div_ceil(LOAD_PERCENT);
    let lines = slots
        .div_ceil(u64::from(shards))
        .div_ceil(layout::SLOTS as u64);
    lines.max(PROBE_LINES as u64)
}

impl Table {
    /// A table over these regions, one a shard, that stays as large as it is; their number is a
    /// power of two.
    pub(crate) fn new(regions: Vec<Region>) -> Self {
        Self::growing(
            regions.into_iter().map(|region| (region, None)).collect(),
            0,
        )
    }

    /// A table whose shards may grow up to so many lines each; those that were growing already
    /// come with the generation that they were growing into.
    pub(crate) fn growing(regions: Vec<(Region, Option<Region>)>, most_lines: u64) -> Self {
        debug_assert!(regions.len().is_power_of_two(), "shards are chosen by bits");
        let shard_bits = regions.len().trailing_zeros();
        let shards = regions.into_iter();
        Self {
            shards: shards.map(|(one, next)| Shard::new(one, next)).collect(),
            shard_bits,
            room: Room::new(usize::try_from(most_lines).unwrap_or(usize::MAX)),
        }
    }

    #[inline]
    fn shard(&self, tag: Tag) -> &Shard {
        &self.shards[shard_number(tag, self.shard_bits)]
    }

    #[inline]
    fn wanted(&self, tag: Tag) -> Wanted {
        Wanted {
            tag,
            shard_bits: self.shard_bits,
        }
    }

    /// The tag's word; absent if it has none. Loads only.
    #[inline]
    pub(crate) fn read(&self, tag: Tag) -> Word {
        match self.shard(tag).search(self.wanted(tag)) {
            Some((_, word)) => word,
            None => Word::ABSENT,
        }
    }

    /// Asks for the memory in which a tag is looked for first, so that it will be at hand.
    #[inline(always)]
    pub(crate) fn ask_for(&self, tag: Tag) {
        if let Some(home) = self.shard(tag).home(self.wanted(tag)) {
            prefetch(home);
        }
    }

    /// Finds the tag's word. Loads only.
    #[inline(always)]
    pub(crate) fn find(&self, tag: Tag) -> Found<'_> {
        let (slot, word) = self.shard(tag).search(self.wanted(tag)).unzip();
        let word = word.unwrap_or(Word::ABSENT);
        Found { slot, word }
    }

    /// Puts `next` in the place of what was found for the tag, if it is still there.
    #[inline]
    pub(crate) fn put(&self, tag: Tag, now: Timestamp, found: Found<'_>, next: Word) -> Put {
        match found.slot {
            Some(_) if found.replace(next) => Put::Done,
            Some(_) => Put::Raced,
            None => self.insert(tag, now, next),
        }
    }

    /// Puts `word` into a slot for the tag, which was found to have none.
    #[cold]
    fn insert(&self, tag: Tag, now: Timestamp, word: Word) -> Put {
        let shard = self.shard(tag);
        let mut waiting = Waiting::default();
        loop {
            match shard.insert(self.wanted(tag), now, word) {
                Insert::Done => return Put::Done,
                Insert::DoneAndPressing => {
                    self.want(shard, Want::Soon);
                    return Put::Done;
                }
                Insert::Exists => return Put::Raced,
                Insert::Full if self.is_making_room(shard, &mut waiting) => {}
                Insert::Full => return Put::Full,
            }
        }
    }

    /// Replaces the tag's word by what `step` makes of it; `None` leaves it as it is.
    ///
    /// `step` is called again whenever another thread was faster. It sees [`Word::ABSENT`] for a
    /// tag without a slot; what it makes of that is inserted.
    #[inline]
    pub(crate) fn update(
        &self,
        tag: Tag,
        now: Timestamp,
        mut step: impl FnMut(Word) -> Option<Word>,
    ) -> Update {
        loop {
            let found = self.find(tag);
            let before = found.word;
            let Some(after) = step(before) else {
                let after = before;
                return Update::Done { before, after };
            };
            match self.put(tag, now, found, after) {
                Put::Done => return Update::Done { before, after },
                Put::Raced => {}
                Put::Full => return Update::Full,
            }
        }
    }

    /// Calls for more room in a shard; false if there cannot be more.
    #[cold]
    fn want(&self, shard: &Shard, want: Want) -> bool {
        // While words move there is more when they have.
        let can_be = shard.is_growing() || self.room.next_lines(shard.last_lines()).is_some();
        if can_be && shard.note_want(want) {
            self.room.call();
        }
        can_be
    }

    /// Waits a little if room is being made for one that found none in this shard.
    #[cold]
    fn is_making_room(&self, shard: &Shard, waiting: &mut Waiting) -> bool {
        self.want(shard, Want::Now) && self.room.wait(waiting)
    }

    /// Replaces the word of a tag that has a slot by what `step` makes of it; gives the words
    /// before and after. A tag without a slot stays without: there is nothing to give back to.
    pub(crate) fn amend(
        &self,
        tag: Tag,
        mut step: impl FnMut(Word) -> Word,
    ) -> Option<(Word, Word)> {
        let shard = self.shard(tag);
        while let Some((slot, before)) = shard.search(self.wanted(tag)) {
            let after = step(before);
            if after == before || slot.swap(before, after) {
                return Some((before, after));
            }
        }
        None
    }

    /// Takes the dirty mark off the tag's word and gives the word; none if it is clean or gone.
    ///
    /// The mark goes and the word is read in one step, so a change is either in what is given, or
    /// it sets the mark again and tells of it.
    pub(crate) fn wash(&self, tag: Tag) -> Option<Word> {
        let (before, after) = self.amend(tag, Word::clean)?;
        before.is_dirty().then_some(after)
    }

    /// Every tag and word that stand in the table, whatever their age. Takes its time.
    pub(crate) fn for_each(&self, mut see: impl FnMut(Tag, Word)) {
        (0..self.shards.len()).for_each(|shard| self.for_each_of(shard, &mut see));
    }

    /// The same of one shard.
    pub(crate) fn for_each_of(&self, shard: usize, mut see: impl FnMut(Tag, Word)) {
        if let Some(shard) = self.shards.get(shard) {
            shard.for_each(self.shard_bits, &mut see);
        }
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Slots in the table.
    pub(crate) fn slots(&self) -> u64 {
        self.shards.iter().map(Shard::slots).sum()
    }
}

/// What the table is told of the world around it; it makes nothing of it.
#[cfg(not(tollgate_loom))]
impl Table {
    /// The regions of each shard that count: one, or two if it is growing.
    pub(crate) fn regions(&self) -> impl Iterator<Item = Vec<&Region>> {
        self.shards.iter().map(|shard| shard.regions().collect())
    }

    /// Lines of each shard.
    pub(crate) fn lines(&self) -> Vec<u64> {
        let lines = self.shards.iter().map(Shard::last_lines);
        lines.map(|lines| lines as u64).collect()
    }

    /// Waits until everything that stands in the table is in its files, on the disk.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.regions().flatten().try_for_each(Region::sync)
    }

    /// Puts a stamp on every shard.
    pub(crate) fn stamp(&self, stamp: u64) {
        let regions = self.regions().flatten();
        regions.for_each(|region| region.stamp(stamp));
    }

    /// Ends what is growing, when nobody uses the table; false if something finds no room.
    pub(crate) fn settle(&self) -> bool {
        self.growing_shards().into_iter().all(|mut carried| {
            // All of it, dead or alive: there is no clock yet.
            let ended = loop {
                match self.carry(&mut carried, Timestamp::EPOCH) {
                    false if carried.is_anew() => break false,
                    false => {}
                    true => break true,
                }
            };
            if ended {
                self.end(carried.shard());
            }
            ended
        })
    }

    /// Takes over all slots of a table of the same shape, place for place; neither is growing.
    /// Nobody else may use either meanwhile.
    pub(crate) fn copy_from(&self, other: &Self) {
        debug_assert_eq!(self.slots(), other.slots(), "place for place");
        for (to, from) in self.shards.iter().zip(&other.shards) {
            to.copy_from(from);
        }
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Table({} slots in {} shards)",
            self.slots(),
            self.shards.len()
        )
    }
}
