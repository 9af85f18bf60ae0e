//! The crate's error: what went wrong, where, and what can be done.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::directory::DirectoryError;
use crate::policy::PolicyFaults;

/// Why a limiter could not be opened, changed or written, or a policy's file not be read.
///
/// A refusal is not an error: see [`Decision`](crate::Decision). The text of an error tells its
/// cause, too, so it has no [`source`](StdError::source) that would tell it again; the system's own
/// error is [`io_error`](Self::io_error).
///
/// ```
/// use tollgate::{ErrorKind, Limiter, Policy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let data = dir.path().join("data");
/// let policy = Policy::from_toml("limits.all = { rate = \"100/s\" }")?;
/// let limiter = Limiter::open(&data, policy.clone())?;
/// let error = Limiter::open(&data, policy).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InUse);
/// assert_eq!(error.holder(), Some(std::process::id()));
/// # Ok(())
/// # }
/// ```
pub struct Error(Box<Kind>);

/// What kind of thing went wrong, for programs that act on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another limiter has the directory open; [`Error::holder`] may tell which process.
    InUse,
    /// A directory or file can be written to by others, or is not this user's.
    NotPrivate,
    /// A file of the directory is not what it should be.
    Damaged,
    /// The directory was written by another version of the format.
    Version,
    /// The table cannot be put where [`Builder::mapping`](crate::Builder::mapping) says.
    NoPlace,
    /// The system refused; [`Error::io_error`] is what it said.
    Io,
    /// The journal could not be written.
    Journal,
    /// A policy's file has faults: [`Error::faults`].
    Policy,
    /// The policy has no limit of the name asked for.
    UnknownLimit,
    /// What was asked for makes no sense under the policy: a key of the wrong shape, a rate that
    /// cannot be read.
    Invalid,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Directory(DirectoryError),
    /// What the journal said.
    Journal(String),
    /// A policy's file, and what is wrong with it.
    Policy {
        path: PathBuf,
        faults: PolicyFaults,
    },
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
    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Kind::Directory(error) => match error {
                DirectoryError::InUse { .. } => ErrorKind::InUse,
                DirectoryError::NotPrivate { .. } | DirectoryError::NotOurs { .. } => {
                    ErrorKind::NotPrivate
                }
                DirectoryError::Damaged { .. } => ErrorKind::Damaged,
                DirectoryError::Version { .. } => ErrorKind::Version,
                DirectoryError::NoPlace { .. } => ErrorKind::NoPlace,
                DirectoryError::Io { .. } => ErrorKind::Io,
            },
            Kind::Journal(_) => ErrorKind::Journal,
            Kind::Policy { .. } => ErrorKind::Policy,
            Kind::UnknownLimit { .. } => ErrorKind::UnknownLimit,
            Kind::Invalid { .. } => ErrorKind::Invalid,
        }
    }

    /// What the system said, where that is the error.
    pub fn io_error(&self) -> Option<&io::Error> {
        match &*self.0 {
            Kind::Directory(DirectoryError::Io { source, .. }) => Some(source),
            _ => None,
        }
    }

    /// The faults of a policy's file, where they are the error.
    pub fn faults(&self) -> Option<&PolicyFaults> {
        match &*self.0 {
            Kind::Policy { faults, .. } => Some(faults),
            _ => None,
        }
    }

    /// True if another limiter has the directory open.
    pub fn is_in_use(&self) -> bool {
        self.kind() == ErrorKind::InUse
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
        self.kind() == ErrorKind::Version
    }

    /// True if a file of the directory is not what it should be.
    pub fn is_damaged(&self) -> bool {
        self.kind() == ErrorKind::Damaged
    }

    /// True if the table cannot be put where [`Builder::mapping`](crate::Builder::mapping) says.
    pub fn is_no_place(&self) -> bool {
        self.kind() == ErrorKind::NoPlace
    }

    /// True if a place can be written to by others, or is not this user's.
    pub(crate) fn is_not_private(&self) -> bool {
        self.kind() == ErrorKind::NotPrivate
    }

    /// True if the journal could not be written.
    pub fn is_journal(&self) -> bool {
        self.kind() == ErrorKind::Journal
    }

    /// True if a file that belongs there is missing.
    pub(crate) fn is_missing(&self) -> bool {
        let error = self.io_error();
        error.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// True if the policy has no limit of the name asked for.
    pub fn is_unknown_limit(&self) -> bool {
        self.kind() == ErrorKind::UnknownLimit
    }

    /// True if what was asked for makes no sense under the policy: a key of the wrong shape, a rate
    /// that cannot be read.
    pub fn is_invalid(&self) -> bool {
        self.kind() == ErrorKind::Invalid
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
            )
            | Kind::Policy { path, .. } => Some(path),
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
            Kind::Policy { path, faults } => {
                write!(f, "{} is no valid policy\n{faults}", path.display())
            }
            Kind::UnknownLimit { name } => write!(f, "the policy has no limit named {name:?}"),
            Kind::Invalid { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

/// As `Display` shows it: what a `main` ends with is shown so.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Error {}
