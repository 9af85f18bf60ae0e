//! A policy's text as a tree of values with their places, and typed, fault-reporting access to it.
//!
//! TOML and JSON both become this tree; nothing behind it knows which one it was.

use std::ops::RangeInclusive;

use super::bounds::NAME_BYTES_MAX;
use super::fault::{Faults, Fix, Place, fix, nearest, quoted, suggest};

/// A value of a policy's text.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Text(String),
    Whole(i128),
    /// A number that is not whole, or too large for any use here; as written.
    Number(String),
    Flag(bool),
    Date,
    Null,
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A value and its offset in the text.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Node {
    pub(super) offset: Option<usize>,
    pub(super) value: Value,
}

/// A named value. The offset is the name's.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) offset: Option<usize>,
    pub(super) node: Node,
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Whole(_) | Self::Number(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::Date => "a date",
            Self::Null => "null",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Spot<'n> {
    pub(super) place: Place,
    pub(super) value: &'n Value,
}

/// What texts a field takes: what to advise where something else stands.
#[derive(Clone, Copy)]
pub(super) enum Like<'l> {
    /// Any text.
    Any,
    /// Texts of a form, such as this one.
    Form(&'l str),
    /// The name of something, such as `a limit`.
    NameOf(&'static str),
}

impl Like<'_> {
    fn advice(self, value: &Value) -> String {
        match (self, value) {
            (Self::Any, Value::Whole(whole)) => format!("write \"{whole}\""),
            (Self::Any, Value::Number(number)) => format!("write \"{number}\""),
            (Self::Any, Value::Flag(flag)) => format!("write \"{flag}\""),
            (Self::Any, _) => "write a text in quotes".to_owned(),
            (Self::Form(example), _) => format!("write it like \"{example}\""),
            (Self::NameOf(what), _) => format!("write the name of {what} in quotes"),
        }
    }
}

impl<'n> Spot<'n> {
    fn wrong_type(&self, wanted: &str, advice: impl Into<String>, faults: &mut Faults) {
        let problem = format!("{wanted} belongs here, not {}", self.value.kind());
        faults.push(&self.place, fix(problem, advice));
    }

