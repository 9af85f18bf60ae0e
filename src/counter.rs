//! One limit's counter for one key: looked at, taken from, given back to.
//!
//! This is where the algorithms, the table and the clock meet, and the only place.

mod heal;
#[cfg(all(test, tollgate_loom))]
mod loom;
mod pair;
mod pending;
mod resets;
mod strict;
#[cfg(all(test, not(tollgate_loom)))]
mod tests;

use pair::Places;
pub(crate) use pending::Pending;
use resets::Resets;
pub(crate) use strict::Reserve;

use crate::algorithm::{Calendar, Paces, Pair, Period, Rule, Step, Word};
use crate::ceiling::{Ceilings, Patience};
use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::key::Tag;
use crate::sync::{Arc, AtomicU64, Ordering, fence};
use crate::table::{Put, Table};
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
    /// The rates that the counter's words may name.
    pub(crate) paces: &'a Paces,
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

/// What has happened so far while a change was tried.
#[derive(Default)]
struct Tries {
    /// Words that seemed to be from the future.
    suspect: Option<Pair>,
    /// Words that were refused by a time from before them.
    refused_on: Option<Pair>,
    /// Words for which the disk was asked.
    secured_for: Option<Pair>,
    /// Until when the disk is waited for in all.
    patience: Option<Patience>,
    /// The disk refuses, and the word must stand all the same.
    is_unsecured: bool,
    /// The window that counts in the previous one's slot, because the table has none left.
    joins: Option<Period>,
}

impl Tries {
    /// True if the disk was just asked, for other words than these.
    ///
    /// While nobody has changed the words, they are judged by the time at which the disk was asked.
    /// The word of a bucket at rest moves on with the time: by a later one it would stand above the
    /// ceiling that was just written, each time anew.
    fn was_secured_for_others(&mut self, stands: Pair) -> bool {
        let words = self.secured_for.take();
        words.is_some_and(|words| words != stands)
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

    /// What taking `cost` at `now` would come to. Loads only, but for a word to be healed.
    #[inline]
    pub(crate) fn look(&self, now: Timestamp, cost: u64) -> Seen {
        match self.look_at_once(now, cost) {
            Some((seen, _)) => seen,
            None => self.look_with_care(now, cost),
        }
    }

    /// The same for a request that is going to take. Its rate is the key's own for certain, so a
    /// word whose rate has ended is first written at this one.
    pub(crate) fn look_to_take(&self, now: Timestamp, cost: u64) -> Seen {
        let main = self.table().read(self.tag);
        if self.rule.has_ended(main, self.paces, now) {
            let _: Take = self.change(now, 0, false, |_, _, words, _| Step::Admit(words.main));
        }
        self.look(now, cost)
    }

    #[inline(never)]
    fn look_with_care(&self, mut now: Timestamp, cost: u64) -> Seen {
        let (mut suspect, mut refused_on) = (None, None);
        loop {
            let period = self.rule.period(now, self.calendars);
            let at = self.places(period, None);
            let stands = Pair {
                main: self.table().read(at.main),
                other: at.other_word,
            };
            let words = self.known(period, at, stands, now);
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
            Step::Future | Step::Foreign => None,
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
        self.change(now, cost, must, |rule, period, words, now| {
            rule.step(period, words, now, cost)
        })
    }

    /// Takes `cost` whatever is left, and whatever the disk says.
    pub(crate) fn charge(&self, now: Timestamp, cost: u64) -> Take {
        self.change(now, cost, true, |rule, period, words, now| {
            match rule.step(period, words, now, 1) {
                // Nor must a charge pile up on a word that no clock of ours can have made.
                Step::Future => Step::Future,
                Step::Foreign => Step::Admit(rule.delayed(words.main, cost)),
                _ => Step::Admit(rule.charge(period, words, now, cost)),
            }
        })
    }

    /// As [`Self::change`]. Afterwards `tries` says what happened on the way.
    #[inline]
    fn change_within(
        &self,
        tries: &mut Tries,
        mut now: Timestamp,
        cost: u64,
        must: bool,
        judge: impl Fn(&Rule, Period, Pair, Timestamp) -> Step,
    ) -> Take {
        loop {
            let period = self.rule.period(now, self.calendars);
            let at = self.places(period, tries.joins);
            let other = at.other_word;
            let found = self.table().find(at.main);
            let main = found.word;
            let stands = Pair { main, other };
            if tries.was_secured_for_others(stands) {
                now = self.no_earlier(now);
                continue;
            }
            let words = self.known(period, at, stands, now);
            // A word whose rate has ended is first written at this one; then the change is judged.
            let has_ended = self.rule.has_ended(main, self.paces, now);
            let step = match has_ended {
                true => Step::Admit(words.main),
                false => judge(self.rule, period, words, now),
            };
            let seen = Seen::new(step, words, period, now);
            let next = match seen.step {
                // Only by a time that was read after the words, see `refuse_at_once`.
                Step::Refuse if tries.refused_on != Some(stands) => {
                    (tries.refused_on, now) = (Some(stands), self.no_earlier(now));
                    continue;
                }
                Step::Future => {
                    now = self.explain(words, now, &mut tries.suspect);
                    continue;
                }
                Step::Refuse | Step::Never | Step::Foreign => return Take::Judged(seen),
                // Nothing is taken that the disk would have to know of, whatever its ceiling.
                Step::Admit(next) if next == words.main && !has_ended => {
                    return Take::Judged(seen);
                }
                Step::Admit(next) => next,
            };
            if !tries.is_unsecured && !self.is_covered(at.main, next) {
                match self.prepare(&seen, at, (found, other), next, must, tries) {
                    Ok(()) => continue,
                    Err(take) => return take,
                }
            }
            let after = self.marked(next);
            match self.table().put(at.main, now, found, after) {
                Put::Done => self.note(at.main, main, after),
                Put::Raced => continue,
                Put::Full if self.joins(tries, period, other) => continue,
                Put::Full => return Take::Full,
            }
            if has_ended {
                continue;
            }
            let is_good = !self.rule.has_pair() || self.stands(at.other, other);
            if is_good && (tries.is_unsecured || self.is_still_covered(at.main, after)) {
                self.look_ahead(at.main, after, now);
                return Take::Judged(seen);
            }
            self.undo(at.main, &seen, after, cost);
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

    /// The same for a word that may have been written at another rate: `step` is given the
    /// converted word. A word that only a newer policy can read is left alone.
    fn amend_told(&self, tag: Tag, now: Timestamp, step: impl Fn(Word) -> Word) {
        self.amend(tag, |word| {
            let told = self.rule.converted(word, self.paces, now);
            if self.rule.is_foreign(told, now) {
                return word;
            }
            match step(told) {
                next if next == told => word,
                next => next,
            }
        });
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
    fn undo(&self, main_tag: Tag, seen: &Seen, taken: Word, cost: u64) {
        let before = seen.words.main;
        self.amend_told(main_tag, seen.now, |word| {
            self.rule.undo(word, before, taken, seen.now, cost)
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
        let main_tag = self.places(period, None).main;
        let now = self.store.clock.now();
        self.amend_told(main_tag, now, |word| {
            self.rule.refund(word, taken, now, cost)
        });
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
