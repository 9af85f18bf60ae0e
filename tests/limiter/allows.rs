//! What "allows" means, by algorithm: how many are admitted at most in any span, as the README's
//! table says, and that as many can be.

use super::{user, world, world_at};
use tollgate::Timestamp;

/// Asks each `step_ms` for `secs`; the times of what was admitted, in milliseconds.
fn admitted(
    world: &super::World,
    secs: u64,
    step_ms: u64,
    wants: impl Fn(u64) -> bool,
) -> Vec<u64> {
    let mut times = Vec::new();
    for at in (0..secs * 1_000).step_by(usize::try_from(step_ms).unwrap()) {
        if wants(at) {
            times.extend(vec![at; usize::try_from(world.drain(&user("a"))).unwrap()]);
        }
        world
            .clock
            .advance(std::time::Duration::from_millis(step_ms));
    }
    times
}

/// The most that was admitted in any half-open span of this length.
fn most_within(times: &[u64], span_ms: u64) -> usize {
    let within = |from: &u64| {
        let after = times.iter().filter(|time| *time >= from);
        after.filter(|time| **time < from + span_ms).count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

fn limit(rest: &str) -> String {
    format!("[limits.l]\n{rest}\nkey = \"user\"")
}

/// Times that bunch at the end of one window and the beginning of the next.
fn around(edge_ms: u64) -> impl Fn(u64) -> bool {
    move |at| at + 2_000 >= edge_ms
}

#[test]
fn section_6_a_bucket_admits_its_burst_and_then_its_rate() {
    let world = world(&limit("rate = \"60/min burst 90\""));
    let times = admitted(&world, 300, 500, |_| true);
    for secs in [1, 7, 60, 120] {
        let most = 90 + secs;
        let seen = most_within(&times, secs * 1_000);
        assert!(seen <= usize::try_from(most).unwrap(), "{seen} in {secs} s");
    }
    assert_eq!(most_within(&times, 1_000), 90, "the burst at once");
}

#[test]
fn section_6_a_window_admits_twice_its_amount_around_an_edge_and_no_more() {
    for algorithm in ["fixed window", "fixed window from first hit", "calendar"] {
        let world = world(&limit(&format!(
            "rate = \"10/h\"\nalgorithm = \"{algorithm}\""
        )));
        if algorithm.ends_with("hit") {
            // The first opens the window, the others come as it ends.
            assert!(world.limiter.check(&user("a")).is_allowed());
        }
        let times = admitted(&world, 3_604, 500, around(3_600_000));
        let most = most_within(&times, 3_600_000);
        let first = usize::from(algorithm.ends_with("hit"));
        assert_eq!(most, 20 - first, "{algorithm}");
        // Never more than twice, whenever it is asked.
        let busy = admitted(&world, 8_000, 1_000, |_| true);
        assert!(most_within(&busy, 3_600_000) <= 20, "{algorithm}");
    }
}

#[test]
fn section_6_a_sliding_window_admits_nearly_twice_after_a_bunch() {
    // 5 in 15 minutes: five at the end of a window, and four more as they fade.
    let start = Timestamp::from_secs(1_759_996_800);
    let world = world_at(
        &limit("rate = \"5 per 15 min\"\nalgorithm = \"sliding window\""),
        start,
    );
    let times = admitted(&world, 1_800, 1_000, around(900_000));
    assert_eq!(most_within(&times, 900_000), 9);
    // Never twice as many, however it is asked.
    for period in [7, 90, 450, 901] {
        let world = world_at(
            &limit("rate = \"5 per 15 min\"\nalgorithm = \"sliding window\""),
            start,
        );
        let times = admitted(&world, 7_200, 1_000, |at| at / 1_000 % period < 5);
        assert!(most_within(&times, 900_000) < 10, "{period}");
    }
}

#[test]
fn section_6_a_sliding_window_under_constant_demand_admits_one_less() {
    let world = world(&limit("rate = \"60/min\"\nalgorithm = \"sliding window\""));
    let times = admitted(&world, 1_200, 250, |_| true);
    let in_window = |number: u64| times.iter().filter(|at| **at / 60_000 == number).count();
    assert_eq!(in_window(0), 60);
    for number in 2..20 {
        assert!(
            (58..=59).contains(&in_window(number)),
            "{}",
            in_window(number)
        );
    }
    // One a minute is one every two minutes.
    let world = super::world(&limit("rate = \"1/min\"\nalgorithm = \"sliding window\""));
    assert_eq!(admitted(&world, 1_200, 1_000, |_| true).len(), 10);
}

#[test]
fn section_6_a_used_hour_of_a_sliding_window_is_whole_again_after_two() {
    let world = world(&limit("rate = \"10/h\"\nalgorithm = \"sliding window\""));
    assert_eq!(world.drain(&user("a")), 10);
    let usage = || world.limiter.limit("l").unwrap().usage("a");
    let whole = usage().reset_after().as_secs();
    assert!((3_600..=7_200).contains(&whole), "{whole}");
    world.pass(3_600 + 1_800);
    assert_eq!(usage().remaining(), 5, "half of it is still remembered");
}
