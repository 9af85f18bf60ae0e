//! The straight line of most checks: a text for a key, or one counter for all, and a bucket's word
//! where it is looked for first.
//!
//! A check waits for memory most of the time, and a processor waits for several checks at once if
//! all of them are short enough to be looked at together. So what this needs is noted in the
//! limit's handle, and what needs more goes the long way, from the start.

use arrayvec::ArrayVec;

use super::Inner;
use super::direct::{Key, Plain};
use super::handle::{BATCH, Limit};
use super::outcome::{Outcome, Source, Verdict};
use super::straight::Straight;
use crate::algorithm::{Pair, Period, Rule, Step, Word};
use crate::counter::Pending;
use crate::key::Tag;
use crate::prefetch::prefetch;
use crate::table::{Found, Home};
use crate::time::{Reading, Timestamp};

/// What a straight check came to.
#[derive(Clone, Copy)]
struct Line {
    tag: Tag,
    /// The word afterwards.
    word: Word,
    is_allowed: bool,
}

/// Which way a check goes that this is not enough for; nothing was done yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// This one, with the exact time.
    Exact,
    /// This one, with a slot to be found first: the key has none.
    New,
    /// This one, once more: another thread was faster.
    Raced,
}

/// How often another thread may be faster before the long way is gone.
// Bound: a microsecond or two, by which the time that was read is older then.
const RACES: usize = 16;

/// What one was taken of together, as far as that went straight.
pub(super) struct Batch {
    straight: Straight,
    now: Reading,
    lines: ArrayVec<Line, BATCH>,
}

impl Batch {
    /// Gives each outcome, in order, and then their number.
    #[inline(always)]
    pub(super) fn tell(&self, mut each: impl FnMut(usize, Outcome)) -> usize {
        for (place, line) in self.lines.iter().enumerate() {
            each(place, line.outcome(&self.straight, self.now, 1));
        }
        self.lines.len()
    }
}

impl Line {
    /// The outcome, put together where it is to stand.
    #[inline(always)]
    fn outcome(self, straight: &Straight, now: Reading, cost: u64) -> Outcome {
        let source = Source {
            tag: self.tag,
            is_shared: false,
        };
        Outcome {
            rule: Rule::Bucket(straight.bucket),
            words: Pair {
                main: self.word,
                other: Word::ABSENT,
            },
            period: Period::default(),
            now,
            cost,
            verdict: match self.is_allowed {
                true => Verdict::Allowed,
                false => Verdict::Refused,
            },
            taken: self.is_allowed.then_some(source),
        }
    }
}

impl Limit {
    /// Checks a key that is one text, as most are.
    pub(super) fn check_text(&self, text: &[u8], cost: u64) -> Outcome {
        let Some(first) = text.first() else {
            return self.check_any(text.into(), cost);
        };
        prefetch(first);
        self.check_straight(text, cost, |straight| {
            straight.tag_of_text(&self.hash_keys, text)
        })
    }

    /// Checks the key of a limit that has one counter for all.
    pub(super) fn check_all(&self, cost: u64) -> Outcome {
        self.check_straight(&[], cost, Straight::tag_of_all)
    }

    /// Both; where there is more to it, the empty text stands for the key without parts.
    #[inline(always)]
    fn check_straight(
        &self,
        text: &[u8],
        cost: u64,
        tag: impl Fn(&Straight) -> Option<Tag>,
    ) -> Outcome {
        let inner = &*self.inner;
        let law = inner.law.number();
        if cost > 0 && self.note.is_of(law) && !inner.is_watched() {
            let Some(at) = inner.ground.clock.at_a_glance() else {
                return self.check_without_glance(law, text, cost);
            };
            let now = Reading::lagging(at);
            if let Some((straight, tag, home)) = self.counter_noted(law, tag) {
                let found = inner.ground.table.find_from(home, tag);
                let line = inner.take_straight(&straight, tag, found, now, cost);
                return match line {
                    Ok(line) => line.outcome(&straight, now, cost),
                    Err(Way::Exact) => self.check_exactly(straight, (tag, home), text, cost),
                    Err(Way::New) => self.check_new(straight, tag, text, cost),
                    Err(Way::Raced) => self.check_raced(straight, (tag, home), text, cost, at),
                };
            }
        }
        self.check_long(text, cost)
    }

