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
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tollgate::Timestamp;

use super::attempts::{Attempt, Attempts};
use super::counts::ByCounter;
use super::trace::{Use, Uses, write_use};

/// Shares of requests that an amount may refuse: one in a hundred, one in a thousand, none.
const ONE_IN: [Option<u64>; 3] = [Some(100), Some(1_000), None];

/// Amounts beyond this are not tried.
// Bound: the most that a window can count.
const AMOUNT_MAX: u64 = (1 << 30) - 1;

/// Uses that are tried at a time, about: a fraction of a second's work, which is what a kill
/// costs, and what is held in memory. A key's counter is its own, so the keys of a limit can be
/// tried in parts.
const PART_USES: u64 = 1 << 18;

/// Keys that are left out to see what a limit would be without the loudest.
const LOUDEST: usize = 10;

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

/// The uses of one limit, in parts by their keys.
pub(crate) struct Parts {
    /// Files of the parts, and how many uses each has; none if all are held.
    files: Vec<(PathBuf, u64)>,
    held: Vec<Use>,
    requests: u64,
    /// How many uses each key has.
    keys: ByCounter<u64>,
    /// The same of the loudest keys.
    loudest: ByCounter<u64>,
}

impl Parts {
    /// Puts uses into parts; those that are too many to be held go to files in `directory`.
    ///
    /// # Errors
    /// If they cannot be read, or the files not be written.
    pub(crate) fn split(uses: Uses, directory: &Path) -> anyhow::Result<Self> {
        let requests = uses.left();
        let mut counts: ByCounter<u64> = ByCounter::default();
        let (mut files, mut held) = (Vec::new(), Vec::new());
        let count = requests.div_ceil(PART_USES);
        if count <= 1 {
            for one in uses {
                let one = one?;
                *counts.entry(one.key).or_default() += 1;
                held.push(one);
            }
        } else {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
            let write = || format!("cannot write to {}", directory.display());
            let mut writers = Vec::new();
            for number in 0..count {
                let path = directory.join(format!("{number}.part"));
                let file = File::create(&path).with_context(write)?;
                files.push((path, 0));
                // Bound: all buffers together hold as much as a few parts at the most.
                writers.push((BufWriter::with_capacity(1 << 14, file), 0_u64));
            }
            for one in uses {
                let one = one?;
                *counts.entry(one.key).or_default() += 1;
                let part = usize::try_from(one.key % count).unwrap_or(0);
                let (Some((writer, last)), Some((_, uses))) =
                    (writers.get_mut(part), files.get_mut(part))
                else {
                    continue;
                };
                let now = one.time.as_nanos();
                let mut bytes = [0; _];
                let bytes = write_use(&mut bytes, one.key, now.saturating_sub(*last), one.cost);
                writer.write_all(bytes).with_context(write)?;
                (*last, *uses) = (now, *uses + 1);
            }
            for (mut writer, _) in writers {
                writer.flush().with_context(write)?;
            }
        }
        Ok(Self {
            files,
            held,
            requests,
            loudest: loudest(&counts),
            keys: counts,
        })
    }

    /// In how many parts the uses of some keys, or of all, are tried.
    fn count(&self, of: Option<&ByCounter<()>>) -> usize {
        let uses =
            |of: &ByCounter<()>| -> u64 { of.keys().filter_map(|key| self.keys.get(key)).sum() };
        match of.map(uses) {
            // Few enough to be held at once.
            Some(..=PART_USES) => 1,
            _ => self.files.len().max(1),
        }
    }

    /// The uses of one part by some keys, or by all; of the only one all of them.
    fn of(&self, part: usize, of: Option<&ByCounter<()>>) -> anyhow::Result<Vec<Use>> {
        let is_of = |one: &Use| of.is_none_or(|of| of.contains_key(&one.key));
        if self.files.is_empty() {
            return Ok(self.held.iter().filter(|one| is_of(one)).copied().collect());
        }
        let is_only = self.count(of) == 1;
        let files = self.files.iter().enumerate();
        let mut found = Vec::new();
        for (_, (path, uses)) in files.filter(|(number, _)| is_only || *number == part) {
            for one in Uses::open(path, *uses)? {
                let one = one?;
                if is_of(&one) {
                    found.push(one);
                }
            }
        }
        if is_only {
            // The limiter's time never goes back.
            found.sort_by_key(|one| one.time);
        }
        Ok(found)
    }
}

