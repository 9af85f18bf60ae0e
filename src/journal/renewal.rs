//! The next generation: made beside the one that counts, filled with every living word, and put
//! in its place.
//!
//! Until the file `current` names the next one, the old one counts and is whole; from then on the
//! next one does, and is. What a crash leaves of the other is removed at the next opening.

use std::path::PathBuf;

use super::folder::remove;
use super::store::BATCH_WORDS;
use super::{Batch, Generations, Store, StoreError};
use crate::algorithm::Word;
use crate::key::Tag;

/// The next generation, while it is made.
pub(super) struct Making {
    number: u64,
    store: Box<dyn Store>,
    /// A commit to the old generation did not get into this one.
    failed: Option<StoreError>,
}

impl Making {
    /// Takes over what was just committed to the generation that counts.
    pub(super) fn follow(&mut self, sequence: u64, batch: Batch<'_>) {
        if self.failed.is_none() {
            self.failed = self.store.commit(sequence, batch).err();
        }
    }
}

/// A renewal that is not done when the journal is closed is given up.
impl Drop for Generations {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// A renewal that was carried through.
#[derive(Debug)]
pub(crate) struct Renewed {
    /// Where the generation before is now, if it could not be read.
    pub(super) set_aside: Option<PathBuf>,
    /// Remains that could not be removed; the first of them.
    pub(crate) not_removed: Option<StoreError>,
}

/// The points of a renewal between which a crash may fall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Made,
    Carried,
    Written,
    Named,
    SetAside,
    Marked,
    Removed,
}

impl Generations {
    /// Starts the next generation with `living`, every living word there is.
    ///
    /// # Errors
    /// As the three steps that it is made of.
    #[cfg(test)]
    pub(crate) fn renew(
        &mut self,
        living: impl IntoIterator<Item = (Tag, Word)>,
    ) -> Result<Renewed, StoreError> {
        self.begin_renewal()?;
        let mut living = living.into_iter();
        loop {
            let words: Vec<_> = living.by_ref().take(BATCH_WORDS).collect();
            if words.is_empty() {
                return self.finish_renewal();
            }
            self.carry(&words)?;
        }
    }

    /// Makes the next generation, empty. Commits go on meanwhile, and into both.
    ///
    /// # Errors
    /// If it cannot be made. The one that counts is as it was.
    pub(crate) fn begin_renewal(&mut self) -> Result<(), StoreError> {
        self.making = None;
        let Some(number) = self.largest.checked_add(1) else {
            let path = self.folder.path_of(self.largest);
            return Err(StoreError::damaged(&path, "the numbers are used up"));
        };
        self.largest = number;
        self.folder.check()?;
        let path = self.folder.making(number);
        let made = remove(&path).and_then(|()| (self.open_store)(&path));
        match made {
            Ok(store) => {
                self.making = Some(Making {
                    number,
                    store,
                    failed: None,
                });
                self.step(Step::Made);
                Ok(())
            }
            Err(error) => Err(self.abandon(number, error)),
        }
    }

    /// Carries living words over. They must have been read after the last commit: what is written
    /// last counts.
    ///
    /// # Errors
    /// If they are not durable. The renewal is then given up; the generation that counts is as it
    /// was.
    pub(crate) fn carry(&mut self, words: &[(Tag, Word)]) -> Result<(), StoreError> {
        let mut making = self.take_making()?;
        for batch in Batch::cut(words) {
            self.sequence += 1;
            if let Err(error) = making.store.commit(self.sequence, batch) {
                drop(making.store);
                return Err(self.abandon(making.number, error));
            }
            self.written_bytes += batch.bytes();
        }
        self.making = Some(making);
        self.step(Step::Carried);
        Ok(())
    }

    /// Lets the next generation count, and removes the one before.
    ///
    /// # Errors
    /// If that is not durable. Either may then count at the next opening, and both are whole; if
    /// it cannot be said which, nothing is committed until another renewal.
    pub(crate) fn finish_renewal(&mut self) -> Result<Renewed, StoreError> {
        self.switch(None)
    }

