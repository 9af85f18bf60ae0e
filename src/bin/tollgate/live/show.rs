//! Answers as people read them.

use std::fmt::Write;

use serde_json::Value;

/// Overrides, one a line.
pub(super) fn overrides(all: &[Value]) -> String {
    let mut text = String::new();
    for one in all {
        let key = one["key"].as_object().into_iter().flatten();
        let key = key.map(|(name, value)| format!("{name}={}", plain(value)));
        let key = key.collect::<Vec<_>>().join(" ");
        let (limit, rate) = (plain(&one["limit"]), plain(&one["rate"]));
        let _ = writeln!(text, "{limit}: {key} has {rate}");
    }
    if all.is_empty() {
        text.push_str("nothing is overridden\n");
    }
    text
}

/// Health, a line for each part of it.
pub(super) fn health(health: &Value) -> String {
    let mut text = String::new();
    for (name, value) in health.as_object().into_iter().flatten() {
        let name = name.replace('_', " ");
        match value {
            Value::Object(parts) => {
                let parts = parts.iter().filter(|(_, value)| !is_nothing(value));
                let parts = parts.map(|(part, value)| format!("{} {}", words(part), plain(value)));
                let parts = parts.collect::<Vec<_>>().join(", ");
                let _ = writeln!(text, "{name}: {parts}");
            }
            value if is_nothing(value) => {}
            value => {
                let _ = writeln!(text, "{name}: {}", plain(value));
            }
        }
    }
    text
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join("; "),
        Value::Object(parts) => {
            let parts = parts.iter().filter(|(_, value)| !is_nothing(value));
            let parts = parts.map(|(name, value)| format!("{} {}", words(name), plain(value)));
            parts.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
