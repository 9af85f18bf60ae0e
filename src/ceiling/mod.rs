//! Durable ceilings: how far a strict counter may count before the disk must be asked again.
//!
//! A ceiling is a word of the counter, later than its present one, that is already on the disk. A
//! count may be admitted only up to it; after a power cut the counter goes on from it, so nothing
//! that was admitted is forgotten, and at most the distance between the two, one reservation, is
//! counted too much. Words grow with time, so to be within a ceiling is to be no larger.
//!
//! A reservation is written for many admissions, ahead of need; all that must wait for one wait
//! for the same write. The ceilings lie in a file of their own: they are few, and nothing but our
//! own code and one `fdatasync` stands between them and the disk.
//!
//! **Invariant:** a ceiling in memory is on the disk. **Invariant:** who is not covered waits for
//! the disk, but never longer than two seconds in all.

mod desk;
mod file;
#[cfg(all(test, tollgate_loom))]
mod loom;
mod medium;
mod pen;
#[cfg(not(tollgate_loom))]
mod survey;
#[cfg(all(test, not(tollgate_loom)))]
mod tests;
mod whole;

#[cfg(not(tollgate_loom))]
use std::path::Path;
use std::time::Instant;

use crate::algorithm::Word;
#[cfg(not(tollgate_loom))]
use crate::directory::DirectoryError;
use crate::key::Tag;
use crate::sync::{Arc, AtomicU64, Condvar, Mutex, Ordering, lock, try_lock, wait};
use crate::table::{Table, Update};
use crate::time::Timestamp;
use crate::trouble::Trouble;
#[cfg(all(test, not(tollgate_loom)))]
use desk::PATIENCE;
pub(crate) use desk::{Demand, Patience};
use desk::{Desk, Shared};
use file::Found;
pub(crate) use medium::Medium;
#[cfg(not(tollgate_loom))]
pub(crate) use medium::Paper;
#[cfg(all(test, not(tollgate_loom)))]
pub(crate) use medium::read_from;
use pen::{Pen, Record};
#[cfg(not(tollgate_loom))]
pub(crate) use survey::{Surveyed, survey};
use whole::{come_down, lift, living};

/// Reservations asked for ahead of need that can wait to be written.
// Bound: beyond it nobody asks ahead; those who must wait are as many as there are threads.
const AHEAD_MAX: usize = 1 << 16;

/// What the counters are worth when the ceilings are opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Worth {
    /// The directory is new.
    New,
    /// They are true.
    Kept,
    /// They are true, and the process was killed: what it wrote last need not be on the disk.
    Left,
    /// They are lost but for what the journal tells.
    Lost,
}

/// The tables in which the counters stand, and what they are worth.
pub(crate) struct Counters {
    pub(crate) tables: Vec<Arc<Table>>,
    pub(crate) worth: Worth,
}

/// The ceilings of a directory.
pub(crate) struct Ceilings {
    shared: Arc<Shared>,
    closed: Option<Timestamp>,
    thread: Mutex<Option<crate::sync::thread::JoinHandle<()>>>,
}

/// How the ceilings are doing.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// Writes, each with one wait for the disk.
    pub(crate) writes: u64,
    /// Admitted or charged above a ceiling because the disk failed.
    pub(crate) unsecured: u64,
    pub(crate) bytes: u64,
    pub(crate) failing: Option<Trouble>,
}

/// Makes a file of no ceilings at `path`, for a directory that is a copy of another.
///
/// # Errors
/// If the system says no.
#[cfg(not(tollgate_loom))]
pub(crate) fn create(
    path: &Path,
    instance: [u8; 16],
    closed: Option<Timestamp>,
) -> Result<(), DirectoryError> {
    let mut pen = Pen::new(Box::new(Paper::new(path)), instance, None, closed);
    pen.write(&[], Vec::new)
        .map_err(DirectoryError::io("write", path))
}