fn loudest(counts: &ByCounter<u64>) -> ByCounter<u64> {
    let mut counts: Vec<_> = counts.iter().map(|(key, uses)| (*key, *uses)).collect();
    let most = LOUDEST.min(counts.len());
    if most > 0 {
        counts.select_nth_unstable_by_key(most - 1, |(key, uses)| (std::cmp::Reverse(*uses), *key));
    }
    counts.into_iter().take(most).collect()
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

    /// As [`super::find`], with nothing known before, in parts of a few uses.
    fn find<T: Trial>(
        uses: Vec<Use>,
        mut trial: impl FnMut(u64) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<Amounts> {
        let directory = tempfile::tempdir().unwrap();
        let attempts = &mut Attempts::open(&directory.path().join("attempts")).unwrap();
        let mut counts: ByCounter<u64> = ByCounter::default();
        for one in &uses {
            *counts.entry(one.key).or_default() += 1;
        }
        let parts = Parts {
            files: Vec::new(),
            requests: uses.len() as u64,
            loudest: loudest(&counts),
            keys: counts,
            held: uses,
        };
        let mut costs = parts.held.iter().map(|one| one.cost);
        let smallest = costs
            .next()
            .is_none_or(|first| costs.all(|cost| cost == first));
        let is_interrupted = &mut |_| false;
        let memory = &mut Memory {
            attempts,
            track: 0,
            is_interrupted,
        };
        super::find(&parts, smallest, memory, |amount, _| trial(amount))
    }

    fn refused(uses: &[Use], amount: u64) -> u64 {
        let refused = run(plain(amount), uses);
        refused.keys.iter().map(|(_, refused)| refused).sum()
    }

    fn check(uses: &[Use], found: [Option<Amount>; 3], is_smallest: bool) {
        for (found, one_in) in found.iter().zip(ONE_IN) {
            let most = one_in.map_or(0, |one_in| uses.len() as u64 / one_in);
            let found = found.unwrap();
            assert_eq!(refused(uses, found.amount), found.refused);
            assert_eq!(run(plain(found.amount), uses).keys.len() as u64, found.keys);
            assert!(found.refused <= most);
            assert!(refused(uses, found.amount - 1) > most);
            if is_smallest {
                let smaller = (1..found.amount).find(|&less| refused(uses, less) <= most);
                assert_eq!(smaller, None);
            }
        }
    }

    proptest! {
        #[test]
        fn found_amounts_meet_their_share_and_one_less_does_not(
            hits in prop::collection::vec((0_u64..60, 0_u64..14, 1_u64..50), 1..400),
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
            check(&uses, amounts.found, same_cost);
            prop_assert_eq!(amounts.smallest || !same_cost, true);
            let mut loud: Vec<u64> = uses.iter().map(|one| one.key).collect();
            loud.sort_unstable();
            let mut by_uses: Vec<_> = loud
                .chunk_by(|a, b| a == b)
                .map(|key| (std::cmp::Reverse(key.len()), key[0]))
                .collect();
            by_uses.sort_unstable();
            by_uses.truncate(LOUDEST);
            let is_other = |one: &&Use| by_uses.iter().all(|(_, key)| *key != one.key);
            let others: Vec<Use> = uses.iter().filter(is_other).copied().collect();
            prop_assert_eq!(amounts.without_loudest.is_some(), !others.is_empty());
            if let Some(found) = amounts.without_loudest {
                check(&others, found, same_cost);
            }
        }
    }

    /// Uses that were split into files come to the same as those that are held.
    #[test]
    fn parts_do_not_change_what_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.uses");
        let (count, mut bytes) = (PART_USES * 2 + 5, Vec::new());
        let use_of = |number: u64| Use {
            time: Timestamp::from_secs(number / 9_000),
            key: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 97,
            cost: 1,
        };
        let mut last = 0;
        for one in (0..count).map(use_of) {
            let now = one.time.as_nanos();
            bytes.extend(write_use(&mut [0; _], one.key, now - last, one.cost));
            last = now;
        }
        fs::write(&path, bytes).unwrap();
        let parts = Parts::split(Uses::open(&path, count).unwrap(), directory.path()).unwrap();
        assert_eq!(
            (parts.count(None), parts.held.len(), parts.keys.len()),
            (3, 0, 97)
        );
        let attempts = &mut Attempts::open(&directory.path().join("attempts")).unwrap();
        let is_interrupted = &mut |_| false;
        let memory = &mut Memory {
            attempts,
            track: 0,
            is_interrupted,
        };
        let found = super::find(&parts, true, memory, |amount, _| Ok(Some(plain(amount))));
        let uses: Vec<Use> = (0..count).map(use_of).collect();
        let held = find(uses, |amount| Ok(Some(plain(amount)))).unwrap();
        assert_eq!(found.unwrap(), held);
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
