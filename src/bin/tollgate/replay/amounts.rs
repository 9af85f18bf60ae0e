//! What a limit would have had to be: the smallest amounts that refuse no more than a given share.
//!
//! Nothing is estimated. Every candidate amount is tried on the requests that the limit met, with
//! no other limit in the way, and the smallest is searched for. Two facts carry the search:
//!
//! * A key of which an amount refuses nothing is refused nothing by a larger amount: with all of
//!   its requests admitted, its counter is the same, and has more room. So a search among larger
//!   amounts need only try the keys that a smaller one refused something.
//! * Where all costs are the same, a larger amount never refuses more requests in all. So the
//!   amount found is the smallest. Where they differ, a large request that a larger amount admits
//!   may crowd out several small ones; then what is found does meet its share while one less does
//!   not, but a still smaller amount might, by chance, meet it too.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tollgate::Timestamp;

use super::attempts::{Attempt, Attempts};
use super::trace::Use;

/// Shares of requests that an amount may refuse: one in a hundred, one in a thousand, none.
const ONE_IN: [Option<u64>; 3] = [Some(100), Some(1_000), None];

/// Amounts beyond this are not tried.
// Bound: the most that a window can count.
const AMOUNT_MAX: u64 = (1 << 30) - 1;

/// Uses that are tried at a time, about: a second's work at the most, which is what a kill costs.
/// A key's counter is its own, so the keys of a limit can be tried in parts.
const PART_USES: u64 = 1 << 18;

/// What trials of one limit came to.
pub(crate) struct Memory<'a> {
    pub(crate) attempts: &'a mut Attempts,
    /// The limit's track.
    pub(crate) track: u64,
}

/// A limit with an amount that is being tried.
pub(crate) trait Trial {
    /// Whether it admits a request; times never go back.
    fn admits(&mut self, time: Timestamp, key: u64, cost: u64) -> bool;
}

/// An amount and what it would have refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Amount {
    pub(crate) amount: u64,
    pub(crate) refused: u64,
}

/// What was found for one limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Amounts {
    /// Requests tried.
    pub(crate) requests: u64,
    /// For one in a hundred, one in a thousand, and none refused; none if no amount does it.
    pub(crate) found: [Option<Amount>; 3],
    /// True if all costs are the same, so that no smaller amount can do it either.
    pub(crate) smallest: bool,
}

/// What an amount refuses, and to whom.
struct Tried {
    amount: u64,
    refused: u64,
    /// Uses by the keys that it refused something.
    concerned: Vec<Use>,
}

