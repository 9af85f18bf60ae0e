//! Every call to the disk fails, in turn, once and for ever.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tollgate::{Limiter, Opened, Verdict};

use crate::shim::{EVER, Faults, Plan, errno, kind};
use crate::world::{RESERVE, USERS, open, take, used};

/// Panics of any thread but the journal's own, which is there to be taken down by its engine.
fn count_panics() -> Arc<AtomicU64> {
    let panics = Arc::new(AtomicU64::new(0));
    let counted = panics.clone();
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let thread = std::thread::current();
        if thread.name() != Some("tollgate-store") {
            counted.fetch_add(1, Ordering::SeqCst);
            usual(info);
        }
    }));
    panics
}

const ACCOUNT: &str = "acme";

/// What was admitted, and what of it was said to be durable.
#[derive(Default, Clone, Debug)]
struct Told {
    admitted: BTreeMap<usize, u64>,
    durable: BTreeMap<usize, u64>,
    /// By the strict limit, each durable.
    strict: u64,
    /// What a rebuilding may have counted too much of it.
    reserved: u64,
}

fn strict(limiter: &Limiter) -> tollgate::Limit {
    limiter.limit("strict").unwrap()
}

impl Told {
    fn admit(&mut self, limiter: &Limiter) {
        for user in 0..USERS {
            assert!(
                take(limiter, user),
                "a check is never refused for the disk's sake"
            );
            *self.admitted.entry(user).or_default() += 1;
        }
        // A strict limit may refuse for the disk's sake, and only for that.
        let decision = strict(limiter).check(ACCOUNT);
        match decision.verdict() {
            Verdict::Allowed => self.strict += 1,
            verdict => assert_eq!(verdict, Verdict::Unwritable, "{decision:?}"),
        }
    }

    fn flush(&mut self, limiter: &Limiter) -> Result<(), String> {
        let asked = self.admitted.clone();
        limiter.flush().map_err(|error| error.to_string())?;
        self.durable = asked;
        Ok(())
    }

    /// The engine overwrites what it cannot read while it opens. It is told of, and what was
    /// before is forgotten.
    fn forget_if_told(&mut self, limiter: &Limiter) {
        let health = limiter.health();
        let lost = |trouble: &String| trouble.contains("the journal has lost commits");
        let is_rebuilt = matches!(health.opened, Opened::SetAside { .. });
        if is_rebuilt && health.recovery.troubles.iter().any(lost) {
            println!("lost, and told: {health:?}");
            *self = Self {
                strict: self.strict,
                reserved: self.reserved,
                ..Self::default()
            };
        }
    }

    fn assert_kept(&self, limiter: &Limiter, what: &str) {
        for user in 0..USERS {
            let admitted = self.admitted.get(&user).copied().unwrap_or(0);
            assert_eq!(used(limiter, user), admitted, "user {user}: {what}");
        }
        let found = strict(limiter).usage(ACCOUNT).used();
        let told = (self.strict..=self.strict + self.reserved).contains(&found);
        assert!(told, "strict: {} <= {found}: {what}", self.strict);
    }

    fn assert_durable(&self, limiter: &Limiter, what: &str) {
        for user in 0..USERS {
            let [durable, admitted] = [&self.durable, &self.admitted]
                .map(|counts| counts.get(&user).copied().unwrap_or(0));
            let found = used(limiter, user);
            let told = (durable..=admitted).contains(&found);
            assert!(
                told,
                "user {user}: {durable} <= {found} <= {admitted}: {what}"
            );
        }
        let found = strict(limiter).usage(ACCOUNT).used();
        let told = (self.strict..=self.strict + self.reserved + RESERVE).contains(&found);
        assert!(told, "strict: {} <= {found}: {what}", self.strict);
    }
}

/// A flush has failed: the health says why, at the journal or at the reservations. Which of the two
/// meets the failing disk first depends on when their threads come to write.
fn assert_told(limiter: &Limiter, what: &str) {
    let health = limiter.health();
    let writing = &health.writing;
    let of_journal = writing.trouble.as_ref();
    assert!(of_journal.is_none_or(|trouble| writing.durable_at <= trouble.since));
    let trouble = of_journal.or(health.reservations.trouble.as_ref());
    let trouble = trouble.unwrap_or_else(|| panic!("{what}: {health:?}"));
    assert!(!trouble.why.is_empty(), "{what}");
}

/// Opens, takes, flushes, overrides, closes, on a disk that may fail; then on one that is well
/// again; then after a power cut.
fn live(faults: &Faults, data: &Path, plan: Plan, mut told: Told) {
    let what = format!("{plan:?}");
    faults.plan(plan);
    match open(data) {
        Ok(limiter) => {
            told.forget_if_told(&limiter);
            for _ in 0..2 {
                told.admit(&limiter);
                let flushed = told.flush(&limiter);
                if plan.times == EVER
                    && let Err(why) = flushed
                {
                    assert_told(&limiter, &format!("{what}: {why}"));
                }
            }
            if let Err(error) = limiter.set_override("other", &["nobody"], "5/day") {
                assert!(error.path().is_some(), "{what}: {error}");
            }
            told.admit(&limiter);
            if plan.times != EVER {
                // Nobody has healed anything: it is all tried again.
                told.flush(&limiter)
                    .or_else(|_| told.flush(&limiter))
                    .unwrap_or_else(|why| panic!("{what}: {why}"));
            }
            told.assert_kept(&limiter, &format!("{what}: {:?}", limiter.health()));
            let closed = limiter.close();
            drop(limiter);
            assert!(
                closed.is_ok() || faults.injected() > 0,
                "{what}: {closed:?}"
            );
        }
        Err(error) => {
            assert!(faults.injected() > 0, "{what}: {error}");
            assert!(
                error.path().is_some() || error.is_journal(),
                "{what}: {error}"
            );
        }
    }
    faults.heal();
    after(faults, data, told, &what);
}

