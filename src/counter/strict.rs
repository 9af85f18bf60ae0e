//! What a strict counter asks the disk, before it counts and after.

use super::pair::Places;
use super::{Counter, Seen, Take, Tries};
use crate::algorithm::{Pair, Period, Rule, Step, Word};
use crate::ceiling::{Demand, Patience, Unraised};
use crate::key::Tag;
use crate::sync::{Ordering, fence};
use crate::table::{Found, Update};
use crate::time::Timestamp;

/// How a strict counter asks the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reserve {
    /// How far ahead of need, in the limit's units; `None` for a share of what the rule holds.
    pub(crate) amount: Option<u64>,
    /// Whether to admit while the disk refuses.
    pub(crate) admits_unsecured: bool,
}

/// A strict limit reserves this share of what it holds, if it does not say how much.
const RESERVE_SHARE: u64 = 20;
/// And no more than this.
const RESERVE_MAX: u64 = 1_000;

impl Reserve {
    /// How far ahead of need a counter of this rule reserves.
    fn amount(&self, rule: &Rule) -> u64 {
        let in_proportion = || (rule.capacity() / RESERVE_SHARE).clamp(1, RESERVE_MAX);
        self.amount.unwrap_or_else(in_proportion)
    }
}

impl Counter<'_> {
    /// The words as they count. A word of another rate is converted. If ceilings and counters were
    /// lost together, a strict counter without a word was spent at that time; or is spent now, if
    /// that time lies ahead of a clock that was set back.
    #[inline]
    pub(super) fn known(&self, period: Period, at: Places, words: Pair, now: Timestamp) -> Pair {
        let words = Pair {
            main: self.rule.converted(words.main, self.paces, now),
            ..words
        };
        match self.reserve {
            None => words,
            Some(_) => self.known_of_strict(period, at, words, now),
        }
    }

    #[cold]
    fn known_of_strict(&self, period: Period, at: Places, mut words: Pair, now: Timestamp) -> Pair {
        let Some(closed) = self.store.ceilings.closed() else {
            return words;
        };
        let closed = closed.min(now);
        let then = self.rule.period(closed, self.calendars);
        let is_main = (self.rule.parity(then) == self.rule.parity(period)) != at.is_crosswise;
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

    /// True if the disk knows that the word may stand here, or need not know.
    #[inline]
    pub(super) fn is_covered(&self, tag: Tag, word: Word) -> bool {
        self.reserve.is_none() || self.store.ceilings.covers(tag, word)
    }

    /// True if the ceiling was not brought down below the word while it was put here.
    #[inline]
    pub(super) fn is_still_covered(&self, tag: Tag, word: Word) -> bool {
        if self.reserve.is_none() {
            return true;
        }
        // Ordering: a full fence between the word and the second look at the ceiling, see
        // `Ceilings::lower`: the writing thread does the reverse.
        fence(Ordering::SeqCst);
        self.store.ceilings.covers(tag, word)
    }

    /// Brings the ceiling down after the word, so that no more than one reservation lies between.
    pub(super) fn bring_down(&self, tag: Tag, word: Word) {
        let Some(reserve) = self.reserve else {
            return;
        };
        let amount = reserve.amount(self.rule);
        // Ordering: a full fence between the word that was amended and the look at the ceiling, see
        // `Shared::bring_down`: the thread that lowers it does the reverse.
        fence(Ordering::SeqCst);
        let now = self.store.clock.now();
        let above = |amount| match word.is_live(now) {
            true => self.rule.ahead(word.clean(), now, amount),
            // As good as none: whatever is counted next is larger.
            false => word.clean(),
        };
        let ceilings = &self.store.ceilings;
        // Half of a reservation is left, so that not every refund is a write.
        if ceilings.is_above(tag, above(amount)) {
            ceilings.lower(tag, above(amount / 2));
        }
    }

    /// Puts the word that `judge` admits for `cost` in the main one's place; with `must`, even if
    /// the disk refuses to know of it.
    #[inline]
    pub(super) fn change(
        &self,
        now: Timestamp,
        cost: u64,
        must: bool,
        judge: impl Fn(&Rule, Period, Pair, Timestamp) -> Step,
    ) -> Take {
        let mut tries = Tries::default();
        let take = self.change_within(&mut tries, now, cost, must, judge);
        if tries.patience.is_some() {
            self.release(&take, &tries);
        }
        take
    }

    /// Lowers the ceiling again if the disk was asked for more than was then taken.
    #[cold]
    fn release(&self, take: &Take, tries: &Tries) {
        if let Take::Judged(seen) | Take::Unsecured(seen) = take {
            let at = self.places(seen.period, tries.joins);
            self.bring_down(at.main, self.table().read(at.main));
        }
    }

    /// What to ask of the disk so that `word` may stand here, where `from` stands.
    fn demand(&self, tag: Tag, from: Word, word: Word, now: Timestamp, amount: u64) -> Demand {
        // Of a word that is over nothing can be given back, and its slot may be another's by then.
        let from = if from.is_live(now) {
            from
        } else {
            Word::ABSENT
        };
        Demand {
            tag,
            from,
            least: word,
            target: self.rule.ahead(word, now, amount),
            now,
            is_awaited: true,
        }
    }

    /// Makes sure that the disk knows of `next` before it is put where `found` was; a counter
    /// without a slot gets one first. After that the words are judged anew.
    ///
    /// # Errors
    /// What the take comes to if neither is possible.
    #[cold]
    pub(super) fn prepare(
        &self,
        seen: &Seen,
        at: Places,
        (found, other): (Found<'_>, Word),
        next: Word,
        must: bool,
        tries: &mut Tries,
    ) -> Result<(), Take> {
        if found.has_slot() {
            let patience = *tries.patience.get_or_insert_with(Patience::begin);
            match self.secure(at.main, [found.word, next], seen.now, patience, must) {
                Ok(is_secured) => tries.is_unsecured = !is_secured,
                Err(Unraised::Full) => return Err(Take::Full),
                Err(Unraised::Unwritable) => return Err(Take::Unsecured(*seen)),
            }
            tries.secured_for = Some(Pair {
                main: found.word,
                other,
            });
            return Ok(());
        }
        let has_slot = self.make_slot(at.main, seen.words.main, seen.now);
        match has_slot || self.joins(tries, seen.period, other) {
            true => Ok(()),
            false => Err(Take::Full),
        }
    }

    /// Takes a slot for a newcomer; false if there is none. Nobody without a slot gets a ceiling:
    /// put back after a power cut, it would take the room of one that was counted.
    #[cold]
    fn make_slot(&self, tag: Tag, known: Word, now: Timestamp) -> bool {
        // What is known though no word says so must not be forgotten for it. Else a dead word, as
        // in `reset`.
        let place = match known.is_live(now) {
            true => known.clean(),
            false => Word::bucket(now),
        };
        let place = |main: Word| main.is_absent().then_some(place);
        self.table().update(tag, now, place) != Update::Full
    }

    /// Waits until the disk knows that the second word may replace the first. False if the disk
    /// refuses, but the word must be put there all the same.
    #[cold]
    fn secure(
        &self,
        tag: Tag,
        [from, word]: [Word; 2],
        now: Timestamp,
        patience: Patience,
        must: bool,
    ) -> Result<bool, Unraised> {
        let amount = self.reserve.map_or(0, |reserve| reserve.amount(self.rule));
        let demand = self.demand(tag, from, word, now, amount);
        match self.store.ceilings.raise(demand, patience) {
            Ok(()) => Ok(true),
            Err(_) if must => {
                self.store.ceilings.note_unsecured();
                Ok(false)
            }
            Err(why) => Err(why),
        }
    }

    /// Asks for a later ceiling when half of what was reserved is used.
    #[inline]
    pub(super) fn look_ahead(&self, tag: Tag, word: Word, now: Timestamp) {
        if let Some(reserve) = self.reserve {
            let amount = reserve.amount(self.rule);
            let soon = self.rule.ahead(word.clean(), now, amount / 2);
            if !self.store.ceilings.covers(tag, soon) {
                let demand = Demand {
                    least: soon,
                    ..self.demand(tag, word, word.clean(), now, amount)
                };
                self.store.ceilings.ask(demand);
            }
        }
    }
}
