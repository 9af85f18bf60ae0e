//! Skakio: tiers by the prefix of the key, a day's quota, careful authentication.

use std::time::Duration;

use serde_json::json;
use tollgate::{Limiter, Policy};

use crate::common;
use crate::process::Server;
use crate::world::{Answered, START, policy_text, serve};

const PUBLIC: &[&str] = &["X-Api-Key: pk_test_1"];
const SECRET: &[&str] = &["X-Api-Key: sk_test_1"];

#[test]
fn a4_every_response_tells_limit_remaining_reset_and_tier() {
    let world = serve("skakio");
    let answer = world.get("/api/listing/1", PUBLIC);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.number("X-RateLimit-Limit"), 100);
    assert_eq!(answer.number("X-RateLimit-Remaining"), 99);
    // One of a hundred a minute is back after 600 ms; headers tell whole seconds.
    assert_eq!(answer.number("X-RateLimit-Reset"), START.as_secs() + 1);
    assert_eq!(answer.header("X-RateLimit-Tier"), Some("public_key"));
    assert_eq!(answer.header("Retry-After"), None);

    let answer = world.get("/api/listing/1", SECRET);
    assert_eq!(answer.number("X-RateLimit-Limit"), 1_000);
    assert_eq!(answer.header("X-RateLimit-Tier"), Some("secret_key"));
    // As in the document: five of a hundred used, and a minute's end or less until all is back.
    for _ in 0..3 {
        world.get("/api/listing/1", PUBLIC);
    }
    let answer = world.get("/api/listing/1", PUBLIC);
    assert_eq!(answer.number("X-RateLimit-Remaining"), 95);
    assert_eq!(answer.number("X-RateLimit-Reset"), START.as_secs() + 3);
    // Not found is a response, too.
    let answer = world.get("/nowhere", SECRET);
    assert_eq!(answer.status, 404);
    assert_eq!(answer.number("X-RateLimit-Remaining"), 998);
}

#[test]
fn a5_a_refusal_has_the_documented_body_and_a_true_retry_after() {
    let world = serve("skakio");
    for used in 1..=150 {
        let answer = world.get("/api/listing/1", PUBLIC);
        assert_eq!(
            (answer.status, answer.number("X-RateLimit-Limit")),
            (200, 100)
        );
        // The burst beyond the rate is for who does not look.
        let left = 100_u64.saturating_sub(used);
        assert_eq!(answer.number("X-RateLimit-Remaining"), left);
    }
    let refused = world.must_refuse("GET", "/api/listing/1", PUBLIC);
    assert_eq!(refused.number("Retry-After"), 1);
    assert_eq!(refused.number("X-RateLimit-Remaining"), 0);
    assert_eq!(refused.header("X-RateLimit-Tier"), Some("public_key"));
    let wanted = json!({
        "code": 429,
        "status": "error",
        "error": {
            "code": "RATE_LIMIT_EXCEEDED",
            "message": "Rate limit exceeded. Retry after 1 seconds.",
            "tier": "public_key",
        },
    });
    assert_eq!(refused.json(), wanted);
    world.clock.advance(Duration::from_secs(1));
    world.must_pass(1, "GET", "/api/listing/1", PUBLIC);
}

#[test]
fn a1_the_keys_prefix_tells_the_tier() {
    let world = serve("skakio");
    for (key, burst, per_minute) in [(PUBLIC, 150, 100), (SECRET, 1_500, 1_000)] {
        world.must_pass(burst, "GET", "/api/listing/1", key);
        world.must_refuse("GET", "/api/listing/1", key);
        world.clock.advance(Duration::from_secs(60));
        world.must_pass(per_minute, "GET", "/api/listing/1", key);
        world.must_refuse("GET", "/api/listing/1", key);
    }
    // The day's quota, a burst every minute and a half: at its end the next day's.
    let world = serve("skakio");
    for _ in 0..66 {
        world.must_pass(150, "GET", "/api/listing/1", PUBLIC);
        world.clock.advance(Duration::from_secs(90));
    }
    world.must_pass(100, "GET", "/api/listing/1", PUBLIC);
    let refused = world.must_refuse("GET", "/api/listing/1", PUBLIC);
    assert_eq!(refused.number("X-RateLimit-Limit"), 10_000);
    let midnight = START.as_secs() / 86_400 * 86_400 + 86_400;
    assert_eq!(refused.number("X-RateLimit-Reset"), midnight);
    let wait = refused.number("Retry-After");
    assert_eq!(world.clock.now().as_secs() + wait, midnight);
    world.clock.advance(Duration::from_secs(wait));
    world.must_pass(1, "GET", "/api/listing/1", PUBLIC);
}

#[test]
fn a2_authentication_has_stricter_limits() {
    for path in ["/auth/token", "/auth/validate", "/auth/refresh"] {
        let world = serve("skakio");
        world.must_pass(20, "POST", path, SECRET);
        let refused = world.must_refuse("POST", path, SECRET);
        assert_eq!(refused.number("X-RateLimit-Limit"), 10);
        world.must_pass(1, "GET", "/api/listing/1", SECRET);
        world.clock.advance(Duration::from_secs(1));
        world.must_pass(10, "POST", path, SECRET);
        world.must_refuse("POST", path, SECRET);
    }
}

