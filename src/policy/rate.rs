//! Rates as people write them: `"100/min burst 150"`, `"5 requests per 10 s"`, `"1/30 of
//! per-minute per second"`, `"unlimited"`, `"deny"`.
//!
//! ```text
//! rate  = "unlimited" | "deny" | quota | share
//! quota = AMOUNT [noun] per [COUNT] unit ["burst" BURST]
//! share = NUMERATOR "/" DENOMINATOR "of" LIMIT per [COUNT] unit ["burst" BURST]
//! per   = "/" | "per" | "every" | "each" | "a" | "an"
//! ```
//! Letters' case and spaces do not matter, but for the limit's name.

use std::fmt;

use super::fault::{Fix, fix, nearest, quoted};
use super::scan::Scan;

/// What a rate says, before an algorithm makes a rule of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Rate {
    Unlimited,
    Deny,
    Quota(Quota),
    /// A part of what another limit allows.
    Share {
        of: String,
        numerator: u64,
        denominator: u64,
        span: Span,
        burst: Option<u64>,
    },
}

/// `amount / denominator` in each span, and at most `burst` at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Quota {
    pub(super) amount: u64,
    /// One, but for a share of another limit.
    pub(super) denominator: u64,
    pub(super) span: Span,
    pub(super) burst: Option<u64>,
}

/// So many of a unit of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) count: u64,
    pub(super) unit: Unit,
}

/// A unit of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    /// Of a calendar only: months have no one length.
    Month,
}

const UNITS: [(&str, Unit); 25] = [
    ("ms", Unit::Millisecond),
    ("millisecond", Unit::Millisecond),
    ("milliseconds", Unit::Millisecond),
    ("s", Unit::Second),
    ("sec", Unit::Second),
    ("secs", Unit::Second),
    ("second", Unit::Second),
    ("seconds", Unit::Second),
    ("m", Unit::Minute),
    ("min", Unit::Minute),
    ("mins", Unit::Minute),
    ("minute", Unit::Minute),
    ("minutes", Unit::Minute),
    ("h", Unit::Hour),
    ("hr", Unit::Hour),
    ("hour", Unit::Hour),
    ("hours", Unit::Hour),
    ("d", Unit::Day),
    ("day", Unit::Day),
    ("days", Unit::Day),
    ("w", Unit::Week),
    ("week", Unit::Week),
    ("weeks", Unit::Week),
    ("month", Unit::Month),
    ("months", Unit::Month),
];

const NOUNS: [&str; 13] = [
    "r", "req", "reqs", "request", "requests", "hit", "hits", "call", "calls", "token", "tokens",
    "time", "times",
];

impl Unit {
    /// Nanoseconds of the unit; none for a month.
    pub(super) const fn nanos(self) -> Option<u64> {
        const SECOND: u64 = 1_000_000_000;
        Some(match self {
            Self::Millisecond => 1_000_000,
            Self::Second => SECOND,
            Self::Minute => 60 * SECOND,
            Self::Hour => 3_600 * SECOND,
            Self::Day => 86_400 * SECOND,
            Self::Week => 7 * 86_400 * SECOND,
            Self::Month => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Millisecond => "millisecond",
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

impl Span {
    /// What `text` says, as in `4s`. A fault may lack its advice: who knows what the span is for
    /// has an example.
    pub(super) fn parse(text: &str) -> Result<Self, Fix> {
        let mut scan = Scan::new(text);
        let count = number(&mut scan)?;
        let unit = parse_unit(&mut scan)?;
        match scan.rest() {
            "" => Ok(Self { count, unit }),
            rest => Err(fix(
                format!("{} is left over after the time", quoted(rest)),
                "",
            )),
        }
    }

    /// Nanoseconds of the span; none for months, or if it is too long.
    pub(super) fn nanos(self) -> Option<u64> {
        self.unit.nanos()?.checked_mul(self.count)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => f.write_str(self.unit.name()),
            count => write!(f, "{count} {}s", self.unit.name()),
        }
    }
}

/// As in `100 per minute, burst 150`; of a quota in whole numbers.
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.amount, self.span)?;
        match self.burst {
            Some(burst) => write!(f, ", burst {burst}"),
            None => Ok(()),
        }
    }
}

impl Rate {
    /// What `text` says. A fault may lack its advice: who knows the limit has an example.
    pub(super) fn parse(text: &str) -> Result<Self, Fix> {
        let mut scan = Scan::new(text);
        let rate = if scan.eat_word("unlimited") {
            Self::Unlimited
        } else if scan.eat_word("deny") {
            Self::Deny
        } else {
            let amount = number(&mut scan)?;
            match parse_share(amount, &mut scan)? {
                Some(share) => share,
                None => Self::Quota(parse_quota(amount, &mut scan)?),
            }
        };
        match scan.rest() {
            "" => Ok(rate),
            rest if rest.starts_with([',', ';', '&']) => Err(fix(
                "one limit has one rate",
                "write a limit of its own for each rate",
            )),
            rest => Err(fix(
                format!("{} is left over after the rate", quoted(rest)),
                "",
            )),
        }
    }
}

fn parse_quota(amount: u64, scan: &mut Scan<'_>) -> Result<Quota, Fix> {
    if NOUNS.iter().any(|noun| scan.at_word(noun)) {
        scan.word();
    }
    let span = parse_span(scan)?;
    let burst = parse_burst(scan)?;
    if amount == 0 {
        let advice = "write \"deny\" to refuse everything, \"unlimited\" to refuse nothing";
        return Err(fix("a rate of 0 is ambiguous", advice));
    }
    Ok(Quota {
        amount,
        denominator: 1,
        span,
        burst,
    })
}

