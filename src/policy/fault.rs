//! Faults of a policy: all of them in one go, each with its place and its cure.

use std::cmp::Reverse;
use std::fmt;

use super::bounds::{FAULTS_KEPT_MAX, FAULTS_SHOWN_MAX};

/// One fault of a policy's text.
#[derive(Clone, PartialEq, Eq)]
pub struct PolicyFault {
    line: Option<usize>,
    column: Option<usize>,
    path: String,
    problem: String,
    advice: String,
}

impl PolicyFault {
    /// The line, from 1; none where the format does not tell (a value in JSON).
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> Option<usize> {
        self.column
    }

    /// The value's place in the policy, such as `limits.per-minute.rate`; empty for the whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to write instead.
    pub fn advice(&self) -> &str {
        &self.advice
    }
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}")?;
            if let Some(column) = self.column {
                write!(f, ", column {column}")?;
            }
            f.write_str(": ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.problem)?;
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}

/// Why a text is no policy: every fault found in it, in the order of the text.
///
/// At most a hundred faults are shown; [`PolicyFaults::count`] tells how many there were.
#[derive(Clone, PartialEq, Eq)]
pub struct PolicyFaults {
    shown: Vec<PolicyFault>,
    count: usize,
}

impl PolicyFaults {
    /// The faults, first in the text first.
    pub fn iter(&self) -> impl Iterator<Item = &PolicyFault> {
        self.shown.iter()
    }

    /// How many faults were found, those not shown included.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl fmt::Display for PolicyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.shown {
            writeln!(f, "{fault}")?;
        }
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "{} fault{plural} in the policy", self.count)?;
        match self.count - self.shown.len() {
            0 => Ok(()),
            hidden => write!(f, ", {hidden} of them not shown"),
        }
    }
}

/// As `Display` shows it: what a `main` ends with is shown so.
impl fmt::Debug for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As `Display` shows them: what a `main` ends with is shown so.
impl fmt::Debug for PolicyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for PolicyFaults {}

/// Where a value stands: its offset in the text, if the format tells, and its path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    pub(super) offset: Option<usize>,
    pub(super) path: String,
}

impl Place {
    /// The place of the limit of this name.
    pub(super) fn limit(name: &str) -> Self {
        Self::default().inside("limits", None).inside(name, None)
    }

    /// The place of the value named `name` inside this one.
    pub(super) fn inside(&self, name: &str, offset: Option<usize>) -> Self {
        let name = clip(name);
        let path = if self.path.is_empty() {
            name
        } else if name.contains('.') {
            format!("{}.\"{name}\"", self.path)
        } else {
            format!("{}.{name}", self.path)
        };
        Self { offset, path }
    }

    /// The place of the `index`th item, from 0, of this list.
    pub(super) fn item(&self, index: usize, offset: Option<usize>) -> Self {
        Self {
            offset,
            path: format!("{}[{index}]", self.path),
        }
    }
}

/// What is wrong with a value and what to write instead, before its place is known. What an advice
/// has in quotes after `write` is accepted where the value stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fix {
    pub(super) problem: String,
    pub(super) advice: String,
}

/// A fix from what is wrong and what to write instead.
pub(super) fn fix(problem: impl Into<String>, advice: impl Into<String>) -> Fix {
    Fix {
        problem: problem.into(),
        advice: advice.into(),
    }
}

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults {
    kept: Vec<(Place, Option<usize>, Fix)>,
    count: usize,
}

impl Faults {
    pub(super) fn push(&mut self, place: &Place, fix: Fix) {
        self.push_on_line(place, None, fix);
    }

    /// A fault that may follow from others: it is told unless one was found in a value that
    /// `causes` name, for then its advice would lead away from what is wrong.
    pub(super) fn push_unless(&mut self, causes: &[&str], place: &Place, fix: Fix) {
        if !causes.iter().any(|cause| self.is_within(cause)) {
            self.push(place, fix);
        }
    }

    /// True if the value at `path` is itself a fault.
    pub(super) fn is_at(&self, path: &str) -> bool {
        self.any(|known| known == path)
    }

