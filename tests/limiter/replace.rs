//! Another policy while running: what is kept, what is forgotten, what is refused.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tollgate::{Policy, Request, Verdict};

use super::{World, user, world};

fn limit(rate: &str, more: &str) -> String {
    format!("[limits.calls]\nrate = \"{rate}\"\nkey = \"user\"\n{more}")
}

fn used(world: &World) -> u64 {
    world.used("calls", "alice")
}

#[test]
fn counts_are_kept_when_the_amount_changes() {
    for algorithm in ["token bucket", "fixed window", "sliding window", "calendar"] {
        let with = |rate: &str| limit(rate, &format!("algorithm = \"{algorithm}\""));
        let world = world(&with("10/h"));
        let handle = world.limiter.limit("calls").unwrap();
        assert!(handle.check_cost("alice", 8).is_allowed());
        // The handle follows.
        world.replace(&with("20/h"));
        assert_eq!(handle.usage("alice").limit(), 20);
        assert_eq!(handle.usage("alice").used(), 8, "{algorithm}");
        // Edge 12: what is left is never less than nothing.
        world.replace(&with("5/h"));
        let lowered = handle.usage("alice");
        let expected = if algorithm == "token bucket" {
            // As many as the burst holds.
            (5, 0)
        } else {
            (8, 0)
        };
        assert_eq!(
            (lowered.used(), lowered.remaining()),
            expected,
            "{algorithm}"
        );
        drop(handle);
        let world = world.reopened(&with("10/h"));
        assert_eq!(used(&world), 8, "{algorithm}");
    }
}

#[test]
fn counts_are_forgotten_when_their_meaning_changes() {
    let plain = limit("10/h", "algorithm = \"fixed window\"");
    let others = [
        limit("10/h", ""),
        limit("10/h", "algorithm = \"sliding window\""),
        limit("10/h", "algorithm = \"fixed window from first hit\""),
        limit("10/h", "algorithm = \"calendar\""),
        limit("10/day", "algorithm = \"fixed window\""),
        limit("10 per 2 h", "algorithm = \"fixed window\""),
        limit("10/h", "algorithm = \"fixed window\"").replace("calls", "cells"),
    ];
    for other in others {
        let world = world(&plain);
        assert_eq!(world.drain(&user("alice")), 10);
        world.replace(&other);
        assert_eq!(world.drain(&user("alice")), 10, "{other}");
        // What was counted before is still there when the meaning comes back.
        world.replace(&plain);
        assert_eq!(world.drain(&user("alice")), 0, "{other}");
    }
    let zone = |zone: &str| {
        limit(
            "10/day",
            &format!("algorithm = \"calendar\"\ntime_zone = \"{zone}\""),
        )
    };
    let world = world(&zone("Europe/Berlin"));
    assert_eq!(world.drain(&user("alice")), 10);
    world.replace(&zone("Europe/Paris"));
    assert_eq!(world.drain(&user("alice")), 10);
    world.replace(&zone("europe/berlin"));
    assert_eq!(
        world.drain(&user("alice")),
        0,
        "the same zone in other letters"
    );
}

#[test]
fn the_same_span_in_other_words_means_the_same() {
    let spans = [
        "60/h",
        "60 per 60 min",
        "60 per 3600 s",
        "60 per 3600000 ms",
        "60 each hour",
    ];
    let world = world(&limit(spans[0], "algorithm = \"fixed window\""));
    assert!(world.limiter.check(&user("alice").cost(7)).is_allowed());
    for rate in spans {
        world.replace(&limit(rate, "algorithm = \"fixed window\""));
        assert_eq!(used(&world), 7, "{rate}");
    }
}

#[test]
fn edge_43_alternating_bursts_refill_nothing() {
    for (one, other) in [
        ("10/h burst 10", "10/h burst 11"),
        ("10/h burst 1000", "10/h burst 1"),
        ("1000/day burst 1000", "1000/day burst 3"),
        ("10/h burst 10", "deny"),
        ("10/h burst 10", "unlimited"),
    ] {
        let world = world(&limit(one, ""));
        let most = world.limiter.limit("calls").unwrap().usage("alice").limit();
        let mut admitted = world.drain(&user("alice"));
        for _ in 0..10 {
            world.replace(&limit(other, ""));
            if other != "unlimited" {
                admitted += world.drain(&user("alice"));
            }
            let _ = world.limiter.check(&user("alice"));
            world.replace(&limit(one, ""));
            admitted += world.drain(&user("alice"));
        }
        assert!(admitted <= most + 1, "{one} and {other}: {admitted}");
        assert_eq!(world.limiter.health().words_healed, 0, "{one} and {other}");
    }
}

