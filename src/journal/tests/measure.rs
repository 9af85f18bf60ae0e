//! Figures of the journal on this machine's disk. Run with `--ignored --nocapture`.

use std::time::{Duration, Instant};

use super::*;

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    format!("p50 {:?}  p99 {:?}  max {:?}", at(50), at(99), at(100))
}

/// A line of this process's `/proc/self/status`, in kilobytes.
fn memory_kb(name: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name));
    line.unwrap_or_default()
        .split_whitespace()
        .nth(1)
        .unwrap_or("?")
        .to_owned()
}

/// Bytes this process had written to files.
fn written_bytes() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.unwrap().trim().parse().unwrap()
}

#[test]
#[ignore = "measures; takes a minute"]
fn commits() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(&folder.path().join("journal"));
    for number in [1, 10, 100, 1000] {
        let mut times = Vec::new();
        let before = written_bytes();
        for count in 0..100 {
            let words = words(number, count + 1);
            let started = Instant::now();
            journal.commit(&words).unwrap();
            times.push(started.elapsed());
        }
        let bytes = (written_bytes() - before) / 100;
        println!(
            "{number:5} records: {}  {bytes} bytes written",
            percentiles(times)
        );
    }
}

#[test]
#[ignore = "measures; takes minutes"]
fn keys() {
    for keys in [100_000, 1_000_000] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = open(&path);
        let all = words(keys, 1);
        let before = written_bytes();
        let started = Instant::now();
        journal.commit(&all).unwrap();
        println!(
            "{keys} keys written in {:?}, {} bytes on disk each, {} bytes written each",
            started.elapsed(),
            journal.size_bytes() / keys,
            (written_bytes() - before) / keys
        );
        let mut times = Vec::new();
        let before = written_bytes();
        for chunk in all.chunks(1000).take(100) {
            let started = Instant::now();
            journal.commit(chunk).unwrap();
            times.push(started.elapsed());
        }
        println!("  again, 1000 a commit: {}", percentiles(times));
        println!(
            "  {} bytes written a commit",
            (written_bytes() - before) / 100
        );
        let started = Instant::now();
        drop(journal);
        println!("  closed in {:?}", started.elapsed());
        for _ in 0..2 {
            let started = Instant::now();
            let (mut journal, _) = open(&path);
            let opened = started.elapsed();
            let started = Instant::now();
            assert_eq!(held(&mut journal).len() as u64, keys);
            let scanned = started.elapsed();
            println!("  opened in {opened:?}, scanned in {scanned:?}");
        }
        let (mut journal, _) = open(&path);
        let started = Instant::now();
        journal.renew(all.iter().copied()).unwrap();
        println!(
            "  renewed in {:?}, {} bytes each",
            started.elapsed(),
            journal.size_bytes() / keys
        );
        println!(
            "  resident {} kB, at most {} kB",
            memory_kb("VmRSS"),
            memory_kb("VmHWM")
        );
    }
}
