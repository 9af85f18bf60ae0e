//! The directory: every file name once, the lock, the header, and who may believe what is in it.
//!
//! ```text
//! lock            held by flock for the life of a limiter; its text is the holder's pid
//! header          format version, instance id, secret, shape of the table, rates that words name
//! marks           two slots in turn: open or clean, where the table is, latest time seen
//! table/NN        shard NN, unless the table lies elsewhere: see `folder.rs`
//! journal/        what is still known after the power went, see `journal`
//! ceilings        how far strict counters may count, see `ceiling`
//! overrides       what was overridden while running
//! control         the socket that a running limiter is asked by, see `control`
//! ```
//!
//! Other names are left alone.

mod error;
mod folder;
mod header;
mod home;
mod lock;
mod marks;
mod memory;
mod private;
mod rates;
mod slots;
mod standing;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

pub(crate) use error::DirectoryError;
pub(crate) use folder::{Folder, Site, next_name, shard_name};
pub(crate) use header::{Header, draw_stamp};
pub(crate) use home::{Unused, sweep};
pub(crate) use lock::hold;
use lock::{GLANCE, LOCK_WAIT, open_lock, take_lock, wait_for_lock};
pub(crate) use marks::{Mark, Marks, Place, State};
pub(crate) use memory::{check_room, is_memory, memory_roots};
pub(crate) use private::own_folder;
pub(crate) use rates::Rates;
pub(crate) use slots::Slots;
pub(crate) use standing::Standing;

pub(crate) use crate::table::file::check_file_len;

/// A locked directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    header: Header,
    /// Whose it is: this process's user, unless it is only looked at.
    user: u32,
    /// Device and inode number of the directory itself: what a copy of it does not share.
    standing: Standing,
    /// How long another process had it meanwhile, if one had.
    #[cfg_attr(
        not(feature = "watch"),
        allow(dead_code, reason = "nobody else is told of it")
    )]
    waited: Option<Duration>,
    /// Dropped last: with it goes the lock. None if somebody else holds it for us.
    lock: Option<File>,
}

impl Directory {
    /// Opens the directory, making it if there is none, and locks it.
    ///
    /// A lock that another process holds is waited for. `header` is asked for the shape of a new
    /// one. The second value is true if it is new.
    pub(crate) fn open(
        path: &Path,
        patience: Duration,
        new_header: impl FnOnce() -> io::Result<Header>,
    ) -> Result<(Self, bool), DirectoryError> {
        make_private(path)?;
        let begun = Instant::now();
        let lock = take_lock(&path.join("lock"), patience.max(LOCK_WAIT))?;
        let waited = Some(begun.elapsed()).filter(|waited| *waited > GLANCE);
        remove_halves(path)?;
        let at = path.join("header");
        let (header, is_new) = match read_bounded(&at, Header::LEN_MAX) {
            Ok(bytes) => (Header::decode(&at, &bytes)?, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                refuse_orphans(path)?;
                let header = new_header().map_err(DirectoryError::io("draw a secret for", &at))?;
                replace(&at, &header.encode())?;
                (header, true)
            }
            Err(error) => return Err(DirectoryError::io("read", &at)(error)),
        };
        let locked = Self::locked(path, header, Some(lock))?;
        Ok((Self { waited, ..locked }, is_new))
    }

    /// The directory at `path`, to be looked at under [`hold`]: makes and writes nothing.
    pub(crate) fn held(path: &Path, header: Header) -> Result<Self, DirectoryError> {
        Self::locked(path, header, None)
    }

    fn locked(path: &Path, header: Header, lock: Option<File>) -> Result<Self, DirectoryError> {
        let meta = fs::metadata(path).map_err(DirectoryError::io("look at", path))?;
        Ok(Self {
            path: path.to_owned(),
            header,
            user: meta.uid(),
            standing: Standing::found(path, &meta),
            waited: None,
            lock,
        })
    }

