//! A replay's results as plain text.

use std::fmt::{self, Display, Formatter};

use super::summary::{
    AmountsSummary, Compared, KeySummary, LimitAmounts, LimitSummary, PolicySummary, Spread,
    Summary,
};
use super::table::{prose, table};
use super::words::{count, plain, seconds, share};

/// Routes listed; the JSON has them all.
const ROUTES_SHOWN: usize = 20;

/// A summary as text of at most so many columns.
pub(crate) struct Text<'s> {
    pub(crate) summary: &'s Summary,
    pub(crate) width: usize,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (summary, width) = (self.summary, self.width);
        summary.fmt_lines(f, width)?;
        if !summary.others.is_empty() {
            writeln!(f)?;
            prose(f, width, &plain(&summary.first.policy))?;
        }
        summary.first.fmt_text(f, width)?;
        for (compared, number) in summary.others.iter().zip(2_u64..) {
            writeln!(f)?;
            prose(f, width, &plain(&compared.policy.policy))?;
            compared.policy.fmt_text(f, width)?;
            compared.fmt_text(f, width, &summary.first.policy, number)?;
        }
        Ok(())
    }
}

impl PolicySummary {
    fn fmt_text(&self, f: &mut Formatter<'_>, width: usize) -> fmt::Result {
        self.fmt_requests(f, width)?;
        let limits = self.limits.iter().map(|limit| {
            [
                plain(&limit.count.name),
                count(limit.count.requests),
                count(limit.count.refused),
                share(limit.count.refused, limit.count.requests),
                count(limit.count.ruled),
                count(limit.count.would_refuse),
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
        table(f, width, head, limits)?;
        self.fmt_touched(f, width)?;
        let routes = self.routes.iter().take(ROUTES_SHOWN).map(|route| {
            [
                plain(&route.route),
                count(route.requests),
                count(route.refused),
                share(route.refused, route.requests),
            ]
        });
        table(f, width, ["ROUTE", "REQUESTS", "REFUSED", "SHARE"], routes)?;
        if let Some(more) = self
            .routes
            .len()
            .checked_sub(ROUTES_SHOWN)
            .filter(|more| *more > 0)
        {
            writeln!(f, "... and {more} more; --json lists them all")?;
        }
        keys(f, width, "KEY", &self.keys.worst)?;
        if !self.keys.exact {
            let note = "There were more refused keys, or keys, than are held at once: what is \
                        marked is an estimate.";
            prose(f, width, note)?;
        }
        if let Some(amounts) = &self.amounts {
            amounts.fmt_text(f, width)?;
        }
        Ok(())
    }

    /// How many keys each limit touches, and how hard.
    fn fmt_touched(&self, f: &mut Formatter<'_>, width: usize) -> fmt::Result {
        let touched = self.limits.iter().filter(|limit| limit.keys.refused > 0);
        let of = |spread: &Spread| {
            let Spread {
                half,
                nine_in_ten,
                most,
                ..
            } = spread;
            format!(
                "{} / {} / {}",
                count(*half),
                count(*nine_in_ten),
                count(*most)
            )
        };
        let rows = touched.map(
            |LimitSummary {
                 count: of_limit,
                 keys,
             }| {
                [
                    plain(&of_limit.name),
                    count(keys.seen),
                    count(keys.refused),
                    share(keys.refused, keys.seen),
                    of(&keys.refused_of_each),
                ]
            },
        );
        let head = [
            "OF THE KEYS OF",
            "SEEN",
            "TOUCHED",
            "SHARE",
            "REFUSED: HALF / 9 IN 10 / MOST",
        ];
        table(f, width, head, rows)
    }
}

impl Compared {
    fn fmt_text(
        &self,
        f: &mut Formatter<'_>,
        width: usize,
        first: &str,
        number: u64,
    ) -> fmt::Result {
        writeln!(f)?;
        let (first, this) = (plain(first), plain(&self.policy.policy));
        let text = format!(
            "Both refuse {}. Only {first} refuses {}, only {this} {}.",
            count(self.both_refuse),
            count(self.only_first_refuses),
            count(self.only_this_refuses),
        );
        prose(f, width, &text)?;
        keys(f, width, "ONLY THE FIRST REFUSES", &self.only_first_keys)?;
        let head = format!("ONLY POLICY {number} REFUSES");
        keys(f, width, &head, &self.only_this_keys)
    }
}

fn keys(f: &mut Formatter<'_>, width: usize, head: &str, keys: &[KeySummary]) -> fmt::Result {
    let rows = keys.iter().map(|key| {
        let mark = if key.refused_error > 0 { "about " } else { "" };
        [
            plain(&key.key),
            plain(&key.limit_shown()),
            key.requests.map_or("-".to_owned(), count),
            format!("{mark}{}", count(key.refused)),
            key.deeds
                .first()
                .map_or(String::new(), |deed| plain(&deed.what)),
        ]
    });
    table(
        f,
        width,
        [head, "LIMIT", "REQUESTS", "REFUSED", "MOSTLY"],
        rows,
    )
}

impl Summary {
    fn fmt_lines(&self, f: &mut Formatter<'_>, width: usize) -> fmt::Result {
        let lines = self.lines;
        let mut text = format!(
            "{} lines: {} requests",
            count(lines.read),
            count(lines.requests)
        );
        for (number, what) in [
            (lines.without_request, "without a request"),
            (lines.blank, "blank or heading"),
            (lines.malformed, "malformed"),
        ] {
            if number > 0 {
                text.push_str(&format!(", {} {what}", count(number)));
            }
        }
        prose(f, width, &text)?;
        for complaint in &self.first_malformed {
            let (file, line) = (plain(&complaint.file), complaint.line);
            let (why, excerpt) = (plain(&complaint.why), &complaint.excerpt);
            prose(f, width, &format!("  {file}:{line}: {why}: {excerpt}"))?;
        }
        let shown = u64::try_from(self.first_malformed.len()).unwrap_or(u64::MAX);
        if let Some(more) = lines.malformed.checked_sub(shown).filter(|more| *more > 0) {
            writeln!(f, "  ... and {} more", count(more))?;
        }
        if let (Some(first), Some(last)) = (&self.time.first, &self.time.last) {
            prose(f, width, &format!("from {first} to {last}"))?;
        }
        if self.time.late_entries > 0 {
            let text = format!(
                "{} entries were earlier than one before them, by up to {} s, and were judged at \
                 the latest time seen",
                count(self.time.late_entries),
                seconds(self.time.largest_lag_ms),
            );
            prose(f, width, &text)?;
        }
        Ok(())
    }
}

impl PolicySummary {
    fn fmt_requests(&self, f: &mut Formatter<'_>, width: usize) -> fmt::Result {
        let requests = &self.requests;
        let mut text = format!(
            "{} allowed, {} refused ({})",
            count(requests.allowed),
            count(requests.refused),
            share(requests.refused, requests.judged)
        );
        if requests.would_refuse > 0 {
            let would = count(requests.would_refuse);
            text.push_str(&format!(
                ", {would} of those allowed had no room in a shadow limit"
            ));
        }
        if requests.exempt > 0 {
            text.push_str(&format!(", {} exempt", count(requests.exempt)));
        }
        writeln!(f)?;
        prose(f, width, &text)?;
        for (why, number) in &requests.unjudged {
            let text = format!("{} refused unjudged: {why}", count(*number));
            prose(f, width, &text)?;
        }
        if let Some(crowded) = requests.crowded() {
            prose(f, width, &crowded)?;
        }
        Ok(())
    }
}

impl AmountsSummary {
    fn fmt_text(&self, f: &mut Formatter<'_>, width: usize) -> fmt::Result {
        let rows = self.limits.iter().flat_map(|limit| {
            let mark = if limit.smallest { "" } else { " *" };
            let all = (format!("{}{mark}", plain(&limit.limit)), limit.found());
            let others = limit.without_loudest.as_ref();
            let others = others.map(|found| ("  without the ten loudest".to_owned(), found.all()));
            [Some(all), others]
                .into_iter()
                .flatten()
                .map(|(name, found)| {
                    let [hundred, thousand, nothing] = found.map(|found| match found {
                        Some(found) => found.rate.clone(),
                        None => "none does".to_owned(),
                    });
                    [name, plain(&limit.rate), hundred, thousand, nothing]
                })
        });
        let head = [
            "TO REFUSE AT MOST",
            "IS",
            "1 IN 100",
            "1 IN 1,000",
            "NOTHING",
        ];
        table(f, width, head, rows)?;
        if !self.limits.is_empty() {
            writeln!(f, "Each limit by itself, with no other in the way.")?;
        }
        if self
            .limits
            .iter()
            .any(|limit: &LimitAmounts| !limit.smallest)
        {
            let note = "* Costs differ: one less refuses more, but less still might not.";
            prose(f, width, note)?;
        }
        if let Some(until) = &self.until {
            let note =
                format!("From {until} on there were too many requests to try; they are left out.");
            prose(f, width, &note)?;
        }
        if self.left_out > 0 {
            let left_out = count(self.left_out);
            writeln!(f, "{left_out} uses at further rates are left out.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wider_than_a_terminal_of_sixty_columns() {
        for name in ["x".repeat(90), "a few words ".repeat(9)] {
            let summary = crate::replay::summary_of_test(&name);
            let text = Text {
                summary: &summary,
                width: 60,
            }
            .to_string();
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest.is_some_and(|widest| widest <= 60), "{text}");
            for part in ["TO REFUSE AT MOST", "ONLY POLICY 2", "REFUSED"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
    }
}
