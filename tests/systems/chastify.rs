//! Chastify: five buckets over one minute, counted for each caller and target.

use std::time::Duration;

use serde_json::json;

use crate::world::{Answered, World, policy_text, serve};

const KEY: &[&str] = &["Authorization: Bearer ext_1"];
const S1: &str = "/api/extensions/sessions/s1";
/// A route of each bucket, and what it allows.
const BUCKETS: [(&str, u64, &str, &str); 5] = [
    ("read", 300, "GET", ""),
    ("write", 120, "PUT", "/state"),
    ("upload", 10, "POST", "/files"),
    ("action", 30, "POST", "/action"),
    ("token", 30, "GET", "/auth"),
];

fn left(answer: &Answered) -> u64 {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.number("x-ratelimit-remaining")
}

#[test]
fn c1_five_named_buckets_over_one_minute() {
    let world = serve("chastify");
    world.clock.advance(Duration::from_secs(20));
    for (bucket, most, method, path) in BUCKETS {
        let path = format!("{S1}{path}");
        world.must_pass(most, method, &path, KEY);
        let refused = world.must_refuse(method, &path, KEY);
        assert_eq!(refused.json()["bucket"], bucket);
        assert_eq!(refused.number("x-ratelimit-limit"), most);
        assert_eq!(refused.number("retry-after"), 40, "the minute's end");
    }
    world.clock.advance(Duration::from_secs(40));
    for (_, most, method, path) in BUCKETS {
        let answer = world.send(method, &format!("{S1}{path}"), KEY);
        assert_eq!(left(&answer), most - 1);
    }
}

#[test]
fn c2_method_and_path_choose_the_bucket() {
    let world = serve("chastify");
    for (method, path, most) in [
        ("GET", "", 300),
        ("GET", "/state", 300),
        ("PUT", "/state", 120),
        ("PATCH", "/state", 120),
        ("POST", "/files", 10),
        ("POST", "/action", 30),
        ("POST", "/device-command", 30),
        ("POST", "/logs/custom", 30),
        ("POST", "/notifications/custom", 30),
        ("GET", "/auth", 30),
    ] {
        let answer = world.send(method, &format!("{S1}{path}"), KEY);
        assert_eq!(answer.number("x-ratelimit-limit"), most, "{method} {path}");
    }
    // Two routes of one bucket share its count: PUT and PATCH, and the four actions.
    let write = world.send("PUT", &format!("{S1}/state"), KEY);
    assert_eq!(left(&write), 117);
    let action = world.send("POST", &format!("{S1}/action"), KEY);
    assert_eq!(left(&action), 25);
}

#[test]
fn c3_the_key_is_user_or_api_key_or_address_and_the_target() {
    let world = serve("chastify");
    let path = format!("{S1}/action");
    let send = |headers: &[&str]| left(&world.send("POST", &path, headers));
    assert_eq!(send(KEY), 29);
    assert_eq!(send(KEY), 28);
    // Who has signed in counts as that, whatever key comes along.
    assert_eq!(send(&["Cookie: session=alice"]), 29);
    let both = ["Cookie: session=alice", "Authorization: Bearer ext_1"];
    assert_eq!(send(&both), 28);
    assert_eq!(send(&["Authorization: Bearer ext_2"]), 29);
    // Nobody in particular: by address.
    assert_eq!(send(&[]), 29);
    assert_eq!(left(&world.send_from("127.0.0.1", "POST", &path)), 28);
    assert_eq!(left(&world.send_from("127.0.0.2", "POST", &path)), 29);
    // The target: another session, a lock.
    let other = "/api/extensions/sessions/s2/action";
    assert_eq!(left(&world.send("POST", other, KEY)), 29);
    let lock = "/api/extensions/locks/s1/action";
    assert_eq!(
        left(&world.send("POST", lock, KEY)),
        29,
        "a lock is no session"
    );
}

#[test]
fn c4_one_noisy_session_leaves_the_others_theirs() {
    let world = serve("chastify");
    let path = |session| format!("/api/extensions/sessions/{session}/action");
    world.must_pass(30, "POST", &path("noisy"), KEY);
    world.must_refuse("POST", &path("noisy"), KEY);
    world.must_pass(30, "POST", &path("quiet"), KEY);
}

