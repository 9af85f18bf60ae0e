//! How far a sliding window can be driven past its amount, and where it is exact.

use super::harness::Counter;
use crate::time::{NANOS_PER_SEC, Timestamp};

const LIMIT: u64 = 1_000;
const WINDOW_SECS: u64 = 60;
const WINDOW_NANOS: u64 = WINDOW_SECS * NANOS_PER_SEC;
/// An edge between two windows.
const EDGE: Timestamp = Timestamp::from_secs(1_700_000_040);

/// Takes one by one until refused; how many there were.
fn drain(counter: &mut Counter, now: Timestamp) -> u64 {
    (0_u64..).find(|_| counter.take(now, 1).is_none()).unwrap()
}

/// The worst history: `previous` hits just before the edge, then all there is, `gone` after it.
fn worst(previous: u64, gone_nanos: u64) -> u64 {
    let mut counter = Counter::sliding(LIMIT, WINDOW_SECS);
    assert!(counter.take(EDGE.minus_nanos(1), previous).is_some());
    previous + drain(&mut counter, EDGE.plus_nanos(gone_nanos))
}

#[test]
fn the_error_bound_holds_and_is_reached() {
    assert_eq!(EDGE.as_nanos() % WINDOW_NANOS, 0);
    for previous in [1, 250, 999, LIMIT] {
        for percent in 0..100 {
            let gone = WINDOW_NANOS / 100 * percent;
            let bound = LIMIT + previous * percent / 100;
            let admitted = worst(previous, gone);
            assert!(admitted <= bound, "{admitted} > {bound} at {percent}%");
            assert!(admitted >= bound - 1, "{admitted} < {bound} at {percent}%");
        }
    }
    // The very worst: one short of twice the limit, within less than a window.
    assert_eq!(worst(LIMIT, WINDOW_NANOS - 2), 2 * LIMIT - 1);
}

#[test]
fn right_after_an_edge_nothing_is_admitted_behind_a_full_window() {
    assert_eq!(worst(LIMIT, 0), LIMIT);
    assert_eq!(worst(LIMIT, 1), LIMIT);
    assert_eq!(worst(LIMIT, WINDOW_NANOS / 2), LIMIT + LIMIT / 2);
}

#[test]
fn evenly_spread_hits_never_pass_the_limit_in_any_stretch() {
    for per_window in [LIMIT / 4, LIMIT, LIMIT * 2] {
        let mut counter = Counter::sliding(LIMIT, WINDOW_SECS);
        let apart = WINDOW_NANOS / per_window;
        let mut hits = Vec::new();
        for number in 0..per_window * 3 {
            let now = EDGE.plus_nanos(number * apart + 12_345);
            if number < LIMIT || per_window <= LIMIT {
                hits.extend(counter.take(now, 1).map(|_| now));
            }
        }
        for (place, last) in hits.iter().enumerate() {
            let from = last.minus_nanos(WINDOW_NANOS - 1);
            let within = hits[..=place].iter().filter(|at| **at >= from).count();
            assert!(within as u64 <= LIMIT, "{within}");
        }
        assert!(hits.len() as u64 >= LIMIT / 4 * 3, "{}", hits.len());
    }
}
