//! Strict limits: nothing admitted is ever forgotten, and at most one reservation counts too much.

#[path = "../common/mod.rs"]
mod common;
mod moving;
mod rates;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tollgate::{Limiter, ManualClock, Opened, Policy, Timestamp, Verdict};

const LIMITS: [&str; 5] = ["bucket", "day", "window", "first", "sliding"];

/// Five strict limits of 100 that reserve 10.
fn policy(more: &str) -> Policy {
    let limit = |name: &str, rate: &str| {
        format!(
            "[limits.{name}]\nrate = \"{rate}\nkey = \"user\"\ndurability = \"strict\"\n\
             reserve = 10\n{more}\n"
        )
    };
    let text = [
        limit("bucket", "100/day\""),
        limit("day", "100/day\"\nalgorithm = \"calendar\""),
        limit("window", "100/h\"\nalgorithm = \"fixed window\""),
        limit(
            "first",
            "100/h\"\nalgorithm = \"fixed window from first hit\"",
        ),
        limit("sliding", "100/h\"\nalgorithm = \"sliding window\""),
    ];
    Policy::from_toml(&text.concat()).unwrap()
}

fn noon() -> ManualClock {
    ManualClock::new(Timestamp::from_secs(1_760_009_400))
}

fn open_with(dir: &Path, clock: ManualClock, more: &str) -> Limiter {
    let builder = Limiter::builder(policy(more)).counters(10_000).clock(clock);
    builder.open(dir).unwrap()
}

fn open(dir: &Path) -> Limiter {
    open_with(dir, noon(), "")
}

fn used(limiter: &Limiter, limit: &str, user: &str) -> u64 {
    limiter.limit(limit).unwrap().usage(user).used()
}

/// What a power cut at this instant leaves at worst: the files that were synced, but no table that
/// could be believed, and, with `without_journal`, not even a journal.
fn cut(dir: &Path, to: &Path, without_journal: bool) {
    fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for name in ["header", "marks", "ceilings"] {
        fs::copy(dir.join(name), to.join(name)).unwrap();
    }
    if !without_journal {
        // It is written while it is copied, as it may be when the power goes.
        let _ = Command::new("cp")
            .arg("-a")
            .args([dir.join("journal"), to.to_owned()])
            .status();
    }
}

fn data(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("data")
}

#[test]
fn after_a_power_cut_nothing_is_forgotten_and_at_most_a_reservation_is_too_much() {
    let dir = common::scratch();
    let limiter = open(&data(&dir));
    for admitted in 1..=100 {
        for limit in LIMITS {
            let outcome = limiter.limit(limit).unwrap().check("alice");
            assert!(outcome.is_allowed(), "{limit} at {admitted}: {outcome}");
            assert_eq!(outcome.used(), admitted, "{limit}");
        }
        if admitted % 7 != 1 && admitted != 100 {
            continue;
        }
        let after = dir.path().join(format!("after {admitted}"));
        cut(&data(&dir), &after, admitted % 2 == 0);
        let rebuilt = open(&after);
        assert!(matches!(rebuilt.health().opened, Opened::SetAside { .. }));
        for limit in LIMITS {
            let found = used(&rebuilt, limit, "alice");
            let most = (admitted + 10).min(100);
            assert!(
                (admitted..=most).contains(&found),
                "{limit}: {found} of {admitted}"
            );
        }
    }
    for limit in LIMITS {
        assert!(!limiter.limit(limit).unwrap().check("alice").is_allowed());
    }
}

#[test]
fn what_was_given_back_does_not_count_after_a_power_cut() {
    let dir = common::scratch();
    let limiter = open(&data(&dir));
    for limit in LIMITS {
        let limit = limiter.limit(limit).unwrap();
        let taken: Vec<_> = (0..80).map(|_| limit.check("alice")).collect();
        for outcome in &taken[..60] {
            limit.refund("alice", *outcome);
        }
        (0..80).for_each(|_| assert!(limit.check("bob").is_allowed()));
        limit.reset("bob");
    }
    // Another's reservation is written after what was asked before.
    for limit in LIMITS {
        assert!(limiter.limit(limit).unwrap().check("carol").is_allowed());
    }
    let after = dir.path().join("after");
    cut(&data(&dir), &after, true);
    let rebuilt = open(&after);
    for limit in LIMITS {
        let alice = used(&rebuilt, limit, "alice");
        assert!((20..=30).contains(&alice), "{limit}: {alice}");
        let bob = used(&rebuilt, limit, "bob");
        assert!(bob <= 10, "{limit}: {bob}");
    }
}

