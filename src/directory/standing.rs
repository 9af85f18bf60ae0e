//! Whether a name still stands for what it stood for: directories are moved and removed under those
//! who use them, and a new one of the same name is somebody else's.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::DirectoryError;

/// A file or folder, as it was found under its name.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    path: PathBuf,
    identity: (u64, u64),
}

impl Standing {
    /// What stands under the name now.
    pub(crate) fn of(path: &Path) -> Result<Self, DirectoryError> {
        let meta = fs::metadata(path).map_err(DirectoryError::io("look at", path))?;
        Ok(Self::found(path, &meta))
    }

    /// What was found under the name.
    pub(crate) fn found(path: &Path, meta: &Metadata) -> Self {
        Self {
            path: path.to_owned(),
            identity: (meta.dev(), meta.ino()),
        }
    }

    /// Device and inode.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// # Errors
    /// If the name stands for nothing or for something else by now: whoever writes by name would
    /// then write into what is not his.
    pub(crate) fn check(&self) -> Result<(), DirectoryError> {
        let there = fs::metadata(&self.path).map(|meta| (meta.dev(), meta.ino()));
        match there {
            Ok(identity) if identity == self.identity => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DirectoryError::io("look at", &self.path)(error))
            }
            _ => {
                let why = "was moved, removed or replaced while in use";
                let source = io::Error::new(io::ErrorKind::NotFound, why);
                Err(DirectoryError::io("find", &self.path)(source))
            }
        }
    }
}
