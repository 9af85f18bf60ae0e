//! Races on strict keys: takes that are kept, refunded or settled, and resets, from several threads
//! at once. What a key counts when all are done is known from when each began and ended.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use tollgate::{Limit, Limiter};

use crate::work::{Dice, Session};
use crate::{RACED, RACED_KEYS, raced_count, text};

const RACERS: usize = 3;
/// The most that a take of a race costs.
const COST: u64 = 80;

/// What a racer does.
#[derive(Clone, Copy)]
enum Act {
    Keep(u64),
    Refund(u64),
    /// Takes the first, and settles for the second.
    Settle(u64, u64),
    Reset,
}

impl Act {
    /// Half of them small takes: what comes down is to meet some.
    fn draw(dice: &mut Dice) -> Self {
        let cost = 1 + dice.below(COST);
        match dice.below(8) {
            0..=3 => Self::Keep(1),
            4 => Self::Keep(cost),
            5 => Self::Refund(cost),
            6 => Self::Settle(cost, dice.below(COST)),
            _ => Self::Reset,
        }
    }

    /// The most that it makes a key count.
    fn most(self) -> u64 {
        match self {
            Self::Keep(cost) | Self::Refund(cost) => cost,
            Self::Settle(cost, actual) => cost.max(actual),
            Self::Reset => 0,
        }
    }

    /// What it adds when it is done and nothing is forgotten.
    fn adds(self) -> u64 {
        match self {
            Self::Keep(cost) => cost,
            Self::Refund(_) | Self::Reset => 0,
            Self::Settle(_, actual) => actual,
        }
    }

    /// What of it may be charged though the disk refuses, which the health tells.
    fn owes(self) -> u64 {
        match self {
            Self::Settle(cost, actual) => actual.saturating_sub(cost),
            _ => 0,
        }
    }

    /// Does it; false if the disk refused.
    fn play(self, limit: &Limit, key: &str) -> Result<bool, String> {
        let take = |cost| {
            let taken = limit.check_cost(key, cost);
            match taken.verdict() {
                tollgate::Verdict::Unwritable => Ok(None),
                _ if taken.is_allowed() => Ok(Some(taken)),
                _ => Err(format!("{} of key {key}: {taken}", limit.name())),
            }
        };
        match self {
            Self::Keep(cost) => Ok(take(cost)?.is_some()),
            Self::Refund(cost) => {
                let taken = take(cost)?;
                Ok(taken.map(|taken| limit.refund(key, taken)).is_some())
            }
            Self::Settle(cost, actual) => {
                let taken = take(cost)?;
                Ok(taken
                    .map(|taken| limit.settle(key, taken, actual))
                    .is_some())
            }
            Self::Reset => {
                limit.reset(key);
                Ok(true)
            }
        }
    }
}

/// An act that is done, and the steps between which it was.
#[derive(Clone, Copy)]
struct Done {
    act: Act,
    began: u64,
    ended: u64,
}

/// What a key counts: at least and at most.
#[derive(Clone, Copy, Default)]
struct Known {
    low: u64,
    high: u64,
}

impl Known {
    /// What it counts after these.
    fn after(self, done: &[Done]) -> Self {
        let resets = || done.iter().filter(|one| matches!(one.act, Act::Reset));
        let mut known = match resets().next() {
            Some(_) => Self::default(),
            None => self,
        };
        for one in done {
            let is_counted = resets().all(|reset| reset.ended < one.began);
            let is_forgotten = resets().any(|reset| reset.began > one.ended);
            let (low, high) = match (is_counted, is_forgotten) {
                (_, true) => (0, 0),
                (true, _) => (one.act.adds(), one.act.adds()),
                // A refund of what may be forgotten gives nothing back.
                _ => (0, one.act.most()),
            };
            known.low += low;
            known.high += high;
        }
        known
    }
}

/// What a session knows of every raced key.
pub(crate) struct Races {
    keys: [[Known; RACED_KEYS]; RACED.len()],
    /// The last race that is over and printed.
    pub(crate) over: AtomicU64,
}

