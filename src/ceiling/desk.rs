//! The desk: what is asked of the disk, and the thread that writes it, once for all who wait.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::pen::{Pen, Record};
use super::whole::{latest, living};
use crate::algorithm::Word;
use crate::key::Tag;
use crate::sync::{Arc, AtomicU64, Condvar, Mutex, MutexGuard, Ordering, fence, lock, wait};
use crate::table::{Table, Update};
use crate::time::Timestamp;
use crate::trouble::Trouble;

/// The longest that anybody waits for the disk.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Until when one caller waits for the disk, however often he has to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(Instant);

impl Patience {
    pub(crate) fn begin() -> Self {
        Self(Instant::now() + PATIENCE)
    }

    pub(super) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// How soon after a failure the disk is tried again for somebody who waits.
pub(super) const AGAIN: Duration = Duration::from_millis(100);
/// How soon after a failure it is tried again for nobody.
const RETRY: Duration = Duration::from_secs(1);

/// A ceiling that somebody wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) tag: Tag,
    /// The counter's word from which the target was reckoned.
    pub(crate) from: Word,
    /// The word to be admitted.
    pub(crate) least: Word,
    /// The ceiling to be written: the same or later.
    pub(crate) target: Word,
    pub(crate) now: Timestamp,
    /// Somebody waits for it.
    pub(crate) is_awaited: bool,
}

impl Demand {
    fn record(&self) -> Record {
        (self.tag, self.target.clean())
    }
}

/// What is written next, and how the last writing went.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) demands: Vec<Demand>,
    /// Ceilings to be brought down.
    pub(super) lowered: Vec<Record>,
    /// True if there were too many of these to note: then all are looked at.
    pub(super) lowers_all: bool,
    /// Rounds of writing that have taken their demands, and those that are done with them.
    pub(super) begun: u64,
    pub(super) done: u64,
    /// When the round that is under way began.
    pub(super) began: Option<Instant>,
    /// When a round last ended.
    pub(super) ended: Instant,
    pub(super) failing: Option<Trouble>,
    pub(super) is_started: bool,
    pub(super) stop: bool,
}

pub(super) struct Shared {
    /// Ceilings by the tag of their counter. Dirty: a later one is asked for.
    pub(super) table: Arc<Table>,
    /// Where the counters stand.
    pub(super) counters: Vec<Arc<Table>>,
    pub(super) desk: Mutex<Desk>,
    pub(super) pen: Mutex<Pen>,
    /// Rung when something is to be written.
    pub(super) call: Condvar,
    /// Rung when a round is done.
    pub(super) answer: Condvar,
    pub(super) writes: AtomicU64,
    pub(super) unsecured: AtomicU64,
    /// When the last of these was.
    pub(super) unsecured_at: Mutex<Option<Instant>>,
    pub(super) bytes: AtomicU64,
}

impl Desk {
    fn is_empty(&self) -> bool {
        self.demands.is_empty() && self.has_nothing_to_lower()
    }

    pub(super) fn has_nothing_to_lower(&self) -> bool {
        self.lowered.is_empty() && !self.lowers_all
    }

    /// Nobody waits for this demand any more. If it is being written, the ceiling comes down later.
    pub(super) fn withdraw(&mut self, demand: &Demand) {
        let (tag, least) = (demand.tag, demand.least);
        let is_it = |other: &Demand| other.tag == tag && other.least == least;
        match self.demands.iter().position(is_it) {
            Some(place) => drop(self.demands.swap_remove(place)),
            None => self.lowered.push((tag, demand.from)),
        }
    }

    /// True if the disk has just failed, or has been hanging for long: who asked would only wait.
    pub(super) fn is_hopeless(&self) -> bool {
        let hangs = self
            .began
            .is_some_and(|began| began.elapsed() > PATIENCE / 2);
        hangs || self.failing.is_some() && self.ended.elapsed() < AGAIN
    }
}