    /// Puts an empty generation in the place of one that could not be read, if there was one.
    pub(super) fn start_over(&mut self, unreadable: Option<u64>) -> Result<Renewed, StoreError> {
        self.begin_renewal()?;
        self.switch(unreadable)
    }

    /// Writes all that the generation holds into the next one, and lets that count. For one that
    /// holds more than was acknowledged: its last sync may have failed, and then what is read of it
    /// now may never get to the disk, whatever a later sync says.
    ///
    /// None, with all as it was, if not everything can be read: the reading is then the caller's.
    pub(super) fn write_anew(&mut self) -> Result<Option<Renewed>, StoreError> {
        self.begin_renewal()?;
        let Some(mut store) = self.store.take() else {
            return Ok(None);
        };
        let mut words = Vec::new();
        let mut carried = Ok(());
        let scanned = store.scan(&mut |tag, word| {
            words.push((tag, word));
            if words.len() == BATCH_WORDS && carried.is_ok() {
                carried = self.carry(&words);
                words.clear();
            }
        });
        self.store = Some(store);
        match scanned {
            Ok(scan) if scan.damaged == 0 => {}
            Err(error) if !error.is_damage() => return Err(error),
            _ => {
                self.give_up();
                return Ok(None);
            }
        }
        carried.and_then(|()| self.carry(&words))?;
        self.finish_renewal().map(Some)
    }

    /// Gives up the renewal.
    fn give_up(&mut self) {
        if let Some(making) = self.making.take() {
            drop(making.store);
            let path = self.folder.making(making.number);
            // As in `abandon`.
            let _ = self.folder.check().and_then(|()| remove(&path));
        }
    }

    fn switch(&mut self, unreadable: Option<u64>) -> Result<Renewed, StoreError> {
        let mut making = self.take_making()?;
        let number = making.number;
        let set_aside = match self.complete(&mut making, unreadable) {
            Ok(set_aside) => set_aside,
            Err(error) => {
                drop(making.store);
                return Err(self.abandon(number, error));
            }
        };
        let before = std::mem::replace(&mut self.number, number);
        if let Err(error) = self.current.write(self.as_mark()) {
            self.number = before;
            self.store = None;
            return Err(error);
        }
        self.step(Step::Marked);
        self.store = Some(making.store);
        self.must_renew = false;
        let not_removed = self.folder.tidy(number).err();
        self.step(Step::Removed);
        Ok(Renewed {
            set_aside,
            not_removed,
        })
    }

    /// Everything before the mark is written.
    fn complete(
        &mut self,
        making: &mut Making,
        unreadable: Option<u64>,
    ) -> Result<Option<PathBuf>, StoreError> {
        self.sequence += 1;
        making.store.commit(self.sequence, Batch::EMPTY)?;
        self.step(Step::Written);
        self.folder.name(making.number)?;
        self.step(Step::Named);
        let Some(unreadable) = unreadable else {
            return Ok(None);
        };
        let aside = self.folder.set_aside(unreadable)?;
        self.step(Step::SetAside);
        Ok(Some(aside))
    }

    fn take_making(&mut self) -> Result<Making, StoreError> {
        let making = self.making.take();
        let path = self.folder.making(self.largest);
        let mut making = making.ok_or(StoreError::Broken { path })?;
        match making.failed.take() {
            None => Ok(making),
            Some(error) => {
                drop(making.store);
                Err(self.abandon(making.number, error))
            }
        }
    }

    /// Removes what was made of a generation that will not count; returns the error again.
    fn abandon(&self, number: u64, error: StoreError) -> StoreError {
        for path in [self.folder.making(number), self.folder.path_of(number)] {
            // It takes room until the next opening or renewal tries again, and that is all.
            let _ = self.folder.check().and_then(|()| remove(&path));
        }
        error
    }

    #[cfg(test)]
    fn step(&mut self, step: Step) {
        if let Some(at_step) = &mut self.at_step {
            at_step(step);
        }
    }

    #[cfg(not(test))]
    fn step(&mut self, _: Step) {}
}
