//! What a process does to itself: forks, failed closes, many openings, two at a time.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;

use tollgate::Opened;

use crate::shim::{Faults, Plan, errno, finish, kind, this_test};
use crate::world::{open, take, used};

const PATH: &str = "TOLLGATE_FAULTS_LIVES";
const SIGBUS: i32 = 7;

#[expect(
    unsafe_code,
    reason = "to fork is what is tested; the standard library cannot"
)]
mod c {
    unsafe extern "C" {
        pub(super) safe fn fork() -> i32;
        pub(super) safe fn _exit(code: i32) -> !;
    }
}

/// Runs an ignored test of this file in a process of its own.
fn alone(test: &str, data: &Path) -> std::process::Output {
    finish(this_test(&format!("lives::{test}")).env(PATH, data))
}

fn told() -> Option<std::path::PathBuf> {
    std::env::var_os(PATH).map(Into::into)
}

#[test]
#[ignore = "is started by the test below, in a process that forks"]
fn forks() {
    let Some(data) = told() else {
        return;
    };
    let limiter = open(&data).unwrap();
    assert!(take(&limiter, 0));
    let child = c::fork();
    if child == 0 {
        let is_refused = limiter.flush().is_err() && limiter.close().is_err();
        drop(limiter);
        c::_exit(if is_refused { 17 } else { 1 });
    }
    let ended = || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<_> = fields.split(' ').collect();
        // Ended, and not waited for: its status is the last but one field.
        (fields[0] == "Z").then(|| fields[49].to_owned())
    };
    let mut status = None;
    crate::world::wait_for("the child ends", || {
        status = ended();
        status.is_some()
    });
    assert_eq!(status.unwrap().trim(), (17 << 8).to_string());
    assert!(
        open(&data).unwrap_err().is_in_use(),
        "the lock is held still"
    );
    assert!(take(&limiter, 0));
    // What is executed gets none of our descriptors.
    let listed = Command::new("ls").args(["-l", "/proc/self/fd"]).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert!(
        !listed.is_empty() && !listed.contains(data.to_str().unwrap()),
        "{listed}"
    );
    limiter.close().unwrap();
    println!("forked and closed");
}

#[test]
fn fault_07_a_forked_child_closes_nothing_and_an_executed_one_has_nothing() {
    let scratch = crate::common::scratch();
    let data = scratch.path().join("data");
    let output = alone("forks", &data);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("forked and closed"), "{text}{errors}");
    let limiter = open(&data).unwrap();
    assert_eq!(
        (used(&limiter, 0), limiter.health().opened),
        (2, Opened::Clean)
    );
}

