//! A limiter under test: its limits, the threads that are let loose on it, and what must hold when
//! they are done.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tollgate::{Limit, Limiter, Policy, Verdict};

use crate::common;
use crate::ledger::{Done, Event, Sum};
use crate::ops::{Dice, Op, counted, nothing};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Algorithm {
    Bucket,
    Fixed,
    FirstHit,
    Calendar,
    Sliding,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 5] = [
        Self::Bucket,
        Self::Fixed,
        Self::FirstHit,
        Self::Calendar,
        Self::Sliding,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Bucket => "token bucket",
            Self::Fixed => "fixed window",
            Self::FirstHit => "fixed window from first hit",
            Self::Calendar => "calendar",
            Self::Sliding => "sliding window",
        }
    }

    /// A rate that holds so much, and brings nothing back while a test runs.
    fn slow(self, amount: u64) -> String {
        match self {
            // Another amount at the same rate: what was used is not reckoned anew.
            Self::Bucket => format!("{BASE} per 30 days burst {amount}"),
            Self::Calendar => format!("{amount}/month"),
            _ => format!("{amount} per 30 days"),
        }
    }

    /// A rate that brings back much.
    fn fast(self) -> &'static str {
        match self {
            Self::Bucket => "2000/s burst 50",
            Self::Calendar => "100000000/month",
            _ => "100/s",
        }
    }

    /// The most that the fast limit admits from one instant to another.
    fn allows_fast(self, from_secs: f64, to_secs: f64) -> u64 {
        let windows = to_secs as u64 - from_secs as u64 + 1;
        match self {
            // One more for the fraction that was there at first.
            Self::Bucket => 50 + (2000.0 * (to_secs - from_secs)) as u64 + 1,
            Self::Calendar => u64::MAX,
            Self::Fixed | Self::Sliding => 100 * windows,
            Self::FirstHit => 100 * ((to_secs - from_secs) as u64 + 1),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Durability {
    Memory,
    Logged,
    Strict,
}

impl Durability {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Logged, Self::Strict];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Logged => "logged",
            Self::Strict => "strict",
        }
    }
}

/// The limit that an operation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hot {
    Slow,
    Fast,
}

impl Hot {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Fast => "fast",
        }
    }
}

/// What the slow limit holds, at first and by turns. A bucket's debt, which is bounded by twice of
/// that, is never reached.
const BASE: u64 = 400;
const AMOUNTS: [u64; 3] = [350, BASE, 500];
const MOST: u64 = 500;
/// Counters of a table that grows.
const GROWN: u64 = 200_000;
/// What the second limit of a request holds.
const SECOND: u64 = 150;

pub(crate) struct World {
    what: String,
    algorithm: Algorithm,
    durability: Durability,
    ops: [Op; 2],
    begun: f64,
    dir: TempDir,
    limiter: Limiter,
    slow: Limit,
    fast: Limit,
    /// Ticks of the clock of events.
    steps: AtomicU64,
    newcomers: AtomicU64,
    /// Newcomers of the slow limit that were admitted.
    let_in: AtomicU64,
    second: AtomicU64,
    fast_sum: Sum,
    rounds: u64,
}

fn policy(algorithm: Algorithm, durability: Durability, amount: u64) -> Policy {
    let limit = |name: &str, rate: &str| {
        let (algorithm, durability) = (algorithm.name(), durability.name());
        format!(
            "[limits.{name}]\nrate = \"{rate}\"\nalgorithm = \"{algorithm}\"\n\
             durability = \"{durability}\"\nkey = \"{name}\"\nwhen_key_missing = \"skip\"\n"
        )
    };
    let text = [
        limit("slow", &algorithm.slow(amount)),
        limit("fast", algorithm.fast()),
        limit("second", &algorithm.slow(SECOND)),
    ];
    Policy::from_toml(&text.concat()).unwrap()
}

/// Seconds since 1970.
fn now() -> f64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

impl World {
    /// The key that all threads take from.
    pub(crate) const KEY: &'static str = "hot";

    pub(crate) fn new(
        what: String,
        algorithm: Algorithm,
        durability: Durability,
        ops: [Op; 2],
    ) -> Self {
        let dir = common::scratch();
        let limiter = open(&dir, policy(algorithm, durability, BASE), ops);
        Self {
            what,
            algorithm,
            durability,
            ops,
            begun: now(),
            slow: limiter.limit("slow").unwrap(),
            fast: limiter.limit("fast").unwrap(),
            dir,
            limiter,
            steps: AtomicU64::new(0),
            newcomers: AtomicU64::new(0),
            let_in: AtomicU64::new(0),
            second: AtomicU64::new(0),
            fast_sum: Sum::default(),
            rounds: 0,
        }
    }

