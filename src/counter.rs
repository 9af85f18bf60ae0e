//! One limit's counter for one key: looked at, taken from, given back to.
//!
//! This is where the algorithms, the table and the clock meet, and the only place.

use crate::algorithm::{Calendar, Pair, Period, Rule, Step, Word};
use crate::clock::Clock;
use crate::key::Tag;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::table::{Table, Update};
use crate::time::Timestamp;

/// What all counters of a check share.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) table: &'a Table,
    /// Where newcomers count together when the table has no slot for them.
    pub(crate) shared: &'a Table,
    pub(crate) calendars: &'a [Calendar],
    pub(crate) clock: &'a Clock,
    /// Words found further in the future than any clock of ours can have put them.
    pub(crate) healed: &'a AtomicU64,
}

/// A counter, by its rule and its tag.
#[derive(Clone, Copy)]
pub(crate) struct Counter<'a> {
    pub(crate) ground: Ground<'a>,
    pub(crate) rule: &'a Rule,
    pub(crate) tag: Tag,
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

/// What a take came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Take {
    /// Judged, and taken if the step says so.
    Judged(Seen),
    /// The key has no counter, and the table no room for one.
    Full,
}

impl<'a> Counter<'a> {
    fn table(&self) -> &'a Table {
        if self.is_shared {
            self.ground.shared
        } else {
            self.ground.table
        }
    }

    /// The tags of the words that count `period`: the main one and the previous window's.
    fn tags(&self, period: Period) -> (Tag, Tag) {
        let parity = self.rule.parity(period);
        (self.tag.sibling(parity), self.tag.sibling(parity ^ 1))
    }

    fn other(&self, tag: Tag) -> Word {
        if self.rule.has_pair() {
            self.table().read(tag)
        } else {
            Word::ABSENT
        }
    }

    /// What taking `cost` at `now` would come to. Loads only.
    #[inline]
    pub(crate) fn look(&self, mut now: Timestamp, cost: u64) -> Seen {
        let mut suspect = None;
        loop {
            let period = self.rule.period(now, self.ground.calendars);
            let (main, other) = self.tags(period);
            let words = Pair {
                main: self.table().read(main),
                other: self.other(other),
            };
            match self.rule.step(period, words, now, cost) {
                Step::Future if suspect != Some(words) => {
                    suspect = Some(words);
                    now = self.ground.clock.now();
                }
                Step::Future => {
                    let words = Pair::ABSENT;
                    let step = self.rule.step(period, words, now, cost);
                    return Seen {
                        step,
                        words,
                        period,
                        now,
                    };
                }
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

    /// Takes `cost` if the rule admits it; else changes nothing.
    #[inline]
    pub(crate) fn take(&self, now: Timestamp, cost: u64) -> Take {
        self.change(now, |rule, period, words, now| {
            rule.step(period, words, now, cost)
        })
    }

    /// Takes `cost` whatever is left.
    pub(crate) fn charge(&self, now: Timestamp, cost: u64) -> Take {
        self.change(now, |rule, period, words, now| {
            match rule.step(period, words, now, 1) {
                // Also a charge must not pile up on a word that no clock of ours can have made.
                Step::Future => Step::Future,
                _ => Step::Admit(rule.charge(period, words, now, cost)),
            }
        })
    }

    /// Puts the word that `judge` admits in the main one's place.
    ///
    /// A word from the future means one of two things. Either `now` was read before another
    /// thread's take, then a new reading explains it; or the clock was once wrong, then no reading
    /// does, and the word counts as absent.
    #[inline]
    fn change(
        &self,
        mut now: Timestamp,
        judge: impl Fn(&Rule, Period, Pair, Timestamp) -> Step,
    ) -> Take {
        let mut suspect = None;
        loop {
            let period = self.rule.period(now, self.ground.calendars);
            let (main_tag, other_tag) = self.tags(period);
            let other = self.other(other_tag);
            let mut seen = Seen {
                step: Step::Refuse,
                words: Pair::ABSENT,
                period,
                now,
            };
            let mut heals = false;
            let update = self.table().update(main_tag, now, |main| {
                let words = Pair { main, other };
                let mut step = judge(self.rule, period, words, now);
                heals = step == Step::Future && suspect == Some(words);
                if heals {
                    step = judge(self.rule, period, Pair::ABSENT, now);
                }
                seen = Seen {
                    step,
                    words,
                    period,
                    now,
                };
                match step {
                    Step::Admit(next) if next != main => Some(next),
                    _ => None,
                }
            });
            match (update, seen.step) {
                (Update::Full, _) => return Take::Full,
                (Update::Done { .. }, Step::Future) => {
                    suspect = Some(seen.words);
                    now = self.ground.clock.now();
                }
                (Update::Done { after, .. }, Step::Admit(_)) => {
                    if heals {
                        // Ordering: relaxed; a number to look at, nothing is decided on it.
                        self.ground.healed.fetch_add(1, Ordering::Relaxed);
                    }
                    if !self.rule.has_pair() || self.stands(other_tag, other) {
                        return Take::Judged(seen);
                    }
                    self.give_back(period, after, seen.words.main);
                    now = now.max(self.ground.clock.now());
                }
                (Update::Done { .. }, _) => return Take::Judged(seen),
            }
        }
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
        self.table()
            .amend(main_tag, |word| self.rule.refund(word, taken, cost));
    }

    /// Forgets what was used: a dead word in the place of each that is live.
    pub(crate) fn reset(&self, now: Timestamp) {
        for which in 0..=1 {
            self.table().amend(self.tag.sibling(which), |word| {
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
