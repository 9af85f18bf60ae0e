//! Paces: the numbers by which bucket words name the rate that they were written at.
//!
//! A word has room for a number of five bits, not for a rate. So the directory keeps, for each
//! limit, which number stands for which rate. A rate keeps its number as long as the limit has it,
//! and after that for as long as any word could still count that names it.

use super::bucket::{Bucket, Written};
use super::word::{NO_PACE, PACE_MAX};
use crate::time::Timestamp;

/// A rate and its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Named {
    pub(crate) pace: u8,
    pub(crate) count: u64,
    pub(crate) period_nanos: u64,
    pub(crate) burst: u64,
    /// Since when the limit has the rate no more.
    pub(crate) until: Option<Timestamp>,
}

impl Named {
    fn new(pace: u8, rate: &Bucket) -> Self {
        let (count, period_nanos) = rate.rate();
        Self {
            pace,
            count,
            period_nanos,
            burst: rate.burst(),
            until: None,
        }
    }

    fn is_of(&self, rate: &Bucket) -> bool {
        Self::new(self.pace, rate)
            == Self {
                until: None,
                ..*self
            }
    }

    /// True if a word may still name the rate and count. Twice the longest debt, since a call that
    /// began under the old rate may end a little later.
    fn may_be_named(&self, now: Timestamp) -> bool {
        let lasts_nanos = self.bucket().map_or(0, |bucket| bucket.horizon_nanos());
        self.until
            .is_none_or(|until| until.plus_nanos(2 * lasts_nanos) > now)
    }

    /// The rate; `None` if there is no such bucket, or a word cannot hold the number.
    pub(crate) fn bucket(&self) -> Option<Bucket> {
        let bucket = Bucket::new(self.count, self.period_nanos, self.burst).ok()?;
        (NO_PACE + 1..=PACE_MAX)
            .contains(&self.pace)
            .then(|| bucket.with_pace(self.pace))
    }
}

/// The paces of one limit.
// Bound: as many as a word can tell apart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Paces(Vec<Named>);

impl Paces {
    pub(crate) const NONE: Self = Self(Vec::new());

    /// The rate that a word of this pace was written at.
    pub(crate) fn get(&self, pace: u8) -> Option<Written> {
        let named = self.0.iter().find(|named| named.pace == pace)?;
        Some(Written {
            at: named.bucket()?,
            until: named.until,
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Named> {
        self.0.iter()
    }

    /// The largest burst of all that words may name.
    pub(crate) fn most_burst(&self) -> u64 {
        self.0.iter().map(|named| named.burst).max().unwrap_or(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one that was read from the disk; false if its number is taken, or it is no rate.
    pub(crate) fn add(&mut self, named: Named) -> bool {
        let is_good = named.bucket().is_some() && self.get(named.pace).is_none();
        if is_good {
            self.0.push(named);
        }
        is_good
    }

    /// The rate with its number. A rate without one gets one; if no number is left, its words name
    /// no rate, and other rates read them as time, see [`Bucket::converted`].
    pub(crate) fn name(&mut self, rate: &Bucket, now: Timestamp) -> Bucket {
        if let Some(named) = self.0.iter_mut().find(|named| named.is_of(rate)) {
            named.until = None;
            return rate.with_pace(named.pace);
        }
        self.forget(now);
        let is_free = |pace: &u8| self.0.iter().all(|named| named.pace != *pace);
        let Some(pace) = (NO_PACE + 1..=PACE_MAX).find(is_free) else {
            return rate.with_pace(NO_PACE);
        };
        self.0.push(Named::new(pace, rate));
        rate.with_pace(pace)
    }

    /// Notes that every rate has ended that is not among `current`.
    pub(crate) fn retire(&mut self, current: &[Bucket], now: Timestamp) {
        for named in &mut self.0 {
            let is_current = current.iter().any(|rate| named.is_of(rate));
            if !is_current && named.until.is_none() {
                named.until = Some(now);
            }
        }
    }

    /// Removes the rates that no word can name any more.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        self.0.retain(|named| named.may_be_named(now));
    }

    /// True if the rate's number stands for this rate here.
    pub(crate) fn has(&self, rate: &Bucket) -> bool {
        let mut all = self.0.iter();
        rate.pace() == NO_PACE || all.any(|named| named.pace == rate.pace() && named.is_of(rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400 * 1_000_000_000;

    fn per_day(count: u64) -> Bucket {
        Bucket::new(count, DAY, count).unwrap()
    }

    #[test]
    fn a_rate_keeps_its_number_and_others_get_others() {
        let (mut paces, now) = (Paces::default(), Timestamp::from_secs(1_000));
        let first = paces.name(&per_day(1), now);
        let second = paces.name(&per_day(2), now);
        assert_ne!(first.pace(), second.pace());
        assert_eq!(paces.name(&per_day(1), now), first);
        assert_eq!(
            paces.get(second.pace()).map(|written| written.at),
            Some(second)
        );
        assert!(paces.has(&first) && !paces.has(&per_day(3).with_pace(first.pace())));
    }

    #[test]
    fn numbers_are_given_again_only_when_no_word_can_name_the_old_rate() {
        let (mut paces, now) = (Paces::default(), Timestamp::from_secs(1_000));
        let all: Vec<u8> = (1..=40)
            .map(|count| paces.name(&per_day(count), now).pace())
            .collect();
        let mut numbers = all[..31].to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 31);
        assert!(all[31..].iter().all(|pace| *pace == NO_PACE));
        paces.retire(&[per_day(2)], now);
        let soon = now.plus_nanos(3 * DAY);
        assert_eq!(paces.name(&per_day(99), soon).pace(), NO_PACE);
        let late = now.plus_nanos(4 * DAY);
        assert_ne!(paces.name(&per_day(99), late).pace(), NO_PACE);
        assert_eq!(paces.name(&per_day(2), late).pace(), all[1]);
    }

    #[test]
    fn what_is_read_is_checked() {
        let named = Named::new(3, &per_day(5));
        let mut paces = Paces::default();
        assert!(paces.add(named) && !paces.add(named));
        for wrong in [0, 32, 255] {
            assert!(!paces.add(Named {
                pace: wrong,
                ..named
            }));
        }
        assert!(!paces.add(Named {
            pace: 4,
            count: 0,
            ..named
        }));
    }
}
