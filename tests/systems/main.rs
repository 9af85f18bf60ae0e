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
#[path = "../common/mod.rs"]
mod common;
mod http;
mod katforge;
mod process;
mod skakio;
mod stream;
mod world;
