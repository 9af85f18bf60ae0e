//! The file of ceilings: what it looks like, how it is read, and how it grows.
//!
//! ```text
//! a block is 512 bytes and stands twice in a row, so that one damaged place costs nothing
//!
//! block 0    magic 8 | format version 4 | zero 4 | instance id 16 | file id 8 | closed at 8 |
//!            length of the file 8 | zeros | sum 8
//!            closed at: ns since 1970, 0 for never, see `Ceilings::closed`
//! block n    file id 8 | n 8 | first block of its append 8 | length of the file 8 | records 8 |
//!            29 times: tag 8, word 8 | sum 8
//! then       zeros, made durable before the blocks that say how long the file is
//! ```
//!
//! Numbers are little-endian; a sum is SipHash-1-3 of all before it under a key of zeros. Of
//! several records under one tag the last counts. A block of which neither copy is whole belongs
//! to the torn end of the file, which was never acknowledged, unless a whole block of a later
//! append follows, or something stands in both: then the file is damaged. So it is if it is shorter
//! than a block says: there is always room left for more, so a file cut short anywhere shows.

use std::io;

use super::medium::Medium;
use crate::algorithm::Word;
use crate::codec::{Fields, Reader, checksum, seal, sealed};
use crate::key::Tag;
use crate::time::Timestamp;

const MAGIC: [u8; 8] = *b"TOLLCEIL";
/// The version of the layout above.
pub(crate) const VERSION: u32 = 1;
const BLOCK: usize = 512;
const TWICE: usize = 2 * BLOCK;
const RECORDS: usize = 29;
const _: () = assert!(5 * 8 + 16 * RECORDS + 8 == BLOCK);
/// The file grows by so much, before the last half of it is used.
const STEP: u64 = 64 << 10;

/// What a reading found.
#[derive(Debug)]
pub(crate) enum Found {
    /// No file.
    Missing,
    /// Whole, but perhaps for an end that was never acknowledged.
    Whole { sheet: Sheet, is_torn: bool },
    /// Some of it could not be read, or all of it is another directory's.
    Damaged { why: String },
    /// A version that this one does not know.
    Version { found: u32 },
}

/// Where a file stands: what is needed to go on writing it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sheet {
    file_id: u64,
    /// Blocks that are there, the first included.
    blocks: u64,
    /// How long the file is, zeros included, in bytes.
    length: u64,
    pub(crate) closed: Option<Timestamp>,
}

impl Sheet {
    /// Where the next block goes, in bytes.
    pub(crate) fn end(&self) -> u64 {
        self.blocks * TWICE as u64
    }

    /// Zeros to be appended, and to be durable, before `records` can be; and where.
    pub(crate) fn room_for(&self, records: &[(Tag, Word)]) -> Option<(u64, Vec<u8>)> {
        let end = self.end() + bytes_of(records) as u64;
        let lacking = (end + STEP / 2).saturating_sub(self.length);
        let lacking = usize::try_from(lacking.next_multiple_of(STEP)).ok()?;
        (lacking > 0).then(|| (self.length, vec![0; lacking]))
    }

    /// Accounts for so many bytes of room, which are there now.
    pub(crate) fn widen(&mut self, bytes: usize) {
        self.length += bytes as u64;
    }

    /// A new file's content: these records and no others.
    pub(crate) fn begin(
        instance: [u8; 16],
        closed: Option<Timestamp>,
        records: &[(Tag, Word)],
    ) -> (Self, Vec<u8>) {
        let mut seed = instance.to_vec();
        // An earlier file's blocks can then not be taken for this one's.
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        seed.extend_from_slice(&since.as_nanos().to_le_bytes());
        let mut sheet = Self {
            file_id: checksum(&seed),
            blocks: 1,
            length: TWICE as u64,
            closed,
        };
        let room = sheet.room_for(records).map_or(0, |(_, room)| room.len());
        sheet.widen(room);
        let mut block = [0; BLOCK];
        let mut fields = Fields::new(&mut block);
        fields.put(&MAGIC);
        fields.put(&VERSION.to_le_bytes());
        fields.put(&0_u32.to_le_bytes());
        fields.put(&instance);
        fields.put(&sheet.file_id.to_le_bytes());
        fields.put(&closed.unwrap_or_default().as_nanos().to_le_bytes());
        fields.put(&sheet.length.to_le_bytes());
        seal(&mut block);
        let mut bytes = [block, block].concat();
        bytes.extend_from_slice(&sheet.more(records));
        sheet.grow(records);
        bytes.resize(TWICE + room, 0);
        (sheet, bytes)
    }

    /// The bytes that add `records` at the end.
    pub(crate) fn more(&self, records: &[(Tag, Word)]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(bytes_of(records));
        for (number, some) in (self.blocks..).zip(records.chunks(RECORDS)) {
            let mut block = [0; BLOCK];
            let mut fields = Fields::new(&mut block);
            for field in [
                self.file_id,
                number,
                self.blocks,
                self.length,
                some.len() as u64,
            ] {
                fields.put(&field.to_le_bytes());
            }
            for (tag, word) in some {
                fields.put(&tag.bits().to_le_bytes());
                fields.put(&word.clean().bits().to_le_bytes());
            }
            seal(&mut block);
            bytes.extend_from_slice(&block);
            bytes.extend_from_slice(&block);
        }
        bytes
    }

