//! What requests cost: nothing, much, more than there is, and what cannot be read.

use std::time::Duration;

use tollgate::{Outcome, Request, Verdict};

use super::{of, user, world};

/// The same limit by every algorithm.
fn each(text: &str) -> Vec<String> {
    let algorithms = [
        "token bucket",
        "fixed window",
        "fixed window from first hit",
        "sliding window",
        "calendar",
    ];
    let with = |algorithm| format!("{text}\nalgorithm = \"{algorithm}\"");
    algorithms.map(with).to_vec()
}

const TEN: &str = "[limits.ten]\nrate = \"10/h\"\nkey = \"user\"";

#[test]
fn edge_03_a_cost_of_zero_looks_and_the_largest_never_wraps() {
    for text in each(TEN) {
        let world = world(&text);
        for _ in 0..20 {
            let free = world.limiter.check(&user("alice").cost(0));
            assert!(free.is_allowed());
            assert_eq!(of(&free, "ten").remaining(), 10);
        }
        let huge = world.limiter.check(&user("alice").cost(u64::MAX));
        assert_eq!(huge.verdict(), Verdict::Impossible, "{text}");
        assert_eq!(huge.retry_after(), None);
        assert_eq!(world.drain(&user("alice")), 10, "{text}");
        // Spent, it still costs nothing to ask for nothing.
        assert!(world.limiter.check(&user("alice").cost(0)).is_allowed());
        let huge = world.limiter.check(&user("alice").cost(u64::MAX));
        assert_eq!(huge.verdict(), Verdict::Impossible, "{text}");
    }
}

#[test]
fn edge_04_never_is_told_from_later() {
    for text in each(TEN) {
        let world = world(&text);
        let over = world.limiter.check(&user("alice").cost(11));
        assert_eq!(over.verdict(), Verdict::Impossible);
        assert_eq!(over.retry_after(), None);
        assert_eq!(
            world.used("ten", "alice"),
            0,
            "a denied cost drains nothing"
        );
        assert!(world.limiter.check(&user("alice").cost(10)).is_allowed());
        let later = world.limiter.check(&user("alice").cost(10));
        assert_eq!(later.verdict(), Verdict::Refused);
        assert!(later.retry_after().unwrap() > Duration::ZERO);
    }
}

#[test]
fn edge_07_nothing_is_not_everything() {
    let world = world(
        r#"
        [limits.none]
        rate = "deny"
        [limits.all]
        rate = "unlimited"
        "#,
    );
    let none = world.limiter.limit("none").unwrap();
    let refused = none.check(());
    assert_eq!(refused.verdict(), Verdict::Impossible);
    assert_eq!((refused.limit(), refused.remaining()), (0, 0));
    assert_eq!(refused.retry_after(), None);
    let all = world.limiter.limit("all").unwrap();
    let admitted = all.check_cost((), u64::MAX);
    assert!(admitted.is_allowed());
    assert_eq!(admitted.remaining(), u64::MAX);
    assert_eq!(all.usage(()).used(), 0);
    assert!(!world.limiter.check(&Request::new()).is_allowed());
}

#[test]
fn a_request_may_not_cost_more_than_max_cost() {
    let world = world(
        r#"
        [limits.rows]
        rate = "1000/h"
        key = "user"
        cost = "page_size"
        cost_unsaid = 20
        max_cost = 50
        "#,
    );
    let rows = |size: &str| {
        world
            .limiter
            .check(&user("alice").attribute("page_size", size))
    };
    assert_eq!(rows("51").verdict(), Verdict::Impossible);
    assert_eq!(rows("51").retry_after(), None);
    assert_eq!(world.used("rows", "alice"), 0);
    assert!(rows("50").is_allowed());
    assert_eq!(world.used("rows", "alice"), 50);
    assert!(world.limiter.check(&user("alice")).is_allowed());
    assert_eq!(world.used("rows", "alice"), 70, "20 when unsaid");
    for odd in ["-1", "ten", "1.5", "99999999999999999999999", " 1", "0x10"] {
        let decision = rows(odd);
        assert_eq!(decision.verdict(), Verdict::CostUnreadable, "{odd:?}");
        assert!(!decision.is_allowed());
    }
    assert!(rows("0").is_allowed());
    assert_eq!(world.used("rows", "alice"), 71, "nobody asks for free");
    let rows = world.limiter.limit("rows").unwrap();
    assert_eq!(rows.check_cost("alice", 51).verdict(), Verdict::Impossible);
    assert!(rows.check_cost("alice", 50).is_allowed());
}

