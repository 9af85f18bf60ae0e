//! Where a document is changed, and that it is changed nowhere else.

use tollgate::openapi;

use super::{exported, imported, policy};

const TEN: &str = "
[limits.ten]
rate = \"10 per 60 s\"
key = \"ip + route\"
algorithm = \"fixed window\"
[[routes]]
route = \"POST /a\"
limits = [\"ten\"]
[response]
headers = [\"retry-after\"]
";

const NONE: &str = "
[limits.other]
rate = \"10 per 60 s\"
[[routes]]
route = \"POST /other\"
limits = [\"other\"]
";

/// A document with one operation, whose lines these are.
fn post(lines: &str) -> String {
    format!("paths:\n  /a: # here\n    post:\n{lines}")
}

#[test]
fn into_blocks() {
    let before = post("      # first\n      summary: x\n");
    let after = "      # first
      x-throttle:
        - limit: 10
          interval: 60
          strategy: ip
          for: [\"default\"]
      responses:
        \"429\":
          description: Too Many Requests
          headers:
            Retry-After:
              description: Seconds until the next request is accepted
              schema:
                type: integer
      summary: x
";
    assert_eq!(exported(&before, TEN), post(after));
}

#[test]
fn line_ends_stay_as_they_are() {
    let before = "paths:\r\n  /a:\r\n    post:\r\n      summary: x\r\n";
    let after = exported(before, TEN);
    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
    assert!(after.starts_with("paths:\r\n  /a:\r\n    post:\r\n      x-throttle:\r\n"));
}

#[test]
fn into_braces() {
    let before = "paths: {/a: {post: {}}, /b: {get: {summary: x}}}\n";
    let after = exported(before, TEN);
    let start = "paths: {/a: {post: {\"x-throttle\": [{\"limit\": 10, ";
    assert!(after.starts_with(start), "{after}");
    assert!(after.ends_with("}, /b: {get: {summary: x}}}\n"), "{after}");
    assert_eq!(
        imported(&after).lines().count(),
        imported(&exported(&after, TEN)).lines().count()
    );
}

#[test]
fn a_throttle_that_is_replaced_takes_only_its_own_place() {
    let before = "      x-throttle: # old
      - limit: 1
        interval: 1
      # after
      responses:
        '429': {description: d, headers: {Retry-After: {}}}
";
    let after = "      x-throttle:
        - limit: 10
          interval: 60
          strategy: ip
          for: [\"default\"]
      # after
      responses:
        '429': {description: d, headers: {Retry-After: {}}}
";
    assert_eq!(exported(&post(before), TEN), post(after));
}

#[test]
fn a_throttle_of_nothing_any_more_goes() {
    let in_line = "x-throttle: [{limit: 1, interval: 1}]";
    let in_block = "x-throttle:\n      - limit: 1\n        interval: 1";
    for throttle in [in_line, in_block] {
        for (before, after) in [
            (
                format!("      {throttle}\n      responses: {{}}\n"),
                "      responses: {}\n",
            ),
            (
                format!("      summary: x\n      {throttle}\n"),
                "      summary: x\n",
            ),
            (format!("      {throttle}\n"), "      {}\n"),
        ] {
            assert_eq!(exported(&post(&before), NONE), post(after), "{throttle}");
        }
    }
    for before in [
        format!("paths: {{/a: {{post: {{{in_line}, summary: x}}}}}}"),
        format!("paths: {{/a: {{post: {{summary: x, {in_line}}}}}}}"),
    ] {
        let after = "paths: {/a: {post: {summary: x}}}";
        assert_eq!(exported(&before, NONE), after);
    }
}

#[test]
fn what_two_operations_share_is_not_edited_for_one() {
    let shared = "paths:\n  /a:\n    post: &both\n      summary: x\n  /b:\n    get: *both\n";
    let result = openapi::export(shared, &policy(TEN), "").unwrap();
    // The other stands behind an alias: it is told, for it says so now, too.
    let told = super::told(&result.left_out);
    assert_eq!(told, Vec::<String>::new());
    let flow = "x: &all {post: {summary: x}}\npaths:\n  /a: *all\n  /b: *all\n";
    let error = openapi::export(flow, &policy(TEN), "")
        .unwrap_err()
        .to_string();
    assert!(error.contains("shares what is edited"), "{error}");
}

#[test]
fn what_a_throttle_cannot_say_is_told() {
    let text = "
[limits.bucket]
rate = \"100/min burst 150\"
key = \"ip\"
[limits.day]
rate = \"10/day\"
algorithm = \"calendar\"
time_zone = \"UTC\"
key = \"ip\"
[limits.tenant]
rate = \"10 per 60 s\"
key = \"tenant\"
[limits.heavy]
max_concurrent = 4
key = \"ip\"
";
    let document = "paths:\n  /a:\n    get:\n      summary: x\n";
    let exported = openapi::export(document, &policy(text), "").unwrap();
    let mut told = super::told(&exported.left_out);
    told.sort();
    let expected = [
        "3:5: GET /a: limit bucket: of 100 per minute, burst 150 (token bucket) only the rate is \
         said",
        "3:5: GET /a: limit day: 10 per day (calendar day in UTC) is no number a time",
        "3:5: GET /a: limit heavy: how many may run at a time is not said",
        "3:5: GET /a: limit tenant: no strategy counts by `tenant`",
    ];
    assert_eq!(told, expected);
    assert!(
        exported
            .document
            .contains("- limit: 100\n          interval: 60\n")
    );
}

#[test]
fn swaggers_headers_have_no_schema() {
    let document = "swagger: '2.0'\npaths:\n  /a:\n    post:\n      summary: x\n";
    let after = exported(document, TEN);
    assert!(
        after.contains("accepted\n              type: integer\n"),
        "{after}"
    );
    assert!(!after.contains("schema"));
}

#[test]
fn the_headers_are_those_the_policy_sends() {
    let document = "paths: {/a: {post: {responses: {'429': {headers: {X-RATELIMIT-LIMIT: {}}}}}}}";
    let speaking = TEN.replace(
        "[\"retry-after\"]",
        if cfg!(feature = "sfv") {
            "[\"x-ratelimit-seconds\", \"x-ratelimit-tier\", \"ratelimit-draft-10\"]"
        } else {
            "[\"x-ratelimit-seconds\", \"x-ratelimit-tier\"]"
        },
    );
    let after = exported(document, &speaking);
    for (header, times) in [
        ("\"X-Ratelimit-Limit\"", 0),
        ("\"X-Ratelimit-Remaining\": {\"description\": ", 1),
        ("\"X-Ratelimit-Tier\": ", 1),
        ("\"Ratelimit-Policy\": ", usize::from(cfg!(feature = "sfv"))),
        ("Retry-After", 0),
    ] {
        assert_eq!(after.matches(header).count(), times, "{header}: {after}");
    }
    let silent = TEN.replace("[\"retry-after\"]", "[]");
    let bare = exported("paths:\n  /a:\n    post:\n      summary: x\n", &silent);
    assert!(bare.contains("\"429\":\n          description: Too Many Requests\n      summary"));
}
