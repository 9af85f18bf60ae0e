//! Words on their way to the journal, and how far the journal had come: for whoever opens the
//! table after a kill.
//!
//! The writer takes the dirty mark off a word before the journal has it. Killed in between, it
//! would leave a table whose words look written. So their tags stand here, in mapped memory that
//! outlives the process as the words do, from before the mark goes until the journal has them.
//! Whoever opens the table next puts the marks back.
//!
//! ```text
//! line 0     tags in flight 8 | generation 8 | sequence 8     of the journal; generation 0: none
//! line 1 ..  tags, 8 bytes each
//! ```
//!
//! The generation and the sequence are those of a journal that held every word without a dirty
//! mark. A journal that is found behind them is not the one that this table was written to.
//!
//! **Why the order holds.** Only one thread writes here. A kill ends a thread between two of its
//! instructions and takes nothing back, so memory holds all stores before that point and none
//! after it: what must not happen is that the compiler moves them. The tags are stored before the
//! number of them, and that before any mark goes (release, and a mark goes by a compare-and-swap);
//! the number is taken back after the journal's answer (release again).

use super::Region;
use super::layout::SLOTS;
use crate::key::Tag;
use crate::sync::{AtomicU64, Ordering};

/// The most words in flight at a time.
// Bound: so many are written again after a kill, whether they had reached the journal or not.
const WORDS: usize = 16_000;
const TAGS_A_LINE: usize = 2 * SLOTS;

/// How far a journal has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Position {
    /// From 1.
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
}

/// The words in flight.
pub(crate) struct InFlight {
    region: Region,
}

impl InFlight {
    /// Lines of the region that it is made over.
    pub(crate) const LINES: u64 = 1 + (WORDS / TAGS_A_LINE) as u64;

    pub(crate) fn new(region: Region) -> Self {
        Self { region }
    }

    /// So many tags fit.
    pub(crate) fn capacity(&self) -> usize {
        self.region.lines().len().saturating_sub(1) * TAGS_A_LINE
    }

    /// The three numbers of the first line: tags in flight, generation, sequence.
    fn figures(&self) -> Option<[&AtomicU64; 3]> {
        let [first, second, ..] = &self.region.lines().first()?.slots;
        Some([&first.tag, &first.word, &second.tag])
    }

    fn places(&self) -> impl Iterator<Item = &AtomicU64> {
        let slots = self
            .region
            .lines()
            .iter()
            .skip(1)
            .flat_map(|line| &line.slots);
        slots.flat_map(|slot| [&slot.tag, &slot.word])
    }

    /// Lists `tags`, at most [`Self::capacity`], in the place of those listed before. To be called
    /// before their marks go.
    pub(crate) fn list(&self, tags: &[Tag]) {
        debug_assert!(tags.len() <= self.capacity(), "the writer cuts its rounds");
        let Some([number, ..]) = self.figures() else {
            return;
        };
        // Ordering: release on all, each after the stores above it: half a list is nobody's.
        // A mark goes later by a compare-and-swap, which is a release too.
        number.store(0, Ordering::Release);
        for (place, tag) in self.places().zip(tags) {
            place.store(tag.bits(), Ordering::Release);
        }
        number.store(tags.len() as u64, Ordering::Release);
    }

    /// How many tags are listed.
    pub(crate) fn len(&self) -> usize {
        let figures = self.figures();
        // Ordering: acquire, pairs with the release in `list`.
        let number = figures.map_or(0, |[number, ..]| number.load(Ordering::Acquire));
        usize::try_from(number)
            .unwrap_or(usize::MAX)
            .min(self.capacity())
    }

    /// The tags listed.
    pub(crate) fn tags(&self) -> Vec<Tag> {
        let number = self.len();
        // Ordering: relaxed, after the number.
        let tags = self
            .places()
            .map(|place| Tag::from_bits(place.load(Ordering::Relaxed)));
        tags.take(number).collect()
    }

    /// Strikes the list out: the words are durable, or dirty again.
    pub(crate) fn clear(&self) {
        if let Some([number, ..]) = self.figures() {
            // Ordering: release, after everything that made the words durable or dirty.
            number.store(0, Ordering::Release);
        }
    }

    /// How far the journal had come that held every word without a mark; none if none is known to.
    pub(crate) fn position(&self) -> Option<Position> {
        let [_, generation, sequence] = self.figures()?;
        // Ordering: acquire, pairs with the releases in `set_position`.
        let generation = generation.load(Ordering::Acquire);
        let sequence = sequence.load(Ordering::Acquire);
        (generation != 0).then_some(Position {
            generation,
            sequence,
        })
    }

    /// Notes how far such a journal has come, or that there is none.
    pub(crate) fn set_position(&self, position: Option<Position>) {
        let Some([_, generation, sequence]) = self.figures() else {
            return;
        };
        let next = position.map_or(0, |position| position.generation);
        // Ordering: release on all, each after the stores above it; relaxed for this thread's own.
        // A kill in between leaves no generation, never one with another's sequence.
        if generation.load(Ordering::Relaxed) != next {
            generation.store(0, Ordering::Release);
        }
        let sequence_now = position.map_or(0, |position| position.sequence);
        sequence.store(sequence_now, Ordering::Release);
        generation.store(next, Ordering::Release);
    }

    /// The region that it is made over: stamped, as a table's shards are.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Takes over what stands in another. Nobody else may use either meanwhile.
    pub(crate) fn copy_from(&self, other: &Self) {
        self.list(&other.tags());
        self.set_position(other.position());
    }
}

impl std::fmt::Debug for InFlight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InFlight({} tags)", self.len())
    }
}
