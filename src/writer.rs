//! The write-behind thread: takes dirty words from the table to the journal, at its own pace.
//!
//! Each round drains the inbox, takes the dirty mark off each word and reads it in the same step,
//! and commits the words in small batches. A batch that fails is marked dirty again, so nothing is
//! lost that could still be written; checks go on from memory meanwhile, and the health says since
//! when and why.

use std::time::{Duration, Instant};

use crate::algorithm::Word;
use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::journal::{Generations, StoreError};
use crate::key::Tag;
use crate::sync::{Arc, Condvar, Mutex, lock, wait};
use crate::table::{NOT_WHOLE, Table};

/// Words in one commit.
// Bound: a journal that is given more between two syncs can come back empty.
const BATCH_MAX: usize = 1_000;

/// Batches carried into the next generation in one round.
const CARRY_BATCHES: usize = 4;

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

    /// Puts the dirty mark back on what could not be written.
    fn soil(&self, batch: &[(Tag, Word)]) {
        for (tag, _) in batch {
            if self.table.amend(*tag, Word::dirty).is_none() {
                self.shared.amend(*tag, Word::dirty);
            }
        }
        if !batch.is_empty() {
            self.inbox.ask_for_sweep();
        }
    }

    /// Tags of all words that `wanted` says yes to.
    fn tags(&self, wanted: impl Fn(Word) -> bool) -> Vec<Tag> {
        let mut tags = Vec::new();
        for table in [&self.table, &self.shared] {
            table.for_each(|tag, word| {
                if wanted(word) {
                    tags.push(tag);
                }
            });
        }
        tags
    }

    /// Tags of all words that are alive. Those of limits that are kept in memory only are among
    /// them: they live for seconds, and to be remembered does them no harm.
    fn living(&self) -> Vec<Tag> {
        let now = self.clock.now();
        self.tags(|word| word.is_live(now))
    }
}

/// Opens the journal; also says whether it is a new one. Called on the writer's thread, until it
/// succeeds: reading an old journal takes its time, and nobody has to wait for it.
pub(crate) type OpenJournal = Box<dyn FnMut() -> Result<(Generations, bool), StoreError> + Send>;

/// The journal as the writer keeps it: written in batches, renewed when it has grown too large.
struct Keeping {
    open: OpenJournal,
    /// None until it could be opened.
    journal: Option<Generations>,
    /// Tags still to be carried into the next generation, while one is made.
    to_carry: Option<Vec<Tag>>,
    /// When to look again whether it has grown too large: the look counts what is alive.
    look_at: Instant,
    /// The table may hold words that the journal was never told.
    must_carry: bool,
}

impl Keeping {
    /// The journal, opened if it is not yet.
    fn journal(&mut self) -> Result<&mut Generations, StoreError> {
        let journal = match self.journal.take() {
            Some(journal) => journal,
            None => {
                let (journal, is_new) = (self.open)()?;
                self.must_carry |= is_new;
                journal
            }
        };
        Ok(self.journal.insert(journal))
    }

    fn size_bytes(&self) -> u64 {
        self.journal.as_ref().map_or(0, Generations::size_bytes)
    }

    /// One pass over what is dirty now. Gives the number of words written.
    fn round(&mut self, source: &Source) -> Result<u64, StoreError> {
        self.journal()?;
        // Before the queue is drained: a change missed after this raises the flag for the next
        // round.
        let missed = source.inbox.take_missed();
        let swept = if missed {
            source.tags(Word::is_dirty)
        } else {
            Vec::new()
        };
        // What is marked while this round runs waits for the next one, so that every round ends.
        let queued = source.inbox.len();
        let mut tags = swept
            .into_iter()
            .chain((0..queued).map_while(|_| source.inbox.next()));
        let mut written = 0;
        loop {
            let words = tags
                .by_ref()
                .filter_map(|tag| Some((tag, source.wash(tag)?)));
            let batch: Vec<(Tag, Word)> = words.take(BATCH_MAX).collect();
            if batch.is_empty() {
                self.tend(source)?;
                self.note(source)?;
                return Ok(written);
            }
            if let Err(error) = self.journal()?.commit(&batch) {
                source.soil(&batch);
                source.table.note_journal(NOT_WHOLE);
                // The rest of the queue was not looked at; its words are dirty still.
                tags.for_each(drop);
                source.inbox.ask_for_sweep();
                // What fails here fails again at the next round, and is told there.
                let _ = self.carry_all(source);
                return Err(error);
            }
            written += batch.len() as u64;
        }
    }

