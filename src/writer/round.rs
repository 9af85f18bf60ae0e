//! One round of the writer: what is dirty goes to the journal, and the journal is renewed.
//!
//! A round drains the inbox, lists the tags as in flight, takes the dirty mark off each word and
//! reads it in the same step, commits the words, and strikes the list out. Words whose commit
//! failed, or never ended, are marked dirty again, so nothing is lost that could still be written;
//! checks go on from memory meanwhile, and the health says since when and why.

use std::time::{Duration, Instant};

use crate::algorithm::Word;
use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::journal::{Generations, StoreError};
use crate::key::Tag;
use crate::sync::Arc;
use crate::table::{InFlight, Position, Table};

/// Words carried into the next generation in one round.
// Bound: what changes meanwhile waits for so many.
const CARRY_WORDS: usize = 4_000;

/// The least time between two looks at whether the journal has grown too large.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What the writer reads: the tables, and the inbox that tells what changed.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) clock: Clock,
    pub(crate) table: Arc<Table>,
    /// Counters that newcomers share, see `limiter/store.rs`.
    pub(crate) shared: Arc<Table>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) in_flight: Arc<InFlight>,
}

impl Source {
    fn wash(&self, tag: Tag) -> Option<Word> {
        self.table.wash(tag).or_else(|| self.shared.wash(tag))
    }

    /// The tag's word as it is now, dirty or not.
    fn word(&self, tag: Tag) -> Word {
        match self.table.read(tag) {
            word if word.is_absent() => self.shared.read(tag).clean(),
            word => word.clean(),
        }
    }

    /// Marks what is listed as in flight dirty again: it did not arrive, as far as anybody knows.
    fn recall(&self) {
        let tags = self.in_flight.tags();
        if tags.is_empty() {
            return;
        }
        for tag in tags {
            if self.table.amend(tag, Word::dirty).is_none() {
                self.shared.amend(tag, Word::dirty);
            }
        }
        // The list goes last: whoever comes after a kill finds it, or the marks.
        self.inbox.ask_for_sweep();
        self.in_flight.clear();
    }

    /// How many parts the tables are looked through in.
    // Bound: a list of tags is never longer than one part has slots.
    fn parts(&self) -> usize {
        self.table.shards() + self.shared.shards()
    }

    /// Shows every word in a part of the tables.
    fn for_each_of(&self, part: usize, see: impl FnMut(Tag, Word)) {
        match part.checked_sub(self.table.shards()) {
            None => self.table.for_each_of(part, see),
            Some(part) => self.shared.for_each_of(part, see),
        }
    }

    /// Tags of all words in a part that `wanted` says yes to.
    fn tags_of(&self, part: usize, wanted: impl Fn(Word) -> bool) -> Vec<Tag> {
        let mut tags = Vec::new();
        self.for_each_of(part, |tag, word| {
            if wanted(word) {
                tags.push(tag);
            }
        });
        tags
    }

    /// How many words `wanted` says yes to.
    fn count(&self, wanted: impl Fn(Word) -> bool) -> u64 {
        let mut count = 0;
        for part in 0..self.parts() {
            self.for_each_of(part, |_, word| count += u64::from(wanted(word)));
        }
        count
    }

    /// How many words are alive. Those of limits that are kept in memory only are among them: they
    /// live for seconds, and to be remembered does them no harm.
    fn living(&self) -> u64 {
        let now = self.clock.now();
        self.count(|word| word.is_live(now))
    }
}

/// What is still to be carried into the next generation.
#[derive(Default)]
struct Carrying {
    /// The first part of the tables that was not looked through yet.
    part: usize,
    /// Tags of the parts before.
    tags: Vec<Tag>,
}

/// Opens the journal; also says whether it holds every word that is not dirty. Called on the
/// writer's thread, until it succeeds: reading an old journal takes its time, and nobody has to
/// wait for it.
pub(crate) type OpenJournal = Box<dyn FnMut() -> Result<(Generations, bool), StoreError> + Send>;

