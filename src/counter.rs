//! One limit's counter for one key: looked at, taken from, given back to.
//!
//! This is where the algorithms, the table and the clock meet, and the only place.

mod at_once;
#[cfg(all(test, tollgate_loom))]
mod loom;
mod strict;
#[cfg(all(test, not(tollgate_loom)))]
mod tests;

#[cfg(not(tollgate_loom))]
pub(crate) use at_once::Pending;
use at_once::note;

use crate::algorithm::{Calendar, Pair, Period, Rule, Step, Word};
use crate::ceiling::{Ceilings, Unraised};
use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::key::Tag;
use crate::sync::{Arc, AtomicU64, Ordering, fence};
use crate::table::{Put, Table};
use crate::time::{Reading, Timestamp};

/// What all counters share.
pub(crate) struct Ground {
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
}

impl Ground {
    /// True if none of a counter's words has a slot.
    #[cold]
    pub(crate) fn is_new(&self, tag: Tag) -> bool {
        (0..=1).all(|which| !self.table.find(tag.sibling(which)).has_slot())
    }
}

/// How a strict counter asks the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reserve {
    /// How far ahead of need, in the limit's units.
    pub(crate) amount: u64,
    /// Whether to admit while the disk refuses.
    pub(crate) admits_unsecured: bool,
}

/// A counter, by its rule and its tag.
#[derive(Clone, Copy)]
pub(crate) struct Counter<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) calendars: &'a [Calendar],
    pub(crate) rule: &'a Rule,
    pub(crate) tag: Tag,
    /// True if its changes are to be written to the journal.
    pub(crate) is_logged: bool,
    /// Of a strict counter: nothing is admitted before the disk knows that it may be.
    pub(crate) reserve: Option<Reserve>,
    /// True for the counter that newcomers without a slot share.
    pub(crate) is_shared: bool,
}

