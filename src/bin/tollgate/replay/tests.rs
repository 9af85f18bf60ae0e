//! Whole replays, with a judge that needs no limiter.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;
use crate::log::Entry;

/// Allows each address `amount` requests an hour, and keeps count in a file.
struct Hourly {
    limits: Vec<String>,
    amount: u64,
    counts: BTreeMap<String, u64>,
}

impl Hourly {
    fn new(amount: u64) -> Self {
        Self {
            limits: vec!["hourly".to_owned()],
            amount,
            counts: BTreeMap::new(),
        }
    }

    fn restored(amount: u64, from: &Path) -> Self {
        let text = fs::read_to_string(from.join("counts")).unwrap();
        Self {
            counts: serde_json::from_str(&text).unwrap(),
            ..Self::new(amount)
        }
    }
}

impl Judge for Hourly {
    fn limits(&self) -> &[String] {
        &self.limits
    }

    fn rates(&self) -> &[MetRate] {
        &[]
    }

    fn judge(
        &mut self,
        now: Timestamp,
        entry: &Entry<'_>,
        ruling: &mut Ruling,
    ) -> anyhow::Result<()> {
        let key = self.key(entry, 0);
        let hour = format!("{key} {}", now.as_secs() / 3_600);
        let count = self.counts.entry(hour).or_default();
        let refused = *count >= self.amount;
        *count += u64::from(!refused);
        ruling.clear();
        ruling.allowed = !refused;
        ruling.ruling = refused.then_some(0);
        let bytes = key
            .bytes()
            .fold(7, |hash: u64, byte| hash * 31 + u64::from(byte));
        ruling.outcomes.push(Outcome {
            counter: bytes,
            cost: 1,
            refused,
            ..Outcome::default()
        });
        Ok(())
    }

    fn key(&self, entry: &Entry<'_>, _: usize) -> String {
        let ip = entry.attributes.iter().find(|(name, _)| name == "ip");
        ip.map_or(String::new(), |(_, ip)| ip.to_string())
    }

    fn key_attribute(&self, _: usize) -> String {
        "ip".to_owned()
    }

    fn close(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn backup(&mut self, path: &Path) -> anyhow::Result<()> {
        fs::create_dir(path)?;
        fs::write(path.join("counts"), serde_json::to_string(&self.counts)?)?;
        Ok(())
    }

    fn without_counter(&self) -> u64 {
        0
    }
}

fn logs(directory: &Path) -> Vec<String> {
    let log = |name: &str, lines: &str| {
        let path = directory.join(name);
        fs::write(&path, lines).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let line = |i: u32| {
        let (minute, second) = (i / 60 % 60, (i * 7) % 60);
        let time = format!("10/Oct/2000:{:02}:{minute:02}:{second:02} +0000", i / 3_600);
        match i % 97 {
            0 => "rubbish\n".to_owned(),
            1 => "\n".to_owned(),
            2 => format!("10.0.0.1 - - [{time}] \"-\" 408 -\n"),
            _ => format!("10.0.0.{} - - [{time}] \"GET /{i}\" 200 1\n", i % 11),
        }
    };
    vec![
        log("a.log", &(0..3_000).map(line).collect::<String>()),
        log("b.log", &(3_000..5_000).map(line).collect::<String>()),
    ]
}

fn replay<'a>(judge: impl Judge + 'a, logs: &[String], home: Home, every: Duration) -> Replay<'a> {
    let recipe = Recipe {
        policies: vec!["p".to_owned()],
        logs: logs.to_vec(),
        format: None,
        reading: String::new(),
        trace: true,
        follow: false,
    };
    let state = match home.progress().unwrap() {
        Some(text) => State::read(&text, &recipe, |policy| home.counts(policy)).unwrap(),
        None => State::new(recipe, &[judge.limits()]),
    };
    let counted = &state.policies[0];
    let side = Side {
        recorder: Some(Recorder::open(&home.trace(0), counted.tracks.clone()).unwrap()),
        judge: Box::new(judge),
        counterless: counted.without_counter,
        ruling: Ruling::default(),
    };
    Replay {
        options: Options {
            reading: Reading::default(),
            strict: false,
            checkpoint_every: every,
        },
        sides: vec![side],
        home,
        state,
        progress: Progress::new(Show::None, None, 0).unwrap(),
        live: None,
        interrupt: Interrupt::new().unwrap(),
    }
}

#[test]
fn everything_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let logs = logs(directory.path());
    let judge = Hourly::new(200);
    let home = Home::open(&directory.path().join("data"), Held::ReplaceFinished).unwrap();
    let mut replay = replay(judge, &logs, home, Duration::from_secs(60));
    assert_eq!(replay.run().unwrap(), Ended::Finished);
    let (lines, counted) = (&replay.state.lines, &replay.state.policies[0]);
    let totals = &counted.totals;
    assert_eq!(lines.read, 5_000);
    assert_eq!(
        (lines.malformed, lines.blank, lines.without_request),
        (52, 52, 52)
    );
    assert_eq!(totals.requests, 5_000 - 3 * 52);
    assert_eq!(totals.allowed + totals.refused, totals.requests);
    // Eleven addresses, two hours of 200 each: whatever came beyond that was refused.
    assert!(
        totals.refused > 0 && totals.allowed <= 11 * 2 * 200,
        "{totals:?}"
    );
    assert_eq!(totals.limits[0].refused, totals.refused);
    assert!(lines.late.entries > 0);
    let complaint = &lines.first_malformed[1];
    assert_eq!(
        (complaint.line, complaint.excerpt.as_str()),
        (98, "\"rubbish\"")
    );
    assert_eq!(counted.tracks.tracks[0].uses, totals.requests);
}

