//! What a process does to a directory until it is killed, or closes it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate::{Builder, Limiter, ManualClock, Mapping, Policy, Request, Timestamp};

use crate::Dice;

/// Where a life's plan stands.
const PLAN: &str = "TOLLGATE_SOUND_LIFE";
const KEYS: u64 = 300;

/// Limits of every durability, by name; a reload gives each another durability.
const LIMITS: [(&str, &str, u64); 4] = [
    ("window", "fixed window", 100),
    ("sliding", "sliding window", 100),
    ("day", "calendar", 100),
    ("bucket", "token bucket", 100),
];

/// How a life goes.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) data: PathBuf,
    /// Empty: the table lies in the data directory.
    pub(crate) under: PathBuf,
    pub(crate) seed: u64,
    /// Closes after its work; else it works until it is killed.
    pub(crate) closes: bool,
}

impl Plan {
    pub(crate) fn line(&self) -> (&'static str, String) {
        let (data, under) = (self.data.display(), self.under.display());
        (
            PLAN,
            format!("{data}|{under}|{}|{}", self.seed, self.closes),
        )
    }

    fn told() -> Option<Self> {
        let line = std::env::var(PLAN).ok()?;
        let mut parts = line.split('|');
        let mut next = || parts.next().unwrap();
        Some(Self {
            data: next().into(),
            under: next().into(),
            seed: next().parse().unwrap(),
            closes: next().parse().unwrap(),
        })
    }
}

/// A policy in which each limit draws its durability.
fn policy(dice: &mut Dice) -> Policy {
    let limits = LIMITS.map(|(name, algorithm, amount)| {
        // A bucket waits for the disk for each token.
        let durabilities = if name == "bucket" { 2 } else { 3 };
        let durability = ["memory", "logged", "strict"][dice.below(durabilities)];
        let rate = amount + dice.below(2) as u64 * 50;
        format!(
            "[limits.{name}]\nrate = \"{rate}/day\"\nalgorithm = \"{algorithm}\"\nkey = \"user\"\n\
             durability = \"{durability}\"\n"
        )
    });
    Policy::from_toml(&limits.concat()).unwrap()
}

fn builder(plan: &Plan, dice: &mut Dice) -> Builder {
    let builder = Limiter::builder(policy(dice))
        .counters([2_000, 200_000][dice.below(2)])
        .counters_at_first([1, 2_000][dice.below(2)])
        .interval(Duration::from_millis([1, 20, 100_000][dice.below(3)]))
        .mapping(if plan.under.as_os_str().is_empty() {
            Mapping::DataDirectory
        } else {
            Mapping::Under(plan.under.clone())
        });
    match dice.below(2) {
        // At rest, between lives, too.
        0 => builder.clock(ManualClock::new(Timestamp::from_secs(1_760_009_400))),
        _ => builder,
    }
}

/// Lives by the plan that the surroundings tell of, if they do.
pub(crate) fn live() {
    let Some(plan) = Plan::told() else { return };
    let mut dice = Dice::of(plan.seed);
    let limiter = builder(&plan, &mut dice).open(&plan.data).unwrap();
    println!("\nopened");
    let steps = if plan.closes {
        200 + dice.below(600)
    } else {
        usize::MAX
    };
    for _ in 0..steps {
        step(&limiter, &plan.data, &mut dice);
    }
    limiter.close().unwrap();
}

/// Anything that can be done with a limiter.
fn step(limiter: &Limiter, data: &Path, dice: &mut Dice) {
    let key = format!("user {}", dice.below(KEYS as usize));
    let (name, ..) = LIMITS[dice.below(LIMITS.len())];
    let limit = limiter.limit(name).unwrap();
    let request = Request::new().attribute("user", &key);
    match dice.below(100) {
        0 => drop(limiter.flush()),
        1 => limiter.set_override(name, &[&*key], "7/day").unwrap(),
        2 => drop(limiter.remove_override(name, &[&*key])),
        3 => drop(limiter.replace_policy(policy(dice)).unwrap()),
        4 if dice.below(20) == 0 => {
            let copy = data.with_extension(format!("backup-{}", dice.below(1 << 30)));
            drop(limiter.backup(copy));
        }
        5..15 => limit.reset(&*key),
        15..25 => {
            let outcome = limit.check_cost(&*key, 1 + dice.below(5) as u64);
            if outcome.is_allowed() {
                limit.refund(&*key, outcome);
            }
        }
        25..35 => {
            let outcome = limit.check_cost(&*key, 3);
            if outcome.is_allowed() {
                let _ = limit.settle(&*key, outcome, dice.below(9) as u64);
            }
        }
        35..40 => limiter.refund(limiter.check(&request)),
        40..70 => drop(limit.check(&*key)),
        _ => drop(limiter.check(&request)),
    }
}