#[test]
fn over_many_lives_never_more_is_admitted_than_the_limit() {
    let dir = common::scratch();
    let mut admitted = [0; 5];
    let mut at = data(&dir);
    for life in 0..20 {
        let limiter = open(&at);
        for (limit, admitted) in LIMITS.iter().zip(&mut admitted) {
            let limit = limiter.limit(limit).unwrap();
            for _ in 0..=life % 4 {
                *admitted += u64::from(limit.check("alice").is_allowed());
            }
        }
        let next = dir.path().join(format!("life {life}"));
        cut(&at, &next, life % 3 == 0);
        at = next;
    }
    // Each life admits something, until reservations have used up the rest.
    assert!(
        admitted.iter().all(|some| (20..=100).contains(some)),
        "{admitted:?}"
    );
}

#[test]
fn one_write_serves_many_admissions() {
    let dir = common::scratch();
    for (amount, most) in [
        (100, 42),
        (1_000, 42),
        (10_000, 42),
        (100_000, 210),
        (1_000_000, 2_100),
    ] {
        let text = format!(
            "[limits.quota]\nrate = \"{amount}/day\"\nalgorithm = \"calendar\"\n\
             key = \"user\"\ndurability = \"strict\""
        );
        let data = dir.path().join(amount.to_string());
        let limiter = Limiter::open(data, Policy::from_toml(&text).unwrap()).unwrap();
        let quota = limiter.limit("quota").unwrap();
        let before = limiter.health().reservations.writes;
        for _ in 0..amount {
            assert!(quota.check("alice").is_allowed());
        }
        let writes = limiter.health().reservations.writes - before;
        println!("{amount} a day: {writes} writes for as many admissions");
        // A twentieth is reserved at once, a thousand at most, and again when half is used.
        assert!((1..=most).contains(&writes), "{writes}");
    }
}

#[test]
fn a_clean_restart_and_a_kept_table_are_exact() {
    let dir = common::scratch();
    for admitted in 0..5 {
        let limiter = open(&data(&dir));
        for limit in LIMITS {
            assert_eq!(used(&limiter, limit, "alice"), admitted, "{limit}");
            assert!(limiter.limit(limit).unwrap().check("alice").is_allowed());
        }
        limiter.close().unwrap();
    }
}

/// Makes the file of ceilings impossible to write: it is gone, and so is the place for another.
fn break_ceilings(dir: &Path) {
    fs::remove_file(dir.join("ceilings")).unwrap();
    fs::create_dir(dir.join("ceilings.next")).unwrap();
}

#[test]
fn if_the_disk_refuses_so_does_the_limit_unless_it_says_otherwise() {
    let dir = common::scratch();
    let limiter = open(&data(&dir));
    let day = limiter.limit("day").unwrap();
    assert!(day.check("alice").is_allowed());
    break_ceilings(&data(&dir));
    // What is reserved is admitted still, and no more.
    let mut admitted = 1;
    let refused = loop {
        let outcome = day.check("alice");
        if !outcome.is_allowed() {
            break outcome;
        }
        admitted += 1;
    };
    assert_eq!(refused.verdict(), Verdict::Unwritable);
    assert!((10..=12).contains(&admitted), "{admitted}");
    assert_eq!(refused.used(), admitted);
    let trouble = limiter.health().reservations.trouble.unwrap();
    assert!(trouble.why.contains("ceilings"), "{}", trouble.why);
    // The disk is well again: noticed without anybody asking.
    fs::remove_dir(data(&dir).join("ceilings.next")).unwrap();
    while limiter.health().reservations.trouble.is_some() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(day.check("alice").is_allowed());
    drop(limiter);

    let dir = common::scratch();
    let limiter = open_with(&data(&dir), noon(), "when_unwritable = \"admit\"");
    break_ceilings(&data(&dir));
    let day = limiter.limit("day").unwrap();
    for _ in 0..100 {
        assert!(day.check("alice").is_allowed());
    }
    assert_eq!(day.check("alice").verdict(), Verdict::Refused);
    let reservations = limiter.health().reservations;
    assert_eq!(reservations.admitted_without, 100);
    assert!(reservations.trouble.is_some());
}

