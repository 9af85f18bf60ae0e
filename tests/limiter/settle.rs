//! Giving back, and settling for what it really cost.

use std::time::Duration;

use tollgate::{Outcome, Verdict};

use super::{World, user, world};

const ALGORITHMS: [&str; 5] = [
    "token bucket",
    "fixed window",
    "fixed window from first hit",
    "sliding window",
    "calendar",
];

fn ten(algorithm: &str) -> World {
    world(&format!(
        "[limits.ten]\nrate = \"10/h\"\nkey = \"user\"\nalgorithm = \"{algorithm}\"\n\
         [limits.day]\nrate = \"100/day\"\nkey = \"user\"\nalgorithm = \"{algorithm}\""
    ))
}

#[test]
fn edge_15_a_refund_gives_back_what_was_taken_and_no_more() {
    for algorithm in ALGORITHMS {
        let world = ten(algorithm);
        let first = world.limiter.check(&user("alice").cost(4));
        let second = world.limiter.check(&user("alice").cost(5));
        world.limiter.refund(first);
        assert_eq!(
            (world.used("ten", "alice"), world.used("day", "alice")),
            (5, 5)
        );
        world.limiter.refund(second);
        assert_eq!(
            (world.used("ten", "alice"), world.used("day", "alice")),
            (0, 0)
        );
        // A refusal took nothing, so it gives nothing back.
        assert_eq!(world.drain(&user("alice")), 10);
        let refused = world.limiter.check(&user("alice").cost(3));
        assert!(!refused.is_allowed());
        world.limiter.refund(refused);
        assert_eq!(world.used("ten", "alice"), 10, "{algorithm}");
        // Nor did a look.
        world
            .limiter
            .refund(world.limiter.usage(&user("alice").cost(0)));
        world
            .limiter
            .refund(world.limiter.usage(&user("bob").cost(3)));
        assert_eq!(world.used("ten", "alice"), 10, "{algorithm}");
    }
}

#[test]
fn edge_15_what_has_come_back_by_itself_is_not_given_back_again() {
    for algorithm in ALGORITHMS {
        let world = ten(algorithm);
        let cancelled = world.limiter.check(&user("alice").cost(10));
        world.pass(3_600);
        let rest = 10 - world.used("ten", "alice");
        assert!(world.limiter.check(&user("alice").cost(rest)).is_allowed() || rest == 0);
        let before = world.used("ten", "alice");
        world.limiter.refund(cancelled);
        if algorithm == "sliding window" {
            // The last window still weighs; what it no longer holds weighs nothing.
            assert_eq!(world.used("ten", "alice"), rest, "{algorithm}");
        } else {
            assert_eq!(world.used("ten", "alice"), before, "{algorithm}");
            assert_eq!(
                world.drain(&user("alice")),
                0,
                "{algorithm}: twenty at once"
            );
        }
    }
}

#[test]
fn edge_15_a_refund_where_nothing_is_known_does_nothing() {
    for algorithm in ALGORITHMS {
        let world = ten(algorithm);
        let limit = world.limiter.limit("ten").unwrap();
        let outcome = limit.check_cost("alice", 4);
        limit.refund("nobody", outcome);
        assert_eq!(
            (world.used("ten", "nobody"), world.used("ten", "alice")),
            (0, 4)
        );
        // Nor does another key's counter gain by it.
        assert!(limit.check_cost("bob", 4).is_allowed());
        limit.refund("bob", outcome);
        assert_eq!(world.used("ten", "bob"), 4, "{algorithm}");
        limit.refund("alice", outcome);
        assert_eq!(world.used("ten", "alice"), 0, "{algorithm}");
    }
}

#[test]
fn edge_16_refunds_restore_in_any_order() {
    for algorithm in ALGORITHMS {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
            let world = ten(algorithm);
            let limit = world.limiter.limit("ten").unwrap();
            assert!(limit.check_cost("alice", 1).is_allowed());
            let taken: Vec<Outcome> = [2, 3, 4].map(|cost| limit.check_cost("alice", cost)).into();
            for place in order {
                limit.refund("alice", taken[place]);
            }
            assert_eq!(limit.usage("alice").used(), 1, "{algorithm} {order:?}");
            assert_eq!(world.drain(&user("alice")), 9);
        }
    }
}

#[test]
fn a_handle_gives_back_only_what_it_took() {
    for algorithm in ALGORITHMS {
        let world = ten(algorithm);
        let limit = world.limiter.limit("ten").unwrap();
        assert_eq!(world.drain(&user("alice")), 10);
        limit.refund("alice", limit.check_cost("alice", 3));
        limit.refund("alice", limit.usage("alice"));
        assert_eq!(
            limit.usage("alice").used(),
            10,
            "{algorithm}: a refusal, a look"
        );
        limit.reset("alice");
        let look = limit.usage("alice");
        assert!(look.is_allowed());
        assert_eq!(world.drain(&user("alice")), 10);
        for _ in 0..10 {
            limit.refund("alice", look);
            limit.settle("alice", look, 0);
        }
        assert_eq!(
            limit.usage("alice").used(),
            10,
            "{algorithm}: an allowed look"
        );
    }
}

