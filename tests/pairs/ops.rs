//! The operations, and what each of them does to a counter.

use tollgate::{Limit, Request};

use crate::ledger::Done;
use crate::world::{Hot, World};

/// What is done at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Op {
    Take,
    Batch,
    Cost,
    Refund,
    Settle,
    Reset,
    Override,
    Policy,
    Growth,
    Full,
    Several,
}

impl Op {
    pub(crate) const ALL: [Self; 11] = [
        Self::Take,
        Self::Batch,
        Self::Cost,
        Self::Refund,
        Self::Settle,
        Self::Reset,
        Self::Override,
        Self::Policy,
        Self::Growth,
        Self::Full,
        Self::Several,
    ];

    /// Threads that do it in a round.
    pub(crate) fn threads(self) -> u64 {
        match self {
            Self::Reset | Self::Override | Self::Policy | Self::Growth | Self::Full => 1,
            _ => 2,
        }
    }

    /// How often one does it in a round.
    pub(crate) fn times(self) -> u64 {
        match self {
            Self::Reset => 3,
            Self::Override | Self::Policy => 6,
            Self::Growth | Self::Full => 400,
            _ => 60,
        }
    }
}

/// Numbers that are different each time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

const NOTHING: Done = counted(0, 0);

pub(crate) const fn counted(net: u64, most: u64) -> Done {
    Done::Counted {
        net,
        most,
        extra: 0,
    }
}

/// Takes from the key that all threads share, if there is room; says how much.
fn take(world: &World, limit: &Limit, cost: u64) -> u64 {
    let outcome = limit.check_cost(World::KEY, cost);
    world.assert_known(outcome.verdict());
    cost * u64::from(outcome.is_allowed())
}

/// Half of the time other threads come first.
fn let_others(dice: &mut Dice) {
    if dice.below(2) == 0 {
        std::thread::yield_now();
    }
}

impl Op {
    /// Does it once; what it did to the key that all share, of the limit that `hot` names.
    pub(crate) fn play(self, world: &World, hot: Hot, dice: &mut Dice) -> Done {
        let limit = world.limit(hot);
        match self {
            Self::Take => {
                let cost = take(world, limit, 1);
                counted(cost, cost)
            }
            Self::Batch => batch(world, limit),
            Self::Cost => {
                let cost = take(world, limit, 2 + dice.below(6));
                counted(cost, cost)
            }
            Self::Refund => {
                let cost = 1 + dice.below(8);
                let outcome = limit.check_cost(World::KEY, cost);
                world.assert_known(outcome.verdict());
                let_others(dice);
                limit.refund(World::KEY, outcome);
                counted(0, cost * u64::from(outcome.is_allowed()))
            }
            Self::Settle => settle(world, limit, dice),
            Self::Reset => {
                limit.reset(World::KEY);
                Done::Reset
            }
            Self::Override => world.change_override(dice),
            Self::Policy => world.change_policy(dice),
            Self::Growth | Self::Full => world.newcomer(limit),
            Self::Several => several(world, hot, dice),
        }
    }
}

fn batch(world: &World, limit: &Limit) -> Done {
    let mut taken = 0;
    let keys = [World::KEY, world.other_key(), World::KEY];
    limit.check_many(&keys, |place, outcome| {
        world.assert_known(outcome.verdict());
        taken += u64::from(place != 1 && outcome.is_allowed());
    });
    counted(taken, taken)
}

fn settle(world: &World, limit: &Limit, dice: &mut Dice) -> Done {
    let (cost, actual) = (1 + dice.below(8), dice.below(9));
    let outcome = limit.check_cost(World::KEY, cost);
    world.assert_known(outcome.verdict());
    let_others(dice);
    let _ = limit.settle(World::KEY, outcome, actual);
    match outcome.is_allowed() {
        true => Done::Counted {
            net: actual,
            most: cost.max(actual),
            extra: actual.saturating_sub(cost),
        },
        false => NOTHING,
    }
}

/// A request that meets another limit, too: charged to both or to none; half of those that are
/// admitted are given back.
fn several(world: &World, hot: Hot, dice: &mut Dice) -> Done {
    let request = Request::new()
        .attribute(hot.name(), World::KEY)
        .attribute("second", World::KEY);
    let decision = world.limiter().check(&request);
    world.assert_known(decision.verdict());
    if !decision.is_allowed() {
        return counted(0, 1);
    }
    if dice.below(2) == 0 {
        let_others(dice);
        world.limiter().refund(decision);
        return counted(0, 1);
    }
    world.took_second();
    counted(1, 1)
}

/// An operation that changes nothing that was counted.
pub(crate) fn nothing() -> Done {
    NOTHING
}