    /// Notes in the table what the journal holds of it, once that is all.
    fn note(&mut self, source: &Source) -> Result<(), StoreError> {
        let is_carried = !self.must_carry && self.to_carry.is_none();
        let journal = self.journal()?;
        if is_carried && journal.is_whole() {
            source.table.note_journal(journal.sequence());
        }
        Ok(())
    }

    /// Puts all living words into the next generation at once. After a failure nothing that the
    /// store says is believed any more.
    fn carry_all(&mut self, source: &Source) -> Result<(), StoreError> {
        self.journal()?.begin_renewal()?;
        self.to_carry = Some(source.living());
        while self.to_carry.is_some() {
            self.carry_some(source)?;
        }
        Ok(())
    }

    /// Does what is due of a renewal: a few batches a round, so that what changes meanwhile is not
    /// kept waiting.
    fn tend(&mut self, source: &Source) -> Result<(), StoreError> {
        if self.to_carry.is_some() {
            return self.carry_some(source);
        }
        if std::mem::take(&mut self.must_carry) {
            let living = source.living();
            if !living.is_empty() {
                self.journal()?.begin_renewal()?;
                self.to_carry = Some(living);
            }
            return Ok(());
        }
        // Zero alive: only what has failed, or is over its least size, is worth counting for.
        if !self.journal()?.should_renew(0) || Instant::now() < self.look_at {
            return Ok(());
        }
        self.look_at = Instant::now() + LOOK_EVERY;
        let living = source.living();
        if self.journal()?.should_renew(living.len() as u64) {
            self.journal()?.begin_renewal()?;
            self.to_carry = Some(living);
        }
        Ok(())
    }

    fn carry_some(&mut self, source: &Source) -> Result<(), StoreError> {
        let Some(mut tags) = self.to_carry.take() else {
            return Ok(());
        };
        let now = source.clock.now();
        for _ in 0..CARRY_BATCHES {
            let some = tags.split_off(tags.len().saturating_sub(BATCH_MAX));
            // Read now, after the last commit: what is written last counts.
            let words = some.into_iter().map(|tag| (tag, source.word(tag)));
            let words: Vec<_> = words.filter(|(_, word)| word.is_live(now)).collect();
            self.journal()?.carry(&words)?;
        }
        if tags.is_empty() {
            self.journal()?.finish_renewal()?;
        } else {
            self.to_carry = Some(tags);
        }
        Ok(())
    }
}

/// What has gone wrong with writing, and since when.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// When the first of the failures in a row happened.
    pub since: Instant,
    /// What the last one said.
    pub why: String,
}

/// How the writing goes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Writing {
    /// Everything that was changed before this is durable.
    pub durable_at: Instant,
    /// Words waiting to be written, as far as they are queued.
    pub backlog: usize,
    /// Words written since the limiter was opened.
    pub written: u64,
    /// Bytes that the journal takes on the disk.
    pub bytes: u64,
    /// What is wrong, if something is.
    pub trouble: Option<Trouble>,
}

