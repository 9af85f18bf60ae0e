//! One limit's counter for one key: looked at, taken from, given back to.
//!
//! This is where the algorithms, the table and the clock meet, and the only place.

#[cfg(all(test, tollgate_loom))]
mod loom;
#[cfg(all(test, not(tollgate_loom)))]
mod tests;

use crate::algorithm::{Calendar, Pair, Period, Rule, Step, Word};
use crate::ceiling::{Ceilings, Demand, Unraised};
use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::key::Tag;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::table::{Put, Table, Update};
use crate::time::{Reading, Timestamp};

/// What all counters of a check share.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) table: &'a Table,
    /// Where newcomers count together when the table has no slot for them.
    pub(crate) shared: &'a Table,
    pub(crate) calendars: &'a [Calendar],
    pub(crate) clock: &'a Clock,
    /// Where changes to logged counters are noted.
    pub(crate) inbox: &'a Inbox,
    /// How far strict counters may count.
    pub(crate) ceilings: &'a Ceilings,
    /// Words found further in the future than any clock of ours can have put them.
    pub(crate) healed: &'a AtomicU64,
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
    pub(crate) ground: Ground<'a>,
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
            self.ground.shared
        } else {
            self.ground.table
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

    /// The words as they count. Where ceilings were lost together with the counters, a strict
    /// counter that nothing is known of was spent at that time; or is now, if that lies ahead of a
    /// clock that was set back.
    #[inline]
    fn known(&self, period: Period, words: Pair, now: Timestamp) -> Pair {
        match self.reserve {
            None => words,
            Some(_) => self.known_of_strict(period, words, now),
        }
    }

    #[cold]
    fn known_of_strict(&self, period: Period, mut words: Pair, now: Timestamp) -> Pair {
        let Some(closed) = self.ground.ceilings.closed() else {
            return words;
        };
        let closed = closed.min(now);
        let then = self.rule.period(closed, self.ground.calendars);
        let is_main = self.rule.parity(then) == self.rule.parity(period);
        let word = if is_main {
            &mut words.main
        } else {
            &mut words.other
        };
        if word.is_absent() && (is_main || self.rule.has_pair()) {
            *word = self.rule.spent(then, closed);
        }
        words
    }

    /// What taking `cost` at `now` would come to. Loads only, but for a word to be healed.
    #[inline]
    pub(crate) fn look(&self, now: impl Into<Reading>, cost: u64) -> Seen {
        let mut now = now.into();
        let mut suspect = None;
        loop {
            let period = self.rule.period(now.at, self.ground.calendars);
            let (main, other) = self.tags(period);
            let words = self.known(
                period,
                Pair {
                    main: self.table().read(main),
                    other: self.other(other),
                },
                now.at,
            );
            match self.rule.step(period, words, now.at, cost) {
                step if self.is_unsure(step, period, words, now, cost) => now = self.exactly(),
                Step::Future => now = self.explain(words, now.at, &mut suspect).into(),
                step => {
                    return Seen {
                        step,
                        words,
                        period,
                        now,
                    };
                }
            }
        }
    }

    /// Takes `cost` if the rule admits it; else changes nothing. Of a strict counter it may wait
    /// for the disk.
    #[inline]
    pub(crate) fn take(&self, now: impl Into<Reading>, cost: u64) -> Take {
        let must = self.reserve.is_some_and(|reserve| reserve.admits_unsecured);
        let now = now.into();
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

    /// True if the clock was only glanced at and the lag could make a difference: to the answer, or
    /// to how long who is refused has to wait.
    #[inline]
    fn is_unsure(&self, step: Step, period: Period, words: Pair, now: Reading, cost: u64) -> bool {
        !now.is_exact
            && (step == Step::Refuse || !self.rule.holds(step, period, words, now.at, cost))
    }

    #[inline(never)]
    fn exactly(&self) -> Reading {
        self.ground.clock.now().into()
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
        loop {
            let period = self.rule.period(now.at, self.ground.calendars);
            let (main_tag, other_tag) = self.tags(period);
            let other = self.other(other_tag);
            let found = self.table().find(main_tag);
            let main = found.word;
            let words = self.known(period, Pair { main, other }, now.at);
            let step = judge(self.rule, period, words, now.at);
            let seen = Seen {
                step,
                words,
                period,
                now,
            };
            let next = match step {
                _ if self.is_unsure(step, period, words, now, cost) => {
                    now = self.exactly();
                    continue;
                }
                Step::Future => {
                    now = self.explain(words, now.at, &mut suspect).into();
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
                Put::Done => self.note(main_tag, main, after),
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
        than.at.max(self.ground.clock.now()).into()
    }

    /// True if the disk knows that the word may stand here, or need not know.
    #[inline]
    fn is_covered(&self, tag: Tag, word: Word) -> bool {
        self.reserve.is_none() || self.ground.ceilings.covers(tag, word)
    }

    /// True if the ceiling was not brought down below the word while it was put here.
    #[inline]
    fn is_still_covered(&self, tag: Tag, word: Word) -> bool {
        if self.reserve.is_none() {
            return true;
        }
        // Ordering: a full fence between the word and the second look at the ceiling, see
        // `Ceilings::lower`: the writing thread does the reverse.
        fence(Ordering::SeqCst);
        self.ground.ceilings.covers(tag, word)
    }

    /// Brings the ceiling down after the word, so that no more than one reservation lies between.
    fn bring_down(&self, tag: Tag, word: Word) {
        let Some(Reserve { amount, .. }) = self.reserve else {
            return;
        };
        let now = self.ground.clock.now();
        let above = |amount| match word.is_live(now) {
            true => self.rule.ahead(word.clean(), now, amount),
            // As good as none: whatever is counted next is larger.
            false => word.clean(),
        };
        let ceilings = self.ground.ceilings;
        // Half of a reservation is left, so that not every refund is a write.
        if ceilings.is_above(tag, above(amount)) {
            ceilings.lower(tag, above(amount / 2));
        }
    }

    /// What to ask of the disk so that `word` may stand here.
    fn demand(&self, tag: Tag, word: Word, now: Timestamp, amount: u64) -> Demand {
        Demand {
            tag,
            least: word,
            target: self.rule.ahead(word, now, amount),
            now,
            is_awaited: true,
        }
    }

    /// Takes a slot for a newcomer; false if there is none. Nobody without a slot gets a ceiling:
    /// put back after a power cut, it would take the room of one that was counted.
    #[cold]
    fn has_slot(&self, tag: Tag, known: Word, now: Timestamp) -> bool {
        // What is known though no word says so must not be forgotten for it. Else a dead word, as
        // in `reset`.
        let place = match known.is_live(now) {
            true => known.clean(),
            false => Word::bucket(now),
        };
        let place = |main: Word| main.is_absent().then_some(place);
        self.table().update(tag, now, place) != Update::Full
    }

    /// Waits until the disk knows that the word may stand here, unless it refuses.
    #[cold]
    fn secure(&self, tag: Tag, word: Word, now: Timestamp) -> Result<(), Unraised> {
        let amount = self.reserve.map_or(0, |reserve| reserve.amount);
        let demand = self.demand(tag, word, now, amount);
        self.ground.ceilings.raise(demand)
    }

    /// Asks for a later ceiling when half of what was reserved is used.
    #[inline]
    fn look_ahead(&self, tag: Tag, word: Word, now: Timestamp) {
        if let Some(Reserve { amount, .. }) = self.reserve {
            let soon = self.rule.ahead(word.clean(), now, amount / 2);
            if !self.ground.ceilings.covers(tag, soon) {
                let demand = Demand {
                    least: soon,
                    ..self.demand(tag, word.clean(), now, amount)
                };
                self.ground.ceilings.ask(demand);
            }
        }
    }

    /// The word as it is to stand in the table.
    #[inline]
    fn marked(&self, word: Word) -> Word {
        if self.is_logged { word.dirty() } else { word }
    }

    /// Notes a change that made a clean word dirty.
    #[inline]
    fn note(&self, tag: Tag, before: Word, after: Word) {
        if after.is_dirty() && !before.is_dirty() {
            self.ground.inbox.mark(tag);
        }
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
        self.ground.clock.now()
    }

    /// Puts in the place of words from the future what they can mean at most: all is used. Nobody
    /// knows any more what was used, so nothing more is admitted in this window, or before the
    /// bucket fills again; and nobody is locked out for longer.
    fn heal(&self, now: Timestamp) {
        let period = self.rule.period(now, self.ground.calendars);
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
