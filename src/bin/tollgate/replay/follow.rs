//! What is shown while a log is followed: a table on a terminal, a line now and then elsewhere.

use std::fmt::{self, Display, Formatter};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use tollgate::Timestamp;

use super::state::State;
use super::table::{table, width_of};
use super::words::{count, plain, share};

/// How often the table changes, how often a line is written, and how long to wait for more of a
/// log.
const TABLE_PERIOD: Duration = Duration::from_secs(1);
const LINE_PERIOD: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// Keys of the table.
const KEYS_SHOWN: usize = 10;

/// Goes to the first corner of a terminal and clears what is below.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// The display, on standard error.
pub(crate) struct Live {
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            shown: None,
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Shows what the replay has come to, if it is time to.
    pub(crate) fn show(&mut self, state: &State, now: Timestamp) {
        let period = if self.is_terminal {
            TABLE_PERIOD
        } else {
            LINE_PERIOD
        };
        if self.shown.is_some_and(|shown| shown.elapsed() < period) {
            return;
        }
        self.shown = Some(Instant::now());
        let (clear, width) = match self.is_terminal {
            true => (CLEAR, width_of(io::stderr())),
            false => ("", usize::MAX),
        };
        let is_short = !self.is_terminal;
        let table = Table {
            state,
            now,
            width,
            is_short,
        };
        crate::out::note(format_args!("{clear}{table}"));
    }

    /// Waits a little.
    pub(crate) fn pause(&self) {
        std::thread::sleep(PAUSE);
    }
}

struct Table<'s> {
    state: &'s State,
    now: Timestamp,
    width: usize,
    /// A line for each policy, no more.
    is_short: bool,
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for side in &self.state.policies {
            let totals = &side.totals;
            write!(
                f,
                "log time {}: {} requests, {} refused ({})",
                self.now,
                count(totals.requests),
                count(totals.refused),
                share(totals.refused, totals.requests)
            )?;
            if self.is_short {
                continue;
            }
            writeln!(f)?;
            let limits = totals.limits.iter().map(|limit| {
                let refused = limit.refused + limit.would_refuse;
                [
                    plain(&limit.name),
                    count(limit.requests),
                    count(refused),
                    share(refused, limit.requests),
                ]
            });
            table(
                f,
                self.width,
                ["LIMIT", "REQUESTS", "REFUSED", "SHARE"],
                limits,
            )?;
            let worst = side.refused_keys.worst().into_iter().take(KEYS_SHOWN);
            let keys = worst.map(|key| {
                let limit = totals.limits.get(key.limit).map_or("", |limit| &limit.name);
                [plain(&key.key), plain(limit), count(key.refused)]
            });
            table(f, self.width, ["KEY", "LIMIT", "REFUSED"], keys)?;
        }
        Ok(())
    }
}
