//! Every fuzz target's corpus, replayed without a fuzzer.

#[path = "../fuzz/bodies/policy_text.rs"]
mod policy_text;
#[path = "../fuzz/bodies/table_file.rs"]
mod table_file;

/// Runs `body` over every file of the target's corpus.
fn replay(target: &str, body: fn(&[u8])) {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        body(&std::fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 0, "{target} has a corpus");
}

#[test]
fn policy_text() {
    replay("policy_text", policy_text::run);
}

#[test]
fn table_file() {
    replay("table_file", table_file::run);
}