#[test]
fn a3_by_key_or_by_address_for_who_has_none() {
    let world = serve("skakio");
    let left = |answer: Answered| answer.number("X-RateLimit-Remaining");
    let path = "/api/listing/1";
    assert_eq!(left(world.get(path, PUBLIC)), 99);
    assert_eq!(left(world.get(path, &["X-Api-Key: pk_test_2"])), 99);
    assert_eq!(
        left(world.get(path, &["Authorization: Bearer pk_test_2"])),
        98
    );
    let anonymous = world.get(path, &[]);
    assert_eq!(anonymous.header("X-RateLimit-Tier"), None);
    assert_eq!(left(anonymous), 99);
    assert_eq!(left(world.send_from("127.0.0.1", "GET", path)), 98);
    assert_eq!(left(world.send_from("127.0.0.2", "GET", path)), 99);
}

#[test]
fn a8_one_key_has_limits_of_its_own_and_an_upgrade_keeps_what_was_used() {
    let world = serve("skakio");
    world.must_pass(50, "GET", "/api/listing/1", PUBLIC);
    let set = |limit: &str, rate: &str| {
        let key = json!({ "api_key": "pk_test_1" });
        let body = json!({ "limit": limit, "key": key, "rate": rate });
        assert_eq!(world.admin("PUT", "overrides", body).status, 200);
    };
    // Enterprise: the minute's limit and the day's.
    set("per-minute", "1000/min burst 1500");
    set("per-day", "100/day");
    world.must_pass(50, "GET", "/api/listing/1", PUBLIC);
    let refused = world.must_refuse("GET", "/api/listing/1", PUBLIC);
    assert_eq!(
        refused.number("X-RateLimit-Limit"),
        100,
        "fifty were used before"
    );
    set("per-day", "100000/day");
    world.must_pass(1, "GET", "/api/listing/1", PUBLIC);

    // Another tier for the same key, by another policy: what it used today stays used.
    let upgraded = policy_text("skakio").replace("api_key = \"pk_*\"", "api_key = \"pk_free_*\"");
    let upgraded = upgraded.replace("\"sk_*\"", "[\"sk_*\", \"pk_test_*\"]");
    assert_eq!(world.admin("PUT", "policy", upgraded).status, 200);
    let answer = world.get("/api/listing/1", PUBLIC);
    assert_eq!(answer.header("X-RateLimit-Tier"), Some("secret_key"));
    let used = world
        .limiter
        .limit("per-day")
        .unwrap()
        .usage("pk_test_1")
        .used();
    assert_eq!(used, 102);

    // What a key has used can be forgotten.
    let reset = json!({ "limit": "per-day", "key": { "api_key": "pk_test_1" } });
    assert_eq!(world.admin("POST", "reset", reset).status, 200);
    let used = world
        .limiter
        .limit("per-day")
        .unwrap()
        .usage("pk_test_1")
        .used();
    assert_eq!(used, 0);
}

#[test]
fn a9_a_page_larger_than_any_is_impossible_not_late() {
    let world = serve("skakio");
    let cost = |path: &str| {
        let limit = world.limiter.limit("listing").unwrap();
        let before = limit.usage("sk_test_1").used();
        let answer = world.get(path, SECRET);
        (answer, limit.usage("sk_test_1").used() - before)
    };
    for (path, taken) in [
        ("/api/store-listings", 20),
        ("/api/store-listings?limit=1", 1),
        ("/api/store-listings?page=3&limit=50", 50),
    ] {
        let (answer, used) = cost(path);
        assert_eq!((answer.status, used), (200, taken), "{path}");
    }
    for path in [
        "/api/store-listings?limit=51",
        "/api/store-listings?limit=lots",
    ] {
        let (answer, used) = cost(path);
        assert_eq!((answer.status, used), (400, 0), "{path}");
        assert_eq!(answer.header("Retry-After"), None);
        assert_eq!(answer.json()["error"]["code"], "LIMIT_TOO_HIGH");
    }
    // And it cost the other limits nothing.
    let day = world.limiter.limit("per-day").unwrap();
    assert_eq!(day.usage("sk_test_1").used(), 3);
}

#[test]
fn a6_a_days_quota_survives_a_kill_and_a_restart_of_the_server() {
    let dir = common::scratch();
    let data = dir.path().join("data");
    let mut used = 0;
    let mut check = |answer: Answered| {
        assert_eq!(answer.status, 200, "{answer:?}");
        used += 1;
    };
    for round in 0..3 {
        let server = Server::start("skakio", &data);
        for _ in 0..20 {
            check(server.get("/api/listing/1", SECRET));
        }
        match round {
            1 => server.terminate(),
            _ => server.kill(),
        }
    }
    // What was answered is counted, exactly; asked of the same directory, and of a fourth server.
    let server = Server::start("skakio", &data);
    check(server.get("/api/listing/1", SECRET));
    server.kill();
    let policy = Policy::from_toml(&policy_text("skakio")).unwrap();
    let limiter = Limiter::open(&data, policy).unwrap();
    let day = limiter.limit("per-day").unwrap();
    assert_eq!(day.usage("sk_test_1").used(), used);
}
