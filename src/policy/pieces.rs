//! Templates as pieces: literals, and values that are filled in later.

use std::mem;

use super::fault::{Faults, Fix, Place, fix, quoted, suggest};
use super::scan::Scan;
use super::tree::{Node, Value};

/// A piece of a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    Literal(Box<str>),
    /// A value inside a text.
    Text(Fact, Option<Box<str>>),
    /// A value that is all of a JSON value, a number or a text in quotes; the text is there instead
    /// of an unknown one.
    Json(Fact, Box<str>),
    /// A value that is all of a member or an item, with the JSON that stands before it: a comma, a
    /// name. All of it is left out if the value is unknown: nothing is told as null.
    Member(Box<str>, Fact),
}

/// What can be filled in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fact {
    Limit,
    Remaining,
    Used,
    /// Unix time.
    Reset,
    /// Seconds from now.
    ResetAfter,
    /// Seconds, for who is refused.
    RetryAfter,
    /// Seconds, for whoever has to wait: after the last that was admitted, too.
    Wait,
    Tier,
    LimitName,
    Reason,
    Status,
}

const FACTS: &[(&str, Fact)] = &[
    ("limit", Fact::Limit),
    ("remaining", Fact::Remaining),
    ("used", Fact::Used),
    ("reset", Fact::Reset),
    ("reset_after", Fact::ResetAfter),
    ("retry_after", Fact::RetryAfter),
    ("wait", Fact::Wait),
    ("tier", Fact::Tier),
    ("limit_name", Fact::LimitName),
    ("reason", Fact::Reason),
    ("status", Fact::Status),
];

/// `value` as JSON, its texts as templates.
pub(super) fn json(value: &Value, place: &Place, out: &mut Vec<Piece>, faults: &mut Faults) {
    let literal = |text: &str| Piece::Literal(text.into());
    match value {
        Value::Text(text) => {
            if let Some(pieces) = faults.take(place, json_text(text)) {
                out.extend(pieces);
            }
        }
        Value::Whole(whole) => out.push(literal(&whole.to_string())),
        Value::Number(number) if serde_json::from_str::<serde_json::Number>(number).is_ok() => {
            out.push(literal(number));
        }
        Value::Flag(flag) => out.push(literal(&flag.to_string())),
        Value::Null => out.push(literal("null")),
        Value::Number(_) | Value::Date => {
            faults.push(place, fix("JSON has no such value", "write it as a text"));
        }
        Value::List(items) => {
            out.push(literal("["));
            for (index, Node { offset, value }) in items.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                member(comma, value, &place.item(index, *offset), out, faults);
            }
            out.push(literal("]"));
        }
        Value::Table(entries) => {
            out.push(literal("{"));
            for (index, entry) in entries.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                let before = format!("{comma}{}:", quote(&entry.name));
                let inside = place.inside(&entry.name, entry.node.offset.or(entry.offset));
                member(&before, &entry.node.value, &inside, out, faults);
            }
            out.push(literal("}"));
        }
    }
}

/// A member of an object or an item of a list, after what stands `before` its value.
fn member(before: &str, value: &Value, place: &Place, out: &mut Vec<Piece>, faults: &mut Faults) {
    let start = out.len();
    json(value, place, out, faults);
    match out.get(start..) {
        Some([Piece::Text(fact, None)]) => {
            let fact = *fact;
            out.truncate(start);
            out.push(Piece::Member(before.into(), fact));
        }
        _ => out.insert(start, Piece::Literal(before.into())),
    }
}

/// `text` as a JSON text with its quotes.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text of a JSON body: a value, if it is one placeholder and nothing else. Without a text that
/// is there instead it is left to [`member`].
fn json_text(text: &str) -> Result<Vec<Piece>, Fix> {
    let inner = |literal: &str| {
        let quoted = quote(literal);
        quoted[1..quoted.len() - 1].to_owned()
    };
    let mut pieces = parse_text(text, inner)?;
    match pieces.as_mut_slice() {
        [Piece::Text(_, None)] => return Ok(pieces),
        [Piece::Text(fact, Some(otherwise))] => {
            return Ok(vec![Piece::Json(*fact, std::mem::take(otherwise))]);
        }
        _ => {}
    }
    pieces.insert(0, Piece::Literal("\"".into()));
    pieces.push(Piece::Literal("\"".into()));
    Ok(pieces)
}

