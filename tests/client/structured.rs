//! The working group's own vectors of structured fields (RFC 9651), as fields of the draft: what
//! they refuse is refused, and what they accept says what they say it does.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use tollgate::client::{HeaderFault, Notice};

use super::{START, json, secs};
use crate::skipped::shared;

const STATE: &str = "ratelimit";
const POLICY: &str = "ratelimit-policy";
/// As long as a value may be.
const BYTES_MAX: usize = 8 * 1024;

/// The vectors of these files that are of this type, without those that are either.
fn vectors(files: &[&str], kind: &str) -> Option<Vec<Value>> {
    let mut found = Vec::new();
    for file in files {
        let file = json(&shared(&format!("sf/{file}.json"))?);
        let all = file.as_array().unwrap().iter();
        found.extend(
            all.filter(|one| one["header_type"] == kind && one["can_fail"] != true)
                .cloned(),
        );
    }
    Some(found)
}

/// What a header of these lines says; none if no header can hold them.
fn read(name: &'static str, lines: &[String]) -> Option<Notice> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let value = HeaderValue::from_bytes(line.as_bytes()).ok()?;
        headers.append(HeaderName::from_static(name), value);
    }
    Some(Notice::read(StatusCode::OK, &headers, START))
}

/// Whether it could be read as a structured field, whatever that says.
fn is_structured(notice: &Notice) -> bool {
    let refused = |fault: &HeaderFault| {
        fault.why == "is not a structured field as the draft has it"
            || fault.why == "is not text in ASCII"
    };
    !notice.faults().iter().any(refused)
}

fn raw(vector: &Value) -> Vec<String> {
    let lines = vector["raw"].as_array().unwrap().iter();
    lines
        .map(|line| line.as_str().unwrap().to_owned())
        .collect()
}

fn must_fail(vector: &Value) -> bool {
    vector["must_fail"] == true
}

/// Reads each vector behind `before`, and calls `each` with those that are accepted. How many were
/// accepted and how many refused.
fn behind(
    vectors: &[Value],
    name: &'static str,
    before: &str,
    mut each: impl FnMut(&Value, &Notice),
) -> [usize; 2] {
    let mut counts = [0, 0];
    for vector in vectors {
        let mut lines = raw(vector);
        let Some(first) = lines.first() else {
            continue;
        };
        // Nothing at all is an empty list, but not behind a comma; and a header's value neither
        // begins nor ends with spaces.
        if first.is_empty() || lines.iter().any(|line| line.trim() != line) {
            continue;
        }
        lines[0].insert_str(0, before);
        let Some(notice) = read(name, &lines) else {
            assert!(must_fail(vector), "no header can hold it: {vector}");
            continue;
        };
        if lines.join(", ").len() > BYTES_MAX {
            assert_eq!(notice.faults()[0].why, "is too long to be read");
            continue;
        }
        assert_eq!(is_structured(&notice), !must_fail(vector), "{vector}");
        counts[usize::from(must_fail(vector))] += 1;
        if !must_fail(vector) {
            each(vector, &notice);
        }
    }
    counts
}

#[test]
fn lists_are_as_the_vectors_have_them() {
    let files = [
        "examples",
        "key-generated",
        "list",
        "listlist",
        "number",
        "param-list",
    ];
    let more = ["param-listlist", "token", "large-generated"];
    let Some(vectors) = vectors(&[&files[..], &more].concat(), "list") else {
        return;
    };
    for name in [STATE, POLICY] {
        let [accepted, refused] = behind(&vectors, name, "\"p\";q=1;r=1, ", |vector, notice| {
            let items = vector["expected"].as_array().unwrap();
            if items.iter().any(|item| item[0].is_array()) {
                assert_ne!(notice.faults(), [], "a name is no list: {vector}");
            }
        });
        assert!(accepted >= 95 && refused >= 140, "{accepted} and {refused}");
    }
}

/// As revision 07 had it: a dictionary.
#[test]
fn dictionaries_are_as_the_vectors_have_them() {
    let files = [
        "examples",
        "key-generated",
        "dictionary",
        "param-dict",
        "large-generated",
    ];
    let Some(vectors) = vectors(&files, "dictionary") else {
        return;
    };
    let before = "limit=1, remaining=2, reset=3, ";
    let [accepted, refused] = behind(&vectors, STATE, before, |vector, notice| {
        let [limit] = notice.limits() else {
            panic!("{vector}: {notice:?}");
        };
        let numbers = (limit.limit, limit.remaining, limit.reset_after);
        assert_eq!(numbers, (Some(1), Some(2), Some(secs(3))), "{vector}");
    });
    assert!(
        accepted >= 120 && refused >= 190,
        "{accepted} and {refused}"
    );
}

/// Items as a policy's name and as its quota.
#[test]
fn items_are_as_the_vectors_have_them() {
    let files = [
        "binary",
        "boolean",
        "date",
        "display-string",
        "examples",
        "item",
        "number",
        "number-generated",
        "string",
        "string-generated",
        "token",
        "token-generated",
    ];
    let Some(mut vectors) = vectors(&files, "item") else {
        return;
    };
    // In a list a comma is the next item.
    vectors.retain(|vector| raw(vector).iter().all(|line| !line.contains(',')));
    let [accepted, refused] = behind(&vectors, POLICY, "\"p\";q=1, ", |_, _| {});
    assert!(
        accepted >= 460 && refused >= 210,
        "{accepted} and {refused}"
    );

    let [mut names, mut quotas] = [0, 0];
    for vector in vectors.iter().filter(|vector| !must_fail(vector)) {
        let text = raw(vector).join(", ");
        let [value, parameters] = &vector["expected"].as_array().unwrap()[..] else {
            panic!("{vector}");
        };
        if text != text.trim() || *parameters != Value::Array(Vec::new()) {
            continue;
        }
        let told = |text: String| read(POLICY, &[text]).unwrap();
        let name = value.as_str().or_else(|| {
            let is_token = value["__type"] == "token";
            value["value"].as_str().filter(|_| is_token)
        });
        let named = told(format!("{text};q=7"));
        let own = named.limits().first();
        let own = own.map(|own| (own.name.as_deref(), own.limit));
        if let Some(name) = name {
            assert_eq!(own, Some((Some(name), Some(7))), "{vector}");
            names += 1;
        } else if !value.is_i64() {
            assert_eq!(own, None, "{vector}");
        }
        let counted = told(format!("\"p\";q={text}"));
        let quota = counted.limits().first().and_then(|own| own.limit);
        assert_eq!(quota, value.as_u64(), "{vector}");
        assert_eq!(quota.is_none(), !counted.faults().is_empty(), "{vector}");
        quotas += usize::from(quota.is_some());
    }
    assert!(names >= 220 && quotas >= 25, "{names} and {quotas}");
}
