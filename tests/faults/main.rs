//! Faults of the disk and of the world around a limiter, by their numbers.

#[path = "../common/mod.rs"]
mod common;
mod each;
mod shim;
mod world;
