//! What to write where a text is no TOML: most who get there left out quotes.

use toml::de::DeTable;

use super::bounds::PHRASE_BYTES_MAX;
use super::fault::{Fix, fix};

/// What the parser says of `text` at `offset`, and the cure where it is a common slip.
pub(super) fn toml_fix(text: &str, offset: Option<usize>, message: &str) -> Fix {
    if message.starts_with("duplicate") {
        return fix("this name is said twice", "keep one of them");
    }
    let known = offset.and_then(|offset| slip(text, offset));
    known.unwrap_or_else(|| {
        let problem = format!("this is not TOML: {message}");
        fix(problem, "mend the syntax here")
    })
}

const NO_QUOTES: &str = "a text needs quotes around all of it";
const NO_EQUALS: &str = "an equals sign belongs after the name";

fn slip(text: &str, offset: usize) -> Option<Fix> {
    if text.trim_start().starts_with('{') {
        let advice = "give the file a name that ends in .json, or read it as JSON";
        return Some(fix("this looks like JSON, not TOML", advice));
    }
    let start = text.get(..offset)?.rfind('\n').map_or(0, |at| at + 1);
    let end = text.get(start..)?.find('\n').map(|at| start + at);
    let line = text.get(start..end.unwrap_or(text.len()))?.trim_end();
    // Bound: what is so long is no slip, and would be shown.
    if line.len() > PHRASE_BYTES_MAX {
        return None;
    }
    if let Some(heading) = line.trim_start().strip_prefix('[') {
        return unclosed(line, heading);
    }
    let before = text.get(start..offset.max(start))?;
    if before.contains(['[', '{']) {
        if before.trim_end().ends_with(':') {
            return Some(fix(NO_EQUALS, "write = instead of :"));
        }
        if let Some(word) = bare_word(text.get(offset..)?) {
            return Some(fix(NO_QUOTES, format!("write {word:?}")));
        }
    }
    let sign = line.find(['=', ':'])?;
    let (name, value) = (line.get(..sign)?.trim(), line.get(sign + 1..)?.trim());
    if name.is_empty() || value.is_empty() {
        return None;
    }
    let meant = meant(value)?;
    let problem = match (line.get(sign..)?.starts_with(':'), meant.as_str()) {
        (true, _) => NO_EQUALS,
        (false, meant) if meant == value => return None,
        (false, "true" | "false") => "this is no value",
        (false, _) => NO_QUOTES,
    };
    // What is advised is TOML, whatever it was made from.
    let advised = format!("{name} = {meant}");
    DeTable::parse(&advised).ok()?;
    Some(fix(problem, format!("write {advised}")))
}

/// `[limits.l` without its other bracket.
fn unclosed(line: &str, heading: &str) -> Option<Fix> {
    let ends = match heading.starts_with('[') {
        true => "]]",
        false => "]",
    };
    let name = heading.trim_matches(['[', ']']).trim();
    let advised = format!("{}{name}{ends}", ends.replace(']', "["));
    if line == advised || DeTable::parse(&advised).is_err() {
        return None;
    }
    Some(fix("a bracket is missing", format!("write {advised}")))
}

/// The word without quotes that `text` begins with, inside a list or a table.
fn bare_word(text: &str) -> Option<&str> {
    let end = text.find([',', ']', '}', '#', '\n', '"', '\'']);
    let word = text.get(..end.unwrap_or(text.len()))?.trim();
    let is_word = word.starts_with(|c: char| c.is_alphanumeric());
    (is_word && !word.contains('=')).then_some(word)
}

/// The value that was probably meant by one that is none: true or false, or a text.
fn meant(value: &str) -> Option<String> {
    if DeTable::parse(&format!("x = {value}")).is_ok() {
        return Some(value.to_owned());
    }
    let is_nested = value.starts_with(['[', '{']);
    if is_nested && value.contains(['"', '\'', '=', ':', ',']) {
        return None;
    }
    let value = value.split(" #").next().unwrap_or_default().trim();
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => return Some("true".to_owned()),
        "false" | "no" | "off" => return Some("false".to_owned()),
        _ => {}
    }
    let quotes = ['"', '\'', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}'];
    let bare: String = value.chars().filter(|c| !quotes.contains(c)).collect();
    Some(format!("{bare:?}"))
}
