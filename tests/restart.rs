//! What a directory keeps: over a clean restart, a killed process, and against a second opener.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tollgate::{Limiter, ManualClock, Opened, Policy, Request, Timestamp};

const POLICY: &str = r#"
    [limits.bucket]
    rate = "100/day"
    key = "user"

    [limits.day]
    rate = "100/day"
    algorithm = "calendar"
    key = "user"

    [limits.window]
    rate = "100/h"
    algorithm = "fixed window"
    key = "user"

    [limits.sliding]
    rate = "100/h"
    algorithm = "sliding window"
    key = "user"
"#;

const LIMITS: [&str; 4] = ["bucket", "day", "window", "sliding"];

fn noon() -> ManualClock {
    ManualClock::new(Timestamp::from_secs(1_760_009_400))
}

fn open_at(dir: &Path, clock: ManualClock) -> Result<Limiter, tollgate::Error> {
    let policy = Policy::from_toml(POLICY).unwrap();
    Limiter::builder(policy)
        .counters(10_000)
        .clock(clock)
        .open(dir)
}

fn used(limiter: &Limiter, user: &str) -> [u64; 4] {
    LIMITS.map(|limit| limiter.limit(limit).unwrap().usage(user).used())
}

fn data(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("data")
}

#[test]
fn a_clean_restart_keeps_every_counter() {
    let dir = common::scratch();
    let limiter = open_at(&data(&dir), noon()).unwrap();
    assert_eq!(limiter.health().opened, Opened::New);
    for user in 0..50 {
        for _ in 0..=user {
            let user = format!("user {user}");
            assert!(
                limiter
                    .check(&Request::new().attribute("user", &user))
                    .is_allowed()
            );
        }
    }
    limiter.close().unwrap();
    drop(limiter);
    let limiter = open_at(&data(&dir), noon()).unwrap();
    assert_eq!(limiter.health().opened, Opened::Clean);
    for user in 0..50 {
        assert_eq!(used(&limiter, &format!("user {user}")), [user + 1; 4]);
    }
}

#[test]
fn a_limit_spent_before_the_restart_is_spent_after_it() {
    let dir = common::scratch();
    let request = Request::new().attribute("user", "alice");
    for _ in 0..4 {
        let limiter = open_at(&data(&dir), noon()).unwrap();
        for _ in 0..25 {
            assert!(limiter.check(&request).is_allowed());
        }
        // Dropped, not closed: drop closes.
    }
    let limiter = open_at(&data(&dir), noon()).unwrap();
    assert_eq!(limiter.health().opened, Opened::Clean);
    assert!(!limiter.check(&request).is_allowed());
}

/// Run in a process of its own by the tests below; by itself it does nothing.
#[test]
fn child_that_is_killed() {
    let Ok(dir) = std::env::var("TOLLGATE_CHILD") else {
        return;
    };
    let limiter = open_at(Path::new(&dir), noon()).unwrap();
    let request = Request::new().attribute("user", "alice");
    for _ in 0..37 {
        assert!(limiter.check(&request).is_allowed());
    }
    limiter.flush().unwrap();
    println!("\nready");
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

fn start_child(dir: &Path) -> std::process::Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_is_killed", "--exact", "--nocapture"])
        .env("TOLLGATE_CHILD", dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "ready"));
    child
}

