//! Values as text: in one line, which both languages read, or in YAML's blocks.

use serde_json::Value;

/// In one line.
pub(super) fn inline(value: &Value, out: &mut String) {
    match value {
        Value::Object(entries) => {
            out.push('{');
            for (place, (key, value)) in entries.iter().enumerate() {
                out.push_str(if place == 0 { "" } else { ", " });
                entry(key, value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                out.push_str(if place == 0 { "" } else { ", " });
                inline(item, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// A key and its value in one line.
pub(super) fn entry(key: &str, value: &Value, out: &mut String) {
    out.push_str(&Value::from(key).to_string());
    out.push_str(": ");
    inline(value, out);
}

/// A key and its value as a block; lines after the first begin with `break_and_indent`.
pub(super) fn block(key: &str, value: &Value, break_and_indent: &str, out: &mut String) {
    scalar(&Value::from(key), out);
    out.push(':');
    below(value, break_and_indent, out);
}

/// What follows a colon.
fn below(value: &Value, break_and_indent: &str, out: &mut String) {
    let deeper = format!("{break_and_indent}  ");
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                out.push_str(&deeper);
                block(key, value, &deeper, out);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                out.push_str(&deeper);
                out.push_str("- ");
                list_item(item, &format!("{deeper}  "), out);
            }
        }
        other => {
            out.push(' ');
            scalar(other, out);
        }
    }
}

fn list_item(item: &Value, break_and_indent: &str, out: &mut String) {
    let Value::Object(entries) = item else {
        return inline(item, out);
    };
    for (place, (key, value)) in entries.iter().enumerate() {
        out.push_str(if place == 0 { "" } else { break_and_indent });
        block(key, value, break_and_indent, out);
    }
}

/// Words that are no text where they stand without quotes.
const NOT_TEXT: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// A text without quotes where it is plainly one; anything else in one line.
fn scalar(value: &Value, out: &mut String) {
    match value {
        Value::String(text) if is_plain(text) => out.push_str(text),
        other => inline(other, out),
    }
}

fn is_plain(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | ' ');
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !text.ends_with(' ')
        && text.chars().all(plain)
        && !NOT_TEXT.contains(&&*text.to_ascii_lowercase())
}
