//! What an examination says.

use std::fmt;
use std::path::{Path, PathBuf};

/// What was found in a directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The directory.
    pub path: PathBuf,
    /// What there is, whether or not anything is wrong with it.
    pub facts: Vec<Fact>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Something that is so, and may be.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Fact {
    /// What it is about: `table`, `journal`, ...
    pub about: &'static str,
    /// What is so.
    pub text: String,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The file or folder concerned.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// What can be done.
    pub remedy: Remedy,
    /// What became of the repair, if one was made: done, or why not.
    pub repaired: Option<Result<(), String>>,
}

/// Who can mend a finding, and what that means.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Remedy {
    /// The limiter, when it opens the directory the next time.
    Opening(String),
    /// [`repair`](super::repair).
    Repair(String),
    /// Somebody who knows more than the files tell.
    Person(String),
}

impl Report {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            facts: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// True if nothing is wrong that was not repaired.
    pub fn is_healthy(&self) -> bool {
        let is_left = |finding: &Finding| finding.repaired != Some(Ok(()));
        !self.findings.iter().any(is_left)
    }
}

impl Remedy {
    /// What it means, in words.
    pub fn text(&self) -> &str {
        let (Self::Opening(text) | Self::Repair(text) | Self::Person(text)) = self;
        text
    }

    /// Who mends it: `opening`, `repair` or `person`.
    pub fn who(&self) -> &'static str {
        match self {
            Self::Opening(_) => "opening",
            Self::Repair(_) => "repair",
            Self::Person(_) => "person",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; ", self.path.display(), self.what)?;
        let text = self.remedy.text();
        match (&self.repaired, &self.remedy) {
            (Some(Ok(())), _) => write!(f, "repaired: {text}"),
            (Some(Err(why)), _) => write!(f, "could not be repaired: {why}"),
            (None, Remedy::Opening(_)) => write!(f, "the next opening will mend it: {text}"),
            (None, Remedy::Repair(_)) => write!(f, "can be repaired: {text}"),
            (None, Remedy::Person(_)) => write!(f, "{text}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Fact { about, text } in &self.facts {
            writeln!(f, "{about:<10} {text}")?;
        }
        for finding in &self.findings {
            writeln!(f, "{:<10} {finding}", "FOUND")?;
        }
        let count = self.findings.len();
        let repaired = self.findings.iter();
        let repaired = repaired
            .filter(|finding| finding.repaired == Some(Ok(())))
            .count();
        let path = self.path.display();
        match (count, repaired) {
            (0, _) => write!(f, "{path}: nothing is wrong"),
            (_, 0) => write!(f, "{path}: {count} found"),
            _ => write!(f, "{path}: {count} found, {repaired} of them repaired"),
        }
    }
}
