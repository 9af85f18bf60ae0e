//! A store on sled: the door of sled, and the care it needs.
//!
//! It is a log: commits are appended under their sequence, and nothing is changed in place. Keyed
//! by tag, a million words took gigabytes of memory and a minute to write; as pages of a log they
//! take megabytes and a second. What is overwritten goes when the journal is renewed.
//!
//! What sled 0.34.7 does not do, and this file does for it:
//!
//! - its `flush` is not durable on Linux: our own descriptor on its file `db` is synced after it;
//! - an unfinished snapshot is taken for the newest one: it is removed before sled opens;
//! - a damaged snapshot keeps it from opening, though it is only a cache: it is moved aside;
//! - a new store's files and folders are not synced: they are, before anything is acknowledged;
//! - who waits for a write that fails is left waiting: it is asked again;
//! - what it cannot read when it opens it overwrites, bad sector or not: all is read before;
//! - it lets go of its lock late: opening waits for it;
//! - links, pipes and files of absurd size would hang or exhaust it: it never sees them.
//!
//! That it can panic, or hang, is dealt with in `guarded.rs`. That it can lose everything without
//! an error shows in the sequence, which `current.rs` keeps too.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::record::{Flaw, PAGE_WORDS, Page, Place, VERSION};
use super::{Batch, Scan, Store, StoreError};
use crate::algorithm::Word;
use crate::directory::{DirectoryError, check_file_len, make_private, sync_dir};
use crate::key::Tag;

/// By how much sled may make its files longer at a commit, or when it opens: it writes whole
/// segments of half a MiB, the next one perhaps before it is needed.
const HEADROOM_BYTES: u64 = 2 << 20;
/// Memory for sled's pages.
const CACHE_BYTES: u64 = 8 << 20;
/// The largest `db` file that is opened or written on.
// Bound: sled keeps a table of the file's segments in memory, so its size bounds that too.
const DB_BYTES_MAX: u64 = 64 << 30;
/// The largest of the other files: sled reads them whole.
// Bound: a snapshot takes some tens of bytes a page; a larger one is not believed.
const CACHE_FILE_BYTES_MAX: u64 = 256 << 20;
/// How long to wait for a flush before asking again.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long to wait for a lock whose holder is just going away.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// A store on sled, open.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    instance: [u8; 16],
    /// Our own descriptor on sled's file, opened before sled writes: the system reports a failed
    /// write once to each.
    file: File,
    db: sled::Db,
    sequence: u64,
    size_bytes: u64,
}

impl Ledger {
    /// Opens the store in the folder `path`, making it if there is none.
    ///
    /// # Errors
    /// Damaged, of another version, or the system said no. Nothing was removed but unfinished
    /// snapshots; snapshots that kept it from opening were renamed.
    ///
    /// # Panics
    /// Sled does, on some damaged files.
    pub(super) fn open(path: &Path, instance: [u8; 16]) -> Result<Self, StoreError> {
        make_private(path)?;
        inspect(path)?;
        let at = path.join("db");
        let file = open_db(&at).map_err(StoreError::io("open", &at))?;
        let headroom = check_file_len(file_len(&file, &at)? + HEADROOM_BYTES);
        headroom.map_err(StoreError::io("open", &at))?;
        wait_until_free(&file).map_err(StoreError::io("lock", &at))?;
        io::copy(&mut &file, &mut io::sink()).map_err(StoreError::io("read", &at))?;
        let db = match start(path) {
            Err(sled::Error::Corruption { .. }) if move_snapshots(path)? => start(path),
            opened => opened,
        };
        let db = db.map_err(|error| explain("open", path, error))?;
        settle(path)?;
        let mut ledger = Self {
            // For messages: the name that it has, or will have once it is made.
            path: path.with_extension(""),
            instance,
            size_bytes: file_len(&file, &at)?,
            file,
            db,
            sequence: 0,
        };
        ledger.sequence = ledger.last_sequence()?;
        Ok(ledger)
    }