/// The pieces of `text`, its literals passed through `escape`.
///
/// ```text
/// text        = { literal | "{{" | "}}" | placeholder }
/// placeholder = "{" NAME [ "|" otherwise ] "}"
/// ```
pub(super) fn parse_text(text: &str, escape: impl Fn(&str) -> String) -> Result<Vec<Piece>, Fix> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, sign) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = sign.strip_prefix("{{").or_else(|| sign.strip_prefix("}}")) {
            literal.push_str(&sign[..1]);
            rest = after;
            continue;
        }
        let inside = sign.strip_prefix('{').and_then(|sign| sign.split_once('}'));
        let Some((inside, after)) = inside else {
            let advice = "write {{ or }} for a brace that stands for itself";
            return Err(fix("a brace has no other", advice));
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(escape(&literal).into()));
            literal.clear();
        }
        pieces.push(parse_placeholder(inside, &escape)?);
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Literal(escape(&literal).into()));
    }
    Ok(pieces)
}

fn parse_placeholder(text: &str, escape: impl Fn(&str) -> String) -> Result<Piece, Fix> {
    let mut scan = Scan::new(text);
    let name = scan.name();
    let otherwise = match scan.eat("|") {
        true => Some(escape(scan.rest().trim()).into()),
        false if scan.rest().is_empty() => None,
        false => {
            let problem = format!("{} is left over in a placeholder", quoted(scan.rest()));
            return Err(fix(problem, "write it like {tier} or {tier | none}"));
        }
    };
    let found = FACTS.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, fact)| Piece::Text(*fact, otherwise))
        .ok_or_else(|| {
            let names: Vec<_> = FACTS.iter().map(|(name, _)| *name).collect();
            let problem = format!("nothing is called {} here", quoted(name));
            fix(problem, suggest(name, &names))
        })
}

impl Piece {
    pub(super) fn literal_bytes(&self) -> usize {
        match self {
            Self::Literal(text) | Self::Json(_, text) | Self::Member(text, _) => text.len(),
            Self::Text(_, otherwise) => otherwise.as_ref().map_or(0, |text| text.len()),
        }
    }
}

/// A value to be filled in.
#[derive(Clone, Copy)]
pub(crate) enum Filled<'d> {
    Number(u64),
    /// Of the policy or fixed: nothing in it needs escaping.
    Word(&'d str),
    Unknown,
}

impl<'d> Filled<'d> {
    pub(crate) fn text<'a>(self, digits: &'a mut itoa::Buffer) -> Option<&'a str>
    where
        'd: 'a,
    {
        match self {
            Self::Number(number) => Some(digits.format(number)),
            Self::Word(word) => Some(word),
            Self::Unknown => None,
        }
    }
}

/// Appends a known value as JSON.
fn value(known: Filled<'_>, out: &mut String) {
    match known {
        Filled::Number(number) => out.push_str(itoa::Buffer::new().format(number)),
        Filled::Word(word) => out.extend(["\"", word, "\""]),
        Filled::Unknown => {}
    }
}

/// Appends a template to `out`, with the values that `fact` gives.
pub(crate) fn fill<'d>(pieces: &[Piece], fact: impl Fn(Fact) -> Filled<'d>, out: &mut String) {
    let mut digits = itoa::Buffer::new();
    // The members before were left out, and the comma belongs to them.
    let mut is_first = false;
    for piece in pieces {
        let mut before = |text: &str, out: &mut String| {
            let is_at_start = mem::take(&mut is_first) && out.ends_with(['{', '[']);
            let rest = text.strip_prefix(',').filter(|_| is_at_start);
            out.push_str(rest.unwrap_or(text));
        };
        match piece {
            Piece::Literal(text) => before(text, out),
            Piece::Text(name, otherwise) => {
                let otherwise = otherwise.as_deref().unwrap_or("unknown");
                out.push_str(fact(*name).text(&mut digits).unwrap_or(otherwise));
            }
            Piece::Json(name, otherwise) => match fact(*name) {
                Filled::Unknown => out.extend(["\"", otherwise, "\""]),
                known => value(known, out),
            },
            Piece::Member(text, name) => match fact(*name) {
                Filled::Unknown => is_first = true,
                known => {
                    before(text, out);
                    value(known, out);
                }
            },
        }
    }
}

/// The same with neighbouring literals made one.
pub(super) fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (out.last_mut(), piece) {
            (Some(Piece::Literal(last)), Piece::Literal(next)) => {
                *last = format!("{last}{next}").into();
            }
            (_, piece) => out.push(piece),
        }
    }
    out
}
