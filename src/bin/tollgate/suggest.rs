//! A policy with the rates that would have refused at most so many: the policy itself, with other
//! rates and comments that say why.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use tollgate::Policy;

use crate::replay::words::{count, share};
use crate::replay::{AmountsSummary, FoundRate, LimitAmounts, Suggestion};

/// How many requests a suggested rate may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum AtMost {
    /// One in a hundred
    #[value(name = "1-in-100")]
    OneInHundred,
    /// One in a thousand
    #[value(name = "1-in-1000")]
    OneInThousand,
    /// None
    Nothing,
}

impl AtMost {
    fn words(self) -> &'static str {
        match self {
            Self::OneInHundred => "one in a hundred",
            Self::OneInThousand => "one in a thousand",
            Self::Nothing => "none",
        }
    }

    fn of(self, limit: &LimitAmounts) -> Option<&FoundRate> {
        let [hundred, thousand, nothing] = limit.found();
        match self {
            Self::OneInHundred => hundred,
            Self::OneInThousand => thousand,
            Self::Nothing => nothing,
        }
    }
}

/// The policy at `path` with the rates that `amounts` found.
///
/// # Errors
/// If the policy is no TOML, or a rate stands where it cannot be replaced.
pub(crate) fn suggest(
    path: &Path,
    amounts: &AmountsSummary,
    at_most: AtMost,
) -> anyhow::Result<Suggestion> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        path.extension().is_none_or(|kind| kind != "json"),
        "--suggest writes a policy in TOML, with comments, and {} is JSON",
        path.display()
    );
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut not_placed = Vec::new();
    for limit in &amounts.limits {
        let why = why(limit, at_most);
        let rate = at_most.of(limit).map(|found| found.rate.as_str());
        match place_of(&lines, limit) {
            Some(place) => {
                if let Some(rate) = rate {
                    let told = format!("rate = \"{rate}\"");
                    let with_rate = lines[place].replacen(&rate_of(&lines[place]), &told, 1);
                    lines[place] = with_rate;
                }
                lines.splice(place..place, why);
            }
            None => not_placed.extend(why),
        }
    }
    let mut policy = format!(
        "# Suggested by tollgate replay: each limit by itself would have refused at most {} of \
         the\n# requests that met it. A burst is in proportion.\n",
        at_most.words()
    );
    for line in &not_placed {
        policy.push_str(line);
        policy.push('\n');
    }
    policy.push('\n');
    policy.push_str(&lines.join("\n"));
    policy.push('\n');
    let read = Policy::from_toml(&policy);
    read.map_err(anyhow::Error::from)
        .context("the rates that were found do not make a policy")?;
    Ok(Suggestion {
        at_most: at_most.words().to_owned(),
        policy,
    })
}

/// Comments that say where a rate is from.
fn why(limit: &LimitAmounts, at_most: AtMost) -> Vec<String> {
    let name = &limit.limit;
    let Some(found) = at_most.of(limit) else {
        return vec![format!(
            "# {name}: no rate refuses at most {}.",
            at_most.words()
        )];
    };
    let mut lines = vec![format!(
        "# {name}: was {}. Of {} requests {} would refuse {} ({}), of {} key{}.",
        limit.rate,
        count(limit.requests),
        found.rate,
        count(found.refused),
        share(found.refused, limit.requests),
        count(found.keys),
        if found.keys == 1 { "" } else { "s" },
    )];
    let others = limit.without_loudest.as_ref().and_then(|others| {
        let [hundred, thousand, nothing] = others.all();
        match at_most {
            AtMost::OneInHundred => hundred,
            AtMost::OneInThousand => thousand,
            AtMost::Nothing => nothing,
        }
    });
    if let Some(others) = others.filter(|others| others.rate != found.rate) {
        lines.push(format!(
            "# Without the ten loudest keys it would be {}.",
            others.rate
        ));
    }
    lines
}

/// The line that says the limit's rate: `rate = "..."` below its own heading, if it says the rate
/// that was tried. The rates of tiers, shares of others and inline tables are left alone.
fn place_of(lines: &[String], limit: &LimitAmounts) -> Option<usize> {
    let name = &limit.limit;
    let headings = [
        format!("[limits.{name}]"),
        format!("[limits.\"{name}\"]"),
        format!("[limits.'{name}']"),
    ];
    let is_heading = |line: &String| {
        let line = line.split('#').next().unwrap_or_default().trim();
        headings.iter().any(|heading| heading == line)
    };
    let heading = lines.iter().position(is_heading)?;
    let section = lines.iter().enumerate().skip(heading + 1);
    let mut section = section.take_while(|(_, line)| !line.trim_start().starts_with('['));
    let (place, line) = section.find(|(_, line)| !rate_of(line).is_empty())?;
    is_rate(&rate_of(line), &limit.rate).then_some(place)
}

/// The part `rate = "..."` of a line; empty if it has none.
fn rate_of(line: &str) -> String {
    let parts = || {
        let rest = line.trim_start().strip_prefix("rate")?.trim_start();
        let value = rest.strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|c| "\"'".contains(*c))?;
        let end = value.get(1..)?.find(quote)? + 2;
        let begin = line.len() - line.trim_start().len();
        let length = line.trim_start().len() - value.len() + end;
        line.get(begin..begin + length)
    };
    parts().unwrap_or_default().to_owned()
}

/// True if `rate = "100/min"` says the rate that is `100 per minute` in words.
fn is_rate(told: &str, words: &str) -> bool {
    let policy = format!("[limits.x]\n{told}");
    let Ok(policy) = Policy::from_toml(&policy) else {
        return false;
    };
    let explained = policy.explain(&tollgate::Request::new());
    explained.is_ok_and(|explained| explained.limits.iter().any(|limit| limit.rate == words))
}
