//! The limiter's directory in use: whose table it is, and whether it can be believed.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::directory::{Directory, DirectoryError, Header, Marks, Place, State};
use crate::error::Error;
use crate::journal::{Generations, StoreError};
use crate::sync::{Arc, Mutex, lock};
use crate::table::file::{self, ShardError, ShardHeader};
use crate::table::{InFlight, Region, Table};
use crate::time::Timestamp;

/// Lines of the shard that holds what newcomers share: a slot and more for every limit.
const SHARED_LINES: u64 = 1024;

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
    /// it was written under, or it is damaged. It was set aside, and the counters were rebuilt from
    /// the journal; [`Recovery`](crate::Recovery) says how many.
    SetAside {
        /// Where the old table is.
        to: PathBuf,
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
            Self::SetAside { to, why } => {
                write!(
                    f,
                    "table not believed ({why}); set aside in {}, counters rebuilt",
                    to.display()
                )
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
    /// The latest time that was seen in it before.
    pub(super) latest: Option<Timestamp>,
    pub(super) directory: Directory,
}

impl Store {
    /// Opens the directory, or makes one with room for `counters`.
    pub(super) fn open(path: &Path, counters: u64) -> Result<Self, Error> {
        let (directory, _) = Directory::open(path, || Header::draw(counters))?;
        // Before anything is changed on the strength of the other files.
        let looked = Generations::look(&directory.journal_path(), directory.header().instance);
        looked.map_err(journal_error)?;
        Self::in_directory(directory)
    }

    /// Makes a directory whose tags mean the same as those of `original`.
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
        let store = Self::in_directory(directory)?;
        // Half a copy is not to be believed; closing it says that it is whole.
        store.mark_open(Place::NOWHERE)?;
        Ok(store)
    }

    fn in_directory(directory: Directory) -> Result<Self, Error> {
        let mut marks = Marks::open(directory.marks_path())?;
        let (files, opened) = find_table(&directory, &mut marks)?;
        let latest = marks.last().map(|mark| mark.latest);
        Ok(Self {
            marks: Mutex::new(marks),
            place: files.place,
            table: Arc::new(Table::new(files.regions)),
            shared: Arc::new(Table::new(vec![files.shared])),
            in_flight: Arc::new(InFlight::new(files.in_flight)),
            opened,
            latest,
            directory,
        })
    }

    /// Marks the table as one to be believed while this kernel runs. To be called once it holds all
    /// that it is to hold, and before the first admission: from then on it is as good as the page
    /// cache, and no better.
    pub(super) fn begin(&self) -> Result<(), Error> {
        self.mark_open(self.place)
    }

    fn mark_open(&self, place: Place) -> Result<(), Error> {
        let instance = self.directory.header().instance;
        let latest = self.latest.unwrap_or_default();
        Ok(lock(&self.marks).write(State::Open, instance, place, latest, true)?)
    }

    /// Remembers the latest time seen. Outlives the process, not the kernel.
    pub(super) fn mark_time(&self, latest: Timestamp) -> Result<(), Error> {
        let instance = self.directory.header().instance;
        Ok(lock(&self.marks).write(State::Open, instance, self.place, latest, false)?)
    }

    /// Puts everything on the disk and marks the directory clean. Nothing may be taken after it.
    pub(super) fn close(&self, latest: Timestamp) -> Result<(), Error> {
        let at = self.directory.table_path();
        let synced = self.table.sync().and_then(|()| self.shared.sync());
        let synced = synced.and_then(|()| self.in_flight.sync());
        synced.map_err(DirectoryError::io("sync", &at))?;
        let instance = self.directory.header().instance;
        Ok(lock(&self.marks).write(State::Clean, instance, self.place, latest, true)?)
    }
}

/// The shards, mapped, and the place they were found in.
struct Files {
    regions: Vec<Region>,
    shared: Region,
    in_flight: Region,
    place: Place,
}

