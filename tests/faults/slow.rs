//! Disks that hang or are slow, and a process that is stopped for a while.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tollgate::{Limiter, Opened};

use crate::shim::{Faults, Plan, finish, kind, this_test};
use crate::world::{PATIENCE, flush_at_last, open_every, take, used, wait_for};

const CHECKS: usize = 20_000;
/// More keys than were seen before: each needs a slot of its own.
const KEYS: usize = 200;

/// Checks in a thread of their own, so that one that is blocked is seen.
fn checks_go_on(limiter: &Limiter, what: &str) {
    let (done, ended) = mpsc::channel();
    let checked = limiter.clone();
    std::thread::spawn(move || {
        let admitted = (0..CHECKS).filter(|check| take(&checked, check % KEYS));
        done.send(admitted.count()).unwrap();
    });
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(CHECKS), "{what}");
}

#[test]
fn fault_40_a_frozen_disk_blocks_no_check_and_its_lag_is_told() {
    let name = "slow::fault_40_a_frozen_disk_blocks_no_check_and_its_lag_is_told";
    let Some(faults) = Faults::here(name) else {
        return;
    };
    for kinds in [kind::SYNC, kind::WRITE, kind::ALL & !kind::MAP] {
        let data = faults.path(&format!("data-{kinds}"));
        let limiter = open_every(&data, Duration::from_millis(5)).unwrap();
        assert!(take(&limiter, 0));
        limiter.flush().unwrap();
        faults.freeze(kinds);
        assert!(take(&limiter, 0));
        wait_for("the writer hangs", || faults.waiting() > 0);
        let before = limiter.health().writing.durable_at;
        checks_go_on(&limiter, "on a frozen disk");
        assert!(faults.waiting() > 0, "the disk is frozen still");
        let writing = limiter.health().writing;
        assert!(writing.backlog <= 1 << 16, "{writing:?}");
        assert!(
            writing.oldest_unwritten.is_some(),
            "its lag is told: {writing:?}"
        );
        faults.heal();
        flush_at_last(&limiter);
        let after = limiter.health().writing;
        assert!(
            after.durable_at > before && after.trouble.is_none(),
            "{after:?}"
        );
        assert_eq!(used(&limiter, 0), 2 + (CHECKS / KEYS) as u64);
        limiter.close().unwrap();
    }
}

#[test]
fn fault_41_slow_syncs_are_waited_for_by_the_writer_alone() {
    let name = "slow::fault_41_slow_syncs_are_waited_for_by_the_writer_alone";
    let Some(faults) = Faults::here(name) else {
        return;
    };
    let data = faults.path("data");
    let limiter = open_every(&data, Duration::from_millis(1)).unwrap();
    let slow = Duration::from_millis(200);
    faults.plan(Plan {
        delay_us: i64::try_from(slow.as_micros()).unwrap(),
        ..Plan::count(kind::SYNC)
    });
    assert!(take(&limiter, 0));
    let asked = Instant::now();
    let flushed = limiter.clone();
    let flush = std::thread::spawn(move || flushed.flush().map(|()| asked.elapsed()));
    checks_go_on(&limiter, "while syncs are slow");
    let took = flush.join().unwrap().unwrap();
    assert!(took >= slow, "{took:?}: it waited for no sync");
    let writing = limiter.health().writing;
    assert!(
        writing.backlog <= 1 << 16 && writing.trouble.is_none(),
        "{writing:?}"
    );
    flush_at_last(&limiter);
    let image = faults.safe("image");
    faults.cut_power(&data, &image);
    let recovered = open_every(&image, PATIENCE).unwrap();
    assert_eq!(used(&recovered, 0), 1 + (CHECKS / KEYS) as u64);
    faults.heal();
    limiter.close().unwrap();
}

const STOPPED: &str = "TOLLGATE_FAULTS_STOPPED";

/// Takes one for each line that it reads, and says so.
#[test]
#[ignore = "is started by the test below, in a process to be stopped"]
fn stopped() {
    let Some(data) = std::env::var_os(STOPPED) else {
        return;
    };
    let limiter = open_every(data.as_ref(), Duration::from_millis(5)).unwrap();
    for line in std::io::stdin().lock().lines() {
        assert!(take(&limiter, line.unwrap().parse().unwrap()));
        println!("taken");
    }
    flush_at_last(&limiter);
    assert!(limiter.health().writing.trouble.is_none());
    limiter.close().unwrap();
}

#[test]
fn fault_05_a_stopped_process_goes_on_where_it_was() {
    let scratch = crate::common::scratch();
    let data = scratch.path().join("data");
    let mut command = this_test("slow::stopped");
    command.env(STOPPED, &data).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut asks = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut taken = || answers.any(|line| line.unwrap().contains("taken"));
    let id = child.id().to_string();
    let signal = |name: &str| {
        let sent = finish(Command::new("kill").args([name, &id]));
        assert!(sent.status.success(), "{sent:?}");
    };
    writeln!(asks, "0").unwrap();
    assert!(taken());
    for _ in 0..3 {
        signal("-STOP");
        // Asked while it cannot answer.
        writeln!(asks, "0").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        signal("-CONT");
        assert!(taken());
    }
    drop(asks);
    assert!(!taken(), "nothing more was asked");
    assert!(child.wait().unwrap().success());
    let limiter = open_every(&data, PATIENCE).unwrap();
    assert_eq!(limiter.health().opened, Opened::Clean);
    assert_eq!(used(&limiter, 0), 4);
}
