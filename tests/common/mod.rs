//! What several test programs share.

use tempfile::TempDir;

/// A directory for one test: in memory where the system has such a place, because a limiter is
/// synced to the disk whenever it is opened or closed, and no test here is about the disk.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}
