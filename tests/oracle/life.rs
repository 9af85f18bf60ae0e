//! A limiter's life beside the model's: what happens, read from bytes, and what must be equal after
//! each of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use tempfile::TempDir;
use tollgate::{Decision, Limiter, ManualClock, Mapping, Policy, Request, Timestamp, Verdict};

use crate::common;
use crate::event::{Durability, EVENTS_MAX, Event, LIMITS_MAX, LimitPlan, SECOND, USERS};
use crate::model::{Kind, Meter, Take};

const START_NANOS: u64 = 1_760_000_000_123_456_789;
/// More newcomers than the smallest table has slots.
const FLOOD: usize = 6_000;
/// More counters than the floods of a life come to, where the table may grow.
const ROOM: u64 = 16 * FLOOD as u64;

/// Lives the life that `bytes` tell of.
pub(crate) fn live(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let Ok(mut life) = Life::begin(&mut bytes) else {
        return;
    };
    for _ in 0..EVENTS_MAX {
        if bytes.is_empty() {
            break;
        }
        let Ok(event) = Event::read(&mut bytes) else {
            break;
        };
        life.happen(&event);
        for user in 0..USERS.len() {
            let look = life.limiter().usage(&request(user, 1));
            life.compare(user, &look);
        }
        life.remember();
    }
    let health = life.limiter().health();
    assert_eq!(health.words_healed, 0);
    assert!(life.is_crowded || health.newcomers_without_slot == 0);
}

fn request(user: usize, cost: u64) -> Request<'static> {
    Request::new().attribute("user", USERS[user]).cost(cost)
}

fn number(name: &str) -> usize {
    let number = name.strip_prefix("limit-").expect("a limit of the policy");
    number.parse().expect("its number")
}

/// By limit and user, or by limit alone.
type Meters = BTreeMap<(usize, Option<usize>), Meter>;

/// The limiter and the model side by side.
struct Life {
    limits: Vec<LimitPlan>,
    overrides: BTreeMap<(usize, usize), Kind>,
    dir: TempDir,
    path: PathBuf,
    clock: ManualClock,
    limiter: Option<Limiter>,
    meters: Meters,
    /// What the meters were since all was last written.
    since: Vec<Meters>,
    /// What can still be given back: the decision, whose it was, and what the model took where.
    open: Vec<(Decision, usize, Vec<Option<Take>>)>,
    /// The table may be full.
    is_crowded: bool,
    cuts: usize,
}

impl Life {
    fn begin(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let count = bytes.int_in_range(1..=LIMITS_MAX)?;
        let limits = (0..count).map(|_| LimitPlan::read(bytes));
        let limits = limits.collect::<Result<_>>()?;
        let dir = common::scratch();
        let mut life = Self {
            limits,
            overrides: BTreeMap::new(),
            path: dir.path().join("data"),
            dir,
            clock: ManualClock::new(Timestamp::from_nanos(START_NANOS)),
            limiter: None,
            meters: Meters::new(),
            since: Vec::new(),
            open: Vec::new(),
            is_crowded: false,
            cuts: 0,
        };
        life.start();
        Ok(life)
    }

    fn policy(&self) -> Policy {
        let mut text = String::new();
        for (number, limit) in self.limits.iter().enumerate() {
            let durability = match limit.durability {
                Durability::Memory => "memory",
                Durability::Logged => "logged",
                Durability::Strict => "strict",
            };
            let key = if limit.is_keyed {
                "key = \"user\"\n"
            } else {
                ""
            };
            let (kind, is_shadow) = (limit.kind.text(), limit.is_shadow);
            write!(
                text,
                "[limits.limit-{number}]\n{kind}\n{key}shadow = {is_shadow}\n\
                 durability = \"{durability}\"\nwhen_full = \"refuse\"\n"
            )
            .expect("text grows");
        }
        Policy::from_toml(&text).unwrap_or_else(|faults| panic!("{text}\n{faults}"))
    }

    /// In every other life the table may grow; in the rest newcomers find it full.
    fn grows(&self) -> bool {
        self.limits.len().is_multiple_of(2)
    }

    fn limiter(&self) -> &Limiter {
        self.limiter.as_ref().expect("it is open")
    }

