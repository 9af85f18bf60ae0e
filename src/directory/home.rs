//! Whose a folder outside its data directory is, and what others may remove there.
//!
//! Whether a data directory still exists cannot be known from outside: it may have been moved, or
//! be mounted elsewhere, and the numbers of devices, inodes and mount namespaces are used again. So
//! a folder is removed only by the directory that it belongs to. Others remove what a kill left
//! half made or half removed; the folder's name says so, see `folder.rs`. What else nobody has
//! open is told of, for a person to judge.
//!
//! ```text
//! offset | bytes | field of the file `home`
//!      0 |     8 | magic "TOLLHOM2"
//!      8 |    16 | instance id of the data directory
//!     24 |     n | its path when it was last opened
//! 24 + n |     8 | SipHash-1-3 of all before, under a key of zeros
//! ```

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::private::{check_private, remove_all};
use super::{Directory, DirectoryError, Header, open_lock, read_bounded, replace};
use crate::codec::{Reader, seal, sealed};

const MAGIC: [u8; 8] = *b"TOLLHOM2";
const HEAD_LEN: usize = 24;
const SUM_LEN: usize = 8;
/// More than any path there is.
const LEN_MAX: u64 = 8192;
/// Folders looked at under one root.
// Bound: what lies behind them is neither removed nor told of.
const LOOK_MAX: usize = 1024;
/// A table that nobody has open may be one of a directory that is gone for good. All such tables
/// together may take this part of a memory file system before no new one is made there.
const UNUSED_PART: u64 = 8;

/// A folder that is not whole yet, or not any more.
pub(super) const HALVES: [&str; 2] = ["making", "removed"];

/// The data directory that a folder belongs to.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Home {
    instance: [u8; 16],
    path: PathBuf,
}

impl Home {
    pub(super) fn of(directory: &Directory) -> Result<Self, DirectoryError> {
        let path = directory.path();
        Ok(Self {
            instance: directory.header().instance,
            path: fs::canonicalize(path).map_err(DirectoryError::io("find", path))?,
        })
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), DirectoryError> {
        let path = self.path.as_os_str().as_bytes();
        let mut bytes = Vec::with_capacity(HEAD_LEN + path.len() + SUM_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.instance);
        bytes.extend_from_slice(path);
        bytes.extend_from_slice(&[0; SUM_LEN]);
        seal(&mut bytes);
        let at = folder.join("home");
        if read_bounded(&at, LEN_MAX).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        replace(&at, &bytes)
    }

    fn read(folder: &Path) -> Option<Self> {
        Self::decode(&read_bounded(&folder.join("home"), LEN_MAX).ok()?)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(bytes);
        if bytes.len() < HEAD_LEN + SUM_LEN || fields.take() != MAGIC || !sealed(bytes) {
            return None;
        }
        let path = &bytes[HEAD_LEN..bytes.len() - SUM_LEN];
        Some(Self {
            instance: fields.take(),
            path: OsString::from_vec(path.to_vec()).into(),
        })
    }

    /// True if the directory is not where it was, as far as can be seen from here. Good enough for
    /// a hint, and for nothing else.
    fn is_elsewhere(&self) -> bool {
        let at = self.path.join("header");
        match read_bounded(&at, LEN_MAX).map(|bytes| Header::decode(&at, &bytes)) {
            Ok(Ok(header)) => header.instance != self.instance,
            Ok(Err(_)) => false,
            Err(error) => {
                [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind())
            }
        }
    }
}

/// Removes what kills left half made or half removed under this root, where `directory` has its
/// folder.
///
/// # Errors
/// What cannot be removed; the next sweep tries again.
pub(crate) fn sweep(root: &Path, directory: &Directory) -> Result<(), DirectoryError> {
    let private = directory.private_path(root);
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
    // Folders are made and removed under this lock, so nobody is at these.
    let halves = folders(&private)?.into_iter();
    let mut halves = halves.filter(|path| is_half(path));
    halves.try_for_each(|path| remove_all(&path))
}

