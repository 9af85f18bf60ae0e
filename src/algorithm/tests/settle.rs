//! Refunds and debts: exact in any order, clamped, bounded, and never credited to another window.

use proptest::prelude::*;

use super::super::grain::{Grain, Hundredths};
use super::super::{CalendarUnit, Frame, Word};
use super::harness::{Counter, Recipe, beginnings, events, recipes, timed};
use crate::algorithm::word::UNIT_NANOS;
use crate::time::{NANOS_PER_SEC, Timestamp};

const NOW: Timestamp = Timestamp::from_nanos(1_700_000_000_123_456_789);

/// One counter of each kind, with a limit of `amount`.
fn each(amount: u64) -> [Counter; 5] {
    [
        Counter::bucket(7, 60 * NANOS_PER_SEC, amount),
        Counter::window(amount, 60, Frame::Epoch),
        Counter::first_hit(amount, 60),
        Counter::sliding(amount, 60),
        Counter::calendar(amount, CalendarUnit::Day, "Europe/Berlin"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Takes given back in any order, and in any parts, leave what was there before them.
    #[test]
    fn edge_16_refunds_restore_exactly_in_any_order(
        recipe in recipes(), start in beginnings(), before in events(10), after in events(20),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 20),
    ) {
        let mut counter = recipe.counter();
        let mut now = start;
        for (at, event) in timed(&recipe, start, &before) {
            now = at;
            let cost = event.cost(&counter);
            counter.take(now, cost);
        }
        // A first take opens the window or the bucket at this very instant; it stays.
        counter.take(now, 1);
        let words = counter.slots;
        let mut taken = Vec::new();
        for event in after {
            let cost = event.cost(&counter);
            taken.extend(counter.take(now, cost));
        }
        for pick in picks {
            if taken.is_empty() {
                break;
            }
            let last = taken.swap_remove(pick.index(taken.len()));
            let part = pick.index(100) as u64 % (last.cost + 1);
            counter.refund(now, last, part);
            counter.refund(now, last, last.cost - part);
        }
        prop_assume!(taken.is_empty());
        prop_assume!(words.iter().any(|word| word.is_live(now)));
        prop_assert_eq!(counter.slots.map(Word::clean), words);
    }

    /// What is owed has a bound, and never passes what the rule can tell from the future.
    #[test]
    fn debt_is_bounded(recipe in recipes(), start in beginnings(), costs in
        prop::collection::vec(prop_oneof![1..50_u64, Just(u64::MAX)], 1..40),
    ) {
        let mut counter = recipe.counter();
        let limit = counter.rule.capacity();
        for cost in costs {
            let used = counter.status(start).used;
            counter.charge(start, cost);
            let most = match recipe {
                Recipe::Bucket { .. } => 2 * limit,
                Recipe::Fine { .. } => u64::from(Hundredths::COUNT_MAX),
                _ => u64::from(super::super::word::COUNT_MAX),
            };
            let due = used.saturating_add(cost).min(most);
            prop_assert_eq!(counter.status(start).used, due);
            prop_assert_eq!(counter.take(start, 1).is_some(), due < limit);
        }
    }
}

#[test]
fn edge_15_a_refund_of_more_than_was_taken_is_clamped() {
    for mut counter in each(10) {
        let first = counter.take(NOW, 3).unwrap();
        counter.refund(NOW, first, u64::MAX);
        assert_eq!(counter.status(NOW).used, 0, "{:?}", counter.rule);
        counter.refund(NOW, first, 3);
        assert_eq!(counter.status(NOW).remaining, 10);
        assert!(counter.take(NOW, 10).is_some());
        assert!(counter.take(NOW, 1).is_none(), "{:?}", counter.rule);
    }
}

#[test]
fn edge_15_a_refund_to_a_counter_that_is_gone_does_nothing() {
    for mut counter in each(10) {
        let taken = counter.take(NOW, 3).unwrap();
        counter.slots = [Word::ABSENT; 2];
        counter.refund(NOW, taken, 3);
        assert_eq!(counter.slots, [Word::ABSENT; 2]);
    }
}

#[test]
fn edge_15_a_refund_after_the_window_rolled_or_the_bucket_filled_credits_nothing() {
    for mut counter in each(10) {
        let taken = counter.take(NOW, 8).unwrap();
        // Two windows on, so that a sliding window's slot is in use again.
        let later = NOW.plus_nanos(2 * counter.rule_span_nanos());
        assert!(counter.take(later, 9).is_some());
        counter.refund(later, taken, 8);
        assert_eq!(counter.status(later).used, 9, "{:?}", counter.rule);
    }
}

#[test]
fn a_refund_into_the_previous_window_of_a_sliding_one_lifts_its_weight() {
    let mut counter = Counter::sliding(10, 60);
    let edge = Timestamp::from_secs(1_700_000_040);
    let taken = counter.take(edge.minus_nanos(1), 10).unwrap();
    assert_eq!(counter.status(edge).remaining, 0);
    counter.refund(edge, taken, 4);
    assert_eq!(counter.status(edge).remaining, 4);
}

#[test]
fn a_settlement_beyond_the_reservation_is_owed() {
    for mut counter in each(10) {
        counter.take(NOW, 4).unwrap();
        counter.charge(NOW, 11);
        let status = counter.status(NOW);
        assert_eq!(
            (status.used, status.remaining),
            (15, 0),
            "{:?}",
            counter.rule
        );
        assert!(!counter.admits(NOW, 1));
    }
}

#[test]
fn a_full_debt_of_the_slowest_bucket_is_not_cut_short() {
    let year = 365 * 86_400 * NANOS_PER_SEC;
    let mut counter = Counter::bucket(1, year, 9);
    counter.charge(NOW, 18);
    assert_eq!(counter.status(NOW).used, 18);
    // From the start of the unit on.
    let start = Timestamp::from_nanos(NOW.as_nanos() / UNIT_NANOS * UNIT_NANOS);
    assert_eq!(counter.status(NOW).reset, start.plus_nanos(18 * year));
    assert!(!counter.admits(start.plus_nanos(10 * year - 1), 1));
    assert!(counter.admits(start.plus_nanos(10 * year), 1));
}

#[test]
fn charging_a_word_that_has_moved_on_does_not_turn_it_back() {
    for mut counter in each(10) {
        let late = NOW.plus_nanos(2 * counter.rule_span_nanos());
        counter.slots = [Word::ABSENT; 2];
        counter.charge(late, 3);
        let (period, pair, _) = counter.look(NOW);
        let word = counter.rule.charge(period, pair, NOW, 2);
        assert!(word.bits() >= pair.main.bits(), "{:?}", counter.rule);
    }
}
