//! The extended log format of the W3C, as IIS and CloudFront write it: directives that begin with
//! `#`, of which `#Fields:` names the fields of the lines that follow. It may change within a log.
//!
//! Source: W3C working draft WD-logfile-960323.

use percent_encoding::percent_decode_str;

use super::fields::{Name, Record, Usual};
use super::{Line, Malformed, Reading, Text};

/// What the fields mean. Times are in UTC, in a field of their own beside the date.
pub(super) const FIELDS: &[Usual] = &[
    ("date", "date"),
    ("time", "time"),
    ("cs-method", "method"),
    ("cs-uri-stem", "path"),
    ("cs-uri", "path"),
    ("cs-uri-query", "query"),
    ("c-ip", "ip"),
    ("cs-username", "user"),
    ("cs(User-Agent)", "user_agent"),
    ("cs(Referer)", "referer"),
    ("x-forwarded-for", "forwarded_for"),
    ("sc-status", "status"),
    ("cs-host", "vhost"),
];

/// Reads the extended log format.
pub(crate) struct W3c {
    reading: Reading,
    fields: Vec<String>,
    names: Vec<Option<Name<'static>>>,
    /// The date of a log whose lines have none.
    date: Option<String>,
}

impl W3c {
    pub(super) fn new(reading: Reading) -> Self {
        Self {
            reading,
            fields: Vec::new(),
            names: Vec::new(),
            date: None,
        }
    }

    pub(super) fn fields(&self) -> Vec<String> {
        self.fields.clone()
    }

    pub(super) fn heading(&self) -> Option<String> {
        let date = self.date.as_deref().unwrap_or("-");
        (!self.fields.is_empty()).then(|| format!("{date} {}", self.fields.join(" ")))
    }

    /// Takes a heading as [`heading`](Self::heading) gave it.
    pub(super) fn set_heading(&mut self, heading: &str) {
        let (date, fields) = heading.split_once(' ').unwrap_or_default();
        self.date = Some(date.to_owned()).filter(|date| date != "-");
        self.set_fields(fields);
    }

    fn set_fields(&mut self, fields: &str) {
        self.fields = fields.split_whitespace().map(str::to_owned).collect();
        let name = |field: &String| self.reading.names.of(field).map(Name::into_owned);
        self.names = self.fields.iter().map(name).collect();
    }

    pub(super) fn parse<'a>(&mut self, line: &'a str) -> Result<Line<'a>, Malformed> {
        if let Some(directive) = line.strip_prefix('#') {
            let (what, text) = directive.split_once(':').unwrap_or((directive, ""));
            match what {
                "Fields" => self.set_fields(text),
                "Date" => {
                    let date = text.split_whitespace().next();
                    self.date = date.map(str::to_owned);
                }
                _ => {}
            }
            return Ok(Line::Blank);
        }
        if self.names.is_empty() {
            return Err(Malformed::new("no #Fields line before it"));
        }
        let values = split(line)?;
        if values.len() != self.names.len() {
            return Err(Malformed::new(format!(
                "{} fields where #Fields has {}",
                values.len(),
                self.names.len()
            )));
        }
        let mut record = Record::default();
        let is_given = |field: &str| self.fields.iter().any(|known| known == field);
        if let Some((date, name)) = self.date.as_ref().zip(self.reading.names.of("date"))
            && !is_given("date")
        {
            record.put(&name, date.clone().into())?;
        }
        let is_tabbed = line.contains('\t');
        for (name, value) in self.names.iter().zip(values) {
            if let Some(name) = name
                && value != "-"
                && !value.is_empty()
            {
                record.put(name, decoded(&name.text, value, is_tabbed))?;
            }
        }
        record.finish(&mut self.reading)
    }
}

/// Agents and referers have no spaces in the log: IIS writes `+`, CloudFront `%20`.
fn decoded<'a>(name: &str, value: &'a str, is_tabbed: bool) -> Text<'a> {
    match (name, is_tabbed) {
        ("user_agent" | "referer", true) => percent_decode_str(value).decode_utf8_lossy(),
        ("user_agent", false) => value.replace('+', " ").into(),
        _ => value.into(),
    }
}

/// The values of a line: between tabs if it has any, else between spaces, some of them in quotes.
fn split(line: &str) -> Result<Vec<&str>, Malformed> {
    if line.contains('\t') {
        return Ok(line.split('\t').collect());
    }
    let (mut values, mut rest) = (Vec::new(), line.trim_end());
    while !rest.is_empty() {
        let (value, after) = match rest.strip_prefix('"') {
            Some(inside) => inside
                .split_once('"')
                .ok_or_else(|| Malformed::new("a quoted field that does not end"))?,
            None => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
        };
        values.push(value);
        rest = after.trim_start_matches(' ');
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn w3c() -> W3c {
        W3c::new(Reading::default().of(FIELDS, true))
    }

    #[test]
    fn fields_may_change_within_a_log() {
        let mut w3c = w3c();
        let early = w3c.parse("2024-01-02 03:04:05 GET /a 192.0.2.1");
        assert!(early.is_err_and(|why| why.0.contains("#Fields")));
        for (heading, line) in [
            (
                "#Fields: date time cs-method cs-uri-stem c-ip",
                "2024-01-02 03:04:05 GET /a 192.0.2.1",
            ),
            (
                "#Fields: c-ip date time cs-uri-stem cs-method",
                "192.0.2.1\t2024-01-02\t03:04:05\t/a\tGET",
            ),
        ] {
            assert_eq!(w3c.parse(heading), Ok(Line::Blank));
            let saved = w3c.heading().unwrap();
            let mut resumed = self::w3c();
            resumed.set_heading(&saved);
            for w3c in [&mut w3c, &mut resumed] {
                let Ok(Line::Request(entry)) = w3c.parse(line) else {
                    panic!("{line}")
                };
                assert_eq!(entry.time.to_string(), "2024-01-02T03:04:05Z");
                assert_eq!((&*entry.method, entry.path.as_deref()), ("GET", Some("/a")));
                assert_eq!(entry.attributes, [("ip".into(), "192.0.2.1".into())]);
            }
            assert!(
                w3c.parse("1 2")
                    .is_err_and(|why| why.0.contains("2 fields"))
            );
        }
    }

    #[test]
    fn a_date_may_stand_before_the_lines() {
        let mut w3c = w3c();
        for line in [
            "#Date: 2024-01-02 00:00:00",
            "#Fields: time cs-uri-stem c-ip",
        ] {
            w3c.parse(line).unwrap();
        }
        let Ok(Line::Request(entry)) = w3c.parse("03:04:05 \"/a b\" 192.0.2.1") else {
            panic!("no request")
        };
        assert_eq!(entry.time.to_string(), "2024-01-02T03:04:05Z");
        assert_eq!(entry.path.as_deref(), Some("/a b"));
    }
}
