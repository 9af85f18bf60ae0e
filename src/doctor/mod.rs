//! Looking at a directory while no limiter has it open: what is in it, what is wrong with
//! it, and what can be done.
//!
//! [`examine`] changes nothing. [`repair`] does what it safely can: it makes files private, and
//! puts a journal that cannot be read out of the way. It never removes or changes a counter, and
//! never has one made anew: what was reset stays reset. What a killed process left half made is
//! nothing wrong; the next opening deals with it.
//!
//! Both hold the directory's lock while they look, read every file in it, and need memory for the
//! words that the journal holds. The journal is read in a copy, in the system's folder for
//! temporary files, because its storage engine writes when it opens one.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let data = dir.path().join("data");
//! # let policy = tollgate::Policy::from_toml("[limits.all]\nrate = \"5/min\"")?;
//! # tollgate::Limiter::builder(policy).counters(1000).open(&data)?.close()?;
//! let report = tollgate::doctor::examine(&data)?;
//! println!("{report}");
//! assert!(report.is_healthy());
//! # Ok(())
//! # }
//! ```

mod counters;
mod files;
mod report;
mod visit;

use std::path::Path;

pub use report::{Fact, Finding, Remedy, Report};

use crate::directory::{Directory, hold};
use crate::error::Error;
use visit::Visit;

/// Looks at the directory at `path` and changes nothing.
///
/// # Errors
/// If a limiter has it open, it is no directory of a limiter's, or the system does not let it be
/// read. That something is wrong with it is no error: the report says so.
pub fn examine(path: impl AsRef<Path>) -> Result<Report, Error> {
    look(path.as_ref(), false)
}

/// Looks at the directory at `path`, and mends what it safely can; the report says what.
///
/// # Errors
/// As [`examine`].
pub fn repair(path: impl AsRef<Path>) -> Result<Report, Error> {
    look(path.as_ref(), true)
}

/// Looks at what can be looked at while a limiter has the directory open: which files there are and
/// whose, and the small ones. The counters are that limiter's to tell of: see its
/// [`Health`](crate::Health).
///
/// # Errors
/// If it is no directory of a limiter's, or the system does not let it be read.
pub fn examine_in_use(path: impl AsRef<Path>) -> Result<Report, Error> {
    let mut visit = Visit::new(path.as_ref(), true);
    visit.files()?;
    Ok(visit.end(false))
}

fn look(path: &Path, repairs: bool) -> Result<Report, Error> {
    let lock = hold(path)?;
    let mut visit = Visit::new(path, lock.is_some());
    if let Some(header) = visit.files()? {
        visit.counters(&Directory::held(path, header)?)?;
    }
    // Locked until the last repair is done.
    let report = visit.end(repairs);
    drop(lock);
    Ok(report)
}
