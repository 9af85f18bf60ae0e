//! A replay's results as plain text.

use std::fmt::{self, Display, Formatter};

use indicatif::HumanCount;

use super::summary::{AmountsSummary, KeysSummary, LimitAmounts, Summary};

/// Routes listed; the JSON has them all.
const ROUTES_SHOWN: usize = 20;

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.fmt_lines(f)?;
        self.fmt_requests(f)?;
        let limits = self.limits.iter().map(|limit| {
            [
                plain(&limit.name),
                count(limit.requests),
                count(limit.refused),
                share(limit.refused, limit.requests),
                count(limit.ruled),
                count(limit.would_refuse),
            ]
        });
        let head = [
            "LIMIT",
            "REQUESTS",
            "REFUSED",
            "SHARE",
            "THE REASON",
            "IN SHADOW",
        ];
        table(f, head, limits)?;
        let routes = self.routes.iter().take(ROUTES_SHOWN).map(|route| {
            [
                plain(&route.route),
                count(route.requests),
                count(route.refused),
                share(route.refused, route.requests),
            ]
        });
        table(f, ["ROUTE", "REQUESTS", "REFUSED", "SHARE"], routes)?;
        if let Some(more) = self
            .routes
            .len()
            .checked_sub(ROUTES_SHOWN)
            .filter(|more| *more > 0)
        {
            writeln!(f, "... and {more} more; --json lists them all")?;
        }
        self.keys.fmt_text(f)?;
        if let Some(amounts) = &self.amounts {
            amounts.fmt_text(f)?;
        }
        Ok(())
    }
}

impl Summary {
    fn fmt_lines(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let lines = self.lines;
        write!(
            f,
            "{} lines: {} requests",
            count(lines.read),
            count(lines.requests)
        )?;
        for (number, what) in [
            (lines.without_request, "without a request"),
            (lines.blank, "blank or heading"),
            (lines.malformed, "malformed"),
        ] {
            if number > 0 {
                write!(f, ", {} {what}", count(number))?;
            }
        }
        writeln!(f)?;
        for complaint in &self.first_malformed {
            let (file, line) = (plain(&complaint.file), complaint.line);
            writeln!(
                f,
                "  {file}:{line}: {}: {}",
                plain(&complaint.why),
                complaint.excerpt
            )?;
        }
        let shown = u64::try_from(self.first_malformed.len()).unwrap_or(u64::MAX);
        if let Some(more) = lines.malformed.checked_sub(shown).filter(|more| *more > 0) {
            writeln!(f, "  ... and {} more", count(more))?;
        }
        if let (Some(first), Some(last)) = (&self.time.first, &self.time.last) {
            writeln!(f, "from {first} to {last}")?;
        }
        if self.time.late_entries > 0 {
            writeln!(
                f,
                "{} entries were earlier than one before them, by up to {} s, and were judged at \
                 the latest time seen",
                count(self.time.late_entries),
                seconds(self.time.largest_lag_ms),
            )?;
        }
        Ok(())
    }

    fn fmt_requests(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let requests = &self.requests;
        write!(
            f,
            "\n{} allowed, {} refused ({})",
            count(requests.allowed),
            count(requests.refused),
            share(requests.refused, requests.judged)
        )?;
        if requests.would_refuse > 0 {
            let would = count(requests.would_refuse);
            write!(
                f,
                ", {would} of those allowed had no room in a shadow limit"
            )?;
        }
        if requests.exempt > 0 {
            write!(f, ", {} exempt", count(requests.exempt))?;
        }
        writeln!(f)?;
        for (why, number) in &requests.unjudged {
            writeln!(f, "{} refused unjudged: {why}", count(*number))?;
        }
        if requests.without_counter > 0 {
            writeln!(
                f,
                "{} requests found no room for a counter of their own: --counters makes more",
                count(requests.without_counter)
            )?;
        }
        Ok(())
    }
}

impl KeysSummary {
    fn fmt_text(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.worst.is_empty() {
            return Ok(());
        }
        let rows = self.worst.iter().map(|key| {
            let error = match key.refused_error {
                0 => String::new(),
                error => format!("at most, {} too many at most", count(error)),
            };
            [
                plain(&key.key),
                plain(&key.limit_shown()),
                count(key.requests),
                count(key.refused),
                error,
            ]
        });
        table(f, ["KEY", "LIMIT", "REQUESTS", "REFUSED", ""], rows)?;
        if !self.exact {
            let tracked = count(u64::try_from(self.tracked).unwrap_or(u64::MAX));
            writeln!(
                f,
                "There were more than {tracked} keys: requests are lower bounds."
            )?;
        }
        Ok(())
    }
}

