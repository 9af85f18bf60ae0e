//! A visit: what was found so far, and what can be done about it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::report::{Fact, Finding, Remedy, Report};
use crate::directory::me;
use crate::error::Error;
use crate::journal;

/// Something that can be done without knowing more than the files tell.
pub(super) enum Repair {
    Mode(PathBuf, u32),
    /// A generation of the journal that cannot be read.
    SetAside(PathBuf),
}

pub(super) struct Visit {
    pub(super) path: PathBuf,
    /// False if there is no lock to be held.
    pub(super) has_lock: bool,
    /// Whose directory it is.
    pub(super) owner: u32,
    report: Report,
    /// By the numbers of their findings.
    repairs: Vec<(usize, Repair)>,
}

impl Visit {
    pub(super) fn new(path: &Path, has_lock: bool) -> Self {
        Self {
            path: path.into(),
            has_lock,
            owner: me(),
            report: Report::new(path),
            repairs: Vec::new(),
        }
    }

    pub(super) fn fact(&mut self, about: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.report.facts.push(Fact { about, text });
    }

    pub(super) fn found(&mut self, path: &Path, what: impl Into<String>, remedy: Remedy) {
        self.report.findings.push(Finding {
            path: path.into(),
            what: what.into(),
            remedy,
            repaired: None,
        });
    }

    /// What the next opening deals with by itself.
    pub(super) fn opening(&mut self, path: &Path, what: impl Into<String>, text: &str) {
        self.found(path, what, Remedy::Opening(text.into()));
    }

    /// What only a person can mend.
    pub(super) fn person(&mut self, path: &Path, what: impl Into<String>, text: &str) {
        self.found(path, what, Remedy::Person(text.into()));
    }

    pub(super) fn repairable(
        &mut self,
        path: &Path,
        what: impl Into<String>,
        text: &str,
        repair: Repair,
    ) {
        self.repairs.push((self.report.findings.len(), repair));
        self.found(path, what, Remedy::Repair(text.into()));
    }

    /// The report; after the repairs, if they are wanted.
    pub(super) fn end(mut self, repairs: bool) -> Report {
        if repairs {
            for (number, repair) in std::mem::take(&mut self.repairs) {
                let done = Self::repair(&repair).map_err(|error| error.to_string());
                self.report.findings[number].repaired = Some(done);
            }
        }
        self.report
    }

    fn repair(repair: &Repair) -> Result<(), Error> {
        let journal = |error: journal::StoreError| Error::journal(error.to_string());
        match repair {
            Repair::Mode(path, mode) => {
                let set = fs::set_permissions(path, Permissions::from_mode(*mode));
                set.map_err(|error| Error::io("change the mode of", path, error))
            }
            Repair::SetAside(generation) => {
                journal::set_aside(generation).map(drop).map_err(journal)
            }
        }
    }
}