    /// The text, at most `most` bytes of it.
    pub(super) fn text(&self, most: usize, like: Like<'_>, faults: &mut Faults) -> Option<&'n str> {
        match self.value {
            Value::Text(text) if text.len() <= most => Some(text),
            Value::Text(text) => {
                let problem = format!("a text of {} bytes is too long", text.len());
                faults.push(&self.place, fix(problem, format!("at most {most} bytes")));
                None
            }
            _ => {
                self.wrong_type("a text", like.advice(self.value), faults);
                None
            }
        }
    }

    /// What `parse` makes of the text. An advice that is missing is filled with `example`, which
    /// `parse` takes; where a number stands that is one with its unit, if `parse` takes that.
    pub(super) fn parsed<T>(
        &self,
        most: usize,
        example: &str,
        mut parse: impl FnMut(&str) -> Result<T, Fix>,
        faults: &mut Faults,
    ) -> Option<T> {
        let unit = example.trim_start_matches(|c: char| c.is_ascii_digit());
        if let Value::Whole(whole) = self.value
            && unit != example
            && parse(&format!("{whole}{unit}")).is_ok()
        {
            self.wrong_type("a text", format!("write \"{whole}{unit}\""), faults);
            return None;
        }
        let like = Like::Form(example);
        let parsed = parse(self.text(most, like, faults)?).map_err(|wrong| match wrong.advice {
            advice if advice.is_empty() => fix(wrong.problem, like.advice(self.value)),
            advice => fix(wrong.problem, advice),
        });
        faults.take(&self.place, parsed)
    }

    pub(super) fn flag(&self, faults: &mut Faults) -> Option<bool> {
        match self.value {
            Value::Flag(flag) => Some(*flag),
            value => {
                let advice = match value {
                    Value::Text(text) if text == "true" || text == "false" => {
                        format!("write {text} without quotes")
                    }
                    _ => "write true or false".to_owned(),
                };
                self.wrong_type("true or false", advice, faults);
                None
            }
        }
    }

    /// The whole number, if it is in `range`.
    pub(super) fn whole(&self, range: RangeInclusive<u64>, faults: &mut Faults) -> Option<u64> {
        let advice = match (range.start(), range.end()) {
            (least, &u64::MAX) => format!("write a whole number from {least} on"),
            (least, most) => format!("write a whole number from {least} to {most}"),
        };
        match self.value {
            Value::Whole(whole) => {
                let found = u64::try_from(*whole).ok().filter(|n| range.contains(n));
                if found.is_none() {
                    faults.push(&self.place, fix(format!("{whole} is out of range"), advice));
                }
                found
            }
            Value::Number(text) => {
                let problem = format!("{} is not a whole number", quoted(text));
                faults.push(&self.place, fix(problem, advice));
                None
            }
            Value::Text(text) if text.parse().is_ok_and(|number| range.contains(&number)) => {
                let advice = format!("write {text} without quotes");
                self.wrong_type("a whole number", advice, faults);
                None
            }
            _ => {
                self.wrong_type("a whole number", advice, faults);
                None
            }
        }
    }

    /// The one of `options` that the text names.
    pub(super) fn choice<T: Copy>(
        &self,
        options: &[(&'static str, T)],
        faults: &mut Faults,
    ) -> Option<T> {
        let names: Vec<_> = options.iter().map(|(name, _)| *name).collect();
        let Value::Text(text) = self.value else {
            self.wrong_type("a text", suggest("", &names), faults);
            return None;
        };
        let found = options.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let problem = format!("{} is none of the choices", quoted(text));
            faults.push(&self.place, fix(problem, suggest(text, &names)));
        }
        found.map(|(_, value)| *value)
    }

    /// The items of a list of tables, at most `most` of them.
    pub(super) fn tables(&self, most: usize, faults: &mut Faults) -> Vec<Spot<'n>> {
        if !matches!(self.value, Value::List(_)) {
            // Only in TOML are places known, and only there tables have headings.
            let advice = match self.place.offset {
                Some(_) => format!("write [[{}]] above each table", self.place.path),
                None => "write a list of tables: [{ ... }]".to_owned(),
            };
            self.wrong_type("a list of tables", advice, faults);
            return Vec::new();
        }
        self.items(most, Like::Any, faults)
    }

    /// The list's items, at most `most` of them, each a text like `like`.
    pub(super) fn items(&self, most: usize, like: Like<'_>, faults: &mut Faults) -> Vec<Spot<'n>> {
        let Value::List(nodes) = self.value else {
            let advice = match (self.value, like) {
                (Value::Text(text), _) => format!("write [{}]", quoted(text)),
                (_, Like::NameOf(what)) => {
                    format!("write the name of {what} in quotes and brackets")
                }
                _ => "write it in square brackets".to_owned(),
            };
            self.wrong_type("a list", advice, faults);
            return Vec::new();
        };
        self.bound("items", nodes.len(), most, faults);
        nodes
            .iter()
            .take(most)
            .enumerate()
            .map(|(index, node)| Spot {
                place: self.place.item(index, node.offset),
                value: &node.value,
            })
            .collect()
    }

    /// The list's items, or the value itself where one stands for a list of one.
    pub(super) fn items_or_one(&self, most: usize, faults: &mut Faults) -> Vec<Spot<'n>> {
        match self.value {
            Value::List(_) => self.items(most, Like::Any, faults),
            _ => vec![self.clone()],
        }
    }

    /// The table's named values, at most `most` of them, whatever their names.
    pub(super) fn entries(&self, most: usize, faults: &mut Faults) -> Vec<(&'n str, Spot<'n>)> {
        let Value::Table(entries) = self.value else {
            self.no_table(faults);
            return Vec::new();
        };
        self.bound("entries", entries.len(), most, faults);
        entries
            .iter()
            .take(most)
            .map(|entry| (entry.name.as_str(), self.inside(entry)))
            .collect()
    }

    /// The table's values that have a name of `known`; the others are faults.
    pub(super) fn fields(&self, known: &'static [&'static str], faults: &mut Faults) -> Fields<'n> {
        let mut fields = Fields {
            place: self.place.clone(),
            is_table: matches!(self.value, Value::Table(_)),
            found: Vec::new(),
        };
        let Value::Table(entries) = self.value else {
            self.no_table(faults);
            return fields;
        };
        for entry in entries {
            let spot = self.inside(entry);
            match known.iter().find(|name| **name == entry.name) {
                Some(name) => fields.found.push((name, spot)),
                None => {
                    let place = Place {
                        offset: entry.offset,
                        ..spot.place
                    };
                    faults.push(&place, unknown_field(entry, known));
                }
            }
        }
        fields
    }

    fn no_table(&self, faults: &mut Faults) {
        let Place { offset, path } = &self.place;
        let advice = match self.value {
            Value::List(_) if offset.is_some() && !path.is_empty() && !path.ends_with(']') => {
                format!("write [{path}], with one bracket on each side")
            }
            _ => "write it in braces: { name = value }".to_owned(),
        };
        self.wrong_type("a table", advice, faults);
    }

    fn inside(&self, entry: &'n Entry) -> Spot<'n> {
        Spot {
            place: self
                .place
                .inside(&entry.name, entry.node.offset.or(entry.offset)),
            value: &entry.node.value,
        }
    }

    fn bound(&self, what: &str, count: usize, most: usize, faults: &mut Faults) {
        if count > most {
            let problem = format!("{count} {what} are too many");
            faults.push(&self.place, fix(problem, format!("at most {most}")));
        }
    }
}

fn unknown_field(entry: &Entry, known: &[&str]) -> Fix {
    let problem = format!("nothing is called {} here", quoted(&entry.name));
    let is_table = matches!(entry.node.value, Value::Table(_));
    if is_table && nearest(&entry.name, known.iter().copied()).is_none() {
        let advice = "a name with dots needs quotes, as in [buckets.\"state.write\"]";
        return fix(
            problem,
            format!("{}; {advice}", suggest(&entry.name, known)),
        );
    }
    fix(problem, suggest(&entry.name, known))
}

/// A table's values of known names.
pub(super) struct Fields<'n> {
    pub(super) place: Place,
    /// False if what stands there is no table, which is a fault already.
    pub(super) is_table: bool,
    found: Vec<(&'static str, Spot<'n>)>,
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, name: &str) -> Option<&Spot<'n>> {
        self.found
            .iter()
            .find(|(found, _)| *found == name)
            .map(|(_, spot)| spot)
    }

    /// The value, or a fault that says what it is for.
    pub(super) fn require(
        &self,
        name: &str,
        example: &str,
        faults: &mut Faults,
    ) -> Option<&Spot<'n>> {
        let spot = self.get(name);
        if spot.is_none() && self.is_table {
            let problem = format!("{name} is missing");
            faults.push(&self.place, fix(problem, format!("write {example}")));
        }
        spot
    }
}

/// The name, if it is one: 1 to 64 of `A-Z a-z 0-9 _ . -`.
pub(super) fn check_name<'n>(name: &'n str, place: &Place, faults: &mut Faults) -> Option<&'n str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(fits) {
        return Some(name);
    }
    let problem = format!("{} cannot be a name", quoted(name));
    let advice = "use 1 to 64 letters, digits, underscores, dots or hyphens";
    faults.push(place, fix(problem, advice));
    None
}
