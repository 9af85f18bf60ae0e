//! What can be wrong with a directory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a directory cannot be opened or written.
#[derive(Debug)]
pub(crate) enum DirectoryError {
    /// Another limiter, here or in another process, has it open.
    InUse { path: PathBuf, pid: Option<u32> },
    /// Others may write to it.
    NotPrivate { path: PathBuf },
    /// Somebody else owns it.
    NotOurs {
        path: PathBuf,
        owner: u32,
        user: u32,
    },
    /// Not what stands there in a directory of ours.
    Damaged { path: PathBuf, why: String },
    /// Written by another format.
    Version {
        path: PathBuf,
        found: u32,
        supported: u32,
    },
    /// The table cannot be put where it was asked for.
    NoPlace { path: PathBuf, why: String },
    /// The system said no.
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// What can be done where a directory is held.
const OTHER_WAYS: &str = "stop that one, wait for it (Builder::when_held), or ask it over its \
                          control socket (tollgate usage, top, override)";

impl DirectoryError {
    /// Says it of another file.
    pub(crate) fn set_path(&mut self, other: &Path) {
        match self {
            Self::InUse { path, .. }
            | Self::NotPrivate { path }
            | Self::NotOurs { path, .. }
            | Self::Damaged { path, .. }
            | Self::Version { path, .. }
            | Self::NoPlace { path, .. }
            | Self::Io { path, .. } => other.clone_into(path),
        }
    }

    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse {
                path,
                pid: Some(pid),
            } => {
                write!(
                    f,
                    "{} is held by process {pid}; {OTHER_WAYS}",
                    path.display()
                )
            }
            Self::InUse { path, pid: None } => {
                write!(
                    f,
                    "{} is held by another process; {OTHER_WAYS}",
                    path.display()
                )
            }
            Self::NotPrivate { path } => write!(
                f,
                "{} can be written by others than its owner, this user; make it private (0700)",
                path.display()
            ),
            Self::NotOurs { path, owner, user } => write!(
                f,
                "{} is not private to this process's user, {user}: it belongs to user {owner}; run \
                 this as that user, or give it to this one",
                path.display()
            ),
            Self::Damaged { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Version {
                path,
                found,
                supported,
            } if found > supported => write!(
                f,
                "{} was written by a newer format, {found}; this version reads {supported}",
                path.display()
            ),
            Self::Version {
                path,
                found,
                supported,
            } => write!(
                f,
                "{} was written by an older format, {found}; this version reads {supported} and \
                 does not convert it",
                path.display()
            ),
            Self::NoPlace { path, why } => {
                write!(f, "no place for a table in {}: {why}", path.display())
            }
            Self::Io {
                doing,
                path,
                source,
            } => {
                write!(f, "cannot {doing} {}: {source}", path.display())
            }
        }
    }
}
