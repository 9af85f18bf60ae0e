//! A second opening of a directory.

use std::time::{Duration, Instant};

use tollgate::{ErrorKind, Limiter, Policy, WhenHeld};

const POLICY: &str = "[limits.all]\nrate = \"5/day\"";

fn open(data: &std::path::Path, when_held: WhenHeld) -> Result<Limiter, tollgate::Error> {
    let policy = Policy::from_toml(POLICY).unwrap();
    Limiter::builder(policy).when_held(when_held).open(data)
}

#[test]
fn is_refused_with_who_holds_it_and_what_else_can_be_done() {
    let dir = crate::common::scratch();
    let data = dir.path().join("data");
    let _first = open(&data, WhenHeld::Refuse).unwrap();
    let wait = WhenHeld::Wait(Duration::from_millis(400));
    for (when_held, least) in [(WhenHeld::Refuse, 0), (wait, 400)] {
        let begun = Instant::now();
        let error = open(&data, when_held).unwrap_err();
        assert!(begun.elapsed() >= Duration::from_millis(least));
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert_eq!(error.holder(), Some(std::process::id()));
        let text = error.to_string();
        for part in ["held by process", "when_held", "tollgate usage"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

#[test]
fn waits_and_goes_on_with_the_same_counts() {
    let dir = crate::common::scratch();
    let data = dir.path().join("data");
    let first = open(&data, WhenHeld::Refuse).unwrap();
    let limit = first.limit("all").unwrap();
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| open(&data, WhenHeld::Wait(Duration::from_secs(30))).unwrap());
        std::thread::sleep(Duration::from_millis(300));
        assert!(limit.check(()).is_allowed() && limit.check(()).is_allowed());
        drop((limit, first));
        second.join().unwrap()
    });
    assert_eq!(second.limit("all").unwrap().usage(()).used(), 2);
    assert!(second.health().control.path.unwrap().exists());
}

/// Who waits must not come to hold the lock of a directory that is another's by then.
#[test]
fn a_directory_that_is_replaced_meanwhile_is_not_opened() {
    let dir = crate::common::scratch();
    let (data, moved) = (dir.path().join("data"), dir.path().join("moved"));
    let first = open(&data, WhenHeld::Refuse).unwrap();
    let error = std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            open(&data, WhenHeld::Wait(Duration::from_secs(30)))
                .map(drop)
                .unwrap_err()
        });
        std::thread::sleep(Duration::from_millis(300));
        std::fs::rename(&data, &moved).unwrap();
        drop(open(&data, WhenHeld::Refuse).unwrap());
        drop(first);
        second.join().unwrap()
    });
    assert!(
        error.to_string().contains("moved, removed or replaced"),
        "{error}"
    );
}
