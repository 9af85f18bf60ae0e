//! The file `current`: which generation counts, and how far it had come.
//!
//! ```text
//! offset | bytes | field of a slot's body; the slots are laid out in `directory/slots.rs`
//!      0 |     4 | version, 1
//!      4 |    16 | instance id of the limiter's directory
//!     20 |     8 | number of the generation
//!     28 |     8 | sequence of its last commit that was acknowledged
//! ```
//!
//! The sequence also stands in the store itself. If the store's is the smaller one, the store lost
//! what it had called durable.

use std::path::{Path, PathBuf};

use super::StoreError;
use crate::codec::{Fields, Reader};
use crate::directory::{DirectoryError, Slots};

const MAGIC: [u8; 8] = *b"TOLLJRNL";
// One version for the whole journal, so that the mark alone tells it.
const VERSION: u32 = 1;
const _: () = assert!(VERSION.to_le_bytes()[0] == super::record::VERSION);
const LEN: usize = 36;

/// What the file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub(super) instance: [u8; 16],
    pub(super) number: u64,
    pub(super) sequence: u64,
}

/// The file, open.
#[derive(Debug)]
pub(super) struct Current {
    slots: Slots<LEN>,
    last: Option<Mark>,
}

impl Current {
    /// Opens the file, making it if there is none, and reads the mark that counts.
    ///
    /// # Errors
    /// If the system says no, or if another version wrote it. A file without a whole mark is not
    /// an error.
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let slots = Slots::open(path, MAGIC)?;
        let last = slots.last().map(Mark::decode).transpose();
        let last = last.map_err(|found| DirectoryError::Version {
            path: slots.path().to_owned(),
            found,
            supported: VERSION,
        })?;
        Ok(Self { slots, last })
    }

    /// The mark that counts in the file at `path`, which is only read.
    pub(super) fn peek(path: &Path) -> Result<Option<Mark>, StoreError> {
        let body = Slots::peek(path, MAGIC)?;
        body.as_ref()
            .map(Mark::decode)
            .transpose()
            .map_err(|found| {
                let path = path.to_owned();
                let supported = VERSION;
                DirectoryError::Version {
                    path,
                    found,
                    supported,
                }
                .into()
            })
    }

    pub(super) fn last(&self) -> Option<Mark> {
        self.last
    }

    /// True if a later mark than that may have been there.
    pub(super) fn is_torn(&self) -> bool {
        self.slots.is_torn()
    }

    /// Returns once the mark is on the disk.
    pub(super) fn write(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.slots.write(mark.encode(), true)?;
        self.last = Some(mark);
        Ok(())
    }
}

impl Mark {
    fn encode(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut fields = Fields::new(&mut bytes);
        fields.put(&VERSION.to_le_bytes());
        fields.put(&self.instance);
        fields.put(&self.number.to_le_bytes());
        fields.put(&self.sequence.to_le_bytes());
        bytes
    }

    /// The mark, or the version that it is of.
    fn decode(bytes: &[u8; LEN]) -> Result<Self, u32> {
        let mut fields = Reader::new(bytes);
        match fields.u32() {
            VERSION => Ok(Self {
                instance: fields.take(),
                number: fields.u64(),
                sequence: fields.u64(),
            }),
            version => Err(version),
        }
    }
}
