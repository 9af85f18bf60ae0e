//! Tollgate beside its peers, in one run: prints its tables as Markdown.
//!
//!     cargo run --release --manifest-path benches/compare/Cargo.toml            four minutes
//!     cargo run --release --manifest-path benches/compare/Cargo.toml -- --quick  one
//!     cargo run --release --manifest-path benches/compare/Cargo.toml -- --write  and the files
//!
//! With `--write` the goals go into the README, all tables into `benches/FIGURES.md`, and two plots
//! into `benches/plots`. Words after these name the tables that are wanted, if not all.
//!
//! All of a row take turns, round by round, on the same keys in the same order, so that whatever
//! else the machine does falls on all of them. Turns of limiters and stores are as long for each
//! in time, not in checks. A cell is the median round; its spread is half the distance between the
//! quartiles. All must refuse nobody, or admit as many, or the program fails.

mod answer;
mod contention;
mod cost;
mod insert;
mod keys;
mod latency;
mod limiters;
mod machine;
mod memory;
mod peers;
mod permits;
mod plot;
mod report;
mod restart;
mod rounds;
mod written;

use std::path::{Path, PathBuf};
use std::time::Instant;

use report::Report;

/// What all tables are made by.
pub struct Plan {
    /// Fewer keys and rounds: that it runs, not how fast.
    pub is_quick: bool,
    /// Where plots are drawn.
    pub plots: Option<PathBuf>,
}

impl Plan {
    /// Rounds of a row.
    pub fn rounds(&self) -> usize {
        if self.is_quick { 3 } else { 11 }
    }

    /// The one or the other.
    pub fn pick<T>(&self, quick: T, full: T) -> T {
        if self.is_quick { quick } else { full }
    }
}

type Table = fn(&Plan, &mut Report);

const TABLES: &[(&str, Table)] = &[
    ("limiters", limiters::table),
    ("contention", contention::table),
    ("answer", answer::table),
    ("latency", latency::table),
    ("insert", insert::table),
    ("memory", memory::table),
    ("restart", restart::tables),
    ("permits", permits::table),
    ("written", written::table),
    ("cost", cost::tables),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    let child = match arguments.first().map(String::as_str) {
        Some(memory::CHILD) => Some(memory::child as fn(&[String])),
        Some(restart::CHILD) => Some(restart::child as fn(&[String])),
        _ => None,
    };
    if let Some(child) = child {
        child(&arguments[1..]);
        return Ok(());
    }
    let mut has = |flag| {
        let before = arguments.len();
        arguments.retain(|argument| argument != flag);
        arguments.len() < before
    };
    let (is_quick, writes) = (has("--quick"), has("--write"));
    let unknown = |name: &&String| TABLES.iter().all(|(known, _)| known != *name);
    if let Some(name) = arguments.iter().find(unknown) {
        let names: Vec<_> = TABLES.iter().map(|(name, _)| *name).collect();
        return Err(format!("{name}: --quick, --write, {}", names.join(", ")).into());
    }
    if writes && !arguments.is_empty() {
        return Err("what is written is all of it: no names beside --write".into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = writes.then_some(root);
    let plots = root.as_ref().map(|root| root.join("benches/plots"));
    plots.as_ref().map_or(Ok(()), std::fs::create_dir_all)?;
    let plan = Plan { is_quick, plots };
    let (began, mut report) = (Instant::now(), Report::default());
    let machine = machine::machine();
    report.say(&machine);
    for (name, table) in TABLES {
        if arguments.is_empty() || arguments.iter().any(|wanted| wanted == name) {
            let began = Instant::now();
            table(&plan, &mut report);
            eprintln!("{name} took {:.1} s", began.elapsed().as_secs_f64());
        }
    }
    report.end(&machine, root)?;
    println!("\ntook {} s", began.elapsed().as_secs());
    Ok(())
}
