//! Row P7: what is told of a disk that is full, to whom, and how often.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tollgate::{Limiter, Mapping, Policy, Request, Trouble, Verdict, Watch};

use crate::mount::Mount;
use crate::world::{flush_at_last, noon, wait_for};

const POLICY: &str = r#"
    [limits.strict]
    rate = "1000/day"
    algorithm = "fixed window"
    durability = "strict"
    reserve = 1
    key = "user"

    [limits.day]
    rate = "1000/day"
    key = "user"

    [response]
    body = { title = "ours" }
"#;

/// What was told of trouble, in order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Option<String>>>>);

impl Watch for Told {
    fn decided(&self, _: &Request<'_>, _: &tollgate::Decision) {}

    fn trouble(&self, trouble: Option<&Trouble>) {
        let why = trouble.map(|trouble| trouble.first.clone());
        self.0.lock().unwrap().push(why);
    }
}

#[test]
fn p7_a_full_disk_is_one_event_and_no_clients_business() {
    let Some(mount) = Mount::new("size=4m") else {
        return;
    };
    let told = Told::default();
    let limiter = Limiter::builder(Policy::from_toml(POLICY).unwrap())
        .counters(1000)
        .mapping(Mapping::DataDirectory)
        .clock(noon())
        .interval(Duration::from_millis(20))
        .watch(told.clone())
        .open(mount.data())
        .unwrap();
    let request = Request::new().attribute("user", "alice");
    assert!(limiter.check(&request).is_allowed());
    limiter.flush().unwrap();
    let ballast = mount.fill();
    let refused = || {
        let decision = limiter.check(&request);
        (!decision.is_allowed()).then_some(decision)
    };
    let mut decision = None;
    wait_for("its reservation is used up", || {
        decision = refused();
        decision.is_some()
    });
    let decision = decision.unwrap();
    assert_eq!(decision.verdict(), Verdict::Unwritable);
    let mut body = String::new();
    assert_eq!(decision.answer().status(), Some(503));
    decision.answer().body(&mut body);
    assert_eq!(body, r#"{"title":"ours"}"#);
    let reason = decision.answer().reason().unwrap();
    assert!(!reason.contains("disk"), "{reason}");
    // Many rounds fail, and one of them is told of.
    wait_for("it is told", || !told.0.lock().unwrap().is_empty());
    std::thread::sleep(Duration::from_millis(1500));
    for _ in 0..20 {
        let Err(error) = limiter.flush() else {
            continue;
        };
        let text = error.to_string();
        assert!(text.contains("No space left"), "{text}");
        assert!(text.contains(mount.data().to_str().unwrap()), "{text}");
    }
    let why = limiter.health().reservations.trouble.unwrap().why;
    assert!(
        why.contains("ceilings") && why.contains("No space"),
        "{why}"
    );
    fs::remove_file(ballast).unwrap();
    flush_at_last(&limiter);
    wait_for("its end is told", || told.0.lock().unwrap().len() > 1);
    let told = told.0.lock().unwrap().clone();
    // With the cause, and where it was.
    let data = mount.data();
    let path = data.to_str().unwrap();
    let says_both = |why: &str| why.contains("No space left") && why.contains(path);
    assert!(
        matches!(&told[..], [Some(why), None] if says_both(why)),
        "{told:?}"
    );
}
