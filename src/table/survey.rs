//! A shard looked at from outside, slot by slot: its file is read, never mapped and never written.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::file::{ShardError, ShardHeader, find, identity};
use super::layout::{HEADER_LEN, LINE_LEN, NOTES_AT, PROBE_LINES, SLOTS};
use super::shard::home_line;
use super::shard_number;
use crate::algorithm::Word;
use crate::key::Tag;
use crate::time::Timestamp;

/// Lines read at a time.
const CHUNK_LINES: usize = 1024;

/// What stands in the slots.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Survey {
    pub(crate) slots: u64,
    /// Slots that were ever used.
    pub(crate) used: u64,
    pub(crate) live: u64,
    /// Live words that the journal has not been told.
    pub(crate) dirty: u64,
    /// Left by a process that was killed while it claimed a slot; the next claim takes them.
    pub(crate) markers: u64,
    /// Live words that no search finds: out of their tag's reach, or behind an empty slot.
    pub(crate) astray: u64,
    /// Slots of a tag that has one before.
    pub(crate) double: u64,
    /// Words later than `latest`.
    pub(crate) future: u64,
}

impl Survey {
    /// This and that together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            slots: self.slots + other.slots,
            used: self.used + other.used,
            live: self.live + other.live,
            dirty: self.dirty + other.dirty,
            markers: self.markers + other.markers,
            astray: self.astray + other.astray,
            double: self.double + other.double,
            future: self.future + other.future,
        }
    }
}

/// A shard file, looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surveyed {
    pub(crate) survey: Survey,
    pub(crate) stamp: u64,
    pub(crate) identity: (u64, u64),
}

/// Which shard of how many a table has, both as the table counts them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    pub(crate) number: u32,
    pub(crate) shard_bits: u32,
}

/// When a survey is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) now: Timestamp,
    /// No word of any limit can be live after this.
    pub(crate) latest: Timestamp,
}

/// Looks at every slot of the shard file at `path`, and shows the live words that are found by a
/// search.
///
/// # Errors
/// If the file cannot be read, or is not the shard that `header` describes.
pub(crate) fn survey(
    path: &Path,
    header: &ShardHeader,
    position: Position,
    times: Times,
    see: &mut dyn FnMut(Tag, Word),
) -> Result<Surveyed, ShardError> {
    let file = find(path, header, OpenOptions::new().read(true))?;
    let io = |error| ShardError::Io("read", error);
    let mut stamp = [0; 8];
    file.read_exact_at(&mut stamp, NOTES_AT as u64)
        .map_err(io)?;
    let identity = identity(&file).map_err(io)?;
    let slots = read(&file, header).map_err(io)?;
    let mut survey = Survey {
        slots: slots.len() as u64,
        ..Survey::default()
    };
    for (place, &(bits, word)) in slots.iter().enumerate() {
        let (tag, word) = (Tag::from_bits(bits), Word::from_bits(word));
        survey.used += u64::from(bits != 0);
        survey.markers += u64::from(word.is_marker());
        if bits == 0 || !word.is_live(times.now) {
            continue;
        }
        survey.live += 1;
        survey.dirty += u64::from(word.is_dirty());
        survey.future += u64::from(word.is_live(times.latest));
        match way(&slots, tag, place, position) {
            Way::Straight => see(tag, word),
            Way::Double => survey.double += 1,
            Way::None => survey.astray += 1,
        }
    }
    let stamp = load(stamp);
    Ok(Surveyed {
        survey,
        stamp,
        identity,
    })
}

/// What a search for a tag meets before its slot.
enum Way {
    Straight,
    /// Another slot of the same tag.
    Double,
    None,
}

fn way(slots: &[(u64, u64)], tag: Tag, place: usize, position: Position) -> Way {
    let lines = slots.len() / SLOTS;
    let home = home_line(tag, position.shard_bits, lines) * SLOTS;
    let distance = (place + slots.len() - home) % slots.len();
    let is_here = u32::try_from(shard_number(tag, position.shard_bits)) == Ok(position.number);
    if !is_here || distance >= PROBE_LINES * SLOTS {
        return Way::None;
    }
    for step in 0..distance {
        let (before, _) = slots[(home + step) % slots.len()];
        if before == 0 {
            return Way::None;
        }
        if before == tag.bits() {
            return Way::Double;
        }
    }
    Way::Straight
}

/// Every slot's tag and word.
fn read(file: &File, header: &ShardHeader) -> io::Result<Vec<(u64, u64)>> {
    let too_long = |_| io::ErrorKind::FileTooLarge;
    let lines = usize::try_from(header.lines).map_err(too_long)?;
    let mut slots = Vec::new();
    let room = slots.try_reserve_exact(lines * SLOTS);
    room.map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut some = vec![[0; LINE_LEN]; CHUNK_LINES];
    for first in (0..lines).step_by(CHUNK_LINES) {
        let some = &mut some[..CHUNK_LINES.min(lines - first)];
        let at = HEADER_LEN as u64 + (first * LINE_LEN) as u64;
        file.read_exact_at(some.as_flattened_mut(), at)?;
        let (words, _) = some.as_flattened().as_chunks::<8>();
        let (pairs, _) = words.as_chunks::<2>();
        // As another thread would load them: the header has named the byte order.
        slots.extend(pairs.iter().map(|&[tag, word]| (load(tag), load(word))));
    }
    Ok(slots)
}

/// A word of the mapping, as it stands in the file.
fn load(bytes: [u8; 8]) -> u64 {
    if cfg!(target_endian = "little") {
        u64::from_le_bytes(bytes)
    } else {
        u64::from_be_bytes(bytes)
    }
}
