//! The marks: whether the table was closed clean, and if not, whether it can be believed.
//!
//! A table that was not closed clean lives in the page cache. It is whole if the kernel, the mount
//! and the files are still the ones it was written under; else it may be torn or stale. The marks
//! hold boot id and mount; each file of the table says itself which file it is, since files are
//! replaced by larger ones while it is in use. The marks also hold where the table
//! lies, the stamp that its shards bear, so that no table of another time is taken for it, and the
//! latest time seen, so that a clock set back between two runs is noticed.
//!
//! ```text
//! offset | bytes | field of a slot's body; the slots are laid out in `slots.rs`
//!      0 |     8 | state: 1 open, 2 clean, 3 open and something was charged that no disk knows of
//!      8 |    16 | instance id
//!     24 |    16 | boot id
//!     40 |     8 | mount id; zero on a memory file system
//!     48 |     8 | latest time seen, ns since 1970
//!     56 |     8 | stamp of the shards
//!     64 |     8 | stamp that they are just getting, or the same again
//!     72 |     2 | length of the root's path; zero if the table lies in the data directory
//!     74 |   254 | the root's path, see `folder.rs`
//! ```

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, StatxFlags};

use super::{DirectoryError, Site, Slots, is_memory};
use crate::codec::{Fields, Reader, checksum};
use crate::time::Timestamp;

const MAGIC: [u8; 8] = *b"TOLLMARK";
const LEN: usize = 74 + Site::ROOT_MAX;

/// Mount ids that are never given twice, where the kernel has them: Linux 6.8.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// Open while a limiter runs; clean once it has closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub(crate) enum State {
    Open = 1,
    Clean = 2,
}

const OPEN_AND_UNSECURED: u64 = 3;

/// Where and under which kernel a table was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) boot: [u8; 16],
    pub(crate) mount: u64,
}

impl Place {
    /// No place: a table under this mark is not to be believed anywhere.
    pub(crate) const NOWHERE: Self = Self {
        boot: [0; 16],
        mount: 0,
    };

    /// This kernel, between two of its boots.
    pub(crate) fn boot() -> Result<[u8; 16], DirectoryError> {
        let boot_path = Path::new("/proc/sys/kernel/random/boot_id");
        let text = std::fs::read_to_string(boot_path);
        let text = text.map_err(DirectoryError::io("read", boot_path))?;
        let mut boot = [0; 16];
        let sum = checksum(text.trim().as_bytes()).to_le_bytes();
        let turned = checksum(&sum).to_le_bytes();
        boot[..8].copy_from_slice(&sum);
        boot[8..].copy_from_slice(&turned);
        Ok(boot)
    }

    /// This kernel, and the mount that `table` is on.
    pub(crate) fn here(table: &Path) -> Result<Self, DirectoryError> {
        let boot = Self::boot()?;
        // A memory file system goes with its content, so its files' numbers say enough; and in a
        // container that was started again the same one has another mount.
        let mount = if is_memory(table)? {
            0
        } else {
            let wanted = StatxFlags::MNT_ID | MNT_ID_UNIQUE;
            rustix::fs::statx(rustix::fs::CWD, table, AtFlags::empty(), wanted)
                .map_err(|error| DirectoryError::io("look at", table)(error.into()))?
                .stx_mnt_id
        };
        Ok(Self { boot, mount })
    }
}

impl Place {
    /// What is another than it was under `mark`, if something is.
    pub(crate) fn differs_from(&self, mark: &Self) -> Option<&'static str> {
        if self.boot != mark.boot {
            Some("another boot")
        } else if self.mount != mark.mount {
            Some("another mount")
        } else {
            None
        }
    }
}

/// One mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    pub(crate) state: State,
    /// Something was charged to a strict limit that is in the table alone: the disk failed.
    pub(crate) has_unsecured: bool,
    pub(crate) instance: [u8; 16],
    pub(crate) place: Place,
    pub(crate) latest: Timestamp,
    /// What the shards bear: the one, or while they are being stamped the other.
    pub(crate) stamps: [u64; 2],
    pub(crate) site: Site,
}

/// The marks file, open.
#[derive(Debug)]
pub(crate) struct Marks(Slots<LEN>);

impl Marks {
    /// Opens the file, making it if there is none, and reads the mark that counts.
    pub(crate) fn open(path: PathBuf) -> Result<Self, DirectoryError> {
        Ok(Self(Slots::open(path, MAGIC)?))
    }

    /// The mark that counts in the file at `path`, which is only read.
    pub(crate) fn peek(path: &Path) -> Result<Option<Mark>, DirectoryError> {
        let body = Slots::peek(path, MAGIC)?;
        Ok(body.as_ref().and_then(Mark::decode))
    }

    /// The last whole mark.
    pub(crate) fn last(&self) -> Option<Mark> {
        self.0.last().and_then(Mark::decode)
    }

    /// True if nothing was ever written: then nobody was ever admitted either.
    pub(crate) fn is_blank(&self) -> bool {
        self.0.is_blank()
    }

    /// Says that no table is to be believed before it has been rebuilt, if there is a mark.
    pub(crate) fn give_up_table(&mut self) -> Result<(), DirectoryError> {
        let (state, place) = (State::Open, Place::NOWHERE);
        match self.last() {
            Some(mark) => self.write(
                &Mark {
                    state,
                    place,
                    ..mark
                },
                true,
            ),
            None => Ok(()),
        }
    }

    /// Writes the next mark over the older of the two. With `durable`, returns once it is on the
    /// disk; without, it outlives the process but not the kernel.
    pub(crate) fn write(&mut self, mark: &Mark, durable: bool) -> Result<(), DirectoryError> {
        self.0.write(mark.encode(), durable)
    }
}

impl Mark {
    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut fields = Fields::new(&mut bytes);
        let state = match (self.state, self.has_unsecured) {
            (State::Open, true) => OPEN_AND_UNSECURED,
            (state, _) => state as u64,
        };
        fields.put(&state.to_le_bytes());
        fields.put(&self.instance);
        fields.put(&self.place.boot);
        fields.put(&self.place.mount.to_le_bytes());
        fields.put(&self.latest.as_nanos().to_le_bytes());
        for stamp in self.stamps {
            fields.put(&stamp.to_le_bytes());
        }
        let root = match &self.site {
            Site::Data => &[],
            Site::Root(root) => root.as_os_str().as_bytes(),
        };
        // A longer one is refused before a table is put there.
        fields.put(&u16::try_from(root.len()).unwrap_or(0).to_le_bytes());
        fields.put(root);
        bytes
    }

    /// The mark, if its state is one there is.
    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let mut fields = Reader::new(bytes);
        let (state, has_unsecured) = match fields.u64() {
            1 => (State::Open, false),
            2 => (State::Clean, false),
            OPEN_AND_UNSECURED => (State::Open, true),
            _ => return None,
        };
        let instance = fields.take();
        let place = Place {
            boot: fields.take(),
            mount: fields.u64(),
        };
        let latest = Timestamp::from_nanos(fields.u64());
        let stamps = [fields.u64(), fields.u64()];
        let len = usize::from(u16::from_le_bytes(fields.take()));
        let root: [u8; Site::ROOT_MAX] = fields.take();
        let site = match root.get(..len)? {
            [] => Site::Data,
            root => Site::Root(OsString::from_vec(root.to_vec()).into()),
        };
        Some(Self {
            state,
            has_unsecured,
            instance,
            place,
            latest,
            stamps,
            site,
        })
    }
}
