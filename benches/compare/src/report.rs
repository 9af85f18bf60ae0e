//! What is told: printed as it is found, and, if that is wanted, written to the files that show it.

use std::fmt::{Display, Write};
use std::path::{Path, PathBuf};

use crate::rounds::Figure;

/// Between these the README has the table of goals.
const BEGIN: &str = "<!-- what follows is written by benches/compare -->";
const END: &str = "<!-- what came before is written by benches/compare -->";

/// The headings under which lines are gathered.
#[derive(Default)]
pub struct Report {
    text: String,
    goals: Vec<Goal>,
    /// Where Tollgate was not the fastest.
    lost: Vec<String>,
}

/// What was to be reached: at most so many times the other's.
struct Goal {
    scenario: String,
    ours: String,
    theirs: String,
    found: f64,
    most: f64,
}

impl Report {
    pub fn say(&mut self, line: impl Display) {
        println!("{line}");
        let _ = writeln!(self.text, "{line}");
    }

    /// Begins a table: a title, a sentence, the names of its columns.
    pub fn table(&mut self, title: &str, what: &str, columns: &[&str]) {
        self.say(format!("\n### {title}\n"));
        if !what.is_empty() {
            self.say(format!("{what}\n"));
        }
        self.say(format!("| {} |", columns.join(" | ")));
        self.say(format!("|{}", "---|".repeat(columns.len())));
    }

    pub fn row(&mut self, cells: &[&dyn Display]) {
        let cells: Vec<_> = cells.iter().map(ToString::to_string).collect();
        self.say(format!("| {} |", cells.join(" | ")));
    }

    /// Notes how `ours` stands to `theirs`, of which it was to take at most `most` times as much.
    pub fn goal(&mut self, scenario: impl Into<String>, ours: &Figure, theirs: &Figure, most: f64) {
        self.goals.push(Goal {
            scenario: scenario.into(),
            ours: format!("{:.0} ns", ours.median),
            theirs: format!("{} {:.0} ns", theirs.name, theirs.median),
            found: ours.median / theirs.median,
            most,
        });
    }

    /// The same of anything that is measured, in `unit`.
    pub fn goal_of(
        &mut self,
        scenario: &str,
        unit: &str,
        ours: f64,
        theirs: (&str, f64),
        most: f64,
    ) {
        let (name, theirs) = theirs;
        self.goals.push(Goal {
            scenario: scenario.to_owned(),
            ours: format!("{ours:.1} {unit}"),
            theirs: format!("{name} {theirs:.1} {unit}"),
            found: ours / theirs,
            most,
        });
    }

    /// Of all who took part Tollgate, the first, was not the fastest at this.
    pub fn compare(&mut self, scenario: &str, found: &[Figure]) {
        let [ours, others @ ..] = found else { return };
        if others.iter().any(|other| other.median < ours.median) {
            self.lost.push(scenario.to_owned());
        }
    }

    /// The goals, met and missed, as a table.
    fn goals(&self) -> String {
        let mut text = String::from("| scenario | Tollgate | beside | times | goal | |\n");
        text.push_str("|---|---|---|---|---|---|\n");
        for goal in &self.goals {
            let Goal {
                scenario,
                ours,
                theirs,
                found,
                most,
            } = goal;
            let verdict = if found <= most { "" } else { "**missed**" };
            let _ = writeln!(
                text,
                "| {scenario} | {ours} | {theirs} | {found:.3} | {most:.3} | {verdict} |"
            );
        }
        let lost = match self.lost.is_empty() {
            true => "none of the rows".to_owned(),
            false => self.lost.join("; "),
        };
        let _ = write!(text, "\nTollgate is not the fastest at: {lost}.");
        text
    }

    /// Ends with the goals; writes all of it below `root` if that is wanted.
    pub fn end(mut self, machine: &str, root: Option<PathBuf>) -> std::io::Result<()> {
        let goals = self.goals();
        self.say(format!("\n### What was to be reached\n\n{goals}"));
        let Some(root) = root else { return Ok(()) };
        let head = "# Figures\n\nWritten by `cargo run --release --manifest-path \
                    benches/compare/Cargo.toml -- --write`.\n\n";
        std::fs::write(
            root.join("benches/FIGURES.md"),
            format!("{head}{}", self.text),
        )?;
        let plot =
            "![ns a check by the number of keys, Tollgate and governor](benches/plots/keys.svg)";
        put_between(
            &root.join("README.md"),
            &format!("{machine}\n\n{goals}\n\n{plot}"),
        )
    }
}

/// Replaces what stands between the two marks of `path`.
fn put_between(path: &Path, text: &str) -> std::io::Result<()> {
    let old = std::fs::read_to_string(path)?;
    let marks = old.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{BEGIN}\n{text}\n{END}{after}"))
    });
    let new =
        marks.ok_or_else(|| std::io::Error::other(format!("no marks in {}", path.display())))?;
    std::fs::write(path, new)
}
