//! The eleven documented routes (K2), through the document and back.

use std::net::IpAddr;
use std::process::Command;

use tollgate::{Request, openapi};

use super::{exported, limits, policy};

const DOCUMENT: &str = include_str!("katforge.yaml");

/// The documented table, with a path of each route.
const ROUTES: [(&str, &str, u64); 11] = [
    ("POST", "/v1/gateway/login", 10),
    ("POST", "/v1/gateway/guest", 60),
    ("POST", "/v1/gateway/upgrade", 10),
    ("POST", "/v1/gateway/reset-password/t0ken", 5),
    ("POST", "/v1/users", 10),
    ("POST", "/v1/users/check", 20),
    ("POST", "/v1/leads/contact", 5),
    ("POST", "/v1/subscribe", 5),
    ("POST", "/v1/games/stumper/questions/generate", 30),
    ("POST", "/v1/games/stumper/categorize", 20),
    ("GET", "/v1/gateway/oauth/google/url", 30),
];

fn request<'r>(method: &'r str, path: &'r str) -> Request<'r> {
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    Request::http(method, path).address("ip", address)
}

#[test]
fn k3_every_documented_route_is_limited_as_documented() {
    let imported = openapi::import(DOCUMENT, "").unwrap();
    let policy = policy(&imported.policy);
    for (method, path, limit) in ROUTES {
        let met = limits(&policy, &request(method, path));
        let [[rate, algorithm, key]] = &met[..] else {
            panic!("{method} {path}: {met:?}");
        };
        assert_eq!(*rate, format!("{limit} per 60 seconds"), "{path}");
        assert_eq!(algorithm, "fixed window of 60 s");
        assert!(key.starts_with("ip=192.0.2.1 route="), "{key}");
    }
    let unthrottled = limits(&policy, &request("GET", "/v1/users"));
    assert!(unthrottled.is_empty(), "{unthrottled:?}");
}

/// The policy by hand says the same of every route.
#[test]
fn k3_as_the_policy_written_by_hand() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/policies/katforge.toml"
    );
    let by_hand = policy(&std::fs::read_to_string(path).unwrap());
    let imported = policy(&openapi::import(DOCUMENT, "").unwrap().policy);
    for (method, path, _) in ROUTES {
        let request = request(method, path);
        assert_eq!(
            limits(&imported, &request),
            limits(&by_hand, &request),
            "{path}"
        );
    }
    // And exporting it changes no throttle of the document.
    let document = openapi::export(DOCUMENT, &by_hand, "").unwrap().document;
    let again = policy(&openapi::import(&document, "").unwrap().policy);
    for (method, path, _) in ROUTES {
        let request = request(method, path);
        assert_eq!(
            limits(&again, &request),
            limits(&by_hand, &request),
            "{path}"
        );
    }
}

#[test]
fn k3_a_round_changes_no_policy() {
    let imported = openapi::import(DOCUMENT, "").unwrap();
    let exported = openapi::export(DOCUMENT, &policy(&imported.policy), "").unwrap();
    let again = openapi::import(&exported.document, "").unwrap();
    assert_eq!(imported.policy, again.policy);
    // The throttles stand already; only the responses came.
    let kept = DOCUMENT
        .lines()
        .filter(|line| !exported.document.lines().any(|new| new == *line));
    let changed: Vec<_> = kept.map(str::trim).collect();
    let limited = "Limited: {description: Too many}";
    let guest = "post: {x-throttle: [{limit: 60, interval: 60, strategy: ip}], responses: {}}";
    assert_eq!(changed, [guest, "responses: ~", limited]);
    assert_eq!(exported.left_out, []);
    // A second export finds nothing to do.
    let second = openapi::export(&exported.document, &policy(&imported.policy), "").unwrap();
    assert_eq!(second.document, exported.document);
}

#[test]
fn k3_the_response_and_its_header() {
    let imported = openapi::import(DOCUMENT, "").unwrap().policy;
    let speaking = "headers = [\"retry-after\"]\nbody = { message = \"Rate limit exceeded\" }";
    let speaking = imported.replace("headers = [\"retry-after\"]", speaking);
    let text = exported(DOCUMENT, &speaking);
    let login = "
      responses:
        \"429\":
          description: Too Many Requests
          headers:
            Retry-After:
              description: Seconds until the next request is accepted
              schema:
                type: integer
          content:
            \"application/json\":
              schema:
                type: object
                properties:
                  message:
                    type: string
              example:
                message: Rate limit exceeded
        '200': {description: A token}
";
    assert!(text.contains(login), "{text}");
    assert_eq!(
        text.matches("etry-").count(),
        11,
        "each, one of them behind a reference"
    );
    assert!(text.contains("# as documented\n"), "comments stay");
}

/// What another reader makes of it: the document of before, with what was added.
#[test]
fn k3_read_by_another_library() {
    let has_yaml = Command::new("python3").args(["-c", "import yaml"]).output();
    if !has_yaml.is_ok_and(|tried| tried.status.success()) {
        crate::skipped::say("reading the document by another library needs python3 with yaml");
        return;
    }
    let imported = openapi::import(DOCUMENT, "").unwrap();
    let after = openapi::export(DOCUMENT, &policy(&imported.policy), "")
        .unwrap()
        .document;
    let dir = tempfile::tempdir().unwrap();
    let [before_path, after_path] = ["before", "after"].map(|name| dir.path().join(name));
    std::fs::write(&before_path, DOCUMENT).unwrap();
    std::fs::write(&after_path, after).unwrap();
    let compare = "
import sys, yaml
before, after = (yaml.safe_load(open(name, encoding='utf-8')) for name in sys.argv[1:])
added = 0
def same(old, new, at):
    global added
    if isinstance(old, dict) and isinstance(new, dict):
        for key in new.keys() - old.keys():
            added += 1
            assert str(key) in ('responses', '429', 'headers', 'content'), (at, key)
        for key in old:
            same(old[key], new[key], at + [key])
    elif old is not None:
        assert old == new, (at, old, new)
same(before, after, [])
print(added)
";
    let output = Command::new("python3")
        .args(["-c", compare])
        .args([before_path, after_path])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "12");
}

/// K4 in a document: two audiences of one limit.
#[test]
fn k4_authenticated_users_have_more() {
    let document = "
paths:
  /browse:
    get:
      x-throttle:
        - limit: 60
          interval: 60
          strategy: ip_user
          for: [default]
        - limit: 300
          interval: 60
          strategy: ip_user
          for: [authenticated]
";
    let text = super::imported(document);
    let policy = policy(&text);
    let anonymous = request("GET", "/browse");
    let [[rate, _, key]] = &limits(&policy, &anonymous)[..] else {
        panic!("{text}");
    };
    assert_eq!(
        (&**rate, &**key),
        ("60 per 60 seconds", "ip=192.0.2.1 route=/browse")
    );
    let alice = request("GET", "/browse").attribute("user", "alice");
    let [[rate, _, key]] = &limits(&policy, &alice)[..] else {
        panic!("{text}");
    };
    assert_eq!(
        (&**rate, &**key),
        ("300 per 60 seconds", "user=alice route=/browse")
    );
    let bare = "paths:\n  /browse:\n    get:\n      summary: x\n";
    assert_eq!(super::imported(&exported(bare, &text)), text);
}
