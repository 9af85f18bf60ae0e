//! What a repair must not undo.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tollgate::{Limiter, ManualClock, Mapping, Opened, Policy, Timestamp, doctor};

fn open(data: &Path) -> Limiter {
    let policy = r#"
        [limits.logged]
        rate = "100/day"
        algorithm = "fixed window"
        key = "user"

        [limits.memory]
        rate = "100/day"
        key = "user"
        durability = "memory"
    "#;
    Limiter::builder(Policy::from_toml(policy).unwrap())
        .counters(1000)
        .mapping(Mapping::DataDirectory)
        // At rest between two processes: a word that was lowered is not dead.
        .clock(ManualClock::new(Timestamp::from_secs(1_760_009_400)))
        // Written when it is flushed.
        .interval(Duration::from_secs(3600))
        .open(data)
        .unwrap()
}

/// Row W10: used, flushed, reset, killed before that is written, repaired.
#[test]
fn w10_a_repair_never_undoes_a_reset() {
    let dir = crate::common::scratch();
    let data = dir.path().join("data");
    let limiter = open(&data);
    let limits = ["logged", "memory"].map(|name| limiter.limit(name).unwrap());
    for limit in &limits {
        assert!(limit.check_cost("alice", 77).is_allowed());
    }
    limiter.flush().unwrap();
    // What has no journal yet is carried over with the next rounds, the memory limit's, too.
    (0..4).for_each(|_| limiter.flush().unwrap());
    limits.iter().for_each(|limit| limit.reset("alice"));
    // Moved away it cannot be written any more, as after a kill.
    let killed = dir.path().join("killed");
    fs::rename(&data, &killed).unwrap();
    drop((limits, limiter));
    let report = doctor::repair(&killed).unwrap();
    assert!(report.is_healthy(), "{report}");
    let limiter = open(&killed);
    assert_eq!(limiter.health().opened, Opened::Kept);
    for name in ["logged", "memory"] {
        assert_eq!(limiter.limit(name).unwrap().usage("alice").used(), 0);
    }
}
