//! What a change of rate keeps: tokens, not time, for every pair of rates.

use proptest::prelude::*;

use super::super::{Bucket, NO_PACE, Paces, Pair, Period, Retry, Rule, Status, Step, Word};
use super::harness::{Recipe, buckets};
use crate::algorithm::word::UNIT_NANOS;
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_nanos(1_700_000_000_123_456_789);

fn bucket(recipe: &Recipe) -> Bucket {
    match *recipe {
        Recipe::Bucket {
            count,
            period_nanos,
            burst,
        } => Bucket::new(count, period_nanos, burst).unwrap(),
        _ => panic!("no bucket"),
    }
}

fn status(rule: Rule, word: Word, now: Timestamp) -> Status {
    rule.status(Period::default(), Pair::single(word), now)
}

/// Two rates of one limit, the first of which may have ended, and a word of that of which `used` of
/// a thousand parts are used.
fn two(one: &Recipe, other: &Recipe, used: u64, is_ended: bool) -> (Paces, Rule, Rule, Word) {
    let mut paces = Paces::default();
    let [one, other] = [one, other].map(|recipe| paces.name(&bucket(recipe), NOW));
    let most = one.burst().max(other.burst());
    let [one, other] = [one, other].map(|bucket| bucket.among(most));
    if is_ended {
        paces.retire(&[other], NOW);
    }
    let cost = u64::try_from(u128::from(one.burst()) * u128::from(used) / 1_000).unwrap();
    let word = Rule::Bucket(one).charge(Period::default(), Pair::ABSENT, NOW, cost);
    (paces, Rule::Bucket(one), Rule::Bucket(other), word)
}

/// As `status`, of a word that may be written at another rate.
fn told(rule: Rule, word: Word, paces: &Paces, now: Timestamp) -> Status {
    status(rule, rule.converted(word, paces, now), now)
}

proptest! {
    #[test]
    fn what_was_used_stays_used_or_as_many_as_the_new_burst_holds(
        one in buckets(), other in buckets(), used in 0..=2_000_u64,
    ) {
        let is_as_fast = bucket(&one).is_as_fast_as(&bucket(&other));
        let (paces, one, other, word) = two(&one, &other, used, bucket(&one) != bucket(&other));
        let (before, after) = (status(one, word, NOW), told(other, word, &paces, NOW));
        if is_as_fast {
            prop_assert_eq!(after.used, before.used);
            return Ok(());
        }
        prop_assert_eq!(after.used, before.used.min(after.limit));
        prop_assert_eq!(after.remaining, after.limit - after.used);
        // Never longer than the new rate takes to fill.
        let fill = other.window(Period::default());
        prop_assert!(after.reset <= NOW + fill, "{:?} > {fill:?}", after.reset.since(NOW));
        let words = Pair::single(other.converted(word, &paces, NOW));
        match other.retry(Period::default(), words, NOW, 1) {
            Retry::Now => prop_assert!(after.remaining > 0),
            Retry::At(at) => prop_assert!(at <= NOW + fill),
            Retry::Never => prop_assert!(NOW + fill >= Timestamp::MAX),
        }
    }

    /// From the end of the old rate on the bucket fills at the new one, whenever it is first asked
    /// while the word still counts; and then for good.
    #[test]
    fn a_rate_that_ended_fills_no_more(
        one in buckets(), other in buckets(), used in 0..=2_000_u64, part in 0..1_000_u32,
    ) {
        let (paces, one, other, word) = two(&one, &other, used, bucket(&one) != bucket(&other));
        let at_once = other.converted(word, &paces, NOW);
        let now = NOW + other.window(Period::default()) / 1_000 * part;
        prop_assume!(word.is_live(now));
        prop_assert_eq!(told(other, word, &paces, now).used, status(other, at_once, now).used);
        let written = one != other && at_once != word;
        prop_assert_eq!(other.has_ended(word, &paces, now), written);
    }

    #[test]
    fn changing_back_and_forth_refills_nothing(
        one in buckets(), other in buckets(), used in 0..=1_000_u64, times in 1..5_u64,
    ) {
        let (paces, one, other, word) = two(&one, &other, used, false);
        let mut there_and_back = word;
        for _ in 0..times {
            let there = other.converted(there_and_back, &paces, NOW);
            // As many tokens as would take longer than time lasts cannot all be told.
            prop_assume!(status(other, there, NOW).reset < Timestamp::MAX);
            there_and_back = one.converted(there, &paces, NOW);
        }
        let (before, after) = (status(one, word, NOW), status(one, there_and_back, NOW));
        prop_assert!(after.used >= before.used, "{} < {}", after.used, before.used);
        // Rounded up by a part of a token each time, at most a tick of the two rates.
        prop_assert!(after.used <= before.used + 2 * times);
    }
}

/// A word of a rate without a number counts for as long as it lasts, as all that the burst holds at
/// most. One whose number a later policy gave is not judged at all.
#[test]
fn words_of_unknown_rates_count_as_used() {
    let day = Bucket::new(10, 86_400_000_000_000, 10).unwrap();
    let minute = Bucket::new(100, 60_000_000_000, 100).unwrap().with_pace(8);
    let word = Rule::Bucket(day).charge(Period::default(), Pair::ABSENT, NOW, 10);
    let told = Rule::Bucket(minute).converted(word, &Paces::NONE, NOW);
    assert_eq!(status(Rule::Bucket(minute), told, NOW).remaining, 0);
    let full = NOW.plus_nanos(60_000_000_000);
    assert_eq!(status(Rule::Bucket(minute), told, full).remaining, 100);
    let (nameless, named) = (minute.with_pace(NO_PACE), day.with_pace(9));
    let short = Rule::Bucket(nameless).charge(Period::default(), Pair::ABSENT, NOW, 1);
    let told = Rule::Bucket(named).converted(short, &Paces::NONE, NOW);
    assert_eq!(status(Rule::Bucket(named), told, NOW).used, 1);
    let later = Rule::Bucket(day.with_pace(7)).charge(Period::default(), Pair::ABSENT, NOW, 3);
    assert_eq!(
        Rule::Bucket(minute).converted(later, &Paces::NONE, NOW),
        later
    );
    let step = Rule::Bucket(minute).step(Period::default(), Pair::single(later), NOW, 1);
    assert_eq!(step, Step::Foreign);
    assert!(Rule::Bucket(minute).is_foreign(later, NOW));
    // A word of no rate, as a reset leaves it, is over and stays so.
    let reset = Word::bucket(NOW);
    assert_eq!(
        Rule::Bucket(minute).converted(reset, &Paces::NONE, NOW),
        reset
    );
    assert!(!reset.is_live(NOW) && reset.is_live(NOW.minus_nanos(UNIT_NANOS)));
}
