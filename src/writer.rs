//! The write-behind thread: takes dirty words from the table to the journal, at its own pace.
//!
//! What a round does stands in `writer/round.rs`; here is the thread that makes one round after
//! another, what it is asked, and what it tells.

mod round;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::inbox::Inbox;
use crate::sync::{Arc, Condvar, Mutex, lock, wait};
use crate::table::InFlight;
use crate::trouble::Trouble;
use round::Keeping;
pub(crate) use round::{OpenJournal, Source, position};

/// How the writing goes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Writing {
    /// Everything that was changed before this is durable.
    pub durable_at: Instant,
    /// How long the oldest change that is not durable yet has been waiting, at most; none if
    /// nothing waits.
    pub oldest_unwritten: Option<Duration>,
    /// Words changed that are not durable yet. Counted without stopping anybody: about so many.
    pub backlog: u64,
    /// Words written since the limiter was opened.
    pub written: u64,
    /// Bytes given to the journal since the limiter was opened, those of its renewals too.
    pub bytes_written: u64,
    /// Bytes that the journal takes on the disk.
    pub journal_bytes: u64,
    /// What is wrong, if something is.
    pub trouble: Option<Trouble>,
    /// What was wrong last, though it may be over.
    pub last_trouble: Option<Trouble>,
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
    /// Words that the last round could not write.
    left: u64,
    bytes_written: u64,
    journal_bytes: u64,
    trouble: Option<Trouble>,
    last_trouble: Option<Trouble>,
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
    in_flight: Arc<InFlight>,
    thread: Mutex<Option<std::thread::JoinHandle<Result<(), String>>>>,
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
            left: 0,
            bytes_written: 0,
            journal_bytes: 0,
            trouble: None,
            last_trouble: None,
        };
        let desk = Desk {
            state: Mutex::new(state),
            call: Condvar::new(),
            answer: Condvar::new(),
        };
        let desk = Arc::new(desk);
        let inbox = source.inbox.clone();
        let in_flight = source.in_flight.clone();
        let at = desk.clone();
        let thread = std::thread::Builder::new()
            .name("tollgate-writer".into())
            .spawn(move || {
                let _leaving = Leaving(at.clone());
                let mut keeping = Keeping::new(open);
                while write(&at, &source, &mut keeping, interval) {}
                keeping.end(&source).map_err(|error| error.to_string())
            })?;
        Ok(Self {
            desk,
            inbox,
            in_flight,
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
        let backlog = state.left + self.inbox.waiting() + self.in_flight.len() as u64;
        Writing {
            durable_at: state.durable_at,
            oldest_unwritten: (backlog > 0).then(|| state.durable_at.elapsed()),
            backlog,
            written: state.written,
            bytes_written: state.bytes_written,
            journal_bytes: state.journal_bytes,
            trouble: state.trouble.clone(),
            last_trouble: state.last_trouble.clone(),
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
        let ended = thread.join();
        let ended = ended.map_err(|_| "the writer thread panicked".to_owned())?;
        flushed.and(ended)
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
            state.trouble = Some(Trouble::after(None, why));
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
    let (bytes_written, journal_bytes) = (keeping.written_bytes(), keeping.size_bytes());
    let mut state = lock(&desk.state);
    state.done = asked;
    state.left = keeping.left();
    state.bytes_written = bytes_written;
    state.journal_bytes = journal_bytes;
    match result {
        Ok(written) => {
            state.written += written;
            state.durable_at = began;
            state.trouble = None;
        }
        Err(why) => {
            state.trouble = Some(Trouble::after(state.trouble.take(), why));
            state.last_trouble = state.trouble.clone();
        }
    }
    desk.answer.notify_all();
    true
}
