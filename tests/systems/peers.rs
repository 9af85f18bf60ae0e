//! What other limiters' tests assert over HTTP, and the examples of the IETF draft.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::world::{Answered, World, serve_policy};

/// The file of the shared data, or nothing and a word that the test is skipped.
fn shared(path: &str) -> Option<Value> {
    let text = fs::read_to_string(crate::skipped::shared(path)?).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

/// A peer's limit as a policy.
fn policy_of(case: &Value) -> String {
    let limit = &case["limit"];
    let number = |name: &str| limit[name].as_u64().unwrap();
    let (capacity, tokens, period) = (number("capacity"), number("tokens"), number("period_ms"));
    let key = match case["key"].as_str() {
        Some("path") => "path",
        _ => "ip",
    };
    let exempt = match case["methods"].as_array() {
        None => "",
        Some(methods) => {
            assert_eq!(methods.as_slice(), [Value::from("GET")]);
            "[[routes]]\nroute = \"POST /**\"\nexempt = true"
        }
    };
    format!(
        r#"
        [limits.one]
        rate = "{tokens} per {period} ms burst {capacity}"
        key = "{key}"
        {exempt}
        [response]
        headers = ["x-ratelimit-seconds", "retry-after", "X-RateLimit-After: {{retry_after}}"]
        "#
    )
}

/// Compares what is asserted of an answer; a wait that the peer rounds down is ours rounded up.
fn compare(id: &str, expect: &Value, answer: &Answered) -> usize {
    assert_eq!(expect["status"], answer.status, "{id}: {answer:?}");
    let mut compared = 1;
    for (name, wanted) in expect["headers"].as_object().into_iter().flatten() {
        let ours = match (name.as_str(), wanted.as_str()) {
            // Nothing is told of requests that are not limited.
            ("x-ratelimit-whitelisted", _) => continue,
            // Their "0" would be too early.
            ("x-ratelimit-after", Some("0")) => Some("1"),
            (_, wanted) => wanted,
        };
        assert_eq!(answer.header(name), ours, "{id}: {name} of {answer:?}");
        compared += 1;
    }
    compared
}

#[test]
fn headers_are_those_of_peers() {
    let Some(data) = shared("cases/headers.json") else {
        return;
    };
    let (mut compared, mut stubs) = (0, 0);
    for case in data["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        if case["limit"].is_null() {
            // Answers of a limiter that is none: nothing that a policy could say.
            stubs += 1;
            continue;
        }
        let world = serve_policy("any", &policy_of(case));
        let mut now = 0;
        for step in case["steps"].as_array().unwrap() {
            let at = step["at_ms"].as_u64().unwrap();
            world.clock.advance(Duration::from_millis(at - now));
            now = at;
            let method = step["method"].as_str().unwrap_or("GET");
            let path = step["path"].as_str().unwrap_or("/x");
            let answer = world.send(method, path, &[]);
            compared += compare(id, &step["expect"], &answer);
        }
    }
    assert_eq!(stubs, 1);
    assert!(compared > 30, "{compared}");
}

/// How many are left to who sends this.
fn left(world: &World, method: &str, path: &str, headers: &[&str]) -> u64 {
    let answer = world.send(method, path, headers);
    assert_eq!(answer.status, 200);
    answer.number("x-ratelimit-remaining")
}

/// A limit by `key`, of what `attributes` says.
fn serve(key: &str, attributes: &str) -> World {
    let key = match key {
        "" => String::new(),
        key => format!("key = \"{key}\""),
    };
    let policy = format!(
        "[limits.one]\nrate = \"100/h\"\nalgorithm = \"fixed window\"\n{key}\n\
         when_key_missing = \"share\"\n[request.attributes]\n{attributes}\n\
         [response]\nheaders = [\"x-ratelimit-seconds\"]"
    );
    serve_policy("any", &policy)
}

