//! What stands elsewhere in the document, and what leads nowhere.

use tollgate::openapi;

use super::{exported, imported, policy, told};

const SHARED: &str = "
paths:
  /users:
    $ref: '#/components/pathItems/Users'
  /users/{id}:
    get:
      x-throttle: {$ref: '#/components/x-throttles/slow'}
      responses:
        '429': {$ref: '#/components/responses/Limited'}
    put:
      x-throttle:
      - $ref: '#/components/x-throttles/slow/0'
      - {limit: 100, interval: 3600}
      responses:
        '429': {$ref: '#/components/responses/Limited'}
  /again:
    get: {$ref: '#/paths/~1users~1%7Bid%7D/get'}
components:
  pathItems:
    Users:
      post:
        x-throttle: [{limit: 10, interval: 60}]
  x-throttles:
    slow: [{limit: 5, interval: 60}]
  responses:
    Limited:
      $ref: '#/components/responses/TooMany'
    TooMany:
      description: Too many
      headers:
        Retry-After: {$ref: '#/components/headers/Wait'}
  headers:
    Wait: {schema: {type: integer}}
";

#[test]
fn references_in_the_document_are_followed() {
    let text = imported(SHARED);
    let policy = policy(&text);
    let met = |method, path| {
        let request = tollgate::Request::http(method, path);
        let limits = super::limits(&policy, &request).into_iter();
        limits.map(|[rate, ..]| rate).collect::<Vec<_>>()
    };
    assert_eq!(met("POST", "/users"), ["10 per 60 seconds"]);
    for path in ["/users/7", "/again"] {
        assert_eq!(met("GET", path), ["5 per 60 seconds"]);
    }
    let both = ["100 per 3600 seconds", "5 per 60 seconds"];
    assert_eq!(met("PUT", "/users/7"), both);
}

#[test]
fn what_is_referred_to_is_edited_where_it_stands() {
    let text = imported(SHARED);
    // Nothing but the responses is new: where none is, and what the shared one lacks.
    let after = exported(SHARED, &text);
    let lost = SHARED.lines().filter(|line| !after.contains(line));
    assert_eq!(lost.count(), 0);
    let shared = "    TooMany:\n      content:\n        \"application/json\":\n";
    assert!(after.contains(shared), "{after}");
    assert_eq!(after.matches("application/json").count(), 2, "{after}");
    assert_eq!(after.matches("Retry-After").count(), 2, "{after}");
    assert_eq!(imported(&after), text);
    assert_eq!(exported(&after, &text), after);

    let more = text.replace("10 per 60 s", "20 per 60 s");
    let after = exported(SHARED, &more);
    let item = "    Users:\n      post:\n        responses:\n";
    assert!(after.contains(item), "{after}");
    assert!(imported(&after).contains("\"20 per 60 s\""), "{after}");
    let users = "  /users:\n    $ref: '#/components/pathItems/Users'\n  /users/{id}:\n";
    assert!(after.contains(users), "{after}");
}

#[test]
fn what_a_path_has_itself_goes_before_what_it_refers_to() {
    let document = "paths:
  /a:
    $ref: '#/x/more'
    get: {x-throttle: [{limit: 1, interval: 1}]}
x:
  more:
    $ref: '#/x/most'
    get: {x-throttle: [{limit: 2, interval: 1}]}
    put: {x-throttle: [{limit: 3, interval: 1}]}
  most:
    post: {x-throttle: [{limit: 4, interval: 1}]}
";
    let imported = openapi::import(document, "").unwrap();
    let expected = [
        "8:5: /a: `get` stands where it is referred to, too; that is read",
        "8:11: x-throttle: only an operation's is read",
    ];
    assert_eq!(told(&imported.left_out), expected);
    for said in ["ip-1-per-1s", "ip-3-per-1s", "ip-4-per-1s"] {
        assert!(imported.policy.contains(said), "{}", imported.policy);
    }
    assert!(!imported.policy.contains("ip-2-per-1s"));
}

