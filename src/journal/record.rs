//! What a store holds under a key, byte for byte. The door of bincode.
//!
//! A store on sled is a log: each commit is appended as one page or more, and nothing is changed
//! in place. Of several words under one tag the last counts.
//!
//! ```text
//! key     0 |     8 | sequence of the commit, big-endian, so that pages lie in their order
//!         8 |     2 | place of the page in its commit, big-endian, from 0
//! page    0 |     1 | version, 1                      all numbers little-endian
//!         1 |    16 | instance id of the limiter's directory
//!        17 |     8 | sequence of the commit before; 0 in the first of a store
//!        25 |     2 | how many pages the commit has
//!        27 |     8 | how many words follow
//!        35 |  16 n | tag and word, 8 bytes each
//!      then |     4 | checksum: lower half of SipHash-1-3, under a key of zeros, of the key and
//!           |       | of all before
//! ```

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::{Deserialize, Serialize};

use crate::algorithm::Word;
use crate::codec::checksum;
use crate::key::Tag;

pub(super) const VERSION: u8 = 1;
/// The most words of one page.
// Bound: sled rewrites up to seventeen pages at a time, and puts what is over 128 KiB into a file
// of its own, which nobody syncs.
pub(super) const PAGE_WORDS: usize = 128;
const SUM_BYTES: usize = 4;
/// A page without words, and its key.
const FRAME_BYTES: usize = KEY_BYTES + 35 + SUM_BYTES;
const KEY_BYTES: usize = 10;
const WORD_BYTES: usize = 16;
const PAGE_BYTES_MAX: usize = FRAME_BYTES + PAGE_WORDS * WORD_BYTES;
const _: () = assert!(17 * PAGE_BYTES_MAX < 128 << 10);

/// How pages are laid out.
// Bound: a length that claims more than a page may have is an error before anything is allocated.
const LAYOUT: Configuration<LittleEndian, Fixint, Limit<PAGE_BYTES_MAX>> =
    bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<PAGE_BYTES_MAX>();

/// The bytes that `words` words take in a store.
pub(super) const fn bytes_of(words: usize) -> usize {
    words.div_ceil(PAGE_WORDS) * FRAME_BYTES + words * WORD_BYTES
}

/// Where a page stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) sequence: u64,
    pub(super) part: u16,
}

/// Some of a commit's words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Page {
    version: u8,
    instance: [u8; 16],
    /// The sequence of the commit before; 0 in the first of a store.
    pub(super) before: u64,
    /// How many pages the commit has.
    pub(super) parts: u16,
    words: Vec<(u64, u64)>,
}

/// What is wrong with a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flaw {
    /// Whole, and of a version that is not ours.
    Version(u8),
    /// Whole, and of another limiter's directory.
    Foreign,
    /// Not as it was written.
    Damaged,
}

impl Place {
    pub(super) fn encode(self) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        let (sequence, part) = key.split_at_mut(8);
        sequence.copy_from_slice(&self.sequence.to_be_bytes());
        part.copy_from_slice(&self.part.to_be_bytes());
        key
    }

    fn decode(key: &[u8]) -> Option<Self> {
        let (sequence, part) = key.split_first_chunk()?;
        Some(Self {
            sequence: u64::from_be_bytes(*sequence),
            part: u16::from_be_bytes(part.try_into().ok()?),
        })
    }
}

impl Page {
    /// A page of at most [`PAGE_WORDS`] words. Their dirty bits are the table's own affair and
    /// stay there.
    pub(super) fn new(instance: [u8; 16], before: u64, parts: u16, words: &[(Tag, Word)]) -> Self {
        let bits = |(tag, word): &(Tag, Word)| (tag.bits(), word.clean().bits());
        Self {
            version: VERSION,
            instance,
            before,
            parts,
            words: words.iter().map(bits).collect(),
        }
    }

    pub(super) fn words(&self) -> impl Iterator<Item = (Tag, Word)> {
        let of_bits = |(tag, word): &(u64, u64)| (Tag::from_bits(*tag), Word::from_bits(*word));
        self.words.iter().map(of_bits)
    }

    /// The page's record under `key`; none if it has too many words.
    pub(super) fn encode(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = bincode::serde::encode_to_vec(self, LAYOUT).ok()?;
        let sum = short_checksum(key, &bytes);
        bytes.extend_from_slice(&sum);
        (key.len() + bytes.len() <= PAGE_BYTES_MAX).then_some(bytes)
    }

    /// The page of a record under `key`, and where it stands.
    pub(super) fn decode(
        instance: [u8; 16],
        key: &[u8],
        bytes: &[u8],
    ) -> Result<(Place, Self), Flaw> {
        let (body, sum) = bytes.split_last_chunk().ok_or(Flaw::Damaged)?;
        if *sum != short_checksum(key, body) {
            return Err(Flaw::Damaged);
        }
        match body.first() {
            Some(&VERSION) => {}
            Some(&version) => return Err(Flaw::Version(version)),
            None => return Err(Flaw::Damaged),
        }
        let place = Place::decode(key).ok_or(Flaw::Damaged)?;
        match bincode::serde::decode_from_slice::<Self, _>(body, LAYOUT) {
            Ok((page, read)) if read == body.len() && page.instance == instance => {
                Ok((place, page))
            }
            Ok((_, read)) if read == body.len() => Err(Flaw::Foreign),
            _ => Err(Flaw::Damaged),
        }
    }
}

pub(super) fn short_checksum(key: &[u8], body: &[u8]) -> [u8; SUM_BYTES] {
    let [a, b, c, d, ..] = checksum(&[key, body].concat()).to_le_bytes();
    [a, b, c, d]
}
