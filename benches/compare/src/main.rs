//! Tollgate beside its peers, in one run: prints the tables of the README as Markdown.
//!
//!     cargo run --release --manifest-path benches/compare/Cargo.toml            about ten minutes
//!     cargo run --release --manifest-path benches/compare/Cargo.toml -- --quick  about one
//!
//! All of a row take turns, round by round, on the same keys in the same order, so that whatever
//! else the machine does falls on all of them. A cell is the median round; its spread is half the
//! distance between the quartiles. Everybody must admit and refuse as many, or the program fails.

mod cost;
mod keys;
mod latency;
mod memory;
mod peers;
mod rounds;
mod written;

use std::time::Instant;

use keys::{Keys, Order};
use peers::{DashMapByHand, Governor, Limitador, Peer, Quota, Ratelimit, Throttlecrab, Tollgate};
use rounds::{Rounds, row};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some(memory::CHILD) {
        return memory::child(arguments);
    }
    let is_quick = first.as_deref() == Some("--quick");
    let began = Instant::now();
    println!("{}", machine());
    in_memory(is_quick);
    latency::table(is_quick);
    memory::table(is_quick);
    written::table(is_quick);
    cost::tables(is_quick);
    println!("\ntook {} s", began.elapsed().as_secs());
}

/// What it ran on, and the versions of all who took part.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let lock = include_str!("../Cargo.lock");
    let names = "governor ratelimit throttlecrab limitador dashmap sled redb rusqlite redis tokio";
    let version = |name: &str| {
        let after = lock.split(&format!("name = \"{name}\"\nversion = \"")).nth(1)?;
        Some(format!("{name} {}", after.split('"').next()?))
    };
    let versions: Vec<_> = names.split(' ').filter_map(version).collect();
    format!(
        "{model}, {cores} cores, Linux {}, load {load} at the start; tollgate {}, {}",
        kernel.trim(),
        env!("CARGO_PKG_VERSION"),
        versions.join(", ")
    )
}

/// One row of the table of limiters.
struct Row {
    name: &'static str,
    quota: Quota,
    keys: usize,
    order: Order,
    threads: usize,
    /// Whether all peers take part, or governor alone.
    all: bool,
    batch: bool,
}

fn in_memory(is_quick: bool) {
    let plenty = Quota { count: 10_000_000, period_secs: 86_400 };
    let hot = Quota { count: 1_000_000_000, period_secs: 3_600 };
    let resting = Quota { count: 1_000_000_000, period_secs: 1 };
    let closed = Quota { count: 2, period_secs: 86_400 };
    let large = if is_quick { 100_000 } else { 1_000_000 };
    let huge = if is_quick { 200_000 } else { 10_000_000 };
    let base = Row {
        name: "",
        quota: plenty,
        keys: 1,
        order: Order::Uniform,
        threads: 1,
        all: true,
        batch: false,
    };
    let mut rows = vec![Row { name: "one hot key", quota: hot, ..base }];
    for threads in [1, 2] {
        let base = Row { threads, ..base };
        rows.extend([
            Row { name: "10,000 keys", keys: 10_000, ..base },
            Row { name: "many keys, Zipf 0.99", keys: large, order: Order::Zipf, ..base },
            Row { name: "most keys, uniform", keys: huge, all: false, ..base },
        ]);
    }
    rows.extend([
        Row {
            name: "10,000 buckets at rest: the exact clock",
            quota: resting,
            keys: 10_000,
            all: false,
            ..base
        },
        Row { name: "refusals, one hot key", quota: closed, threads: 2, ..base },
        Row {
            name: "16 keys at once, Zipf 0.99",
            keys: large,
            order: Order::Zipf,
            all: false,
            batch: true,
            ..base
        },
        Row { name: "16 keys at once, uniform", keys: huge, all: false, batch: true, ..base },
    ]);
    println!("\n### Limiters in memory, and Tollgate with its journal on\n");
    println!("Nanoseconds a check, median and spread; ratio to governor.\n");
    println!("| keys | threads | Tollgate | ratio | governor | others |");
    println!("|---|---|---|---|---|---|");
    let (mut lost, rounds) = (Vec::new(), if is_quick { 5 } else { 21 });
    for row in &rows {
        if let Some(name) = measure(row, rounds) {
            lost.push(name);
        }
    }
    println!("\nTollgate is not the fastest at: {}.", or_none(&lost));
}

fn or_none(names: &[String]) -> String {
    match names.is_empty() {
        true => "none of these".into(),
        false => names.join("; "),
    }
}

/// Prints a row; gives its name if a peer was faster.
fn measure(of: &Row, rounds: usize) -> Option<String> {
    let keys = Keys::new(of.keys);
    let mut peers: Vec<Box<dyn Peer>> = vec![
        Box::new(Tollgate::new(of.quota, of.keys, of.batch)),
        Box::new(Governor::new(of.quota)),
    ];
    if of.all {
        peers.push(Box::new(Ratelimit::new(of.quota)));
        peers.push(Box::new(DashMapByHand::new(of.quota)));
    }
    // Bound: with more keys these take microseconds a check, and the run would take an hour.
    if of.all && of.keys <= 10_000 {
        peers.push(Box::new(Throttlecrab::new(of.quota)));
        peers.push(Box::new(Limitador::new(of.quota)));
    }
    let block = if of.keys > 50_000 { 100_000 } else { 20_000 };
    let rounds = Rounds { rounds, threads: of.threads, block };
    let found = row(&peers, &keys, of.order, &rounds);
    let [ours, theirs, others @ ..] = &found[..] else {
        return None;
    };
    let ratio = ours.median / theirs.median;
    let name = format!("{}, {} of them", of.name, of.keys);
    let others: Vec<_> = others.iter().map(|other| format!("{} {other}", other.name)).collect();
    println!(
        "| {name} | {} | {ours} | **{ratio:.2}** | {theirs} | {} |",
        of.threads,
        others.join(", ")
    );
    let is_lost = found.iter().any(|other| other.median < ours.median);
    is_lost.then_some(name)
}
