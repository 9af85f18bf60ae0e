//! Each algorithm against a naive reference: lists of instants and exact fractions.

use proptest::prelude::*;

use super::harness::{
    Counter, Event, HUNDREDTH, Recipe, beginnings, buckets, calendars, events, slidings, timed,
    windows,
};
use crate::algorithm::word::UNIT_NANOS;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// The bucket of the text book on real time: its arrival time as a fraction over `count`.
struct ExactBucket {
    count: i128,
    period: i128,
    burst: i128,
    arrival: i128,
}

impl ExactBucket {
    /// How much too early `cost` comes, in nanoseconds over `count`; none if not too early.
    fn early(&self, now: Timestamp, cost: u64) -> i128 {
        let slack = (self.burst - i128::from(cost)) * self.period;
        self.arrival - i128::from(now.as_nanos()) * self.count - slack
    }

    /// A bucket at rest fills from the start of the unit on.
    fn take(&mut self, now: Timestamp, cost: u64) {
        let now = i128::from(now.as_nanos() / UNIT_NANOS * UNIT_NANOS) * self.count;
        self.arrival = self.arrival.max(now) + i128::from(cost) * self.period;
    }

    /// True if `early`, in nanoseconds over `count`, is less than a tick, of which there are
    /// `units - units % count` in a period of so many units.
    fn under_a_tick(&self, early: i128) -> bool {
        let units = self.period / i128::from(UNIT_NANOS);
        let ticks = units - units % self.count;
        early <= (self.period * self.count - 1).div_euclid(ticks)
    }
}

fn check_bucket(recipe: &Recipe, start: Timestamp, events: &[Event]) -> Result<(), TestCaseError> {
    let &Recipe::Bucket {
        count,
        period_nanos,
        burst,
    } = recipe
    else {
        return Err(TestCaseError::fail("no bucket"));
    };
    let mut counter = recipe.counter();
    let mut exact = ExactBucket {
        count: count.into(),
        period: period_nanos.into(),
        burst: burst.into(),
        arrival: 0,
    };
    for (now, event) in timed(recipe, start, events) {
        let cost = event.cost(&counter);
        let admitted = counter.take(now, cost).is_some();
        if cost > burst {
            prop_assert!(!admitted, "{cost} of {burst}");
            continue;
        }
        let early = exact.early(now, cost);
        if (period_nanos / UNIT_NANOS).is_multiple_of(count) {
            prop_assert_eq!(admitted, early <= 0, "{} early", early);
        } else if admitted {
            prop_assert!(exact.under_a_tick(early), "{early}/{count} ns early");
        } else {
            prop_assert!(exact.under_a_tick(-early), "{}/{count} ns late", -early);
        }
        if admitted {
            exact.take(now, cost);
        }
    }
    Ok(())
}

/// All that was admitted, and when: what a windowed reference counts from.
#[derive(Default)]
struct Log(Vec<(Timestamp, u64)>);

impl Log {
    fn sum(&self, from: Timestamp, until: Timestamp) -> u64 {
        let within = self.0.iter().filter(|(at, _)| *at >= from && *at < until);
        within.map(|(_, cost)| cost).sum()
    }
}

/// The window that `now` falls into, from the definition.
fn window_of(counter: &Counter, recipe: &Recipe, log: &Log, now: Timestamp) -> (u64, u64) {
    match *recipe {
        Recipe::Fine {
            span,
            first_hit: true,
            ..
        } => {
            // Replays the openings: each window is opened by the first hit after the last one.
            let mut open = (0, 0);
            for (at, _) in log.0.iter().chain([&(now, 0)]) {
                if at.as_nanos() >= open.1 {
                    let end = (at.as_nanos().div_ceil(HUNDREDTH) + span) * HUNDREDTH;
                    open = (at.as_nanos(), end);
                }
            }
            open
        }
        Recipe::Window { .. } | Recipe::Fine { .. } => {
            let span = recipe.span_nanos();
            let number = now.as_nanos() / span;
            (number * span, (number + 1) * span)
        }
        // Where calendar periods lie is tested by itself; here, that each counts for itself.
        _ => {
            let period = counter.calendars[0].period(now);
            let nanos = |secs: u32| u64::from(secs) * NANOS_PER_SEC;
            (nanos(period.start_secs), nanos(period.end_secs))
        }
    }
}

fn check_window(recipe: &Recipe, start: Timestamp, events: &[Event]) -> Result<(), TestCaseError> {
    let mut counter = recipe.counter();
    let mut log = Log::default();
    for (now, event) in timed(recipe, start, events) {
        let cost = event.cost(&counter);
        let (from, until) = window_of(&counter, recipe, &log, now);
        let count = log.sum(Timestamp::from_nanos(from), Timestamp::from_nanos(until));
        let fits = u128::from(count) + u128::from(cost) <= u128::from(counter.rule.capacity());
        prop_assert_eq!(counter.status(now).used, count);
        prop_assert_eq!(
            counter.take(now, cost).is_some(),
            fits,
            "{} + {}",
            count,
            cost
        );
        if fits {
            log.0.push((now, cost));
        }
    }
    Ok(())
}

fn check_sliding(recipe: &Recipe, start: Timestamp, events: &[Event]) -> Result<(), TestCaseError> {
    let mut counter = recipe.counter();
    let (limit, span) = (counter.rule.capacity(), recipe.span_nanos());
    let mut log = Log::default();
    for (now, event) in timed(recipe, start, events) {
        let cost = event.cost(&counter);
        let gone = now.as_nanos() % span;
        let edge = now.minus_nanos(gone);
        let current = log.sum(edge, now.plus_nanos(1));
        let previous = match edge.as_nanos() {
            0 => 0,
            _ => log.sum(edge.minus_nanos(span), edge),
        };
        // previous * (span - gone) / span + current + cost <= limit, without dividing.
        let weighed = u128::from(previous) * u128::from(span - gone);
        let room = u128::from(limit) * u128::from(span);
        let wanted = (u128::from(current) + u128::from(cost)) * u128::from(span);
        let fits = weighed + wanted <= room;
        prop_assert_eq!(counter.take(now, cost).is_some(), fits);
        if !fits {
            continue;
        }
        log.0.push((now, cost));
        // The error bound: at most `limit + f * previous` in the stretch that ends here.
        let stretch = log.sum(now.minus_nanos(span - 1), now.plus_nanos(1));
        let excess = u128::from(previous) * u128::from(gone);
        prop_assert!(u128::from(stretch) * u128::from(span) <= room + excess);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn token_bucket(recipe in buckets(), start in beginnings(), events in events(80)) {
        check_bucket(&recipe, start, &events)?;
    }

    #[test]
    fn fixed_window(recipe in windows(), start in beginnings(), events in events(80)) {
        check_window(&recipe, start, &events)?;
    }

    #[test]
    fn calendar_quota(recipe in calendars(), start in beginnings(), events in events(60)) {
        check_window(&recipe, start, &events)?;
    }

    #[test]
    fn sliding_window(recipe in slidings(), start in beginnings(), events in events(80)) {
        check_sliding(&recipe, start, &events)?;
    }
}
