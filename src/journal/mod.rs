//! The journal: what is still known of the counters after the power went.
//!
//! It holds absolute words under their tags, never changes, so a record that is repeated or late
//! does no harm. It lives in numbered generations, because the storage engine under it grows and
//! slows with age: each is a store of its own, and `current` says which one counts.
//!
//! ```text
//! journal/current             two slots in turn: which generation, last durable sequence
//! journal/000007/             the storage engine's files
//! journal/000008.making/      the next, while living words are carried over
//! journal/000006.old/         one that is done with, being removed
//! journal/000003.unreadable/  one that could not be read, set aside
//! ```

mod current;
mod error;
mod folder;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzed;
mod generation;
mod guarded;
mod ledger;
#[cfg(test)]
mod memory;
mod record;
mod renewal;
mod store;
mod survey;
#[cfg(test)]
mod tests;

pub(crate) use error::StoreError;
pub(crate) use generation::{Generations, Report};
#[cfg(test)]
pub(crate) use generation::{Growth, Loss, OpenStore};
#[cfg(test)]
pub(crate) use guarded::Patience;
#[cfg(test)]
pub(crate) use memory::{Disk, Fault};
pub(crate) use store::{Batch, Scan, Store};
pub(crate) use survey::{Found, Survey, set_aside, survey};
