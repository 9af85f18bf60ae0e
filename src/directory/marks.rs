//! The marks: whether the table was closed clean, and if not, whether it can be believed.
//!
//! A table that was not closed clean lives in the page cache. It is whole if the kernel, the mount
//! and the files are still the ones it was written under; else it may be torn or stale. The marks
//! hold what tells: boot id, mount, and the files' own numbers. They also hold the latest time
//! seen, so that a clock set back between two runs is noticed.
//!
//! ```text
//! offset | bytes | field                         slot 0 at offset 0, slot 1 at offset 4096
//!      0 |     8 | magic "TOLLMARK"
//!      8 |     8 | sequence: the larger of two whole slots counts
//!     16 |     8 | state: 1 open, 2 clean
//!     24 |    16 | instance id
//!     40 |    16 | boot id
//!     56 |     8 | mount id
//!     64 |     8 | shard files: checksum of their device and inode numbers
//!     72 |     8 | latest time seen, ns since 1970
//!     80 |     8 | SipHash-1-3 of bytes 0 to 79, under a key of zeros
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags, StatxFlags};

use super::DirectoryError;
use crate::codec::{Fields, Reader, checksum, seal, sealed};
use crate::time::Timestamp;

const MAGIC: [u8; 8] = *b"TOLLMARK";
const LEN: usize = 88;
/// One slot a block, so that a write that tears one leaves the other whole.
const SLOT_STRIDE: u64 = 4096;

/// Open while a limiter runs; clean once it has closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub(crate) enum State {
    Open = 1,
    Clean = 2,
}

/// Where and under which kernel a table was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) boot: [u8; 16],
    pub(crate) mount: u64,
    pub(crate) files: u64,
}

impl Place {
    /// This kernel, the mount that `table` is on, and these shard files.
    pub(crate) fn here(table: &Path, files: &[(u64, u64)]) -> Result<Self, DirectoryError> {
        let boot_path = Path::new("/proc/sys/kernel/random/boot_id");
        let text = std::fs::read_to_string(boot_path);
        let text = text.map_err(DirectoryError::io("read", boot_path))?;
        let mut boot = [0; 16];
        let sum = checksum(text.trim().as_bytes()).to_le_bytes();
        let turned = checksum(&sum).to_le_bytes();
        boot[..8].copy_from_slice(&sum);
        boot[8..].copy_from_slice(&turned);
        let mount = rustix::fs::statx(rustix::fs::CWD, table, AtFlags::empty(), StatxFlags::MNT_ID)
            .map_err(|error| DirectoryError::io("look at", table)(error.into()))?
            .stx_mnt_id;
        let numbers = files.iter().flat_map(|(device, inode)| [*device, *inode]);
        let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        Ok(Self {
            boot,
            mount,
            files: checksum(&bytes),
        })
    }
}

/// One mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    sequence: u64,
    pub(crate) state: State,
    pub(crate) instance: [u8; 16],
    pub(crate) place: Place,
    pub(crate) latest: Timestamp,
}

/// The marks file, open.
#[derive(Debug)]
pub(crate) struct Marks {
    path: PathBuf,
    file: File,
    last: Option<Mark>,
}

impl Marks {
    /// Opens the file, making it if there is none, and reads the mark that counts.
    pub(crate) fn open(path: PathBuf) -> Result<Self, DirectoryError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(&path)
            .map_err(DirectoryError::io("open", &path))?;
        let mut last: Option<Mark> = None;
        for slot in 0..2 {
            let mark = read_slot(&file, slot).map_err(DirectoryError::io("read", &path))?;
            if mark.is_some_and(|mark| last.is_none_or(|last| mark.sequence > last.sequence)) {
                last = mark;
            }
        }
        Ok(Self { path, file, last })
    }

    /// The last whole mark.
    pub(crate) fn last(&self) -> Option<Mark> {
        self.last
    }

    /// Writes the next mark over the older of the two. With `durable`, returns once it is on the
    /// disk; without, it outlives the process but not the kernel.
    pub(crate) fn write(
        &mut self,
        state: State,
        instance: [u8; 16],
        place: Place,
        latest: Timestamp,
        durable: bool,
    ) -> Result<(), DirectoryError> {
        let sequence = self.last.map_or(1, |last| last.sequence + 1);
        let mark = Mark {
            sequence,
            state,
            instance,
            place,
            latest,
        };
        let write = || {
            self.file
                .write_all_at(&mark.encode(), (sequence % 2) * SLOT_STRIDE)?;
            if durable {
                self.file.sync_data()
            } else {
                Ok(())
            }
        };
        write().map_err(DirectoryError::io("write", &self.path))?;
        self.last = Some(mark);
        Ok(())
    }
}

fn read_slot(file: &File, slot: u64) -> io::Result<Option<Mark>> {
    let mut bytes = [0; LEN];
    match file.read_exact_at(&mut bytes, slot * SLOT_STRIDE) {
        Ok(()) => Ok(Mark::decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

impl Mark {
    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut fields = Fields::new(&mut bytes);
        fields.put(&MAGIC);
        fields.put(&self.sequence.to_le_bytes());
        fields.put(&(self.state as u64).to_le_bytes());
        fields.put(&self.instance);
        fields.put(&self.place.boot);
        fields.put(&self.place.mount.to_le_bytes());
        fields.put(&self.place.files.to_le_bytes());
        fields.put(&self.latest.as_nanos().to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    /// The mark, if the slot is whole. A torn one is none: the other slot then counts.
    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let mut fields = Reader::new(bytes);
        if fields.take() != MAGIC || !sealed(bytes) {
            return None;
        }
        let sequence = fields.u64();
        let state = match fields.u64() {
            1 => State::Open,
            2 => State::Clean,
            _ => return None,
        };
        let instance = fields.take();
        let place = Place {
            boot: fields.take(),
            mount: fields.u64(),
            files: fields.u64(),
        };
        let latest = Timestamp::from_nanos(fields.u64());
        Some(Self {
            sequence,
            state,
            instance,
            place,
            latest,
        })
    }
}