/// The folders of data directories in a user's own directory under a root, whole or not.
fn folders(private: &Path) -> Result<Vec<PathBuf>, DirectoryError> {
    let entries = fs::read_dir(private).map_err(DirectoryError::io("list", private))?;
    let mut paths = Vec::new();
    for entry in entries.take(LOOK_MAX) {
        let path = entry.map_err(DirectoryError::io("list", private))?.path();
        if path.file_stem().is_some_and(is_folder_name) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// True of the name that a data directory gives its folder: instance, device, inode.
fn is_folder_name(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let parts: Vec<_> = name.split('-').collect();
    let is_number = |part: &&str| u128::from_str_radix(part, 16).is_ok();
    parts.len() == 3 && parts[0].len() == 32 && parts.iter().all(is_number)
}

fn is_half(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| HALVES.iter().any(|half| extension == *half))
}

/// Tables under a root that nobody has open.
#[derive(Default, Debug)]
pub(crate) struct Unused {
    root: PathBuf,
    folders: u64,
    bytes: u64,
    /// Those whose data directories are not where they were, and where the first of these was.
    strays: u64,
    first: Option<(PathBuf, PathBuf)>,
}

impl Unused {
    /// Looks at what lies under `root`, but for the folder of `directory` itself.
    pub(crate) fn under(root: &Path, directory: &Directory) -> Result<Self, DirectoryError> {
        let private = directory.private_path(root);
        let mut found = Self {
            root: root.into(),
            ..Self::default()
        };
        if check_private(&private).is_err() {
            return Ok(found);
        }
        let own = directory.folder_name();
        for path in folders(&private)? {
            if !path.ends_with(&own) && !is_half(&path) && is_unused(&path) {
                found.add(&path);
            }
        }
        Ok(found)
    }

    fn add(&mut self, folder: &Path) {
        self.folders += 1;
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let blocks = entries.filter_map(|entry| Some(entry.metadata().ok()?.blocks()));
        self.bytes += 512 * blocks.sum::<u64>();
        if let Some(home) = Home::read(folder).filter(Home::is_elsewhere) {
            self.strays += 1;
            self.first.get_or_insert((folder.into(), home.path));
        }
    }

    /// What there is to be said, if there are tables that perhaps nobody will ask for again.
    pub(crate) fn note(&self) -> Option<String> {
        self.first.as_ref().map(|_| self.to_string())
    }

    /// # Errors
    /// If they take so much that no more is to be put beside them.
    pub(crate) fn check(&self) -> Result<(), DirectoryError> {
        let root = &self.root;
        let found = rustix::fs::statvfs(root);
        let found = found.map_err(|error| DirectoryError::io("look at", root)(error.into()))?;
        if self.bytes <= found.f_blocks.saturating_mul(found.f_frsize) / UNUSED_PART {
            return Ok(());
        }
        let path = root.clone();
        let why = self.to_string();
        Err(DirectoryError::NoPlace { path, why })
    }
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folders, bytes) = (self.folders, self.bytes);
        let root = self.root.display();
        write!(
            f,
            "{folders} tables under {root} that nobody has open take {bytes} bytes"
        )?;
        let Some((folder, path)) = &self.first else {
            return Ok(());
        };
        let (folder, path, strays) = (folder.display(), path.display(), self.strays);
        write!(
            f,
            "; the data directories of {strays} are not where they were, the first was {path}: if \
             it is gone for good, remove {folder}"
        )
    }
}

