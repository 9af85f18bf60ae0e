//! A process killed before every single call that changes or reads its directory.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use tempfile::TempDir;
use tollgate::{Limiter, Opened};

use crate::shim::{Faults, Plan, errno, finish, kind, on_failing_disk};
use crate::world::{USERS, open, take, used};

const STEP: &str = "TOLLGATE_FAULTS_STEP";
const LIFE: &str = "TOLLGATE_FAULTS_LIFE";
const SIGKILL: i32 = 9;

/// Lives until it is killed, before the step that it was told.
#[test]
#[ignore = "is started by the tests below, in a process to be killed"]
fn life() {
    let (Some(faults), Ok(step)) = (Faults::inside(), std::env::var(STEP)) else {
        return;
    };
    let plan = Plan {
        from: step.parse().unwrap(),
        ..Plan::all(kind::ALL, errno::KILL)
    };
    let is_close = std::env::var(LIFE).unwrap() == "close";
    if !is_close {
        faults.plan(plan);
    }
    let limiter = open(&faults.path("data")).unwrap();
    admit(&limiter, &faults.safe("admitted"));
    if is_close {
        faults.plan(plan);
    } else {
        limiter.flush().unwrap();
    }
    limiter.close().unwrap();
}

/// Takes one for every user, and only then says so.
fn admit(limiter: &Limiter, told: &Path) {
    assert!((0..USERS).all(|user| take(limiter, user)));
    let before = admitted(told);
    fs::write(told, (before + 1).to_string()).unwrap();
}

fn admitted(told: &Path) -> u64 {
    let text = fs::read_to_string(told).unwrap_or_default();
    text.parse().unwrap_or(0)
}

/// Kills a life before its first call, another before its second, and so on, until one comes to its
/// end; shows each directory that was left.
fn each_step(life: &str, begin: impl Fn(&TempDir), mut see: impl FnMut(u64, Limiter)) -> u64 {
    for step in 1.. {
        let scratch = crate::common::scratch();
        fs::create_dir(scratch.path().join("under")).unwrap();
        begin(&scratch);
        let Some(mut command) = on_failing_disk("killed::life", &scratch, "") else {
            return 0;
        };
        let command = command.env(STEP, step.to_string()).env(LIFE, life);
        let ended = finish(command);
        let text = String::from_utf8_lossy(&ended.stderr);
        let was_killed = ended.status.signal() == Some(SIGKILL);
        assert!(was_killed || ended.status.success(), "step {step}: {text}");
        let limiter = open(&scratch.path().join("under/data"));
        let limiter = limiter.unwrap_or_else(|error| panic!("step {step}: {error}"));
        let rounds = admitted(&scratch.path().join("admitted"));
        for user in 0..USERS {
            let found = used(&limiter, user);
            // Between the last take and the word of it nothing is written that could be waited for.
            assert_eq!(found, rounds, "step {step}: {:?}", limiter.health());
        }
        assert!(take(&limiter, 0));
        limiter.flush().unwrap();
        see(step, limiter);
        if !was_killed {
            return step;
        }
    }
    0
}

#[test]
fn fault_02_killed_before_each_step_of_a_creation_a_directory_opens() {
    let steps = each_step(
        "create",
        |_| (),
        |step, limiter| {
            let opened = limiter.health().opened;
            assert!(
                !matches!(opened, Opened::SetAside { .. }),
                "{step}: {opened}"
            );
        },
    );
    assert!(steps == 0 || steps > 100, "{steps}");
}

#[test]
fn fault_04_killed_before_each_step_of_a_close_only_a_whole_one_is_clean() {
    let begin = |scratch: &TempDir| {
        let limiter = open(&scratch.path().join("under/data")).unwrap();
        admit(&limiter, &scratch.path().join("admitted"));
        limiter.close().unwrap();
    };
    let mut was_clean = false;
    let steps = each_step("close", begin, |step, limiter| {
        let is_clean = limiter.health().opened == Opened::Clean;
        assert!(
            is_clean || limiter.health().opened == Opened::Kept,
            "{step}"
        );
        assert!(is_clean || !was_clean, "{step}: clean, and then not");
        assert!(!is_clean || step > 1, "clean before anything was done");
        was_clean = is_clean;
    });
    assert!(steps == 0 || (was_clean && steps > 20), "{steps}");
}