/// A judge that fails after so many requests: the process dies there, checkpoint or not.
struct Dying {
    judge: Hourly,
    left: u64,
}

impl Judge for Dying {
    fn limits(&self) -> &[String] {
        self.judge.limits()
    }

    fn rates(&self) -> &[MetRate] {
        self.judge.rates()
    }

    fn judge(
        &mut self,
        now: Timestamp,
        entry: &Entry<'_>,
        ruling: &mut Ruling,
    ) -> anyhow::Result<()> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => bail!("killed"),
        }
        self.judge.judge(now, entry, ruling)
    }

    fn key(&self, entry: &Entry<'_>, limit: usize) -> String {
        self.judge.key(entry, limit)
    }

    fn key_attribute(&self, limit: usize) -> String {
        self.judge.key_attribute(limit)
    }

    fn close(&mut self) -> anyhow::Result<()> {
        self.judge.close()
    }

    fn backup(&mut self, path: &Path) -> anyhow::Result<()> {
        self.judge.backup(path)
    }

    fn without_counter(&self) -> u64 {
        self.judge.without_counter()
    }
}

fn uses(replay: &mut Replay<'_>) -> Vec<(Timestamp, u64, u64)> {
    let recorder = replay.sides[0].recorder.as_mut().unwrap();
    let uses = recorder.uses(0).unwrap().map(Result::unwrap);
    uses.map(|one| (one.time, one.key, one.cost)).collect()
}

#[test]
fn a_replay_that_died_many_times_ends_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let logs = logs(directory.path());
    let summary = |replay: &Replay<'_>| {
        let worked = vec![Worked::default()];
        serde_json::to_string(&Summary::new(&replay.state, 50, worked)).unwrap()
    };
    let judge = Hourly::new(150);
    let home = Home::open(&directory.path().join("whole"), Held::ReplaceFinished).unwrap();
    let mut whole = replay(judge, &logs, home, Duration::from_secs(60));
    whole.run().unwrap();
    let expected = summary(&whole);
    let uses = uses(&mut whole);

    let path = directory.path().join("parts");
    let mut deaths = 0;
    for left in (0_u64..).map(|round| 5 + 300 * round) {
        let home = Home::open(&path, Held::Resume).unwrap();
        home.restore().unwrap();
        let judge = match home.progress().unwrap() {
            Some(_) => Hourly::restored(150, &home.counters(0)),
            None => Hourly::new(150),
        };
        let dying = Dying { judge, left };
        let mut parts = replay(dying, &logs, home, Duration::ZERO);
        if parts.run().is_err() {
            deaths += 1;
            continue;
        }
        assert_eq!(summary(&parts), expected);
        assert_eq!(self::uses(&mut parts), uses);
        break;
    }
    assert!(deaths >= 5, "{deaths} deaths");
    // Finished is finished: nothing is read again.
    let home = Home::open(&path, Held::Resume).unwrap();
    let judge = Hourly::new(0);
    let mut again = replay(judge, &logs, home, Duration::ZERO);
    again.run().unwrap();
    assert_eq!(summary(&again), expected);
}

#[test]
fn another_log_of_the_same_name_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let logs = logs(directory.path());
    let path = directory.path().join("data");
    let judge = Hourly::new(150);
    let dying = Dying { judge, left: 4_500 };
    let home = Home::open(&path, Held::ReplaceFinished).unwrap();
    assert!(replay(dying, &logs, home, Duration::ZERO).run().is_err());
    let other = fs::read_to_string(&logs[1]).unwrap();
    fs::write(&logs[0], other).unwrap();
    let home = Home::open(&path, Held::Resume).unwrap();
    let judge = Hourly::new(150);
    let mut resumed = replay(judge, &logs, home, Duration::ZERO);
    resumed.options.strict = true;
    let fault = format!("{:#}", resumed.run().unwrap_err());
    assert!(
        fault.contains("--format") || fault.contains("has changed"),
        "{fault}"
    );
}

#[test]
fn strictness_ends_at_the_first_malformed_line() {
    let directory = tempfile::tempdir().unwrap();
    let logs = logs(directory.path());
    let judge = Hourly::new(150);
    let home = Home::open(&directory.path().join("data"), Held::ReplaceFinished).unwrap();
    let mut strict = replay(judge, &logs, home, Duration::from_secs(60));
    strict.options.strict = true;
    let fault = strict.run().unwrap_err().to_string();
    assert!(
        fault.contains("a.log:1: ") && fault.contains("\"rubbish\""),
        "{fault}"
    );
}
