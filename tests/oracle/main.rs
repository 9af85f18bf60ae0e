//! The whole limiter against a naive model of it: random policies, random lives, equal answers.

#[path = "../common/mod.rs"]
mod common;
mod model;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use model::{Kind, Meter, Take};
use proptest::prelude::*;
use tollgate::{Decision, Limiter, ManualClock, Policy, Request, Timestamp, Verdict};

const START_NANOS: u64 = 1_760_000_000_123_456_789;
const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// A limit: its rule, whether each user has a counter, whether it is in shadow.
#[derive(Clone, Debug)]
struct LimitPlan {
    kind: Kind,
    is_keyed: bool,
    is_shadow: bool,
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    Check {
        user: usize,
        cost: u64,
    },
    Pass {
        nanos: u64,
    },
    /// Waits for as long as a refused cost is told to, and looks just before and at that instant.
    Wait {
        user: usize,
        cost: u64,
    },
    Refund {
        which: prop::sample::Index,
    },
    Settle {
        which: prop::sample::Index,
        actual: u64,
    },
    Reset {
        user: usize,
        limit: prop::sample::Index,
    },
    Restart,
}

fn kinds() -> impl Strategy<Value = Kind> {
    let tokens = prop::sample::select(vec![1_u64, 7, 250, 1_000, 60_000]);
    let spans = prop::sample::select(vec![1_u64, 7, 10, 60, 3_600]);
    prop_oneof![
        (1..20_u64, tokens, 1..12_u64).prop_map(|(count, token_ms, burst)| Kind::Bucket {
            count,
            token_ms,
            burst,
        }),
        (1..12_u64, spans.clone()).prop_map(|(amount, secs)| Kind::Fixed { amount, secs }),
        (1..12_u64, spans.clone()).prop_map(|(amount, secs)| Kind::FirstHit { amount, secs }),
        (1..12_u64, spans).prop_map(|(amount, secs)| Kind::Sliding { amount, secs }),
        (1..12_u64).prop_map(|amount| Kind::KathmanduDay { amount }),
    ]
}

fn limits() -> impl Strategy<Value = Vec<LimitPlan>> {
    let limit = (
        kinds(),
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.2),
    );
    let limit = limit.prop_map(|(kind, is_keyed, is_shadow)| LimitPlan {
        kind,
        is_keyed,
        is_shadow,
    });
    prop::collection::vec(limit, 1..5)
}

fn costs() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 1..5_u64, 2 => 0..15_u64, 1 => Just(u64::MAX)]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let spans = prop_oneof![
        0..3_u64,
        0..2_000_000_000_u64,
        (0..120_u64).prop_map(|secs| secs * 1_000_000_000),
        0..100_000_000_000_000_u64,
    ];
    let which = any::<prop::sample::Index>;
    let event = prop_oneof![
        10 => (0..3_usize, costs()).prop_map(|(user, cost)| Event::Check { user, cost }),
        4 => spans.prop_map(|nanos| Event::Pass { nanos }),
        2 => (0..3_usize, 1..5_u64).prop_map(|(user, cost)| Event::Wait { user, cost }),
        2 => which().prop_map(|which| Event::Refund { which }),
        2 => (which(), 0..20_u64).prop_map(|(which, actual)| Event::Settle { which, actual }),
        1 => (0..3_usize, which()).prop_map(|(user, limit)| Event::Reset { user, limit }),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 1..60)
}

fn policy(limits: &[LimitPlan]) -> Policy {
    let mut text = String::new();
    for (number, limit) in limits.iter().enumerate() {
        writeln!(text, "[limits.limit-{number}]\n{}", limit.kind.text()).unwrap();
        writeln!(text, "shadow = {}", limit.is_shadow).unwrap();
        if limit.is_keyed {
            writeln!(text, "key = \"user\"").unwrap();
        }
    }
    Policy::from_toml(&text).unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

fn request(user: usize, cost: u64) -> Request<'static> {
    Request::new().attribute("user", USERS[user]).cost(cost)
}

/// The limiter and the model side by side.
struct Life<'a> {
    limits: &'a [LimitPlan],
    path: &'a Path,
    clock: ManualClock,
    limiter: Option<Limiter>,
    /// By limit and user, or by limit alone.
    meters: BTreeMap<(usize, Option<usize>), Meter>,
    /// What can still be given back: the decision, whose it was, and what the model took where.
    open: Vec<(Decision, usize, Vec<Option<Take>>)>,
}

