//! What the ceilings are written on: three verbs, a file of the directory, and a twin in memory.

use std::io;
use std::path::PathBuf;

/// Content that grows at its end, or is put in the place of the old as a whole.
pub(crate) trait Medium: Send {
    /// Reads up to `bytes.len()` bytes from `offset`; how many there were. `None`: nothing at all
    /// was ever written.
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<Option<usize>>;

    /// Puts `bytes` at `offset`, where nothing stands yet. On the disk when it returns.
    ///
    /// After an error nobody knows what the disk holds; only [`replace`](Self::replace) helps.
    fn append(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Puts `bytes` in the place of everything, all of it or none. On the disk when it returns.
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Keeps what there is under another name, as far as that is possible; says where.
    fn keep_aside(&mut self) -> io::Result<PathBuf>;
}

#[cfg(not(tollgate_loom))]
pub(crate) use paper::Paper;

#[cfg(not(tollgate_loom))]
mod paper {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    use std::path::{Path, PathBuf};

    use rustix::fs::OFlags;

    use super::Medium;
    use crate::directory::{DirectoryError, Standing, check_file_len, replace};

    /// The error as one of the system, with the file's name in it.
    fn told(error: DirectoryError) -> io::Error {
        io::Error::other(error.to_string())
    }

    /// A file.
    #[derive(Debug)]
    pub(crate) struct Paper {
        path: PathBuf,
        /// The directory that it is in, as it was when the file was first opened.
        home: Option<Standing>,
        is_writable: bool,
        file: Option<File>,
    }

    impl Paper {
        /// The file at `path`, which need not be there yet.
        pub(crate) fn new(path: &Path) -> Self {
            Self {
                path: path.to_owned(),
                home: None,
                is_writable: true,
                file: None,
            }
        }

        /// A file that is only looked at.
        pub(crate) fn for_reading(path: &Path) -> Self {
            Self {
                is_writable: false,
                ..Self::new(path)
            }
        }

        /// The directory that it is in.
        fn home(&mut self) -> io::Result<&Standing> {
            let home = match self.home.take() {
                Some(home) => home,
                None => {
                    let parent = self.path.parent().unwrap_or(Path::new("."));
                    Standing::of(parent).map_err(told)?
                }
            };
            Ok(self.home.insert(home))
        }

        /// The file, opened if it is not; none if there is none.
        fn open(&mut self) -> io::Result<Option<&File>> {
            self.home()?;
            if self.file.is_none() {
                let opened = OpenOptions::new()
                    .read(true)
                    .write(self.is_writable)
                    .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
                    .open(&self.path);
                let file = match opened {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    opened => opened?,
                };
                if !file.metadata()?.is_file() {
                    let why = "not a regular file";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                self.file = Some(file);
            }
            Ok(self.file.as_ref())
        }
    }

    impl Medium for Paper {
        fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<Option<usize>> {
            let Some(file) = self.open()? else {
                return Ok(None);
            };
            let mut read = 0;
            while read < bytes.len() {
                match file.read_at(&mut bytes[read..], offset + read as u64) {
                    Ok(0) => break,
                    Ok(some) => read += some,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(Some(read))
        }

        fn append(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let path = self.path.clone();
            let gone = || io::Error::new(io::ErrorKind::NotFound, "the file is gone");
            let file = self.open()?.ok_or_else(gone)?;
            Standing::found(&path, &file.metadata()?)
                .check()
                .map_err(told)?;
            let written = check_file_len(offset + bytes.len() as u64)
                .and_then(|()| file.write_all_at(bytes, offset))
                .and_then(|()| file.sync_data());
            written.map_err(|error| told(DirectoryError::io("write", &path)(error)))
        }

        fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.file = None;
            // What stands there by now may be another limiter's.
            self.home()?.check().map_err(told)?;
            replace(&self.path, bytes).map_err(told)
        }

        fn keep_aside(&mut self) -> io::Result<PathBuf> {
            let aside = self.path.with_extension("unreadable");
            match std::fs::remove_file(&aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::fs::hard_link(&self.path, &aside)?;
            Ok(aside)
        }
    }
}

#[cfg(test)]
pub(crate) use twin::{Content, Twin, read_from};

#[cfg(test)]
mod twin {
    use std::io;
    use std::path::PathBuf;

    use super::Medium;
    use crate::sync::{Arc, Mutex, lock};

    /// As [`Medium::read_at`], of content in memory.
    pub(crate) fn read_from(
        content: Option<&[u8]>,
        offset: u64,
        bytes: &mut [u8],
    ) -> Option<usize> {
        let rest = content?.get(usize::try_from(offset).unwrap()..);
        let rest = rest.unwrap_or_default();
        let some = rest.len().min(bytes.len());
        bytes[..some].copy_from_slice(&rest[..some]);
        Some(some)
    }

    /// What a test sees of a [`Twin`], and does to it.
    #[derive(Clone, Default, Debug)]
    pub(crate) struct Content {
        /// What would be found after a power cut; `None`: no file.
        pub(crate) durable: Option<Vec<u8>>,
        /// Writes that were asked for, durable or not.
        pub(crate) writes: u64,
        /// How many more writes succeed; all, if unsaid.
        pub(crate) good_for: Option<u64>,
        /// How much of the write that fails first is on the disk all the same, in bytes.
        pub(crate) torn_at: usize,
    }

    /// A medium in memory that keeps what was called durable, and fails when told to.
    #[derive(Clone, Debug)]
    pub(crate) struct Twin(pub(crate) Arc<Mutex<Content>>);

    impl Twin {
        pub(crate) fn new(content: Content) -> Self {
            Self(Arc::new(Mutex::new(content)))
        }

        pub(crate) fn content(&self) -> Content {
            lock(&self.0).clone()
        }

        fn write(&self, whole: bool, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let mut content = lock(&self.0);
            content.writes += 1;
            let is_good = content.good_for != Some(0);
            if let Some(left) = &mut content.good_for {
                *left = left.saturating_sub(1);
            }
            if whole {
                // A rename: all or nothing.
                if is_good {
                    content.durable = Some(bytes.to_vec());
                }
            } else {
                let kept = if is_good {
                    bytes.len()
                } else {
                    content.torn_at.min(bytes.len())
                };
                let durable = content.durable.get_or_insert_default();
                let from = usize::try_from(offset).unwrap();
                durable.resize(durable.len().max(from + kept), 0);
                durable[from..from + kept].copy_from_slice(&bytes[..kept]);
            }
            if is_good {
                Ok(())
            } else {
                Err(io::Error::other("the disk fails, as it was told to"))
            }
        }
    }

    impl Medium for Twin {
        fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<Option<usize>> {
            let content = lock(&self.0);
            Ok(read_from(content.durable.as_deref(), offset, bytes))
        }

        fn append(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.write(false, offset, bytes)
        }

        fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.write(true, 0, bytes)
        }

        fn keep_aside(&mut self) -> io::Result<PathBuf> {
            Ok(PathBuf::from("aside"))
        }
    }
}
