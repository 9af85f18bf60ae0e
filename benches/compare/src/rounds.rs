//! Rounds in which all take turns, their medians and their spread.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::keys::{Keys, Order};
use crate::peers::Peer;

pub struct Rounds {
    pub rounds: usize,
    pub threads: usize,
}

/// How long a turn takes, about. As long for each of them, however many checks come to it: what
/// stands in the caches is then mostly what one left there itself.
const TURN: Duration = Duration::from_millis(25);

/// Checks a thread in a turn, at the least and at the most.
const BLOCK: RangeInclusive<usize> = 100..=500_000;

/// Nanoseconds a check.
pub struct Figure {
    pub name: &'static str,
    pub median: f64,
    pub spread: f64,
}

impl Figure {
    pub fn of(name: &'static str, mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
        Self {
            name,
            median: at(0.5),
            spread: (at(0.75) - at(0.25)) / 2.0,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.median < 100.0 {
            true => write!(f, "{:.1} ± {:.1}", self.median, self.spread),
            false => write!(f, "{:.0} ± {:.0}", self.median, self.spread),
        }
    }
}

/// What is timed, by name: does its work so many times.
pub type Timed<'a> = (&'static str, Box<dyn FnMut(u64) + 'a>);

/// Lets all have their turns, on one thread; nanoseconds each time.
pub fn turns(all: &mut [Timed<'_>], rounds: usize, block: u64) -> Vec<Figure> {
    // Once beforehand, which makes what is made but once.
    all.iter_mut().for_each(|(_, work)| work(block));
    let (mut times, number) = (vec![Vec::new(); all.len()], all.len());
    for round in 0..rounds {
        for turn in 0..number {
            let turn = (turn + round) % number;
            let began = Instant::now();
            (all[turn].1)(block);
            times[turn].push(began.elapsed().as_secs_f64() * 1e9 / block as f64);
        }
    }
    let figures = all
        .iter()
        .zip(times)
        .map(|((name, _), times)| Figure::of(name, times));
    figures.collect()
}

/// Lets all have their turns.
pub fn row(peers: &[Box<dyn Peer>], keys: &Keys, order: Order, of: &Rounds) -> Vec<Figure> {
    // Every key once beforehand: what is timed are keys seen before.
    let once: Vec<_> = (0..u32::try_from(keys.0.len()).expect("few keys")).collect();
    for peer in peers {
        peer.run(&keys.0, &once);
    }
    let orders = |seed: usize, block| -> Vec<_> {
        let seed = |thread| (seed * 64 + thread) as u64;
        let threads = 0..of.threads;
        let order = |thread| keys.order(order, seed(thread), block);
        threads.map(order).collect()
    };
    let mut all: Vec<_> = peers.iter().map(|peer| Turns::new(&**peer)).collect();
    // A few of an order that no round has.
    let few = orders(of.rounds, 4_000);
    all.iter_mut().for_each(|one| one.take_measure(keys, &few));
    for round in 0..of.rounds {
        let longest = all.iter().map(|one| one.block).max().unwrap_or(0);
        let orders = orders(round, longest);
        for turn in 0..all.len() {
            let turn = (turn + round) % peers.len();
            let nanos = all[turn].run(keys, &orders);
            all[turn].times.push(nanos);
        }
    }
    if let [first, others @ ..] = &all[..] {
        others.iter().for_each(|other| first.agree(other));
    }
    let figure = |one: Turns<'_>| Figure::of(one.peer.name(), one.times);
    all.into_iter().map(figure).collect()
}

/// One of those who take turns.
struct Turns<'p> {
    peer: &'p dyn Peer,
    /// Checks a thread in a turn.
    block: usize,
    /// Nanoseconds a check, turn by turn.
    times: Vec<f64>,
    asked: u64,
    admitted: u64,
}

impl<'p> Turns<'p> {
    fn new(peer: &'p dyn Peer) -> Self {
        Self {
            peer,
            block: *BLOCK.start(),
            times: Vec::new(),
            asked: 0,
            admitted: 0,
        }
    }

    /// Finds how many checks come to a turn, at first by a few, which make what is made but once.
    fn take_measure(&mut self, keys: &Keys, orders: &[Vec<u32>]) {
        for most in [orders[0].len(), *BLOCK.end()] {
            let nanos = self.run(keys, orders);
            let checks = TURN.as_nanos() as f64 / nanos;
            self.block = (checks as usize).clamp(*BLOCK.start(), most);
        }
    }

    /// Has its turn; nanoseconds a check.
    fn run(&mut self, keys: &Keys, orders: &[Vec<u32>]) -> f64 {
        let orders: Vec<_> = orders.iter().map(|order| &order[..self.block]).collect();
        let (nanos, admitted) = together(self.peer, keys, &orders);
        self.asked += (self.block * orders.len()) as u64;
        self.admitted += admitted;
        nanos
    }

    /// Both refused nothing, or both admitted as many.
    fn agree(&self, other: &Self) {
        let both = [self, other];
        let refused = both.map(|one| one.asked - one.admitted);
        let [ours, theirs] = both.map(|one| one.admitted);
        let [name, their_name] = both.map(|one| one.peer.name());
        assert!(
            refused == [0, 0] || ours == theirs,
            "admitted by {name}: {ours}, and by {their_name}: {theirs}; refused: {refused:?}",
        );
    }
}

/// All threads at once; nanoseconds a check of one thread, and how many were admitted.
fn together(peer: &dyn Peer, keys: &Keys, orders: &[&[u32]]) -> (f64, u64) {
    if let [order] = orders {
        let began = Instant::now();
        let admitted = peer.run(&keys.0, order);
        return (
            began.elapsed().as_secs_f64() * 1e9 / order.len() as f64,
            admitted,
        );
    }
    let barrier = Barrier::new(orders.len());
    let run = |order: &[u32]| {
        barrier.wait();
        let began = Instant::now();
        let admitted = peer.run(&keys.0, order);
        (
            began.elapsed().as_secs_f64() * 1e9 / order.len() as f64,
            admitted,
        )
    };
    let run = &run;
    std::thread::scope(|scope| {
        let threads: Vec<_> = orders
            .iter()
            .map(|order| scope.spawn(move || run(order)))
            .collect();
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().expect("it ends"));
        ended.fold((0.0, 0), |(slowest, all), (nanos, number)| {
            (nanos.max(slowest), all + number)
        })
    })
}
