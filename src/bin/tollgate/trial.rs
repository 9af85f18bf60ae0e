//! Trying a limit with other amounts: a limiter of that limit alone, made for each.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use flate2::Crc;
use tollgate::{
    Builder, Limit, Limiter, ManualClock, Mapping, Policy, PolicyFaults, Request, Timestamp,
};

use crate::rate::Rate;
use crate::replay::{
    AmountsSummary, Attempts, Counted, Home, Interrupt, LimitAmounts, Memory, Parts, Progress,
    Recorder, State, Trial, find,
};

/// Trials of the limits of all policies of a replay.
pub(crate) struct Trials {
    places: Places,
    attempts: Attempts,
    /// Uses of limits that were tried, and of all there are.
    done: u64,
    all: u64,
    /// Limits that were tried, by which their attempts are known again.
    tracks: u64,
}

impl Trials {
    /// # Errors
    /// If what earlier trials came to cannot be read.
    pub(crate) fn new(home: &Home, state: &State) -> anyhow::Result<Self> {
        let tracks = state.policies.iter().flat_map(|side| &side.tracks.tracks);
        Ok(Self {
            places: Places::new(&home.trial()),
            attempts: Attempts::open(&home.attempts())?,
            done: 0,
            all: tracks.map(|track| track.uses).sum(),
            tracks: 0,
        })
    }

    /// Works out what each limit of one policy would have had to be.
    ///
    /// # Errors
    /// If a limit cannot be tried, or if it is interrupted.
    pub(crate) fn amounts(
        &mut self,
        counted: &Counted,
        recorder: &mut Recorder,
        home: &Home,
        progress: &mut Progress,
        interrupt: &mut Interrupt,
    ) -> anyhow::Result<AmountsSummary> {
        let mut limits = Vec::new();
        for (number, track) in counted.tracks.tracks.iter().enumerate() {
            let (done, all) = (self.done, self.all);
            let place = self.tracks;
            self.done += track.uses;
            self.tracks += 1;
            // Unlimited and denied have no amount.
            let candidate = Candidate::new(&track.rate, &track.algorithm, &self.places)?;
            let Some(candidate) = candidate else {
                continue;
            };
            let of_limit = counted.totals.limits.get(track.limit);
            let name = of_limit.map_or("", |limit| &limit.name);
            progress.work(name, 0, done, all);
            let parts = Parts::split(recorder.uses(number)?, &home.parts())?;
            let mut memory = Memory {
                attempts: &mut self.attempts,
                track: place,
                is_interrupted: &mut |trials| {
                    progress.work(name, trials, done, all);
                    interrupt.is_asked()
                },
            };
            let tried = |amount, keys| candidate.tried(amount, keys);
            let found = find(&parts, track.same_cost, &mut memory, tried)?;
            let write = |amount| candidate.rate.scaled(amount).to_string();
            limits.push(LimitAmounts::new(name, &track.rate, &found, write));
        }
        let until = counted.tracks.full_since_nanos;
        Ok(AmountsSummary {
            until: until.map(|at| Timestamp::from_nanos(at).to_string()),
            left_out: counted.tracks.left_out,
            limits,
        })
    }

    /// Removes what trials left.
    ///
    /// # Errors
    /// If something is there and cannot be removed.
    pub(crate) fn clear(&self, home: &Home) -> anyhow::Result<()> {
        self.places.clear()?;
        home.clear_parts()
    }
}

/// Where trials may have their directories.
pub(crate) struct Places {
    /// In memory where the system has such a place: a trial need not outlive anything, and a disk
    /// would take longer to make its directory durable than the trial takes.
    memory: PathBuf,
    disk: PathBuf,
}

impl Places {
    /// Places for a replay whose own is `disk`. The one in memory is named after it, so that what
    /// a killed replay left there is found again.
    pub(crate) fn new(disk: &Path) -> Self {
        let mut crc = Crc::new();
        let whole = std::path::absolute(disk).unwrap_or_else(|_| disk.to_owned());
        crc.update(whole.as_os_str().as_encoded_bytes());
        Self {
            memory: Path::new("/dev/shm").join(format!("tollgate-trial-{:08x}", crc.sum())),
            disk: disk.to_owned(),
        }
    }

    /// Opens a fresh limiter in the first place that takes one.
    fn open(&self, builder: &Builder) -> anyhow::Result<Opened> {
        let open = |directory: &Path| {
            remove(directory)?;
            let limiter = builder
                .clone()
                .open(directory)
                .context("cannot try an amount")?;
            let directory = directory.to_owned();
            Ok(Opened { limiter, directory })
        };
        // Where there is no such place, or no room in it, the disk will do.
        open(&self.memory).or_else(|_: anyhow::Error| open(&self.disk))
    }

    /// Removes what trials left.
    ///
    /// # Errors
    /// If something is there and cannot be removed.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        remove(&self.memory)?;
        remove(&self.disk)
    }
}

/// A limiter whose directory goes with it.
struct Opened {
    limiter: Limiter,
    directory: PathBuf,
}

impl Drop for Opened {
    fn drop(&mut self) {
        // What cannot be removed now is in the next one's way, which reports it.
        let _ = self.limiter.close();
        let _ = remove(&self.directory);
    }
}

/// A limit whose amount is to be found.
pub(crate) struct Candidate<'p> {
    pub(crate) rate: Rate,
    /// The part of a policy that says its algorithm.
    algorithm: String,
    places: &'p Places,
}

