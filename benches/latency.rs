//! A check on a logged limit beside the same check on a memory limit, in one run, while the journal
//! is busy: how much more it takes, and the percentiles of both.
//!
//!     cargo bench --bench latency
//!     cargo bench --bench latency -- --test      once around, to see that it runs
//!
//! Both limits stand in one table. Blocks of checks on the one and on the other take turns, so that
//! whatever else the machine does falls on both. The median block gives the ratio; a second pass
//! times each check, and there the clock's own time (told at the end) is part of it.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tollgate::{Limit, Limiter, Policy};

const POLICY: &str = r#"
    [limits.logged]
    rate = "1000000000/h"
    durability = "logged"
    key = "user"

    [limits.memory]
    rate = "1000000000/h"
    durability = "memory"
    key = "user"

    [limits.background]
    rate = "1000000000/h"
    durability = "logged"
    key = "user"
"#;

/// Checks in a block.
const BLOCK: usize = 1_000;
/// Keys that another thread changes once an interval, so that there is always something to write.
const BACKGROUND: usize = 20_000;

/// Keys of 24 bytes.
fn keys(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("user-{number:019}"))
        .collect()
}

/// An order that no cache can guess, the same in every run.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Draws one key after another.
struct Draw<'a> {
    keys: &'a [String],
    state: u64,
}

impl Draw<'_> {
    fn key(&mut self) -> &str {
        let pick = next(&mut self.state) % self.keys.len() as u64;
        &self.keys[usize::try_from(pick).expect("it is below a length")]
    }

    /// A block's keys, drawn before it is timed.
    fn block(&mut self) -> Vec<String> {
        (0..BLOCK).map(|_| self.key().to_owned()).collect()
    }
}

fn check_all(limit: &Limit, keys: &[String]) -> Duration {
    let began = Instant::now();
    for key in keys {
        black_box(limit.check(key).is_allowed());
    }
    began.elapsed()
}

fn check_each(limit: &Limit, keys: &[String], times: &mut Histogram<u64>) {
    for key in keys {
        let began = Instant::now();
        black_box(limit.check(key).is_allowed());
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        times.saturating_record(nanos);
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order")
}

fn show(name: &str, times: &Histogram<u64>) {
    let at = |quantile| times.value_at_quantile(quantile);
    println!(
        "  {name}  p50 {} ns  p99 {} ns  p99.9 {} ns  max {} us",
        at(0.5),
        at(0.99),
        at(0.999),
        times.max() / 1_000
    );
}

/// Nanoseconds a check in the median block.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e9 / BLOCK as f64
}

/// Nanoseconds a check on average, without the thousandth that took longest: those were
/// interrupted.
fn mean(times: &Histogram<u64>) -> f64 {
    let most = times.value_at_quantile(0.999);
    let recorded = times.iter_recorded();
    let (mut sum, mut number) = (0, 0);
    for step in recorded.take_while(|step| step.value_iterated_to() <= most) {
        sum += step.value_iterated_to() * step.count_at_value();
        number += step.count_at_value();
    }
    sum as f64 / number as f64
}

fn measure(limiter: &Limiter, count: usize, blocks: usize) {
    let limit = |name| limiter.limit(name).expect("a limit");
    let limits = [limit("logged"), limit("memory")];
    let keys = keys(count);
    for limit in &limits {
        check_all(limit, &keys);
    }
    let written = limiter.health().writing.written;
    let state = 0x9E37_79B9_7F4A_7C15;
    let mut draw = Draw { keys: &keys, state };
    let mut blocks_of = [Vec::new(), Vec::new()];
    for _ in 0..blocks {
        for (limit, times) in limits.iter().zip(&mut blocks_of) {
            let keys = draw.block();
            times.push(check_all(limit, &keys));
        }
    }
    let mut each = [histogram(), histogram()];
    for _ in 0..blocks {
        for (limit, times) in limits.iter().zip(&mut each) {
            let keys = draw.block();
            check_each(limit, &keys, times);
        }
    }
    let written = limiter.health().writing.written - written;
    let [logged, memory] = blocks_of.map(median);
    println!(
        "{count} keys: logged {logged:.1} ns, memory {memory:.1} ns, logged / memory {:.3}, by the \
         mean of single checks {:.3}; {written} words written meanwhile",
        logged / memory,
        mean(&each[0]) / mean(&each[1])
    );
    show("logged", &each[0]);
    show("memory", &each[1]);
}

/// What timing alone takes.
fn clock() -> Histogram<u64> {
    let mut times = histogram();
    for _ in 0..100_000 {
        let began = Instant::now();
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        times.saturating_record(nanos.max(1));
    }
    times
}

fn main() {
    let is_brief = std::env::args().any(|argument| argument == "--test");
    let blocks = if is_brief { 20 } else { 3_000 };
    let counts: &[usize] = if is_brief {
        &[1, 1_000]
    } else {
        &[1, 10_000, 100_000, 1_000_000]
    };
    // Beside the build, so on a disk: with the journal in memory nothing would be busy.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let limiter = Limiter::builder(Policy::from_toml(POLICY).expect("the policy is sound"))
        .counters(4_000_000)
        .open(dir.path().join("data"))
        .expect("it opens");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let limit = limiter.limit("background").expect("a limit");
            let keys = keys(BACKGROUND);
            while !stop.load(Ordering::Relaxed) {
                check_all(&limit, &keys);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        for count in counts {
            measure(&limiter, *count, blocks);
        }
        stop.store(true, Ordering::Relaxed);
    });
    show("the clock alone", &clock());
    limiter.close().expect("it closes");
}