#[test]
#[ignore = "is started by the test below, in a process that forks and ends"]
fn leaves_a_child() {
    let Some(data) = told() else {
        return;
    };
    let limiter = open(&data).unwrap();
    let child = c::fork();
    if child == 0 {
        // Not for ever: the test that waits for its end may have failed.
        for _ in 0..6_000 {
            if data.join("enough").exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        c::_exit(0);
    }
    println!("\nchild {child}");
    // As after a kill: nothing is closed.
    std::mem::forget(limiter);
    c::_exit(0);
}

/// Row P4.
#[test]
fn p4_a_lock_that_a_forked_child_holds_still_is_said_to_be_the_childs() {
    let scratch = crate::common::scratch();
    let data = scratch.path().join("data");
    // The child has this process's pipes: it is to be waited for by name.
    let mut parent = this_test("lives::leaves_a_child");
    parent.env(PATH, &data).stderr(std::process::Stdio::null());
    let mut parent = parent.spawn().unwrap();
    let lines = std::io::BufReader::new(parent.stdout.take().unwrap());
    let child = std::io::BufRead::lines(lines).map_while(Result::ok);
    let child = child
        .filter_map(|line| line.strip_prefix("child ")?.parse().ok())
        .next();
    let child: u32 = child.expect("it says whom it leaves");
    parent.wait().unwrap();
    let error = open(&data).unwrap_err();
    assert_eq!(error.holder(), Some(child), "{error}");
    assert_ne!(child, parent.id());
    fs::write(data.join("enough"), "").unwrap();
    crate::world::wait_for("the child ends", || open(&data).is_ok());
}

/// Takes all that a process may write to files, over `bytes`.
fn limit_files_to(bytes: u64) {
    let limit = rustix::process::Rlimit {
        current: Some(bytes),
        maximum: None,
    };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
}

#[test]
#[ignore = "is started by the test below, in a process with a limit of its own"]
fn may_write_little() {
    let Some(data) = told() else {
        return;
    };
    let unlimited = rustix::process::getrlimit(rustix::process::Resource::Fsize);
    let strict = |limiter: &tollgate::Limiter| {
        let limit = limiter.limit("strict").unwrap();
        limit.check("somebody").is_allowed()
    };
    let limiter = open(&data).unwrap();
    assert!(take(&limiter, 0));
    assert!(strict(&limiter));
    limiter.flush().unwrap();
    for bytes in [0, 1, 100, 4096, 4200, 100_000, 1 << 20, 2 << 20] {
        limit_files_to(bytes);
        // A new one is an error, or is opened.
        let other = data.with_extension(bytes.to_string());
        match open(&other) {
            Ok(other) => drop(other.close()),
            Err(error) => assert!(error.to_string().contains("RLIMIT_FSIZE"), "{error}"),
        }
        assert!(take(&limiter, 0));
        // Within its reservation or not, it says something and goes on.
        (0..10).for_each(|_| _ = strict(&limiter));
        let error = limiter.flush().unwrap_err();
        assert!(error.to_string().contains("RLIMIT_FSIZE"), "{error}");
        let trouble = limiter.health().writing.trouble;
        let why = trouble.expect("what cannot be written is told").why;
        assert!(why.contains("RLIMIT_FSIZE"), "{why}");
        assert!(limiter.set_override("day", &["user 1"], "7/day").is_err() || bytes >= 100);
    }
    rustix::process::setrlimit(rustix::process::Resource::Fsize, unlimited).unwrap();
    crate::world::flush_at_last(&limiter);
    limiter.close().unwrap();
    println!("\nnone of it was the end");
}

/// Row P3: the kernel ends a process that writes beyond its limit on file sizes, if it tries.
#[test]
fn p3_a_limit_on_file_sizes_is_an_error_and_not_the_end() {
    let scratch = crate::common::scratch();
    let data = scratch.path().join("data");
    let output = alone("may_write_little", &data);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    assert!(text.contains("none of it was"), "{status}: {text}{errors}");
    let limiter = open(&data).unwrap();
    assert_eq!(
        (used(&limiter, 0), limiter.health().opened),
        (9, Opened::Clean)
    );
}

#[test]
fn fault_38_a_table_whose_sync_failed_is_never_marked_clean() {
    let Some(faults) =
        Faults::here("lives::fault_38_a_table_whose_sync_failed_is_never_marked_clean")
    else {
        return;
    };
    let data = faults.path("data");
    let limiter = open(&data).unwrap();
    assert!(take(&limiter, 0));
    let times = 1;
    let plan = Plan::all(kind::MSYNC, errno::EIO);
    faults.plan(Plan { times, ..plan });
    assert!(limiter.close().is_err());
    assert_eq!(faults.injected(), 1);
    // The next sync would succeed, and mean nothing.
    let error = limiter.close().unwrap_err();
    assert!(error.to_string().contains("not marked clean"), "{error}");
    drop(limiter);
    let limiter = open(&data).unwrap();
    assert_eq!(
        (used(&limiter, 0), limiter.health().opened),
        (1, Opened::Kept)
    );
    limiter.close().unwrap();
    drop(limiter);
    assert_eq!(open(&data).unwrap().health().opened, Opened::Clean);
}

#[test]
#[ignore = "is started by the test below, in a process that dies"]
fn table_is_cut() {
    let Some(data) = told() else {
        return;
    };
    let limiter = open(&data).unwrap();
    for entry in fs::read_dir(data.join("table")).unwrap() {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(entry.unwrap().path());
        file.unwrap().set_len(0).unwrap();
    }
    println!("answered {}", take(&limiter, 0));
}

#[test]
fn fault_29_a_table_cut_short_in_use_kills_the_process_and_never_answers_wrong() {
    let scratch = crate::common::scratch();
    let output = alone("table_is_cut", &scratch.path().join("data"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.signal(),
        Some(SIGBUS),
        "{}: {text}",
        output.status
    );
    assert!(!text.contains("answered"), "{text}");
    let limiter = open(&scratch.path().join("data")).unwrap();
    assert!(matches!(limiter.health().opened, Opened::SetAside { .. }));
}

#[test]
fn fault_46_of_two_that_race_to_create_exactly_one_wins() {
    for round in 0..25 {
        let scratch = crate::common::scratch();
        let data = scratch.path().join("data");
        let (begin, end) = (Barrier::new(2), Barrier::new(2));
        let race = || {
            begin.wait();
            let opened = open(&data);
            // Nobody lets go before both have tried.
            end.wait();
            opened.map(|limiter| assert!(take(&limiter, 0)))
        };
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(race);
            (race(), one.join().unwrap())
        });
        let errors = [one, other].into_iter().filter_map(Result::err);
        let errors: Vec<_> = errors.collect();
        assert_eq!(errors.len(), 1, "round {round}");
        assert!(errors[0].is_in_use(), "{}", errors[0]);
        assert_eq!(used(&open(&data).unwrap(), 0), 1);
    }
}

/// Open descriptors and threads of this process.
fn held() -> [usize; 2] {
    ["fd", "task"].map(|what| fs::read_dir(format!("/proc/self/{what}")).unwrap().count())
}

#[test]
#[ignore = "is started by the test below, in a process of its own"]
fn opens_and_closes() {
    let Some(data) = told() else {
        return;
    };
    let once = || {
        let limiter = open(&data).unwrap();
        assert!(take(&limiter, 0));
        limiter.close().unwrap();
    };
    // The engine keeps a few threads of its own.
    (0..10).for_each(|_| once());
    let before = held();
    (0..200).for_each(|_| once());
    let after = held();
    let grown = before
        .iter()
        .zip(&after)
        .any(|(before, after)| *after > before + 5);
    assert!(!grown, "{before:?} {after:?}");
    println!("opened and closed");
}

#[test]
fn fault_47_opening_and_closing_leaves_nothing_behind() {
    let scratch = crate::common::scratch();
    let data = scratch.path().join("data");
    let output = alone("opens_and_closes", &data);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("opened and closed"), "{text}{errors}");
    let sizes = Command::new("du").arg("-sk").arg(&data).output().unwrap();
    let text = String::from_utf8(sizes.stdout).unwrap();
    let kib: u64 = text.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 8 << 10, "{kib} KiB");
    assert_eq!(used(&open(&data).unwrap(), 0), 210);
}