#[test]
fn c5_an_administrator_overrides_an_extensions_limit_while_it_runs() {
    let world = serve("chastify");
    let path = |session| format!("/api/extensions/sessions/{session}/action");
    let of = |world: &World, session| {
        let answer = world.send("POST", &path(session), KEY);
        (answer.number("x-ratelimit-limit"), left(&answer))
    };
    assert_eq!(of(&world, "s1"), (30, 29));
    let rate = json!({ "limit": "action", "key": { "api_key": "ext_1" }, "rate": "100/min" });
    assert_eq!(world.admin("PUT", "overrides", &rate).status, 200);
    // At once, with its counts kept, for every session of the extension, each by itself.
    assert_eq!(of(&world, "s1"), (100, 98));
    assert_eq!(of(&world, "s2"), (100, 99));
    let other = world.send("POST", &path("s1"), &["Authorization: Bearer ext_2"]);
    assert_eq!(other.number("x-ratelimit-limit"), 30);
    let listed = world.admin("GET", "overrides", "").json();
    assert_eq!(listed, json!({ "overrides": [rate] }));
    // Over a restart.
    let world = world.restart(&policy_text("chastify"));
    assert_eq!(of(&world, "s1"), (100, 97));
    // And back.
    let gone = world.admin(
        "DELETE",
        "overrides",
        json!({
            "limit": "action", "key": { "api_key": "ext_1" }
        }),
    );
    assert_eq!(gone.json(), json!({ "removed": true }));
    assert_eq!(of(&world, "s1"), (30, 26));
    let listed = world.admin("GET", "overrides", "").json();
    assert_eq!(listed, json!({ "overrides": [] }));
}

#[test]
fn c6_a_bucket_is_split_later_and_the_others_keep_their_counts() {
    let world = serve("chastify");
    let paths = ["", "/state", "/metadata"].map(|end| format!("{S1}{end}"));
    let [read, state, metadata] = &paths;
    world.must_pass(5, "GET", read, KEY);
    world.must_pass(7, "PUT", state, KEY);
    let before = policy_text("chastify");
    let split = before.replace(
        "  \"PUT|PATCH /api/extensions/sessions/:sessionId/metadata\",\n]",
        "]\n[buckets.\"metadata.write\"]\nlimits = [\"metadata.write\"]\n\
         routes = [\"PUT|PATCH /api/extensions/sessions/:sessionId/metadata\"]\n\
         [limits.\"metadata.write\"]\nrate = \"60/min\"\nalgorithm = \"fixed window\"\n\
         key = \"(user | api_key | ip) + ({sessionId} | {lockId})?\"",
    );
    assert_ne!(split, before);
    // Only the policy is edited; the service starts again with it.
    let world = world.restart(&split);
    assert_eq!(left(&world.send("GET", read, KEY)), 294);
    assert_eq!(left(&world.send("PUT", state, KEY)), 112);
    let new = world.send("PUT", metadata, KEY);
    assert_eq!((new.number("x-ratelimit-limit"), left(&new)), (60, 59));
}

#[test]
fn c7_a_settled_run_is_charged_once() {
    let world = serve("chastify");
    let path = format!("{S1}/action");
    let run = |run| ["Authorization: Bearer ext_1", run];
    let send = |world: &World, id| left(&world.send("POST", &path, &run(id)));
    assert_eq!(send(&world, "X-Run-Id: run-1"), 29);
    assert_eq!(send(&world, "X-Run-Id: run-1"), 29);
    assert_eq!(send(&world, "X-Run-Id: run-2"), 28);
    // Over a restart, too, and as long as it is said to be: a day.
    let policy = policy_text("chastify");
    let world = world.restart(&policy);
    assert_eq!(send(&world, "X-Run-Id: run-1"), 28);
    world.clock.advance(Duration::from_secs(23 * 3_600));
    assert_eq!(send(&world, "X-Run-Id: run-1"), 30);
    world.clock.advance(Duration::from_secs(2 * 3_600));
    assert_eq!(send(&world, "X-Run-Id: run-1"), 29);
}

#[test]
fn c7_another_callers_run_of_the_same_id_is_another_run() {
    let world = serve("chastify");
    let path = format!("{S1}/action");
    for caller in ["ext_1", "ext_2"] {
        let caller = format!("Authorization: Bearer {caller}");
        let headers = [caller.as_str(), "X-Run-Id: run-1"];
        assert_eq!(left(&world.send("POST", &path, &headers)), 29);
    }
}
