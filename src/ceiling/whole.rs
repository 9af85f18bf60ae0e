//! All ceilings at once, and the words of their counters.

use super::pen::Record;
use crate::algorithm::Word;
use crate::key::Tag;
use crate::sync::Arc;
use crate::table::Table;
use crate::time::Timestamp;

/// Every ceiling that counts at `now`.
pub(super) fn living(table: &Table, now: Timestamp) -> Vec<Record> {
    let mut records = Vec::new();
    table.for_each(|tag, word| {
        if word.is_live(now) {
            records.push((tag, word.clean()));
        }
    });
    records
}

/// Brings every ceiling down to its word. Which of them are on the disk is not known, but for those
/// that something was admitted under; and what was to come down when the process was killed is
/// not, either.
pub(super) fn come_down(ceilings: &Table, counters: &[Arc<Table>], now: Timestamp) {
    for (tag, ceiling) in living(ceilings, now) {
        let word = latest(counters, tag, Word::ABSENT);
        if !ceiling.is_within(word) {
            ceilings.amend(tag, |_| word);
        }
    }
}

/// Puts every living word of `counters` into `table`, where none that is later stands. Those of
/// limits that are not strict are among them; nobody asks for their ceilings.
pub(super) fn lift(table: &Table, counters: &Table, now: Timestamp) {
    counters.for_each(|tag, word| {
        if word.is_live(now) {
            let word = word.clean();
            table.update(tag, now, |ceiling| {
                (!word.is_within(ceiling)).then_some(word)
            });
        }
    });
}

/// `target`, or the word under `tag` in one of the tables if that is later.
pub(super) fn latest(counters: &[Arc<Table>], tag: Tag, target: Word) -> Word {
    let words = counters.iter().map(|table| table.read(tag).clean());
    words.fold(target, |later, word| match word.is_within(later) {
        true => later,
        false => word,
    })
}
