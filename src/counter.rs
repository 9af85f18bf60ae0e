//! One limit's counter for one key: looked at, taken from, given back to.
//!
//! This is where the algorithms, the table and the clock meet, and the only place.

#[cfg(all(test, tollgate_loom))]
mod loom;
mod pending;
mod resets;
mod strict;
#[cfg(all(test, not(tollgate_loom)))]
mod tests;

pub(crate) use pending::Pending;
use resets::Resets;
pub(crate) use strict::Reserve;

use crate::algorithm::{Calendar, Pair, Period, Rule, Step, Word};
use crate::ceiling::{Ceilings, Patience, Unraised};
use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::key::Tag;
use crate::sync::{Arc, AtomicU64, Ordering, fence};
use crate::table::{Put, Table, Update};
use crate::time::Timestamp;

/// What all counters share.
pub(crate) struct CounterStore {
    pub(crate) table: Arc<Table>,
    /// Where newcomers count together when the table has no slot for them.
    pub(crate) shared: Arc<Table>,
    pub(crate) clock: Clock,
    /// Where changes to logged counters are noted.
    pub(crate) inbox: Arc<Inbox>,
    /// How far strict counters may count.
    pub(crate) ceilings: Ceilings,
    /// Words found further in the future than any clock of ours can have put them.
    pub(crate) healed: AtomicU64,
    /// What was taken before them is not given back.
    resets: Resets,
}

impl CounterStore {
    pub(crate) fn new(
        table: Arc<Table>,
        shared: Arc<Table>,
        clock: Clock,
        inbox: Arc<Inbox>,
        ceilings: Ceilings,
    ) -> Self {
        Self {
            table,
            shared,
            clock,
            inbox,
            ceilings,
            healed: AtomicU64::new(0),
            resets: Resets::default(),
        }
    }

    /// Has every word that counts written to the journal: those of a limit that was not logged
    /// until now are not in it, and nothing tells them from others. Takes its time.
    #[cfg(not(tollgate_loom))]
    pub(crate) fn write_all(&self) {
        let now = self.clock.now();
        let dirty = |word: Word| word.is_live(now).then(|| word.dirty());
        for table in [&self.table, &self.shared] {
            table.for_each(|tag, _| {
                table.update(tag, now, dirty);
            });
        }
        self.inbox.ask_for_sweep();
    }

    /// True if none of a counter's words has a slot.
    #[cold]
    pub(crate) fn is_new(&self, tag: Tag) -> bool {
        (0..=1).all(|which| !self.table.find(tag.sibling(which)).has_slot())
    }
}

/// A counter, by its rule and its tag.
#[derive(Clone, Copy)]
pub(crate) struct Counter<'a> {
    pub(crate) store: &'a CounterStore,
    pub(crate) calendars: &'a Vec<Calendar>,
    pub(crate) rule: &'a Rule,
    pub(crate) tag: Tag,
    /// True if its changes are to be written to the journal.
    pub(crate) is_logged: bool,
    /// Of a strict counter: nothing is admitted before the disk knows that it may be.
    pub(crate) reserve: Option<&'a Reserve>,
    /// True for the counter that newcomers without a slot share.
    pub(crate) is_shared: bool,
}

/// A counter at an instant, and what a cost came to there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) step: Step,
    pub(crate) words: Pair,
    pub(crate) period: Period,
    pub(crate) now: Timestamp,
}

impl Seen {
    #[inline(always)]
    fn new(step: Step, words: Pair, period: Period, now: Timestamp) -> Self {
        Self {
            step,
            words,
            period,
            now,
        }
    }
}

/// What a take came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Take {
    /// Judged, and taken if the step says so.
    Judged(Seen),
    /// The key has no counter, or no ceiling, and the table no room for one.
    Full,
    /// It would be taken, but the disk refuses to know of it, and the counter is strict.
    Unsecured(Seen),
}

/// What a take comes to that gets no ceiling.
fn unraised(why: Unraised, seen: Seen) -> Take {
    match why {
        Unraised::Full => Take::Full,
        Unraised::Unwritable => Take::Unsecured(seen),
    }
}

