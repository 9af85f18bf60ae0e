//! Memory file systems: which there are, and whether one has room.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::DirectoryError;

/// What the kernel calls its memory file system.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Where a memory file system is usually found, best first: the one every process may use, then
/// this user's own.
pub(crate) fn memory_roots() -> Vec<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|path| path.is_absolute());
    [PathBuf::from("/dev/shm")].into_iter().chain(own).collect()
}

/// True if the path lies on a memory file system.
pub(crate) fn is_memory(path: &Path) -> Result<bool, DirectoryError> {
    let found = rustix::fs::statfs(path);
    let found = found.map_err(|error| DirectoryError::io("look at", path)(error.into()))?;
    Ok(u64::try_from(found.f_type).is_ok_and(|kind| kind == TMPFS_MAGIC))
}

/// Says no if `bytes` are more than half of what is free on the file system of `root`, or more than
/// half of the machine's free memory: others live there too.
pub(crate) fn check_room(root: &Path, bytes: u64) -> Result<(), DirectoryError> {
    let at = |error: rustix::io::Errno| DirectoryError::io("look at", root)(error.into());
    let found = rustix::fs::statvfs(root).map_err(at)?;
    let on_it = found.f_bavail.saturating_mul(found.f_frsize);
    let refuse = |free: u64, of: &str| DirectoryError::NoPlace {
        path: root.into(),
        why: format!("its {bytes} bytes are more than half of the {free} free {of}"),
    };
    if bytes > on_it / 2 {
        return Err(refuse(on_it, "there"));
    }
    let memory = available().map_err(DirectoryError::io("read", Path::new(MEMINFO)))?;
    match memory {
        Some(memory) if bytes > memory / 2 => Err(refuse(memory, "of the machine's memory")),
        _ => Ok(()),
    }
}

const MEMINFO: &str = "/proc/meminfo";

/// The machine's free memory in bytes, as far as it is told.
fn available() -> io::Result<Option<u64>> {
    let text = fs::read_to_string(MEMINFO)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.and_then(|kib| kib.checked_mul(1024)))
}