impl Shared {
    /// True if `word` is within what is on the disk.
    #[inline]
    pub(super) fn covers(&self, tag: Tag, word: Word) -> bool {
        word.is_within(self.table.read(tag))
    }

    /// The thread: writes whenever something is asked for.
    pub(super) fn run(&self) {
        let _leaving = Leaving(self);
        loop {
            let mut desk = lock(&self.desk);
            while desk.is_empty() && !desk.stop {
                // Whether the disk is well again is found out without anybody asking.
                let limit = desk.failing.is_some().then_some(RETRY);
                desk = wait(&self.call, desk, limit);
                if limit.is_some() {
                    break;
                }
            }
            if desk.stop {
                return;
            }
            self.round(desk);
        }
    }

    /// Writes what is asked for now.
    fn round(&self, mut desk: MutexGuard<'_, Desk>) {
        let demands = std::mem::take(&mut desk.demands);
        let mut lowered = std::mem::take(&mut desk.lowered);
        let lowers_all = std::mem::take(&mut desk.lowers_all);
        desk.begun += 1;
        desk.began = Some(Instant::now());
        drop(desk);
        if lowers_all {
            self.table
                .for_each(|tag, _| lowered.push((tag, Word::ABSENT)));
        }
        let written = self.write(&demands, &lowered);
        let mut desk = lock(&self.desk);
        desk.done = desk.begun;
        desk.began = None;
        desk.ended = Instant::now();
        desk.failing = match (written, desk.failing.take()) {
            (Ok(()), _) => None,
            (Err(error), before) => Some(Trouble::after(before, error.to_string())),
        };
        self.answer.notify_all();
    }

    /// Brings a ceiling down in memory, to `target` or to the word that stands now if that is
    /// later; gives what the disk is to hear of then. Until it does, it knows of a higher one,
    /// which harms nobody.
    ///
    /// A taker reads the ceiling, changes the word, and reads the ceiling again; here the ceiling
    /// is changed before the word is read. So at least one of the two sees the other. A word that
    /// has moved meanwhile, up or down, is followed, not given up on: nobody would ask again, and
    /// what was given back would count after a power cut.
    fn bring_down(&self, (tag, target): &Record) -> Option<Record> {
        let keep = |from: Word, to: Word| if from.is_dirty() { to.dirty() } else { to };
        // Only this thread changes ceilings, so this one stays what the disk knows at least.
        let highest = self.table.read(*tag).clean();
        if highest.is_within(*target) {
            return None;
        }
        // Words of two rates cannot be compared. Go down to the counter's word, which was within
        // the highest ceiling when it was written.
        let target = match highest.differs_in_pace(*target) {
            true => Word::ABSENT,
            false => target.clean(),
        };
        loop {
            let mut ceiling = self.later_of(*tag, target);
            if highest.is_within(ceiling) {
                ceiling = highest;
            }
            self.table.amend(*tag, |before| keep(before, ceiling));
            // Ordering: a full fence between the ceiling and the look at the word, against the ones
            // in a take and in a refund between the word and their second look at the ceiling.
            fence(Ordering::SeqCst);
            // Bound: each time round another thread has changed the word.
            let word = self.later_of(*tag, target);
            if word == ceiling || ceiling == highest && !word.is_within(highest) {
                return (ceiling != highest).then_some((*tag, ceiling));
            }
        }
    }

    /// `target`, or the counter's word if that is later.
    fn later_of(&self, tag: Tag, target: Word) -> Word {
        latest(&self.counters, tag, target)
    }

