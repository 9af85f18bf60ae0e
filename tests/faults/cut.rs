//! The power goes before every single call that changes a directory: the marks, the header and the
//! names of files as well as the journal and the ceilings.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tollgate::{Limiter, Mapping, Policy, Request};

use crate::shim::{Faults, Plan, Survival, cut_power, errno, finish, kind, on_failing_disk};
use crate::world::noon;

const STEP: &str = "TOLLGATE_FAULTS_STEP";
const SIGKILL: i32 = 9;
const SURVIVALS: [Survival; 4] = [
    Survival::Nothing,
    Survival::All,
    Survival::Half,
    Survival::Holes,
];
/// What changes what is on the disk.
const CHANGES: i64 =
    kind::WRITE | kind::SYNC | kind::SIZE | kind::RENAME | kind::REMOVE | kind::MAKE;

/// What the strict limit admits in all, and what it reserves.
const STRICT: u64 = 12;
const RESERVE: u64 = 3;
const USER: &str = "alice";
const POLICY: &str = r#"
    [limits.logged]
    rate = "1000/day"
    algorithm = "fixed window"
    key = "user"

    [limits.strict]
    rate = "12/day"
    algorithm = "fixed window"
    durability = "strict"
    reserve = 3
"#;

fn open(data: &Path) -> Limiter {
    Limiter::builder(Policy::from_toml(POLICY).unwrap())
        .counters(100)
        .mapping(Mapping::DataDirectory)
        .clock(noon())
        .interval(Duration::from_secs(3600))
        .open(data)
        .unwrap_or_else(|error| panic!("{}: {error}", data.display()))
}

fn take(limiter: &Limiter) -> bool {
    limiter
        .check(&Request::new().attribute("user", USER))
        .is_allowed()
}

fn used(limiter: &Limiter) -> [u64; 2] {
    let usage = limiter.usage(&Request::new().attribute("user", USER));
    ["logged", "strict"].map(|name| {
        let limit = usage.limits().find(|limit| limit.name() == name);
        limit.unwrap().used()
    })
}

/// Both limits take five times, the first three of which are flushed.
#[test]
#[ignore = "is started by the tests below, in a process to be killed"]
fn cut_life() {
    let (Some(faults), Ok(step)) = (Faults::inside(), std::env::var(STEP)) else {
        return;
    };
    let mut told = Teller(
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(faults.safe("told"))
            .unwrap(),
    );
    faults.plan(Plan {
        from: step.parse().unwrap(),
        ..Plan::all(CHANGES, errno::KILL)
    });
    let limiter = open(&faults.path("data"));
    for number in 1..=5 {
        told.tell("begun");
        assert!(take(&limiter));
        told.tell("admitted");
        if number == 3 {
            limiter.flush().unwrap();
            told.tell("durable");
        }
    }
    limiter.set_override("logged", &[USER], "2000/day").unwrap();
    told.tell("overridden");
    limiter.close().unwrap();
    told.tell("durable");
}

struct Teller(File);

impl Teller {
    fn tell(&mut self, what: &str) {
        self.0.write_all(format!("{what}\n").as_bytes()).unwrap();
    }
}

/// What the lives of a directory said.
#[derive(Default, Debug)]
struct Told {
    begun: u64,
    admitted: u64,
    durable: u64,
    is_overridden: bool,
}

impl Told {
    fn read(path: &Path) -> Self {
        let mut told = Self::default();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            match line {
                "begun" => told.begun += 1,
                "admitted" => told.admitted += 1,
                "durable" => told.durable = told.admitted,
                "overridden" => told.is_overridden = true,
                _ => unreachable!("{line}"),
            }
        }
        told
    }

    /// What is found after the cut is what was promised, and the strict limit admits no more.
    fn judge(&self, image: &Path, what: &str) {
        // Row W10: what a cut leaves is sound. But this disk keeps nothing that is mapped.
        let report = tollgate::doctor::examine(image).unwrap();
        let mut findings = report.findings.iter();
        let is_sound = findings.all(|found| found.path == image.join("table"));
        assert!(is_sound, "{what}: {report}");
        let limiter = open(image);
        let what = format!("{what}: {self:?} {:?}", limiter.health());
        let [logged, strict] = used(&limiter);
        assert!(
            (self.durable..=self.begun).contains(&logged),
            "{logged}: {what}"
        );
        let bounds = self.admitted..=self.begun + RESERVE;
        assert!(bounds.contains(&strict), "{strict}: {what}");
        let overrides = limiter.overrides().len();
        assert!(!self.is_overridden || overrides == 1, "{what}");
        let more = (0..=STRICT).filter(|_| take(&limiter)).count() as u64;
        assert!(self.admitted + more <= STRICT, "{more} more: {what}");
        assert!(self.begun + RESERVE + more >= STRICT, "{more} more: {what}");
        limiter.flush().unwrap();
        limiter.close().unwrap();
    }
}

/// Runs a life that is killed before that step; true if it came to its end instead. None where
/// there can be no failing disk.
fn run(scratch: &TempDir, step: u64) -> Option<bool> {
    let mut command = on_failing_disk("cut::cut_life", scratch, "")?;
    let ended = finish(command.env(STEP, step.to_string()));
    let text = String::from_utf8_lossy(&ended.stderr);
    let was_killed = ended.status.signal() == Some(SIGKILL);
    assert!(was_killed || ended.status.success(), "step {step}: {text}");
    Some(!was_killed)
}

/// Cuts the power before the first change, the second, and so on, in the first life of a directory
/// or in its second: how many states were looked at.
fn each_cut(is_second: bool) -> Option<u64> {
    let mut states = 0;
    for step in 1.. {
        let scratch = crate::common::scratch();
        fs::create_dir(scratch.path().join("under")).unwrap();
        // Never: so many changes there are not.
        if is_second {
            assert!(run(&scratch, u64::MAX >> 1)?);
        }
        let is_whole = run(&scratch, step)?;
        let told = Told::read(&scratch.path().join("told"));
        let data = scratch.path().join("under/data");
        for survival in SURVIVALS.into_iter().filter(|_| data.exists()) {
            let image = scratch.path().join("image");
            cut_power(scratch.path(), survival, &data, &image);
            told.judge(&image, &format!("step {step}, {survival:?}"));
            states += 1;
        }
        if is_whole {
            break;
        }
    }
    Some(states)
}

#[test]
fn power_cut_before_each_change_of_a_first_life_keeps_what_was_promised() {
    if let Some(states) = each_cut(false) {
        println!("{states} states");
        assert!(states > 200, "{states}");
    }
}

#[test]
fn power_cut_before_each_change_of_a_second_life_keeps_what_was_promised() {
    if let Some(states) = each_cut(true) {
        println!("{states} states");
        assert!(states > 100, "{states}");
    }
}
