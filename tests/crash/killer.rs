//! Starts lives, listens to them, and kills them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use crate::child::Plan;
use crate::ledger::Ledger;

/// Numbers that look random; the seed is printed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let given = std::env::var("TOLLGATE_SEED").ok();
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let seed = given.map_or(u64::from(since.subsec_nanos()), |seed| {
            seed.parse().unwrap()
        });
        println!("TOLLGATE_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// Waits for up to `most`.
    pub(crate) fn sleep(&mut self, most: Duration) {
        let micros = u64::try_from(most.as_micros()).unwrap();
        std::thread::sleep(Duration::from_micros(self.below(micros + 1)));
    }
}

/// A process that lives until it is killed.
pub(crate) struct Life {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Life {
    pub(crate) fn start(what: &str, plan: &Plan, data: &Path, number: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["life", "--exact", "--ignored", "--nocapture"])
            .env("TOLLGATE_CRASH_DATA", data)
            .env("TOLLGATE_CRASH_PLAN", plan.line())
            .env("TOLLGATE_CRASH_LIFE", number.to_string())
            .env("TOLLGATE_CRASH_DO", what)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Self {
            child,
            lines,
            heard: Vec::new(),
        }
    }

    /// Listens until the life says so.
    pub(crate) fn wait_for(&mut self, line: &str) {
        while self.heard.last().is_none_or(|last| last != line) {
            let heard = self.lines.recv();
            let Ok(heard) = heard else {
                let tail = self.heard.len().saturating_sub(8);
                panic!("it ended before {line:?}: {:?}", &self.heard[tail..]);
            };
            self.heard.push(heard);
        }
    }

    /// Kills it, and enters what it had said. True if it had opened.
    pub(crate) fn kill(mut self, ledger: &mut Ledger) -> bool {
        let ended = self.child.try_wait().unwrap();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        assert!(ended.is_none(), "it ended by itself: {ended:?}");
        self.enter(ledger)
    }

    /// Lets it close, and enters what it said.
    pub(crate) fn end(mut self, ledger: &mut Ledger) {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        self.enter(ledger);
    }

    /// What was written before the end is in the pipe still.
    fn enter(mut self, ledger: &mut Ledger) -> bool {
        self.heard.extend(self.lines.iter());
        self.heard.iter().for_each(|line| ledger.enter(line));
        self.heard.iter().any(|line| line == "opened")
    }
}
