//! What a limiter writes for the time after the kernel is gone: the journal and the ceilings. A
//! test puts memory in their place, and cuts the power there.

use std::path::Path;

use crate::ceiling::{Medium, Paper};
use crate::journal::{Generations, Report, StoreError};

/// Opens the journal in a folder, for the directory with this instance id.
pub(super) type OpenGenerations =
    Box<dyn Fn(&Path, [u8; 16]) -> Result<(Generations, Report), StoreError> + Send>;

/// Opens the ceilings in a file.
pub(super) type OpenMedium = Box<dyn FnOnce(&Path) -> Box<dyn Medium>>;

/// How what outlives the kernel is opened, by its path.
pub(super) struct Media {
    pub(super) journal: OpenGenerations,
    pub(super) ceilings: OpenMedium,
}

/// Files.
impl Default for Media {
    fn default() -> Self {
        Self {
            journal: Box::new(Generations::open),
            ceilings: Box::new(|path| Box::new(Paper::new(path))),
        }
    }
}
