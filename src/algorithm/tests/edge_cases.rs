//! Cases of arithmetic and time that broke other rate limiters, by their number in the list of
//! edge cases; the numbers in them are the ones that broke. Refunds (15, 16) are in `settle`, the
//! clock's own (21) with the clock.

use super::super::{Bucket, Frame, Pair, Period, Retry, RuleError, Sliding, Step, Window, Word};
use super::harness::Counter;
use crate::algorithm::word::UNIT_NANOS;
use crate::time::{NANOS_PER_SEC, Timestamp};

const MINUTE: u64 = 60 * NANOS_PER_SEC;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;
const NOW: Timestamp = Timestamp::from_nanos(1_700_000_000_987_654_321);

/// One counter of each kind with an amount of `amount` a minute.
fn each(amount: u64) -> [Counter; 4] {
    [
        Counter::bucket(amount, MINUTE, amount),
        Counter::window(amount, 60, Frame::Epoch),
        Counter::first_hit(amount, 60),
        Counter::sliding(amount, 60),
    ]
}

/// Takes one by one until refused; how many there were.
fn drain(counter: &mut Counter, now: Timestamp) -> u64 {
    (0_u64..).find(|_| counter.take(now, 1).is_none()).unwrap()
}

#[test]
fn edge_01_a_cost_that_overflows_is_never_and_spends_nothing() {
    let costs = [(10, MINUTE, 3_074_457_347), (1, 1 << 33, (1 << 31) + 1)];
    for (count, period, cost) in costs {
        let mut counter = Counter::bucket(count, period, 10);
        assert_eq!(counter.step(NOW, cost), Step::Never);
        assert!(counter.take(NOW, cost).is_none());
        assert_eq!(counter.status(NOW).remaining, 10);
        assert_eq!(drain(&mut counter, NOW), 10);
    }
}

#[test]
fn edge_02_the_largest_burst_is_exact_or_an_error() {
    let burst = u64::from(u32::MAX);
    let too_slow = RuleError::FillsTooSlowly {
        longest_nanos: 10 * YEAR,
    };
    assert_eq!(Bucket::new(1, HOUR, burst), Err(too_slow));
    assert_eq!(
        Bucket::new(u64::MAX, u64::MAX, 10 * YEAR + 1),
        Err(too_slow)
    );
    for count in [100_000, 99_991, 49_031] {
        let mut counter = Counter::bucket(count, HOUR, burst);
        assert!(counter.take(NOW, burst - 5).is_some());
        assert_eq!(drain(&mut counter, NOW), 5, "{count}");
        assert_ne!(counter.retry(NOW, burst), counter.retry(NOW, 1));
    }
}

#[test]
fn edge_03_a_cost_of_nothing_is_allowed_and_the_largest_is_not() {
    for mut counter in each(2) {
        assert_eq!(drain(&mut counter, NOW), 2);
        let words = counter.slots;
        assert!(counter.take(NOW, 0).is_some());
        assert_eq!(counter.slots, words);
        assert_eq!(counter.retry(NOW, 0), Retry::Now);
        assert_eq!(counter.step(NOW, u64::MAX), Step::Never);
        assert_eq!(counter.retry(NOW, u64::MAX), Retry::Never);
        assert_eq!(counter.slots, words);
    }
}

#[test]
fn edge_04_all_at_once_is_allowed_and_one_more_is_never() {
    for mut counter in each(10) {
        assert_eq!(counter.step(NOW, 11), Step::Never);
        assert_eq!(counter.retry(NOW, 11), Retry::Never);
        assert!(counter.take(NOW, 11).is_none());
        assert!(counter.take(NOW, 10).is_some());
        assert_eq!(counter.step(NOW, 10), Step::Refuse);
        assert_eq!(counter.step(NOW, 11), Step::Never);
        assert!(matches!(counter.retry(NOW, 10), Retry::At(_)));
    }
}

#[test]
fn edge_05_a_burst_of_one_is_one() {
    for (count, period) in [
        (1, NANOS_PER_SEC),
        (3, NANOS_PER_SEC),
        (7, MINUTE),
        (100, 101 * UNIT_NANOS),
    ] {
        let mut counter = Counter::bucket(count, period, 1);
        assert_eq!(drain(&mut counter, NOW), 1);
        assert_eq!(drain(&mut counter, NOW), 0);
    }
}