#[test]
fn the_ceilings_of_a_directory_that_was_moved_are_not_written_into_its_successor() {
    let dir = common::scratch();
    let limiter = open(&data(&dir));
    let day = limiter.limit("day").unwrap();
    assert!(day.check("alice").is_allowed());
    fs::rename(data(&dir), dir.path().join("moved")).unwrap();
    fs::DirBuilder::new()
        .mode(0o700)
        .create(data(&dir))
        .unwrap();
    let refused = (0..100).map(|_| day.check("alice").verdict());
    assert!(
        refused
            .into_iter()
            .any(|verdict| verdict == Verdict::Unwritable)
    );
    assert_eq!(fs::read_dir(data(&dir)).unwrap().count(), 0);
    fs::remove_dir(data(&dir)).unwrap();
    fs::rename(dir.path().join("moved"), data(&dir)).unwrap();
    while limiter.health().reservations.trouble.is_some() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(day.check("alice").is_allowed());
}

#[test]
fn lost_ceilings_and_lost_counters_close_the_limit_until_its_window_ends() {
    let dir = common::scratch();
    let limiter = open(&data(&dir));
    for limit in LIMITS {
        assert!(limiter.limit(limit).unwrap().check("alice").is_allowed());
    }
    for damage in ["cut short", "gone"] {
        let after = dir.path().join(damage);
        cut(&data(&dir), &after, true);
        match damage {
            "gone" => fs::remove_file(after.join("ceilings")).unwrap(),
            _ => {
                let file = fs::OpenOptions::new()
                    .write(true)
                    .open(after.join("ceilings"));
                file.unwrap().set_len(1024).unwrap();
            }
        }
        let clock = noon();
        let closed = open_with(&after, clock.clone(), "");
        assert!(!closed.health().recovery.troubles.is_empty());
        assert!(closed.health().reservations.closed_since.is_some());
        for limit in LIMITS {
            let outcome = closed.limit(limit).unwrap().check("alice");
            assert_eq!(outcome.verdict(), Verdict::Refused, "{limit} {damage}");
            assert_eq!(outcome.used(), 100, "{limit} {damage}");
        }
        closed.close().unwrap();
        drop(closed);
        // The next life knows, too; and it ends.
        let reopened = open_with(&after, clock.clone(), "");
        assert!(!reopened.limit("window").unwrap().check("bob").is_allowed());
        clock.advance(std::time::Duration::from_secs(2 * 3600 + 1));
        for limit in ["window", "first", "sliding", "bucket"] {
            let outcome = reopened.limit(limit).unwrap().check("bob");
            assert!(outcome.is_allowed(), "{limit} {damage}: {outcome}");
        }
        assert!(!reopened.limit("day").unwrap().check("bob").is_allowed());
        clock.advance(std::time::Duration::from_secs(86_400));
        assert!(reopened.limit("day").unwrap().check("bob").is_allowed());
    }
}

#[test]
fn a_settlement_is_counted_whatever_the_disk_says() {
    let dir = common::scratch();
    let limiter = open(&data(&dir));
    let day = limiter.limit("day").unwrap();
    let taken = day.check("alice");
    assert_eq!(day.settle("alice", taken, 40).used(), 40);
    let after = dir.path().join("after");
    cut(&data(&dir), &after, true);
    assert!(used(&open(&after), "day", "alice") >= 40);
    break_ceilings(&data(&dir));
    let taken = day.check("alice");
    assert_eq!(day.settle("alice", taken, 30).used(), 70);
    // Above what the disk knows: what costs nothing is asked, and needs no disk.
    assert!(day.check_cost("alice", 0).is_allowed());
}

