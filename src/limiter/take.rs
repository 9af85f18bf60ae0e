//! One limit's take, and giving it back.

use super::Inner;
use super::decision::Entry;
use super::law::Law;
use super::meter::Meter;
use super::outcome::{Outcome, Source, Verdict};
use crate::algorithm::Rule;
use crate::counter::{Counter, Seen, Take};
use crate::key::Tag;
use crate::policy::WhenFull;
use crate::sync::Ordering;
use crate::time::Timestamp;

impl Inner {
    /// An entry's own counter.
    #[inline(always)]
    pub(super) fn counter_of<'a>(
        &'a self,
        law: &'a Law,
        meter: &'a Meter,
        rule: &'a Rule,
        tag: Tag,
    ) -> Counter<'a> {
        Counter {
            store: &self.counters,
            calendars: &law.plan().calendars,
            rule,
            paces: &meter.paces,
            tag,
            is_logged: meter.is_logged,
            reserve: meter.reserve.as_ref(),
            is_shared: false,
        }
    }

    /// The counter that an entry's cost was taken from, if it was taken; by a rule that was in
    /// force then.
    pub(super) fn source_of<'a>(
        &'a self,
        law: &'a Law,
        entry: &Entry,
        rule: &'a Rule,
    ) -> Option<Counter<'a>> {
        let Source { tag, is_shared } = entry.outcome.taken?;
        Some(Counter {
            tag,
            is_shared,
            ..self.counter_of(law, law.meter(entry.limit), rule, entry.tag)
        })
    }

    /// Takes `cost` from a counter, or from the one that newcomers share if that is how the limit
    /// wants it and there is no room for a counter.
    #[inline(always)]
    pub(super) fn take_one(
        &self,
        meter: &Meter,
        counter: &Counter<'_>,
        now: Timestamp,
        cost: u64,
    ) -> Outcome {
        match counter.take(now, cost) {
            Take::Judged(seen) => Outcome::of_take(counter, seen, cost, meter.shadow),
            Take::Full => self.take_without_slot(meter, *counter, now, cost),
            Take::Unsecured(seen) => unsecured(meter, counter, seen, cost),
        }
    }

    #[cold]
    fn take_without_slot(
        &self,
        meter: &Meter,
        counter: Counter<'_>,
        now: Timestamp,
        cost: u64,
    ) -> Outcome {
        // Ordering: relaxed; a number to look at.
        self.newcomers.fetch_add(1, Ordering::Relaxed);
        let verdict = match meter.when_full {
            WhenFull::Share => {
                let shared = Counter {
                    tag: meter.shared,
                    is_shared: true,
                    ..counter
                };
                match shared.take(now, cost) {
                    Take::Judged(seen) => {
                        return Outcome::of_take(&shared, seen, cost, meter.shadow);
                    }
                    // The shared table is large enough for every limit of a policy; words of
                    // limits long gone may still fill it for a while.
                    Take::Full => Verdict::TableFull,
                    Take::Unsecured(seen) => return unsecured(meter, &shared, seen, cost),
                }
            }
            WhenFull::Refuse => Verdict::TableFull,
            WhenFull::Admit => Verdict::Allowed,
        };
        let verdict = meter.refusing(verdict);
        Outcome::without_counter(counter.rule, now, cost, verdict)
    }

    /// Gives back what an entry took.
    pub(super) fn give_back(&self, law: &Law, entry: &mut Entry) {
        let Outcome {
            rule,
            words,
            period,
            now,
            cost,
            ..
        } = entry.outcome;
        let known = law.meter(entry.limit).as_known(&rule);
        let Some(counter) = self.source_of(law, entry, &known) else {
            return;
        };
        counter.refund(period, words.main, now, cost);
        // The numbers shown are those without the take.
        entry.outcome.words.main = rule.refund(words.main, words.main, now, cost);
        entry.outcome.taken = None;
    }
}

/// What a take from a strict counter came to that the disk refuses to know of: nothing.
#[cold]
fn unsecured(meter: &Meter, counter: &Counter<'_>, seen: Seen, cost: u64) -> Outcome {
    let verdict = meter.refusing(Verdict::Unwritable);
    Outcome::of_look(counter, seen, cost, false).with_verdict(verdict)
}