/// A counter at an instant, and what a cost came to there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) step: Step,
    pub(crate) words: Pair,
    pub(crate) period: Period,
    pub(crate) now: Reading,
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
            &self.ground.shared
        } else {
            &self.ground.table
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
    pub(crate) fn look(&self, now: impl Into<Reading>, cost: u64) -> Seen {
        let mut now = now.into();
        let (mut suspect, mut before) = (None, None);
        loop {
            let period = self.rule.period(now.at, self.calendars);
            let (main, other) = self.tags(period);
            let stands = Pair {
                main: self.table().read(main),
                other: self.other(other),
            };
            let words = self.known(period, stands, now.at);
            let seen = Seen {
                step: self.rule.step(period, words, now.at, cost),
                words,
                period,
                now,
            };
            match seen.step {
                _ if self.is_too_early(&seen, before != Some(stands), cost) => {
                    (before, now) = (Some(stands), self.no_earlier(now));
                }
                Step::Future => now = self.explain(words, now.at, &mut suspect),
                _ => return seen,
            }
        }
    }

    /// Takes `cost` if the rule admits it; else changes nothing. Of a strict counter it may wait
    /// for the disk.
    #[inline]
    pub(crate) fn take(&self, now: impl Into<Reading>, cost: u64) -> Take {
        let now = now.into();
        match self.take_at_once(now, cost) {
            Some(seen) => Take::Judged(seen),
            None => self.take_with_care(now, cost),
        }
    }

    /// The same where it was not done at once.
    // By value, as all that is not a part of a straight take: what is referred to must be in
    // memory, and there it would be put at every check.
    #[inline(never)]
    pub(crate) fn take_with_care(self, now: Reading, cost: u64) -> Take {
        let must = self.reserve.is_some_and(|reserve| reserve.admits_unsecured);
        self.change(now, cost, must, |rule, period, words, now| {
            rule.step(period, words, now, cost)
        })
    }

    /// Takes `cost` whatever is left, and whatever the disk says.
    pub(crate) fn charge(&self, now: Timestamp, cost: u64) -> Take {
        self.change(now.into(), cost, true, |rule, period, words, now| {
            match rule.step(period, words, now, 1) {
                // Nor must a charge pile up on a word that no clock of ours can have made.
                Step::Future => Step::Future,
                _ => Step::Admit(rule.charge(period, words, now, cost)),
            }
        })
    }

    /// True if the time must be read again: it was only glanced at and the lag could make a
    /// difference; or the cost is refused, and the reading may be older than the words. Who is
    /// refused is told how long to wait, exactly; and he may have found another's take from later
    /// than he read the time, and too little left by just the difference.
    #[inline]
    fn is_too_early(&self, seen: &Seen, may_be_older: bool, cost: u64) -> bool {
        let Seen {
            step,
            words,
            period,
            now,
        } = *seen;
        match step {
            Step::Refuse => may_be_older,
            step => !now.is_exact() && !self.rule.holds(step, period, words, now.at, cost),
        }
    }

    #[inline]
    fn exactly(&self) -> Reading {
        self.ground.clock.exact()
    }

    /// Puts the word that `judge` admits in the main one's place; with `must`, even if the disk
    /// refuses to know of it.
    #[inline]
    fn change(
        &self,
        mut now: Reading,
        cost: u64,
        must: bool,
        judge: impl Fn(&Rule, Period, Pair, Timestamp) -> Step,
    ) -> Take {
        let (mut suspect, mut is_unsecured) = (None, false);
        // What stood in the table before the time was read.
        let mut before = None;
        loop {
            let period = self.rule.period(now.at, self.calendars);
            let (main_tag, other_tag) = self.tags(period);
            let other = self.other(other_tag);
            let found = self.table().find(main_tag);
            let main = found.word;
            let stands = Pair { main, other };
            let words = self.known(period, stands, now.at);
            let step = judge(self.rule, period, words, now.at);
            let seen = Seen {
                step,
                words,
                period,
                now,
            };
            let next = match step {
                _ if self.is_too_early(&seen, before != Some(stands), cost) => {
                    (before, now) = (Some(stands), self.no_earlier(now));
                    continue;
                }
                Step::Future => {
                    now = self.explain(words, now.at, &mut suspect);
                    continue;
                }
                Step::Refuse | Step::Never => return Take::Judged(seen),
                Step::Admit(next) => next,
            };
            // Nothing is taken that the disk would have to know of, whatever its ceiling.
            if next == main {
                return Take::Judged(seen);
            }
            if !is_unsecured && !self.is_covered(main_tag, next) {
                if !self.has_slot(main_tag, words.main, now.at) {
                    return Take::Full;
                }
                if let Err(why) = self.secure(main_tag, next, now.at) {
                    if !must {
                        return unraised(why, seen);
                    }
                    is_unsecured = true;
                    self.ground.ceilings.note_unsecured();
                }
                now = self.no_earlier(now);
                continue;
            }
            let after = self.marked(next);
            match self.table().put(main_tag, now.at, found, after) {
                Put::Done => note(self.ground, main_tag, main, after),
                Put::Raced => continue,
                Put::Full => return Take::Full,
            }
            let is_good = !self.rule.has_pair() || self.stands(other_tag, other);
            if is_good && (is_unsecured || self.is_still_covered(main_tag, after)) {
                self.look_ahead(main_tag, after, now.at);
                return Take::Judged(seen);
            }
            self.give_back(period, after, words.main);
            now = self.no_earlier(now);
        }
    }

    /// The time, exactly, but no earlier than a reading before.
    fn no_earlier(&self, than: Reading) -> Reading {
        self.exactly().no_earlier(than)
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
            note(self.ground, tag, before, after);
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
    fn explain(&self, words: Pair, now: Timestamp, suspect: &mut Option<Pair>) -> Reading {
        if *suspect == Some(words) {
            self.heal(now);
        }
        *suspect = Some(words);
        self.exactly()
    }

    /// Puts in the place of words from the future what they can mean at most: all is used. Nobody
    /// knows any more what was used, so nothing more is admitted in this window, or before the
    /// bucket fills again; and nobody is locked out for longer.
    fn heal(&self, now: Timestamp) {
        let period = self.rule.period(now, self.calendars);
        let (main_tag, other_tag) = self.tags(period);
        let is_future =
            |main, other| self.rule.step(period, Pair { main, other }, now, 1) == Step::Future;
        let other = self.other(other_tag);
        if is_future(Word::ABSENT, other) {
            self.amend(other_tag, |_| Word::bucket(now));
        }
        self.amend(main_tag, |main| {
            if is_future(main, Word::ABSENT) {
                self.rule.spent(period, now)
            } else {
                main
            }
        });
        // Ordering: relaxed; a number to look at, nothing is decided on it.
        self.ground.healed.fetch_add(1, Ordering::Relaxed);
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

    /// Undoes the difference between `before` and `taken` in the word that counts `period`.
    fn give_back(&self, period: Period, taken: Word, before: Word) {
        let cost = u64::from(taken.count())
            - if before.dies_at_secs() == taken.dies_at_secs() {
                u64::from(before.count())
            } else {
                0
            };
        self.refund(period, taken, cost);
    }

    /// Gives `cost` back to the word that counts `period`, if that is still the word it was taken
    /// from; `taken` is what it was right after the take.
    pub(crate) fn refund(&self, period: Period, taken: Word, cost: u64) {
        let (main_tag, _) = self.tags(period);
        let now = self.ground.clock.now();
        self.amend(main_tag, |word| self.rule.refund(word, taken, now, cost));
    }

    /// Forgets what was used: a dead word in the place of each that is live.
    pub(crate) fn reset(&self, now: Timestamp) {
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
