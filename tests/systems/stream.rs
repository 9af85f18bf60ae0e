//! Stream: each endpoint and platform counts by itself, for the app and for each user.

use std::time::Duration;

use serde_json::Value;

#[cfg(feature = "dashboard")]
use crate::world::ADMIN;
use crate::world::{Answered, START, World, serve};

const IOS: &[&str] = &["X-Platform: ios"];
const ANDROID: &[&str] = &["X-Platform: android"];

/// `count` connects by as many users, so slowly that a second's limit never minds; all must pass.
fn connect(world: &World, count: u64, platform: &[&str]) {
    for user in 1..=count {
        let path = format!("/connect?api_key=app-1&user_id=u{user}");
        world.must_pass(1, "GET", &path, platform);
        if user.is_multiple_of(300) {
            world.clock.advance(Duration::from_secs(1));
        }
    }
}

#[test]
fn s1_platforms_and_endpoints_count_by_themselves() {
    let world = serve("stream");
    connect(&world, 6_000, IOS);
    connect(&world, 6_000, ANDROID);
    assert!(
        world.clock.now() < START + Duration::from_secs(60),
        "in one minute"
    );
    connect(&world, 4_000, IOS);
    let path = "/connect?api_key=app-1&user_id=another";
    let refused = world.must_refuse("GET", path, IOS);
    assert_eq!(refused.number("X-RateLimit-Limit"), 10_000);
    world.must_pass(1, "GET", path, ANDROID);
    // Another endpoint, another app.
    world.must_pass(1, "POST", "/channels?api_key=app-1&user_id=another", IOS);
    world.must_pass(1, "GET", "/connect?api_key=app-2&user_id=another", IOS);
}

#[test]
fn s2_a_user_has_sixty_a_minute_for_each_endpoint_and_platform() {
    let world = serve("stream");
    let path = "/channels?api_key=app-1&user_id=alice";
    world.must_pass(60, "POST", path, IOS);
    let refused = world.must_refuse("POST", path, IOS);
    assert_eq!(refused.number("X-RateLimit-Limit"), 60);
    world.must_pass(1, "POST", path, ANDROID);
    world.must_pass(1, "GET", "/connect?api_key=app-1&user_id=alice", IOS);
    world.must_pass(1, "POST", "/channels?api_key=app-1&user_id=bob", IOS);
    // What the user's limit refused was not taken from the app's.
    let usage = world.limiter.limit("app-minute").unwrap();
    let used = usage.usage(&["app-1", "/channels", "ios"]).used();
    assert_eq!(used, 61);
}

#[test]
fn s3_a_thirtieth_of_the_minutes_limit_each_second() {
    let world = serve("stream");
    let connect = |user: u64| format!("/connect?api_key=app-1&user_id=u{user}");
    for user in 0..333 {
        world.must_pass(1, "GET", &connect(user), IOS);
    }
    let refused = world.must_refuse("GET", &connect(333), IOS);
    assert_eq!(refused.number("X-RateLimit-Limit"), 333);
    assert_eq!(refused.number("Retry-After"), 1);
    world.clock.advance(Duration::from_secs(1));
    world.must_pass(1, "GET", &connect(333), IOS);
}

#[test]
fn s4_limit_remaining_and_reset_in_unix_seconds() {
    let world = serve("stream");
    world.clock.advance(Duration::from_secs(7));
    let answer = world.get("/connect?api_key=app-1&user_id=alice", IOS);
    assert_eq!(answer.number("X-RateLimit-Limit"), 60);
    assert_eq!(answer.number("X-RateLimit-Remaining"), 59);
    let minute = START.as_secs() + 60;
    assert_eq!(answer.number("X-RateLimit-Reset"), minute);
}

/// The limits of an endpoint and platform as they were told: name, limit, remaining.
fn told(answer: &Answered, endpoint: &str, platform: &str) -> Vec<(String, u64, u64)> {
    let json = answer.json();
    let all = json["rate_limits"].as_array().unwrap();
    let mut found = all
        .iter()
        .filter(|one| one["endpoint"] == endpoint && one["platform"] == platform);
    let one = found.next().unwrap_or_else(|| panic!("{json}"));
    assert!(found.next().is_none());
    let number = |limit: &Value, name: &str| limit[name].as_u64().unwrap();
    let limits = one["limits"].as_array().unwrap().iter();
    limits
        .map(|limit| {
            let name = limit["name"].as_str().unwrap().to_owned();
            (name, number(limit, "limit"), number(limit, "remaining"))
        })
        .collect()
}

