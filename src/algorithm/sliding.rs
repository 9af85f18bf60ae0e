//! Sliding window: this window's count, and the last one's weighted by how much of it still shows.
//!
//! With limit `L`, window `W`, and a fraction `f` of the current window gone by, a take of `cost`
//! is admitted if `ceil(previous * (1 - f)) + current + cost <= L`. The weight is exact, in
//! integers, rounded up.
//!
//! *Error bound.* In the stretch of length `W` that ends at fraction `f` of the current window, at
//! most `L + f * previous` is admitted: never twice `L`, and exactly `L` where the previous
//! window's hits were spread evenly or where it had none. A fixed window reaches `2 L` within an
//! instant; here the excess needs the whole previous window's hits at its very end and nearly a
//! whole window's wait after them.
//!
//! Two words carry it: even windows count in one slot, odd ones in the other, so the last window's
//! word stays where it was counted. A word dies one window after its own has closed.
//!
//! If the table has no slot left for a window, the window counts in the word of the one before it.
//! The first take adds the weight that the previous window has at that moment, and that part no
//! longer decays until the window ends. So the limit is never exceeded, but less is admitted.

use super::grain::{Grain, Seconds};
use super::window::fit;
use super::word::WindowWord;
use super::{Period, Retry, RuleError, Status, Step, Word};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// A counter's two words.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    pub(super) main: WindowWord,
    pub(super) other: WindowWord,
}

/// At most about `amount` in any stretch of `window_secs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sliding {
    amount: u32,
    window_secs: u32,
}

impl Sliding {
    /// A sliding window of `window_secs` seconds.
    ///
    /// # Errors
    /// Says which number is out of range, and what would be in range.
    pub(crate) fn new(amount: u64, window_secs: u64) -> Result<Self, RuleError> {
        let (amount, window_secs) = fit(amount, window_secs)?;
        Ok(Self {
            amount,
            window_secs,
        })
    }

    pub(crate) const fn amount(&self) -> u64 {
        self.amount as u64
    }

    pub(super) const fn window_secs(&self) -> u32 {
        self.window_secs
    }

    pub(crate) fn period(&self, now: Timestamp) -> Period {
        Period::aligned(now, self.window_secs)
    }

    /// Which of the limit's two slots counts the window `period`.
    pub(crate) fn parity(&self, period: Period) -> u64 {
        u64::from(period.start_secs / self.window_secs) & 1
    }

    /// Counts of the current and the previous window. A word of another window counts nothing.
    fn counts(&self, period: Period, words: Windows) -> (u32, u32) {
        let of = |dies_at: u32| {
            let [main, other] = [words.main, words.other].map(|word| {
                let is_of = word.dies_at_secs == dies_at;
                if is_of { word.count } else { 0 }
            });
            // Both only if two threads of which one found a slot came at once.
            Seconds::add(main, u64::from(other))
        };
        (of(self.death(period)), of(period.end_secs))
    }

    /// True if each of the two words stands in the other's slot.
    pub(super) fn is_crosswise(&self, period: Period, words: Windows) -> bool {
        words.other.dies_at_secs == self.death(period) || words.main.dies_at_secs == period.end_secs
    }

    /// What stands in the main slot already, as a part of the current window's count.
    fn standing(&self, period: Period, main: WindowWord, gone_nanos: u64) -> u32 {
        if main.dies_at_secs == self.death(period) {
            main.count
        } else if main.dies_at_secs == period.end_secs {
            Seconds::add(0, self.weigh(main.count, gone_nanos))
        } else {
            0
        }
    }

    /// When the word that counts `period` dies.
    fn death(&self, period: Period) -> u32 {
        period.end_secs.saturating_add(self.window_secs)
    }

