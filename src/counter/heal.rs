//! Words from the future: of a clock that was once wrong, or read too early.

use super::{Counter, Places};
use crate::algorithm::{Pair, Step, Word};
use crate::sync::Ordering;
use crate::table::Update;
use crate::time::Timestamp;

impl Counter<'_> {
    /// Accounts for words from the future; gives the time to judge them by.
    ///
    /// Either `now` was read before another thread's take: then a new reading explains the words.
    /// Or it does not: then the clock was once wrong, or the limit was slower, and the words are
    /// healed.
    #[cold]
    pub(super) fn explain(
        &self,
        words: Pair,
        now: Timestamp,
        suspect: &mut Option<Pair>,
    ) -> Timestamp {
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
        let Places {
            main: main_tag,
            other: other_tag,
            other_word,
            ..
        } = self.places(period, None);
        let is_future =
            |main, other| self.rule.step(period, Pair { main, other }, now, 1) == Step::Future;
        let is_other_future = is_future(Word::ABSENT, other_word);
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
}
