//! `max_concurrent`: so many at a time for each key, the others in a bounded line.
//!
//! Permits live in memory only: a permit dies with its process, so a crash returns it.
//!
//! Invariant: never more running under a key than the limit in force when they were let in.
//! Invariant: first come, first served. A waiter for many permits at the head of its line holds
//! up all behind it, however few they ask for; else it could wait for ever.

mod keeper;
mod permit;
mod queue;
mod shard;
mod slot;
mod slots;
mod terms;

#[cfg(test)]
#[cfg(tollgate_loom)]
mod loom;
#[cfg(test)]
#[cfg(not(tollgate_loom))]
mod stress;
#[cfg(test)]
#[cfg(not(tollgate_loom))]
mod tests;

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use keeper::{Expire, Keeper};
pub use permit::{Acquire, OwnedAcquire, OwnedPermit, Permit};
use shard::{Load, Shard};
use slots::{mix, position};
pub(crate) use terms::{Ask, PermitTerms};

/// Bits of a key's hash that choose its shard.
const SHARD_BITS_MAX: u32 = 4;

/// Fewer keys than this do not get shards of their own.
const SHARD_KEYS_MIN: u32 = 64;

/// Whose permits are meant: a 64-bit fingerprint of a key, such as a number of an account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PermitKey(pub u64);

impl From<u64> for PermitKey {
    fn from(fingerprint: u64) -> Self {
        Self(fingerprint)
    }
}

/// How many permits a call takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PermitWeight(pub u32);

impl PermitWeight {
    /// One permit, as most calls take.
    pub const ONE: Self = Self(1);
}

/// How many may run at a time under one key, and how the others wait.
///
/// ```
/// use std::time::Duration;
/// use tollgate::PermitRule;
///
/// let mut rule = PermitRule::new(4);
/// rule.queue_max = 16;
/// rule.wait_max = Duration::from_secs(2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PermitRule {
    /// Permits of one key, by weight. Zero lets nobody in.
    pub limit: u32,
    /// How many may wait for one key; with zero a call that would have to wait is refused at once.
    pub queue_max: u32,
    /// The longest wait; [`Duration::MAX`] for one without end.
    pub wait_max: Duration,
    /// How many keys may have somebody running or waiting at one time, at least; from 1 to
    /// [`PermitRule::KEYS_MAX`]. Each takes about 60 to 120 bytes, in use or not.
    pub keys_max: u32,
}

impl PermitRule {
    /// The most keys one set of permits can be made for.
    pub const KEYS_MAX: u32 = 1 << 20;

    /// A rule without a queue for up to 4096 keys; the longest wait, should a queue be added, is
    /// 4 seconds.
    pub const fn new(limit: u32) -> Self {
        Self {
            limit,
            queue_max: 0,
            wait_max: Duration::from_secs(4),
            keys_max: 4096,
        }
    }
}

/// Why permits were not given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AcquireError {
    /// The call would have had to wait, and as many as may wait did already.
    QueueFull,
    /// The call waited as long as it may.
    WaitedTooLong,
    /// The permits were closed, before the call or during its wait.
    Closed,
    /// The weight is zero or above the limit: no wait could help.
    Impossible,
    /// So many keys have somebody running that there is no room for another.
    TooManyKeys,
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QueueFull => "too many are running, and the queue is full",
            Self::WaitedTooLong => "waited too long for others to finish",
            Self::Closed => "the permits are closed",
            Self::Impossible => "asked for no permits, or for more than the limit",
            Self::TooManyKeys => "too many different keys are running at the same time",
        })
    }
}

impl Error for AcquireError {}

/// A rule that [`Permits::new`] cannot keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PermitRuleError {
    /// `keys_max` is not within 1 and [`PermitRule::KEYS_MAX`].
    Keys {
        /// What was asked for.
        keys_max: u32,
    },
}

impl fmt::Display for PermitRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Keys { keys_max } = self;
        let most = PermitRule::KEYS_MAX;
        write!(f, "keys_max is {keys_max}, but must be from 1 to {most}")
    }
}

impl Error for PermitRuleError {}

