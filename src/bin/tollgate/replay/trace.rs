//! What each limit was asked, kept on the side: who, when and how much. From this it is worked
//! out afterwards what other amounts would have refused.
//!
//! ```text
//! a use: a hash of the key, eight bytes | nanoseconds since the use before | cost
//! ```
//! The last two are numbers in groups of seven bits, the lowest first, each with a bit that says
//! whether another one follows (LEB128).

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tollgate::Timestamp;

use super::judge::{MetRate, Outcome};

/// Uses recorded, of all limits together: some 200 MB on the drive.
// Bound: later requests are left out, and the report says from when on.
const USES_MAX: u64 = 16 << 20;

/// Limits and rates told apart.
// Bound: further ones are left out, and the report says how many uses that were.
const TRACKS_MAX: usize = 256;

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
    /// Bytes of them, and the time of the last one.
    bytes: u64,
    last_nanos: u64,
    /// The cost of the first one that has any, and whether all others cost as much.
    cost: Option<u64>,
    pub(crate) same_cost: bool,
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
    /// Track by limit and the place of its rate in the judge's list.
    known: Vec<(usize, usize, usize)>,
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
            known: Vec::new(),
        };
        for track in kept.tracks {
            recorder.add(track)?;
        }
        Ok(recorder)
    }

    /// Records what one limit was asked, where the answer hung on its amount. `rates` are the
    /// judge's.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn record(
        &mut self,
        time: Timestamp,
        outcome: &Outcome,
        rates: &[MetRate],
    ) -> anyhow::Result<()> {
        if outcome.is_beyond_amounts {
            return Ok(());
        }
        if self.recorded >= USES_MAX {
            self.kept.full_since_nanos.get_or_insert(time.as_nanos());
            return Ok(());
        }
        let mut known = self.known.iter();
        let known = known.find(|(limit, rate, _)| (*limit, *rate) == (outcome.limit, outcome.rate));
        let number = match known {
            Some((.., number)) => *number,
            None => match self.track_of(outcome, rates)? {
                Some(number) => number,
                None => {
                    self.kept.left_out += 1;
                    return Ok(());
                }
            },
        };
        let (Some(track), Some(file)) =
            (self.kept.tracks.get_mut(number), self.files.get_mut(number))
        else {
            return Ok(());
        };
        let mut bytes = [0; USE_BYTES_MAX];
        let since = time.as_nanos().saturating_sub(track.last_nanos);
        let written = write_use(&mut bytes, outcome.counter, since, outcome.cost);
        file.write_all(written)
            .context("cannot write the trace of a limit")?;
        track.uses += 1;
        track.bytes += u64::try_from(written.len()).unwrap_or(0);
        track.last_nanos += since;
        if outcome.cost > 0 {
            track.same_cost &= *track.cost.get_or_insert(outcome.cost) == outcome.cost;
        }
        self.recorded += 1;
        Ok(())
    }

    /// The track of a rate that was not met before; none if there are too many.
    fn track_of(&mut self, outcome: &Outcome, rates: &[MetRate]) -> anyhow::Result<Option<usize>> {
        let rate = rates.get(outcome.rate).cloned().unwrap_or_default();
        let same = |track: &Track| {
            (track.limit, &track.rate, &track.algorithm)
                == (outcome.limit, &rate.rate, &rate.algorithm)
        };
        let number = match self.kept.tracks.iter().position(same) {
            Some(number) => number,
            None if self.kept.tracks.len() == TRACKS_MAX => return Ok(None),
            None => self.add(Track {
                limit: outcome.limit,
                rate: rate.rate,
                algorithm: rate.algorithm,
                uses: 0,
                bytes: 0,
                last_nanos: 0,
                cost: None,
                same_cost: true,
            })?,
        };
        self.known.push((outcome.limit, outcome.rate, number));
        Ok(Some(number))
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

    /// The uses of one track, in the order of time, one by one.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub(crate) fn uses(&mut self, number: usize) -> anyhow::Result<Uses> {
        if let Some(file) = self.files.get_mut(number) {
            file.flush().context("cannot write the trace of a limit")?;
        }
        let uses = self.kept.tracks.get(number).map_or(0, |track| track.uses);
        Uses::open(&self.path(number), uses)
    }

    fn path(&self, number: usize) -> PathBuf {
        self.directory.join(format!("{number}.uses"))
    }

    fn add(&mut self, track: Track) -> anyhow::Result<usize> {
        let number = self.kept.tracks.len();
        let path = self.path(number);
        let open = || -> io::Result<(u64, File)> {
            let mut options = OpenOptions::new();
            let mut file = options
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            let found = file.metadata()?.len();
            file.set_len(track.bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok((found, file))
        };
        let (found, file) = open().with_context(|| format!("cannot open {}", path.display()))?;
        ensure!(
            found >= track.bytes,
            "{} holds {found} bytes where the checkpoint counts {}",
            path.display(),
            track.bytes
        );
        self.files.push(BufWriter::with_capacity(1 << 16, file));
        self.recorded += track.uses;
        self.kept.tracks.push(track);
        Ok(number)
    }
}

