//! What was printed, told again: what each counter must and may be at its end.

use std::collections::BTreeMap;

use crate::ranges::Ranges;
use crate::{Keeps, LIMITS, RESERVATION, THREADS, leaves_strict_alone};

/// What a power cut may make a logged limit forget: the interval, and what a slow drive and a busy
/// machine add to it. How much it really was is printed; what was said to be durable is exact.
const LAG_NANOS: u64 = 100_000_000 + 10_000_000_000;

/// Where the story has come to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Stage {
    #[default]
    Nothing,
    Opening,
    Open,
    Closed,
}

/// What befell the process since it last said something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It may have been killed, and no more.
    Killed,
    /// It had closed; the table may have been in memory that is gone.
    Closed,
    /// The power was cut.
    Cut,
}

#[derive(Default)]
struct Thread {
    /// By limit: what was found at the last opening.
    base: Vec<u64>,
    /// By limit: what a cut must leave.
    sure: Vec<u64>,
    /// Since that opening: takes begun.
    begun: u64,
    /// Since that opening: when each take was done.
    done: Vec<u64>,
}

/// The lines of all lives, up to one of them.
#[derive(Default)]
pub(crate) struct Story {
    threads: [Thread; THREADS],
    found: [Vec<u64>; THREADS],
    pub(crate) stage: Stage,
    /// The power was cut since the last opening.
    is_cut: bool,
    /// A kill is all that ever happens.
    is_kept: bool,
    opened_at: u64,
    last: u64,
    pub(crate) has_errors: bool,
    /// The longest time without anything durable and without a reason, in milliseconds.
    pub(crate) late: u64,
    pub(crate) lines: u64,
    /// Lines of each round.
    rounds: Vec<u64>,
    /// What the raced keys count.
    pub(crate) ranges: Ranges,
    /// What an opening found more of than was begun.
    pub(crate) excess: Vec<String>,
    /// What was wrong with them at an opening.
    pub(crate) ranges_faults: Vec<String>,
    /// By pot: how often it admitted, in all lives.
    pub(crate) pots: BTreeMap<u64, u64>,
    /// What cannot have been, were all promises kept.
    pub(crate) faults: Vec<String>,
}

impl Story {
    /// Reads the story in the file that an environment variable names. `known` is as much of it as
    /// the rig had read before each cut, if that is another.
    pub(crate) fn read(
        variable: &str,
        is_kept: bool,
        known: Option<&Self>,
    ) -> Result<Self, String> {
        let path = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let mut story = Self {
            is_kept,
            ..Self::default()
        };
        for line in text.lines() {
            story.lines += 1;
            let told = story.tell(line);
            told.ok_or_else(|| format!("{path}: not a line of the worker: {line:?}"))?;
            let (round, number) = (story.rounds.len(), story.rounds.last().copied());
            let read = known.map(|known| known.rounds.get(round.saturating_sub(1)).copied());
            let is_known = read.is_none_or(|read| number <= read);
            story.ranges.told(is_known);
        }
        Ok(story)
    }

    fn tell(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_whitespace();
        let verb = words.next()?;
        let how = if verb == "opened" { words.next()? } else { "" };
        if verb == "ERR" {
            self.has_errors = true;
            return Some(());
        }
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        match self.rounds.last_mut() {
            Some(lines) if verb != "#" => *lines += 1,
            _ => self.rounds.push(0),
        }
        match (verb, &numbers[..]) {
            ("#", [round]) => {
                self.stage = Stage::Nothing;
                self.is_cut |= *round > 0 && !self.is_kept;
            }
            ("opening", []) => self.stage = Stage::Opening,
            ("found", [thread, counts @ ..]) => {
                *self.found.get_mut(usize::try_from(*thread).ok()?)? = counts.to_vec();
            }
            ("opened", [nanos]) => self.open(how, *nanos),
            ("begin", [thread, number]) => self.thread(*thread)?.begun = *number,
            ("done", [thread, number, nanos]) => {
                self.last = self.last.max(*nanos);
                let done = &mut self.thread(*thread)?.done;
                done.push(*nanos);
                (done.len() as u64 == *number).then_some(())?;
            }
            ("took", [pot]) => *self.pots.entry(*pot).or_default() += 1,
            ("left", [limit, counts @ ..]) => self.ranges.found(*limit, counts)?,
            ("race", [number, limit, key, low, most]) => {
                self.ranges.race(*number, [*limit, *key], *low, *most)?;
            }
            ("raced", [limit, key, low, high]) => self.ranges.raced([*limit, *key], *low, *high)?,
            ("flushed", [done @ .., races]) if done.len() == THREADS => {
                for (thread, done) in self.threads.iter_mut().zip(done) {
                    thread.secure(*done);
                }
                self.ranges.flushed(*races);
            }
            ("durable", [nanos]) => self.durable(*nanos),
            ("late", [millis]) => self.late = self.late.max(*millis),
            ("closed", []) => {
                self.stage = Stage::Closed;
                self.ranges.closed();
            }
            ("closing" | "killed", []) => {}
            _ => return None,
        }
        Some(())
    }

