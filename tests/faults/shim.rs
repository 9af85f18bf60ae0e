//! The failing disk, as a test plans it: `shim.c`, loaded into a copy of this very test.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const ROOT: &str = "TOLLGATE_FAULTS";
/// A test that is not done by then never will be.
const PATIENCE: Duration = Duration::from_secs(500);

/// Kinds of calls, as in `shim.c`, which has more.
pub(crate) mod kind {
    pub(crate) const OPEN: i64 = 1;
    pub(crate) const READ: i64 = 2;
    pub(crate) const WRITE: i64 = 4;
    pub(crate) const SYNC: i64 = 8;
    pub(crate) const SIZE: i64 = 16;
    pub(crate) const RENAME: i64 = 32;
    pub(crate) const REMOVE: i64 = 64;
    pub(crate) const MAKE: i64 = 128;
    pub(crate) const MAP: i64 = 256;
    pub(crate) const MSYNC: i64 = 512;
    pub(crate) const ALL: i64 = 4095;
}

/// Errors of the system, by their numbers on Linux.
pub(crate) mod errno {
    /// None: the process is killed instead.
    pub(crate) const KILL: i64 = -1;
    pub(crate) const EINTR: i64 = 4;
    pub(crate) const EIO: i64 = 5;
    pub(crate) const ENOMEM: i64 = 12;
    pub(crate) const ENFILE: i64 = 23;
    pub(crate) const EMFILE: i64 = 24;
    pub(crate) const EFBIG: i64 = 27;
    pub(crate) const ENOSPC: i64 = 28;
    pub(crate) const EROFS: i64 = 30;
    pub(crate) const EDQUOT: i64 = 122;
}

/// The fields of `struct control`, in its order.
#[derive(Clone, Copy)]
enum Field {
    Kinds,
    Counted,
    From,
    Times,
    Error,
    IsShort,
    DelayUs,
    Frozen,
    Injected,
    Waiting,
}

/// For ever, as a number of times.
pub(crate) const EVER: i64 = -1;

/// Which calls fail, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) kinds: i64,
    /// The first that fails, from 1; 0 for none.
    pub(crate) from: i64,
    pub(crate) times: i64,
    pub(crate) error: i64,
    /// Reads and writes do less than was asked, instead of failing.
    pub(crate) is_short: bool,
    pub(crate) delay_us: i64,
}

impl Plan {
    /// Nothing fails; calls of these kinds are counted.
    pub(crate) const fn count(kinds: i64) -> Self {
        Self {
            kinds,
            from: 0,
            times: 0,
            error: errno::EIO,
            is_short: false,
            delay_us: 0,
        }
    }

    /// Every call of these kinds fails.
    pub(crate) const fn all(kinds: i64, error: i64) -> Self {
        let (from, times) = (1, EVER);
        Self {
            from,
            times,
            error,
            ..Self::count(kinds)
        }
    }
}

/// The failing disk, seen from the test that runs on it.
pub(crate) struct Faults {
    root: PathBuf,
    control: File,
}

impl Faults {
    /// Some in the process on the failing disk. Elsewhere starts it, for the test of this name,
    /// and asserts that it succeeds there.
    pub(crate) fn here(test: &str) -> Option<Self> {
        Self::with(test, "")
    }

    /// As [`Self::here`]; the kernel refuses the system calls of `refuse`, see `shim.c`.
    pub(crate) fn with(test: &str, refuse: &str) -> Option<Self> {
        if let Some(faults) = Self::inside() {
            return Some(faults);
        }
        let scratch = crate::common::scratch();
        if let Some(mut command) = on_failing_disk(test, &scratch, refuse) {
            let output = finish(&mut command);
            let text = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            let passed = output.status.success() && text.contains("1 passed");
            assert!(passed, "{}\n{text}\n{errors}", output.status);
            print!("{text}");
        }
        None
    }

    /// Some in a process on a failing disk.
    pub(crate) fn inside() -> Option<Self> {
        let root = PathBuf::from(std::env::var_os(ROOT)?);
        let at = root.join("control");
        let control = OpenOptions::new().read(true).write(true).open(at);
        let control = control.unwrap();
        Some(Self { root, control })
    }

