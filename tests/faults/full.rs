//! Full disks, and other things that run out.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tollgate::{Error, Limiter, Opened};

use crate::mount::Mount;
use crate::shim::{Faults, Plan, errno, kind};
use crate::world::{USERS, flush_at_last, open, open_every, take, used};

/// Takes one for every user.
fn take_all(limiter: &Limiter, rounds: &mut u64) {
    let all = (0..USERS).all(|user| take(limiter, user));
    assert!(all, "a check is never refused for the disk's sake");
    *rounds += 1;
}

fn assert_used(limiter: &Limiter, rounds: u64) {
    for user in 0..USERS {
        assert_eq!(used(limiter, user), rounds, "{:?}", limiter.health());
    }
}

/// What the journal alone tells is at least so much, for every user.
fn assert_recovered(data: &Path, rounds: u64) {
    let copied = crate::common::scratch();
    // The writer goes on meanwhile: what it takes away before it is copied is no fault.
    let copy = |number: u32| {
        let image = copied.path().join(number.to_string());
        let copy = Command::new("cp").arg("-a").args([data, &image]).status();
        copy.unwrap().success().then_some(image)
    };
    let image = (0..20).find_map(copy).expect("it can be copied");
    fs::remove_dir_all(image.join("table")).unwrap();
    let limiter = open(&image).unwrap();
    assert!(matches!(limiter.health().opened, Opened::SetAside { .. }));
    for user in 0..USERS {
        assert!(
            used(&limiter, user) >= rounds,
            "{rounds}: {:?}",
            limiter.health()
        );
    }
}

/// If the table could not be made, nothing of it takes room.
fn assert_no_half_table(data: &Path, error: &Error) {
    let table = data.join("table");
    let of_table = error.path().is_some_and(|path| path.starts_with(&table));
    assert!(
        !of_table || !table.exists(),
        "half a table is left: {error}"
    );
}

#[test]
fn fault_33_a_disk_full_at_creation_is_an_error_before_anything_is_mapped() {
    let (mut refused, mut opened) = (0, 0);
    for kib in (8..1600).step_by(48) {
        let Some(mount) = Mount::new(&format!("size={kib}k")) else {
            return;
        };
        let mut rounds = 0;
        match open(&mount.data()) {
            Ok(limiter) => {
                opened += 1;
                take_all(&limiter, &mut rounds);
                if let Err(error) = limiter.flush() {
                    assert!(error.to_string().contains("No space"), "{kib} KiB: {error}");
                }
            }
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(text.contains("No space"), "{kib} KiB: {text}");
                assert_no_half_table(&mount.data(), &error);
            }
        }
        mount.change("size=16m");
        let limiter = open(&mount.data()).unwrap_or_else(|error| panic!("{kib} KiB: {error}"));
        assert_used(&limiter, rounds);
        take_all(&limiter, &mut rounds);
        limiter.flush().unwrap();
        assert_recovered(&mount.data(), rounds);
    }
    assert!(
        refused > 2 && opened > 2,
        "{refused} refused, {opened} opened"
    );
}

#[test]
fn fault_33_blocks_that_cannot_be_had_are_an_error_before_anything_is_mapped() {
    let name = "full::fault_33_blocks_that_cannot_be_had_are_an_error_before_anything_is_mapped";
    // The kernel itself refuses: allocating does not go through the C library.
    let Some(faults) = Faults::with(name, "fallocate:28") else {
        return;
    };
    let data = faults.path("data");
    let error = open(&data).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("cannot allocate") && text.contains("No space"),
        "{text}"
    );
    assert!(
        error
            .path()
            .is_some_and(|path| path.starts_with(data.join("table")))
    );
    assert_no_half_table(&data, &error);
}

#[test]
fn fault_34_a_disk_that_fills_is_told_of_and_nothing_is_lost() {
    let Some(mount) = Mount::new("size=8m") else {
        return;
    };
    let mut rounds = 0;
    let limiter = open_every(&mount.data(), Duration::from_millis(5)).unwrap();
    take_all(&limiter, &mut rounds);
    limiter.flush().unwrap();
    let ballast = mount.fill();
    let mut durable = rounds;
    let error = loop {
        take_all(&limiter, &mut rounds);
        match limiter.flush() {
            Ok(()) => durable = rounds,
            Err(error) => break error,
        }
        assert!(rounds < 100_000, "a full disk takes it all");
    };
    assert!(error.to_string().contains("No space"), "{error}");
    let writing = limiter.health().writing;
    let trouble = writing.trouble.expect("it is told of");
    assert!(trouble.why.contains("No space") && writing.durable_at <= trouble.since);
    let mut since = Some(trouble.since);
    for _ in 0..10 {
        take_all(&limiter, &mut rounds);
        if limiter.flush().is_ok() {
            // What a failed try had taken is free again.
            (durable, since) = (rounds, None);
            continue;
        }
        let still = limiter
            .health()
            .writing
            .trouble
            .map(|trouble| trouble.since);
        assert!(
            since.is_none() || still == since,
            "since when, not when last"
        );
        since = still;
    }
    assert_used(&limiter, rounds);
    assert_recovered(&mount.data(), durable);
    fs::remove_file(ballast).unwrap();
    flush_at_last(&limiter);
    assert!(limiter.health().writing.trouble.is_none());
    assert_used(&limiter, rounds);
    assert_recovered(&mount.data(), rounds);
    limiter.close().unwrap();
}

