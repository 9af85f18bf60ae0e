//! What the doctor says of directories that were killed, moved, copied or damaged: nothing is wrong
//! in what is sound, and each kind of damage is found.
//!
//! `TOLLGATE_SOUND=10000 cargo test --release --all-features --test sound -- --nocapture` looks at
//! so many; the ordinary run at a few. `TOLLGATE_SEED` repeats the choices of a run, not its
//! timing.
//! What a power cut leaves is looked at in `tests/faults/cut.rs`, and by the rig's worker.

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod life;
mod reset;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use life::Plan;
use tollgate::doctor::{self, Report};

/// Draws numbers that a seed repeats.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    fn new() -> Self {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let given = std::env::var("TOLLGATE_SEED").ok();
        let seed = given.map_or(u64::from(since.subsec_nanos()), |seed| {
            seed.parse().unwrap()
        });
        println!("TOLLGATE_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn next(&mut self) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// How many directories are looked at.
fn count() -> usize {
    let said = std::env::var("TOLLGATE_SOUND").ok();
    said.map_or(40, |count| count.parse().unwrap())
}

/// A directory with a history.
struct World {
    dir: tempfile::TempDir,
    data: PathBuf,
    moves: usize,
    /// What was done to it.
    history: Vec<String>,
}

impl World {
    fn new() -> Self {
        let dir = common::scratch();
        let under = dir.path().join("memory");
        fs::create_dir(&under).unwrap();
        // Nobody else is to write there.
        common::make_private(&under);
        Self {
            data: dir.path().join("data"),
            dir,
            moves: 0,
            history: Vec::new(),
        }
    }

    /// A life in a process of its own, killed at some instant or closed.
    fn live(&mut self, dice: &mut Dice) {
        let under = [PathBuf::new(), self.dir.path().join("memory")];
        let plan = Plan {
            data: self.data.clone(),
            under: under[dice.below(2)].clone(),
            seed: dice.next(),
            closes: dice.below(3) == 0,
        };
        let (name, line) = plan.line();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["a_life", "--exact", "--include-ignored", "--nocapture"])
            .env(name, &line)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        // From its very start, or from when it is open.
        if dice.below(2) == 0 {
            lines.find(|line| line == "opened");
        }
        if !plan.closes {
            std::thread::sleep(Duration::from_micros(dice.below(60_000) as u64));
            process.kill().unwrap();
        }
        lines.for_each(drop);
        let ended = process.wait().unwrap();
        assert!(!plan.closes || ended.success(), "{line}");
        self.history.push(line);
    }

    /// Moved, copied, or left where it is; its table in memory may be lost.
    fn go(&mut self, dice: &mut Dice) {
        if !self.data.exists() {
            return;
        }
        self.moves += 1;
        let to = self.dir.path().join(format!("data{}", self.moves));
        let what = dice.below(6);
        match what {
            0 => fs::rename(&self.data, &to).unwrap(),
            1 => copy(&self.data, &to),
            // As a reboot leaves it.
            2 => {
                let memory = self.dir.path().join("memory");
                fs::remove_dir_all(&memory).unwrap();
                fs::create_dir(&memory).unwrap();
                common::make_private(&memory);
            }
            _ => {}
        }
        if what < 2 {
            self.data = to;
        }
        self.history
            .push(["moved", "copied", "memory lost", "", "", ""][what].into());
    }

    fn examine(&self) -> Option<Report> {
        let is_there = fs::read_dir(&self.data).is_ok_and(|mut all| all.next().is_some());
        is_there.then(|| doctor::examine(&self.data).unwrap())
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

#[test]
#[ignore = "is started by the tests below, in a process to be killed"]
fn a_life() {
    life::live();
}

/// Row W10, and every backup beside it.
#[test]
fn w10_nothing_is_wrong_in_what_is_sound() {
    let mut dice = Dice::new();
    let mut looked = 0;
    while looked < count() {
        let mut world = World::new();
        for _ in 0..1 + dice.below(4) {
            world.live(&mut dice);
            world.go(&mut dice);
            let Some(report) = world.examine() else {
                continue;
            };
            assert!(report.is_healthy(), "{report}\n{:#?}", world.history);
            let repaired = doctor::repair(&world.data).unwrap();
            assert_eq!(repaired.to_string(), report.to_string());
            looked += 1;
        }
        for entry in fs::read_dir(world.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().contains("backup") {
                let report = doctor::examine(&path).unwrap();
                // A kill may leave half of one.
                let is_half = |text: &str| text.contains("was not finished");
                let is_sound = report.findings.iter().all(|found| is_half(&found.what));
                assert!(is_sound, "{report}\n{:#?}", world.history);
                looked += 1;
            }
        }
    }
    println!("{looked} sound directories, and nothing wrong in them");
}

/// Every kind of damage, each in a directory with a history of its own.
#[test]
fn w10_every_planted_damage_is_found() {
    let mut dice = Dice::new();
    let rounds = count().div_ceil(40);
    for _ in 0..rounds {
        for (name, plant) in damage::KINDS {
            let planted = (0..50).any(|_| {
                let mut world = World::new();
                world.live(&mut dice);
                // In half a creation nothing counts yet that could be damaged.
                let before = world.examine().map(|report| report.to_string());
                let counts = before.is_some_and(|text| text.contains("it will be kept"));
                if !counts || !plant(&world.data) {
                    return false;
                }
                let report = doctor::examine(&world.data).unwrap();
                assert!(
                    !report.is_healthy(),
                    "{name}: {report}\n{:#?}",
                    world.history
                );
                true
            });
            assert!(planted, "{name} could never be planted");
        }
    }
    println!(
        "{} kinds of damage, {rounds} of each found",
        damage::KINDS.len()
    );
}
