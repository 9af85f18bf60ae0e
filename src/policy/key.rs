//! Keys as people write them: `"api_key | ip"`, `"(user | ip) + {sessionId}?"`.
//!
//! ```text
//! key   = join { "|" join }        the first alternative that is present
//! join  = part { "+" part }        all of them together
//! part  = ( NAME | "{" CAPTURE "}" | "(" key ")" ) [ "?" ]
//! ```
//! A name is an attribute of the request, or one of `method`, `path`, `route`. Braces name what
//! the route's template captures: a client chooses those, so they can never pass for an attribute.

use super::address;
use arrayvec::ArrayVec;

use super::bounds::{ATTRIBUTES_MAX, KEY_PARTS_MAX, NAME_BYTES_MAX};
use super::fault::{Fix, Place, fix, quoted};
use super::scan::Scan;
use super::terms::{AttributeIndex, KeyIndex, KeyParts, KeySink, KeyValue};

/// Where a key's part comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Method,
    Path,
    Route,
    /// What the matched route's template captures under the attribute's name, less its braces.
    Capture,
    /// What the request brings.
    Request,
}

/// Something of a request that a key, a tier or a cost refers to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AttributeSpec {
    /// The name; with its braces for a capture.
    pub(crate) name: Box<str>,
    pub(crate) source: Source,
    /// The policy says what it is.
    pub(crate) is_declared: bool,
    /// Texts are read as addresses.
    pub(crate) is_address: bool,
    /// The bits of an IPv6 address that count.
    pub(crate) ipv6_prefix: u8,
}

/// The attributes that a policy refers to, each once.
pub(super) struct Attributes {
    pub(super) specs: Vec<AttributeSpec>,
    /// Where each was first said.
    pub(super) places: Vec<Place>,
    pub(super) ipv6_prefix: u8,
    /// Where what is parsed now stands.
    pub(super) here: Place,
}

impl Attributes {
    pub(super) fn new(ipv6_prefix: u8) -> Self {
        Self {
            specs: Vec::new(),
            places: Vec::new(),
            ipv6_prefix,
            here: Place::default(),
        }
    }

    /// The attribute of this name, added if it is not yet there.
    pub(super) fn index(&mut self, name: &str) -> Result<AttributeIndex, Fix> {
        if let Some(index) = self.specs.iter().position(|spec| &*spec.name == name) {
            return Ok(AttributeIndex(index));
        }
        if self.specs.len() >= ATTRIBUTES_MAX {
            let advice = format!("at most {ATTRIBUTES_MAX} attributes in all");
            return Err(fix(format!("{} is one too many", quoted(name)), advice));
        }
        let source = match name {
            "method" => Source::Method,
            "path" => Source::Path,
            "route" => Source::Route,
            name if name.starts_with('{') => Source::Capture,
            _ => Source::Request,
        };
        self.specs.push(AttributeSpec {
            name: name.into(),
            source,
            is_declared: false,
            is_address: name == "ip",
            ipv6_prefix: self.ipv6_prefix,
        });
        self.places.push(self.here.clone());
        Ok(AttributeIndex(self.specs.len() - 1))
    }

    pub(super) fn ipv6_prefix_of(&self, index: AttributeIndex) -> u8 {
        let spec = self.specs.get(index.0);
        spec.map_or(self.ipv6_prefix, |spec| spec.ipv6_prefix)
    }
}

/// What to write where an attribute is to be named.
pub(super) const NAME_ADVICE: &str = "name an attribute, such as api_key";

/// The attribute that is all `text` names. A fault may lack its advice.
pub(super) fn parse_one(text: &str, attributes: &mut Attributes) -> Result<AttributeIndex, Fix> {
    let mut scan = Scan::new(text);
    let name = parse_name(&mut scan)?;
    match scan.rest() {
        "" => attributes.index(&name),
        rest => Err(fix(
            format!("{} is left over after the name", quoted(rest)),
            NAME_ADVICE,
        )),
    }
}

impl AttributeSpec {
    /// `text` as a value of this attribute; nothing if it is empty.
    #[inline]
    pub(super) fn value_of_text<'a>(&self, text: &'a [u8]) -> Option<KeyValue<'a>> {
        if text.is_empty() {
            return None;
        }
        let address = if self.is_address {
            address::parse(text)
        } else {
            None
        };
        match address {
            Some(ip) => Some(address::value(ip, self.ipv6_prefix)),
            None => Some(KeyValue::Text(text)),
        }
    }
}

/// Which values of a request select a counter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum KeySpec {
    Part(AttributeIndex),
    /// May be absent, and is then left out.
    Optional(Box<KeySpec>),
    Join(Vec<KeySpec>),
    First(Vec<KeySpec>),
}

impl KeySpec {
    /// The key of a limit with one counter for all.
    pub(super) const fn global() -> Self {
        Self::Join(Vec::new())
    }

    pub(crate) fn is_global(&self) -> bool {
        matches!(self, Self::Join(parts) if parts.is_empty())
    }

