//! The marks: whether the table was closed clean, and if not, whether it can be believed.
//!
//! A table that was not closed clean lives in the page cache. It is whole if the kernel, the mount
//! and the files are still the ones it was written under; else it may be torn or stale. The marks
//! hold what tells: boot id, mount, and the files' own numbers. They also hold the latest time
//! seen, so that a clock set back between two runs is noticed.
//!
//! ```text
//! offset | bytes | field of a slot's body; the slots are laid out in `slots.rs`
//!      0 |     8 | state: 1 open, 2 clean
//!      8 |    16 | instance id
//!     24 |    16 | boot id
//!     40 |     8 | mount id
//!     48 |     8 | shard files: checksum of their device and inode numbers
//!     56 |     8 | latest time seen, ns since 1970
//! ```

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, StatxFlags};

use super::{DirectoryError, Slots};
use crate::codec::{Fields, Reader, checksum};
use crate::time::Timestamp;

const MAGIC: [u8; 8] = *b"TOLLMARK";
const LEN: usize = 64;

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
    /// No place: a table under this mark is not to be believed anywhere.
    pub(crate) const NOWHERE: Self = Self {
        boot: [0; 16],
        mount: 0,
        files: 0,
    };

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
    pub(crate) state: State,
    pub(crate) instance: [u8; 16],
    pub(crate) place: Place,
    pub(crate) latest: Timestamp,
}

/// The marks file, open.
#[derive(Debug)]
pub(crate) struct Marks(Slots<LEN>);

impl Marks {
    /// Opens the file, making it if there is none, and reads the mark that counts.
    pub(crate) fn open(path: PathBuf) -> Result<Self, DirectoryError> {
        Ok(Self(Slots::open(path, MAGIC)?))
    }

    /// The last whole mark.
    pub(crate) fn last(&self) -> Option<Mark> {
        self.0.last().and_then(Mark::decode)
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
        let mark = Mark {
            state,
            instance,
            place,
            latest,
        };
        self.0.write(mark.encode(), durable)
    }
}

impl Mark {
    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut fields = Fields::new(&mut bytes);
        fields.put(&(self.state as u64).to_le_bytes());
        fields.put(&self.instance);
        fields.put(&self.place.boot);
        fields.put(&self.place.mount.to_le_bytes());
        fields.put(&self.place.files.to_le_bytes());
        fields.put(&self.latest.as_nanos().to_le_bytes());
        bytes
    }

    /// The mark, if its state is one there is.
    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let mut fields = Reader::new(bytes);
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
            state,
            instance,
            place,
            latest,
        })
    }
}
