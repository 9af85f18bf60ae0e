//! Amounts that are found beside those that a plain search finds.

use std::collections::HashMap;
use std::fs;

use proptest::prelude::*;

use super::super::parts::{LOUDEST, PART_USES, loudest};
use super::super::trace::{Uses, write_use};
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