impl Ceilings {
    /// Opens the file at `path`, which `medium` reads and writes; also says what is wrong with it,
    /// if something is.
    ///
    /// `table` is to hold the ceilings, and is empty.
    ///
    /// # Errors
    /// If the system says no, or a newer version wrote it; everything is then left as it is.
    #[cfg(not(tollgate_loom))]
    pub(crate) fn open(
        path: &Path,
        medium: Box<dyn Medium>,
        instance: [u8; 16],
        table: Table,
        counters: Counters,
        now: Timestamp,
    ) -> Result<(Self, Option<String>), DirectoryError> {
        let table = Arc::new(table);
        Self::on(medium, instance, table, counters, now).map_err(|error| match error {
            Refusal::Io(error) => DirectoryError::io("open", path)(error),
            Refusal::Version { found } => DirectoryError::Version {
                path: path.to_owned(),
                found,
                supported: file::VERSION,
            },
        })
    }

    fn on(
        mut medium: Box<dyn Medium>,
        instance: [u8; 16],
        table: Arc<Table>,
        counters: Counters,
        now: Timestamp,
    ) -> Result<(Self, Option<String>), Refusal> {
        let mut without_slot = 0_u64;
        let found = file::read(&mut *medium, instance, &mut |tag, word| {
            if !word.is_live(now) {
                table.amend(tag, |_| word);
            } else if table.update(tag, now, |_| Some(word)) == Update::Full {
                without_slot += 1;
            }
        });
        let found = match found.map_err(Refusal::Io)? {
            Found::Whole { .. } if without_slot > 0 => Found::Damaged {
                why: format!("{without_slot} of its records find no room"),
            },
            found => found,
        };
        let mut trouble = None;
        let (sheet, mut closed) = match found {
            Found::Version { found } => return Err(Refusal::Version { found }),
            Found::Whole { sheet, .. } if counters.worth == Worth::Left => {
                come_down(&table, &counters.tables, now);
                (None, sheet.closed)
            }
            Found::Whole { sheet, is_torn } => ((!is_torn).then_some(sheet), sheet.closed),
            Found::Missing if counters.worth == Worth::New => (None, None),
            Found::Missing => {
                trouble = Some("the ceilings of strict limits are gone".to_owned());
                (None, None)
            }
            Found::Damaged { why } => {
                let aside = medium.keep_aside().map_err(Refusal::Io)?;
                let aside = aside.display();
                trouble = Some(format!(
                    "the ceilings of strict limits could not be read whole ({why}); see {aside}"
                ));
                (None, None)
            }
        };
        if trouble.is_some() {
            match counters.worth {
                // What was admitted stands in the counters.
                Worth::Kept | Worth::Left => {
                    counters.tables.iter().for_each(|of| lift(&table, of, now))
                }
                // Nobody knows any more, so nothing more is admitted while it could matter.
                Worth::Lost | Worth::New => closed = Some(now),
            }
        }
        // Noted by a clock that was ahead, it closes for one window from now, not until then.
        let closed = closed.map(|closed| closed.min(now));
        let mut pen = Pen::new(medium, instance, sheet, closed);
        // Of those that came down the thread writes a file: a disk that refuses keeps nobody out.
        let comes_down = counters.worth == Worth::Left && trouble.is_none();
        if sheet.is_none() && !comes_down {
            pen.write(&[], || living(&table, now))
                .map_err(Refusal::Io)?;
        }
        let ceilings = Self::with(table, counters.tables, pen, closed);
        if comes_down && !ceilings.living(now).is_empty() {
            let mut desk = lock(&ceilings.shared.desk);
            desk.lowers_all = ceilings.is_running(&mut desk);
            drop(desk);
        }
        Ok((ceilings, trouble))
    }

    fn with(
        table: Arc<Table>,
        counters: Vec<Arc<Table>>,
        pen: Pen,
        closed: Option<Timestamp>,
    ) -> Self {
        let desk = Desk {
            demands: Vec::new(),
            lowered: Vec::new(),
            lowers_all: false,
            begun: 0,
            done: 0,
            began: None,
            ended: Instant::now(),
            failing: None,
            is_started: false,
            stop: false,
        };
        let shared = Shared {
            table,
            counters,
            desk: Mutex::new(desk),
            bytes: AtomicU64::new(pen.bytes()),
            pen: Mutex::new(pen),
            call: Condvar::new(),
            answer: Condvar::new(),
            writes: AtomicU64::new(0),
            unsecured: AtomicU64::new(0),
            unsecured_at: Mutex::new(None),
        };
        Self {
            shared: Arc::new(shared),
            closed,
            thread: Mutex::new(None),
        }
    }