#[test]
fn edge_42_a_bad_policy_leaves_the_old_one_in_force() {
    let world = world(&limit("10/h", ""));
    assert!(world.limiter.check(&user("alice").cost(4)).is_allowed());
    for bad in [
        "",
        "[limits.calls]\nrate = \"10/fortnight\"",
        "[limits.",
        "limits = 7",
    ] {
        assert!(Policy::from_toml(bad).is_err(), "{bad}");
    }
    assert_eq!(used(&world), 4);
    assert_eq!(world.limiter.policy().limits().count(), 1);
}

#[test]
fn a_removed_limit_refuses_as_unknown_and_comes_back() {
    let world = world(&limit("10/h", ""));
    let handle = world.limiter.limit("calls").unwrap();
    assert!(handle.check_cost("alice", 4).is_allowed());
    world.replace("[limits.other]\nrate = \"10/h\"\n[limits.third]\nrate = \"10/h\"");
    for outcome in [handle.check("alice"), handle.usage("alice")] {
        assert_eq!(outcome.verdict(), Verdict::Unknown);
        assert!(!outcome.is_allowed());
        assert_eq!(outcome.retry_after(), None);
        assert_eq!(
            outcome.to_string(),
            "refused, the limit is no longer in the policy"
        );
    }
    handle.reset("alice");
    assert!(world.limiter.limit("calls").unwrap_err().is_unknown_limit());
    world.replace(&limit("10/h", ""));
    assert_eq!(handle.usage("alice").used(), 4);
}

#[test]
fn what_was_taken_before_is_given_back_after() {
    let world = world(&limit("10/h", ""));
    let handle = world.limiter.limit("calls").unwrap();
    let decision = world.limiter.check(&user("alice").cost(3));
    let outcome = handle.check_cost("alice", 4);
    world.replace(&limit("20/h", ""));
    world.limiter.refund(decision);
    handle.refund("alice", outcome);
    assert_eq!(used(&world), 0);
    // An outcome under another meaning is not this counter's to give back.
    let outcome = handle.check_cost("alice", 4);
    world.replace(&limit("20/h", "algorithm = \"fixed window\""));
    assert!(handle.check_cost("alice", 5).is_allowed());
    handle.refund("alice", outcome);
    assert_eq!(used(&world), 5);
    let outcome = handle.check_cost("alice", 6);
    world.replace(&limit("20/h", ""));
    let before = used(&world);
    handle.refund("alice", outcome);
    assert_eq!(used(&world), before);
}

#[test]
fn replaced_under_load_it_never_admits_more_than_the_wider_one() {
    let world = world(&limit("100/day", "algorithm = \"fixed window\""));
    let narrow = limit("50/day", "algorithm = \"fixed window\"");
    let wide = limit("100/day", "algorithm = \"fixed window\"");
    let without = "[limits.other]\nrate = \"1/s\"\nshadow = true";
    let (stop, admitted) = (AtomicBool::new(false), AtomicU64::new(0));
    let handle = world.limiter.limit("calls").unwrap();
    let mut unknown = 0;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let taken = handle.check("alice").is_allowed();
                    admitted.fetch_add(u64::from(taken), Ordering::Relaxed);
                }
            });
        }
        for _ in 0..200 {
            for text in [narrow.as_str(), without, &wide] {
                world.replace(text);
                let verdict = handle.check("bob").verdict();
                assert_eq!(verdict == Verdict::Unknown, text == without, "at once");
                unknown += u64::from(verdict == Verdict::Unknown);
                handle.reset("bob");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(unknown, 200);
    assert_eq!(admitted.load(Ordering::Relaxed), 100);
    assert_eq!(used(&world), 100);
    assert!(
        !world
            .limiter
            .check(&Request::new().attribute("user", "alice"))
            .is_allowed()
    );
}
