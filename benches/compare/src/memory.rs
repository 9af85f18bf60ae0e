//! What a counter takes: resident memory, and what lies on the disk. Each in a process of its own.

use std::process::Command;

use tollgate::{Limiter, Mapping, Policy};

use crate::Plan;
use crate::peers::{DashMapByHand, Governor, Peer, Quota, directory};
use crate::report::Report;

/// The argument that makes the program measure one, and no more.
pub const CHILD: &str = "--memory-of";

const QUOTA: Quota = Quota::LASTING;

pub fn table(plan: &Plan, report: &mut Report) {
    let count = plan.pick("200000", "10000000");
    let title = format!("Bytes a counter, {count} of them, keys of 24 bytes");
    report.table(&title, "", &["", "resident", "of it on the disk"]);
    let mut found = Vec::new();
    for name in ["Tollgate, journal on", "governor", "DashMap by hand"] {
        let program = std::env::current_exe().expect("it runs");
        let child = Command::new(program).args([CHILD, name, count]).output();
        let out = child.expect("it starts").stdout;
        let out = String::from_utf8_lossy(&out);
        let (resident, on_disk) = out.trim().split_once(' ').expect("two numbers");
        report.row(&[&name, &resident, &on_disk]);
        found.push(resident.parse::<f64>().expect("a number"));
    }
    let scenario = format!("bytes a counter in memory, {count}");
    report.goal_of(
        &scenario,
        "bytes",
        found[0],
        ("the goal itself:", 26.0),
        1.0,
    );
    report.goal_of(&scenario, "bytes", found[0], ("governor", found[1]), 1.0);
}

/// Bytes of this process that are in memory, mapped files among them.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.map_or(0, |kilobytes| kilobytes * 1_024)
}

pub fn child(arguments: &[String]) {
    let [name, count] = arguments else {
        panic!("whose, and how many?")
    };
    let count: usize = count.parse().expect("a number");
    match name.as_str() {
        "governor" => map(&Governor::new(QUOTA), count),
        "DashMap by hand" => map(&DashMapByHand::new(QUOTA), count),
        _ => ours(count),
    }
}

/// Checks keys that are gone as soon as they were asked for, as a service's are.
fn fill(count: usize, mut check: impl FnMut(&String)) {
    for number in 0..count {
        check(&format!("user-{number:019}"));
    }
}

fn map(peer: &dyn Peer, count: usize) {
    let before = resident();
    fill(count, |key| {
        peer.run(std::slice::from_ref(key), &[0]);
    });
    println!("{:.1} 0", (resident() - before) as f64 / count as f64);
}

fn ours(count: usize) {
    let dir = directory();
    let before = resident();
    let policy = "[limits.api]\nrate = \"1000/day\"\nkey = \"user\"";
    let limiter = Limiter::builder(Policy::from_toml(policy).expect("it is sound"));
    // In the directory, so that what is told to lie on the disk is all of it.
    let limiter = limiter
        .counters(count as u64)
        .mapping(Mapping::DataDirectory);
    let limiter = limiter.open(dir.path().join("data")).expect("it opens");
    let api = limiter.limit("api").expect("it is there");
    fill(count, |key| assert!(api.check(key).is_allowed()));
    let memory = (resident() - before) as f64 / count as f64;
    limiter.flush().expect("the disk takes it");
    let disk = bytes_below(&dir.path().join("data")) as f64 / count as f64;
    println!("{memory:.1} {disk:.1}");
}

fn bytes_below(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}
