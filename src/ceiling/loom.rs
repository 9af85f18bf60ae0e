//! A model of ceilings asked for ahead of need; those of takers stand with the counters.

use loom::sync::Arc;
use loom::thread;

use super::{Ceilings, Demand, Patience};
use crate::algorithm::Word;
use crate::key::Tag;
use crate::sync::lock;
use crate::table::{Region, Table};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(100);
const TAG: Tag = Tag::from_bits(1);
const DIES_AT: u32 = 200;

/// A ceiling is asked for ahead of need while another thread asks too: one write at most for both,
/// and afterwards it can be asked for again.
#[test]
fn loom_ceiling_asked_ahead() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let counters = Arc::new(Table::new(vec![Region::heap(1)]));
        let (ceilings, memory) = Ceilings::in_memory(&[&counters], NOW);
        let ceilings = Arc::new(ceilings);
        let demand = |count| Demand {
            from: Word::ABSENT,
            tag: TAG,
            least: Word::window(DIES_AT, count),
            target: Word::window(DIES_AT, count),
            now: NOW,
            is_awaited: true,
        };
        assert_eq!(ceilings.raise(demand(1), Patience::begin()), Ok(()));
        let other = {
            let ceilings = ceilings.clone();
            thread::spawn(move || ceilings.ask(demand(2)))
        };
        ceilings.ask(demand(2));
        other.join().unwrap();
        // Whatever became of those, whoever must have it gets it.
        assert_eq!(ceilings.raise(demand(3), Patience::begin()), Ok(()));
        assert_eq!(memory.durable(TAG).count(), 3);
        assert!(lock(&ceilings.shared.desk).demands.is_empty());
        ceilings.stop();
    });
}
