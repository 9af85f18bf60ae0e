//! Keys of 24 bytes, and the orders in which they are asked for.

use std::fmt;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::Zipf;

pub struct Keys(pub Vec<String>);

impl Keys {
    pub fn new(count: usize) -> Self {
        Self(
            (0..count)
                .map(|number| format!("user-{number:019}"))
                .collect(),
        )
    }

    /// So many keys' places in an order of its own, the same in every run.
    pub fn order(&self, order: Order, seed: u64, length: usize) -> Vec<u32> {
        let mut random = SmallRng::seed_from_u64(seed);
        let count = self.0.len();
        let place = |number: usize| u32::try_from(number).expect("fewer than 2^32 keys");
        match order {
            Order::Uniform => {
                let draw = |_| place(random.random_range(0..count));
                (0..length).map(draw).collect()
            }
            Order::Zipf => {
                let zipf = Zipf::new(count as f64, 0.99).expect("an exponent above zero");
                // The popular keys lie anywhere, not next to each other.
                let scattered = |rank: f64| (rank as usize).wrapping_mul(2_654_435_761) % count;
                (0..length)
                    .map(|_| place(scattered(random.sample(zipf))))
                    .collect()
            }
        }
    }
}

#[derive(Clone, Copy)]
pub enum Order {
    Uniform,
    Zipf,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uniform => "uniform",
            Self::Zipf => "Zipf 0.99",
        })
    }
}
