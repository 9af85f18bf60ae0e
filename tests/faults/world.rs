//! The limiter under test, and what is asked of it.

use std::path::Path;
use std::time::Duration;

use tollgate::{Error, Limiter, ManualClock, Policy, Request, Timestamp};

pub(crate) const USERS: usize = 5;

const POLICY: &str = r#"
    [limits.day]
    rate = "1000000/day"
    algorithm = "fixed window"
    key = "user"

    [limits.other]
    rate = "1000000/day"
    key = "user"
"#;

pub(crate) fn noon() -> ManualClock {
    ManualClock::new(Timestamp::from_secs(1_760_009_400))
}

pub(crate) fn policy() -> Policy {
    Policy::from_toml(POLICY).unwrap()
}

/// A small directory whose journal is written when it is asked for, and hardly else.
pub(crate) fn open(data: &Path) -> Result<Limiter, Error> {
    open_every(data, Duration::from_secs(3600))
}

pub(crate) fn open_every(data: &Path, interval: Duration) -> Result<Limiter, Error> {
    Limiter::builder(policy())
        .counters(1000)
        .clock(noon())
        .interval(interval)
        .open(data)
}

/// One request of a user; true if it was admitted.
pub(crate) fn take(limiter: &Limiter, user: usize) -> bool {
    let user = format!("user {user}");
    let request = Request::new().attribute("user", &user);
    limiter.check(&request).is_allowed()
}

/// What a user has used of the limit that counts exactly.
pub(crate) fn used(limiter: &Limiter, user: usize) -> u64 {
    let user = format!("user {user}");
    limiter.limit("day").unwrap().usage(user.as_str()).used()
}
