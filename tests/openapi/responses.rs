//! The responses that an export writes, and those that a limiter gives.

use std::net::IpAddr;

use serde_json::Value;
use tollgate::{Limiter, ManualClock, Request, Timestamp, openapi};

use super::{exported, policy};

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether `value` is what the schema says, no more and no less.
fn fits(value: &Value, schema: &Value) -> bool {
    let wanted = schema.get("type").map_or("", |kind| kind.as_str().unwrap());
    let inside = match value {
        Value::Array(items) => items.iter().all(|item| fits(item, &schema["items"])),
        Value::Object(entries) => {
            let properties = schema["properties"].as_object().unwrap();
            let mut both = entries.values().zip(properties.values());
            entries.keys().eq(properties.keys()) && both.all(|(value, schema)| fits(value, schema))
        }
        _ => true,
    };
    kind(value) == wanted && inside
}

/// Exhausts a route of one of the five policies, and compares the refusal with what the export of
/// that policy says of it.
fn as_documented(name: &str, method: &str, path: &str, attributes: &[(&str, &str)]) {
    let file = format!(
        "{}/examples/policies/{name}.toml",
        env!("CARGO_MANIFEST_DIR")
    );
    let policy = policy(&std::fs::read_to_string(file).unwrap());
    let lower = method.to_lowercase();
    let document =
        format!("{{\"openapi\": \"3.1.0\", \"paths\": {{\"{path}\": {{\"{lower}\": {{}}}}}}}}");
    let exported = openapi::export(&document, &policy, "").unwrap().document;
    let exported: Value = serde_json::from_str(&exported).unwrap();
    let said = &exported["paths"][path][&lower]["responses"];

    let dir = tempfile::tempdir().unwrap();
    let limiter = Limiter::builder(policy)
        .clock(ManualClock::new(Timestamp::from_secs(1_760_000_000)))
        .open(dir.path().join("data"))
        .unwrap();
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let mut request = Request::http(method, path).address("ip", address);
    for (name, value) in attributes {
        request = request.attribute(name, value);
    }
    let decision = (0..1_000)
        .map(|_| limiter.check(&request))
        .find(|decision| !decision.is_allowed())
        .expect("it is limited");
    let answer = decision.answer();
    let status = answer.status().unwrap().to_string();
    let said = &said[&status];
    assert!(said.is_object(), "{name}: no response {status}: {exported}");
    let headers = said["headers"].as_object().unwrap();
    answer.headers(|header, value| {
        let documented = headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(header));
        let (_, documented) = documented.unwrap_or_else(|| panic!("{name}: {header}"));
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
        let wanted = if is_number { "integer" } else { "string" };
        assert_eq!(documented["schema"]["type"], wanted, "{name}: {header}");
    });
    let mut body = String::new();
    let media_type = answer.body(&mut body).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let content = &said["content"][media_type];
    let mut schemas = vec![&content["schema"]];
    if let Some(several) = content["schema"].get("oneOf") {
        schemas = several.as_array().unwrap().iter().collect();
    }
    let is_said = |value: &Value| schemas.iter().any(|schema| fits(value, schema));
    assert!(is_said(&body), "{name}: {body} by {content}");
    let mut examples: Vec<_> = content.get("example").into_iter().collect();
    if let Some(several) = content.get("examples") {
        let several = several.as_object().unwrap();
        examples.extend(several.values().map(|one| &one["value"]));
    }
    assert!(!examples.is_empty());
    examples
        .iter()
        .for_each(|one| assert!(is_said(one), "{one}"));
}

#[test]
fn refusals_of_the_five_policies_are_as_documented() {
    let account = [("account", "a")];
    as_documented("chameleon", "POST", "/v3/edit/x", &account);
    as_documented("chastify", "GET", "/api/x", &[("user", "u")]);
    as_documented("katforge", "POST", "/v1/gateway/login", &[]);
    as_documented("skakio", "GET", "/v1/account", &[("api_key", "pk_1")]);
    let stream = [("app", "a"), ("user", "u")];
    as_documented("stream", "GET", "/connect", &stream);
}

