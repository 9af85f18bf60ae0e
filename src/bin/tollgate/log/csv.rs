//! Comma-separated values with a heading line. A record is one line: a quoted line break inside
//! a field makes it malformed.

use anyhow::{bail, ensure};
use csv_core::{ReadRecordResult, Reader};

use super::fields::{Name, Record};
use super::{Line, Malformed, Reading, Text};

/// Columns of one record.
// Bound: a line with more is malformed.
const COLUMNS_MAX: usize = 1_024;

/// Reads the lines of one CSV file.
pub(crate) struct Csv {
    heading: String,
    columns: Vec<String>,
    /// The names that the columns go by; none for one to be passed over.
    names: Vec<Option<Name<'static>>>,
    reading: Reading,
    split: Splitter,
}

impl Csv {
    /// # Errors
    /// If the heading cannot be read, or lacks a column that the field map names.
    pub(super) fn new(heading: &str, reading: Reading) -> anyhow::Result<Self> {
        let heading = heading.trim_start_matches('\u{feff}').trim_end();
        let mut split = Splitter::default();
        let Ok(columns) = split.fields(heading) else {
            bail!("the heading line of the CSV cannot be read");
        };
        for (field, name) in reading.names.map.fields() {
            ensure!(
                columns.iter().any(|column| column == field),
                "the CSV has no column {field} to map {name} to; it has: {}",
                columns.join(", ")
            );
        }
        let name = |column: &String| reading.names.of(column).map(Name::into_owned);
        let names: Vec<_> = columns.iter().map(name).collect();
        Ok(Self {
            heading: heading.to_owned(),
            columns,
            names,
            reading,
            split,
        })
    }

    pub(super) fn parse<'a>(&mut self, line: &'a str) -> Result<Line<'a>, Malformed> {
        if line.trim_start_matches('\u{feff}').trim_end() == self.heading {
            return Ok(Line::Blank);
        }
        let fields = self.split.fields(line)?;
        if fields.len() != self.names.len() {
            return Err(Malformed::new(format!(
                "{} fields where the heading has {}",
                fields.len(),
                self.names.len()
            )));
        }
        let mut record = Record::default();
        for (name, field) in self.names.iter().zip(fields) {
            if let Some(name) = name
                && !field.is_empty()
            {
                record.put(name, Text::Owned(field))?;
            }
        }
        record.finish(&mut self.reading)
    }

    pub(super) fn fields(&self) -> Vec<String> {
        self.columns.clone()
    }

    /// True if there is a column that tells the time.
    pub(super) fn has_time(&self) -> bool {
        let mut names = self.names.iter().flatten();
        names.any(|name| name.text == "time")
    }
}

/// Takes a line apart by the rules of RFC 4180.
struct Splitter {
    reader: Reader,
    output: Vec<u8>,
    ends: Vec<usize>,
}

impl Default for Splitter {
    fn default() -> Self {
        Self {
            reader: Reader::new(),
            // A field is never longer than the line that it is in.
            output: vec![0; super::LINE_BYTES_MAX + 1],
            ends: vec![0; COLUMNS_MAX],
        }
    }
}

impl Splitter {
    fn fields(&mut self, line: &str) -> Result<Vec<String>, Malformed> {
        if line.bytes().filter(|&byte| byte == b'"').count() % 2 == 1 {
            return Err(Malformed::new("a quote that is not closed on its line"));
        }
        self.reader.reset();
        let (mut read, mut written, mut ended) = (0, 0, 0);
        loop {
            let input = line.as_bytes().get(read..).unwrap_or_default();
            let output = self.output.get_mut(written..).unwrap_or_default();
            let ends = self.ends.get_mut(ended..).unwrap_or_default();
            let (result, r, w, e) = self.reader.read_record(input, output, ends);
            (read, written, ended) = (read + r, written + w, ended + e);
            match result {
                // An empty input says that this was all.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => return Err(Malformed::new("too long")),
                ReadRecordResult::OutputEndsFull => {
                    return Err(Malformed::new(format!("more than {COLUMNS_MAX} columns")));
                }
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        let mut start = 0;
        let fields = self.ends.iter().take(ended).map(|&end| {
            let field = self.output.get(start..end).unwrap_or_default();
            start = end;
            String::from_utf8_lossy(field).into_owned()
        });
        Ok(fields.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stamps;
    use super::*;
    use jiff::tz::TimeZone;

    fn csv(heading: &str, map: &str) -> anyhow::Result<Csv> {
        let reading = Reading::new(map.parse().unwrap(), false, Stamps::new(TimeZone::UTC), 0);
        Csv::new(heading, reading)
    }

    #[test]
    fn columns_go_by_their_mapped_names() {
        let mut csv = csv(
            "TIMESTAMP,ContextTokens,user",
            "time=TIMESTAMP,cost=ContextTokens",
        )
        .unwrap();
        assert_eq!(
            csv.parse("TIMESTAMP,ContextTokens,user").unwrap(),
            Line::Blank
        );
        let line = csv
            .parse("2023-11-16 18:17:03.9799600,4808,\"a,\"\"b\"")
            .unwrap();
        let Line::Request(entry) = line else {
            panic!("{line:?}")
        };
        assert_eq!(entry.cost, Some(4_808));
        assert_eq!(entry.attributes, [("user".into(), "a,\"b".into())]);
    }

    #[test]
    fn missing_columns_and_fields_are_said() {
        let fault = csv("a,b", "time=when").err().unwrap().to_string();
        assert!(
            fault.contains("no column when") && fault.contains("a, b"),
            "{fault}"
        );
        let mut csv = csv("when,b", "time=when").unwrap();
        for (line, why) in [
            ("1", "1 fields where"),
            ("1,2,3", "3 fields where"),
            (",2", "no time"),
            ("1,\"2", "quote"),
        ] {
            let fault = csv.parse(line).unwrap_err().0;
            assert!(fault.contains(why), "{line}: {fault}");
        }
    }
}
