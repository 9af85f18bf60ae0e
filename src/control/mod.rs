//! The control socket: how a running limiter is looked at and changed from outside.
//!
//! A process that has a directory open listens on a Unix socket in it. A connection carries frames,
//! of which each side sends one at a time:
//!
//! ```text
//! frame      length of the body, u32 little-endian | kind, u8 | body
//! 1 hello    {"tollgate": [OLDEST, NEWEST]}        from the client, first: versions it speaks
//! 1 hello    {"tollgate": VERSION, "pid": N}       from the server: the version they speak
//! 2 call     {"call": NAME, "with": {...}}         from the client
//! 3 reply    JSON                                  from the server
//! 4 error    {"status": N, "error": TEXT}          from the server; statuses as in HTTP
//! ```
//!
//! Other kinds are free for what a later version adds. This room carries calls and knows none of
//! them: whoever opens a server says what they do.

mod client;
mod frame;
mod place;
mod server;
mod session;
#[cfg(test)]
mod tests;

pub use client::{CallError, Connection};
pub(crate) use server::{Caller, Server};
pub(crate) use session::Refusal;
#[cfg(fuzzing)]
pub(crate) use session::fuzzed;

/// The version of the protocol that is spoken here, the oldest and the newest.
const VERSION: u64 = 1;
