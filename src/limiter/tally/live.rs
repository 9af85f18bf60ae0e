//! Counting only while somebody looks. Otherwise a check loads one flag and does nothing else.
//! While somebody looks, at most one check in a thousand is counted at full speed.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::super::{Decision, Key, Limit, Outcome};
use super::{Tally, Weight};
use crate::policy::Request;
use crate::sync::lock;

/// How long it goes on after somebody looked.
const PATIENCE: Duration = Duration::from_secs(5);
/// A thread's decisions are thinned out anew so often.
const PERIOD_NANOS: u64 = 100_000_000;
/// Of a thread's decisions in a period, up to the first number, one in so many is looked at: at
/// full speed too few to be seen among the slowest thousandth.
const STEPS: [(u32, u32); 4] = [(20, 1), (500, 16), (8_000, 256), (u32::MAX, 4_096)];

/// What is counted for those who look.
#[derive(Default)]
pub(in crate::limiter) struct Live {
    is_on: AtomicBool,
    looked: Mutex<Option<(Arc<Tally>, Instant)>>,
}

/// A thread's decisions.
#[derive(Clone, Copy)]
struct Thinning {
    period: u64,
    seen: u32,
}

thread_local! {
    static THINNING: Cell<Thinning> = const {
        Cell::new(Thinning { period: 0, seen: 0 })
    };
}

impl Live {
    /// Whether anybody looks.
    #[inline]
    pub(in crate::limiter) fn is_on(&self) -> bool {
        // Ordering: relaxed; a decision more or less.
        self.is_on.load(Ordering::Relaxed)
    }

    /// What was counted since somebody began to look: with this, if nobody did.
    pub(in crate::limiter) fn look(&self) -> Arc<Tally> {
        let mut looked = lock(&self.looked);
        let now = Instant::now();
        let tally = match looked.take() {
            Some((tally, _)) => tally,
            None => Arc::new(Tally::new(true)),
        };
        *looked = Some((tally.clone(), now));
        // Ordering: relaxed, as above.
        self.is_on.store(true, Ordering::Relaxed);
        tally
    }

    /// Ends the counting once nobody looks any more. Called by the keeper.
    pub(in crate::limiter) fn tick(&self) {
        if !self.is_on() {
            return;
        }
        let mut looked = lock(&self.looked);
        if looked
            .as_ref()
            .is_none_or(|(_, at)| at.elapsed() > PATIENCE)
        {
            *looked = None;
            // Ordering: relaxed, as above.
            self.is_on.store(false, Ordering::Relaxed);
        }
    }

    #[cold]
    pub(in crate::limiter) fn decided(&self, request: &Request<'_>, decision: &Decision) {
        // Who met no limit is none of those who are counted.
        let Some(at) = decision.limits().next().map(|one| one.at()) else {
            return;
        };
        if let Some((tally, weight)) = self.sampled(at.as_nanos()) {
            tally.decided(request, decision, weight);
        }
    }

    #[cold]
    pub(in crate::limiter) fn asked(&self, limit: &Limit, key: Key<'_>, outcome: &Outcome) {
        if let Some((tally, weight)) = self.sampled(outcome.at().as_nanos()) {
            tally.asked(limit, key, outcome, weight);
        }
    }

    /// Where to count a decision, if it is one of those that are, and for how many it stands.
    fn sampled(&self, now_nanos: u64) -> Option<(Arc<Tally>, Weight)> {
        let weight = THINNING.with(|thinning| {
            let mut own = thinning.get();
            let weight = own.next(now_nanos / PERIOD_NANOS, |most| fastrand::u32(0..most));
            thinning.set(own);
            weight
        })?;
        let tally = lock(&self.looked).as_ref()?.0.clone();
        let keys = Some(weight);
        let limits = weight;
        Some((tally, Weight { limits, keys }))
    }
}

impl Thinning {
    /// For how many the next decision stands, if it is looked at.
    fn next(&mut self, period: u64, below: impl FnOnce(u32) -> u32) -> Option<u64> {
        if period != self.period {
            (self.period, self.seen) = (period, 0);
        }
        self.seen = self.seen.saturating_add(1);
        let mut steps = STEPS.iter().filter(|(most, _)| self.seen <= *most);
        let one_in = steps.next().map_or(1, |(_, one_in)| *one_in);
        // By chance, not by turns: what is asked for may come by turns, too.
        (below(one_in) == 0).then_some(u64::from(one_in))
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("is_on", &self.is_on())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is looked at stands for all, whatever the speed, and at full speed it is a thousandth.
    #[test]
    fn what_is_passed_over_is_counted_all_the_same() {
        let mut dice = fastrand::Rng::with_seed(7);
        for (speed, looked_at_most) in [(10, 1.0), (1_000, 0.06), (10_000, 0.02), (200_000, 0.001)]
        {
            let mut own = Thinning { period: 0, seen: 0 };
            let (mut looked, mut weight, periods) = (0, 0, 50);
            for decision in 0..periods * speed {
                if let Some(stands_for) = own.next(decision / speed, |most| dice.u32(0..most)) {
                    looked += 1;
                    weight += stands_for;
                }
            }
            let all = periods * speed;
            assert!(weight.abs_diff(all) <= all / 10, "{weight} of {all}");
            let most = f64::from(u32::try_from(all).unwrap()) * looked_at_most;
            assert!(f64::from(looked) <= most, "{looked} of {all}");
        }
    }
}
