//! Any bytes in the place of a directory's files are an error or a limiter that still limits.

use std::fs;

use tollgate::{Limiter, ManualClock, Mapping, Policy, Timestamp};

const POLICY: &str = "[limits.each]\nrate = \"3/day\"\nkey = \"user\"\n\
                      [limits.window]\nrate = \"3/day\"\nalgorithm = \"sliding window\"\n\
                      key = \"user\"";

/// Overwrites a part of a sound directory's file, as the first bytes say, and opens it.
pub(crate) fn run(bytes: &[u8]) {
    let [which, high, low, patch @ ..] = bytes else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let clock = ManualClock::new(Timestamp::from_secs(1_760_000_000));
    let policy = Policy::from_toml(POLICY).expect("the policy is sound");
    let open = || {
        Limiter::builder(policy.clone())
            .counters(1)
            .mapping(Mapping::DataDirectory)
            .clock(clock.clone())
            .open(&data)
    };
    let limiter = open().expect("it opens");
    for limit in ["each", "window"] {
        assert!(
            limiter
                .limit(limit)
                .expect("a limit")
                .check("alice")
                .is_allowed()
        );
    }
    drop(limiter);
    let files = [
        "header",
        "marks",
        "overrides",
        "table/00",
        "table/07",
        "table/15",
        "table/16",
    ];
    let path = data.join(files[usize::from(*which) % files.len()]);
    let mut content = fs::read(&path).unwrap_or_default();
    let at = usize::from(*high) * 256 + usize::from(*low);
    if which & 0x80 != 0 {
        content.truncate(at);
    } else {
        content.resize(content.len().max(at + patch.len()), 0);
        content[at..at + patch.len()].copy_from_slice(patch);
    }
    fs::write(&path, content).expect("it can be written");
    match open() {
        Ok(limiter) => {
            for limit in ["each", "window"] {
                let limit = limiter.limit(limit).expect("a limit");
                let admitted = (0..10).filter(|_| limit.check("bob").is_allowed()).count();
                assert!(admitted <= 3, "{admitted}");
                assert!(!limit.check_cost("bob", 4).is_allowed());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
