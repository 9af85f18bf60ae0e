//! Every pair of operations at once, by real threads, on the system's clock: for each algorithm and
//! durability, what is counted and what is admitted is what an exact ledger says.
//!
//! A few seconds of it belong to every run of the tests. For longer, and to repeat the order:
//!
//! ```text
//! TOLLGATE_PAIRS_SECONDS=600 cargo test --release --test pairs -- --nocapture
//! TOLLGATE_PAIRS_SEED=7 cargo test --test pairs -- --nocapture
//! ```

#[path = "../common/mod.rs"]
mod common;
mod ledger;
mod ops;
mod world;

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ops::{Dice, Op};
use world::{Algorithm, Durability, World};

/// What is to be tried together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Combination {
    algorithm: Algorithm,
    durability: Durability,
    ops: [Op; 2],
}

/// All of them, an operation beside itself included.
fn combinations() -> Vec<Combination> {
    let mut all = Vec::new();
    for algorithm in Algorithm::ALL {
        for durability in Durability::ALL {
            for (place, one) in Op::ALL.into_iter().enumerate() {
                all.extend(Op::ALL[place..].iter().map(|other| Combination {
                    algorithm,
                    durability,
                    ops: [one, *other],
                }));
            }
        }
    }
    all
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

#[test]
fn every_pair_of_operations_admits_what_the_limit_allows() {
    let seconds = number("TOLLGATE_PAIRS_SECONDS").unwrap_or(4);
    let drawn = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64
    };
    let seed = number("TOLLGATE_PAIRS_SEED").unwrap_or_else(drawn);
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let mut all = combinations();
    for place in (1..all.len()).rev() {
        all.swap(place, dice.below(place as u64 + 1) as usize);
    }
    let (begun, length) = (Instant::now(), Duration::from_secs(seconds));
    let slot = length / u32::try_from(all.len()).unwrap();
    let mut until = begun;
    let (mut tried, mut rounds, mut acts) = (HashSet::new(), 0, 0);
    for combination in all.iter().cycle() {
        if begun.elapsed() >= length {
            break;
        }
        let what = format!("seed {seed}, {combination:?}");
        let Combination {
            algorithm,
            durability,
            ops,
        } = *combination;
        let mut world = World::new(what, algorithm, durability, ops);
        // Each has a round at least, whatever the others took.
        until += slot;
        loop {
            acts += world.round(&mut dice);
            rounds += 1;
            if Instant::now() >= until {
                break;
            }
        }
        world.close();
        tried.insert(*combination);
    }
    let (tried, all) = (tried.len(), all.len());
    println!("{tried} of {all} combinations, {rounds} rounds, {acts} acts in {seconds} s");
    assert!(tried > 0);
}
