//! Instructions of a check, counted by callgrind, beside those that `figures.toml` states: a
//! guard that a busy machine does not disturb.
//!
//!     cargo run --release --manifest-path benches/instructions/Cargo.toml
//!     cargo run --release --manifest-path benches/instructions/Cargo.toml -- --record
//!
//! Fails if a figure is off by more than the stated margin, whichever way: what became cheaper is
//! to be recorded as well, or it could be lost again unseen. Counted is the thread that checks, and
//! of it only what is between entering and leaving [`scenario::counted`].

mod figures;
mod scenario;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use figures::Figures;
use scenario::SCENARIOS;

/// The argument that makes the program live through one scenario, and no more.
const CHILD: &str = "--scenario";

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, Failure> {
    let mut arguments = std::env::args().skip(1);
    let records = match arguments.next().as_deref() {
        None => false,
        Some("--record") => true,
        Some(CHILD) => {
            let name = arguments.next().ok_or("which scenario?")?;
            scenario::run(&name);
            return Ok(ExitCode::SUCCESS);
        }
        Some(other) => return Err(format!("{other}: --record, or nothing").into()),
    };
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("SKIPPED instruction counts: valgrind is not installed");
        return Ok(ExitCode::SUCCESS);
    }
    let mut figures = Figures::read()?;
    let (mut is_good, margin) = (true, figures.margin());
    println!("{}", figures.terms());
    println!("| | instructions | stated | |\n|---|---|---|---|");
    for one in SCENARIOS {
        let found = count(one.name)? as f64 / one.checks as f64;
        let stated = figures.of(one.name);
        if records {
            figures.record(one.name, found);
        }
        let verdict = match stated {
            Some(stated) if (found / stated - 1.0).abs() <= margin => "as stated",
            Some(stated) if found > stated => "MORE",
            Some(_) => "LESS: to be recorded",
            None => "NOT STATED",
        };
        is_good &= verdict == "as stated";
        let stated = stated.map_or("-".to_owned(), |stated| format!("{stated:.1}"));
        println!("| {} | {found:.1} | {stated} | {verdict} |", one.name);
    }
    for name in figures.unknown() {
        println!("{name} is stated, and there is no such scenario");
        is_good = false;
    }
    if records {
        figures.write()?;
        println!("{} figures recorded", SCENARIOS.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} scenarios counted", SCENARIOS.len());
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the scenario under callgrind; gives the instructions within [`scenario::counted`].
fn count(name: &str) -> Result<u64, Failure> {
    let program = std::env::current_exe()?;
    let folder = program
        .parent()
        .ok_or("the program lies in no folder")?
        .join("callgrind");
    std::fs::create_dir_all(&folder)?;
    let to = folder.join(name.replace(' ', "-"));
    let child = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*scenario::counted*"])
        .arg(format!("--callgrind-out-file={}", to.display()))
        .arg(&program)
        .args([CHILD, name])
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !child.status.success() {
        let said = String::from_utf8_lossy(&child.stderr);
        return Err(format!("{name}: {}\n{said}", child.status).into());
    }
    sum(&to)
        .ok_or_else(|| format!("{name}: callgrind counted nothing, see {}", to.display()).into())
}

/// The sum at the end of what callgrind wrote; nothing if it is zero.
fn sum(path: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let sums = text
        .lines()
        .filter_map(|line| line.strip_prefix("totals: "));
    sums.filter_map(|sum| sum.trim().parse().ok())
        .next_back()
        .filter(|sum| *sum > 0)
}
