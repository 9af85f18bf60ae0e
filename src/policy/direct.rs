//! Keys given by their values alone, for those who ask one limit directly.

use super::address;
use super::key::KeySpec;
use super::plan::{LimitSpec, Plan};
use super::request::AttributeValue;
use super::terms::{AttributeIndex, KeyIndex, KeySink, LimitIndex};

impl Plan {
    /// The rate limit of this name, or that was called so before.
    pub(crate) fn limit_named(&self, name: &str) -> Option<LimitIndex> {
        let named = self.limits.iter().position(|limit| &*limit.name == name);
        let is_former = |limit: &LimitSpec| limit.former.as_deref() == Some(name);
        named
            .or_else(|| self.limits.iter().position(is_former))
            .map(LimitIndex)
            .filter(|limit| self.idempotency != Some(*limit))
    }

    /// The attributes that a key's values stand for when no names come with them: where it has
    /// alternatives, those of the first.
    pub(crate) fn direct_order(&self, key: KeyIndex) -> Vec<AttributeIndex> {
        let mut order = Vec::new();
        if let Some(key) = self.keys.get(key.0) {
            key.first_alternatives(&mut order);
        }
        order
    }

    /// The attribute that a key is, if it is one only and takes any text for what it says.
    pub(crate) fn plain_text(&self, key: KeyIndex) -> Option<AttributeIndex> {
        let KeySpec::Part(attribute) = *self.keys.get(key.0)? else {
            return None;
        };
        let spec = self.attributes.get(attribute.0)?;
        (!spec.is_address).then_some(attribute)
    }

    /// Puts the parts of a key from values in `order`, its own from [`Plan::direct_order`], into
    /// `parts`, which is empty; false if they are too few or too many for it.
    #[inline]
    pub(crate) fn direct_parts<'a>(
        &self,
        key: KeyIndex,
        order: &[AttributeIndex],
        values: &[AttributeValue<'a>],
        parts: &mut impl KeySink<'a>,
    ) -> bool {
        let value_of = |attribute: AttributeIndex| {
            let place = order.iter().position(|known| *known == attribute)?;
            let spec = self.attributes.get(attribute.0)?;
            match *values.get(place)? {
                AttributeValue::Text(text) => spec.value_of_text(text),
                AttributeValue::Address(address) => Some(address::value(address, spec.ipv6_prefix)),
            }
        };
        let key = self.keys.get(key.0);
        key.is_some_and(|key| key.collect(&value_of, parts)) && parts.len() == values.len()
    }
}

impl KeySpec {
    fn first_alternatives(&self, order: &mut Vec<AttributeIndex>) {
        match self {
            Self::Part(attribute) => order.push(*attribute),
            Self::Optional(key) => key.first_alternatives(order),
            Self::Join(keys) => keys.iter().for_each(|key| key.first_alternatives(order)),
            Self::First(keys) => keys
                .first()
                .into_iter()
                .for_each(|key| key.first_alternatives(order)),
        }
    }
}
