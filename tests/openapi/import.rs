//! What is read of a document, and what is told of the rest.

use tollgate::{Request, openapi};

use super::{imported, limits, policy, told};

/// A document with one operation that says so.
fn one(throttle: &str) -> String {
    format!("paths:\n  /a:\n    post:\n      x-throttle: {throttle}\n")
}

/// What is told of a document with one operation that says so beside one that is sound.
fn of_one(throttle: &str) -> Vec<String> {
    let sound = "  /z: {get: {x-throttle: [{limit: 1, interval: 1}]}}\n";
    told(
        &openapi::import(&(one(throttle) + sound), "")
            .unwrap()
            .left_out,
    )
}

#[test]
fn each_strategy_counts_by_its_key() {
    for (strategy, key) in [
        ("ip", "ip + route"),
        ("user", "user + route"),
        ("route", "route"),
        ("ip_user", "(user | ip) + route"),
    ] {
        let text = imported(&one(&format!(
            "[{{limit: 7, interval: 90, strategy: {strategy}}}]"
        )));
        assert!(text.contains(&format!("key = \"{key}\"\n")), "{text}");
        assert!(text.contains("rate = \"7 per 90 s\"\n"), "{text}");
    }
    let unsaid = imported(&one("[{limit: 7, interval: 90}]"));
    assert!(
        unsaid.contains("key = \"ip + route\"\n"),
        "by address unless it says otherwise"
    );
}

#[test]
fn several_on_one_route_apply_together() {
    let text = imported(&one(
        "[{limit: 5, interval: 1}, {limit: 100, interval: 3600, strategy: user}]",
    ));
    let policy = policy(&text);
    let request = Request::http("POST", "/a").attribute("user", "u");
    let rates: Vec<_> = limits(&policy, &request)
        .into_iter()
        .map(|[rate, ..]| rate)
        .collect();
    assert_eq!(rates, ["100 per 3600 seconds", "5 per second"]);
    // A limit of users is none of who is not a user.
    assert_eq!(limits(&policy, &Request::http("POST", "/a")).len(), 1);
}

#[test]
fn the_strictest_for_the_authenticated_counts_if_it_is_another_than_for_all() {
    let all = "{limit: 3, interval: 10, strategy: ip_user}";
    let of = |limit| {
        format!("{{limit: {limit}, interval: 10, strategy: ip_user, for: [authenticated]}}")
    };
    let same = imported(&one(&format!("[{all}, {}]", of(3))));
    assert_eq!(same, imported(&one(&format!("[{all}]"))));
    let several = imported(&one(&format!("[{all}, {}, {}]", of(9), of(5))));
    assert_eq!(several, imported(&one(&format!("[{all}, {}]", of(5)))));
    assert!(several.contains("5 per 10 s"), "{several}");
}

#[test]
fn what_is_not_taken_over_is_told_with_its_place() {
    for (throttle, told) in [
        (
            "[{limit: 0, interval: 1}]",
            "4:28: POST /a: `limit` is a whole number of at least 1",
        ),
        (
            "[{limit: -1, interval: 1}]",
            "4:28: POST /a: `limit` is a whole number of at least 1",
        ),
        (
            "[{limit: 1.5, interval: 1}]",
            "4:28: POST /a: `limit` is a whole number of at least 1",
        ),
        (
            "[{limit: 1}]",
            "4:20: POST /a: a throttle without its `interval`",
        ),
        (
            "[{limit: 1, interval: 1, strategy: moon}]",
            "4:54: POST /a: the strategy `moon` is not known",
        ),
        (
            "[{limit: 1, interval: 1, for: [default, gold]}]",
            "4:59: POST /a: the audience `gold` is not known",
        ),
        (
            "[{limit: 1, interval: 1, burst: 2}]",
            "4:44: POST /a: `burst` of a throttle is not known",
        ),
        (
            "often",
            "4:19: POST /a: a throttle is a map of limit, interval, strategy",
        ),
        (
            "[{limit: 1, interval: 1, for: default}]",
            "4:49: POST /a: `for` is a list of audiences",
        ),
        (
            "[{limit: 1, interval: 1, for: [authenticated]}]",
            "3:5: POST /a: a limit for `authenticated` needs one for `default` beside it, of the \
             same strategy and interval",
        ),
    ] {
        assert_eq!(of_one(throttle), [told], "{throttle}");
    }
    // What is sound beside it is taken.
    let text = openapi::import(&one("[{limit: 1, interval: 1, burst: 2}]"), "")
        .unwrap()
        .policy;
    assert!(text.contains("1 per 1 s"), "{text}");
}

