//! Keys in words, for whom they are shown to.

use super::Policy;
use super::explain::{Shown, show_key};
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

impl Policy {
    /// Calls `each` with the name of every rate limit that `request` meets, and the key it has
    /// there, whose values are as `show` shows them.
    ///
    /// # Errors
    /// If the request was put together wrongly, or its path is too long to be read.
    pub(crate) fn show_keys(
        &self,
        request: &Request<'_>,
        show: impl Fn(ShownPart<'_>) -> String,
        mut each: impl FnMut(&str, String),
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
            let key = show_key(plan, parts, |name, value| show(ShownPart::of(name, value)));
            each(&limit.name, key);
        }
        Ok(())
    }

    /// The key that these values are of the rate limit of this name; none if they do not fit.
    pub(crate) fn show_direct_key(
        &self,
        limit: &str,
        values: &[AttributeValue<'_>],
        show: impl Fn(ShownPart<'_>) -> String,
    ) -> Option<String> {
        let plan = &*self.plan;
        let key = plan.limits.get(plan.limit_named(limit)?.0)?.key;
        let mut parts = KeyParts::default();
        let order = plan.direct_order(key);
        let fits = plan.direct_parts(key, &order, values, &mut parts);
        fits.then(|| {
            let show = |name: &str, value: KeyValue<'_>| show(ShownPart::of(name, value));
            show_key(plan, Some(&parts), show)
        })
    }
}
