//! One limit asked directly, for those who want no request to be matched.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;

use super::decision::Entry;
use super::direct::Key;
use super::law::Law;
use super::meter::Meter;
use super::outcome::{Outcome, Verdict};
use super::{Inner, Limiter};
use crate::algorithm::Rule;
use crate::counter::{Counter, CounterStore, Take};
use crate::error::Error;
use crate::key::KeyHash;
use crate::policy::LimitIndex;
use crate::time::Timestamp;

/// A limit of a limiter, to be asked directly.
///
/// It follows the policy in force: the same handle goes on after a change of policy, unless the
/// limit is gone, which refuses everything as [`Verdict::Unknown`]. Tiers are matters of requests
/// and do not apply; overrides do. Clones count together.
///
/// ```
/// # use tollgate::{Limiter, Policy};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let policy = Policy::from_toml(
///     r#"
///     [limits.upload]
///     rate = "10/min"
///     key = "user"
///     "#,
/// )?;
/// let limiter = Limiter::open(dir.path().join("data"), policy)?;
/// let upload = limiter.limit("upload")?;
/// assert!(upload.check("alice").is_allowed());
/// assert_eq!(upload.usage("alice").used(), 1);
/// # Ok(())
/// # }
/// ```
pub struct Limit {
    pub(super) inner: Arc<Inner>,
    name: Box<str>,
    /// Where the limit stood when it was last looked up: the law's number above, its place below.
    place: AtomicU64,
}

/// Keys of a batch that are looked up at once: about as many loads as a processor has under way.
const BATCH: usize = 16;

/// Bits of a limit's place in its law; there are 256 at most.
const PLACE_BITS: u32 = 16;

impl Limit {
    pub(super) fn new(inner: &Arc<Inner>, name: &str) -> Result<Self, Error> {
        let law = inner.law.current();
        if law.plan().limit_named(name).is_none() {
            return Err(match law.plan().override_key_named(name) {
                None => Error::unknown_limit(name),
                Some(_) => {
                    let why = "says how many run at a time; ask for a request by acquire";
                    Error::invalid(format!("limit {name:?}"), why)
                }
            });
        }
        Ok(Self {
            inner: inner.clone(),
            name: name.into(),
            place: AtomicU64::new(u64::MAX),
        })
    }

    /// The limit's name in the policy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The limiter it is a limit of.
    pub fn limiter(&self) -> Limiter {
        Limiter {
            inner: self.inner.clone(),
        }
    }

