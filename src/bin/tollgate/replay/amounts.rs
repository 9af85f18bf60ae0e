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

//!
//! The same is found for all keys but the loudest ten: what the limit would be without them.

use std::fmt;
use std::rc::Rc;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use tollgate::Timestamp;

use super::attempts::{Attempt, Attempts};
use super::counts::ByCounter;
use super::parts::Parts;
use super::trace::Use;

/// Shares of requests that an amount may refuse: one in a hundred, one in a thousand, none.
const ONE_IN: [Option<u64>; 3] = [Some(100), Some(1_000), None];

/// Amounts beyond this are not tried.
// Bound: the most that a window can count.
const AMOUNT_MAX: u64 = (1 << 30) - 1;

/// What trials of one limit came to.
pub(crate) struct Memory<'a> {
    pub(crate) attempts: &'a mut Attempts,
    /// The limit's track.
    pub(crate) track: u64,
    /// Asked before each trial, and told how many were made; true ends the search with
    /// [`Interrupted`].
    pub(crate) is_interrupted: &'a mut dyn FnMut(u64) -> bool,
}

/// Somebody asked for the end.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

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
    /// Keys that it would have refused something.
    pub(crate) keys: u64,
}

/// What was found for one limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Amounts {
    /// Requests tried.
    pub(crate) requests: u64,
    /// For one in a hundred, one in a thousand, and none refused; none if no amount does it.
    pub(crate) found: [Option<Amount>; 3],
    /// The same without the loudest keys; none if there are no others.
    pub(crate) without_loudest: Option<[Option<Amount>; 3]>,
    /// True if all costs are the same, so that no smaller amount can do it either.
    pub(crate) smallest: bool,
}

/// What an amount refuses, and to whom.
struct Tried {
    amount: u64,
    refused: u64,
    /// Of these, what it refuses to others than the loudest.
    refused_others: u64,
    /// The keys that it refuses something; all if unsaid.
    keys: Option<Rc<ByCounter<()>>>,
}

/// What is searched for.
#[derive(Clone, Copy)]
struct Target {
    /// Requests that may be refused.
    most: u64,
    /// True if the loudest do not count.
    is_for_others: bool,
}

impl Target {
    fn refused(self, tried: &Tried) -> u64 {
        match self.is_for_others {
            true => tried.refused_others,
            false => tried.refused,
        }
    }

    fn found(self, tried: &Tried, loudest: &ByCounter<u64>) -> Amount {
        let keys = tried.keys.iter().flat_map(|keys| keys.keys());
        let counts = |key: &&u64| !self.is_for_others || !loudest.contains_key(key);
        Amount {
            amount: tried.amount,
            refused: self.refused(tried),
            keys: u64::try_from(keys.filter(counts).count()).unwrap_or(u64::MAX),
        }
    }
}

