//! Replaying logs against a policy: each request is judged at the time that the log gives it.

mod amounts;
mod attempts;
mod home;
mod judge;
mod keys;
mod progress;
mod state;
mod summary;
pub(crate) mod text;
mod timeline;
mod totals;
mod trace;

pub(crate) use amounts::{Memory, Trial, find};
pub(crate) use attempts::Attempts;
pub(crate) use home::{Held, Home};
pub(crate) use judge::{Judge, Outcome, Ruling};
pub(crate) use progress::{Progress, Show};
pub(crate) use state::{Recipe, State};
#[cfg(test)]
pub(crate) use summary::tests::summary_of_test;
pub(crate) use summary::{
    AmountsSummary, BinSummary, FoundRate, LimitAmounts, Summary, TimelineSummary,
};
pub(crate) use trace::Recorder;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tollgate::Timestamp;

use crate::log::{LINE_BYTES_MAX, Line, Malformed, Read, Reading, Source};
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

/// A replay under way.
pub(crate) struct Replay<'a> {
    pub(crate) options: Options,
    pub(crate) judge: &'a mut dyn Judge,
    pub(crate) home: Home,
    pub(crate) state: State,
    /// Requests without a counter of their own before a resumption; the judge knows of the rest.
    pub(crate) counterless: u64,
    /// If it is to be kept what each limit was asked.
    pub(crate) recorder: Option<Recorder>,
    pub(crate) progress: Progress,
}

impl Replay<'_> {
    /// Reads the logs from where the state stands to their end.
    ///
    /// # Errors
    /// If a log cannot be read, is not the one that the replay began with, or, where that is
    /// asked for, has a malformed line; or if the directory cannot be written.
    pub(crate) fn run(&mut self) -> anyhow::Result<Ended> {
        if self.state.position.finished {
            return Ok(Ended::Finished);
        }
        let mut looks = Looks::new(self.options.checkpoint_every)?;
        let mut bytes_before: u64 = 0;
        // Logs that are behind are only looked at, to be sure that they are the same.
        let reached = std::mem::take(&mut self.state.position);
        for number in 0..self.state.recipe.logs.len() {
            let behind = number < reached.log;
            self.state.position.log = number;
            let name = self
                .state
                .recipe
                .logs
                .get(number)
                .cloned()
                .unwrap_or_default();
            if behind && name == "-" {
                continue;
            }
            let mut source = Source::open(&name, self.state.recipe.format, &self.options.reading)?;
            self.state.recognise(source.identity(), source.format())?;
            if !behind {
                if number == reached.log {
                    source.skip(reached.offset, reached.lines)?;
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

    /// Reads one log to its end.
    fn read(
        &mut self,
        source: &mut Source,
        bytes_before: u64,
        looks: &mut Looks,
    ) -> anyhow::Result<Ended> {
        loop {
            let read = source.advance()?;
            self.state.position.offset = source.offset();
            self.state.position.lines = source.lines();
            self.state.totals.lines += u64::from(read != Read::End);
            match read {
                Read::End => return Ok(Ended::Finished),
                Read::Line => self.line(source)?,
                Read::TooLong => {
                    let why = format!("a line longer than {} KiB", LINE_BYTES_MAX / 1024);
                    self.complain(source, Malformed(why))?;
                }
            }
            if !self.state.totals.lines.is_multiple_of(LINES_BETWEEN_LOOKS) {
                continue;
            }
            let (_, now) = self.state.totals.span_nanos.unwrap_or_default();
            let bytes = bytes_before + source.consumed();
            let now = Timestamp::from_nanos(now);
            self.progress.show(bytes, self.state.totals.lines, now);
            if looks.signalled() {
                self.keep()?;
                return Ok(Ended::Interrupted);
            }
            if looks.due() {
                let began = Instant::now();
                self.keep()?;
                looks.made(began.elapsed());
            }
        }
    }

    /// Counts and judges the line in hand.
    fn line(&mut self, source: &mut Source) -> anyhow::Result<()> {
        let totals = &mut self.state.totals;
        let why = match source.parse() {
            Ok(Line::Request(entry)) => {
                let now = totals.hold(entry.time);
                let ruling = self.judge.judge(now, &entry)?;
                totals.count(&ruling);
                self.state.timeline.count(now, ruling.allowed);
                for outcome in ruling.outcomes {
                    self.state
                        .keys
                        .count(outcome.limit, &outcome.key, outcome.refused);
                    if let Some(recorder) = &mut self.recorder {
                        recorder.record(now, outcome)?;
                    }
                }
                return Ok(());
            }
            Ok(Line::NoRequest(_)) => {
                totals.without_request += 1;
                return Ok(());
            }
            Ok(Line::Blank) => {
                totals.blank += 1;
                return Ok(());
            }
            Err(why) => why,
        };
        self.complain(source, why)
    }

    fn complain(&mut self, source: &Source, Malformed(why): Malformed) -> anyhow::Result<()> {
        let (file, line) = (&source.identity().name, source.lines());
        if self.options.strict {
            bail!("{file}:{line}: {why}: {}", source.excerpt());
        }
        self.state.totals.complain(Complaint {
            file: file.clone(),
            line,
            why,
            excerpt: source.excerpt(),
        });
        Ok(())
    }

    /// Makes a checkpoint of the counters and of everything counted beside them.
    fn keep(&mut self) -> anyhow::Result<()> {
        if let Some(recorder) = &mut self.recorder {
            self.state.tracks = recorder.keep()?;
        }
        self.state.without_counter = self.counterless + self.judge.without_counter();
        let text = self.state.write()?;
        let judge = &mut *self.judge;
        self.home
            .keep(&text, |path| judge.backup(path))
            .context("cannot make a checkpoint")
    }
}

/// When to look up from reading.
struct Looks {
    signals: Signals,
    every: Duration,
    pause: Duration,
    last: Instant,
}

impl Looks {
    fn new(every: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            signals: Signals::new([SIGINT, SIGTERM]).context("cannot listen for signals")?,
            every,
            pause: every,
            last: Instant::now(),
        })
    }

    /// True once somebody asked the replay to end.
    fn signalled(&mut self) -> bool {
        self.signals.pending().next().is_some()
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
