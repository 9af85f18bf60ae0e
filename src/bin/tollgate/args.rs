//! The command line: what can be asked for.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jiff::tz::TimeZone;
use tollgate::Timestamp;

use crate::live::LiveCommand;
use crate::log::{FORMATS_HELP, FieldMap, Format};
use crate::replay::Show;
use crate::suggest::AtMost;

/// An embedded, persistent rate limiter: try policies on logs, look at counters, decide.
#[derive(Debug, Parser)]
#[command(
    name = "tollgate",
    version,
    max_term_width = 100,
    propagate_version = true
)]
#[command(
    after_help = "Exit status: 0 done or allowed, 1 refused (check) or found (doctor), 2 error, \
                  130 interrupted (replay). Errors go to standard error."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Replay(ReplayArgs),
    Check(CheckArgs),
    Usage(UsageArgs),
    Doctor(DoctorArgs),
    #[command(flatten)]
    Live(LiveCommand),
    #[command(subcommand)]
    Policy(PolicyCommand),
}

const REPLAY_HELP: &str = "\
Examples:
  tollgate replay access.log --policy limits.toml --data replay
  tollgate replay old.log.gz access.log --policy limits.toml --data replay --report report.html
  zcat *.gz | tollgate replay - --policy limits.toml --data replay --json
  tollgate replay calls.jsonl --map time=when,key=api_key --policy limits.toml --data replay
  tollgate replay access.log --policy limits.toml --data replay --resume
  tollgate replay access.log --policy now.toml --policy next.toml --data replay --report both.html
  tollgate replay access.log --policy limits.toml --data replay --suggest suggested.toml
  tollgate replay access.log --policy limits.toml --data replay --follow

Attributes of a request in the common and combined formats: ip, host, vhost, user, query, protocol,
status, bytes, referer, user_agent, forwarded_for. In JSON and CSV every field is one, by its name
or by the one that --map gives it; time, method, path, request and cost have a meaning of their own.

A killed replay goes on with --resume from its last checkpoint, which holds the counters and the
totals of one and the same moment: nothing is lost or counted twice. The same command again, without
--resume, begins anew if the replay was finished; --fresh begins anew in any case.";

/// Replay access logs against a policy: what would have been refused, and why
///
/// Requests are judged at the times of the log. Counters, checkpoints and what else a replay keeps
/// are in a directory of its own.
#[derive(Debug, Args)]
#[command(after_help = format!("{REPLAY_HELP}\n\n{FORMATS_HELP}"))]
pub(crate) struct ReplayArgs {
    /// Logs, in the order of their time; `-` is standard input; gzip, bzip2, xz and zstd are
    /// recognised
    #[arg(required = true, value_name = "LOG")]
    pub(crate) logs: Vec<String>,
    /// The policy, as TOML or JSON; several are compared, each with the first
    #[arg(long, required = true, value_name = "FILE")]
    pub(crate) policy: Vec<PathBuf>,
    /// Directory to keep counters and checkpoints in; made if it does not exist, and cleared of a
    /// replay that is finished
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Go on with the replay that the directory holds
    #[arg(long)]
    pub(crate) resume: bool,
    /// Begin anew, even if the directory holds a replay that is not finished
    #[arg(long, conflicts_with = "resume")]
    pub(crate) fresh: bool,
    /// Format of the logs, by name or as the server's configuration says it; told by their first
    /// lines if unsaid
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// What the fields of records mean: time=ts,key=headers.api_key
    #[arg(long, value_name = "NAME=FIELD,...")]
    pub(crate) map: Vec<FieldMap>,
    /// Take only the fields that --map names
    #[arg(long)]
    pub(crate) mapped_only: bool,
    /// Time zone of times without an offset: UTC, Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub(crate) time_zone: TimeZone,
    /// Proxies of yours in front of the logging server: `ip` is then taken from X-Forwarded-For,
    /// the last quoted field, so many from its end
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) trusted_hops: usize,
    /// End at the first malformed line
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print the results as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the results, with pictures, as one HTML page
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Work out what each limit would have had to be to refuse 1 %, 0.1 %, nothing (as --report)
    #[arg(long)]
    pub(crate) amounts: bool,
    /// Write the policy with the rates that would have refused at most so many
    #[arg(long, value_name = "FILE")]
    pub(crate) suggest: Option<PathBuf>,
    /// How many requests a suggested rate may refuse
    #[arg(long, value_enum, default_value_t = AtMost::OneInThousand, value_name = "SHARE")]
    pub(crate) at_most: AtMost,
    /// Wait for more at the end of the last log, showing a table, until interrupted; then show the
    /// results
    #[arg(long)]
    pub(crate) follow: bool,
    /// Room for so many counters: limits times keys alive at a time
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) counters: u64,
    /// How many of the worst keys to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) worst: usize,
    /// How to show progress, on standard error
    #[arg(long, value_enum, default_value_t = Show::Auto, value_name = "HOW")]
    pub(crate) progress: Show,
    /// Seconds between checkpoints; longer if they take long
    #[arg(long, value_name = "SECS", default_value = "2", value_parser = seconds)]
    pub(crate) checkpoint_every: Duration,
}

const CHECK_HELP: &str = "\
Examples:
  tollgate check --policy limits.toml --data /var/lib/app/limits --limit upload --key alice
  tollgate check --policy limits.toml --data DIR --method POST --path /upload --address ip=192.0.2.1
  if tollgate check ... ; then deliver ; else echo later ; fi";

/// Decide on one request, and charge it: exit status 0 allowed, 1 refused, 2 error
#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) at: Place,
    #[command(flatten)]
    pub(crate) asked: Asked,
    /// Print the decision as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const USAGE_HELP: &str = "\