    fn thread(&mut self, number: u64) -> Option<&mut Thread> {
        self.threads.get_mut(usize::try_from(number).ok()?)
    }

    /// True if some life has come so far.
    pub(crate) fn was_opened(&self) -> bool {
        self.opened_at > 0
    }

    /// A life begins: what it found is held against what the lives before it left.
    fn open(&mut self, how: &str, nanos: u64) {
        let is_same_kernel = !self.is_cut;
        let fate = if self.is_cut { Fate::Cut } else { Fate::Killed };
        if how == "rebuilt" && is_same_kernel && !self.has_errors {
            self.faults.push("rebuilt after a kill or a close".into());
        }
        if how == "new" && self.opened_at > 0 && is_same_kernel {
            self.faults.push("new after a kill or a close".into());
        }
        for fault in self.ranges.open(how == "rebuilt", fate) {
            self.ranges_faults
                .push(format!("at an opening ({how}): {fault}"));
        }
        for number in 0..THREADS {
            let found = std::mem::take(&mut self.found[number]);
            for (limit, count) in found.iter().enumerate() {
                let bounds = self.bounds(number, limit, fate);
                if let Some(fault) = bounds.fault(*count) {
                    // What was begun may have been printed later than the rig read.
                    let faults = match *count > bounds.high {
                        true => &mut self.excess,
                        false => &mut self.faults,
                    };
                    faults.push(format!("at an opening ({how}): {fault}"));
                }
            }
            let thread = &mut self.threads[number];
            // What a kept table holds need not be in the journal yet.
            if how != "kept" {
                thread.sure.clone_from(&found);
            }
            thread.base = found;
            thread.begun = 0;
            thread.done.clear();
        }
        self.stage = Stage::Open;
        self.is_cut = false;
        self.opened_at = nanos;
        self.last = self.last.max(nanos);
    }

    /// All that was done before `nanos` is said to be durable.
    fn durable(&mut self, nanos: u64) {
        // The health says so from the start on; it has seen to nothing before its first round.
        if nanos <= self.opened_at {
            return;
        }
        for thread in &mut self.threads {
            thread.secure(thread.before(nanos));
        }
    }

    /// What must and may be counted now by a limit for a thread.
    pub(crate) fn bounds(&self, number: usize, limit: usize, fate: Fate) -> Bounds {
        let charged = &LIMITS[limit];
        let thread = &self.threads[number];
        let base = thread.base.get(limit).copied().unwrap_or(0);
        let sure = thread.sure.get(limit).copied().unwrap_or(0);
        let done = thread.done.len() as u64;
        let due = self.last.saturating_sub(LAG_NANOS);
        let low = match charged.keeps {
            Keeps::Everything if leaves_strict_alone() => 0,
            Keeps::Everything => base + done,
            _ if fate == Fate::Killed => base + done,
            Keeps::Nothing => 0,
            Keeps::Durable if fate == Fate::Closed => base + done,
            // With an error told, the time that may be lost grows.
            Keeps::Durable if self.has_errors || self.opened_at > due => sure,
            Keeps::Durable => sure.max(base + thread.before(due)),
        };
        let is_ahead = fate != Fate::Killed && charged.keeps == Keeps::Everything;
        let ahead = if is_ahead { RESERVATION } else { 0 };
        Bounds {
            what: format!("{} of thread {number}", charged.name),
            low: low.saturating_sub(charged.refill),
            high: base + thread.begun + ahead,
        }
    }

    /// How long before the last line the first take that is lost was done, in milliseconds, if
    /// `count` is what is left of a thread's.
    pub(crate) fn lag_millis(&self, number: usize, limit: usize, count: u64) -> u64 {
        let thread = &self.threads[number];
        let base = thread.base.get(limit).copied().unwrap_or(0);
        let kept = usize::try_from(count.saturating_sub(base)).unwrap_or(usize::MAX);
        let lost = thread.done.get(kept);
        lost.map_or(0, |at| self.last.saturating_sub(*at) / 1_000_000)
    }
}

impl Thread {
    /// Takes done before an instant.
    fn before(&self, nanos: u64) -> u64 {
        self.done.partition_point(|at| *at < nanos) as u64
    }

    /// So many takes since the opening, and all before it, are durable.
    fn secure(&mut self, done: u64) {
        self.sure.resize(self.base.len(), 0);
        for (sure, base) in self.sure.iter_mut().zip(&self.base) {
            *sure = (*sure).max(base + done);
        }
    }
}

/// What a count must and may be.
pub(crate) struct Bounds {
    pub(crate) what: String,
    pub(crate) low: u64,
    pub(crate) high: u64,
}

impl Bounds {
    /// What is wrong with a count, if something is.
    pub(crate) fn fault(&self, count: u64) -> Option<String> {
        let Self { what, low, high } = self;
        if count > *high {
            return Some(format!("{what}: {count} counted, only {high} begun"));
        }
        (count < *low).then(|| format!("{what}: {count} counted, {low} must be"))
    }
}
