//! A complete copy of a limiter's directory, taken while it runs.

use std::path::Path;

use super::Limiter;
use super::mapping::Wanted;
use super::store::Store;
use crate::algorithm::Word;
use crate::ceiling;
use crate::directory::{DirectoryError, replace};
use crate::error::Error;
use crate::key::Tag;
use crate::table::{Table, Update};
use crate::time::Timestamp;

impl Limiter {
    /// Copies the counters and the overrides into a new directory at `path`, closed clean: opened
    /// with the same policy, it goes on from where this limiter was. Checks go on meanwhile; each
    /// counter is copied as it is at some instant of the copying, and if nobody checks then, all
    /// are copied as they are.
    ///
    /// # Errors
    /// If there is a directory at `path` already, no room, or the system refuses. What was copied
    /// by then is left there, not closed clean.
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let inner = &*self.inner;
        let path = path.as_ref();
        let now = inner.counters.clock.now();
        let copy = Store::create_like(path, &inner.store)?;
        let law = inner.law.current();
        copy.directory.write_rates(&law.rates)?;
        replace(&copy.directory.overrides_path(), &law.overrides.encode())?;
        let copied = copy.directory.header().instance;
        ceiling::create(
            &copy.directory.ceilings_path(),
            copied,
            inner.counters.ceilings.closed(),
        )?;
        let mut grower = copy.grower(&Wanted::for_copy());
        let all = copy_words(&inner.counters.table, now, |tag, word| {
            grower.update(tag, now, |_| Some(word))
        }) && copy_words(&inner.counters.shared, now, |tag, word| {
            copy.shared.update(tag, now, |_| Some(word))
        });
        if !all {
            let why = "has no room for all counters".into();
            return Err(DirectoryError::Damaged {
                path: path.into(),
                why,
            }
            .into());
        }
        copy.close(now)
    }
}

/// Puts the words that are live elsewhere; false if one found no room.
fn copy_words(from: &Table, now: Timestamp, mut put: impl FnMut(Tag, Word) -> Update) -> bool {
    let mut all = true;
    from.for_each(|tag, word| {
        let word: Word = word.clean();
        // Dead is absent: what has died is not worth a slot.
        if word.is_live(now) {
            // One that moves meanwhile is met twice, its later state last.
            all &= put(tag, word) != Update::Full;
        }
    });
    all
}