    /// # Errors
    /// If the directory or its lock is not where it was: others can then have what is there now.
    pub(crate) fn check(&self) -> Result<(), DirectoryError> {
        self.standing.check()?;
        let at = self.path.join("lock");
        let Some(lock) = &self.lock else {
            return Ok(());
        };
        let meta = lock
            .metadata()
            .map_err(DirectoryError::io("look at", &at))?;
        Standing::found(&at, &meta).check()
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Has the header name these rates, on the disk when it returns.
    ///
    /// # Errors
    /// If the system refuses, or the directory is not where it was.
    pub(crate) fn write_rates(&self, rates: &Rates) -> Result<(), DirectoryError> {
        self.check()?;
        let mut header = self.header.clone();
        header.rates = rates.clone();
        replace(&self.path.join("header"), &header.encode())
    }

    /// How long another process had it when it was opened, if one had.
    #[cfg(feature = "watch")]
    pub(crate) fn waited(&self) -> Option<Duration> {
        self.waited
    }

    pub(crate) fn marks_path(&self) -> PathBuf {
        self.path.join("marks")
    }

    pub(crate) fn overrides_path(&self) -> PathBuf {
        self.path.join("overrides")
    }

    pub(crate) fn journal_path(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// True if there is something of a journal.
    pub(crate) fn has_journal(&self) -> bool {
        fs::symlink_metadata(self.journal_path()).is_ok()
    }

    pub(crate) fn ceilings_path(&self) -> PathBuf {
        self.path.join("ceilings")
    }
}

/// Removes what a process that ended was about to put in the place of a file, see [`replace`].
fn remove_halves(path: &Path) -> Result<(), DirectoryError> {
    for name in ["header", "marks", "overrides", "ceilings", "control"] {
        let next = path.join(name).with_extension("next");
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DirectoryError::io("remove", &next)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A table without a header is not a new directory: it is one that lost its secret.
fn refuse_orphans(path: &Path) -> Result<(), DirectoryError> {
    for name in ["table", "marks", "overrides", "journal", "ceilings"] {
        let at = path.join(name);
        if fs::symlink_metadata(&at).is_ok() {
            let why = "there is no header beside it, so its counters cannot be read; restore the \
                       header, or remove this file to start afresh";
            return Err(DirectoryError::Damaged {
                path: at,
                why: why.into(),
            });
        }
    }
    Ok(())
}

/// Makes a directory that only its owner can enter, if there is none, and checks the one there is.
pub(crate) fn make_private(path: &Path) -> Result<(), DirectoryError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            if let Some(parent) = path.parent() {
                // A bare name has the working directory for a parent.
                let parent = if parent.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    parent
                };
                sync_dir(parent)?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(DirectoryError::io("create", path)(error)),
    }
    let meta = fs::metadata(path).map_err(DirectoryError::io("look at", path))?;
    if !meta.is_dir() {
        let why = "is a file where a directory is needed".into();
        return Err(DirectoryError::Damaged {
            path: path.to_owned(),
            why,
        });
    }
    private::check_owner(path, &meta)?;
    if meta.mode() & 0o022 != 0 {
        return Err(DirectoryError::NotPrivate {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// This process's user.
pub(crate) fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The file's bytes, if it is a regular file of at most `most` bytes.
pub(crate) fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > most {
        let why = format!("not a regular file of at most {most} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts `bytes` in the place of the file's content: all of it or none, whenever the power goes.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), DirectoryError> {
    let next = path.with_extension("next");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&next)?;
        check_file_len(bytes.len() as u64)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&next, path)
    };
    write().map_err(DirectoryError::io("write", path))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Waits until the names in a directory are on the disk.
pub(crate) fn sync_dir(path: &Path) -> Result<(), DirectoryError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(DirectoryError::io("sync", path))
}

/// A directory for a test, on a memory file system where there is one: what is tested is which
/// steps are made, and a drive only makes them slower.
#[cfg(test)]
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    memory
        .or_else(|_| tempfile::tempdir())
        .expect("a directory for a test")
}
