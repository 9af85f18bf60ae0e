//! The write-behind thread: takes dirty words from the table to the journal, at its own pace.
//!
//! Each round drains the inbox, takes the dirty mark off each word and reads it in the same step,
//! and commits the words in small batches. A batch that fails is marked dirty again, so nothing is
//! lost that could still be written; checks go on from memory meanwhile, and the health says since
//! when and why.

use std::time::{Duration, Instant};

use crate::algorithm::Word;
use crate::inbox::Inbox;
use crate::key::Tag;
use crate::sync::{Arc, Condvar, Mutex, lock, wait};
use crate::table::Table;

/// Words in one commit.
// Bound: a journal that is given more between two syncs can come back empty.
pub(crate) const BATCH_MAX: usize = 1_000;

/// Where words are made durable.
pub(crate) trait Sink: Send {
    /// Makes the batch durable, at most [`BATCH_MAX`] words; on return it is, or it may not be.
    ///
    /// # Errors
    /// What went wrong, for people. Nothing of this batch counts as written then.
    fn commit(&mut self, batch: &[(Tag, Word)]) -> Result<(), String>;

    /// Does what housekeeping is due, once a round. `living` gives a tag's word as it is now.
    ///
    /// # Errors
    /// What went wrong, for people. What was durable before still is.
    fn tend(&mut self, living: &dyn Fn(Tag) -> Word) -> Result<(), String>;

    /// Bytes that the journal takes on the disk.
    fn bytes(&self) -> u64;
}

/// What the writer reads: the tables, and the inbox that tells what changed.
pub(crate) struct Source {
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

    /// Tags of all words that are dirty.
    fn sweep(&self) -> Vec<Tag> {
        let mut dirty = Vec::new();
        for table in [&self.table, &self.shared] {
            table.for_each(|tag, word| {
                if word.is_dirty() {
                    dirty.push(tag);
                }
            });
        }
        dirty
    }
}

/// One pass over what is dirty now. Gives the number of words written.
///
/// # Errors
/// What the sink said. All that was not written is dirty again.
pub(crate) fn round(source: &Source, sink: &mut dyn Sink) -> Result<u64, String> {
    // Before the queue is drained: a change missed after this raises the flag for the next round.
    let swept = if source.inbox.take_missed() {
        source.sweep()
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
            sink.tend(&|tag| source.word(tag))?;
            return Ok(written);
        }
        if let Err(why) = sink.commit(&batch) {
            source.soil(&batch);
            // The rest of the queue was not looked at: its words are dirty still.
            tags.for_each(drop);
            source.inbox.ask_for_sweep();
            return Err(why);
        }
        written += batch.len() as u64;
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
    /// Starts the thread, which writes once an `interval`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        source: Source,
        mut sink: Box<dyn Sink>,
        interval: Duration,
    ) -> std::io::Result<Self> {
        let state = State {
            asked: 0,
            done: 0,
            stop: false,
            gone: false,
            durable_at: Instant::now(),
            written: 0,
            bytes: sink.bytes(),
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
                while write(&at, &source, sink.as_mut(), interval) {}
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
fn write(desk: &Desk, source: &Source, sink: &mut dyn Sink, interval: Duration) -> bool {
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
    let result = round(source, sink);
    let bytes = sink.bytes();
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
