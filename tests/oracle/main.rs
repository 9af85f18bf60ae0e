//! The whole limiter against a naive model of it: random policies, random lives, equal answers.

#[path = "../common/mod.rs"]
mod common;
mod event;
mod life;
mod model;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_limiter_is_its_model(bytes in prop::collection::vec(any::<u8>(), 20..500)) {
        life::live(&bytes);
    }
}
