//! Models of a shard that is replaced by a larger one while others use it.

use loom::sync::Arc;
use loom::thread;

use crate::algorithm::Word;
use crate::key::Tag;
use crate::table::loom::{NOW, model, model_within, table, take};
use crate::table::{Region, Table, Update};
use crate::time::Timestamp;

const TAG: Tag = Tag::from_bits(7);

/// Replaces the only shard by one of two lines, and gives the old one's memory back.
fn grow(table: &Table) {
    let mut carried = table.begin(0, Region::heap(2)).unwrap();
    while !table.carry(&mut carried, NOW) {}
    table.end(0);
    table.retire(0).unwrap();
}

/// How many slots hold a word of the tag that is in force.
fn slots(table: &Table) -> usize {
    let mut slots = 0;
    table.for_each(|tag, _| slots += usize::from(tag == TAG));
    slots
}

fn one_taken() -> Arc<Table> {
    let table = table(1);
    assert!(take(&table, TAG, NOW, 9));
    table
}

/// K of N: two threads take from a counter that moves, which has room for one more.
#[test]
fn loom_growth_take() {
    model(|| {
        let table = one_taken();
        let other = {
            let table = table.clone();
            thread::spawn(move || take(&table, TAG, NOW, 2))
        };
        let grower = {
            let table = table.clone();
            thread::spawn(move || grow(&table))
        };
        let mine = take(&table, TAG, NOW, 2);
        let theirs = other.join().unwrap();
        grower.join().unwrap();
        assert!(mine ^ theirs, "exactly one of the two");
        assert_eq!((table.read(TAG).count(), slots(&table)), (2, 1));
    });
}

/// Two threads see a key for the first time while its shard grows: it gets one slot, and both
/// takes count in it.
#[test]
fn loom_growth_insert() {
    model(|| {
        let table = table(1);
        let other = {
            let table = table.clone();
            thread::spawn(move || take(&table, TAG, NOW, 9))
        };
        let grower = {
            let table = table.clone();
            thread::spawn(move || grow(&table))
        };
        assert!(take(&table, TAG, NOW, 9));
        assert!(other.join().unwrap());
        grower.join().unwrap();
        assert_eq!((table.read(TAG).count(), slots(&table)), (2, 1));
    });
}

/// A key is seen for the first time while another moves to the lines that it goes to: each has a
/// slot of its own.
#[test]
fn loom_growth_newcomer() {
    model(|| {
        let newcomer = Tag::from_bits(11);
        let table = one_taken();
        let other = {
            let table = table.clone();
            thread::spawn(move || assert!(take(&table, newcomer, NOW, 9)))
        };
        grow(&table);
        other.join().unwrap();
        let counts = [TAG, newcomer].map(|tag| table.read(tag).count());
        assert_eq!((counts, slots(&table)), ([1, 1], 1));
    });
}

/// What is given back to a counter that moves is given back once.
#[test]
fn loom_growth_refund() {
    model(|| {
        let table = one_taken();
        assert!(take(&table, TAG, NOW, 9));
        let refund = {
            let table = table.clone();
            thread::spawn(move || {
                let less = |word: Word| Word::window(word.dies_at_secs(), word.count() - 1);
                assert!(
                    table.amend(TAG, less).is_some(),
                    "it has a slot all the time"
                );
            })
        };
        grow(&table);
        refund.join().unwrap();
        assert_eq!((table.read(TAG).count(), slots(&table)), (1, 1));
    });
}

/// The writer takes the dirty mark off a counter that moves while it is taken from: what it was
/// given is the last word, or the mark is set again.
#[test]
fn loom_growth_wash() {
    model_within(2, || {
        let table = table(1);
        let dirtier = |word: Word| Some(Word::window(110, word.count() + 1).dirty());
        table.update(TAG, NOW, dirtier);
        let taker = {
            let table = table.clone();
            thread::spawn(move || {
                let update = table.update(TAG, NOW, dirtier);
                assert!(matches!(update, Update::Done { before, .. } if before.count() == 1));
            })
        };
        let writer = {
            let table = table.clone();
            thread::spawn(move || table.wash(TAG))
        };
        grow(&table);
        taker.join().unwrap();
        let written = writer.join().unwrap().expect("it was dirty");
        let word = table.read(TAG);
        assert_eq!(word.count(), 2);
        assert!(
            word.is_dirty() ^ (written.count() == 2),
            "{written:?} {word:?}"
        );
    });
}

/// A counter that moves twice is seen by whoever looks, however long ago he began.
#[test]
fn loom_growth_looked_up() {
    model(|| {
        let table = one_taken();
        let reader = {
            let table = table.clone();
            thread::spawn(move || {
                assert_eq!(table.read(TAG).count(), 1);
            })
        };
        grow(&table);
        grow(&table);
        reader.join().unwrap();
    });
}

/// Whoever goes through all slots meets a counter that moves, and its last word last.
#[test]
fn loom_growth_swept() {
    model_within(2, || {
        let table = one_taken();
        let sweep = {
            let table = table.clone();
            thread::spawn(move || {
                let mut counts = Vec::new();
                table.for_each(|_, word| counts.push(word.count()));
                assert!(!counts.is_empty() && counts.is_sorted(), "{counts:?}");
            })
        };
        let grower = {
            let table = table.clone();
            thread::spawn(move || grow(&table))
        };
        assert!(take(&table, TAG, NOW, 9));
        sweep.join().unwrap();
        grower.join().unwrap();
    });
}

/// A counter that was reset while it moved stays so, though it had been copied before.
#[test]
fn loom_growth_reset() {
    model(|| {
        let table = one_taken();
        let reset = {
            let table = table.clone();
            thread::spawn(move || {
                // Dead for so long that it would be left behind.
                table.amend(TAG, |_| Word::bucket(Timestamp::from_secs(50)));
            })
        };
        grow(&table);
        reset.join().unwrap();
        assert!(!table.read(TAG).is_live(NOW));
    });
}

/// The owner of a dead word revives it in place while it would be left behind.
#[test]
fn loom_growth_revived() {
    model(|| {
        let table = table(1);
        table.update(TAG, NOW, |_| Some(Word::window(50, 5)));
        let owner = {
            let table = table.clone();
            thread::spawn(move || assert!(take(&table, TAG, NOW, 9)))
        };
        grow(&table);
        owner.join().unwrap();
        assert_eq!((table.read(TAG).count(), slots(&table)), (1, 1));
    });
}

/// A word of no bits is taken from while its slot moves and is emptied: the take is not lost.
#[test]
fn loom_growth_of_nothing() {
    model(|| {
        let table = table(1);
        table.update(TAG, NOW, |_| Some(Word::ABSENT));
        let taker = {
            let table = table.clone();
            thread::spawn(move || assert!(take(&table, TAG, NOW, 9)))
        };
        grow(&table);
        taker.join().unwrap();
        assert_eq!((table.read(TAG).count(), slots(&table)), (1, 1));
    });
}
