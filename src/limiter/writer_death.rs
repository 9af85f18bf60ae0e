//! A writer thread that dies: what is left of a limiter, and what it says.

use std::time::{Duration, Instant};

use super::Limiter;
use super::media::Media;
use crate::policy::{Policy, Request};

const POLICY: &str = "[limits.day]\nrate = \"1000/day\"\nkey = \"user\"";

#[test]
fn a_writer_that_dies_is_told_of_and_checks_go_on() {
    let dir = crate::directory::scratch();
    let data = dir.path().join("data");
    let builder = Limiter::builder(Policy::from_toml(POLICY).unwrap())
        .counters(1000)
        .interval(Duration::from_millis(1));
    let media = Media {
        journal: Box::new(|_, _| panic!("planned")),
        ..Media::default()
    };
    let limiter = builder.clone().open_on(&data, media).unwrap();
    let request = Request::new().attribute("user", "alice");
    assert!(limiter.check(&request).is_allowed());
    let error = limiter.flush().unwrap_err().to_string();
    assert!(error.contains("writer thread panicked"), "{error}");
    let trouble = limiter.health().writing.trouble.unwrap();
    assert!(trouble.why.contains("panicked") && trouble.since <= Instant::now());
    assert!(limiter.check(&request).is_allowed(), "checks go on");
    assert!(limiter.close().is_err());
    drop(limiter);
    let limiter = builder.open(&data).unwrap();
    let used = limiter.limit("day").unwrap().usage("alice").used();
    assert_eq!(used, 2);
    limiter.flush().unwrap();
}
