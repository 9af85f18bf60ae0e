//! KATforge: throttles by route, each for one address or user.

use std::time::Duration;

use serde_json::json;

use crate::world::{serve, serve_policy};

/// The documented routes, each with a path that it matches, and its limit a minute.
const ROUTES: [(&str, &str, u64); 11] = [
    ("POST", "/v1/gateway/login", 10),
    ("POST", "/v1/gateway/guest", 60),
    ("POST", "/v1/gateway/upgrade", 10),
    ("POST", "/v1/gateway/reset-password/request", 5),
    ("POST", "/v1/users", 10),
    ("POST", "/v1/users/check", 20),
    ("POST", "/v1/leads/contact", 5),
    ("POST", "/v1/subscribe", 5),
    ("POST", "/v1/games/stumper/questions/generate", 30),
    ("POST", "/v1/games/stumper/categorize", 20),
    ("GET", "/v1/gateway/oauth/google/url", 30),
];

#[test]
fn k1_strategies_count_by_address_user_route_or_user_and_address() {
    let policy = r#"
        [limits.ip]
        rate = "2 per 60 s"
        key = "ip + route"
        [limits.user]
        rate = "3 per 60 s"
        key = "user + route"
        when_key_missing = "skip"
        [limits.route]
        rate = "6 per 60 s"
        key = "route"
        [limits.ip_user]
        rate = "1 per 60 s"
        key = "user | ip"
        [[routes]]
        route = "/v1/users"
        limits = ["ip"]
        [[routes]]
        route = "/v1/subscribe"
        limits = ["user", "route"]
        [[routes]]
        route = "/v1/leads/contact"
        limits = ["ip_user"]
        [request.attributes]
        user = "bearer"
    "#;
    let world = serve_policy("katforge", policy);
    let user = |name: &str| format!("Authorization: Bearer {name}");
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    // By address: whoever it is.
    world.must_pass(1, "POST", "/v1/users", &[&alice]);
    world.must_pass(1, "POST", "/v1/users", &[&bob]);
    world.must_refuse("POST", "/v1/users", &[&alice]);
    assert_eq!(
        world.send_from("127.0.0.9", "POST", "/v1/users").status,
        200
    );
    // By user, and several on one route: all of the route together.
    world.must_pass(3, "POST", "/v1/subscribe", &[&alice]);
    world.must_refuse("POST", "/v1/subscribe", &[&alice]);
    world.must_pass(3, "POST", "/v1/subscribe", &[&bob]);
    let refused = world.must_refuse("POST", "/v1/subscribe", &[&carol]);
    assert!(refused.body.contains("429"), "{refused:?}");
    // By user, or by address for who is none.
    world.must_pass(1, "POST", "/v1/leads/contact", &[&alice]);
    world.must_pass(1, "POST", "/v1/leads/contact", &[&bob]);
    world.must_refuse("POST", "/v1/leads/contact", &[&bob]);
    world.must_pass(1, "POST", "/v1/leads/contact", &[]);
    world.must_refuse("POST", "/v1/leads/contact", &[]);
}

#[test]
fn k2_the_eleven_documented_routes_have_their_limits() {
    let world = serve("katforge");
    for (method, path, most) in ROUTES {
        world.must_pass(most, method, path, &[]);
        world.must_refuse(method, path, &[]);
        // Each address has its own.
        assert_eq!(
            world.send_from("127.0.0.8", method, path).status,
            200,
            "{path}"
        );
    }
    // A template is one route, whatever stands for its capture.
    world.must_refuse("GET", "/v1/gateway/oauth/apple/url", &[]);
    world.must_refuse("POST", "/v1/gateway/reset-password/confirm", &[]);
}

#[test]
fn k4_a_user_has_more_than_anonymous_callers_from_the_same_address() {
    let world = serve("katforge");
    world.must_pass(60, "GET", "/v1/games/list", &[]);
    world.must_refuse("GET", "/v1/games/list", &[]);
    let alice = ["Authorization: Bearer alice"];
    world.must_pass(300, "GET", "/v1/games/list", &alice);
    world.must_refuse("GET", "/v1/games/list", &alice);
}

#[test]
fn k5_a_refusal_has_the_documented_body_and_whole_seconds() {
    let world = serve("katforge");
    world.clock.advance(Duration::from_millis(18_300));
    world.must_pass(10, "POST", "/v1/gateway/login", &[]);
    let refused = world.must_refuse("POST", "/v1/gateway/login", &[]);
    assert_eq!(refused.json(), json!({ "message": "Rate limit exceeded" }));
    let wait = refused.number("Retry-After");
    assert_eq!(wait, 42);
    // Until the next is accepted, and no earlier by more than the rounding.
    world.clock.advance(Duration::from_secs(wait - 1));
    world.must_refuse("POST", "/v1/gateway/login", &[]);
    world.clock.advance(Duration::from_secs(1));
    world.must_pass(1, "POST", "/v1/gateway/login", &[]);
}