#[test]
fn places_where_nobody_looks_are_told() {
    let document = "
servers: [{url: 'https://api.example/v1/'}, {url: 'https://api.example'}]
x-throttle: []
paths:
  /a:
    x-throttle: []
    $ref: other.yaml
    get: {x-throttle: [{limit: 1, interval: 1}]}
  /b/{x}:
    get: {x-throttle: [{limit: 1, interval: 1}]}
  /b/{y}:
    get: {x-throttle: [{limit: 1, interval: 1}]}
  /c/:d:
    get: {x-throttle: [{limit: 1, interval: 1}]}
  '/e/{a}{b}':
    get: {x-throttle: [{limit: 1, interval: 1}]}
";
    let left_out = openapi::import(document, "").unwrap().left_out;
    let told = told(&left_out);
    let starts = [
        "2:11: server: its path `/v1`",
        "3:1: x-throttle: only an operation's is read",
        "6:5: x-throttle: only an operation's is read",
        "7:11: /a: `$ref: other.yaml` leads to another document, which is not read",
        "12:5: GET /b/{y}: another path stands for the same requests",
        "14:5: GET /c/:d: `:` would begin a capture",
        "16:5: GET /e/{a}{b}: its path is no route: ",
    ];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (told, start) in told.iter().zip(starts) {
        assert!(told.starts_with(start), "{told}");
    }
    assert_eq!((left_out[0].line(), left_out[0].column()), (2, 11));
}

#[test]
fn servers_whose_paths_are_not_the_base_are_told() {
    let document = "
swagger: '2.0'
basePath: /v1/
paths:
  /a:
    servers: [{url: /v2}]
    get:
      servers: [{url: 'https://a.example/v1'}, {url: '{scheme}://b.example/v3'}]
      x-throttle: [{limit: 1, interval: 1}]
";
    let left_out = openapi::import(document, "/v1").unwrap().left_out;
    let expected = [
        "6:15: server: its path `/v2` is not what the routes begin with: `/v1`",
        "8:48: server: its path `/v3` is not what the routes begin with: `/v1`",
    ];
    assert_eq!(told(&left_out), expected);
    let left_out = openapi::import(document, "").unwrap().left_out;
    let first = "3:11: server: its path `/v1` is not what the routes begin with: ``";
    assert_eq!(told(&left_out)[0], first);
}

#[test]
fn a_base_goes_before_every_path() {
    let document = "servers: [{url: 'https://api.example/v1'}]\n".to_owned()
        + &one("[{limit: 1, interval: 1}]");
    let imported = openapi::import(&document, "/v1").unwrap();
    assert_eq!(imported.left_out, []);
    assert!(
        imported.policy.contains("POST /v1/a"),
        "{}",
        imported.policy
    );
    let policy = policy(&imported.policy);
    let exported = openapi::export(&document, &policy, "/v1").unwrap();
    assert!(
        exported
            .document
            .contains("x-throttle: [{limit: 1, interval: 1}]")
    );
}

#[test]
fn json_is_read_and_written_as_it_is() {
    let document = "{\n\t\"paths\": {\n\t\t\"/a\": {\n\t\t\t\"get\": {\n\t\t\t\t\"summary\": \
                    \"a\\/b \\ud83d\\ude00 \\\\ud83d\",\n\t\t\t\t\"x-throttle\": [\n\t\t\t\t\t\
                    {\"limit\": 3, \"interval\": 10}\n\t\t\t\t]\n\t\t\t}\n\t\t}\n\t}\n}\n";
    let text = imported(document);
    assert!(text.contains("3 per 10 s"), "{text}");
    let twice = text.replace("3 per 10 s", "6 per 10 s");
    let written = super::exported(document, &twice);
    let parsed: serde_json::Value = serde_json::from_str(&written).unwrap();
    let get = &parsed["paths"]["/a"]["get"];
    assert_eq!(get["summary"], "a/b \u{1f600} \\ud83d");
    assert_eq!(get["x-throttle"][0]["limit"], 6);
    assert_eq!(
        get["responses"]["429"]["headers"]["Retry-After"]["schema"]["type"],
        "integer"
    );
    assert!(written.contains("\n\t\t\t\t\"summary\": \"a\\/b \\ud83d\\ude00 \\\\ud83d\",\n"));
}
