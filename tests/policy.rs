//! The policy language through the public API: the five systems, faults, and what requests meet.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use tollgate::{Explanation, Policy, Request, RequestError};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "nothing in {}", folder.display());
    files
}

fn example(name: &str) -> Policy {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/policies/{name}.toml"));
    read(&fs::read_to_string(path).unwrap())
}

fn read(text: &str) -> Policy {
    Policy::from_toml(text).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

fn explain(policy: &Policy, request: &Request<'_>) -> Explanation {
    policy.explain(request).unwrap()
}

/// Each limit that the request meets, as `name: rate [key]`.
fn met(policy: &Policy, request: &Request<'_>) -> Vec<String> {
    let explanation = explain(policy, request);
    let limits = explanation.limits.iter();
    limits
        .map(|limit| format!("{}: {} [{}]", limit.limit, limit.rate, limit.key))
        .collect()
}

fn names(policy: &Policy, request: &Request<'_>) -> Vec<String> {
    let limits = explain(policy, request).limits;
    limits.into_iter().map(|limit| limit.limit).collect()
}

#[test]
fn every_example_is_a_policy_of_a_page() {
    for path in files("examples/policies") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.lines().count() <= 80,
            "{} is over a page",
            path.display()
        );
        Policy::from_toml(&text).unwrap_or_else(|faults| panic!("{}\n{faults}", path.display()));
    }
}

/// Each file of `bad` says its faults in lines that start with `#! `; each must be told, in this
/// order, and no other.
#[test]
fn every_bad_policy_tells_all_its_faults_in_their_order() {
    for path in files("tests/policies/bad") {
        let text = fs::read_to_string(&path).unwrap();
        let wanted: Vec<_> = text.lines().filter_map(|l| l.strip_prefix("#! ")).collect();
        assert!(!wanted.is_empty(), "{} expects nothing", path.display());
        let faults = Policy::from_toml(&text).expect_err(&path.display().to_string());
        let told: Vec<_> = faults.iter().map(|fault| fault.to_string()).collect();
        let is_told = told.len() == wanted.len()
            && told
                .iter()
                .zip(&wanted)
                .all(|(told, wanted)| told.starts_with(wanted));
        assert!(
            is_told,
            "{}\nwanted {wanted:#?}\ntold {told:#?}",
            path.display()
        );
    }
}

#[test]
fn c1_to_c4_chastify() {
    let policy = example("chastify");
    let path = "/api/extensions/sessions/s1/state";
    let get = |ip| {
        Request::http("GET", path)
            .attribute("api_key", "k")
            .address("ip", ip)
    };
    assert_eq!(
        met(&policy, &get(IP)),
        ["read: 300 per minute [api_key=k {sessionId}=s1]"]
    );
    for method in ["PUT", "PATCH"] {
        let request = Request::http(method, path)
            .attribute("user", "u")
            .address("ip", IP);
        let wanted = "write: 120 per minute [user=u {sessionId}=s1]";
        assert_eq!(met(&policy, &request), [wanted]);
    }
    let anonymous = Request::http("POST", "/api/extensions/sessions/s2/files").address("ip", IP);
    assert_eq!(
        met(&policy, &anonymous),
        ["upload: 10 per minute [ip=203.0.113.7 {sessionId}=s2]"]
    );
    for (method, end, bucket) in [
        ("POST", "action", "action"),
        ("POST", "device-command", "action"),
        ("POST", "logs/custom", "action"),
        ("POST", "notifications/custom", "action"),
        ("GET", "auth", "token"),
    ] {
        let path = format!("/api/extensions/sessions/s2/{end}");
        assert_eq!(
            names(&policy, &Request::http(method, &path)),
            [bucket],
            "{path}"
        );
    }
    let no_target = Request::http("GET", "/elsewhere").attribute("user", "u");
    assert_eq!(met(&policy, &no_target), ["read: 300 per minute [user=u]"]);
}

#[test]
fn c6_a_bucket_inside_a_bucket_adds_its_limits() {
    let text = "
        [limits.write]
        rate = '120/min'
        [limits.state]
        rate = '20/min'
        [buckets.write]
        limits = ['write']
        routes = ['PUT /a']
        [buckets.'state.write']
        inside = 'write'
        limits = ['state']
        routes = ['PUT /state']";
    let policy = read(text);
    assert_eq!(
        names(&policy, &Request::http("PUT", "/state")),
        ["state", "write"]
    );
    assert_eq!(names(&policy, &Request::http("PUT", "/a")), ["write"]);
    assert!(names(&policy, &Request::http("GET", "/a")).is_empty());
}

