//! As many counters as there is room for, and one more: what happens at the most, what it takes in
//! memory, and that a start does not depend on it.
//!
//! Optimised (`cargo test --release --test capacity`) the large tests run with ten million keys and
//! a flood of a million; in a debug build, which is many times slower, with fewer.

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tollgate::{Limiter, ManualClock, Opened, Policy, Timestamp, Verdict};

/// Keys of a large service, and of an attacker.
const MANY: u64 = if cfg!(debug_assertions) {
    300_000
} else {
    10_000_000
};
const FLOOD: u64 = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

/// The smallest table there is; it has room for some more, up to its slots.
const FEW: u64 = 100;

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_secs(1_760_000_000))
}

fn open(path: &Path, text: &str, counters: u64, clock: &ManualClock) -> Limiter {
    let policy = Policy::from_toml(text).unwrap();
    let builder = Limiter::builder(policy).counters(counters);
    builder.clock(clock.clone()).open(path).unwrap()
}

/// A policy of `limit`, with what happens when there is no room, and of a limit to fill the table.
fn when_full(then: &str, rate: &str) -> String {
    format!(
        "[limits.few]\nrate = \"{rate}\"\nkey = \"user\"\nwhen_full = \"{then}\"\n\
         [limits.filler]\nrate = \"1/day\"\nkey = \"user\"\nwhen_full = \"refuse\""
    )
}

/// Takes every slot of a small table; how many there were.
fn fill(limiter: &Limiter) -> u64 {
    let filler = limiter.limit("filler").unwrap();
    let slots = limiter.health().slots;
    let keys = (0..40 * slots).map(|number| format!("filler {number}"));
    let taken = keys.filter(|key| filler.check(key).is_allowed()).count() as u64;
    assert!(taken <= slots, "{taken} counters in {slots} slots");
    taken
}

#[test]
fn newcomers_share_one_counter_when_the_table_is_full() {
    let (dir, clock) = (common::scratch(), clock());
    let limiter = open(
        &dir.path().join("data"),
        &when_full("share", "3/h"),
        FEW,
        &clock,
    );
    let few = limiter.limit("few").unwrap();
    assert!(few.check("known").is_allowed());
    assert_eq!(
        fill(&limiter),
        limiter.health().slots - 1,
        "but for the one that is known"
    );
    let before = limiter.health().newcomers_without_slot;
    assert!(before > 0);
    // Three in all for whoever has no counter, not three for each.
    let admitted = (0..50).filter(|number| few.check(&format!("new {number}")).is_allowed());
    assert_eq!(admitted.count(), 3);
    assert_eq!(limiter.health().newcomers_without_slot, before + 50);
    let refused = few.check("another");
    assert_eq!(refused.verdict(), Verdict::Refused);
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(1200)));
    // Who was counted before is not touched by it.
    assert!(few.check("known").is_allowed());
    assert_eq!(few.usage("known").used(), 2);
    // Time makes room: the fillers' day is over, and everybody gets a counter of his own.
    clock.advance(Duration::from_secs(86_400));
    for name in ["new 0", "new 1", "another"] {
        let admitted = (0..10).filter(|_| few.check(name).is_allowed()).count();
        assert_eq!(admitted, 3, "{name}");
    }
    assert_eq!(limiter.health().newcomers_without_slot, before + 51);
}

/// Row W5: a key that was counted on the shared counter and then gets one of its own has its limit
/// anew, once: twice the limit in a window is the bound that the README states.
#[test]
fn w5_who_gets_a_counter_later_uses_at_most_twice_its_limit_in_a_window() {
    let (dir, clock) = (common::scratch(), clock());
    let text = when_full("share", "10 per 30 days").replace(
        "when_full = \"share\"",
        "when_full = \"share\"\nalgorithm = \"fixed window\"",
    );
    let limiter = open(&dir.path().join("data"), &text, FEW, &clock);
    let few = limiter.limit("few").unwrap();
    fill(&limiter);
    let mut used = Vec::new();
    for _ in 0..4 {
        used.push((0..50).filter(|_| few.check("alice").is_allowed()).count());
        // The others' counters die, and there is room.
        clock.advance(Duration::from_secs(86_401));
    }
    assert_eq!(used, [10, 10, 0, 0]);
}

