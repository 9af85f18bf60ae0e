//! The small terms that a plan is made of: indices, choices, and the parts of a key.

use arrayvec::ArrayVec;

use super::bounds::KEY_PARTS_MAX;
use crate::algorithm::Rule;

/// A limit's place in [`Plan::limits`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LimitIndex(pub(crate) usize);

/// A place in [`Plan::concurrency`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ConcurrencyIndex(pub(crate) usize);

/// A key's place in [`Plan::keys`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct KeyIndex(pub(crate) usize);

/// A tier's place in [`Plan::tiers`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct TierIndex(pub(crate) usize);

/// A route's place in [`Plan::routes`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct RouteIndex(pub(crate) usize);

/// An attribute's place in [`Plan::attributes`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct AttributeIndex(pub(crate) usize);

/// A scope's place in [`Plan::scopes`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct ScopeIndex(pub(super) usize);

/// A rate as a rule and in words.
#[derive(Clone, Debug)]
pub(crate) struct RateSpec {
    pub(crate) rule: Rule,
    pub(crate) words: Box<str>,
}

/// What a request costs a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cost {
    /// What the request says.
    Request,
    Fixed(u64),
    /// What an attribute says, at least 1; `unsaid` if it is absent.
    Attribute {
        attribute: AttributeIndex,
        unsaid: u64,
    },
}

impl Cost {
    /// True unless the policy fixes it.
    pub(crate) fn is_from_request(self) -> bool {
        !matches!(self, Self::Fixed(_))
    }
}

/// What of a counter outlives what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Durability {
    Memory,
    Logged,
    Strict,
}

/// What a strict limit needs beside its rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Strict {
    /// How far ahead the disk is asked, in the limit's units; in proportion to the limit if unsaid.
    pub(crate) reserve: Option<u64>,
    pub(crate) when_unwritable: WhenUnwritable,
}

/// What a strict limit says while the disk refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WhenUnwritable {
    Refuse,
    /// Admit, and say so in the health: as a logged limit would.
    Admit,
}

/// What a key without a counter gets when the table is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WhenFull {
    /// One counter shared with all others who found no room.
    Share,
    Refuse,
    Admit,
}

/// What a request gets that lacks what the key needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WhenKeyMissing {
    /// One counter shared with all others who lack it: a key without parts.
    Share,
    /// The limit does not apply.
    Skip,
    Refuse,
}

/// What a route leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Exempt,
    Scope(ScopeIndex),
}

/// A value of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum KeyValue<'a> {
    Text(&'a [u8]),
    V4([u8; 4]),
    /// Masked to the attribute's prefix.
    V6([u8; 16]),
}

/// A part of a key: which attribute, and its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyPart<'a> {
    pub(crate) attribute: AttributeIndex,
    pub(crate) value: KeyValue<'a>,
}

/// Where the parts of one key go, in the key's order. Parts that are absent are left out, so that
/// adding an optional part to a key keeps the counts of requests without it.
pub(crate) trait KeySink<'a>: Sized {
    /// Where it stood.
    type Mark;

    fn mark(&self) -> Self::Mark;

    /// Forgets what came after the mark: an alternative turned out to lack a part.
    fn go_back(&mut self, mark: Self::Mark);

    /// False if there is no room, which a key of so many parts at most never meets.
    fn push(&mut self, attribute: AttributeIndex, value: KeyValue<'a>) -> bool;

    /// How many there are.
    fn len(&self) -> usize;
}

/// The parts of one key, kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct KeyParts<'a>(ArrayVec<KeyPart<'a>, KEY_PARTS_MAX>);

impl<'a> KeyParts<'a> {
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &KeyPart<'a>> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> KeySink<'a> for KeyParts<'a> {
    type Mark = usize;

    fn mark(&self) -> usize {
        self.0.len()
    }

    fn go_back(&mut self, mark: usize) {
        self.0.truncate(mark);
    }

    fn push(&mut self, attribute: AttributeIndex, value: KeyValue<'a>) -> bool {
        self.0.try_push(KeyPart { attribute, value }).is_ok()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// The number of a key's parts alone.
#[derive(Clone, Copy, Default)]
pub(super) struct KeyLen(usize);

impl<'a> KeySink<'a> for KeyLen {
    type Mark = Self;

    fn mark(&self) -> Self {
        *self
    }

    fn go_back(&mut self, mark: Self) {
        *self = mark;
    }

    fn push(&mut self, _attribute: AttributeIndex, _value: KeyValue<'a>) -> bool {
        self.0 += 1;
        true
    }

    fn len(&self) -> usize {
        self.0
    }
}
