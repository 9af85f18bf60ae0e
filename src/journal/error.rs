//! What can be wrong with a journal.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::directory::DirectoryError;

/// Why a journal could not be opened, read or written.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// Its files: damaged, of another version, or the system said no.
    Files(DirectoryError),
    /// It gave no answer in time, and may never do so.
    Stalled {
        doing: &'static str,
        path: PathBuf,
        secs: u64,
    },
    /// It is as large as it may become.
    Full { path: PathBuf, bytes: u64 },
    /// An earlier call failed, so nothing it says is believed: only the next generation counts.
    Broken { path: PathBuf },
}

impl StoreError {
    pub(super) fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Files(DirectoryError::Damaged {
            path: path.to_owned(),
            why: why.into(),
        })
    }

    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let error = DirectoryError::io(doing, path);
        move |source| Self::Files(error(source))
    }

    /// The same, said of `original` instead of its copy.
    pub(super) fn of(mut self, original: &Path) -> Self {
        match &mut self {
            Self::Files(error) => error.set_path(original),
            Self::Stalled { path, .. } | Self::Full { path, .. } | Self::Broken { path } => {
                original.clone_into(path);
            }
        }
        self
    }

    /// True if what is on the disk cannot be read, today or tomorrow. Everything else may pass:
    /// a full disk, a missing permission, a drive that hangs.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Files(DirectoryError::Damaged { .. }))
    }
}

impl From<DirectoryError> for StoreError {
    fn from(error: DirectoryError) -> Self {
        Self::Files(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(error) => error.fmt(f),
            Self::Stalled { doing, path, secs } => {
                let path = path.display();
                write!(
                    f,
                    "{path} gave no answer for {secs} s when asked to {doing}"
                )
            }
            Self::Full { path, bytes } => {
                let path = path.display();
                write!(f, "{path} has {bytes} bytes, the most a journal may have")
            }
            Self::Broken { path } => {
                let path = path.display();
                write!(
                    f,
                    "{path} failed before, and is not written until it is renewed"
                )
            }
        }
    }
}