/// Row W4: the next window of a key that has a counter finds no slot. The key is no newcomer: its
/// own count decides, whatever the policy says of newcomers.
#[test]
fn w4_a_sliding_key_whose_next_window_has_no_slot_goes_by_its_own_count() {
    for then in ["share", "refuse", "admit"] {
        let (dir, clock) = (common::scratch(), clock());
        let text =
            when_full(then, "100/h").replacen("key", "algorithm = \"sliding window\"\nkey", 1);
        let limiter = open(&dir.path().join("data"), &text, FEW, &clock);
        let few = limiter.limit("few").unwrap();
        // The last minute of an hour.
        let into = clock.now().as_secs() % 3_600;
        clock.advance(Duration::from_secs(3_600 - into - 60));
        assert!(few.check_cost("alice", 98).is_allowed());
        fill(&limiter);
        clock.advance(Duration::from_secs(60));
        assert_eq!(few.usage("alice").remaining(), 2, "{then}");
        let at_once = (0..200).filter(|_| few.check("alice").is_allowed()).count();
        assert_eq!(at_once, 2, "{then}");
        assert!(few.usage("alice").used() >= 100, "{then}");
        // Never more than the window with the previous one's share would let in, and some.
        let mut admitted = vec![(clock.now(), at_once)];
        for _ in 0..40 {
            clock.advance(Duration::from_secs(600));
            let some = (0..200).filter(|_| few.check("alice").is_allowed()).count();
            admitted.push((clock.now(), some));
        }
        println!(
            "{then}: {:?}",
            admitted.iter().map(|(_, some)| some).collect::<Vec<_>>()
        );
        for (from, _) in &admitted {
            let until = *from + Duration::from_secs(3_600);
            let within = admitted
                .iter()
                .filter(|(at, _)| (*from..until).contains(at));
            let sum: usize = within.map(|(_, some)| some).sum();
            assert!(sum <= 200, "{then}: {sum} from {from}");
        }
        let all: usize = admitted.iter().map(|(_, some)| some).sum();
        // What weighed when a window joined the word of the last one weighs so until it ends.
        assert!((50..=800).contains(&all), "{then}: {all} in seven hours");
        // A key that is new is a newcomer as ever.
        let stranger = few.check("stranger");
        assert_eq!(stranger.is_allowed(), then != "refuse", "{then}");
    }
}

/// The same over a restart, with takes given back, and when there is room again.
#[test]
fn w4_words_that_stand_crosswise_are_counted_once() {
    let (dir, clock) = (common::scratch(), clock());
    let text =
        when_full("refuse", "100/h").replacen("key", "algorithm = \"sliding window\"\nkey", 1);
    let limiter = open(&dir.path().join("data"), &text, FEW, &clock);
    let few = limiter.limit("few").unwrap();
    let into = clock.now().as_secs() % 3_600;
    clock.advance(Duration::from_secs(3_600 - into));
    assert!(few.check_cost("alice", 40).is_allowed());
    fill(&limiter);
    clock.advance(Duration::from_secs(3_600));
    let taken: Vec<_> = (0..30).map(|_| few.check("alice")).collect();
    assert!(taken.iter().all(tollgate::Outcome::is_allowed));
    assert_eq!(few.usage("alice").used(), 70);
    for outcome in &taken[..20] {
        few.refund("alice", *outcome);
    }
    assert_eq!(few.usage("alice").used(), 50);
    limiter.close().unwrap();
    drop((few, limiter));
    let limiter = open(&dir.path().join("data"), &text, FEW, &clock);
    let few = limiter.limit("few").unwrap();
    assert_eq!(few.usage("alice").used(), 50);
    // The day of the others is over: the next windows have slots of their own again.
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(few.usage("alice").used(), 50);
    clock.advance(Duration::from_secs(22 * 3_600));
    assert_eq!(few.usage("alice").used(), 0);
    for hour in 0..4 {
        assert!(few.check_cost("alice", 60).is_allowed(), "{hour}");
        assert!(!few.check_cost("alice", 60).is_allowed(), "{hour}");
        clock.advance(Duration::from_secs(2 * 3_600));
    }
    limiter.limit("few").unwrap();
    few.reset("alice");
    assert_eq!(few.usage("alice").used(), 0);
}

#[test]
fn newcomers_are_refused_or_admitted_if_the_policy_says_so() {
    for (then, verdict) in [("refuse", Verdict::TableFull), ("admit", Verdict::Allowed)] {
        let (dir, clock) = (common::scratch(), clock());
        let limiter = open(
            &dir.path().join("data"),
            &when_full(then, "3/h"),
            FEW,
            &clock,
        );
        let few = limiter.limit("few").unwrap();
        assert!(few.check("known").is_allowed());
        fill(&limiter);
        for number in 0..50 {
            let outcome = few.check(&format!("new {number}"));
            assert_eq!(outcome.verdict(), verdict);
            assert_eq!(few.check("new 0").verdict(), verdict);
        }
        assert_eq!(
            (0..10).filter(|_| few.check("known").is_allowed()).count(),
            2
        );
    }
}

#[test]
fn what_was_not_taken_from_a_counter_is_not_given_back_to_it() {
    for (then, is_shared) in [("admit", false), ("share", true)] {
        let (dir, clock) = (common::scratch(), clock());
        let text = when_full(then, "10 per 10 days");
        let limiter = open(&dir.path().join("data"), &text, FEW, &clock);
        let few = limiter.limit("few").unwrap();
        fill(&limiter);
        let [refunded, settled] = ["alice", "bob"].map(|name| few.check_cost(name, 1));
        assert_eq!(
            few.check_cost("carol", 1).used(),
            if is_shared { 3 } else { 0 }
        );
        // A day later there is room, and each has a counter.
        clock.advance(Duration::from_secs(86_400));
        for name in ["alice", "bob"] {
            assert_eq!(few.check_cost(name, 4).used(), 4);
        }
        few.refund("alice", refunded);
        assert_eq!(few.settle("bob", settled, 0).used(), 4, "{then}");
        assert_eq!(few.usage("alice").used(), 4, "{then}");
        // It went back to where it came from: of three, one came back by time and one by hand.
        fill(&limiter);
        let due = if is_shared { 2 } else { 0 };
        assert_eq!(few.check_cost("dora", 1).used(), due, "{then}");
    }
}

