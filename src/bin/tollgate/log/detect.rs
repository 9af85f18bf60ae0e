//! Telling a log's format by its first lines.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{Line, Parser, Reading, Stamps};

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Common log format; also with a virtual host in front
    Common,
    /// Combined log format; also with further fields behind
    Combined,
    /// One JSON object a line
    Json,
    /// Comma-separated values with a heading line
    Csv,
}

/// The format of a log that begins with `lines`; none if they look like nothing known.
///
/// The first line that reads as a record decides: logs may begin with rubbish.
pub(super) fn detect<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> Option<Format> {
    let reading = Reading {
        map: Default::default(),
        stamps: Stamps::new(TimeZone::UTC),
        trusted_hops: 0,
        mapped_only: false,
    };
    let mut clf = Parser::new(Format::Combined, None, reading).ok()?;
    for line in lines.clone() {
        let line = line.trim_start_matches('\u{feff}');
        if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line).is_ok() {
            return Some(Format::Json);
        }
        if matches!(clf.parse(line), Ok(Line::Request(_) | Line::NoRequest(_))) {
            // Of the two, only the combined format ends in a quoted field.
            let combined = line.trim_end().ends_with('"');
            return Some(if combined {
                Format::Combined
            } else {
                Format::Common
            });
        }
    }
    let is_heading = |line: &str| {
        let columns: Vec<_> = line.split(',').collect();
        columns.len() > 1 && columns.iter().all(|column| !column.trim().is_empty())
    };
    let mut lines = lines.filter(|line| !line.trim().is_empty());
    let columns = |line: &str| line.split(',').count();
    match (lines.next(), lines.next()) {
        (Some(heading), Some(record)) if is_heading(heading) && columns(record) > 1 => {
            Some(Format::Csv)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_the_first_record() {
        let common = r#"a - - [10/Oct/2000:13:55:36 +0000] "GET /" 200 1"#;
        let combined = format!(r#"{common} "-" "agent""#);
        let cases: [(&[&str], Option<Format>); 7] = [
            (&[common], Some(Format::Common)),
            (
                &["", "rubbish, and more", &combined],
                Some(Format::Combined),
            ),
            (&[r#"{"a":1}"#], Some(Format::Json)),
            (&["time,cost", "1,2"], Some(Format::Csv)),
            (&["plain prose", "more of it"], None),
            (&[], None),
            (&["a,b"], None),
        ];
        for (lines, expected) in cases {
            assert_eq!(detect(lines.iter().copied()), expected, "{lines:?}");
        }
    }
}
