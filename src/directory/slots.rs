//! Two slots of one small file, written in turn, so that a torn write leaves the other whole.
//! A file that takes the place of one that failed has its record in both.
//!
//! ```text
//! offset | bytes | field                         slot 0 at offset 0, slot 1 at offset 4096
//!      0 |     8 | magic
//!      8 |     8 | sequence: the larger of two whole slots counts
//!     16 |  body | what the file is for
//!   then |     8 | SipHash-1-3 of all before, under a key of zeros
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{DirectoryError, Standing, check_file_len, read_bounded, replace};
use crate::codec::{Fields, Reader, seal, sealed};

/// One slot a block, so that a write that tears one leaves the other whole.
const STRIDE: usize = 4096;
const HEAD_LEN: usize = 16;
const SUM_LEN: usize = 8;

/// A file of two slots, open. `BODY` is the length of what a slot carries, in bytes.
#[derive(Debug)]
pub(crate) struct Slots<const BODY: usize> {
    path: PathBuf,
    /// The folder that it is in.
    home: Standing,
    file: File,
    magic: [u8; 8],
    sequence: u64,
    body: Option<[u8; BODY]>,
    /// The slot that does not count was written once, and is not whole.
    is_torn: bool,
    /// A write failed: what the disk holds of this file is not known any more.
    is_broken: bool,
}

/// What is found in a slot.
enum Slot<const BODY: usize> {
    /// Its sequence and body.
    Whole(u64, [u8; BODY]),
    /// Something else: the other slot counts.
    Torn,
    Blank,
}

impl<const BODY: usize> Slots<BODY> {
    const LEN: usize = {
        assert!(HEAD_LEN + BODY + SUM_LEN <= 512, "a slot fits a sector");
        HEAD_LEN + BODY + SUM_LEN
    };

    /// Opens the file, making it if there is none, and reads the slot that counts.
    pub(crate) fn open(path: PathBuf, magic: [u8; 8]) -> Result<Self, DirectoryError> {
        let file = open_file(&path).map_err(DirectoryError::io("open", &path))?;
        let home = Standing::of(path.parent().unwrap_or(Path::new(".")))?;
        let mut slots = Self {
            path,
            home,
            file,
            magic,
            sequence: 0,
            body: None,
            is_torn: false,
            is_broken: false,
        };
        let (mut whole, mut has_remains) = (0, false);
        for slot in 0..2 {
            let found = slots.read(slot);
            match found.map_err(DirectoryError::io("read", &slots.path))? {
                Slot::Whole(sequence, body) => {
                    whole += 1;
                    if sequence > slots.sequence {
                        slots.sequence = sequence;
                        slots.body = Some(body);
                    }
                }
                Slot::Torn => has_remains = true,
                Slot::Blank => {}
            }
        }
        // The first write goes into one slot, every other one finds the one before in its own.
        slots.is_torn = has_remains || whole == 1 && slots.sequence > 1;
        Ok(slots)
    }

