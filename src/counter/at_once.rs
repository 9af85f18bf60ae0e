//! The straight line of most takes: one word, found, judged, replaced.

use super::{Counter, Ground, Seen};
use crate::algorithm::{Pair, Period, Step, Word};
use crate::key::Tag;
use crate::table::{Found, Put};
use crate::time::{Reading, Timestamp};

/// A take that was judged, and is still to be made.
#[derive(Clone, Copy)]
pub(crate) struct Pending<'t> {
    tag: Tag,
    found: Found<'t>,
    after: Word,
}

impl<'t> Pending<'t> {
    /// A take that leaves this word in the place of what was found.
    #[inline(always)]
    pub(crate) fn new(tag: Tag, found: Found<'t>, after: Word, is_logged: bool) -> Self {
        let after = if is_logged { after.dirty() } else { after };
        Self { tag, found, after }
    }

    /// Makes it; false if there is no word for it, or another by now, and it has to be judged anew.
    #[inline(always)]
    pub(crate) fn make(&self, ground: &Ground) -> bool {
        self.noted(ground, self.found.replace(self.after))
    }

    /// Makes it for a tag that had no slot; false if it has one by now, or there is no room.
    #[inline(always)]
    pub(crate) fn insert(&self, ground: &Ground, now: Timestamp) -> bool {
        let put = ground.table.put(self.tag, now, self.found, self.after);
        self.noted(ground, put == Put::Done)
    }

    #[inline(always)]
    fn noted(&self, ground: &Ground, is_made: bool) -> bool {
        if is_made {
            note(ground, self.tag, self.found.word, self.after);
        }
        is_made
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

/// Notes a change that made a clean word dirty.
#[inline(always)]
pub(super) fn note(ground: &Ground, tag: Tag, before: Word, after: Word) {
    if after.is_dirty() && !before.is_dirty() {
        ground.inbox.mark(tag);
    }
}

impl<'a> Counter<'a> {
    /// True if one word is all there is to it, and no disk is asked.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.reserve.is_none() && !self.rule.has_pair()
    }

    /// What most takes are: there is room and nobody is faster, or there is none. None if anything
    /// is otherwise; then nothing was done. Who is refused may be so by a reading that lags, unless
    /// an exact one was needed.
    #[inline(always)]
    pub(crate) fn take_at_once(&self, now: Reading, cost: u64) -> Option<Seen> {
        let (seen, pending) = self.look_at_once(now, cost)?;
        match pending {
            Some(pending) if !pending.make(self.ground) => None,
            _ => Some(seen),
        }
    }

    /// What [`take_at_once`](Self::take_at_once) sees; what is to be taken is left to the caller.
    #[inline(always)]
    pub(crate) fn look_at_once(
        &self,
        now: Reading,
        cost: u64,
    ) -> Option<(Seen, Option<Pending<'a>>)> {
        if !self.is_plain() {
            return None;
        }
        let found = self.table().find(self.tag);
        let main = found.word;
        let Judged { period, step, now } = match self.judge(main, now, cost) {
            // By a time that was read before the word, see `is_too_early`.
            Some(judged) if judged.step != Step::Refuse || !now.is_exact() => judged,
            None if now.is_exact() => return None,
            _ => self.judge_later(main, now, cost)?,
        };
        let pending = match step {
            Step::Admit(next) => Some(Pending::new(self.tag, found, next, self.is_logged)),
            Step::Refuse | Step::Never => None,
            Step::Future => return None,
        };
        let words = Pair {
            main,
            other: Word::ABSENT,
        };
        let seen = Seen {
            step,
            words,
            period,
            now,
        };
        Some((seen, pending))
    }

    #[inline(always)]
    fn judge(&self, word: Word, now: Reading, cost: u64) -> Option<Judged> {
        let (period, step) = self.rule.judge_surely(self.calendars, word, now, cost)?;
        Some(Judged { period, step, now })
    }

    /// The same by an exact time, which is read after the word.
    // By value, and not in its caller, see `take_with_care`.
    #[inline(never)]
    fn judge_later(self, word: Word, before: Reading, cost: u64) -> Option<Judged> {
        self.judge(word, self.no_earlier(before), cost)
    }
}

/// What a word comes to, and when.
struct Judged {
    period: Period,
    step: Step,
    now: Reading,
}