    /// True if the limit's key has this shape, so that it can be asked about: as many values, in
    /// the order of the policy's text. Nothing is charged.
    ///
    /// ```
    /// # use tollgate::{Limiter, Policy};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let policy = Policy::from_toml("[limits.l]\nrate = \"1/s\"\nkey = \"team + user\"")?;
    /// # let limiter = Limiter::open(dir.path().join("data"), policy)?;
    /// let per_member = limiter.limit("l")?; // by the key "team + user"
    /// assert!(per_member.fits(&["red", "alice"]));
    /// assert!(!per_member.fits("alice"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn fits<'k>(&self, key: impl Into<Key<'k>>) -> bool {
        let law = self.inner.law.read();
        self.counter(&law, key.into()).is_ok()
    }

    /// Takes one, if there is room.
    #[inline]
    pub fn check<'k>(&self, key: impl Into<Key<'k>>) -> Outcome {
        self.check_cost(key, 1)
    }

    /// Takes `cost`, if there is room for all of it.
    #[inline]
    pub fn check_cost<'k>(&self, key: impl Into<Key<'k>>, cost: u64) -> Outcome {
        let key = key.into();
        key.ask_for();
        let outcome = self.take(key, cost);
        self.tell(key, &outcome);
        outcome
    }

    fn take(&self, key: Key<'_>, cost: u64) -> Outcome {
        let now = self.inner.counters.clock.now();
        self.inner.law.with(|law| {
            let Some(limit) = self.find(law) else {
                return Outcome::without_counter(&Rule::Deny, now, cost, Verdict::Unknown);
            };
            let meter = law.meter(limit);
            self.take_hashed(law, meter, key.hash(law, meter), now, cost)
        })
    }

    /// Takes `cost` for the key of this hash; `None` is a key that does not fit the limit.
    #[inline(always)]
    fn take_hashed(
        &self,
        law: &Law,
        meter: &Meter,
        key: Option<KeyHash>,
        now: Timestamp,
        cost: u64,
    ) -> Outcome {
        let Some(key) = key else {
            let verdict = meter.refusing(Verdict::KeyMissing);
            return Outcome::without_counter(&Rule::Deny, now, cost, verdict);
        };
        let rule = meter.rule_without_tier(key);
        let counter = self.inner.counter_of(law, meter, rule, meter.tag(key));
        if cost > meter.max_cost {
            let outcome = Outcome::of_look(&counter, counter.look(now, 0), cost, false);
            return outcome.with_verdict(meter.refusing(Verdict::Impossible));
        }
        self.inner.take_one(meter, &counter, now, cost)
    }

    /// Tells of an outcome whoever wants to know.
    #[inline(always)]
    fn tell(&self, key: Key<'_>, outcome: &Outcome) {
        if self.inner.is_watched() {
            self.inner.tell_of(self, key, outcome);
        }
    }

    /// Takes one from each of many keys, as [`check`](Self::check) does one after the other, and
    /// calls `each` with the key's place and its outcome, in order. The memory of several keys is
    /// fetched at once, so a key of a large table costs a fraction of a single check.
    ///
    /// Up to sixteen are taken, at one instant, before `each` is called with the first of them.
    ///
    /// ```
    /// # use tollgate::{Limiter, Policy};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let policy = Policy::from_toml("[limits.send]\nrate = \"1/day\"\nkey = \"user\"")?;
    /// # let limiter = Limiter::open(dir.path().join("data"), policy)?;
    /// let send = limiter.limit("send")?;
    /// let mut refused = Vec::new();
    /// send.check_many(&["alice", "bob", "alice"], |place, outcome| {
    ///     if !outcome.is_allowed() {
    ///         refused.push(place);
    ///     }
    /// });
    /// assert_eq!(refused, [2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn check_many<'k, K>(&self, keys: &[K], mut each: impl FnMut(usize, Outcome))
    where
        K: Copy + Into<Key<'k>>,
    {
        for (batch, keys) in keys.chunks(BATCH).enumerate() {
            let each = |place, outcome| each(batch * BATCH + place, outcome);
            self.check_batch(keys, each);
        }
    }

    fn check_batch<'k, K>(&self, keys: &[K], mut each: impl FnMut(usize, Outcome))
    where
        K: Copy + Into<Key<'k>>,
    {
        for key in keys {
            (*key).into().ask_for();
        }
        // All are taken before the first is told of: what `each` does may take its time, or change
        // the policy.
        let outcomes = self.take_batch(keys.iter().map(|key| (*key).into()));
        for ((place, key), outcome) in keys.iter().enumerate().zip(outcomes) {
            self.tell((*key).into(), &outcome);
            each(place, outcome);
        }
    }

    /// Takes one of each key, at one instant. The memory of all counters is asked for first.
    fn take_batch<'k>(
        &self,
        keys: impl ExactSizeIterator<Item = Key<'k>>,
    ) -> ArrayVec<Outcome, BATCH> {
        let CounterStore { table, clock, .. } = &self.inner.counters;
        self.inner.law.with(|law| {
            let Some(limit) = self.find(law) else {
                let unknown =
                    Outcome::without_counter(&Rule::Deny, clock.now(), 1, Verdict::Unknown);
                return std::iter::repeat_n(unknown, keys.len()).collect();
            };
            let meter = law.meter(limit);
            let hashes = keys.map(|key| {
                let hash = key.hash(law, meter)?;
                table.ask_for(meter.tag(hash));
                Some(hash)
            });
            let hashes: ArrayVec<_, BATCH> = hashes.collect();
            let now = clock.now();
            let taken = hashes
                .into_iter()
                .map(|hash| self.take_hashed(law, meter, hash, now, 1));
            taken.collect()
        })
    }

    /// The key's numbers, charging nothing: `is_allowed` says whether one more could be taken.
    pub fn usage<'k>(&self, key: impl Into<Key<'k>>) -> Outcome {
        let now = self.inner.counters.clock.now();
        let law = self.inner.law.read();
        match self.counter(&law, key.into()) {
            Ok((meter, counter)) => {
                Outcome::of_look(&counter, counter.look(now, 1), 1, meter.shadow)
            }
            Err(verdict) => Outcome::without_counter(&Rule::Deny, now, 1, verdict),
        }
    }

    /// Gives back what `outcome` took for the same key; once. An outcome that took nothing, or took
    /// it from another counter, gives nothing back.
    pub fn refund<'k>(&self, key: impl Into<Key<'k>>, outcome: Outcome) {
        let law = self.inner.law.read();
        if let Some((mut entry, _)) = self.took(&law, key.into(), outcome) {
            self.inner.give_back(&law, &mut entry);
        }
    }

    /// Settles what `outcome` took for the same key for what it really cost: the difference is
    /// charged, into debt if need be, or given back; once. Gives the numbers afterwards.
    pub fn settle<'k>(&self, key: impl Into<Key<'k>>, outcome: Outcome, actual: u64) -> Outcome {
        let key = key.into();
        let law = self.inner.law.read();
        if let Some((entry, rule)) = self.took(&law, key, outcome) {
            self.inner.settle_by(&law, &entry, rule, actual);
        }
        // Given back first: it is read once more.
        drop(law);
        self.usage(key)
    }

    /// Forgets what a key has used.
    pub fn reset<'k>(&self, key: impl Into<Key<'k>>) {
        let law = self.inner.law.read();
        if let Ok((_, counter)) = self.counter(&law, key.into()) {
            counter.reset(self.inner.counters.clock.now());
        }
    }

    /// The entry that `outcome` would be in a decision, if it took its cost from the key's counter
    /// or from the one that newcomers share; and the rule that is in force there now.
    fn took<'l>(
        &'l self,
        law: &'l Law,
        key: Key<'_>,
        outcome: Outcome,
    ) -> Option<(Entry, &'l Rule)> {
        let limit = self.find(law)?;
        let (meter, counter) = self.counter(law, key).ok()?;
        let source = outcome.taken?;
        let own = if source.is_shared {
            meter.shared
        } else {
            counter.tag
        };
        let entry = Entry {
            limit,
            outcome,
            tag: counter.tag,
        };
        (own == source.tag).then_some((entry, counter.rule))
    }

    /// The key's counter and what a check needs of the limit, or the verdict without it.
    #[inline(always)]
    fn counter<'l>(
        &'l self,
        law: &'l Law,
        key: Key<'_>,
    ) -> Result<(&'l Meter, Counter<'l>), Verdict> {
        let Some(limit) = self.find(law) else {
            return Err(Verdict::Unknown);
        };
        let meter = law.meter(limit);
        let Some(hash) = key.hash(law, meter) else {
            return Err(meter.refusing(Verdict::KeyMissing));
        };
        let rule = meter.rule_without_tier(hash);
        Ok((
            meter,
            self.inner.counter_of(law, meter, rule, meter.tag(hash)),
        ))
    }

    /// The law in force.
    pub(super) fn law(&self) -> Arc<Law> {
        self.inner.law.current()
    }

    /// The limit's place in the law.
    #[inline]
    fn find(&self, law: &Law) -> Option<LimitIndex> {
        // Ordering: relaxed; the law's number and the place in it are one word.
        let place = self.place.load(Ordering::Relaxed);
        if place >> PLACE_BITS == law.number() {
            let index = place & ((1 << PLACE_BITS) - 1);
            return usize::try_from(index).ok().map(LimitIndex);
        }
        self.find_anew(law)
    }

    #[cold]
    fn find_anew(&self, law: &Law) -> Option<LimitIndex> {
        let found = law.plan().limit_named(&self.name)?;
        let place = law.number() << PLACE_BITS | found.0 as u64;
        // Ordering: relaxed, as above.
        self.place.store(place, Ordering::Relaxed);
        Some(found)
    }
}