    /// The sequence of the last page that is whole; zero if there is none, as after a loss.
    fn last_sequence(&self) -> Result<u64, StoreError> {
        for record in self.db.iter().rev() {
            let (key, bytes) = record.map_err(|error| explain("read", &self.path, error))?;
            match Page::decode(self.instance, &key, &bytes) {
                Ok((place, _)) => return Ok(place.sequence),
                Err(Flaw::Damaged) => {}
                Err(Flaw::Foreign) => {
                    let why = "it is the journal of another limiter's directory";
                    return Err(StoreError::damaged(&self.path, why));
                }
                Err(Flaw::Version(found)) => {
                    return Err(StoreError::Files(DirectoryError::Version {
                        path: self.path.clone(),
                        found: found.into(),
                        supported: VERSION.into(),
                    }));
                }
            }
        }
        Ok(0)
    }

    /// A commit's pages, under their keys. A commit of no words has one page.
    fn pages(&self, sequence: u64, words: &[(Tag, Word)]) -> Option<sled::Batch> {
        let mut pages: Vec<_> = words.chunks(PAGE_WORDS).collect();
        if pages.is_empty() {
            pages.push(&[]);
        }
        let parts = u16::try_from(pages.len()).ok()?;
        let mut changes = sled::Batch::default();
        for (part, words) in (0..parts).zip(pages) {
            let key = Place { sequence, part }.encode();
            let page = Page::new(self.instance, self.sequence, parts, words);
            changes.insert(&key, page.encode(&key)?);
        }
        Some(changes)
    }

    /// Flushes sled. A write that fails on one of its own threads is noted, but who waits for it
    /// already is not woken; who asks again wakes all.
    fn flush(&self) -> sled::Result<()> {
        std::thread::scope(|scope| {
            let (done, ended) = mpsc::channel();
            let mut wait = ASK_AGAIN;
            loop {
                let done = done.clone();
                let flush = move || {
                    // Nobody listens once one of them has ended.
                    let _ = done.send(self.db.flush());
                };
                let asked = std::thread::Builder::new().spawn_scoped(scope, flush);
                asked.map_err(sled::Error::Io)?;
                if let Ok(flushed) = ended.recv_timeout(wait) {
                    return flushed.map(drop);
                }
                // Bound: twice as long each time, so that a slow disk is asked a few times.
                wait *= 2;
            }
        })
    }

    fn sync(&self) -> io::Result<u64> {
        let meta = self.file.metadata()?;
        if meta.nlink() == 0 {
            let why = "its file was removed while in use";
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        self.file.sync_all()?;
        Ok(self.file.metadata()?.len())
    }
}

impl Store for Ledger {
    fn commit(&mut self, sequence: u64, batch: Batch<'_>) -> Result<(), StoreError> {
        if self.size_bytes > DB_BYTES_MAX {
            let path = self.path.clone();
            let bytes = self.size_bytes;
            return Err(StoreError::Full { path, bytes });
        }
        let headroom = check_file_len(self.size_bytes + HEADROOM_BYTES);
        headroom.map_err(StoreError::io("write", &self.path))?;
        let pages = self.pages(sequence, batch.words());
        let too_large = || StoreError::damaged(&self.path, "the batch is too large");
        let pages = pages.ok_or_else(too_large)?;
        let written = self.db.apply_batch(pages).and_then(|()| self.flush());
        written.map_err(|error| explain("write", &self.path, error))?;
        self.size_bytes = self.sync().map_err(StoreError::io("sync", &self.path))?;
        self.sequence = sequence;
        Ok(())
    }