    fn now_nanos(&self) -> u64 {
        self.clock.now().as_nanos()
    }

    /// Opens the directory. Nothing is written by itself from then on.
    fn start(&mut self) {
        let builder = Limiter::builder(self.policy())
            .counters(if self.grows() { ROOM } else { 1 })
            .counters_at_first(1)
            .interval(Duration::from_secs(86_400))
            .mapping(Mapping::DataDirectory)
            .clock(self.clock.clone());
        let limiter = builder.open(&self.path).expect("it opens");
        limiter.flush().expect("it can be written");
        self.limiter = Some(limiter);
        self.open.clear();
        self.since = vec![self.meters.clone()];
    }

    fn restart(&mut self, back_secs: u64) {
        self.open.clear();
        let now = self.clock.now();
        self.limiter = None;
        let earlier = now.as_nanos() - back_secs * SECOND;
        self.clock = ManualClock::new(Timestamp::from_nanos(earlier));
        self.start();
        assert_eq!(self.clock.now(), now, "time goes on from the latest seen");
    }

    /// Notes what the power might leave.
    fn remember(&mut self) {
        self.since.push(self.meters.clone());
    }

    fn kind(&self, limit: usize, user: usize) -> Kind {
        let own = self.overrides.get(&(limit, user));
        let is_keyed = self.limits[limit].is_keyed;
        own.filter(|_| is_keyed)
            .unwrap_or(&self.limits[limit].kind)
            .clone()
    }

    /// The user's counter, under the rule that it has now.
    fn meter(&mut self, limit: usize, user: usize) -> &mut Meter {
        let kind = self.kind(limit, user);
        let user = self.limits[limit].is_keyed.then_some(user);
        let fresh = || Meter::new(kind.clone());
        let meter = self.meters.entry((limit, user)).or_insert_with(fresh);
        meter.kind = kind;
        meter
    }

    /// What the model says: allowed, and by limit whether there is room.
    fn judge(&mut self, user: usize, cost: u64) -> (bool, Vec<bool>) {
        let now = self.now_nanos();
        let room: Vec<_> = (0..self.limits.len())
            .map(|limit| self.meter(limit, user).has_room(now, cost))
            .collect();
        let mut enforced = room.iter().zip(&self.limits);
        let is_allowed = enforced.all(|(room, limit)| *room || limit.is_shadow);
        (is_allowed, room)
    }

    /// Every limit's numbers in `decision` are the model's.
    fn compare(&mut self, user: usize, decision: &Decision) {
        let (now, is_crowded) = (self.now_nanos(), self.is_crowded);
        assert_eq!(decision.limits().len(), self.limits.len());
        for limit in decision.limits() {
            let number = number(limit.name());
            if !self.is_counted(number) {
                continue;
            }
            let meter = self.meter(number, user);
            let (used, capacity) = (meter.used(now), meter.capacity());
            if is_crowded && matches!(meter.kind, Kind::Sliding { .. }) {
                // A window without a slot joins the one before it: more is counted, never less.
                assert!(limit.used() >= used, "{decision}");
                continue;
            }
            assert_eq!(
                (limit.used(), limit.limit()),
                (used, capacity),
                "{decision}"
            );
            assert_eq!(
                limit.remaining(),
                capacity.saturating_sub(used),
                "{decision}"
            );
        }
    }

    fn check(&mut self, user: usize, cost: u64) {
        let (is_allowed, room) = self.judge(user, cost);
        let request = request(user, cost);
        let look = self.limiter().usage(&request);
        self.compare(user, &look);
        let decision = self.limiter().check(&request);
        let now = self.now_nanos();
        if self.is_crowded && is_allowed && !decision.is_allowed() {
            // Of whom something is known, he has a counter and keeps it.
            let mut limits = 0..self.limits.len();
            assert!(
                limits.any(|limit| self.wants_a_slot(limit, user)),
                "{decision}"
            );
            return;
        }
        assert_eq!(decision.is_allowed(), is_allowed, "{decision}");
        let taken = room.iter().enumerate().map(|(limit, room)| {
            (is_allowed && *room).then(|| self.meter(limit, user).take(now, cost))
        });
        let taken: Vec<_> = taken.collect();
        let is_crowded = self.is_crowded;
        for limit in decision.limits().filter(|_| !is_crowded) {
            let number = number(limit.name());
            let fits = cost <= self.meter(number, user).capacity();
            let expected = match (room[number], self.limits[number].is_shadow, fits) {
                (true, ..) => Verdict::Allowed,
                (false, true, _) => Verdict::Shadowed,
                (false, false, true) => Verdict::Refused,
                (false, false, false) => Verdict::Impossible,
            };
            assert_eq!(limit.verdict(), expected, "{decision}");
        }
        self.compare(user, &decision);
        if !self.is_crowded {
            self.open.push((decision, user, taken));
        }
    }

