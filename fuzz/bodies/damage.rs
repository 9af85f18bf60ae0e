//! A sound directory, what can be done to its files, and what must hold of it all the same.
//!
//! A damage is `file, how, at (3 bytes), length, that many bytes`; see [`Damage::apply`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::Hasher;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use siphasher::sip::SipHasher13;
use tempfile::TempDir;
use tollgate::{Error, Health, Limiter, ManualClock, Mapping, Policy, Timestamp, doctor};

use crate::common::scratch;

const POLICY: &str = r#"
    [limits.each]
    rate = "3/day"
    key = "user"

    [limits.window]
    rate = "3/day"
    algorithm = "sliding window"
    key = "user"

    [limits.paid]
    rate = "100/day"
    algorithm = "calendar"
    durability = "strict"
    reserve = 10
    key = "user"
"#;
pub(crate) const LIMITS: [&str; 3] = ["each", "window", "paid"];
pub(crate) const RESERVE: u64 = 10;
pub(crate) const USERS: u64 = 8;
const NOON_SECS: u64 = 1_760_011_200;
/// Where a file may hold something that ends in its checksum, and how long that is at most.
const SEALS_EVERY: usize = 512;

/// The files by name, below the directory.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Files of a directory that was closed, and where in them checksums stand.
pub(crate) struct Sound {
    pub(crate) files: Files,
    /// By file: where what is sealed begins and ends, its checksum last.
    seals: BTreeMap<String, Vec<(usize, usize)>>,
}

/// What a user has used of each of [`LIMITS`] in the sound directory.
pub(crate) fn known(user: u64) -> [u64; 3] {
    [user % 4, (user + 1) % 4, user * 7]
}

/// What a user has used according to the limiter.
pub(crate) fn used(limiter: &Limiter, user: u64) -> [u64; 3] {
    let user = format!("user {user}");
    LIMITS.map(|limit| {
        let limit = limiter.limit(limit).expect("the policy has it");
        limit.usage(user.as_str()).used()
    })
}

/// What all users have used.
pub(crate) fn all_used(limiter: &Limiter) -> Vec<[u64; 3]> {
    (0..USERS).map(|user| used(limiter, user)).collect()
}

pub(crate) fn open(path: &Path) -> Result<Limiter, Error> {
    Limiter::builder(Policy::from_toml(POLICY).expect("the policy is sound"))
        .counters(1)
        .mapping(Mapping::DataDirectory)
        .interval(Duration::from_secs(3_600))
        .clock(ManualClock::new(Timestamp::from_secs(NOON_SECS)))
        .open(path)
}

/// Opens a directory after this damage; none if that is an error, which a sound one never is.
pub(crate) fn opened(path: &Path, done: &Damage) -> Option<Limiter> {
    match open(path) {
        Ok(limiter) => Some(limiter),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!done.names.is_empty(), "a sound directory: {error}");
            None
        }
    }
}

/// Closes a limiter and opens its directory again: every counter is as it was.
pub(crate) fn reopened(limiter: Limiter, path: &Path) -> Limiter {
    let before = all_used(&limiter);
    limiter.close().expect("it can be closed");
    drop(limiter);
    let limiter = open(path).expect("what was open and closed opens");
    assert_eq!(all_used(&limiter), before);
    limiter
}

impl Sound {
    pub(crate) fn get() -> &'static Self {
        static SOUND: OnceLock<Sound> = OnceLock::new();
        SOUND.get_or_init(Self::make)
    }

    fn make() -> Self {
        let dir = scratch();
        let data = dir.path().join("data");
        let limiter = open(&data).expect("it can be made");
        for user in 0..USERS {
            for (limit, cost) in LIMITS.iter().zip(known(user)) {
                let limit = limiter.limit(limit).expect("the policy has it");
                let name = format!("user {user}");
                assert!(limit.check_cost(name.as_str(), cost).is_allowed());
            }
            limiter.flush().expect("it can be written");
        }
        limiter
            .set_override("each", &["zed"], "5/day")
            .expect("it can be set");
        limiter.close().expect("it can be closed");
        drop(limiter);
        let files = read(&data);
        let seals = files
            .iter()
            .map(|(name, content)| (name.clone(), seals(content)));
        let seals: BTreeMap<_, _> = seals.collect();
        for name in ["header", "marks", "ceilings", "journal/current", "table/00"] {
            assert!(!seals[name].is_empty(), "nothing in {name} has a checksum");
        }
        Self { files, seals }
    }

    /// The names that begin with one of `beginnings`.
    pub(crate) fn names(&self, beginnings: &[&str]) -> Vec<&str> {
        let is_one = |name: &&str| beginnings.iter().any(|first| name.starts_with(first));
        self.files
            .keys()
            .map(String::as_str)
            .filter(is_one)
            .collect()
    }

    /// Makes the checksums in a file good.
    fn seal(&self, name: &str, content: &mut [u8]) {
        if name == "header" {
            // Its numbers of shards and lines would be allocated as they are.
            let kept = &self.files[name][48..];
            if let Some(numbers) = content.get_mut(48..).filter(|own| own.len() == kept.len()) {
                numbers.copy_from_slice(kept);
            }
        }
        for (from, to) in self.seals.get(name).into_iter().flatten() {
            if let Some(sealed) = content.get_mut(*from..*to) {
                let (body, sum) = sealed.split_at_mut(to - from - 8);
                sum.copy_from_slice(&checksum(body).to_le_bytes());
            }
        }
    }
}

pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(bytes);
    hasher.finish()
}

/// Everything in a file that ends in its checksum.
fn seals(content: &[u8]) -> Vec<(usize, usize)> {
    let starts = (0..content.len().min(1 << 16)).step_by(SEALS_EVERY);
    let end_of = |start: usize| {
        let rest = &content[start..content.len().min(start + SEALS_EVERY)];
        let ends = (24..=rest.len()).find(|end| {
            let (body, sum) = rest[..*end].split_at(end - 8);
            rest[..*end].iter().any(|byte| *byte != 0) && checksum(body).to_le_bytes() == *sum
        });
        ends.map(|end| (start, start + end))
    };
    starts.filter_map(end_of).collect()
}

/// What is done to the files.
#[derive(Default)]
pub(crate) struct Damage {
    /// Those that are no longer what they were.
    pub(crate) names: BTreeSet<String>,
    /// Those whose bytes say something else, and are not only fewer.
    pub(crate) altered: BTreeSet<String>,
    /// A checksum was made good, so that the limiter cannot know.
    pub(crate) is_forged: bool,
}

impl Damage {
    /// Does to the files of `names` what `bytes` says, a few times at most.
    pub(crate) fn apply(files: &mut Files, names: &[&str], mut bytes: &[u8]) -> Self {
        const TIMES_MAX: usize = 8;
        let mut done = Self::default();
        for _ in 0..TIMES_MAX {
            let [file, how, a, b, c, length, rest @ ..] = bytes else {
                break;
            };
            let (patch, rest) = rest.split_at(usize::from(*length).min(rest.len()));
            bytes = rest;
            let name = names[usize::from(*file) % names.len()];
            let at = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
            done.one(files, name, *how, at, patch);
        }
        let sound = &Sound::get().files;
        done.names.retain(|name| files.get(name) != sound.get(name));
        done
    }

    fn one(&mut self, files: &mut Files, name: &str, how: u8, at: usize, patch: &[u8]) {
        self.names.insert(name.to_owned());
        let Some(mut content) = files.remove(name) else {
            return;
        };
        let at = at % (content.len() + 1);
        let patched = content[at..].iter_mut().zip(patch);
        match how % 8 {
            0 => patched.for_each(|(byte, new)| *byte = *new),
            1 => patched.for_each(|(byte, new)| *byte ^= *new),
            // The same in a block's second copy.
            2 => {
                patched.for_each(|(byte, new)| *byte = *new);
                let twin = (at ^ SEALS_EVERY).min(content.len());
                let patched = content[twin..].iter_mut().zip(patch);
                patched.for_each(|(byte, new)| *byte = *new);
            }
            3 => content.truncate(at),
            4 => return,
            5 => {
                let patch = patch.iter().cycle();
                content[at..]
                    .iter_mut()
                    .zip(patch)
                    .for_each(|(byte, new)| *byte = *new);
            }
            6 => content.extend_from_slice(patch),
            _ => {
                let end = content.len().min(at + 64 * patch.len());
                content[at..end].fill(0);
            }
        }
        if how % 8 != 3 {
            self.altered.insert(name.to_owned());
        }
        if how & 0x80 != 0 {
            Sound::get().seal(name, &mut content);
            self.is_forged = true;
        }
        files.insert(name.to_owned(), content);
    }
}

/// A directory with these files, in a place of its own.
pub(crate) fn lay(files: &Files) -> (TempDir, PathBuf) {
    let dir = scratch();
    let data = dir.path().join("data");
    let private = |path: &Path| {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path);
        made.expect("a directory");
    };
    private(&data);
    for (name, content) in files {
        let path = data.join(name);
        private(path.parent().expect("it is below the directory"));
        fs::write(path, content).expect("it can be written");
    }
    (dir, data)
}

/// Every file below a directory but the lock.
pub(crate) fn read(path: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a directory") {
            let at = entry.expect("an entry").path();
            let name = at
                .strip_prefix(path)
                .expect("it is below")
                .to_string_lossy();
            if at.is_dir() {
                folders.push(at);
            } else if name != "lock" {
                files.insert(name.into_owned(), fs::read(&at).expect("it can be read"));
            }
        }
    }
    files
}

/// The doctor gives a report or an error, and changes nothing.
pub(crate) fn examine(data: &Path, files: &Files) {
    match doctor::examine(data) {
        Ok(report) => assert!(!report.to_string().is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert!(read(data) == *files, "the doctor changed something");
}

/// Somebody new is limited.
pub(crate) fn still_limits(limiter: &Limiter, newcomer: &str) {
    for limit in ["each", "window"] {
        let limit = limiter.limit(limit).expect("the policy has it");
        let admitted = (0..10).filter(|_| limit.check(newcomer).is_allowed());
        assert!(admitted.count() <= 3);
        assert!(!limit.check_cost(newcomer, 4).is_allowed());
    }
    let paid = limiter.limit("paid").expect("the policy has it");
    let admitted = (0..4).filter(|_| paid.check_cost(newcomer, 30).is_allowed());
    assert!(admitted.count() <= 3);
}

/// True if something is said to be wrong.
pub(crate) fn is_told(health: &Health) -> bool {
    health.recovery.damaged > 0 || !health.recovery.troubles.is_empty()
}

/// What panics in the storage engine is caught by the limiter, and no finding.
pub(crate) fn let_the_engine_panic() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or_default();
            if name != "tollgate-store" && !name.starts_with("sled") {
                before(panic);
            }
        }));
    });
}
