//! Models of ceilings over the real code: takers against the thread that writes.

use loom::sync::Arc;
use loom::thread;

use super::file;
use super::medium::{Content, Twin};
use super::{Ceilings, Counters, Demand, Worth};
use crate::algorithm::Word;
use crate::key::Tag;
use crate::sync::{Ordering, fence, lock};
use crate::table::{Region, Table, Update};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(100);
const TAG: Tag = Tag::from_bits(1);
const DIES_AT: u32 = 200;

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(run);
}

fn table() -> Table {
    Table::new(vec![Region::heap(1)])
}

fn ceilings(twin: &Twin, counters: &Arc<Table>) -> Arc<Ceilings> {
    let counters = Counters {
        tables: vec![counters.clone()],
        worth: Worth::New,
    };
    let opened = Ceilings::on(Box::new(twin.clone()), [7; 16], table(), counters, NOW);
    let (ceilings, _) = opened.unwrap_or_else(|_| unreachable!());
    Arc::new(ceilings)
}

/// The count that a power cut at this instant would leave.
fn durable(twin: &Twin) -> u32 {
    let mut count = 0;
    let mut copy = Twin::new(twin.content());
    let found = file::read(&mut copy, [7; 16], &mut |_, word| count = word.count());
    assert!(matches!(found, Ok(file::Found::Whole { .. })));
    count
}

/// Takes one as a strict counter does; what it counted then was durable before.
fn take(counters: &Table, ceilings: &Ceilings, twin: &Twin) {
    loop {
        let mut above = None;
        let update = counters.update(TAG, NOW, |word| {
            let next = Word::window(DIES_AT, word.count() + 1);
            above = (!ceilings.covers(TAG, next)).then_some(next);
            above.is_none().then_some(next)
        });
        let Some(least) = above else {
            let Update::Done { after, .. } = update else {
                unreachable!()
            };
            // As `Counter` does: the ceiling may have been brought down meanwhile.
            fence(Ordering::SeqCst);
            if ceilings.covers(TAG, after) {
                assert!(after.count() <= durable(twin), "admitted, yet not durable");
                return;
            }
            counters.amend(TAG, |word| Word::window(DIES_AT, word.count() - 1));
            continue;
        };
        let target = Word::window(DIES_AT, least.count() + 1);
        let demand = Demand {
            tag: TAG,
            least,
            target,
            now: NOW,
        };
        assert_eq!(ceilings.raise(demand), Ok(()));
    }
}

/// Two takers while the ceiling is written: whoever is admitted is covered by what is durable, and
/// one write serves both if they wait together.
#[test]
fn loom_ceiling_take() {
    model(|| {
        let twin = Twin::new(Content::default());
        let counters = Arc::new(table());
        let ceilings = ceilings(&twin, &counters);
        let other = {
            let (ceilings, counters, twin) = (ceilings.clone(), counters.clone(), twin.clone());
            thread::spawn(move || take(&counters, &ceilings, &twin))
        };
        take(&counters, &ceilings, &twin);
        other.join().unwrap();
        assert_eq!(counters.read(TAG).count(), 2);
        ceilings.stop();
    });
}

/// A ceiling is asked for ahead of need while another thread asks too: one write at most for both,
/// and afterwards it can be asked for again.
#[test]
fn loom_ceiling_asked_ahead() {
    model(|| {
        let twin = Twin::new(Content::default());
        let ceilings = ceilings(&twin, &Arc::new(table()));
        let demand = |count| Demand {
            tag: TAG,
            least: Word::window(DIES_AT, count),
            target: Word::window(DIES_AT, count),
            now: NOW,
        };
        assert_eq!(ceilings.raise(demand(1)), Ok(()));
        let other = {
            let ceilings = ceilings.clone();
            thread::spawn(move || ceilings.ask(demand(2)))
        };
        ceilings.ask(demand(2));
        other.join().unwrap();
        // Whatever became of those, whoever must have it gets it.
        assert_eq!(ceilings.raise(demand(3)), Ok(()));
        assert_eq!(durable(&twin), 3);
        assert!(lock(&ceilings.shared.desk).demands.is_empty());
        ceilings.stop();
    });
}

/// A ceiling is brought down while a taker counts up to it: what the taker was told is durable,
/// whichever of the two was first.
#[test]
fn loom_ceiling_brought_down() {
    model(|| {
        let twin = Twin::new(Content::default());
        let counters = Arc::new(table());
        let ceilings = ceilings(&twin, &counters);
        let first = Demand {
            tag: TAG,
            least: Word::window(DIES_AT, 1),
            target: Word::window(DIES_AT, 2),
            now: NOW,
        };
        assert_eq!(ceilings.raise(first), Ok(()));
        ceilings.lower(TAG, Word::ABSENT);
        take(&counters, &ceilings, &twin);
        ceilings.stop();
        assert!(counters.read(TAG).count() <= durable(&twin));
    });
}