/// How many run and wait at an instant that is past when this is read.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct PermitUsage {
    /// Permits out, by weight.
    pub running: u64,
    /// Calls waiting.
    pub waiting: u64,
    /// Keys under which anything runs or waits.
    pub keys: u64,
}

impl From<Load> for PermitUsage {
    fn from(load: Load) -> Self {
        Self {
            running: load.running,
            waiting: load.waiting,
            keys: load.keys,
        }
    }
}

/// A semaphore for each key, all under one rule.
///
/// Every key has its permits and its line; a key under which nothing runs is forgotten as soon as
/// its place is needed. Dropping this closes it; permits given out stay valid.
///
/// # Memory ordering
/// What was done before a permit was returned is seen by whoever is given a permit of the same key
/// because of it, or after it. A call that was refused promises nothing of the kind.
///
/// ```
/// use tollgate::{AcquireError, PermitKey, PermitRule, PermitWeight, Permits};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let permits = Permits::new(PermitRule::new(2))?;
/// let alice = PermitKey(17); // a fingerprint of the caller
/// let first = permits.acquire(alice, PermitWeight::ONE)?;
/// let second = permits.acquire(alice, PermitWeight::ONE)?;
/// let third = permits.acquire(alice, PermitWeight::ONE);
/// assert_eq!(third.err(), Some(AcquireError::QueueFull));
/// drop(first);
/// assert!(permits.acquire(alice, PermitWeight::ONE).is_ok());
/// # Ok(())
/// # }
/// ```
pub struct Permits {
    shards: Box<[Arc<Shard>]>,
    shard_shift: u32,
    keeper: Arc<Keeper>,
    wait_max: Duration,
}

impl Permits {
    /// Permits under a rule, none of them out.
    ///
    /// # Errors
    /// If the rule asks for no keys or too many.
    pub fn new(rule: PermitRule) -> Result<Self, PermitRuleError> {
        let terms = PermitTerms {
            limit: rule.limit,
            queue_max: rule.queue_max,
            ..PermitTerms::default()
        };
        Self::under(Arc::new(terms), rule.wait_max, rule.keys_max)
    }

    /// Permits under terms that may differ by key and by caller, none of them out.
    ///
    /// # Errors
    /// If they are for no keys or too many.
    pub(crate) fn under(
        terms: Arc<PermitTerms>,
        wait_max: Duration,
        keys_max: u32,
    ) -> Result<Self, PermitRuleError> {
        if keys_max == 0 || keys_max > PermitRule::KEYS_MAX {
            return Err(PermitRuleError::Keys { keys_max });
        }
        let shard_bits = (keys_max / SHARD_KEYS_MIN)
            .max(1)
            .ilog2()
            .min(SHARD_BITS_MAX);
        // Twice the keys, so that probes stay short and an uneven spread over the shards fits.
        let slots = (2 * position(keys_max)).next_power_of_two() >> shard_bits;
        let keeper = Arc::new(Keeper::new());
        let shards: Box<[Arc<Shard>]> = std::iter::repeat_with(|| {
            Arc::new(Shard::new(slots, Arc::clone(&terms), Arc::clone(&keeper)))
        })
        .take(1 << shard_bits)
        .collect();
        keeper.watch(shards.iter().map(|shard| {
            let shard: Weak<Shard> = Arc::downgrade(shard);
            shard as Weak<dyn Expire>
        }));
        Ok(Self {
            shards,
            shard_shift: u64::BITS - shard_bits,
            keeper,
            wait_max,
        })
    }