impl<'a> Counter<'a> {
    #[inline]
    fn table(&self) -> &'a Table {
        if self.is_shared {
            &self.store.shared
        } else {
            &self.store.table
        }
    }

    /// The tags of the words that count `period`: the main one and the previous window's.
    #[inline]
    fn tags(&self, period: Period) -> (Tag, Tag) {
        let parity = self.rule.parity(period);
        (self.tag.sibling(parity), self.tag.sibling(parity ^ 1))
    }

    #[inline]
    fn other(&self, tag: Tag) -> Word {
        if self.rule.has_pair() {
            self.table().read(tag)
        } else {
            Word::ABSENT
        }
    }

    /// What taking `cost` at `now` would come to. Loads only, but for a word to be healed.
    #[inline]
    pub(crate) fn look(&self, now: Timestamp, cost: u64) -> Seen {
        match self.look_at_once(now, cost) {
            Some((seen, _)) => seen,
            None => self.look_with_care(now, cost),
        }
    }

    #[inline(never)]
    fn look_with_care(&self, mut now: Timestamp, cost: u64) -> Seen {
        let (mut suspect, mut refused_on) = (None, None);
        loop {
            let period = self.rule.period(now, self.calendars);
            let (main, other) = self.tags(period);
            let stands = Pair {
                main: self.table().read(main),
                other: self.other(other),
            };
            let words = self.known(period, stands, now);
            let step = self.rule.step(period, words, now, cost);
            match step {
                // Others may have taken since the time was read; see `change`.
                Step::Refuse if refused_on != Some(stands) => {
                    (refused_on, now) = (Some(stands), self.no_earlier(now));
                }
                Step::Future => now = self.explain(words, now, &mut suspect),
                step => return Seen::new(step, words, period, now),
            }
        }
    }

    /// Takes `cost` if the rule admits it at `now`, which was read just before; else changes
    /// nothing. Of a strict counter it may wait for the disk.
    #[inline(always)]
    pub(crate) fn take(&self, now: Timestamp, cost: u64) -> Take {
        // Not through `look_at_once`: a take that is handed on costs 50 instructions more.
        if self.is_simple() {
            let found = self.table().find(self.tag);
            let seen = self.judge(found.word, now, cost);
            // A cost of zero takes nothing, and so no slot.
            if let Step::Admit(next) = seen.step
                && (next == found.word || Pending::new(found, self.marked(next), now).make(self))
            {
                return Take::Judged(seen);
            }
            if seen.step == Step::Refuse
                && let Some(seen) = self.refuse_at_once(found.word, now, cost)
            {
                return Take::Judged(seen);
            }
        }
        self.take_with_care(now, cost)
    }

    /// True if one word is all there is to it, and no disk is asked.
    #[inline(always)]
    fn is_simple(&self) -> bool {
        self.reserve.is_none() && !self.rule.has_pair()
    }

    /// What most looks at a counter are: one word, which is found and judged; and the take that
    /// follows from it, if it is admitted. `None` where there is more to it.
    #[inline(always)]
    pub(crate) fn look_at_once(
        &self,
        now: Timestamp,
        cost: u64,
    ) -> Option<(Seen, Option<Pending<'a>>)> {
        if !self.is_simple() {
            return None;
        }
        let found = self.table().find(self.tag);
        let seen = self.judge(found.word, now, cost);
        match seen.step {
            Step::Admit(next) => {
                // Of a cost of zero there is nothing to be taken.
                let changes = next != found.word;
                let pending = Pending::new(found, self.marked(next), now);
                Some((seen, changes.then_some(pending)))
            }
            Step::Refuse => Some((self.refuse_at_once(found.word, now, cost)?, None)),
            Step::Never => Some((seen, None)),
            Step::Future => None,
        }
    }

    /// Judges a refusal again, by a time that was read after the word: by an earlier one, a take
    /// that another thread made since may seem to leave too little room. `None` if it is no refusal
    /// by that time.
    #[inline]
    fn refuse_at_once(&self, word: Word, now: Timestamp, cost: u64) -> Option<Seen> {
        let seen = self.judge(word, self.no_earlier(now), cost);
        (seen.step == Step::Refuse).then_some(seen)
    }

    #[inline(always)]
    fn judge(&self, word: Word, now: Timestamp, cost: u64) -> Seen {
        let period = self.rule.period(now, self.calendars);
        let words = Pair {
            main: word,
            other: Word::ABSENT,
        };
        let step = self.rule.step(period, words, now, cost);
        Seen::new(step, words, period, now)
    }

    /// A take where there is more to it: no slot yet, another thread that was faster, a second
    /// word, a disk to be asked, a word from the future.
    // By value: what is referred to must be in memory, and every check would put it there.
    #[inline(never)]
    pub(crate) fn take_with_care(self, now: Timestamp, cost: u64) -> Take {
        let must = self.reserve.is_some_and(|reserve| reserve.admits_unsecured);
        self.change(now, must, |rule, period, words, now| {
            rule.step(period, words, now, cost)
        })
    }

    /// Takes `cost` whatever is left, and whatever the disk says.
    pub(crate) fn charge(&self, now: Timestamp, cost: u64) -> Take {
        self.change(now, true, |rule, period, words, now| {
            match rule.step(period, words, now, 1) {
                // Nor must a charge pile up on a word that no clock of ours can have made.
                Step::Future => Step::Future,
                _ => Step::Admit(rule.charge(period, words, now, cost)),
            }
        })
    }

    /// As [`Self::change`]; `patience` says until when the disk is waited for in all, if it was
    /// asked.
    #[inline]
    fn change_within(
        &self,
        patience: &mut Option<Patience>,
        mut now: Timestamp,
        must: bool,
        judge: impl Fn(&Rule, Period, Pair, Timestamp) -> Step,
    ) -> Take {
        let (mut suspect, mut is_unsecured) = (None, false);
        // The words that were refused by a time from before them, and those for which the disk was
        // asked.
        let (mut refused_on, mut secured_for) = (None, None);
        loop {
            let period = self.rule.period(now, self.calendars);
            let (main_tag, other_tag) = self.tags(period);
            let other = self.other(other_tag);
            let found = self.table().find(main_tag);
            let main = found.word;
            let stands = Pair { main, other };
            // While nobody has changed the words, they are judged by the time at which the disk was
            // asked. The word of a bucket at rest moves on with the time: by a later one it would
            // stand above the ceiling that was just written, each time anew.
            if secured_for.take().is_some_and(|words| words != stands) {
                now = self.no_earlier(now);
                continue;
            }
            let words = self.known(period, stands, now);
            let seen = Seen::new(judge(self.rule, period, words, now), words, period, now);
            let next = match seen.step {
                // Only by a time that was read after the words, see `refuse_at_once`.
                Step::Refuse if refused_on != Some(stands) => {
                    (refused_on, now) = (Some(stands), self.no_earlier(now));
                    continue;
                }
                Step::Future => {
                    now = self.explain(words, now, &mut suspect);
                    continue;
                }
                Step::Refuse | Step::Never => return Take::Judged(seen),
                // Nothing is taken that the disk would have to know of, whatever its ceiling.
                Step::Admit(next) if next == main => return Take::Judged(seen),
                Step::Admit(next) => next,
            };
            if !is_unsecured && !self.is_covered(main_tag, next) {
                if found.has_slot() {
                    let patience = *patience.get_or_insert_with(Patience::begin);
                    match self.secure(main_tag, [main, next], now, patience, must) {
                        Ok(is_secured) => is_unsecured = !is_secured,
                        Err(why) => return unraised(why, seen),
                    }
                    secured_for = Some(stands);
                } else if !self.make_slot(main_tag, words.main, now) {
                    return Take::Full;
                }
                continue;
            }
            let after = self.marked(next);
            match self.table().put(main_tag, now, found, after) {
                Put::Done => self.note(main_tag, main, after),
                Put::Raced => continue,
                Put::Full => return Take::Full,
            }
            let is_good = !self.rule.has_pair() || self.stands(other_tag, other);
            if is_good && (is_unsecured || self.is_still_covered(main_tag, after)) {
                self.look_ahead(main_tag, after, now);
                return Take::Judged(seen);
            }
            self.undo(&seen, after);
            now = self.no_earlier(now);
        }
    }

    /// The time, read after every word that was loaded before; no earlier than a reading before.
    fn no_earlier(&self, than: Timestamp) -> Timestamp {
        self.store.clock.now_in_order().max(than)
    }

    /// Notes a change that made a clean word dirty.
    #[inline(always)]
    fn note(&self, tag: Tag, before: Word, after: Word) {
        if after.is_dirty() && !before.is_dirty() {
            self.store.inbox.mark(tag);
        }
    }

    /// The word as it is to stand in the table.
    #[inline]
    fn marked(&self, word: Word) -> Word {
        if self.is_logged { word.dirty() } else { word }
    }

    /// Replaces the word of a tag that has a slot.
    fn amend(&self, tag: Tag, mut step: impl FnMut(Word) -> Word) {
        let amended = self.table().amend(tag, |word| {
            let next = step(word);
            if next == word {
                word
            } else {
                self.marked(next)
            }
        });
        if let Some((before, after)) = amended {
            self.note(tag, before, after);
            if before != after {
                self.bring_down(tag, after);
            }
        }
    }

    /// Accounts for words from the future; gives the time to judge them by.
    ///
    /// Either `now` was read before another thread's take: then a new reading explains the words.
    /// Or it does not: then the clock was once wrong, or the limit was slower, and the words are
    /// healed.
    #[cold]
    fn explain(&self, words: Pair, now: Timestamp, suspect: &mut Option<Pair>) -> Timestamp {
        if *suspect == Some(words) {
            self.heal(now);
        }
        *suspect = Some(words);
        self.store.clock.now_in_order()
    }

    /// Puts in the place of words from the future what they can mean at most: all is used. Nobody
    /// knows any more what was used, so nothing more is admitted in this window, or before the
    /// bucket fills again; and nobody is locked out for longer.
    fn heal(&self, now: Timestamp) {
        let period = self.rule.period(now, self.calendars);
        let (main_tag, other_tag) = self.tags(period);
        let is_future =
            |main, other| self.rule.step(period, Pair { main, other }, now, 1) == Step::Future;
        let is_other_future = is_future(Word::ABSENT, self.other(other_tag));
        if is_other_future {
            self.amend(other_tag, |_| Word::bucket(now));
        }
        // Also of a counter without a word for this window: its previous one came from the future.
        let spent = self.marked(self.rule.spent(period, now));
        let heal = |main| (is_other_future || is_future(main, Word::ABSENT)).then_some(spent);
        if let Update::Done { before, after } = self.table().update(main_tag, now, heal)
            && before != after
        {
            self.note(main_tag, before, after);
            self.bring_down(main_tag, after);
        }
        // Ordering: relaxed; a number to look at, nothing is decided on it.
        self.store.healed.fetch_add(1, Ordering::Relaxed);
    }

    /// True if the previous window still is what a sliding take was judged on.
    ///
    /// Around a window's edge one thread may still count in the old window while another already
    /// counts in the next. Each first writes its own word and then looks at the other's, so at
    /// least one of the two sees the other, gives back, and tries again.
    fn stands(&self, other_tag: Tag, other: Word) -> bool {
        // Ordering: a full fence between our write and our second look, against the same pair in
        // the other thread; with less, both looks could come before both writes.
        fence(Ordering::SeqCst);
        self.table().read(other_tag).clean() == other.clean()
    }

    /// Undoes a take that made `taken` of what was seen, and that does not come to stand.
    fn undo(&self, seen: &Seen, taken: Word) {
        let (main_tag, _) = self.tags(seen.period);
        let before = seen.words.main;
        self.amend(main_tag, |word| {
            self.rule.undo(word, before, taken, seen.now)
        });
    }

    /// Gives `cost` back to the word that counts `period`, if that is still the word it was taken
    /// from; `taken` is what it was right after the take.
    ///
    /// What was taken before the counter was reset, at `at`, is forgotten already.
    pub(crate) fn refund(&self, period: Period, taken: Word, at: Timestamp, cost: u64) {
        if self.store.resets.is_after(self.tag, at) {
            return;
        }
        let (main_tag, _) = self.tags(period);
        let now = self.store.clock.now();
        self.amend(main_tag, |word| self.rule.refund(word, taken, now, cost));
    }

    /// Forgets what was used: a dead word in the place of each that is live.
    pub(crate) fn reset(&self, now: Timestamp) {
        self.store.resets.note(self.tag, now);
        self.forget(now);
        // What was taken since the time was read may be forgotten, too.
        let end = self.store.clock.now_in_order();
        self.store.resets.note(self.tag, end);
    }

    fn forget(&self, now: Timestamp) {
        for which in 0..=1 {
            self.amend(self.tag.sibling(which), |word| {
                // A bucket's word, whatever the rule: no window ends at this nanosecond, so the
                // word never comes back.
                if word.is_live(now) {
                    Word::bucket(now)
                } else {
                    word
                }
            });
        }
    }
}