/// `/ DENOMINATOR of LIMIT per SPAN`, after the numerator; nothing if this is no share.
fn parse_share(numerator: u64, scan: &mut Scan<'_>) -> Result<Option<Rate>, Fix> {
    let mut ahead = scan.clone();
    if !ahead.eat("/") || !ahead.at_digit() {
        return Ok(None);
    }
    let denominator = number(&mut ahead)?;
    if !ahead.eat_word("of") {
        return Ok(None);
    }
    let example = "write it like \"1/30 of per-minute per second\"";
    if numerator == 0 || denominator == 0 {
        return Err(fix("a share of 0 or by 0 is no share", example));
    }
    let of = ahead.until_space().to_owned();
    if of.is_empty() {
        return Err(fix("a limit's name belongs after \"of\"", example));
    }
    let share = Rate::Share {
        of,
        numerator,
        denominator,
        span: parse_span(&mut ahead)?,
        burst: parse_burst(&mut ahead)?,
    };
    *scan = ahead;
    Ok(Some(share))
}

fn number(scan: &mut Scan<'_>) -> Result<u64, Fix> {
    let digits = scan.digits();
    if digits.is_empty() {
        let problem = match scan.rest() {
            "" => "a number is missing".to_owned(),
            rest if rest.starts_with('-') => "a rate cannot be negative".to_owned(),
            rest => format!("a number belongs before {}", quoted(rest)),
        };
        return Err(fix(problem, ""));
    }
    if scan.rest().starts_with('.') {
        let advice = "for 0.5/s write 1 per 2s, for 1.5h write 90min";
        return Err(fix("a rate counts in whole numbers", advice));
    }
    digits.replace('_', "").parse().map_err(|_| {
        let problem = format!("{} is more than can be counted", quoted(digits));
        fix(problem, format!("at most {}", u64::MAX))
    })
}

/// `per [COUNT] unit`.
fn parse_span(scan: &mut Scan<'_>) -> Result<Span, Fix> {
    let per = ["per", "every", "each", "a", "an"];
    if !scan.eat("/") && !per.iter().any(|word| scan.eat_word(word)) {
        let problem = match scan.rest() {
            "" => "a span of time is missing".to_owned(),
            rest => format!("\"/\" or \"per\" belongs before {}", quoted(rest)),
        };
        return Err(fix(problem, ""));
    }
    let count = if scan.at_digit() { number(scan)? } else { 1 };
    let unit = parse_unit(scan)?;
    if count == 0 {
        return Err(fix("a span of 0 is no span", ""));
    }
    if unit
        .nanos()
        .is_some_and(|nanos| count.checked_mul(nanos).is_none())
    {
        let problem = format!("{count} {}s are too long", unit.name());
        return Err(fix(problem, "at most 10 years"));
    }
    Ok(Span { count, unit })
}

fn parse_unit(scan: &mut Scan<'_>) -> Result<Unit, Fix> {
    let word = scan.word();
    let found = UNITS
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name));
    if let Some((_, unit)) = found {
        return Ok(*unit);
    }
    if word.is_empty() {
        return Err(fix("a unit of time is missing", ""));
    }
    let advice = if ["y", "year", "years"]
        .iter()
        .any(|year| word.eq_ignore_ascii_case(year))
    {
        "years differ in length; write days, as in 365d".to_owned()
    } else {
        match nearest(word, UNITS.map(|(name, _)| name)) {
            Some(unit) => format!("did you mean {unit}?"),
            None => String::new(),
        }
    };
    Err(fix(format!("{} is no unit of time", quoted(word)), advice))
}

fn parse_burst(scan: &mut Scan<'_>) -> Result<Option<u64>, Fix> {
    if !scan.eat_word("burst") {
        return Ok(None);
    }
    match number(scan)? {
        0 => Err(fix(
            "a burst of 0 admits nothing",
            "write at least 1, or leave burst out",
        )),
        burst => Ok(Some(burst)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        match Rate::parse(text).unwrap() {
            Rate::Quota(quota) => quota.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn one_rate_has_many_spellings() {
        for text in [
            "5/10s",
            "5 per 10 s",
            "5 Requests PER 10 Seconds",
            "5r/10sec",
            "5 calls every 10 s",
            "  5 / 10 s ",
        ] {
            assert_eq!(words(text), "5 per 10 seconds", "{text}");
        }
        assert_eq!(
            words("1_000/min burst 1_500"),
            "1000 per minute, burst 1500"
        );
        assert_eq!(words("30r/m"), "30 per minute");
        assert_eq!(words("UNLIMITED"), "Unlimited");
        assert_eq!(Rate::parse("deny").unwrap(), Rate::Deny);
    }

    #[test]
    fn what_is_no_rate_says_what_to_write() {
        for (text, told) in [
            ("", "a number is missing"),
            ("-5/s", "negative"),
            ("0/min", "write \"deny\""),
            ("5/0s", "span of 0"),
            ("5/s burst 0", "burst of 0"),
            ("5/s burst", "a number is missing"),
            ("1/1.5h", "90min"),
            ("0.5/s", "1 per 2s"),
            ("5/fortnight", "no unit of time"),
            ("5/secnd", "did you mean second?"),
            ("99999999999999999999/s", "at most"),
            ("5/99999999999999999w", "too long"),
            ("NaN/s", "a number belongs before"),
            ("5/s, 6/min", "a limit of its own"),
            ("5/s please", "left over"),
            ("0/3 of x per s", "share of 0"),
            ("1/3 of", "a limit's name"),
        ] {
            let fix = Rate::parse(text).expect_err(text);
            let whole = format!("{}; {}", fix.problem, fix.advice);
            assert!(whole.contains(told), "{text}: {whole}");
        }
    }
}