#[test]
fn a_killed_process_loses_nothing_and_its_lock_names_it() {
    let dir = common::scratch();
    let mut child = start_child(&data(&dir));
    let error = open_at(&data(&dir), noon()).unwrap_err();
    assert!(error.is_in_use(), "{error}");
    assert_eq!(error.holder(), Some(child.id()));
    assert!(
        error.to_string().contains(&child.id().to_string()),
        "{error}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let limiter = open_at(&data(&dir), noon()).unwrap();
    assert_eq!(limiter.health().opened, Opened::Kept);
    assert_eq!(used(&limiter, "alice"), [37; 4]);
}

#[test]
fn a_second_opener_in_the_same_process_is_refused() {
    let dir = common::scratch();
    let limiter = open_at(&data(&dir), noon()).unwrap();
    let error = open_at(&data(&dir), noon()).unwrap_err();
    assert_eq!(error.holder(), Some(std::process::id()));
    drop(limiter);
    assert!(open_at(&data(&dir), noon()).is_ok());
}

#[test]
fn a_table_that_was_not_closed_is_not_believed_elsewhere() {
    let dir = common::scratch();
    let mut child = start_child(&data(&dir));
    child.kill().unwrap();
    child.wait().unwrap();
    // A copy has other files; so may a restored backup, or a drive that came back.
    let copy = dir.path().join("copy");
    let status = Command::new("cp")
        .arg("-a")
        .args([data(&dir), copy.clone()])
        .status()
        .unwrap();
    assert!(status.success());
    let limiter = open_at(&copy, noon()).unwrap();
    let Opened::SetAside { to, why } = limiter.health().opened else {
        panic!("{:?}", limiter.health().opened)
    };
    assert_eq!(why, "other files");
    assert!(to.join("00").exists());
    assert_eq!(
        limiter.health().recovery.counters,
        4,
        "{:?}",
        limiter.health().recovery
    );
    assert_eq!(used(&limiter, "alice"), [37; 4]);
}

#[test]
fn a_clock_set_back_between_two_runs_gives_no_second_day() {
    let dir = common::scratch();
    let request = Request::new().attribute("user", "alice");
    let clock = ManualClock::new(Timestamp::from_secs(1_760_000_000));
    let limiter = open_at(&data(&dir), clock).unwrap();
    for _ in 0..100 {
        assert!(limiter.check(&request).is_allowed());
    }
    drop(limiter);
    let day_before = ManualClock::new(Timestamp::from_secs(1_760_000_000 - 86_400));
    let limiter = open_at(&data(&dir), day_before).unwrap();
    assert!(!limiter.check(&request).is_allowed());
    assert_eq!(used(&limiter, "alice"), [100; 4]);
}

#[test]
fn offline_time_counts() {
    let dir = common::scratch();
    let request = Request::new().attribute("user", "alice").cost(100);
    let limiter = open_at(&data(&dir), noon()).unwrap();
    assert!(limiter.check(&request).is_allowed());
    drop(limiter);
    let clock = noon();
    clock.advance(Duration::from_secs(86_400 / 2));
    let limiter = open_at(&data(&dir), clock).unwrap();
    // Half a day gives half the bucket back and ends the windows of an hour, but not the day.
    assert_eq!(used(&limiter, "alice"), [50, 100, 0, 0]);
}

#[test]
fn files_are_their_owners_alone() {
    let dir = common::scratch();
    let limiter = open_at(&data(&dir), noon()).unwrap();
    limiter.set_override("bucket", &["alice"], "5/day").unwrap();
    let mut folders = vec![data(&dir)];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        assert_eq!(
            fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let meta = fs::metadata(&path).unwrap();
            assert_eq!(
                meta.permissions().mode() & 0o777,
                0o600,
                "{}",
                path.display()
            );
        }
    }
    assert!(files > 16, "{files}");
    drop(limiter);
    fs::set_permissions(data(&dir), fs::Permissions::from_mode(0o770)).unwrap();
    let error = open_at(&data(&dir), noon()).unwrap_err();
    assert!(error.to_string().contains("private"), "{error}");
}

/// Writes the byte at `at` with a bit turned; call it again to turn it back.
fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// A directory closed clean in which alice has used 7.
fn closed_clean(dir: &tempfile::TempDir) {
    let limiter = open_at(&data(dir), noon()).unwrap();
    assert!(
        limiter
            .check(&Request::new().attribute("user", "alice").cost(7))
            .is_allowed()
    );
    limiter.close().unwrap();
}

/// Opens a directory whose table is damaged: it is set aside, and rebuilt from the journal.
fn rebuilt(dir: &tempfile::TempDir, what: &str) {
    let limiter = open_at(&data(dir), noon()).unwrap();
    let Opened::SetAside { why, .. } = limiter.health().opened else {
        panic!("{what}: {:?}", limiter.health().opened)
    };
    assert!(why.contains("table/"), "{what}: {why}");
    assert_eq!(limiter.health().recovery.counters, 4, "{what}");
    assert_eq!(used(&limiter, "alice"), [7; 4], "{what}");
}

#[test]
fn every_flipped_byte_of_the_header_is_an_error() {
    let dir = common::scratch();
    closed_clean(&dir);
    let path = data(&dir).join("header");
    for at in 0..72 {
        flip(&path, at);
        let error = open_at(&data(&dir), noon()).unwrap_err();
        assert!(error.is_damaged() || error.is_version(), "{at}: {error}");
        assert_eq!(error.path(), Some(path.as_path()), "{error}");
        flip(&path, at);
    }
    assert_eq!(
        open_at(&data(&dir), noon()).unwrap().health().opened,
        Opened::Clean
    );
}

#[test]
fn every_flipped_byte_of_a_shards_header_is_noticed() {
    let dir = common::scratch();
    closed_clean(&dir);
    for shard in ["table/03", "table/16"] {
        for at in 0..56 {
            flip(&data(&dir).join(shard), at);
            if (8..12).contains(&at) {
                let error = open_at(&data(&dir), noon()).unwrap_err();
                assert!(error.is_version(), "{at}: {error}");
                flip(&data(&dir).join(shard), at);
            } else {
                rebuilt(&dir, &format!("{shard}, byte {at}"));
            }
        }
    }
}

