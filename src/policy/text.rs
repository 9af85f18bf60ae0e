//! The two formats, TOML and JSON, read into the tree. The door of `serde`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::de::{DeTable, DeValue};

use super::bounds::{DEPTH_MAX, TEXT_BYTES_MAX};
use super::fault::{Faults, Place, fix, quoted};
use super::syntax::toml_fix;
use super::tree::{Entry, Node, Value};

/// The tree of a TOML document; nothing if its syntax is broken.
pub(super) fn from_toml(text: &str, faults: &mut Faults) -> Option<Node> {
    bound_text(text, faults)?;
    match DeTable::parse(text) {
        Ok(document) => {
            let table = table_of(document.get_ref(), 1, faults);
            Some(Node {
                offset: Some(0),
                value: table,
            })
        }
        Err(error) => {
            let place = Place {
                offset: error.span().map(|span| span.start),
                path: String::new(),
            };
            faults.push(&place, toml_fix(text, place.offset, error.message()));
            None
        }
    }
}

fn bound_text(text: &str, faults: &mut Faults) -> Option<()> {
    if text.len() <= TEXT_BYTES_MAX {
        return Some(());
    }
    let problem = format!("a policy of {} bytes is too long", text.len());
    let advice = format!("at most {TEXT_BYTES_MAX} bytes; overrides can be set while running");
    faults.push(&Place::default(), fix(problem, advice));
    None
}

fn too_deep(offset: Option<usize>, faults: &mut Faults) -> Value {
    let place = Place {
        offset,
        path: String::new(),
    };
    let problem = format!("values are nested deeper than {DEPTH_MAX}");
    faults.push(&place, fix(problem, "nothing in a policy is so deep"));
    Value::Null
}

fn table_of(table: &DeTable<'_>, depth: usize, faults: &mut Faults) -> Value {
    let entries = table
        .iter()
        .map(|(name, value)| {
            let offset = Some(value.span().start);
            Entry {
                name: name.get_ref().to_string(),
                offset: Some(name.span().start),
                node: Node {
                    offset,
                    value: value_of(value.get_ref(), offset, depth, faults),
                },
            }
        })
        .collect();
    Value::Table(entries)
}

fn value_of(
    value: &DeValue<'_>,
    offset: Option<usize>,
    depth: usize,
    faults: &mut Faults,
) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(whole) => match i128::from_str_radix(whole.as_str(), whole.radix()) {
            Ok(number) => Value::Whole(number),
            Err(_) => Value::Number(whole.to_string()),
        },
        DeValue::Float(float) => Value::Number(float.to_string()),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(_) | DeValue::Table(_) if depth >= DEPTH_MAX => too_deep(offset, faults),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| {
                    let offset = Some(item.span().start);
                    Node {
                        offset,
                        value: value_of(item.get_ref(), offset, depth + 1, faults),
                    }
                })
                .collect(),
        ),
        DeValue::Table(table) => table_of(table, depth + 1, faults),
    }
}

/// The tree of a JSON document; nothing if its syntax is broken. Values have no offsets: the
/// parser tells a line only where the syntax is broken.
pub(super) fn from_json(text: &str, faults: &mut Faults) -> Option<Node> {
    bound_text(text, faults)?;
    match serde_json::from_str::<Json>(text) {
        Ok(Json(value)) => {
            check_tree(&value, faults);
            Some(Node {
                offset: None,
                value,
            })
        }
        Err(error) => {
            let problem = format!("this is not JSON: {error}");
            let fix = fix(problem, "mend the syntax here");
            faults.push_on_line(&Place::default(), Some(error.line()), fix);
            None
        }
    }
}

/// Faults of a tree that is not from TOML: names said twice, and values nested too deep.
pub(super) fn check_tree(value: &Value, faults: &mut Faults) {
    check_value(value, &Place::default(), 1, faults);
}

fn check_value(value: &Value, place: &Place, depth: usize, faults: &mut Faults) {
    if depth > DEPTH_MAX {
        let problem = format!("values are nested deeper than {DEPTH_MAX}");
        faults.push(place, fix(problem, "nothing in a policy is so deep"));
        return;
    }
    match value {
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                if matches!(item.value, Value::List(_) | Value::Table(_)) {
                    check_value(&item.value, &place.item(index, None), depth + 1, faults);
                }
            }
        }
        Value::Table(entries) => {
            let mut names = std::collections::HashSet::new();
            for entry in entries {
                let inside = place.inside(&entry.name, None);
                if !names.insert(&entry.name) {
                    let problem = format!("{} is said twice", quoted(&entry.name));
                    faults.push(&inside, fix(problem, "keep one of them"));
                }
                if matches!(entry.node.value, Value::List(_) | Value::Table(_)) {
                    check_value(&entry.node.value, &inside, depth + 1, faults);
                }
            }
        }
        _ => {}
    }
}

struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Self)
    }
}

struct JsonVisitor;

impl JsonVisitor {
    fn node(Json(value): Json) -> Node {
        Node {
            offset: None,
            value,
        }
    }
}

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, whole: i64) -> Result<Value, E> {
        Ok(Value::Whole(i128::from(whole)))
    }

    fn visit_u64<E>(self, whole: u64) -> Result<Value, E> {
        Ok(Value::Whole(i128::from(whole)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Json>()? {
            list.push(Self::node(item));
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = Vec::new();
        while let Some((name, value)) = entries.next_entry::<String, Json>()? {
            table.push(Entry {
                name,
                offset: None,
                node: Self::node(value),
            });
        }
        Ok(Value::Table(table))
    }
}
