//! What lives have said, added up over all of them.

use std::collections::BTreeMap;
use std::fmt;

use crate::child::{LIMITS, POT, THREADS};

/// A key's takes: each was begun, and done unless the life ended meanwhile.
#[derive(Default)]
struct Takes {
    begun: u64,
    done: u64,
    /// What was last seen counted, by limit.
    counted: Option<[u64; LIMITS.len()]>,
    /// By limit: takes that a life's end left begun and counted all the same.
    half: [u64; LIMITS.len()],
    /// When it was last taken.
    round: u64,
    is_asked: bool,
}

#[derive(Default)]
struct Pot {
    asked: u64,
    took: u64,
    spent: bool,
    counted: Option<u64>,
}

/// The takes of all lives on one directory.
#[derive(Default)]
pub(crate) struct Ledger {
    takes: BTreeMap<String, Takes>,
    pots: BTreeMap<u64, Pot>,
    /// Takes found counted that nobody had been told of.
    untold: u64,
    lives: u64,
    round: u64,
}

/// A key that was not taken for so many rounds is looked at now and then.
const RECENT: u64 = 3;

impl Ledger {
    /// Enters a line; what is not ours is left out.
    pub(crate) fn enter(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["opened"] => self.lives += 1,
            ["begin", key] => {
                let takes = self.takes.entry(key.into()).or_default();
                takes.begun += 1;
                takes.round = self.round;
            }
            ["done", key] => self.takes.entry(key.into()).or_default().done += 1,
            ["ask", pot] => self.pot(pot).asked += 1,
            ["took", pot] => self.pot(pot).took += 1,
            ["spent", pot] => self.pot(pot).spent = true,
            ["pot", pot, count] => self.pot(pot).counted = Some(count.parse().unwrap()),
            ["count", key, ref counts @ ..] => {
                let counts: Vec<u64> = counts.iter().map(|count| count.parse().unwrap()).collect();
                let takes = self.takes.get_mut(key).expect("a key that was asked for");
                takes.counted = Some(counts.try_into().unwrap());
            }
            _ => {}
        }
    }

    fn pot(&mut self, number: &str) -> &mut Pot {
        self.pots.entry(number.parse().unwrap()).or_default()
    }

    /// The keys and pots to look at next, a line each: the recent ones, in some rounds all.
    pub(crate) fn keys(&mut self) -> String {
        self.round += 1;
        let is_all = self.round.is_multiple_of(10);
        for takes in self.takes.values_mut() {
            takes.is_asked = is_all || takes.round + RECENT > self.round;
        }
        let asked = self.takes.iter().filter(|(_, takes)| takes.is_asked);
        let keys = asked.map(|(key, _)| format!("{key}\n"));
        let pots = self.pots.keys().map(|pot| format!("pot {pot}\n"));
        keys.chain(pots).collect()
    }

    /// Holds what was last seen counted against what was said, and settles what was half done.
    pub(crate) fn check(&mut self) {
        let round = self.round;
        let mut in_flight = [0; LIMITS.len()];
        for (key, takes) in self.takes.iter_mut().filter(|(_, takes)| takes.is_asked) {
            let counted = takes
                .counted
                .unwrap_or_else(|| panic!("{key} was not looked at"));
            for limit in 0..LIMITS.len() {
                let place = format!("round {round}: {} of {key}", LIMITS[limit]);
                let least = takes.done + takes.half[limit];
                assert!(
                    counted[limit] >= least,
                    "{place}: {} of {least}",
                    counted[limit]
                );
                let more = counted[limit] - least;
                in_flight[limit] += more;
                takes.half[limit] += more;
            }
            let most = takes.begun;
            assert!(
                counted.iter().all(|count| *count <= most),
                "{key}: {counted:?} of {most}"
            );
        }
        for more in in_flight {
            // Exact but for what each thread was in the middle of.
            assert!(
                more <= THREADS as u64,
                "round {round}: {more} that nobody was told of"
            );
        }
        self.untold += in_flight.iter().sum::<u64>();
        for (number, pot) in &self.pots {
            let counted = pot
                .counted
                .unwrap_or_else(|| panic!("pot {number} was not looked at"));
            let (asked, took) = (pot.asked, pot.took);
            assert!(took <= POT, "round {round}: pot {number} admitted {took}");
            let bounds = took..=asked.min(POT);
            assert!(
                bounds.contains(&counted),
                "round {round}: pot {number}: {counted} of {bounds:?}"
            );
            let is_right = !pot.spent || counted == POT;
            assert!(is_right, "round {round}: pot {number} refused at {counted}");
        }
    }

    /// What each key was last seen to count.
    pub(crate) fn counted(&self) -> impl Iterator<Item = (&str, [u64; LIMITS.len()])> {
        self.takes
            .iter()
            .map(|(key, takes)| (key.as_str(), takes.counted.unwrap()))
    }

    pub(crate) fn begun(&self) -> u64 {
        self.takes.values().map(|takes| takes.begun).sum()
    }

    /// Pots that have refused.
    pub(crate) fn spent(&self) -> usize {
        self.pots.values().filter(|pot| pot.spent).count()
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} openings, {} keys, {} takes, {} of them counted and not told, {} pots spent",
            self.lives,
            self.takes.len(),
            self.begun(),
            self.untold,
            self.spent()
        )
    }
}