/// The longest use: a hash and two numbers of ten groups each.
const USE_BYTES_MAX: usize = 28;

/// Puts a use into `bytes`, and gives the part of it that it fills.
pub(super) fn write_use(
    bytes: &mut [u8; USE_BYTES_MAX],
    key: u64,
    since_nanos: u64,
    cost: u64,
) -> &[u8] {
    bytes[..8].copy_from_slice(&key.to_le_bytes());
    let mut end = 8;
    for mut number in [since_nanos, cost] {
        loop {
            let more = number >= 0x80;
            let [lowest, ..] = number.to_le_bytes();
            bytes[end] = lowest & 0x7f | u8::from(more) << 7;
            end += 1;
            number >>= 7;
            if !more {
                break;
            }
        }
    }
    &bytes[..end]
}

/// Uses of a file, one by one.
pub(crate) struct Uses {
    path: PathBuf,
    file: BufReader<File>,
    left: u64,
    now_nanos: u64,
}

impl Uses {
    /// The first `uses` of the file at `path`.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(super) fn open(path: &Path, uses: u64) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(1 << 16, file),
            left: uses,
            now_nanos: 0,
        })
    }

    /// How many are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    fn read(&mut self) -> io::Result<Use> {
        let mut key = [0; 8];
        io::Read::read_exact(&mut self.file, &mut key)?;
        self.now_nanos = self.now_nanos.saturating_add(self.number()?);
        Ok(Use {
            time: Timestamp::from_nanos(self.now_nanos),
            key: u64::from_le_bytes(key),
            cost: self.number()?,
        })
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = match self.file.fill_buf()? {
                [byte, ..] => *byte,
                [] => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
            self.file.consume(1);
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(io::Error::other("a number that does not end"))
    }
}

impl Iterator for Uses {
    type Item = anyhow::Result<Use>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let read = self.read();
        Some(read.with_context(|| format!("cannot read {}", self.path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(limit: usize, rate: usize, counter: u64, cost: u64) -> Outcome {
        Outcome {
            limit,
            rate,
            counter,
            cost,
            ..Outcome::default()
        }
    }

    fn rates() -> Vec<MetRate> {
        let rate = |rate: &str| MetRate {
            rate: rate.to_owned(),
            algorithm: String::new(),
        };
        vec![rate("1/s"), rate("2/s")]
    }

    #[test]
    fn recording_goes_on_from_a_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::open(directory.path(), Tracks::default()).unwrap();
        let record = |recorder: &mut Recorder, secs, limit, rate, counter, cost| {
            let outcome = outcome(limit, rate, counter, cost);
            let done = recorder.record(Timestamp::from_secs(secs), &outcome, &rates());
            done.unwrap();
        };
        record(&mut recorder, 1, 0, 0, 7, 1);
        record(&mut recorder, 2, 0, 1, 8, 7);
        record(&mut recorder, 3, 0, 0, 8, u64::MAX);
        let kept = recorder.keep().unwrap();
        // Lost with the process: recorded after the checkpoint.
        record(&mut recorder, 4, 0, 0, 9, 1);
        record(&mut recorder, 4, 1, 0, 9, 1);
        drop(recorder);

        let mut recorder = Recorder::open(directory.path(), kept).unwrap();
        record(&mut recorder, 5, 0, 0, 7, 3);
        record(&mut recorder, 6, 1, 0, 10, 4);
        let uses: Vec<Use> = recorder.uses(0).unwrap().map(Result::unwrap).collect();
        let seen: Vec<_> = uses
            .iter()
            .map(|one| (one.time.as_secs(), one.key, one.cost))
            .collect();
        assert_eq!(seen, [(1, 7, 1), (3, 8, u64::MAX), (5, 7, 3)]);
        assert_eq!(recorder.uses(2).unwrap().count(), 1);
        let kept = recorder.keep().unwrap();
        assert_eq!(kept.tracks.len(), 3);
        let same: Vec<_> = kept.tracks.iter().map(|track| track.same_cost).collect();
        assert_eq!(same, [false, true, true]);
    }

    #[test]
    fn a_trace_that_lost_something_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::open(directory.path(), Tracks::default()).unwrap();
        recorder
            .record(Timestamp::EPOCH, &outcome(0, 0, 1, 1), &rates())
            .unwrap();
        let kept = recorder.keep().unwrap();
        drop(recorder);
        fs::write(directory.path().join("0.uses"), b"short").unwrap();
        let fault = Recorder::open(directory.path(), kept)
            .err()
            .unwrap()
            .to_string();
        assert!(fault.contains("5 bytes") && fault.contains("10"), "{fault}");
    }
}
