//! The limiter's directory in use: whose table it is, and whether it can be believed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::grower::{Files, Grower};
use super::mapping::{Placement, Wanted};
use super::shards::Shards;
use crate::directory::{
    Directory, DirectoryError, Folder, Header, Mark, Marks, Place, Site, State, draw_stamp,
    sync_dir,
};
use crate::error::Error;
use crate::journal::{Generations, StoreError};
use crate::sync::{Arc, Mutex, lock};
use crate::table::{InFlight, Table};
use crate::time::Timestamp;

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
    /// Where the table was until now, if it was moved.
    left: Option<Site>,
    /// What a sync of the table said that failed.
    failed_sync: OnceLock<String>,
    /// Dropped after what is mapped: with it goes the lock of the folder.
    folder: Arc<Folder>,
    pub(super) directory: Directory,
}

impl Store {
    /// Opens the directory, or makes one with room for `first` counters.
    pub(super) fn open(path: &Path, first: u64, wanted: &Wanted) -> Result<Self, Error> {
        let (directory, _) = Directory::open(path, || Header::draw(first))?;
        // Before anything is changed on the strength of the other files.
        let looked = Generations::look(&directory.journal_path(), directory.header().instance);
        looked.map_err(journal_error)?;
        Self::in_directory(directory, wanted)
    }

    /// Makes a directory whose tags mean the same as those of `original`, all of it in one place.
    pub(super) fn create_like(path: &Path, original: &Header) -> Result<Self, Error> {
        let (directory, is_new) = Directory::open(path, || original.for_copy())?;
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
        store.mark_open(Place::NOWHERE)?;
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
            latest: mark.map(|mark| mark.latest),
            left: left.filter(|site| site != shards.folder.site()),
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
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        self.mark_open(self.place)?;
        // From now on the mark names the new place: the old one is nobody's.
        if let Some(site) = self.left.take()
            && let Err(error) = self.directory.remove_folder(&site)
        {
            self.placement.notes.push(error.to_string());
        }
        Ok(())
    }

    fn mark_open(&self, place: Place) -> Result<(), Error> {
        let mut marks = lock(&self.marks);
        let stamp = self.stamp(&mut marks)?;
        let latest = self.latest.unwrap_or_default();
        Ok(marks.write(&self.mark(State::Open, place, latest, stamp), true)?)
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
        Ok(marks.write(&self.mark(State::Clean, self.place, latest, stamp), true)?)
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

    fn mark(&self, state: State, place: Place, latest: Timestamp, stamp: u64) -> Mark {
        Mark {
            state,
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
