//! What others got wrong over HTTP, by the numbers of the list of edge cases.

use std::time::Duration;

use crate::world::{Answered, START, World, serve_policy};

/// Any path under `policy`.
fn serve(policy: &str) -> World {
    serve_policy("any", policy)
}

#[test]
fn edge_44_retry_after_is_whole_at_least_one_and_true() {
    for (rate, algorithm, most) in [
        ("7 per 10 s", "token bucket", 7),
        ("600/min burst 3", "token bucket", 3),
        ("5 per 7 s", "fixed window", 5),
        ("5 per 7 s", "fixed window from first hit", 5),
        ("9 per 10 s", "sliding window", 9),
        ("4/h", "calendar", 4),
    ] {
        let world = serve(&format!(
            r#"
            [limits.one]
            rate = "{rate}"
            algorithm = "{algorithm}"
            [response]
            headers = ["retry-after", "x-retry-after", "x-ratelimit-wait"]
            "#
        ));
        world.clock.advance(Duration::from_nanos(3_300_000_001));
        for round in 0..5 {
            let mut served = 0;
            // Row Q3: what the one before was told of this one.
            let mut told = None;
            let refused = loop {
                let answer = world.get("/x", &[]);
                match answer.status {
                    200 => served += 1,
                    _ => break answer,
                }
                assert_eq!(told, None, "{rate} {algorithm}: it was not to wait");
                told = answer.header("x-ratelimit-wait").map(str::to_owned);
                assert_eq!(answer.header("retry-after"), None);
                assert!(served <= most, "{rate} {algorithm}");
            };
            assert!(served >= 1, "it was told to come now: {rate} {algorithm}");
            assert_eq!(refused.status, 429);
            let wait = refused.number("retry-after");
            assert!((1..=3_600).contains(&wait), "{rate} {algorithm}: {wait}");
            assert_eq!(refused.number("x-retry-after"), wait);
            assert_eq!(refused.number("x-ratelimit-wait"), wait);
            assert_eq!(told, Some(wait.to_string()), "{rate} {algorithm}");
            // Not longer than it takes: a second earlier is too early.
            if wait > 1 {
                world.clock.advance(Duration::from_secs(wait - 1));
                let early = world.must_refuse("GET", "/x", &[]);
                assert_eq!(early.number("retry-after"), 1, "{rate} {algorithm} {round}");
                world.clock.advance(Duration::from_secs(1));
            } else {
                world.clock.advance(Duration::from_secs(wait));
            }
        }
    }
}

#[test]
fn edge_44_of_several_limits_the_longest_wait_is_told() {
    let world = serve(
        r#"
        [limits.second]
        rate = "1 per 2 s"
        algorithm = "fixed window"
        [limits.minute]
        rate = "2/min"
        algorithm = "fixed window"
        [limits.hour]
        rate = "100/h"
        algorithm = "fixed window"
        [response]
        headers = ["retry-after", "X-Limit: {limit_name}"]
        "#,
    );
    world.must_pass(1, "GET", "/x", &[]);
    let refused = world.must_refuse("GET", "/x", &[]);
    assert_eq!(refused.header("x-limit"), Some("second"));
    assert_eq!(refused.number("retry-after"), 2);
    world.clock.advance(Duration::from_secs(2));
    world.must_pass(1, "GET", "/x", &[]);
    // Two refuse now; who waits for the shorter is refused again.
    let refused = world.must_refuse("GET", "/x", &[]);
    assert_eq!(refused.header("x-limit"), Some("minute"));
    let wait = refused.number("retry-after");
    assert_eq!(wait, 58);
    world.clock.advance(Duration::from_secs(wait));
    world.must_pass(1, "GET", "/x", &[]);
}

