//! A service in a process of its own, and the command beside it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tollgate::{Limiter, Policy};

const DATA: &str = "TOLLGATE_LIVE_DATA";
const POLICY: &str = "TOLLGATE_LIVE_POLICY";
const CONTROL: &str = "TOLLGATE_LIVE_CONTROL";

/// In the started process: opens the directory, and checks the limit and key of every line that it
/// is told, until there are no more.
#[test]
fn service() {
    let Some(data) = std::env::var_os(DATA) else {
        return;
    };
    let policy = Policy::from_path(std::env::var_os(POLICY).unwrap()).unwrap();
    let builder = Limiter::builder(policy).control(std::env::var_os(CONTROL).is_none());
    let limiter = builder.open(data).unwrap();
    println!("\nready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let mut words = line.split(' ');
        let limit = limiter.limit(words.next().unwrap()).unwrap();
        let keys: Vec<_> = words.collect();
        println!("{}", limit.check(&keys[..]).is_allowed());
    }
    limiter.close().unwrap();
}

/// A started service.
pub(crate) struct Service {
    child: Child,
    says: BufReader<ChildStdout>,
    told: Option<ChildStdin>,
}

impl Service {
    pub(crate) fn start(data: &Path, policy: &Path) -> Self {
        Self::start_with(data, policy, true)
    }

    pub(crate) fn start_with(data: &Path, policy: &Path, control: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "service::service", "--nocapture"]);
        command.env(DATA, data).env(POLICY, policy);
        if !control {
            command.env(CONTROL, "off");
        }
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut new = Self {
            says: BufReader::new(child.stdout.take().unwrap()),
            told: child.stdin.take(),
            child,
        };
        while new.line() != "ready" {}
        new
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.says.read_line(&mut line).unwrap() > 0, "it ended");
        line.trim().to_owned()
    }

    /// Has it check a limit's key.
    pub(crate) fn check(&mut self, asked: &str) -> bool {
        writeln!(self.told.as_mut().unwrap(), "{asked}").unwrap();
        self.line() == "true"
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it end by itself.
    pub(crate) fn end(mut self) {
        drop(self.told.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory, a policy's file, and the command.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(policy: &str) -> Self {
        let new = Self {
            dir: crate::common::scratch(),
        };
        new.write("policy.toml", policy);
        new
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn start(&self) -> Service {
        Service::start(&self.path("data"), &self.path("policy.toml"))
    }

    /// Runs a command line, its words split at spaces.
    pub(crate) fn run(&self, line: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command
            .args(line.split_whitespace())
            .current_dir(self.dir.path());
        Ended(command.output().unwrap())
    }

    /// The same; it must end with this status, and say this on one of its two ways.
    pub(crate) fn says(&self, line: &str, status: i32, part: &str) -> Ended {
        let ended = self.run(line);
        let said = format!("{}{}", ended.out(), ended.err());
        assert_eq!(ended.0.status.code(), Some(status), "{line}: {said}");
        assert!(said.contains(part), "{line}: {part} in {said}");
        ended
    }
}

pub(crate) struct Ended(Output);

impl Ended {
    pub(crate) fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.0.stdout).unwrap()
    }
}
