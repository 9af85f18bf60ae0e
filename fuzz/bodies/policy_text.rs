//! Any text is a policy or a list of faults, and what a policy says of a request never panics.

use tollgate::{Policy, Request};

/// Reads `bytes` as a policy, in both languages, and asks it about a request made of them.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for policy in [Policy::from_toml(text), Policy::from_json(text)] {
        match policy {
            Ok(policy) => {
                let path = text.lines().last().unwrap_or("/");
                let request = Request::http("GET", path).attribute("user", text);
                match policy.explain(&request) {
                    Ok(explanation) => assert!(!explanation.to_string().is_empty()),
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
            Err(faults) => assert!(!faults.to_string().is_empty()),
        }
    }
}