    /// True if a fault was found at a path that `is` holds for.
    pub(super) fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        self.kept.iter().any(|(place, _, _)| is(&place.path))
    }

    /// True if a fault was found in the value at `path`.
    pub(super) fn is_within(&self, path: &str) -> bool {
        self.any(|known| {
            let rest = known.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// A fault of which only the line is known.
    pub(super) fn push_on_line(&mut self, place: &Place, line: Option<usize>, fix: Fix) {
        self.count += 1;
        // Bound: further faults are counted only.
        if self.kept.len() < FAULTS_KEPT_MAX {
            self.kept.push((place.clone(), line, fix));
        }
    }

    /// The value, or nothing and a fault at `place`.
    pub(super) fn take<T>(&mut self, place: &Place, outcome: Result<T, Fix>) -> Option<T> {
        outcome.map_err(|fix| self.push(place, fix)).ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The faults by position, with offsets turned into lines and columns of `text`.
    pub(super) fn report(mut self, text: &str) -> PolicyFaults {
        self.kept
            .sort_by_key(|(place, line, _)| (place.offset.unwrap_or(0), line.unwrap_or(0)));
        let mut cursor = Cursor::new(text);
        let shown = self
            .kept
            .into_iter()
            .take(FAULTS_SHOWN_MAX)
            .map(|(place, line, fix)| {
                let position = place.offset.map(|offset| cursor.advance_to(offset));
                PolicyFault {
                    line: position.map(|(line, _)| line).or(line),
                    column: position.map(|(_, column)| column),
                    path: place.path,
                    problem: fix.problem,
                    advice: fix.advice,
                }
            })
            .collect();
        PolicyFaults {
            shown,
            count: self.count,
        }
    }
}

/// A walk through a text that counts lines and columns, forward only.
struct Cursor<'t> {
    text: &'t str,
    offset: usize,
    line: usize,
    column: usize,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            offset: 0,
            line: 1,
            column: 1,
        }
    }

    fn advance_to(&mut self, offset: usize) -> (usize, usize) {
        let end = offset.min(self.text.len());
        for character in self.text.get(self.offset..).unwrap_or("").chars() {
            if self.offset >= end {
                break;
            }
            self.offset += character.len_utf8();
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        (self.line, self.column)
    }
}

/// `text` cut to what a fault shows of it.
pub(super) fn clip(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    let mut clipped: String = text.chars().take(SHOWN_CHARS).collect();
    if clipped.len() < text.len() {
        clipped.push_str("...");
    }
    clipped
}

/// `text` in quotes, control characters escaped, cut to what a fault shows of it.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", clip(text))
}

/// The one of `options` that `text` was probably meant to be.
pub(super) fn nearest<'o>(
    text: &str,
    options: impl IntoIterator<Item = &'o str>,
) -> Option<&'o str> {
    // Bound: the distance takes time in both lengths.
    if text.len() > super::bounds::NAME_BYTES_MAX {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let is_near = |distance: usize, option: &str| {
        // What has nothing in common is another word, however short.
        distance <= 1 + option.len() / 4 && distance < text.len().max(option.len())
    };
    options
        .into_iter()
        .map(|option| {
            let option_lower = option.to_ascii_lowercase();
            let pairs = lower.chars().zip(option_lower.chars());
            let same_start = pairs.take_while(|(a, b)| a == b).count();
            let distance = strsim::osa_distance(&lower, &option_lower);
            (distance, Reverse(same_start), option)
        })
        .filter(|(distance, _, option)| is_near(*distance, option))
        .min_by_key(|(distance, same_start, _)| (*distance, *same_start))
        .map(|(_, _, option)| option)
}

/// Advice that names the nearest option, or else all of them.
pub(super) fn suggest(text: &str, options: &[&str]) -> String {
    match nearest(text, options.iter().copied()) {
        Some(option) => format!("did you mean {option}?"),
        None => format!("known here: {}", clip_list(options)),
    }
}

fn clip_list(options: &[&str]) -> String {
    const SHOWN: usize = 40;
    let mut list = options
        .iter()
        .take(SHOWN)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if options.len() > SHOWN {
        list.push_str(", ...");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: usize) -> Place {
        Place {
            offset: Some(offset),
            path: "a".into(),
        }
    }

    #[test]
    fn positions_count_characters_from_one_and_come_in_the_order_of_the_text() {
        let mut faults = Faults::default();
        faults.push(&at(7), fix("second", ""));
        faults.push(&at(0), fix("first", "do so"));
        let report = faults.report("ä = 1\nb = 2");
        let shown: Vec<_> = report.iter().map(|f| f.to_string()).collect();
        assert_eq!(
            shown,
            [
                "line 1, column 1: a: first; do so",
                "line 2, column 1: a: second"
            ]
        );
        assert!(report.to_string().ends_with("\n2 faults in the policy"));
    }

    #[test]
    fn faults_beyond_the_hundredth_are_counted() {
        let mut faults = Faults::default();
        for offset in 0..5_000 {
            faults.push(&at(offset), fix("wrong", ""));
        }
        let report = faults.report(&"x".repeat(5_000));
        assert_eq!((report.iter().count(), report.count()), (100, 5_000));
        assert!(report.to_string().ends_with("4900 of them not shown"));
    }

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(
            suggest("durabilty", &["rate", "durability"]),
            "did you mean durability?"
        );
        assert_eq!(suggest("zzz", &["rate", "key"]), "known here: rate, key");
    }
}