    /// When ceilings were lost together with the counters, if they were: a strict counter that
    /// nothing is known of was spent then.
    pub(crate) fn closed(&self) -> Option<Timestamp> {
        self.closed
    }

    /// The table that they stand in.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.shared.table.clone()
    }

    /// Every ceiling that counts at `now`.
    pub(crate) fn living(&self, now: Timestamp) -> Vec<Record> {
        living(&self.shared.table, now)
    }

    /// True if `word` may stand under `tag`.
    #[inline]
    pub(crate) fn covers(&self, tag: Tag, word: Word) -> bool {
        self.shared.covers(tag, word)
    }

    /// True if the ceiling of `tag` lies above `word`.
    pub(crate) fn is_above(&self, tag: Tag, word: Word) -> bool {
        !self.shared.table.read(tag).is_within(word)
    }

    /// Asks for a later ceiling ahead of need, unless there is one of `demand.least` by now. Never
    /// waits; may come to nothing.
    pub(crate) fn ask(&self, demand: Demand) {
        let shared = &self.shared;
        let Some((before, _)) = shared.table.amend(demand.tag, Word::dirty) else {
            return;
        };
        if before.is_dirty() {
            return;
        }
        // One that has just been raised may have been read before.
        let is_enough = demand.least.is_within(before);
        if !is_enough
            && let Some(mut desk) = try_lock(&shared.desk)
            && desk.demands.len() < AHEAD_MAX
            && self.is_running(&mut desk)
        {
            desk.demands.push(Demand {
                is_awaited: false,
                ..demand
            });
            shared.call.notify_all();
        } else {
            // Somebody else may ask a little later.
            shared.table.amend(demand.tag, Word::clean);
        }
    }

    /// Returns when a ceiling of at least `demand.least` is durable; or was, if it was brought down
    /// again at once: who counts looks for himself.
    ///
    /// # Errors
    /// If the disk fails, or is slower than the caller has patience, or there is no room for the
    /// ceiling.
    pub(crate) fn raise(&self, demand: Demand, patience: Patience) -> Result<(), Unraised> {
        let shared = &self.shared;
        let mut desk = lock(&shared.desk);
        if desk.is_hopeless() || !self.is_running(&mut desk) {
            return Err(Unraised::Unwritable);
        }
        desk.demands.push(demand);
        let mine = desk.begun + 1;
        shared.call.notify_all();
        while desk.done < mine && !desk.stop {
            let left = patience.left();
            if left.is_zero() {
                desk.withdraw(&demand);
                return Err(Unraised::Unwritable);
            }
            desk = wait(&shared.answer, desk, Some(left));
        }
        let was_written = desk.failing.is_none() && !desk.stop;
        drop(desk);
        let has_room = shared.table.find(demand.tag).has_slot();
        if shared.covers(demand.tag, demand.least) || was_written && has_room {
            Ok(())
        } else if was_written {
            Err(Unraised::Full)
        } else {
            Err(Unraised::Unwritable)
        }
    }

    /// Asks that the ceiling of `tag` be brought down to `target`, unless something counts above
    /// that by then: what was given back is not to count after a power cut. Does not wait.
    #[cold]
    pub(crate) fn lower(&self, tag: Tag, target: Word) {
        let mut desk = lock(&self.shared.desk);
        if !self.is_running(&mut desk) {
            // What is not brought down counts too much after a power cut, never too little.
            return;
        }
        // Bound: beyond it every ceiling is brought down to its word, which serves as well.
        match desk.lowered.len() < AHEAD_MAX {
            true => desk.lowered.push((tag, target)),
            false => desk.lowers_all = true,
        }
        self.shared.call.notify_all();
    }

    /// Returns when every ceiling that was to be brought down is so on the disk.
    ///
    /// # Errors
    /// If the disk fails or is too slow; says how.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let shared = &self.shared;
        let patience = Patience::begin();
        let mut desk = lock(&shared.desk);
        let is_idle = desk.has_nothing_to_lower();
        let mine = desk.begun + u64::from(!is_idle);
        while desk.done < mine {
            let left = patience.left();
            if desk.stop || left.is_zero() {
                return Err("the file of ceilings is not written in time".to_owned());
            }
            desk = wait(&shared.answer, desk, Some(left));
        }
        match &desk.failing {
            Some(failing) => Err(failing.why.clone()),
            None => Ok(()),
        }
    }

    /// When something was last charged that was to be in the table alone.
    pub(crate) fn unsecured_at(&self) -> Option<Instant> {
        *lock(&self.shared.unsecured_at)
    }

    /// Notes that something stands above its ceiling: admitted by its limit's choice, charged by a
    /// settlement, or left so by a process that was killed.
    #[cold]
    pub(crate) fn note_unsecured(&self) {
        *lock(&self.shared.unsecured_at) = Some(Instant::now());
        // Ordering: relaxed; a number to look at.
        self.shared.unsecured.fetch_add(1, Ordering::Relaxed);
    }

    /// How they are doing.
    pub(crate) fn standing(&self) -> Standing {
        let shared = &self.shared;
        let failing = lock(&shared.desk).failing.clone();
        // Ordering: relaxed; numbers to look at.
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Standing {
            writes: number(&shared.writes),
            unsecured: number(&shared.unsecured),
            bytes: number(&shared.bytes),
            failing,
        }
    }

    /// Ends the thread; who waits is told that nothing is written any more.
    pub(crate) fn stop(&self) {
        lock(&self.shared.desk).stop = true;
        self.shared.call.notify_all();
        self.shared.answer.notify_all();
        if let Some(thread) = lock(&self.thread).take() {
            // A thread that panicked has said so on standard error; those who wait were told.
            let _ = thread.join();
        }
    }

    /// Starts the thread with the first that needs it: without strict limits there is none.
    fn is_running(&self, desk: &mut Desk) -> bool {
        if desk.is_started || desk.stop {
            return !desk.stop;
        }
        let shared = self.shared.clone();
        let thread = crate::sync::spawn("tollgate-ceilings", move || shared.run());
        desk.is_started = thread.is_ok();
        *lock(&self.thread) = thread.ok();
        desk.is_started
    }
}

