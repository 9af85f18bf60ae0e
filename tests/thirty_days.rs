//! Thirty simulated days of daily quotas, with a restart and a rebuild each day: what the journal
//! takes on the disk, in memory and in time must not grow with its age.
//!
//! A small run is part of the suite. The full one, on a real disk, prints its figures:
//!
//!     cargo test --release --test thirty_days -- --ignored --nocapture

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tollgate::{Limiter, ManualClock, Mapping, Opened, Policy, Timestamp};

const POLICY: &str = r#"
    [limits.quota]
    rate = "1000000/day"
    algorithm = "calendar"
    key = "user"
"#;

const DAYS: u64 = 30;
/// Below this size a journal is never renewed, and one that stays in use is soon after.
const FLOOR_BYTES: u64 = 64 << 20;

/// How much happens on one day.
struct Load {
    keys: u64,
    /// So often each key is used; each time all of them, then a flush.
    uses: u64,
}

/// What was seen on one day.
#[derive(Debug)]
struct Day {
    /// The most that the journal's folder took, in bytes.
    disk: u64,
    /// The generation that counted in the evening.
    generation: u64,
    /// The most folders of generations at a time.
    folders: usize,
    /// Opening with the table kept, and until the journal was open too.
    open: Duration,
    journal_open: Duration,
    /// Opening with the table lost, and what of it was the reading of the journal.
    rebuild: Duration,
    reading: Duration,
    words_read: u64,
    /// Memory of the process that is in no file, in bytes.
    memory: u64,
}

fn open(path: &Path, keys: u64, clock: &ManualClock) -> Limiter {
    Limiter::builder(Policy::from_toml(POLICY).unwrap())
        .counters(2 * keys)
        .mapping(Mapping::DataDirectory)
        .clock(clock.clone())
        .open(path)
        .unwrap()
}

/// Bytes below a folder; what goes away meanwhile counts for nothing.
fn bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return fs::metadata(path).map_or(0, |meta| meta.len());
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| bytes(&entry.path()))
        .sum()
}

/// The numbers of the generations in a journal's folder.
fn generations(journal: &Path) -> Vec<u64> {
    let names = fs::read_dir(journal).unwrap().filter_map(Result::ok);
    let names = names.map(|entry| entry.file_name().into_string().unwrap());
    names
        .filter_map(|name| name.split('.').next()?.parse().ok())
        .collect()
}

fn memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    kilobytes.unwrap().parse::<u64>().unwrap() << 10
}

fn name(key: u64) -> String {
    format!("user-{key:08}")
}

/// Uses every key, notes the most that is on the disk, and closes.
fn use_all(limiter: &Limiter, journal: &Path, load: &Load, day: &mut Day) {
    let quota = limiter.limit("quota").unwrap();
    for _ in 0..load.uses {
        for key in 0..load.keys {
            assert!(quota.check(name(key).as_str()).is_allowed());
        }
        limiter.flush().unwrap();
        day.disk = day.disk.max(bytes(journal));
        day.folders = day.folders.max(generations(journal).len());
    }
    limiter.close().unwrap();
}

fn verify(limiter: &Limiter, load: &Load) {
    let quota = limiter.limit("quota").unwrap();
    for key in 0..load.keys {
        assert_eq!(quota.usage(name(key).as_str()).used(), load.uses);
    }
}

fn simulate(data: &Path, load: &Load, mut told: impl FnMut(u64, &Day)) -> Vec<Day> {
    let clock = ManualClock::new(Timestamp::from_secs(1_760_000_400));
    let journal = data.join("journal");
    let mut days = Vec::new();
    let mut limiter = open(data, load.keys, &clock);
    for number in 1..=DAYS {
        let mut day = Day {
            disk: 0,
            generation: 0,
            folders: 0,
            open: Duration::ZERO,
            journal_open: Duration::ZERO,
            rebuild: Duration::ZERO,
            reading: Duration::ZERO,
            words_read: 0,
            memory: 0,
        };
        use_all(&limiter, &journal, load, &mut day);
        drop(limiter);

        let began = Instant::now();
        limiter = open(data, load.keys, &clock);
        day.open = began.elapsed();
        limiter.flush().unwrap();
        day.journal_open = began.elapsed();
        assert_eq!(limiter.health().opened, Opened::Clean);
        verify(&limiter, load);
        limiter.close().unwrap();
        drop(limiter);

        fs::remove_dir_all(data.join("table")).unwrap();
        let began = Instant::now();
        limiter = open(data, load.keys, &clock);
        day.rebuild = began.elapsed();
        let recovery = limiter.health().recovery;
        assert_eq!(recovery.troubles, [""; 0]);
        assert_eq!((recovery.counters, recovery.damaged), (load.keys, 0));
        (day.reading, day.words_read) = (recovery.took, recovery.words);
        verify(&limiter, load);
        day.generation = generations(&journal).into_iter().max().unwrap();
        day.memory = memory_bytes();
        told(number, &day);
        days.push(day);
        clock.advance(Duration::from_secs(86_400));
    }
    limiter.close().unwrap();
    days
}

/// Whatever its age: bounded on the disk, in what is to be read of it, and in memory.
fn assert_flat(days: &[Day], load: &Load, renewals: u64) {
    let renewed = days.last().unwrap().generation - 1;
    assert!(renewed >= renewals, "{renewed} renewals: nothing was shown");
    let a_day = load.keys * load.uses;
    for day in days {
        // Two generations, while the next one is made, and one day's growth beyond the floor.
        assert!(day.disk < 2 * FLOOR_BYTES + 2 * 40 * a_day, "{day:?}");
        assert!(day.folders <= 3, "{day:?}");
        // A word takes 16 bytes and more.
        assert!(day.words_read < FLOOR_BYTES / 16 + a_day, "{day:?}");
    }
    // One process opens all the journals of the month, each on a thread of its own, and what a
    // thread has freed the allocator keeps: this levels off, and does not go back.
    let memory = days.last().unwrap().memory;
    assert!(memory < 8 * FLOOR_BYTES, "{memory} bytes of memory");
}

#[test]
fn a_month_of_few_keys_stays_flat() {
    let dir = common::scratch();
    let load = Load {
        keys: 2_000,
        uses: 45,
    };
    let days = simulate(&dir.path().join("data"), &load, |_, _| ());
    assert_flat(&days, &load, 1);
}

#[test]
#[ignore = "takes minutes, on a disk; prints its figures"]
fn a_month_of_a_hundred_thousand_keys() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let load = Load {
        keys: 100_000,
        uses: 5,
    };
    println!(
        "day | journal MB | generation | open ms | until the journal is open ms | rebuild ms | \
         of it reading ms | words read | memory MB"
    );
    let days = simulate(&dir.path().join("data"), &load, |number, day| {
        println!(
            "{number} | {:.1} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {:.0}",
            day.disk as f64 / 1e6,
            day.generation,
            day.open.as_secs_f64() * 1e3,
            day.journal_open.as_secs_f64() * 1e3,
            day.rebuild.as_secs_f64() * 1e3,
            day.reading.as_secs_f64() * 1e3,
            day.words_read,
            day.memory as f64 / 1e6
        );
    });
    assert_flat(&days, &load, 5);
}