    /// What the previous window still weighs, `gone_nanos` into the current one.
    fn weigh(&self, previous: u32, gone_nanos: u64) -> u64 {
        if previous == 0 {
            return 0;
        }
        let window_nanos = u64::from(self.window_secs) * NANOS_PER_SEC;
        let left = u128::from(window_nanos.saturating_sub(gone_nanos));
        let weight = (u128::from(previous) * left).div_ceil(u128::from(window_nanos));
        u64::try_from(weight).unwrap_or(u64::MAX)
    }

    fn gone_nanos(period: Period, now: Timestamp) -> u64 {
        now.as_nanos()
            .saturating_sub(u64::from(period.start_secs) * NANOS_PER_SEC)
    }

    /// Nanoseconds into a window from which `previous` weighs no more than `room`.
    fn room_nanos(&self, previous: u32, room: u64) -> u64 {
        if u64::from(previous) <= room {
            return 0;
        }
        let window_nanos = u128::from(self.window_secs) * u128::from(NANOS_PER_SEC);
        // ceil(p * (w - g) / w) <= r  <=>  p * (w - g) <= r * w  <=>  g >= w - floor(r * w / p)
        let left = u128::from(room) * window_nanos / u128::from(previous);
        u64::try_from(window_nanos - left).unwrap_or(u64::MAX)
    }

    pub(super) fn step(&self, period: Period, words: Windows, now: Timestamp, cost: u64) -> Step {
        let (main_dies, other_dies) = (words.main.dies_at_secs, words.other.dies_at_secs);
        let death = self.death(period);
        if main_dies > death || other_dies > period.end_secs && other_dies != death {
            return Step::Future;
        }
        if cost > u64::from(self.amount) {
            return Step::Never;
        }
        let (current, previous) = self.counts(period, words);
        let gone_nanos = Self::gone_nanos(period, now);
        let weighed = self.weigh(previous, gone_nanos);
        if weighed + u64::from(current) + cost > u64::from(self.amount) {
            return Step::Refuse;
        }
        let count = self.standing(period, words.main, gone_nanos);
        Step::Admit(Word::window(self.death(period), Seconds::add(count, cost)))
    }

    /// Takes `cost` whatever is left; the count stops at what a word can hold.
    pub(super) fn charge(&self, period: Period, words: Windows, cost: u64) -> Word {
        // A word that another thread has moved on to the next window is charged where it is.
        let dies_at = self.death(period).max(words.main.dies_at_secs);
        let count = if words.main.dies_at_secs == dies_at {
            words.main.count
        } else {
            // What stands there of the previous window weighs no more than all of it.
            self.standing(period, words.main, 0)
        };
        Word::window(dies_at, Seconds::add(count, cost))
    }

    pub(super) fn status(&self, period: Period, words: Windows, now: Timestamp) -> Status {
        let (current, previous) = self.counts(period, words);
        let used = u64::from(current) + self.weigh(previous, Self::gone_nanos(period, now));
        let reset = match (current, previous) {
            (0, 0) => now,
            (0, _) => Timestamp::from_secs(u64::from(period.end_secs)),
            _ => Timestamp::from_secs(u64::from(self.death(period))),
        };
        let amount = u64::from(self.amount);
        Status {
            limit: amount,
            used,
            remaining: amount.saturating_sub(used),
            reset,
        }
    }

    pub(super) fn retry(&self, period: Period, words: Windows, now: Timestamp, cost: u64) -> Retry {
        let Some(room) = u64::from(self.amount).checked_sub(cost) else {
            return Retry::Never;
        };
        let (current, previous) = self.counts(period, words);
        let start = Timestamp::from_secs(u64::from(period.start_secs));
        let ready = match room.checked_sub(u64::from(current)) {
            // The previous window decays far enough while the current one lasts ...
            Some(room) => start.plus_nanos(self.room_nanos(previous, room)),
            // ... or the current count must itself become the previous one, and decay.
            None => Timestamp::from_secs(u64::from(period.end_secs))
                .plus_nanos(self.room_nanos(current, room)),
        };
        Retry::at(ready, now)
    }
}
