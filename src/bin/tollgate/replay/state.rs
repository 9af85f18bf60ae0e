//! All that a replay has come to: what a checkpoint keeps, and what must be the same to go on.

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::keys::{KEYS_MAX, Keys};
use super::timeline::Timeline;
use super::totals::Totals;
use super::trace::Tracks;
use crate::log::{Format, Identity};

/// Where in the logs the replay is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Place in the list of logs.
    pub(crate) log: usize,
    /// Uncompressed bytes of it that were read, and lines.
    pub(crate) offset: u64,
    pub(crate) lines: u64,
    pub(crate) finished: bool,
}

/// What a replay is a replay of. To go on with another one would add up different things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// Hash of the policy's text.
    pub(crate) policy: String,
    pub(crate) logs: Vec<String>,
    pub(crate) format: Option<Format>,
    /// `--map`, `--time-zone` and `--trusted-hops`, as given.
    pub(crate) reading: String,
    /// Whether it is kept what each limit was asked.
    pub(crate) trace: bool,
}

impl Recipe {
    /// # Errors
    /// Says what differs.
    fn check_same(&self, begun: &Self) -> anyhow::Result<()> {
        ensure!(
            self.policy == begun.policy,
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
            "the replay began {} --report or --amounts",
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
    pub(crate) totals: Totals,
    pub(crate) timeline: Timeline,
    pub(crate) keys: Keys,
    pub(crate) tracks: Tracks,
    /// Requests that found no room for a counter of their own.
    pub(crate) without_counter: u64,
}

impl State {
    /// A replay of `recipe` that has not begun.
    pub(crate) fn new(recipe: Recipe, limits: &[String]) -> Self {
        Self {
            recipe,
            position: Position::default(),
            identities: Vec::new(),
            formats: Vec::new(),
            totals: Totals::new(limits),
            timeline: Timeline::default(),
            keys: Keys::new(KEYS_MAX),
            tracks: Tracks::default(),
            without_counter: 0,
        }
    }

    /// The replay that a checkpoint's `text` tells of.
    ///
    /// # Errors
    /// If it cannot be read, or is not a replay of `recipe`.
    pub(crate) fn read(text: &str, recipe: &Recipe) -> anyhow::Result<Self> {
        let state: Self = serde_json::from_str(text).context("the checkpoint cannot be read")?;
        recipe
            .check_same(&state.recipe)
            .context("cannot go on; begin again in another directory, or go on as it was begun")?;
        Ok(state)
    }

    /// # Errors
    /// None in practice; serialising could fail.
    pub(crate) fn write(&self) -> anyhow::Result<String> {
        serde_json::to_string(self).context("the checkpoint cannot be written")
    }

    /// Notes what the log in hand is, or makes sure that it is what it was.
    ///
    /// # Errors
    /// If it is another one now.
    pub(crate) fn recognise(&mut self, identity: &Identity, format: Format) -> anyhow::Result<()> {
        match self.identities.get(self.position.log) {
            None => {
                self.identities.push(identity.clone());
                self.formats.push(format);
                Ok(())
            }
            Some(begun) => {
                ensure!(
                    begun == identity,
                    "{} has changed since the replay began; begin again in another directory",
                    identity.name
                );
                Ok(())
            }
        }
    }
}
