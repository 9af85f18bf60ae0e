//! Many real threads at once: never more admitted than allowed, and the sums agree.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollgate::{Limiter, ManualClock, Policy, Request, Timestamp};

const THREADS: u64 = 8;

fn open(dir: &tempfile::TempDir, policy: &str, counters: u64) -> (Limiter, ManualClock) {
    let clock = ManualClock::new(Timestamp::from_secs(1_760_000_000));
    let policy = Policy::from_toml(policy).unwrap();
    let builder = Limiter::builder(policy)
        .counters(counters)
        .clock(clock.clone());
    (builder.open(dir.path().join("data")).unwrap(), clock)
}

/// Runs `work` on every thread at once and adds up what it returns.
fn on_all_threads(work: impl Fn(u64) -> u64 + Sync) -> u64 {
    let start = std::sync::Barrier::new(usize::try_from(THREADS).unwrap());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    start.wait();
                    work(thread)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    })
}

#[test]
fn edge_26_a_thousand_of_eight_thousand() {
    let dir = common::scratch();
    let policy = r#"
        [limits.bucket]
        rate = "1000/day"
        key = "run"

        [limits.window]
        rate = "1000/day"
        algorithm = "fixed window"
        key = "run"

        [limits.sliding]
        rate = "1000/day"
        algorithm = "sliding window"
        key = "run"
    "#;
    let (limiter, _) = open(&dir, policy, 10_000);
    for name in ["bucket", "window", "sliding"] {
        let limit = limiter.limit(name).unwrap();
        for run in 0..50 {
            let key = run.to_string();
            let admitted = on_all_threads(|_| {
                (0..1000).filter(|_| limit.check(&key).is_allowed()).count() as u64
            });
            assert_eq!(admitted, 1000, "{name}, run {run}");
            assert_eq!(limit.usage(&key).used(), 1000);
        }
    }
}

#[test]
fn edge_27_all_or_nothing() {
    let dir = common::scratch();
    let policy = r#"
        [limits.hour]
        rate = "1000/h"
        [limits.second]
        rate = "1/s"
    "#;
    let (limiter, _) = open(&dir, policy, 1000);
    let admitted = (0..100)
        .filter(|_| limiter.check(&Request::new()).is_allowed())
        .count();
    assert_eq!(admitted, 1);
    assert_eq!(limiter.limit("hour").unwrap().usage(()).used(), 1);
}

#[test]
fn edge_27_the_sums_agree_under_many_threads() {
    let dir = common::scratch();
    let policy = r#"
        [limits.each]
        rate = "300/day"
        key = "user"
        [limits.all]
        rate = "1000/day"
        [limits.window]
        rate = "700/day"
        algorithm = "fixed window"
    "#;
    let (limiter, _) = open(&dir, policy, 1000);
    let users = ["a", "b", "c", "d"];
    let by_user: Vec<_> = users.iter().map(|_| AtomicU64::new(0)).collect();
    let admitted = on_all_threads(|thread| {
        let mut admitted = 0;
        for turn in 0..400 {
            let who = usize::try_from((thread + turn) % 4).unwrap();
            if limiter
                .check(&Request::new().attribute("user", users[who]))
                .is_allowed()
            {
                by_user[who].fetch_add(1, Ordering::Relaxed);
                admitted += 1;
            }
        }
        admitted
    });
    assert_eq!(admitted, 700, "the tightest of the shared limits");
    assert_eq!(limiter.limit("all").unwrap().usage(()).used(), admitted);
    assert_eq!(limiter.limit("window").unwrap().usage(()).used(), admitted);
    let each = limiter.limit("each").unwrap();
    for (user, count) in users.iter().zip(&by_user) {
        let count = count.load(Ordering::Relaxed);
        assert_eq!(each.usage(*user).used(), count, "{user}");
        assert!(count <= 300);
    }
}

