//! The limiter's directory in use: whose table it is, and whether it can be believed.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use super::grower::{Files, Grower};
use super::mapping::{Placement, Wanted};
use super::shards::Shards;
use crate::directory::{
    Directory, DirectoryError, Folder, Header, Mark, Marks, Place, Site, State, check_file_len,
    draw_stamp, sync_dir,
};
use crate::error::Error;
use crate::journal::{Generations, StoreError};
use crate::sync::{Arc, Mutex, lock};
use crate::table::{InFlight, Table};
use crate::time::Timestamp;

/// Bytes of a table that goes from memory into the data directory when it is closed.
// Bound: a close is not to wait for the disk longer than it must. A larger one stays in memory.
const CARRIED_MAX: u64 = 4 << 20;

/// How a directory was found when it was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Opened {
    /// There was none: every counter starts at nothing.
    New,
    /// Closed clean, every counter as it was.
    Clean,
    /// Not closed, but under the same kernel on the same files: every counter as it was.
    Kept,
    /// The table could not be believed: it was not closed and the kernel or the files are not those
    /// it was written under, or it is damaged, of another time or gone. It was set aside, and the
    /// counters were rebuilt from the journal; [`Recovery`](crate::Recovery) says how many.
    SetAside {
        /// Where the old table is; none if it lay outside the data directory, in memory most
        /// likely, and was removed.
        to: Option<PathBuf>,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => write!(f, "new directory"),
            Self::Clean => write!(f, "closed clean, all counters kept"),
            Self::Kept => write!(f, "not closed, all counters kept"),
            Self::SetAside { to: Some(to), why } => {
                write!(
                    f,
                    "table not believed ({why}); set aside in {}, counters rebuilt",
                    to.display()
                )
            }
            Self::SetAside { to: None, why } => {
                write!(f, "table not believed ({why}); removed, counters rebuilt")
            }
        }
    }
}

/// A locked directory and its tables.
#[derive(Debug)]
pub(super) struct Store {
    marks: Mutex<Marks>,
    place: Place,
    pub(super) table: Arc<Table>,
    /// Counters that newcomers share when the table is full.
    pub(super) shared: Arc<Table>,
    /// Words on their way to the journal.
    pub(super) in_flight: Arc<InFlight>,
    pub(super) opened: Opened,
    /// Where the tables lie.
    pub(super) placement: Placement,
    /// The latest time that was seen in it before.
    pub(super) latest: Option<Timestamp>,
    /// True if something was charged before that only its table knew of.
    pub(super) had_unsecured: bool,
    /// Where the table was until now, if it was moved.
    left: Option<Site>,
    /// True if nobody asked for the table to lie where it lies.
    is_guest: bool,
    /// What a sync of the table said that failed.
    failed_sync: OnceLock<String>,
    /// Dropped after what is mapped: with it goes the lock of the folder.
    folder: Arc<Folder>,
    pub(super) directory: Directory,
}

impl Store {
    /// Opens the directory, or makes one with room for `first` counters. Another process that has
    /// it open is waited for.
    pub(super) fn open(
        path: &Path,
        patience: Duration,
        first: u64,
        wanted: &Wanted,
    ) -> Result<Self, Error> {
        let (directory, _) = Directory::open(path, patience, || Header::draw(first))?;
        // Before anything is changed on the strength of the other files.
        let looked = Generations::look(&directory.journal_path(), directory.header().instance);
        looked.map_err(journal_error)?;
        Self::in_directory(directory, wanted)
    }

    /// Makes a directory whose tags mean the same as those of `original`, all of it in one place.
    /// Its shards begin as large as the original's are: in the order in which a table is copied, a
    /// smaller one would fill up at its beginning while most of it is empty.
    pub(super) fn create_like(path: &Path, original: &Self) -> Result<Self, Error> {
        let lines = original.table.lines().into_iter().max().unwrap_or(1);
        let header = original.directory.header();
        let (directory, is_new) = Directory::open(path, Duration::ZERO, || header.for_copy(lines))?;
        if !is_new {
            let why = "is a limiter's directory already".into();
            return Err(DirectoryError::Damaged {
                path: path.into(),
                why,
            }
            .into());
        }
        let store = Self::in_directory(directory, &Wanted::for_copy())?;
        // Half a copy is not to be believed; closing it says that it is whole.
        store.mark_open(Place::NOWHERE, Timestamp::EPOCH)?;
        Ok(store)
    }

