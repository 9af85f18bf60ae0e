//! Tags: where a counter stands in the table, and how it is told from every other.
//!
//! ```text
//! tag = hash(secret, key) xor limit bits      upper 32: home line   lower 32: limit
//! ```
//!
//! The secret is made once per directory, so nobody can choose keys that share a line, and tags
//! mean the same after a restart. The limit's bits touch only the lower half: all counters of one
//! key have one home line. Keys are hashed as `key/hash.rs` says; names and limits, which come from
//! the policy and are hashed when it is loaded, by SipHash-1-3.

mod hash;
#[cfg(test)]
mod tests;

use std::hash::Hasher;

pub(crate) use hash::HashKeys;
use hash::Sum;

use siphasher::sip::SipHasher13;

/// The secret that keys a directory's hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Secret([u64; 2]);

impl Secret {
    pub(crate) const LEN: usize = 16;

    pub(crate) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [low, high] = split(u128::from_le_bytes(bytes));
        Self([low, high])
    }

    fn hasher(self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}

fn split(wide: u128) -> [u64; 2] {
    let bytes = wide.to_le_bytes();
    let mut halves = [[0; 8]; 2];
    halves[0].copy_from_slice(&bytes[..8]);
    halves[1].copy_from_slice(&bytes[8..]);
    halves.map(u64::from_le_bytes)
}

/// Never shown: a log line must not give the secret away.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What tells one kind of key part from another, so that a text can never pass for an address.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Text = 1,
    V4,
    V6,
}

/// Hashes a key part by part.
///
/// Every part goes in with its attribute's name, its kind and its length, so parts cannot run into
/// each other: user `a:b` at `c` is not user `a` at `b:c`, nor anybody else. A copy goes on from
/// where the original was.
#[derive(Clone, Copy)]
pub(crate) struct KeyHasher<'k> {
    keys: &'k HashKeys,
    sum: Sum,
}

impl<'k> KeyHasher<'k> {
    #[inline]
    pub(crate) fn new(keys: &'k HashKeys) -> Self {
        Self {
            keys,
            sum: Sum::EMPTY,
        }
    }

    /// The hash of a key that is one text.
    #[inline(always)]
    pub(crate) fn only_text(keys: &'k HashKeys, name: NameHash, text: &[u8]) -> KeyHash {
        let mut hasher = Self::new(keys);
        hasher.part(name, Kind::Text, text);
        hasher.finish()
    }

    #[inline(always)]
    fn part(&mut self, name: NameHash, kind: Kind, bytes: &[u8]) {
        // Usize is at most 64 bits wide everywhere, and a part has a bound far below.
        let length = bytes.len() as u64;
        let header = name.0.wrapping_add(length << 8 | kind as u64);
        self.sum.bytes(self.keys, header, bytes);
    }

    #[inline]
    pub(crate) fn text(&mut self, name: NameHash, text: &[u8]) {
        self.part(name, Kind::Text, text);
    }

    #[inline]
    pub(crate) fn v4(&mut self, name: NameHash, octets: [u8; 4]) {
        self.part(name, Kind::V4, &octets);
    }

    #[inline]
    pub(crate) fn v6(&mut self, name: NameHash, octets: [u8; 16]) {
        self.part(name, Kind::V6, &octets);
    }

    #[inline]
    pub(crate) fn finish(&self) -> KeyHash {
        KeyHash(self.sum.finish(self.keys))
    }
}

/// Hashes what a request's id counts for. Text by text, each with its length, so that they cannot
/// run into each other.
pub(crate) struct BindingHasher(SipHasher13);

impl BindingHasher {
    pub(crate) fn new(secret: Secret) -> Self {
        Self(secret.hasher())
    }

    pub(crate) fn text(&mut self, text: &[u8]) {
        // Usize is at most 64 bits wide everywhere.
        self.number(text.len() as u64);
        self.0.write(text);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.0.write_u64(number.to_le());
    }

    pub(crate) fn finish(&self) -> [u8; 8] {
        self.0.finish().to_le_bytes()
    }
}

/// An attribute's name, hashed once when a policy is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NameHash(u64);

impl NameHash {
    #[inline]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn new(secret: Secret, name: &str) -> Self {
        let mut hasher = secret.hasher();
        hasher.write(name.as_bytes());
        Self(hasher.finish())
    }
}

/// A whole key, hashed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    /// The key that all share who find no room for a counter of their own.
    pub(crate) fn shared(secret: Secret, limit: LimitBits) -> Self {
        let mut hasher = secret.hasher();
        hasher.write_u64(u64::MAX);
        hasher.write_u32(limit.0.to_le());
        Self(hasher.finish())
    }

    #[inline]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
}

/// What a limit adds to the tags of its counters: its lasting identity, hashed, in the lower half.
/// The two lowest bits are left for the words that one counter may have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct LimitBits(u32);

impl LimitBits {
    pub(crate) fn new(secret: Secret, identity: &str) -> Self {
        let mut hasher = secret.hasher();
        hasher.write(identity.as_bytes());
        let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
        Self(u32::from_le_bytes([a, b, c, d]) & !0b11)
    }
}

/// The name of one word in the table. Never zero: that is an empty slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Tag(u64);

impl Tag {
    #[inline]
    pub(crate) fn new(key: KeyHash, limit: LimitBits) -> Self {
        Self::from_bits(key.0 ^ u64::from(limit.0))
    }

    /// The same counter's word number `which`, from 0 to 3.
    #[inline]
    pub(crate) fn sibling(self, which: u64) -> Self {
        Self::from_bits(self.0 ^ (which & 0b11))
    }

    /// A tag as it stands in a slot.
    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        // Zero is no tag; its one key in 2^64 moves in with another.
        Self(if bits == 0 { 1 << 63 } else { bits })
    }

    #[inline]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The half that no limit touches: it finds the shard and the home line.
    #[inline]
    pub(crate) const fn home(self) -> u32 {
        (self.0 >> 32) as u32
    }
}