#[test]
fn edge_38_a_limited_key_stays_limited_through_a_flood() {
    let (dir, clock) = (common::scratch(), clock());
    let text = "[limits.each]\nrate = \"10/h\"\nkey = \"user\"\ndurability = \"memory\"";
    let limiter = open(&dir.path().join("data"), text, 10_000, &clock);
    let each = limiter.limit("each").unwrap();
    let victims: Vec<_> = (0..100).map(|number| format!("victim {number}")).collect();
    for victim in &victims {
        assert_eq!(
            (0..20).filter(|_| each.check(victim).is_allowed()).count(),
            10
        );
    }
    let mut admitted = 0;
    for number in 0..FLOOD {
        admitted += u64::from(each.check(&format!("flood {number}")).is_allowed());
        if number % (FLOOD / 100) == 0 {
            let all_refused = victims
                .iter()
                .all(|victim| !each.check(victim).is_allowed());
            assert!(all_refused, "after {number}");
        }
    }
    let health = limiter.health();
    assert!(admitted <= health.slots + 10, "{admitted} of {FLOOD}");
    assert_eq!(health.newcomers_without_slot, FLOOD - (admitted - 10));
    for victim in &victims {
        assert_eq!(each.usage(victim).used(), 10);
    }
    // When the flood's hour is over, a new key is served again.
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(
        (0..20)
            .filter(|_| each.check("honest").is_allowed())
            .count(),
        10
    );
}

/// Bytes that the counters take on the disk.
fn table_bytes(data: &Path) -> u64 {
    let files = fs::read_dir(data.join("table")).unwrap();
    let sizes = files.map(|file| {
        use std::os::unix::fs::MetadataExt;
        file.unwrap().metadata().unwrap().blocks() * 512
    });
    sizes.sum()
}

/// Page faults of this thread so far.
fn faults() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The name in parentheses may hold spaces; the tenth field is the eighth after it.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().nth(7).unwrap().parse().unwrap()
}

/// The fewest page faults and the least time that opening takes, of several.
fn cost_of_opening(data: &Path, text: &str, keys: u64, clock: &ManualClock) -> (u64, Duration) {
    let opens = (0..5).map(|_| {
        let (before, start) = (faults(), Instant::now());
        let limiter = open(data, text, 1, clock);
        let cost = (faults() - before, start.elapsed());
        assert_eq!(limiter.health().opened, Opened::Clean);
        let each = limiter.limit("each").unwrap();
        assert_eq!(each.usage(&format!("{}", keys - 1)).used(), 1);
        // That they are counted: memory not seen before costs some. The table is no measure, the
        // writer may have looked into it first.
        let before = self::faults();
        std::mem::forget(std::hint::black_box(vec![1_u8; 1 << 20]));
        assert!(self::faults() > before, "page faults are counted");
        cost
    });
    let (faults, times): (Vec<_>, Vec<_>) = opens.unzip();
    (
        faults.into_iter().min().unwrap(),
        times.into_iter().min().unwrap(),
    )
}

#[test]
fn ten_million_keys_take_what_was_promised_and_open_as_fast_as_ten() {
    let (dir, clock) = (common::scratch(), clock());
    // What the journal takes is another matter; this is about the counters.
    let text = "[limits.each]\nrate = \"10/day\"\nkey = \"user\"\ndurability = \"memory\"";
    let mut costs = Vec::new();
    for (name, keys) in [("ten", 10), ("many", MANY)] {
        let data = dir.path().join(name);
        let limiter = open(&data, text, MANY, &clock);
        let each = limiter.limit("each").unwrap();
        for number in 0..keys {
            let outcome = each.check(&number.to_string());
            assert!(outcome.is_allowed() && outcome.used() == 1, "{number}");
        }
        assert_eq!(limiter.health().newcomers_without_slot, 0);
        let bytes = table_bytes(&data);
        assert!(bytes <= 26 * MANY, "{bytes} bytes for {MANY} counters");
        drop(each);
        drop(limiter);
        costs.push(cost_of_opening(&data, text, keys, &clock));
    }
    let [(few_faults, few_time), (many_faults, many_time)] = costs[..] else {
        panic!("two directories")
    };
    println!("opened with ten keys: {few_faults} page faults, {few_time:?}");
    println!("opened with {MANY} keys: {many_faults} page faults, {many_time:?}");
    // Work, not time: the counters of either of ten million are sixty thousand pages.
    assert!(
        many_faults <= few_faults + 32,
        "{many_faults} faults, {few_faults} with ten keys"
    );
    assert!(few_faults < 1_000, "{few_faults} page faults");
    // A wide bound, for a busy machine.
    assert!(many_time < few_time * 20 + Duration::from_millis(200));
}
