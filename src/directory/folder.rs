//! The folder of a table: in its data directory, or under a root outside it.
//!
//! ```text
//! DATA/table/NN            shard NN, in the data directory
//! DATA/table/NN.next       the larger file that it is being copied into, if it is
//! DATA/table/NN.making     such a file before it is whole
//!
//! ROOT/tollgate-UID/       this user's, and nobody else's to enter; tollgate-UID-INSTANCE if
//!                          another user has taken that name
//!   lock                   held while a folder is made or removed
//!   INSTANCE-DEVICE-INODE/ of one data directory: its instance id, and its own two numbers
//!     lock                 held while the folder is in use
//!     home                 whose it is, see `home.rs`
//!     NN, NN.next, ...     as above
//!   INSTANCE-....making/   such a folder before it is whole
//!   INSTANCE-....removed/  such a folder that its own directory gave up
//! ```
//!
//! A copied data directory has another inode, so it never finds the table of the original.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::home::{HALVES, Home};
use super::private::{check_private, check_root, make_own, private_paths, remove_all, taken_by};
use super::{
    Directory, DirectoryError, LOCK_WAIT, Standing, make_private, open_lock, sync_dir, take_lock,
    wait_for_lock,
};

/// How long to wait while others make and remove folders under the same root.
const FOLDERS_WAIT: Duration = Duration::from_secs(5);

/// What a folder outside its data directory holds beside the table.
const OUTSIDE: [&str; 2] = ["lock", "home"];

/// Where a table lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Site {
    /// In the data directory.
    Data,
    /// Under this root, an absolute path of at most `ROOT_MAX` bytes.
    Root(PathBuf),
}

impl Site {
    pub(super) const ROOT_MAX: usize = 254;

    /// Under this root, followed to where it really is.
    pub(crate) fn under(root: &Path) -> Result<Self, DirectoryError> {
        let root = fs::canonicalize(root).map_err(DirectoryError::io("find", root))?;
        if root.as_os_str().len() > Self::ROOT_MAX {
            let why = format!("its path is longer than {} bytes", Self::ROOT_MAX);
            return Err(DirectoryError::NoPlace { path: root, why });
        }
        Ok(Self::Root(root))
    }
}

/// The folder that holds a table's shards.
#[derive(Debug)]
pub(crate) struct Folder {
    site: Site,
    path: PathBuf,
    /// What the path stood for when it was taken up.
    standing: Standing,
    /// Held as long as the folder is in use; the data directory's own needs no other lock.
    _lock: Option<File>,
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// # Errors
    /// If the folder is not where it was: what is there now may be another's.
    pub(crate) fn check(&self) -> Result<(), DirectoryError> {
        self.standing.check()
    }

    /// The table's own files in it.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>, DirectoryError> {
        let entries = fs::read_dir(&self.path);
        let paths = entries.and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut paths: Vec<_> = paths.map_err(DirectoryError::io("list", &self.path))?;
        paths.retain(|path| !OUTSIDE.iter().any(|name| path.ends_with(name)));
        Ok(paths)
    }

    /// Where a shard lies.
    pub(crate) fn shard_path(&self, number: u32) -> PathBuf {
        self.path.join(shard_name(number))
    }

    /// Where the file lies that a shard is growing into.
    pub(crate) fn next_path(&self, number: u32) -> PathBuf {
        self.path.join(next_name(number))
    }

    /// Where such a file is made.
    pub(crate) fn making_path(&self, number: u32) -> PathBuf {
        self.path.join(format!("{}.making", shard_name(number)))
    }
}

/// A shard's name in its folder.
pub(crate) fn shard_name(number: u32) -> String {
    format!("{number:02}")
}

/// The name of the file that a shard is growing into.
pub(crate) fn next_name(number: u32) -> String {
    format!("{}.next", shard_name(number))
}

impl Directory {
    /// Where the folder of a table at this site is, or would be.
    pub(crate) fn folder_path(&self, site: &Site) -> PathBuf {
        match site {
            Site::Data => self.path().join("table"),
            Site::Root(root) => self.private_path(root).join(self.folder_name()),
        }
    }

    /// This user's own directory under a root: where the folder of this directory is, or else
    /// where it would be made.
    pub(super) fn private_path(&self, root: &Path) -> PathBuf {
        let [first, second] = private_paths(root, self.user, &self.instance());
        let folder = second.join(self.folder_name());
        let is_own = fs::symlink_metadata(&second).is_ok_and(|meta| meta.uid() == self.user);
        let is_there = is_own && fs::symlink_metadata(folder).is_ok();
        if is_there || taken_by(&first, self.user).is_some() {
            second
        } else {
            first
        }
    }

    /// What is to be known of this user's own directory under a root, if it has not the name that
    /// it should have.
    pub(crate) fn renamed(&self, root: &Path) -> Option<String> {
        let [first, _] = private_paths(root, self.user, "");
        let (user, path) = (taken_by(&first, self.user)?, self.private_path(root));
        let (first, path) = (first.display(), path.display());
        Some(format!("{first} belongs to user {user}, so {path} is used"))
    }

    fn instance(&self) -> String {
        let instance = self.header().instance.map(|byte| format!("{byte:02x}"));
        instance.concat()
    }

    /// The name of this directory's folders under the roots.
    pub(super) fn folder_name(&self) -> String {
        let (device, inode) = self.standing.identity();
        format!("{}-{device:x}-{inode:x}", self.instance())
    }

