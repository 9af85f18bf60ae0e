//! The table of what survives what, cell by cell: five events, three durabilities.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tollgate::{Limiter, Mapping, Opened, Policy, Verdict};

use crate::mount::Mount;
use crate::world::{flush_at_last, noon, wait_for};

/// What a strict limit reserves here.
const RESERVE: u64 = 10;

/// A limit of a hundred a day that is as durable as it says.
fn open(data: &Path, durability: &str) -> Limiter {
    let reserve = match durability {
        "strict" => format!("reserve = {RESERVE}"),
        _ => String::new(),
    };
    let text = format!(
        "[limits.quota]\nrate = \"100/day\"\nalgorithm = \"calendar\"\nkey = \"user\"\n\
         durability = \"{durability}\"\n{reserve}"
    );
    let builder = Limiter::builder(Policy::from_toml(&text).unwrap());
    let builder = builder.counters(100_000).clock(noon());
    builder.mapping(Mapping::DataDirectory).open(data).unwrap()
}

fn take(limiter: &Limiter, count: u64) {
    let quota = limiter.limit("quota").unwrap();
    (0..count).for_each(|_| assert!(quota.check("alice").is_allowed()));
}

fn used(limiter: &Limiter) -> u64 {
    limiter.limit("quota").unwrap().usage("alice").used()
}

fn clean_restart(durability: &str) {
    let dir = crate::common::scratch();
    let data = dir.path().join("data");
    let limiter = open(&data, durability);
    take(&limiter, 37);
    limiter.close().unwrap();
    drop(limiter);
    let limiter = open(&data, durability);
    assert_eq!(limiter.health().opened, Opened::Clean);
    assert_eq!(used(&limiter), 37);
}

/// Killed by the parent; by itself it does nothing.
#[test]
fn child_of_survival() {
    let Ok(told) = std::env::var("TOLLGATE_SURVIVAL") else {
        return;
    };
    let (durability, data) = told.split_once(' ').unwrap();
    let limiter = open(Path::new(data), durability);
    take(&limiter, 37);
    println!("\nready");
    loop {
        std::thread::park();
    }
}

fn killed(durability: &str) {
    let dir = crate::common::scratch();
    let data = dir.path().join("data");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["survival::child_of_survival", "--exact", "--nocapture"])
        .env(
            "TOLLGATE_SURVIVAL",
            format!("{durability} {}", data.display()),
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "ready"));
    child.kill().unwrap();
    child.wait().unwrap();
    let limiter = open(&data, durability);
    assert_eq!(limiter.health().opened, Opened::Kept);
    assert_eq!(used(&limiter), 37);
}

/// Takes 20 that are flushed and 17 that are not; gives what is counted after the power has gone.
fn after_power_cut(durability: &str) -> u64 {
    let dir = crate::common::scratch();
    let data = dir.path().join("data");
    let limiter = open(&data, durability);
    take(&limiter, 20);
    limiter.flush().unwrap();
    // What the disk holds now; the table is in no state to be believed.
    let after = dir.path().join("after");
    let copy = || Command::new("cp").arg("-a").args([&data, &after]).status();
    assert!(copy().unwrap().success());
    take(&limiter, 17);
    fs::copy(data.join("ceilings"), after.join("ceilings")).unwrap();
    fs::remove_dir_all(after.join("table")).unwrap();
    drop(limiter);
    let limiter = open(&after, durability);
    assert!(matches!(limiter.health().opened, Opened::SetAside { .. }));
    used(&limiter)
}

