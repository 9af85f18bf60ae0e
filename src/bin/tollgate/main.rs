//! The `tollgate` command: policies tried on logs, counters looked at, decisions for scripts.

mod args;
mod check;
mod doctor;
mod judge;
mod live;
mod log;
mod out;
mod policy;
mod rate;
mod replay;
mod report;
mod run;
mod suggest;
mod trial;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Exit status of an error, as of a command line that makes no sense.
const ERROR: u8 = 2;

fn main() -> ExitCode {
    let done = match &Cli::parse().command {
        Command::Replay(args) => run::replay(args),
        Command::Check(args) => check::check(args),
        Command::Usage(args) => check::usage(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Live(command) => live::run(command),
        Command::Policy(command) => policy::run(command),
    };
    done.unwrap_or_else(|fault| {
        out::note(format_args!("tollgate: {fault:#}"));
        ExitCode::from(ERROR)
    })
}
