//! What a life does until it is killed.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollgate::{Limiter, ManualClock, Mapping, Opened, Policy, Request, Timestamp};

/// Threads of a life.
pub(crate) const THREADS: usize = 4;
/// What a pot admits in all lives together.
pub(crate) const POT: u64 = 40;
/// Limits that every check is charged to.
pub(crate) const LIMITS: [&str; 3] = ["window", "sliding", "bucket"];

/// What the lives on one directory have in common.
#[derive(Debug)]
pub(crate) struct Plan {
    /// In turns, for the limits and the pot.
    durabilities: Vec<&'static str>,
    pub(crate) interval: Duration,
    /// The table lies in the data directory and elsewhere in turns, life by life.
    pub(crate) moves: bool,
    /// The table begins as small as there is one, and is filled all the time.
    pub(crate) grows: bool,
}

impl Plan {
    pub(crate) fn of(durabilities: &[&'static str]) -> Self {
        Self {
            durabilities: durabilities.to_vec(),
            interval: Duration::from_millis(5),
            moves: false,
            grows: false,
        }
    }

    /// As the text that [`Plan::parse`] takes.
    pub(crate) fn line(&self) -> String {
        let words = self.durabilities.join(" ");
        let micros = self.interval.as_micros();
        format!("{micros} {} {} {words}", self.moves, self.grows)
    }

    fn parse(line: &str) -> Self {
        let mut words = line.split(' ');
        let micros = words.next().unwrap().parse().unwrap();
        let moves = words.next().unwrap().parse().unwrap();
        let grows = words.next().unwrap().parse().unwrap();
        let known = |word| {
            *super::DURABILITIES
                .iter()
                .find(|known| **known == word)
                .unwrap()
        };
        Self {
            durabilities: words.map(known).collect(),
            interval: Duration::from_micros(micros),
            moves,
            grows,
        }
    }

    /// Windows that no run sees the end of, limits that no run comes near, and the pots.
    fn policy(&self) -> Policy {
        let limits = [
            ("window", "1000000000", "fixed window", "key"),
            ("sliding", "1000000000", "sliding window", "key"),
            ("bucket", "1000000", "token bucket", "key"),
            ("pot", "40", "fixed window", "pot"),
        ];
        let durabilities = self.durabilities.iter().cycle();
        let texts = limits.iter().zip(durabilities).map(|(limit, durability)| {
            let (name, amount, algorithm, key) = limit;
            format!(
                "[limits.{name}]\nrate = \"{amount} per 3000 days\"\nalgorithm = \"{algorithm}\"\n\
                 key = \"{key}\"\nwhen_key_missing = \"skip\"\ndurability = \"{durability}\"\n"
            )
        });
        Policy::from_toml(&texts.collect::<String>()).unwrap()
    }
}

/// Opens the directory, in a life of this number. Its time stands still, so that buckets are exact,
/// too.
pub(crate) fn open(plan: &Plan, data: &Path, life: u64) -> Limiter {
    let mapping = if plan.moves && !life.is_multiple_of(2) {
        Mapping::Under(data.with_file_name("elsewhere"))
    } else {
        Mapping::DataDirectory
    };
    let clock = ManualClock::new(Timestamp::from_secs(1_760_009_400));
    Limiter::builder(plan.policy())
        .counters(if plan.grows { 4_000_000 } else { 100_000 })
        .counters_at_first(if plan.grows { 1 } else { 100_000 })
        .clock(clock)
        .interval(plan.interval)
        .mapping(mapping)
        .open(data)
        .unwrap()
}

pub(crate) fn take(limiter: &Limiter, key: &str) {
    let decision = limiter.check(&Request::new().attribute("key", key));
    assert!(decision.is_allowed(), "{key}: {decision}");
}

/// What each limit counts for a key.
pub(crate) fn counts(limiter: &Limiter, key: &str) -> [u64; LIMITS.len()] {
    LIMITS.map(|limit| limiter.limit(limit).unwrap().usage(key).used())
}

fn pot(limiter: &Limiter, pot: &str) -> u64 {
    limiter.limit("pot").unwrap().usage(pot).used()
}

/// A pipe that is written a line a system call, from any thread.
struct Out(File);

impl Out {
    fn say(&self, line: &str) {
        (&self.0).write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// Lives as its surroundings say, if they say anything.
pub(crate) fn live() {
    let variable = |name| std::env::var(name).ok();
    let Some(data) = variable("TOLLGATE_CRASH_DATA").map(PathBuf::from) else {
        return;
    };
    let plan = Plan::parse(&variable("TOLLGATE_CRASH_PLAN").unwrap());
    let number: u64 = variable("TOLLGATE_CRASH_LIFE").unwrap().parse().unwrap();
    let fd = std::io::stdout().as_fd().try_clone_to_owned().unwrap();
    let out = Out(File::from(fd));
    // The test harness has left a line half written.
    out.say("");
    match variable("TOLLGATE_CRASH_DO").unwrap().as_str() {
        "take" => take_for_ever(&plan, &data, number, &out),
        "open" => {
            let limiter = open(&plan, &data, number);
            out.say("opened");
            std::thread::sleep(Duration::from_secs(600));
            drop(limiter);
        }
        looks => look(&plan, &data, number, looks == "flush", &out),
    }
}

fn take_for_ever(plan: &Plan, data: &Path, life: u64, out: &Out) {
    // Every third life closes and opens in turn, so that the kill falls there as well.
    let most = if life.is_multiple_of(3) { 30 } else { u64::MAX };
    for session in 0_u64.. {
        let limiter = open(plan, data, life + session);
        out.say("opened");
        let pot = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let taker = Taker {
                    limiter: &limiter,
                    out,
                    pot: &pot,
                    name: format!("{life}.{session}.{thread}"),
                    own: format!("own.{thread}"),
                };
                scope.spawn(move || (0..most).for_each(|turn| taker.turn(turn)));
            }
            if plan.grows {
                scope.spawn(|| fill(&limiter, life + session, most));
            }
        });
        limiter.close().unwrap();
    }
}

