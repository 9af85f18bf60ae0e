//! A directory that begins small and grows while it is in use: nothing is lost, nothing counted
//! twice, and what is found of it later is as large as it was.

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tollgate::{Limiter, ManualClock, Mapping, Opened, Policy, Request, Timestamp, doctor};

const THREADS: u64 = 4;
const KEYS: u64 = if cfg!(debug_assertions) {
    60_000
} else {
    600_000
};
/// What each limit admits a key.
const ALLOWED: u64 = 3;

const POLICY: &str = r#"
    [limits.bucket]
    rate = "3/day"
    key = "user"

    [limits.window]
    rate = "3 per 30 days"
    algorithm = "fixed window"
    key = "user"

    [limits.sliding]
    rate = "3 per 30 days"
    algorithm = "sliding window"
    key = "user"
"#;
const LIMITS: [&str; 3] = ["bucket", "window", "sliding"];

fn open(data: &Path, counters: u64) -> Limiter {
    let clock = ManualClock::new(Timestamp::from_secs(1_760_009_400));
    Limiter::builder(Policy::from_toml(POLICY).unwrap())
        .counters(counters)
        .counters_at_first(1)
        .clock(clock)
        .mapping(Mapping::DataDirectory)
        .open(data)
        .unwrap()
}

fn check(limiter: &Limiter, key: u64) -> bool {
    let key = key.to_string();
    let request = Request::new().attribute("user", key.as_str());
    limiter.check(&request).is_allowed()
}

