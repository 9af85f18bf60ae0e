//! Replaying logs against policies: each request is judged at the time that the log gives it.

mod amounts;
mod attempts;
mod compare;
mod counts;
mod follow;
mod home;
mod interrupt;
mod judge;
mod keys;
mod misread;
mod parts;
mod progress;
mod state;
mod summarise;
mod summary;
mod table;
pub(crate) mod text;
mod timeline;
mod totals;
mod trace;
pub(crate) mod words;

pub(crate) use amounts::{Interrupted, Memory, Trial, find};
pub(crate) use attempts::Attempts;
pub(crate) use follow::Live;
pub(crate) use home::{Held, Home};
pub(crate) use interrupt::Interrupt;
pub(crate) use judge::{Judge, MetRate, Outcome, Ruling};
pub(crate) use misread::Misread;
pub(crate) use parts::Parts;
pub(crate) use progress::{Progress, Show};
pub(crate) use state::Side as Counted;
pub(crate) use state::{Recipe, State};
pub(crate) use summarise::Worked;
#[cfg(test)]
pub(crate) use summarise::tests::summary_of_test;
pub(crate) use summary::{
    AmountsSummary, BinSummary, FoundRate, KeySummary, LimitAmounts, PolicySummary, Suggestion,
    Summary, TimelineSummary,
};
pub(crate) use table::width_of;
pub(crate) use trace::Recorder;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tollgate::Timestamp;

use crate::log::{Entry, LINE_BYTES_MAX, Line, Malformed, Read, Reading, Source};
use compare::By;
use totals::Complaint;

/// Lines between two looks at the clock and at signals.
const LINES_BETWEEN_LOOKS: u64 = 256;

/// A checkpoint is not made before this many times of what the last one took has passed, so that
/// checkpoints take a twentieth of the time at most.
const CHECKPOINT_PAUSES: u32 = 19;

/// How a replay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All logs were read.
    Finished,
    /// By a signal, with a checkpoint made.
    Interrupted,
}

/// How to replay.
pub(crate) struct Options {
    pub(crate) reading: Reading,
    /// True if a malformed line ends the replay.
    pub(crate) strict: bool,
    pub(crate) checkpoint_every: Duration,
}

/// One policy of a replay.
pub(crate) struct Side<'a> {
    pub(crate) judge: Box<dyn Judge + 'a>,
    /// Requests without a counter of their own before a resumption; the judge knows of the rest.
    pub(crate) counterless: u64,
    /// If it is to be kept what each limit was asked.
    pub(crate) recorder: Option<Recorder>,
    pub(crate) ruling: Ruling,
}

/// A replay under way.
pub(crate) struct Replay<'a> {
    pub(crate) options: Options,
    /// As many as the state has policies.
    pub(crate) sides: Vec<Side<'a>>,
    pub(crate) home: Home,
    pub(crate) state: State,
    pub(crate) progress: Progress,
    /// If the last log is still being written.
    pub(crate) live: Option<Live>,
    pub(crate) interrupt: Interrupt,
}