    /// True if a part of it may be absent.
    pub(super) fn has_optional(&self) -> bool {
        match self {
            Self::Part(_) => false,
            Self::Optional(_) => true,
            Self::Join(keys) | Self::First(keys) => keys.iter().any(Self::has_optional),
        }
    }

    /// What `text` says; its attributes are added to `attributes`. A fault may lack its advice: who
    /// knows what the key is for has an example.
    pub(super) fn parse(text: &str, attributes: &mut Attributes) -> Result<Self, Fix> {
        let mut scan = Scan::new(text);
        if scan.rest().is_empty() {
            return Ok(Self::global());
        }
        let mut parts = 0;
        let key = parse_first(&mut scan, attributes, &mut parts, 0)?;
        match scan.rest() {
            "" => Ok(key),
            rest => Err(fix(
                format!("{} is left over after the key", quoted(rest)),
                "",
            )),
        }
    }

    /// Adds the values of this key to `parts`; false, and nothing added, if one is missing that
    /// may not be absent.
    #[inline]
    pub(super) fn collect<'a, S: KeySink<'a>>(
        &self,
        value_of: &impl Fn(AttributeIndex) -> Option<KeyValue<'a>>,
        parts: &mut S,
    ) -> bool {
        match self {
            // Most keys are one part, and there is nothing to go back to.
            Self::Part(attribute) => {
                value_of(*attribute).is_some_and(|value| parts.push(*attribute, value))
            }
            _ => self.collect_some(value_of, parts),
        }
    }

    fn collect_some<'a, S: KeySink<'a>>(
        &self,
        value_of: &impl Fn(AttributeIndex) -> Option<KeyValue<'a>>,
        parts: &mut S,
    ) -> bool {
        let before = parts.mark();
        let found = match self {
            Self::Part(_) => self.collect(value_of, parts),
            Self::Optional(key) => {
                key.collect(value_of, parts);
                true
            }
            Self::Join(keys) => keys.iter().all(|key| key.collect(value_of, parts)),
            Self::First(keys) => keys.iter().any(|key| key.collect(value_of, parts)),
        };
        if !found {
            parts.go_back(before);
        }
        found
    }

    /// The parts of this key for values told beforehand; nothing if they are not what it needs.
    pub(super) fn parts_of<'a>(
        &self,
        attributes: &[AttributeSpec],
        values: &[(AttributeIndex, &'a str)],
    ) -> Option<KeyParts<'a>> {
        let value_of = |index: AttributeIndex| {
            let (_, text) = values.iter().find(|(known, _)| *known == index)?;
            attributes.get(index.0)?.value_of_text(text.as_bytes())
        };
        let mut parts = KeyParts::default();
        let found = self.collect(&value_of, &mut parts);
        (found && parts.len() == values.len()).then_some(parts)
    }

    /// The key in words, as a policy writes it.
    pub(super) fn write(&self, attributes: &[AttributeSpec], inner: bool, out: &mut String) {
        let (keys, sign) = match self {
            Self::Part(index) => {
                out.push_str(attributes.get(index.0).map_or("?", |spec| &spec.name));
                return;
            }
            Self::Optional(key) => {
                key.write(attributes, true, out);
                out.push('?');
                return;
            }
            Self::Join(keys) => (keys, " + "),
            Self::First(keys) => (keys, " | "),
        };
        if inner {
            out.push('(');
        }
        for (index, key) in keys.iter().enumerate() {
            if index > 0 {
                out.push_str(sign);
            }
            key.write(attributes, true, out);
        }
        if inner {
            out.push(')');
        }
    }

    /// Adds the attributes of a key without alternatives to `out`, in order; false if it has any.
    pub(super) fn sequence(&self, out: &mut Sequence) -> bool {
        match self {
            Self::Part(attribute) => out.try_push(*attribute).is_ok(),
            Self::Optional(key) => key.sequence(out),
            Self::Join(keys) => keys.iter().all(|key| key.sequence(out)),
            Self::First(_) => false,
        }
    }
}

/// The key's place among all keys; it is added if it is not yet there.
pub(super) fn intern(keys: &mut Vec<KeySpec>, key: &KeySpec) -> KeyIndex {
    let known = keys.iter().position(|known| known == key);
    KeyIndex(known.unwrap_or_else(|| {
        keys.push(key.clone());
        keys.len() - 1
    }))
}

/// The attributes of a key in order.
pub(super) type Sequence = ArrayVec<AttributeIndex, KEY_PARTS_MAX>;

fn parse_first(
    scan: &mut Scan<'_>,
    attributes: &mut Attributes,
    parts: &mut usize,
    depth: usize,
) -> Result<KeySpec, Fix> {
    let mut keys = vec![parse_join(scan, attributes, parts, depth)?];
    while scan.eat("|") {
        keys.push(parse_join(scan, attributes, parts, depth)?);
    }
    Ok(single(keys, KeySpec::First))
}

