//! New keys, from one thousand to ten million, while the table grows; beside the same keys in a
//! table that was as large from the start.
//!
//!     cargo bench --bench growth
//!     cargo bench --bench growth -- --test       a hundredth of it, to see that it runs
//!
//! Two threads bring new keys, and now and then ask for one that they brought before. Each check is
//! timed; there the clock's own time, some 20 ns, is part of it. A block is 16,384 new keys in a
//! row of one thread, without the making of the keys; on a busy machine its second line counts,
//! what the thread had of a processor.

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tollgate::{Growth, Limit, Limiter, Policy};

/// A limit that nothing is written for: what is measured is the table.
const POLICY: &str = r#"
    [limits.each]
    rate = "10/day"
    durability = "memory"
    key = "user"
"#;

const FIRST: u64 = 1_000;
const THREADS: u64 = 2;
const BLOCK: u64 = 16_384;
/// After so many new keys one is asked for that is known.
const KNOWN_EVERY: u64 = 4;

struct Times {
    new: Histogram<u64>,
    known: Histogram<u64>,
    blocks: Vec<Duration>,
    /// The processor's time that the same blocks took, with the making of their keys.
    worked: Vec<Duration>,
}

impl Times {
    fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("in order");
        Self {
            new: histogram(),
            known: histogram(),
            blocks: Vec::new(),
            worked: Vec::new(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.new.add(&other.new).expect("the same bounds");
        self.known.add(&other.known).expect("the same bounds");
        self.blocks.extend(&other.blocks);
        self.worked.extend(&other.worked);
    }
}

/// A key of 24 bytes.
fn write_key(key: &mut String, number: u64) {
    key.clear();
    write!(key, "user-{number:019}").expect("a string takes everything");
}

/// What this thread has had of a processor: on a busy machine the rest is others' time.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn check(limit: &Limit, key: &str, times: &mut Histogram<u64>) -> Duration {
    let began = Instant::now();
    black_box(limit.check(key).is_allowed());
    let took = began.elapsed();
    times.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    took
}

/// Brings every key of `numbers`.
fn bring(limit: &Limit, numbers: impl Iterator<Item = u64>) -> Times {
    let mut times = Times::new();
    let (mut block, mut in_block) = (Duration::ZERO, 0);
    let mut key = String::new();
    let mut worked = processor_time();
    for number in numbers {
        write_key(&mut key, number);
        block += check(limit, &key, &mut times.new);
        in_block += 1;
        if in_block == BLOCK {
            times.blocks.push(block);
            (block, in_block) = (Duration::ZERO, 0);
            let now = processor_time();
            times.worked.push(now - worked);
            worked = now;
        }
        if number % KNOWN_EVERY < THREADS {
            // Half of what there is was brought before it, by this thread or the other.
            write_key(&mut key, number / 2);
            check(limit, &key, &mut times.known);
        }
    }
    times
}

fn show(name: &str, times: &Histogram<u64>) {
    let at = |quantile| times.value_at_quantile(quantile);
    println!(
        "  {name}  mean {:.0} ns  p50 {}  p99 {}  p99.9 {} ns  max {} us",
        times.mean(),
        at(0.5),
        at(0.99),
        at(0.999),
        times.max() / 1_000
    );
}

fn show_blocks(name: &str, mut blocks: Vec<Duration>) {
    blocks.sort_unstable();
    let at = |part: usize| blocks.get(blocks.len() * part / 100).copied();
    println!(
        "  {name} median {:.2?}  p99 {:.2?}  worst {:.2?}",
        at(50).unwrap_or_default(),
        at(99).unwrap_or_default(),
        blocks.last().copied().unwrap_or_default()
    );
}

fn run(name: &str, keys: u64, at_first: u64) -> Growth {
    let dir = tempfile::tempdir().expect("a directory");
    let limiter = Limiter::builder(Policy::from_toml(POLICY).expect("the policy is sound"))
        .counters(keys)
        .counters_at_first(at_first)
        .open(dir.path().join("data"))
        .expect("it opens");
    let limit = limiter.limit("each").expect("a limit");
    bring(&limit, 0..FIRST);
    let slots = limiter.health().slots;
    let mut times = Times::new();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let limit = &limit;
        let threads = (0..THREADS).map(|thread| {
            let numbers = (FIRST + thread..keys).step_by(THREADS as usize);
            scope.spawn(move || bring(limit, numbers))
        });
        let threads: Vec<_> = threads.collect();
        for thread in threads {
            times.add(&thread.join().expect("it ends"));
        }
    });
    let took = began.elapsed();
    let health = limiter.health();
    println!(
        "{name}: {keys} keys in {took:.2?}, {slots} slots at first, {} then, {} shards replaced, \
         {} checks without a slot, table in {}",
        health.slots, health.growth.grown, health.newcomers_without_slot, health.placement
    );
    show("new keys  ", &times.new);
    show("known keys", &times.known);
    show_blocks("blocks     ", times.blocks);
    show_blocks("  processor", times.worked);
    health.growth
}

fn main() {
    let is_brief = std::env::args().any(|argument| argument == "--test");
    let keys = if is_brief { 100_000 } else { 10_000_000 };
    let rounds = if is_brief { 1 } else { 3 };
    for _ in 0..rounds {
        let growth = run("grown         ", keys, FIRST);
        assert!(growth.grown > 0, "{growth:?}");
        run("from the start", keys, keys);
    }
}
