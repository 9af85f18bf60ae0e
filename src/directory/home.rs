//! Whose a folder outside its data directory is, and the removal of folders that are nobody's.
//!
//! ```text
//! offset | bytes | field of the file `home`
//!      0 |     8 | magic "TOLLHOME"
//!      8 |    16 | instance id of the data directory
//!     24 |     8 | mount namespace in which its path means something
//!     32 |     n | its path
//! 32 + n |     8 | SipHash-1-3 of all before, under a key of zeros
//! ```

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::private::{check_private, private_path, remove_all};
use super::{Directory, DirectoryError, Header, open_lock, read_bounded, replace};
use crate::codec::{Reader, seal, sealed};

const MAGIC: [u8; 8] = *b"TOLLHOME";
const HEAD_LEN: usize = 32;
const SUM_LEN: usize = 8;
/// More than any path there is.
const LEN_MAX: u64 = 8192;
/// Folders looked at in one sweep.
// Bound: with more than this under one root, the next sweeps remove the rest.
const SWEEP_MAX: usize = 1024;

/// The data directory that a folder belongs to.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Home {
    instance: [u8; 16],
    namespace: u64,
    path: PathBuf,
}

impl Home {
    pub(super) fn of(directory: &Directory) -> Result<Self, DirectoryError> {
        let path = directory.path();
        Ok(Self {
            instance: directory.header().instance,
            namespace: mount_namespace()?,
            path: fs::canonicalize(path).map_err(DirectoryError::io("find", path))?,
        })
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), DirectoryError> {
        let path = self.path.as_os_str().as_bytes();
        let mut bytes = Vec::with_capacity(HEAD_LEN + path.len() + SUM_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.instance);
        bytes.extend_from_slice(&self.namespace.to_le_bytes());
        bytes.extend_from_slice(path);
        bytes.extend_from_slice(&[0; SUM_LEN]);
        seal(&mut bytes);
        let at = folder.join("home");
        if read_bounded(&at, LEN_MAX).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        replace(&at, &bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(bytes);
        if bytes.len() < HEAD_LEN + SUM_LEN || fields.take() != MAGIC || !sealed(bytes) {
            return None;
        }
        let (instance, namespace) = (fields.take(), fields.u64());
        let path = &bytes[HEAD_LEN..bytes.len() - SUM_LEN];
        Some(Self {
            instance,
            namespace,
            path: OsString::from_vec(path.to_vec()).into(),
        })
    }

    /// True if the data directory, which was on `device`, is gone for certain: its path can be
    /// judged from here, the file system it was on is there, and there is no such directory on it.
    fn is_gone(&self, device: u64, namespace: u64) -> bool {
        if self.namespace != namespace {
            return false;
        }
        let at = self.path.join("header");
        match read_bounded(&at, LEN_MAX).map(|bytes| Header::decode(&at, &bytes)) {
            Ok(Ok(header)) => header.instance != self.instance && is_on(&self.path, device),
            Ok(Err(_)) => false,
            Err(error) => {
                let missing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
                // A drive that is not mounted now may come back, and the directory with it.
                missing.contains(&error.kind()) && is_on(&self.path, device)
            }
        }
    }
}

/// True if the path, or what there is of it, is on this device.
fn is_on(path: &Path, device: u64) -> bool {
    let mut there = path.ancestors().filter_map(|at| fs::metadata(at).ok());
    there.next().is_some_and(|meta| meta.dev() == device)
}

/// The number of the mount namespace that this process is in.
fn mount_namespace() -> Result<u64, DirectoryError> {
    let path = Path::new("/proc/self/ns/mnt");
    let meta = fs::metadata(path).map_err(DirectoryError::io("look at", path))?;
    Ok(meta.ino())
}

/// Removes folders under this root whose data directory is gone and that nobody uses.
///
/// # Errors
/// What cannot be removed; the next sweep tries again.
pub(crate) fn sweep(root: &Path) -> Result<(), DirectoryError> {
    let private = private_path(root);
    if fs::symlink_metadata(&private).is_err() {
        return Ok(());
    }
    check_private(&private)?;
    let at = private.join("lock");
    let guard = open_lock(&at, true).map_err(DirectoryError::io("open", &at))?;
    if guard.try_lock().is_err() {
        // Somebody is sweeping, or making a folder; the next opener comes by.
        return Ok(());
    }
    let namespace = mount_namespace()?;
    let entries = fs::read_dir(&private).map_err(DirectoryError::io("list", &private))?;
    for entry in entries.take(SWEEP_MAX) {
        let entry = entry.map_err(DirectoryError::io("list", &private))?;
        if let Some(device) = device_of(&entry.file_name().to_string_lossy()) {
            sweep_folder(&entry.path(), device, namespace)?;
        }
    }
    Ok(())
}

/// The device in a folder's name, if it is the name of a folder of ours.
fn device_of(name: &str) -> Option<u64> {
    let mut parts = name.split('-');
    let (instance, device, inode) = (parts.next()?, parts.next()?, parts.next()?);
    let is_ours = instance.len() == 32 && parts.next().is_none();
    u128::from_str_radix(instance, 16).ok()?;
    u64::from_str_radix(inode, 16).ok()?;
    let device = u64::from_str_radix(device, 16).ok()?;
    is_ours.then_some(device)
}

/// Removes a folder if nobody uses it and its data directory is gone. A folder without a `home` is
/// half made or half removed: both happen under the lock that the caller has.
fn sweep_folder(path: &Path, device: u64, namespace: u64) -> Result<(), DirectoryError> {
    let lock = match open_lock(&path.join("lock"), false) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(DirectoryError::io("open", &path.join("lock"))(error)),
    };
    if lock.as_ref().is_some_and(|lock| lock.try_lock().is_err()) {
        return Ok(());
    }
    let is_gone = match read_bounded(&path.join("home"), LEN_MAX) {
        Ok(bytes) => Home::decode(&bytes).is_none_or(|home| home.is_gone(device, namespace)),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_gone { remove_all(path) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Site;

    /// A data directory in `dir`, and the path of its folder under `dir` as a root.
    fn furnished(dir: &Path) -> (Directory, PathBuf) {
        let (directory, _) = Directory::open(&dir.join("data"), || Header::draw(1)).unwrap();
        let site = Site::under(dir).unwrap();
        let folder = directory.make_folder(&site).unwrap();
        let path = folder.path().to_owned();
        (directory, path)
    }

    fn rewrite(folder: &Path, change: impl FnOnce(&mut Home)) {
        let bytes = read_bounded(&folder.join("home"), LEN_MAX).unwrap();
        let mut home = Home::decode(&bytes).unwrap();
        change(&mut home);
        home.write(folder).unwrap();
    }

    #[test]
    fn what_is_gone_is_removed() {
        let dir = crate::directory::scratch();
        let (directory, folder) = furnished(dir.path());
        sweep(dir.path()).unwrap();
        assert!(folder.exists(), "its directory is there");
        drop(directory);
        fs::remove_dir_all(dir.path().join("data")).unwrap();
        sweep(dir.path()).unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn a_path_in_another_mount_namespace_says_nothing() {
        let dir = crate::directory::scratch();
        let (_, folder) = furnished(dir.path());
        fs::remove_dir_all(dir.path().join("data")).unwrap();
        rewrite(&folder, |home| home.namespace ^= 1);
        sweep(dir.path()).unwrap();
        assert!(folder.exists());
    }

    #[test]
    fn a_drive_that_is_not_mounted_now_may_come_back() {
        let dir = crate::directory::scratch();
        let (_, folder) = furnished(dir.path());
        // Its path, now without anything on the device that the folder's name tells.
        rewrite(&folder, |home| home.path = "/proc/no/such/directory".into());
        sweep(dir.path()).unwrap();
        assert!(folder.exists());
    }

    #[test]
    fn a_header_that_cannot_be_read_says_nothing() {
        let dir = crate::directory::scratch();
        let (_, folder) = furnished(dir.path());
        fs::write(dir.path().join("data/header"), "something else").unwrap();
        sweep(dir.path()).unwrap();
        assert!(folder.exists());
    }

    #[test]
    fn halves_are_removed_and_other_names_left_alone() {
        let dir = crate::directory::scratch();
        let (_directory, folder) = furnished(dir.path());
        fs::remove_file(folder.join("home")).unwrap();
        let other = folder.with_file_name("someone-elses-folder");
        fs::create_dir(&other).unwrap();
        sweep(dir.path()).unwrap();
        assert!(other.exists() && !folder.exists());
    }

    #[test]
    fn a_folder_in_use_is_left_alone() {
        let dir = crate::directory::scratch();
        let (directory, path) = furnished(dir.path());
        let folder = directory
            .open_folder(&Site::under(dir.path()).unwrap())
            .unwrap();
        fs::remove_file(path.join("home")).unwrap();
        sweep(dir.path()).unwrap();
        assert!(path.exists());
        drop(folder);
        sweep(dir.path()).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn every_flipped_byte_and_every_length_of_a_home_is_noticed() {
        let dir = crate::directory::scratch();
        let (_, folder) = furnished(dir.path());
        let bytes = read_bounded(&folder.join("home"), LEN_MAX).unwrap();
        assert!(Home::decode(&bytes).is_some());
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert_eq!(Home::decode(&flipped), None, "{at}");
            assert_eq!(Home::decode(&bytes[..at]), None, "{at}");
        }
    }
}