#[test]
fn edge_06_idling_grants_no_more_than_the_burst() {
    let mut counter = Counter::bucket(100, MINUTE, 10);
    let mut now = NOW;
    let mut admitted = 0;
    for cycle in 0..100 {
        assert!(counter.take(now, 1).is_some());
        now = now.plus_nanos(5_390_000_000);
        let burst = drain(&mut counter, now);
        assert!(burst <= 10, "{burst} in cycle {cycle}");
        admitted += burst + 1;
        now = now.plus_nanos(600_000_000);
    }
    // The burst, and what 599 seconds bring.
    assert!((990..=1_008).contains(&admitted), "{admitted}");
}

#[test]
fn edge_07_nothing_of_nothing_is_an_error() {
    assert_eq!(Bucket::new(0, MINUTE, 1), Err(RuleError::Zero));
    assert_eq!(Bucket::new(1, 0, 1), Err(RuleError::Zero));
    assert_eq!(Bucket::new(1, MINUTE, 0), Err(RuleError::Zero));
    assert_eq!(Window::new(0, 60, Frame::Epoch), Err(RuleError::Zero));
    assert_eq!(Window::new(1, 0, Frame::Epoch), Err(RuleError::Zero));
    assert_eq!(Sliding::new(0, 60), Err(RuleError::Zero));
    assert_eq!(Sliding::new(1, 0), Err(RuleError::Zero));
}

#[test]
fn edge_08_rates_that_divide_nothing_are_kept() {
    // 14 million a second for 50 milliseconds, polled each unit: 700 thousand.
    let mut counter = Counter::bucket(14_000_000, NANOS_PER_SEC, 1);
    let instants = (0..1_000_000).map(|units| NOW.plus_nanos(units * UNIT_NANOS));
    let admitted = instants
        .filter(|now| counter.take(*now, 1).is_some())
        .count();
    assert!((699_999..=700_001).contains(&admitted), "{admitted}");
    // More than one a unit cannot be told apart, so it is an error, not another rate.
    assert!(Bucket::new(20_000_000, NANOS_PER_SEC, 1).is_ok());
    for count in [20_000_001, 10_000_000_000, u64::MAX] {
        let faster = Bucket::new(count, NANOS_PER_SEC, 1);
        assert_eq!(faster, Err(RuleError::TooFast), "{count}");
    }
    // Three a second for a million seconds, taken as soon as each is there.
    let mut counter = Counter::bucket(3, NANOS_PER_SEC, 1);
    let (mut now, end) = (NOW, NOW.plus_nanos(1_000_000 * NANOS_PER_SEC));
    let mut admitted = 0;
    while now < end {
        assert!(counter.take(now, 1).is_some());
        admitted += 1;
        let Retry::At(ready) = counter.retry(now, 1) else {
            panic!("a wait after {admitted}");
        };
        now = ready;
    }
    // The last one may come a part of a tick early.
    assert!((3_000_000..=3_000_001).contains(&admitted), "{admitted}");
}

#[test]
fn edge_08_whole_periods_bring_back_the_whole_count() {
    for (count, period) in [
        (3, NANOS_PER_SEC),
        (7, MINUTE),
        (999, HOUR),
        (13, 101 * UNIT_NANOS),
    ] {
        let mut counter = Counter::bucket(count, period, count);
        for periods in 0..1_000 {
            let now = NOW.plus_nanos(periods * period);
            assert_eq!(drain(&mut counter, now), count, "period {periods}");
        }
    }
}

#[test]
fn edge_09_polling_often_loses_no_fraction() {
    let mut counter = Counter::bucket(1, NANOS_PER_SEC, 1);
    let polls = (0..)
        .map(|poll| poll * 1_900)
        .take_while(|nanos| *nanos < 60 * NANOS_PER_SEC);
    let admitted = polls.filter(|nanos| counter.take(NOW.plus_nanos(*nanos), 1).is_some());
    assert_eq!(admitted.count(), 60);
}

