//! Strict limits while time passes and other threads give back: rows W1, W2 and W7.

use std::path::Path;
use std::time::{Duration, Instant};

use tollgate::{Limiter, ManualClock, Policy, Timestamp};

use super::{LIMITS, common, cut, data, open, used};

/// The clocks under which a strict limit must hold: the system's, and some that move on between
/// any two readings, by less than a write takes and by more.
fn moving_clocks() -> [Option<ManualClock>; 4] {
    let start = Timestamp::from_secs(1_760_009_400);
    let ticking = |step| Some(ManualClock::ticking(start, step));
    let [short, middle, long] = [7, 1_000_003, 300_000_000].map(Duration::from_nanos);
    [None, ticking(short), ticking(middle), ticking(long)]
}

fn open_by(dir: &Path, policy: &str, clock: Option<ManualClock>) -> Limiter {
    let policy = Policy::from_toml(policy).unwrap();
    let builder = Limiter::builder(policy).counters(10_000);
    match clock {
        Some(clock) => builder.clock(clock),
        None => builder,
    }
    .open(dir)
    .unwrap()
}

/// Runs `work` on a thread of its own, so that what never returns is a failure and no hanging test.
fn must_return<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    let result = result.recv_timeout(Duration::from_secs(60));
    result.unwrap_or_else(|_| panic!("{what}: no answer"))
}

/// Row W1: the word of a strict bucket at rest moves on with the time, so by the time after a write
/// it stood above the ceiling that was just written, and the check asked again, for ever.
#[test]
fn w1_a_strict_bucket_at_rest_is_admitted_after_one_write() {
    for (rate, cost) in [
        ("1/min", 1),
        ("1000/day burst 1", 1),
        ("60/min", 60),
        ("1000000/s burst 2000", 1),
        ("1000000/s burst 2000", 2_000),
    ] {
        for (number, clock) in moving_clocks().into_iter().enumerate() {
            let dir = common::scratch();
            let what = format!("{rate}, cost {cost}, clock {number}");
            let policy = format!(
                "[limits.day]\nrate = \"{rate}\"\nkey = \"user\"\ndurability = \"strict\"\n"
            );
            let limiter = open_by(&data(&dir), &policy, clock);
            let (asked, day) = (limiter.clone(), limiter.limit("day").unwrap());
            let outcome = must_return(&what, move || day.check_cost("alice", cost));
            assert!(outcome.is_allowed(), "{what}: {outcome}");
            // The clock that moves by 0.3 s a reading may be asked for a reservation ahead, too.
            let writes = asked.health().reservations.writes;
            assert!((1..=2).contains(&writes), "{what}: {writes} writes");
        }
    }
}

/// Row W1 for what a settlement charges beyond the debt that a bucket can hold.
#[test]
fn w1_a_settlement_beyond_the_debt_of_a_strict_bucket_returns() {
    for clock in moving_clocks() {
        let dir = common::scratch();
        let policy = "[limits.day]\nrate = \"10/min\"\nkey = \"user\"\ndurability = \"strict\"\n";
        let limiter = open_by(&data(&dir), policy, clock);
        let day = limiter.limit("day").unwrap();
        let outcome = must_return("settle", move || {
            let taken = day.check("alice");
            day.settle("alice", taken, 1_000)
        });
        assert!((19..=20).contains(&outcome.used()), "{outcome}");
    }
}

/// Row W2: a take that lost against a ceiling that was being lowered was undone by subtracting
/// counts, and a bucket's word has none: the whole bucket was given back.
#[test]
fn w2_what_is_kept_of_a_strict_bucket_stays_counted_beside_refunds_and_settlements() {
    let dir = common::scratch();
    let policy = "[limits.day]\nrate = \"1000/day\"\nkey = \"user\"\ndurability = \"strict\"\n\
                  reserve = 10\n";
    let limiter = open_by(&data(&dir), policy, None);
    let day = || limiter.limit("day").unwrap();
    assert!(day().check_cost("alice", 500).is_allowed());
    let until = Instant::now() + Duration::from_secs(1);
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let day = day();
            scope.spawn(move || {
                while Instant::now() < until {
                    let taken = day.check_cost("alice", 20);
                    assert!(taken.is_allowed(), "{taken}");
                    match worker {
                        0 => drop(day.settle("alice", taken, 0)),
                        _ => day.refund("alice", taken),
                    }
                }
            });
        }
    });
    // A second of "1000/day" brings back less than one.
    let used = day().usage("alice").used();
    assert!((499..=500).contains(&used), "{used}");
    let more = (0..1_000)
        .filter(|_| day().check("alice").is_allowed())
        .count();
    assert!((500..=501).contains(&more), "{more} more were admitted");
}

/// Row W7: the lowering of a ceiling gave up if a take came first, and nobody tried again.
#[test]
fn w7_a_reset_before_a_take_is_durable_once_flush_has_returned() {
    let dir = common::scratch();
    let limiter = open(&data(&dir));
    for limit in LIMITS {
        let limit = limiter.limit(limit).unwrap();
        for round in 0..50 {
            let user = format!("user-{round}");
            assert!(limit.check_cost(&user, 90).is_allowed());
            limit.reset(&user);
            assert!(limit.check(&user).is_allowed());
            let taken = limit.check_cost(&user, 80);
            limit.refund(&user, taken);
            assert!(limit.check(&user).is_allowed());
        }
    }
    limiter.flush().unwrap();
    let after = dir.path().join("after");
    cut(&data(&dir), &after, true);
    let rebuilt = open(&after);
    for limit in LIMITS {
        for round in 0..50 {
            let used = used(&rebuilt, limit, &format!("user-{round}"));
            assert!((2..=12).contains(&used), "{limit} of {round}: {used}");
        }
    }
}
