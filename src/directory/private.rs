//! What lies under a root that others use, too, and is this user's alone.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{DirectoryError, me};

/// This user's own directory under a root.
pub(super) fn private_path(root: &Path) -> PathBuf {
    root.join(format!("tollgate-{}", me()))
}

/// A root is safe if nobody else can rename what is in it.
pub(super) fn check_root(root: &Path) -> Result<(), DirectoryError> {
    let meta = fs::metadata(root).map_err(DirectoryError::io("look at", root))?;
    let is_sticky = meta.mode() & 0o1000 != 0;
    let is_trusted = [0, me()].contains(&meta.uid()) && meta.mode() & 0o022 == 0;
    if is_sticky || is_trusted {
        return Ok(());
    }
    Err(DirectoryError::NotPrivate { path: root.into() })
}

/// Makes a directory that nobody else can enter, if there is none, and checks the one there is.
pub(super) fn make_own(path: &Path) -> Result<(), DirectoryError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(DirectoryError::io("create", path)(error))
        }
        _ => check_private(path),
    }
}

/// What lies under a root that others use too must be a directory of ours, no link to one, and
/// closed to everybody else.
pub(super) fn check_private(path: &Path) -> Result<(), DirectoryError> {
    let meta = fs::symlink_metadata(path).map_err(DirectoryError::io("look at", path))?;
    if meta.is_dir() && meta.uid() == me() && meta.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(DirectoryError::NotPrivate { path: path.into() })
}

/// Removes a folder and what is in it, if it is there.
pub(super) fn remove_all(path: &Path) -> Result<(), DirectoryError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DirectoryError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
