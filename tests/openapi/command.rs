//! `tollgate policy import` and `export`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::{imported, policy};

fn run(dir: &Path, words: &[&str]) -> Output {
    let command = env!("CARGO_BIN_EXE_tollgate");
    let output = Command::new(command).current_dir(dir).args(words).output();
    output.unwrap()
}

#[test]
fn k3_a_document_in_and_out() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let document = "paths:\n  /a: # no line end behind\n    get: {x-throttle: [{limit: 1, \
                    interval: 2}, {limit: 1}]}";
    fs::write(dir.join("a.yaml"), document).unwrap();
    let import = run(dir, &["policy", "import", "a.yaml", "--base", "/v1"]);
    assert_eq!(import.status.code(), Some(0));
    let told = "a.yaml:3:49: GET /a: a throttle without its `interval`\n";
    assert_eq!(String::from_utf8_lossy(&import.stderr), told);
    let text = String::from_utf8(import.stdout).unwrap();
    assert_eq!(policy(&text).limits().count(), 1);
    fs::write(dir.join("a.toml"), &text).unwrap();

    let export = run(
        dir,
        &["policy", "export", "a.toml", "a.yaml", "--base", "/v1"],
    );
    assert_eq!(export.status.code(), Some(0));
    let written = String::from_utf8(export.stdout).unwrap();
    let start = "paths:\n  /a: # no line end behind\n    get: {\"responses\": ";
    assert!(written.starts_with(start), "{written}");
    assert!(written.ends_with('}'), "{written}");
    assert!(imported(&written).contains("1 per 2 s"));
}

#[test]
fn a_document_that_cannot_be_read_ends_with_status_2() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), "a: [").unwrap();
    for words in [["import", "a.yaml"], ["import", "none.yaml"]] {
        let output = run(dir.path(), &[&["policy"], &words[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(output.stdout.is_empty());
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(words[1]), "{told}");
    }
}
