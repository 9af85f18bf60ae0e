//! What a rule says about the future is what then happens: retry, never, remaining, reset.

use proptest::prelude::*;

use super::super::{Bucket, CalendarUnit, Frame, Pair, Period, Retry, Rule, Step, Word};
use super::harness::{Counter, Recipe, Taken, beginnings, events, recipes, timed};
use crate::time::{LAG_MAX, NANOS_PER_SEC, Reading, Timestamp};

const LAG_NANOS: u64 = LAG_MAX.as_nanos() as u64;

/// Checks `retry` against `step` at every kind of instant up to the promised one.
fn check_retry(
    counter: &Counter,
    now: Timestamp,
    cost: u64,
    dice: u64,
) -> Result<(), TestCaseError> {
    let admitted = counter.admits(now, cost);
    match counter.retry(now, cost) {
        Retry::Now => prop_assert!(admitted),
        Retry::At(ready) => {
            prop_assert!(!admitted && ready > now, "{:?} after {:?}", ready, now);
            prop_assert!(counter.admits(ready, cost), "promised {:?}", ready);
            let wait = ready.as_nanos() - now.as_nanos();
            for before in [1, 2, 1_000, wait / 2, wait / 10, dice % wait, wait] {
                let early = ready.minus_nanos(before.clamp(1, wait));
                let step = counter.step(early, cost);
                prop_assert_eq!(step, Step::Refuse, "at {:?}, promised {:?}", early, ready);
            }
        }
        Retry::Never => {
            prop_assert!(cost > counter.rule.capacity());
            for wait in [0, 1, NANOS_PER_SEC, dice % (1 << 40), dice] {
                prop_assert_eq!(counter.step(now.plus_nanos(wait), cost), Step::Never);
            }
        }
    }
    Ok(())
}

/// Checks that `remaining` can be taken and not one more, and that `reset` is when all is back.
fn check_status(counter: &Counter, now: Timestamp) -> Result<(), TestCaseError> {
    let status = counter.status(now);
    prop_assert_eq!(status.limit, counter.rule.capacity());
    prop_assert_eq!(status.remaining, status.limit.saturating_sub(status.used));
    prop_assert!(counter.admits(now, status.remaining), "{:?}", status);
    prop_assert!(!counter.admits(now, status.remaining + 1), "{:?}", status);
    prop_assert_eq!(status.reset > now, status.used > 0, "{:?}", status);
    prop_assert_eq!(counter.status(status.reset).used, 0);
    prop_assert!(counter.admits(status.reset, status.limit));
    if status.reset > now {
        let before = status.reset.minus_nanos(1);
        prop_assert!(counter.status(before).used > 0, "{:?}", status);
        prop_assert!(!counter.admits(before, status.limit), "{:?}", status);
    }
    Ok(())
}

