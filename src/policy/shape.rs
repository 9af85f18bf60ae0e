//! A limit's shape: its algorithm and window, the part of it that no tier and no override changes.

use std::fmt;

use super::fault::{Fix, fix, quoted};
use super::rate::{Quota, Span, Unit};
use super::terms::{Durability, RateSpec};
use crate::algorithm::{
    Bucket, Calendar, CalendarUnit, FineWindow, Frame, Rule, RuleError, Sliding, Window,
};

const NANOS_PER_SEC: u64 = 1_000_000_000;
const NANOS_PER_MS: u64 = 1_000_000;
/// Limits that look back further than this are logged unless they say otherwise.
const MEMORY_NANOS_MAX: u128 = 10 * 1_000_000_000;

/// An algorithm as a policy names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Algorithm {
    TokenBucket,
    FixedWindow,
    FirstHit,
    SlidingWindow,
    Calendar,
}

/// An algorithm with its window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    Bucket,
    /// A fixed window of whole seconds.
    Window {
        span_secs: u64,
    },
    /// One that opens with a key's first hit, or is no whole number of seconds long.
    Fine {
        span_ms: u64,
        from_first_hit: bool,
    },
    Sliding {
        window_secs: u64,
    },
    Calendar {
        /// The calendar's place in the plan.
        number: u16,
        unit: CalendarUnit,
        zone: Box<str>,
    },
}

/// The part of a counter's name that its meaning hangs on.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket => f.write_str("token bucket"),
            Self::Window { span_secs } => write!(f, "fixed window of {span_secs} s"),
            Self::Fine {
                span_ms,
                from_first_hit,
            } => {
                let opened = if *from_first_hit {
                    " from first hit"
                } else {
                    ""
                };
                write!(f, "fixed window{opened} of {}", Secs(*span_ms))
            }
            Self::Sliding { window_secs } => write!(f, "sliding window of {window_secs} s"),
            Self::Calendar { unit, zone, .. } => write!(f, "calendar {unit} in {zone}"),
        }
    }
}

/// The calendars of a policy, each unit and zone once.
#[derive(Default)]
pub(super) struct Calendars {
    pub(super) list: Vec<Calendar>,
}

impl Calendars {
    fn number(&mut self, unit: CalendarUnit, zone: &str) -> Result<u16, Fix> {
        let calendar = calendar(unit, zone)?;
        // By the zone's own name: the text may write it in other letters.
        let same =
            |known: &Calendar| known.unit() == unit && known.zone_name() == calendar.zone_name();
        let index = match self.list.iter().position(same) {
            Some(index) => index,
            None => {
                self.list.push(calendar);
                self.list.len() - 1
            }
        };
        u16::try_from(index).map_err(|_| fix("too many calendars", "share them between limits"))
    }
}

/// A fault unless the time zone database knows `zone`.
pub(super) fn check_zone(zone: &str) -> Result<(), Fix> {
    calendar(CalendarUnit::Day, zone).map(|_| ())
}

fn calendar(unit: CalendarUnit, zone: &str) -> Result<Calendar, Fix> {
    Calendar::new(unit, zone).map_err(|_| {
        let problem = format!("{} is no time zone", quoted(zone));
        fix(
            problem,
            "write an IANA name such as \"Europe/Berlin\" or \"UTC\"",
        )
    })
}

/// Whole seconds of a span.
fn whole_secs(span: Span) -> Result<u64, Fix> {
    match span
        .unit
        .nanos()
        .and_then(|nanos| nanos.checked_mul(span.count))
    {
        Some(nanos) if nanos % NANOS_PER_SEC == 0 => Ok(nanos / NANOS_PER_SEC),
        Some(_) => Err(fix(
            "a window lasts whole seconds",
            "use whole seconds, or the token bucket",
        )),
        None => Err(month_fix()),
    }
}

/// Milliseconds of a span of whole hundredths of a second.
fn whole_hundredths(span: Span) -> Result<u64, Fix> {
    let nanos = span.unit.nanos().ok_or_else(month_fix)?;
    match nanos.checked_mul(span.count) {
        Some(nanos) if nanos % (10 * NANOS_PER_MS) == 0 => Ok(nanos / NANOS_PER_MS),
        Some(_) => Err(fix(
            "a window lasts whole hundredths of a second",
            "use a multiple of 10 ms, or the token bucket",
        )),
        None => Err(fix("the span is too long", "at most 10 years")),
    }
}

