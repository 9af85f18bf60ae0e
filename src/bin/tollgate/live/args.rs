//! The command lines of what is asked of a running service.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum LiveCommand {
    Override(OverrideArgs),
    Reset(ResetArgs),
    Reload(ReloadArgs),
    Health(HealthArgs),
    Top(TopArgs),
}

/// A directory that a service may have open.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The limiter's directory
    #[arg(value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The policy, as TOML or JSON; needed only while no service has the directory open
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) policy: Option<PathBuf>,
}

const OVERRIDE_HELP: &str = "\
Examples:
  tollgate override /var/lib/app/limits set --limit upload --key alice --rate 500/min
  tollgate override /var/lib/app/limits remove --limit upload --key alice
  tollgate override /var/lib/app/limits list --json

An override holds at once, is kept in the directory, and stays through changes of the policy. What
the key has used stays used.";

/// Give single keys rates of their own
#[derive(Debug, Args)]
#[command(after_help = OVERRIDE_HELP)]
pub(crate) struct OverrideArgs {
    #[command(flatten)]
    pub(crate) at: At,
    #[command(subcommand)]
    pub(crate) command: OverrideCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OverrideCommand {
    /// Give a key a rate of its own, in place of the one it may have
    Set {
        /// The limit's name
        #[arg(long, value_name = "NAME")]
        limit: String,
        /// The key; once for each part of a joined key
        #[arg(long, value_name = "VALUE", required = true)]
        key: Vec<String>,
        /// The rate as a policy says it, such as 500/min, or how many run at a time
        #[arg(long, value_name = "RATE")]
        rate: String,
    },
    /// Take a key's own rate back
    Remove {
        /// The limit's name
        #[arg(long, value_name = "NAME")]
        limit: String,
        /// The key; once for each part of a joined key
        #[arg(long, value_name = "VALUE", required = true)]
        key: Vec<String>,
    },
    /// Show what is overridden
    List {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
}

const RESET_HELP: &str = "\
Examples:
  tollgate reset /var/lib/app/limits alice
  tollgate reset /var/lib/app/limits red alice --limit per-team-member

Without --limit every limit is reset whose key can be this one.";

/// Forget what a key has used
#[derive(Debug, Args)]
#[command(after_help = RESET_HELP)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    pub(crate) at: At,
    /// The key; its parts in the order of the limit's key
    #[arg(value_name = "KEY", required = true)]
    pub(crate) key: Vec<String>,
    /// Only of this limit
    #[arg(long, value_name = "NAME")]
    pub(crate) limit: Option<String>,
}

const RELOAD_HELP: &str = "\
Examples:
  tollgate reload /var/lib/app/limits
  tollgate reload /var/lib/app/limits trial.toml

Without POLICY the service reads its own file again. With one, that policy is in force until the
service ends, reloads, or is told another.";

/// Have a running service read its policy again, and show what that changes
#[derive(Debug, Args)]
#[command(after_help = RELOAD_HELP)]
pub(crate) struct ReloadArgs {
    /// The limiter's directory
    #[arg(value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Another policy to put in force, as TOML or JSON
    #[arg(value_name = "POLICY")]
    pub(crate) policy: Option<PathBuf>,
    /// Print what it changes as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show how a running service's limiter is doing
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// The limiter's directory
    #[arg(value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const TOP_HELP: &str = "\
Examples:
  tollgate top /var/lib/app/limits
  tollgate top /var/lib/app/limits | head
  tollgate top /var/lib/app/limits --json --seconds 4 | jq '.busiest[0]'

The service counts from the first look on, and until five seconds after the last; of many decisions
some are looked at, which stand for the others. Without a terminal there is one look, in lines.";

/// Watch a running service's limits and keys
#[derive(Debug, Args)]
#[command(after_help = TOP_HELP)]
pub(crate) struct TopArgs {
    /// The limiter's directory
    #[arg(value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// One look in lines, in a terminal, too
    #[arg(long)]
    pub(crate) plain: bool,
    /// One look as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// How long to count for one look
    #[arg(long, value_name = "SECS", default_value = "1", value_parser = seconds)]
    pub(crate) seconds: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let secs: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    let most = 4.0;
    match secs > 0.0 && secs <= most {
        true => Ok(Duration::from_secs_f64(secs)),
        false => Err(format!("from above 0 to {most}")),
    }
}