#[test]
fn a_backup_counts_what_was_admitted() {
    let dir = common::scratch();
    let limiter = open(&data(&dir));
    let day = limiter.limit("day").unwrap();
    (0..7).for_each(|_| assert!(day.check("alice").is_allowed()));
    let copy = dir.path().join("copy");
    limiter.backup(&copy).unwrap();
    let copy = open(&copy);
    assert_eq!(used(&copy, "day", "alice"), 7);
    assert_eq!(copy.health().recovery.troubles, Vec::<String>::new());
}

#[test]
fn what_only_a_strict_limit_may_say_is_a_fault_elsewhere() {
    for (key, value) in [("reserve", "10"), ("when_unwritable", "\"admit\"")] {
        let text = format!("[limits.a]\nrate = \"10/h\"\n{key} = {value}\n");
        let faults = Policy::from_toml(&text).unwrap_err().to_string();
        assert!(
            faults.contains("line 3") && faults.contains("not strict"),
            "{faults}"
        );
        let strict = format!("{text}durability = \"strict\"\n");
        assert!(Policy::from_toml(&strict).is_ok());
    }
    let zero = "[limits.a]\nrate = \"10/h\"\ndurability = \"strict\"\nreserve = 0";
    assert!(Policy::from_toml(zero).is_err());
}

/// Ceilings and counters are lost while the clock is decades ahead; then it is set right.
#[test]
fn what_a_clock_that_was_ahead_closed_is_closed_for_one_window() {
    let dir = common::scratch();
    let data = data(&dir);
    let ahead = || ManualClock::new(Timestamp::from_secs(4_000_000_000));
    drop(open_with(&data, ahead(), ""));
    for lost in ["table", "journal"] {
        let _ = fs::remove_dir_all(data.join(lost));
    }
    fs::remove_file(data.join("ceilings")).unwrap();
    let limiter = open_with(&data, ahead(), "");
    assert!(limiter.health().reservations.closed_since.is_some());
    drop(limiter);
    let clock = noon();
    let limiter = open_with(&data, clock.clone(), "");
    assert_eq!(clock.now(), noon().now(), "the step back is taken");
    for limit in LIMITS {
        assert!(!limiter.limit(limit).unwrap().check("alice").is_allowed());
    }
    clock.advance(std::time::Duration::from_secs(2 * 86_400));
    for limit in LIMITS {
        let outcome = limiter.limit(limit).unwrap().check("alice");
        assert!(outcome.is_allowed(), "{limit}: {outcome}");
    }
}

/// Row W6: a clock that was ahead by more than can be waited for, and by an odd number of windows:
/// the word of a sliding window from the future lies where the last window is looked for. It is
/// spent for one window, as every other is; strict or not.
#[test]
fn w6_what_a_clock_that_was_far_ahead_counted_is_spent_for_one_window() {
    for more in ["durability = \"strict\"\n", "durability = \"logged\"\n"] {
        for hours in [32 * 24 + 1, 32 * 24 + 2, 32 * 24 + 3] {
            let dir = common::scratch();
            let now = 1_760_009_400;
            let text = format!("{POLICY_OF_SLIDING}{more}");
            let open = |secs| {
                let clock = ManualClock::new(Timestamp::from_secs(secs));
                let builder = Limiter::builder(Policy::from_toml(&text).unwrap());
                builder
                    .clock(clock.clone())
                    .open(data(&dir))
                    .map(|one| (one, clock))
            };
            let (ahead, _) = open(now + hours * 3_600).unwrap();
            assert!(ahead.limit("hour").unwrap().check("alice").is_allowed());
            drop(ahead);
            let (limiter, clock) = open(now).unwrap();
            let hour = limiter.limit("hour").unwrap();
            assert!(!hour.check("alice").is_allowed(), "{more}{hours} hours");
            assert!(hour.check("bob").is_allowed(), "{more}{hours} hours");
            clock.advance(Duration::from_secs(2 * 3_600));
            assert!(hour.check("alice").is_allowed(), "{more}{hours} hours");
        }
    }
}

const POLICY_OF_SLIDING: &str = r#"
    [limits.hour]
    rate = "10/h"
    algorithm = "sliding window"
    key = "user"
"#;
