//! The lock of a directory or a folder, and who holds it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::{DirectoryError, Standing, check_file_len};

/// How long to wait for a lock whose holder is just going away.
pub(super) const LOCK_WAIT: Duration = Duration::from_millis(200);
/// How often a lock is looked at that is waited for: nobody serves meanwhile.
pub(super) const GLANCE: Duration = Duration::from_millis(2);
/// Processes, and descriptors of one, that are looked at for a holder.
// Bound: with more of them, the error may name nobody.
const LOOK_MAX: usize = 100_000;

/// Locks the file, made if there is none, and puts this process's id into it.
pub(super) fn take_lock(path: &Path, patience: Duration) -> Result<File, DirectoryError> {
    let lock = open_lock(path, true).map_err(DirectoryError::io("open", path))?;
    wait_for_lock(path, lock, patience)
}

pub(super) fn open_lock(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
}

/// Locks a directory as it is, to be looked at: makes and writes nothing. None if it has no lock.
pub(crate) fn hold(path: &Path) -> Result<Option<File>, DirectoryError> {
    let at = path.join("lock");
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(&at);
    match opened {
        Ok(mut lock) => wait_until_free(&at, &mut lock, LOCK_WAIT).map(|()| Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DirectoryError::io("open", &at)(error)),
    }
}

pub(super) fn wait_for_lock(
    path: &Path,
    mut lock: File,
    patience: Duration,
) -> Result<File, DirectoryError> {
    wait_until_free(path, &mut lock, patience)?;
    // Who waits may hold the lock of what was moved away or removed meanwhile.
    let meta = lock
        .metadata()
        .map_err(DirectoryError::io("look at", path))?;
    Standing::found(path, &meta).check()?;
    let pid = format!("{}\n", std::process::id());
    // Information only, which a full disk may refuse; the lock is what counts.
    let _ = check_file_len(pid.len() as u64)
        .and_then(|()| lock.set_len(0))
        .and_then(|()| lock.rewind())
        .and_then(|()| lock.write_all(pid.as_bytes()));
    Ok(lock)
}

/// Takes the lock, or says who has it.
fn wait_until_free(path: &Path, lock: &mut File, patience: Duration) -> Result<(), DirectoryError> {
    let deadline = Instant::now() + patience;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(GLANCE);
            }
            Err(fs::TryLockError::WouldBlock) => {
                let pid = holder(lock);
                return Err(DirectoryError::InUse {
                    path: path.to_owned(),
                    pid,
                });
            }
            Err(fs::TryLockError::Error(error)) => {
                return Err(DirectoryError::io("lock", path)(error));
            }
        }
    }
}

/// The process that holds the lock, as far as can be seen from here: the one that the lock's text
/// names, or one that was forked from it and outlived it.
fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    // The text is information only; the lock is what counts.
    let _ = lock.take(32).read_to_string(&mut text);
    let named = text.trim().parse().ok();
    let numbers = |path: PathBuf| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        numbers.take(LOOK_MAX)
    };
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let ours = lock.metadata().map(identity).ok()?;
    let holds = |pid: &u32| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        numbers(process.join("fd")).any(|fd| {
            let file = fs::metadata(process.join(format!("fd/{fd}")));
            let is_it = file.is_ok_and(|meta| identity(meta) == ours);
            // Others may have it open, too, and wait for it.
            let info = || fs::read_to_string(process.join(format!("fdinfo/{fd}")));
            is_it && info().is_ok_and(|info| info.contains("FLOCK"))
        })
    };
    let found = named.into_iter().chain(numbers("/proc".into())).find(holds);
    // What another user's process has open cannot be seen; then its own word must do.
    let is_hidden = |pid: &u32| {
        let listed = fs::read_dir(format!("/proc/{pid}/fd"));
        listed.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    found.or(named.filter(is_hidden))
}
