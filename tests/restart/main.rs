//! What a directory keeps: over a clean restart, a killed process, damage, and a move of its table;
//! the same wherever the table lies.

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod kept;
mod others;
mod placement;
#[path = "../common/skipped.rs"]
mod skipped;

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tollgate::{Builder, Limiter, ManualClock, Mapping, Opened, Policy, Request, Timestamp};

const POLICY: &str = r#"
    [limits.bucket]
    rate = "100/day"
    key = "user"

    [limits.day]
    rate = "100/day"
    algorithm = "calendar"
    key = "user"

    [limits.window]
    rate = "100/h"
    algorithm = "fixed window"
    key = "user"

    [limits.sliding]
    rate = "100/h"
    algorithm = "sliding window"
    key = "user"
"#;

const LIMITS: [&str; 4] = ["bucket", "day", "window", "sliding"];

/// Makes a test of each function for each place that a table can lie in.
macro_rules! wherever_the_table_lies {
    ($($name:ident),* $(,)?) => {
        mod in_the_data_directory {
            $(
                #[test]
                fn $name() {
                    super::$name(&crate::World::in_data());
                }
            )*
        }
        mod outside {
            $(
                #[test]
                fn $name() {
                    super::$name(&crate::World::outside());
                }
            )*
        }
    };
}
use wherever_the_table_lies;

/// A data directory for one test, and where its table is to lie.
struct World {
    dir: tempfile::TempDir,
    is_outside: bool,
}

impl World {
    fn new(is_outside: bool) -> Self {
        let dir = common::scratch();
        make_private(&dir.path().join("memory"));
        if is_outside && !is_memory(dir.path()) {
            skipped::say("there is no memory file system here, a disk stands for it");
        }
        Self { dir, is_outside }
    }

    fn in_data() -> Self {
        Self::new(false)
    }

    fn outside() -> Self {
        Self::new(true)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Stands for the memory file system.
    fn memory(&self) -> PathBuf {
        self.dir.path().join("memory")
    }

    fn mapping(&self) -> Mapping {
        if self.is_outside {
            Mapping::Under(self.memory())
        } else {
            Mapping::DataDirectory
        }
    }

    /// Where the table's files are.
    fn table(&self) -> PathBuf {
        if self.is_outside {
            let [folder] = folders(&self.memory()).try_into().unwrap();
            folder
        } else {
            self.data().join("table")
        }
    }

    fn open_at(&self, data: &Path, clock: ManualClock) -> Result<Limiter, tollgate::Error> {
        builder(self.mapping()).clock(clock).open(data)
    }

    fn try_open(&self) -> Result<Limiter, tollgate::Error> {
        self.open_at(&self.data(), noon())
    }

    fn open(&self) -> Limiter {
        self.try_open().unwrap()
    }

    /// A process that has used 37 of each of alice's limits, flushed, and waits.
    fn child(&self) -> Life {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .env("TOLLGATE_CHILD", self.data())
            .env("TOLLGATE_CHILD_UNDER", self.under());
        Life::start(command)
    }

    fn under(&self) -> PathBuf {
        if self.is_outside {
            self.memory()
        } else {
            PathBuf::new()
        }
    }

    /// Leaves the directory as a killed process does in which alice has used 37 of each limit.
    fn kill_one(&self) {
        self.child().kill();
    }

    /// Leaves the directory closed clean, alice having used 7 of each limit.
    fn close_one(&self) {
        let limiter = self.open();
        take(&limiter, "alice", 7);
        limiter.close().unwrap();
    }
}

/// A process that has a limiter open, see `child_that_is_killed`.
struct Life {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it said of the placement.
    placement: String,
}

impl Life {
    fn start(mut command: Command) -> Self {
        let mut process = command
            .args(["child_that_is_killed", "--exact", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut life = Self {
            process,
            lines,
            placement: String::new(),
        };
        life.placement = life.await_ready();
        life
    }

    /// Waits until it is ready; gives the line before.
    fn await_ready(&mut self) -> String {
        let mut before = String::new();
        for line in self.lines.by_ref().map_while(Result::ok) {
            if line == "ready" {
                return before;
            }
            before = line;
        }
        panic!("it never was ready: {before}")
    }

    /// Lets it take five more, and flush.
    fn go_on(&mut self) {
        let stdin = self.process.stdin.as_mut().unwrap();
        writeln!(stdin, "more").unwrap();
        self.await_ready();
    }

    /// Lets it close, and end.
    fn close(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// True if the path lies on a memory file system.
fn is_memory(path: &Path) -> bool {
    u64::try_from(rustix::fs::statfs(path).unwrap().f_type) == Ok(0x0102_1994)
}

fn noon() -> ManualClock {
    ManualClock::new(Timestamp::from_secs(1_760_009_400))
}

fn builder(mapping: Mapping) -> Builder {
    let policy = Policy::from_toml(POLICY).unwrap();
    Limiter::builder(policy)
        .counters(10_000)
        .clock(noon())
        .mapping(mapping)
}

fn take(limiter: &Limiter, user: &str, cost: u64) {
    let request = Request::new().attribute("user", user).cost(cost);
    assert!(limiter.check(&request).is_allowed());
}

fn used(limiter: &Limiter, user: &str) -> [u64; 4] {
    LIMITS.map(|limit| limiter.limit(limit).unwrap().usage(user).used())
}

fn make_private(path: &Path) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

/// The folders of tables under a root.
fn folders(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for own in fs::read_dir(root).unwrap() {
        for entry in fs::read_dir(own.unwrap().path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.push(path);
            }
        }
    }
    found
}

/// Why the table was not believed, of a limiter that says so.
fn why_set_aside(limiter: &Limiter) -> String {
    match limiter.health().opened {
        Opened::SetAside { why, .. } => why,
        opened => panic!("{opened}"),
    }
}

/// Run in a process of its own by the tests; by itself it does nothing.
#[test]
fn child_that_is_killed() {
    let Ok(dir) = std::env::var("TOLLGATE_CHILD") else {
        return;
    };
    let mapping = match std::env::var("TOLLGATE_CHILD_UNDER") {
        Ok(root) if !root.is_empty() => Mapping::Under(root.into()),
        Ok(_) => Mapping::DataDirectory,
        Err(_) => Mapping::Automatic,
    };
    let limiter = builder(mapping).open(&dir).unwrap();
    for _ in 0..37 {
        take(&limiter, "alice", 1);
    }
    limiter.flush().unwrap();
    println!("\n{}\nready", limiter.health().placement);
    for _ in std::io::stdin().lines().map_while(Result::ok) {
        take(&limiter, "alice", 5);
        limiter.flush().unwrap();
        println!("\nready");
    }
}