    /// The folder of the table at this site, in use from now on.
    ///
    /// # Errors
    /// If there is none, it is in use, or it is not this user's alone.
    pub(crate) fn open_folder(&self, site: &Site) -> Result<Folder, DirectoryError> {
        let path = self.folder_path(site);
        let lock = match site {
            Site::Data => None,
            Site::Root(root) => {
                check_private(&self.private_path(root))?;
                check_private(&path)?;
                Some(lock_folder(&path)?)
            }
        };
        self.take_up(site, path, lock)
    }

    /// An empty folder for a table at this site, in use from now on. What stood there is removed:
    /// to be called only for a site that the marks do not name, or whose table was given up.
    ///
    /// # Errors
    /// If the place is not this user's alone, or the system says no.
    pub(crate) fn make_folder(&self, site: &Site) -> Result<Folder, DirectoryError> {
        let path = self.folder_path(site);
        let lock = match site {
            Site::Data => {
                remove_all(&path)?;
                make_private(&path)?;
                None
            }
            Site::Root(root) => {
                check_root(root)?;
                let private = self.private_path(root);
                make_own(&private)?;
                let _guard = take_lock(&private.join("lock"), FOLDERS_WAIT)?;
                give_up(&path)?;
                Some(self.make_whole(&path)?)
            }
        };
        self.take_up(site, path, lock)
    }

    /// Makes a folder and gives it its name once it says whose it is; gives its lock.
    fn make_whole(&self, path: &Path) -> Result<File, DirectoryError> {
        let [making, _] = HALVES.map(|half| path.with_extension(half));
        remove_all(&making)?;
        make_own(&making)?;
        let lock = take_lock(&making.join("lock"), LOCK_WAIT)?;
        Home::of(self)?.write(&making)?;
        fs::rename(&making, path).map_err(DirectoryError::io("name", path))?;
        Ok(lock)
    }

    /// Removes the folder at this site, and what is in it, if there is one.
    pub(crate) fn remove_folder(&self, site: &Site) -> Result<(), DirectoryError> {
        let path = self.folder_path(site);
        if let Site::Root(root) = site {
            let private = self.private_path(root);
            if fs::symlink_metadata(&path).is_err() {
                return Ok(());
            }
            check_private(&private)?;
            let _guard = take_lock(&private.join("lock"), FOLDERS_WAIT)?;
            give_up(&path)
        } else {
            remove_all(&path)
        }
    }

    /// Removes a folder outside the data directory that is in use here, and is not to be any more.
    pub(crate) fn abandon(&self, folder: &Folder) -> Result<(), DirectoryError> {
        let Site::Root(root) = &folder.site else {
            return Ok(());
        };
        folder.check()?;
        let _guard = take_lock(&self.private_path(root).join("lock"), FOLDERS_WAIT)?;
        remove_named(&folder.path)
    }

    /// Moves a table in the data directory that cannot be believed out of the way; says where to.
    /// Only the latest such table is kept.
    pub(crate) fn set_table_aside(&self) -> Result<PathBuf, DirectoryError> {
        let from = self.folder_path(&Site::Data);
        let aside = self.path().join("table.untrusted");
        remove_all(&aside)?;
        match fs::rename(&from, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DirectoryError::io("set aside", &from)(error));
            }
            _ => {}
        }
        sync_dir(self.path())?;
        Ok(aside)
    }

    /// The folder as it is used; one outside the data directory says where that is now.
    fn take_up(
        &self,
        site: &Site,
        path: PathBuf,
        lock: Option<File>,
    ) -> Result<Folder, DirectoryError> {
        if let Site::Root(_) = site {
            Home::of(self)?.write(&path)?;
        }
        Ok(Folder {
            site: site.clone(),
            standing: Standing::of(&path)?,
            path,
            _lock: lock,
        })
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data => write!(f, "the data directory"),
            Self::Root(root) => write!(f, "{}", root.display()),
        }
    }
}

/// Removes the folder of one's own directory, if it is there and nobody has it.
fn give_up(path: &Path) -> Result<(), DirectoryError> {
    let _lock = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // Held so that nobody takes it up meanwhile; if somebody has it, it stays.
        Ok(meta) if meta.is_dir() => lock_if_there(path)?,
        // A link, say: what it leads to is left alone.
        _ => None,
    };
    remove_named(path)
}

/// Removes a folder that loses its name first, so that a kill leaves what everybody knows for a
/// half.
fn remove_named(path: &Path) -> Result<(), DirectoryError> {
    let [_, removed] = HALVES.map(|half| path.with_extension(half));
    remove_all(&removed)?;
    fs::rename(path, &removed).map_err(DirectoryError::io("name", &removed))?;
    remove_all(&removed)
}

/// Takes the lock of a folder, if it has one.
fn lock_if_there(path: &Path) -> Result<Option<File>, DirectoryError> {
    match lock_folder(path) {
        Ok(lock) => Ok(Some(lock)),
        Err(DirectoryError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Takes the lock of a folder that is there, and makes sure that it is still there then.
fn lock_folder(path: &Path) -> Result<File, DirectoryError> {
    let at = path.join("lock");
    let lock = open_lock(&at, false).map_err(DirectoryError::io("open", &at))?;
    let lock = wait_for_lock(&at, lock, LOCK_WAIT)?;
    let held = lock
        .metadata()
        .map_err(DirectoryError::io("look at", &at))?;
    let there = fs::symlink_metadata(&at).map_err(DirectoryError::io("look at", &at))?;
    if (held.dev(), held.ino()) != (there.dev(), there.ino()) {
        // Somebody removed the folder while we waited.
        let source = io::ErrorKind::NotFound.into();
        return Err(DirectoryError::io("lock", &at)(source));
    }
    Ok(lock)
}