/// Opens the table if it can be believed, else puts a fresh one in its place.
fn find_table(directory: &Directory, marks: &mut Marks) -> Result<(Files, Opened), Error> {
    let Some(mark) = marks.last() else {
        // No mark: nobody was ever admitted. What there is of a table is half a creation.
        remove_half_made(&directory.table_path())?;
        return Ok((make_table(directory)?, Opened::New));
    };
    if mark.instance != directory.header().instance {
        let why = "belongs to another directory than the header beside it".into();
        return Err(DirectoryError::Damaged {
            path: directory.marks_path(),
            why,
        }
        .into());
    }
    let why = match open_table(directory) {
        Ok(files) => match mark.state {
            State::Clean => return Ok((files, Opened::Clean)),
            State::Open if mark.place == files.place => return Ok((files, Opened::Kept)),
            State::Open if mark.place.boot != files.place.boot => "another boot".into(),
            State::Open if mark.place.mount != files.place.mount => "another mount".into(),
            State::Open => "other files".into(),
        },
        // Its journal tells what it held; a table of another version means something else.
        Err(error) if error.is_damaged() || error.is_missing() => error.to_string(),
        Err(error) => return Err(error),
    };
    // Until the next table is rebuilt, none is to be believed, however the rebuilding ends.
    marks.write(
        State::Open,
        mark.instance,
        Place::NOWHERE,
        mark.latest,
        true,
    )?;
    let to = directory.set_table_aside()?;
    Ok((make_table(directory)?, Opened::SetAside { to, why }))
}

fn remove_half_made(table: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(table) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DirectoryError::io("remove", table)(error).into())
        }
        _ => Ok(()),
    }
}

fn make_table(directory: &Directory) -> Result<Files, Error> {
    directory.make_table()?;
    let files = each_shard(directory, file::create)?;
    crate::directory::sync_dir(&directory.table_path())?;
    Ok(files)
}

fn open_table(directory: &Directory) -> Result<Files, Error> {
    each_shard(directory, file::open)
}

fn each_shard(
    directory: &Directory,
    open: impl Fn(&Path, &ShardHeader) -> Result<(fs::File, Region), ShardError>,
) -> Result<Files, Error> {
    let header = directory.header();
    let mut regions = Vec::new();
    let mut identities = Vec::new();
    // Behind the shards: what newcomers share, and the words in flight.
    let lines = std::iter::repeat_n(header.lines, usize::try_from(header.shards).unwrap_or(0));
    let lines = lines.chain([SHARED_LINES, InFlight::LINES]);
    for (number, lines) in (0..).zip(lines) {
        let path = directory.shard_path(number);
        let (instance, shards) = (header.instance, header.shards);
        let shard = ShardHeader {
            instance,
            number,
            shards,
            lines,
        };
        let (file, region) = open(&path, &shard).map_err(|error| shard_error(&path, error))?;
        identities.push(file::identity(&file).map_err(DirectoryError::io("look at", &path))?);
        regions.push(region);
    }
    let place = Place::here(&directory.table_path(), &identities)?;
    let (Some(in_flight), Some(shared)) = (regions.pop(), regions.pop()) else {
        let why = "has no shards".into();
        return Err(DirectoryError::Damaged {
            path: directory.table_path(),
            why,
        }
        .into());
    };
    Ok(Files {
        regions,
        shared,
        in_flight,
        place,
    })
}

/// What is wrong with a journal that is to be opened.
pub(super) fn journal_error(error: StoreError) -> Error {
    match error {
        StoreError::Files(error) => error.into(),
        error => Error::journal(error.to_string()),
    }
}

fn shard_error(path: &Path, error: ShardError) -> Error {
    let path = path.to_owned();
    let error = match error {
        ShardError::Io(doing, source) => DirectoryError::Io {
            doing,
            path,
            source,
        },
        ShardError::Unfit(why) => DirectoryError::Damaged { path, why },
        ShardError::Version(found) => DirectoryError::Version {
            path,
            found,
            supported: file::VERSION,
        },
    };
    error.into()
}
