//! A replay that is killed again and again ends as one that never was: every total, every key,
//! every bin of the timeline, every amount worked out, and the counters themselves.
#![cfg(feature = "cli")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

#[path = "../examples/demo_log.rs"]
#[expect(dead_code, reason = "its main is another program's")]
mod demo_log;

/// Days of traffic in the log, fourteen thousand lines each.
const DAYS: u64 = 2;
const KILLS_MIN: usize = 20;

const POLICY: &str = "
    [limits.minute]
    rate = \"20/min burst 25\"
    key = \"ip\"
    [limits.sliding]
    rate = \"12 per 90 s\"
    algorithm = \"sliding window\"
    key = \"ip\"
    shadow = true
    [limits.day]
    rate = \"700/day\"
    algorithm = \"calendar\"
    time_zone = \"Europe/Berlin\"
    key = \"ip\"
    [limits.first]
    rate = \"300/h\"
    algorithm = \"fixed window from first hit\"
    key = \"ip + method\"
";

/// Waits that look random and are the same every time.
struct Waits(u64);

impl Waits {
    /// Up to 30 milliseconds, for dying while opening, or up to `most`, in turns.
    fn next(&mut self, most: Duration) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let most = if self.0 >> 62 == 0 {
            Duration::from_millis(30)
        } else {
            most
        };
        most.mul_f64((self.0 >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

struct Bench {
    directory: TempDir,
    log: PathBuf,
}

impl Bench {
    /// On a memory file system where there is one: a kill is the same there, and a checkpoint
    /// quicker, so that there are many to be killed in.
    fn new() -> Self {
        let memory = tempfile::tempdir_in("/dev/shm");
        let directory = memory.or_else(|_| tempfile::tempdir()).unwrap();
        let log = directory.path().join("access.log");
        let mut file = std::io::BufWriter::new(File::create(&log).unwrap());
        demo_log::write_log(&mut file, DAYS).unwrap();
        fs::write(directory.path().join("policy.toml"), POLICY).unwrap();
        Self { directory, log }
    }

    fn replay(&self, data: &str, log: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command
            .current_dir(self.directory.path())
            .args([
                "replay",
                log,
                "--policy",
                "policy.toml",
                "--data",
                data,
                "--json",
            ])
            .args([
                "--worst",
                "1000",
                "--progress",
                "none",
                "--counters",
                "20000",
            ])
            .args(["--checkpoint-every", "0.02", "--resume"])
            .args(more)
            .stdin(Stdio::null());
        command
    }

    /// What the counters in `data` say at the end of the log.
    fn usage(&self, data: &str, last: &str) -> Vec<String> {
        let mut told = Vec::new();
        for limit in ["minute", "sliding", "day"] {
            for key in [
                "198.51.100.4",
                "192.0.2.0",
                "192.0.2.3",
                "203.0.113.9",
                "2001:db8:1::1",
            ] {
                let counters = format!("{data}/counters");
                let usage = Command::new(env!("CARGO_BIN_EXE_tollgate"))
                    .current_dir(self.directory.path())
                    .args(["usage", "--policy", "policy.toml", "--data", &counters])
                    .args(["--limit", limit, "--key", key, "--at", last, "--json"])
                    .output()
                    .unwrap();
                assert!(usage.status.success());
                told.push(String::from_utf8(usage.stdout).unwrap());
            }
        }
        told
    }
}

/// A command whose output goes to files: one that nobody reads from a pipe would wait for that.
struct Running {
    child: Child,
    told: [tempfile::NamedTempFile; 2],
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let told = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
        let [out, err] = told.each_ref().map(|file| file.reopen().unwrap());
        let child = command.stdout(out).stderr(err).spawn().unwrap();
        Self { child, told }
    }

    fn output(mut self) -> Output {
        let status = self.child.wait().unwrap();
        let [stdout, stderr] = self.told.map(|file| fs::read(file.path()).unwrap());
        Output {
            status,
            stdout,
            stderr,
        }
    }
}

fn finished(output: &Output) -> String {
    let fault = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{fault}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn killed_many_times_it_ends_the_same() {
    let bench = Bench::new();
    let log = bench.log.to_str().unwrap();
    let began = Instant::now();
    let expected = finished(&bench.replay("whole", log, &["--amounts"]).output().unwrap());
    let took = began.elapsed();
    let whole: Value = serde_json::from_str(&expected).unwrap();
    assert!(whole["requests"]["refused"].as_u64().unwrap() > 2_000);
    let last = whole["time"]["last"].as_str().unwrap();
    let counters = bench.usage("whole", last);

    let mut waits = Waits(7);
    let (mut kills, mut rounds, mut gone_on) = (0, 0, 0);
    while kills < KILLS_MIN {
        let data = format!("parts-{rounds}");
        rounds += 1;
        let mut most = took / 8;
        let output = loop {
            let begun = bench.directory.path().join(&data);
            gone_on += usize::from(has_checkpoint(&begun));
            let mut child = Running::start(&mut bench.replay(&data, log, &["--amounts"]));
            std::thread::sleep(waits.next(most));
            match child.child.try_wait().unwrap() {
                Some(_) => break child.output(),
                None => child.child.kill().unwrap(),
            }
            child.child.wait().unwrap();
            kills += 1;
            // To begin, to read what was kept, and to write, must find their time at the end.
            most = most.mul_f64(1.07);
            assert!(kills < 40 * KILLS_MIN, "it never gets anywhere");
        };
        assert!(
            finished(&output) == expected,
            "round {rounds} ended otherwise"
        );
        assert_eq!(bench.usage(&data, last), counters);
        // Once more: it is finished, and says the same.
        assert!(finished(&bench.replay(&data, log, &["--amounts"]).output().unwrap()) == expected);
    }
    println!("{kills} kills, {gone_on} resumptions from a checkpoint, {rounds} rounds, {took:?}");
    assert!(
        gone_on >= KILLS_MIN / 3,
        "{gone_on} of {kills} went on from a checkpoint"
    );
}

/// Row P9: killed whenever it has found out a little about the amounts, it ends all the same.
#[test]
fn p9_killed_while_it_works_out_amounts_it_ends_the_same() {
    let bench = Bench::new();
    let log = bench.log.to_str().unwrap();
    let expected = finished(&bench.replay("whole", log, &["--amounts"]).output().unwrap());
    let length = |data: &str| {
        let attempts = bench.directory.path().join(data).join("attempts");
        fs::metadata(attempts).map_or(0, |meta| meta.len())
    };
    let known = || length("parts");
    // A twelfth of all that there is to find out.
    let step = length("whole") / 12;
    let mut kills = 0;
    let output = loop {
        let before = known();
        let mut child = Running::start(&mut bench.replay("parts", log, &["--amounts"]));
        while known() <= before + step && child.child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        if child.child.try_wait().unwrap().is_some() {
            break child.output();
        }
        child.child.kill().unwrap();
        child.child.wait().unwrap();
        assert!(known() > before, "a kill takes nothing back");
        kills += 1;
        assert!(kills < 1000, "it never gets anywhere");
    };
    println!("{kills} kills");
    assert!(kills > 5, "{kills}");
    assert!(finished(&output) == expected);
}

fn has_checkpoint(data: &Path) -> bool {
    let Ok(entries) = fs::read_dir(data) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        name.to_str()
            .is_some_and(|name| name.starts_with("checkpoint-"))
    })
}

#[test]
fn asked_to_end_it_keeps_everything_and_says_how_to_go_on() {
    let bench = Bench::new();
    let log = bench.log.to_str().unwrap();
    let began = Instant::now();
    let expected = finished(&bench.replay("whole", log, &[]).output().unwrap());
    let mut wait = began.elapsed() / 4;
    let mut interrupted = 0;
    let output = loop {
        let child = Running::start(&mut bench.replay("parts", log, &[]));
        std::thread::sleep(wait);
        wait = wait.mul_f64(1.1);
        let id = rustix::process::Pid::from_raw(i32::try_from(child.child.id()).unwrap()).unwrap();
        // It may have ended by itself.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let output = child.output();
        if output.status.code() != Some(130) {
            break output;
        }
        let fault = String::from_utf8(output.stderr).unwrap();
        assert!(fault.contains("--resume"), "{fault}");
        interrupted += 1;
        assert!(interrupted < 1_000, "it never gets anywhere");
    };
    assert!(interrupted > 0);
    assert!(
        finished(&output) == expected,
        "after {interrupted} interruptions"
    );
}

#[test]
fn standard_input_and_gzip_go_on_too() {
    let bench = Bench::new();
    let text = fs::read(&bench.log).unwrap();
    let zipped = bench.directory.path().join("access.log.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(File::create(&zipped).unwrap(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &text).unwrap();
    encoder.finish().unwrap();
    for (log, input) in [("access.log.gz", None), ("-", Some(&bench.log))] {
        let start = |data: &str| {
            let mut command = bench.replay(data, log, &[]);
            if let Some(path) = input {
                command.stdin(File::open(path).unwrap());
            }
            Running::start(&mut command)
        };
        let whole = format!("whole {log}");
        let began = Instant::now();
        let expected = finished(&start(&whole).output());
        let mut wait = began.elapsed() / 4;
        let (data, mut kills) = (format!("parts {log}"), 0);
        let output = loop {
            let mut child = start(&data);
            std::thread::sleep(wait);
            wait = wait.mul_f64(1.1);
            match child.child.try_wait().unwrap() {
                Some(_) => break child.output(),
                None => child.child.kill().unwrap(),
            }
            child.child.wait().unwrap();
            kills += 1;
            assert!(kills < 1_000, "it never gets anywhere");
        };
        assert!(
            kills > 0 && finished(&output) == expected,
            "{log} after {kills} kills"
        );
    }
}