    /// Brings down what is to come down, then raises what is asked for: who waits gets his.
    fn write(&self, demands: &[Demand], lowered: &[Record]) -> std::io::Result<()> {
        // Who asked ahead of need did not know yet that something would be given back.
        let given_back: HashSet<Tag> = lowered.iter().map(|(tag, _)| *tag).collect();
        let lowered = lowered.iter().filter_map(|record| self.bring_down(record));
        let mut records: Vec<Record> = lowered.collect();
        let now = demands.iter().map(|demand| demand.now).max();
        let now = now.unwrap_or_default();
        let raised = demands.iter().filter(|demand| {
            let is_stale = !demand.is_awaited && given_back.contains(&demand.tag);
            !is_stale && !self.covers(demand.tag, demand.target)
        });
        let mut raised: Vec<&Demand> = raised
            .filter(|demand| self.has_room(demand, now))
            .filter(|demand| !self.is_outdated(demand))
            .collect();
        // The latest of a counter is the last, and the last counts.
        raised.sort_unstable_by_key(|demand| (demand.tag.bits(), demand.target.clean().bits()));
        records.extend(raised.iter().map(|demand| demand.record()));
        let mut written = self.put_down(&records, now);
        if written.is_ok() {
            // Only now, and never down: what stands here is on the disk.
            for (tag, word) in raised.iter().map(|demand| demand.record()) {
                self.table.update(tag, now, |ceiling| {
                    Some(if word.is_within(ceiling) {
                        ceiling.clean()
                    } else {
                        word
                    })
                });
            }
            written = self.take_back(&raised, now);
        }
        self.answer_asked(demands);
        written
    }

    /// True if something was given back since the demand's target was reckoned: the target lies
    /// more than a reservation above the word then. Who waits reckons anew.
    fn is_outdated(&self, demand: &Demand) -> bool {
        let word = self.later_of(demand.tag, Word::ABSENT);
        !demand.from.is_within(word)
    }

    /// Brings down again what was raised while something was given back: whoever gave it back saw
    /// the ceiling as it was before, and asked for nothing.
    fn take_back(&self, raised: &[&Demand], now: Timestamp) -> std::io::Result<()> {
        // Ordering: a full fence between the raised ceilings and the look at the words, against
        // the one in a refund between the word and its look at the ceiling.
        fence(Ordering::SeqCst);
        let outdated = raised.iter().filter(|demand| self.is_outdated(demand));
        let records: Vec<Record> = outdated
            .filter_map(|demand| self.bring_down(&(demand.tag, Word::ABSENT)))
            .collect();
        self.put_down(&records, now)
    }

    /// Writes the records; they are durable when it returns.
    fn put_down(&self, records: &[Record], now: Timestamp) -> std::io::Result<()> {
        let mut pen = lock(&self.pen);
        if records.is_empty() && pen.is_good() {
            return Ok(());
        }
        let written = pen.write(records, || living(&self.table, now));
        // Ordering: relaxed on both; numbers to look at.
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes.store(pen.bytes(), Ordering::Relaxed);
        written
    }

    /// Keeps room for a ceiling in memory before the disk hears of it; false if there is none. A
    /// ceiling on the disk that memory has no room for helps nobody, and is written at each try.
    ///
    /// Only this thread brings in tags, so what is live at `now` is there when the disk answers.
    fn has_room(&self, demand: &Demand, now: Timestamp) -> bool {
        let place = demand.target.clean().floor(now);
        let update = self.table.update(demand.tag, now, |ceiling| {
            let is_kept = ceiling.is_live(now) || ceiling.clean().bits() >= place.bits();
            (!is_kept).then_some(place)
        });
        update != Update::Full
    }

    /// They may ask again.
    fn answer_asked(&self, demands: &[Demand]) {
        for demand in demands {
            self.table.amend(demand.tag, Word::clean);
        }
    }
}

/// Tells those who wait that the thread is gone, however it went.
struct Leaving<'a>(&'a Shared);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut desk = lock(&self.0.desk);
        if !desk.stop {
            let why = "the thread that writes the ceilings panicked".into();
            desk.failing = Some(Trouble::after(None, why));
        }
        desk.stop = true;
        self.0.answer.notify_all();
    }
}
