//! Rounds in which all take turns, their medians and their spread.

use std::fmt;
use std::sync::Barrier;
use std::time::Instant;

use crate::keys::{Keys, Order};
use crate::peers::Peer;

pub struct Rounds {
    pub rounds: usize,
    pub threads: usize,
    /// Checks a thread in a round.
    pub block: usize,
}

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
    let mut times = vec![Vec::new(); peers.len()];
    let mut admitted = vec![0; peers.len()];
    for round in 0..of.rounds {
        let seed = |thread| (round * 64 + thread) as u64;
        let orders: Vec<_> = (0..of.threads)
            .map(|thread| keys.order(order, seed(thread), of.block))
            .collect();
        for turn in 0..peers.len() {
            let turn = (turn + round) % peers.len();
            let (nanos, number) = together(&*peers[turn], keys, &orders);
            times[turn].push(nanos);
            admitted[turn] += number;
        }
    }
    let name = |place: usize| peers[place].name();
    for place in 1..peers.len() {
        let (ours, theirs) = (admitted[0], admitted[place]);
        assert_eq!(
            ours,
            theirs,
            "admitted by {} and by {}",
            name(0),
            name(place)
        );
    }
    times
        .into_iter()
        .enumerate()
        .map(|(place, times)| Figure::of(name(place), times))
        .collect()
}

/// All threads at once; nanoseconds a check of one thread, and how many were admitted.
fn together(peer: &dyn Peer, keys: &Keys, orders: &[Vec<u32>]) -> (f64, u64) {
    if let [order] = orders {
        let began = Instant::now();
        let admitted = peer.run(&keys.0, order);
        return (
            began.elapsed().as_secs_f64() * 1e9 / order.len() as f64,
            admitted,
        );
    }
    let barrier = Barrier::new(orders.len());
    let run = |order: &Vec<u32>| {
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
