//! Time as a straight line over the processor's counter, from one look at the kernel's clock to the
//! next. Arithmetic only.

use std::time::Duration;

use crate::time::NANOS_PER_SEC;

/// A rate is in nanoseconds a tick, of which this many bits are a fraction.
const FRACTION_BITS: u32 = 32;

/// A line is gone by for no longer than this. The next look comes after a twentieth of it.
const LONGEST: Duration = Duration::from_secs(2);

/// Two measurements of the counter's rate that differ by more than one part in so many do not
/// agree: the machine was suspended or moved between them.
const AGREES_TO: u64 = 1_000;

/// A line that is ahead comes back to the kernel's clock over so many nanoseconds ...
const CATCHES_UP_IN: u64 = NANOS_PER_SEC;
/// ... but is not slower than the kernel's clock by more than one part in 2^this.
const SLOWER_SHIFT: u32 = 4;

/// How many ticks after the counter was read for a new line others may still read it for the old
/// one: a processor runs ahead of the look that tells it so.
const OVERLAP_TICKS: u64 = 1 << 12;

/// Both clocks at one instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sample {
    pub(super) ticks: u64,
    pub(super) boot_nanos: u64,
}

/// Nanoseconds a tick, in units of 2^-32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rate(pub(super) u64);

impl Rate {
    /// The counter's rate between two samples; `None` if no counter is like that.
    pub(super) fn between(former: Sample, latter: Sample) -> Option<Self> {
        let ticks = latter.ticks.checked_sub(former.ticks)?;
        let nanos = latter.boot_nanos.checked_sub(former.boot_nanos)?;
        let scaled = (u128::from(nanos) << FRACTION_BITS).checked_div(u128::from(ticks))?;
        // From 1 MHz to 64 GHz, over less than an hour.
        let is_sound = (1 << FRACTION_BITS >> 6..=1000 << FRACTION_BITS).contains(&scaled);
        let rate = u64::try_from(scaled).ok().filter(|_| is_sound)?;
        Some(Self(rate))
    }

    pub(super) fn agrees_with(self, other: Self) -> bool {
        self.0.abs_diff(other.0) <= self.0.min(other.0) / AGREES_TO
    }

    /// The nanoseconds of so many ticks, a few seconds at most.
    fn nanos(self, ticks: u64) -> u64 {
        let nanos = (u128::from(ticks) * u128::from(self.0)) >> FRACTION_BITS;
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// The rate at which a line that is ahead by so much comes back.
    fn slower(self, ahead_nanos: u64) -> Self {
        let part = u128::from(self.0) * u128::from(ahead_nanos) / u128::from(CATCHES_UP_IN);
        let most = self.0 >> SLOWER_SHIFT;
        Self(self.0 - u64::try_from(part).unwrap_or(u64::MAX).min(most))
    }
}

/// Time from `start_ticks` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Line {
    pub(super) start_ticks: u64,
    pub(super) start_nanos: u64,
    pub(super) rate: u64,
    /// It is not gone by from so many ticks on.
    pub(super) ticks: u64,
}

impl Line {
    /// No line: it is gone by for no tick.
    pub(super) const NONE: Self = Self {
        start_ticks: 0,
        start_nanos: 0,
        rate: 0,
        ticks: 0,
    };

    /// The time at a tick; `None` where the line is not to be gone by.
    #[inline(always)]
    pub(super) fn at(&self, ticks: u64) -> Option<u64> {
        // A counter that went back is far ahead in this sense.
        let gone = ticks.wrapping_sub(self.start_ticks);
        // Bound: `ticks` is chosen so that the product fits.
        (gone < self.ticks).then(|| self.start_nanos + ((gone * self.rate) >> FRACTION_BITS))
    }

    /// The latest time that it can have shown.
    pub(super) fn end_nanos(&self) -> u64 {
        self.start_nanos + Rate(self.rate).nanos(self.ticks)
    }

    /// The line from `ticks` on, of a counter of this rate, towards `target_nanos`: what the
    /// kernel's clock makes of that instant. Until then `old` was gone by, or nothing, and
    /// `ours_nanos` is the latest that was shown; no later tick shows less.
    pub(super) fn next(
        ticks: u64,
        rate: Rate,
        target_nanos: u64,
        old: Self,
        ours_nanos: u64,
    ) -> Self {
        let rate = rate.slower(ours_nanos.saturating_sub(target_nanos));
        // What the old line still gains where others go by it a little longer.
        let gain_nanos = Rate(old.rate.saturating_sub(rate.0)).nanos(OVERLAP_TICKS);
        let length = LONGEST.as_nanos() << FRACTION_BITS;
        Self {
            start_ticks: ticks,
            start_nanos: target_nanos.max(ours_nanos.saturating_add(gain_nanos)),
            rate: rate.0,
            ticks: u64::try_from(length / u128::from(rate.0.max(1))).unwrap_or(0),
        }
    }
}
