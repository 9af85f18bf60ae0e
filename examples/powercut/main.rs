//! A worker for rigs that cut the power or kill, and its judge.
//!
//! `work DIR` checks from several threads, on limits of every durability, and prints what it is
//! about to do and what it has done; `verify DIR` opens what was left and holds it against what was
//! printed. So a count is bounded from both sides, and a loss in time as well.
//!
//! ```text
//! opening                   a limiter that was closed is about to be opened again
//! found THREAD COUNT...     what each limit counted for THREAD when it was
//! opened HOW NANOS          it is open
//! begin THREAD N            THREAD is about to ask for the Nth time in this opening
//! done THREAD N NANOS       it was admitted, for the Nth time
//! took POT                  a pot, a small strict limit that all lives empty, admitted
//! left LIMIT COUNT...       what each raced key of a strict limit counted when it was opened
//! race N LIMIT KEY LOW MOST threads are about to race on a key: takes that are kept, refunded or
//!                           settled, and resets; meanwhile it counts something between the two
//! raced LIMIT KEY LOW HIGH  that race is over
//! flushed N... RACE         so many takes of each thread, and all races up to that one, are
//!                           durable, `flush` says
//! durable NANOS             everything done before is durable, `health` says
//! late MILLIS               nothing has become durable for so long, and no trouble was told
//! closing                   the limiter is about to be closed
//! closed                    it was, clean
//! killed                    a process was killed; the kernel lives on
//! ERR WHY                   something was refused, with its reason
//! ```
//!
//! `POWERCUT_PLAN` says what a worker does until the end: `run`, `close` (open and close in turn),
//! or `kill` (lets itself be killed and starts again); unsaid, it draws one.
//! `POWERCUT_TABLE` says where the table lies: `data` for the data directory, or the path of a
//! directory in memory; of several, separated by commas, every opening draws one. Unsaid, the
//! limiter chooses. `POWERCUT_STRICT=none` leaves the strict limits alone, whose writes make
//! others' durable as well. `POWERCUT_DRIVE=fails` keeps the doctor from being asked, who finds
//! nothing wrong otherwise. `POWERCUT_LOSS=reported` lets a loss pass that the limiter tells of.

mod judge;
mod race;
mod ranges;
mod story;
mod work;

use std::path::Path;
use std::process::ExitCode;

use tollgate::{Limiter, Mapping, Policy};

/// Threads that take, each on a key of its own.
const THREADS: usize = 4;
/// What a pot admits in all its lives.
const POT: u64 = 400;
/// What the strict limit may count too much after a cut.
const RESERVATION: u64 = 50;

/// Keys of each strict limit that threads race on.
const RACED_KEYS: usize = 12;
/// What these limits may count too much after a cut.
const RACED_RESERVATION: u64 = 30;

/// A strict limit that threads race on.
struct Raced {
    name: &'static str,
    /// What may have flowed back meanwhile.
    refill: u64,
}

const RACED: [Raced; 5] = [
    raced("raced-bucket", 2),
    raced("raced-window", 0),
    raced("raced-first", 0),
    raced("raced-calendar", 0),
    raced("raced-sliding", 0),
];

const fn raced(name: &'static str, refill: u64) -> Raced {
    Raced { name, refill }
}

/// What a limit remembers over a cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Keeps {
    /// Nothing that it must.
    Nothing,
    /// All but the last interval.
    Durable,
    /// All, and it may count a reservation more.
    Everything,
}

/// A limit that every take is charged to.
struct Charged {
    name: &'static str,
    keeps: Keeps,
    /// What may have flowed back meanwhile.
    refill: u64,
}

const LIMITS: [Charged; 5] = [
    charged("quota", Keeps::Durable, 0),
    // One token comes back in five minutes.
    charged("bucket", Keeps::Durable, 2),
    charged("sliding", Keeps::Durable, 0),
    charged("memory", Keeps::Nothing, 0),
    charged("strict", Keeps::Everything, 0),
];

const fn charged(name: &'static str, keeps: Keeps, refill: u64) -> Charged {
    Charged {
        name,
        keeps,
        refill,
    }
}

