//! What the raced keys must and may count, by what was printed of their races.

use tollgate::Limiter;

use crate::story::{Bounds, Fate};
use crate::{RACED, RACED_KEYS, RACED_RESERVATION, raced_count};

/// One key of a limit that threads race on.
#[derive(Clone, Copy, Default)]
struct Key {
    /// The last race on it in this life; zero for none.
    number: u64,
    is_racing: bool,
    now: Range,
    /// Every range since the last line that the rig is sure to have read before the cut.
    since_known: Range,
}

/// What a key counts at least and at most, and the most that the disk may know of.
#[derive(Clone, Copy, Default)]
struct Range {
    low: u64,
    high: u64,
    /// The highest since the last flush that followed a race: until then a ceiling may stay there.
    peak: u64,
}

/// All raced keys, by limit.
#[derive(Default)]
pub(crate) struct Ranges {
    keys: [[Key; RACED_KEYS]; RACED.len()],
    /// What the next opening found.
    found: [Vec<u64>; RACED.len()],
}

impl Ranges {
    /// A race begins: until it is over the key counts something between the two.
    pub(crate) fn race(&mut self, number: u64, place: [u64; 2], low: u64, most: u64) -> Option<()> {
        let key = self.key(place)?;
        key.number = number;
        key.is_racing = true;
        key.now.low = low;
        key.now.high = most;
        key.now.peak = key.now.peak.max(most);
        Some(())
    }

    /// It is over.
    pub(crate) fn raced(&mut self, place: [u64; 2], low: u64, high: u64) -> Option<()> {
        let key = self.key(place)?;
        key.is_racing = false;
        key.now.low = low;
        key.now.high = high;
        Some(())
    }

    /// A flush returned that was asked for after this race.
    pub(crate) fn flushed(&mut self, number: u64) {
        for key in self.keys.iter_mut().flatten() {
            if !key.is_racing && key.number <= number {
                key.now.peak = key.now.high;
            }
        }
    }

    /// It was closed.
    pub(crate) fn closed(&mut self) {
        self.flushed(u64::MAX);
    }

    /// What an opening found of a limit's keys.
    pub(crate) fn found(&mut self, limit: u64, counts: &[u64]) -> Option<()> {
        *self.found.get_mut(usize::try_from(limit).ok()?)? = counts.to_vec();
        (counts.len() == RACED_KEYS).then_some(())
    }

    /// A life begins: says what is wrong with what it found.
    pub(crate) fn open(&mut self, is_rebuilt: bool, fate: Fate) -> Vec<String> {
        let mut faults = Vec::new();
        for limit in 0..RACED.len() {
            for (number, count) in std::mem::take(&mut self.found[limit])
                .into_iter()
                .enumerate()
            {
                faults.extend(self.bounds(limit, number, fate).fault(count));
                let key = &mut self.keys[limit][number];
                let peak = match is_rebuilt {
                    // The counters were lifted to what the disk knew of.
                    true => count,
                    false => key.now.peak.max(count),
                };
                key.number = 0;
                key.is_racing = false;
                key.now = Range {
                    low: count,
                    high: count,
                    peak,
                };
            }
        }
        faults
    }

    /// A line was told; `is_known` if the rig had read it before the cut.
    pub(crate) fn told(&mut self, is_known: bool) {
        for key in self.keys.iter_mut().flatten() {
            let before = key.since_known;
            key.since_known = match is_known {
                true => key.now,
                false => Range {
                    low: before.low.min(key.now.low),
                    high: before.high.max(key.now.high),
                    peak: before.peak.max(key.now.peak),
                },
            };
        }
    }

    /// What is wrong with what is counted now.
    pub(crate) fn judge(&self, limiter: &Limiter, fate: Fate) -> Result<Verdict, String> {
        let mut verdict = Verdict::default();
        for limit in 0..RACED.len() {
            for key in 0..RACED_KEYS {
                let count = raced_count(limiter, limit, key)?;
                let bounds = self.bounds(limit, key, fate);
                verdict.is_lost |= count < bounds.low;
                verdict.faults.extend(bounds.fault(count));
            }
        }
        Ok(verdict)
    }

    fn bounds(&self, limit: usize, key: usize, fate: Fate) -> Bounds {
        let range = self.keys[limit][key].since_known;
        Bounds {
            what: format!("{}, key {key}", RACED[limit].name),
            low: range.low.saturating_sub(RACED[limit].refill),
            high: match fate {
                Fate::Killed => range.high,
                Fate::Closed | Fate::Cut => range.peak + RACED_RESERVATION,
            },
        }
    }

    fn key(&mut self, [limit, key]: [u64; 2]) -> Option<&mut Key> {
        let keys = self.keys.get_mut(usize::try_from(limit).ok()?)?;
        keys.get_mut(usize::try_from(key).ok()?)
    }
}

/// What the judge finds.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) faults: Vec<String>,
    /// Something that must be counted is not.
    pub(crate) is_lost: bool,
}
