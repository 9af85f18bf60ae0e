//! Which store counts: opening the journal, writing and reading the generation that does.

use std::fs;
use std::io;
use std::path::Path;

use super::current::{Current, Mark};
use super::folder::{Folder, SetAside};
use super::guarded::{Guarded, Patience};
use super::ledger::Ledger;
use super::renewal::Making;
#[cfg(test)]
use super::renewal::Step;
use super::{Batch, Scan, Store, StoreError};
use crate::algorithm::Word;
use crate::key::Tag;

/// Opens the store in a folder, making it if there is none.
pub(crate) type OpenStore = Box<dyn FnMut(&Path) -> Result<Box<dyn Store>, StoreError> + Send>;

/// When a generation has grown too large for what it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    /// Below this it never has, in bytes.
    pub(crate) floor_bytes: u64,
    /// What a living word may take, in bytes.
    pub(crate) word_bytes: u64,
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            floor_bytes: 64 << 20,
            // Eight times what a word takes in a generation just made.
            word_bytes: 8 * 32,
        }
    }
}

/// The store lost what it had called durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Loss {
    /// The last sequence that was acknowledged.
    pub(crate) acknowledged: u64,
    /// The last sequence that the store holds.
    pub(crate) found: u64,
}

/// What opening found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// There was no journal.
    pub(crate) is_new: bool,
    /// A journal could not be read; an empty one stands in its place.
    pub(crate) set_aside: Option<SetAside>,
    /// Something that was acknowledged is gone.
    pub(crate) loss: Option<Loss>,
    /// What the last acknowledged sequence was is not known, so a loss would not show.
    pub(crate) is_unmarked: bool,
    /// Remains that could not be removed; the first of them.
    pub(crate) not_removed: Option<StoreError>,
}

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) scan: Scan,
    /// The generation could not be read to its end.
    pub(crate) set_aside: Option<SetAside>,
}

/// The journal, open.
pub(crate) struct Generations {
    pub(super) folder: Folder,
    pub(super) current: Current,
    pub(super) instance: [u8; 16],
    pub(super) open_store: OpenStore,
    growth: Growth,
    /// The store that counts; none after it failed.
    pub(super) store: Option<Box<dyn Store>>,
    pub(super) number: u64,
    pub(super) largest: u64,
    /// The last sequence given out, acknowledged or not.
    pub(super) sequence: u64,
    /// Bytes given to the stores since this was opened.
    pub(super) written_bytes: u64,
    /// The store does not hold every living word, or is not to be trusted on.
    pub(super) must_renew: bool,
    /// The next generation, while it is made.
    pub(super) making: Option<Making>,
    #[cfg(test)]
    pub(super) at_step: Option<Box<dyn FnMut(Step) + Send>>,
}

impl Generations {
    /// Opens the journal in the folder `path`, making it if there is none. `instance` is the id of
    /// the limiter's directory: a journal that carries another is not believed.
    ///
    /// # Errors
    /// If the system says no, or a newer version wrote it; everything is then left as it is. A
    /// journal that cannot be read is not an error: it is set aside, and the report says so.
    pub(crate) fn open(path: &Path, instance: [u8; 16]) -> Result<(Self, Report), StoreError> {
        let patience = Patience::default();
        let open_store = ledgers(instance, patience);
        Self::with(path, instance, Growth::default(), open_store)
    }

    /// Looks at whose journal stands in the folder `path` and of which version, if one does. It
    /// reads one small file and changes nothing: opening may take long, and this tells early what
    /// would not be opened at all.
    ///
    /// # Errors
    /// It is of another version, or its mark is another directory's, or the system says no.
    pub(crate) fn look(path: &Path, instance: [u8; 16]) -> Result<(), StoreError> {
        let at = Folder::current_in(path);
        match fs::symlink_metadata(&at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found.map_err(StoreError::io("look at", &at))?,
        };
        match Current::open(at.clone())?.last() {
            Some(mark) if mark.instance != instance => {
                let why = "belongs to another directory than the header beside it";
                Err(StoreError::damaged(&at, why))
            }
            _ => Ok(()),
        }
    }

