//! Trying a limit with other amounts: a limiter of that limit alone, made for each.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tollgate::{Limit, Limiter, ManualClock, Policy, Request, Timestamp};

use crate::rate::Rate;
use crate::replay::Trial;

/// A limit whose amount is to be found.
pub(crate) struct Candidate {
    pub(crate) rate: Rate,
    /// The part of a policy that says its algorithm.
    algorithm: String,
    /// Room for its keys.
    counters: u64,
    directory: PathBuf,
}

/// A limiter on trial. Its directory goes with it.
pub(crate) struct Tried {
    limit: Limit,
    clock: ManualClock,
    limiter: Limiter,
    directory: PathBuf,
}

impl Candidate {
    /// The limit of an explanation's `rate` and `algorithm`, for so many `keys`, tried in a
    /// directory to be made at `directory`. None if it has no amount.
    ///
    /// # Errors
    /// If what is tried would not be the same limit as what is explained.
    pub(crate) fn new(
        rate: &str,
        algorithm: &str,
        keys: u64,
        directory: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let Some(parsed) = Rate::parse(rate) else {
            return Ok(None);
        };
        let candidate = Self {
            rate: parsed,
            algorithm: write_algorithm(algorithm)
                .with_context(|| format!("an algorithm unknown here: {algorithm}"))?,
            // Two counters a key for a sliding window, and some room: nobody is to share one.
            counters: keys.saturating_mul(4).max(1_024),
            directory: directory.to_owned(),
        };
        let amount = candidate.rate.amount();
        let policy = candidate.policy(amount)?;
        let explained = policy.explain(&Request::new().attribute("key", "x"))?;
        let same = explained.limits.first().is_some_and(|limit| {
            let same_rate = !candidate.rate.is_whole() || limit.rate == rate;
            limit.algorithm == algorithm && same_rate
        });
        ensure!(same, "cannot try {rate} ({algorithm}): it comes out as {explained}");
        Ok(Some(candidate))
    }

    fn policy(&self, amount: u64) -> Result<Policy, tollgate::PolicyFaults> {
        let rate = self.rate.scaled(amount);
        Policy::from_toml(&format!(
            "[limits.trial]\nkey = \"key\"\nrate = \"{rate}\"\n{}",
            self.algorithm
        ))
    }

    /// A fresh limit of this amount; none if it cannot have it.
    ///
    /// # Errors
    /// If its directory cannot be made.
    pub(crate) fn tried(&self, amount: u64) -> anyhow::Result<Option<Tried>> {
        let Ok(policy) = self.policy(amount) else {
            return Ok(None);
        };
        remove(&self.directory)?;
        let clock = ManualClock::new(Timestamp::EPOCH);
        let limiter = Limiter::builder(policy)
            .clock(clock.clone())
            .counters(self.counters)
            .open(&self.directory)
            .context("cannot try an amount")?;
        Ok(Some(Tried {
            limit: limiter.limit("trial")?,
            clock,
            limiter,
            directory: self.directory.clone(),
        }))
    }
}

impl Trial for Tried {
    fn admits(&mut self, time: Timestamp, key: u64, cost: u64) -> bool {
        self.clock.set(time);
        self.limit.check_cost(&key.to_le_bytes()[..], cost).is_allowed()
    }
}

impl Drop for Tried {
    fn drop(&mut self) {
        // The next trial, and the replay itself, report a directory that cannot be removed.
        let _ = self.limiter.close();
        let _ = remove(&self.directory);
    }
}

pub(crate) fn remove(directory: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => {
            Err(fault).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// The lines of a policy that ask for the algorithm that an explanation tells.
fn write_algorithm(words: &str) -> Option<String> {
    let lines = if words == "token bucket" {
        "algorithm = \"token bucket\"".to_owned()
    } else if words.starts_with("fixed window from first hit of ") {
        "algorithm = \"fixed window from first hit\"".to_owned()
    } else if words.starts_with("fixed window of ") {
        "algorithm = \"fixed window\"".to_owned()
    } else if words.starts_with("sliding window of ") {
        "algorithm = \"sliding window\"".to_owned()
    } else {
        let (unit, zone) = words.strip_prefix("calendar ")?.split_once(" in ")?;
        let weeks = match unit {
            "week from Sunday" => "\nweek_starts = \"sunday\"",
            _ => "",
        };
        format!("algorithm = \"calendar\"\ntime_zone = \"{zone}\"{weeks}")
    };
    Some(lines)
}
