//! Tiers and buckets: different rates over the same counters.

use tollgate::Request;

use super::{of, world};

const TIERS: &str = r#"
    [limits.day]
    rate = "100/day"
    algorithm = "calendar"
    key = "account"
    [limits.minute]
    rate = "10/min"
    key = "account"
    [tiers.secret]
    when = { api_key = "sk_*" }
    rates = { day = "1000/day", minute = "1000/min burst 1500" }
"#;

fn request<'r>(account: &'r str, key: &'r str) -> Request<'r> {
    Request::new()
        .attribute("account", account)
        .attribute("api_key", key)
}

#[test]
fn a8_upgrading_keeps_what_was_used_today() {
    let world = world(TIERS);
    assert_eq!(world.drain(&request("alice", "pk_1")), 10);
    let upgraded = world.limiter.check(&request("alice", "sk_1"));
    assert!(upgraded.is_allowed());
    assert_eq!(upgraded.tier(), Some("secret"));
    assert_eq!(
        (of(&upgraded, "day").used(), of(&upgraded, "day").limit()),
        (11, 1000)
    );
    // And back: lower, with what was used still used.
    let day = of(&world.limiter.check(&request("alice", "pk_1")), "day");
    assert_eq!((day.used(), day.limit()), (11, 100));
}

#[test]
fn edge_12_a_tier_below_what_is_used_has_nothing_left() {
    let world = world(TIERS);
    assert!(
        world
            .limiter
            .check(&request("alice", "sk_1").cost(700))
            .is_allowed()
    );
    let lowered = world.limiter.check(&request("alice", "pk_1"));
    assert!(!lowered.is_allowed());
    let day = of(&lowered, "day");
    assert_eq!((day.used(), day.limit(), day.remaining()), (700, 100, 0));
    assert_eq!(world.drain(&request("alice", "sk_1")), 300);
}

/// Changing tiers to and fro is a client's own choice where the tier hangs on the request.
#[test]
fn edge_43_changing_tiers_refills_nothing() {
    let world = world(
        r#"
        [limits.calls]
        rate = "100/day burst 10"
        key = "ip"
        [tiers.member]
        when = { user = true }
        rates = { calls = "100/day burst 1000" }
        "#,
    );
    let guest = Request::new().attribute("ip", "192.0.2.1");
    let member = guest.clone().attribute("user", "mallory");
    let mut admitted = 0;
    for _ in 0..5 {
        admitted += world.drain(&member);
        assert!(!world.limiter.check(&guest).is_allowed());
        admitted += world.drain(&guest);
    }
    assert_eq!(admitted, 1000);
    assert_eq!(world.limiter.health().words_healed, 0, "no clock was wrong");
    // Ten days later the guest has his ten again.
    world.pass(86_400 * 10);
    assert_eq!(world.drain(&guest), 10);
}

#[test]
fn c6_splitting_a_bucket_keeps_the_counts() {
    let whole = r#"
        [limits.write]
        rate = "120/min"
        key = "user"
        [limits.read]
        rate = "300/min"
        key = "user"
        [buckets.write]
        limits = ["write"]
        routes = ["PUT /state", "PUT /metadata"]
        [buckets.read]
        limits = ["read"]
        routes = ["GET /state"]
    "#;
    let split = r#"
        [limits.write]
        rate = "120/min"
        key = "user"
        [limits.state-write]
        rate = "20/min"
        key = "user"
        [limits.read]
        rate = "300/min"
        key = "user"
        [buckets.write]
        limits = ["write"]
        routes = ["PUT /metadata"]
        [buckets.state-write]
        inside = "write"
        limits = ["state-write"]
        routes = ["PUT /state"]
        [buckets.read]
        limits = ["read"]
        routes = ["GET /state"]
    "#;
    let put = |path| Request::http("PUT", path).attribute("user", "alice");
    let world = world(whole);
    for _ in 0..50 {
        assert!(world.limiter.check(&put("/state")).is_allowed());
        let read = Request::http("GET", "/state").attribute("user", "alice");
        assert!(world.limiter.check(&read).is_allowed());
    }
    world.replace(split);
    assert_eq!(
        (world.used("write", "alice"), world.used("read", "alice")),
        (50, 50)
    );
    assert_eq!(world.drain(&put("/state")), 20);
    assert_eq!(
        world.used("write", "alice"),
        70,
        "the outer bucket counts what is inside"
    );
    assert_eq!(world.drain(&put("/metadata")), 50);
    let world = world.reopened(split);
    assert_eq!(world.used("write", "alice"), 120, "and after a restart");
}