    pub(crate) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    pub(crate) fn limit(&self, hot: Hot) -> &Limit {
        match hot {
            Hot::Slow => &self.slow,
            Hot::Fast => &self.fast,
        }
    }

    pub(crate) fn other_key(&self) -> &'static str {
        "beside"
    }

    /// Fails unless it is an answer that may be expected here.
    pub(crate) fn assert_known(&self, verdict: Verdict) {
        let is_known = match verdict {
            Verdict::Allowed | Verdict::Refused | Verdict::Unwritable | Verdict::Impossible => true,
            // Of a strict limit that newcomers share there may be no room for a ceiling.
            Verdict::TableFull => self.is(Op::Full),
            _ => false,
        };
        assert!(is_known, "{}: {verdict}", self.what);
    }

    pub(crate) fn took_second(&self) {
        // Ordering: relaxed, as all numbers here that are read when the threads have ended.
        self.second.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn change_override(&self, dice: &mut Dice) -> Done {
        match dice.below(4) {
            3 => drop(self.limiter.remove_override("slow", Self::KEY).unwrap()),
            number => self.override_with(AMOUNTS[number as usize]),
        }
        nothing()
    }

    fn override_with(&self, amount: u64) {
        let rate = self.algorithm.slow(amount);
        self.limiter.set_override("slow", Self::KEY, &rate).unwrap();
    }

    pub(crate) fn change_policy(&self, dice: &mut Dice) -> Done {
        self.rule_by(AMOUNTS[dice.below(3) as usize]);
        nothing()
    }

    fn rule_by(&self, amount: u64) {
        let policy = policy(self.algorithm, self.durability, amount);
        self.limiter.replace_policy(policy).unwrap();
    }

    /// A key that was never seen takes one.
    pub(crate) fn newcomer(&self, limit: &Limit) -> Done {
        // Ordering: relaxed; only that no number comes twice.
        let number = self.newcomers.fetch_add(1, Ordering::Relaxed);
        if number >= GROWN / 4 && !self.is(Op::Full) {
            // More would fill the table in the end.
            return nothing();
        }
        let outcome = limit.check(number);
        let counts = outcome.is_allowed() && limit.name() == "slow";
        self.let_in.fetch_add(u64::from(counts), Ordering::Relaxed);
        if counts && !self.is(Op::Full) {
            let used = limit.usage(number).used();
            assert_eq!(used, 1, "{}: newcomer {number}", self.what);
        }
        nothing()
    }

    /// True if the table fills up, so that a key that was reset can lose its slot.
    fn may_lose_a_slot(&self) -> bool {
        self.ops.contains(&Op::Full) && self.ops.contains(&Op::Reset)
    }

    fn is(&self, op: Op) -> bool {
        self.ops.contains(&op)
    }

    /// Lets the threads loose once and looks at what they left; how much they did.
    pub(crate) fn round(&mut self, dice: &mut Dice) -> u64 {
        self.rounds += 1;
        // So that the key has a slot before others fill the table.
        let began = self.step();
        let is_in = self.slow.check(Self::KEY).is_allowed();
        assert!(is_in || self.may_lose_a_slot(), "{}", self.what);
        let net = u64::from(is_in);
        let first = Event {
            began,
            ended: self.step(),
            what: counted(net, net),
        };
        let (mut slow, fast) = self.let_loose(dice.below(u64::MAX >> 34));
        slow.push(first);
        self.look_at_slow(Sum::of(&slow));
        self.look_at_fast(Sum::of(&fast));
        self.look_at_others();
        (slow.len() + fast.len()) as u64
    }

    fn step(&self) -> u64 {
        // Ordering: sequentially consistent; what ended before another began has less.
        self.steps.fetch_add(1, Ordering::SeqCst)
    }

    /// What all threads did to the slow and to the fast limit's counter of the hot key.
    fn let_loose(&self, seed: u64) -> (Vec<Event>, Vec<Event>) {
        let ops = self.ops.iter().chain([&Op::Take]);
        let threads: Vec<Op> = ops.flat_map(|op| (0..op.threads()).map(|_| *op)).collect();
        let start = Barrier::new(threads.len());
        let work = |op: Op, mut dice: Dice| {
            let (mut slow, mut fast) = (Vec::new(), Vec::new());
            start.wait();
            for _ in 0..op.times() {
                let hot = match dice.below(4) {
                    0 => Hot::Fast,
                    _ => Hot::Slow,
                };
                let began = self.step();
                let what = op.play(self, hot, &mut dice);
                let ended = self.step();
                let events = match hot {
                    Hot::Slow => &mut slow,
                    Hot::Fast => &mut fast,
                };
                events.push(Event { began, ended, what });
            }
            (slow, fast)
        };
        std::thread::scope(|scope| {
            let seeds = (seed..).map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let running: Vec<_> = threads
                .iter()
                .zip(seeds)
                .map(|(op, seed)| scope.spawn(move || work(*op, Dice::new(seed))))
                .collect();
            let mut all = (Vec::new(), Vec::new());
            for thread in running {
                let (slow, fast) = thread.join().unwrap_or_else(|_| panic!("{}", self.what));
                all.0.extend(slow);
                all.1.extend(fast);
            }
            all
        })
    }

    /// Nobody takes any more: what the slow limit counts is known, and so is what it has left.
    fn look_at_slow(&self, sum: Sum) {
        let what = format!("{}, round {}: {sum:?}", self.what, self.rounds);
        let used = self.slow.usage(Self::KEY).used();
        if self.may_lose_a_slot() {
            // It may have counted where newcomers do, and not be found there.
            assert!(used <= 2 * MOST + sum.extra, "{what}: {used}");
        } else {
            assert!((sum.low..=sum.high).contains(&used), "{what}: {used}");
        }
        assert!(used <= MOST + sum.extra, "{what}: {used}");
        let most = (MOST + sum.extra) * (sum.resets + 1);
        assert!(sum.kept <= most, "{what}: more than {most}");
        let amount = match (self.is(Op::Override), self.is(Op::Policy)) {
            (false, false) => BASE,
            // Another than the first.
            _ => AMOUNTS[2 * (self.rounds % 2) as usize],
        };
        if self.is(Op::Policy) {
            self.rule_by(if self.is(Op::Override) { BASE } else { amount });
        }
        if self.is(Op::Override) {
            self.override_with(amount);
        }
        let usage = self.slow.usage(Self::KEY);
        assert_eq!((usage.limit(), usage.used()), (amount, used), "{what}");
        if !self.may_lose_a_slot() {
            let more = (0..=amount).filter(|_| self.slow.check(Self::KEY).is_allowed());
            let more = more.count() as u64;
            assert_eq!(used + more, used.max(amount), "{what}: {used} and {more}");
        }
        let _ = self.limiter.remove_override("slow", Self::KEY).unwrap();
        self.slow.reset(Self::KEY);
        assert_eq!(self.slow.usage(Self::KEY).used(), 0, "{what}");
    }

    fn look_at_fast(&mut self, sum: Sum) {
        let all = &mut self.fast_sum;
        all.kept += sum.kept;
        all.extra += sum.extra;
        all.resets += sum.resets;
        let allowed = self.algorithm.allows_fast(self.begun, now());
        // A key that finds no slot and gets one later in the same window counts twice.
        let times = (all.resets + 1) * if self.ops.contains(&Op::Full) { 2 } else { 1 };
        let most = allowed.saturating_mul(times).saturating_add(all.extra);
        assert!(all.kept <= most, "{}: fast: {all:?} of {most}", self.what);
    }

    /// The second limit, and the newcomers.
    fn look_at_others(&mut self) {
        let second = *self.second.get_mut();
        let limit = self.limiter.limit("second").unwrap();
        assert_eq!(limit.usage(Self::KEY).used(), second, "{}", self.what);
        assert!(second <= SECOND, "{}: {second}", self.what);
        let let_in = *self.let_in.get_mut();
        let most = self.limiter.health().slots + MOST;
        assert!(
            let_in <= most,
            "{}: {let_in} newcomers of {most}",
            self.what
        );
    }

    /// Takes a few and opens the directory again: they are there.
    pub(crate) fn close(self) {
        let is_certain = !self.may_lose_a_slot();
        let Self {
            what,
            algorithm,
            durability,
            ops,
            dir,
            limiter,
            slow,
            fast,
            ..
        } = self;
        let taken = (0..7).filter(|_| slow.check(Self::KEY).is_allowed());
        let taken = taken.count();
        assert!(taken == 7 || !is_certain, "{what}: {taken}");
        limiter
            .close()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        drop((limiter, slow, fast));
        let limiter = open(&dir, policy(algorithm, durability, BASE), ops);
        let slow = limiter.limit("slow").unwrap();
        let used = slow.usage(Self::KEY).used();
        assert!(used == 7 || !is_certain, "{what}: opened again: {used}");
    }
}

fn open(dir: &TempDir, policy: Policy, ops: [Op; 2]) -> Limiter {
    let counters = match (ops.contains(&Op::Full), ops.contains(&Op::Growth)) {
        (true, _) => 200,
        (_, true) => GROWN,
        _ => 10_000,
    };
    let first = if ops.contains(&Op::Growth) {
        1
    } else {
        counters
    };
    Limiter::builder(policy)
        .counters(counters)
        .counters_at_first(first)
        .open(dir.path().join("data"))
        .unwrap()
}