/// Milliseconds, said in seconds if they are whole ones.
struct Secs(u64);

impl fmt::Display for Secs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1_000 {
            0 => write!(f, "{} s", self.0 / 1_000),
            _ => write!(f, "{} ms", self.0),
        }
    }
}

fn month_fix() -> Fix {
    fix(
        "months differ in length",
        "write days, as in 30d; a limit with algorithm = \"calendar\" counts months",
    )
}

fn rule_fix(error: RuleError) -> Fix {
    fix(error.to_string(), "write smaller numbers")
}

impl Shape {
    /// The shape of a limit that runs `algorithm` at rates over `span`.
    pub(super) fn new(
        algorithm: Algorithm,
        span: Span,
        zone: &str,
        week_from_sunday: bool,
        calendars: &mut Calendars,
    ) -> Result<Self, Fix> {
        Ok(match algorithm {
            Algorithm::TokenBucket => Self::Bucket,
            Algorithm::FixedWindow if whole_secs(span).is_ok() => Self::Window {
                span_secs: whole_secs(span)?,
            },
            Algorithm::FixedWindow | Algorithm::FirstHit => Self::Fine {
                span_ms: whole_hundredths(span)?,
                from_first_hit: algorithm == Algorithm::FirstHit,
            },
            Algorithm::SlidingWindow => Self::Sliding {
                window_secs: whole_secs(span)?,
            },
            Algorithm::Calendar => {
                let unit = calendar_unit(span, week_from_sunday)?;
                let number = calendars.number(unit, zone)?;
                let named = calendars.list.get(usize::from(number));
                Self::Calendar {
                    number,
                    unit,
                    zone: named.map_or(zone, Calendar::zone_name).into(),
                }
            }
        })
    }

    /// The rule and its words for `quota`.
    pub(super) fn rate(&self, quota: Quota) -> Result<RateSpec, Fix> {
        let (rule, quota) = match self {
            Self::Bucket => {
                let (bucket, quota) = bucket(quota)?;
                (Rule::Bucket(bucket), quota)
            }
            Self::Window { span_secs } => {
                self.same_span(whole_secs(quota.span) == Ok(*span_secs))?;
                let quota = whole(quota)?;
                let window = Window::new(quota.amount, *span_secs, Frame::Epoch);
                (Rule::Window(window.map_err(rule_fix)?), quota)
            }
            Self::Fine {
                span_ms,
                from_first_hit,
            } => {
                self.same_span(whole_hundredths(quota.span)? == *span_ms)?;
                let quota = whole(quota)?;
                let nanos = span_ms.saturating_mul(NANOS_PER_MS);
                let window = FineWindow::new(quota.amount, nanos, *from_first_hit);
                (Rule::Fine(window.map_err(rule_fix)?), quota)
            }
            Self::Sliding { window_secs } => {
                self.same_span(whole_secs(quota.span)? == *window_secs)?;
                let quota = whole(quota)?;
                let sliding = Sliding::new(quota.amount, *window_secs);
                (Rule::Sliding(sliding.map_err(rule_fix)?), quota)
            }
            Self::Calendar { number, unit, .. } => {
                let week_from_sunday = *unit == CalendarUnit::WeekFromSunday;
                self.same_span(calendar_unit(quota.span, week_from_sunday)? == *unit)?;
                let frame = Frame::Calendar(*number);
                let quota = whole(quota)?;
                let window = Window::new(quota.amount, unit.longest_secs(), frame);
                (Rule::Window(window.map_err(rule_fix)?), quota)
            }
        };
        Ok(RateSpec {
            rule,
            words: quota.to_string().into(),
        })
    }

    fn same_span(&self, is_same: bool) -> Result<(), Fix> {
        if is_same {
            return Ok(());
        }
        Err(fix(
            format!("this limit counts over a {self}, and its counts mean that"),
            format!(
                "write it like \"{}\", or write another limit",
                self.example()
            ),
        ))
    }