#[cfg(feature = "sfv")]
#[test]
fn edge_45_the_drafts_fields_tell_of_the_limit_that_rules() {
    use sfv::{BareItem, ListEntry, Parser};
    let list = |answer: &Answered, name: &str| -> Vec<(String, Vec<(String, BareItem)>)> {
        let list: sfv::List = Parser::new(answer.header(name).unwrap()).parse().unwrap();
        let entries = list.into_iter().map(|entry| {
            let ListEntry::Item(item) = entry else {
                panic!("no item: {entry:?}")
            };
            let BareItem::String(name) = item.bare_item else {
                panic!("the draft has strings here")
            };
            let parameters = item.params.into_iter();
            let parameters = parameters.map(|(key, value)| (key.as_str().to_owned(), value));
            (name.as_str().to_owned(), parameters.collect())
        });
        entries.collect()
    };
    let numbers = |wanted: &[(&str, i64)]| -> Vec<(String, BareItem)> {
        let wanted = wanted.iter();
        let pairs = wanted.map(|(key, value)| {
            let value = sfv::Integer::try_from(*value).unwrap();
            ((*key).to_owned(), BareItem::Integer(value))
        });
        pairs.collect()
    };
    let world = serve(
        r#"
        [limits.permin]
        rate = "50/min"
        algorithm = "fixed window"
        [limits.perday]
        rate = "5000/day"
        algorithm = "fixed window"
        [limits.smooth]
        rate = "100/s burst 500"
        [limits.seen]
        rate = "1/h"
        shadow = true
        [response]
        headers = ["ratelimit-draft-10", "retry-after"]
        "#,
    );
    world.clock.advance(Duration::from_millis(500));
    let answer = world.get("/x", &[]);
    let policies = [
        ("permin".to_owned(), numbers(&[("q", 50), ("w", 60)])),
        ("smooth".to_owned(), numbers(&[("q", 500), ("w", 5)])),
        ("perday".to_owned(), numbers(&[("q", 5_000), ("w", 86_400)])),
    ];
    assert_eq!(list(&answer, "ratelimit-policy"), policies);
    let state = [("permin".to_owned(), numbers(&[("r", 49), ("t", 60)]))];
    assert_eq!(list(&answer, "ratelimit"), state);
    world.must_pass(49, "GET", "/x", &[]);
    world.clock.advance(Duration::from_secs(20));
    let refused = world.must_refuse("GET", "/x", &[]);
    // The wait and `t` name one instant.
    let state = [("permin".to_owned(), numbers(&[("r", 0), ("t", 40)]))];
    assert_eq!(list(&refused, "ratelimit"), state);
    assert_eq!(refused.number("retry-after"), 40);
}

