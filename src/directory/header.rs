//! The header: who this directory is.
//!
//! ```text
//! offset | bytes | field
//!      0 |     8 | magic "TOLLGATE"
//!      8 |     4 | format version
//!     12 |     4 | byte order of the words: 0 little, 1 big
//!     16 |    16 | instance id, drawn at random
//!     32 |    16 | secret of the key hash, drawn at random
//!     48 |     4 | shards
//!     52 |     4 | zero
//!     56 |     8 | lines that a shard begins with
//!     64 |     8 | length of what follows, in bytes
//!     72 |       | the rates that words name, see `directory/rates.rs`
//!   last |     8 | SipHash-1-3 of all before it, under a key of zeros
//! ```

use std::io;
use std::path::Path;

use super::DirectoryError;
use super::rates::Rates;
use crate::codec::{BYTE_ORDER, Fields, Reader, seal, sealed};
use crate::key::Secret;
use crate::table;

const MAGIC: [u8; 8] = *b"TOLLGATE";
const VERSION: u32 = 6;
/// Bytes before the rates.
const FIXED: usize = 72;
const SUM: usize = 8;

/// A number that no table was ever stamped with.
pub(crate) fn draw_stamp() -> io::Result<u64> {
    let mut stamp = [0; 8];
    getrandom::fill(&mut stamp)?;
    Ok(u64::from_le_bytes(stamp))
}

/// Who a directory is, and the shape that its table begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) instance: [u8; 16],
    secret: [u8; Secret::LEN],
    pub(crate) shards: u32,
    /// Lines that a shard begins with.
    pub(crate) lines: u64,
    /// What the words of buckets mean.
    pub(crate) rates: Rates,
}

impl Header {
    /// The longest that a header can be, in bytes.
    pub(crate) const LEN_MAX: u64 = (FIXED + Rates::LEN_MAX + SUM) as u64;

    /// A new directory's, for so many counters at first, with an identity and a secret of its own.
    pub(crate) fn draw(counters: u64) -> io::Result<Self> {
        let mut instance = [0; 16];
        let mut secret = [0; Secret::LEN];
        getrandom::fill(&mut instance)?;
        getrandom::fill(&mut secret)?;
        let shards = table::SHARDS;
        Ok(Self {
            instance,
            secret,
            shards,
            lines: table::lines_per_shard(counters, shards),
            rates: Rates::default(),
        })
    }

    /// The same directory's in all but its identity: for a copy, whose tags must mean the same, and
    /// whose shards begin with so many lines.
    pub(crate) fn for_copy(&self, lines: u64) -> io::Result<Self> {
        let mut instance = [0; 16];
        getrandom::fill(&mut instance)?;
        Ok(Self {
            instance,
            lines,
            ..self.clone()
        })
    }

    pub(crate) fn secret(&self) -> Secret {
        Secret::from_bytes(self.secret)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let rates = self.rates.encode();
        let mut bytes = vec![0; FIXED + rates.len() + SUM];
        let mut fields = Fields::new(&mut bytes);
        fields.put(&MAGIC);
        fields.put(&VERSION.to_le_bytes());
        fields.put(&BYTE_ORDER.to_le_bytes());
        fields.put(&self.instance);
        fields.put(&self.secret);
        fields.put(&self.shards.to_le_bytes());
        fields.put(&0_u32.to_le_bytes());
        fields.put(&self.lines.to_le_bytes());
        fields.put(&(rates.len() as u64).to_le_bytes());
        fields.put(&rates);
        seal(&mut bytes);
        bytes
    }

    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, DirectoryError> {
        let damaged = |why: &str| DirectoryError::Damaged {
            path: path.into(),
            why: why.into(),
        };
        let mut fields = Reader::new(bytes);
        if fields.take() != MAGIC {
            return Err(damaged("is not the header of a Tollgate directory"));
        }
        let found = fields.u32();
        if found != VERSION {
            return Err(DirectoryError::Version {
                path: path.into(),
                found,
                supported: VERSION,
            });
        }
        if bytes.len() < FIXED + SUM || !sealed(bytes) {
            return Err(damaged(
                "does not match its checksum; restore it from a copy",
            ));
        }
        if fields.u32() != BYTE_ORDER {
            return Err(damaged("was written on a machine of the other byte order"));
        }
        let (instance, secret) = (fields.take(), fields.take());
        let (shards, zero, lines) = (fields.u32(), fields.u32(), fields.u64());
        if shards != table::SHARDS || zero != 0 || lines == 0 || lines > table::file::LINES_MAX {
            return Err(damaged("describes a table that this version never makes"));
        }
        let rates = &bytes[FIXED..bytes.len() - SUM];
        let rates = match fields.u64() == rates.len() as u64 {
            true => Rates::decode(rates),
            false => None,
        };
        Ok(Self {
            instance,
            secret,
            shards,
            lines,
            rates: rates.ok_or_else(|| damaged("names rates that there cannot be"))?,
        })
    }
}