#[test]
fn settling_gives_back_or_charges_the_difference() {
    for algorithm in ALGORITHMS {
        let world = ten(algorithm);
        let limit = world.limiter.limit("ten").unwrap();
        let reserved = world.limiter.check(&user("alice").cost(8));
        world.limiter.settle(reserved, 3);
        assert_eq!(
            (world.used("ten", "alice"), world.used("day", "alice")),
            (3, 3)
        );
        let reserved = world.limiter.check(&user("alice").cost(2));
        world.limiter.settle(reserved, 6);
        assert_eq!(
            (world.used("ten", "alice"), world.used("day", "alice")),
            (9, 9)
        );
        let reserved = limit.check("alice");
        assert_eq!(limit.settle("alice", reserved, 1).used(), 10);
        // Refused is refused, and costs nothing whatever it says.
        let refused = limit.check("alice");
        assert_eq!(limit.settle("alice", refused, 5).used(), 10, "{algorithm}");
        let refused = world.limiter.check(&user("alice"));
        world.limiter.settle(refused, 5);
        assert_eq!(
            (world.used("ten", "alice"), world.used("day", "alice")),
            (10, 9)
        );
    }
}

#[test]
fn edge_14_debt_is_recorded_bounded_and_paid_off() {
    for algorithm in ALGORITHMS {
        let world = ten(algorithm);
        let limit = world.limiter.limit("ten").unwrap();
        let reserved = world.limiter.check(&user("alice").cost(5));
        world.limiter.settle(reserved, 18);
        let outcome = limit.usage("alice");
        assert_eq!(
            (outcome.used(), outcome.remaining()),
            (18, 0),
            "{algorithm}"
        );
        let wait = world.limiter.check(&user("alice")).retry_after().unwrap();
        world.clock.advance(wait - Duration::from_nanos(1));
        assert!(
            !world.limiter.check(&user("alice")).is_allowed(),
            "{algorithm}"
        );
        world.clock.advance(Duration::from_nanos(1));
        assert!(
            world.limiter.check(&user("alice")).is_allowed(),
            "{algorithm}"
        );
    }
    let world = ten("token bucket");
    let limit = world.limiter.limit("ten").unwrap();
    let reserved = limit.check("alice");
    assert_eq!(
        limit.settle("alice", reserved, u64::MAX).used(),
        20,
        "one burst of debt"
    );
}

#[test]
fn edge_30_what_was_reserved_for_nothing_is_settled_all_the_same() {
    for algorithm in ALGORITHMS {
        let world = ten(algorithm);
        let reserved = world.limiter.check(&user("alice").cost(0));
        assert!(reserved.is_allowed());
        world.limiter.settle(reserved, 7);
        assert_eq!(
            (world.used("ten", "alice"), world.used("day", "alice")),
            (7, 7)
        );
        let limit = world.limiter.limit("ten").unwrap();
        let reserved = limit.check_cost("bob", 0);
        assert_eq!(limit.settle("bob", reserved, 7).used(), 7, "{algorithm}");
    }
}

#[test]
fn a_fixed_cost_is_not_settled() {
    let world = world(
        "[limits.calls]\nrate = \"10/h\"\nkey = \"user\"\ncost = 1\n\
         [limits.tokens]\nrate = \"1000/h\"\nkey = \"user\"",
    );
    let reserved = world.limiter.check(&user("alice").cost(100));
    world.limiter.settle(reserved, 250);
    assert_eq!(
        (world.used("calls", "alice"), world.used("tokens", "alice")),
        (1, 250)
    );
}

#[test]
fn a_settlement_outlives_its_window_but_not_into_credit() {
    let world = ten("fixed window");
    let reserved = world.limiter.check(&user("alice").cost(5));
    world.pass(3_600);
    assert!(world.limiter.check(&user("alice").cost(2)).is_allowed());
    world.limiter.settle(reserved.clone(), 1);
    assert_eq!(
        world.used("ten", "alice"),
        2,
        "the hour that was reserved in is over"
    );
    world.limiter.settle(reserved, 9);
    assert_eq!(world.used("ten", "alice"), 6, "what came on top came now");
    assert_eq!(
        world.limiter.usage(&user("alice").cost(4)).verdict(),
        Verdict::Allowed
    );
}

/// Row W9: a reset forgets what was taken before it, so a refund or a settlement of that gives
/// nothing back: it would give back what others have taken since.
#[test]
fn w9_what_a_reset_forgot_is_not_given_back() {
    for algorithm in ALGORITHMS {
        let world = ten(algorithm);
        let day = world.limiter.limit("day").unwrap();
        let tick = || world.clock.advance(Duration::from_millis(1));
        let before: Vec<_> = (0..3).map(|_| day.check_cost("alice", 20)).collect();
        let decision = world.limiter.check(&user("alice").cost(2));
        tick();
        day.reset("alice");
        world.limiter.limit("ten").unwrap().reset("alice");
        tick();
        let since = day.check_cost("alice", 10);
        day.refund("alice", before[0]);
        day.settle("alice", before[1], 1);
        world.limiter.refund(decision);
        assert_eq!(world.used("day", "alice"), 10, "{algorithm}");
        // What it costs beyond is counted all the same.
        day.settle("alice", before[2], 25);
        assert_eq!(world.used("day", "alice"), 15, "{algorithm}");
        // What was taken since is given back as ever.
        tick();
        day.refund("alice", since);
        assert_eq!(world.used("day", "alice"), 5, "{algorithm}");
        assert_eq!(day.usage("bob").used(), 0);
    }
}