#[test]
fn windows_roll_under_load_and_lose_nothing() {
    let dir = common::scratch();
    let policy = r#"
        [limits.fixed]
        rate = "50/s"
        algorithm = "fixed window"
        [limits.sliding]
        rate = "50/s"
        algorithm = "sliding window"
    "#;
    for name in ["fixed", "sliding"] {
        let dir = tempfile::tempdir_in(dir.path()).unwrap();
        let (limiter, clock) = open(&dir, policy, 1000);
        let limit = limiter.limit(name).unwrap();
        let windows: Vec<_> = (0..50).map(|_| AtomicU64::new(0)).collect();
        let first = clock.now();
        on_all_threads(|thread| {
            for turn in 0..20_000_u64 {
                if thread == 0 && turn % 500 == 0 {
                    clock.advance(Duration::from_secs(1));
                }
                let outcome = limit.check(());
                if outcome.is_allowed() {
                    // The window that the take was counted in, told by its end.
                    let window = outcome.reset_at().since(first).as_secs();
                    windows[usize::try_from(window).unwrap()].fetch_add(1, Ordering::Relaxed);
                }
            }
            0
        });
        let counts: Vec<_> = windows
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        assert!(
            counts.iter().all(|count| *count <= 50),
            "{name}: {counts:?}"
        );
        assert!(
            counts.iter().sum::<u64>() >= 50 * 15,
            "{name} admits in every window: {counts:?}"
        );
    }
}

#[test]
fn new_keys_from_all_threads_get_one_counter_each() {
    let dir = common::scratch();
    let (limiter, _) = open(
        &dir,
        "[limits.each]\nrate = \"5/day\"\nkey = \"user\"",
        20_000,
    );
    let each = limiter.limit("each").unwrap();
    let admitted = on_all_threads(|_| {
        let keys = (0..5000).map(|user| user.to_string());
        keys.filter(|user| each.check(user).is_allowed()).count() as u64
    });
    assert_eq!(admitted, 5 * 5000);
    assert_eq!(limiter.health().newcomers_without_slot, 0);
}

#[test]
fn refunds_and_takes_balance() {
    let dir = common::scratch();
    let policy = "[limits.bucket]\nrate = \"100/day\"\n[limits.window]\nrate = \"100/day\"\n\
                  algorithm = \"fixed window\"";
    let (limiter, _) = open(&dir, policy, 1000);
    let kept = on_all_threads(|thread| {
        let mut kept = 0;
        for turn in 0..2000 {
            let decision = limiter.check(&Request::new());
            if !decision.is_allowed() {
                continue;
            }
            if (thread + turn) % 50 == 0 {
                kept += 1;
            } else {
                limiter.refund(decision);
            }
        }
        kept
    });
    assert_eq!(limiter.limit("bucket").unwrap().usage(()).used(), kept);
    assert_eq!(limiter.limit("window").unwrap().usage(()).used(), kept);
    assert!(kept <= 100 && kept > 50, "{kept}");
}

/// At a window's end every thread takes one while the clock goes over the edge: what the new
/// window counts is what was admitted in it, and nothing is lost or carried over.
#[test]
fn edge_28_no_take_is_lost_where_a_window_rolls() {
    const ROUNDS: u64 = 500;
    for (algorithm, rate, span) in [
        ("fixed window", "1000000/s", 1),
        ("calendar", "1000000/h", 3_600),
    ] {
        let dir = common::scratch();
        let text = format!("[limits.l]\nrate = \"{rate}\"\nalgorithm = \"{algorithm}\"");
        let (limiter, clock) = open(&dir, &text, 1_000);
        let limit = limiter.limit("l").unwrap();
        let last = AtomicU64::new(0);
        let turn = std::sync::Barrier::new(usize::try_from(THREADS).unwrap());
        // No thread may panic before the others are through: they wait for it.
        let wrong = on_all_threads(|thread| {
            let mut wrong = 0;
            for _ in 0..ROUNDS {
                turn.wait();
                if thread == 0 {
                    clock.advance(Duration::from_secs(span));
                }
                let outcome = limit.check(());
                turn.wait();
                // Whoever was before the edge is counted in the window before.
                let now = limit.usage(());
                if now.reset_at() == outcome.reset_at() {
                    last.fetch_add(1, Ordering::SeqCst);
                }
                turn.wait();
                if thread == 0 {
                    let is_right = now.used() == last.swap(0, Ordering::SeqCst);
                    wrong += u64::from(!is_right);
                }
                wrong += u64::from(!outcome.is_allowed());
            }
            wrong
        });
        assert_eq!(wrong, 0, "{algorithm}");
    }
}

