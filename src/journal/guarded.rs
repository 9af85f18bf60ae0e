//! Any store, on a thread of its own: what panics or hangs there is an error here.
//!
//! After the first error the store is let go and never asked again. Whether its thread still
//! hangs then makes no difference to anybody.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::store::BATCH_WORDS;
use super::{Batch, Scan, Store, StoreError};
use crate::algorithm::Word;
use crate::key::Tag;

/// How long to wait for a store before it counts as hanging.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For opening, which reads everything there is.
    pub(crate) open: Duration,
    /// For one batch, written or read, and for closing.
    pub(crate) step: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            open: Duration::from_secs(600),
            step: Duration::from_secs(60),
        }
    }
}

enum Ask {
    Commit(u64, Vec<(Tag, Word)>),
    Scan,
}

enum Answer {
    Done(Figures),
    Seen(Vec<(Tag, Word)>),
    Scanned(Scan),
    Failed(StoreError),
}

#[derive(Clone, Copy, Default)]
struct Figures {
    sequence: u64,
    size_bytes: u64,
}

/// Answers under way.
// Bound: a scan stops and waits when this many batches have not been taken.
const ANSWERS_MAX: usize = 2;

struct Link {
    asks: SyncSender<Ask>,
    answers: Receiver<Answer>,
    thread: JoinHandle<()>,
}

/// A store on a thread of its own.
pub(super) struct Guarded {
    path: PathBuf,
    patience: Patience,
    /// None after the first error.
    link: Option<Link>,
    figures: Figures,
}

impl Guarded {
    /// Opens a store on a thread of its own. `path` is only for messages.
    pub(super) fn open<S: Store>(
        path: &Path,
        patience: Patience,
        open: impl FnOnce() -> Result<S, StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (asks, asked) = sync_channel(1);
        let (answer, answers) = sync_channel(ANSWERS_MAX);
        let thread = std::thread::Builder::new()
            .name("tollgate-store".into())
            .spawn(move || serve(open, &asked, &answer))
            .map_err(StoreError::io("start a thread for", path))?;
        let mut guarded = Self {
            path: path.to_owned(),
            patience,
            link: Some(Link {
                asks,
                answers,
                thread,
            }),
            figures: Figures::default(),
        };
        guarded.done("open", patience.open)?;
        Ok(guarded)
    }

    fn ask(&mut self, ask: Ask) -> Result<(), StoreError> {
        let path = self.path.clone();
        let link = self.link.as_ref().ok_or(StoreError::Broken { path })?;
        // If nobody listens any more, the wait for the answer says why.
        let _ = link.asks.send(ask);
        Ok(())
    }

    /// The next answer. An error lets the store go.
    fn answer(&mut self, doing: &'static str, wait: Duration) -> Result<Answer, StoreError> {
        let path = self.path.clone();
        let link = self.link.take().ok_or(StoreError::Broken { path })?;
        match link.answers.recv_timeout(wait) {
            Ok(Answer::Failed(error)) => Err(error),
            Ok(answer) => {
                self.link = Some(link);
                Ok(answer)
            }
            Err(RecvTimeoutError::Timeout) => Err(StoreError::Stalled {
                doing,
                path: self.path.clone(),
                secs: wait.as_secs(),
            }),
            Err(RecvTimeoutError::Disconnected) => {
                let why = link.thread.join().err().map_or_else(
                    || "its thread ended".to_owned(),
                    |panic| format!("the storage engine panicked: {}", text_of(&*panic)),
                );
                let why = format!("cannot {doing} it: {why}");
                Err(StoreError::damaged(&self.path, why))
            }
        }
    }

    fn done(&mut self, doing: &'static str, wait: Duration) -> Result<(), StoreError> {
        match self.answer(doing, wait)? {
            Answer::Done(figures) => {
                self.figures = figures;
                Ok(())
            }
            _ => Err(self.out_of_step()),
        }
    }

    /// An answer to a question that was not asked: the two sides no longer agree.
    fn out_of_step(&mut self) -> StoreError {
        self.link = None;
        let path = self.path.clone();
        StoreError::Broken { path }
    }
}

impl Store for Guarded {
    fn commit(&mut self, sequence: u64, batch: Batch<'_>) -> Result<(), StoreError> {
        self.ask(Ask::Commit(sequence, batch.words().to_vec()))?;
        self.done("write", self.patience.step)
    }

    fn scan(&mut self, see: &mut dyn FnMut(Tag, Word)) -> Result<Scan, StoreError> {
        self.ask(Ask::Scan)?;
        loop {
            match self.answer("read", self.patience.step)? {
                Answer::Seen(words) => words.into_iter().for_each(|(tag, word)| see(tag, word)),
                Answer::Scanned(scan) => return Ok(scan),
                Answer::Done(_) | Answer::Failed(_) => return Err(self.out_of_step()),
            }
        }
    }

    fn sequence(&self) -> u64 {
        self.figures.sequence
    }

    fn size_bytes(&self) -> u64 {
        self.figures.size_bytes
    }
}

/// Waits until the store is closed, so that its files can be opened again, but not for ever.
impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            drop(link.asks);
            // It sends nothing more: what ends the wait is that it lets go of its end.
            if let Err(RecvTimeoutError::Disconnected) =
                link.answers.recv_timeout(self.patience.step)
            {
                // A panic in closing loses nothing: what was acknowledged was durable before.
                let _ = link.thread.join();
            }
        }
    }
}

/// The thread's work. The store is dropped before `answers`, which tells that it is closed.
fn serve<S: Store>(
    open: impl FnOnce() -> Result<S, StoreError>,
    asked: &Receiver<Ask>,
    answers: &SyncSender<Answer>,
) {
    let mut store = match open() {
        Ok(store) => store,
        Err(error) => {
            let _ = answers.send(Answer::Failed(error));
            return;
        }
    };
    let mut answer = Answer::Done(figures(&store));
    loop {
        let has_failed = matches!(answer, Answer::Failed(_));
        // Nobody waits for the answer: the other side has let go.
        if answers.send(answer).is_err() || has_failed {
            return;
        }
        answer = match asked.recv() {
            Ok(Ask::Commit(sequence, words)) => commit(&mut store, sequence, &words),
            Ok(Ask::Scan) => scan(&mut store, answers),
            Err(_) => return,
        };
    }
}

fn figures(store: &impl Store) -> Figures {
    Figures {
        sequence: store.sequence(),
        size_bytes: store.size_bytes(),
    }
}

fn commit(store: &mut impl Store, sequence: u64, words: &[(Tag, Word)]) -> Answer {
    // What was sent is one batch; cut, it is that batch again, or none if it is empty.
    let batch = Batch::cut(words).next().unwrap_or(Batch::EMPTY);
    match store.commit(sequence, batch) {
        Ok(()) => Answer::Done(figures(store)),
        Err(error) => Answer::Failed(error),
    }
}

fn scan(store: &mut impl Store, answers: &SyncSender<Answer>) -> Answer {
    let mut words = Vec::new();
    let result = store.scan(&mut |tag, word| {
        words.push((tag, word));
        if words.len() == BATCH_WORDS {
            // If nobody takes them, the answer at the end finds that out.
            let _ = answers.send(Answer::Seen(std::mem::take(&mut words)));
        }
    });
    let _ = answers.send(Answer::Seen(words));
    match result {
        Ok(scan) => Answer::Scanned(scan),
        Err(error) => Answer::Failed(error),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}