    /// As [`Self::open`], with stores and a growth of the caller's choice.
    pub(crate) fn with(
        path: &Path,
        instance: [u8; 16],
        growth: Growth,
        open_store: OpenStore,
    ) -> Result<(Self, Report), StoreError> {
        let folder = Folder::open(path)?;
        let listing = folder.list()?;
        let current = Current::open(folder.current_path())?;
        let mark = current.last();
        let marked = mark.map(|mark| mark.number);
        // Without its mark the eldest that is whole counts: the next gets its name a little
        // before it counts, the eldest loses its own right after.
        let number = marked.filter(|number| listing.whole.contains(number));
        let number = number.or(listing.whole.first().copied());
        let mut journal = Self {
            folder,
            current,
            instance,
            open_store,
            growth,
            store: None,
            number: number.unwrap_or(0),
            largest: listing.largest.max(marked.unwrap_or(0)),
            sequence: mark.map_or(0, |mark| mark.sequence),
            written_bytes: 0,
            must_renew: false,
            making: None,
            #[cfg(test)]
            at_step: None,
        };
        // A mark that was being written is torn by a cut in the power, but what it would have told
        // of was on the disk by then: more commits, or the next generation.
        let is_next = |whole: &u64| Some(*whole) > number;
        let is_torn = journal.current.is_torn() && !listing.whole.iter().any(is_next);
        let report = journal.take_up(number, mark, is_torn)?;
        Ok((journal, report))
    }

    /// Opens the generation that counts, or an empty one in its place. With `is_torn`, more must be
    /// found in it than its mark tells of.
    fn take_up(
        &mut self,
        number: Option<u64>,
        mark: Option<Mark>,
        is_torn: bool,
    ) -> Result<Report, StoreError> {
        let mut report = Report {
            is_new: number.is_none() && mark.is_none_or(|mark| mark.sequence == 0),
            ..Report::default()
        };
        let acknowledged = mark.map_or(0, |mark| mark.sequence);
        let mut found = 0;
        match number.map(|number| (number, self.open_generation(number, mark))) {
            Some((_, Ok(store))) => {
                found = store.sequence();
                self.store = Some(store);
                self.sequence = found.max(acknowledged);
                report.is_unmarked = mark.is_none() || is_torn && found <= acknowledged;
                let renewed = if found > acknowledged.max(1) {
                    self.write_anew()?
                } else {
                    None
                };
                report.not_removed = if let Some(renewed) = renewed {
                    renewed.not_removed
                } else {
                    self.mark(mark)?;
                    self.folder.tidy(self.number).err()
                };
            }
            Some((number, Err(why))) if why.is_damage() => {
                found = acknowledged;
                let renewed = self.start_over(Some(number))?;
                report.set_aside = renewed.set_aside.map(|path| SetAside { path, why });
                report.not_removed = renewed.not_removed;
            }
            Some((_, Err(error))) => return Err(error),
            None => {
                if mark.is_none() {
                    // That nothing was acknowledged yet. From here on, who finds a generation and
                    // no mark knows that the mark is lost.
                    self.current.write(self.as_mark())?;
                }
                report.not_removed = self.start_over(None)?.not_removed;
            }
        }
        if found < acknowledged {
            report.loss = Some(Loss {
                acknowledged,
                found,
            });
        }
        self.must_renew = report.loss.is_some() || report.set_aside.is_some() || report.is_unmarked;
        Ok(report)
    }

    fn open_generation(
        &mut self,
        number: u64,
        mark: Option<Mark>,
    ) -> Result<Box<dyn Store>, StoreError> {
        let path = self.folder.path_of(number);
        if mark.is_some_and(|mark| mark.instance != self.instance) {
            let why = "it is the journal of another limiter's directory";
            return Err(StoreError::damaged(&path, why));
        }
        (self.open_store)(&path)
    }

    /// Writes the mark, unless it says so already.
    fn mark(&mut self, mark: Option<Mark>) -> Result<(), StoreError> {
        if mark.is_some_and(|mark| mark.number == self.number) {
            return Ok(());
        }
        self.current.write(self.as_mark())
    }

    pub(super) fn as_mark(&self) -> Mark {
        Mark {
            instance: self.instance,
            number: self.number,
            sequence: self.sequence,
        }
    }