#[test]
fn keys_tell_apart_what_peers_tell_apart() {
    let Some(data) = shared("cases/key_derivation.json") else {
        return;
    };
    let cases = data["cases"].as_array().unwrap().iter();
    let ids: Vec<_> = cases.map(|case| case["id"].as_str().unwrap()).collect();
    // By nothing, as throttled/vary_by_0: all are one.
    let world = serve("", "");
    assert_eq!(left(&world, "GET", "/a", &[]), 99);
    assert_eq!(left(&world, "POST", "/b", &["X-A: 1"]), 98);
    // By method and path, its query not among it (vary_by_4).
    let world = serve("method + path", "");
    assert_eq!(left(&world, "POST", "/test/path?q=s", &[]), 99);
    assert_eq!(left(&world, "POST", "/test/path?q=t", &[]), 98);
    assert_eq!(left(&world, "GET", "/test/path?q=s", &[]), 99);
    // By a header, whatever the others are (vary_by_5).
    let world = serve("kind", "kind = \"header X-Kind\"");
    assert_eq!(
        left(&world, "GET", "/a", &["x-kind: 123", "X-Other: 1"]),
        99
    );
    assert_eq!(
        left(&world, "GET", "/a", &["X-Kind: 123", "X-Other: 2"]),
        98
    );
    assert_eq!(left(&world, "GET", "/a", &["X-Kind: 124"]), 99);
    // By method, header and two of the query's values (vary_by_6).
    let attributes = "kind = \"header X-Kind\"\nq = \"query q\"\nuser = \"query user\"";
    let world = serve("method + kind + q + user", attributes);
    let kind = ["X-Kind: 123"];
    assert_eq!(
        left(&world, "GET", "/x?q=s&pwd=secret&user=test", &kind),
        99
    );
    assert_eq!(
        left(&world, "GET", "/x?user=te%73t&q=s&pwd=other", &kind),
        98
    );
    assert_eq!(
        left(&world, "GET", "/x?q=s,test&user=", &kind),
        99,
        "no part runs into another"
    );
    // Those are what the peers' cases are about; how a peer writes its keys is its own.
    assert_eq!(
        ids.iter()
            .filter(|id| id.starts_with("throttled/vary_by_"))
            .count(),
        8
    );
    assert_eq!(ids.iter().filter(|id| id.starts_with("envoy/")).count(), 12);
}

#[test]
fn cookies_addresses_and_patterns_are_keys_as_at_peers() {
    // By a cookie (vary_by_7).
    let world = serve("ssn", "ssn = \"cookie ssn\"");
    assert_eq!(left(&world, "GET", "/x", &["Cookie: a=b; ssn=test"]), 99);
    assert_eq!(left(&world, "GET", "/x", &["Cookie: ssn=test; c=d"]), 98);
    assert_eq!(
        left(&world, "GET", "/x", &["Cookie: ssn=test2; xssn=test"]),
        99
    );
    // By address, its port not among it (vary_by_1 to 3).
    let world = serve("ip", "");
    for wanted in [99, 98] {
        let answer = world.send_from("127.0.0.4", "GET", "/x");
        assert_eq!(answer.number("x-ratelimit-remaining"), wanted);
    }
    // A pattern shared by all that match it (envoy/share_threshold).
    let policy = "[limits.one]\nrate = \"100/h\"\nalgorithm = \"fixed window\"\nkey = \"route\"\n\
                  [[routes]]\nroute = \"/files/**\"\nlimits = []\n\
                  [response]\nheaders = [\"x-ratelimit-seconds\"]";
    let world = serve_policy("any", policy);
    let shared = ["a.pdf", "b.csv", "c.txt", "d.json", "e.xml", "subdir/f.txt"];
    for (file, wanted) in shared.iter().zip((0..100).rev()) {
        assert_eq!(left(&world, "GET", &format!("/files/{file}"), &[]), wanted);
    }
}

#[cfg(feature = "sfv")]
#[test]
fn the_drafts_policies_are_written_as_in_its_examples() {
    let Some(data) = shared("ratelimit-draft/examples.json") else {
        return;
    };
    let mut written = 0;
    for example in data["examples"].as_array().unwrap() {
        for judged in example["judged"].as_array().unwrap() {
            let items = judged["items"].as_array().unwrap();
            let has_more = |item: &Value| {
                let known = |name: &String| name == "q" || name == "w";
                item["type"] != "string" || !item["params"].as_object().unwrap().keys().all(known)
            };
            let is_policy = judged["field"] == "RateLimit-Policy";
            if !is_policy || items.iter().any(has_more) {
                continue;
            }
            let limits = items.iter().map(|item| {
                let (name, q, w) = (&item["value"], &item["params"]["q"], &item["params"]["w"]);
                format!("[limits.{name}]\nrate = \"{q} per {w} s\"\nalgorithm = \"fixed window\"\n")
            });
            let limits: String = limits.collect();
            let headers = "[response]\nheaders = [\"ratelimit-draft-10\"]\n";
            let world = serve_policy("any", &format!("{limits}{headers}"));
            let answer = world.get("/x", &[]);
            let parts = |text: &str| text.split(", ").map(str::to_owned).collect::<BTreeSet<_>>();
            let ours = parts(answer.header("ratelimit-policy").unwrap());
            assert_eq!(ours, parts(judged["canonical"].as_str().unwrap()));
            written += 1;
        }
    }
    assert!(written >= 9, "{written}");
}