#[test]
fn fault_35_a_disk_full_at_opening_keeps_nobody_out() {
    let Some(mount) = Mount::new("size=8m") else {
        return;
    };
    let mut rounds = 0;
    let limiter = open(&mount.data()).unwrap();
    take_all(&limiter, &mut rounds);
    limiter.close().unwrap();
    drop(limiter);
    let ballast = mount.fill();
    for _ in 0..3 {
        let limiter = open(&mount.data()).unwrap();
        assert_ne!(limiter.health().opened, Opened::New);
        assert_used(&limiter, rounds);
        take_all(&limiter, &mut rounds);
        // The journal may have no room; the counters have.
        let _ = limiter.flush();
        let _ = limiter.close();
    }
    fs::remove_file(ballast).unwrap();
    let limiter = open(&mount.data()).unwrap();
    assert_used(&limiter, rounds);
    flush_at_last(&limiter);
    assert_recovered(&mount.data(), rounds);
}

#[test]
fn fault_35_a_lock_that_cannot_name_its_holder_is_a_lock() {
    let Some(faults) = Faults::here("full::fault_35_a_lock_that_cannot_name_its_holder_is_a_lock")
    else {
        return;
    };
    let data = faults.path("data");
    open(&data).unwrap().close().unwrap();
    // The first thing that is written is the holder's number.
    let times = 1;
    let plan = Plan::all(kind::WRITE, errno::ENOSPC);
    faults.plan(Plan { times, ..plan });
    let limiter = open(&data).unwrap();
    assert_eq!(faults.injected(), 1);
    let error = open(&data).unwrap_err();
    assert!(error.is_in_use(), "{error}");
    // Its number is not in the lock, but whose descriptor holds it can be seen.
    assert_eq!(error.holder(), Some(std::process::id()));
    limiter.close().unwrap();
}

#[test]
fn fault_36_no_inodes_left_is_an_error_and_leaves_nothing_half_made() {
    let mut refused = 0;
    for inodes in 2..40 {
        let Some(mount) = Mount::new(&format!("size=16m,nr_inodes={inodes}")) else {
            return;
        };
        let mut rounds = 0;
        match open(&mount.data()) {
            Ok(limiter) => take_all(&limiter, &mut rounds),
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(text.contains("No space"), "{inodes}: {text}");
                assert_no_half_table(&mount.data(), &error);
            }
        }
        mount.change("nr_inodes=1000");
        let limiter = open(&mount.data()).unwrap_or_else(|error| panic!("{inodes}: {error}"));
        assert_used(&limiter, rounds);
        limiter.flush().unwrap();
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn fault_36_what_runs_out_is_named_and_all_is_well_when_there_is_more() {
    let name = "full::fault_36_what_runs_out_is_named_and_all_is_well_when_there_is_more";
    let Some(faults) = Faults::here(name) else {
        return;
    };
    for (kinds, error, said) in [
        (kind::OPEN, errno::EMFILE, "Too many open files"),
        (kind::OPEN, errno::ENFILE, "Too many open files in system"),
        (kind::WRITE | kind::SIZE, errno::EDQUOT, "quota exceeded"),
        (kind::WRITE | kind::SIZE, errno::EFBIG, "File too large"),
        (kind::MAP, errno::ENOMEM, "Cannot allocate memory"),
        (kind::MAKE, errno::ENOSPC, "No space left"),
        (kind::RENAME, errno::EDQUOT, "quota exceeded"),
    ] {
        let data = faults.path("data");
        faults.plan(Plan::all(kinds, error));
        let refused = open(&data).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains(said) && refused.path().is_some(),
            "{said}: {text}"
        );
        assert_no_half_table(&data, &refused);
        faults.heal();
        let limiter = open(&data).unwrap();
        let mut rounds = 0;
        take_all(&limiter, &mut rounds);
        limiter.flush().unwrap();
        // And while it runs.
        faults.plan(Plan::all(kinds, error));
        take_all(&limiter, &mut rounds);
        if let Err(error) = limiter.flush() {
            assert!(error.to_string().contains(said), "{said}: {error}");
        }
        faults.heal();
        flush_at_last(&limiter);
        assert_used(&limiter, rounds);
        assert_recovered(&data, rounds);
        drop(limiter);
        fs::remove_dir_all(&data).unwrap();
    }
}
