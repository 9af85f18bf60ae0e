//! What lies under a root that others use, too, and is this user's alone.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{DirectoryError, me};

/// A user's own directory under a root; and another name for it, of one data directory alone,
/// for when somebody else has taken the first one.
pub(super) fn private_paths(root: &Path, user: u32, other: &str) -> [PathBuf; 2] {
    let name = format!("tollgate-{user}");
    [root.join(&name), root.join(format!("{name}-{other}"))]
}

/// This user's own directory under a root that others use, too, made if there is none.
///
/// # Errors
/// If others could change what is in it.
pub(crate) fn own_folder(root: &Path) -> Result<PathBuf, DirectoryError> {
    check_root(root)?;
    let [own, _] = private_paths(root, me(), "");
    make_own(&own)?;
    Ok(own)
}

/// The user who has taken what is to be this user's, if there is one.
pub(super) fn taken_by(path: &Path, user: u32) -> Option<u32> {
    let owner = fs::symlink_metadata(path).ok()?.uid();
    Some(owner).filter(|owner| *owner != user)
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
    check_owner(path, &meta)?;
    if meta.is_dir() && meta.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(DirectoryError::NotPrivate { path: path.into() })
}

/// # Errors
/// If what was found at `path` is another user's.
pub(super) fn check_owner(path: &Path, meta: &Metadata) -> Result<(), DirectoryError> {
    let (owner, user, path) = (meta.uid(), me(), path.into());
    if owner == user {
        return Ok(());
    }
    Err(DirectoryError::NotOurs { path, owner, user })
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