/// One random event: mostly takes, with refunds and debts between them.
fn act(counter: &mut Counter, taken: &mut Vec<Taken>, now: Timestamp, what: u8, cost: u64) {
    match what % 8 {
        0 => {
            if let Some(last) = taken.pop() {
                counter.refund(now, last, last.cost);
            }
        }
        1 => counter.charge(now, cost.min(u64::from(u32::MAX))),
        _ => taken.extend(counter.take(now, cost)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn refused_until_exactly_the_promised_instant(
        recipe in recipes(), start in beginnings(), events in events(40), dice in any::<u64>(),
    ) {
        let mut counter = recipe.counter();
        let mut taken = Vec::new();
        for (now, event) in timed(&recipe, start, &events) {
            let cost = event.cost(&counter);
            check_retry(&counter, now, cost.max(1), dice)?;
            check_retry(&counter, now, counter.rule.capacity(), dice)?;
            act(&mut counter, &mut taken, now, event.what, cost);
        }
    }

    #[test]
    fn the_numbers_are_true(
        recipe in recipes(), start in beginnings(), events in events(40),
    ) {
        let mut counter = recipe.counter();
        let mut taken = Vec::new();
        for (now, event) in timed(&recipe, start, &events) {
            check_status(&counter, now)?;
            let cost = event.cost(&counter);
            act(&mut counter, &mut taken, now, event.what, cost);
            check_status(&counter, now)?;
        }
    }

    /// What was judged by a clock that lags is what an exact one would have said, wherever the rule
    /// says so: nobody is admitted early, and no promise is broken.
    #[test]
    fn what_holds_is_the_same_by_the_exact_time(
        recipe in recipes(), start in beginnings(), events in events(40),
        lags in prop::collection::vec(0..=LAG_NANOS, 40),
    ) {
        let mut counter = recipe.counter();
        let mut taken = Vec::new();
        for ((now, event), lag) in timed(&recipe, start, &events).zip(lags) {
            let cost = event.cost(&counter);
            for cost in [cost, 1, counter.rule.capacity(), counter.rule.capacity() + 1] {
                let glance = now.minus_nanos(lag);
                let (period, pair, slot) = counter.look(glance);
                let step = counter.rule.step(period, pair, glance, cost);
                if counter.rule.holds(step, period, pair, glance, cost) {
                    let (_, _, exact_slot) = counter.look(now);
                    prop_assert_eq!(step, counter.step(now, cost), "{} ns late", lag);
                    prop_assert!(slot == exact_slot || step == Step::Never);
                }
            }
            act(&mut counter, &mut taken, now, event.what, cost);
        }
    }

    /// The straight line says what the long way says, or nothing: and that only at rest, near its
    /// end, or where the long way has more to say.
    #[test]
    fn a_step_at_once_is_the_step(
        count in 1..50_u64, period_secs in 1..100_u64, burst in 1..50_u64, now in any::<u64>(),
        ahead in any::<u64>(), any in any::<u64>(), near in 0..4, cost in 1..60_u64,
    ) {
        let bucket = Bucket::new(count, period_secs * NANOS_PER_SEC, burst).unwrap();
        let Some(words) = bucket.to_words() else {
            prop_assert_ne!(period_secs * NANOS_PER_SEC % count, 0);
            return Ok(());
        };
        prop_assert_eq!(Bucket::from_words(words), bucket);
        let now = Timestamp::from_nanos(now >> 2);
        let span = 3 * bucket.fill_nanos();
        let room = burst.saturating_sub(cost) * (period_secs * NANOS_PER_SEC / count);
        let word = match near {
            0 => Word::bucket(now.plus_nanos(ahead % span)),
            // About where the lag decides.
            1 => Word::bucket(now.plus_nanos(room + ahead % (2 * LAG_NANOS))),
            2 => Word::bucket(now.plus_nanos(ahead % (2 * LAG_NANOS))),
            _ => Word::from_bits(any),
        };
        let (rule, pair) = (Rule::Bucket(bucket), Pair::single(word));
        let step = rule.step(Period::default(), pair, now, cost);
        let is_sure = rule.holds(step, Period::default(), pair, now, cost);
        let is_plain = matches!(step, Step::Admit(_) | Step::Refuse);
        let at_once = bucket.step_at_once(word, now, cost);
        let is_busy = word.as_bucket().arrival > now.plus_nanos(LAG_NANOS);
        let is_told = is_plain && is_sure && is_busy && now.plus_nanos(span) < Timestamp::MAX;
        match at_once {
            Some(at_once) => prop_assert!(at_once == step && is_sure && is_plain),
            None => prop_assert!(!is_told, "{:?} of {:?}", step, word),
        }
        prop_assert_eq!(bucket.step_exactly(word, now, cost), is_plain.then_some(step));
    }

    /// What is judged surely is what the rule steps to, and holds to where the time lags; it is
    /// silent where that is not so, or where there is no word or a second one.
    #[test]
    fn what_is_sure_is_the_step_and_holds(
        recipe in recipes(), now in beginnings(), bits in any::<u64>(), near in 0..6,
        ahead in any::<u64>(), cost in 0..30_u64, is_exact in any::<bool>(),
    ) {
        let counter = recipe.counter();
        let edge = Timestamp::from_secs(now.as_secs_ceil() + 1);
        let now = match near {
            // About where the lag decides.
            3.. => edge.minus_nanos(1 + ahead % (2 * LAG_NANOS)),
            _ => now.plus_nanos(NANOS_PER_SEC),
        };
        let (period, mut pair, _) = counter.look(now);
        let count = u32::try_from(bits % 40).unwrap();
        let dies_at = match near {
            0 => u64::from(period.end_secs),
            1 => now.plus_nanos(ahead % (3 * recipe.span_nanos())).as_secs(),
            _ => edge.as_secs(),
        };
        pair.main = match near {
            2 => Word::from_bits(bits),
            _ if matches!(recipe, Recipe::Bucket { .. }) => {
                Word::bucket(now.plus_nanos(ahead % (3 * recipe.span_nanos())))
            }
            _ => Word::window(u32::try_from(dies_at).unwrap(), count),
        };
        pair.other = Word::ABSENT;
        let reading = match is_exact {
            true => Reading::from(now),
            false => Reading::lagging(now),
        };
        let step = counter.rule.step(period, pair, now, cost);
        let holds = counter.rule.holds(step, period, pair, now, cost);
        let is_one = !counter.rule.has_pair() && cost > 0;
        let told = (is_one && (is_exact || holds)).then_some((period, step));
        let sure = counter.rule.judge_surely(&counter.calendars, pair.main, reading, cost);
        // A word from the future is looked into by whoever is told nothing of it as well.
        let of_now = |(_, step): &(Period, Step)| *step != Step::Future;
        prop_assert_eq!(sure.filter(of_now), told.filter(of_now));
    }

    /// Any bits, as damage or another version may leave them: no panic, and either they are told
    /// to be from the future or the wait that they impose is one the rule can impose.
    #[test]
    fn no_word_locks_out_for_longer_than_its_rule(
        recipe in recipes(), now in any::<u64>(), main in any::<u64>(), other in any::<u64>(),
        near in any::<bool>(), cost in 1..30_u64,
    ) {
        let mut counter = recipe.counter();
        let now = Timestamp::from_nanos(now >> 2);
        let span = recipe.span_nanos();
        counter.slots = [main, other].map(|bits| match (near, &recipe) {
            (false, _) => Word::from_bits(bits),
            (true, Recipe::Bucket { .. }) => Word::bucket(now.plus_nanos(bits % (3 * span))),
            (true, _) => {
                let dies_at = now.plus_nanos(bits % (5 * span)).as_secs();
                let count = u32::try_from(bits >> 40).unwrap();
                Word::window(u32::try_from(dies_at).unwrap(), count)
            }
        });
        let (period, pair, _) = counter.look(now);
        let _ = counter.rule.charge(period, pair, now, u64::MAX);
        let _ = counter.rule.refund(pair.main, pair.other, now, u64::MAX);
        let _ = counter.status(now);
        let retry = counter.retry(now, cost);
        if counter.step(now, cost) == Step::Future {
            let healed = counter.rule.step(period, Pair::ABSENT, now, cost);
            prop_assert_ne!(healed, Step::Future);
            return Ok(());
        }
        if let Retry::At(ready) = retry {
            let wait = ready.since(now).as_nanos();
            let longest = 2 * u128::from(span) + 2 * u128::from(NANOS_PER_SEC);
            prop_assert!(wait <= longest, "{} > {}", wait, longest);
        }
    }
}

/// True if a glance at the clock is enough to judge one more.
fn is_enough(counter: &Counter, now: Timestamp) -> bool {
    let (period, pair, _) = counter.look(now);
    let step = counter.rule.step(period, pair, now, 1);
    counter.rule.holds(step, period, pair, now, 1)
}

#[test]
fn a_glance_is_enough_for_a_busy_counter_and_away_from_edges() {
    let now = Timestamp::from_secs(1_700_000_000);
    let mut bucket = Counter::bucket(10, NANOS_PER_SEC, 10);
    assert!(!is_enough(&bucket, now), "at rest");
    for _ in 0..9 {
        assert!(bucket.take(now, 1).is_some());
    }
    assert!(is_enough(&bucket, now), "one left");
    assert!(bucket.take(now, 1).is_some());
    assert!(
        !is_enough(&bucket, now),
        "one comes back in a tenth of a second"
    );
    assert!(!bucket.admits(now, 1));

    let edge = Timestamp::from_secs(1_700_000_040);
    for mut counter in [
        Counter::window(5, 60, Frame::Epoch),
        Counter::sliding(5, 60),
        Counter::calendar(5, CalendarUnit::Hour, "UTC"),
    ] {
        assert!(is_enough(&counter, now), "{:?}", counter.rule);
        for _ in 0..5 {
            assert!(counter.take(now, 1).is_some());
        }
        assert!(is_enough(&counter, now), "spent: {:?}", counter.rule);
        let hour = matches!(counter.rule, Rule::Window(window) if window.frame() != Frame::Epoch);
        let edge = if hour {
            Timestamp::from_secs(1_700_002_800)
        } else {
            edge
        };
        assert!(
            !is_enough(&counter, edge.minus_nanos(LAG_NANOS)),
            "{:?}",
            counter.rule
        );
    }
}

#[test]
fn deny_never_admits_and_unlimited_always_does() {
    let now = Timestamp::from_secs(1_700_000_000);
    let deny = Counter::new(Rule::Deny);
    assert_eq!(deny.step(now, 1), Step::Never);
    assert_eq!(deny.retry(now, 1), Retry::Never);
    assert_eq!((deny.status(now).limit, deny.status(now).remaining), (0, 0));
    assert_eq!(deny.rule.capacity(), 0);
    let unlimited = Counter::new(Rule::Unlimited);
    assert_eq!(unlimited.step(now, u64::MAX), Step::Admit(Word::ABSENT));
    assert_eq!(unlimited.retry(now, u64::MAX), Retry::Now);
    assert_eq!(unlimited.status(now).remaining, u64::MAX);
}