impl Replay<'_> {
    /// Reads the logs from where the state stands to their end.
    ///
    /// # Errors
    /// If a log cannot be read, is not the one that the replay began with, is mostly not what it
    /// was taken for, or, where that is asked for, has a malformed line; or if the directory cannot
    /// be written.
    pub(crate) fn run(&mut self) -> anyhow::Result<Ended> {
        if self.state.position.finished {
            return Ok(Ended::Finished);
        }
        let mut looks = Looks::new(self.options.checkpoint_every);
        let mut bytes_before: u64 = 0;
        // Logs that are behind are only looked at, to be sure that they are the same.
        let reached = std::mem::take(&mut self.state.position);
        let logs = self.state.recipe.logs.clone();
        for (number, name) in logs.iter().enumerate() {
            let behind = number < reached.log;
            self.state.position.log = number;
            if behind && name == "-" {
                continue;
            }
            let format = self.state.recipe.format.as_ref();
            let mut source = Source::open(name, format, &self.options.reading)?;
            if self.live.is_some() && number + 1 == logs.len() {
                source.follow()?;
            }
            self.state.recognise(&source)?;
            if !behind {
                if number == reached.log {
                    let heading = reached.heading.as_deref();
                    source.skip(reached.offset, reached.lines, heading)?;
                }
                if self.read(&mut source, bytes_before, &mut looks)? == Ended::Interrupted {
                    self.progress.finish();
                    return Ok(Ended::Interrupted);
                }
            }
            bytes_before += source.identity().bytes.unwrap_or(0);
        }
        self.state.position.log = self.state.recipe.logs.len();
        self.state.position.finished = true;
        self.keep()?;
        self.progress.finish();
        Ok(Ended::Finished)
    }

    /// Writes the counters of all policies: nothing is judged after this.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) fn close(&mut self) -> anyhow::Result<()> {
        let mut sides = self.sides.iter_mut();
        sides.try_for_each(|side| side.judge.close())
    }

    /// Reads one log to its end.
    fn read(
        &mut self,
        source: &mut Source,
        bytes_before: u64,
        looks: &mut Looks,
    ) -> anyhow::Result<Ended> {
        let before = self.state.lines.clone();
        loop {
            let read = source.advance()?;
            self.state.position.offset = source.offset();
            self.state.position.lines = source.lines();
            self.state.lines.read += u64::from(read != Read::End);
            match read {
                Read::End if source.is_followed() => {
                    if self.wait(source)? == Ended::Interrupted {
                        return Ok(Ended::Interrupted);
                    }
                }
                Read::End => {
                    misread::check(&before, &self.state, &self.sides, source, true)?;
                    return Ok(Ended::Finished);
                }
                Read::Line => self.line(source)?,
                Read::TooLong => {
                    let why = format!("a line longer than {} KiB", LINE_BYTES_MAX / 1024);
                    self.complain(source, Malformed(why))?;
                }
            }
            if !self.state.lines.read.is_multiple_of(LINES_BETWEEN_LOOKS) {
                continue;
            }
            let bytes = bytes_before + source.consumed();
            let now = self.now();
            match &mut self.live {
                Some(live) => live.show(&self.state, now),
                None => self.progress.show(bytes, self.state.lines.read, now),
            }
            if self.interrupt.is_asked() {
                self.keep_at(source)?;
                return Ok(Ended::Interrupted);
            }
            if looks.due() {
                misread::check(&before, &self.state, &self.sides, source, false)?;
                let began = Instant::now();
                self.keep_at(source)?;
                looks.made(began.elapsed());
            }
        }
    }

    /// The log's time.
    fn now(&self) -> Timestamp {
        let (_, now) = self.state.lines.span_nanos.unwrap_or_default();
        Timestamp::from_nanos(now)
    }

    /// Waits for more of a log that is still being written.
    fn wait(&mut self, source: &mut Source) -> anyhow::Result<Ended> {
        let now = self.now();
        if let Some(live) = &mut self.live {
            live.show(&self.state, now);
            live.pause();
        }
        if self.interrupt.is_asked() {
            self.keep_at(source)?;
            return Ok(Ended::Interrupted);
        }
        if source.was_replaced() {
            source.begin_again()?;
            let place = self.state.position.log;
            if let Some(identity) = self.state.identities.get_mut(place) {
                *identity = source.identity().clone();
            }
        }
        Ok(Ended::Finished)
    }

    /// Counts and judges the line in hand.
    fn line(&mut self, source: &mut Source) -> anyhow::Result<()> {
        let lines = &mut self.state.lines;
        let why = match source.parse() {
            Ok(Line::Request(entry)) => {
                let now = lines.hold(entry.time);
                lines.requests += 1;
                return self.request(now, &entry);
            }
            Ok(Line::NoRequest(_)) => {
                lines.without_request += 1;
                return Ok(());
            }
            Ok(Line::Blank) => {
                lines.blank += 1;
                return Ok(());
            }
            Err(why) => why,
        };
        self.complain(source, why)
    }

    /// Judges a request by each policy.
    fn request(&mut self, now: Timestamp, entry: &Entry<'_>) -> anyhow::Result<()> {
        let Self { sides, state, .. } = self;
        for (side, counted) in sides.iter_mut().zip(&mut state.policies) {
            let Side { judge, ruling, .. } = side;
            judge.judge(now, entry, ruling)?;
            counted.count(now, ruling);
            for outcome in &ruling.outcomes {
                if outcome.refused {
                    let who = (outcome.limit, outcome.counter);
                    let key = || judge.key(entry, outcome.limit);
                    counted.refused_keys.count(who, now, entry, key);
                }
                if let Some(recorder) = &mut side.recorder {
                    recorder.record(now, outcome, judge.rates())?;
                }
            }
        }
        let Some((first, others)) = sides.split_first() else {
            return Ok(());
        };
        for (side, counted) in others.iter().zip(state.policies.iter_mut().skip(1)) {
            let Some(difference) = &mut counted.difference else {
                continue;
            };
            if let Some((by, keys)) = difference.count(&first.ruling, &side.ruling) {
                let refuser = if by == By::First { first } else { side };
                let outcomes = &refuser.ruling.outcomes;
                let ruled = refuser.ruling.ruling.and_then(|place| outcomes.get(place));
                if let Some(outcome) = ruled {
                    let who = (outcome.limit, outcome.counter);
                    keys.count(who, now, entry, || refuser.judge.key(entry, outcome.limit));
                }
            }
        }
        Ok(())
    }

    fn complain(&mut self, source: &Source, Malformed(why): Malformed) -> anyhow::Result<()> {
        let (file, line) = (&source.identity().name, source.lines());
        if self.options.strict {
            bail!("{file}:{line}: {why}: {}", source.excerpt());
        }
        self.state.lines.complain(|| Complaint {
            file: file.clone(),
            line,
            why,
            excerpt: source.excerpt(),
        });
        Ok(())
    }

    fn keep_at(&mut self, source: &Source) -> anyhow::Result<()> {
        self.state.position.heading = source.heading();
        self.keep()
    }

    /// Makes a checkpoint of the counters and of everything counted beside them.
    fn keep(&mut self) -> anyhow::Result<()> {
        for (side, counted) in self.sides.iter_mut().zip(&mut self.state.policies) {
            if let Some(recorder) = &mut side.recorder {
                counted.tracks = recorder.keep()?;
            }
            counted.without_counter = side.counterless + side.judge.without_counter();
        }
        let (text, counts) = self.state.write()?;
        let sides = &mut self.sides;
        let backup = |policy: usize, path: &std::path::Path| match sides.get_mut(policy) {
            Some(side) => side.judge.backup(path),
            None => Ok(()),
        };
        self.home
            .keep(&text, &counts, backup)
            .context("cannot make a checkpoint")
    }
}

/// When to look up from reading.
struct Looks {
    every: Duration,
    pause: Duration,
    last: Instant,
}

impl Looks {
    fn new(every: Duration) -> Self {
        Self {
            every,
            pause: every,
            last: Instant::now(),
        }
    }

    fn due(&self) -> bool {
        self.last.elapsed() >= self.pause
    }

    fn made(&mut self, took: Duration) {
        self.pause = self.every.max(took * CHECKPOINT_PAUSES);
        self.last = Instant::now();
    }
}

#[cfg(test)]
mod tests;
