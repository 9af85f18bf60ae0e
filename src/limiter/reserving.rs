//! Strict limits at the limiter's level: opening the ceilings, and how they are doing.

use super::law::Law;
use super::store::{Opened, Store};
use super::{Recovery, Trouble};
use crate::ceiling::{Ceilings, Counters, Medium, Standing, Worth};
use crate::directory::DirectoryError;
use crate::error::Error;
use crate::table::{Region, Table, Update};
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
    /// What was admitted without a reservation, by limits that say `when_unwritable = "admit"`.
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
            trouble: failing.map(|failing| Trouble {
                since: failing.since,
                why: failing.why,
            }),
        }
    }
}

/// Opens the ceilings, and lifts the counters to them if those had to be rebuilt.
pub(super) fn open(
    medium: Box<dyn Medium>,
    store: &Store,
    law: &Law,
    recovery: &mut Recovery,
    now: Timestamp,
) -> Result<Ceilings, Error> {
    let worth = match store.opened {
        Opened::New => Worth::New,
        Opened::Clean | Opened::Kept => Worth::Kept,
        Opened::SetAside { .. } => Worth::Lost,
    };
    let tables = vec![store.table.clone(), store.shared.clone()];
    let counters = Counters { tables, worth };
    let header = store.directory.header();
    let path = store.directory.ceilings_path();
    let lines = usize::try_from(header.lines).unwrap_or(usize::MAX);
    let regions = (0..header.shards).map(|_| Region::anonymous(lines));
    let regions = regions.collect::<Result<Vec<_>, _>>();
    let regions = regions.map_err(DirectoryError::io("get memory for", &path))?;
    let table = Table::new(regions);
    let (ceilings, trouble) = Ceilings::open(&path, medium, header.instance, table, counters, now)?;
    recovery.troubles.extend(trouble);
    if worth == Worth::Lost {
        let shared = law.shared_tags();
        for (tag, ceiling) in ceilings.living(now) {
            let table = if shared.contains(&tag) {
                &store.shared
            } else {
                &store.table
            };
            let update = table.update(tag, now, |word| {
                (word.clean().bits() < ceiling.bits()).then_some(ceiling)
            });
            match update {
                Update::Done { before, after } => {
                    recovery.counters += u64::from(!before.is_live(now) && after.is_live(now));
                }
                Update::Full => recovery.without_slot += 1,
            }
        }
    }
    Ok(ceilings)
}
