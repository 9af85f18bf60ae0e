//! Writes `examples/logs/demo.log.gz`: two days of made-up traffic for trying policies on.
//!
//! Visitors by day, few by night; a client that polls; somebody who guesses passwords at night;
//! a scraper; and five minutes in which a link to the site was on everybody's screen. Every
//! address is one that is reserved for documentation (RFC 5737, RFC 3849).
//!
//! ```text
//! cargo run --features cli --example demo_log
//! ```

use std::fs::File;
use std::io::{self, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tollgate::Timestamp;

const PATH: &str = "examples/logs/demo.log.gz";

/// 2025-03-03, a Monday, 00:00:00 UTC.
const START_SECS: u64 = 1_740_960_000;

const DAYS: u64 = 2;

fn main() -> io::Result<()> {
    let file = File::create(PATH)?;
    let mut log: GzEncoder<File> = GzBuilder::new().write(file, Compression::best());
    write_log(&mut log, DAYS)?;
    log.finish()?;
    Ok(())
}

/// Numbers that look random and are the same every time.
///
/// Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (2014): SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, the small ones more often.
    fn skewed(&mut self, end: u64) -> u64 {
        let (a, b) = (self.next() % end, self.next() % end);
        a.min(b)
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.next().is_multiple_of(chances)
    }
}

struct Visit<'a> {
    secs: u64,
    ip: &'a str,
    request: &'a str,
    status: u16,
    agent: &'a str,
}

const BROWSERS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:135.0) Gecko/20100101 Firefox/135.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/133.0.0.0",
];

const PAGES: [&str; 8] = [
    "GET / HTTP/1.1",
    "GET /articles HTTP/1.1",
    "GET /articles/7 HTTP/1.1",
    "GET /articles/12?page=2 HTTP/1.1",
    "GET /static/site.css HTTP/1.1",
    "GET /static/logo.svg HTTP/1.1",
    "GET /search?q=limits HTTP/1.1",
    "GET /about HTTP/1.1",
];

/// Writes `days` of traffic in the combined format.
///
/// # Errors
/// As `log`'s.
pub(crate) fn write_log(log: &mut impl Write, days: u64) -> io::Result<()> {
    let mut random = Random(7);
    for minute in 0..days * 24 * 60 {
        let start = START_SECS + minute * 60;
        let mut seconds: Vec<(u64, u64)> = Vec::new();
        for kind in kinds(minute, &mut random) {
            seconds.push((random.next() % 60, kind));
        }
        seconds.sort_unstable();
        for (second, kind) in seconds {
            visit(log, &mut random, start + second, kind)?;
        }
    }
    Ok(())
}

const VISITOR: u64 = 0;
const POLLER: u64 = 1;
const GUESSER: u64 = 2;
const SCRAPER: u64 = 3;
const CROWD: u64 = 4;
const NOISE: u64 = 5;

/// Who comes in one minute.
fn kinds(minute: u64, random: &mut Random) -> Vec<u64> {
    let of_day = minute % 1_440;
    // Three a minute by night, up to eleven in the early afternoon.
    let from_noon = of_day.abs_diff(840).min(600);
    let visitors = 3 + (600 - from_noon) / 75;
    let mut kinds = vec![VISITOR; usize::try_from(visitors).unwrap_or(0)];
    kinds.extend([POLLER; 2]);
    let mut add = |kind, number| kinds.extend(std::iter::repeat_n(kind, number));
    match minute {
        180..240 => add(GUESSER, 25),
        600..690 => add(SCRAPER, 18),
        2_280..2_285 => add(CROWD, 420),
        _ => {}
    }
    if random.one_in(30) {
        kinds.push(NOISE);
    }
    kinds
}

fn visit(log: &mut impl Write, random: &mut Random, secs: u64, kind: u64) -> io::Result<()> {
    let browser = BROWSERS[usize::try_from(random.next() % 3).unwrap_or(0)];
    let page = PAGES[usize::try_from(random.next() % 8).unwrap_or(0)];
    let one = |ip: &str, request: &str, status, agent: &str| {
        Visit {
            secs,
            ip,
            request,
            status,
            agent,
        }
        .line()
    };
    let line = match kind {
        VISITOR if random.one_in(6) => {
            let ip = format!("2001:db8:{:x}::{:x}", random.skewed(90), random.next() % 9);
            one(&ip, page, 200, browser)
        }
        VISITOR => one(
            &format!("192.0.2.{}", random.skewed(250)),
            page,
            200,
            browser,
        ),
        POLLER => one(
            "198.51.100.4",
            "GET /api/status HTTP/1.1",
            200,
            "curl/8.12.1",
        ),
        GUESSER => {
            let ip = format!("203.0.113.{}", 66 + random.next() % 2);
            one(&ip, "POST /login HTTP/1.1", 401, "python-requests/2.32.3")
        }
        SCRAPER => {
            let request = format!("GET /search?q=page{} HTTP/1.1", random.next() % 4_000);
            one(
                "203.0.113.9",
                &request,
                200,
                "Mozilla/5.0 (compatible; crawler)",
            )
        }
        CROWD => {
            let ip = format!("198.51.100.{}", 10 + random.next() % 240);
            one(&ip, "GET /articles/12 HTTP/1.1", 200, browser)
        }
        // A connection that never asked for anything.
        _ => one("203.0.113.200", "-", 408, "-"),
    };
    log.write_all(line.as_bytes())
}

impl Visit<'_> {
    fn line(&self) -> String {
        let (day, time) = (
            Timestamp::from_secs(self.secs).to_string(),
            self.secs % 86_400,
        );
        let day_of_month = day.get(8..10).unwrap_or("01");
        let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
        format!(
            "{} - - [{day_of_month}/Mar/2025:{hour:02}:{minute:02}:{second:02} +0000] \"{}\" {} {} \
             \"-\" \"{}\"\n",
            self.ip,
            self.request,
            self.status,
            1_000 + self.secs % 997,
            self.agent,
        )
    }
}
