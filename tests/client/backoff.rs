//! How long to wait: exact, since chance is given.

use tollgate::client::Backoff;

use super::{millis, secs};

#[test]
fn own_waits_double_up_to_the_longest() {
    let backoff = Backoff::doubling(secs(1))
        .tries(u32::MAX)
        .longest(secs(60))
        .jitter_percent(0);
    let delays: Vec<_> = (1..=8)
        .map(|sent| backoff.next_delay(sent, None, |_| 0).unwrap().as_secs())
        .collect();
    assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(
        backoff.next_delay(u32::MAX - 1, None, |_| 0),
        Some(secs(60))
    );
}

#[test]
fn the_last_try_is_the_last() {
    let backoff = Backoff::constant(secs(5)).tries(3);
    assert!(backoff.next_delay(2, Some(secs(1)), |_| 0).is_some());
    for sent in [3, 4, u32::MAX] {
        assert_eq!(backoff.next_delay(sent, Some(secs(1)), |_| 0), None);
    }
    assert_eq!(
        Backoff::constant(secs(5))
            .tries(0)
            .next_delay(0, None, |_| 0),
        None
    );
}

#[test]
fn jitter_shortens_its_own_waits_and_lengthens_those_asked_for() {
    let backoff = Backoff::doubling(secs(10)).jitter_percent(25);
    let chances = [0, 1_000_000_000, u64::MAX];
    let delays = |asked| chances.map(|chance| backoff.next_delay(1, asked, |_| chance));
    assert_eq!(delays(None), [secs(10), secs(9), millis(7_500)].map(Some));
    assert_eq!(
        delays(Some(secs(10))),
        [secs(10), secs(11), millis(12_500)].map(Some)
    );
}

#[test]
fn jitter_is_asked_for_as_much_as_it_may_be() {
    let asked = |backoff: Backoff| {
        let mut most = None;
        backoff.next_delay(1, None, |at_most| {
            most = Some(at_most);
            0
        });
        most.unwrap()
    };
    assert_eq!(
        asked(Backoff::constant(secs(1)).jitter_percent(100)),
        1_000_000_000
    );
    assert_eq!(
        asked(Backoff::constant(secs(1)).jitter_percent(200)),
        1_000_000_000
    );
    assert_eq!(asked(Backoff::constant(secs(1)).jitter_percent(0)), 0);
}

#[test]
fn however_long_it_does_not_overflow() {
    use std::time::Duration;
    let backoff = Backoff::doubling(Duration::MAX)
        .longest(Duration::MAX)
        .jitter_percent(100);
    assert_eq!(
        backoff.next_delay(3, Some(Duration::MAX), |most| most),
        Some(Duration::MAX)
    );
    assert!(backoff.next_delay(3, None, |most| most).is_some());
}