    /// A name below the folder whose files fail.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join("under").join(name)
    }

    /// A name in a folder whose files do not.
    pub(crate) fn safe(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn plan(&self, plan: Plan) {
        // What switches it on comes last, what switches it off first.
        self.set(Field::Kinds, 0);
        self.set(Field::Frozen, 0);
        self.set(Field::Counted, 0);
        self.set(Field::Injected, 0);
        self.set(Field::From, plan.from);
        self.set(Field::Times, plan.times);
        self.set(Field::Error, plan.error);
        self.set(Field::IsShort, i64::from(plan.is_short));
        self.set(Field::DelayUs, plan.delay_us);
        self.set(Field::Kinds, plan.kinds);
    }

    /// From now on nothing fails.
    pub(crate) fn heal(&self) {
        let injected = self.injected();
        self.plan(Plan::count(kind::ALL));
        self.set(Field::Injected, injected);
    }

    /// Calls of these kinds wait until [`Self::heal`].
    pub(crate) fn freeze(&self, kinds: i64) {
        self.plan(Plan::count(kinds));
        self.set(Field::Frozen, kinds);
    }

    /// How many calls wait because the disk is frozen.
    pub(crate) fn waiting(&self) -> i64 {
        self.get(Field::Waiting)
    }

    /// How many calls have failed since the plan was made.
    pub(crate) fn injected(&self) -> i64 {
        self.get(Field::Injected)
    }

    #[expect(
        clippy::host_endian_bytes,
        reason = "shared with a process on this machine"
    )]
    fn set(&self, field: Field, value: i64) {
        let at = field as u64 * 8;
        self.control.write_all_at(&value.to_ne_bytes(), at).unwrap();
    }

    #[expect(
        clippy::host_endian_bytes,
        reason = "shared with a process on this machine"
    )]
    fn get(&self, field: Field) -> i64 {
        let mut bytes = [0; 8];
        self.control
            .read_exact_at(&mut bytes, field as u64 * 8)
            .unwrap();
        i64::from_ne_bytes(bytes)
    }

    /// Puts into `to` what a power cut now would leave of the directory `from` if nothing survived
    /// that was not synced.
    pub(crate) fn cut_power(&self, from: &Path, to: &Path) {
        cut_power(&self.root, Survival::Nothing, from, to);
    }
}

/// What a power cut leaves of what was written since the last good sync of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Survival {
    Nothing,
    All,
    /// The first of it.
    Half,
    /// Every other sector of it.
    Holes,
}

const SECTOR_BYTES: usize = 512;

/// Puts into `to` what a power cut would leave of the directory `from`, which lies on the failing
/// disk of this root. The table's files, which nothing believes after a power cut, are left out.
pub(crate) fn cut_power(root: &Path, survival: Survival, from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    private_dir(to);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            if !entry.file_name().to_string_lossy().starts_with("table") {
                cut_power(root, survival, &path, &to);
            }
            continue;
        }
        // Nobody listens there after a power cut.
        if meta.file_type().is_socket() {
            continue;
        }
        let name = format!("{}-{}", meta.dev(), meta.ino());
        let durable = fs::read(root.join("disk").join(name)).unwrap_or_default();
        let left = match survival {
            Survival::Nothing => durable,
            _ => survived(durable, &fs::read(&path).unwrap(), survival),
        };
        fs::write(&to, left).unwrap();
        fs::set_permissions(&to, meta.permissions()).unwrap();
    }
}

/// The file `durable`, with those sectors of `written` that survive.
fn survived(mut durable: Vec<u8>, written: &[u8], survival: Survival) -> Vec<u8> {
    durable.resize(written.len(), 0);
    let sectors = durable.chunks_mut(SECTOR_BYTES);
    let differing: Vec<_> = sectors
        .zip(written.chunks(SECTOR_BYTES))
        .filter(|(durable, written)| durable != written)
        .collect();
    let count = differing.len();
    for (place, (durable, written)) in differing.into_iter().enumerate() {
        let survives = match survival {
            Survival::Nothing => false,
            Survival::All => true,
            Survival::Half => place * 2 < count,
            Survival::Holes => place % 2 == 1,
        };
        if survives {
            durable.copy_from_slice(written);
        }
    }
    durable
}

/// A folder that only its owner can enter.
pub(crate) fn private_dir(path: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path).unwrap();
}

/// The command that runs a test of this program in a process of its own.
pub(crate) fn this_test(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits for a command's end, but not for ever.
pub(crate) fn finish(command: &mut Command) -> Output {
    let child = command.spawn().unwrap();
    let id = child.id();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let begun = Instant::now();
        if ended.recv_timeout(PATIENCE).is_err() {
            eprintln!("not done after {:?}: killed", begun.elapsed());
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        }
    });
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    watch.join().unwrap();
    output
}

/// The command that runs a test of this program on a failing disk, in a folder that is empty, or
/// was used so before.
pub(crate) fn on_failing_disk(test: &str, scratch: &TempDir, refuse: &str) -> Option<Command> {
    let shim = shim()?;
    let root = scratch.path();
    fs::write(root.join("control"), [0; 80]).unwrap();
    for name in ["under", "disk"] {
        if !root.join(name).exists() {
            private_dir(&root.join(name));
        }
    }
    let mut command = this_test(test);
    command
        .env("LD_PRELOAD", shim)
        .env("FAULTS_UNDER", root.join("under"))
        .env("FAULTS_DISK", root.join("disk"))
        .env("FAULTS_CONTROL", root.join("control"))
        .env(ROOT, root);
    if !refuse.is_empty() {
        command.env("FAULTS_REFUSE", refuse);
    }
    Some(command)
}

/// The built shim, unless there is no compiler for it.
fn shim() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let shim = SHIM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let made = folder.join(format!("shim-{}.so", std::process::id()));
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o"])
            .args([&made, &source])
            .arg("-ldl")
            .output();
        let Ok(built) = built else {
            crate::skipped::say("failing disks need a C compiler, cc");
            return None;
        };
        let text = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success() && text.is_empty(), "{text}");
        // One name for all runs, put there in one step: several may run at a time.
        let path = folder.join("shim.so");
        fs::rename(&made, &path).unwrap();
        Some(path)
    });
    shim.as_deref()
}
