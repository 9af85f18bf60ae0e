//! The crate's error: what went wrong, where, and what can be done.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;

use crate::directory::DirectoryError;

/// Why a limiter could not be opened, changed or written.
///
/// A refusal is not an error: see [`Decision`](crate::Decision).
pub struct Error(Box<Kind>);

#[derive(Debug)]
pub(crate) enum Kind {
    Directory(DirectoryError),
    /// What the journal said.
    Journal(String),
    /// A limit's name that the policy in force does not have.
    UnknownLimit {
        name: String,
    },
    /// An override, a key or a rate that the policy cannot take.
    Invalid {
        what: String,
        why: String,
    },
}

impl Error {
    /// True if another limiter has the directory open.
    pub fn is_in_use(&self) -> bool {
        matches!(&*self.0, Kind::Directory(DirectoryError::InUse { .. }))
    }

    /// The process that has the directory open, where that is the error and it is known.
    pub fn holder(&self) -> Option<u32> {
        match &*self.0 {
            Kind::Directory(DirectoryError::InUse { pid, .. }) => *pid,
            _ => None,
        }
    }

    /// True if the directory was written by another version of the format.
    pub fn is_version(&self) -> bool {
        matches!(&*self.0, Kind::Directory(DirectoryError::Version { .. }))
    }

    /// True if a file of the directory is not what it should be.
    pub fn is_damaged(&self) -> bool {
        matches!(&*self.0, Kind::Directory(DirectoryError::Damaged { .. }))
    }

    /// True if the table cannot be put where [`Builder::mapping`](crate::Builder::mapping) says.
    pub fn is_no_place(&self) -> bool {
        matches!(&*self.0, Kind::Directory(DirectoryError::NoPlace { .. }))
    }

    /// True if a place can be written to by others, or is not this user's.
    pub(crate) fn is_not_private(&self) -> bool {
        matches!(
            &*self.0,
            Kind::Directory(DirectoryError::NotPrivate { .. } | DirectoryError::NotOurs { .. })
        )
    }

    /// True if the journal could not be written.
    pub fn is_journal(&self) -> bool {
        matches!(&*self.0, Kind::Journal(_))
    }

    /// True if a file that belongs there is missing.
    pub(crate) fn is_missing(&self) -> bool {
        match &*self.0 {
            Kind::Directory(DirectoryError::Io { source, .. }) => {
                source.kind() == std::io::ErrorKind::NotFound
            }
            _ => false,
        }
    }

    /// True if the policy has no limit of the name asked for.
    pub fn is_unknown_limit(&self) -> bool {
        matches!(&*self.0, Kind::UnknownLimit { .. })
    }

    /// True if what was asked for makes no sense under the policy: a key of the wrong shape, a rate
    /// that cannot be read.
    pub fn is_invalid(&self) -> bool {
        matches!(&*self.0, Kind::Invalid { .. })
    }

    /// The file or directory concerned, where there is one.
    pub fn path(&self) -> Option<&Path> {
        match &*self.0 {
            Kind::Directory(
                DirectoryError::InUse { path, .. }
                | DirectoryError::NotPrivate { path }
                | DirectoryError::NotOurs { path, .. }
                | DirectoryError::Damaged { path, .. }
                | DirectoryError::Version { path, .. }
                | DirectoryError::NoPlace { path, .. }
                | DirectoryError::Io { path, .. },
            ) => Some(path),
            _ => None,
        }
    }

    pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Kind::Invalid {
            what: what.into(),
            why: why.into(),
        }
        .into()
    }

    pub(crate) fn damaged(path: &Path, why: &str) -> Self {
        let (path, why) = (path.into(), why.into());
        DirectoryError::Damaged { path, why }.into()
    }

    pub(crate) fn io(doing: &'static str, path: &Path, error: std::io::Error) -> Self {
        DirectoryError::io(doing, path)(error).into()
    }

    pub(crate) fn journal(why: String) -> Self {
        Kind::Journal(why).into()
    }

    pub(crate) fn unknown_limit(name: &str) -> Self {
        Kind::UnknownLimit { name: name.into() }.into()
    }
}

impl From<Kind> for Error {
    #[cold]
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl From<DirectoryError> for Error {
    #[cold]
    fn from(error: DirectoryError) -> Self {
        Kind::Directory(error).into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Directory(error) => error.fmt(f),
            Kind::Journal(why) => write!(f, "the journal could not be written: {why}"),
            Kind::UnknownLimit { name } => write!(f, "the policy has no limit named {name:?}"),
            Kind::Invalid { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &*self.0 {
            Kind::Directory(DirectoryError::Io { source, .. }) => Some(source),
            _ => None,
        }
    }
}
