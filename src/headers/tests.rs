//! Answers of decisions that a limiter made.

use std::time::Duration;

use super::*;
use crate::{Limiter, ManualClock, Policy, Request, Timestamp};

struct World {
    limiter: Limiter,
    clock: ManualClock,
    _dir: tempfile::TempDir,
}

fn world(policy: &str) -> World {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let dir = dir.unwrap();
    let policy = Policy::from_toml(policy).unwrap_or_else(|faults| panic!("{faults}"));
    let clock = ManualClock::new(Timestamp::from_secs(1_759_996_800));
    let builder = Limiter::builder(policy).counters(100).clock(clock.clone());
    World {
        limiter: builder.open(dir.path().join("data")).unwrap(),
        clock,
        _dir: dir,
    }
}

fn headers(decision: &Decision) -> Vec<String> {
    let mut lines = Vec::new();
    decision
        .answer()
        .headers(|name, value| lines.push(format!("{name}: {value}")));
    lines
}

fn body(decision: &Decision) -> Option<(String, String)> {
    let mut text = String::new();
    let kind = decision.answer().body(&mut text)?.to_owned();
    Some((kind, text))
}

#[test]
fn a_body_is_filled_by_kind_of_value() {
    let world = world(
        r#"
        [limits."a.b-c"]
        rate = "1/min"
        algorithm = "fixed window"
        [response.body]
        number = "{retry_after}"
        text = "in {retry_after} s, {{truly}} \"now\"\n"
        absent = "{tier}"
        said = "{tier | \"none\"}"
        within = "tier {tier}, {tier | no \\ tier}"
        name = "{limit_name}"
        status = "{status}"
        own = [1, 2.5, true, { deep = "\u0001" }]
        "#,
    );
    let request = Request::new();
    let allowed = world.limiter.check(&request);
    assert_eq!((allowed.answer().status(), body(&allowed)), (None, None));
    world.clock.advance(Duration::from_millis(20_001));
    let refused = world.limiter.check(&request);
    let (kind, text) = body(&refused).unwrap();
    assert_eq!(kind, "application/json");
    let wanted = concat!(
        r#"{"number":40,"text":"in 40 s, {truly} \"now\"\n","#,
        r#""said":"\"none\"","within":"tier unknown, no \\ tier","name":"a.b-c","#,
        r#""status":429,"own":[1,2.5,true,{"deep":"\u0001"}]}"#,
    );
    assert_eq!(text, wanted);
}

#[test]
fn h11_a_body_has_no_null() {
    let world = world(
        r#"
        [limits.running]
        max_concurrent = 1
        [response]
        headers = ["retry-after"]
        [response.body]
        wait = "{retry_after}"
        tier = "{tier}"
        limit = "{limit}"
        error = { reset = "{reset}", text = "{{", after = "{reset_after}" }
        empty = { wait = "{retry_after}" }
        list = ["{tier}", "{used}", "{reset}", "{limit}"]
        none = ["{tier}"]
        text = ",{retry_after | ,}{tier | ,},"
        last = "{tier}"
        "#,
    );
    let request = Request::new();
    let held = world.limiter.acquire(&request);
    let full = world.limiter.try_acquire(&request);
    let (_, text) = body(full.decision()).unwrap();
    let wanted = concat!(
        r#"{"limit":1,"error":{"text":"{"},"empty":{},"list":[1,1],"none":[],"#,
        r#""text":",,,,"}"#,
    );
    assert_eq!(text, wanted);
    // Nobody knows when a permit is back, so nothing says so.
    assert!(headers(full.decision()).is_empty());
    drop(held);
}

#[test]
fn what_is_unknown_is_left_out_or_replaced() {
    let world = world(
        r#"
        [limits.one]
        rate = "1/min"
        [limits.open]
        rate = "unlimited"
        [[routes]]
        route = "/open"
        limits = ["open"]
        [[routes]]
        route = "/one"
        limits = ["one"]
        [response]
        headers = [
            "x-ratelimit-unix", "retry-after", "X-Tier: {tier | free}", "X-All: {used} {tier}",
        ]
        body = "wait {retry_after} s"
        "#,
    );
    let open = world.limiter.check(&Request::http("GET", "/open"));
    assert_eq!(headers(&open), ["x-tier: free"]);
    let none = world.limiter.check(&Request::http("GET", "/none"));
    assert_eq!(headers(&none), ["x-tier: free"]);
    let one = Request::http("GET", "/one");
    let (allowed, refused) = (world.limiter.check(&one), world.limiter.check(&one));
    let numbers = [
        "x-ratelimit-limit: 1",
        "x-ratelimit-remaining: 0",
        "x-ratelimit-reset: 1759996860",
    ];
    assert_eq!(headers(&allowed)[..3], numbers);
    assert_eq!(headers(&refused)[..3], numbers);
    assert_eq!(headers(&refused)[3..], ["retry-after: 60", "x-tier: free"]);
    let text = "text/plain; charset=utf-8".to_owned();
    assert_eq!(body(&refused), Some((text, "wait 60 s".to_owned())));
}

