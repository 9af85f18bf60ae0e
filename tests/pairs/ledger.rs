//! What a counter must and may count, by what was done to it and when each of that began and ended.

/// Something that was done to a counter, between two steps of a clock that all threads share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) what: Done,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Done {
    Reset,
    /// Counts so much in the end, and no more than `most` at any time; `extra` of it was charged by
    /// a settlement, which no limit refuses.
    Counted {
        net: u64,
        most: u64,
        extra: u64,
    },
}

/// What is known of a counter.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Sum {
    /// What it counts at least and at most.
    pub(crate) low: u64,
    pub(crate) high: u64,
    /// All that was taken and kept, forgotten or not.
    pub(crate) kept: u64,
    /// What of it no limit could refuse.
    pub(crate) extra: u64,
    pub(crate) resets: u64,
}

impl Sum {
    /// Of a counter that counted nothing before.
    pub(crate) fn of(events: &[Event]) -> Self {
        let is_reset = |event: &&Event| matches!(event.what, Done::Reset);
        let resets: Vec<&Event> = events.iter().filter(is_reset).collect();
        let last_began = resets.iter().map(|reset| reset.began).max();
        let last_ended = resets.iter().map(|reset| reset.ended).max();
        let mut sum = Self {
            resets: resets.len() as u64,
            ..Self::default()
        };
        for event in events {
            let Done::Counted { net, most, extra } = event.what else {
                continue;
            };
            sum.kept += net;
            sum.extra += extra;
            let is_forgotten = last_began.is_some_and(|began| event.ended < began);
            let is_after_all = last_ended.is_none_or(|ended| event.began > ended);
            match (is_after_all, is_forgotten) {
                (true, _) => {
                    sum.low += net;
                    sum.high += net;
                }
                (_, true) => {}
                // A refund of what may be forgotten gives nothing back.
                _ => sum.high += most,
            }
        }
        sum
    }
}

#[test]
fn what_a_reset_forgets_depends_on_when_it_was() {
    let event = |began, ended, what| Event { began, ended, what };
    let counted = Done::Counted {
        net: 3,
        most: 5,
        extra: 1,
    };
    let events = [
        event(0, 1, counted),
        event(2, 4, counted),
        event(3, 6, Done::Reset),
        event(5, 7, counted),
        event(8, 9, counted),
    ];
    let sum = Sum::of(&events);
    assert_eq!((sum.low, sum.high), (3, 3 + 5 + 5));
    assert_eq!((sum.kept, sum.extra, sum.resets), (12, 4, 1));
    let sum = Sum::of(&events[..2]);
    assert_eq!((sum.low, sum.high), (6, 6));
}
