//! Numbers by the real clock, read as cheaply as it may be.

use std::time::{Duration, Instant};

use tollgate::{Limiter, Policy, Request};

/// An hour's worth comes back every 36 seconds, so nothing does while the test runs.
const POLICY: &str = r#"
    [limits.bucket]
    rate = "100/h"
    key = "user"

    [limits.sliding]
    rate = "100/h"
    algorithm = "sliding window"
    key = "user"
"#;

/// Longer than the kernel's note of the time can lag on a machine that is not asleep.
const TICK: Duration = Duration::from_millis(10);

const WAIT: Duration = Duration::from_secs(36);

#[test]
fn requests_at_once_are_counted_one_by_one() {
    let dir = crate::common::scratch();
    let policy = Policy::from_toml(POLICY).unwrap();
    let limiter = Limiter::open(dir.path().join("data"), policy).unwrap();
    for name in ["bucket", "sliding"] {
        let limit = limiter.limit(name).unwrap();
        for left in (0..100).rev() {
            let outcome = limit.check("alice");
            assert!(outcome.is_allowed(), "{name}");
            assert_eq!(outcome.remaining(), left, "{name}: {outcome:?}");
        }
        assert!(!limit.check("alice").is_allowed(), "{name}");
    }
}

/// A request is told the wait by the exact time, a limit's direct caller by one that may lag: never
/// less than there is to wait, and hardly more.
#[test]
fn the_wait_is_never_too_short_and_no_longer_than_it_must_be() {
    let alone = POLICY.split("[limits.sliding]").next().unwrap();
    for policy in [alone, POLICY] {
        the_wait_under(Policy::from_toml(policy).unwrap());
    }
}

fn the_wait_under(policy: Policy) {
    let dir = crate::common::scratch();
    let limiter = Limiter::open(dir.path().join("data"), policy).unwrap();
    let limit = limiter.limit("bucket").unwrap();
    let before_all = Instant::now();
    assert!(limit.check("alice").is_allowed());
    let after_first = Instant::now();
    assert!(limit.check_cost("alice", 99).is_allowed());
    let request = Request::new().attribute("user", "alice");
    // Through some of the kernel's ticks, at every distance from one.
    while before_all.elapsed() < 5 * TICK {
        let gone = after_first.elapsed();
        let told = limiter.check(&request).retry_after().unwrap();
        assert!(told <= WAIT - gone, "{told:?} after {gone:?}");
        assert!(told + before_all.elapsed() >= WAIT, "{told:?} is too short");
        let direct = limit.check("alice").retry_after().unwrap();
        assert!(direct <= WAIT - gone + TICK, "{direct:?} after {gone:?}");
        assert!(
            direct + before_all.elapsed() >= WAIT,
            "{direct:?} is too short"
        );
    }
}
