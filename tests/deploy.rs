//! A hundred deployments of `examples/deploy` under load: the old process is stopped, killed, or
//! hangs until it is killed. Nobody is refused who has room, nobody is admitted beyond a limit, and
//! nobody gets an error whose request was not in the very process that was killed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const DEPLOYMENTS: usize = 100;
const CLIENTS: u64 = 4;
/// What each user may, and how often each asks.
const LIMIT: u64 = 20;
const ASKED: u64 = 30;
const POLICY: &str = r#"
[request]
attributes = { user = "header x-user" }

[limits.per-user]
rate = "20/hour"
algorithm = "fixed window from first hit"
key = "user"
"#;

/// The example's program, built as this test was.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // .../debug/deps/deploy-0123 stands beside .../debug/examples.
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().unwrap().parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        build.args(["build", "--quiet", "--example", "deploy", "--features"]);
        // The same as this test's, so that nothing is built twice.
        build.arg(if cfg!(feature = "cli") {
            "tower,cli"
        } else {
            "tower"
        });
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let target = profile.parent().unwrap();
        let built = build.arg("--target-dir").arg(target).status().unwrap();
        assert!(built.success(), "the example cannot be built");
        profile.join("examples/deploy")
    })
}

struct Service {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Service {
    /// Starts it with the socket, as systemd would: it waits for the one before.
    fn start(listener: &TcpListener, data: &Path, policy: &Path) -> Self {
        let given = OwnedFd::from(listener.try_clone().unwrap());
        let mut shell = Command::new("sh");
        let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
        shell.args(["-c", script, "sh"]);
        shell.arg(program()).args([data, policy]);
        let mut child = shell
            .stdin(Stdio::from(given))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        let mut new = Self { child, says };
        new.says("waiting");
        new
    }

    fn says(&mut self, expected: &str) {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), expected);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    admitted: AtomicU64,
    refused: AtomicU64,
    /// Requests that the killed process had taken and did not answer.
    broken: AtomicU64,
    ends: AtomicBool,
}

impl Seen {
    fn add(counter: &AtomicU64) -> u64 {
        counter.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// One request on a connection of its own: its status, or none if it was broken off.
fn ask(address: SocketAddr, user: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let request =
        format!("GET / HTTP/1.1\r\nhost: x\r\nx-user: {user}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// User after user: each asks more often than it may, and gets exactly what it may, but for what a
/// killed process charged and did not answer.
fn client(number: u64, address: SocketAddr, seen: &Seen) {
    for user in 0.. {
        if seen.ends.load(Ordering::SeqCst) {
            return;
        }
        let user = format!("{number}-{user}");
        let (mut admitted, mut broken) = (0, 0);
        for _ in 0..ASKED {
            match ask(address, &user) {
                Some(200) => {
                    admitted += 1;
                    Seen::add(&seen.admitted);
                }
                Some(429) => {
                    Seen::add(&seen.refused);
                    let counted = admitted + broken;
                    assert!(counted >= LIMIT, "{user} had room: {admitted} + {broken}");
                }
                None => {
                    broken += 1;
                    Seen::add(&seen.broken);
                }
                Some(status) => panic!("{user} got {status}"),
            }
            assert!(admitted <= LIMIT, "{user} was admitted {admitted} times");
        }
    }
}

/// Ends the clients, however the test ends.
struct Ending<'s>(&'s Seen);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.ends.store(true, Ordering::SeqCst);
    }
}

/// How the old process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Stopped,
    Killed,
    Hung,
}

/// Ends the old process; the next one serves. Gives how long nobody did, as clients see it.
fn hand_over(old: &Service, next: &mut Service, end: End) -> Duration {
    let begun = Instant::now();
    match end {
        End::Stopped => old.signal(Signal::TERM),
        End::Killed => old.signal(Signal::KILL),
        End::Hung => {
            old.signal(Signal::STOP);
            // What a supervisor does when its patience ends.
            std::thread::sleep(Duration::from_millis(50));
            old.signal(Signal::KILL);
        }
    }
    next.says("serving");
    begun.elapsed()
}

#[test]
fn a_hundred_deployments_under_load() {
    let dir = common::scratch();
    let (data, policy) = (dir.path().join("data"), dir.path().join("policy.toml"));
    std::fs::write(&policy, POLICY).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = Service::start(&listener, &data, &policy);
    serving.says("serving");
    let seen = Seen::default();
    let mut gaps = Vec::new();
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let seen = &seen;
            scope.spawn(move || client(number, address, seen));
        }
        let _ending = Ending(&seen);
        for deployment in 0..DEPLOYMENTS {
            let end = match deployment % 5 {
                3 => End::Killed,
                4 => End::Hung,
                _ => End::Stopped,
            };
            let broken = seen.broken.load(Ordering::SeqCst);
            let mut next = Service::start(&listener, &data, &policy);
            let gap = hand_over(&serving, &mut next, end);
            serving = next;
            // Until those who were in the middle have seen it.
            let admitted = seen.admitted.load(Ordering::SeqCst);
            let patience = Instant::now() + Duration::from_secs(20);
            while seen.admitted.load(Ordering::SeqCst) < admitted + 3 * CLIENTS {
                assert!(Instant::now() < patience, "nobody is served");
                std::thread::sleep(Duration::from_millis(1));
            }
            let broken = seen.broken.load(Ordering::SeqCst) - broken;
            let most = if end == End::Stopped { 0 } else { CLIENTS };
            assert!(broken <= most, "{end:?}: {broken} were broken off");
            gaps.push((end, gap));
        }
    });
    let [admitted, refused, broken] =
        [&seen.admitted, &seen.refused, &seen.broken].map(|counter| counter.load(Ordering::SeqCst));
    println!("{DEPLOYMENTS} deployments: {admitted} admitted, {refused} refused, {broken} broken");
    assert!(
        admitted > 1_000 && refused > 500,
        "too little load to show it"
    );
    for kind in [End::Stopped, End::Killed, End::Hung] {
        let mut own: Vec<_> = gaps.iter().filter(|(end, _)| *end == kind).collect();
        own.sort_by_key(|(_, gap)| *gap);
        let (median, most) = (own[own.len() / 2].1, own[own.len() - 1].1);
        println!("{kind:?}: the next serves after {median:?} at the median, {most:?} at most");
    }
}
