//! Numbers by the real clock, read as cheaply as it may be.

use std::time::Duration;

use tollgate::{Limiter, Policy};

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

#[test]
fn requests_at_once_are_counted_one_by_one_and_the_wait_is_no_longer_than_it_must_be() {
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
    let refused = limiter.limit("bucket").unwrap().check("alice");
    let wait = refused.retry_after().unwrap();
    assert!(wait <= Duration::from_secs(36), "{wait:?}");
}
