//! The file of ceilings looked at from outside: it is read, and never written.

use std::path::Path;

use super::file::{self, Found};
use super::medium::Paper;
use crate::algorithm::Word;
use crate::directory::DirectoryError;
use crate::key::Tag;
use crate::time::Timestamp;

/// What stands in it.
#[derive(Debug)]
pub(crate) enum Surveyed {
    /// There is none.
    Missing,
    Whole {
        bytes: u64,
        /// See `Ceilings::closed`.
        closed: Option<Timestamp>,
    },
    /// Opening the limiter will keep it aside.
    Damaged { why: String },
}

/// Reads the file at `path`, and shows every record. Of several under one tag the last counts.
///
/// # Errors
/// If the system says no, or another version wrote it.
pub(crate) fn survey(
    path: &Path,
    instance: [u8; 16],
    see: &mut dyn FnMut(Tag, Word),
) -> Result<Surveyed, DirectoryError> {
    let found = file::read(&mut Paper::for_reading(path), instance, see);
    match found.map_err(DirectoryError::io("read", path))? {
        Found::Missing => Ok(Surveyed::Missing),
        Found::Whole { sheet, .. } => Ok(Surveyed::Whole {
            bytes: sheet.end(),
            closed: sheet.closed,
        }),
        Found::Damaged { why } => Ok(Surveyed::Damaged { why }),
        Found::Version { found } => Err(DirectoryError::Version {
            path: path.into(),
            found,
            supported: file::VERSION,
        }),
    }
}
