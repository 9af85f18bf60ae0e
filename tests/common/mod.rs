//! What several test programs share.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// A directory for one test: in memory where the system has such a place, because a limiter is
/// synced to the disk whenever it is opened or closed, and no test here is about the disk.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// Copies a directory as it stands, as a snapshot of it would be.
#[allow(dead_code, reason = "not every test program copies")]
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