    fn in_directory(directory: Directory, wanted: &Wanted) -> Result<Self, Error> {
        let mut marks = Marks::open(directory.marks_path())?;
        let mark = marks.last();
        let (shards, opened, placement) = find_table(&directory, &mut marks, wanted)?;
        let left = mark.as_ref().map(|mark| mark.site.clone());
        Ok(Self {
            marks: Mutex::new(marks),
            place: shards.place,
            table: Arc::new(shards.table),
            shared: Arc::new(shards.shared),
            in_flight: Arc::new(shards.in_flight),
            opened,
            placement,
            latest: mark.as_ref().map(|mark| mark.latest),
            had_unsecured: mark.is_some_and(|mark| mark.has_unsecured),
            left: left.filter(|site| site != shards.folder.site()),
            is_guest: wanted.is_guest(),
            failed_sync: OnceLock::new(),
            folder: Arc::new(shards.folder),
            directory,
        })
    }

    /// As far as a process comes that is killed before it writes the next mark.
    #[cfg(test)]
    pub(super) fn stamp_alone(&self) {
        self.stamp(&mut lock(&self.marks)).unwrap();
    }

    #[cfg(test)]
    pub(super) fn shard_path(&self, number: u32) -> PathBuf {
        self.folder.shard_path(number)
    }

    /// Marks the table as one to be believed while this kernel runs. To be called once it holds all
    /// that it is to hold, and before the first admission: from then on it is as good as the page
    /// cache, and no better.
    pub(super) fn begin(&mut self, now: Timestamp) -> Result<(), Error> {
        self.mark_open(self.place, now)?;
        // From now on the mark names the new place: the old one is nobody's.
        if let Some(site) = self.left.take()
            && let Err(error) = self.directory.remove_folder(&site)
        {
            self.placement.notes.push(error.to_string());
        }
        Ok(())
    }

    fn mark_open(&self, place: Place, now: Timestamp) -> Result<(), Error> {
        let mut marks = lock(&self.marks);
        let stamp = self.stamp(&mut marks)?;
        let latest = self.latest.unwrap_or_default().max(now);
        let mark = Mark {
            // It is in the table still, and no disk knows of it yet.
            has_unsecured: self.had_unsecured && self.opened == Opened::Kept,
            ..self.mark(State::Open, place, latest, stamp)
        };
        Ok(marks.write(&mark, true)?)
    }

    /// Remembers whether something was charged that no disk knows of. Outlives the process, not the
    /// kernel: the disk has just failed.
    pub(super) fn mark_unsecured(&self, has_unsecured: bool) -> Result<(), Error> {
        let mut marks = lock(&self.marks);
        match marks.last() {
            Some(mark) if mark.has_unsecured != has_unsecured => {
                self.directory.check()?;
                let mark = Mark {
                    has_unsecured,
                    ..mark
                };
                Ok(marks.write(&mark, false)?)
            }
            _ => Ok(()),
        }
    }

    /// Remembers the latest time seen. Outlives the process, not the kernel.
    pub(super) fn mark_time(&self, latest: Timestamp) -> Result<(), Error> {
        self.directory.check()?;
        let mut marks = lock(&self.marks);
        match marks.last() {
            Some(mark) => Ok(marks.write(&Mark { latest, ..mark }, false)?),
            None => Ok(()),
        }
    }

    /// Puts everything on the disk and marks the directory clean. Nothing may be taken after it.
    pub(super) fn close(&self, latest: Timestamp) -> Result<(), Error> {
        let mut marks = lock(&self.marks);
        if let Some(why) = self.failed_sync.get() {
            // What it did not write, no later one does.
            let why = format!("could not be synced before, so it is not marked clean: {why}");
            return Err(Error::damaged(self.folder.path(), &why));
        }
        let stamp = self.stamp(&mut marks)?;
        let synced = self.table.sync().and_then(|()| self.shared.sync());
        let synced = synced.and_then(|()| self.in_flight.region().sync());
        synced.map_err(|error| {
            let _ = self.failed_sync.set(error.to_string());
            Error::io("sync", self.folder.path(), error)
        })?;
        // Files were renamed when they grew.
        sync_dir(self.folder.path())?;
        let clean = self.mark(State::Clean, self.place, latest, stamp);
        marks.write(&clean, true)?;
        if self.goes_home() {
            // It is closed, wherever the table lies.
            let _ = self.carry_home(&mut marks, clean);
        }
        Ok(())
    }

    /// Stamps every shard anew: from now on only a mark with this stamp speaks of them. The mark
    /// that counts says so first, so that a kill in between leaves a table that is believed.
    fn stamp(&self, marks: &mut Marks) -> Result<u64, Error> {
        let marks_path = self.directory.marks_path();
        let stamp = draw_stamp().map_err(DirectoryError::io("draw a stamp for", &marks_path))?;
        if let Some(mark) = marks.last() {
            let stamps = [mark.stamps[0], stamp];
            marks.write(&Mark { stamps, ..mark }, false)?;
        }
        self.table.stamp(stamp);
        self.shared.stamp(stamp);
        self.in_flight.region().stamp(stamp);
        Ok(stamp)
    }

