//! The hash of keys: NH over 64-bit words, then one folded multiplication, both under a secret.
//!
//! ```text
//! part   = header, bytes            header = name's hash + (length << 8 | kind)
//! pairs  = the part's words, two by two, the last filled up with zero
//! sum    = sum of (a + k[2i]) * (b + k[2i+1]) over all pairs, modulo 2^128
//! hash   = (low half xor s0) * (high half xor s1), the halves of that xored
//! ```
//!
//! NH is UMAC's (Black, Halevi, Krawczyk, Krovetz, Rogaway: *UMAC: fast and secure message
//! authentication*, 1999). Two different keys have the same sum with a probability of at most
//! 2^-63 over the secret, whatever they are: a bound that needs no assumption on the attacker but
//! that he does not see the secret or what is made of it. The last step only spreads the sum,
//! which nobody who does not know the secret can choose, over the bits that find a line.
//!
//! The layout is a format: tags stand on disks. It is the same on every machine.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::Secret;

/// Pairs of secret words: a power of two, and more than the longest key can use.
const PAIRS: usize = 64;

/// A longer text goes in by its SipHash, one word for all of it.
pub(super) const INLINE_BYTES_MAX: usize = 64;

/// The parts that a key has at most.
const PARTS_MAX: usize = 8;

const _: () = assert!(PARTS_MAX * (1 + INLINE_BYTES_MAX / 8).div_ceil(2) <= PAIRS);

/// The words that a directory's secret unfolds to, made once.
pub(crate) struct HashKeys {
    secret: Secret,
    pairs: [[u64; 2]; PAIRS],
    last: [u64; 2],
}

impl HashKeys {
    pub(crate) fn new(secret: Secret) -> Self {
        let mut number = 0_u64;
        let mut draw = || {
            number += 1;
            // A pseudorandom function of the number, under the secret and a name of its own.
            let mut hasher = SipHasher24::new_with_keys(secret.0[0], secret.0[1]);
            hasher.write(b"tollgate nh");
            hasher.write_u64(number.to_le());
            hasher.finish()
        };
        Self {
            secret,
            pairs: std::array::from_fn(|_| [draw(), draw()]),
            last: std::array::from_fn(|_| draw()),
        }
    }

    /// Of a text that does not go in whole.
    #[cold]
    fn sip(&self, bytes: &[u8]) -> u64 {
        let mut sip = self.secret.hasher();
        sip.write(bytes);
        sip.finish()
    }
}

/// Never shown, as the secret is not.
impl std::fmt::Debug for HashKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKeys(..)")
    }
}

/// The sum so far.
#[derive(Clone, Copy)]
pub(super) struct Sum {
    sum: u128,
    at: usize,
}

impl Sum {
    pub(super) const EMPTY: Self = Self { sum: 0, at: 0 };

    #[inline]
    pub(super) fn pair(&mut self, keys: &HashKeys, a: u64, b: u64) {
        // Bound: a key has no more parts than there are pairs for.
        let [first, second] = keys.pairs[self.at % PAIRS];
        self.at += 1;
        let (a, b) = (a.wrapping_add(first), b.wrapping_add(second));
        self.sum = self.sum.wrapping_add(u128::from(a) * u128::from(b));
    }

    /// A header and the bytes behind it, whose number the header tells.
    // Always: most of it falls away where a sum begins, and that is in every check.
    #[inline(always)]
    pub(super) fn bytes(&mut self, keys: &HashKeys, header: u64, bytes: &[u8]) {
        let length = bytes.len();
        if length > INLINE_BYTES_MAX {
            return self.pair(keys, header, keys.sip(bytes));
        }
        // What comes below, in one for what is as long as most keys are.
        if let 17..=24 = length
            && let (Some(start), Some(end)) = (bytes.first_chunk::<16>(), bytes.last_chunk::<8>())
        {
            let [first, next] = halves(u128::from_le_bytes(*start));
            self.pair(keys, header, first);
            return self.pair(keys, next, u64::from_le_bytes(*end));
        }
        let Some((first, mut rest)) = bytes.split_first_chunk::<8>() else {
            return self.pair(keys, header, short(bytes));
        };
        self.pair(keys, header, u64::from_le_bytes(*first));
        while let Some((pair, after)) = rest.split_first_chunk::<16>() {
            let [a, b] = halves(u128::from_le_bytes(*pair));
            self.pair(keys, a, b);
            rest = after;
        }
        // The last eight bytes, which may overlap those before: the length tells how far.
        let Some(last) = bytes.last_chunk::<8>() else {
            return;
        };
        let last = u64::from_le_bytes(*last);
        match rest.first_chunk::<8>() {
            Some(_) if rest.len() == 8 => self.pair(keys, last, 0),
            Some(next) => self.pair(keys, u64::from_le_bytes(*next), last),
            None if rest.is_empty() => {}
            None => self.pair(keys, last, 0),
        }
    }

    #[inline]
    pub(super) fn finish(self, keys: &HashKeys) -> u64 {
        let [low, high] = halves(self.sum);
        let [for_low, for_high] = keys.last;
        fold(low ^ for_low, high ^ for_high)
    }
}

/// Up to seven bytes as one word; different ones of one length are different words.
#[inline]
fn short(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    let mut word = 0;
    for byte in bytes {
        word = word << 8 | u64::from(*byte);
    }
    word
}

#[inline]
fn halves(wide: u128) -> [u64; 2] {
    [wide as u64, (wide >> 64) as u64]
}

/// Both halves of a product, xored.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let [low, high] = halves(u128::from(a) * u128::from(b));
    low ^ high
}