/// What came to pass on a disk without room: how many were admitted, and the first refusal.
fn on_a_full_disk(durability: &str) -> Option<(u64, Verdict)> {
    let mount = Mount::new("size=8m")?;
    let limiter = open(&mount.data(), durability);
    take(&limiter, 1);
    limiter.flush().unwrap();
    let ballast = mount.fill();
    let quota = limiter.limit("quota").unwrap();
    let mut admitted = 1;
    let verdict = loop {
        // The file of ceilings has some room of its own: others use it up.
        if durability == "strict" {
            for user in 0..100 {
                let _ = quota.check(&format!("{admitted} {user}"));
            }
        }
        let outcome = quota.check("alice");
        if !outcome.is_allowed() {
            break outcome.verdict();
        }
        admitted += 1;
    };
    assert_eq!(used(&limiter), admitted);
    let (writing, reservations) = (limiter.health().writing, limiter.health().reservations);
    match durability {
        "strict" => assert!(reservations.trouble.unwrap().why.contains("space")),
        // A small round may still find room for itself.
        "logged" => {
            let mut others = 0;
            wait_for("the health tells", || {
                others += 1;
                let _ = quota.check(&format!("other {others}"));
                let told = limiter.flush().is_err();
                let trouble = limiter.health().writing.trouble;
                told && trouble.is_some_and(|trouble| trouble.why.contains("space"))
            });
        }
        _ => assert!(writing.trouble.is_none()),
    }
    fs::remove_file(ballast).unwrap();
    flush_at_last(&limiter);
    wait_for("all is well again", || {
        let health = limiter.health();
        health.writing.trouble.is_none() && health.reservations.trouble.is_none()
    });
    assert_eq!(used(&limiter), admitted);
    Some((admitted, verdict))
}

/// A shard is cut short: what the disk knows otherwise is put back, and said.
fn after_damage(durability: &str) -> u64 {
    let dir = crate::common::scratch();
    let data = dir.path().join("data");
    let limiter = open(&data, durability);
    take(&limiter, 37);
    limiter.close().unwrap();
    drop(limiter);
    let shard = fs::OpenOptions::new()
        .write(true)
        .open(data.join("table/03"));
    shard.unwrap().set_len(100).unwrap();
    let limiter = open(&data, durability);
    let Opened::SetAside { why, .. } = limiter.health().opened else {
        panic!("{:?}", limiter.health().opened);
    };
    assert!(why.contains("table/03"), "{why}");
    used(&limiter)
}

#[test]
fn clean_restart_memory() {
    clean_restart("memory");
}

#[test]
fn clean_restart_logged() {
    clean_restart("logged");
}

#[test]
fn clean_restart_strict() {
    clean_restart("strict");
}

#[test]
fn killed_memory() {
    killed("memory");
}

#[test]
fn killed_logged() {
    killed("logged");
}

#[test]
fn killed_strict() {
    killed("strict");
}

/// Forgotten, or remembered in part; never more than was taken.
#[test]
fn power_cut_memory() {
    assert!(after_power_cut("memory") <= 37);
}

/// What was flushed is there.
#[test]
fn power_cut_logged() {
    assert!((20..=37).contains(&after_power_cut("logged")));
}

/// All is there, and at most a reservation more.
#[test]
fn power_cut_strict() {
    assert!((37..=37 + RESERVE).contains(&after_power_cut("strict")));
}

#[test]
fn full_disk_memory() {
    let seen = on_a_full_disk("memory");
    assert!(
        seen.is_none_or(|seen| seen == (100, Verdict::Refused)),
        "{seen:?}"
    );
}

#[test]
fn full_disk_logged() {
    let seen = on_a_full_disk("logged");
    assert!(
        seen.is_none_or(|seen| seen == (100, Verdict::Refused)),
        "{seen:?}"
    );
}

/// What was reserved is admitted, and then it refuses, since it does not say otherwise.
#[test]
fn full_disk_strict() {
    let seen = on_a_full_disk("strict");
    assert!(
        seen.is_none_or(|(admitted, verdict)| admitted < 100 && verdict == Verdict::Unwritable),
        "{seen:?}"
    );
}

/// Its window is over before a table is lost, so nothing is promised but that it is said.
#[test]
fn damage_memory() {
    assert!(after_damage("memory") <= 37);
}

#[test]
fn damage_logged() {
    assert_eq!(after_damage("logged"), 37);
}

#[test]
fn damage_strict() {
    assert!((37..=37 + RESERVE).contains(&after_damage("strict")));
}
