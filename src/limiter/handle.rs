//! One limit asked directly, for those who want no request to be matched.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;

use super::check::Applied;
use super::decision::Entry;
use super::law::Law;
use super::outcome::{Outcome, Verdict};
use super::{Inner, Limiter};
use crate::algorithm::Rule;
use crate::counter::{Counter, Take};
use crate::error::Error;
use crate::policy::{AttributeValue, KEY_PARTS_MAX, LimitIndex};

/// A limit of a limiter, to be asked directly.
///
/// It follows the policy in force: the same handle goes on after a change of policy, unless the
/// limit is gone, which refuses everything as [`Verdict::Unknown`]. Tiers are matters of requests
/// and do not apply; overrides do.
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
    inner: Arc<Inner>,
    name: Box<str>,
    /// Where the limit stood when it was last looked up: the law's number above, its place below.
    place: AtomicU64,
}

/// The values of a key, in the order of the limit's key.
///
/// Made from a text, an address, or an array of texts; `()` is the key of a limit that has none.
/// Where a key has alternatives (`"api_key | ip"`), the values are those of the first.
#[derive(Clone, Debug)]
pub struct Key<'k>(ArrayVec<AttributeValue<'k>, KEY_PARTS_MAX>, usize);

impl<'k> Key<'k> {
    fn new(values: impl ExactSizeIterator<Item = AttributeValue<'k>>) -> Self {
        let len = values.len();
        Self(values.take(KEY_PARTS_MAX).collect(), len)
    }
}

impl<'k> From<&'k str> for Key<'k> {
    #[inline]
    fn from(text: &'k str) -> Self {
        Self::new([AttributeValue::Text(text.as_bytes())].into_iter())
    }
}

impl<'k> From<&'k String> for Key<'k> {
    fn from(text: &'k String) -> Self {
        text.as_str().into()
    }
}

impl<'k> From<&'k [u8]> for Key<'k> {
    fn from(bytes: &'k [u8]) -> Self {
        Self::new([AttributeValue::Text(bytes)].into_iter())
    }
}

impl From<IpAddr> for Key<'_> {
    fn from(address: IpAddr) -> Self {
        Self::new([AttributeValue::Address(address)].into_iter())
    }
}

impl<'k, const N: usize> From<[&'k str; N]> for Key<'k> {
    fn from(texts: [&'k str; N]) -> Self {
        Self::new(
            texts
                .into_iter()
                .map(|text| AttributeValue::Text(text.as_bytes())),
        )
    }
}

impl<'k> From<&'k [&'k str]> for Key<'k> {
    fn from(texts: &'k [&'k str]) -> Self {
        Self::new(
            texts
                .iter()
                .map(|text| AttributeValue::Text(text.as_bytes())),
        )
    }
}

impl From<()> for Key<'_> {
    fn from((): ()) -> Self {
        Self::new([].into_iter())
    }
}

impl Limit {
    pub(super) fn new(inner: &Arc<Inner>, name: &str) -> Result<Self, Error> {
        let known = inner.law.current().plan().limit_named(name).is_some();
        if !known {
            return Err(Error::unknown_limit(name));
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

    /// Takes one, if there is room.
    #[inline]
    pub fn check<'k>(&self, key: impl Into<Key<'k>>) -> Outcome {
        self.check_cost(key, 1)
    }

    /// Takes `cost`, if there is room for all of it.
    #[inline]
    pub fn check_cost<'k>(&self, key: impl Into<Key<'k>>, cost: u64) -> Outcome {
        self.with(&key.into(), cost, |inner, law, entry| {
            let counter = inner.counter_of(law, &entry);
            let taken = inner.take_one(law, &counter, &entry);
            let mut outcome = taken.outcome;
            outcome.slow = inner.clock.is_slow();
            outcome
        })
    }