/// The journal as the writer keeps it: written in batches, renewed when it has grown too large.
pub(super) struct Keeping {
    open: OpenJournal,
    /// None until it could be opened.
    journal: Option<Generations>,
    /// While the next generation is made.
    carrying: Option<Carrying>,
    /// When to look again whether it has grown too large: the look counts what is alive.
    look_at: Instant,
    /// The journal holds every word of the table that is not dirty.
    is_whole: bool,
    /// Words that the last round should have written and could not.
    left: u64,
}

impl Keeping {
    pub(super) fn new(open: OpenJournal) -> Self {
        Self {
            open,
            journal: None,
            carrying: None,
            look_at: Instant::now(),
            is_whole: false,
            left: 0,
        }
    }

    /// The journal, opened if it is not yet.
    fn journal(&mut self) -> Result<&mut Generations, StoreError> {
        let journal = match self.journal.take() {
            Some(journal) => journal,
            None => {
                let (journal, is_whole) = (self.open)()?;
                self.is_whole = is_whole;
                journal
            }
        };
        Ok(self.journal.insert(journal))
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.journal.as_ref().map_or(0, Generations::size_bytes)
    }

    pub(super) fn written_bytes(&self) -> u64 {
        self.journal.as_ref().map_or(0, Generations::written_bytes)
    }

    /// Words that the last round should have written and could not.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Notes how far the journal has come. Until it is whole, whoever comes after a kill is to know
    /// of none.
    fn note_position(&self, source: &Source) {
        let journal = self.journal.as_ref().filter(|_| self.is_whole);
        source.in_flight.set_position(journal.map(position));
    }

    /// One pass over what is dirty now. Gives the number of words written.
    pub(super) fn round(&mut self, source: &Source) -> Result<u64, StoreError> {
        self.journal()?;
        self.note_position(source);
        // What was in flight when a process was killed.
        source.recall();
        self.left = 0;
        match self.write_dirty(source) {
            Ok(written) => {
                self.tend(source)?;
                Ok(written)
            }
            Err(error) => {
                // The rest was not looked at; its words are dirty still.
                source.inbox.ask_for_sweep();
                let dirty = source.count(Word::is_dirty);
                self.left = dirty.saturating_sub(source.inbox.waiting());
                Err(error)
            }
        }
    }

    /// Writes what is dirty. A journal that failed is made anew first: if that fails, too, this is
    /// what there is to be told, and not that it had failed before.
    fn write_dirty(&mut self, source: &Source) -> Result<u64, StoreError> {
        if self.journal()?.is_broken() {
            self.carry_all(source)?;
        }
        match source.inbox.drain() {
            Some(tags) => self.write_listed(source, &tags),
            None => self.write_found(source),
        }
    }

    /// Looks at every word, and writes those that are dirty. Gives the number of them.
    fn write_found(&mut self, source: &Source) -> Result<u64, StoreError> {
        // Bound: they are listed no further than they are written at once.
        let most = source.in_flight.capacity();
        let mut tags = Vec::with_capacity(most);
        let mut written = Ok(0);
        for part in 0..source.parts() {
            source.for_each_of(part, |tag, word| {
                let Ok(sum) = &mut written else { return };
                if word.is_dirty() {
                    tags.push(tag);
                }
                if tags.len() == most {
                    match self.write(source, &tags) {
                        Ok(words) => *sum += words,
                        Err(error) => written = Err(error),
                    }
                    tags.clear();
                }
            });
        }
        Ok(written? + self.write_listed(source, &tags)?)
    }

    /// Writes those of many words that are dirty. Gives the number of them.
    fn write_listed(&mut self, source: &Source, tags: &[Tag]) -> Result<u64, StoreError> {
        // The journal syncs them in batches, and moves its mark once for all of them.
        let mut batches = tags.chunks(source.in_flight.capacity());
        batches.try_fold(0, |written, tags| Ok(written + self.write(source, tags)?))
    }

