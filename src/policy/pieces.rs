//! Templates as pieces: literals, and values that are filled in later.

use super::fault::{Faults, Fix, Place, fix, quoted, suggest};
use super::scan::Scan;
use super::tree::{Node, Value};

/// A piece of a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    Literal(Box<str>),
    /// A value inside a text.
    Text(Fact, Option<Box<str>>),
    /// A value that is all of a JSON value: a number, a text in quotes, or null.
    Json(Fact, Option<Box<str>>),
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
                if index > 0 {
                    out.push(literal(","));
                }
                json(value, &place.item(index, *offset), out, faults);
            }
            out.push(literal("]"));
        }
        Value::Table(entries) => {
            out.push(literal("{"));
            for (index, entry) in entries.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                out.push(literal(&format!("{comma}{}:", quote(&entry.name))));
                let inside = place.inside(&entry.name, entry.node.offset.or(entry.offset));
                json(&entry.node.value, &inside, out, faults);
            }
            out.push(literal("}"));
        }
    }
}

/// `text` as a JSON text with its quotes.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text of a JSON body: a value, if it is one placeholder and nothing else.
fn json_text(text: &str) -> Result<Vec<Piece>, Fix> {
    let inner = |literal: &str| {
        let quoted = quote(literal);
        quoted[1..quoted.len() - 1].to_owned()
    };
    let mut pieces = parse_text(text, inner)?;
    if let [Piece::Text(fact, otherwise)] = pieces.as_mut_slice() {
        return Ok(vec![Piece::Json(*fact, otherwise.take())]);
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
            Self::Literal(text) => text.len(),
            Self::Text(_, otherwise) | Self::Json(_, otherwise) => {
                otherwise.as_ref().map_or(0, |text| text.len())
            }
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

/// Appends a template to `out`, with the values that `fact` gives.
pub(crate) fn fill<'d>(pieces: &[Piece], fact: impl Fn(Fact) -> Filled<'d>, out: &mut String) {
    let mut digits = itoa::Buffer::new();
    for piece in pieces {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Text(name, otherwise) => {
                let otherwise = otherwise.as_deref().unwrap_or("unknown");
                out.push_str(fact(*name).text(&mut digits).unwrap_or(otherwise));
            }
            Piece::Json(name, otherwise) => {
                let value = fact(*name);
                let is_number = matches!(value, Filled::Number(_));
                match (value.text(&mut digits).or(otherwise.as_deref()), is_number) {
                    (Some(number), true) => out.push_str(number),
                    (Some(text), false) => {
                        out.extend(["\"", text, "\""]);
                    }
                    (None, _) => out.push_str("null"),
                }
            }
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
