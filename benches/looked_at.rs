//! Checks at full speed while somebody looks by `tollgate top` and `health`, beside checks while
//! nobody does, in one run.
//!
//!     cargo bench --bench looked_at
//!     cargo bench --bench looked_at -- --test      once around, to see that it runs
//!
//! Spans with and without take turns, so that whatever else the machine does falls on both. In the
//! one, a connection to the control socket asks for everything ten times a second, ten times as
//! often as `tollgate top` does. Each check is timed, and the clock's own time is part of it.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tollgate::control::Connection;
use tollgate::{Limiter, Policy};

const POLICY: &str = r#"
    [limits.per-user]
    rate = "1000000000/h"
    key = "user"
"#;
const KEYS: usize = 10_000;
/// How long looking goes on being counted after the last look, and a little.
const FORGOTTEN: Duration = Duration::from_millis(5_500);

fn main() {
    let is_brief = std::env::args().any(|argument| argument == "--test");
    let (rounds, span) = match is_brief {
        true => (1, Duration::from_millis(200)),
        false => (5, Duration::from_secs(4)),
    };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let data = dir.path().join("data");
    let policy = Policy::from_toml(POLICY).expect("the policy is sound");
    let limiter = Limiter::open(&data, policy).expect("it opens");
    let limit = limiter.limit("per-user").expect("a limit");
    let keys: Vec<_> = (0..KEYS).map(|key| format!("user-{key:019}")).collect();
    let is_looked_at = AtomicBool::new(false);
    let ends = AtomicBool::new(false);
    let mut times = [histogram(), histogram()];
    let mut place = 0_usize;
    let mut looks = 0;
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut connection = Connection::open(&data)
                .expect("it listens")
                .expect("it is open");
            let mut looks = 0_u64;
            while !ends.load(Ordering::Relaxed) {
                if is_looked_at.load(Ordering::Relaxed) {
                    connection.call("top", "{}").expect("it answers");
                    connection.call("health", "{}").expect("it answers");
                    looks += 1;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            looks
        });
        for _ in 0..rounds {
            for (looked_at, times) in [false, true].into_iter().zip(&mut times) {
                is_looked_at.store(looked_at, Ordering::Relaxed);
                if !looked_at && !is_brief {
                    std::thread::sleep(FORGOTTEN);
                }
                let begun = Instant::now();
                while begun.elapsed() < span {
                    for _ in 0..1_000 {
                        place = (place + 7_919) % KEYS;
                        let began = Instant::now();
                        black_box(limit.check(keys[place].as_str()));
                        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                        times.saturating_record(nanos.max(1));
                    }
                }
            }
        }
        ends.store(true, Ordering::Relaxed);
        looks = looking.join().expect("it looks");
    });
    for (name, times) in ["nobody looks", "looked at"].into_iter().zip(&times) {
        let [half, most, p999] = [0.5, 0.99, 0.999].map(|part| times.value_at_quantile(part));
        println!(
            "{name}: p50 {half} ns, p99 {most} ns, p99.9 {p999} ns, mean {:.1} ns of {} checks",
            times.mean(),
            times.len()
        );
    }
    let [without, with] = times.each_ref().map(|times| times.value_at_quantile(0.999));
    #[expect(clippy::cast_precision_loss, reason = "a ratio to be read")]
    let ratio = with as f64 / without as f64;
    println!("p99.9 looked at / not: {ratio:.3}; {looks} looks");
    limiter.close().expect("it closes");
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1_000_000_000, 3).expect("the bounds are sound")
}
