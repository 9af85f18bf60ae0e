//! Every fuzz target's corpus, replayed without a fuzzer. Those of `log_line` and `journal_page`
//! are replayed where their bodies can reach what they try: in the command and in the journal.

mod common;
#[path = "../fuzz/bodies/damage.rs"]
mod damage;

#[path = "../fuzz/bodies/ceilings.rs"]
mod ceilings;
#[path = "oracle/event.rs"]
mod event;
#[cfg(all(feature = "client", feature = "sfv"))]
#[path = "../fuzz/bodies/header_fields.rs"]
mod header_fields;
#[path = "../fuzz/bodies/journal_files.rs"]
mod journal_files;
#[path = "../fuzz/bodies/keys.rs"]
mod keys;
#[path = "oracle/life.rs"]
mod life;
#[path = "oracle/model.rs"]
mod model;
#[cfg(feature = "openapi")]
#[path = "../fuzz/bodies/openapi_document.rs"]
mod openapi_document;
#[path = "../fuzz/bodies/overrides.rs"]
mod overrides;
#[path = "../fuzz/bodies/policy_text.rs"]
mod policy_text;
#[path = "../fuzz/bodies/routes.rs"]
mod routes;
#[path = "../fuzz/bodies/table_file.rs"]
mod table_file;

/// Runs `body` over every file of the target's corpus.
fn replay(target: &str, body: fn(&[u8])) {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let replayed = std::panic::catch_unwind(|| body(&bytes));
        assert!(replayed.is_ok(), "{}: see above", path.display());
        files += 1;
    }
    assert!(files > 0, "{target} has a corpus");
}

#[test]
fn ceilings() {
    replay("ceilings", ceilings::run);
}

#[cfg(all(feature = "client", feature = "sfv"))]
#[test]
fn header_fields() {
    replay("header_fields", header_fields::run);
}

#[test]
fn journal_files() {
    replay("journal_files", journal_files::run);
}

#[test]
fn keys() {
    replay("keys", keys::run);
}

#[test]
fn lives() {
    replay("life", life::live);
}

#[cfg(feature = "openapi")]
#[test]
fn openapi_document() {
    replay("openapi_document", openapi_document::run);
}

#[test]
fn overrides() {
    replay("overrides", overrides::run);
}

#[test]
fn policy_text() {
    replay("policy_text", policy_text::run);
}

#[test]
fn routes() {
    replay("routes", routes::run);
}

#[test]
fn table_file() {
    replay("table_file", table_file::run);
}
