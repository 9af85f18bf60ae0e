//! Scenarios of a limiter's whole life through its public API, on a clock moved by hand.

mod allows;
mod calendar;
#[path = "../common/mod.rs"]
mod common;
mod concurrency;
mod concurrency_terms;
mod cost;
mod direct;
mod idempotency;
mod keys;
mod many;
mod new_keys;
mod numbers;
mod overrides;
mod rates;
mod replace;
mod settle;
mod shadow;
mod tiers;

use std::path::PathBuf;
use std::time::Duration;

use tollgate::{Decision, Limiter, ManualClock, Outcome, Policy, Request, Timestamp};

/// 2025-10-09T08:00:00Z, a Thursday: the beginning of an hour, not of a day.
const START: Timestamp = Timestamp::from_secs(1_759_996_800);

/// A limiter in a directory of its own.
struct World {
    limiter: Limiter,
    clock: ManualClock,
    dir: tempfile::TempDir,
}

fn policy(text: &str) -> Policy {
    Policy::from_toml(text).unwrap_or_else(|faults| panic!("{faults}"))
}

/// A limiter under a policy, at [`START`].
fn world(text: &str) -> World {
    world_at(text, START)
}

fn world_at(text: &str, start: Timestamp) -> World {
    let dir = common::scratch();
    let clock = ManualClock::new(start);
    let limiter = open(dir.path().join("data"), text, &clock);
    World {
        limiter,
        clock,
        dir,
    }
}

fn open(path: PathBuf, text: &str, clock: &ManualClock) -> Limiter {
    let builder = Limiter::builder(policy(text)).counters(1000);
    builder.clock(clock.clone()).open(path).unwrap()
}

impl World {
    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Closed and opened again under a policy.
    fn reopened(self, text: &str) -> Self {
        let Self {
            limiter,
            clock,
            dir,
        } = self;
        drop(limiter);
        let limiter = open(dir.path().join("data"), text, &clock);
        Self {
            limiter,
            clock,
            dir,
        }
    }

    fn pass(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    fn replace(&self, text: &str) {
        self.limiter.replace_policy(policy(text)).unwrap();
    }

    /// Takes one at a time until refused; how many were admitted.
    fn drain(&self, request: &Request<'_>) -> u64 {
        let admitted = (0..10_000).take_while(|_| self.limiter.check(request).is_allowed());
        admitted.count() as u64
    }

    fn used(&self, limit: &str, key: &str) -> u64 {
        self.limiter.limit(limit).unwrap().usage(key).used()
    }
}

fn user(name: &str) -> Request<'_> {
    Request::new().attribute("user", name)
}

/// The outcome of one limit of a decision.
fn of(decision: &Decision, limit: &str) -> Outcome {
    let mut all = decision.limits();
    let found = all.find(|one| one.name() == limit);
    *found
        .unwrap_or_else(|| panic!("{limit} is not in {decision}"))
        .outcome()
}
