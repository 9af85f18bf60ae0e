//! The shards of a table: made or opened, all of them, in one folder.

use std::fs::File;
use std::path::Path;

use crate::directory::{Directory, DirectoryError, Folder, Header, Mark, Place, State, sync_dir};
use crate::error::Error;
use crate::table::file::{self, ShardError, ShardHeader};
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

impl Shards {
    /// Makes them, empty, in a folder that is empty.
    pub(super) fn create(header: &Header, folder: Folder) -> Result<Self, Error> {
        let shards = Self::each(header, folder, file::create)?;
        sync_dir(shards.folder.path())?;
        Ok(shards)
    }

    /// Opens them where the mark says they are.
    pub(super) fn open(directory: &Directory, mark: &Mark) -> Result<Self, Error> {
        let folder = directory.open_folder(&mark.site)?;
        Self::each(directory.header(), folder, file::open)
    }

    /// Why they cannot be taken for what `mark` speaks of, if they cannot.
    pub(super) fn differ_from(&self, mark: &Mark) -> Option<&'static str> {
        // A directory that was closed may be moved or copied; one in use may not.
        let elsewhere = match mark.state {
            State::Clean => None,
            State::Open => self.place.differs_from(&mark.place),
        };
        let is_stamped = |table: &Table| table.has_stamp(mark.stamps);
        let is_ours = is_stamped(&self.table) && is_stamped(&self.shared);
        let is_other = !is_ours || !self.in_flight.has_stamp(mark.stamps);
        elsewhere.or(is_other.then_some("another time's table"))
    }

    /// Takes over what stands in `other`, of the same directory.
    pub(super) fn copy_from(&self, other: &Self) {
        self.table.copy_from(&other.table);
        self.shared.copy_from(&other.shared);
        self.in_flight.copy_from(&other.in_flight);
    }

    /// Bytes that the shards of such a directory take, allocated.
    pub(super) fn bytes(header: &Header) -> u64 {
        let shards = (0..Self::files(header)).map(|number| Self::header(header, number));
        let sizes = shards.map(|shard| shard.file_len().unwrap_or(u64::MAX));
        sizes.fold(0, u64::saturating_add)
    }

    /// Files of such a directory's table: behind the shards, what newcomers share and the words in
    /// flight.
    fn files(header: &Header) -> u32 {
        header.shards + 2
    }

    pub(super) fn header(header: &Header, number: u32) -> ShardHeader {
        ShardHeader {
            instance: header.instance,
            number,
            shards: header.shards,
            lines: match number.checked_sub(header.shards) {
                None => header.lines,
                Some(0) => SHARED_LINES,
                Some(_) => InFlight::LINES,
            },
        }
    }

    fn each(
        header: &Header,
        folder: Folder,
        open: impl Fn(&Path, &ShardHeader) -> Result<(File, Region), ShardError>,
    ) -> Result<Self, Error> {
        let mut regions = Vec::new();
        let mut identities = Vec::new();
        for number in 0..Self::files(header) {
            let path = folder.shard_path(number);
            let shard = Self::header(header, number);
            let (file, region) = open(&path, &shard).map_err(|error| shard_error(&path, error))?;
            identities.push(file::identity(&file).map_err(DirectoryError::io("look at", &path))?);
            regions.push(region);
        }
        let place = Place::here(folder.path(), &identities)?;
        let (Some(in_flight), Some(shared)) = (regions.pop(), regions.pop()) else {
            let why = "has no shards".into();
            return Err(DirectoryError::Damaged {
                path: folder.path().into(),
                why,
            }
            .into());
        };
        Ok(Self {
            table: Table::new(regions),
            shared: Table::new(vec![shared]),
            in_flight: InFlight::new(in_flight),
            place,
            folder,
        })
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
