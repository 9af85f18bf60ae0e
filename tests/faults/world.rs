//! The limiter under test, and what is asked of it.

use std::path::Path;
use std::time::{Duration, Instant};

use tollgate::{Error, Limiter, ManualClock, Mapping, Policy, Request, Timestamp};

pub(crate) const USERS: usize = 5;
/// What has not happened by then never will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

const POLICY: &str = r#"
    [limits.day]
    rate = "1000000/day"
    algorithm = "fixed window"
    key = "user"

    [limits.other]
    rate = "1000000/day"
    key = "user"

    # Who has no account does not meet it.
    [limits.strict]
    rate = "1000000/day"
    algorithm = "fixed window"
    durability = "strict"
    reserve = 4
    key = "account"
    when_key_missing = "skip"
"#;

/// What the strict limit reserves.
pub(crate) const RESERVE: u64 = 4;

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
        .mapping(Mapping::DataDirectory)
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

/// Flushes until it works, as it must in the end.
pub(crate) fn flush_at_last(limiter: &Limiter) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = limiter.flush() {
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for something that must come in the end.
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a user has used of the limit that counts exactly.
pub(crate) fn used(limiter: &Limiter, user: usize) -> u64 {
    let user = format!("user {user}");
    limiter.limit("day").unwrap().usage(user.as_str()).used()
}
