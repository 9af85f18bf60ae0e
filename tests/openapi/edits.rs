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
          content:
            \"application/json\":
              schema:
                type: object
                properties:
                  code:
                    type: integer
                  message:
                    type: string
              example:
                code: 429
                message: \"refused, there is no room\"
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
        '429': {description: d, headers: {Retry-After: {}}, content: {}}
";
    let after = "      x-throttle:
        - limit: 10
          interval: 60
          strategy: ip
          for: [\"default\"]
      # after
      responses:
        '429': {description: d, headers: {Retry-After: {}}, content: {}}
";
    assert_eq!(exported(&post(before), TEN), post(after));
}

#[test]
fn what_comes_takes_the_place_of_what_goes() {
    let heavy = "limits.heavy = { max_concurrent = 4, key = \"ip\" }\nresponse.headers = []\n";
    for (before, start) in [
        (post("      x-throttle: []\n"), post("      responses:\n")),
        (
            "paths: {/a: {post: {x-throttle: []}}}".into(),
            "paths: {/a: {post: {\"responses\": {\"429\": ".into(),
        ),
    ] {
        let throttled = before.replace("[]", "[{limit: 1, interval: 1}]");
        let result = openapi::export(&throttled, &policy(heavy), "").unwrap();
        assert!(result.document.starts_with(&start), "{}", result.document);
        assert!(!result.document.contains("x-throttle"));
    }
}

#[test]
fn a_throttle_that_goes_leaves_comments_on_others() {
    let throttle = "      x-throttle: [{limit: 1, interval: 1}]";
    for (before, after) in [
        (
            format!("{throttle} # ten\n      # next\n      summary: x\n"),
            "      # ten\n      # next\n      summary: x\n",
        ),
        (
            format!("      summary: x # last\n      # ten\n{throttle}\n"),
            "      summary: x # last\n      # ten\n",
        ),
    ] {
        assert_eq!(exported(&post(&before), NONE), post(after));
    }
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
    let block = "paths:\n  /a:\n    post: &both\n      summary: x\n  /b:\n    get: *both\n";
    let flow = "x: &all {post: {summary: x}}\npaths:\n  /a: *all\n  /b: *all\n";
    let item = "paths: {/a: {$ref: '#/x'}, /b: {$ref: '#/x'}}\nx: {post: {summary: x}}\n";
    for (shared, place) in [(block, "3:5"), (flow, "1:10"), (item, "2:5")] {
        let result = openapi::export(shared, &policy(TEN), "").unwrap();
        assert_eq!(result.document, shared);
        let why = "POST /a: others that have other limits share it: not edited";
        assert_eq!(super::told(&result.left_out), [format!("{place}: {why}")]);
    }
}

#[test]
fn what_two_operations_share_is_edited_once_for_both() {
    let both = TEN.replace("\"POST /a\"", "[\"POST /a\", \"POST /b\"]");
    for shared in [
        "x: &all {post: {summary: x}}\npaths:\n  /a: *all\n  /b: *all\n",
        "paths:\n  /a: &all\n    post:\n      summary: x\n  /b: *all\n",
        "paths: {/a: {$ref: '#/x/y'}, /b: {$ref: '#/x/y'}}\nx:\n  y: {post: {summary: x}}\n",
        "paths: {/a: {post: {$ref: '#/x'}}, /b: {post: {$ref: '#/x'}}}\nx: {summary: x}\n",
    ] {
        let after = exported(shared, &both);
        assert_eq!(after.matches("x-throttle").count(), 1, "{after}");
        assert_eq!(after.matches("Retry-After").count(), 1, "{after}");
        let routes = imported(&after);
        assert!(
            routes.contains("\"POST /a\",\n  \"POST /b\",\n"),
            "{routes}"
        );
    }
}

#[test]
fn what_aliases_lead_to_is_not_replaced() {
    let document = "paths:
  /a:
    post:
      x-throttle: &one [{limit: 1, interval: 1}]
  /b:
    get:
      x-throttle: *one
";
    let result = openapi::export(document, &policy(TEN), "").unwrap();
    let why = "4:7: POST /a: its `x-throttle` is where aliases lead to: not edited";
    assert_eq!(super::told(&result.left_out), [why]);
    let other = "  /b:\n    get:\n      {}\n";
    assert!(result.document.ends_with(other), "{}", result.document);
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
    let rest = "accepted
              type: integer
          schema:
            type: object
            properties:
              code:
                type: integer
              message:
                type: string
          examples:
            \"application/json\":
              code: 429
              message: \"refused, there is no room\"
      summary: x
";
    assert!(after.ends_with(rest), "{after}");
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
    let start = "\"429\":\n          description: Too Many Requests\n          content:";
    assert!(bare.contains(start), "{bare}");
}

#[test]
fn entries_without_a_value_are_replaced_whole() {
    for (before, after) in [
        (
            "      x-throttle:\n      responses: {}\n",
            "      responses: {}\n",
        ),
        ("      x-throttle: # none\n", "      {} # none\n"),
        (
            "      summary: x\n      x-throttle :\n",
            "      summary: x\n",
        ),
    ] {
        assert_eq!(exported(&post(before), NONE), post(after));
    }
    let silent = TEN.replace("[\"retry-after\"]", "[]");
    let after = exported(&post("      responses:\n      summary: x\n"), &silent);
    let start = post("      x-throttle:\n");
    assert!(after.starts_with(&start), "{after}");
    assert!(
        after.contains("      responses:\n        \"429\":\n"),
        "{after}"
    );
    assert!(after.ends_with("no room\"\n      summary: x\n"), "{after}");
}

/// Where an edit would change more than it should, there is an error and no document.
#[test]
fn what_would_change_is_not_written() {
    let changed = "cannot be edited without a change of something else";
    let marked = "a map with a key that is marked by `?` cannot be edited";
    for (lines, text, told) in [
        // Its last line ends would become one less.
        (
            "      summary: |+\n        a\n\n      x-throttle: 3\n",
            NONE,
            format!("5:9: {changed}"),
        ),
        (
            "      ? x-throttle\n      : 1\n",
            TEN,
            format!("4:9: {marked}"),
        ),
        (
            "      ? summary\n      : x\n",
            TEN,
            format!("4:9: {marked}"),
        ),
    ] {
        let error = openapi::export(&post(lines), &policy(text), "").unwrap_err();
        assert!(error.to_string().starts_with(&told), "{lines}: {error}");
    }
}
