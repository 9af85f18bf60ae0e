//! Shard files: allocated before they are mapped, checked before they are believed.
//!
//! ```text
//! offset | bytes | field
//!      0 |     8 | magic "TOLLSHRD"
//!      8 |     4 | format version
//!     12 |     4 | byte order of the words: 0 little, 1 big
//!     16 |    16 | instance id of the directory
//!     32 |     4 | this shard's number
//!     36 |     4 | shards in the table
//!     40 |     8 | lines in this shard
//!     48 |     8 | SipHash-1-3 of bytes 0 to 47, under a key of zeros
//!     64 |     8 | stamp: drawn whenever the table is opened or closed, as in the mark
//!     72 |     8 | slots that were ever used
//!     80 |     8 | lines of the file that this one is being copied into, see `shard.rs`; else zero
//!     88 |    16 | device and inode number of this file
//!   4096 |  64 n | lines
//! ```
//! All numbers before the stamp are little-endian, written once, and read by `read_at`, never
//! through the mapping; those from the stamp on are words.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, OFlags};

use super::Region;
use super::layout::{HEADER_LEN, LINE_LEN};
use crate::codec::{BYTE_ORDER, Fields, Reader, seal, sealed};

const MAGIC: [u8; 8] = *b"TOLLSHRD";
/// Changes with the meaning of any byte in a shard, a word or a tag.
pub(crate) const VERSION: u32 = 3;
/// The most lines there can be in a file.
pub(crate) const LINES_MAX: u64 = 1 << 28;
const SEALED_LEN: usize = 48;

/// What a shard file says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ShardHeader {
    pub(crate) instance: [u8; 16],
    pub(crate) number: u32,
    pub(crate) shards: u32,
    pub(crate) lines: u64,
}

/// How long a file may be that is to be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    /// As the header says.
    Given,
    /// As it may have grown to: it tells itself.
    Own,
}

/// Why a shard file cannot be used.
#[derive(Debug)]
pub(crate) enum ShardError {
    Io(&'static str, io::Error),
    /// Not such a file, or not this one; what is wrong, and what was expected.
    Unfit(String),
    /// Made by a later or an earlier format.
    Version(u32),
}

impl ShardHeader {
    /// The whole file's length, if there can be such a file.
    pub(crate) fn file_len(&self) -> Option<u64> {
        let lines = self.lines.checked_mul(LINE_LEN as u64)?;
        lines.checked_add(HEADER_LEN as u64)
    }

    fn encode(&self) -> [u8; SEALED_LEN + 8] {
        let mut bytes = [0; SEALED_LEN + 8];
        let mut fields = Fields::new(&mut bytes);
        fields.put(&MAGIC);
        fields.put(&VERSION.to_le_bytes());
        fields.put(&BYTE_ORDER.to_le_bytes());
        fields.put(&self.instance);
        fields.put(&self.number.to_le_bytes());
        fields.put(&self.shards.to_le_bytes());
        fields.put(&self.lines.to_le_bytes());
        seal(&mut bytes);
        bytes
    }
}

/// Says no if this process may not write a file of so many bytes (`RLIMIT_FSIZE`). To be asked
/// before whatever makes a file longer: the kernel answers who tries with SIGXFSZ, which ends the
/// process, and how a process takes its signals is not for a library to change.
pub(crate) fn check_file_len(len: u64) -> io::Result<()> {
    let most = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    match most.filter(|most| len > *most) {
        None => Ok(()),
        Some(most) => {
            let why = format!("{len} bytes, and this process may write {most} (RLIMIT_FSIZE)");
            Err(io::Error::new(io::ErrorKind::FileTooLarge, why))
        }
    }
}

/// Makes the file, allocates every block of it, and maps it, empty. What is in it is not on the
/// disk before the mapping is synced.
pub(crate) fn create(path: &Path, header: &ShardHeader) -> Result<Region, ShardError> {
    let len = header
        .file_len()
        .ok_or_else(|| ShardError::Unfit("too many lines".into()))?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| ShardError::Io("create", error))?;
    check_file_len(len).map_err(|error| ShardError::Io("allocate", error))?;
    // A sparse file would turn a full disk into a SIGBUS in the middle of a check.
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len)
        .map_err(|error| ShardError::Io("allocate", error.into()))?;
    file.write_all_at(&header.encode(), 0)
        .map_err(|error| ShardError::Io("write", error))?;
    let region = map(&file, header)?;
    region.note_identity();
    Ok(region)
}

/// Opens and maps a file that must be exactly the shard that `header` describes, but for its size
/// perhaps.
pub(crate) fn open(path: &Path, header: &ShardHeader, size: Size) -> Result<Region, ShardError> {
    let mut options = OpenOptions::new();
    let (file, header) = find(path, header, size, options.read(true).write(true))?;
    map(&file, &header)
}

/// Opens a file that must be exactly the shard that `header` describes, but for its size perhaps;
/// gives what it says of itself.
pub(super) fn find(
    path: &Path,
    header: &ShardHeader,
    size: Size,
    options: &mut OpenOptions,
) -> Result<(File, ShardHeader), ShardError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| ShardError::Io("open", error))?;
    let meta = file
        .metadata()
        .map_err(|error| ShardError::Io("stat", error))?;
    if !meta.is_file() {
        return Err(ShardError::Unfit("not a regular file".into()));
    }
    let mut bytes = [0; SEALED_LEN + 8];
    if meta.len() < HEADER_LEN as u64 {
        return Err(ShardError::Unfit(format!(
            "{} bytes long, too short for a header",
            meta.len()
        )));
    }
    file.read_exact_at(&mut bytes, 0)
        .map_err(|error| ShardError::Io("read", error))?;
    if bytes[..8] != MAGIC {
        return Err(ShardError::Unfit("does not begin as a shard does".into()));
    }
    let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if version != VERSION {
        return Err(ShardError::Version(version));
    }
    if !sealed(&bytes) {
        return Err(ShardError::Unfit(
            "its header does not match its checksum".into(),
        ));
    }
    let lines = Reader::new(&bytes[40..]).u64();
    let header = match size {
        Size::Given => *header,
        Size::Own => ShardHeader { lines, ..*header },
    };
    if bytes != header.encode() || !(1..=LINES_MAX).contains(&lines) {
        return Err(ShardError::Unfit(
            "belongs to another directory, place or size".into(),
        ));
    }
    // Blocks, too: a sparse file, such as a careless copy, could fail in the middle of a check.
    if Some(meta.len()) != header.file_len() || meta.blocks() * 512 < meta.len() {
        return Err(ShardError::Unfit(format!(
            "{} bytes long, or with holes",
            meta.len()
        )));
    }
    Ok((file, header))
}

fn map(file: &File, header: &ShardHeader) -> Result<Region, ShardError> {
    let lines = usize::try_from(header.lines).map_err(|_| ShardError::Unfit("too long".into()))?;
    Region::map(file, lines).map_err(|error| ShardError::Io("map", error))
}
