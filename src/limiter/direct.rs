//! The key of a limit that is asked directly: values without names.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use super::law::Law;
use super::meter::Meter;
use crate::key::KeyHash;
use crate::policy::{AttributeValue, KEY_PARTS_MAX, KeyIndex};
use crate::prefetch::prefetch;

/// The values of a key, in the order of the limit's key.
///
/// Made from a text, a number, an address, or a slice of texts; `()` is the key of a limit that has
/// none. A number is its text, so `42` is the same key as `"42"`.
/// Where a key has alternatives (`"api_key | ip"`), the values are those of the first.
///
/// ```
/// # use tollgate::{Limiter, Policy};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let policy = Policy::from_toml("[limits.l]\nrate = \"9/day\"\nkey = \"user\"")?;
/// # let limiter = Limiter::open(dir.path().join("data"), policy)?;
/// let per_user = limiter.limit("l")?;
/// assert!(per_user.check(42u64).is_allowed());
/// assert_eq!(per_user.usage("42").used(), 1);
/// assert_eq!(per_user.usage(std::net::Ipv4Addr::LOCALHOST).used(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Key<'k>(Values<'k>);

#[derive(Clone, Copy, Debug)]
enum Values<'k> {
    One(AttributeValue<'k>),
    Texts(&'k [&'k str]),
    /// The halves of a number: as one it would be aligned, and a key larger.
    Number(u64, u64),
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

impl<'k, const N: usize> From<&'k [u8; N]> for Key<'k> {
    #[inline]
    fn from(bytes: &'k [u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl<'k> From<&'k Cow<'_, str>> for Key<'k> {
    #[inline]
    fn from(text: &'k Cow<'_, str>) -> Self {
        text.as_bytes().into()
    }
}

impl From<u64> for Key<'_> {
    fn from(number: u64) -> Self {
        Self(Values::Number(0, number))
    }
}

impl From<u128> for Key<'_> {
    fn from(number: u128) -> Self {
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        Self(Values::Number(half(number >> u64::BITS), half(number)))
    }
}

impl From<Ipv4Addr> for Key<'_> {
    #[inline]
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<Ipv6Addr> for Key<'_> {
    #[inline]
    fn from(address: Ipv6Addr) -> Self {
        IpAddr::from(address).into()
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

impl<'k> Key<'k> {
    /// What `of` makes of the values.
    pub(super) fn with_values<T>(self, of: impl FnOnce(&[AttributeValue<'_>]) -> T) -> T {
        match self.0 {
            Values::One(value) => of(&[value]),
            Values::Texts(texts) => {
                let values = texts.iter();
                let values = values.map(|text| AttributeValue::Text(text.as_bytes()));
                of(&values.collect::<Vec<_>>())
            }
            Values::Number(high, low) => {
                let digits = number(high, low).to_string();
                of(&[AttributeValue::Text(digits.as_bytes())])
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

fn number(high: u64, low: u64) -> u128 {
    u128::from(high) << u64::BITS | u128::from(low)
}

impl Values<'_> {
    #[inline(never)]
    fn hash(self, law: &Law, key: KeyIndex) -> Option<KeyHash> {
        match self {
            Self::One(value) => law.direct_hash(key, &[value]),
            Self::Number(high, low) => {
                let mut digits = itoa::Buffer::new();
                let text = digits.format(number(high, low));
                law.direct_hash(key, &[AttributeValue::Text(text.as_bytes())])
            }
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