#[cfg(test)]
impl Ceilings {
    /// Ceilings of these tables on a medium in memory, and that, for those who count.
    pub(crate) fn in_memory(tables: &[&Arc<Table>], now: Timestamp) -> (Self, InMemory) {
        let twin = medium::Twin::new(medium::Content::default());
        let tables = tables.iter().map(|table| Arc::clone(table)).collect();
        let counters = Counters {
            tables,
            worth: Worth::New,
        };
        let table = Arc::new(Table::new(vec![crate::table::Region::heap(1)]));
        let opened = Self::on(Box::new(twin.clone()), [0; 16], table, counters, now);
        let (ceilings, _) = opened.unwrap_or_else(|_| unreachable!("memory does not fail"));
        (ceilings, InMemory(twin))
    }
}

/// A medium in memory.
#[cfg(test)]
pub(crate) struct InMemory(
    #[cfg_attr(
        not(tollgate_loom),
        expect(dead_code, reason = "only models look at it")
    )]
    medium::Twin,
);

#[cfg(all(test, tollgate_loom))]
impl InMemory {
    /// The ceiling that a power cut at this instant would leave.
    pub(crate) fn durable(&self, tag: Tag) -> Word {
        let mut last = Word::ABSENT;
        let found = file::read(&mut self.0.clone(), [0; 16], &mut |of, word| {
            if of == tag {
                last = word;
            }
        });
        assert!(matches!(found, Ok(Found::Whole { .. })));
        last
    }
}

/// Why a ceiling is not raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unraised {
    /// Nothing can be made durable now.
    Unwritable,
    /// There is no room for it in memory, and the disk does not hear of it.
    Full,
}

enum Refusal {
    Io(std::io::Error),
    Version { found: u32 },
}

impl std::fmt::Debug for Ceilings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ceilings({:?})", self.standing())
    }
}
