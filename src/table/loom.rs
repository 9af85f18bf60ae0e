//! Models of the table over the real code, on the heap twin.

use loom::sync::Arc;
use loom::thread;

use super::layout::SLOTS;
use super::{Region, Table, Update};
use crate::algorithm::Word;
use crate::key::Tag;
use crate::time::Timestamp;

pub(super) const NOW: Timestamp = Timestamp::from_secs(100);

pub(super) fn table(lines: usize) -> Arc<Table> {
    Arc::new(Table::new(vec![Region::heap(lines)]))
}

/// One more, if that is not over `most`; true if it was taken.
pub(super) fn take(table: &Table, tag: Tag, now: Timestamp, most: u32) -> bool {
    let mut taken = false;
    let update = table.update(tag, now, |word| {
        let (dies_at, count) = if word.is_live(now) {
            (word.dies_at_secs(), word.count())
        } else {
            (u32::try_from(now.as_secs()).unwrap() + 10, 0)
        };
        taken = count < most;
        taken.then(|| Word::window(dies_at, count + 1))
    });
    assert_ne!(update, Update::Full);
    taken
}

pub(super) fn model(run: impl Fn() + Sync + Send + 'static) {
    model_within(3, run);
}

/// With at most so many switches away from a thread that could go on.
pub(super) fn model_within(switches: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(run);
}

/// Two threads see a key for the first time: it gets one slot, and both takes count in it.
#[test]
fn loom_claim_claim() {
    model(|| {
        let table = table(1);
        let tag = Tag::from_bits(7);
        let other = {
            let table = table.clone();
            thread::spawn(move || take(&table, tag, NOW, 5))
        };
        assert!(take(&table, tag, NOW, 5));
        assert!(other.join().unwrap());
        assert_eq!(table.read(tag).count(), 2);
        let mut slots = 0;
        table.for_each(|_, _| slots += 1);
        assert_eq!(slots, 1);
    });
}

/// A dead key is hit, by a thread whose clock still says it lives, while another key claims its
/// slot: neither ever sees or changes the other's count.
#[test]
fn loom_claim_reuse() {
    model(|| {
        let table = table(1);
        let old = Tag::from_bits(1);
        let later = Timestamp::from_secs(200);
        for bits in 1..=SLOTS as u64 {
            assert!(take(&table, Tag::from_bits(bits), NOW, 9));
        }
        let hit = {
            let table = table.clone();
            thread::spawn(move || {
                let update = table.update(old, later, |word| {
                    // A word of the old key: absent, or its own count of 1.
                    assert!(word.is_absent() || word.count() == 1, "{word:?}");
                    (!word.is_absent()).then(|| Word::window(word.dies_at_secs(), 2))
                });
                assert_ne!(update, Update::Full);
            })
        };
        let new = Tag::from_bits(9);
        assert!(take(&table, new, later, 9));
        hit.join().unwrap();
        assert_eq!(
            table.read(new).count(),
            1,
            "nobody but its owner has counted in it"
        );
    });
}

/// A key is looked up while it claims the slot of one that died: it has its own word or none yet,
/// never the count of the one before.
#[test]
fn loom_claim_looked_up() {
    model(|| {
        let table = table(1);
        for bits in 1..=SLOTS as u64 {
            let update = table.update(Tag::from_bits(bits), NOW, |_| Some(Word::window(110, 7)));
            assert_ne!(update, Update::Full);
        }
        let new = Tag::from_bits(9);
        let reader = {
            let table = table.clone();
            thread::spawn(move || {
                let word = table.read(new);
                assert!(word.is_absent() || word.count() == 1, "{word:?}");
            })
        };
        assert!(take(&table, new, Timestamp::from_secs(200), 9));
        reader.join().unwrap();
    });
}

/// K of N: two threads take from one counter that has room for one more.
#[test]
fn loom_take_take() {
    model(|| {
        let table = table(1);
        let tag = Tag::from_bits(3);
        assert!(take(&table, tag, NOW, 2));
        let other = {
            let table = table.clone();
            thread::spawn(move || take(&table, tag, NOW, 2))
        };
        let mine = take(&table, tag, NOW, 2);
        let theirs = other.join().unwrap();
        assert!(mine ^ theirs, "exactly one of the two");
        assert_eq!(table.read(tag).count(), 2);
    });
}

/// The owner of a dead word revives it in place while another key wants the slot: the owner's take
/// is never lost, and the other key finds no room if the owner was first.
#[test]
fn loom_revive_against_claim() {
    model(|| {
        let table = table(1);
        for bits in 1..=SLOTS as u64 {
            assert!(take(&table, Tag::from_bits(bits), NOW, 9));
        }
        let later = Timestamp::from_secs(200);
        // All but the first stay live.
        for bits in 2..=SLOTS as u64 {
            assert!(take(&table, Tag::from_bits(bits), later, 9));
        }
        let owner = {
            let table = table.clone();
            thread::spawn(move || {
                let mut fresh = 0;
                let update = table.update(Tag::from_bits(1), later, |word| {
                    fresh = if word.is_live(later) { word.count() } else { 0 };
                    Some(Word::window(210, fresh + 1))
                });
                (update, fresh)
            })
        };
        let new = table.update(Tag::from_bits(9), later, |word| {
            assert!(word.is_absent());
            Some(Word::window(210, 1))
        });
        let (revived, fresh) = owner.join().unwrap();
        assert_eq!(fresh, 0);
        // One slot, two keys: exactly one of them has it.
        assert!(
            (new == Update::Full) ^ (revived == Update::Full),
            "{new:?} {revived:?}"
        );
        let holder = if new == Update::Full { 1 } else { 9 };
        assert_eq!(table.read(Tag::from_bits(holder)).count(), 1);
    });
}