    /// What lets the table grow where it lies.
    pub(super) fn grower(&self, wanted: &Wanted) -> Grower {
        let header = self.directory.header();
        let files = Files::new(header, self.folder.clone(), wanted.is_guest());
        Grower::new(self.table.clone(), Box::new(files))
    }

    /// Copies a small table from memory into the data directory, and marks it as lying there: a
    /// data directory that is removed after it was closed then leaves nothing in memory. `clean`
    /// is what was just marked.
    ///
    /// # Errors
    /// If the system says no. Whichever mark is then on the disk, the table that it names is there.
    fn carry_home(&self, marks: &mut Marks, clean: Mark) -> Result<(), Error> {
        let copied = self.copy_home();
        if copied.is_err() {
            // Half a copy takes room on the disk.
            let _ = self.directory.remove_folder(&Site::Data);
        }
        let (site, place) = (Site::Data, copied?);
        let mark = Mark {
            site,
            place,
            ..clean
        };
        marks.write(&mark, true)?;
        Ok(self.directory.abandon(&self.folder)?)
    }

    fn copy_home(&self) -> Result<Place, Error> {
        let home = self.directory.make_folder(&Site::Data)?;
        // With reads and writes: a mapping could end the process if the disk fails.
        for from in self.folder.files()? {
            let to = home.path().join(from.file_name().unwrap_or_default());
            let copy = || {
                check_file_len(fs::metadata(&from)?.len())?;
                fs::copy(&from, &to)?;
                File::open(&to)?.sync_all()
            };
            copy().map_err(|error| Error::io("write", &to, error))?;
        }
        sync_dir(home.path())?;
        Ok(Place::here(home.path())?)
    }

    /// True if the table goes home when it is closed: nobody asked for it to lie where it lies.
    fn goes_home(&self) -> bool {
        let files = self.folder.files().unwrap_or_default().into_iter();
        let bytes = files.filter_map(|path| Some(fs::metadata(path).ok()?.len()));
        self.is_guest && *self.folder.site() != Site::Data && bytes.sum::<u64>() <= CARRIED_MAX
    }

    fn mark(&self, state: State, place: Place, latest: Timestamp, stamp: u64) -> Mark {
        Mark {
            state,
            has_unsecured: false,
            instance: self.directory.header().instance,
            place,
            latest,
            stamps: [stamp; 2],
            site: self.folder.site().clone(),
        }
    }
}

/// Opens the table if it can be believed, else makes a fresh one; where it is wanted, in any case.
fn find_table(
    directory: &Directory,
    marks: &mut Marks,
    wanted: &Wanted,
) -> Result<(Shards, Opened, Placement), Error> {
    let Some(mark) = marks.last() else {
        let is_blank = marks.is_blank();
        let marks = directory.marks_path();
        let why = if !is_blank {
            format!("{} cannot be read", marks.display())
        } else if directory.has_journal() {
            // The first mark is on the disk before there is a journal.
            format!("{} is gone", marks.display())
        } else {
            // Nobody was ever admitted. What there is of a table is half a creation.
            let (shards, placement) = wanted.settle(directory, None)?;
            return Ok((shards, Opened::New, placement));
        };
        let to = Some(directory.set_table_aside()?);
        let (shards, placement) = wanted.settle(directory, None)?;
        return Ok((shards, Opened::SetAside { to, why }, placement));
    };
    if mark.instance != directory.header().instance {
        let why = "belongs to another directory than the header beside it".into();
        return Err(DirectoryError::Damaged {
            path: directory.marks_path(),
            why,
        }
        .into());
    }
    let why = match Shards::open(directory, &mark, wanted.most_lines) {
        Ok(shards) => match shards.differ_from(&mark) {
            None => {
                shards.take_over()?;
                let (shards, placement) = wanted.settle(directory, Some(shards))?;
                let opened = match mark.state {
                    State::Clean => Opened::Clean,
                    State::Open => Opened::Kept,
                };
                return Ok((shards, opened, placement));
            }
            Some(why) => why.to_owned(),
        },
        // Its journal tells what it held; a table of another version means something else.
        Err(error) if error.is_damaged() || error.is_missing() || error.is_not_private() => {
            error.to_string()
        }
        Err(error) => return Err(error),
    };
    // Until the next table is rebuilt, none is to be believed, however the rebuilding ends.
    marks.give_up_table()?;
    let to = match mark.site {
        Site::Data => Some(directory.set_table_aside()?),
        // Memory is dear, and what is believed of a lost table is in the journal.
        Site::Root(_) => None,
    };
    let (shards, placement) = wanted.settle(directory, None)?;
    Ok((shards, Opened::SetAside { to, why }, placement))
}

/// What is wrong with a journal that is to be opened.
pub(super) fn journal_error(error: StoreError) -> Error {
    match error {
        StoreError::Files(error) => error.into(),
        error => Error::journal(error.to_string()),
    }
}
