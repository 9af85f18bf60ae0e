//! The key of a limit that is asked directly: values without names.

use std::net::IpAddr;

use arrayvec::ArrayVec;

use super::law::Law;
use super::meter::Meter;
use crate::key::KeyHash;
use crate::policy::{AttributeValue, KEY_PARTS_MAX, KeyIndex};
use crate::prefetch::prefetch;

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

#[cfg(feature = "dashboard")]
impl<'k> Key<'k> {
    pub(super) fn values(self) -> Vec<AttributeValue<'k>> {
        match self.0 {
            Values::One(value) => vec![value],
            Values::Texts(texts) => {
                let values = texts.iter();
                values
                    .map(|text| AttributeValue::Text(text.as_bytes()))
                    .collect()
            }
        }
    }
}

impl<'k> Key<'k> {
    /// Asks for the memory of its text, so that it will be at hand.
    #[inline(always)]
    pub(super) fn ask_for(&self) {
        if let Values::One(AttributeValue::Text([first, ..])) = self.0 {
            prefetch(first);
        }
    }

    /// The key's hash; none if the limit's key has another shape.
    #[inline(always)]
    pub(super) fn hash(&self, law: &Law, meter: &Meter) -> Option<KeyHash> {
        match self.0 {
            Values::One(AttributeValue::Text(text)) => law.text_hash(meter, text),
            Values::Texts([]) => meter.global,
            values => values.hash(law, meter.key),
        }
    }
}

impl Values<'_> {
    #[inline(never)]
    fn hash(self, law: &Law, key: KeyIndex) -> Option<KeyHash> {
        match self {
            Self::One(value) => law.direct_hash(key, &[value]),
            Self::Texts(texts) => {
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