#[cfg(feature = "sfv")]
#[test]
fn h10_the_drafts_t_is_the_time_until_more_is_there() {
    let told = |answer: &Answered| answer.header("ratelimit").map(str::to_owned);
    let serve = |own: &str| {
        serve(&format!(
            "[limits.one]\n{own}\n\
             [response]\nheaders = [\"ratelimit-draft-10\", \"retry-after\"]"
        ))
    };
    let world = serve("rate = \"60/min\"");
    world.must_pass(59, "GET", "/x", &[]);
    let last = world.get("/x", &[]);
    assert_eq!(told(&last).as_deref(), Some(r#""one";r=0;t=1"#));
    let refused = world.must_refuse("GET", "/x", &[]);
    assert_eq!(told(&refused).as_deref(), Some(r#""one";r=0;t=1"#));
    assert_eq!(refused.number("retry-after"), 1);
    // More is there after that, and it is told that more comes; all of it takes a minute.
    world.clock.advance(Duration::from_secs(31));
    assert_eq!(
        told(&world.get("/x", &[])).as_deref(),
        Some(r#""one";r=30;t=1"#)
    );
    // What a window took comes back at its end.
    let world = serve("rate = \"2/min\"\nalgorithm = \"fixed window\"");
    world.clock.advance(Duration::from_secs(20));
    for left in [1, 0] {
        let wanted = format!("\"one\";r={left};t=40");
        assert_eq!(told(&world.get("/x", &[])), Some(wanted));
    }
    let refused = world.must_refuse("GET", "/x", &[]);
    assert_eq!(told(&refused).as_deref(), Some(r#""one";r=0;t=40"#));
    // By the rate, the burst beyond it comes back before any of what is told.
    let world = serve_policy(
        "any",
        "[limits.one]\nrate = \"60/min burst 90\"\n[response]\nlimit = \"rate\"\n\
         headers = [\"ratelimit-draft-10\"]",
    );
    world.must_pass(89, "GET", "/x", &[]);
    // 90 are used, 31 must come back for 59 to be used.
    let last = world.get("/x", &[]);
    assert_eq!(told(&last).as_deref(), Some(r#""one";r=0;t=31"#));
}

#[cfg(feature = "sfv")]
#[test]
fn edge_45_what_may_run_at_a_time_has_a_unit_of_its_own() {
    let world = serve(
        r#"
        [limits.running]
        max_concurrent = 1
        [response]
        headers = ["ratelimit-draft-10", "retry-after"]
        "#,
    );
    let held = world.limiter.acquire(&tollgate::Request::new());
    let refused = world.must_refuse("GET", "/x", &[]);
    let policy = r#""running";q=1;qu="concurrent-requests""#;
    assert_eq!(refused.header("ratelimit-policy"), Some(policy));
    assert_eq!(refused.header("ratelimit"), Some(r#""running";r=0"#));
    // Nobody knows when it will have ended.
    assert_eq!(refused.header("retry-after"), None);
    drop(held);
    world.must_pass(1, "GET", "/x", &[]);
}

#[test]
fn edge_45_the_limit_with_the_least_left_is_told() {
    let world = serve(
        r#"
        [limits.small]
        rate = "3/s burst 3"
        [limits.large]
        rate = "5/h"
        algorithm = "fixed window"
        [limits.open]
        rate = "unlimited"
        [response]
        headers = ["x-ratelimit-seconds"]
        "#,
    );
    let told = |answer: Answered| {
        let limit = answer.number("x-ratelimit-limit");
        (limit, answer.number("x-ratelimit-remaining"))
    };
    assert_eq!(told(world.get("/x", &[])), (3, 2));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(told(world.get("/x", &[])), (3, 2));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(told(world.get("/x", &[])), (3, 2));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(told(world.get("/x", &[])), (5, 1));
}

#[test]
fn edge_46_reset_is_told_in_each_dialect() {
    for (dialect, name, reset) in [
        (
            "x-ratelimit-unix",
            "x-ratelimit-reset",
            START.as_secs() + 60,
        ),
        ("x-ratelimit-seconds", "x-ratelimit-reset", 50),
        ("x-ratelimit-reset-after", "x-ratelimit-reset-after", 50),
        ("X-Left: {reset_after}", "x-left", 50),
    ] {
        let world = serve(&format!(
            r#"
            [limits.one]
            rate = "2/min"
            algorithm = "fixed window"
            [response]
            headers = ["{dialect}"]
            "#
        ));
        // Half a second more, so that rounding shows.
        world.clock.advance(Duration::from_millis(10_500));
        let answer = world.get("/x", &[]);
        assert_eq!(answer.number(name), reset, "{dialect}");
    }
}

#[test]
fn edge_47_exempt_routes_are_free_and_no_spelling_escapes() {
    let world = serve(
        r#"
        [limits.one]
        rate = "3/min"
        algorithm = "fixed window"
        [[routes]]
        route = "/health"
        exempt = true
        [[routes]]
        route = "/caf\u00e9/{id}"
        limits = ["one"]
        [response]
        headers = ["x-ratelimit-seconds"]
        "#,
    );
    for _ in 0..5 {
        let answer = world.get("/health", &[]);
        assert_eq!(answer.header("x-ratelimit-limit"), None);
    }
    // HEAD and spellings count; the case of a path tells it apart.
    let left = |answer: Answered| answer.number("x-ratelimit-remaining");
    assert_eq!(left(world.send("HEAD", "/caf%C3%A9/1", &[])), 2);
    assert_eq!(left(world.get("/caf%C3%A9/%31", &[])), 1);
    assert_eq!(world.get("/caf%c3%a9//%31/", &[]).status, 400);
    assert_eq!(
        world.get("/Caf%C3%A9/1", &[]).header("x-ratelimit-limit"),
        None
    );
    assert_eq!(left(world.send("OPTIONS", "/caf%C3%A9/1", &[])), 0);
    world.must_refuse("GET", "/caf%C3%A9/1", &[]);
}

#[test]
fn h4_a_preflight_that_a_handler_could_serve_is_charged() {
    let world = serve("[limits.one]\nrate = \"10/min\"\nkey = \"ip\"");
    let preflight = [
        "Origin: https://a.example",
        "Access-Control-Request-Method: GET",
    ];
    world.must_pass(10, "OPTIONS", "/x", &preflight);
    world.must_refuse("OPTIONS", "/x", &preflight);
    world.must_refuse("GET", "/x", &[]);
}

/// Which client a request with these forwarding headers counts as, among those that came before.
fn client_of(policy: &str, header: &str, cases: &[(&[&str], u64)]) {
    let world = serve(&format!(
        r#"
        [limits.one]
        rate = "100/h"
        algorithm = "fixed window"
        key = "ip"
        [request]
        {policy}
        [response]
        headers = ["x-ratelimit-seconds"]
        "#
    ));
    for (values, left) in cases {
        let lines: Vec<_> = values
            .iter()
            .map(|value| format!("{header}: {value}"))
            .collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let answer = world.get("/x", &lines);
        assert_eq!(
            answer.number("x-ratelimit-remaining"),
            *left,
            "{header}: {values:?}"
        );
    }
}

#[test]
fn edge_48_only_trusted_proxies_are_believed() {
    // Nobody is trusted: all are the peer, whatever they write.
    client_of(
        "",
        "X-Forwarded-For",
        &[(&["1.1.1.1"], 99), (&["2.2.2.2"], 98), (&[], 97)],
    );
    // The one peer there is, is another's.
    let other = "trusted_proxies = [\"10.0.0.0/8\"]";
    client_of(
        other,
        "X-Forwarded-For",
        &[(&["1.1.1.1"], 99), (&["2.2.2.2"], 98)],
    );
    let trusted = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\", \"2001:db8::/32\"]";
    client_of(
        trusted,
        "X-Forwarded-For",
        &[
            (&["1.1.1.1"], 99),
            (&["1.1.1.1"], 98),
            // The rightmost that is no proxy of ours; what stands left of it he may have made up.
            (&["9.9.9.9, 1.1.1.1"], 97),
            (&["9.9.9.9, 1.1.1.1, 10.1.2.3"], 96),
            (&["1.1.1.1:4711"], 95),
            (&["::ffff:1.1.1.1"], 94),
            (&["9.9.9.9", "1.1.1.1, 10.0.0.1"], 93),
            (&["2.2.2.2"], 99),
            (&["2001:0:0:1::5"], 99),
            (&["[2001:0:0:1::6]:80, 2001:db8::1"], 98),
            // Nothing, or nothing that is an address: the proxy itself, not one counter for all.
            (&[], 99),
            (&["unknown"], 98),
            (&["1.1.1.1, "], 97),
            (&["1.1.1.1, garbage"], 96),
            // Behind two proxies, and the outer one sent garbage.
            (&["garbage, 10.7.7.7"], 99),
            (&["1.1.1.1, garbage, 10.7.7.7"], 98),
            // All are ours: the one that is furthest away.
            (&["10.8.8.8, 10.9.9.9"], 99),
        ],
    );
    let standard = format!("{trusted}\nforwarded = \"forwarded\"");
    client_of(
        &standard,
        "Forwarded",
        &[
            (&["for=1.1.1.1"], 99),
            (&["for=9.9.9.9, For=\"1.1.1.1:80\";proto=https"], 98),
            (&["proto=https; for=1.1.1.1;by=10.0.0.1"], 97),
            (&["for=\"[2001:0:0:1::5]:4711\""], 99),
            (&["for=unknown"], 99),
            (&["for=_hidden"], 98),
        ],
    );
    let single = format!("{trusted}\nforwarded = \"x-real-ip\"");
    client_of(
        &single,
        "X-Real-IP",
        &[(&["1.1.1.1"], 99), (&["1.1.1.1"], 98), (&["nobody"], 99)],
    );
}

#[test]
fn edge_48_a_network_written_ipv4_mapped_is_that_network() {
    let mapped = "trusted_proxies = [\"::ffff:127.0.0.1\", \"::ffff:10.0.0.0/104\"]";
    client_of(
        mapped,
        "X-Forwarded-For",
        &[
            (&["1.1.1.1"], 99),
            (&["2.2.2.2"], 99),
            (&["1.1.1.1, 10.1.2.3"], 98),
        ],
    );
}

#[test]
fn edge_49_connections_share_one_limiter() {
    let world = serve(
        r#"
        [limits.one]
        rate = "5/h"
        "#,
    );
    // Each has a connection of its own, for which the server clones its service.
    for _ in 0..5 {
        assert_eq!(world.send_from("127.0.0.3", "GET", "/x").status, 200);
    }
    assert_eq!(world.send_from("127.0.0.3", "GET", "/x").status, 429);
    world.must_refuse("GET", "/x", &[]);
}

#[test]
fn edge_50_a_shadow_limit_neither_refuses_nor_hides_nor_shows() {
    let world = serve(
        r#"
        [limits.trial]
        rate = "1/h"
        algorithm = "fixed window"
        shadow = true
        [limits.real]
        rate = "3/h"
        algorithm = "fixed window"
        [response]
        headers = ["x-ratelimit-seconds", "retry-after"]
        "#,
    );
    for left in [2, 1, 0] {
        let answer = world.get("/x", &[]);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.number("x-ratelimit-limit"), 3);
        assert_eq!(answer.number("x-ratelimit-remaining"), left);
    }
    let refused = world.must_refuse("GET", "/x", &[]);
    assert_eq!(
        refused.number("x-ratelimit-limit"),
        3,
        "the enforced one refused"
    );
    let trial = world.limiter.limit("trial").unwrap().usage(());
    assert_eq!(trial.used(), 1, "it is counted");
}