    /// True unless it only counts, and need not find room to do so.
    fn is_counted(&self, limit: usize) -> bool {
        !(self.is_crowded && self.limits[limit].is_shadow)
    }

    /// True if the user may have no counter yet, or needs a second one.
    fn wants_a_slot(&mut self, limit: usize, user: usize) -> bool {
        let now = self.now_nanos();
        let meter = self.meter(limit, user);
        meter.used(now) == 0 || matches!(meter.kind, Kind::Sliding { .. })
    }

    fn wait(&mut self, user: usize, cost: u64) {
        let look = self.limiter().usage(&request(user, cost));
        let Some(wait) = look.retry_after().filter(|wait| !wait.is_zero()) else {
            let may_ever = (0..self.limits.len()).all(|limit| {
                self.limits[limit].is_shadow || cost <= self.kind(limit, user).capacity()
            });
            assert_eq!(look.retry_after().is_some(), may_ever, "{look}");
            return;
        };
        self.clock.advance(wait - Duration::from_nanos(1));
        for is_ready in [false, true] {
            let look = self.limiter().usage(&request(user, cost));
            assert_eq!(look.is_allowed(), is_ready, "after {wait:?}: {look}");
            assert_eq!(
                self.judge(user, cost).0,
                is_ready,
                "the model, after {wait:?}"
            );
            self.clock.advance(Duration::from_nanos(1));
        }
    }

    fn happen(&mut self, event: &Event) {
        let count = self.limits.len();
        match *event {
            Event::Check { user, cost } => self.check(user, cost),
            Event::Pass { nanos } => self.clock.advance(Duration::from_nanos(nanos)),
            Event::Wait { user, cost } if !self.is_crowded => self.wait(user, cost),
            Event::Refund { which } if !self.open.is_empty() => {
                let (decision, user, taken) = self.open.swap_remove(which % self.open.len());
                self.limiter().refund(decision);
                self.give_back(user, &taken);
            }
            Event::Settle { which, actual } if !self.open.is_empty() => {
                let (decision, user, taken) = self.open.swap_remove(which % self.open.len());
                self.limiter().settle(decision, actual);
                self.settle(user, &taken, actual);
            }
            Event::Wait { .. } | Event::Refund { .. } | Event::Settle { .. } => {}
            Event::Reset { user, limit } => self.reset(limit % count, user),
            Event::Amend { limit, amount } => {
                let kind = &mut self.limits[limit % count].kind;
                *kind = kind.with_amount(amount);
                let policy = self.policy();
                self.limiter()
                    .replace_policy(policy)
                    .expect("it can be put in force");
                self.open.clear();
            }
            Event::Override {
                limit,
                user,
                amount,
            } => self.set_own(limit % count, user, amount),
            Event::RemoveOverride { limit, user } => {
                let limit = limit % count;
                let was_there = self.overrides.remove(&(limit, user)).is_some();
                let name = format!("limit-{limit}");
                let removed = self.limiter().remove_override(&name, &[USERS[user]]);
                assert!(removed.is_ok_and(|removed| removed == was_there) || !was_there);
                self.open.clear();
            }
            Event::Restart { back_secs } => self.restart(back_secs),
            // What is rebuilt of a full table is not modelled.
            Event::PowerCut { .. } if self.is_crowded => {}
            Event::PowerCut { flushes } => self.cut(flushes),
            Event::Flood { limit } => self.flood(limit % count),
        }
    }

