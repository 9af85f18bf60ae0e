//! What each limit was asked, kept on the side: who, when and how much. From this it is worked
//! out afterwards what other amounts would have refused.

use std::fs::{self, File, OpenOptions};
use std::hash::Hasher;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use tollgate::Timestamp;

use super::judge::Outcome;

/// Uses recorded, of all limits together: 192 MB on the drive, and as much in memory while the
/// amounts are worked out.
// Bound: later requests are left out, and the report says from when on.
const USES_MAX: u64 = 8 << 20;

/// Limits and rates told apart.
// Bound: further ones are left out, and the report says how many uses that were.
const TRACKS_MAX: usize = 256;

/// Bytes of one use in its file: time, key and cost, eight each, little-endian.
const USE_BYTES: usize = 24;

/// One request as one limit saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) time: Timestamp,
    /// A hash of the key.
    pub(crate) key: u64,
    pub(crate) cost: u64,
}

/// A limit at one of its rates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Track {
    /// Place in the judge's list.
    pub(crate) limit: usize,
    pub(crate) rate: String,
    pub(crate) algorithm: String,
    /// Uses recorded.
    pub(crate) uses: u64,
}

/// What a checkpoint keeps of a recorder; the uses themselves are in files that only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tracks {
    pub(crate) tracks: Vec<Track>,
    /// When recording stopped because there was too much, in nanoseconds.
    pub(crate) full_since_nanos: Option<u64>,
    /// Uses of limits and rates beyond the most that are told apart.
    pub(crate) left_out: u64,
}

/// Records uses.
pub(crate) struct Recorder {
    directory: PathBuf,
    kept: Tracks,
    /// Uses recorded, of all tracks.
    recorded: u64,
    files: Vec<BufWriter<File>>,
}