#[test]
fn h2_chameleon_runs_few_heavy_requests_at_a_time() {
    let policy = example("chameleon");
    let heavy = |plan| {
        let request = Request::http("POST", "/v3/analyze/segments").attribute("account", "a1");
        let limits = explain(&policy, &request.attribute("plan", plan)).limits;
        let one = limits.into_iter().find(|limit| limit.limit == "heavy");
        let one = one.unwrap();
        format!(
            "{}, {}, {}, cost {}",
            one.rate, one.algorithm, one.key, one.cost
        )
    };
    let rest = "16 more may wait up to 4 s, max_concurrent, account=a1, cost 1";
    assert_eq!(heavy("start"), format!("4 at a time, {rest}"));
    assert_eq!(heavy("enterprise"), format!("10 at a time, {rest}"));
    let other = Request::http("GET", "/v3/segments").attribute("account", "a1");
    assert_eq!(names(&policy, &other), ["global"]);
    let told: Vec<_> = policy.concurrency().collect();
    let words = "4 at a time, 16 more may wait up to 4 s (max_concurrent), for each account";
    assert_eq!(told, [("heavy", words.to_owned())]);
}

#[test]
fn h1_h3_chameleon() {
    let policy = example("chameleon");
    let edit = Request::http("POST", "/v3/edit/tours").attribute("account", "a");
    assert_eq!(
        met(&policy, &edit.clone().attribute("plan", "custom-7")),
        [
            "bucket: 20 per 12 seconds [account=a]",
            "global: 120 per minute [account=a]"
        ]
    );
    let other = Request::http("GET", "/v3/x").attribute("account", "a");
    assert_eq!(met(&policy, &other), ["global: 60 per minute [account=a]"]);
    assert!(explain(&policy, &Request::http("OPTIONS", "/v3/x")).exempt);
}

#[test]
fn c7_what_is_no_way_to_know_a_request_says_what_to_write() {
    for (said, told) in [
        (
            "remember = '24h'",
            "key is missing; write key = \"user + request_id\"",
        ),
        ("key = ''", "tells no request from another"),
        ("key = 'user + (run?)'", "leave the ? out"),
        ("key = 'run'\nremember = '0s'", "for no time"),
        ("key = 'run'\nremember = 'soon'", "write it like \"24h\""),
        (
            "key = 'run'\nremember = '1 month'",
            "months differ in length",
        ),
        ("key = 'run'\nremember = '1500 ms'", "whole seconds"),
        ("key = 'run'\nremember = '9000 d'", "idempotency.remember"),
        ("key = 'run'\nremember = 5", "a text belongs here"),
        ("key = '{run}'", "no route captures {run}"),
        (
            "key = 'run'\nrepeats = 'free'",
            "charge, answered by the service",
        ),
        (
            "key = 'run'\nmax_repeats = 3",
            "add repeats = \"answered by the service\"",
        ),
        (
            "key = 'run'\nrepeats = 'answered by the service'\nmax_repeats = 1001",
            "idempotency.max_repeats",
        ),
    ] {
        let text = format!("[limits.l]\nrate = '1/s'\n[idempotency]\n{said}\n");
        let faults = Policy::from_toml(&text).expect_err(said).to_string();
        assert!(faults.contains(told), "{said}: {faults}");
    }
}

#[test]
fn k2_k4_katforge() {
    let policy = example("katforge");
    for (method, path, rate) in [
        ("POST", "/v1/gateway/login", "10"),
        ("POST", "/v1/gateway/guest", "60"),
        ("POST", "/v1/gateway/upgrade", "10"),
        ("POST", "/v1/gateway/reset-password/confirm", "5"),
        ("POST", "/v1/users", "10"),
        ("POST", "/v1/users/check", "20"),
        ("POST", "/v1/leads/contact", "5"),
        ("POST", "/v1/subscribe", "5"),
        ("POST", "/v1/games/stumper/questions/generate", "30"),
        ("POST", "/v1/games/stumper/categorize", "20"),
        ("GET", "/v1/gateway/oauth/github/url", "30"),
    ] {
        let limits = explain(&policy, &Request::http(method, path).address("ip", IP)).limits;
        let rates: Vec<_> = limits.iter().map(|limit| limit.rate.as_str()).collect();
        assert_eq!(rates, [format!("{rate} per 60 seconds")], "{method} {path}");
    }
    let anonymous = Request::http("GET", "/v1/games/x").address("ip", IP);
    assert_eq!(
        met(&policy, &anonymous),
        ["browse: 60 per 60 seconds [ip=203.0.113.7]"]
    );
    let user = anonymous.attribute("user", "u");
    assert_eq!(met(&policy, &user), ["browse: 300 per 60 seconds [user=u]"]);
}

#[test]
fn s1_to_s3_s6_stream() {
    let policy = example("stream");
    let app = Request::http("POST", "/channels")
        .attribute("app", "a")
        .attribute("platform", "ios");
    let key = "app=a route=/channels platform=ios";
    assert_eq!(
        met(&policy, &app),
        [
            format!("app-second: 333 per second [{key}]"),
            format!("app-minute: 10000 per minute [{key}]"),
        ]
    );
    let raised = app.attribute("user", "u").attribute("plan", "enterprise");
    assert_eq!(
        met(&policy, &raised),
        [
            format!("user: 60 per minute [{key} user=u]"),
            format!("app-second: 2000 per second [{key}]"),
            format!("app-minute: 60000 per minute [{key}]"),
        ]
    );
}

