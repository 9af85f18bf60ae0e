//! How many requests each key made and how many of them were refused, by the counter that stands
//! for the key: sixteen bytes a key, so that a million clients can be told apart.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use anyhow::{Context, ensure};

/// Keys told apart, of all limits together: some 70 MB.
// Bound: the requests of further ones are only counted all together.
const KEYS_MAX: usize = 1 << 21;

/// Counters are hashes already.
#[derive(Clone, Copy, Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A map by counter.
pub(crate) type ByCounter<T> = HashMap<u64, T, BuildHasherDefault<Hashed>>;

/// What one key came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) requests: u32,
    pub(crate) refused: u32,
}

impl Count {
    fn add(&mut self, refused: bool) {
        self.requests = self.requests.saturating_add(1);
        self.refused = self.refused.saturating_add(u32::from(refused));
    }
}

/// Counts by limit and key.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    limits: Vec<ByCounter<Count>>,
    tracked: usize,
    /// Requests by keys beyond the most.
    left_out: u64,
}

impl Counts {
    /// Counts one request that met `limit` under the key of `counter`.
    pub(crate) fn count(&mut self, limit: usize, counter: u64, refused: bool) {
        if self.limits.len() <= limit {
            self.limits.resize_with(limit + 1, ByCounter::default);
        }
        let Some(counts) = self.limits.get_mut(limit) else {
            return;
        };
        if let Some(count) = counts.get_mut(&counter) {
            count.add(refused);
        } else if self.tracked < KEYS_MAX {
            counts.entry(counter).or_default().add(refused);
            self.tracked += 1;
        } else {
            self.left_out += 1;
        }
    }

    /// Keys told apart.
    pub(crate) fn tracked(&self) -> usize {
        self.tracked
    }

    /// Requests by keys that are not told apart.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// What one key came to; none if it is not told apart.
    pub(crate) fn of(&self, limit: usize, counter: u64) -> Option<Count> {
        self.limits.get(limit)?.get(&counter).copied()
    }

    /// What the keys of one limit came to, in no order.
    pub(crate) fn of_limit(&self, limit: usize) -> impl Iterator<Item = (u64, Count)> {
        let counts = self.limits.get(limit).into_iter().flatten();
        counts.map(|(counter, count)| (*counter, *count))
    }

    /// All of it: for each limit how many keys, then each key's counter, requests and refused.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 * (self.tracked + self.limits.len() + 1));
        bytes.extend(self.left_out.to_le_bytes());
        for counts in &self.limits {
            bytes.extend(u64::try_from(counts.len()).unwrap_or(0).to_le_bytes());
            for (counter, count) in counts {
                bytes.extend(counter.to_le_bytes());
                bytes.extend(count.requests.to_le_bytes());
                bytes.extend(count.refused.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// If it is anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut rest = bytes;
        let mut number = || {
            let (number, behind) = rest.split_first_chunk().context("counts that end early")?;
            rest = behind;
            Ok::<u64, anyhow::Error>(u64::from_le_bytes(*number))
        };
        let mut counts = Self {
            left_out: number()?,
            ..Self::default()
        };
        let mut left = (bytes.len() - 8) / 8;
        while left > 0 {
            let keys = usize::try_from(number()?)?;
            left -= 1;
            ensure!(keys <= left / 2, "counts that end early");
            let mut limit = ByCounter::with_capacity_and_hasher(keys, Default::default());
            for _ in 0..keys {
                let (counter, both) = (number()?, number()?);
                let [a, b, c, d, e, f, g, h] = both.to_le_bytes();
                let count = Count {
                    requests: u32::from_le_bytes([a, b, c, d]),
                    refused: u32::from_le_bytes([e, f, g, h]),
                };
                limit.insert(counter, count);
            }
            left -= 2 * keys;
            counts.tracked += keys;
            counts.limits.push(limit);
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut counts = Counts::default();
        for (limit, counter, refused) in [(2, 7, true), (0, 7, false), (2, 7, false), (2, 9, true)]
        {
            counts.count(limit, counter, refused);
        }
        let bytes = counts.to_bytes();
        let read = Counts::from_bytes(&bytes).unwrap();
        let count = |requests, refused| Some(Count { requests, refused });
        for counts in [&counts, &read] {
            assert_eq!(counts.of(2, 7), count(2, 1));
            assert_eq!(counts.of(0, 7), count(1, 0));
            assert_eq!(counts.of(1, 7), None);
            assert_eq!((counts.tracked(), counts.of_limit(2).count()), (3, 2));
        }
        assert_eq!(read.limits, counts.limits);
        for end in 0..bytes.len() - 1 {
            let cut = Counts::from_bytes(&bytes[..end]);
            assert!(
                cut.is_err() || cut.is_ok_and(|cut| cut.tracked < 3),
                "{end}"
            );
        }
    }
}
