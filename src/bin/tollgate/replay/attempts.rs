//! What trials of amounts came to, kept on the side: a replay that is killed while it works out
//! the amounts goes on from the last trial that was done.
//!
//! ```text
//! a record, little-endian numbers of eight bytes
//! track | amount | part | number of keys | a key and how many of its uses | ... | CRC-32
//! ```
//!
//! The file only grows. A record that a kill cut short ends it, and is written over.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};
use flate2::Crc;

const HEAD_BYTES: usize = 32;
const KEY_BYTES: usize = 16;
const SUM_BYTES: usize = 8;

/// What one trial came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Keys that were refused something, and how many of their uses.
    pub(crate) keys: Vec<(u64, u64)>,
}

/// Track, amount and part.
type Place = [u64; 3];

/// What all trials so far came to.
#[derive(Debug)]
pub(crate) struct Attempts {
    file: File,
    /// Where each record begins, and how long it is.
    known: HashMap<Place, (u64, usize)>,
    /// Where the next one begins.
    end: u64,
}

impl Attempts {
    /// Reads what the file at `path` holds, which is made if there is none.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let open = || -> io::Result<Self> {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).read(true).write(true);
            let file = options.open(path)?;
            let left = file.metadata()?.len();
            let mut from = BufReader::new(&file);
            let (mut known, mut end) = (HashMap::new(), 0);
            while let Some((place, length)) = read_record(&mut from, left - end)? {
                known.insert(place, (end, length));
                end += u64::try_from(length).unwrap_or(0);
            }
            file.set_len(end)?;
            Ok(Self { file, known, end })
        };
        open().with_context(|| format!("cannot open {}", path.display()))
    }

    /// What a trial came to, if it was made.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn known(&self, place: Place) -> anyhow::Result<Option<Attempt>> {
        let Some((begin, length)) = self.known.get(&place) else {
            return Ok(None);
        };
        let mut bytes = vec![0; *length];
        let read = self.file.read_exact_at(&mut bytes, *begin);
        read.context("cannot read what a trial came to")?;
        let (fields, _) = bytes.as_chunks::<8>();
        let mut keys = fields.iter().map(|field| u64::from_le_bytes(*field));
        let count = keys.nth(HEAD_BYTES / 8 - 1).unwrap_or(0);
        let pairs = std::iter::from_fn(|| Some((keys.next()?, keys.next()?)));
        let keys: Vec<_> = pairs.take(usize::try_from(count).unwrap_or(0)).collect();
        ensure!(
            keys.len() * KEY_BYTES + HEAD_BYTES + SUM_BYTES == *length,
            "what a trial came to is damaged"
        );
        Ok(Some(Attempt { keys }))
    }

    /// Keeps what a trial came to.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn keep(&mut self, place: Place, attempt: &Attempt) -> anyhow::Result<()> {
        let count = u64::try_from(attempt.keys.len()).unwrap_or(0);
        let keys = attempt
            .keys
            .iter()
            .flat_map(|(key, refused)| [*key, *refused]);
        let fields = place.into_iter().chain([count]).chain(keys);
        let mut bytes: Vec<u8> = fields.flat_map(u64::to_le_bytes).collect();
        let mut crc = Crc::new();
        crc.update(&bytes);
        bytes.extend(u64::from(crc.sum()).to_le_bytes());
        let written = self.file.write_all_at(&bytes, self.end);
        written.context("cannot keep what a trial came to")?;
        self.known.insert(place, (self.end, bytes.len()));
        self.end += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }
}

/// The place and the length of the record that comes next, if there is a whole one in the `left`
/// bytes.
fn read_record(from: &mut impl Read, left: u64) -> io::Result<Option<(Place, usize)>> {
    let mut crc = Crc::new();
    let mut numbers = |count: usize| -> io::Result<Option<Vec<u64>>> {
        let mut bytes = vec![0; count * 8];
        match from.read_exact(&mut bytes) {
            Err(fault) if fault.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let sum = u64::from(crc.sum());
        crc.update(&bytes);
        let (fields, _) = bytes.as_chunks::<8>();
        let mut numbers: Vec<_> = fields
            .iter()
            .map(|field| u64::from_le_bytes(*field))
            .collect();
        // What was summed before these, for the record's last number.
        numbers.push(sum);
        Ok(Some(numbers))
    };
    let Some([track, amount, part, count, _]) = numbers(HEAD_BYTES / 8)?.as_deref().and_then(array)
    else {
        return Ok(None);
    };
    let length = count
        .checked_mul(16)
        .and_then(|keys| keys.checked_add(40))
        .filter(|length| *length <= left);
    let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else {
        return Ok(None);
    };
    if numbers((length - HEAD_BYTES - SUM_BYTES) / 8)?.is_none() {
        return Ok(None);
    }
    let is_whole = numbers(1)?.is_some_and(|last| last.first() == last.last());
    Ok(is_whole.then_some(([track, amount, part], length)))
}

fn array(numbers: &[u64]) -> Option<[u64; 5]> {
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_kept_is_known_however_the_file_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("attempts");
        let attempt = |keys: &[(u64, u64)]| Attempt {
            keys: keys.to_vec(),
        };
        let mut attempts = Attempts::open(&path).unwrap();
        attempts.keep([0, 1, 0], &attempt(&[])).unwrap();
        attempts
            .keep([0, 2, 1], &attempt(&[(7, 2), (u64::MAX, 3)]))
            .unwrap();
        let whole = fs::read(&path).unwrap();
        for end in 0..=whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            let mut attempts = Attempts::open(&path).unwrap();
            let first = (end >= 40).then(|| attempt(&[]));
            let second = (end == whole.len()).then(|| attempt(&[(7, 2), (u64::MAX, 3)]));
            assert_eq!(attempts.known([0, 1, 0]).unwrap(), first, "{end}");
            assert_eq!(attempts.known([0, 2, 1]).unwrap(), second, "{end}");
            attempts.keep([1, 1, 1], &attempt(&[(3, 1)])).unwrap();
            let attempts = Attempts::open(&path).unwrap();
            assert_eq!(attempts.known([1, 1, 1]).unwrap(), Some(attempt(&[(3, 1)])));
        }
        let mut flipped = whole.clone();
        flipped[50] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert_eq!(
            Attempts::open(&path).unwrap().known([0, 2, 1]).unwrap(),
            None
        );
    }
}
