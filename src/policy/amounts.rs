//! How much a limit allows, as it is said of the limit itself, of a tier, or of one key: a rate, or
//! how many run at a time.

use super::bounds::PHRASE_BYTES_MAX;
use super::fault::{Faults, Place, fix, quoted};
use super::rate::Rate;
use super::tree::{Spot, Value};

/// No limit at all.
pub(crate) const UNLIMITED: u32 = u32::MAX;

/// A rate as read, and its place; no rate if it was a fault.
#[derive(Clone)]
pub(super) struct RateText {
    pub(super) rate: Option<Rate>,
    pub(super) place: Place,
}

/// How many may run at a time, as read, and its place; nothing if it was a fault.
pub(super) struct MostText {
    pub(super) most: Option<u32>,
    pub(super) place: Place,
}

/// Reads a rate's text; `example` is one that its limit can have.
pub(super) fn read_rate(spot: &Spot<'_>, example: &str, faults: &mut Faults) -> RateText {
    let rate = match spot.value {
        Value::List(_) => {
            let advice = "write a limit of its own for each rate";
            faults.push(&spot.place, fix("one limit has one rate", advice));
            None
        }
        _ => spot.parsed(PHRASE_BYTES_MAX, example, Rate::parse, faults),
    };
    RateText {
        rate,
        place: spot.place.clone(),
    }
}

/// Reads how many may run at a time.
pub(super) fn read_most(spot: &Spot<'_>, faults: &mut Faults) -> MostText {
    let most = match spot.value {
        Value::Text(text) if text == "unlimited" => Some(UNLIMITED),
        Value::Text(text) if text.parse::<u32>().is_err() => {
            let problem = format!("{} is not a number of requests", quoted(text));
            let advice = "write a whole number without quotes, or \"unlimited\"";
            faults.push(&spot.place, fix(problem, advice));
            None
        }
        _ => spot
            .whole(1..=u64::from(UNLIMITED - 1), faults)
            .and_then(|most| u32::try_from(most).ok()),
    };
    MostText {
        most,
        place: spot.place.clone(),
    }
}
