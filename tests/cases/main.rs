//! What the tests of seven other rate limiters assert, asked of Tollgate through its public API.
//!
//! Every case is a test of its own. It passes, or it is listed below with the reason why Tollgate
//! means something else; a listed case that passes all the same is a failure, so the list stays
//! true. Each case is run twice: in one go, and with the limiter closed and opened again halfway.

#[path = "../common/mod.rs"]
mod common;
mod policy;
mod run;
#[path = "../common/skipped.rs"]
mod skipped;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

/// The peers, and how many cases each brings.
const PEERS: [(&str, usize); 7] = [
    ("throttled", 2),
    ("redis-cell", 8),
    ("governor", 19),
    ("throttlecrab", 37),
    ("nginx", 6),
    ("envoy", 19),
    ("limitador", 13),
];

const DENIED_ARE_FREE: &str = "what is refused is not charged: the room that was left is left";
const DEAD_AT_ONCE: &str = "a counter is forgotten the moment its bucket is full, not later";

/// A case in which Tollgate means something else.
struct Otherwise {
    id: &'static str,
    reason: &'static str,
    /// What it differs in, as the run says it.
    differs: &'static str,
}

const OTHERWISE: [Otherwise; 10] = [
    Otherwise {
        id: "governor/expiration_1",
        reason: DEAD_AT_ONCE,
        differs: "in use are []",
    },
    Otherwise {
        id: "governor/expiration_2",
        reason: DEAD_AT_ONCE,
        differs: "in use are []",
    },
    Otherwise {
        id: "throttlecrab/huge_burst",
        reason: "a burst that takes millions of years to fill is a fault of the policy",
        differs: "the burst would take more than 3650 days to fill",
    },
    Otherwise {
        id: "throttlecrab/huge_rate",
        reason: "more than 20 million tokens a second are a fault of the policy",
        differs: "at most 20 million tokens a second",
    },
    Otherwise {
        id: "nginx/limit_req_delay1_burst2",
        reason: "a check admits or refuses; it does not hold a request back",
        differs: "step 2: nothing is held back",
    },
    Otherwise {
        id: "nginx/limit_req_dry_run",
        reason: "limits do not share a counter, and none holds a request back",
        differs: "limits share the counter one",
    },
    Otherwise {
        id: "envoy/addend_some_over",
        reason: DENIED_ARE_FREE,
        differs: "step 0: remaining is 1 (refused",
    },
    Otherwise {
        id: "envoy/addend_all_three",
        reason: DENIED_ARE_FREE,
        differs: "step 0: remaining is 5 (refused",
    },
    Otherwise {
        id: "envoy/over_partial",
        reason: DENIED_ARE_FREE,
        differs: "step 0: remaining is 3 (refused",
    },
    Otherwise {
        id: "envoy/over_shadow",
        reason: "a limit in shadow is charged what it would have admitted, and no more",
        differs: "step 0: remaining is 3 (allowed",
    },
];

fn cases_of(folder: &Path, peer: &str) -> Vec<Value> {
    let path = folder.join(format!("{peer}.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    match file["cases"].take() {
        Value::Array(cases) => cases,
        other => panic!("{}: no cases but {other}", path.display()),
    }
}

/// One case, in both ways.
fn judge(case: &Value, otherwise: Option<&Otherwise>) -> Result<(), Failed> {
    for restarts in [false, true] {
        let way = if restarts {
            "with restarts"
        } else {
            "in one go"
        };
        let found = run::run(case, restarts);
        let fault = match (found, otherwise) {
            (Ok(()), None) => continue,
            (Err(differs), Some(listed)) if differs.contains(listed.differs) => continue,
            (Ok(()), Some(_)) => "it passes, though it is listed".to_owned(),
            (Err(differs), _) => differs,
        };
        return Err(format!("{way}: {fault}").into());
    }
    Ok(())
}

fn trials(folder: &Path) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut listed = 0;
    for (peer, count) in PEERS {
        let cases = cases_of(folder, peer);
        assert_eq!(cases.len(), count, "cases of {peer}");
        for case in cases {
            let id = case["id"].as_str().unwrap().to_owned();
            let otherwise = OTHERWISE.iter().find(|listed| listed.id == id);
            let name = match otherwise {
                Some(listed) => format!("{id} (means otherwise: {})", listed.reason),
                None => id,
            };
            listed += usize::from(otherwise.is_some());
            trials.push(Trial::test(name, move || judge(&case, otherwise)));
        }
    }
    assert_eq!(listed, OTHERWISE.len(), "a listed case does not exist");
    trials
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let Some(folder) = skipped::shared("cases") else {
        return ExitCode::SUCCESS;
    };
    libtest_mimic::run(&arguments, trials(&folder)).exit_code()
}
