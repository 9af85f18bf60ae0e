//! K3: the `x-throttle` of an OpenAPI document to a policy, and a policy back into the document.
#![cfg(feature = "openapi")]

mod bounds;
#[cfg(feature = "cli")]
mod command;
mod edits;
mod import;
mod katforge;
mod references;
mod responses;
#[path = "../common/skipped.rs"]
mod skipped;

use tollgate::openapi::{self, LeftOut};
use tollgate::{Policy, Request};

fn policy(text: &str) -> Policy {
    Policy::from_toml(text).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

/// The policy of a document from which nothing was left out.
fn imported(document: &str) -> String {
    let imported = openapi::import(document, "").unwrap();
    assert_eq!(imported.left_out, []);
    imported.policy
}

/// The document with what a policy says, nothing of which was left out.
fn exported(document: &str, policy: &str) -> String {
    let exported = openapi::export(document, &self::policy(policy), "").unwrap();
    assert_eq!(exported.left_out, []);
    exported.document
}

fn told(left_out: &[LeftOut]) -> Vec<String> {
    left_out.iter().map(ToString::to_string).collect()
}

/// The limits that a request meets: rate, algorithm, whose.
fn limits(policy: &Policy, request: &Request<'_>) -> Vec<[String; 3]> {
    let explained = policy.explain(request).unwrap();
    let limits = explained.limits.into_iter();
    let mut limits: Vec<_> = limits
        .map(|one| [one.rate, one.algorithm, one.key])
        .collect();
    limits.sort();
    limits
}
