//! What is recovered from the journal, and what is written to it again, when files are lost, older
//! than the rest, or another directory's.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tollgate::{Limiter, ManualClock, Opened, Policy, Request, Timestamp};

const POLICY: &str = r#"
    [limits.day]
    rate = "100/day"
    algorithm = "calendar"
    key = "user"
"#;

const USERS: u64 = 30;

fn data(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("data")
}

fn open(path: &Path) -> Limiter {
    Limiter::builder(Policy::from_toml(POLICY).unwrap())
        .counters(10_000)
        .clock(ManualClock::new(Timestamp::from_secs(1_760_009_400)))
        .open(path)
        .unwrap()
}

fn name(user: u64) -> String {
    format!("user {user}")
}

/// Takes so much for each user.
fn take(limiter: &Limiter, users: std::ops::Range<u64>, cost: u64) {
    for user in users {
        let user = name(user);
        let request = Request::new().attribute("user", &user).cost(cost);
        assert!(limiter.check(&request).is_allowed(), "{user}");
    }
}

fn used(limiter: &Limiter) -> Vec<u64> {
    let day = limiter.limit("day").unwrap();
    (0..USERS)
        .map(|user| day.usage(name(user).as_str()).used())
        .collect()
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.unwrap().success());
}

/// Puts `kept` in the place of the directory's journal, or nothing.
fn put_back(dir: &tempfile::TempDir, kept: Option<&Path>) {
    let journal = data(dir).join("journal");
    fs::remove_dir_all(&journal).unwrap();
    if let Some(kept) = kept {
        copy(kept, &journal);
    }
}

/// Loses the table, as a reboot does, and says what comes back from the journal.
fn rebuilt(dir: &tempfile::TempDir) -> Vec<u64> {
    fs::remove_dir_all(data(dir).join("table")).unwrap();
    let limiter = open(&data(dir));
    let opened = limiter.health().opened;
    assert!(matches!(opened, Opened::SetAside { .. }), "{opened:?}");
    used(&limiter)
}

/// Opens a directory whose journal lacks what the table holds; then loses the table.
fn written_again(dir: &tempfile::TempDir, expected: &[u64]) {
    let limiter = open(&data(dir));
    assert_eq!(limiter.health().opened, Opened::Clean);
    assert_eq!(used(&limiter), expected);
    // The journal is opened off the start-up path: after a flush it has been.
    limiter.flush().unwrap();
    let troubles = limiter.health().recovery.troubles;
    assert!(
        troubles.iter().any(|why| why.contains("older")),
        "{troubles:?}"
    );
    limiter.close().unwrap();
    drop(limiter);
    assert_eq!(rebuilt(dir), expected);
}

#[test]
fn a_journal_older_than_the_table_is_told_everything_again() {
    let dir = common::scratch();
    let limiter = open(&data(&dir));
    take(&limiter, 0..20, 3);
    limiter.close().unwrap();
    drop(limiter);
    let kept = dir.path().join("kept");
    copy(&data(&dir).join("journal"), &kept);
    let limiter = open(&data(&dir));
    take(&limiter, 10..USERS, 4);
    limiter.close().unwrap();
    let expected = used(&limiter);
    drop(limiter);
    put_back(&dir, Some(&kept));
    written_again(&dir, &expected);
}

#[test]
fn a_journal_that_is_gone_is_made_again_from_the_table() {
    let dir = common::scratch();
    let limiter = open(&data(&dir));
    take(&limiter, 0..USERS, 5);
    limiter.close().unwrap();
    drop(limiter);
    put_back(&dir, None);
    written_again(&dir, &[5; 30]);
    // Closed at once, too.
    open(&data(&dir)).close().unwrap();
    put_back(&dir, None);
    open(&data(&dir)).close().unwrap();
    assert_eq!(rebuilt(&dir), [5; 30]);
}

#[test]
fn a_table_that_is_gone_is_made_again_from_the_journal() {
    let dir = common::scratch();
    let limiter = open(&data(&dir));
    take(&limiter, 0..USERS, 5);
    limiter.close().unwrap();
    drop(limiter);
    for _ in 0..3 {
        assert_eq!(rebuilt(&dir), [5; 30]);
    }
}
