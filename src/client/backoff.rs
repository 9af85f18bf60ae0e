//! How long to wait before the next try: arithmetic, no sleeping.

use std::time::Duration;

/// How often to try, and how long to wait in between.
///
/// A wait that the server asked for goes before its own, lengthened by jitter and never shortened,
/// but not beyond [`longest`](Self::longest): no answer, however absurd, stops a client for
/// a year. Its own waits are shortened by jitter, so that many clients do not come back at once.
///
/// ```
/// use std::time::Duration;
/// use tollgate::client::Backoff;
///
/// // Four tries, 500 ms, 1 s and 2 s apart.
/// let backoff = Backoff::doubling(Duration::from_millis(500)).tries(4).jitter_percent(0);
/// let delays: Vec<_> = (1..=4).map(|sent| backoff.next_delay(sent, None, |_| 0)).collect();
/// let millis = |ms| Some(Duration::from_millis(ms));
/// assert_eq!(delays, [millis(500), millis(1_000), millis(2_000), None]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    first: Duration,
    doubles: bool,
    tries: u32,
    longest: Duration,
    jitter_percent: u32,
}

impl Backoff {
    /// Waits `first`, then twice as long each time. Four tries, five minutes at most, and a jitter
    /// of 20 percent, unless told otherwise.
    pub const fn doubling(first: Duration) -> Self {
        Self {
            first,
            doubles: true,
            tries: 4,
            longest: Duration::from_secs(300),
            jitter_percent: 20,
        }
    }

    /// The same wait each time; else as [`Backoff::doubling`].
    pub const fn constant(wait: Duration) -> Self {
        Self {
            doubles: false,
            ..Self::doubling(wait)
        }
    }

    /// How many times to send at most, the first included.
    pub const fn tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// The longest wait, whoever asks for it, jitter included.
    pub const fn longest(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// How much of a wait is left to chance, in percent of it; more than 100 is taken as 100.
    pub const fn jitter_percent(mut self, percent: u32) -> Self {
        self.jitter_percent = if percent > 100 { 100 } else { percent };
        self
    }

    /// How long to wait after `sent` tries, when the server asked for `asked`; none if it was to be
    /// the last. `random` gives a number from zero to its argument.
    ///
    /// A server that asks for no wait at all, or for one that is over, has said nothing.
    pub fn next_delay(
        &self,
        sent: u32,
        asked: Option<Duration>,
        random: impl FnOnce(u64) -> u64,
    ) -> Option<Duration> {
        if sent >= self.tries {
            return None;
        }
        let asked = asked.filter(|asked| !asked.is_zero());
        let base = asked.unwrap_or_else(|| self.own(sent)).min(self.longest);
        let base_nanos = u64::try_from(base.as_nanos()).unwrap_or(u64::MAX);
        let most_nanos = u128::from(base_nanos) * u128::from(self.jitter_percent) / 100;
        let most_nanos = u64::try_from(most_nanos).unwrap_or(u64::MAX);
        let chance = Duration::from_nanos(random(most_nanos).min(most_nanos));
        Some(match asked {
            Some(_) => base.saturating_add(chance).min(self.longest),
            None => base.saturating_sub(chance),
        })
    }

    /// The wait after `sent` tries that nobody asked for.
    fn own(&self, sent: u32) -> Duration {
        if !self.doubles {
            return self.first;
        }
        // Bound: a factor of 2^31, long past any longest wait that makes sense.
        let doublings = sent.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings)
    }
}
