//! The table of counters: tags to words, lock-free to hit, bounded in memory.
//!
//! **Invariant:** a live counter is never thrown out; only words whose time is up make room.
//! **Invariant:** a hit takes no lock, allocates nothing and does no I/O.

#[cfg(not(tollgate_loom))]
pub(crate) mod file;
#[cfg(not(tollgate_loom))]
mod in_flight;
pub(crate) mod layout;
#[cfg(all(test, tollgate_loom))]
mod loom;
mod region;
mod shard;
#[cfg(not(tollgate_loom))]
pub(crate) mod survey;
#[cfg(all(test, not(tollgate_loom)))]
mod tests;

#[cfg(not(tollgate_loom))]
pub(crate) use in_flight::{InFlight, Position};
pub(crate) use region::Region;

use crate::algorithm::Word;
use crate::key::Tag;
use crate::time::Timestamp;
use layout::{PROBE_LINES, Slot};
use shard::{Insert, Search, Shard};

/// Shards of a table, a power of two: so many threads can insert at once.
pub(crate) const SHARDS: u32 = 16;

/// Slots used of a hundred when the table holds what it was made for.
const LOAD_PERCENT: u64 = 67;

/// Counters, found by tag.
pub(crate) struct Table {
    /// The one indirection: everything finds its shard here.
    shards: Box<[Shard]>,
    shard_bits: u32,
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
    /// A table over these regions, one a shard; their number is a power of two.
    pub(crate) fn new(regions: Vec<Region>) -> Self {
        debug_assert!(regions.len().is_power_of_two(), "shards are chosen by bits");
        let shard_bits = regions.len().trailing_zeros();
        Self {
            shards: regions.into_iter().map(Shard::new).collect(),
            shard_bits,
        }
    }

    #[inline]
    fn shard(&self, tag: Tag) -> &Shard {
        &self.shards[shard_number(tag, self.shard_bits)]
    }

    /// The tag's word; absent if it has none. Loads only.
    #[inline]
    pub(crate) fn read(&self, tag: Tag) -> Word {
        match self.shard(tag).search(tag, self.shard_bits) {
            Search::Found(_, word) => word,
            Search::Missing => Word::ABSENT,
        }
    }

    /// Loads something from where the search for a tag begins, so that it will be at hand. What is
    /// given means nothing, but that the load cannot be left out.
    #[inline]
    pub(crate) fn touch(&self, tag: Tag) -> u64 {
        self.shard(tag).touch(tag, self.shard_bits)
    }

    /// Finds the tag's word. Loads only.
    #[inline]
    pub(crate) fn find(&self, tag: Tag) -> Found<'_> {
        match self.shard(tag).search(tag, self.shard_bits) {
            Search::Found(slot, word) => Found {
                slot: Some(slot),
                word,
            },
            Search::Missing => Found {
                slot: None,
                word: Word::ABSENT,
            },
        }
    }

    /// Puts `next` in the place of what was found for the tag, if it is still there.
    #[inline]
    pub(crate) fn put(&self, tag: Tag, now: Timestamp, found: Found<'_>, next: Word) -> Put {
        match found.slot {
            Some(slot) if slot.swap(found.word, next) => Put::Done,
            Some(_) => Put::Raced,
            None => self.put_first(tag, now, next),
        }
    }

    #[cold]
    fn put_first(&self, tag: Tag, now: Timestamp, next: Word) -> Put {
        let first = |word: Word| word.is_absent().then_some(next);
        match self.update(tag, now, first) {
            Update::Done { before, .. } if before.is_absent() => Put::Done,
            Update::Done { .. } => Put::Raced,
            Update::Full => Put::Full,
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
        let shard = self.shard(tag);
        loop {
            match shard.search(tag, self.shard_bits) {
                Search::Found(slot, before) => match step(before) {
                    None => {
                        return Update::Done {
                            before,
                            after: before,
                        };
                    }
                    Some(after) if slot.swap(before, after) => {
                        return Update::Done { before, after };
                    }
                    Some(_) => {}
                },
                Search::Missing => {
                    let before = Word::ABSENT;
                    let Some(after) = step(before) else {
                        return Update::Done {
                            before,
                            after: before,
                        };
                    };
                    match shard.insert(tag, self.shard_bits, now, after) {
                        Insert::Done => return Update::Done { before, after },
                        Insert::Full => return Update::Full,
                        Insert::Exists => {}
                    }
                }
            }
        }
    }

    /// Replaces the word of a tag that has a slot by what `step` makes of it; gives the words
    /// before and after. A tag without a slot stays without: there is nothing to give back to.
    pub(crate) fn amend(
        &self,
        tag: Tag,
        mut step: impl FnMut(Word) -> Word,
    ) -> Option<(Word, Word)> {
        let shard = self.shard(tag);
        while let Search::Found(slot, before) = shard.search(tag, self.shard_bits) {
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
        for shard in &self.shards {
            shard.for_each(&mut see);
        }
    }

    /// Slots in the table.
    pub(crate) fn slots(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard::slots(shard.region().lines().len()))
            .sum()
    }

    /// Waits until everything that stands in the table is in its files, on the disk.
    #[cfg(not(tollgate_loom))]
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.shards
            .iter()
            .try_for_each(|shard| shard.region().sync())
    }
}

/// What the table is told of the world around it; it makes nothing of it.
#[cfg(not(tollgate_loom))]
impl Table {
    /// Puts a stamp on every shard.
    pub(crate) fn stamp(&self, stamp: u64) {
        self.shards
            .iter()
            .for_each(|shard| shard.region().stamp(stamp));
    }

    /// True if every shard bears one of these stamps.
    pub(crate) fn has_stamp(&self, stamps: [u64; 2]) -> bool {
        let mut shards = self.shards.iter();
        shards.all(|shard| shard.region().has_stamp(stamps))
    }

    /// Takes over all slots of a table of the same shape, place for place. Nobody else
    /// may use either meanwhile.
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
