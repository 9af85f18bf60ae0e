//! The two words of a sliding counter, and in which of its two slots each stands.
//!
//! Even windows count in one slot, odd ones in the other. If the table has no slot left for a
//! window, the window counts in the slot of the one before it: a key that has a counter is not a
//! newcomer. Its words then stand crosswise, each in the other's slot, until both windows are over.

use super::{Counter, Tries};
use crate::algorithm::{Period, Word};
use crate::key::Tag;

/// Where the words that count a period stand.
#[derive(Clone, Copy)]
pub(super) struct Places {
    /// Of the word that a take changes.
    pub(super) main: Tag,
    /// Of the previous window's.
    pub(super) other: Tag,
    /// The word that stands there; absent where the rule has one word alone.
    pub(super) other_word: Word,
    /// True if each stands where the other would.
    pub(super) is_crosswise: bool,
}

impl Counter<'_> {
    /// Where the words of `period` stand, or are to stand. If `joins` says that the table has no
    /// slot left for it, that is where the word of the window before it stands.
    #[inline]
    pub(super) fn places(&self, period: Period, joins: Option<Period>) -> Places {
        let parity = self.rule.parity(period);
        let (main, other) = (self.tag.sibling(parity), self.tag.sibling(parity ^ 1));
        if !self.rule.has_pair() {
            return Places {
                main,
                other,
                other_word: Word::ABSENT,
                is_crosswise: false,
            };
        }
        let (first, second) = (self.table().read(main), self.table().read(other));
        let mut is_crosswise = self.rule.is_crosswise(period, first, second);
        let previous = if is_crosswise { first } else { second };
        is_crosswise ^= joins == Some(period) && self.rule.can_join(period, previous);
        let (main, other, other_word) = match is_crosswise {
            true => (other, main, first),
            false => (main, other, second),
        };
        Places {
            main,
            other,
            other_word,
            is_crosswise,
        }
    }

    /// Notes that this window counts in the previous one's slot. False if there is no such word, or
    /// if that was tried already.
    pub(super) fn joins(&self, tries: &mut Tries, period: Period, other: Word) -> bool {
        let can = tries.joins != Some(period) && self.rule.can_join(period, other);
        if can {
            tries.joins = Some(period);
        }
        can
    }
}