/// Row W11: who asks for more than a request may cost, or what cannot be read, is told the numbers
/// that there are, not those of a counter at rest.
#[test]
fn w11_a_refusal_for_its_cost_tells_true_numbers() {
    let all = "max_cost = 5\ncost = \"size\"";
    for text in each(&format!("{TEN}\n{all}")) {
        let world = world(&text);
        let of_size = |size: &str| world.limiter.check(&user("alice").attribute("size", size));
        assert!(of_size("4").is_allowed());
        let numbers = |outcome: &Outcome| {
            let (limit, used) = (outcome.limit(), outcome.used());
            (limit, used, outcome.remaining(), outcome.reset_after())
        };
        let ten = world.limiter.limit("ten").unwrap();
        let wanted = numbers(&ten.usage("alice"));
        assert_eq!((wanted.0, wanted.1, wanted.2), (10, 4, 6), "{text}");
        for (size, verdict) in [("6", Verdict::Impossible), ("six", Verdict::CostUnreadable)] {
            let refused = of_size(size);
            assert_eq!(refused.verdict(), verdict, "{text}");
            assert_eq!(numbers(&of(&refused, "ten")), wanted, "{text} {size}");
            assert_eq!(refused.retry_after(), None);
        }
        let direct = ten.check_cost("alice", 6);
        assert_eq!(direct.verdict(), Verdict::Impossible, "{text}");
        assert_eq!(numbers(&direct), wanted, "{text}");
        assert_eq!(direct.retry_after(), None);
        assert_eq!(numbers(&ten.usage("alice")), wanted, "nothing was taken");
    }
}

/// Row W11, for permits: what is refused for its cost is told how many run.
#[test]
fn w11_a_refusal_of_permits_tells_how_many_run() {
    let world = world(
        r#"
        [limits.jobs]
        max_concurrent = 4
        key = "user"
        cost = "size"
        max_cost = 3
        "#,
    );
    let of_size = |size: &'static str| user("alice").attribute("size", size);
    let held = world.limiter.try_acquire(&of_size("2"));
    assert!(held.is_allowed());
    for size in ["4", "four"] {
        let refused = world.limiter.try_acquire(&of_size(size));
        assert!(!refused.is_allowed());
        let jobs = refused.decision().concurrency().next().unwrap();
        assert_eq!((jobs.limit(), jobs.running()), (4, 2), "{size}");
    }
    let checked = world.limiter.check(&of_size("1"));
    assert_eq!(checked.verdict(), Verdict::NeedsPermit);
    assert_eq!(checked.concurrency().next().unwrap().running(), 2);
}

/// Row W11: without a key there is no counter, so no header says what is left of it.
#[test]
fn w11_a_refusal_without_a_counter_tells_no_numbers() {
    let headers = "[response]\nheaders = [\"x-ratelimit-seconds\"]";
    let rest = "key = \"user\"\nwhen_key_missing = \"refuse\"";
    let world = world(&format!("[limits.ten]\nrate = \"10/h\"\n{rest}\n{headers}"));
    let refused = world.limiter.check(&Request::new());
    assert_eq!(refused.verdict(), Verdict::KeyMissing);
    let mut told = Vec::new();
    refused
        .answer()
        .headers(|name, _| told.push(name.to_owned()));
    assert_eq!(told, ["x-ratelimit-limit"]);
}

#[test]
fn a_fixed_cost_is_the_policys() {
    let world = world("[limits.search]\nrate = \"100/h\"\nkey = \"user\"\ncost = 7");
    assert!(world.limiter.check(&user("alice")).is_allowed());
    assert!(world.limiter.check(&user("alice").cost(90)).is_allowed());
    assert_eq!(world.used("search", "alice"), 14);
}

#[test]
fn edge_17_a_refusal_does_not_lengthen_the_wait() {
    for text in each(TEN) {
        let world = world(&text);
        assert_eq!(world.drain(&user("alice")), 10);
        let first = world.limiter.check(&user("alice").cost(3)).retry_after();
        for cost in [1, 10, 3, 11, u64::MAX, 3] {
            assert!(!world.limiter.check(&user("alice").cost(cost)).is_allowed());
        }
        assert_eq!(
            world.limiter.check(&user("alice").cost(3)).retry_after(),
            first,
            "{text}"
        );
        // Kept to the nanosecond.
        let wait = first.unwrap();
        world.clock.advance(wait - Duration::from_nanos(1));
        assert!(
            !world.limiter.check(&user("alice").cost(3)).is_allowed(),
            "{text}"
        );
        world.clock.advance(Duration::from_nanos(1));
        assert!(
            world.limiter.check(&user("alice").cost(3)).is_allowed(),
            "{text}"
        );
    }
}

#[test]
fn edge_13_windows_of_a_year_stay_a_year() {
    for algorithm in ["fixed window", "sliding window", "token bucket"] {
        let rate = "rate = \"10 per 365 days\"\nkey = \"user\"";
        let world = world(&format!(
            "[limits.year]\n{rate}\nalgorithm = \"{algorithm}\""
        ));
        assert_eq!(world.drain(&user("alice")), 10);
        for _ in 0..30 {
            world.pass(86_400);
            assert_eq!(world.drain(&user("alice")), 0, "{algorithm}");
        }
    }
}

#[test]
fn a_request_put_together_wrongly_is_refused_and_says_so() {
    let world = world(TEN);
    let reserved = Request::new().attribute("path", "/");
    let decision = world.limiter.check(&reserved);
    assert!(!decision.is_allowed());
    assert!(decision.error().is_some());
    assert!(!decision.verdict().is_allowed(), "{:?}", decision.verdict());
    assert_eq!(decision.retry_after(), None);
    assert!(decision.to_string().starts_with("refused: "), "{decision}");
    assert_eq!(decision.limits().len(), 0);
}