#[test]
fn a1_a2_a3_a9_skakio() {
    let policy = example("skakio");
    let of = |key| {
        Request::http("GET", "/x")
            .attribute("api_key", key)
            .address("ip", IP)
    };
    let public = explain(&policy, &of("pk_1"));
    assert_eq!(public.tier.as_deref(), Some("public_key"));
    assert_eq!(
        met(&policy, &of("sk_1")),
        [
            "per-minute: 1000 per minute, burst 1500 [api_key=sk_1]",
            "per-day: 100000 per day [api_key=sk_1]",
        ]
    );
    let auth = Request::http("POST", "/auth/token").address("ip", IP);
    assert_eq!(
        met(&policy, &auth),
        [
            "auth: 10 per second, burst 20 [ip=203.0.113.7]",
            "per-minute: 100 per minute, burst 150 [ip=203.0.113.7]",
            "per-day: 10000 per day [ip=203.0.113.7]",
        ]
    );
    let listing = |size| {
        let request = Request::http("GET", "/api/store-listings").attribute("page_size", size);
        let request = request.address("ip", IP);
        let limits = explain(&policy, &request).limits;
        let found = limits
            .into_iter()
            .find(|limit| limit.limit == "listing")
            .unwrap();
        (found.cost, found.refusal.is_some())
    };
    assert_eq!(listing(""), (20, false));
    assert_eq!(listing("50"), (50, false));
    assert_eq!(listing("51"), (51, true));
    assert_eq!(listing("0"), (1, false));
    for junk in ["-1", "+1", "ten", "1e3", "99999999999999999999"] {
        assert_eq!(listing(junk), (u64::MAX, true), "{junk}");
    }
}

#[test]
fn json_says_the_same_as_toml() {
    let toml = "
        [limits.a]
        rate = '5/s'
        key = 'user'
        [tiers.t]
        when = { user = 'x*' }
        rates = { a = '7/s' }";
    let json = r#"{"limits": {"a": {"rate": "5/s", "key": "user"}},
        "tiers": {"t": {"when": {"user": "x*"}, "rates": {"a": "7/s"}}}}"#;
    let json = Policy::from_json(json).unwrap();
    for user in ["x1", "y", ""] {
        let request = Request::new().attribute("user", user);
        assert_eq!(explain(&json, &request), explain(&read(toml), &request));
    }
    let broken = Policy::from_json("{\n\"limits\": }").unwrap_err();
    assert_eq!(broken.iter().next().unwrap().line(), Some(2));
    let twice = r#"{"limits": {"a": {"rate": "5/s"}, "a": {"rate": "6/s"}}}"#;
    let faults = Policy::from_json(twice).unwrap_err();
    assert_eq!(faults.iter().next().unwrap().path(), "limits.a");
    assert!(faults.to_string().contains("said twice"));
}

#[test]
fn a_client_cannot_choose_an_attribute_by_its_path() {
    let text = "
        [limits.per-user]
        rate = '5/s'
        key = 'user | ip'
        [[routes]]
        route = '/users/{name}'
        limits = ['per-user']";
    let policy = read(text);
    let request = Request::http("GET", "/users/victim").address("ip", IP);
    assert_eq!(
        met(&policy, &request),
        ["per-user: 5 per second [ip=203.0.113.7]"]
    );
    // One name for both would be ambiguous, and is a fault that tells so.
    let faults = Policy::from_toml(&text.replace("{name}", "{user}")).unwrap_err();
    assert!(
        faults.to_string().contains("write {user} for the capture"),
        "{faults}"
    );
}

#[test]
fn a_request_put_together_wrongly_is_an_error() {
    let policy = read("[limits.l]\nrate = '1/s'");
    let names: Vec<String> = (0..33).map(|n| format!("a{n}")).collect();
    let full = names
        .iter()
        .take(32)
        .fold(Request::new(), |r, n| r.attribute(n, "x"));
    assert!(policy.explain(&full).is_ok());
    assert!(
        policy
            .explain(&full.clone().attribute("a0", "again"))
            .is_ok()
    );
    assert_eq!(
        policy.explain(&full.attribute("a32", "x")),
        Err(RequestError::TooManyAttributes)
    );
    assert_eq!(
        policy.explain(&Request::new().attribute("path", "x")),
        Err(RequestError::ReservedName)
    );
}

#[test]
fn a_branch_that_is_left_leaves_no_captures() {
    let policy = read(
        "
        [limits.l]
        rate = '1/s'
        key = '{y}'
        [buckets.b]
        limits = ['l']
        routes = ['/a/{x}.json/d', '/a/{y}/e', '/a/{z}/{w}/f']",
    );
    let request = Request::http("GET", "/a/c.json/e");
    assert_eq!(met(&policy, &request), ["l: 1 per second [{y}=c.json]"]);
}
