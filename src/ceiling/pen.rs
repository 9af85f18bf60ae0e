//! Writes the file of ceilings: adds at its end, and starts a new one when it failed or is long.

use std::io;

use super::file::Sheet;
use super::medium::Medium;
use crate::algorithm::Word;
use crate::key::Tag;
use crate::time::Timestamp;

/// The file is not made anew before it is so long, in bytes.
const LENGTH_LEAST: u64 = 4 << 20;
/// Nor before it is so many times as long as when it was new.
const GROWTH: u64 = 4;

/// A ceiling under its tag.
pub(super) type Record = (Tag, Word);

/// The file, being written.
pub(super) struct Pen {
    medium: Box<dyn Medium>,
    instance: [u8; 16],
    /// None after a write that failed: what the file holds is not known then.
    sheet: Option<Sheet>,
    closed: Option<Timestamp>,
    /// How long the file may become before it is made anew, in bytes.
    anew_at: u64,
}

impl Pen {
    /// Goes on with a file; with none, the first write makes one.
    pub(super) fn new(
        medium: Box<dyn Medium>,
        instance: [u8; 16],
        sheet: Option<Sheet>,
        closed: Option<Timestamp>,
    ) -> Self {
        Self {
            medium,
            instance,
            sheet,
            closed,
            anew_at: LENGTH_LEAST,
        }
    }

    /// Adds `records`; they are durable when it returns. `all` gives every ceiling that counts,
    /// for the case that the file must be made anew.
    ///
    /// # Errors
    /// If that cannot be said, neither of the file there was nor of another in its place.
    pub(super) fn write(
        &mut self,
        records: &[Record],
        all: impl FnOnce() -> Vec<Record>,
    ) -> io::Result<()> {
        // After a failed sync a later one that succeeds proves nothing for the same file.
        if let Some(mut sheet) = self.sheet.take()
            && sheet.end() < self.anew_at
            && self.add(&mut sheet, records).is_ok()
        {
            self.sheet = Some(sheet);
            return Ok(());
        }
        let mut every = all();
        every.extend_from_slice(records);
        let (sheet, bytes) = Sheet::begin(self.instance, self.closed, &every);
        self.medium.replace(&bytes)?;
        self.anew_at = LENGTH_LEAST.max(GROWTH * sheet.end());
        self.sheet = Some(sheet);
        Ok(())
    }

    fn add(&mut self, sheet: &mut Sheet, records: &[Record]) -> io::Result<()> {
        if let Some((at, room)) = sheet.room_for(records) {
            self.medium.append(at, &room)?;
            sheet.widen(room.len());
        }
        self.medium.append(sheet.end(), &sheet.more(records))?;
        sheet.grow(records);
        Ok(())
    }

    /// True unless the last write failed.
    pub(super) fn is_good(&self) -> bool {
        self.sheet.is_some()
    }

    /// How long the file is, in bytes; zero while it cannot be written.
    pub(super) fn bytes(&self) -> u64 {
        self.sheet.as_ref().map_or(0, Sheet::end)
    }
}