    /// Takes `weight` permits of a key, waiting for them up to the longest wait.
    ///
    /// Blocks the thread; for asynchronous code there is [`Permits::acquire_async`].
    ///
    /// # Errors
    /// Any of [`AcquireError`].
    #[inline]
    pub fn acquire(
        &self,
        key: PermitKey,
        weight: PermitWeight,
    ) -> Result<Permit<'_>, AcquireError> {
        self.acquire_within(key, weight, self.wait_max)
    }

    /// As [`Permits::acquire`], with a wait of its own where that is shorter than the longest.
    ///
    /// # Errors
    /// Any of [`AcquireError`].
    #[inline]
    pub fn acquire_within(
        &self,
        key: PermitKey,
        weight: PermitWeight,
        wait: Duration,
    ) -> Result<Permit<'_>, AcquireError> {
        let shard = self.shard(key.0);
        match shard.try_take(Ask::plain(key.0, weight.0))? {
            Some(slot) => Ok(Permit::new(shard, slot, weight.0)),
            None => self.acquire_async(key, weight).within(wait).block(),
        }
    }

    /// Takes `weight` permits of a key if that needs no wait.
    ///
    /// # Errors
    /// [`AcquireError::QueueFull`] if it would, else as [`Permits::acquire`].
    #[inline]
    pub fn try_acquire(
        &self,
        key: PermitKey,
        weight: PermitWeight,
    ) -> Result<Permit<'_>, AcquireError> {
        self.try_ask(Ask::plain(key.0, weight.0))
    }

    /// As [`Permits::try_acquire`], by a caller who may have a limit of its own.
    #[inline]
    pub(crate) fn try_ask(&self, ask: Ask) -> Result<Permit<'_>, AcquireError> {
        let shard = self.shard(ask.key);
        match shard.try_take(ask)? {
            Some(slot) => Ok(Permit::new(shard, slot, ask.weight)),
            None => Err(AcquireError::QueueFull),
        }
    }

    /// As [`Permits::acquire_async`], by a caller who may have a limit of its own.
    pub(crate) fn ask(&self, ask: Ask, wait: Duration) -> Acquire<'_> {
        Acquire::new(self.shard(ask.key), ask, wait)
    }

    /// A future that takes `weight` permits of a key, waiting for them up to the longest wait.
    ///
    /// It runs under any executor. The wait begins when it is first polled; a thread of these
    /// permits, started when first needed, ends it on time.
    #[inline]
    pub fn acquire_async(&self, key: PermitKey, weight: PermitWeight) -> Acquire<'_> {
        self.ask(Ask::plain(key.0, weight.0), self.wait_max)
    }

    /// Permits of one key, by weight.
    pub fn limit(&self) -> u32 {
        self.shards.first().map_or(0, |shard| shard.limit())
    }

    /// Sets how many may run under each key.
    ///
    /// A higher limit lets in as many waiters as now fit. A lower one takes nothing from those who
    /// run, and nobody is let in until few enough do; waiters who ask for more than it are refused
    /// as [`AcquireError::Impossible`]. A call under way at the same time goes by either limit.
    pub fn set_limit(&self, limit: u32) {
        for shard in &self.shards {
            shard.amend_terms(|terms| Arc::make_mut(terms).limit = limit);
        }
    }

    /// Puts other terms in force, as [`Permits::set_limit`] does, unless later ones are already.
    pub(crate) fn set_terms(&self, terms: &Arc<PermitTerms>) {
        for shard in &self.shards {
            shard.amend_terms(|own| {
                if own.generation <= terms.generation {
                    own.clone_from(terms);
                }
            });
        }
    }

    /// Refuses all who wait and all who come, for good. Permits given out stay valid.
    pub fn close(&self) {
        for shard in &self.shards {
            shard.close();
        }
    }

    /// How many run and wait under one key.
    pub fn usage_of(&self, key: PermitKey) -> PermitUsage {
        self.shard(key.0).load_of(key.0).into()
    }

    /// How many run and wait under all keys. Looks at every place there is: for reports.
    pub fn usage(&self) -> PermitUsage {
        let mut sum = PermitUsage::default();
        for shard in &self.shards {
            let load = shard.load();
            sum.running += load.running;
            sum.waiting += load.waiting;
            sum.keys += load.keys;
        }
        sum
    }

    #[inline]
    fn shard(&self, key: u64) -> &Arc<Shard> {
        let index = mix(key).checked_shr(self.shard_shift).unwrap_or(0);
        &self.shards[usize::try_from(index).unwrap_or(0)]
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        self.close();
        self.keeper.stop();
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits")
            .field("limit", &self.limit())
            .field("usage", &self.usage())
            .finish()
    }
}