/// Counts that no run comes near, in windows that no run sees the end of.
const POLICY: &str = r#"
    [limits.quota]
    rate = "1000000000 per 3000 days"
    algorithm = "fixed window"
    key = "thread"
    when_key_missing = "skip"

    [limits.bucket]
    rate = "1000000 per 3000 days"
    key = "thread"
    when_key_missing = "skip"

    [limits.sliding]
    rate = "1000000000 per 3000 days"
    algorithm = "sliding window"
    key = "thread"
    when_key_missing = "skip"

    [limits.memory]
    rate = "1000000000 per 3000 days"
    algorithm = "fixed window"
    durability = "memory"
    key = "thread"
    when_key_missing = "skip"

    [limits.strict]
    rate = "1000000000 per 3000 days"
    algorithm = "fixed window"
    durability = "strict"
    reserve = 50
    key = "strict"
    when_key_missing = "skip"

    [limits.pot]
    rate = "400 per 3000 days"
    algorithm = "fixed window"
    durability = "strict"
    reserve = 30
    key = "pot"
    when_key_missing = "skip"

    [limits.raced-bucket]
    rate = "1000000 per 3000 days"
    durability = "strict"
    reserve = 30
    key = "raced"
    when_key_missing = "skip"

    [limits.raced-window]
    rate = "1000000000 per 3000 days"
    algorithm = "fixed window"
    durability = "strict"
    reserve = 30
    key = "raced"
    when_key_missing = "skip"

    [limits.raced-first]
    rate = "8000000 per 3000 days"
    algorithm = "fixed window from first hit"
    durability = "strict"
    reserve = 30
    key = "raced"
    when_key_missing = "skip"

    [limits.raced-calendar]
    rate = "1000000000/month"
    algorithm = "calendar"
    durability = "strict"
    reserve = 30
    key = "raced"
    when_key_missing = "skip"

    [limits.raced-sliding]
    rate = "1000000000 per 3000 days"
    algorithm = "sliding window"
    durability = "strict"
    reserve = 30
    key = "raced"
    when_key_missing = "skip"
"#;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (result, sign) = match arguments[..] {
        ["work", dir] => (work::work(Path::new(dir)), "ERR"),
        [work::LIFE, dir, parent] => (work::life(Path::new(dir), parent), "ERR"),
        ["verify", dir] => (judge::verify(Path::new(dir)), "FAIL"),
        _ => (Err("usage: powercut work DIR | verify DIR".into()), "FAIL"),
    };
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("{sign} {why}");
            ExitCode::FAILURE
        }
    }
}

fn open(dir: &Path) -> Result<Limiter, String> {
    let policy = Policy::from_toml(POLICY).map_err(|faults| faults.to_string())?;
    Limiter::builder(policy)
        .counters(10_000)
        .mapping(mapping())
        .open(dir.join("limiter"))
        .map_err(text)
}

/// Where the table is to lie this time.
fn mapping() -> Mapping {
    let Ok(places) = std::env::var("POWERCUT_TABLE") else {
        return Mapping::Automatic;
    };
    let places: Vec<&str> = places.split(',').collect();
    let drawn = (now() / 1_000) % places.len() as u64;
    match usize::try_from(drawn).map_or("data", |drawn| places[drawn]) {
        "data" => Mapping::DataDirectory,
        path => Mapping::Under(path.into()),
    }
}

/// True if strict limits are not to be asked.
fn leaves_strict_alone() -> bool {
    std::env::var("POWERCUT_STRICT").is_ok_and(|strict| strict == "none")
}

/// What every limit counts for `thread`, in the order of [`LIMITS`].
fn counts(limiter: &Limiter, thread: usize) -> Result<Vec<u64>, String> {
    let count = |charged: &Charged| {
        let limit = limiter.limit(charged.name).map_err(text)?;
        Ok(limit.usage(thread.to_string().as_str()).used())
    };
    LIMITS.iter().map(count).collect()
}

/// What a strict limit that threads race on counts for a key.
fn raced_count(limiter: &Limiter, limit: usize, key: usize) -> Result<u64, String> {
    let limit = limiter.limit(RACED[limit].name).map_err(text)?;
    Ok(limit.usage(key.to_string().as_str()).used())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Nanoseconds of the system's monotonic clock: the same for every process until the next boot.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
