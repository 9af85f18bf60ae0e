//! Tags: where a counter stands in the table, and how it is told from every other.
//!
//! ```text
//! tag = SipHash-1-3(secret, key) xor limit bits      upper 32: home line   lower 32: limit
//! ```
//!
//! The secret is made once per directory, so nobody can choose keys that share a line, and tags
//! mean the same after a restart. The limit's bits touch only the lower half: all counters of one
//! key have one home line.

use std::hash::Hasher;

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
/// each other: user `a:b` at `c` is not user `a` at `b:c`, nor anybody else.
pub(crate) struct KeyHasher(SipHasher13);

impl KeyHasher {
    pub(crate) fn new(secret: Secret) -> Self {
        Self(secret.hasher())
    }

    fn part(&mut self, name: NameHash, kind: Kind, bytes: &[u8]) {
        self.0.write_u64(name.0.to_le());
        // Usize is at most 64 bits wide everywhere, and a part has a bound far below.
        let length = bytes.len() as u64;
        self.0.write_u64((length << 8 | kind as u64).to_le());
        self.0.write(bytes);
    }

    pub(crate) fn text(&mut self, name: NameHash, text: &[u8]) {
        self.part(name, Kind::Text, text);
    }

    pub(crate) fn v4(&mut self, name: NameHash, octets: [u8; 4]) {
        self.part(name, Kind::V4, &octets);
    }

    pub(crate) fn v6(&mut self, name: NameHash, octets: [u8; 16]) {
        self.part(name, Kind::V6, &octets);
    }

    pub(crate) fn finish(&self) -> KeyHash {
        KeyHash(self.0.finish())
    }

    /// The key that all share who find no room for a counter of their own.
    pub(crate) fn shared(secret: Secret, limit: LimitBits) -> KeyHash {
        let mut hasher = Self::new(secret);
        // No part is so long, so no key of parts hashes the same bytes.
        hasher.0.write_u64(u64::MAX);
        hasher.0.write_u32(limit.0.to_le());
        hasher.finish()
    }
}

/// An attribute's name, hashed once when a policy is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NameHash(u64);

impl NameHash {
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
    pub(crate) fn new(key: KeyHash, limit: LimitBits) -> Self {
        Self::from_bits(key.0 ^ u64::from(limit.0))
    }

    /// The same counter's word number `which`, from 0 to 3.
    pub(crate) fn sibling(self, which: u64) -> Self {
        Self::from_bits(self.0 ^ (which & 0b11))
    }

    /// A tag as it stands in a slot.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        // Zero is no tag; its one key in 2^64 moves in with another.
        Self(if bits == 0 { 1 << 63 } else { bits })
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The half that no limit touches: it finds the shard and the home line.
    pub(crate) const fn home(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SECRET: Secret = Secret([1, 2]);

    fn two(a: &str, b: &str) -> KeyHash {
        let mut hasher = KeyHasher::new(SECRET);
        hasher.text(NameHash::new(SECRET, "user"), a.as_bytes());
        hasher.text(NameHash::new(SECRET, "ip"), b.as_bytes());
        hasher.finish()
    }

    #[test]
    fn edge_39_parts_never_run_into_each_other() {
        let long = "x".repeat(65_536);
        let pairs = [
            ("a:b", "c"),
            ("a", "b:c"),
            ("", "ab:c"),
            ("a:b:c", ""),
            ("a\0", "b"),
            ("a", "\0b"),
            ("", ""),
            (long.as_str(), ""),
            ("", long.as_str()),
        ];
        let hashes: HashSet<_> = pairs.iter().map(|(a, b)| two(a, b)).collect();
        assert_eq!(hashes.len(), pairs.len());
    }

    #[test]
    fn the_kind_and_the_name_of_a_part_count() {
        let name = NameHash::new(SECRET, "ip");
        let hash = |part: &dyn Fn(&mut KeyHasher)| {
            let mut hasher = KeyHasher::new(SECRET);
            part(&mut hasher);
            hasher.finish()
        };
        let all: HashSet<_> = [
            hash(&|h| h.text(name, &[1, 2, 3, 4])),
            hash(&|h| h.v4(name, [1, 2, 3, 4])),
            hash(&|h| h.text(NameHash::new(SECRET, "user"), &[1, 2, 3, 4])),
            hash(&|h| h.text(name, &[])),
            hash(&|_| ()),
        ]
        .into();
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn the_hash_is_stable_and_the_secret_matters() {
        // Golden: a directory's counters are found by these numbers for ever.
        assert_eq!(two("alice", "10.0.0.1"), KeyHash(GOLDEN));
        let mut other = KeyHasher::new(Secret([1, 3]));
        other.text(NameHash::new(SECRET, "user"), b"alice");
        let mut same = KeyHasher::new(SECRET);
        same.text(NameHash::new(SECRET, "user"), b"alice");
        assert_ne!(other.finish(), same.finish());
    }

    const GOLDEN: u64 = 15_841_209_065_111_373_625;

    #[test]
    fn one_keys_counters_share_a_home_line() {
        let key = two("alice", "10.0.0.1");
        let day = Tag::new(key, LimitBits::new(SECRET, "per day"));
        let minute = Tag::new(key, LimitBits::new(SECRET, "per minute"));
        assert_ne!(day, minute);
        assert_eq!(day.home(), minute.home());
        assert_ne!(day, day.sibling(1));
        assert_eq!(day.home(), day.sibling(1).home());
        assert_ne!(Tag::from_bits(0).bits(), 0);
    }
}
