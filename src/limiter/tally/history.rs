//! What a limit decided in each minute of the last hour.

use crate::time::Timestamp;

/// Minutes that are kept.
// Bound: an hour.
pub(super) const MINUTES: usize = 60;

/// Allowed and refused, minute by minute; none before the first decision.
#[derive(Clone, Default)]
pub(super) struct History(Vec<Minute>);

#[derive(Clone, Copy, Default)]
struct Minute {
    /// Minutes since 1970.
    number: u64,
    counts: [u64; 2],
}

impl History {
    /// The number of the minute of an instant.
    pub(super) fn minute(at: Timestamp) -> u64 {
        at.as_secs() / 60
    }

    /// Counts in a minute, unless it is more than an hour before one that was counted.
    pub(super) fn count(&mut self, number: u64, counts: [u64; 2]) {
        self.0.resize(MINUTES, Minute::default());
        // The same place an hour later.
        let place = usize::try_from(number % MINUTES as u64).unwrap_or(0);
        let minute = &mut self.0[place];
        if minute.number > number {
            return;
        }
        if minute.number < number {
            *minute = Minute {
                number,
                counts: [0, 0],
            };
        }
        for (sum, more) in minute.counts.iter_mut().zip(counts) {
            *sum += more;
        }
    }

    /// Adds what another thread's shard counted.
    pub(super) fn add(&mut self, other: &Self) {
        for minute in &other.0 {
            self.count(minute.number, minute.counts);
        }
    }

    /// The hour that ends with this minute, from its oldest on.
    pub(super) fn hour(&self, last: u64) -> Vec<[u64; 2]> {
        let first = (last + 1).saturating_sub(MINUTES as u64);
        let counts = |number: u64| {
            let mut own = self.0.iter().filter(|minute| minute.number == number);
            own.next().map_or([0, 0], |minute| minute.counts)
        };
        (first..=last).map(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut history = History::default();
        assert_eq!(history.hour(1_000), vec![[0, 0]; 60]);
        for minute in 900..=1_000 {
            history.count(minute, [1, 0]);
            history.count(minute, [minute, 2]);
        }
        let hour = history.hour(1_000);
        assert_eq!((hour[0], hour[59]), ([942, 2], [1_001, 2]));
        // Ten minutes without anything.
        let later = history.hour(1_010);
        assert_eq!(
            (later[0], later[49], later[50]),
            ([952, 2], [1_001, 2], [0, 0])
        );
        let mut other = History::default();
        other.count(1_005, [7, 7]);
        other.count(1_000, [1, 1]);
        other.count(700, [9, 9]);
        history.add(&other);
        let both = history.hour(1_005);
        assert_eq!(
            (both[59], both[54], both[53]),
            ([7, 7], [1_002, 3], [1_000, 2])
        );
    }
}
