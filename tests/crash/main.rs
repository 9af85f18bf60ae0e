//! Processes that check from several threads are killed at any instant, again and again on one
//! directory: what they were told is counted, what they never asked for is not, and no limit
//! admits more than it allows.
//!
//! The test program starts itself. A life says what it is about to do and what it has done over a
//! pipe, a line a system call; then it is killed by SIGKILL. `TOLLGATE_SEED` repeats the choices of
//! a run, though not its timing.

#[path = "../common/mod.rs"]
mod common;

mod child;
mod killer;
mod ledger;

use std::fs;
use std::path::Path;
use std::time::Duration;

use tollgate::{Opened, doctor};

use child::{LIMITS, Plan, open};
use killer::{Dice, Life};
use ledger::Ledger;

/// Every durability there is.
const DURABILITIES: [&str; 3] = ["memory", "logged", "strict"];
/// Kills on one directory.
// Whole tens: in every tenth round all keys are looked at.
const ROUNDS: u64 = 110;

/// Run in a process of its own by the tests below; by itself it does nothing.
#[test]
#[ignore = "is started by the tests, in a process to be killed"]
fn life() {
    child::live();
}

/// Rounds of lives, each killed, each time with a look at what is counted.
fn rounds(durabilities: &[&'static str]) {
    let (mut plan, mut dice) = (Plan::of(durabilities), Dice::new());
    plan.moves = true;
    let dir = common::scratch();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    let data = dir.path().join("data");
    let mut ledger = Ledger::default();
    for round in 0..ROUNDS {
        let is_early = dice.below(3) == 0;
        let mut life = Life::start("take", &plan, &data, round);
        if is_early {
            // In the middle of creating or opening, as often as not.
            dice.sleep(Duration::from_millis(25));
        } else {
            life.wait_for("opened");
            dice.sleep(Duration::from_millis(40));
        }
        life.kill(&mut ledger);
        let keys = dir.path().join("keys");
        fs::write(&keys, ledger.keys()).unwrap();
        let mut look = Life::start("look", &plan, &data, dice.below(2));
        look.wait_for("looked");
        // Left as it is, or closed clean, in turns.
        if dice.below(2) == 0 {
            look.kill(&mut ledger);
        } else {
            look.end(&mut ledger);
        }
        ledger.check();
    }
    println!("{plan:?}: {ledger}");
    assert!(ledger.begun() > ROUNDS * 10, "{ledger}");
    assert!(
        ledger.spent() > 3,
        "too few limits were exhausted: {ledger}"
    );
}

#[test]
fn killed_memory_limits_keep_every_admission() {
    rounds(&["memory"]);
}

#[test]
fn killed_logged_limits_keep_every_admission() {
    rounds(&["logged"]);
}

#[test]
fn killed_strict_limits_keep_every_admission() {
    rounds(&["strict"]);
}

#[test]
fn killed_limits_of_every_durability_in_one_check_keep_every_admission() {
    rounds(&DURABILITIES);
}

#[test]
fn killed_while_it_grows_a_directory_keeps_every_admission() {
    let (mut plan, mut dice) = (Plan::of(&DURABILITIES), Dice::new());
    plan.grows = true;
    let (mut half_grown, mut begun) = (0, 0);
    for _ in 0..12 {
        let dir = common::scratch();
        let data = dir.path().join("data");
        let mut ledger = Ledger::default();
        for round in 0..6 {
            let mut life = Life::start("take", &plan, &data, round);
            life.wait_for("opened");
            dice.sleep(Duration::from_millis(60));
            life.kill(&mut ledger);
            half_grown += u64::from(is_half_grown(&data));
            fs::write(dir.path().join("keys"), ledger.keys()).unwrap();
            let mut look = Life::start("look", &plan, &data, round);
            look.wait_for("looked");
            if dice.below(2) == 0 {
                look.kill(&mut ledger);
            } else {
                look.end(&mut ledger);
            }
            ledger.check();
        }
        begun += ledger.begun();
    }
    println!("{half_grown} of 72 lives ended while words were moving, {begun} admissions");
    assert!(half_grown > 3, "{half_grown}");
}

/// True if words were on the way when the process was killed; then the doctor says so, and finds
/// nothing wrong with the table.
fn is_half_grown(data: &Path) -> bool {
    let is_next = |name: &str| name.ends_with(".next");
    let mut names = fs::read_dir(data.join("table")).unwrap();
    let found = names.any(|entry| is_next(entry.unwrap().file_name().to_str().unwrap()));
    if found {
        let report = doctor::examine(data).unwrap().to_string();
        assert!(!report.contains("no search finds them"), "{report}");
        assert!(!report.contains("it will be rebuilt"), "{report}");
    }
    found
}

#[test]
fn killed_while_it_is_made_a_directory_opens() {
    let mut dice = Dice::new();
    let plan = Plan::of(&DURABILITIES);
    for round in 0..40 {
        let dir = common::scratch();
        let data = dir.path().join("data");
        let life = Life::start("take", &plan, &data, round);
        dice.sleep(Duration::from_millis(15));
        let mut ledger = Ledger::default();
        life.kill(&mut ledger);
        fs::write(dir.path().join("keys"), ledger.keys()).unwrap();
        let mut look = Life::start("look", &plan, &data, round);
        look.wait_for("looked");
        look.end(&mut ledger);
        ledger.check();
    }
}

/// Kills lives before they have opened, until a hundred have died so.
fn crash_loop(plan: &Plan, data: &Path, dice: &mut Dice) {
    let (mut died, mut tries) = (0, 0);
    // Grows and shrinks, so that about half of the lives die early on any machine.
    let mut most = Duration::from_millis(12);
    while died < 100 {
        tries += 1;
        assert!(tries < 2_000, "only {died} of {tries} died while opening");
        let life = Life::start("open", plan, data, tries);
        dice.sleep(most);
        if life.kill(&mut Ledger::default()) {
            most = most.mul_f64(0.9);
        } else {
            died += 1;
            most = most.mul_f64(1.1);
        }
    }
    println!("{died} of {tries} died while opening");
}

#[test]
fn killed_a_hundred_times_while_opening_nothing_goes_down() {
    let mut dice = Dice::new();
    let plan = Plan::of(&DURABILITIES);
    let dir = common::scratch();
    let data = dir.path().join("data");
    let mut ledger = Ledger::default();
    let mut life = Life::start("take", &plan, &data, 0);
    life.wait_for("opened");
    std::thread::sleep(Duration::from_millis(60));
    life.kill(&mut ledger);
    crash_loop(&plan, &data, &mut dice);
    fs::write(dir.path().join("keys"), ledger.keys()).unwrap();
    let mut look = Life::start("look", &plan, &data, 0);
    look.wait_for("looked");
    look.end(&mut ledger);
    ledger.check();
    assert!(ledger.begun() > 10, "{ledger}");
}

#[test]
fn killed_a_hundred_times_while_rebuilding_nothing_goes_down() {
    let mut dice = Dice::new();
    let plan = Plan::of(&["logged"]);
    let dir = common::scratch();
    let data = dir.path().join("data");
    let limiter = open(&plan, &data, 0);
    for number in 0..500 {
        child::take(&limiter, &format!("user {number}"));
    }
    limiter.close().unwrap();
    drop(limiter);
    fs::remove_dir_all(data.join("table")).unwrap();
    crash_loop(&plan, &data, &mut dice);
    let limiter = open(&plan, &data, 0);
    for number in 0..500 {
        let counts = child::counts(&limiter, &format!("user {number}"));
        assert_eq!(counts, [1; LIMITS.len()], "{:?}", limiter.health());
    }
}

/// A word that was on its way to the journal when the process was killed is on its way still:
/// once the next life has flushed, it needs no table to be known.
#[test]
fn what_a_kill_interrupts_is_journaled_by_the_next_life() {
    let mut dice = Dice::new();
    // The writer is at work all the time.
    let mut plan = Plan::of(&["logged"]);
    plan.interval = Duration::from_micros(100);
    let dir = common::scratch();
    let data = dir.path().join("data");
    let mut ledger = Ledger::default();
    for round in 0..40 {
        let mut life = Life::start("take", &plan, &data, round);
        life.wait_for("opened");
        dice.sleep(Duration::from_millis(30));
        life.kill(&mut ledger);
        fs::write(dir.path().join("keys"), ledger.keys()).unwrap();
        let mut look = Life::start("flush", &plan, &data, round);
        look.wait_for("looked");
        look.kill(&mut ledger);
        ledger.check();
        // What another kernel would find: the journal, and no table to believe.
        let copy = dir.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        common::copy(&data, &copy);
        fs::remove_dir_all(copy.join("table")).unwrap();
        let limiter = open(&plan, &copy, 0);
        let opened = limiter.health().opened;
        assert!(matches!(opened, Opened::SetAside { .. }), "{opened}");
        for (key, counted) in ledger.counted() {
            let counts = child::counts(&limiter, key);
            assert_eq!(counts, counted, "round {round}: {key} in the journal");
        }
    }
    assert!(ledger.begun() > 400, "{ledger}");
}