    /// The same on the way on which everything is looked at.
    #[inline(never)]
    fn check_long(&self, text: &[u8], cost: u64) -> Outcome {
        match text {
            [] => self.check_any(().into(), cost),
            text => self.check_any(text.into(), cost),
        }
    }

    #[inline(never)]
    fn check_without_glance(&self, law: u64, text: &[u8], cost: u64) -> Outcome {
        let tag = |straight: &Straight| straight.tag(&self.hash_keys, text);
        match self.counter_noted(law, tag) {
            Some((straight, tag, home)) => self.check_exactly(straight, (tag, home), text, cost),
            None => self.check_long(text, cost),
        }
    }

    /// Checks a key whose word another thread changed between the look and the take.
    #[inline(never)]
    fn check_raced(
        &self,
        straight: Straight,
        (tag, home): (Tag, Home<'_>),
        text: &[u8],
        cost: u64,
        at: Timestamp,
    ) -> Outcome {
        let (inner, now) = (&*self.inner, Reading::lagging(at));
        for _ in 0..RACES {
            let found = inner.ground.table.find_from(home, tag);
            match inner.take_straight(&straight, tag, found, now, cost) {
                Ok(line) => return line.outcome(&straight, now, cost),
                Err(Way::Raced) => {}
                Err(_) => break,
            }
        }
        self.check_long(text, cost)
    }

    /// What is to be known of a key's counter under the law of this number.
    #[inline(always)]
    fn counter_noted(
        &self,
        law: u64,
        tag: impl Fn(&Straight) -> Option<Tag>,
    ) -> Option<(Straight, Tag, Home<'_>)> {
        let straight = self.straight(law)?;
        let tag = tag(&straight)?;
        Some((straight, tag, self.inner.ground.table.home(tag)?))
    }

    // By value: what is referred to must be in memory, and there it would be put at every check.
    #[inline(never)]
    fn check_exactly(
        &self,
        straight: Straight,
        (tag, home): (Tag, Home<'_>),
        text: &[u8],
        cost: u64,
    ) -> Outcome {
        let inner = &*self.inner;
        // The word first, and then the time: of two that come at once to a bucket at rest the one
        // that read the time first would find a word from later, and too little left by that.
        let found = inner.ground.table.find_from(home, tag);
        let now = inner.ground.clock.exact();
        match inner.take_straight(&straight, tag, found, now, cost) {
            Ok(line) => line.outcome(&straight, now, cost),
            Err(Way::New) => self.check_new(straight, tag, text, cost),
            Err(_) => self.check_long(text, cost),
        }
    }

    /// Checks a key that was found to have no slot: a bucket that is full, and taken from now.
    #[inline(never)]
    fn check_new(&self, straight: Straight, tag: Tag, text: &[u8], cost: u64) -> Outcome {
        let inner = &*self.inner;
        let now = inner.ground.clock.exact();
        match inner.take_new(&straight, tag, now.at, cost) {
            Some(line) => line.outcome(&straight, now, cost),
            None => self.check_long(text, cost),
        }
    }

    /// Takes one of each key, in order, as far as that goes straight. The memory of the others'
    /// counters is asked for.
    #[inline(always)]
    pub(super) fn take_batch<'k>(
        &self,
        keys: impl Iterator<Item = Key<'k>> + Clone,
    ) -> Option<Batch> {
        let inner = &*self.inner;
        let straight = self
            .straight(inner.law.number())
            .filter(|_| !inner.is_watched());
        let Some(straight) = straight else {
            keys.for_each(|key| self.ask_for_counter(key));
            return None;
        };
        let homes = keys.map(|key| {
            let Some(Plain::Text(text @ [_, ..])) = key.plain() else {
                return None;
            };
            let tag = straight.tag_of_text(&self.hash_keys, text)?;
            let home = inner.ground.table.home(tag)?;
            home.ask_for();
            Some((tag, home))
        });
        let homes: ArrayVec<Option<(Tag, Home<'_>)>, BATCH> = homes.collect();
        let now = inner.ground.clock.glance();
        let mut lines = ArrayVec::new();
        for (tag, home) in homes.into_iter().map_while(|home| home) {
            let found = inner.ground.table.find_from(home, tag);
            match inner.take_straight(&straight, tag, found, now, 1) {
                Ok(line) => lines.push(line),
                Err(_) => break,
            }
        }
        Some(Batch {
            straight,
            now,
            lines,
        })
    }

    /// What is noted of the limit under the law of this number.
    #[inline(always)]
    fn straight(&self, law: u64) -> Option<Straight> {
        self.note.read(law).map(Straight::from_words)
    }
}

impl Inner {
    /// Takes `cost` from a counter that was looked for, or refuses it.
    #[inline(always)]
    fn take_straight(
        &self,
        straight: &Straight,
        tag: Tag,
        found: Option<Found<'_>>,
        now: Reading,
        cost: u64,
    ) -> Result<Line, Way> {
        let found = found.ok_or(Way::New)?;
        let before = found.word;
        let step = match now.is_exact() {
            false => straight.bucket.step_at_once(before, now.at, cost),
            true => straight.bucket.step_exactly(before, now.at, cost),
        };
        let (word, is_allowed) = match step.ok_or(Way::Exact)? {
            Step::Admit(next) => {
                let take = Pending::new(tag, found, next, straight.is_logged);
                if !take.make(&self.ground) {
                    return Err(Way::Raced);
                }
                (next, true)
            }
            _ => (before, false),
        };
        Ok(Line {
            tag,
            word,
            is_allowed,
        })
    }

    /// Takes `cost` for a key without a slot, at this exact time; none if that is not all there is
    /// to it, and nothing was done.
    #[inline(always)]
    fn take_new(&self, straight: &Straight, tag: Tag, now: Timestamp, cost: u64) -> Option<Line> {
        let step = straight.bucket.step_exactly(Word::ABSENT, now, cost);
        let Some(Step::Admit(word)) = step else {
            return None;
        };
        let take = Pending::new(tag, Found::NOWHERE, word, straight.is_logged);
        take.insert(&self.ground, now).then_some(Line {
            tag,
            word,
            is_allowed: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Limiter, ManualClock, Policy, Timestamp};

    /// A law has the number under which it is in force, so a handle finds its note again.
    #[test]
    fn checks_go_straight_under_every_law() {
        let dir = tempfile::tempdir().unwrap();
        let policy = |rate| {
            let rate = format!("rate = \"{rate}\"");
            Policy::from_toml(&format!(
                "[limits.a]\n{rate}\nkey = \"user\"\n[limits.b]\n{rate}"
            ))
        };
        let builder = Limiter::builder(policy("9/min").unwrap());
        let clock = ManualClock::new(Timestamp::from_secs(1_760_000_000));
        let limiter = builder.clock(clock).open(dir.path().join("data")).unwrap();
        let [limit, all] = ["a", "b"].map(|name| limiter.limit(name).unwrap());
        for rate in ["6/min", "5/min", "4/min"] {
            limiter.replace_policy(policy(rate).unwrap()).unwrap();
            let law = limit.inner.law.number();
            assert_eq!(law, limit.inner.law.current().number());
            assert!(limit.straight(law).is_none(), "not learned yet");
            assert!(limit.check("alice").is_allowed());
            assert!(limit.straight(law).is_some());
            assert!(all.check(()).is_allowed());
            assert!(all.straight(law).is_some());
        }
    }
}