impl AmountsSummary {
    fn fmt_text(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rows = self.limits.iter().map(|limit| {
            let [hundred, thousand, nothing] = limit.found().map(|found| match found {
                Some(found) => found.rate.clone(),
                None => "none does".to_owned(),
            });
            let mark = if limit.smallest { "" } else { " *" };
            [
                format!("{}{mark}", plain(&limit.limit)),
                plain(&limit.rate),
                hundred,
                thousand,
                nothing,
            ]
        });
        let head = [
            "TO REFUSE AT MOST",
            "IS",
            "1 IN 100",
            "1 IN 1,000",
            "NOTHING",
        ];
        table(f, head, rows)?;
        if !self.limits.is_empty() {
            writeln!(f, "Each limit by itself, with no other in the way.")?;
        }
        if self
            .limits
            .iter()
            .any(|limit: &LimitAmounts| !limit.smallest)
        {
            writeln!(
                f,
                "* Costs differ: one less refuses more, but less still might not."
            )?;
        }
        if let Some(until) = &self.until {
            writeln!(
                f,
                "From {until} on there were too many requests to try; they are left out."
            )?;
        }
        if self.left_out > 0 {
            let left_out = count(self.left_out);
            writeln!(f, "{left_out} uses at further rates are left out.")?;
        }
        Ok(())
    }
}

/// Columns as wide as they need be: the first one and all that are no numbers to the left.
fn table<const N: usize>(
    f: &mut Formatter<'_>,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let width = |text: &str| text.chars().count();
    let is_number = |text: &String| {
        text.chars()
            .all(|c| c.is_ascii_digit() || " ,.%<-".contains(c))
    };
    let mut widths = head.map(width);
    let mut numeric = [true; N];
    numeric[0] = false;
    for row in &rows {
        for ((cell, widest), numeric) in row.iter().zip(&mut widths).zip(&mut numeric) {
            *widest = (*widest).max(width(cell));
            *numeric &= is_number(cell);
        }
    }
    let mut line = |cells: [&str; N]| {
        let mut text = String::new();
        for ((cell, widest), numeric) in cells.iter().zip(widths).zip(numeric) {
            let room = " ".repeat(widest.saturating_sub(width(cell)));
            let (before, after) = if numeric {
                (room.as_str(), "")
            } else {
                ("", room.as_str())
            };
            text.extend([before, cell, after, "  "]);
        }
        writeln!(f, "{}", text.trim_end())
    };
    line([""; N])?;
    line(head)?;
    rows.iter()
        .try_for_each(|row| line(row.each_ref().map(String::as_str)))
}

/// Text from a log, with nothing in it that a terminal would act on, and of bounded length.
pub(crate) fn plain(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    let safe = |c: char| {
        let harmless =
            !c.is_control() && !matches!(c, '\u{200e}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if harmless { c } else { '\u{fffd}' }
    };
    let mut short: String = text.chars().take(CHARS_MAX).map(safe).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// With a mark every three digits.
pub(crate) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `part` of `whole`, in percent; small shares get more digits, and only nothing is nothing.
pub(crate) fn share(part: u64, whole: u64) -> String {
    let Some(tenths) = per(part, whole, 1_000) else {
        return "-".to_owned();
    };
    match (part, tenths) {
        (0, _) => "0 %".to_owned(),
        (_, 0..10) => match per(part, whole, 100_000).unwrap_or(0) {
            0 => "< 0.001 %".to_owned(),
            thousandths => format!("0.{thousandths:03} %"),
        },
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

fn per(part: u64, whole: u64, of: u128) -> Option<u64> {
    let scaled = (u128::from(part) * of).checked_div(u128::from(whole))?;
    u64::try_from(scaled).ok()
}

fn seconds(ms: u64) -> String {
    match ms % 1_000 {
        0 => count(ms / 1_000),
        rest => format!("{}.{rest:03}", count(ms / 1_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table;

    impl Display for Table {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            let rows = [["a", "1,000", "x"], ["long", "7", "yy"]];
            table(
                f,
                ["NAME", "N", "T"],
                rows.map(|row| row.map(str::to_owned)).into_iter(),
            )
        }
    }

    #[test]
    fn tables_line_up() {
        assert_eq!(
            Table.to_string(),
            "\nNAME      N  T\na     1,000  x\nlong      7  yy\n"
        );
    }

    #[test]
    fn shares_keep_their_meaning() {
        for (part, whole, text) in [
            (0, 0, "-"),
            (0, 7, "0 %"),
            (1, 2, "50.0 %"),
            (7, 7, "100.0 %"),
            (1, 1_000, "0.100 %"),
            (1, 50_000, "0.002 %"),
            (1, u64::MAX, "< 0.001 %"),
        ] {
            assert_eq!(share(part, whole), text, "{part} of {whole}");
        }
    }

    #[test]
    fn hostile_text_is_disarmed() {
        assert_eq!(
            plain("a\u{1b}[31m\u{202e}b\n"),
            "a\u{fffd}[31m\u{fffd}b\u{fffd}"
        );
        assert_eq!(plain(&"x".repeat(500)).chars().count(), 101);
    }
}
