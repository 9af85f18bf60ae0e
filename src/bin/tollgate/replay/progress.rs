//! Showing how far a replay is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tollgate::Timestamp;

/// How to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Show {
    /// A bar on a terminal, else plain
    Auto,
    /// A line every tenth of the way, or every ten seconds
    Plain,
    /// Nothing
    None,
}

/// How often the display changes at most.
const BAR_PERIOD: Duration = Duration::from_millis(100);
const LINE_PERIOD: Duration = Duration::from_secs(10);

/// Progress of a replay, on standard error.
pub(crate) struct Progress {
    face: Face,
    started: Instant,
    shown: Instant,
    /// Size of all logs, if they are files.
    bytes_total: Option<u64>,
    /// Lines that were read before a resumption.
    lines_before: u64,
    bytes_before: Option<u64>,
    /// When working out amounts began.
    work_began: Option<Instant>,
}

enum Face {
    None,
    /// With the tenths that were announced.
    Plain(u64),
    Bar(ProgressBar),
}

impl Progress {
    /// # Errors
    /// None in practice: the bar's template is checked by a test.
    pub(crate) fn new(
        show: Show,
        bytes_total: Option<u64>,
        lines_before: u64,
    ) -> anyhow::Result<Self> {
        let face = match show {
            Show::None => Face::None,
            Show::Auto if std::io::stderr().is_terminal() => Face::Bar(bar(bytes_total)?),
            Show::Auto | Show::Plain => Face::Plain(0),
        };
        let started = Instant::now();
        Ok(Self {
            face,
            started,
            shown: started,
            bytes_total,
            lines_before,
            bytes_before: None,
            work_began: None,
        })
    }

    /// Shows that `bytes` of the logs are read, which were `lines`, and the log's time is `now`.
    pub(crate) fn show(&mut self, bytes: u64, lines: u64, now: Timestamp) {
        let since_shown = self.shown.elapsed();
        let bytes_before = *self.bytes_before.get_or_insert(bytes);
        let elapsed = self.started.elapsed();
        let message = || {
            let here = lines.saturating_sub(self.lines_before);
            let rate = per_second(here, elapsed);
            format!("{} lines/s, log time {now}", HumanCount(rate))
        };
        match &mut self.face {
            Face::None => {}
            Face::Bar(bar) => {
                if since_shown >= BAR_PERIOD {
                    bar.set_position(bytes);
                    bar.set_message(message());
                    self.shown = Instant::now();
                }
            }
            Face::Plain(announced) => {
                let tenth = self
                    .bytes_total
                    .and_then(|total| bytes.saturating_mul(10).checked_div(total))
                    .map(|tenth| tenth.min(10));
                let due = match tenth {
                    Some(tenth) => tenth > *announced && tenth < 10,
                    None => since_shown >= LINE_PERIOD,
                };
                if due {
                    let left = self.bytes_total.and_then(|total| {
                        let done = bytes.saturating_sub(bytes_before);
                        time_left(elapsed, done, total.saturating_sub(bytes))
                    });
                    let share = tenth.map_or(String::new(), |tenth| format!("{} %, ", tenth * 10));
                    let left = left.map_or(String::new(), |left| {
                        format!(", {} left", HumanDuration(left))
                    });
                    crate::out::note(format_args!(
                        "{share}{} lines, {}{left}",
                        HumanCount(lines),
                        message()
                    ));
                    *announced = tenth.unwrap_or(0);
                    self.shown = Instant::now();
                }
            }
        }
    }

    /// Shows that what `limit` would have had to be is worked out, in trial number `trials`; `done`
    /// of `all` uses were of limits before it.
    pub(crate) fn work(&mut self, limit: &str, trials: u64, done: u64, all: u64) {
        let is_first = self.work_began.is_none();
        let elapsed = self.work_began.get_or_insert_with(Instant::now).elapsed();
        let due = match self.face {
            Face::None => false,
            Face::Bar(_) => is_first || self.shown.elapsed() >= BAR_PERIOD,
            Face::Plain(_) => is_first || self.shown.elapsed() >= LINE_PERIOD,
        };
        if !due {
            return;
        }
        let left = time_left(elapsed, done, all.saturating_sub(done));
        let left = left.map_or(String::new(), |left| {
            format!(", about {} left", HumanDuration(left))
        });
        let limit = super::words::plain(limit);
        let text = format!("working out what {limit} would have had to be, trial {trials}{left}");
        match &mut self.face {
            Face::None => {}
            Face::Plain(_) => crate::out::note(text),
            Face::Bar(bar) => {
                if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed}  {msg}") {
                    bar.set_style(style);
                }
                bar.set_message(text);
                bar.tick();
            }
        }
        self.shown = Instant::now();
    }

    /// Takes the display away.
    pub(crate) fn finish(&mut self) {
        if let Face::Bar(bar) = &self.face {
            bar.finish_and_clear();
        }
    }
}

fn bar(bytes_total: Option<u64>) -> anyhow::Result<ProgressBar> {
    let (bar, template) = match bytes_total {
        Some(total) => (
            ProgressBar::new(total),
            "{wide_bar} {percent:>3} %  {eta} left  {msg}",
        ),
        None => (ProgressBar::no_length(), "{spinner} {elapsed}  {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(template)?);
    Ok(bar)
}

fn per_second(count: u64, elapsed: Duration) -> u64 {
    let millis = elapsed.as_millis().max(1);
    u64::try_from(u128::from(count) * 1_000 / millis).unwrap_or(u64::MAX)
}

/// How long the rest takes at the pace of what is done; none before anything is.
fn time_left(elapsed: Duration, done: u64, rest: u64) -> Option<Duration> {
    let millis = (elapsed.as_millis() * u128::from(rest)).checked_div(u128::from(done))?;
    Some(Duration::from_millis(u64::try_from(millis).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_can_be_drawn() {
        assert!(bar(Some(1)).is_ok() && bar(None).is_ok());
    }

    #[test]
    fn pace_and_time_left() {
        assert_eq!(per_second(500, Duration::from_millis(250)), 2_000);
        assert_eq!(per_second(7, Duration::ZERO), 7_000);
        let left = time_left(Duration::from_secs(3), 30, 70);
        assert_eq!(left, Some(Duration::from_secs(7)));
        assert_eq!(time_left(Duration::from_secs(3), 0, 70), None);
    }
}