const BODIES: &str = "
[limits.second]
rate = \"1/s\"
key = \"ip\"
[limits.day]
rate = \"10/day\"
algorithm = \"calendar\"
time_zone = \"UTC\"
[limits.running]
max_concurrent = 4
key = \"ip\"
[limits.silent]
rate = \"1/h\"
shadow = true
[response]
headers = [\"retry-after\"]
[[response.refusals]]
limits = [\"day\"]
status = 503
headers = [\"x-retry-after\"]
body = \"come back {tier|tomorrow}\"
[[response.refusals]]
limits = [\"running\"]
headers = []
body = { running = \"{used}\", of = \"{limit}\", at = \"{reset|never}\", list = [] }
";

#[test]
fn each_refusal_has_its_status_headers_and_body() {
    let document = "{\"paths\": {\"/a\": {\"get\": {}}}}";
    let exported = openapi::export(document, &policy(BODIES), "").unwrap();
    let exported: Value = serde_json::from_str(&exported.document).unwrap();
    let said = &exported["paths"]["/a"]["get"]["responses"];
    let statuses: Vec<_> = said.as_object().unwrap().keys().collect();
    assert_eq!(statuses, ["429", "503"]);
    let names = |status: &str| -> Vec<_> {
        let headers = said[status]["headers"].as_object().unwrap();
        headers.keys().cloned().collect()
    };
    assert_eq!(names("429"), ["Retry-After"]);
    assert_eq!(names("503"), ["X-Retry-After"]);
    let text = &said["503"]["content"]["text/plain; charset=utf-8"];
    assert_eq!(text["example"], "come back tomorrow");
    assert_eq!(text["schema"]["type"], "string");
    let json = &said["429"]["content"]["application/json"];
    assert_eq!(json["schema"]["oneOf"].as_array().unwrap().len(), 2);
    let running = &json["examples"]["running"]["value"];
    let expected = "{\"running\":4,\"of\":4,\"at\":\"never\",\"list\":[]}";
    assert_eq!(running.to_string(), expected);
    let second = &json["examples"]["second"]["value"];
    assert_eq!(second["message"], "refused, there is no room");
    assert!(json["examples"].get("silent").is_none());
}

#[test]
fn a_shared_response_has_the_headers_of_all_that_share_it() {
    let text = "
limits.one = { rate = \"1/s\", key = \"ip\" }
limits.two = { rate = \"2/s\", key = \"ip\" }
routes = [{ route = \"/a\", limits = [\"one\"] }, { route = \"/b\", limits = [\"two\"] }]
[response]
headers = [\"retry-after\"]
body = { limit = \"{limit}\" }
[[response.refusals]]
limits = [\"two\"]
headers = [\"x-retry-after\"]
";
    let document = "paths:
  /a: {get: {responses: {429: &r {description: d}}}}
  /b: {get: {responses: {429: *r}}}
";
    let exported = openapi::export(document, &policy(text), "")
        .unwrap()
        .document;
    let shared: &str = exported.lines().find(|line| line.contains("&r")).unwrap();
    assert!(shared.contains("\"Retry-After\"") && shared.contains("\"X-Retry-After\""));
    // One example is enough of the same body.
    assert_eq!(
        exported.matches("\"example\": {\"limit\": 1}").count(),
        1,
        "{exported}"
    );
}

#[test]
fn what_those_who_share_do_not_agree_on_is_told() {
    let text = "
limits.one = { rate = \"1/s\", key = \"ip\" }
limits.two = { rate = \"2/s\", key = \"ip\" }
routes = [{ route = \"/a\", limits = [\"one\"] }, { route = \"/b\", limits = [\"two\"] }]
[[response.refusals]]
limits = [\"one\"]
body = { limit = \"{limit}\" }
[[response.refusals]]
limits = [\"two\"]
body = { limit = \"{limit_name}\" }
";
    let document = "paths:
  /a: {get: {responses: {429: {$ref: '#/x'}}}}
  /b: {get: {responses: {429: {$ref: '#/x'}}}}
x: {description: d}
";
    let exported = openapi::export(document, &policy(text), "").unwrap();
    let why = "4:4: GET /b: others that say something else share its `content`: not edited";
    let told = super::told(&exported.left_out);
    assert_eq!(told.last().map(|told| &**told), Some(why), "{told:#?}");
}

#[test]
fn a_response_that_says_so_stays_as_it_is() {
    let text = "limits.ten = { rate = \"10 per 60 s\", key = \"ip\", algorithm = \"fixed window\" }
response.headers = [\"retry-after\"]";
    let document = "paths:
  /a:
    get:
      x-throttle: [{limit: 10, interval: 60}]
      responses:
        '429': {description: d, headers: {RETRY-AFTER: {}}, content: {text/html: {}}}
";
    assert_eq!(exported(document, text), document);
}
