//! A worker for rigs that cut the power, and its judge.
//!
//! `work DIR` checks from several threads, on logged and on memory limits, and prints what it has
//! done; `verify DIR` opens what a cut has left and holds it against what was printed. The first
//! line of an operation is printed before it, the second after it, each with the monotonic time:
//! so a count is bounded from both sides, and the loss in time as well.
//!
//! ```text
//! begin THREAD N NANOS      take number N of thread THREAD is about to be asked for
//! done  THREAD N NANOS      it was admitted
//! flushed NANOS             everything done before this line is durable
//! ```

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;

use tollgate::{Limiter, Policy, Request};

const THREADS: u64 = 4;
/// What a power cut may make a logged limit forget: the interval, and what a slow drive adds while
/// one batch is written.
const LAG_NANOS: u64 = 100_000_000 + 1_500_000_000;
const POLICY: &str = r#"
    [limits.quota]
    rate = "1000000000/month"
    algorithm = "calendar"
    key = "thread"

    [limits.bucket]
    rate = "100000/day"
    key = "thread"

    [limits.brief]
    rate = "1000000/s"
    algorithm = "fixed window"
    key = "thread"
"#;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["work", dir] => work(Path::new(dir)),
        ["verify", dir] => verify(Path::new(dir)),
        _ => Err("usage: powercut work DIR | verify DIR".into()),
    };
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("FAIL {why}");
            ExitCode::FAILURE
        }
    }
}

fn open(dir: &Path) -> Result<Limiter, String> {
    let policy = Policy::from_toml(POLICY).map_err(|faults| faults.to_string())?;
    let limiter = Limiter::builder(policy)
        .counters(10_000)
        .open(dir.join("limiter"));
    limiter.map_err(|error| error.to_string())
}

/// Nanoseconds of the system's monotonic clock: the same for every process until the next boot.
fn now() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let secs = text
        .split_whitespace()
        .next()
        .and_then(|word| word.parse::<f64>().ok());
    // Hundredths of a second are all that the file tells, and all that is needed.
    (secs.unwrap_or(0.0) * 100.0).round() as u64 * 10_000_000
}

fn say(out: &Mutex<std::io::Stdout>, line: &str) -> Result<(), String> {
    let mut out = out.lock().map_err(|_| "a thread panicked")?;
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())
}

fn work(dir: &Path) -> Result<String, String> {
    let limiter = open(dir)?;
    let out = Mutex::new(std::io::stdout());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (limiter, out) = (&limiter, &out);
                scope.spawn(move || take_for_ever(limiter, out, thread))
            })
            .collect();
        let flusher = scope.spawn(|| {
            loop {
                std::thread::sleep(std::time::Duration::from_millis(37));
                if limiter.flush().is_ok() {
                    say(&out, &format!("flushed {}", now()))?;
                }
            }
        });
        let results = threads.into_iter().chain([flusher]);
        let results: Vec<Result<(), String>> = results
            .map(|thread| thread.join().map_err(|_| "a thread panicked")?)
            .collect();
        results.into_iter().collect::<Result<Vec<()>, String>>()
    })?;
    Ok("ended by itself".into())
}

fn take_for_ever(
    limiter: &Limiter,
    out: &Mutex<std::io::Stdout>,
    thread: u64,
) -> Result<(), String> {
    let name = thread.to_string();
    let quota = limiter.limit("quota").map_err(|error| error.to_string())?;
    // Goes on from what it finds, so that several lives count in one.
    for number in quota.usage(&name).used() + 1.. {
        say(out, &format!("begin {thread} {number} {}", now()))?;
        if !limiter
            .check(&Request::new().attribute("thread", &name))
            .is_allowed()
        {
            return Err(format!("thread {thread} was refused at {number}"));
        }
        say(out, &format!("done {thread} {number} {}", now()))?;
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    Ok(())
}

/// What was printed, of all lives.
#[derive(Default)]
struct Printed {
    /// By thread: the last take begun.
    begun: HashMap<u64, u64>,
    /// By thread: takes done, with their times.
    done: HashMap<u64, Vec<(u64, u64)>>,
    last_nanos: u64,
    flushed: Option<HashMap<u64, u64>>,
}

impl Printed {
    fn read(variable: &str) -> Result<Self, String> {
        let path = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let mut printed = Self::default();
        for line in text.lines() {
            printed.take(line);
        }
        Ok(printed)
    }

    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let numbers: Vec<u64> = words
            .iter()
            .skip(1)
            .filter_map(|word| word.parse().ok())
            .collect();
        match (words.first().copied(), &numbers[..]) {
            (Some("begin"), &[thread, number, nanos]) => {
                self.begun.insert(thread, number);
                self.last_nanos = nanos;
            }
            (Some("done"), &[thread, number, nanos]) => {
                let done = self.done.entry(thread).or_default();
                // A life that began lower than the last ended has forgotten the rest.
                done.retain(|(before, _)| *before < number);
                done.push((number, nanos));
                self.last_nanos = nanos;
            }
            (Some("flushed"), &[nanos]) => {
                self.last_nanos = nanos;
                let last = |done: &Vec<(u64, u64)>| {
                    // Only what was done a hundredth of a second before: lines of several threads
                    // may overtake each other on their way out.
                    let before = done.iter().rev().find(|(_, at)| *at + 60_000_000 < nanos);
                    before.map_or(0, |(number, _)| *number)
                };
                let all = self.done.iter().map(|(thread, done)| (*thread, last(done)));
                self.flushed = Some(all.collect());
            }
            _ => {}
        }
    }
}

fn verify(dir: &Path) -> Result<String, String> {
    let acknowledged = Printed::read("POWERCUT_ACKS")?;
    let seen = Printed::read("POWERCUT_SEEN")?;
    let nothing_lost = std::env::var("POWERCUT_RIG").is_ok_and(|rig| rig == "kill");
    let limiter = open(dir)?;
    let quota = limiter.limit("quota").map_err(|error| error.to_string())?;
    let bucket = limiter.limit("bucket").map_err(|error| error.to_string())?;
    for thread in 0..THREADS {
        let name = thread.to_string();
        let found = quota.usage(&name).used();
        let begun = seen.begun.get(&thread).copied().unwrap_or(0);
        if found > begun {
            return Err(format!(
                "thread {thread}: {found} counted, only {begun} begun"
            ));
        }
        let done = acknowledged.done.get(&thread).cloned().unwrap_or_default();
        let is_due = |at: u64| nothing_lost || at + LAG_NANOS < seen.last_nanos;
        let due = done
            .iter()
            .rev()
            .find(|(_, at)| is_due(*at))
            .map_or(0, |(number, _)| *number);
        let flushed = acknowledged
            .flushed
            .as_ref()
            .and_then(|all| all.get(&thread))
            .copied();
        let least = due.max(flushed.unwrap_or(0));
        if found < least {
            return Err(format!("thread {thread}: {found} counted, {least} must be"));
        }
        // The bucket refills at about one a second, so it may show a little less.
        let in_bucket = bucket.usage(&name).used();
        if in_bucket + 300 < found.min(90_000) {
            return Err(format!(
                "thread {thread}: {in_bucket} in the bucket of {found}"
            ));
        }
    }
    let health = limiter.health();
    println!("{}; {:?}", health.opened, health.recovery);
    limiter.close().map_err(|error| error.to_string())?;
    Ok("PASS".into())
}