/// Short-lived keys die and their slots are used again all the time; a counter that lives among
/// them is never reset, nor does it ever count another's.
#[test]
fn edge_29_slots_used_again_leave_live_counters_alone() {
    let dir = common::scratch();
    let policy = r#"
        [limits.short]
        rate = "1/s"
        algorithm = "fixed window"
        key = "user"
        when_full = "refuse"

        [limits.long]
        rate = "1000000/day"
        algorithm = "fixed window"
        key = "user"
    "#;
    let (limiter, clock) = open(&dir, policy, 200);
    let [short, long] = ["short", "long"].map(|name| limiter.limit(name).unwrap());
    let kept: Vec<String> = (0..20).map(|kept| format!("kept-{kept}")).collect();
    for name in &kept {
        assert!(long.check(name).is_allowed());
    }
    let (admitted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let spent = on_all_threads(|thread| {
        let mut spent = 0;
        for turn in 0..2_000 {
            if thread % 2 == 0 {
                spent += u64::from(long.check(&kept[turn % kept.len()]).is_allowed());
                continue;
            }
            if turn % 20 == 0 {
                clock.advance(Duration::from_secs(1));
            }
            let outcome = short.check(&format!("{thread}-{turn}"));
            let which = if outcome.is_allowed() {
                &admitted
            } else {
                &refused
            };
            which.fetch_add(1, Ordering::SeqCst);
        }
        spent
    });
    let counted: u64 = kept.iter().map(|name| long.usage(name).used()).sum();
    assert_eq!(counted, spent + kept.len() as u64);
    // A fresh key is refused for want of room and for nothing else, and many found room.
    let newcomers = limiter.health().newcomers_without_slot;
    assert_eq!(refused.into_inner(), newcomers);
    assert!(admitted.into_inner() > 1_000, "slots were used again");
}

/// By the system's time, which most checks only glance at. Enough of them for all threads to be
/// there before all is taken.
#[test]
fn so_many_of_twice_as_many_by_the_systems_clock() {
    const MOST: u64 = 200_000;
    let dir = common::scratch();
    let rate = format!("rate = \"{MOST} per 365 d\"");
    let policy = format!("[limits.bucket]\n{rate}\nkey = \"run\"\n[limits.all]\n{rate}");
    let policy = Policy::from_toml(&policy).unwrap();
    let limiter = Limiter::open(dir.path().join("data"), policy).unwrap();
    let [bucket, all] = ["bucket", "all"].map(|name| limiter.limit(name).unwrap());
    let take = |_| (0..2 * MOST / THREADS).map(|_| u64::from(all.check(()).is_allowed()));
    assert_eq!(on_all_threads(|thread| take(thread).sum()), MOST);
    for run in 0..5 {
        let key = run.to_string();
        let admitted = on_all_threads(|_| {
            let mut admitted = 0;
            for _ in 0..MOST / THREADS {
                admitted += u64::from(bucket.check(&key).is_allowed());
            }
            for _ in 0..MOST / THREADS / 16 {
                bucket.check_many(&[&key; 16], |_, one| {
                    admitted += u64::from(one.is_allowed());
                });
            }
            admitted
        });
        // The next one comes back in two and a half minutes.
        assert_eq!(admitted, MOST, "run {run}");
        assert_eq!(bucket.usage(&key).used(), MOST);
    }
}

/// Two that come at the same instant to a bucket at rest, which holds two: whoever reads the time
/// first finds a word that is later than that, by nanoseconds, and there is room all the same.
#[test]
fn who_reads_the_time_first_is_not_refused_for_it() {
    const KEYS: usize = 5_000;
    let dir = common::scratch();
    let policy = r#"
        [limits.bucket]
        rate = "2/day"
        key = "user"
        [limits.strict]
        rate = "2/day"
        key = "user"
        durability = "strict"
        reserve = 2
    "#;
    let policy = Policy::from_toml(policy).unwrap();
    let builder = Limiter::builder(policy).counters(2 * KEYS as u64);
    let limiter = builder.open(dir.path().join("data")).unwrap();
    // New ones, and then those that are at rest. Of strict ones a few: each waits for the disk.
    for (name, keys) in [("bucket", KEYS), ("bucket", KEYS), ("strict", 20)] {
        let limit = limiter.limit(name).unwrap();
        (0..keys).for_each(|key| limit.reset(&key.to_string()));
        let turn = AtomicU64::new(0);
        let race = || {
            let all = (0..keys).all(|key| {
                // Both begin a key together.
                turn.fetch_add(1, Ordering::SeqCst);
                let mut spins = 0;
                while turn.load(Ordering::SeqCst) < 2 * (key as u64 + 1) {
                    std::hint::spin_loop();
                    spins += 1;
                    if spins % 1_000 == 0 {
                        std::thread::yield_now();
                    }
                }
                limit.check(&key.to_string()).is_allowed()
            });
            // Who was refused keeps the other waiting no longer.
            turn.fetch_add(2 * KEYS as u64, Ordering::SeqCst);
            all
        };
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(race);
            (race(), other.join().unwrap())
        });
        assert!(one && other, "{name}");
    }
}