impl Life<'_> {
    fn limiter(&self) -> &Limiter {
        self.limiter.as_ref().unwrap()
    }

    fn now_nanos(&self) -> u64 {
        self.clock.now().as_nanos()
    }

    fn restart(&mut self) {
        self.open.clear();
        self.limiter = None;
        let builder = Limiter::builder(policy(self.limits)).counters(100);
        self.limiter = Some(builder.clock(self.clock.clone()).open(self.path).unwrap());
    }

    fn meter(&mut self, limit: usize, user: usize) -> &mut Meter {
        let plan = &self.limits[limit];
        let user = plan.is_keyed.then_some(user);
        let fresh = || Meter::new(plan.kind.clone());
        self.meters.entry((limit, user)).or_insert_with(fresh)
    }

    /// What the model says: allowed, and by limit whether there is room.
    fn judge(&mut self, user: usize, cost: u64) -> (bool, Vec<bool>) {
        let now = self.now_nanos();
        let room: Vec<_> = (0..self.limits.len())
            .map(|limit| self.meter(limit, user).has_room(now, cost))
            .collect();
        let enforced = room.iter().zip(self.limits);
        let is_allowed = enforced
            .clone()
            .all(|(room, limit)| *room || limit.is_shadow);
        (is_allowed, room)
    }

    /// Every limit's numbers in `decision` are the model's.
    fn compare(&mut self, user: usize, decision: &Decision) -> Result<(), TestCaseError> {
        let now = self.now_nanos();
        prop_assert_eq!(decision.limits().len(), self.limits.len());
        for limit in decision.limits() {
            let number: usize = limit
                .name()
                .strip_prefix("limit-")
                .unwrap()
                .parse()
                .unwrap();
            let meter = self.meter(number, user);
            let expected = (meter.used(now), meter.capacity());
            prop_assert_eq!((limit.used(), limit.limit()), expected, "{}", decision);
            let left = meter.capacity().saturating_sub(meter.used(now));
            prop_assert_eq!(limit.remaining(), left, "{}", decision);
        }
        Ok(())
    }

    fn check(&mut self, user: usize, cost: u64) -> Result<(), TestCaseError> {
        let (is_allowed, room) = self.judge(user, cost);
        let request = request(user, cost);
        let look = self.limiter().usage(&request);
        self.compare(user, &look)?;
        let decision = self.limiter().check(&request);
        prop_assert_eq!(decision.is_allowed(), is_allowed, "{}", decision);
        prop_assert_eq!(look.verdict(), decision.verdict(), "{} {}", look, decision);
        let now = self.now_nanos();
        let taken = room.iter().enumerate().map(|(limit, room)| {
            (is_allowed && *room).then(|| self.meter(limit, user).take(now, cost))
        });
        let taken: Vec<_> = taken.collect();
        for limit in decision.limits() {
            let number: usize = limit
                .name()
                .strip_prefix("limit-")
                .unwrap()
                .parse()
                .unwrap();
            let fits = cost <= self.meter(number, user).capacity();
            let expected = match (room[number], self.limits[number].is_shadow, fits) {
                (true, ..) => Verdict::Allowed,
                (false, true, _) => Verdict::Shadowed,
                (false, false, true) => Verdict::Refused,
                (false, false, false) => Verdict::Impossible,
            };
            prop_assert_eq!(limit.verdict(), expected, "{}", decision);
        }
        self.compare(user, &decision)?;
        self.open.push((decision, user, taken));
        Ok(())
    }

    fn wait(&mut self, user: usize, cost: u64) -> Result<(), TestCaseError> {
        let look = self.limiter().usage(&request(user, cost));
        let Some(wait) = look.retry_after().filter(|wait| !wait.is_zero()) else {
            let may_ever = self
                .limits
                .iter()
                .all(|limit| limit.is_shadow || cost <= Meter::new(limit.kind.clone()).capacity());
            prop_assert_eq!(look.retry_after().is_some(), may_ever, "{}", look);
            return Ok(());
        };
        self.clock.advance(wait - Duration::from_nanos(1));
        for is_ready in [false, true] {
            let look = self.limiter().usage(&request(user, cost));
            prop_assert_eq!(look.is_allowed(), is_ready, "after {:?}: {}", wait, look);
            prop_assert_eq!(
                self.judge(user, cost).0,
                is_ready,
                "the model, after {:?}",
                wait
            );
            self.clock.advance(Duration::from_nanos(1));
        }
        Ok(())
    }

    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::Check { user, cost } => self.check(*user, *cost)?,
            Event::Pass { nanos } => self.clock.advance(Duration::from_nanos(*nanos)),
            Event::Wait { user, cost } => self.wait(*user, *cost)?,
            Event::Refund { which } if !self.open.is_empty() => {
                let place = which.index(self.open.len());
                let (decision, user, taken) = self.open.swap_remove(place);
                self.limiter().refund(decision);
                self.give_back(user, &taken, u64::MAX);
            }
            Event::Settle { which, actual } if !self.open.is_empty() => {
                let place = which.index(self.open.len());
                let (decision, user, taken) = self.open.swap_remove(place);
                self.limiter().settle(decision, *actual);
                self.settle(user, &taken, *actual);
            }
            Event::Refund { .. } | Event::Settle { .. } => {}
            Event::Reset { user, limit } => {
                let number = limit.index(self.limits.len());
                let limit = self.limiter().limit(&format!("limit-{number}")).unwrap();
                match self.limits[number].is_keyed {
                    true => limit.reset(USERS[*user]),
                    false => limit.reset(()),
                }
                *self.meter(number, *user) = Meter::new(self.limits[number].kind.clone());
            }
            Event::Restart => self.restart(),
        }
        Ok(())
    }

    fn give_back(&mut self, user: usize, taken: &[Option<Take>], most: u64) {
        let now = self.now_nanos();
        for (limit, take) in taken.iter().enumerate() {
            if let Some(take) = take {
                self.meter(limit, user)
                    .refund(now, take, take.cost.min(most));
            }
        }
    }

    fn settle(&mut self, user: usize, taken: &[Option<Take>], actual: u64) {
        let now = self.now_nanos();
        for (limit, take) in taken.iter().enumerate() {
            let Some(take) = take else { continue };
            let meter = self.meter(limit, user);
            if actual > take.cost {
                meter.charge(now, actual - take.cost);
            } else {
                meter.refund(now, take, take.cost - actual);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_limiter_is_its_model(limits in limits(), events in events()) {
        let dir = common::scratch();
        let mut life = Life {
            limits: &limits,
            path: &dir.path().join("data"),
            clock: ManualClock::new(Timestamp::from_nanos(START_NANOS)),
            limiter: None,
            meters: BTreeMap::new(),
            open: Vec::new(),
        };
        life.restart();
        for event in &events {
            life.happen(event)?;
            for user in 0..USERS.len() {
                let look = life.limiter().usage(&request(user, 1));
                life.compare(user, &look)?;
            }
        }
        let health = life.limiter().health();
        prop_assert_eq!((health.words_healed, health.newcomers_without_slot), (0, 0));
    }
}