impl Inner {
    /// Settles one entry of a decision; see [`Limiter::settle`].
    pub(super) fn settle(&self, law: &Law, entry: &Entry, actual: u64) {
        if law.limit(entry.limit).cost.is_from_request() {
            self.settle_by(law, entry, &entry.outcome.rule, actual);
        }
    }

    /// Charges by `rule`, or gives back, what `actual` differs from what the entry took.
    fn settle_by(&self, law: &Law, entry: &Entry, rule: &Rule, actual: u64) {
        let taken = &entry.outcome;
        let meter = law.meter(entry.limit);
        let (taken_by, rule) = (meter.as_known(&taken.rule), meter.as_known(rule));
        let Some(counter) = self.source_of(law, entry, &taken_by) else {
            return;
        };
        if actual > taken.cost {
            // A counter whose slot is gone was dead, and the table is full: as at a first check,
            // the charge has nowhere to go but a shared counter, and it is not the newcomers' debt.
            let charged = Counter {
                rule: &rule,
                ..counter
            };
            let _: Take = charged.charge(self.counters.clock.now(), actual - taken.cost);
        } else {
            counter.refund(
                taken.period,
                taken.words.main,
                taken.now,
                taken.cost - actual,
            );
        }
    }
}

/// The same limit of the same limiter.
impl Clone for Limit {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            name: self.name.clone(),
            // Ordering: relaxed, as in `find`.
            place: AtomicU64::new(self.place.load(Ordering::Relaxed)),
        }
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limit({})", self.name)
    }
}
