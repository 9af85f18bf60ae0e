//! The corpus of the fuzz target `log_line`, replayed without a fuzzer.

#[path = "../../../../fuzz/bodies/log_line.rs"]
mod body;

#[test]
fn every_log_of_the_corpus() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/log_line");
    let logs = std::fs::read_dir(corpus).unwrap();
    let replayed = logs.map(|log| body::run(&std::fs::read(log.unwrap().path()).unwrap()));
    assert!(replayed.count() > 0, "the target has a corpus");
}
