//! Skakio: tiers by the prefix of the key, a day's quota, careful authentication.

use std::time::Duration;

use serde_json::json;

use crate::world::{START, serve};

const PUBLIC: &[&str] = &["X-Api-Key: pk_test_1"];
const SECRET: &[&str] = &["X-Api-Key: sk_test_1"];

#[test]
fn a4_every_response_tells_limit_remaining_reset_and_tier() {
    let world = serve("skakio");
    let answer = world.get("/api/listing/1", PUBLIC);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.number("X-RateLimit-Limit"), 150);
    assert_eq!(answer.number("X-RateLimit-Remaining"), 149);
    // One of a hundred a minute is back after 600 ms; headers tell whole seconds.
    assert_eq!(answer.number("X-RateLimit-Reset"), START.as_secs() + 1);
    assert_eq!(answer.header("X-RateLimit-Tier"), Some("public_key"));
    assert_eq!(answer.header("Retry-After"), None);

    let answer = world.get("/api/listing/1", SECRET);
    assert_eq!(answer.number("X-RateLimit-Limit"), 1_500);
    assert_eq!(answer.header("X-RateLimit-Tier"), Some("secret_key"));
    // Not found is a response, too.
    let answer = world.get("/nowhere", SECRET);
    assert_eq!(answer.status, 404);
    assert_eq!(answer.number("X-RateLimit-Remaining"), 1_498);
}

#[test]
fn a5_a_refusal_has_the_documented_body_and_a_true_retry_after() {
    let world = serve("skakio");
    world.must_pass(150, "GET", "/api/listing/1", PUBLIC);
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
