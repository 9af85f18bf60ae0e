//! Documents that are broken, or made to harm.

use std::fmt::Write;

use proptest::prelude::*;
use tollgate::openapi;

use super::policy;

#[test]
fn broken_documents_are_errors_with_a_place() {
    for (document, starts) in [
        ("", "1:1: the document is empty"),
        ("paths: [", "2:1: "),
        ("a: b: c", "1:"),
        ("a: 1\n---\nb: 2\n", "2:1: there is a second document"),
        ("a: *unknown\n", "1:4: "),
        ("{\"a\": }", "1:"),
        ("\t- a", "1:"),
    ] {
        match openapi::import(document, "") {
            Err(error) => {
                let told = error.to_string();
                assert!(told.starts_with(starts), "{document:?}: {told}");
            }
            // Not all that one reader refuses another does; but then it is told what is missing.
            Ok(imported) => assert_ne!(imported.left_out, [], "{document:?}"),
        }
    }
}

/// Which of the two counts nobody could say, and an edit of one would leave the other.
#[test]
fn a_key_that_stands_twice_is_an_error() {
    for (document, starts) in [
        (
            "paths: {}\nb: {c: 1, \"c\": 2}\n",
            "2:11: this key stands twice",
        ),
        (
            "paths:\n  /a:\n  /b:\n  /a:\n",
            "4:3: this key stands twice",
        ),
    ] {
        let error = openapi::import(document, "").unwrap_err().to_string();
        assert!(error.starts_with(starts), "{document:?}: {error}");
    }
}

#[test]
fn a_document_without_paths_says_nothing() {
    for document in [
        "a: 1\n",
        "[]",
        "paths: 7\n",
        "paths: {}\n",
        "paths: {/a: 7, /b: {get: 7}}\n",
    ] {
        let imported = openapi::import(document, "").unwrap();
        assert!(!imported.policy.contains("limits"), "{document}");
    }
}

#[test]
fn aliases_are_never_unfolded() {
    let mut document = String::from("l0: &l0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let below = level - 1;
        let aliases = vec![format!("*l{below}"); 9].join(", ");
        writeln!(document, "l{level}: &l{level} [{aliases}]").unwrap();
    }
    document.push_str("paths: {/a: {get: {x-throttle: *l29}}}\n");
    let imported = openapi::import(&document, "").unwrap();
    let told = imported.left_out.len();
    assert_eq!(
        told, 2,
        "nine times the same that is no throttle, so there is none"
    );
    // An alias of what it stands in is no endless tree.
    let circle = "paths: &p {/a: {get: &g {x-throttle: [*g, *p]}}}\n";
    assert_eq!(openapi::import(circle, "").unwrap().left_out.len(), 3);
}

#[test]
fn too_deep_and_too_large_are_told() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
        let document = open.repeat(5_000) + &close.repeat(5_000);
        let error = openapi::import(&document, "").unwrap_err().to_string();
        let told = ["nested beyond", "recursion limit"];
        assert!(told.iter().any(|told| error.contains(told)), "{error}");
    }
    let large = " ".repeat((16 << 20) + 1);
    let error = openapi::import(&large, "").unwrap_err().to_string();
    assert_eq!(error, "1:1: the document is larger than 16 MiB");
}

#[test]
fn more_limits_than_a_policy_holds_are_an_error() {
    let mut document = String::from("paths:\n");
    for number in 1..=300 {
        let throttle = format!("[{{limit: {number}, interval: 60}}]");
        writeln!(
            document,
            "  /p{number}: {{get: {{x-throttle: {throttle}}}}}"
        )
        .unwrap();
    }
    let error = openapi::import(&document, "").unwrap_err().to_string();
    assert!(error.contains("256"), "{error}");
}

/// Pieces that documents are made of.
const PIECES: [&str; 24] = [
    "paths:",
    "\n",
    "\n  ",
    "\n    ",
    "\n      ",
    "/a:",
    "get:",
    "post: ",
    "x-throttle: ",
    "- ",
    "limit: 3",
    "interval: 60",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "&a ",
    "*a",
    "# c",
    "responses:",
    "'429': ",
    "|\n",
    "é",
];

proptest! {
    #[test]
    fn whatever_the_text(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40),
    ) {
        let start = std::iter::once("paths:\n  /a:\n    get:\n      ");
        let text: String = start.chain(pieces).collect();
        let _ = openapi::import(&text, "");
        let limits = policy(
            "limits.a = { rate = \"9 per 60 s\", key = \"ip\", algorithm = \"fixed window\" }",
        );
        if let Ok(exported) = openapi::export(&text, &limits, "") {
            // What was written is a document, and exporting again changes nothing more.
            let again = openapi::export(&exported.document, &limits, "").unwrap();
            prop_assert_eq!(again.document, exported.document);
        }
    }
}
