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
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;
use flate2::Crc;

const HEAD_FIELDS: usize = 4;

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
    known: HashMap<Place, Attempt>,
}

impl Attempts {
    /// Reads what the file at `path` holds, which is made if there is none.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let open = || -> std::io::Result<Self> {
            let mut options = OpenOptions::new();
            let mut file = options
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)?;
            let bytes = fs::read(path)?;
            let (mut known, mut rest) = (HashMap::new(), &bytes[..]);
            while let Some((place, attempt, after)) = read(rest) {
                known.insert(place, attempt);
                rest = after;
            }
            let whole = bytes.len() - rest.len();
            file.set_len(u64::try_from(whole).unwrap_or(0))?;
            file.seek(SeekFrom::End(0))?;
            Ok(Self { file, known })
        };
        open().with_context(|| format!("cannot open {}", path.display()))
    }

    /// Forgets what is known of other tracks than this one, in memory.
    pub(crate) fn only(&mut self, track: u64) {
        self.known.retain(|[of, ..], _| *of == track);
    }

    pub(crate) fn known(&self, place: Place) -> Option<&Attempt> {
        self.known.get(&place)
    }

    /// Keeps what a trial came to.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn keep(&mut self, place: Place, attempt: Attempt) -> anyhow::Result<()> {
        let count = u64::try_from(attempt.keys.len()).unwrap_or(0);
        let keys = attempt
            .keys
            .iter()
            .flat_map(|(key, refused)| [*key, *refused]);
        let fields = place.into_iter().chain([count]).chain(keys);
        let mut bytes: Vec<u8> = fields.flat_map(u64::to_le_bytes).collect();
        let sum = u64::from(sum(&bytes));
        bytes.extend(sum.to_le_bytes());
        let written = self.file.write_all(&bytes);
        written.context("cannot keep what a trial came to")?;
        self.known.insert(place, attempt);
        Ok(())
    }
}

fn sum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The record at the beginning, if there is a whole one; and what follows it.
fn read(bytes: &[u8]) -> Option<(Place, Attempt, &[u8])> {
    let (fields, _) = bytes.as_chunks::<8>();
    let field = |number: usize| fields.get(number).map(|field| u64::from_le_bytes(*field));
    let count = usize::try_from(field(HEAD_FIELDS - 1)?).ok()?;
    let end = HEAD_FIELDS.checked_add(count.checked_mul(2)?)?;
    let keys = (HEAD_FIELDS..end)
        .step_by(2)
        .map(|at| Some((field(at)?, field(at + 1)?)));
    let keys: Option<Vec<_>> = keys.collect();
    let is_whole = field(end)? == u64::from(sum(bytes.get(..8 * end)?));
    let attempt = Attempt { keys: keys? };
    let place = [field(0)?, field(1)?, field(2)?];
    is_whole.then_some((place, attempt, bytes.get(8 * (end + 1)..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_known_however_the_file_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("attempts");
        let attempt = |keys: &[(u64, u64)]| Attempt {
            keys: keys.to_vec(),
        };
        let mut attempts = Attempts::open(&path).unwrap();
        attempts.keep([0, 1, 0], attempt(&[])).unwrap();
        attempts
            .keep([0, 2, 1], attempt(&[(7, 2), (u64::MAX, 3)]))
            .unwrap();
        let whole = fs::read(&path).unwrap();
        for end in 0..=whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            let mut attempts = Attempts::open(&path).unwrap();
            let first = (end >= 40).then(|| attempt(&[]));
            let second = (end == whole.len()).then(|| attempt(&[(7, 2), (u64::MAX, 3)]));
            assert_eq!(attempts.known([0, 1, 0]), first.as_ref(), "{end}");
            assert_eq!(attempts.known([0, 2, 1]), second.as_ref(), "{end}");
            attempts.keep([1, 1, 1], attempt(&[(3, 1)])).unwrap();
            let attempts = Attempts::open(&path).unwrap();
            assert_eq!(attempts.known([1, 1, 1]), Some(&attempt(&[(3, 1)])));
        }
        let mut flipped = whole.clone();
        flipped[50] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert_eq!(Attempts::open(&path).unwrap().known([0, 2, 1]), None);
    }
}
