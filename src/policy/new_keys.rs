//! How many new keys a client's address may bring: `new_keys` of a limit.
//!
//! Whoever invents keys gets a fresh counter for each, and fills the table until honest newcomers
//! find no room. So a key that has no counter yet also meets a limit of its own, by the address
//! that brings it. That limit has no route, and nothing in the policy can name it.

use super::amounts::{RateText, read_rate};
use super::common::Common;
use super::fault::{Faults, fix, quoted};
use super::key::{Attributes, KeySpec};
use super::rate::Rate;
use super::tree::Fields;

/// A rate of new keys, and what it is counted by.
pub(super) struct NewKeysText {
    pub(super) rate: RateText,
    /// The client's address.
    pub(super) key: KeySpec,
}

/// Reads `new_keys` of the limit that says `of`.
pub(super) fn read(
    of: &Common,
    fields: &Fields<'_>,
    attributes: &mut Attributes,
    faults: &mut Faults,
) -> Option<NewKeysText> {
    let spot = fields.get("new_keys")?;
    attributes.here = spot.place.clone();
    let key = KeySpec::Part(faults.take(&spot.place, attributes.index("ip"))?);
    if of.key == key || fields.get("key").is_none() {
        let problem = "new_keys means nothing here: no address brings more than one key";
        faults.push(&spot.place, fix(problem, "leave it out"));
    }
    let rate = read_rate(spot, "20/min", faults);
    if let Rate::Share { of, .. } = rate.rate.as_ref()? {
        let problem = format!("a share of {} cannot stand here", quoted(of));
        let advice = "write a rate with numbers of its own";
        faults.push(&rate.place, fix(problem, advice));
        return None;
    }
    Some(NewKeysText { rate, key })
}
