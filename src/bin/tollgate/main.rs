//! The `tollgate` command.

mod log;

fn main() {}
