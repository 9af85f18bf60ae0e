//! Starting again: after a kill with the table there, and after a reboot without it.

use std::process::Command;
use std::time::{Duration, Instant};

use tollgate::{Limiter, Mapping, Opened, Policy};

use crate::Plan;
use crate::peers::directory;
use crate::report::Report;

/// The argument that makes the program fill a directory, and be killed or end.
pub const CHILD: &str = "--fill";

const POLICY: &str = "[limits.api]\nrate = \"100/day\"\nkey = \"user\"";
/// Of so many openings the median.
const OPENINGS: usize = 5;

fn open(path: &std::path::Path, most: u64, mapping: Mapping) -> Limiter {
    let policy = Policy::from_toml(POLICY).expect("the policy is sound");
    let builder = Limiter::builder(policy).counters(most).mapping(mapping);
    builder.open(path).expect("it opens")
}

fn key(number: u64) -> String {
    format!("user-{number:019}")
}

/// Fills `keys` counters; then is killed, unless it is to end well.
pub fn child(arguments: &[String]) {
    let [path, keys, end] = arguments else {
        panic!("where, how many, and how does it end?")
    };
    let keys: u64 = keys.parse().expect("a number");
    let is_killed = end == "killed";
    let mapping = if is_killed {
        Mapping::Automatic
    } else {
        Mapping::DataDirectory
    };
    let limiter = open(path.as_ref(), keys * 5 / 4, mapping);
    let limit = limiter.limit("api").expect("it is there");
    (0..keys).for_each(|number| assert!(limit.check(&key(number)).is_allowed()));
    if is_killed {
        // What is not written yet is written by whoever opens it, which is another matter.
        limiter.flush().expect("the disk takes it");
        std::process::abort();
    }
    limiter.close().expect("it closes");
}

fn fill(path: &std::path::Path, keys: u64, end: &str) {
    let program = std::env::current_exe().expect("it runs");
    let child = Command::new(program)
        .arg(CHILD)
        .arg(path)
        .args([&keys.to_string(), end])
        .output();
    let said = child.expect("it starts");
    let is_killed = end == "killed";
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(
        said.status.success() != is_killed && !text.contains("panicked"),
        "{text}"
    );
}

pub fn tables(plan: &Plan, report: &mut Report) {
    report.table(
        "Starting again",
        "Until the first check is answered.",
        &["", "ms"],
    );
    let many = plan.pick(200_000, 10_000_000);
    let mut all = Vec::new();
    for keys in [10, many] {
        let took = after_kill(keys).as_secs_f64() * 1e3;
        report.row(&[
            &format!("after a kill, {keys} counters"),
            &format!("{took:.1}"),
        ]);
        all.push(took);
    }
    let scenario = format!("reopening {many} counters after a kill");
    report.goal_of(&scenario, "ms", all[1], ("the goal itself:", 20.0), 1.0);
    let logged = plan.pick(50_000, 1_000_000);
    let took = rebuilt(logged).as_secs_f64() * 1e3;
    let row = format!("rebuilt from the journal, {logged} counters");
    report.row(&[&row, &format!("{took:.0}")]);
    let scenario = format!("rebuilding {logged} logged counters without the table");
    report.goal_of(&scenario, "ms", took, ("the goal itself:", 1_000.0), 1.0);
}

/// Each of several openings after a kill of its own; the lives after the first bring nobody new.
fn after_kill(keys: u64) -> Duration {
    let dir = directory();
    let path = dir.path().join("data");
    let mut times: Vec<_> = (0..OPENINGS)
        .map(|life| {
            fill(&path, if life == 0 { keys } else { 10 }, "killed");
            let began = Instant::now();
            let limiter = open(&path, keys * 5 / 4, Mapping::Automatic);
            let limit = limiter.limit("api").expect("it is there");
            assert!(limit.check("somebody").is_allowed());
            let took = began.elapsed();
            assert_eq!(limiter.health().opened, Opened::Kept);
            assert!(limit.usage(&key(keys - 1)).used() > 0, "it is known");
            took
        })
        .collect();
    times.sort_unstable();
    times[OPENINGS / 2]
}

fn rebuilt(keys: u64) -> Duration {
    let dir = directory();
    let path = dir.path().join("data");
    fill(&path, keys, "closed");
    std::fs::remove_dir_all(path.join("table")).expect("the table lies there");
    let began = Instant::now();
    let limiter = open(&path, keys * 5 / 4, Mapping::DataDirectory);
    let limit = limiter.limit("api").expect("it is there");
    assert!(limit.check("somebody").is_allowed());
    let took = began.elapsed();
    assert!(matches!(limiter.health().opened, Opened::SetAside { .. }));
    assert!(
        (0..keys).all(|number| limit.usage(&key(number)).used() == 1),
        "all of them"
    );
    took
}
