//! How long nobody serves when the process that has a directory ends and the next one, which waits
//! for it, takes over: from the kill, or from the wish to close, to the next one's first check.
//!
//!     cargo bench --bench takeover
//!     cargo bench --bench takeover -- --test      once around, to see that it runs

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tollgate::{Limiter, Policy, WhenHeld};

const POLICY: &str = r#"
    [limits.l]
    rate = "1000000/day"
    algorithm = "fixed window from first hit"
    durability = "memory"
    key = "user"
"#;

/// A process that has the directory, or waits for it.
struct Process {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Process {
    fn start(data: &Path, counters: u64, fills: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("--serve").arg(data);
        command.args([counters.to_string(), fills.to_string()]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let says = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, says }
    }

    fn says(&mut self, expected: &str) {
        let mut line = String::new();
        self.says.read_line(&mut line).expect("it says something");
        assert_eq!(line.trim(), expected);
    }
}

/// In the started process: opens, fills the table if it is to, checks once, and waits to be ended.
fn serve(data: &Path, counters: u64, fills: bool) {
    println!("waiting");
    let policy = Policy::from_toml(POLICY).expect("the policy is sound");
    let limiter = Limiter::builder(policy)
        .counters(counters + counters / 5)
        .counters_at_first(counters + counters / 5)
        .when_held(WhenHeld::Wait(Duration::from_secs(600)))
        .open(data)
        .expect("it opens");
    let limit = limiter.limit("l").expect("a limit");
    assert!(limit.check("first").is_allowed());
    println!("serving");
    if fills {
        for key in 0..counters {
            assert!(limit.check(key.to_string().as_str()).is_allowed());
        }
    } else {
        // The counts are those of the one before.
        let used = limit.usage((counters - 1).to_string().as_str()).used();
        assert_eq!(used, 1);
    }
    println!("filled");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a line");
    limiter.close().expect("it closes");
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_default();
    if first == "--serve" {
        let mut next = || arguments.next().expect("an argument");
        let (data, counters, fills) = (next(), next(), next());
        let counters = counters.parse().expect("a number");
        return serve(data.as_ref(), counters, fills == "true");
    }
    let (counters, rounds) = match std::env::args().any(|argument| argument == "--test") {
        true => (10_000, 1),
        false => (10_000_000, 10),
    };
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let data = dir.path().join("data");
    let mut serving = Process::start(&data, counters, true);
    for line in ["waiting", "serving", "filled"] {
        serving.says(line);
    }
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (is_killed, took) in [true, false].into_iter().zip(&mut took) {
            let mut next = Process::start(&data, counters, false);
            next.says("waiting");
            std::thread::sleep(Duration::from_millis(300));
            let begun = Instant::now();
            if is_killed {
                serving.child.kill().expect("it is killed");
            } else {
                let mut told = serving.child.stdin.take().expect("its input");
                writeln!(told, "end").expect("it hears");
            }
            next.says("serving");
            took.push(begun.elapsed());
            next.says("filled");
            serving.child.wait().expect("it ends");
            serving = next;
        }
    }
    let _ = serving.child.kill();
    let _ = serving.child.wait();
    for (name, mut took) in ["killed", "closed"].into_iter().zip(took) {
        took.sort_unstable();
        let (half, most) = (took[took.len() / 2], took[took.len() - 1]);
        println!("{counters} counters, {name}: first check after {half:?}, at most {most:?}");
    }
}