    /// A rate that a limit of this shape can have.
    pub(super) fn example(&self) -> String {
        match self {
            Self::Bucket => "100/min".to_owned(),
            Self::Window { span_secs: secs } | Self::Sliding { window_secs: secs } => {
                format!("100 per {secs} s")
            }
            Self::Fine { span_ms, .. } => format!("100 per {}", Secs(*span_ms)),
            Self::Calendar { unit, .. } => match unit {
                CalendarUnit::Hour => "100/hour".to_owned(),
                CalendarUnit::Day => "100/day".to_owned(),
                CalendarUnit::Week | CalendarUnit::WeekFromSunday => "100/week".to_owned(),
                CalendarUnit::Month => "100/month".to_owned(),
            },
        }
    }

    /// Where a limit of this shape is kept if it does not say so.
    pub(super) fn durability(&self, quotas: impl Iterator<Item = Quota>) -> Durability {
        let is_long = match self {
            Self::Bucket => quotas.into_iter().any(|quota| {
                let nanos = u128::from(quota.span.unit.nanos().unwrap_or(u64::MAX));
                let burst = u128::from(quota.burst.unwrap_or(default_burst(quota)));
                let period = nanos * u128::from(quota.span.count) * u128::from(quota.denominator);
                period.saturating_mul(burst) > MEMORY_NANOS_MAX * u128::from(quota.amount)
            }),
            Self::Window { span_secs: secs } | Self::Sliding { window_secs: secs } => {
                u128::from(*secs) * u128::from(NANOS_PER_SEC) > MEMORY_NANOS_MAX
            }
            Self::Fine { span_ms, .. } => {
                u128::from(*span_ms) * u128::from(NANOS_PER_MS) > MEMORY_NANOS_MAX
            }
            Self::Calendar { .. } => true,
        };
        match is_long {
            true => Durability::Logged,
            false => Durability::Memory,
        }
    }
}

/// What a quota holds at once if it does not say so: its amount, at least one.
fn default_burst(quota: Quota) -> u64 {
    (quota.amount / quota.denominator.max(1)).max(1)
}

/// The bucket, and the quota as it is said with whole numbers: a share that does not come out
/// even keeps its exact rate over a longer span.
fn bucket(quota: Quota) -> Result<(Bucket, Quota), Fix> {
    let too_long = || fix("the span is too long", "at most 10 years");
    let burst = quota.burst.unwrap_or(default_burst(quota));
    let said = if quota.amount.is_multiple_of(quota.denominator) {
        Quota {
            amount: quota.amount / quota.denominator,
            denominator: 1,
            ..quota
        }
    } else {
        let count = quota.span.count.checked_mul(quota.denominator);
        Quota {
            denominator: 1,
            span: Span {
                count: count.ok_or_else(too_long)?,
                ..quota.span
            },
            burst: Some(burst),
            ..quota
        }
    };
    let nanos = said.span.unit.nanos().ok_or_else(month_fix)?;
    let period = nanos.checked_mul(said.span.count).ok_or_else(too_long)?;
    let bucket = Bucket::new(said.amount, period, burst).map_err(rule_fix)?;
    Ok((bucket, said))
}

/// A window's quota: a whole number, without a burst.
fn whole(quota: Quota) -> Result<Quota, Fix> {
    if quota.burst.is_some() {
        let advice = "leave burst out, or use the token bucket";
        return Err(fix("a window has no burst of its own", advice));
    }
    match quota.amount / quota.denominator.max(1) {
        0 => Err(fix(
            "less than one request is left of this share",
            "take a larger share, or a longer span",
        )),
        amount => Ok(Quota {
            amount,
            denominator: 1,
            ..quota
        }),
    }
}

fn calendar_unit(span: Span, week_from_sunday: bool) -> Result<CalendarUnit, Fix> {
    match (span.count, span.unit) {
        (1, Unit::Hour) => Ok(CalendarUnit::Hour),
        (1, Unit::Day) => Ok(CalendarUnit::Day),
        (1, Unit::Week) if week_from_sunday => Ok(CalendarUnit::WeekFromSunday),
        (1, Unit::Week) => Ok(CalendarUnit::Week),
        (1, Unit::Month) => Ok(CalendarUnit::Month),
        _ => Err(fix(
            format!("a calendar has no periods of {span}"),
            "write per hour, day, week or month, or use a fixed window",
        )),
    }
}