#[test]
fn edge_10_long_idling_fills_the_bucket_and_no_more() {
    for idle in [12 * HOUR, YEAR, 10 * YEAR, 80 * YEAR] {
        for (count, burst) in [(1, 10), (20_000_000, 1_000), (19_999_999, 777)] {
            let mut counter = Counter::bucket(count, NANOS_PER_SEC, burst);
            assert_eq!(drain(&mut counter, Timestamp::from_secs(7)), burst);
            let later = Timestamp::from_secs(7).plus_nanos(idle);
            assert_eq!(counter.status(later).remaining, burst);
            assert_eq!(drain(&mut counter, later), burst);
        }
    }
}

#[test]
fn edge_11_the_end_of_time_is_closed() {
    for nanos in [u64::MAX, u64::MAX - 1, Timestamp::MAX.as_nanos()] {
        let now = Timestamp::from_nanos(nanos);
        for mut counter in each(10) {
            assert!(drain(&mut counter, now) <= 10, "{:?}", counter.rule);
            assert_eq!(drain(&mut counter, now), 0, "{:?}", counter.rule);
            assert_eq!(counter.retry(now, 1), Retry::Never, "{:?}", counter.rule);
            let _ = counter.status(now);
            counter.charge(now, u64::MAX);
        }
    }
    // The hours before it are as closed as any, and no word is lost on the way.
    for mut counter in each(10) {
        let mut admitted = 0;
        for minutes in (0..60).rev() {
            admitted += drain(&mut counter, Timestamp::MAX.minus_nanos(minutes * MINUTE));
        }
        assert!(admitted <= 10 * 61, "{admitted} by {:?}", counter.rule);
        // A sliding window that is always drained gives a little over half.
        assert!(admitted >= 5 * 60, "{admitted} by {:?}", counter.rule);
    }
}

#[test]
fn edge_12_a_lowered_limit_leaves_nothing_not_less() {
    let lowered = each(3).map(|counter| counter.rule);
    for (mut counter, rule) in each(10).into_iter().zip(lowered) {
        assert!(counter.take(NOW, 8).is_some());
        let raised = counter.rule;
        counter.rule = rule;
        assert_eq!(counter.status(NOW).remaining, 0);
        assert_eq!(counter.status(NOW).limit, 3);
        assert!(!counter.admits(NOW, 1));
        counter.rule = raised;
        assert_eq!(counter.status(NOW).used, 8);
        assert_eq!(drain(&mut counter, NOW), 2);
    }
}

#[test]
fn edge_13_long_windows_last() {
    for days in [25, 366, 3_650] {
        let later = NOW.plus_nanos((days - 2) * DAY);
        let mut window = Counter::first_hit(1, days * 86_400);
        let mut bucket = Counter::bucket(1, days * DAY, 1);
        for counter in [&mut window, &mut bucket] {
            assert_eq!(drain(counter, NOW), 1);
            assert!(!counter.admits(later, 1), "{days} days");
            assert!(counter.admits(NOW.plus_nanos(days * DAY + NANOS_PER_SEC), 1));
        }
    }
    let too_long = RuleError::WindowTooLong {
        longest_secs: 3_650 * 86_400,
    };
    for span in [3_650 * 86_400 + 1, 1 << 32, u64::MAX] {
        assert_eq!(Window::new(1, span, Frame::Epoch), Err(too_long));
        assert_eq!(Sliding::new(1, span), Err(too_long));
    }
    let largest = u64::from(super::super::word::COUNT_MAX);
    assert!(Window::new(largest, 60, Frame::Epoch).is_ok());
    for amount in [largest + 1, 1 << 32, u64::MAX] {
        let too_large = RuleError::AmountTooLarge { largest };
        assert_eq!(Window::new(amount, 60, Frame::Epoch), Err(too_large));
        assert_eq!(Sliding::new(amount, 60), Err(too_large));
    }
}

#[test]
fn edge_14_in_debt_nothing_remains() {
    for mut counter in each(10) {
        counter.charge(NOW, 17);
        let status = counter.status(NOW);
        assert_eq!((status.used, status.remaining), (17, 0));
    }
}

#[test]
fn edge_17_a_refusal_does_not_lengthen_the_wait() {
    for mut counter in each(10) {
        assert_eq!(drain(&mut counter, NOW), 10);
        let (words, wait) = (counter.slots, counter.retry(NOW, 4));
        for cost in [1, 4, 10, 11, u64::MAX] {
            assert!(counter.take(NOW, cost).is_none());
        }
        assert_eq!((counter.slots, counter.retry(NOW, 4)), (words, wait));
    }
}

