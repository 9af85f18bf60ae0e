//! What a store holds under a key, byte for byte. The door of bincode.
//!
//! ```text
//! key "TTTTTTTT": a tag, big-endian, so that counters of one line lie side by side
//!   offset | bytes | field                          all numbers little-endian
//!        0 |     1 | version, 1
//!        1 |     8 | word
//!        9 |     4 | checksum
//! key "head": what the store as a whole holds
//!        0 |     1 | version, 1
//!        1 |    16 | instance id of the limiter's directory
//!       17 |     8 | sequence of the last commit
//!       25 |     4 | checksum
//! ```
//!
//! A checksum is the lower half of SipHash-1-3, under a key of zeros, of the record's key and of
//! the record up to there: a record under another's key is damaged too.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::algorithm::Word;
use crate::codec::{Fields, checksum};
use crate::key::Tag;

/// The version of both records.
pub(super) const VERSION: u8 = 1;
const TAG_BYTES: usize = 8;
const WORD_BYTES: usize = 13;
const HEAD_BYTES: usize = 29;
/// One key with its record.
pub(super) const RECORD_BYTES: usize = TAG_BYTES + WORD_BYTES;
/// No tag has a key of this length.
pub(super) const HEAD_KEY: &[u8] = b"head";

/// How records are laid out.
// Bound: nothing of a record makes the reader allocate, and no more of one is read than this.
const LAYOUT: Configuration<LittleEndian, Fixint, Limit<32>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<32>();
const _: () = assert!(WORD_BYTES <= 32 && HEAD_BYTES <= 32);

#[derive(Serialize, Deserialize)]
struct WordRecord {
    version: u8,
    word: u64,
    checksum: u32,
}

/// What a store says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    version: u8,
    pub(super) instance: [u8; 16],
    pub(super) sequence: u64,
    checksum: u32,
}

/// What is wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flaw {
    /// Whole, and of a version that is not ours.
    Version(u8),
    /// Not as it was written.
    Damaged,
}

/// The key of a tag's record.
pub(super) fn key(tag: Tag) -> [u8; TAG_BYTES] {
    tag.bits().to_be_bytes()
}

/// The tag and the word of a key and its record.
pub(super) fn decode_word(key: &[u8], bytes: &[u8]) -> Result<(Tag, Word), Flaw> {
    let record: WordRecord = decode(key, bytes, WORD_BYTES)?;
    let tag = key.try_into().map_err(|_| Flaw::Damaged)?;
    let tag = Tag::from_bits(u64::from_be_bytes(tag));
    Ok((tag, Word::from_bits(record.word)))
}

/// The record of a word; its dirty bit is the table's own affair and stays there.
pub(super) fn encode_word(tag: Tag, word: Word) -> [u8; WORD_BYTES] {
    let record = WordRecord {
        version: VERSION,
        word: word.clean().bits(),
        checksum: 0,
    };
    encode(&key(tag), record)
}

impl Head {
    pub(super) fn new(instance: [u8; 16], sequence: u64) -> Self {
        Self {
            version: VERSION,
            instance,
            sequence,
            checksum: 0,
        }
    }

    pub(super) fn encode(self) -> [u8; HEAD_BYTES] {
        encode(HEAD_KEY, self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let head: Self = decode(HEAD_KEY, bytes, HEAD_BYTES)?;
        Ok(Self {
            checksum: 0,
            ..head
        })
    }
}

/// Writes a record and, over its last four bytes, its checksum.
fn encode<const LEN: usize>(key: &[u8], record: impl Serialize) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let written = bincode::serde::encode_into_slice(record, &mut bytes, LAYOUT);
    // Records have fixed sizes: a buffer that does not fit shows in every test of this file.
    debug_assert_eq!(written.ok(), Some(LEN));
    if let Some((body, sum)) = bytes.split_last_chunk_mut::<4>() {
        *sum = short_checksum(key, body);
    }
    bytes
}

fn decode<R: DeserializeOwned>(key: &[u8], bytes: &[u8], length: usize) -> Result<R, Flaw> {
    let Some((body, sum)) = bytes.split_last_chunk::<4>() else {
        return Err(Flaw::Damaged);
    };
    if *sum != short_checksum(key, body) {
        return Err(Flaw::Damaged);
    }
    match body.first() {
        Some(&VERSION) => {}
        Some(&version) => return Err(Flaw::Version(version)),
        None => return Err(Flaw::Damaged),
    }
    match bincode::serde::decode_from_slice(bytes, LAYOUT) {
        Ok((record, read)) if read == length && bytes.len() == length => Ok(record),
        _ => Err(Flaw::Damaged),
    }
}

fn short_checksum(key: &[u8], body: &[u8]) -> [u8; 4] {
    let mut bytes = [0; HEAD_KEY.len() + HEAD_BYTES];
    let length = bytes.len().min(key.len() + body.len());
    let mut fields = Fields::new(&mut bytes);
    fields.put(key);
    fields.put(body);
    let [a, b, c, d, ..] = checksum(&bytes[..length]).to_le_bytes();
    [a, b, c, d]
}