    /// Keeps `words` in the place of those under the same tags, and returns the sequence. When it
    /// returns, they and everything committed before are durable.
    ///
    /// # Errors
    /// If that cannot be said. Nothing is committed any more until a renewal, which
    /// [`Self::should_renew`] then asks for.
    pub(crate) fn commit(&mut self, words: &[(Tag, Word)]) -> Result<u64, StoreError> {
        let committed = self.commit_batches(words);
        if committed.is_err() {
            self.store = None;
        }
        committed
    }

    fn commit_batches(&mut self, words: &[(Tag, Word)]) -> Result<u64, StoreError> {
        self.folder.check()?;
        for batch in Batch::cut(words) {
            let Some(store) = &mut self.store else {
                let path = self.folder.path_of(self.number);
                return Err(StoreError::Broken { path });
            };
            self.sequence += 1;
            store.commit(self.sequence, batch)?;
            self.written_bytes += batch.bytes();
            if let Some(making) = &mut self.making {
                self.written_bytes += batch.bytes();
                making.follow(self.sequence, batch);
            }
        }
        if !words.is_empty() {
            self.current.write(self.as_mark())?;
        }
        Ok(self.sequence)
    }

    /// Shows every word kept. It may show more than one under a tag: the last counts. A generation
    /// that cannot be read to its end is set aside, and an empty one stands in its place; what was
    /// shown until then was whole.
    ///
    /// # Errors
    /// If the system says no.
    pub(crate) fn scan(&mut self, see: &mut dyn FnMut(Tag, Word)) -> Result<Recovered, StoreError> {
        let Some(store) = &mut self.store else {
            let path = self.folder.path_of(self.number);
            return Err(StoreError::Broken { path });
        };
        let mut words = 0;
        let scanned = store.scan(&mut |tag, word| {
            words += 1;
            see(tag, word);
        });
        match scanned {
            Ok(scan) => {
                self.must_renew |= scan.damaged > 0;
                let set_aside = None;
                Ok(Recovered { scan, set_aside })
            }
            Err(why) if why.is_damage() => {
                self.store = None;
                let renewed = self.start_over(Some(self.number))?;
                self.must_renew = true;
                let scan = Scan { words, damaged: 1 };
                let set_aside = renewed.set_aside.map(|path| SetAside { path, why });
                Ok(Recovered { scan, set_aside })
            }
            Err(error) => {
                self.store = None;
                Err(error)
            }
        }
    }

    /// How far it has come by its mark: the generation, and the sequence that was last
    /// acknowledged. Zeros if there is no mark.
    pub(crate) fn acknowledged(&self) -> (u64, u64) {
        let mark = self.current.last();
        mark.map_or((0, 0), |mark| (mark.number, mark.sequence))
    }

    /// True if the journal holds all that it acknowledged.
    pub(crate) fn is_whole(&self) -> bool {
        self.store.is_some() && !self.must_renew
    }

    /// True if it failed: nothing is committed until it is renewed.
    pub(crate) fn is_broken(&self) -> bool {
        self.store.is_none()
    }

    /// True if the journal should be renewed: it failed, or does not hold every living word, or
    /// has grown too large for `alive` words.
    pub(crate) fn should_renew(&self, alive: u64) -> bool {
        let most = alive.saturating_mul(self.growth.word_bytes);
        let has_grown = self.size_bytes() > most.max(self.growth.floor_bytes);
        self.store.is_none() || self.must_renew || has_grown
    }

    /// The last sequence that was given out.
    #[cfg(test)]
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The number of the generation that counts.
    #[cfg(test)]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes given to the engine since the journal was opened; what the engine makes of them on the
    /// disk is somewhat more.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// How much of the disk the generation takes, in bytes; zero after it failed.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.store.as_ref().map_or(0, |store| store.size_bytes())
    }
}

/// Stores on sled, each on a thread of its own.
pub(super) fn ledgers(instance: [u8; 16], patience: Patience) -> OpenStore {
    Box::new(move |path| {
        let at = path.to_owned();
        let open = move || Ledger::open(&at, instance);
        let store = Guarded::open(&path.with_extension(""), patience, open)?;
        Ok(Box::new(store))
    })
}
