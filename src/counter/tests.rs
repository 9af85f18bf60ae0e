//! A counter under a clock that was only glanced at.

use std::time::Duration;

use super::{Counter, Ground, Seen, Take};
use crate::algorithm::{Bucket, Frame, Rule, Step, Window, Word};
use crate::ceiling::Ceilings;
use crate::clock::{Clock, ManualClock};
use crate::inbox::Inbox;
use crate::key::Tag;
use crate::sync::{Arc, AtomicU64};
use crate::table::{Region, Table};
use crate::time::{LAG_MAX, NANOS_PER_SEC, Reading, Timestamp};

/// A table in which this word stands, and a clock that shows `now`.
fn ground(word: Word, now: Timestamp) -> Ground {
    let table = Arc::new(Table::new(vec![Region::heap(1)]));
    if !word.is_absent() {
        table.update(TAG, now, |_| Some(word));
    }
    let (ceilings, _) = Ceilings::in_memory(&[&table, &table], now);
    Ground {
        table: table.clone(),
        shared: table,
        clock: Clock::Manual(ManualClock::new(now)),
        inbox: Arc::new(Inbox::new(1)),
        ceilings,
        healed: AtomicU64::new(0),
    }
}

fn counter<'a>(ground: &'a Ground, rule: &'a Rule) -> Counter<'a> {
    Counter {
        ground,
        calendars: &[],
        rule,
        tag: TAG,
        is_logged: false,
        reserve: None,
        is_shared: false,
    }
}

/// Takes one by a reading that lags by `lag` behind `now`, at which `word` stands: what the take
/// saw, the word that it left, and what a look had seen.
fn take_after_look(rule: Rule, word: Word, now: Timestamp, lag: Duration) -> (Seen, Word, Seen) {
    let ground = ground(word, now);
    let counter = counter(&ground, &rule);
    let glance = Reading::lagging(now - lag);
    let looked = counter.look(glance, 1);
    let Take::Judged(seen) = counter.take(glance, 1) else {
        panic!("there is room, and it is not strict");
    };
    assert_eq!(looked.step, seen.step, "a look says what a take does");
    (seen, ground.table.read(counter.tag), looked)
}

fn take(rule: Rule, word: Word, now: Timestamp, lag: Duration) -> (Seen, Word) {
    let (seen, after, _) = take_after_look(rule, word, now, lag);
    (seen, after)
}

const TAG: Tag = Tag::from_bits(4);
const NOW: Timestamp = Timestamp::from_secs(1_000);

fn bucket() -> Rule {
    Rule::Bucket(Bucket::new(1, NANOS_PER_SEC, 3).unwrap())
}

#[test]
fn a_bucket_at_rest_starts_from_the_exact_time() {
    for word in [Word::ABSENT, Word::bucket(NOW - LAG_MAX / 2)] {
        let (seen, after) = take(bucket(), word, NOW, LAG_MAX);
        assert!(seen.now.is_exact());
        assert_eq!(after, Word::bucket(NOW + Duration::from_secs(1)));
    }
}

#[test]
fn a_busy_bucket_moves_on_by_its_token_alone() {
    let arrival = NOW + Duration::from_millis(1_500);
    let (seen, after) = take(bucket(), Word::bucket(arrival), NOW, LAG_MAX);
    assert!(!seen.now.is_exact(), "a glance is enough");
    assert_eq!(after, Word::bucket(arrival + Duration::from_secs(1)));
}

/// Another took the first of three nanoseconds later than this one read the time, exactly.
#[test]
fn who_read_the_time_too_early_reads_it_again_before_he_is_refused() {
    let rule = bucket();
    for (taken, is_admitted) in [(1, true), (2, true), (3, false)] {
        let later = NOW.plus_nanos(3);
        let ground = || ground(Word::bucket(later + Duration::from_secs(taken)), later);
        let taken_by = |take: fn(Counter<'_>) -> Take| match take(counter(&ground(), &rule)) {
            Take::Judged(seen) => seen,
            _ => panic!("there is a slot, and it is not strict"),
        };
        let ways = [
            taken_by(|counter| counter.take_with_care(NOW.into(), 1)),
            taken_by(|counter| counter.take(NOW, 1)),
            counter(&ground(), &rule).look(NOW, 1),
        ];
        for seen in ways {
            assert_eq!(matches!(seen.step, Step::Admit(_)), is_admitted, "{taken}");
        }
    }
}

#[test]
fn who_waits_as_told_is_admitted_though_the_clock_lags() {
    let arrival = NOW + Duration::from_secs(2);
    let (seen, after) = take(bucket(), Word::bucket(arrival), NOW, LAG_MAX);
    assert_eq!(after, Word::bucket(arrival + Duration::from_secs(1)));
    assert!(matches!(seen.step, Step::Admit(_)) && seen.now.is_exact());
    let just_before = NOW.minus_nanos(1);
    let (seen, after) = take(bucket(), Word::bucket(arrival), just_before, LAG_MAX);
    assert_eq!((seen.step, after), (Step::Refuse, Word::bucket(arrival)));
}

#[test]
fn a_window_is_the_one_of_the_exact_time() {
    let rule = Rule::Window(Window::new(5, 10, Frame::Epoch).unwrap());
    let (seen, after) = take(rule, Word::window(1_000, 5), NOW, LAG_MAX);
    assert!(seen.now.is_exact(), "the glance was before the edge");
    assert_eq!(after, Word::window(1_010, 1));
    let inside = NOW + Duration::from_secs(5);
    let (seen, after) = take(rule, Word::window(1_010, 4), inside, LAG_MAX);
    assert!(!seen.now.is_exact());
    assert_eq!(after, Word::window(1_010, 5));
}

#[test]
fn who_is_surely_refused_is_so_at_a_glance_but_for_a_look() {
    let window = Rule::Window(Window::new(5, 10, Frame::Epoch).unwrap());
    let inside = NOW + Duration::from_secs(5);
    let full_bucket = Word::bucket(NOW + Duration::from_secs(4));
    for (rule, word, now) in [
        (window, Word::window(1_010, 5), inside),
        (bucket(), full_bucket, NOW),
    ] {
        let (seen, after, looked) = take_after_look(rule, word, now, LAG_MAX);
        assert_eq!((seen.step, after), (Step::Refuse, word));
        assert!(!seen.now.is_exact(), "no instant that it can be would do");
        assert!(looked.now.is_exact(), "the wait is reckoned from it");
    }
}
