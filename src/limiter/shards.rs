//! The shards of a table: made or opened, all of them, in one folder.

use std::path::Path;

use crate::directory::{Directory, DirectoryError, Folder, Header, Mark, Place, State, sync_dir};
use crate::error::Error;
use crate::table::file::{self, ShardError, ShardHeader, Size};
use crate::table::{InFlight, Region, Table};

/// Lines of the shard that holds what newcomers share: a slot and more for every limit.
const SHARED_LINES: u64 = 1024;

/// The tables of a directory, mapped, and the place they were found in.
#[derive(Debug)]
pub(super) struct Shards {
    pub(super) table: Table,
    /// Counters that newcomers share when the table is full.
    pub(super) shared: Table,
    /// Words on their way to the journal.
    pub(super) in_flight: InFlight,
    pub(super) place: Place,
    pub(super) folder: Folder,
}

/// How large the shards of a table are to be.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    /// Lines that each begins with.
    pub(super) first: Vec<u64>,
    /// Lines that one may grow to.
    pub(super) most: u64,
}

impl Sizes {
    /// As the header says.
    pub(super) fn of(header: &Header, most: u64) -> Self {
        let first = (0..header.shards).map(|_| header.lines).collect();
        Self { first, most }
    }

    /// Bytes of all files at the most, allocated.
    pub(super) fn bytes(&self, header: &Header) -> u64 {
        let lines = self.first.iter().map(|first| self.most.max(*first));
        let lines = lines.chain([SHARED_LINES, InFlight::LINES]);
        let sizes = lines.map(|lines| shard_header(header, 0, lines).file_len());
        sizes.fold(0, |sum, len| sum.saturating_add(len.unwrap_or(u64::MAX)))
    }

    fn first(&self, number: u32) -> u64 {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        self.first.get(number).copied().unwrap_or(1)
    }
}

impl Shards {
    /// Makes them, empty, in a folder that is empty.
    pub(super) fn create(header: &Header, folder: Folder, sizes: &Sizes) -> Result<Self, Error> {
        let make = |number, folder: &Folder| {
            let path = folder.shard_path(number);
            let header = shard_header(header, number, sizes.first(number));
            file::create(&path, &header).map_err(|error| shard_error(&path, error))
        };
        let shards = Self::each(header, folder, sizes.most, |number, folder| {
            Ok((make(number, folder)?, None))
        })?;
        shards.sync()?;
        Ok(shards)
    }

    /// Opens them where the mark says they are, whatever their sizes.
    pub(super) fn open(directory: &Directory, mark: &Mark, most: u64) -> Result<Self, Error> {
        let folder = directory.open_folder(&mark.site)?;
        let header = directory.header();
        Self::each(header, folder, most, |number, folder| {
            let given = shard_header(header, number, header.lines);
            let path = folder.shard_path(number);
            let size = size_of(header, number);
            let shard =
                file::open(&path, &given, size).map_err(|error| shard_error(&path, error))?;
            let next = match shard.next_lines() {
                0 => None,
                // Words have moved there: without it the shard is worth nothing.
                lines => {
                    let path = folder.next_path(number);
                    let next = ShardHeader { lines, ..given };
                    let next = file::open(&path, &next, Size::Given);
                    Some(next.map_err(|error| shard_error(&path, error))?)
                }
            };
            Ok((shard, next))
        })
    }

    /// Why they cannot be taken for what `mark` speaks of, if they cannot.
    pub(super) fn differ_from(&self, mark: &Mark) -> Option<&'static str> {
        // A directory that was closed may be moved or copied; one in use may not.
        let elsewhere = match mark.state {
            State::Clean => None,
            State::Open if self.regions().all(Region::is_itself) => {
                self.place.differs_from(&mark.place)
            }
            State::Open => self.place.differs_from(&mark.place).or(Some("other files")),
        };
        let is_ours = self
            .regions()
            .all(|region| mark.stamps.contains(&region.stamped()));
        elsewhere.or((!is_ours).then_some("another time's table"))
    }

    /// Takes them over, believed: each is noted for the file that it is, and what a kill left of a
    /// growth that had not begun is removed.
    pub(super) fn take_over(&self) -> Result<(), Error> {
        self.regions().for_each(Region::note_identity);
        for (number, regions) in (0_u32..).zip(self.table.regions()) {
            let is_growing = regions.len() > 1;
            let next = (!is_growing).then(|| self.folder.next_path(number));
            for left in next.into_iter().chain([self.folder.making_path(number)]) {
                remove(&left)?;
            }
        }
        Ok(())
    }

    /// Lines of each shard, none of which is growing any more.
    ///
    /// # Errors
    /// If one is growing, and its words do not find room.
    pub(super) fn lines(&self) -> Result<Vec<u64>, Error> {
        if self.table.settle() {
            return Ok(self.table.lines());
        }
        let why = "is growing, and its counters find no room in the larger shards".into();
        let path = self.folder.path().into();
        Err(DirectoryError::Damaged { path, why }.into())
    }

    /// Takes over what stands in `other`, of the same directory; nobody uses either.
    pub(super) fn copy_from(&self, other: &Self) {
        self.table.copy_from(&other.table);
        self.shared.copy_from(&other.shared);
        self.in_flight.copy_from(&other.in_flight);
    }

    /// Waits until the files are on the disk.
    fn sync(&self) -> Result<(), Error> {
        let path = self.folder.path();
        let synced = self.regions().try_for_each(Region::sync);
        synced.map_err(|error| Error::io("sync", path, error))?;
        Ok(sync_dir(path)?)
    }

    fn regions(&self) -> impl Iterator<Item = &Region> {
        let tables = [&self.table, &self.shared].into_iter();
        let regions = tables.flat_map(Table::regions).flatten();
        regions.chain([self.in_flight.region()])
    }

    /// Opens or makes each file, behind the shards what newcomers share and the words in flight.
    fn each(
        header: &Header,
        folder: Folder,
        most: u64,
        open: impl Fn(u32, &Folder) -> Result<(Region, Option<Region>), Error>,
    ) -> Result<Self, Error> {
        let all = (0..header.shards).map(|number| open(number, &folder));
        let shards = all.collect::<Result<Vec<_>, _>>()?;
        let (shared, _) = open(header.shards, &folder)?;
        let (in_flight, _) = open(header.shards + 1, &folder)?;
        Ok(Self {
            table: Table::growing(shards, most),
            shared: Table::new(vec![shared]),
            in_flight: InFlight::new(in_flight),
            place: Place::here(folder.path())?,
            folder,
        })
    }
}

/// What the file of this number says of itself; `lines` are a shard's.
pub(super) fn shard_header(header: &Header, number: u32, lines: u64) -> ShardHeader {
    ShardHeader {
        instance: header.instance,
        number,
        shards: header.shards,
        lines: match number.checked_sub(header.shards) {
            None => lines,
            Some(0) => SHARED_LINES,
            Some(_) => InFlight::LINES,
        },
    }
}

/// How long the file of this number may be.
pub(super) fn size_of(header: &Header, number: u32) -> Size {
    if number < header.shards {
        Size::Own
    } else {
        Size::Given
    }
}

/// Removes a file, if there is one.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(DirectoryError::io("remove", path)(error).into())
        }
        _ => Ok(()),
    }
}

pub(super) fn shard_error(path: &Path, error: ShardError) -> Error {
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