/// True if nobody has the folder open.
fn is_unused(folder: &Path) -> bool {
    // Given back at once: who opens it meanwhile waits longer than that.
    open_lock(&folder.join("lock"), false).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::directory::Site;

    /// A data directory in `dir`, and the path of its folder under `dir` as a root.
    fn furnished(dir: &Path) -> (Directory, PathBuf) {
        let (directory, _) =
            Directory::open(&dir.join("data"), Duration::ZERO, || Header::draw(1)).unwrap();
        let site = Site::under(dir).unwrap();
        let folder = directory.make_folder(&site).unwrap();
        let path = folder.path().to_owned();
        (directory, path)
    }

    /// What another directory finds unused under `dir`.
    fn unused(dir: &Path) -> Unused {
        let (other, _) =
            Directory::open(&dir.join("other"), Duration::ZERO, || Header::draw(1)).unwrap();
        Unused::under(dir, &other).unwrap()
    }

    #[test]
    fn p2_what_seems_to_be_gone_is_told_of_and_stays() {
        let dir = crate::directory::scratch();
        let (directory, folder) = furnished(dir.path());
        fs::write(folder.join("00"), [1; 10_000]).unwrap();
        let found = unused(dir.path());
        assert_eq!((found.folders, found.strays), (1, 0), "{found}");
        assert!(found.bytes >= 10_000 && found.note().is_none(), "{found}");
        let data = dir.path().join("data");
        fs::rename(&data, dir.path().join("data2")).unwrap();
        sweep(dir.path(), &directory).unwrap();
        assert!(folder.exists());
        let note = unused(dir.path()).note().unwrap();
        for part in [&data, &folder] {
            assert!(note.contains(part.to_str().unwrap()), "{note}");
        }
        // Another directory in its place.
        drop(Directory::open(&data, Duration::ZERO, || Header::draw(1)).unwrap());
        sweep(dir.path(), &directory).unwrap();
        assert!(folder.exists());
        assert_eq!(unused(dir.path()).strays, 1);
    }

    #[test]
    fn a_header_that_cannot_be_read_says_nothing() {
        let dir = crate::directory::scratch();
        let (_, _folder) = furnished(dir.path());
        fs::write(dir.path().join("data/header"), "something else").unwrap();
        assert_eq!(unused(dir.path()).strays, 0);
    }

    #[test]
    fn a_folder_in_use_and_ones_own_are_not_unused() {
        let dir = crate::directory::scratch();
        let (directory, _) = furnished(dir.path());
        assert_eq!(Unused::under(dir.path(), &directory).unwrap().folders, 0);
        let site = Site::under(dir.path()).unwrap();
        let folder = directory.open_folder(&site).unwrap();
        assert_eq!(unused(dir.path()).folders, 0);
        drop(folder);
        assert_eq!(unused(dir.path()).folders, 1);
    }

    #[test]
    fn too_much_that_nobody_uses_lets_no_more_in() {
        let dir = crate::directory::scratch();
        let mut found = unused(dir.path());
        assert!(found.check().is_ok());
        found.bytes = u64::MAX;
        let error = found.check().unwrap_err().to_string();
        assert!(error.contains("nobody has open"), "{error}");
    }

    #[test]
    fn halves_are_removed_and_all_else_left_alone() {
        let dir = crate::directory::scratch();
        let (directory, folder) = furnished(dir.path());
        fs::remove_file(folder.join("home")).unwrap();
        let others = ["someone-elses-folder", "notes.removed", "notes.making"];
        let others = others.map(|name| folder.with_file_name(name));
        let halves = HALVES.map(|half| folder.with_extension(half));
        for path in others.iter().chain(&halves) {
            fs::create_dir(path).unwrap();
        }
        sweep(dir.path(), &directory).unwrap();
        assert!(folder.exists() && others.iter().all(|path| path.exists()));
        assert!(!halves.iter().any(|path| path.exists()));
    }

    #[test]
    fn a_folder_that_is_in_use_is_not_given_up() {
        let dir = crate::directory::scratch();
        let (directory, path) = furnished(dir.path());
        let site = Site::under(dir.path()).unwrap();
        let folder = directory.open_folder(&site).unwrap();
        for error in [
            directory.make_folder(&site).map(drop).unwrap_err(),
            directory.remove_folder(&site).unwrap_err(),
        ] {
            assert!(error.to_string().contains("is held by"), "{error}");
        }
        assert!(path.join("home").exists());
        drop(folder);
        directory.remove_folder(&site).unwrap();
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
