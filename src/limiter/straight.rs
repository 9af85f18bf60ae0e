//! What is to be known of a limit for the straight line of most checks, see `line.rs`.

use crate::algorithm::Bucket;
use crate::in_force::Note;
use crate::key::{HashKeys, KeyHash, KeyHasher, LimitBits, NameHash, Tag};

/// What is known of a limit of which most checks come to this: nothing is overridden, no disk is
/// asked, no cost is too much for one request, and what is refused is refused.
#[derive(Clone, Copy)]
pub(super) struct Straight {
    pub(super) hashing: Hashing,
    pub(super) bits: LimitBits,
    pub(super) is_logged: bool,
    pub(super) bucket: Bucket,
}

/// How its keys come to their hashes.
#[derive(Clone, Copy)]
pub(super) enum Hashing {
    /// Each is a text, whatever one, of the attribute of this name.
    Text(NameHash),
    /// There is one counter for all.
    Same(KeyHash),
}

/// What is known of a limit, as it is noted in a handle.
pub(super) type StraightNote = Note<6>;

impl Straight {
    /// Notes it as what the law of this number says.
    #[cold]
    pub(super) fn note(&self, law: u64, note: &StraightNote) {
        if let Some([burst, period, token, horizon]) = self.bucket.to_words() {
            let (hash, is_text) = match self.hashing {
                Hashing::Text(name) => (name.bits(), true),
                Hashing::Same(hash) => (hash.bits(), false),
            };
            let bits = self.bits.with_flags([self.is_logged, is_text]);
            note.write(law, [hash, bits, burst, period, token, horizon]);
        }
    }

    /// The tag for a key that is this text; none if the limit's keys are others.
    #[inline(always)]
    pub(super) fn tag_of_text(&self, keys: &HashKeys, text: &[u8]) -> Option<Tag> {
        match self.hashing {
            Hashing::Text(name) => {
                Some(Tag::new(KeyHasher::only_text(keys, name, text), self.bits))
            }
            Hashing::Same(_) => None,
        }
    }

    /// The tag for a key that has no parts; none if the limit's keys have.
    #[inline(always)]
    pub(super) fn tag_of_all(&self) -> Option<Tag> {
        match self.hashing {
            Hashing::Text(_) => None,
            Hashing::Same(hash) => Some(Tag::new(hash, self.bits)),
        }
    }

    /// One or the other: the empty text stands for the key without parts.
    pub(super) fn tag(&self, keys: &HashKeys, text: &[u8]) -> Option<Tag> {
        match text.is_empty() {
            true => self.tag_of_all(),
            false => self.tag_of_text(keys, text),
        }
    }

    #[inline(always)]
    pub(super) fn from_words([hash, bits, burst, period, token, horizon]: [u64; 6]) -> Self {
        let (bits, [is_logged, is_text]) = LimitBits::split_flags(bits);
        Self {
            hashing: match is_text {
                true => Hashing::Text(NameHash::from_bits(hash)),
                false => Hashing::Same(KeyHash::from_bits(hash)),
            },
            bits,
            is_logged,
            bucket: Bucket::from_words([burst, period, token, horizon]),
        }
    }
}