/// Waits until nothing is on the way any more.
fn settled(limiter: &Limiter) {
    let until = Instant::now() + Duration::from_secs(60);
    while limiter.health().growth.growing > 0 {
        assert!(Instant::now() < until, "{:?}", limiter.health().growth);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every key has taken exactly what it may, at every limit.
fn all_spent(limiter: &Limiter, keys: u64) {
    for name in LIMITS {
        let limit = limiter.limit(name).unwrap();
        for key in 0..keys {
            assert_eq!(
                limit.usage(&key.to_string()).used(),
                ALLOWED,
                "{name} {key}"
            );
        }
    }
}

/// Names of the files that the shards lie in.
fn files(data: &Path) -> Vec<String> {
    let names = fs::read_dir(data.join("table")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn as_many_are_admitted_as_are_allowed_while_it_grows() {
    let dir = common::scratch();
    let data = dir.path().join("data");
    let limiter = open(&data, 40 * KEYS);
    let slots_at_first = limiter.health().slots;
    let admitted = AtomicU64::new(0);
    // Each key is asked for by every thread, more often than it may: in another order by each.
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (limiter, admitted) = (&limiter, &admitted);
            scope.spawn(move || {
                let mut mine = 0;
                for number in 0..KEYS {
                    for behind in [0, 50 * thread, KEYS / 2] {
                        let key = (number + KEYS - behind) % KEYS;
                        mine += u64::from(check(limiter, key));
                    }
                }
                admitted.fetch_add(mine, Ordering::Relaxed);
            });
        }
    });
    settled(&limiter);
    let health = limiter.health();
    println!(
        "{:?}, {slots_at_first} to {} slots",
        health.growth, health.slots
    );
    assert_eq!(health.newcomers_without_slot, 0);
    // A thread that lost the rest of one limit to another gave back what it had of the others; so
    // of racing requests two may be refused where one had room. Nobody is refused now that has.
    let mut admitted = admitted.into_inner();
    for key in 0..KEYS {
        while check(&limiter, key) {
            admitted += 1;
        }
    }
    assert_eq!(admitted, ALLOWED * KEYS);
    assert!(health.slots >= 32 * slots_at_first && health.growth.grown >= 32);
    assert!(health.growth.trouble.is_none());
    all_spent(&limiter, KEYS);
    let slots = health.slots;
    limiter.close().unwrap();
    drop(limiter);
    // One file for each shard is left, as large as it grew, whatever is said at the next opening.
    let shards: Vec<_> = (0..18).map(|number| format!("{number:02}")).collect();
    assert_eq!(files(&data), shards);
    for counters in [40 * KEYS, 1] {
        let limiter = open(&data, counters);
        let health = limiter.health();
        assert_eq!((health.opened, health.slots), (Opened::Clean, slots));
        assert_eq!(health.growth.is_at_most, counters == 1);
        all_spent(&limiter, KEYS);
        limiter.close().unwrap();
    }
    let report = doctor::examine(&data).unwrap();
    assert!(report.is_healthy(), "{report}");
}

#[test]
fn it_grows_no_further_than_it_may_and_then_if_it_may() {
    let dir = common::scratch();
    let data = dir.path().join("data");
    let limiter = open(&data, 20_000);
    for key in 0..60_000 {
        check(&limiter, key);
    }
    settled(&limiter);
    let health = limiter.health();
    assert!(health.growth.is_at_most && health.newcomers_without_slot > 0);
    // Half as many again as it is to hold: a load of two thirds.
    assert!(
        (29_000..31_000).contains(&health.slots),
        "{} slots",
        health.slots
    );
    limiter.close().unwrap();
    drop(limiter);
    let limiter = open(&data, 400_000);
    for key in 60_000..100_000 {
        assert!(check(&limiter, key), "{key}");
    }
    settled(&limiter);
    let after = limiter.health();
    assert_eq!(after.newcomers_without_slot, 0);
    assert!(after.slots > 4 * health.slots && after.growth.grown > 0);
}

#[test]
fn what_is_rebuilt_grows_as_far_as_it_must() {
    // Enough for shards that are large and are doubled.
    const MANY: u64 = 500_000;
    let dir = common::scratch();
    let data = dir.path().join("data");
    let limiter = open(&data, MANY * 5 / 4);
    let bucket = limiter.limit("bucket").unwrap();
    for key in 0..MANY {
        assert!(bucket.check(&key.to_string()).is_allowed());
    }
    limiter.close().unwrap();
    drop((bucket, limiter));
    fs::remove_dir_all(data.join("table")).unwrap();
    // There is no thread yet that makes room, and nobody to wait for.
    let limiter = open(&data, MANY * 5 / 4);
    let health = limiter.health();
    assert!(matches!(health.opened, Opened::SetAside { .. }));
    let recovery = health.recovery;
    assert_eq!((recovery.without_slot, recovery.damaged), (0, 0));
    assert_eq!(recovery.counters, MANY);
    let bucket = limiter.limit("bucket").unwrap();
    let is_known = |key: u64| bucket.usage(&key.to_string()).used() == 1;
    assert!((0..MANY).all(is_known));
}

/// Row P8: a table that is full at its most, far larger than it began.
#[test]
fn p8_a_full_table_can_be_backed_up() {
    let dir = common::scratch();
    let clock = ManualClock::new(Timestamp::from_secs(1_760_009_400));
    let policy = "limits.bucket = { rate = \"3/day\", key = \"user\", when_full = \"refuse\" }";
    let builder = Limiter::builder(Policy::from_toml(policy).unwrap())
        .counters(300_000)
        .clock(clock)
        .mapping(Mapping::DataDirectory);
    let limiter = builder.clone().open(dir.path().join("data")).unwrap();
    let bucket = limiter.limit("bucket").unwrap();
    let mut known = Vec::new();
    let mut refused = 0;
    for key in 0..4_000_000_u64 {
        match bucket.check(&key.to_string()).is_allowed() {
            true => known.push(key),
            false => refused += 1,
        }
        if refused > 1000 {
            break;
        }
    }
    assert!(limiter.health().growth.is_at_most);
    let copy = dir.path().join("copy");
    let began = Instant::now();
    limiter.backup(&copy).unwrap();
    let took = began.elapsed();
    println!("{} counters in {took:?}", known.len());
    // A second or two; a copy that begins small takes minutes, or finds no room in the end.
    assert!(took < Duration::from_secs(60), "{took:?}");
    let limiter = builder.open(&copy).unwrap();
    let bucket = limiter.limit("bucket").unwrap();
    for key in known {
        assert_eq!(bucket.usage(&key.to_string()).used(), 1, "{key}");
    }
}
