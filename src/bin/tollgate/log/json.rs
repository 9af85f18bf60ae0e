//! JSON lines: one object a line.

use serde_json::{Map, Value};

use super::fields::Record;
use super::{Line, Malformed, Reading, Text};

/// Reads JSON lines. Every field of the object that holds a text, a number or a truth value is
/// taken; fields of inner objects only where the format or the map names them:
/// `user=request.headers.user`.
pub(crate) struct Json {
    reading: Reading,
}

impl Json {
    pub(super) fn new(reading: Reading) -> Self {
        Self { reading }
    }

    pub(super) fn parse<'a>(&mut self, line: &'a str) -> Result<Line<'a>, Malformed> {
        let value: Value = serde_json::from_str(line)
            .map_err(|fault| Malformed::new(format!("no JSON: {fault}")))?;
        let Value::Object(object) = value else {
            return Err(Malformed::new("JSON, but no object"));
        };
        let names = &self.reading.names;
        let mut record = Record::default();
        let mut put = |field: &str, value: &Value| {
            let text = names.of(field).and_then(|name| Some((name, text(value)?)));
            // Servers write a dash for nothing; in a log of one's own it may be something.
            let text = text.filter(|(_, text)| !(names.http_only && text == "-"));
            text.map_or(Ok(()), |(name, text)| record.put(&name, text))
        };
        for field in names.inner().filter(|field| !object.contains_key(*field)) {
            if let Some(value) = inner(&object, field) {
                put(field, value)?;
            }
        }
        for (field, value) in &object {
            put(field, value)?;
        }
        record.finish(&mut self.reading)
    }
}

/// The fields of a line, those of inner objects by their paths.
pub(super) fn fields(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(object) = serde_json::from_str(line) {
        list(&object, "", 0, &mut found);
    }
    found
}

/// Objects within objects that are looked into.
// Bound: deeper ones are not listed.
const DEPTH_MAX: usize = 4;

fn list(object: &Map<String, Value>, before: &str, depth: usize, found: &mut Vec<String>) {
    for (field, value) in object {
        let path = format!("{before}{field}");
        match value {
            Value::Object(inner) if depth < DEPTH_MAX => {
                list(inner, &format!("{path}."), depth + 1, found);
            }
            _ if text(value).is_some() => found.push(path),
            _ => {}
        }
    }
}

/// The value at a dotted path.
fn inner<'v>(object: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    let mut steps = path.split('.');
    let first = object.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.get(step))
}

/// A field that says something: null and the empty text are the same as no field at all. The texts
/// of a list are joined as the lines of one header are.
fn text(value: &Value) -> Option<Text<'static>> {
    match value {
        Value::String(text) if !text.is_empty() => Some(Text::Owned(text.clone())),
        Value::Number(number) => Some(Text::Owned(number.to_string())),
        Value::Bool(truth) => Some(Text::Borrowed(if *truth { "true" } else { "false" })),
        Value::Array(list) => {
            let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            let texts = texts.filter(|texts| !texts.is_empty())?;
            Some(Text::Owned(texts.join(", ")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Stamps};
    use super::*;
    use jiff::tz::TimeZone;

    fn reading(map: &str, mapped_only: bool) -> Reading {
        let map = match map {
            "" => Default::default(),
            map => map.parse().unwrap(),
        };
        Reading::new(map, mapped_only, Stamps::new(TimeZone::UTC), 0)
    }

    fn parse<'a>(map: &str, line: &'a str) -> Result<Line<'a>, Malformed> {
        Json::new(reading(map, false)).parse(line)
    }

    fn request(map: &str, line: &str) -> Entry<'static> {
        match parse(map, line) {
            Ok(Line::Request(entry)) => Entry {
                time: entry.time,
                method: entry.method.into_owned().into(),
                path: entry.path.map(|path| path.into_owned().into()),
                cost: entry.cost,
                attributes: entry
                    .attributes
                    .into_iter()
                    .map(|(name, text)| (name.into_owned().into(), text.into_owned().into()))
                    .collect(),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_are_attributes_by_name() {
        let entry = request(
            "key=api_key,cost=usage.tokens",
            r#"{"time":"2023-07-10T11:42:18Z","api_key":"k1","ok":true,"n":7,"error":null,
                "usage":{"tokens":12},"uri":"/a?x=1","method":"PUT"}"#,
        );
        assert_eq!(entry.time.to_string(), "2023-07-10T11:42:18Z");
        assert_eq!(
            (&*entry.method, entry.path.as_deref(), entry.cost),
            ("PUT", Some("/a"), Some(12))
        );
        let pairs: Vec<_> = entry.attributes.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(pairs, [("key", "k1"), ("ok", "true"), ("n", "7")]);
    }

    #[test]
    fn only_mapped_fields_where_that_is_asked_for() {
        let reading = reading("time=t,key=a.b", true);
        let line = r#"{"t":1,"method":"GET","other":"x","a":{"b":"k"}}"#;
        let line = Json::new(reading).parse(line).unwrap();
        let Line::Request(entry) = line else {
            panic!("{line:?}")
        };
        assert_eq!((&*entry.method, entry.path), ("-", None));
        assert_eq!(entry.attributes, [("key".into(), "k".into())]);
    }

    #[test]
    fn too_many_fields_are_said() {
        let fields: String = (0..33).map(|i| format!(r#","f{i}":{i}"#)).collect();
        let fault = parse("", &format!(r#"{{"time":1{fields}}}"#))
            .unwrap_err()
            .0;
        assert!(fault.contains("--mapped-only"), "{fault}");
    }

    #[test]
    fn a_request_line_is_taken_apart() {
        let entry = request("", r#"{"ts":1700000000,"request":"GET /a?b HTTP/1.1"}"#);
        assert_eq!((&*entry.method, entry.path.as_deref()), ("GET", Some("/a")));
        let none = parse("", r#"{"ts":1700000000,"request":"-"}"#);
        assert!(matches!(none, Ok(Line::NoRequest(_))), "{none:?}");
    }

    #[test]
    fn what_is_missing_is_said() {
        for (line, why) in [
            ("{", "no JSON"),
            ("[1]", "no object"),
            (r#"{"a":1}"#, "no time"),
            (r#"{"time":"x"}"#, "no time that can be read"),
            (r#"{"time":1,"cost":-1}"#, "no whole number"),
            (r#"{"time":1,"cost":1.5}"#, "no whole number"),
        ] {
            let fault = parse("", line).unwrap_err().0;
            assert!(fault.contains(why), "{line}: {fault}");
        }
    }
}
