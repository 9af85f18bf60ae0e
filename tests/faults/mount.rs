//! Small file systems to be filled, made read-only, and taken away.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file system in memory, mounted for one test.
pub(crate) struct Mount {
    scratch: TempDir,
}

impl Mount {
    /// One with these options, unless this process may not mount.
    pub(crate) fn new(options: &str) -> Option<Self> {
        let mount = Self {
            scratch: crate::common::scratch(),
        };
        fs::create_dir(mount.path()).unwrap();
        let options = format!("mode=0700,{options}");
        let args = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        if run("mount", &args, &mount.path()) {
            return Some(mount);
        }
        crate::skipped::say("what needs a small file system of its own, which only root may mount");
        None
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.scratch.path().join("mount")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Mounts it anew with other options.
    pub(crate) fn change(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(run("mount", &["-o", &options], &self.path()), "{options}");
    }

    /// Leaves no room in it; gives the file that takes it.
    pub(crate) fn fill(&self) -> PathBuf {
        fill(&self.path())
    }
}

/// Leaves no room in the file system at `root`; gives the file that takes it.
pub(crate) fn fill(root: &Path) -> PathBuf {
    let at = root.join("ballast");
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&at)
        .unwrap();
    let bytes = vec![1; 1 << 20];
    let mut length = bytes.len();
    while length > 0 {
        if file.write_all(&bytes[..length]).is_err() {
            length /= 2;
        }
    }
    at
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Even if files in it are open still.
        run("umount", &["-l"], &self.path());
    }
}

fn run(command: &str, args: &[&str], path: &Path) -> bool {
    let done = Command::new(command).args(args).arg(path).output();
    done.is_ok_and(|done| done.status.success())
}