/// Finds the amounts for a limit that was asked `uses`. `trial` makes a fresh limit of an amount,
/// or none if the limit cannot have that amount; what `memory` knows is not tried again.
///
/// # Errors
/// As `trial`, or if `memory` cannot be written.
pub(crate) fn find<T: Trial>(
    uses: Vec<Use>,
    memory: &mut Memory<'_>,
    mut trial: impl FnMut(u64) -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Amounts> {
    let requests = u64::try_from(uses.len()).unwrap_or(u64::MAX);
    let mut costs = uses.iter().map(|one| one.cost).filter(|cost| *cost > 0);
    let smallest = costs
        .next()
        .is_none_or(|first| costs.all(|cost| cost == first));
    let parts = requests.div_ceil(PART_USES).max(1);
    let mut attempt = |amount, uses: &[Use]| -> anyhow::Result<Option<Tried>> {
        let mut all = Attempt::default();
        for part in 0..parts {
            let place = [memory.track, amount, part];
            if memory.attempts.known(place).is_none() {
                let Some(trial) = trial(amount)? else {
                    return Ok(None);
                };
                let of_part = uses.iter().filter(|one| one.key % parts == part);
                memory.attempts.keep(place, run(trial, of_part))?;
            }
            let known = memory.attempts.known(place);
            let known = known
                .into_iter()
                .inspect(|known| all.refused += known.refused);
            all.keys.extend(known.flat_map(|known| &known.keys));
        }
        let keys: HashSet<u64> = all.keys.into_iter().collect();
        let concerned = uses.iter().filter(|one| keys.contains(&one.key));
        Ok(Some(Tried {
            amount,
            refused: all.refused,
            concerned: concerned.copied().collect(),
        }))
    };
    // Doubling, until nothing is refused any more. An amount of nothing refuses everything.
    let mut steps = vec![Tried {
        amount: 0,
        refused: requests,
        concerned: uses,
    }];
    let mut amount = 1;
    while let Some(last) = steps.last().filter(|last| last.refused > 0) {
        match attempt(amount, &last.concerned)? {
            Some(tried) => steps.push(tried),
            None => break,
        }
        if amount == AMOUNT_MAX {
            break;
        }
        amount = (amount * 2).min(AMOUNT_MAX);
    }
    let mut found = [None; 3];
    for (place, one_in) in found.iter_mut().zip(ONE_IN) {
        let most = one_in.map_or(0, |one_in| requests / one_in);
        let Some(high) = steps.iter().position(|tried| tried.refused <= most) else {
            continue;
        };
        *place = bisect(&steps, high, most, &mut attempt)?;
    }
    Ok(Amounts {
        requests,
        found,
        smallest,
    })
}

/// The amount in reach of step `high`, which refuses at most `most`, while the step before
/// refuses more.
fn bisect(
    steps: &[Tried],
    high: usize,
    most: u64,
    attempt: &mut impl FnMut(u64, &[Use]) -> anyhow::Result<Option<Tried>>,
) -> anyhow::Result<Option<Amount>> {
    let Some(step) = steps.get(high) else {
        return Ok(None);
    };
    let mut best = Amount {
        amount: step.amount,
        refused: step.refused,
    };
    let Some(below) = high.checked_sub(1).and_then(|below| steps.get(below)) else {
        return Ok(Some(best));
    };
    let (mut low, mut narrowed) = (below.amount, None::<Tried>);
    while best.amount - low > 1 {
        let middle = low + (best.amount - low) / 2;
        let concerned = narrowed.as_ref().unwrap_or(below).concerned.as_slice();
        match attempt(middle, concerned)? {
            Some(tried) if tried.refused <= most => {
                best = Amount {
                    amount: middle,
                    refused: tried.refused,
                };
            }
            Some(tried) => {
                low = middle;
                narrowed = Some(tried);
            }
            None => low = middle,
        }
    }
    Ok(Some(best))
}

fn run<'u>(mut trial: impl Trial, uses: impl Iterator<Item = &'u Use>) -> Attempt {
    let mut refused = 0;
    let mut keys = HashSet::new();
    for one in uses {
        if !trial.admits(one.time, one.key, one.cost) {
            refused += 1;
            keys.insert(one.key);
        }
    }
    Attempt {
        refused,
        keys: keys.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// A fixed window of ten seconds, in the plainest way.
    struct Plain {
        amount: u64,
        counts: HashMap<(u64, u64), u64>,
    }

    impl Trial for Plain {
        fn admits(&mut self, time: Timestamp, key: u64, cost: u64) -> bool {
            let count = self.counts.entry((key, time.as_secs() / 10)).or_default();
            let admits = *count + cost <= self.amount;
            *count += if admits { cost } else { 0 };
            admits
        }
    }

    fn plain(amount: u64) -> Plain {
        Plain {
            amount,
            counts: HashMap::new(),
        }
    }

    /// As [`super::find`], with nothing known before.
    fn find<T: Trial>(
        uses: Vec<Use>,
        trial: impl FnMut(u64) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<Amounts> {
        let directory = tempfile::tempdir().unwrap();
        let attempts = &mut Attempts::open(&directory.path().join("attempts")).unwrap();
        super::find(uses, &mut Memory { attempts, track: 0 }, trial)
    }

    fn refused(uses: &[Use], amount: u64) -> u64 {
        run(plain(amount), uses.iter()).refused
    }

    proptest! {
        #[test]
        fn found_amounts_meet_their_share_and_one_less_does_not(
            hits in prop::collection::vec((0_u64..60, 0_u64..6, 1_u64..50), 1..400),
            same_cost in any::<bool>(),
        ) {
            let mut hits = hits;
            hits.sort_unstable();
            let uses: Vec<_> = hits
                .iter()
                .map(|(secs, key, cost)| Use {
                    time: Timestamp::from_secs(*secs),
                    key: *key,
                    cost: if same_cost { 3 } else { *cost },
                })
                .collect();
            let amounts = find(uses.clone(), |amount| Ok(Some(plain(amount)))).unwrap();
            for (found, one_in) in amounts.found.iter().zip(ONE_IN) {
                let most = one_in.map_or(0, |one_in| uses.len() as u64 / one_in);
                let found = found.unwrap();
                prop_assert_eq!(refused(&uses, found.amount), found.refused);
                prop_assert!(found.refused <= most);
                prop_assert!(refused(&uses, found.amount - 1) > most);
                if same_cost {
                    prop_assert!(amounts.smallest);
                    let smaller = (1..found.amount).find(|&less| refused(&uses, less) <= most);
                    prop_assert_eq!(smaller, None);
                }
            }
        }
    }

    #[test]
    fn an_amount_that_cannot_be_is_said() {
        let uses: Vec<_> = (0..5)
            .map(|key| Use {
                time: Timestamp::EPOCH,
                key,
                cost: 100,
            })
            .collect();
        let amounts = find(uses, |amount| Ok((amount < 64).then(|| plain(amount)))).unwrap();
        assert_eq!(amounts.found, [None; 3]);
    }

    #[test]
    fn no_requests_need_no_amount() {
        let amounts = find(Vec::new(), |amount| Ok(Some(plain(amount)))).unwrap();
        assert_eq!(
            amounts.found.map(|found| found.map(|found| found.amount)),
            [Some(0); 3]
        );
    }
}