#[test]
fn s5_limits_are_looked_at_by_platform_and_endpoint_for_nothing() {
    let world = serve("stream");
    world.must_pass(3, "GET", "/connect?api_key=app-1&user_id=alice", IOS);
    world.must_pass(2, "POST", "/channels?api_key=app-1&user_id=alice", ANDROID);
    let ask = "/rate_limits?api_key=app-1&user_id=alice";
    for _ in 0..3 {
        let all = world.get(ask, &[]);
        assert_eq!(all.status, 200);
        assert_eq!(all.header("x-ratelimit-limit"), None, "it is exempt");
        assert_eq!(all.json()["rate_limits"].as_array().unwrap().len(), 16);
        let named = |limits: [(&str, u64, u64); 3]| {
            limits
                .map(|(name, limit, left)| (name.to_owned(), limit, left))
                .to_vec()
        };
        let ios = named([
            ("user", 60, 57),
            ("app-second", 333, 330),
            ("app-minute", 10_000, 9_997),
        ]);
        assert_eq!(told(&all, "Connect", "ios"), ios);
        assert_eq!(told(&all, "QueryChannels", "android")[2].2, 9_998);
        assert_eq!(told(&all, "QueryChannels", "ios")[2].2, 10_000);
    }
    let json = world.get(ask, &[]).json();
    let reset = &json["rate_limits"][0]["limits"];
    let minute = reset
        .as_array()
        .unwrap()
        .iter()
        .find(|limit| limit["name"] == "app-minute");
    assert!(minute.unwrap()["reset"].is_u64());
    // Filtered.
    let some = world.get(
        &format!("{ask}&platform=ios,android&endpoints=Connect,SendMessage"),
        &[],
    );
    assert_eq!(some.json()["rate_limits"].as_array().unwrap().len(), 4);
    let one = world.get(&format!("{ask}&platform=ios&endpoint=Connect"), &[]);
    assert_eq!(one.json()["rate_limits"].as_array().unwrap().len(), 1);
    assert_eq!(told(&one, "Connect", "ios")[2].2, 9_997);
    // What is not known is said, not passed over.
    let wrong = world.get(&format!("{ask}&platform=windows"), &[]);
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains("android"), "{wrong:?}");
}

#[test]
fn s6_a_plan_raises_the_apps_limits() {
    let world = serve("stream");
    // 2,000 a second instead of 333, 60,000 a minute instead of 10,000.
    for user in 0..2_000 {
        let path = format!("/connect?api_key=enterprise-1&user_id=u{user}");
        world.must_pass(1, "GET", &path, IOS);
    }
    let path = "/connect?api_key=enterprise-1&user_id=another";
    let refused = world.must_refuse("GET", path, IOS);
    assert_eq!(refused.number("X-RateLimit-Limit"), 2_000);
    world.clock.advance(Duration::from_secs(1));
    world.must_pass(1, "GET", "/connect?api_key=enterprise-1", IOS);
    let usage = world.limiter.limit("app-minute").unwrap();
    assert_eq!(
        usage.usage(&["enterprise-1", "/connect", "ios"]).used(),
        2_001
    );
}

#[cfg(feature = "dashboard")]
#[test]
fn s7_the_dashboard_shows_administrators_what_is_used() {
    let world = serve("stream");
    connect(&world, 3, IOS);
    let stranger = world.get("/admin/dashboard", &[]);
    assert_eq!((stranger.status, stranger.body.as_str()), (401, ""));
    let authorization = format!("Authorization: {ADMIN}");
    let page = world.get("/admin/dashboard", &[&authorization]);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let shown = world.get("/admin/dashboard?data", &[&authorization]).json();
    let limits = shown["limits"].as_array().unwrap().iter();
    let app = limits
        .clone()
        .find(|limit| limit["name"] == "app-minute")
        .unwrap();
    assert_eq!((&app["allowed"], &app["refused"]), (&3.into(), &0.into()));
}
