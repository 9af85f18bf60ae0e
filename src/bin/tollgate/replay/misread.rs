//! Errors for a log that was read as the wrong format, or without the fields that the policy needs.
//! The replay would otherwise end in a report that means nothing.

use std::fmt;

use anyhow::bail;
use strsim::jaro_winkler;

use super::Side;
use super::state::State;
use super::totals::Lines;
use crate::log::{Source, quoted};

/// Lines of a log before it is called misread while there are more to come.
const LINES_MIN: u64 = 10_000;

/// Fields that a message lists.
// Bound: further ones are only counted.
const FIELDS_SHOWN: usize = 24;

/// Why a replay ends without results.
#[derive(Debug)]
pub(crate) struct Misread(String);

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misread {}

/// Looks at what came of a log since `before`, `is_over` if at its end.
///
/// # Errors
/// If most of its lines cannot be read, or if most requests lack the key of a limit that refuses
/// such.
pub(super) fn check(
    before: &Lines,
    state: &State,
    sides: &[Side<'_>],
    source: &Source,
    is_over: bool,
) -> anyhow::Result<()> {
    let lines = &state.lines;
    let malformed = lines.malformed - before.malformed;
    let records = lines.read - before.read - (lines.blank - before.blank);
    if !is_over && records < LINES_MIN {
        return Ok(());
    }
    // While there are more to come, only what is all but certain ends it.
    let most = if is_over {
        records / 2
    } else {
        records / 10 * 9
    };
    if malformed > most {
        let first = lines
            .first_malformed
            .iter()
            .find(|one| one.file == source.identity().name);
        let first = first.map_or_else(String::new, |first| {
            let (file, line) = (&first.file, first.line);
            format!("; {file}:{line}: {}: {}", first.why, first.excerpt)
        });
        bail!(Misread(format!(
            "{malformed} of {records} lines of {} cannot be read as {}{first}. {}",
            source.identity().name,
            source.format(),
            advice(source, "time")
        )));
    }
    let of_log = lines.requests - before.requests;
    if is_over && records > 0 && of_log == 0 {
        bail!(Misread(format!(
            "none of {records} lines of {}, read as {}, holds a request. {}",
            source.identity().name,
            source.format(),
            advice(source, "request")
        )));
    }
    let requests = lines.requests;
    for (counted, side) in state.policies.iter().zip(sides) {
        for (number, limit) in counted.totals.limits.iter().enumerate() {
            let enough = is_over || requests >= LINES_MIN;
            if enough && limit.without_key > limit.requests / 2 {
                let key = side.judge.key_attribute(number);
                bail!(Misread(format!(
                    "{} of {} requests that met the limit {} lack {key}. {}",
                    limit.without_key,
                    limit.requests,
                    limit.name,
                    advice(source, &key)
                )));
            }
        }
    }
    Ok(())
}

/// The fields that there are, and how to say which of them is `name`.
fn advice(source: &Source, name: &str) -> String {
    let fields = source.fields();
    if fields.is_empty() {
        return "--format says what it is, by name or as the server's configuration does"
            .to_owned();
    }
    let shown: Vec<_> = fields
        .iter()
        .take(FIELDS_SHOWN)
        .map(|field| quoted(field))
        .collect();
    let more = fields.len().saturating_sub(FIELDS_SHOWN);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let alike = |field: &str| {
        let last = field.rsplit('.').next().unwrap_or(field);
        jaro_winkler(&last.to_ascii_lowercase(), &name.to_ascii_lowercase())
    };
    let nearest = fields.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    let nearest = nearest.filter(|field| alike(field) > 0.7);
    let nearest = nearest.map_or("FIELD", String::as_str);
    format!(
        "Its fields are: {}{more}; --map {name}={nearest} would say which of them is {name}",
        shown.join(", ")
    )
}
