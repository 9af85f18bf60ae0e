//! What is kept when nothing is broken.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

use tollgate::{ManualClock, Opened, Request, Timestamp};

use super::{World, noon, take, used, why_set_aside};

super::wherever_the_table_lies!(
    a_clean_restart_keeps_every_counter,
    a_limit_spent_before_the_restart_is_spent_after_it,
    a_killed_process_loses_nothing_and_its_lock_names_it,
    a_second_opener_in_the_same_process_is_refused,
    a_table_that_was_not_closed_is_not_believed_elsewhere,
    a_clock_set_back_between_two_runs_gives_no_second_day,
    offline_time_counts,
    files_are_their_owners_alone,
    half_a_creation_is_begun_again,
    a_torn_mark_leaves_the_one_before_it,
    a_backup_goes_on_from_where_the_limiter_was,
    a_moved_directory_keeps_its_counters,
);

fn a_clean_restart_keeps_every_counter(world: &World) {
    let limiter = world.open();
    assert_eq!(limiter.health().opened, Opened::New);
    for user in 0..50 {
        for _ in 0..=user {
            take(&limiter, &format!("user {user}"), 1);
        }
    }
    limiter.close().unwrap();
    drop(limiter);
    let limiter = world.open();
    assert_eq!(limiter.health().opened, Opened::Clean);
    for user in 0..50 {
        assert_eq!(used(&limiter, &format!("user {user}")), [user + 1; 4]);
    }
}

fn a_limit_spent_before_the_restart_is_spent_after_it(world: &World) {
    let request = Request::new().attribute("user", "alice");
    for _ in 0..4 {
        let limiter = world.open();
        for _ in 0..25 {
            assert!(limiter.check(&request).is_allowed());
        }
        // Dropped, not closed: drop closes.
    }
    let limiter = world.open();
    assert_eq!(limiter.health().opened, Opened::Clean);
    assert!(!limiter.check(&request).is_allowed());
}

fn a_killed_process_loses_nothing_and_its_lock_names_it(world: &World) {
    let child = world.child();
    let error = world.try_open().unwrap_err();
    assert!(error.is_in_use(), "{error}");
    assert_eq!(error.holder(), Some(child.process.id()));
    assert!(
        error.to_string().contains(&child.process.id().to_string()),
        "{error}"
    );
    child.kill();
    let limiter = world.open();
    assert_eq!(limiter.health().opened, Opened::Kept);
    assert_eq!(used(&limiter, "alice"), [37; 4]);
}

fn a_second_opener_in_the_same_process_is_refused(world: &World) {
    let limiter = world.open();
    let error = world.try_open().unwrap_err();
    assert_eq!(error.holder(), Some(std::process::id()));
    drop(limiter);
    assert!(world.try_open().is_ok());
}

fn a_table_that_was_not_closed_is_not_believed_elsewhere(world: &World) {
    world.kill_one();
    // A copy has other files; so may a restored backup, or a drive that came back.
    let copy = world.dir.path().join("copy");
    let status = Command::new("cp")
        .arg("-a")
        .args([world.data(), copy.clone()])
        .status()
        .unwrap();
    assert!(status.success());
    let limiter = world.open_at(&copy, noon()).unwrap();
    let why = why_set_aside(&limiter);
    if world.is_outside {
        assert!(
            why.contains("cannot look at"),
            "the copy has no table: {why}"
        );
    } else {
        assert_eq!(why, "other files");
    }
    assert_eq!(
        limiter.health().recovery.counters,
        4,
        "{:?}",
        limiter.health().recovery
    );
    assert_eq!(used(&limiter, "alice"), [37; 4]);
    // The original's table is as it was.
    assert_eq!(world.open().health().opened, Opened::Kept);
}

fn a_moved_directory_keeps_its_counters(world: &World) {
    world.kill_one();
    let moved = world.dir.path().join("moved");
    fs::rename(world.data(), &moved).unwrap();
    let limiter = world.open_at(&moved, noon()).unwrap();
    assert_eq!(limiter.health().opened, Opened::Kept);
    assert_eq!(used(&limiter, "alice"), [37; 4]);
}

fn a_clock_set_back_between_two_runs_gives_no_second_day(world: &World) {
    let request = Request::new().attribute("user", "alice");
    let clock = ManualClock::new(Timestamp::from_secs(1_760_000_000));
    let limiter = world.open_at(&world.data(), clock).unwrap();
    for _ in 0..100 {
        assert!(limiter.check(&request).is_allowed());
    }
    drop(limiter);
    let day_before = ManualClock::new(Timestamp::from_secs(1_760_000_000 - 86_400));
    let limiter = world.open_at(&world.data(), day_before).unwrap();
    assert!(!limiter.check(&request).is_allowed());
    assert_eq!(used(&limiter, "alice"), [100; 4]);
}

fn offline_time_counts(world: &World) {
    let limiter = world.open();
    take(&limiter, "alice", 100);
    drop(limiter);
    let clock = noon();
    clock.advance(Duration::from_secs(86_400 / 2));
    let limiter = world.open_at(&world.data(), clock).unwrap();
    // Half a day gives half the bucket back and ends the windows of an hour, but not the day.
    assert_eq!(used(&limiter, "alice"), [50, 100, 0, 0]);
}

fn files_are_their_owners_alone(world: &World) {
    let limiter = world.open();
    limiter.set_override("bucket", &["alice"], "5/day").unwrap();
    let mut folders = vec![world.data(), world.memory()];
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
    fs::set_permissions(world.data(), fs::Permissions::from_mode(0o770)).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(error.to_string().contains("private"), "{error}");
}

fn half_a_creation_is_begun_again(world: &World) {
    // As a process leaves it that is killed before its first mark.
    drop(world.open());
    fs::remove_file(world.data().join("marks")).unwrap();
    fs::remove_dir_all(world.data().join("journal")).unwrap();
    fs::remove_file(world.table().join("09")).unwrap();
    assert_eq!(world.open().health().opened, Opened::New);
    // Or before its header.
    let other = world.dir.path().join("other");
    super::make_private(&other);
    fs::write(other.join("lock"), "").unwrap();
    let limiter = world.open_at(&other, noon()).unwrap();
    assert_eq!(limiter.health().opened, Opened::New);
}

fn a_torn_mark_leaves_the_one_before_it(world: &World) {
    world.close_one();
    let path = world.data().join("marks");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    // Three marks were written: open (sequence 1, slot 1), open and about to be stamped (2, slot
    // 0), and clean (3, slot 1).
    file.write_all_at(&[0xFF; 40], 4096 + 20).unwrap();
    let limiter = world.open();
    assert_eq!(limiter.health().opened, Opened::Kept);
    assert_eq!(used(&limiter, "alice"), [7; 4]);
}

fn a_backup_goes_on_from_where_the_limiter_was(world: &World) {
    let limiter = world.open();
    for user in 0..200 {
        take(&limiter, &format!("user {user}"), 7);
    }
    limiter
        .set_override("bucket", &["user 300"], "9/day")
        .unwrap();
    let copy = world.dir.path().join("copy");
    limiter.backup(&copy).unwrap();
    assert!(copy.join("table/00").exists(), "a copy is complete");
    assert!(
        limiter.backup(&copy).is_err(),
        "never over another directory"
    );
    take(&limiter, "user 5", 1);
    let restored = world.open_at(&copy, noon()).unwrap();
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
