//! Faults of the disk and of the world around a limiter, by their numbers.

mod away;
#[path = "../common/mod.rs"]
mod common;
mod each;
mod full;
mod killed;
mod lives;
mod mount;
mod shapes;
mod shim;
mod slow;
mod world;