/// A limit on trial.
pub(crate) struct Tried {
    limit: Limit,
    clock: ManualClock,
    _limiter: Opened,
}

impl<'p> Candidate<'p> {
    /// The limit of an explanation's `rate` and `algorithm`. None if it has no amount.
    ///
    /// # Errors
    /// If what is tried would not be the same limit as what is explained.
    pub(crate) fn new(
        rate: &str,
        algorithm: &str,
        places: &'p Places,
    ) -> anyhow::Result<Option<Self>> {
        let Some(parsed) = Rate::parse(rate) else {
            return Ok(None);
        };
        let candidate = Self {
            rate: parsed,
            algorithm: write_algorithm(algorithm)
                .with_context(|| format!("an algorithm unknown here: {algorithm}"))?,
            places,
        };
        let policy = candidate.policy(candidate.rate.amount())?;
        let explained = policy.explain(&Request::new().attribute("key", "x"))?;
        let same = explained.limits.first().is_some_and(|limit| {
            let same_rate = !candidate.rate.is_whole() || limit.rate == rate;
            limit.algorithm == algorithm && same_rate
        });
        ensure!(
            same,
            "cannot try {rate} ({algorithm}): it comes out as {explained}"
        );
        Ok(Some(candidate))
    }

    fn policy(&self, amount: u64) -> Result<Policy, PolicyFaults> {
        let rate = self.rate.scaled(amount);
        Policy::from_toml(&format!(
            "[limits.trial]\nkey = \"key\"\nrate = \"{rate}\"\ndurability = \"memory\"\n{}",
            self.algorithm
        ))
    }

    /// A fresh limit of this amount, with room for so many keys; none if it cannot have the amount.
    ///
    /// # Errors
    /// If its directory cannot be made.
    pub(crate) fn tried(&self, amount: u64, keys: usize) -> anyhow::Result<Option<Tried>> {
        // Two counters a key for a sliding window, and some room: nobody is to share one.
        let counters = u64::try_from(keys)
            .unwrap_or(u64::MAX)
            .saturating_mul(4)
            .max(1_024);
        let Ok(policy) = self.policy(amount) else {
            return Ok(None);
        };
        let clock = ManualClock::new(Timestamp::EPOCH);
        let builder = Limiter::builder(policy)
            .clock(clock.clone())
            .mapping(Mapping::DataDirectory)
            .counters(counters);
        let opened = self.places.open(&builder)?;
        Ok(Some(Tried {
            limit: opened.limiter.limit("trial")?,
            clock,
            _limiter: opened,
        }))
    }
}

impl Trial for Tried {
    fn admits(&mut self, time: Timestamp, key: u64, cost: u64) -> bool {
        self.clock.set(time);
        self.limit
            .check_cost(&key.to_le_bytes()[..], cost)
            .is_allowed()
    }
}

fn remove(directory: &Path) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Each algorithm that an explanation can tell is written back as the same one.
    #[test]
    fn every_algorithm_can_be_tried() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places::new(&directory.path().join("trial"));
        for (algorithm, rate, more) in [
            ("token bucket", "2/min", ""),
            ("token bucket", "2 per 90 s burst 7", ""),
            ("fixed window", "2/min", ""),
            ("fixed window from first hit", "2 per 10 s", ""),
            ("sliding window", "2/h", ""),
            ("calendar", "2/day", "time_zone = \"Europe/Berlin\""),
            ("calendar", "2/month", ""),
            ("calendar", "2/week", "week_starts = \"sunday\""),
            ("calendar", "2/week", ""),
            ("calendar", "2/hour", ""),
        ] {
            let text = format!(
                "[limits.x]\nkey = \"k\"\nrate = \"{rate}\"\nalgorithm = \"{algorithm}\"\n{more}"
            );
            let policy = Policy::from_toml(&text).unwrap();
            let explained = policy.explain(&Request::new().attribute("k", "v")).unwrap();
            let limit = &explained.limits[0];
            let candidate = Candidate::new(&limit.rate, &limit.algorithm, &places).unwrap();
            let mut tried = candidate.unwrap().tried(2, 9).unwrap().unwrap();
            let now = Timestamp::from_secs(1_700_000_000);
            let burst = if rate.contains("burst") { 7 } else { 2 };
            let admitted = (0..20).filter(|_| tried.admits(now, 1, 1)).count();
            assert_eq!(admitted, burst, "{text}");
            assert!(tried.admits(now, 2, 1), "another key");
        }
        places.clear().unwrap();
        assert!(!places.memory.exists() && !places.disk.exists());
    }

    #[test]
    fn shares_and_limits_without_an_amount() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places::new(&directory.path().join("trial"));
        let tried = |rate| Candidate::new(rate, "token bucket", &places);
        assert!(tried("unlimited").unwrap().is_none() && tried("denied").unwrap().is_none());
        assert!(tried("10/3 per second").unwrap().is_some());
        assert!(Candidate::new("1 per second", "magic", &places).is_err());
        // What a policy would call a sliding window of a minute is not one of an hour.
        assert!(Candidate::new("1 per minute", "sliding window of 3600 s", &places).is_err());
        let candidate = tried("1 per second").unwrap().unwrap();
        assert!(
            candidate.tried(0, 1).unwrap().is_none(),
            "a rate of nothing"
        );
    }
}
