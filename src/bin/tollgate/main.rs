//! The `tollgate` command.

mod log;
mod replay;
mod report;

fn main() {}