/// Fills the table with keys that nobody is told of.
fn fill(limiter: &Limiter, name: u64, turns: u64) {
    let limit = limiter.limit("window").unwrap();
    for number in 0..turns.saturating_mul(1_000) {
        let outcome = limit.check(&format!("filler.{name}.{number}"));
        assert!(outcome.is_allowed(), "{outcome:?}");
    }
}

struct Taker<'a> {
    limiter: &'a Limiter,
    out: &'a Out,
    /// The pot that all threads empty.
    pot: &'a AtomicU64,
    name: String,
    own: String,
}

impl Taker<'_> {
    /// A key of this life, its own key of all lives, and now and then a pot.
    fn turn(&self, turn: u64) {
        let fresh = format!("{}.{}", self.name, turn / 4);
        for key in [&fresh, &self.own] {
            self.out.say(&format!("begin {key}"));
            take(self.limiter, key);
            self.out.say(&format!("done {key}"));
        }
        if !turn.is_multiple_of(4) {
            return;
        }
        // Ordering: relaxed; it only says where to try first.
        let number = self.pot.load(Ordering::Relaxed);
        let pots = self.limiter.limit("pot").unwrap();
        self.out.say(&format!("ask {number}"));
        if pots.check(number.to_string().as_str()).is_allowed() {
            self.out.say(&format!("took {number}"));
        } else {
            self.out.say(&format!("spent {number}"));
            self.pot.fetch_max(number + 1, Ordering::Relaxed);
        }
    }
}

/// Says what is counted for every key in the file beside the directory, and waits to be killed, or
/// closes when its input ends.
fn look(plan: &Plan, data: &Path, life: u64, is_flushed: bool, out: &Out) {
    let limiter = open(plan, data, life);
    let opened = limiter.health().opened;
    let is_kept = matches!(opened, Opened::New | Opened::Clean | Opened::Kept);
    assert!(is_kept, "after a kill: {opened}");
    for line in std::fs::read_to_string(data.with_file_name("keys"))
        .unwrap()
        .lines()
    {
        let text = match line.split_once(' ') {
            Some(("pot", number)) => format!("pot {number} {}", pot(&limiter, number)),
            _ => {
                let counts = counts(&limiter, line).map(|count| count.to_string());
                format!("count {line} {}", counts.join(" "))
            }
        };
        out.say(&text);
    }
    if is_flushed {
        limiter.flush().unwrap();
    }
    out.say("looked");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    limiter.close().unwrap();
}