impl Races {
    /// Begins with what an opening found.
    pub(crate) fn found(limiter: &Limiter) -> Result<Self, String> {
        let mut races = Self {
            keys: Default::default(),
            over: AtomicU64::new(0),
        };
        for (limit, keys) in races.keys.iter_mut().enumerate() {
            for (key, known) in keys.iter_mut().enumerate() {
                let count = raced_count(limiter, limit, key)?;
                *known = Known {
                    low: count,
                    high: count,
                };
            }
        }
        Ok(races)
    }

    /// What was found, a line for each limit.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.keys.iter().enumerate().map(|(limit, keys)| {
            let counts = keys.iter().map(|known| format!(" {}", known.high));
            format!("left {limit}{}", counts.collect::<String>())
        })
    }
}

impl Session<'_> {
    /// Races until the end, on one key after the other.
    pub(crate) fn race(&self) -> Result<(), String> {
        let limits = RACED.map(|raced| self.limiter.limit(raced.name).map_err(text));
        let mut keys = self.races.keys;
        let mut dice = Dice::new();
        for number in 1_u64.. {
            if !self.goes_on() {
                break;
            }
            let limit = usize::try_from(dice.below(RACED.len() as u64)).map_err(text)?;
            let key = usize::try_from(dice.below(RACED_KEYS as u64)).map_err(text)?;
            let known = &mut keys[limit][key];
            let handle = limits[limit].as_ref().map_err(Clone::clone)?;
            *known = self.race_once(number, handle, [limit, key], *known, &mut dice)?;
            // Ordering: release, after the race and its line; see `watch`.
            self.races.over.store(number, Ordering::Release);
        }
        Ok(())
    }

    fn race_once(
        &self,
        number: u64,
        limit: &Limit,
        [place, key]: [usize; 2],
        before: Known,
        dice: &mut Dice,
    ) -> Result<Known, String> {
        let mut draw = || -> Vec<Act> { (0..=dice.below(4)).map(|_| Act::draw(dice)).collect() };
        let plans: [Vec<Act>; RACERS] = std::array::from_fn(|_| draw());
        let acts = || plans.iter().flatten();
        let most = before.high + acts().map(|act| act.most()).sum::<u64>();
        let has_reset = acts().any(|act| matches!(act, Act::Reset));
        let low = if has_reset { 0 } else { before.low };
        self.out
            .say(&format!("race {number} {place} {key} {low} {most}"))?;
        let unsecured = || self.limiter.health().reservations.admitted_without;
        let unsecured_before = unsecured();
        let done = run(limit, &key.to_string(), &plans)?;
        let mut known = before.after(&done);
        let count = raced_count(self.limiter, place, key)?;
        let least = known.low.saturating_sub(RACED[place].refill);
        if !(least..=known.high).contains(&count) {
            let (name, high) = (RACED[place].name, known.high);
            return self.fatal(&format!("{name} of {key}: {count}, not {least} to {high}"));
        }
        if unsecured() > unsecured_before {
            self.out
                .say("ERR a settlement was charged that the disk knows nothing of")?;
            known.low = known.low.saturating_sub(acts().map(|act| act.owes()).sum());
        }
        let Known { low, high } = known;
        self.out.say(&format!("raced {place} {key} {low} {high}"))?;
        Ok(known)
    }
}

/// Every racer plays its plan, all from the same moment on.
fn run(limit: &Limit, key: &str, plans: &[Vec<Act>; RACERS]) -> Result<Vec<Done>, String> {
    let (steps, start) = (AtomicU64::new(0), Barrier::new(RACERS));
    // Ordering: sequentially consistent; what ended before another began has the smaller number.
    let step = || steps.fetch_add(1, Ordering::SeqCst);
    let play = |plan: &[Act]| -> Result<Vec<Done>, String> {
        start.wait();
        let mut done = Vec::new();
        for act in plan {
            let began = step();
            if act.play(limit, key)? {
                let ended = step();
                done.push(Done {
                    act: *act,
                    began,
                    ended,
                });
            }
        }
        Ok(done)
    };
    std::thread::scope(|scope| {
        let racers = plans.each_ref().map(|plan| scope.spawn(|| play(plan)));
        let mut done = Vec::new();
        for racer in racers {
            done.extend(racer.join().map_err(|_| "a racer panicked".to_owned())??);
        }
        Ok(done)
    })
}
