//! Several limits together: who rules, how long to wait, what the decision says of itself.

use std::time::Duration;

use tollgate::{Request, Verdict};

use super::{of, user, world};

const THREE: &str = r#"
    [limits.second]
    rate = "2/s"
    key = "user"
    [limits.hour]
    rate = "5/h"
    algorithm = "fixed window"
    key = "user"
    [limits.all]
    rate = "100/h"
"#;

#[test]
fn edge_27_refused_by_one_charged_to_none() {
    let world = world(THREE);
    assert_eq!(world.drain(&user("alice")), 2);
    let used = |limit: &str| world.used(limit, "alice");
    assert_eq!((used("second"), used("hour")), (2, 2));
    assert_eq!(world.limiter.limit("all").unwrap().usage(()).used(), 2);
}

#[test]
fn the_wait_is_the_longest_and_the_limit_to_wait_for_rules() {
    let world = world(THREE);
    assert_eq!(world.drain(&user("alice")), 2);
    let refused = world.limiter.check(&user("alice"));
    assert_eq!(refused.ruling().unwrap().name(), "second");
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(500)));
    world.pass(60);
    assert_eq!(world.drain(&user("alice")), 2);
    world.pass(60);
    assert_eq!(world.drain(&user("alice")), 1, "the hour is full");
    assert!(
        world
            .limiter
            .limit("second")
            .unwrap()
            .check("alice")
            .is_allowed()
    );
    let refused = world.limiter.check(&user("alice"));
    let refusing = refused.limits().filter(|limit| !limit.is_allowed());
    let names: Vec<_> = refusing.map(|limit| limit.name().to_owned()).collect();
    assert_eq!(names, ["second", "hour"]);
    assert_eq!(refused.ruling().unwrap().name(), "hour");
    assert_eq!(
        refused.retry_after(),
        Some(Duration::from_secs(3_600 - 120))
    );
    // The promise is of both.
    world
        .clock
        .advance(Duration::from_secs(3_600 - 120) - Duration::from_nanos(1));
    assert!(!world.limiter.check(&user("alice")).is_allowed());
    world.clock.advance(Duration::from_nanos(1));
    assert!(world.limiter.check(&user("alice")).is_allowed());
}

#[test]
fn never_is_longer_than_any_wait() {
    let world = world(THREE);
    assert_eq!(world.drain(&user("alice")), 2);
    let refused = world.limiter.check(&user("alice").cost(3));
    assert_eq!(refused.ruling().unwrap().name(), "second");
    assert_eq!(refused.verdict(), Verdict::Impossible);
    assert_eq!(refused.retry_after(), None);
    let refused = world.limiter.check(&user("bob").cost(6));
    assert_eq!(refused.retry_after(), None);
    assert_eq!(of(&refused, "all").verdict(), Verdict::Allowed);
}

#[test]
fn of_limits_with_room_the_one_with_least_rules() {
    let world = world(THREE);
    let decision = world.limiter.check(&user("alice"));
    assert_eq!(decision.ruling().unwrap().name(), "second");
    world.pass(1);
    assert!(world.limiter.check(&user("alice")).is_allowed());
    world.pass(1);
    assert!(world.limiter.check(&user("alice")).is_allowed());
    world.pass(1);
    let decision = world.limiter.check(&user("alice"));
    assert_eq!(
        decision.ruling().unwrap().name(),
        "second",
        "of equals the strictest"
    );
    world.pass(1);
    let decision = world.limiter.check(&user("alice"));
    assert_eq!(decision.ruling().unwrap().name(), "hour");
    assert_eq!(decision.retry_after(), Some(Duration::ZERO));
    let order: Vec<_> = decision
        .limits()
        .map(|limit| limit.name().to_owned())
        .collect();
    assert_eq!(order, ["second", "hour", "all"], "strictest first");
}

#[test]
fn a_decision_explains_itself_in_one_line() {
    let world = world(THREE);
    let line = |request: &Request<'_>| world.limiter.check(request).to_string();
    assert_eq!(
        line(&user("alice")),
        "allowed by second: allowed, 1 of 2 left; hour: allowed, 4 of 5 left; \
         all: allowed, 99 of 100 left"
    );
    assert!(world.limiter.check(&user("alice")).is_allowed());
    assert_eq!(
        line(&user("alice")),
        "refused by second: refused, 2 of 2 used, 1 can be taken in 0.500 s; \
         hour: allowed, 3 of 5 left; all: allowed, 98 of 100 left"
    );
    assert_eq!(
        line(&user("bob").cost(3)),
        "refused by second: impossible, 3 is more than one request may take; \
         hour: allowed, 5 of 5 left; all: allowed, 98 of 100 left"
    );
    let route = r#"
        [limits.none]
        rate = "deny"
        [[routes]]
        route = "GET /health"
        exempt = true
        [[routes]]
        route = "GET /closed"
        limits = ["none"]
    "#;
    world.replace(route);
    let closed = world.limiter.check(&Request::http("GET", "/closed"));
    assert_eq!(
        closed.to_string(),
        "refused by none: refused, it admits nothing"
    );
    assert_eq!(closed.route(), Some("/closed"));
    let health = world.limiter.check(&Request::http("GET", "/health"));
    assert_eq!(health.to_string(), "allowed: /health is exempt");
    assert!(health.is_exempt() && health.is_allowed() && health.ruling().is_none());
    assert_eq!(
        line(&Request::http("GET", "/other")),
        "allowed: no limit applies"
    );
}
