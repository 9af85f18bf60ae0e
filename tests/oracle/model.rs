//! What each algorithm means, written down as plainly as can be: levels, counts and window numbers.

use std::collections::BTreeMap;

const SECOND: u64 = 1_000_000_000;
const DAY_SECS: u64 = 86_400;
/// How finely a bucket tells time, in nanoseconds.
const UNIT: u64 = 50;
/// How finely a window from the first hit does.
const HUNDREDTH: u64 = 10_000_000;
/// Kathmandu is five hours and three quarters ahead, all year.
const KATHMANDU_SECS: u64 = 20_700;

/// A limit's algorithm and numbers.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A token each `token_ms`, said as `count` of them.
    Bucket {
        count: u64,
        token_ms: u64,
        burst: u64,
    },
    Fixed {
        amount: u64,
        secs: u64,
    },
    FirstHit {
        amount: u64,
        secs: u64,
    },
    Sliding {
        amount: u64,
        secs: u64,
    },
    KathmanduDay {
        amount: u64,
    },
}

impl Kind {
    /// The limit's rate and algorithm, as a policy says them.
    pub(crate) fn text(&self) -> String {
        let algorithm = match self {
            Self::Bucket { .. } => "token bucket",
            Self::Fixed { .. } => "fixed window",
            Self::FirstHit { .. } => "fixed window from first hit",
            Self::Sliding { .. } => "sliding window",
            Self::KathmanduDay { .. } => "calendar\"\ntime_zone = \"Asia/Kathmandu",
        };
        format!("rate = \"{}\"\nalgorithm = \"{algorithm}\"", self.rate())
    }

    /// The rate alone.
    pub(crate) fn rate(&self) -> String {
        match self {
            Self::Bucket {
                count,
                token_ms,
                burst,
            } => format!("{count} per {} ms burst {burst}", count * token_ms),
            Self::Fixed { amount, secs }
            | Self::FirstHit { amount, secs }
            | Self::Sliding { amount, secs } => format!("{amount} per {secs} s"),
            Self::KathmanduDay { amount } => format!("{amount}/day"),
        }
    }

    /// The same with another amount.
    pub(crate) fn with_amount(&self, most: u64) -> Self {
        let mut kind = self.clone();
        match &mut kind {
            Self::Bucket { burst: amount, .. }
            | Self::Fixed { amount, .. }
            | Self::FirstHit { amount, .. }
            | Self::Sliding { amount, .. }
            | Self::KathmanduDay { amount } => *amount = most,
        }
        kind
    }

    /// What the limit holds.
    pub(crate) fn capacity(&self) -> u64 {
        match *self {
            Self::Bucket { burst, .. } => burst,
            Self::Fixed { amount, .. }
            | Self::FirstHit { amount, .. }
            | Self::Sliding { amount, .. }
            | Self::KathmanduDay { amount } => amount,
        }
    }

    /// The window that an instant is in, told by a number.
    fn window(&self, now: u64) -> u64 {
        match self {
            Self::Fixed { secs, .. } | Self::Sliding { secs, .. } => now / (secs * SECOND),
            Self::KathmanduDay { .. } => (now / SECOND + KATHMANDU_SECS) / DAY_SECS,
            Self::Bucket { .. } | Self::FirstHit { .. } => 0,
        }
    }
}

/// One counter.
#[derive(Clone)]
pub(crate) struct Meter {
    pub(crate) kind: Kind,
    /// Of a bucket: nanoseconds' worth of tokens missing to the brim, at that instant.
    missing: i128,
    at: u64,
    /// Of windows: what each of them counted. A window from the first hit is told by its end, in
    /// hundredths of a second.
    counts: BTreeMap<u64, u64>,
}

/// What a take changed.
#[derive(Clone, Debug)]
pub(crate) struct Take {
    pub(crate) cost: u64,
    /// The window that counted it.
    window: u64,
    /// When a bucket would have been full again, if nothing more had been taken.
    paid_at: i128,
}

impl Meter {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            missing: 0,
            at: 0,
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.kind.capacity()
    }

    fn token_nanos(&self) -> i128 {
        match self.kind {
            Kind::Bucket { token_ms, .. } => i128::from(token_ms) * 1_000_000,
            _ => 1,
        }
    }

    /// Lets time pass; for a bucket in whole units.
    fn tick(&mut self, now: u64) {
        let now = match self.kind {
            Kind::Bucket { .. } => now / UNIT * UNIT,
            _ => now,
        };
        self.missing = (self.missing - i128::from(now - self.at)).max(0);
        self.at = now;
        if matches!(self.kind, Kind::FirstHit { .. }) {
            self.counts.retain(|end, _| end * HUNDREDTH > now);
        }
    }

    fn count(&self, window: u64) -> u64 {
        self.counts.get(&window).copied().unwrap_or(0)
    }

    /// What is taken and not yet back, in whole tokens.
    pub(crate) fn used(&mut self, now: u64) -> u64 {
        self.tick(now);
        let window = self.kind.window(now);
        match self.kind {
            Kind::Bucket { .. } => {
                let token = self.token_nanos();
                u64::try_from((self.missing + token - 1) / token).unwrap()
            }
            Kind::FirstHit { .. } => self.counts.values().sum(),
            Kind::Sliding { secs, .. } => {
                let length = secs * SECOND;
                let left = u128::from(length - now % length);
                let before = u128::from(self.count(window - 1));
                let weight = (before * left).div_ceil(u128::from(length));
                self.count(window) + u64::try_from(weight).unwrap()
            }
            Kind::Fixed { .. } | Kind::KathmanduDay { .. } => self.count(window),
        }
    }

    pub(crate) fn has_room(&mut self, now: u64, cost: u64) -> bool {
        let used = u128::from(self.used(now));
        cost == 0 || used + u128::from(cost) <= u128::from(self.capacity())
    }

    /// Takes; there must be room.
    pub(crate) fn take(&mut self, now: u64, cost: u64) -> Take {
        self.tick(now);
        if cost == 0 {
            let (window, paid_at) = (u64::MAX, 0);
            return Take {
                cost,
                window,
                paid_at,
            };
        }
        self.missing += i128::from(cost) * self.token_nanos();
        let window = self.open_window(now);
        *self.counts.entry(window).or_default() += cost;
        Take {
            cost,
            window,
            paid_at: i128::from(self.at) + self.missing,
        }
    }

    fn open_window(&self, now: u64) -> u64 {
        match self.kind {
            Kind::FirstHit { secs, .. } => {
                let open = self.counts.keys().next().copied();
                open.unwrap_or(now.div_ceil(HUNDREDTH) + secs * 100)
            }
            _ => self.kind.window(now),
        }
    }

    /// Takes whatever is left: a bucket goes into debt by one burst at most.
    pub(crate) fn charge(&mut self, now: u64, cost: u64) {
        self.tick(now);
        let before = self.missing;
        self.take(now, cost);
        // A wider rate may have allowed more than that.
        let most = 2 * i128::from(self.capacity()) * self.token_nanos();
        self.missing = self.missing.min(most.max(before));
    }

    /// Gives back: to the window that counted it, or to the bucket what time has not given back.
    pub(crate) fn refund(&mut self, now: u64, take: &Take, cost: u64) {
        self.tick(now);
        let unpaid = (take.paid_at - i128::from(self.at)).max(0);
        let back = (i128::from(cost) * self.token_nanos()).min(unpaid);
        self.missing = (self.missing - back).max(0);
        if let Some(count) = self.counts.get_mut(&take.window) {
            *count = count.saturating_sub(cost);
        }
    }
}
