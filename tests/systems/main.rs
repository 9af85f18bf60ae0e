//! The five systems over HTTP: one test for each row of what they must do, named by its id, with a
//! real client over a real socket.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../../examples/server/app.rs"]
mod app;
mod chameleon;
mod chastify;
#[cfg(feature = "client")]
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod edges;
mod grpc;
#[path = "../../examples/grpc.rs"]
#[allow(dead_code, reason = "a test does not run an example's main")]
mod grpc_example;
#[path = "../../examples/hyper.rs"]
#[allow(dead_code, reason = "a test does not run an example's main")]
mod hyper_example;
mod katforge;
mod layer;
mod outside;
mod peers;
mod process;
mod skakio;
#[path = "../common/skipped.rs"]
mod skipped;
mod stream;
mod world;
