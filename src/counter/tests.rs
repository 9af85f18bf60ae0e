//! A counter that is judged by a time from before its word.

use std::time::Duration;

use super::{Counter, CounterStore, Take};
use crate::algorithm::{Bucket, Paces, Rule, Step, Word};
use crate::ceiling::Ceilings;
use crate::clock::{Clock, ManualClock};
use crate::inbox::Inbox;
use crate::key::Tag;
use crate::sync::Arc;
use crate::table::{Region, Table};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// A table in which this word stands, and a clock that shows `now`.
fn store(word: Word, now: Timestamp) -> CounterStore {
    let table = Arc::new(Table::new(vec![Region::heap(1)]));
    if !word.is_absent() {
        table.update(TAG, now, |_| Some(word));
    }
    let (ceilings, _) = Ceilings::in_memory(&[&table, &table], now);
    let clock = Clock::Manual(ManualClock::new(now));
    CounterStore::new(
        table.clone(),
        table,
        clock,
        Arc::new(Inbox::new(1)),
        ceilings,
    )
}

fn counter<'a>(store: &'a CounterStore, rule: &'a Rule) -> Counter<'a> {
    Counter {
        store,
        calendars: const { &Vec::new() },
        rule,
        paces: const { &Paces::NONE },
        tag: TAG,
        is_logged: false,
        reserve: None,
        is_shared: false,
    }
}

const TAG: Tag = Tag::from_bits(4);
const NOW: Timestamp = Timestamp::from_secs(1_000);

fn bucket() -> Rule {
    Rule::Bucket(Bucket::new(1, NANOS_PER_SEC, 3).unwrap())
}

/// Another took the first of three a unit of time later than this one read the time, exactly.
#[test]
fn who_read_the_time_too_early_reads_it_again_before_he_is_refused() {
    let rule = bucket();
    for (taken, is_admitted) in [(1, true), (2, true), (3, false)] {
        let later = NOW.plus_nanos(50);
        let store = || store(Word::bucket(later + Duration::from_secs(taken)), later);
        let taken_by = |take: fn(Counter<'_>) -> Take| match take(counter(&store(), &rule)) {
            Take::Judged(seen) => seen,
            _ => panic!("there is a slot, and it is not strict"),
        };
        let ways = [
            taken_by(|counter| counter.take_with_care(NOW, 1)),
            taken_by(|counter| counter.take(NOW, 1)),
            counter(&store(), &rule).look(NOW, 1),
        ];
        for seen in ways {
            assert_eq!(matches!(seen.step, Step::Admit(_)), is_admitted, "{taken}");
        }
    }
}
