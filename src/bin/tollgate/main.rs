//! The `tollgate` command.

mod log;
mod replay;

fn main() {}