fn parse_join(
    scan: &mut Scan<'_>,
    attributes: &mut Attributes,
    parts: &mut usize,
    depth: usize,
) -> Result<KeySpec, Fix> {
    let mut keys = vec![parse_part(scan, attributes, parts, depth)?];
    while scan.eat("+") {
        keys.push(parse_part(scan, attributes, parts, depth)?);
    }
    Ok(single(keys, KeySpec::Join))
}

fn single(mut keys: Vec<KeySpec>, many: fn(Vec<KeySpec>) -> KeySpec) -> KeySpec {
    match keys.pop() {
        Some(only) if keys.is_empty() => only,
        Some(last) => {
            keys.push(last);
            many(keys)
        }
        None => KeySpec::global(),
    }
}

fn parse_part(
    scan: &mut Scan<'_>,
    attributes: &mut Attributes,
    parts: &mut usize,
    depth: usize,
) -> Result<KeySpec, Fix> {
    let key = if scan.eat("(") {
        // Bound: parentheses recurse.
        if depth >= KEY_PARTS_MAX {
            return Err(fix("parentheses are nested too deep", ""));
        }
        let key = parse_first(scan, attributes, parts, depth + 1)?;
        if !scan.eat(")") {
            return Err(fix("a parenthesis is not closed", ""));
        }
        key
    } else {
        *parts += 1;
        if *parts > KEY_PARTS_MAX {
            let advice = format!("at most {KEY_PARTS_MAX} parts");
            return Err(fix("the key has too many parts", advice));
        }
        KeySpec::Part(attributes.index(&parse_name(scan)?)?)
    };
    Ok(match scan.eat("?") {
        true => KeySpec::Optional(Box::new(key)),
        false => key,
    })
}

/// An attribute's name, or a capture's in its braces.
fn parse_name(scan: &mut Scan<'_>) -> Result<String, Fix> {
    let is_capture = scan.eat("{");
    let name = scan.name();
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let problem = match scan.rest() {
            "" => "an attribute's name is missing".to_owned(),
            rest => format!("an attribute's name belongs before {}", quoted(rest)),
        };
        return Err(fix(problem, ""));
    }
    if !is_capture {
        return Ok(name.to_owned());
    }
    if !scan.eat("}") {
        return Err(fix(format!("the brace before {name} is not closed"), ""));
    }
    Ok(format!("{{{name}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `key` finds of the attributes that `present` names, each with its own name as value.
    fn found(key: &str, present: &[&str]) -> Option<String> {
        let mut attributes = Attributes::new(64);
        let key = KeySpec::parse(key, &mut attributes).unwrap();
        let name = |index: AttributeIndex| &*attributes.specs[index.0].name;
        let value_of = |index| {
            let present = present.contains(&name(index));
            present.then(|| KeyValue::Text(name(index).as_bytes()))
        };
        let mut parts = KeyParts::default();
        let is_found = key.collect(&value_of, &mut parts);
        assert!(is_found || parts.is_empty(), "leftovers of {key:?}");
        let names: Vec<_> = parts.iter().map(|part| name(part.attribute)).collect();
        is_found.then(|| names.join(" "))
    }

    #[test]
    fn takes_the_first_alternative_that_is_whole() {
        let key = "(user + team | api_key | ip) + {id}?";
        for (present, wanted) in [
            (
                &["user", "team", "api_key", "{id}"][..],
                Some("user team {id}"),
            ),
            (&["user", "api_key"], Some("api_key")),
            (&["ip", "user"], Some("ip")),
            (&["user", "{id}"], None),
            (&["id", "ip"], Some("ip")),
            (&[], None),
        ] {
            assert_eq!(found(key, present).as_deref(), wanted, "{present:?}");
        }
        assert_eq!(found("", &["ip"]).as_deref(), Some(""));
        assert_eq!(found("a | b + c", &["b", "c"]).as_deref(), Some("b c"));
        assert_eq!(found("a? + b", &["a"]), None);
    }

    #[test]
    fn a_key_reads_as_it_was_written() {
        for text in [
            "a",
            "a | b",
            "(a | b)? + {c}?",
            "a + (b | c + d?)?",
            "a | (b | c)",
        ] {
            let mut attributes = Attributes::new(64);
            let key = KeySpec::parse(text, &mut attributes).unwrap();
            let mut words = String::new();
            key.write(&attributes.specs, false, &mut words);
            let again = KeySpec::parse(&words, &mut attributes).unwrap();
            assert_eq!(again, key, "{text} became {words}");
        }
    }

    #[test]
    fn what_is_no_key_is_a_fault() {
        for text in [
            "a b", "a |", "+ a", "(a", "a)", "{a", "{}", "a??", "|", "\u{e9}", "a,b",
        ] {
            let key = KeySpec::parse(text, &mut Attributes::new(64));
            assert!(key.is_err(), "{text}: {key:?}");
        }
        let nine = ["a"; 9].join("+");
        assert!(KeySpec::parse(&nine, &mut Attributes::new(64)).is_err());
        assert!(KeySpec::parse(&nine[2..], &mut Attributes::new(64)).is_ok());
    }
}
