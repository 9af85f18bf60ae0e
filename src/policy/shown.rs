//! Keys in words, for whom they are shown to.

use std::hash::{BuildHasher, Hash, Hasher};

use super::Policy;
use super::explain::{Shown, show_key};
use super::plan::Plan;
use super::request::{AttributeValue, Request, RequestError};
use super::resolve::Resolution;
use super::terms::{KeyParts, KeyValue};

/// A value of a key, to be shown.
pub(crate) struct ShownPart<'p> {
    /// Its attribute.
    pub(crate) name: &'p str,
    pub(crate) value: String,
    pub(crate) is_address: bool,
}

impl<'p> ShownPart<'p> {
    fn of(name: &'p str, value: KeyValue<'_>) -> Self {
        Self {
            name,
            value: Shown(value).to_string(),
            is_address: !matches!(value, KeyValue::Text(_)),
        }
    }
}

/// A key as it is shown.
pub(crate) struct ShownKey {
    pub(crate) words: String,
    /// Of the whole key: it tells keys apart whose words are alike.
    pub(crate) hash: u64,
}

impl ShownKey {
    fn new(
        plan: &Plan,
        parts: Option<&KeyParts<'_>>,
        hashing: &impl BuildHasher,
        show: &impl Fn(ShownPart<'_>) -> String,
    ) -> Self {
        let mut hasher = hashing.build_hasher();
        let words = show_key(plan, parts, |name, value| show(ShownPart::of(name, value)));
        for part in parts.iter().flat_map(|parts| parts.iter()) {
            let spec = plan.attributes.get(part.attribute.0);
            spec.map(|spec| &spec.name).hash(&mut hasher);
            part.value.hash(&mut hasher);
        }
        Self {
            words,
            hash: hasher.finish(),
        }
    }
}

impl Policy {
    /// Calls `each` with the name of every rate limit that `request` meets, and the key it has
    /// there, whose values are as `show` shows them.
    ///
    /// # Errors
    /// If the request was put together wrongly, or its path is too long to be read.
    pub(crate) fn show_keys(
        &self,
        request: &Request<'_>,
        hashing: &impl BuildHasher,
        show: impl Fn(ShownPart<'_>) -> String,
        mut each: impl FnMut(&str, ShownKey),
    ) -> Result<(), RequestError> {
        let plan = &*self.plan;
        let mut found = Resolution::default();
        plan.resolve(request, &mut found)?;
        for pick in &found.picks {
            let Some(limit) = plan.limits.get(pick.limit.0) else {
                continue;
            };
            let mut parts = KeyParts::default();
            let has_key = plan.key_parts(limit.key, request, &found, &mut parts);
            let parts = has_key.then_some(&parts);
            each(&limit.name, ShownKey::new(plan, parts, hashing, &show));
        }
        Ok(())
    }

    /// The key that these values are of the rate limit of this name; none if they do not fit.
    pub(crate) fn show_direct_key(
        &self,
        limit: &str,
        values: &[AttributeValue<'_>],
        hashing: &impl BuildHasher,
        show: impl Fn(ShownPart<'_>) -> String,
    ) -> Option<ShownKey> {
        let plan = &*self.plan;
        let key = plan.limits.get(plan.limit_named(limit)?.0)?.key;
        let mut parts = KeyParts::default();
        let order = plan.direct_order(key);
        let fits = plan.direct_parts(key, &order, values, &mut parts);
        fits.then(|| ShownKey::new(plan, Some(&parts), hashing, &show))
    }
}
