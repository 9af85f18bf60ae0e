//! All that a replay has come to: what a checkpoint keeps, and what must be the same to go on.

use anyhow::{Context, ensure};
use flate2::Crc;
use serde::{Deserialize, Serialize};

use super::compare::Difference;
use super::counts::Counts;
use super::judge::Ruling;
use super::keys::{KEYS_MAX, RefusedKeys};
use super::timeline::Timeline;
use super::totals::{Lines, Totals};
use super::trace::Tracks;
use crate::log::{Format, Identity, Source};

/// Limits that have a timeline of their own.
// Bound: the report says that further ones have none.
pub(crate) const LIMIT_TIMELINES_MAX: usize = 64;

/// Where in the logs the replay is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Place in the list of logs.
    pub(crate) log: usize,
    /// Uncompressed bytes of it that were read, and lines.
    pub(crate) offset: u64,
    pub(crate) lines: u64,
    /// The heading that lines are read by there, where it may change within a log.
    pub(crate) heading: Option<String>,
    pub(crate) finished: bool,
}

/// What a replay is a replay of. To go on with another one would add up different things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// Hashes of the policies' texts.
    pub(crate) policies: Vec<String>,
    pub(crate) logs: Vec<String>,
    pub(crate) format: Option<Format>,
    /// `--map`, `--time-zone` and `--trusted-hops`, as given.
    pub(crate) reading: String,
    /// Whether it is kept what each limit was asked.
    pub(crate) trace: bool,
    /// Whether the last log is still being written.
    pub(crate) follow: bool,
}

impl Recipe {
    /// # Errors
    /// Says what differs.
    fn check_same(&self, begun: &Self) -> anyhow::Result<()> {
        ensure!(
            self.policies == begun.policies,
            "the policy is not the one that the replay began with"
        );
        ensure!(
            self.logs == begun.logs,
            "the logs are not those that the replay began with: {}",
            begun.logs.join(" ")
        );
        ensure!(
            self.format == begun.format && self.reading == begun.reading,
            "--format, --map, --time-zone or --trusted-hops are not what the replay began with"
        );
        ensure!(
            self.trace == begun.trace,
            "the replay began {} --report, --amounts or --suggest",
            if begun.trace { "with" } else { "without" }
        );
        Ok(())
    }
}

/// A replay at one moment.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) recipe: Recipe,
    pub(crate) position: Position,
    /// Of the logs begun so far.
    pub(crate) identities: Vec<Identity>,
    pub(crate) formats: Vec<Format>,
    pub(crate) lines: Lines,
    /// What each policy made of the requests.
    pub(crate) policies: Vec<Side>,
}

/// What one policy made of the requests.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Side {
    pub(crate) totals: Totals,
    pub(crate) timeline: Timeline,
    /// Of the first limits, in the order of the policy.
    pub(crate) limit_timelines: Vec<Timeline>,
    pub(crate) refused_keys: RefusedKeys,
    /// Kept in a file of their own, for they may be many; the sum tells that it is theirs.
    #[serde(skip)]
    pub(crate) counts: Counts,
    counts_sum: u32,
    pub(crate) tracks: Tracks,
    /// Requests that found no room for a counter of their own.
    pub(crate) without_counter: u64,
    /// How it differs from the first policy; none for that one.
    pub(crate) difference: Option<Difference>,
}

impl Side {
    fn new(limits: &[String], is_first: bool) -> Self {
        Self {
            totals: Totals::new(limits),
            timeline: Timeline::default(),
            limit_timelines: vec![Timeline::default(); limits.len().min(LIMIT_TIMELINES_MAX)],
            refused_keys: RefusedKeys::new(KEYS_MAX),
            counts: Counts::default(),
            counts_sum: 0,
            tracks: Tracks::default(),
            without_counter: 0,
            difference: (!is_first).then(Difference::default),
        }
    }

    /// Counts a decision at a time that never goes back, but for the keys that were refused.
    pub(crate) fn count(&mut self, now: tollgate::Timestamp, ruling: &Ruling) {
        self.totals.count(ruling);
        self.timeline.count(now, ruling.fate());
        for outcome in &ruling.outcomes {
            self.counts
                .count(outcome.limit, outcome.counter, outcome.refused);
            if let Some(timeline) = self.limit_timelines.get_mut(outcome.limit) {
                timeline.count(now, outcome.fate());
            }
        }
    }
}

impl State {
    /// A replay of `recipe` that has not begun, under policies that have these limits.
    pub(crate) fn new(recipe: Recipe, policies: &[&[String]]) -> Self {
        let sides = policies.iter().enumerate();
        Self {
            recipe,
            position: Position::default(),
            identities: Vec::new(),
            formats: Vec::new(),
            lines: Lines::default(),
            policies: sides
                .map(|(number, limits)| Side::new(limits, number == 0))
                .collect(),
        }
    }

    /// The replay that a checkpoint's `text` tells of. `counts` reads the file of counts of the
    /// policy of a number.
    ///
    /// # Errors
    /// If it cannot be read, or is not a replay of `recipe`.
    pub(crate) fn read(
        text: &str,
        recipe: &Recipe,
        counts: impl Fn(usize) -> anyhow::Result<Vec<u8>>,
    ) -> anyhow::Result<Self> {
        let mut state: Self =
            serde_json::from_str(text).context("the checkpoint cannot be read")?;
        recipe
            .check_same(&state.recipe)
            .context("cannot go on; begin again in another directory, or go on as it was begun")?;
        for (number, side) in state.policies.iter_mut().enumerate() {
            let bytes = counts(number)?;
            ensure!(
                sum(&bytes) == side.counts_sum,
                "the counts of the checkpoint are damaged; begin again with --fresh"
            );
            side.counts = Counts::from_bytes(&bytes)?;
        }
        Ok(state)
    }

    /// The text, and each policy's file of counts.
    ///
    /// # Errors
    /// None in practice; serialising could fail.
    pub(crate) fn write(&mut self) -> anyhow::Result<(String, Vec<Vec<u8>>)> {
        let counts = self.policies.iter_mut().map(|side| {
            let bytes = side.counts.to_bytes();
            side.counts_sum = sum(&bytes);
            bytes
        });
        let counts = counts.collect();
        let text = serde_json::to_string(self).context("the checkpoint cannot be written")?;
        Ok((text, counts))
    }

    /// Notes what the log in hand is, or makes sure that it is what it was.
    ///
    /// # Errors
    /// If it is another one now.
    pub(crate) fn recognise(&mut self, source: &Source) -> anyhow::Result<()> {
        match self.identities.get(self.position.log) {
            None => {
                self.identities.push(source.identity().clone());
                self.formats.push(source.format().clone());
                Ok(())
            }
            Some(begun) => {
                // A log that is still being written grows.
                let has_grown = self.recipe.follow && source.has_grown_from(begun);
                ensure!(
                    begun == source.identity() || has_grown,
                    "{} has changed since the replay began; begin again in another directory",
                    begun.name
                );
                Ok(())
            }
        }
    }
}

fn sum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
