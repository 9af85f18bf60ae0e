//! A shard looked at from outside, slot by slot: its file is read, never mapped and never written.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::file::{ShardError, ShardHeader, Size, find};
use super::in_flight;
use super::layout::{HEADER_LEN, LINE_LEN, NOTES_AT, Notes, PROBE_LINES, SLOTS};
use super::lines::home_line;
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

/// The files of a shard.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) path: PathBuf,
    /// What it grows into, if it does.
    pub(crate) next: PathBuf,
    pub(crate) header: ShardHeader,
    pub(crate) size: Size,
}

/// A shard, looked at.
#[derive(Clone, Debug)]
pub(crate) struct Surveyed {
    pub(crate) survey: Survey,
    pub(crate) is_growing: bool,
    /// What its files bear.
    pub(crate) stamps: Vec<u64>,
    /// True if each of them is the file that it says it is.
    pub(crate) is_itself: bool,
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

/// A file, read.
struct Read {
    notes: [u64; 5],
    is_itself: bool,
    /// Tags and words.
    slots: Vec<(u64, u64)>,
}

/// Looks at every slot of a shard, and shows the live words that are found by a search.
///
/// # Errors
/// If a file cannot be read, or is not what it is to be; with its path.
pub(crate) fn survey(
    files: &Files,
    position: Position,
    times: Times,
    see: &mut dyn FnMut(Tag, Word),
) -> Result<Surveyed, (PathBuf, ShardError)> {
    let at = |path: &PathBuf| {
        let path = path.clone();
        move |error| (path, error)
    };
    let first = read(&files.path, &files.header, files.size).map_err(at(&files.path))?;
    let [_, _, next_lines, ..] = first.notes;
    let next = match next_lines {
        0 => None,
        lines => {
            let header = ShardHeader {
                lines,
                ..files.header
            };
            let next = read(&files.next, &header, Size::Given);
            Some(next.map_err(at(&files.next))?)
        }
    };
    let mut survey = look(&first.slots, position, times, see);
    if let Some(next) = &next {
        // What stands here and has not moved is in force there, and perhaps in an earlier state
        // here.
        let in_force = first
            .slots
            .iter()
            .filter(|(_, word)| !Word::from_bits(*word).is_void());
        let in_force: HashSet<u64> = in_force.map(|(tag, _)| *tag).collect();
        let moved = next.slots.iter().map(|&(tag, word)| {
            let is_in_force = !in_force.contains(&tag);
            (tag, if is_in_force { word } else { 0 })
        });
        survey = survey.and(look(&moved.collect::<Vec<_>>(), position, times, see));
    }
    let read: Vec<_> = [Some(&first), next.as_ref()]
        .into_iter()
        .flatten()
        .collect();
    Ok(Surveyed {
        survey,
        is_growing: next.is_some(),
        stamps: read.iter().map(|read| read.notes[0]).collect(),
        is_itself: read.iter().all(|read| read.is_itself),
    })
}

/// What is on its way to the journal, looked at.
#[derive(Clone, Debug)]
pub(crate) struct InFlightSurveyed {
    pub(crate) tags: HashSet<Tag>,
    /// How far the journal had come that held all that is not dirty; none if none is known to.
    pub(crate) reached: Option<in_flight::Position>,
    pub(crate) stamp: u64,
    pub(crate) is_itself: bool,
}

/// Looks at the list of words in flight, see `in_flight.rs`.
///
/// # Errors
/// As [`survey`].
pub(crate) fn survey_in_flight(files: &Files) -> Result<InFlightSurveyed, (PathBuf, ShardError)> {
    let found = read(&files.path, &files.header, files.size);
    let found = found.map_err(|error| (files.path.clone(), error))?;
    let mut words = found.slots.iter().flat_map(|&(tag, word)| [tag, word]);
    let mut next = || words.next().unwrap_or(0);
    let [number, generation, sequence] = [next(), next(), next()];
    let tags = words.skip(2 * SLOTS - 3).map(Tag::from_bits);
    Ok(InFlightSurveyed {
        tags: tags
            .take(usize::try_from(number).unwrap_or(usize::MAX))
            .collect(),
        reached: (generation != 0).then_some(in_flight::Position {
            generation,
            sequence,
        }),
        stamp: found.notes[0],
        is_itself: found.is_itself,
    })
}

/// Looks at every slot of a file.
fn look(
    slots: &[(u64, u64)],
    position: Position,
    times: Times,
    see: &mut dyn FnMut(Tag, Word),
) -> Survey {
    let mut survey = Survey {
        slots: slots.len() as u64,
        ..Survey::default()
    };
    for (place, &(bits, word)) in slots.iter().enumerate() {
        let (tag, word) = (Tag::from_bits(bits), Word::from_bits(word));
        survey.used += u64::from(bits != 0);
        survey.markers += u64::from(word.is_marker() && word != Word::MOVED);
        if bits == 0 || !word.is_live(times.now) {
            continue;
        }
        survey.live += 1;
        survey.dirty += u64::from(word.is_dirty());
        survey.future += u64::from(word.is_live(times.latest));
        match way(slots, tag, place, position) {
            Way::Straight => see(tag, word),
            Way::Double => survey.double += 1,
            Way::None => survey.astray += 1,
        }
    }
    survey
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

/// Reads a file's notes and slots.
fn read(path: &Path, header: &ShardHeader, size: Size) -> Result<Read, ShardError> {
    let (file, header) = find(path, header, size, OpenOptions::new().read(true))?;
    let io = |error| ShardError::Io("read", error);
    let mut notes = [0; size_of::<Notes>()];
    file.read_exact_at(&mut notes, NOTES_AT as u64)
        .map_err(io)?;
    let mut words = notes.as_chunks::<8>().0.iter().map(|word| load(*word));
    let notes = std::array::from_fn(|_| words.next().unwrap_or(0));
    let meta = file.metadata().map_err(io)?;
    let [.., device, inode]: [u64; 5] = notes;
    Ok(Read {
        notes,
        is_itself: (device, inode) == (meta.dev(), meta.ino()),
        slots: read_slots(&file, &header).map_err(io)?,
    })
}

/// Every slot's tag and word.
fn read_slots(file: &File, header: &ShardHeader) -> io::Result<Vec<(u64, u64)>> {
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
