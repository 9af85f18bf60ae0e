//! Paths, methods, hosts, addresses, keys, costs: every field of a request.

use std::thread;

use axum::Router;
use axum::routing::{any, get};

use crate::world::{World, serve, serve_routes};

/// The limit of each test.
const BUDGET: usize = 5;

/// Sends each request of an attack twice, after the budget is spent honestly; none is served.
fn attack(world: &World, honest: (&str, &[&str]), requests: &[(&str, &[&str])]) {
    for _ in 0..BUDGET {
        let answer = world.send(honest.0, honest.1);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(world.served(), BUDGET);
    for (line, headers) in requests {
        for _ in 0..2 {
            let answer = world.send(line, headers);
            assert_eq!(world.served(), BUDGET, "{line} {headers:?}: {answer:?}");
        }
    }
}

/// A service with a limit on one route, and none on all others.
fn one_route() -> World {
    let policy = r#"
        [limits.items]
        rate = "5/min"
        key = "ip"
        [[routes]]
        route = "GET /items/{id}"
        limits = ["items"]
        [default]
        exempt = true
    "#;
    serve_routes(policy, Router::new().route("/items/{id}", get(|| async {})))
}

#[test]
fn a_path_spelled_differently_is_no_other_path() {
    let requests: Vec<(&str, &[&str])> = [
        "GET /items/1?a=b",
        "GET /items/1?",
        "GET /items/1?/../health",
        "GET /items/1;a=b",
        "GET /items/1%00",
        "GET /items/%31",
        "GET /items/1%2f2",
        "GET /%69tems/1",
        "GET /%69%74%65%6D%73/1",
        "GET //items/1",
        "GET /items//1",
        "GET /items/1/",
        "GET /ITEMS/1",
        "GET /items/\u{e9}",
        "GET /items/%ff",
        "GET /items/%zz",
        "GET /items/1#fragment",
        "GET http://service/items/1",
        "GET http://other:99/items/1?x",
        "GET HTTP://service//items/1",
    ]
    .map(|line| (line, &[][..]))
    .to_vec();
    attack(&one_route(), ("GET /items/1", &[]), &requests);
}

#[test]
fn a_method_in_other_words_is_no_other_method() {
    let overrides: &[&str] = &[
        "X-HTTP-Method-Override: DELETE",
        "X-Method-Override: OPTIONS",
        "_method: HEAD",
    ];
    let requests: &[(&str, &[&str])] = &[
        ("HEAD /items/1", &[]),
        ("get /items/1", &[]),
        ("Get /items/1", &[]),
        ("GET /items/1", overrides),
        ("POST /items/1?_method=GET", &["Content-Length: 0"]),
        ("PURGE /items/1", &[]),
    ];
    attack(&one_route(), ("GET /items/1", &[]), requests);
}

/// A limit for the whole service, by the client's address.
const BY_ADDRESS: &str = "[limits.all]\nrate = \"5/min\"\nkey = \"ip\"\n";

#[test]
fn nothing_that_a_client_writes_makes_it_another_client() {
    let mut requests: Vec<(&str, &[&str])> = vec![
        ("GET /", &["Host: other"]),
        ("GET /", &["Host: SERVICE:80"]),
        ("GET http://other/", &[]),
        ("GET /", &["X-Forwarded-For: 203.0.113.1"]),
        ("GET /", &["X-Forwarded-For: 203.0.113.1, 203.0.113.2"]),
        ("GET /", &["X-Real-IP: 203.0.113.3"]),
        ("GET /", &["Forwarded: for=203.0.113.4"]),
        ("GET /", &["Forwarded: for=\"[2001:db8::1]\""]),
        ("GET /", &["True-Client-IP: 203.0.113.5"]),
        ("GET /", &["CF-Connecting-IP: 203.0.113.6"]),
        ("GET /", &["Via: 1.1 somebody"]),
        ("GET /", &["User-Agent: another"]),
        ("GET /", &["Authorization: Bearer another"]),
        ("GET /", &["Cookie: session=another"]),
        ("GET /", &["Idempotency-Key: another"]),
        ("GET /", &["Accept: text/html"]),
        ("GET /", &["Accept-Encoding: br"]),
        ("GET /", &["Cache-Control: no-cache"]),
        ("GET /", &["Range: bytes=0-0"]),
        (
            "GET /",
            &["Upgrade: websocket", "Sec-WebSocket-Version: 13"],
        ),
        (
            "POST /",
            &["Content-Type: application/json", "Content-Length: 0"],
        ),
        ("POST /", &["Content-Type: text/plain", "Content-Length: 0"]),
        (
            "POST /",
            &["Content-Type: application/grpc", "Content-Length: 0"],
        ),
        (
            "POST /",
            &[
                "Content-Type: application/grpc-web+proto",
                "Content-Length: 0",
            ],
        ),
        ("POST /", &["Transfer-Encoding: chunked"]),
    ];
    for method in [
        "PUT /",
        "DELETE /",
        "PATCH /",
        "TRACE /",
        "PROPFIND /",
        "OPTIONS /",
    ] {
        requests.push((method, &["Content-Length: 0"]));
    }
    // A chunked body needs its end.
    requests.retain(|(_, headers)| !headers.contains(&"Transfer-Encoding: chunked"));
    attack(&serve(BY_ADDRESS), ("GET /", &[]), &requests);
}

#[test]
fn behind_a_proxy_only_what_the_proxy_says_counts() {
    let trusting = "[request]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let world = serve(&format!("{BY_ADDRESS}{trusting}"));
    let said: &[&str] = &["X-Forwarded-For: 203.0.113.9"];
    let requests: &[(&str, &[&str])] = &[
        ("GET /", &["X-Forwarded-For: 198.51.100.1, 203.0.113.9"]),
        (
            "GET /",
            &[
                "X-Forwarded-For: 198.51.100.2",
                "X-Forwarded-For: 203.0.113.9",
            ],
        ),
        ("GET /", &["X-Forwarded-For: 203.0.113.9:1234"]),
        ("GET /", &["X-Forwarded-For: ::ffff:203.0.113.9"]),
        ("GET /", &["X-Forwarded-For: [::ffff:203.0.113.9]:80"]),
        ("GET /", &["X-Forwarded-For:   203.0.113.9  "]),
        (
            "GET /",
            &["X-Forwarded-For: 203.0.113.9", "X-Real-IP: 198.51.100.3"],
        ),
        (
            "GET /",
            &[
                "X-Forwarded-For: 203.0.113.9",
                "Forwarded: for=198.51.100.4",
            ],
        ),
        // A client that says it is the proxy.
        ("GET /", &["X-Forwarded-For: 203.0.113.9, 127.0.0.1"]),
    ];
    attack(&world, ("GET /", said), requests);
    // And of addresses in version 6 a client has more than anybody can count.
    let world = serve(&format!("{BY_ADDRESS}{trusting}"));
    for number in 0..40 {
        let header = format!("X-Forwarded-For: 2001:db8:0:1:{number:x}::{number:x}");
        world.send("GET /", &[&header]);
    }
    assert_eq!(world.served(), BUDGET);
    // Whoever is no proxy is not believed.
    let world = serve(&format!("{BY_ADDRESS}{trusting}"));
    for number in 0..40 {
        let header = format!("X-Forwarded-For: 203.0.113.{number}");
        world.send_from("127.0.0.2", "GET /", &[&header]);
    }
    assert_eq!(world.served(), BUDGET);
}

#[test]
fn a_key_written_differently_is_no_other_key() {
    let policy = r#"
        [limits.key]
        rate = "5/min"
        key = "key"
        [request.attributes]
        key = "header X-Api-Key | bearer | query key | cookie key"
    "#;
    let world = serve(policy);
    let requests: &[(&str, &[&str])] = &[
        ("GET /", &["x-api-key: one"]),
        ("GET /", &["X-API-KEY:    one   "]),
        ("GET /", &["X-Api-Key:\tone"]),
        ("GET /", &["X-Api-Key: one", "X-Api-Key: two"]),
        ("GET /", &["Authorization: bearer one"]),
        ("GET /", &["Authorization: BEARER   one"]),
        ("GET /?key=one", &[]),
        ("GET /?key=%6fne", &[]),
        ("GET /?key=one&key=two", &[]),
        ("GET /?a&key=one", &["Cookie: key=two"]),
        ("GET /", &["Cookie: a=b; key=one; key=two"]),
        ("GET /", &["Cookie: a=b", "Cookie: key=one"]),
        ("GET /", &["X-Api-Key:", "Authorization: Bearer one"]),
    ];
    attack(&world, ("GET /", &["X-Api-Key: one"]), requests);
}

#[test]
fn a_client_without_a_key_is_not_without_limit() {
    let policy = r#"
        [limits.key]
        rate = "5/min"
        key = "key"
        when_key_missing = "share"
        [request.attributes]
        key = "header X-Api-Key | bearer"
    "#;
    let requests: &[(&str, &[&str])] = &[
        ("GET /", &["X-Api-Key:"]),
        ("GET /", &["X-Api-Key:    "]),
        ("GET /", &["Authorization: Bearer"]),
        ("GET /", &["Authorization: Bearer   "]),
        ("GET /", &["Authorization: Basic YTpi"]),
        ("GET /", &["Authorization: one"]),
    ];
    attack(&serve(policy), ("GET /", &[]), requests);
}

#[test]
fn a_cost_that_a_client_writes_is_never_less_than_one() {
    let policy = r#"
        [limits.size]
        rate = "5/min"
        key = "ip"
        cost = "size"
        [request.attributes]
        size = "header X-Size | query size"
    "#;
    let world = serve(policy);
    for number in 0..60 {
        let costs = [
            "0",
            "-1",
            "-0",
            "+1",
            "1e0",
            "0.1",
            "00",
            "0x1",
            "",
            " ",
            "\u{661}",
            "1,0",
            "1 0",
            "18446744073709551615",
            "18446744073709551616",
            "NaN",
            "true",
            "1;2",
            "1\t",
        ];
        let cost = format!("X-Size: {}", costs[number % costs.len()]);
        world.send("GET /", &[&cost]);
        world.send("GET /", &["X-Size: 1", &cost]);
        world.send("GET /?size=0", &[]);
        world.send("GET /?size=0&size=1", &[]);
    }
    assert_eq!(world.served(), BUDGET);
}

#[test]
fn many_connections_at_once_get_no_more() {
    let world = serve(BY_ADDRESS);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    world.send("GET /", &[]);
                }
            });
        }
    });
    assert_eq!(world.served(), BUDGET);
}

#[test]
fn requests_sent_ahead_on_one_connection_get_no_more() {
    let world = serve(BY_ADDRESS);
    let mut wire = world.connect("127.0.0.1");
    for _ in 0..30 {
        wire.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    wire.write("GET / HTTP/1.0\r\n\r\n");
    assert!(wire.read().text.matches("HTTP/1").count() >= 30);
    assert_eq!(world.served(), BUDGET);
}

#[test]
fn a_target_that_a_key_captures_is_one_in_every_spelling() {
    let policy = r#"
        [limits.session]
        rate = "5/min"
        key = "{session}"
        [[routes]]
        route = "GET /sessions/{session}"
        limits = ["session"]
        [default]
        exempt = true
    "#;
    let routes = Router::new().route("/sessions/{session}", any(|| async {}));
    let world = serve_routes(policy, routes);
    let requests: Vec<(&str, &[&str])> = [
        "GET /sessions/ab?x",
        "GET /sessions/%61b",
        "GET /sessions/%61%62",
        "GET /sessions/a%62?",
        "HEAD /sessions/ab",
    ]
    .map(|line| (line, &[][..]))
    .to_vec();
    attack(&world, ("GET /sessions/ab", &[]), &requests);
}