    fn set_own(&mut self, limit: usize, user: usize, amount: u64) {
        let kind = self.limits[limit].kind.with_amount(amount);
        let name = format!("limit-{limit}");
        let set = self
            .limiter()
            .set_override(&name, &[USERS[user]], &kind.rate());
        assert_eq!(set.is_ok(), self.limits[limit].is_keyed, "{set:?}");
        if set.is_ok() {
            self.overrides.insert((limit, user), kind);
        }
        self.open.clear();
    }

    fn reset(&mut self, limit: usize, user: usize) {
        let handle = self
            .limiter()
            .limit(&format!("limit-{limit}"))
            .expect("it is there");
        match self.limits[limit].is_keyed {
            true => handle.reset(USERS[user]),
            false => handle.reset(()),
        }
        let kind = self.kind(limit, user);
        *self.meter(limit, user) = Meter::new(kind);
    }

    fn give_back(&mut self, user: usize, taken: &[Option<Take>]) {
        let now = self.now_nanos();
        for (limit, take) in taken.iter().enumerate() {
            if let Some(take) = take {
                self.meter(limit, user).refund(now, take, take.cost);
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

    /// The power goes, after everything was written or before. What the limiter may have forgotten
    /// is asked for, and then forgotten here too.
    fn cut(&mut self, flushes: bool) {
        if flushes {
            self.limiter().flush().expect("it can be written");
        }
        self.cuts += 1;
        let to = self.dir.path().join(format!("after cut {}", self.cuts));
        common::copy(&self.path, &to);
        std::fs::remove_dir_all(to.join("table")).expect("the copy has a table");
        self.limiter = None;
        std::fs::remove_dir_all(&self.path).expect("it is closed");
        self.path = to;
        let mut since = std::mem::take(&mut self.since);
        self.start();
        let now = self.now_nanos();
        for limit in 0..self.limits.len() {
            if !self.is_counted(limit) {
                continue;
            }
            for user in 0..USERS.len() {
                let used = self.used(limit, user);
                let true_use = self.meter(limit, user).used(now);
                let place = (limit, self.limits[limit].is_keyed.then_some(user));
                let (kind, mut was) = (self.kind(limit, user), Vec::new());
                for meter in since.iter_mut().map(|meters| meters.get_mut(&place)) {
                    was.push(meter.map_or(0, |meter| {
                        meter.kind = kind.clone();
                        meter.clone().used(now)
                    }));
                }
                match self.limits[limit].durability {
                    Durability::Logged if flushes => assert_eq!(used, true_use, "of {place:?}"),
                    Durability::Logged => assert!(was.contains(&used), "{used} of {was:?}"),
                    Durability::Memory => assert!(used == 0 || was.contains(&used), "{used}"),
                    Durability::Strict => assert!(used >= true_use, "{used} of {true_use}"),
                }
            }
        }
        for limit in 0..self.limits.len() {
            let is_exact = self.limits[limit].durability == Durability::Logged && flushes;
            for user in (0..USERS.len()).filter(|_| !is_exact) {
                self.reset(limit, user);
            }
        }
        self.limiter().flush().expect("it can be written");
        self.since = vec![self.meters.clone()];
    }

    fn used(&self, limit: usize, user: usize) -> u64 {
        let handle = self
            .limiter()
            .limit(&format!("limit-{limit}"))
            .expect("it is there");
        match self.limits[limit].is_keyed {
            true => handle.usage(USERS[user]).used(),
            false => handle.usage(()).used(),
        }
    }

    /// So many newcomers come that some find no room, or that the table grows under all who were
    /// there.
    fn flood(&mut self, limit: usize) {
        if self.is_crowded || !self.limits[limit].is_keyed {
            return;
        }
        let limit = self
            .limiter()
            .limit(&format!("limit-{limit}"))
            .expect("it is there");
        for newcomer in 0..FLOOD {
            limit.check(format!("newcomer {newcomer}").as_str());
        }
        // Where it may grow it is full only if the machine is so busy that it grows too late.
        self.is_crowded = !self.grows() || self.limiter().health().newcomers_without_slot > 0;
        if self.is_crowded {
            self.open.clear();
        }
    }
}
