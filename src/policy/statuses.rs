//! Sets of HTTP statuses: `charged_status = ["401", "5xx"]`.

use super::bounds::{NAME_BYTES_MAX, STATUSES_MAX};
use super::fault::{Faults, Fix, fix, quoted};
use super::tree::{Spot, Value};

/// Statuses and whole classes of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    pub(crate) fn contains(&self, status: u16) -> bool {
        let mut ranges = self.0.iter();
        ranges.any(|(first, last)| (*first..=*last).contains(&status))
    }

    /// Reads a list, or one in the place of a list of one.
    pub(super) fn read(spot: &Spot<'_>, faults: &mut Faults) -> Self {
        let mut ranges = Vec::new();
        for item in spot.items_or_one(STATUSES_MAX, faults) {
            let range = match item.value {
                Value::Whole(_) => item
                    .whole(100..=599, faults)
                    .and_then(|status| u16::try_from(status).ok())
                    .map(|status| (status, status)),
                _ => item.parsed(NAME_BYTES_MAX, "4xx", parse, faults),
            };
            ranges.extend(range);
        }
        if ranges.is_empty() && matches!(spot.value, Value::List(_)) {
            let advice = "list what is charged, as in [\"401\", \"403\"]";
            faults.push(&spot.place, fix("no status would ever be charged", advice));
        }
        Self(ranges)
    }
}

fn parse(text: &str) -> Result<(u16, u16), Fix> {
    let class = text.strip_suffix("xx").and_then(|class| class.parse().ok());
    let whole = text.parse().ok().filter(|of| (100..=599).contains(of));
    match (class, whole) {
        (Some(class @ 1..=5), _) => Ok((class * 100, class * 100 + 99)),
        (_, Some(status)) => Ok((status, status)),
        _ => {
            let problem = format!("{} is no status", quoted(text));
            Err(fix(problem, "write it like \"401\" or \"4xx\""))
        }
    }
}
