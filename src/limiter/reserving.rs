//! Strict limits at the limiter's level: opening the ceilings, and how they are doing.

use std::path::Path;

use super::journaling::Tables;
use super::mapping::Wanted;
use super::store::{Opened, Store};
use super::{Recovery, Trouble};
use crate::ceiling::{Ceilings, Counters, Medium, Standing, Worth};
use crate::directory::DirectoryError;
use crate::error::Error;
use crate::table::{Region, Table, lines_per_shard};
use crate::time::Timestamp;

/// How the reservations of strict limits go.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reservations {
    /// Writes since the limiter was opened: each waits once for the disk, for all reservations
    /// that were asked for by then.
    pub writes: u64,
    /// Bytes that they take on the disk; zero while they cannot be written.
    pub bytes: u64,
    /// How often something was taken without a reservation while the disk failed: by limits that
    /// say `when_unwritable = "admit"`, and by settlements, which no limit refuses. A power cut may
    /// forget it until the next [`flush`](crate::Limiter::flush) that succeeds.
    pub admitted_without: u64,
    /// Since when strict keys of which nothing is known are held to be spent: their reservations
    /// were lost together with the counters. It ends for each with the window that was open then.
    pub closed_since: Option<Timestamp>,
    /// What is wrong, if something is.
    pub trouble: Option<Trouble>,
}

impl Reservations {
    pub(super) fn of(ceilings: &Ceilings) -> Self {
        let Standing {
            writes,
            unsecured,
            bytes,
            failing,
        } = ceilings.standing();
        Self {
            writes,
            bytes,
            admitted_without: unsecured,
            closed_since: ceilings.closed(),
            trouble: failing,
        }
    }
}

/// Opens the ceilings, and lifts the counters to them if those had to be rebuilt.
pub(super) fn open(
    medium: Box<dyn Medium>,
    tables: &mut Tables<'_>,
    wanted: &Wanted,
    recovery: &mut Recovery,
) -> Result<Ceilings, Error> {
    let (store, now) = (tables.store, tables.now);
    let worth = match store.opened {
        Opened::New => Worth::New,
        Opened::Clean => Worth::Kept,
        Opened::Kept => Worth::Left,
        Opened::SetAside { .. } => Worth::Lost,
    };
    let counters = Counters {
        tables: vec![store.table.clone(), store.shared.clone()],
        worth,
    };
    let header = store.directory.header();
    let path = store.directory.ceilings_path();
    let table = memory(store, &path, wanted)?;
    let (ceilings, trouble) = Ceilings::open(&path, medium, header.instance, table, counters, now)?;
    recovery.troubles.extend(trouble);
    if store.had_unsecured && worth == Worth::Lost {
        let why = "what strict limits were charged while the disk failed may be missing";
        recovery.troubles.push(why.into());
    }
    if worth == Worth::Lost {
        for (tag, ceiling) in ceilings.living(now) {
            tables.put(recovery, tag, |word| {
                (!ceiling.is_within(word)).then_some(ceiling)
            });
        }
    }
    Ok(ceilings)
}

/// Memory for the ceilings: what is in their file, or in the table of the counters, finds room in
/// it at once, and it grows as that table does.
fn memory(store: &Store, path: &Path, wanted: &Wanted) -> Result<Table, DirectoryError> {
    let shards = store.directory.header().shards;
    // Each takes more than a tag and a word there; what is never touched costs nothing.
    let bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());
    let filed = lines_per_shard(bytes / 16, shards);
    let lines = store.table.lines().into_iter().fold(filed, u64::max);
    let count = usize::try_from(lines).unwrap_or(usize::MAX);
    let regions = (0..shards).map(|_| Ok((Region::anonymous(count)?, None)));
    let regions = regions.collect::<Result<Vec<_>, _>>();
    let regions = regions.map_err(DirectoryError::io("get memory for", path))?;
    Ok(Table::growing(regions, wanted.most_lines.max(lines)))
}