#[test]
fn references_that_cannot_be_followed_are_told() {
    let sound = "paths: {/z: {get: {x-throttle: [{limit: 1, interval: 1}]}}, /a: ";
    for (path, why) in [
        (
            "{$ref: 'other.yaml#/paths/~1a'}",
            "`$ref: other.yaml#/paths/~1a` leads to another document, which is not read",
        ),
        ("{$ref: '#/paths/~1b'}", "`$ref: #/paths/~1b` leads nowhere"),
        ("{$ref: '#/paths/%FF'}", "`$ref: #/paths/%FF` is no text"),
        (
            "{$ref: '#item'}",
            "`$ref: #item` is no path in the document",
        ),
        ("{$ref: [1]}", "`$ref` is a text"),
        (
            "{$ref: '#/paths/~1a'}",
            "`$ref`: its references lead in a circle, or are too many",
        ),
        (
            "{get: {$ref: '#/paths/~1a/get'}}",
            "its references lead in a circle, or are too many",
        ),
        (
            "{get: {x-throttle: {$ref: 'limits.yaml'}}}",
            "`$ref: limits.yaml` leads to another document, which is not read",
        ),
        (
            "{get: {x-throttle: [{$ref: '#/1'}]}}",
            "`$ref: #/1` leads nowhere",
        ),
        ("{get: {<<: {x-rate: 1}}}", "`<<` is not followed"),
        ("7", "a path is a map of methods"),
    ] {
        let document = format!("{sound}{path}}}\n");
        let told = told(&openapi::import(&document, "").unwrap().left_out);
        let [told] = &told[..] else {
            panic!("{path}: {told:#?}");
        };
        assert!(told.starts_with("1:") && told.ends_with(why), "{told}");
    }
}

#[test]
fn a_response_that_cannot_be_reached_is_told() {
    let text =
        "limits.ten = { rate = \"10 per 60 s\", key = \"ip\", algorithm = \"fixed window\" }";
    for (responses, why) in [
        (
            "{'429': {$ref: 'common.yaml#/Limited'}}",
            "`$ref: common.yaml#/Limited` leads to another document, which is not read: its \
             response is not edited",
        ),
        ("{'429': often}", "it is no map: its response is not edited"),
        ("[]", "it is no map: its response is not edited"),
        (
            "{'429': {headers: {$ref: '#/none'}}}",
            "`$ref: #/none` leads nowhere: its response is not edited",
        ),
    ] {
        let document = format!("paths: {{/a: {{get: {{responses: {responses}}}}}}}\n");
        let exported = openapi::export(&document, &policy(text), "").unwrap();
        let told = told(&exported.left_out);
        let [told] = &told[..] else {
            panic!("{responses}: {told:#?}");
        };
        assert!(told.ends_with(&format!("GET /a: {why}")), "{told}");
        assert!(exported.document.contains("\"x-throttle\""));
    }
}

#[test]
fn a_reference_into_what_is_replaced_is_an_error() {
    let document = "paths:
  /a:
    get:
      x-throttle: [{limit: 1, interval: 1}]
      responses: {'429': {$ref: '#/paths/~1a/get/x-throttle/0'}}
";
    let text =
        "limits.ten = { rate = \"10 per 60 s\", key = \"ip\", algorithm = \"fixed window\" }";
    let error = openapi::export(document, &policy(text), "").unwrap_err();
    let told = "1:1: a reference leads into what has to be replaced: not edited";
    assert_eq!(error.to_string(), told);
}

/// Each of many paths refers to the same large map.
#[test]
fn what_is_shared_too_much_is_an_error() {
    let entries: Vec<_> = (0..50_000).map(|number| format!("k{number}: 1")).collect();
    let mut document = format!("x: {{{}, post: {{}}}}\npaths:\n", entries.join(", "));
    let paths: String = (0..1_000)
        .map(|number| format!("  /{number}: {{$ref: '#/x'}}\n"))
        .collect();
    document.push_str(&paths);
    let error = openapi::import(&document, "").unwrap_err().to_string();
    let told = "1:1: what its aliases and references share is too much to be read for each";
    assert_eq!(error, told);
}

#[test]
fn more_than_can_be_told_is_an_error() {
    let document = "paths: {/a: {get: &g {x-throttle: [".to_owned() + &"1, ".repeat(60) + "]}}";
    let paths: String = (0..200).map(|n| format!(", /{n}: {{get: *g}}")).collect();
    let error = openapi::import(&format!("{document}{paths}}}"), "").unwrap_err();
    let told = "1:1: more than 10000 parts of it cannot be taken over";
    assert_eq!(error.to_string(), told);
}
