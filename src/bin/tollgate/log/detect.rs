//! Telling a log's format by its first lines.

use std::net::IpAddr;

use super::{Format, Line, Parser, Reading, csv, json};

/// Formats of one line each that are tried in turn; the strictest first.
const LINES: [Format; 5] = [
    Format::Envoy,
    Format::Alb,
    Format::HaProxy,
    Format::S3,
    Format::Combined,
];

/// The format of a log that begins with `lines`; none if they look like nothing known.
///
/// The first line that reads as a record decides: logs may begin with rubbish.
pub(super) fn detect<'a>(
    lines: impl Iterator<Item = &'a str> + Clone,
    reading: &Reading,
) -> Option<Format> {
    let lines = lines.map(|line| line.trim_start_matches('\u{feff}'));
    for line in lines.clone() {
        if let Some(fields) = line.strip_prefix("#Fields:") {
            let is_edge = fields.contains("x-edge-location");
            return Some(if is_edge {
                Format::CloudFront
            } else {
                Format::W3c
            });
        }
        if line.starts_with('{') {
            let fields = json::fields(line);
            if !fields.is_empty() {
                return Some(Format::of_object(&fields));
            }
        }
        if let Some(format) = LINES.iter().find(|format| reads(format, line)) {
            return Some(match format {
                Format::Combined => common_or(line),
                format => format.clone(),
            });
        }
    }
    let mut lines = lines.filter(|line| !line.trim().is_empty());
    let (heading, record) = (lines.next()?, lines.next()?);
    is_csv(heading, record, reading).then_some(Format::Csv)
}

/// True if a line is a record of a format. Some patterns are so loose that they fit the lines of
/// other servers, too: then the address or the path is none.
fn reads(format: &Format, line: &str) -> bool {
    // The map is for JSON and CSV, and these have no fields that it could name.
    let Ok(mut parser) = Parser::new(format, None, Reading::default()) else {
        return false;
    };
    match parser.parse(line) {
        Ok(Line::NoRequest(_)) => *format == Format::Combined,
        Ok(Line::Request(_)) if *format == Format::Combined => true,
        Ok(Line::Request(entry)) => {
            let ip = entry.attributes.iter().find(|(name, _)| name == "ip");
            let is_address = ip.is_none_or(|(_, ip)| ip.parse::<IpAddr>().is_ok());
            is_address && entry.path.is_some_and(|path| path.starts_with(['/', '*']))
        }
        _ => false,
    }
}

/// Of the common format and those that are longer: how a line ends behind the request tells.
fn common_or(line: &str) -> Format {
    let behind_time = line.split_once(']').map_or("", |(_, rest)| rest);
    match behind_time.matches('"').count() {
        ..=3 => Format::Common,
        _ if line.ends_with("ms") => Format::Traefik,
        _ => Format::Combined,
    }
}

/// True if the first line names as many columns as the second has, one of them a time.
fn is_csv(heading: &str, record: &str, reading: &Reading) -> bool {
    let Ok(mut csv) = csv::Csv::new(heading, reading.clone()) else {
        return false;
    };
    csv.fields().len() > 1 && csv.has_time() && csv.parse(record).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Option<Format> {
        detect(lines.iter().copied(), &Reading::default())
    }

    #[test]
    fn by_the_first_record() {
        let common = r#"a - - [10/Oct/2000:13:55:36 +0000] "GET /" 200 1"#;
        let combined = format!(r#"{common} "-" "agent""#);
        let timed = format!("{combined} 0.012");
        let browser = format!(
            r#"{} "http://a/" "M/5.0 (X; y)""#,
            common.replace("/\"", "/a HTTP/1.1\"")
        );
        let traefik = format!(r#"{combined} 7 "router@docker" "http://10.0.0.1:80" 3ms"#);
        let cases: [(&[&str], Option<Format>); 12] = [
            (&[common], Some(Format::Common)),
            (
                &["", "rubbish, and more", &combined],
                Some(Format::Combined),
            ),
            (&[&browser], Some(Format::Combined)),
            (&[&timed], Some(Format::Combined)),
            (&[&traefik], Some(Format::Traefik)),
            (&[r#"{"a":1}"#], Some(Format::Json)),
            (&["time,cost", "1,2"], Some(Format::Csv)),
            // No column tells the time.
            (&["when,cost", "1,2"], None),
            (&["\"a - - [10/Oct/2000\", \"b\"", "\"x, y\", z"], None),
            (&["plain prose", "more of it"], None),
            (&[], None),
            (&["a,b"], None),
        ];
        for (lines, expected) in cases {
            assert_eq!(told(lines), expected, "{lines:?}");
        }
    }
}
