//! The keys that are counted most, in bounded memory: when there is no room for another, it takes
//! the place of the one counted least, and its count, as an upper bound of what it may have had.

use std::collections::HashMap;

use super::super::Outcome;
use crate::time::Timestamp;

/// A limit, and one of its keys in words.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Name {
    pub(super) limit: String,
    pub(super) key: String,
    /// Of the whole key, of which the words may show only a part.
    pub(super) hash: u64,
}

/// A limit's numbers for a key when it was last seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) used: u64,
    pub(super) limit: u64,
    pub(super) reset_at: Timestamp,
    pub(super) at: Timestamp,
}

impl Numbers {
    pub(super) fn of(outcome: &Outcome) -> Self {
        Self {
            used: outcome.used(),
            limit: outcome.limit(),
            reset_at: outcome.reset_at(),
            at: outcome.at(),
        }
    }
}

/// How often a key was counted; at most so much too often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub(super) count: u64,
    pub(super) excess: u64,
    pub(super) numbers: Numbers,
}

#[derive(Default)]
pub(super) struct Sketch(HashMap<Name, Count>);

impl Sketch {
    /// Keys kept.
    // Bound: as many as these; a key with more than one in so many of all counts is among them.
    pub(super) const KEYS_MAX: usize = 128;

    pub(super) fn count(&mut self, name: &Name, weight: u64, numbers: Numbers) {
        if let Some(count) = self.0.get_mut(name) {
            count.count = count.count.saturating_add(weight);
            count.numbers = numbers;
            return;
        }
        let mut excess = 0;
        if self.0.len() >= Self::KEYS_MAX {
            let least = self.0.iter().min_by_key(|(_, count)| count.count);
            let least = least.map(|(name, count)| (name.clone(), count.count));
            if let Some((least, count)) = least {
                self.0.remove(&least);
                excess = count;
            }
        }
        let count = Count {
            count: excess.saturating_add(weight),
            excess,
            numbers,
        };
        self.0.insert(name.clone(), count);
    }

    /// Adds what another counted.
    pub(super) fn add_to(&self, all: &mut HashMap<Name, Count>) {
        for (name, count) in &self.0 {
            all.entry(name.clone())
                .and_modify(|sum| {
                    sum.count = sum.count.saturating_add(count.count);
                    sum.excess = sum.excess.saturating_add(count.excess);
                    if count.numbers.at > sum.numbers.at {
                        sum.numbers = count.numbers;
                    }
                })
                .or_insert(*count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: u64) -> Name {
        Name {
            limit: "l".into(),
            key: key.to_string(),
            hash: key,
        }
    }

    fn tallies(sketch: &Sketch) -> HashMap<Name, Count> {
        let mut all = HashMap::new();
        sketch.add_to(&mut all);
        all
    }

    const NUMBERS: Numbers = Numbers {
        used: 1,
        limit: 2,
        reset_at: Timestamp::EPOCH,
        at: Timestamp::EPOCH,
    };

    #[test]
    fn exact_while_there_is_room() {
        let mut sketch = Sketch::default();
        for key in 0..100 {
            for _ in 0..=key {
                sketch.count(&name(key), 3, NUMBERS);
            }
        }
        let all = tallies(&sketch);
        for key in 0..100 {
            let count = all[&name(key)];
            assert_eq!((count.count, count.excess), (3 * (key + 1), 0));
        }
    }

    #[test]
    fn a_flood_of_keys_does_not_hide_the_busy_ones() {
        let mut sketch = Sketch::default();
        let busy = 10;
        for round in 0..2_000 {
            for key in 0..busy {
                sketch.count(&name(key), 1, NUMBERS);
            }
            for other in 0..5 {
                sketch.count(&name(1_000 + 5 * round + other), 1, NUMBERS);
            }
        }
        let all = tallies(&sketch);
        assert_eq!(all.len(), Sketch::KEYS_MAX);
        let mut counted: Vec<_> = all.iter().collect();
        counted.sort_by_key(|(_, count)| std::cmp::Reverse(count.count));
        for (name, count) in &counted[..10] {
            assert!(name.key.parse::<u64>().unwrap() < busy, "{name:?}");
            assert!(
                count.count >= 2_000 && count.count - count.excess <= 2_000,
                "{count:?}"
            );
        }
    }

    /// Who came late is found all the same among those who were there before.
    #[test]
    fn a_newcomer_takes_the_count_of_whom_it_replaces() {
        let mut sketch = Sketch::default();
        for key in 0..Sketch::KEYS_MAX as u64 {
            sketch.count(&name(key), 10, NUMBERS);
        }
        let late = name(1_000);
        for other in 0..200 {
            sketch.count(&late, 1, NUMBERS);
            sketch.count(&name(2_000 + other), 1, NUMBERS);
        }
        let count = tallies(&sketch)[&late];
        assert_eq!((count.count, count.excess), (210, 10));
    }

    #[test]
    fn what_two_counted_is_added() {
        let mut sketches = [Sketch::default(), Sketch::default()];
        let later = Numbers {
            used: 9,
            at: Timestamp::from_secs(1),
            ..NUMBERS
        };
        sketches[0].count(&name(1), 2, later);
        sketches[1].count(&name(1), 3, NUMBERS);
        let mut all = HashMap::new();
        sketches.iter().for_each(|sketch| sketch.add_to(&mut all));
        let count = all[&name(1)];
        assert_eq!((count.count, count.numbers.used), (5, 9));
    }
}
