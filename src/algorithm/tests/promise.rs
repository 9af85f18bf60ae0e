//! What a rule says about the future is what then happens: retry, never, remaining, reset.

use proptest::prelude::*;

use super::super::{Pair, Retry, Rule, Step, Word};
use super::harness::{Counter, Recipe, Taken, beginnings, events, recipes, timed};
use crate::time::{NANOS_PER_SEC, Timestamp};

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
        if counter.rule.is_foreign(pair.main, now) {
            prop_assert_eq!(counter.retry(now, cost.min(counter.rule.capacity())), Retry::Now);
            return Ok(());
        }
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
