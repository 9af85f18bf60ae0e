//! A take that was judged, and is still to be made.

use super::Counter;
use crate::algorithm::Word;
use crate::table::{Found, Put};
use crate::time::Timestamp;

/// The word that was found, and the one to be put in its place.
#[derive(Clone, Copy)]
pub(crate) struct Pending<'t> {
    found: Found<'t>,
    after: Word,
    now: Timestamp,
}

impl<'t> Pending<'t> {
    #[inline(always)]
    pub(super) fn new(found: Found<'t>, after: Word, now: Timestamp) -> Self {
        Self { found, after, now }
    }

    /// Makes it for the counter of which it was judged; false if there is no room for a slot, or
    /// another word by now: then it has to be judged anew.
    #[inline(always)]
    pub(crate) fn make(&self, counter: &Counter<'_>) -> bool {
        let put = counter
            .table()
            .put(counter.tag, self.now, self.found, self.after);
        if put == Put::Done {
            counter.note(counter.tag, self.found.word, self.after);
        }
        put == Put::Done
    }

    /// True if the tag had a slot already.
    pub(crate) fn has_slot(&self) -> bool {
        self.found.has_slot()
    }

    /// The word that it puts in the place of the one that was found.
    pub(crate) fn after(&self) -> Word {
        self.after.clean()
    }
}