Examples:
  tollgate usage --policy limits.toml --data /var/lib/app/limits --limit upload --key alice
  tollgate usage --policy limits.toml --data DIR --method GET --path / --attribute user=alice
  tollgate usage --policy limits.toml --data replay/counters --at 2015-05-20T21:05:59Z \\
      --limit per-address --key 66.249.73.135";

/// Show how much of its limits a key has used, charging nothing
#[derive(Debug, Args)]
#[command(after_help = USAGE_HELP)]
pub(crate) struct UsageArgs {
    #[command(flatten)]
    pub(crate) at: Place,
    #[command(flatten)]
    pub(crate) asked: Asked,
    /// Print the numbers as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const DOCTOR_HELP: &str = "\
Examples:
  tollgate doctor /var/lib/app/limits
  tollgate doctor /var/lib/app/limits --json | jq -r '.findings[].what'
  tollgate doctor /var/lib/app/limits --repair

While a service has the directory open, it is asked how it is, and only the small files are looked
at; nothing can be repaired then. Without --repair nothing in it is changed. The
repairs: files are made private, and a journal that cannot be read is put out of the way. Counters
are never touched. What a killed process left half made is nothing wrong: the next opening removes
it.";

/// Verify a limiter's directory: exit status 0 healthy, 1 something is wrong, 2 error
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub(crate) struct DoctorArgs {
    /// The limiter's directory
    #[arg(value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Mend what can be mended without knowing more than the files tell
    #[arg(long)]
    pub(crate) repair: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which counters.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The policy, as TOML or JSON; a service that has the directory open goes by its own
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// The limiter's directory
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// As of this time instead of now: 2024-05-12T00:00:17Z
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) at: Option<Timestamp>,
}

/// Which limit and key, or which request.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    /// One limit by its name, whatever the policy's routes say
    #[arg(long, value_name = "NAME", conflicts_with_all = ["path", "attribute", "address"])]
    pub(crate) limit: Option<String>,
    /// The limit's key; once for each part of a joined key
    #[arg(long, value_name = "VALUE", requires = "limit")]
    pub(crate) key: Vec<String>,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
}

/// A request.
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// Method of the request
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub(crate) method: String,
    /// Path of the request
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// Attribute of the request; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = attribute)]
    pub(crate) attribute: Vec<(String, String)>,
    /// Attribute that is an IP address; may be repeated
    #[arg(long, value_name = "NAME=IP", value_parser = address)]
    pub(crate) address: Vec<(String, IpAddr)>,
    /// What the request costs
    #[arg(long, value_name = "N")]
    pub(crate) cost: Option<u64>,
}

/// Look at a policy
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Report every fault of a policy, with line, column and what to write instead
    Lint {
        /// The policy, as TOML or JSON
        #[arg(value_name = "FILE")]
        policy: PathBuf,
    },
    /// Explain which limits a request meets, under which keys, and why
    #[command(
        after_help = "Example:\n  tollgate policy explain limits.toml --method PUT \
                            --path /ext/sessions/42/state --attribute api_key=pk_1 --address \
                            ip=192.0.2.1"
    )]
    Explain {
        /// The policy, as TOML or JSON
        #[arg(value_name = "FILE")]
        policy: PathBuf,
        #[command(flatten)]
        request: RequestArgs,
    },
    /// Show what a policy changes that takes the place of another: which limits are raised, which
    /// counts begin anew, and why
    #[command(after_help = "Example:\n  tollgate policy diff deployed.toml limits.toml")]
    Diff {
        /// The policy before, as TOML or JSON
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The policy after
        #[arg(value_name = "NEW")]
        new: PathBuf,
    },
    /// Make a policy of an OpenAPI document's x-throttle extensions; what is left out is told
    Import {
        /// The document, as YAML or JSON
        #[arg(value_name = "OPENAPI")]
        document: PathBuf,
        /// What every path begins with, such as /v1
        #[arg(long, value_name = "PATH", default_value = "")]
        base: String,
    },
    /// Write a policy into an OpenAPI document, as x-throttle and the response 429
    Export {
        /// The policy, as TOML or JSON
        #[arg(value_name = "FILE")]
        policy: PathBuf,
        /// The document, as YAML or JSON
        #[arg(value_name = "OPENAPI")]
        document: PathBuf,
        /// What every path begins with, such as /v1
        #[arg(long, value_name = "PATH", default_value = "")]
        base: String,
    },
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|fault| fault.to_string())
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|fault: jiff::Error| fault.to_string())?;
    let nanos = u64::try_from(time.as_nanosecond()).map_err(|_| "before 1970".to_owned())?;
    Ok(Timestamp::from_nanos(nanos))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let secs: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(secs).map_err(|fault| fault.to_string())
}

fn attribute(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("not of the form NAME=VALUE".to_owned()),
    }
}

fn address(text: &str) -> Result<(String, IpAddr), String> {
    let (name, value) = attribute(text)?;
    let value = value
        .parse()
        .map_err(|_| format!("{value} is no IP address"))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn values_are_checked() {
        assert!(attribute("a=b=c").is_ok_and(|pair| pair == ("a".into(), "b=c".into())));
        assert!(attribute("=b").is_err() && attribute("a").is_err());
        assert!(address("ip=::1").is_ok() && address("ip=localhost").is_err());
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("-1").is_err() && seconds("NaN").is_err());
        let second = instant("1970-01-01T00:00:01Z");
        assert_eq!(second, Ok(Timestamp::from_secs(1)));
        assert!(instant("1960-01-01T00:00:00Z").is_err());
    }
}
