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

impl<'n> Spot<'n> {
    fn wrong_type(&self, wanted: &str, faults: &mut Faults) {
        let problem = format!("{wanted} belongs here, not {}", self.value.kind());
        let advice = match (self.value, wanted) {
            (Value::Whole(whole), "a text") => format!("write \"{whole}\""),
            (Value::Text(text), "a whole number") if text.parse::<u64>().is_ok() => {
                format!("write {text} without quotes")
            }
            (Value::Text(text), "true or false") if text == "true" || text == "false" => {
                format!("write {text} without quotes")
            }
            (_, "a list") => "write it in square brackets: [...]".to_owned(),
            _ => format!("write {wanted}"),
        };
        faults.push(&self.place, fix(problem, advice));
    }

    /// The text, at most `most` bytes of it.
    pub(super) fn text(&self, most: usize, faults: &mut Faults) -> Option<&'n str> {
        match self.value {
            Value::Text(text) if text.len() <= most => Some(text),
            Value::Text(text) => {
                let problem = format!("a text of {} bytes is too long", text.len());
                faults.push(&self.place, fix(problem, format!("at most {most} bytes")));
                None
            }
            _ => {
                self.wrong_type("a text", faults);
                None
            }
        }
    }

    pub(super) fn flag(&self, faults: &mut Faults) -> Option<bool> {
        match self.value {
            Value::Flag(flag) => Some(*flag),
            _ => {
                self.wrong_type("true or false", faults);
                None
            }
        }
    }

    /// The whole number, if it is in `range`.
    pub(super) fn whole(&self, range: RangeInclusive<u64>, faults: &mut Faults) -> Option<u64> {
        match self.value {
            Value::Whole(whole) => {
                let found = u64::try_from(*whole).ok().filter(|n| range.contains(n));
                if found.is_none() {
                    let (least, most) = range.into_inner();
                    let advice = format!("a whole number from {least} to {most}");
                    faults.push(&self.place, fix(format!("{whole} is out of range"), advice));
                }
                found
            }
            Value::Number(text) => {
                let problem = format!("{} is not a whole number", quoted(text));
                faults.push(&self.place, fix(problem, "write digits only"));
                None
            }
            _ => {
                self.wrong_type("a whole number", faults);
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
        let text = self.text(NAME_BYTES_MAX, faults)?;
        let found = options.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<_> = options.iter().map(|(name, _)| *name).collect();
            let problem = format!("{} is none of the choices", quoted(text));
            faults.push(&self.place, fix(problem, suggest(text, &names)));
        }
        found.map(|(_, value)| *value)
    }

    /// The list's items, at most `most` of them.
    pub(super) fn items(&self, most: usize, faults: &mut Faults) -> Vec<Spot<'n>> {
        let Value::List(nodes) = self.value else {
            self.wrong_type("a list", faults);
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
            Value::List(_) => self.items(most, faults),
            _ => vec![self.clone()],
        }
    }

    /// The table's named values, at most `most` of them, whatever their names.
    pub(super) fn entries(&self, most: usize, faults: &mut Faults) -> Vec<(&'n str, Spot<'n>)> {
        let Value::Table(entries) = self.value else {
            self.wrong_type("a table", faults);
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
            found: Vec::new(),
        };
        let Value::Table(entries) = self.value else {
            self.wrong_type("a table", faults);
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
        if spot.is_none() {
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