    fn scan(&mut self, see: &mut dyn FnMut(Tag, Word)) -> Result<Scan, StoreError> {
        let mut chain = Chain::default();
        for record in self.db.iter() {
            let (key, bytes) = record.map_err(|error| explain("read", &self.path, error))?;
            match Page::decode(self.instance, &key, &bytes) {
                Ok((place, page)) => {
                    chain.follow(place, &page);
                    for (tag, word) in page.words() {
                        chain.scan.words += 1;
                        see(tag, word);
                    }
                }
                Err(_) => chain.scan.damaged += 1,
            }
        }
        Ok(chain.end())
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

/// Follows the pages in their order, and counts the gaps between them.
#[derive(Default)]
struct Chain {
    scan: Scan,
    /// The last page seen, and how many its commit has.
    last: Option<(Place, u16)>,
}

impl Chain {
    fn follow(&mut self, place: Place, page: &Page) {
        let follows = match self.last {
            Some((last, parts)) if last.sequence == place.sequence => {
                last.part.checked_add(1) == Some(place.part) && parts == page.parts
            }
            _ => place.part == 0 && page.before == self.last.map_or(0, |(last, _)| last.sequence),
        };
        let is_new_commit = self
            .last
            .is_none_or(|(last, _)| last.sequence != place.sequence);
        let was_cut_short = is_new_commit && !self.is_complete();
        self.scan.damaged += u64::from(!follows || was_cut_short);
        self.last = Some((place, page.parts));
    }

    /// True if the last commit's last page was seen.
    fn is_complete(&self) -> bool {
        self.last
            .is_none_or(|(last, parts)| last.part.checked_add(1) == Some(parts))
    }

    fn end(mut self) -> Scan {
        self.scan.damaged += u64::from(!self.is_complete());
        self.scan
    }
}

fn start(path: &Path) -> sled::Result<sled::Db> {
    sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None)
        .open()
}

/// The system's errors stay what they are, since they may pass; all others are damage.
fn explain(doing: &'static str, path: &Path, error: sled::Error) -> StoreError {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    match error {
        // What sled finds wrong with its files has no number from the system.
        sled::Error::Io(error)
            if error.raw_os_error().is_none()
                && [InvalidData, InvalidInput, Other, UnexpectedEof].contains(&error.kind()) =>
        {
            StoreError::damaged(path, format!("cannot {doing} it: {error}"))
        }
        sled::Error::Io(error) => StoreError::io(doing, path)(error),
        other => StoreError::damaged(path, format!("cannot {doing} it: {other}")),
    }
}

/// Looks at what sled is about to read, and removes the snapshots that were never finished.
fn inspect(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path).map_err(StoreError::io("read", path))? {
        let entry = entry.map_err(StoreError::io("read", path))?;
        let at = entry.path();
        let meta = entry.metadata().map_err(StoreError::io("look at", &at))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let most = if name == "db" {
            DB_BYTES_MAX
        } else {
            CACHE_FILE_BYTES_MAX
        };
        let is_sound = if name == "blobs" {
            meta.is_dir()
        } else {
            meta.is_file() && meta.len() <= most
        };
        if !is_sound {
            let why = format!("it is not what it should be, or larger than {most} bytes");
            return Err(StoreError::damaged(&at, why));
        }
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&at).map_err(StoreError::io("remove", &at))?;
        }
    }
    Ok(())
}

/// Puts the snapshots out of sled's sight. True if there were any.
fn move_snapshots(path: &Path) -> Result<bool, StoreError> {
    let mut moved = false;
    for entry in fs::read_dir(path).map_err(StoreError::io("read", path))? {
        let entry = entry.map_err(StoreError::io("read", path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") {
            let aside = path.join(format!("unreadable.{name}"));
            fs::rename(entry.path(), aside).map_err(StoreError::io("rename", &entry.path()))?;
            moved = true;
        }
    }
    Ok(moved)
}

fn open_db(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn file_len(file: &File, path: &Path) -> Result<u64, StoreError> {
    let meta = file.metadata().map_err(StoreError::io("look at", path))?;
    Ok(meta.len())
}

/// Waits until nobody holds sled's lock. It is let go again: sled takes it for itself, and the
/// directory's own lock keeps others out.
fn wait_until_free(file: &File) -> io::Result<()> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return file.unlock(),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_WAIT / 100);
            }
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Makes sled's files private and puts them, and the names that lead to them, on the disk.
fn settle(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path).map_err(StoreError::io("read", path))? {
        let at = entry.map_err(StoreError::io("read", path))?.path();
        let settle = || {
            let file = File::open(&at)?;
            let mode = if file.metadata()?.is_dir() {
                0o700
            } else {
                0o600
            };
            file.set_permissions(Permissions::from_mode(mode))?;
            file.sync_all()
        };
        settle().map_err(StoreError::io("sync", &at))?;
    }
    sync_dir(path)?;
    if let Some(parent) = path.parent() {
        sync_dir(parent)?;
    }
    Ok(())
}
