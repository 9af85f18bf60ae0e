//! Policies out of files.

use std::path::Path;

use crate::directory::{DirectoryError, read_bounded};
use crate::error::{Error, Kind};
use crate::policy::Policy;

/// The largest file that is read.
// Bound: a longer one is no policy; a policy tells its own bound, a fault with a number, below it.
const FILE_BYTES_MAX: u64 = 4 << 20;

impl Policy {
    /// Reads a policy from a file: JSON if its name ends in `.json`, else TOML.
    ///
    /// ```
    /// # use tollgate::{ErrorKind, Policy};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("policy.toml");
    /// std::fs::write(&path, "[limits.login]\nrate = \"5/min\"\nkey = \"ip\"")?;
    /// assert_eq!(Policy::from_path(&path)?.limits().count(), 1);
    ///
    /// std::fs::write(&path, "[limits.login]\nrate = 5")?;
    /// let error = Policy::from_path(&path).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Policy);
    /// let fault = error.faults().unwrap().iter().next().unwrap();
    /// assert_eq!((fault.line(), fault.path()), (Some(2), "limits.login.rate"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read or is no regular file of at most 4 MiB, or with every fault of
    /// its text, each with its line and field: [`Error::faults`].
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = read_bounded(path, FILE_BYTES_MAX).map_err(DirectoryError::io("read", path))?;
        let is_json = path
            .extension()
            .is_some_and(|extension| extension == "json");
        let policy = Self::from_bytes(&bytes, is_json).map_err(|faults| {
            let path = path.to_owned();
            Kind::Policy { path, faults }
        })?;
        Ok(policy.read_from(path))
    }
}
