//! The example server as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use ureq::Agent;

use crate::world::{Answered, agent, send};

/// A server in a process of its own, killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    agent: Agent,
}

/// The example's program, built as this test was.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // .../debug/deps/systems-0123 stands beside .../debug/examples.
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().unwrap().parent().unwrap();
        let target = profile.parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        build.args(["build", "--quiet", "--example", "server"]);
        let features = ["cli", "sfv", "tower"].iter().filter(|name| match **name {
            "cli" => cfg!(feature = "cli"),
            "sfv" => cfg!(feature = "sfv"),
            _ => true,
        });
        for feature in features {
            build.args(["--features", feature]);
        }
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let built = build.arg("--target-dir").arg(target).status().unwrap();
        assert!(built.success(), "the example server cannot be built");
        profile.join("examples/server")
    })
}

impl Server {
    /// A system's server on a data directory.
    pub(crate) fn start(system: &str, data: &Path) -> Self {
        let mut command = Command::new(program());
        command.args([system, "--listen", "127.0.0.1:0", "--data"]);
        command.arg(data).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ");
        let url = format!(
            "http://{}",
            address.expect("the server says where it listens")
        );
        Self {
            child,
            url,
            agent: agent(),
        }
    }

    pub(crate) fn get(&self, path: &str, headers: &[&str]) -> Answered {
        send(&self.agent, "GET", &format!("{}{path}", self.url), headers)
    }

    pub(crate) fn post(&self, path: &str, headers: &[&str]) -> Answered {
        send(&self.agent, "POST", &format!("{}{path}", self.url), headers)
    }

    /// Ends the process without a warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the process to end, and waits until it has.
    pub(crate) fn terminate(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