    /// What counts in the file at `path`, which is only read; none if there is no file, or no slot
    /// of it is whole.
    pub(crate) fn peek(path: &Path, magic: [u8; 8]) -> Result<Option<[u8; BODY]>, DirectoryError> {
        let bytes = match read_bounded(path, 2 * STRIDE as u64) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(DirectoryError::io("read", path))?,
        };
        let slots = [0, STRIDE].map(|at| bytes.get(at..at + Self::LEN));
        let whole = slots
            .iter()
            .flatten()
            .filter_map(|record| Self::decode(record, magic));
        Ok(whole
            .max_by_key(|(sequence, _)| *sequence)
            .map(|(_, body)| body))
    }

    /// What was last written whole, if anything was.
    pub(crate) fn last(&self) -> Option<&[u8; BODY]> {
        self.body.as_ref()
    }

    /// True if a later write than the one that counts was begun, if the disk kept what it had.
    pub(crate) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// True if the file is new: not even a torn slot is in it.
    pub(crate) fn is_blank(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.len() == 0)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `body` over the older slot. With `durable`, returns once it is on the disk; without,
    /// it outlives the process but not the kernel.
    ///
    /// After an error the file is not believed: the next write makes another in its place.
    pub(crate) fn write(&mut self, body: [u8; BODY], durable: bool) -> Result<(), DirectoryError> {
        let sequence = self.sequence.saturating_add(1);
        let record = self.record(sequence, &body);
        if self.is_broken {
            self.start_over(&record)?;
        } else {
            self.is_broken = true;
            self.overwrite(offset(sequence), &record, durable)?;
        }
        self.is_broken = false;
        self.sequence = sequence;
        self.body = Some(body);
        Ok(())
    }

    fn overwrite(&self, offset: usize, record: &[u8], durable: bool) -> Result<(), DirectoryError> {
        let io = |doing| DirectoryError::io(doing, &self.path);
        Standing::found(&self.path, &self.file.metadata().map_err(io("look at"))?).check()?;
        let end = (offset + record.len()) as u64;
        let written =
            check_file_len(end).and_then(|()| self.file.write_all_at(record, offset as u64));
        written.map_err(io("write"))?;
        if durable {
            self.file.sync_data().map_err(io("sync"))?;
        }
        Ok(())
    }

    /// Puts a file with this record in both slots in the place of the one that failed: after a
    /// failed sync a later one that succeeds proves nothing for the same file.
    fn start_over(&mut self, record: &[u8]) -> Result<(), DirectoryError> {
        self.home.check()?;
        let mut content = record.to_vec();
        content.resize(STRIDE, 0);
        content.extend_from_slice(record);
        replace(&self.path, &content)?;
        self.file = open_file(&self.path).map_err(DirectoryError::io("open", &self.path))?;
        Ok(())
    }

    fn record(&self, sequence: u64, body: &[u8; BODY]) -> Vec<u8> {
        let mut record = vec![0; Self::LEN];
        let mut fields = Fields::new(&mut record);
        fields.put(&self.magic);
        fields.put(&sequence.to_le_bytes());
        fields.put(body);
        seal(&mut record);
        record
    }

    /// What a slot holds.
    fn read(&self, slot: u64) -> io::Result<Slot<BODY>> {
        let mut record = vec![0; Self::LEN];
        match self.file.read_exact_at(&mut record, offset(slot) as u64) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Slot::Blank),
            Err(error) => return Err(error),
        }
        Ok(match Self::decode(&record, self.magic) {
            Some((sequence, body)) => Slot::Whole(sequence, body),
            None if record.iter().all(|byte| *byte == 0) => Slot::Blank,
            None => Slot::Torn,
        })
    }

    fn decode(record: &[u8], magic: [u8; 8]) -> Option<(u64, [u8; BODY])> {
        let mut fields = Reader::new(record);
        let is_ours = fields.take() == magic && sealed(record);
        is_ours.then(|| (fields.u64(), fields.take()))
    }
}

fn offset(sequence: u64) -> usize {
    if sequence.is_multiple_of(2) {
        0
    } else {
        STRIDE
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"TOLLTEST";

    fn open(path: &Path) -> Slots<4> {
        Slots::open(path.to_owned(), MAGIC).unwrap()
    }

    #[test]
    fn the_last_whole_write_counts_whatever_happens_to_one_slot() {
        let folder = crate::directory::scratch();
        let path = folder.path().join("slots");
        let mut slots = open(&path);
        assert_eq!(slots.last(), None);
        for number in 1..=5_u32 {
            slots.write(number.to_le_bytes(), true).unwrap();
            assert_eq!(open(&path).last(), Some(&number.to_le_bytes()));
            assert!(!open(&path).is_torn());
        }
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            std::fs::write(&path, &torn).unwrap();
            let last = u32::from_le_bytes(*open(&path).last().unwrap());
            let in_slot = |slot: usize| (slot * STRIDE..slot * STRIDE + 28).contains(&at);
            assert_eq!(last, if in_slot(1) { 4 } else { 5 }, "byte {at}");
            assert_eq!(open(&path).is_torn(), in_slot(0) || in_slot(1));
        }
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let expected: Option<u32> = (length >= 28).then_some(4);
            assert_eq!(open(&path).last().copied(), expected.map(u32::to_le_bytes));
            assert_eq!(open(&path).is_torn(), expected.is_some());
        }
    }

    #[test]
    fn a_file_that_was_removed_is_an_error_and_then_made_again() {
        let folder = crate::directory::scratch();
        let path = folder.path().join("slots");
        let mut slots = open(&path);
        slots.write([1; 4], true).unwrap();
        std::fs::remove_file(&path).unwrap();
        let error = slots.write([2; 4], true).unwrap_err().to_string();
        assert!(
            error.contains("slots") && error.contains("removed"),
            "{error}"
        );
        for next in [3, 4] {
            slots.write([next; 4], true).unwrap();
            assert_eq!(open(&path).last(), Some(&[next; 4]));
            assert!(!open(&path).is_torn());
        }
        // One write more, so that this time the other slot is the one to start over in.
        slots.write([5; 4], true).unwrap();
        std::fs::remove_file(&path).unwrap();
        slots.write([5; 4], true).unwrap_err();
        for next in [6, 7] {
            slots.write([next; 4], true).unwrap();
            assert_eq!(open(&path).last(), Some(&[next; 4]));
        }
        // Each whole write stands in a slot of its own: tearing the last leaves the one before.
        let mut torn = std::fs::read(&path).unwrap();
        let last = if torn[STRIDE + HEAD_LEN] == 7 {
            STRIDE
        } else {
            0
        };
        torn[last] ^= 1;
        std::fs::write(&path, torn).unwrap();
        assert_eq!(open(&path).last(), Some(&[6; 4]));
    }
}