    /// The key's numbers, charging nothing: `is_allowed` says whether one more could be taken.
    pub fn usage<'k>(&self, key: impl Into<Key<'k>>) -> Outcome {
        self.with(&key.into(), 1, |inner, law, entry| {
            let counter = inner.counter_of(law, &entry);
            let now = entry.outcome.now;
            let outcome = Outcome::new(counter.rule, counter.look(now, 1), 1);
            let mut outcome = outcome.in_shadow(law.limit(entry.limit).shadow);
            outcome.slow = inner.clock.is_slow();
            outcome
        })
    }

    /// Gives back what `outcome` took for the same key; once. An outcome that took nothing, or took
    /// it from another counter, gives nothing back.
    pub fn refund<'k>(&self, key: impl Into<Key<'k>>, outcome: Outcome) {
        self.with(&key.into(), outcome.cost, |inner, law, mut entry| {
            if took(law, &entry, &outcome) {
                entry.outcome = outcome;
                inner.give_back(law, &mut entry);
            }
            outcome
        });
    }

    /// Settles what `outcome` took for the same key for what it really cost: the difference is
    /// charged, into debt if need be, or given back; once. Gives the numbers afterwards.
    pub fn settle<'k>(&self, key: impl Into<Key<'k>>, outcome: Outcome, actual: u64) -> Outcome {
        let key = key.into();
        self.with(&key, outcome.cost, |inner, law, mut entry| {
            if took(law, &entry, &outcome) {
                let rule = entry.outcome.rule;
                entry.outcome = outcome;
                inner.settle_by(law, &entry, &rule, actual);
            }
            outcome
        });
        self.usage(key)
    }

    /// Forgets what a key has used.
    pub fn reset<'k>(&self, key: impl Into<Key<'k>>) {
        self.with(&key.into(), 0, |inner, law, entry| {
            inner.counter_of(law, &entry).reset(entry.outcome.now);
            entry.outcome
        });
    }

    /// Calls `ask` with the key's counter, not yet asked.
    #[inline]
    fn with(
        &self,
        key: &Key<'_>,
        cost: u64,
        ask: impl FnOnce(&Inner, &Law, Entry) -> Outcome,
    ) -> Outcome {
        let inner = &*self.inner;
        inner.law.read(|law| {
            let now = inner.clock.now();
            let without = |rule: &Rule, verdict| Outcome::without_counter(rule, now, cost, verdict);
            let Some(limit) = self.find(law) else {
                return without(&Rule::Deny, Verdict::Unknown);
            };
            let spec = law.limit(limit);
            let parts = match law.direct_parts(spec.key, &key.0) {
                Some(parts) if key.0.len() == key.1 => parts,
                _ => return without(&Rule::Deny, Verdict::KeyMissing).in_shadow(spec.shadow),
            };
            let key = law.hash(&parts);
            let applied = Applied {
                limit,
                tier: None,
                key,
            };
            let counter = inner.counter(law, &applied);
            if spec.max_cost.is_some_and(|most| cost > most) {
                return without(counter.rule, Verdict::Impossible).in_shadow(spec.shadow);
            }
            let outcome = without(counter.rule, Verdict::Allowed);
            let entry = Entry {
                limit,
                outcome,
                tag: counter.tag,
            };
            ask(inner, law, entry)
        })
    }

    /// The limit's place in the law.
    #[inline]
    fn find(&self, law: &Law) -> Option<LimitIndex> {
        // Ordering: relaxed; number and place are one word, and a place is checked by its name.
        let place = self.place.load(Ordering::Relaxed);
        let index = usize::try_from(place).unwrap_or(usize::MAX);
        if law
            .plan()
            .limits
            .get(index)
            .is_some_and(|limit| *limit.name == *self.name)
        {
            return Some(LimitIndex(index));
        }
        let found = law.plan().limit_named(&self.name)?;
        // Ordering: relaxed, as above.
        self.place.store(found.0 as u64, Ordering::Relaxed);
        Some(found)
    }
}

/// True if `outcome` took its cost from the counter that `entry` stands for, or from the one that
/// newcomers share.
fn took(law: &Law, entry: &Entry, outcome: &Outcome) -> bool {
    let own = [entry.tag, law.shared_tag(entry.limit)];
    outcome
        .taken
        .is_some_and(|source| own[usize::from(source.is_shared)] == source.tag)
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
        let Some(counter) = self.source_of(law, entry) else {
            return;
        };
        let taken = &entry.outcome;
        if actual > taken.cost {
            // A counter whose slot is gone was dead, and the table is full: as at a first check,
            // the charge has nowhere to go but a shared counter, and it is not the newcomers' debt.
            let charged = Counter { rule, ..counter };
            let _: Take = charged.charge(self.clock.now(), actual - taken.cost);
        } else {
            counter.refund(taken.period, taken.words.main, taken.cost - actual);
        }
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limit({})", self.name)
    }
}