/// Finds the amounts for a limit that was asked what is in `parts`; `smallest` if all costs are the
/// same. `trial` makes a fresh limit of an amount, for so many keys, or none if the limit cannot
/// have that amount; what `memory` knows is not tried again.
///
/// # Errors
/// As `trial`, if `memory` cannot be written, or [`Interrupted`].
pub(crate) fn find<T: Trial>(
    parts: &Parts,
    smallest: bool,
    memory: &mut Memory<'_>,
    trial: impl FnMut(u64, usize) -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Amounts> {
    let mut search = Search {
        parts,
        memory,
        trial,
        trials: 0,
        narrow: None,
    };
    let requests = parts.requests;
    let others = requests - parts.loudest.values().sum::<u64>();
    // Doubling, until nothing is refused any more. An amount of nothing refuses everything.
    let mut steps = vec![Tried {
        amount: 0,
        refused: requests,
        refused_others: others,
        keys: None,
    }];
    let mut amount = 1;
    while let Some(last) = steps.last().filter(|last| last.refused > 0) {
        match search.attempt(amount, last.keys.as_ref())? {
            Some(tried) => steps.push(tried),
            None => break,
        }
        if amount == AMOUNT_MAX {
            break;
        }
        amount = (amount * 2).min(AMOUNT_MAX);
    }
    let mut all = |of: u64, is_for_others| -> anyhow::Result<[Option<Amount>; 3]> {
        let mut found = [None; 3];
        for (place, one_in) in found.iter_mut().zip(ONE_IN) {
            let most = one_in.map_or(0, |one_in| of / one_in);
            *place = search.least(
                &steps,
                Target {
                    most,
                    is_for_others,
                },
            )?;
        }
        Ok(found)
    };
    Ok(Amounts {
        requests,
        found: all(requests, false)?,
        without_loudest: (others > 0).then(|| all(others, true)).transpose()?,
        smallest,
    })
}

struct Search<'s, 'm, F> {
    parts: &'s Parts,
    memory: &'s mut Memory<'m>,
    trial: F,
    trials: u64,
    /// The uses last looked at, and of which keys, if these are few enough to be held: what comes
    /// next is mostly about some of them.
    narrow: Option<(Rc<ByCounter<()>>, Vec<Use>)>,
}

impl<T: Trial, F: FnMut(u64, usize) -> anyhow::Result<Option<T>>> Search<'_, '_, F> {
    /// What an amount refuses to the keys that `of` has; none if the limit cannot have it.
    fn attempt(
        &mut self,
        amount: u64,
        of: Option<&Rc<ByCounter<()>>>,
    ) -> anyhow::Result<Option<Tried>> {
        let mut tried = Tried {
            amount,
            refused: 0,
            refused_others: 0,
            keys: None,
        };
        let mut keys = ByCounter::default();
        let count = self.parts.count(of.map(|of| &**of));
        for part in 0..count {
            let place = [self.memory.track, amount, u64::try_from(part).unwrap_or(0)];
            let known = self.memory.attempts.known(place)?;
            let known = if let Some(known) = known {
                known
            } else {
                self.trials += 1;
                if (self.memory.is_interrupted)(self.trials) {
                    bail!(Interrupted);
                }
                let all = of.map_or(self.parts.keys.len(), |of| of.len());
                // Keys are hashes, so the parts have about as many of them.
                let most = all.div_ceil(count) * if count > 1 { 2 } else { 1 };
                let uses = self.uses(part, of.map(|of| &**of))?;
                let Some(trial) = (self.trial)(amount, most.min(uses.len()))? else {
                    return Ok(None);
                };
                let came_to = run(trial, &uses);
                self.memory.attempts.keep(place, &came_to)?;
                if let Some(of) = of.filter(|_| count == 1) {
                    self.narrow = Some((Rc::clone(of), uses));
                }
                came_to
            };
            for (key, refused) in known.keys {
                tried.refused += refused;
                if !self.parts.loudest.contains_key(&key) {
                    tried.refused_others += refused;
                }
                keys.insert(key, ());
            }
        }
        // A larger amount refuses something to none but those that a smaller one did.
        tried.keys = match of.filter(|of| of.len() == keys.len()) {
            Some(same) => Some(Rc::clone(same)),
            None => Some(Rc::new(keys)),
        };
        Ok(Some(tried))
    }

    fn uses(&mut self, part: usize, of: Option<&ByCounter<()>>) -> anyhow::Result<Vec<Use>> {
        let narrow = self.narrow.take();
        let has_all = |keys: &ByCounter<()>, of: &ByCounter<()>| {
            of.len() <= keys.len() && of.keys().all(|key| keys.contains_key(key))
        };
        match (narrow, of) {
            (Some((keys, mut uses)), Some(of)) if has_all(&keys, of) => {
                uses.retain(|one| of.contains_key(&one.key));
                Ok(uses)
            }
            _ => self.parts.of(part, of),
        }
    }

    /// The least amount that does what is wanted, by halving between the doublings.
    fn least(&mut self, steps: &[Tried], target: Target) -> anyhow::Result<Option<Amount>> {
        let meets = |tried: &Tried| target.refused(tried) <= target.most;
        let Some(high) = steps.iter().position(meets) else {
            return Ok(None);
        };
        let mut best = target.found(&steps[high], &self.parts.loudest);
        let Some(below) = high.checked_sub(1).map(|below| &steps[below]) else {
            return Ok(Some(best));
        };
        let (mut low, mut keys) = (below.amount, below.keys.clone());
        while best.amount - low > 1 {
            let middle = low + (best.amount - low) / 2;
            match self.attempt(middle, keys.as_ref())? {
                Some(tried) if meets(&tried) => best = target.found(&tried, &self.parts.loudest),
                Some(tried) => (low, keys) = (middle, tried.keys),
                None => low = middle,
            }
        }
        Ok(Some(best))
    }
}

fn run(mut trial: impl Trial, uses: &[Use]) -> Attempt {
    let mut keys: ByCounter<u64> = ByCounter::default();
    for one in uses {
        if !trial.admits(one.time, one.key, one.cost) {
            *keys.entry(one.key).or_default() += 1;
        }
    }
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort_unstable();
    Attempt { keys }
}

#[cfg(test)]
#[path = "amounts_tests.rs"]
mod tests;
