//! Models of counters over the real table and inbox, on the heap twin.

use loom::sync::Arc;
use loom::thread;

use crate::algorithm::Word;
use crate::inbox::Inbox;
use crate::key::Tag;
use crate::table::{Region, Table, Update};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(100);

/// A change is noted, or the sweep flag raised, while the writer drains: whatever the order, the
/// last word is written or told of. The queue holds one tag, so that the flag is needed.
#[test]
fn loom_inbox() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let table = Arc::new(Table::new(vec![Region::heap(1)]));
        let inbox = Arc::new(Inbox::new(1));
        let tags = [Tag::from_bits(1), Tag::from_bits(2)];
        let change = |table: &Table, inbox: &Inbox, tag: Tag, count: u32| {
            let update = table.update(tag, NOW, |_| Some(Word::window(200, count).dirty()));
            let Update::Done { before, after } = update else {
                unreachable!()
            };
            if after.is_dirty() && !before.is_dirty() {
                inbox.mark(tag);
            }
        };
        change(&table, &inbox, tags[0], 1);
        let changer = {
            let (table, inbox) = (table.clone(), inbox.clone());
            thread::spawn(move || {
                change(&table, &inbox, tags[1], 1);
                change(&table, &inbox, tags[0], 2);
            })
        };
        let mut written = [0; 2];
        let mut drain = || {
            let sweep = || {
                let mut dirty = Vec::new();
                table.for_each(|tag, word| {
                    if word.is_dirty() {
                        dirty.push(tag);
                    }
                });
                dirty
            };
            for tag in inbox.drain(sweep) {
                if let Some(word) = table.wash(tag) {
                    written[usize::from(tag == tags[1])] = word.count();
                }
            }
        };
        drain();
        changer.join().unwrap();
        drain();
        assert_eq!(written, [2, 1]);
        table.for_each(|_, word| assert!(!word.is_dirty()));
    });
}