#[test]
fn shards_cut_stretched_swapped_or_gone_are_rebuilt() {
    let dir = common::scratch();
    closed_clean(&dir);
    let path = data(&dir).join("table/05");
    let len = fs::metadata(&path).unwrap().len();
    for to in [0, 1, 55, 4095, 4096, len - 64, len - 1, len + 64] {
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(to)
            .unwrap();
        rebuilt(&dir, &format!("{to} bytes long"));
    }
    fs::copy(data(&dir).join("table/06"), &path).unwrap();
    rebuilt(&dir, "swapped");
    fs::remove_file(&path).unwrap();
    rebuilt(&dir, "gone");
    fs::remove_dir_all(data(&dir).join("table")).unwrap();
    rebuilt(&dir, "all gone");
}

#[test]
fn a_rebuild_that_did_not_happen_is_made_good() {
    let dir = common::scratch();
    closed_clean(&dir);
    fs::remove_file(data(&dir).join("table/05")).unwrap();
    // The table is set aside, and then the opening fails before anything is rebuilt.
    fs::write(data(&dir).join("overrides"), "not overrides").unwrap();
    assert!(open_at(&data(&dir), noon()).unwrap_err().is_damaged());
    fs::remove_file(data(&dir).join("overrides")).unwrap();
    let limiter = open_at(&data(&dir), noon()).unwrap();
    assert_eq!(used(&limiter, "alice"), [7; 4], "{:?}", limiter.health());
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = common::scratch();
    drop(open_at(&data(&dir), noon()).unwrap());
    let path = data(&dir).join("header");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] += 1;
    fs::write(&path, &bytes).unwrap();
    let error = open_at(&data(&dir), noon()).unwrap_err();
    assert!(
        error.is_version() && error.to_string().contains("newer"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn half_a_creation_is_begun_again() {
    let dir = common::scratch();
    // As a process leaves it that is killed before its first mark.
    drop(open_at(&data(&dir), noon()).unwrap());
    fs::remove_file(data(&dir).join("marks")).unwrap();
    fs::remove_file(data(&dir).join("table/09")).unwrap();
    assert_eq!(
        open_at(&data(&dir), noon()).unwrap().health().opened,
        Opened::New
    );
    // Or before its header.
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(other.join("lock"), "").unwrap();
    assert_eq!(
        open_at(&other, noon()).unwrap().health().opened,
        Opened::New
    );
}

#[test]
fn a_lost_header_is_an_error_not_a_fresh_start() {
    let dir = common::scratch();
    drop(open_at(&data(&dir), noon()).unwrap());
    fs::remove_file(data(&dir).join("header")).unwrap();
    let error = open_at(&data(&dir), noon()).unwrap_err();
    assert!(
        error.is_damaged() && error.to_string().contains("header"),
        "{error}"
    );
}

#[test]
fn a_torn_mark_leaves_the_one_before_it() {
    let dir = common::scratch();
    drop(open_at(&data(&dir), noon()).unwrap());
    let path = data(&dir).join("marks");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    // Two marks were written: open (sequence 1, slot 1) and clean (sequence 2, slot 0).
    file.write_all_at(&[0xFF; 40], 20).unwrap();
    assert_eq!(
        open_at(&data(&dir), noon()).unwrap().health().opened,
        Opened::Kept
    );
}

#[test]
fn a_backup_goes_on_from_where_the_limiter_was() {
    let dir = common::scratch();
    let clock = noon();
    let limiter = open_at(&data(&dir), clock.clone()).unwrap();
    for user in 0..200 {
        let user = format!("user {user}");
        assert!(
            limiter
                .check(&Request::new().attribute("user", &user).cost(7))
                .is_allowed()
        );
    }
    limiter
        .set_override("bucket", &["user 300"], "9/day")
        .unwrap();
    let copy = dir.path().join("copy");
    limiter.backup(&copy).unwrap();
    assert!(
        limiter.backup(&copy).is_err(),
        "never over another directory"
    );
    assert!(
        limiter
            .check(&Request::new().attribute("user", "user 5"))
            .is_allowed()
    );
    let restored = open_at(&copy, clock).unwrap();
    assert_eq!(restored.health().opened, Opened::Clean);
    for user in 0..200 {
        assert_eq!(used(&restored, &format!("user {user}")), [7; 4], "{user}");
    }
    assert_eq!(restored.overrides(), limiter.overrides());
    assert_eq!(
        restored.limit("bucket").unwrap().usage("user 300").limit(),
        9
    );
}