    /// Accounts for `records`, which have been added.
    pub(crate) fn grow(&mut self, records: &[(Tag, Word)]) {
        self.blocks += records.len().div_ceil(RECORDS) as u64;
    }
}

fn bytes_of(records: &[(Tag, Word)]) -> usize {
    records.len().div_ceil(RECORDS) * TWICE
}

/// A block after the first, whole.
struct Block<'a> {
    number: u64,
    /// The number of the first block that was appended together with it.
    began: u64,
    /// How long the file was when it was written.
    length: u64,
    records: usize,
    fields: Reader<'a>,
}

impl<'a> Block<'a> {
    /// The block, if it is whole and of this file.
    fn read(bytes: &'a [u8; BLOCK], file_id: u64) -> Option<Self> {
        let mut fields = Reader::new(bytes);
        let is_ours = sealed(bytes) && fields.u64() == file_id;
        let (number, began, length) = (fields.u64(), fields.u64(), fields.u64());
        let records = usize::try_from(fields.u64()).ok()?;
        (is_ours && records <= RECORDS).then_some(Self {
            number,
            began,
            length,
            records,
            fields,
        })
    }

    fn show(mut self, see: &mut dyn FnMut(Tag, Word)) {
        for _ in 0..self.records {
            let tag = Tag::from_bits(self.fields.u64());
            see(tag, Word::from_bits(self.fields.u64()));
        }
    }
}

/// The first whole one of a block's two copies.
fn either<'a, T>(bytes: &'a [u8], read: impl Fn(&'a [u8; BLOCK]) -> Option<T>) -> Option<T> {
    let mut copies = bytes.chunks(BLOCK).filter_map(|one| one.try_into().ok());
    copies.find_map(read)
}

/// Reads everything, and shows every record in order, those of a damaged file too as far as they
/// are whole: what was once a ceiling is one.
pub(crate) fn read(
    medium: &mut dyn Medium,
    instance: [u8; 16],
    see: &mut dyn FnMut(Tag, Word),
) -> io::Result<Found> {
    let mut bytes = [0; TWICE];
    let Some(some) = medium.read_at(0, &mut bytes)? else {
        return Ok(Found::Missing);
    };
    let first = either(&bytes[..some], |one| sealed(one).then_some(one));
    let mut sheet = match first.map(|block| head(block, instance)) {
        None => {
            let why = "its first block is not whole".into();
            return Ok(Found::Damaged { why });
        }
        Some(Err(found)) => return Ok(found),
        Some(Ok(sheet)) => sheet,
    };
    let (mut length, mut longest) = (TWICE as u64, sheet.length);
    let (mut gap, mut is_torn, mut why) = (false, false, None);
    for number in 1.. {
        let some = medium.read_at(number * TWICE as u64, &mut bytes)?;
        let some = &bytes[..some.unwrap_or(0)];
        if some.is_empty() {
            break;
        }
        length = number * TWICE as u64 + some.len() as u64;
        let block = either(some, |one| Block::read(one, sheet.file_id));
        match block.filter(|block| block.number == number) {
            None => {
                gap = true;
                let copies = some.chunks(BLOCK);
                let begun = copies.filter(|copy| copy.iter().any(|byte| *byte != 0));
                let begun = begun.count();
                is_torn |= begun > 0;
                // A cut leaves a sector as it was or as it was to be, and at most one in between.
                if begun > 1 {
                    why.get_or_insert_with(|| format!("block {number} is not whole"));
                }
            }
            // Of the append that was torn.
            Some(block) if gap && block.began <= sheet.blocks => is_torn = true,
            Some(block) => {
                if gap {
                    why.get_or_insert_with(|| format!("block {} is not whole", sheet.blocks));
                    (gap, is_torn) = (false, false);
                }
                longest = longest.max(block.length);
                block.show(see);
                sheet.blocks = number + 1;
            }
        }
    }
    sheet.length = length;
    if longest > length {
        why.get_or_insert_with(|| format!("it was {longest} bytes long, and is cut short"));
    }
    Ok(match why {
        None => Found::Whole { sheet, is_torn },
        Some(why) => Found::Damaged { why },
    })
}

/// What the first block says.
fn head(block: &[u8; BLOCK], instance: [u8; 16]) -> Result<Sheet, Found> {
    let damaged = |why: &str| Found::Damaged { why: why.into() };
    let mut fields = Reader::new(block);
    if fields.take() != MAGIC {
        return Err(damaged("it is no file of ceilings"));
    }
    let found = fields.u32();
    if found != VERSION {
        return Err(Found::Version { found });
    }
    let _zero = fields.u32();
    if fields.take() != instance {
        return Err(damaged("it belongs to another limiter's directory"));
    }
    let (file_id, closed) = (fields.u64(), fields.u64());
    Ok(Sheet {
        file_id,
        blocks: 1,
        length: fields.u64(),
        closed: (closed > 0).then(|| Timestamp::from_nanos(closed)),
    })
}