#[test]
fn edge_18_a_clock_an_hour_back_locks_nobody_out() {
    for mut counter in each(10) {
        assert_eq!(drain(&mut counter, NOW), 10);
        let back = NOW.minus_nanos(HOUR);
        assert_eq!(counter.step(back, 1), Step::Future, "{:?}", counter.rule);
        counter.slots = [Word::ABSENT; 2];
        assert_eq!(drain(&mut counter, back), 10);
    }
    // Back by less than the rule can tell from its own words: the wait is one window more.
    for (mut counter, longest) in each(10).into_iter().zip([90, 91, 91, 121]) {
        assert_eq!(drain(&mut counter, NOW), 10);
        let back = NOW.minus_nanos(MINUTE / 2);
        if counter.step(back, 1) == Step::Future {
            continue;
        }
        let Retry::At(ready) = counter.retry(back, 10) else {
            panic!("{:?} is empty", counter.rule);
        };
        assert!(
            ready <= back.plus_nanos(longest * NANOS_PER_SEC),
            "{:?}",
            counter.rule
        );
    }
}

#[test]
fn edge_18_another_threads_later_instant_is_no_damage() {
    // A take some nanoseconds later than this thread's clock, also across an edge.
    let edge = Timestamp::from_secs(1_700_000_040);
    for mut counter in each(10) {
        let late = edge.plus_nanos(50);
        assert!(counter.take(late, 1).is_some());
        let early = edge.minus_nanos(50);
        let (period, pair, _) = counter.look(early);
        match counter.rule.step(period, pair, early, 1) {
            // Told to read the clock again; then it is admitted on the same words.
            Step::Future => assert!(counter.take(late, 1).is_some()),
            Step::Admit(word) => assert!(word.bits() > pair.main.bits()),
            step => panic!("{step:?} by {:?}", counter.rule),
        }
    }
}

#[test]
fn edge_19_a_clock_an_hour_ahead_refills_once() {
    for mut counter in each(10) {
        assert_eq!(drain(&mut counter, NOW), 10);
        let ahead = NOW.plus_nanos(HOUR);
        assert_eq!(drain(&mut counter, ahead), 10);
        // Held at the later instant, as the clock is, there is nothing more to have.
        assert_eq!(drain(&mut counter, ahead), 0);
    }
}

#[test]
fn edge_20_words_mean_the_same_in_another_process() {
    for mut counter in each(10) {
        assert!(counter.take(NOW, 10).is_some());
        // As they come back from a disk, dirty or not.
        counter.slots = counter
            .slots
            .map(|word| Word::from_bits(word.dirty().bits()));
        assert_eq!(counter.status(NOW).remaining, 0);
        assert_eq!(drain(&mut counter, NOW.plus_nanos(2 * MINUTE)), 10);
    }
    // Before 1970 is 1970.
    for mut counter in each(10) {
        assert_eq!(drain(&mut counter, Timestamp::EPOCH), 10);
        assert_eq!(drain(&mut counter, Timestamp::EPOCH), 0);
    }
}

#[test]
fn edge_22_an_edge_gives_a_fixed_window_twice_its_amount_and_a_sliding_one_once() {
    let edge = Timestamp::from_secs(1_700_000_040);
    let (before, after) = (edge.minus_nanos(30_000_000), edge.plus_nanos(30_000_000));
    let mut fixed = Counter::window(10, 60, Frame::Epoch);
    assert_eq!(drain(&mut fixed, before) + drain(&mut fixed, after), 20);
    let mut sliding = Counter::sliding(10, 60);
    assert_eq!(drain(&mut sliding, before) + drain(&mut sliding, after), 10);
}

#[test]
fn edge_23_the_wait_of_a_sliding_window_solves_the_decay() {
    let edge = Timestamp::from_secs(1_700_000_040);
    let mut counter = Counter::sliding(10, 60);
    assert!(counter.take(edge.minus_nanos(1), 10).is_some());
    // Three have decayed when 3/10 of the window has gone by.
    assert_eq!(
        counter.retry(edge, 3),
        Retry::At(edge.plus_nanos(18 * NANOS_PER_SEC))
    );
    // Before the edge: the count must first become the previous one.
    let before = edge.minus_nanos(5 * NANOS_PER_SEC);
    assert_eq!(
        counter.retry(before, 3),
        Retry::At(edge.plus_nanos(18 * NANOS_PER_SEC))
    );
    assert_eq!(counter.retry(edge, 10), Retry::At(edge.plus_nanos(MINUTE)));
    // A third of a minute and the part of a nanosecond, rounded up.
    let mut counter = Counter::sliding(7, 60);
    assert!(counter.take(edge.minus_nanos(1), 7).is_some());
    assert_eq!(
        counter.retry(edge, 1),
        Retry::At(edge.plus_nanos(8_571_428_572))
    );
}