    /// The same of no more than can be in flight.
    fn write(&mut self, source: &Source, tags: &[Tag]) -> Result<u64, StoreError> {
        source.in_flight.list(tags);
        let words = tags
            .iter()
            .filter_map(|tag| Some((*tag, source.wash(*tag)?)));
        let words: Vec<_> = words.collect();
        if let Err(error) = self.journal()?.commit(&words) {
            source.recall();
            // What reads well after a failure may not be on the disk: until the next generation
            // counts, whoever comes after a kill is to carry everything, too.
            self.is_whole = false;
            self.note_position(source);
            return Err(error);
        }
        self.note_position(source);
        source.in_flight.clear();
        Ok(words.len() as u64)
    }

    /// Puts all living words into the next generation at once. After a failure nothing that the
    /// store says is believed any more.
    fn carry_all(&mut self, source: &Source) -> Result<(), StoreError> {
        self.begin_carrying()?;
        self.carry_rest(source)
    }

    fn carry_rest(&mut self, source: &Source) -> Result<(), StoreError> {
        while self.carrying.is_some() {
            self.carry_some(source)?;
        }
        Ok(())
    }

    /// Ends the writing: what the journal still lacks of the table is carried over, and a renewal
    /// under way is brought to its end. Else a journal whose writers all live briefly would grow.
    pub(super) fn end(&mut self, source: &Source) -> Result<(), StoreError> {
        if self.journal.is_some() && !self.is_whole && self.carrying.is_none() {
            self.begin_carrying()?;
        }
        self.carry_rest(source)
    }

    fn begin_carrying(&mut self) -> Result<(), StoreError> {
        self.carrying = None;
        self.journal()?.begin_renewal()?;
        self.carrying = Some(Carrying::default());
        Ok(())
    }

    /// Does what is due of a renewal: a few batches a round, so that what changes meanwhile is not
    /// kept waiting.
    fn tend(&mut self, source: &Source) -> Result<(), StoreError> {
        if self.carrying.is_some() {
            return self.carry_some(source);
        }
        // Zero alive: only what has failed, or is over its least size, is worth counting for.
        let may_renew = self.journal()?.should_renew(0) && Instant::now() >= self.look_at;
        if self.is_whole && !may_renew {
            return Ok(());
        }
        self.look_at = Instant::now() + LOOK_EVERY;
        let living = source.living();
        let owed = !self.is_whole && living > 0;
        if owed || self.journal()?.should_renew(living) {
            return self.begin_carrying();
        }
        self.is_whole = true;
        Ok(())
    }

    fn carry_some(&mut self, source: &Source) -> Result<(), StoreError> {
        let Some(Carrying { mut part, mut tags }) = self.carrying.take() else {
            return Ok(());
        };
        let now = source.clock.now();
        // What comes to life behind is dirty, and is committed into both generations.
        while tags.len() < CARRY_WORDS && part < source.parts() {
            tags.extend(source.tags_of(part, |word| word.is_live(now)));
            part += 1;
        }
        let some = tags.split_off(tags.len().saturating_sub(CARRY_WORDS));
        // Read now, after the last commit: what is written last counts.
        let words = some.into_iter().map(|tag| (tag, source.word(tag)));
        let words: Vec<_> = words.filter(|(_, word)| word.is_live(now)).collect();
        self.journal()?.carry(&words)?;
        if tags.is_empty() && part == source.parts() {
            self.journal()?.finish_renewal()?;
            self.is_whole = true;
            self.note_position(source);
        } else {
            self.carrying = Some(Carrying { part, tags });
        }
        Ok(())
    }
}

/// How far a journal has come that holds everything.
pub(crate) fn position(journal: &Generations) -> Position {
    let (generation, sequence) = journal.acknowledged();
    Position {
        generation,
        sequence,
    }
}
