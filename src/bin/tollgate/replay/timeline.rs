//! Allowed and refused requests over time, in a bounded number of bins.

use serde::{Deserialize, Serialize};
use tollgate::Timestamp;

use super::judge::Fate;

/// Bins kept.
// Bound: when more are needed, the bins become wider and neighbours are joined.
const BINS_MAX: usize = 480;

/// Widths of bins in seconds, each a whole number of times the one before; then doubling.
const WIDTHS_SECS: [u64; 13] = [
    1, 2, 10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400,
];

/// Requests of one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bin {
    pub(crate) allowed: u64,
    pub(crate) refused: u64,
    /// Of those allowed, the ones that a limit in shadow had no room for.
    pub(crate) would_refuse: u64,
}

/// Counts by time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timeline {
    width_secs: u64,
    /// Where the first bin begins, in widths since 1970.
    first: u64,
    bins: Vec<Bin>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            width_secs: WIDTHS_SECS[0],
            first: 0,
            bins: Vec::new(),
        }
    }
}

impl Timeline {
    /// Counts one request. Times never go back.
    pub(crate) fn count(&mut self, time: Timestamp, fate: Fate) {
        if self.bins.is_empty() {
            self.first = time.as_secs() / self.width_secs;
        }
        let index = loop {
            let place = (time.as_secs() / self.width_secs).saturating_sub(self.first);
            match usize::try_from(place) {
                Ok(index) if index < BINS_MAX => break index,
                _ => self.widen(),
            }
        };
        if self.bins.len() <= index {
            self.bins.resize(index + 1, Bin::default());
        }
        if let Some(bin) = self.bins.get_mut(index) {
            bin.allowed += u64::from(fate != Fate::Refused);
            bin.refused += u64::from(fate == Fate::Refused);
            bin.would_refuse += u64::from(fate == Fate::WouldRefuse);
        }
    }

    /// Seconds a bin lasts.
    pub(crate) const fn width_secs(&self) -> u64 {
        self.width_secs
    }

    /// The bins from the first to the last request: when each begins, in seconds, and its counts.
    pub(crate) fn bins(&self) -> impl ExactSizeIterator<Item = (u64, Bin)> + Clone {
        let begin = |place| (self.first + place) * self.width_secs;
        (0..self.bins.len()).map(move |index| {
            let place = u64::try_from(index).unwrap_or(0);
            (
                begin(place),
                self.bins.get(index).copied().unwrap_or_default(),
            )
        })
    }

    fn widen(&mut self) {
        let wider = WIDTHS_SECS
            .iter()
            .copied()
            .find(|&width| width > self.width_secs);
        let width_secs = wider.unwrap_or(self.width_secs * 2);
        let first = self.first * self.width_secs / width_secs;
        let mut bins = Vec::new();
        for (begin, bin) in self.bins() {
            let place = usize::try_from(begin / width_secs - first).unwrap_or(0);
            bins.resize(bins.len().max(place + 1), Bin::default());
            if let Some(joined) = bins.get_mut(place) {
                joined.allowed += bin.allowed;
                joined.refused += bin.refused;
                joined.would_refuse += bin.would_refuse;
            }
        }
        *self = Self {
            width_secs,
            first,
            bins,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn widths_divide_one_another() {
        for pair in WIDTHS_SECS.windows(2) {
            assert_eq!(pair[1] % pair[0], 0, "{pair:?}");
        }
    }

    proptest! {
        #[test]
        fn every_request_is_in_the_bin_of_its_time(
            start in 0_u64..2_000_000_000,
            steps in prop::collection::vec(
                (prop_oneof![Just(0_u64), 0..5_u64, 0..1_000_000_u64], any::<bool>()),
                1..300,
            ),
        ) {
            let mut timeline = Timeline::default();
            let mut now_secs = start;
            let mut seen = Vec::new();
            for (step, allowed) in steps {
                now_secs += step;
                let fate = if allowed { Fate::WouldRefuse } else { Fate::Refused };
                timeline.count(Timestamp::from_secs(now_secs), fate);
                seen.push((now_secs, allowed));
            }
            let mut expected: BTreeMap<u64, Bin> = BTreeMap::new();
            let width = timeline.width_secs();
            for (secs, allowed) in seen {
                let bin = expected.entry(secs / width * width).or_default();
                bin.allowed += u64::from(allowed);
                bin.refused += u64::from(!allowed);
                bin.would_refuse += u64::from(allowed);
            }
            prop_assert!(timeline.bins.len() <= BINS_MAX);
            let found: BTreeMap<u64, Bin> =
                timeline.bins().filter(|(_, bin)| *bin != Bin::default()).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_longest_time_fits() {
        let mut timeline = Timeline::default();
        timeline.count(Timestamp::EPOCH, Fate::Allowed);
        timeline.count(Timestamp::MAX, Fate::Refused);
        assert_eq!(
            timeline
                .bins()
                .filter(|(_, bin)| *bin != Bin::default())
                .count(),
            2
        );
    }
}