#[derive(Debug)]
struct State {
    /// Flushes asked for, and the last of them that is done.
    asked: u64,
    done: u64,
    stop: bool,
    gone: bool,
    durable_at: Instant,
    written: u64,
    bytes: u64,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Desk {
    state: Mutex<State>,
    /// Rung when something is asked of the writer.
    call: Condvar,
    /// Rung when a round has ended.
    answer: Condvar,
}

/// The thread, and what it is told and tells.
#[derive(Debug)]
pub(crate) struct Writer {
    desk: Arc<Desk>,
    inbox: Arc<Inbox>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread, which opens the journal and writes it once an `interval`. A journal that
    /// is new is first told all that lives in the table.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        source: Source,
        open: OpenJournal,
        interval: Duration,
    ) -> std::io::Result<Self> {
        let state = State {
            asked: 0,
            done: 0,
            stop: false,
            gone: false,
            durable_at: Instant::now(),
            written: 0,
            bytes: 0,
            trouble: None,
        };
        let desk = Desk {
            state: Mutex::new(state),
            call: Condvar::new(),
            answer: Condvar::new(),
        };
        let desk = Arc::new(desk);
        let inbox = source.inbox.clone();
        let at = desk.clone();
        let thread = std::thread::Builder::new()
            .name("tollgate-writer".into())
            .spawn(move || {
                let _leaving = Leaving(at.clone());
                let look_at = Instant::now();
                let mut keeping = Keeping {
                    open,
                    journal: None,
                    to_carry: None,
                    look_at,
                    must_carry: false,
                };
                while write(&at, &source, &mut keeping, interval) {}
            })?;
        Ok(Self {
            desk,
            inbox,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Returns when everything that was changed before the call is durable.
    ///
    /// # Errors
    /// What went wrong, if the round that was to write it failed. It is tried again by itself.
    pub(crate) fn flush(&self) -> Result<(), String> {
        let mut state = lock(&self.desk.state);
        state.asked += 1;
        let mine = state.asked;
        self.desk.call.notify_all();
        while state.done < mine && !state.gone {
            state = wait(&self.desk.answer, state, None);
        }
        match &state.trouble {
            Some(trouble) => Err(trouble.why.clone()),
            None if state.done < mine => Err("the writer thread is gone".into()),
            None => Ok(()),
        }
    }

    /// How the writing goes.
    pub(crate) fn writing(&self) -> Writing {
        let state = lock(&self.desk.state);
        Writing {
            durable_at: state.durable_at,
            backlog: self.inbox.len(),
            written: state.written,
            bytes: state.bytes,
            trouble: state.trouble.clone(),
        }
    }

    /// Writes what is left and ends the thread.
    ///
    /// # Errors
    /// What went wrong with the last round.
    pub(crate) fn stop(&self) -> Result<(), String> {
        let Some(thread) = lock(&self.thread).take() else {
            return Ok(());
        };
        let flushed = self.flush();
        lock(&self.desk.state).stop = true;
        self.desk.call.notify_all();
        thread
            .join()
            .map_err(|_| "the writer thread panicked".to_owned())?;
        flushed
    }
}

/// Tells those who wait that the thread is gone, however it went.
struct Leaving(Arc<Desk>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.gone = true;
        if !state.stop && state.trouble.is_none() {
            let why = "the writer thread panicked".into();
            state.trouble = Some(Trouble {
                since: Instant::now(),
                why,
            });
        }
        self.0.answer.notify_all();
    }
}

/// Waits for its time or a call, then writes a round; false when told to stop.
fn write(desk: &Desk, source: &Source, keeping: &mut Keeping, interval: Duration) -> bool {
    let mut state = lock(&desk.state);
    let due = Instant::now() + interval;
    while state.asked == state.done && !state.stop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        state = wait(&desk.call, state, Some(left));
    }
    if state.stop {
        return false;
    }
    let asked = state.asked;
    drop(state);
    let began = Instant::now();
    let result = keeping.round(source).map_err(|error| error.to_string());
    let bytes = keeping.size_bytes();
    let mut state = lock(&desk.state);
    state.done = asked;
    state.bytes = bytes;
    match result {
        Ok(written) => {
            state.written += written;
            state.durable_at = began;
            state.trouble = None;
        }
        Err(why) => {
            let since = state
                .trouble
                .take()
                .map_or_else(Instant::now, |trouble| trouble.since);
            state.trouble = Some(Trouble { since, why });
        }
    }
    desk.answer.notify_all();
    true
}