#[test]
fn edge_24_a_reset_is_strictly_in_the_future() {
    for unit in super::harness::UNITS {
        let mut counter = Counter::calendar(1, unit, "America/Sao_Paulo");
        let mut now = Timestamp::from_secs(1_541_200_000);
        for _ in 0..100 {
            assert!(counter.take(now, 1).is_some());
            let reset = counter.status(now).reset;
            assert!(reset > now);
            assert_eq!(counter.retry(now, 1), Retry::At(reset));
            now = reset;
        }
    }
}

#[test]
fn edge_25_a_word_of_another_window_counts_nothing() {
    let sliding = Sliding::new(10, 60).unwrap();
    let now = Timestamp::from_secs(1_700_000_100);
    let period = sliding.period(now);
    assert_eq!(
        (period.start_secs, period.end_secs),
        (1_700_000_100, 1_700_000_160)
    );
    let used = |main: Word, other: Word| {
        let words = Pair { main, other };
        sliding.status(period, words.as_windows(), now).used
    };
    assert_eq!(
        used(
            Word::window(1_700_000_220, 4),
            Word::window(1_700_000_160, 3)
        ),
        7
    );
    // Each in the other's slot, as where a window had none of its own, they count as well.
    assert_eq!(
        used(
            Word::window(1_700_000_160, 4),
            Word::window(1_700_000_220, 3)
        ),
        7
    );
    // Off by a second, they are other windows' words.
    assert_eq!(
        used(
            Word::window(1_700_000_219, 4),
            Word::window(1_700_000_161, 3)
        ),
        0
    );
    // The latest that each of them can be made now; a second more is from the future.
    let step = |main: u32, other: u32| {
        let (main, other) = (Word::window(main, 1), Word::window(other, 1));
        sliding.step(period, Pair { main, other }.as_windows(), now, 1)
    };
    assert!(matches!(step(1_700_000_220, 1_700_000_160), Step::Admit(_)));
    assert_eq!(step(1_700_000_221, 1_700_000_160), Step::Future);
    assert_eq!(step(1_700_000_220, 1_700_000_161), Step::Future);
    // Neighbouring windows count in different slots, and none has two ends.
    let parity = |secs: u64| sliding.parity(sliding.period(Timestamp::from_secs(secs)));
    assert_ne!(parity(1_700_000_100), parity(1_700_000_160));
    assert_eq!(parity(1_700_000_100), parity(1_700_000_220));
    assert_eq!(Period::aligned(now, 60), period);
}

/// Row W11b: a window from the first hit ends its length after it, to the hundredth of a second,
/// and windows shorter than a second are windows.
#[test]
fn w11b_windows_end_when_they_say() {
    let start = Timestamp::from_nanos(1_700_000_000_001_000_000);
    let mut counter = Counter::first_hit(10, 1);
    assert_eq!(drain(&mut counter, start), 10);
    let end = Timestamp::from_nanos(1_700_000_001_010_000_000);
    assert_eq!(counter.retry(start, 1), Retry::At(end));
    assert!(!counter.admits(end.minus_nanos(1), 1));
    // 1.990 s after the hit of old, when it was refused.
    assert_eq!(drain(&mut counter, start.plus_nanos(1_990_000_000)), 10);
    let mut counter = Counter::fine(10, 100_000_000, false);
    for tenth in 0..20 {
        let edge = Timestamp::from_nanos(1_700_000_000_000_000_000 + tenth * 100_000_000);
        assert_eq!(
            drain(&mut counter, edge.plus_nanos(99_999_999)),
            10,
            "{tenth}"
        );
        assert_eq!(
            drain(&mut counter, edge.plus_nanos(99_999_999)),
            0,
            "{tenth}"
        );
    }
}
