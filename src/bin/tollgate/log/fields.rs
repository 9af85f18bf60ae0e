//! Which field of a record means what: `time=ts,key=api_key`.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{Entry, Line, Malformed, RequestLine, Stamps, Text};

/// The attributes that one record may carry: as many as a request can.
// Bound: a record with more is malformed, and the message says how to pick those that matter.
const ATTRIBUTES_MAX: usize = 32;

/// What to do with the fields of JSON and CSV records.
///
/// A mapped field is known by the map's name instead of its own; other fields keep theirs. The
/// names `time`, `method`, `path`, `request` and `cost` have a meaning of their own, every other
/// one is an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldMap {
    /// Name by field.
    names: BTreeMap<String, String>,
}

/// Fields that are understood without a map where no mapped field takes their place.
const USUAL: [(&str, &str); 15] = [
    ("@timestamp", "time"),
    ("client_ip", "ip"),
    ("http_method", "method"),
    ("method", "method"),
    ("path", "path"),
    ("remote_addr", "ip"),
    ("request", "request"),
    ("request_method", "method"),
    ("request_uri", "path"),
    ("time", "time"),
    ("timestamp", "time"),
    ("ts", "time"),
    ("uri", "path"),
    ("url", "path"),
    ("cost", "cost"),
];

impl FieldMap {
    /// The name that the map itself gives `field`.
    fn mapped(&self, field: &str) -> Option<&str> {
        self.names.get(field).map(String::as_str)
    }

    /// The name that `field` goes by; none if it is to be passed over.
    pub(super) fn taken<'a>(&'a self, field: &'a str, mapped_only: bool) -> Option<&'a str> {
        if mapped_only {
            self.mapped(field)
        } else {
            Some(self.name(field))
        }
    }

    /// The name that `field` goes by.
    fn name<'a>(&'a self, field: &'a str) -> &'a str {
        if let Some(name) = self.mapped(field) {
            return name;
        }
        match USUAL.iter().find(|(usual, _)| *usual == field) {
            Some((_, name)) if !self.names.values().any(|mapped| mapped == name) => name,
            _ => field,
        }
    }

    /// The fields that the map wants.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names
            .iter()
            .map(|(field, name)| (field.as_str(), name.as_str()))
    }

    /// Adds the pairs of `other`.
    ///
    /// # Errors
    /// If a name is given twice.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), String> {
        for (field, name) in other.names {
            if self.names.values().any(|taken| *taken == name) {
                return Err(format!("{name} is mapped twice"));
            }
            if let Some(taken) = self.names.insert(field.clone(), name) {
                return Err(format!("{field} is mapped twice, first to {taken}"));
            }
        }
        Ok(())
    }
}

impl FromStr for FieldMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut map = Self::default();
        for pair in text.split(',') {
            let (name, field) = pair
                .split_once('=')
                .ok_or_else(|| format!("`{pair}` is not of the form name=field"))?;
            let (name, field) = (name.trim(), field.trim());
            if name.is_empty() || field.is_empty() {
                return Err(format!("`{pair}` lacks its name or its field"));
            }
            let one = Self {
                names: BTreeMap::from([(field.to_owned(), name.to_owned())]),
            };
            map.merge(one)?;
        }
        Ok(map)
    }
}

/// The fields of one record, gathered by name.
#[derive(Default)]
pub(super) struct Record<'a> {
    time: Option<Text<'a>>,
    method: Option<Text<'a>>,
    path: Option<Text<'a>>,
    request: Option<Text<'a>>,
    cost: Option<Text<'a>>,
    attributes: Vec<(Text<'a>, Text<'a>)>,
}

impl<'a> Record<'a> {
    /// Takes one field under the name that it goes by.
    ///
    /// # Errors
    /// If two fields go by a name that only one can have, or if there are too many.
    pub(super) fn put(&mut self, name: &str, value: Text<'a>) -> Result<(), Malformed> {
        let place = match name {
            "time" => &mut self.time,
            "method" => &mut self.method,
            "path" => &mut self.path,
            "request" => &mut self.request,
            "cost" => &mut self.cost,
            // What the policy's own routes say; a field cannot.
            "route" => return Err(Malformed::new("a field called route; --map renames it")),
            _ => {
                if self.attributes.len() == ATTRIBUTES_MAX {
                    return Err(Malformed(format!(
                        "more than {ATTRIBUTES_MAX} fields; --mapped-only takes those of --map"
                    )));
                }
                self.attributes.push((Text::Owned(name.to_owned()), value));
                return Ok(());
            }
        };
        if place.replace(value).is_some() {
            return Err(Malformed::new(format!(
                "two fields for {name}; --map picks one"
            )));
        }
        Ok(())
    }

    /// The request that the fields describe.
    ///
    /// # Errors
    /// If there is no time, or if it or the cost cannot be read.
    pub(super) fn finish(self, stamps: &mut Stamps) -> Result<Line<'a>, Malformed> {
        let time = self
            .time
            .ok_or_else(|| Malformed::new("no time; --map time=FIELD says where it is"))?;
        let time = stamps.parse(time.trim())?;
        let cost = self.cost.as_deref().map(whole_cost).transpose()?;
        let mut attributes = self.attributes;
        let (mut method, mut path) = (self.method, self.path);
        if let Some(request) = self.request {
            let Some(line) = super::split_request(&request) else {
                return Ok(Line::NoRequest(time));
            };
            let RequestLine {
                method: verb,
                path: target,
                query,
                ..
            } = line;
            method.get_or_insert_with(|| Text::Owned(verb.to_owned()));
            path.get_or_insert_with(|| Text::Owned(target.to_owned()));
            if let Some(query) = query {
                attributes.push(("query".into(), Text::Owned(query.to_owned())));
            }
        }
        let path = path.map(|target| match super::split_target(&target) {
            (path, _) if path.len() == target.len() => target,
            (path, _) => Text::Owned(path.to_owned()),
        });
        Ok(Line::Request(Entry {
            time,
            method: method.unwrap_or(Text::Borrowed("-")),
            path,
            cost,
            attributes,
        }))
    }
}

fn whole_cost(text: &str) -> Result<u64, Malformed> {
    text.trim()
        .parse()
        .map_err(|_| Malformed::new(format!("a cost that is no whole number: {}", quoted(text))))
}

/// Text for a message: short, in quotes, nothing in it that a terminal would act on.
pub(crate) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_rename_and_replace_what_is_usual() {
        let map: FieldMap = "time=when, key=api_key".parse().unwrap();
        assert_eq!(map.name("when"), "time");
        assert_eq!(map.name("api_key"), "key");
        assert_eq!(map.name("remote_addr"), "ip");
        // The log's own `time` field is not the time any more.
        assert_eq!(map.name("ts"), "ts");
    }

    #[test]
    fn bad_maps_are_refused() {
        for (text, why) in [
            ("time", "name=field"),
            ("time=", "lacks"),
            ("a=x,a=y", "a is mapped twice"),
            ("a=x,b=x", "x is mapped twice"),
        ] {
            let fault = text.parse::<FieldMap>().unwrap_err();
            assert!(fault.contains(why), "{text}: {fault}");
        }
    }

    #[test]
    fn messages_cannot_command_a_terminal() {
        assert_eq!(quoted("a\u{1b}[2Jb"), r#""a\u{1b}[2Jb""#);
        assert!(quoted(&"x".repeat(1_000)).len() < 100);
    }
}
