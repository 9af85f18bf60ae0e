//! Any text is a document or an error. What is written into one is read back as it was, writing it
//! again changes nothing, and what stood in the document still stands there, in its order.

use std::sync::OnceLock;

use serde_json::Value;
use tollgate::{Policy, openapi};

/// A policy that limits everything, and one that limits nothing of the kind.
const POLICIES: [&str; 2] = [
    "limits.ten = { rate = \"10 per 60 s\", key = \"ip\", algorithm = \"fixed window\" }
response = { headers = [\"retry-after\", \"x-ratelimit-unix\"], body = { limit = \"{limit}\" } }",
    "limits.other = { rate = \"1/s\" }
routes = [{ route = \"POST /none\", limits = [\"other\"] }]",
];

fn policies() -> &'static [Policy; 2] {
    static READ: OnceLock<[Policy; 2]> = OnceLock::new();
    READ.get_or_init(|| POLICIES.map(|text| Policy::from_toml(text).expect("it is sound")))
}

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let imported = match openapi::import(text, "") {
        Ok(imported) => imported,
        Err(error) => {
            assert!(!error.to_string().is_empty() && error.line() >= 1);
            // It may hold more than a policy can; an export does not fail for that.
            for policy in policies() {
                let _ = openapi::export(text, policy, "");
            }
            return;
        }
    };
    // YAML ends lines by either, or by both; what is not there stands behind the last.
    let lines = text.matches(['\n', '\r']).count() + 2;
    for one in &imported.left_out {
        assert!((1..=lines).contains(&one.line()), "{one}");
        assert!(!one.why().is_empty() && !one.place().is_empty());
    }
    for policy in policies() {
        written(text, policy);
    }
    if !imported.policy.contains("[limits.") {
        return;
    }
    let policy = Policy::from_toml(&imported.policy).expect("an import is a policy");
    let Some(exported) = written(text, &policy) else {
        return;
    };
    if imported.left_out.is_empty() && exported.left_out.is_empty() {
        let again = openapi::import(&exported.document, "").expect("what was written is read");
        assert_eq!(again.policy, imported.policy, "{}", exported.document);
    }
}

/// Writes `policy` into the document, if it can be.
fn written(text: &str, policy: &Policy) -> Option<openapi::Exported> {
    let exported = match openapi::export(text, policy, "") {
        Ok(exported) => exported,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    let after = &exported.document;
    let again = openapi::export(after, policy, "").expect("what was written can be written to");
    assert_eq!(again.document, *after, "it is written once");
    // Where nothing is replaced, all that was there still is: only more came in between.
    let is_replaced = ["x-throttle", "null", "~", ":\n", ": \n", "Null", "NULL"];
    if !is_replaced.iter().any(|mark| text.contains(mark)) && !text.contains(": #") {
        let mut new = after.bytes();
        let lost = text.bytes().find(|old| !new.any(|new| new == *old));
        assert_eq!(lost, None, "{after}");
    }
    if let (Ok(old), Ok(new)) = (serde_json::from_str(text), serde_json::from_str(after)) {
        within(&old, &new);
    }
    Some(exported)
}

/// That another library finds all of `old` in `new`.
fn within(old: &Value, new: &Value) {
    match (old, new) {
        (Value::Null, _) => {}
        (Value::Object(old), Value::Object(new)) => {
            for (key, old) in old.iter().filter(|(key, _)| *key != "x-throttle") {
                let new = new.get(key).unwrap_or_else(|| panic!("{key} is gone"));
                within(old, new);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            old.iter().zip(new).for_each(|(old, new)| within(old, new));
        }
        (old, new) => assert_eq!(old, new),
    }
}