/// The disk is well again: what was told holds.
fn after(faults: &Faults, data: &Path, mut told: Told, what: &str) {
    let image = faults.safe("image");
    if data.join("header").exists() {
        faults.cut_power(data, &image);
        let limiter = open(&image).unwrap_or_else(|error| panic!("{what}: {error}"));
        told.assert_durable(&limiter, &format!("{what}: {:?}", limiter.health()));
    }
    let limiter = open(data).unwrap_or_else(|error| panic!("{what}: {error}"));
    told.assert_kept(&limiter, &format!("{what}: {:?}", limiter.health()));
    told.admit(&limiter);
    told.flush(&limiter)
        .unwrap_or_else(|why| panic!("{what}: {why}"));
    assert!(limiter.health().writing.trouble.is_none(), "{what}");
    faults.cut_power(data, &image);
    let recovered = open(&image).unwrap();
    told.assert_durable(
        &recovered,
        &format!("again: {what}: {:?}", recovered.health()),
    );
    limiter.close().unwrap();
    std::fs::remove_dir_all(data).unwrap();
}

/// Lets the first call fail, then the second, and so on, until none is left to fail.
fn each(faults: &Faults, plan: Plan, begin: impl Fn(&Path) -> Told) -> i64 {
    for number in 1.. {
        let data = faults.path("data");
        faults.heal();
        let told = begin(&data);
        let plan = Plan {
            from: number,
            ..plan
        };
        live(faults, &data, plan, told);
        if faults.injected() == 0 {
            return number - 1;
        }
    }
    0
}

/// There is no directory yet.
fn new(_: &Path) -> Told {
    Told::default()
}

/// A directory in which something was admitted and flushed, and more was admitted, closed clean.
fn used_before(data: &Path) -> Told {
    let mut told = Told::default();
    let limiter = open(data).unwrap();
    told.admit(&limiter);
    told.flush(&limiter).unwrap();
    told.admit(&limiter);
    limiter.close().unwrap();
    told.durable = told.admitted.clone();
    told
}

/// The same, whose table is gone: it is rebuilt from the journal.
fn without_table(data: &Path) -> Told {
    let told = Told {
        reserved: RESERVE,
        ..used_before(data)
    };
    std::fs::remove_dir_all(data.join("table")).unwrap();
    told
}

fn sweep(faults: &Faults, times: i64, begin: impl Fn(&Path) -> Told) {
    let panics = count_panics();
    let plan = Plan {
        times,
        ..Plan::all(kind::ALL, errno::EIO)
    };
    let calls = each(faults, plan, begin);
    println!("{calls} calls failed in turn");
    assert!(calls > 50, "{calls}");
    assert_eq!(panics.load(Ordering::SeqCst), 0);
}

#[test]
fn fault_43_each_call_fails_once_in_a_new_directory() {
    if let Some(faults) = Faults::here("each::fault_43_each_call_fails_once_in_a_new_directory") {
        sweep(&faults, 1, new);
    }
}

#[test]
fn fault_43_each_call_and_all_after_fail_in_a_new_directory() {
    let name = "each::fault_43_each_call_and_all_after_fail_in_a_new_directory";
    if let Some(faults) = Faults::here(name) {
        sweep(&faults, EVER, new);
    }
}

#[test]
fn fault_43_each_call_fails_once_in_a_used_directory() {
    if let Some(faults) = Faults::here("each::fault_43_each_call_fails_once_in_a_used_directory") {
        sweep(&faults, 1, used_before);
    }
}

#[test]
fn fault_43_each_call_and_all_after_fail_in_a_used_directory() {
    let name = "each::fault_43_each_call_and_all_after_fail_in_a_used_directory";
    if let Some(faults) = Faults::here(name) {
        sweep(&faults, EVER, used_before);
    }
}

#[test]
fn fault_43_each_call_fails_once_in_a_rebuild() {
    if let Some(faults) = Faults::here("each::fault_43_each_call_fails_once_in_a_rebuild") {
        sweep(&faults, 1, without_table);
    }
}

#[test]
fn fault_43_each_call_and_all_after_fail_in_a_rebuild() {
    let name = "each::fault_43_each_call_and_all_after_fail_in_a_rebuild";
    if let Some(faults) = Faults::here(name) {
        sweep(&faults, EVER, without_table);
    }
}

#[test]
fn fault_42_interrupted_calls_and_short_reads_and_writes_are_gone_on_with() {
    let name = "each::fault_42_interrupted_calls_and_short_reads_and_writes_are_gone_on_with";
    let Some(faults) = Faults::here(name) else {
        return;
    };
    let panics = count_panics();
    let interrupted = kind::OPEN | kind::READ | kind::WRITE | kind::SYNC | kind::SIZE;
    let plan = Plan {
        times: 1,
        ..Plan::all(interrupted, errno::EINTR)
    };
    assert!(each(&faults, plan, used_before) > 50);
    let short = Plan {
        is_short: true,
        ..Plan::all(kind::READ | kind::WRITE, errno::EIO)
    };
    assert!(each(&faults, Plan { times: 1, ..short }, used_before) > 20);
    // All of them short: each goes on until all is there.
    live(&faults, &faults.path("data"), short, Told::default());
    assert_eq!(panics.load(Ordering::SeqCst), 0);
}