impl Recorder {
    /// Goes on recording in `directory` from where `kept` was; files are cut back to that.
    ///
    /// # Errors
    /// If a file cannot be written, or is shorter than it was.
    pub(crate) fn open(directory: &Path, kept: Tracks) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let mut recorder = Self {
            directory: directory.to_owned(),
            kept: Tracks {
                tracks: Vec::new(),
                ..kept
            },
            recorded: 0,
            files: Vec::new(),
        };
        for track in kept.tracks {
            recorder.add(track)?;
        }
        Ok(recorder)
    }

    /// Records what one limit was asked, where the answer hung on its amount.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn record(&mut self, time: Timestamp, outcome: &Outcome) -> anyhow::Result<()> {
        if outcome.is_beyond_amounts {
            return Ok(());
        }
        if self.recorded >= USES_MAX {
            self.kept.full_since_nanos.get_or_insert(time.as_nanos());
            return Ok(());
        }
        let same = |track: &Track| track.limit == outcome.limit && track.rate == outcome.rate;
        let number = match self.kept.tracks.iter().position(same) {
            Some(number) => number,
            None if self.kept.tracks.len() == TRACKS_MAX => {
                self.kept.left_out += 1;
                return Ok(());
            }
            None => self.add(Track {
                limit: outcome.limit,
                rate: outcome.rate.clone(),
                algorithm: outcome.algorithm.clone(),
                uses: 0,
            })?,
        };
        let (Some(track), Some(file)) =
            (self.kept.tracks.get_mut(number), self.files.get_mut(number))
        else {
            return Ok(());
        };
        let mut hasher = SipHasher13::new();
        hasher.write(outcome.key.as_bytes());
        let mut bytes = [0; USE_BYTES];
        for (place, field) in
            bytes
                .chunks_exact_mut(8)
                .zip([time.as_nanos(), hasher.finish(), outcome.cost])
        {
            place.copy_from_slice(&field.to_le_bytes());
        }
        file.write_all(&bytes)
            .context("cannot write the trace of a limit")?;
        track.uses += 1;
        self.recorded += 1;
        Ok(())
    }

    /// Makes everything recorded so far durable, and says what there is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn keep(&mut self) -> anyhow::Result<Tracks> {
        for file in &mut self.files {
            file.flush()
                .and_then(|()| file.get_ref().sync_data())
                .context("cannot write the trace of a limit")?;
        }
        Ok(self.kept.clone())
    }

    /// The uses of one track, in the order of time.
    ///
    /// # Errors
    /// If its file cannot be read, or is damaged.
    pub(crate) fn uses(&mut self, number: usize) -> anyhow::Result<Vec<Use>> {
        self.keep()?;
        let path = self.path(number);
        let uses = self.kept.tracks.get(number).map_or(0, |track| track.uses);
        let read = || -> std::io::Result<Vec<Use>> {
            let mut file = BufReader::new(File::open(&path)?);
            let mut bytes = [0; USE_BYTES];
            let mut list = Vec::with_capacity(usize::try_from(uses).unwrap_or(0));
            for _ in 0..uses {
                file.read_exact(&mut bytes)?;
                let mut fields = bytes.chunks_exact(8).map(|field| {
                    field
                        .iter()
                        .rev()
                        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
                });
                let mut field = || fields.next().unwrap_or(0);
                list.push(Use {
                    time: Timestamp::from_nanos(field()),
                    key: field(),
                    cost: field(),
                });
            }
            Ok(list)
        };
        read().with_context(|| format!("cannot read {}", path.display()))
    }

    fn path(&self, number: usize) -> PathBuf {
        self.directory.join(format!("{number}.uses"))
    }

    fn add(&mut self, track: Track) -> anyhow::Result<usize> {
        let number = self.kept.tracks.len();
        let path = self.path(number);
        let length = track.uses * u64::try_from(USE_BYTES).unwrap_or(0);
        let open = || -> std::io::Result<(u64, File)> {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            let found = file.metadata()?.len();
            file.set_len(length)?;
            file.seek(SeekFrom::End(0))?;
            Ok((found, file))
        };
        let (found, file) = open().with_context(|| format!("cannot open {}", path.display()))?;
        ensure!(
            found >= length,
            "{} holds {found} bytes where the checkpoint counts {length}",
            path.display()
        );
        self.files.push(BufWriter::new(file));
        self.recorded += track.uses;
        self.kept.tracks.push(track);
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(limit: usize, rate: &str, key: &str, cost: u64) -> Outcome {
        Outcome {
            limit,
            rate: rate.to_owned(),
            key: key.to_owned(),
            cost,
            ..Outcome::default()
        }
    }

    #[test]
    fn recording_goes_on_from_a_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let secs = Timestamp::from_secs;
        let mut recorder = Recorder::open(directory.path(), Tracks::default()).unwrap();
        recorder
            .record(secs(1), &outcome(0, "1/s", "a", 1))
            .unwrap();
        recorder
            .record(secs(2), &outcome(0, "2/s", "b", 7))
            .unwrap();
        recorder
            .record(secs(3), &outcome(0, "1/s", "b", u64::MAX))
            .unwrap();
        let kept = recorder.keep().unwrap();
        // Lost with the process: recorded after the checkpoint.
        recorder
            .record(secs(4), &outcome(0, "1/s", "c", 1))
            .unwrap();
        recorder
            .record(secs(4), &outcome(1, "1/s", "c", 1))
            .unwrap();
        drop(recorder);

        let mut recorder = Recorder::open(directory.path(), kept).unwrap();
        recorder
            .record(secs(5), &outcome(0, "1/s", "a", 3))
            .unwrap();
        recorder
            .record(secs(6), &outcome(1, "1/s", "d", 4))
            .unwrap();
        let uses = recorder.uses(0).unwrap();
        let seen: Vec<_> = uses
            .iter()
            .map(|one| (one.time.as_secs(), one.cost))
            .collect();
        assert_eq!(seen, [(1, 1), (3, u64::MAX), (5, 3)]);
        assert_eq!(uses[0].key, uses[2].key);
        assert_ne!(uses[0].key, uses[1].key);
        assert_eq!(recorder.uses(2).unwrap().len(), 1);
        assert_eq!(recorder.keep().unwrap().tracks.len(), 3);
    }

    #[test]
    fn a_trace_that_lost_something_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::open(directory.path(), Tracks::default()).unwrap();
        recorder
            .record(Timestamp::EPOCH, &outcome(0, "1/s", "a", 1))
            .unwrap();
        let kept = recorder.keep().unwrap();
        drop(recorder);
        fs::write(directory.path().join("0.uses"), b"short").unwrap();
        let fault = Recorder::open(directory.path(), kept)
            .err()
            .unwrap()
            .to_string();
        assert!(fault.contains("5 bytes") && fault.contains("24"), "{fault}");
    }
}
