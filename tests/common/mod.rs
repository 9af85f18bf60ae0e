//! What several test programs share.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use tempfile::TempDir;

/// A directory for one test: in memory where the system has such a place, because a limiter is
/// synced to the disk whenever it is opened or closed, and no test here is about the disk.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// Copies a directory as it stands, as a snapshot of it would be; without what its user removes
/// meanwhile.
#[allow(dead_code, reason = "not every test program copies")]
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else if !entry.file_type().unwrap().is_socket() {
            match fs::copy(entry.path(), to) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                copied => assert!(copied.is_ok(), "{copied:?}"),
            }
        }
    }
}

/// Turns a bit of the byte at `at`; called again, it turns it back.
#[allow(dead_code, reason = "not every test program damages files")]
pub(crate) fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// Lets nobody but its owner into a folder.
#[allow(dead_code, reason = "not every test program needs one")]
pub(crate) fn make_private(folder: &Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(folder, mode).unwrap();
}