#[test]
fn refusals_that_no_wait_helps_have_another_status_and_no_wait() {
    let world = world(
        r#"
        [limits.page]
        rate = "100/min"
        cost = "size"
        max_cost = 50
        [limits.shut]
        rate = "deny"
        [[routes]]
        route = "/page"
        limits = ["page"]
        [[routes]]
        route = "/shut"
        limits = ["shut"]
        [response]
        headers = ["retry-after"]
        body = "wait"
        [[response.refusals]]
        limits = ["shut"]
        when = "impossible"
        status = 451
        "#,
    );
    let json = "application/json".to_owned();
    let page = Request::http("GET", "/page").attribute("size", "51");
    let page = world.limiter.check(&page);
    assert_eq!(page.answer().status(), Some(400));
    assert_eq!(headers(&page), [""; 0]);
    let said = r#"{"code":400,"message":"impossible, more is asked for than there is"}"#;
    assert_eq!(body(&page), Some((json, said.to_owned())));
    let shut = world.limiter.check(&Request::http("GET", "/shut"));
    assert_eq!(shut.answer().status(), Some(451));
    assert_eq!(headers(&shut), [""; 0]);
    // In gRPC's terms: no code stands for 451.
    assert_eq!(page.answer().grpc_status(), Some(3));
    assert_eq!(shut.answer().grpc_status(), Some(3));
    assert_eq!(shut.answer().grpc_pushback_ms(), Some(-1));
}

#[test]
fn a_wait_too_long_for_grpc_is_not_waited_for() {
    let world = world(
        r#"
        [limits.one]
        rate = "1 per 40 d"
        algorithm = "fixed window from first hit"
        "#,
    );
    let request = Request::new();
    let allowed = world.limiter.check(&request);
    let refused = world.limiter.check(&request);
    let (allowed, refused) = (allowed.answer(), refused.answer());
    assert_eq!(
        (allowed.grpc_status(), allowed.grpc_pushback_ms()),
        (None, None)
    );
    assert_eq!(
        (refused.grpc_status(), refused.grpc_pushback_ms()),
        (Some(8), Some(-1))
    );
    world.clock.advance(Duration::from_secs(39 * 86_400));
    let refused = world.limiter.check(&request);
    assert_eq!(refused.answer().grpc_pushback_ms(), Some(86_400_000));
}

#[test]
fn a_refusal_by_permits_tells_of_them_and_promises_nothing() {
    let world = world(
        r#"
        [limits.heavy]
        max_concurrent = 2
        [limits.rate]
        rate = "100/min"
        [response]
        headers = ["x-ratelimit-unix", "retry-after"]
        [[response.refusals]]
        limits = ["rate"]
        body = "rate"
        [[response.refusals]]
        limits = ["heavy"]
        body = "heavy {limit} {remaining}"
        "#,
    );
    let request = Request::new();
    let held = [
        world.limiter.try_acquire(&request),
        world.limiter.try_acquire(&request),
    ];
    let refused = world.limiter.try_acquire(&request);
    let refused = refused.decision();
    let numbers = ["x-ratelimit-limit: 2", "x-ratelimit-remaining: 0"];
    assert_eq!(headers(refused), numbers);
    assert_eq!(body(refused).unwrap().1, "heavy 2 0");
    drop(held);
    world.limiter.close().unwrap();
    let closed = world.limiter.try_acquire(&request);
    assert_eq!(closed.decision().answer().status(), Some(503));
}

/// The numbers that a caller of one limit is told, one request after another.
fn told(rate: &str, requests: usize) -> Vec<String> {
    let world = world(&format!(
        "[limits.one]\nrate = \"{rate}\"\n\
         [response]\nlimit = \"rate\"\nheaders = [\"X-Told: {{limit}} {{remaining}} {{used}}\"]"
    ));
    let told = (0..requests).map(|_| {
        let decision = world.limiter.check(&Request::new());
        let allowed = if decision.is_allowed() {
            ""
        } else {
            " refused"
        };
        headers(&decision).concat() + allowed
    });
    told.collect()
}

#[test]
fn the_rate_is_told_without_what_the_burst_has_beyond_it() {
    let wanted = [
        "x-told: 2 1 1",
        "x-told: 2 0 2",
        "x-told: 2 0 3",
        "x-told: 2 0 3 refused",
    ];
    assert_eq!(told("2/min burst 3", 4), wanted);
    // What is never there at once is not told either.
    let wanted = ["x-told: 1 0 1", "x-told: 1 0 1 refused"];
    assert_eq!(told("2/min burst 1", 2), wanted);
    assert_eq!(told("2/min", 1), ["x-told: 2 1 1"]);
}

#[cfg(feature = "sfv")]
#[test]
fn the_drafts_quota_is_the_rates_where_that_is_told() {
    let world = world(
        r#"
        [limits.one]
        rate = "100/min burst 150"
        [response]
        limit = "rate"
        headers = ["ratelimit-draft-10"]
        "#,
    );
    let wanted = [
        r#"ratelimit-policy: "one";q=100;w=60"#,
        r#"ratelimit: "one";r=99;t=1"#,
    ];
    assert_eq!(headers(&world.limiter.check(&Request::new())), wanted);
}

/// Row Q3: after the last that is admitted, the next is told to wait where a policy asks for it.
#[test]
fn q3_a_wait_is_told_to_whoever_has_to_wait() {
    let world = world(
        r#"
        [limits.all]
        rate = "2/min burst 2"
        key = "user"
        new_keys = "1/h"
        [limits.tried]
        rate = "1/h"
        shadow = true
        [response]
        headers = ["x-ratelimit-wait", "retry-after", "x-next: in {wait | 0} s"]
        "#,
    );
    let told = || {
        let request = Request::new().attribute("user", "alice");
        headers(&world.limiter.check(&request))
    };
    assert_eq!(told(), ["x-next: in 0 s"]);
    assert_eq!(told(), ["x-ratelimit-wait: 30", "x-next: in 30 s"]);
    let refused = ["x-ratelimit-wait: 30", "retry-after: 30", "x-next: in 30 s"];
    assert_eq!(told(), refused);
}
