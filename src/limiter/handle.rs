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
use crate::key::KeyHash;
use crate::policy::{AttributeValue, KEY_PARTS_MAX, KeyIndex, LimitIndex};
use crate::time::Timestamp;

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
/// Made from a text, an address, or a slice of texts; `()` is the key of a limit that has none.
/// Where a key has alternatives (`"api_key | ip"`), the values are those of the first.
#[derive(Clone, Copy, Debug)]
pub struct Key<'k>(Values<'k>);

#[derive(Clone, Copy, Debug)]
enum Values<'k> {
    One(AttributeValue<'k>),
    Texts(&'k [&'k str]),
}

impl<'k> From<&'k str> for Key<'k> {
    #[inline]
    fn from(text: &'k str) -> Self {
        text.as_bytes().into()
    }
}

impl<'k> From<&'k String> for Key<'k> {
    #[inline]
    fn from(text: &'k String) -> Self {
        text.as_bytes().into()
    }
}

impl<'k> From<&'k [u8]> for Key<'k> {
    #[inline]
    fn from(bytes: &'k [u8]) -> Self {
        Self(Values::One(AttributeValue::Text(bytes)))
    }
}

impl From<IpAddr> for Key<'_> {
    #[inline]
    fn from(address: IpAddr) -> Self {
        Self(Values::One(AttributeValue::Address(address)))
    }
}

impl<'k> From<&'k [&'k str]> for Key<'k> {
    fn from(texts: &'k [&'k str]) -> Self {
        Self(Values::Texts(texts))
    }
}

impl<'k, const N: usize> From<&'k [&'k str; N]> for Key<'k> {
    fn from(texts: &'k [&'k str; N]) -> Self {
        Self(Values::Texts(texts))
    }
}

impl From<()> for Key<'_> {
    fn from((): ()) -> Self {
        Self(Values::Texts(&[]))
    }
}

impl Key<'_> {
    /// The key's hash; none if the limit's key has another shape.
    #[inline]
    fn hash(&self, law: &Law, key: KeyIndex) -> Option<KeyHash> {
        match self.0 {
            Values::One(value) => law.direct_hash(key, &[value]),
            Values::Texts(texts) => {
                let values = texts
                    .iter()
                    .map(|text| AttributeValue::Text(text.as_bytes()));
                let values: ArrayVec<_, KEY_PARTS_MAX> = values.take(KEY_PARTS_MAX).collect();
                law.direct_hash(key, &values)
                    .filter(|_| values.len() == texts.len())
            }
        }
    }
}

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

    /// Takes one, if there is room.
    #[inline]
    pub fn check<'k>(&self, key: impl Into<Key<'k>>) -> Outcome {
        self.check_cost(key, 1)
    }

    /// Takes `cost`, if there is room for all of it.
    #[inline]
    pub fn check_cost<'k>(&self, key: impl Into<Key<'k>>, cost: u64) -> Outcome {
        self.ask(key.into(), cost, |inner, law, limit, counter, now| {
            inner.take_one(law, limit, counter, now, cost)
        })
    }

    /// The key's numbers, charging nothing: `is_allowed` says whether one more could be taken.
    pub fn usage<'k>(&self, key: impl Into<Key<'k>>) -> Outcome {
        self.ask(key.into(), 1, |_, law, limit, counter, now| {
            let outcome = Outcome::new(counter.rule, counter.look(now, 1), 1);
            outcome.in_shadow(law.limit(limit).shadow)
        })
    }

    /// Gives back what `outcome` took for the same key; once. An outcome that took nothing, or took
    /// it from another counter, gives nothing back.
    pub fn refund<'k>(&self, key: impl Into<Key<'k>>, outcome: Outcome) {
        self.ask(key.into(), outcome.cost, |inner, law, limit, counter, _| {
            if let Some(mut entry) = took(law, limit, counter, outcome) {
                inner.give_back(law, &mut entry);
            }
            outcome
        });
    }

    /// Settles what `outcome` took for the same key for what it really cost: the difference is
    /// charged, into debt if need be, or given back; once. Gives the numbers afterwards.
    pub fn settle<'k>(&self, key: impl Into<Key<'k>>, outcome: Outcome, actual: u64) -> Outcome {
        let key = key.into();
        self.ask(key, outcome.cost, |inner, law, limit, counter, _| {
            if let Some(entry) = took(law, limit, counter, outcome) {
                inner.settle_by(law, &entry, counter.rule, actual);
            }
            outcome
        });
        self.usage(key)
    }

    /// Forgets what a key has used.
    pub fn reset<'k>(&self, key: impl Into<Key<'k>>) {
        self.ask(key.into(), 0, |_, _, _, counter, now| {
            counter.reset(now);
            Outcome::new(counter.rule, counter.look(now, 0), 0)
        });
    }

    /// Calls `ask` with the key's counter and the time.
    #[inline]
    fn ask(
        &self,
        key: Key<'_>,
        cost: u64,
        ask: impl FnOnce(&Inner, &Law, LimitIndex, &Counter<'_>, Timestamp) -> Outcome,
    ) -> Outcome {
        let inner = &*self.inner;
        inner.law.read(|law| {
            let now = inner.clock.now();
            let without = |verdict| Outcome::without_counter(&Rule::Deny, now, cost, verdict);
            let Some(limit) = self.find(law) else {
                return without(Verdict::Unknown);
            };
            let spec = law.limit(limit);
            let Some(key) = key.hash(law, spec.key) else {
                return without(Verdict::KeyMissing).in_shadow(spec.shadow);
            };
            if spec.max_cost.is_some_and(|most| cost > most) {
                return without(Verdict::Impossible).in_shadow(spec.shadow);
            }
            let counter = inner.counter(
                law,
                &Applied {
                    limit,
                    tier: None,
                    key,
                    override_key: (spec.override_key == spec.key).then_some(key),
                },
            );
            let mut outcome = ask(inner, law, limit, &counter, now);
            outcome.slow = inner.clock.is_slow();
            outcome
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

/// The entry that `outcome` would be in a decision, if it took its cost from `counter` or from the
/// one that newcomers share.
fn took(law: &Law, limit: LimitIndex, counter: &Counter<'_>, outcome: Outcome) -> Option<Entry> {
    let source = outcome.taken?;
    let own = if source.is_shared {
        law.shared_tag(limit)
    } else {
        counter.tag
    };
    (own == source.tag).then_some(Entry {
        limit,
        outcome,
        tag: counter.tag,
    })
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
