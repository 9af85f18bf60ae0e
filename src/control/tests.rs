//! The socket with peers that end early, dawdle, flood, or do not read.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{CallError, Connection};
use super::frame::{self, BODY_MAX, Begun, CALL, HEAD, HELLO};
use super::place;
use super::server::Server;
use super::session::{Refusal, fuzzed};

/// What a service serves here.
fn serve(name: &str, with: &Value) -> Result<Value, Refusal> {
    match name {
        "echo" => Ok(with.clone()),
        "long" => Ok(Value::from("x".repeat(1 << 20))),
        "slow" => {
            std::thread::sleep(Duration::from_millis(300));
            Ok(Value::Null)
        }
        _ => Err(Refusal::new(404, "nothing is here")),
    }
}

fn start(directory: &Path) -> Server {
    Server::start(directory, |_, name, with| serve(name, with)).unwrap()
}

fn service() -> (TempDir, Server) {
    let dir = crate::directory::scratch();
    let server = start(dir.path());
    (dir, server)
}

/// Asks, and says how long the answer took.
fn ask(directory: &Path) -> Duration {
    let begun = Instant::now();
    let mut connection = Connection::open(directory).unwrap().unwrap();
    assert_eq!(connection.holder(), std::process::id());
    let answer = connection.call("echo", r#"{"a":[1,2]}"#).unwrap();
    assert_eq!(answer, r#"{"a":[1,2]}"#);
    begun.elapsed()
}

fn raw(directory: &Path) -> UnixStream {
    let stream = place::connect(directory).unwrap().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

fn conversation() -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    let echo = json!({ "call": "echo", "with": { "text": "a\u{1d11e}b" } }).to_string();
    for (kind, body) in [
        (HELLO, r#"{"tollgate":[1,3],"name":"a later client"}"#),
        (CALL, &echo),
        (CALL, r#"{"call":"none"}"#),
        (CALL, r#"{"call":"echo"}"#),
    ] {
        frame::write(kind, body.as_bytes(), &mut bytes);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn frames(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        let Begun::Frame { body, .. } = frame::read(bytes, BODY_MAX) else {
            panic!("half a frame");
        };
        bytes = &bytes[HEAD + body.len()..];
        count += 1;
    }
    count
}

#[test]
fn the_corpus_is_read_as_the_fuzzer_reads_it() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/control_frames");
    let mut files = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        fuzzed(&fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 5);
}

#[test]
fn a_client_may_end_in_the_middle_of_every_message() {
    let (dir, _server) = service();
    let (bytes, ends) = conversation();
    for cut in 0..=bytes.len() {
        let mut stream = raw(dir.path());
        stream.write_all(&bytes[..cut]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answered = Vec::new();
        stream.read_to_end(&mut answered).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(frames(&answered), whole, "cut at {cut}");
    }
    // And without a word.
    for cut in 0..=bytes.len() {
        let mut stream = raw(dir.path());
        stream.write_all(&bytes[..cut]).unwrap();
    }
    ask(dir.path());
}

#[test]
fn what_a_service_answers_may_end_in_the_middle() {
    let dir = crate::directory::scratch();
    let mut answers = Vec::new();
    frame::write(HELLO, br#"{"tollgate":1,"pid":7}"#, &mut answers);
    frame::write(frame::REPLY, b"{}", &mut answers);
    let listener = std::os::unix::net::UnixListener::bind(dir.path().join("control")).unwrap();
    for cut in 0..=answers.len() {
        let part = answers[..cut].to_vec();
        let listener = listener.try_clone().unwrap();
        let liar = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&part).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        });
        let asked = Connection::open(dir.path())
            .and_then(|connection| connection.unwrap().call("echo", "{}"));
        assert_eq!(asked.is_ok(), cut == answers.len(), "cut at {cut}");
        liar.join().unwrap();
    }
}

#[test]
fn versions_that_do_not_meet_are_told() {
    let (dir, _server) = service();
    let mut stream = raw(dir.path());
    let mut bytes = Vec::new();
    frame::write(HELLO, br#"{"tollgate":[2,9]}"#, &mut bytes);
    stream.write_all(&bytes).unwrap();
    let mut answered = Vec::new();
    stream.read_to_end(&mut answered).unwrap();
    let answered = String::from_utf8_lossy(&answered);
    assert!(
        answered.contains("version 1 of the protocol, this command 2 to 9"),
        "{answered}"
    );
}

#[test]
fn who_dawdles_is_left_and_holds_nobody_up() {
    let (dir, _server) = service();
    let (bytes, ends) = conversation();
    let begun = Instant::now();
    let mut slow = raw(dir.path());
    slow.write_all(&bytes[..ends[0] + 1]).unwrap();
    let mut hello = [0; 64];
    assert!(slow.read(&mut hello).unwrap() > 0);
    let mut drip = bytes[ends[0] + 1..].iter();
    while slow
        .write_all(std::slice::from_ref(drip.next().unwrap()))
        .is_ok()
    {
        assert!(ask(dir.path()) < Duration::from_secs(1));
        std::thread::sleep(Duration::from_millis(100));
        assert!(begun.elapsed() < Duration::from_secs(8), "it is never left");
    }
    assert!(begun.elapsed() > Duration::from_secs(1));
}

#[test]
fn who_does_not_read_is_left_and_holds_nobody_up() {
    let (dir, server) = service();
    let mut deaf = raw(dir.path());
    let mut bytes = conversation().0;
    for _ in 0..8 {
        frame::write(CALL, br#"{"call":"long"}"#, &mut bytes);
    }
    deaf.write_all(&bytes).unwrap();
    let begun = Instant::now();
    while server.connected() > 0 {
        assert!(ask(dir.path()) < Duration::from_secs(1));
        assert!(begun.elapsed() < Duration::from_secs(8), "it is never left");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_crowd_that_says_nothing_shuts_nobody_out() {
    let (dir, server) = service();
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(raw(dir.path()));
        assert!(server.connected() <= 17);
    }
    assert!(ask(dir.path()) < Duration::from_secs(1));
    // Those who wait for a call to be done are not left for newcomers.
    let path = dir.path();
    std::thread::scope(|scope| {
        let slow: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Connection::open(path)?.unwrap().call("slow", "{}")))
            .collect();
        for _ in 0..50 {
            crowd.push(raw(path));
            std::thread::sleep(Duration::from_millis(4));
        }
        for one in slow {
            assert_eq!(one.join().unwrap().unwrap(), "null");
        }
    });
}

#[test]
fn what_makes_no_sense_is_told_and_the_next_call_is_done() {
    let (dir, _server) = service();
    let mut connection = Connection::open(dir.path()).unwrap().unwrap();
    for (name, with, status) in [("none", "{}", 404), ("echo", "{", 400)] {
        match connection.call(name, with) {
            Err(CallError::Refused { status: found, .. }) => assert_eq!(found, status),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(connection.call("echo", "{}").unwrap(), "{}");
    let long = format!("\"{}\"", "x".repeat(BODY_MAX));
    assert!(connection.call("echo", &long).is_err());
    assert_eq!(connection.call("echo", "{}").unwrap(), "{}");
}

#[test]
fn the_socket_is_private_and_goes_with_the_server() {
    let (dir, mut server) = service();
    let socket = dir.path().join("control");
    let mode = fs::symlink_metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut connection = Connection::open(dir.path()).unwrap().unwrap();
    server.stop();
    assert!(!socket.exists());
    assert!(connection.call("echo", "{}").is_err());
    assert!(Connection::open(dir.path()).unwrap().is_none());
}

#[test]
fn what_a_killed_process_left_is_replaced() {
    let dir = crate::directory::scratch();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("control")).unwrap());
    assert!(Connection::open(dir.path()).unwrap().is_none());
    let server = start(dir.path());
    assert_eq!(server.path(), dir.path().join("control"));
    ask(dir.path());
    // What is no socket is not ours to remove.
    let other = crate::directory::scratch();
    fs::write(other.path().join("control"), "mine").unwrap();
    let started = Server::start(other.path(), |_, name, with| serve(name, with));
    assert!(started.is_ok_and(|server| server.path() != other.path().join("control")));
    let kept = fs::read_to_string(other.path().join("control"));
    assert_eq!(kept.unwrap(), "mine");
}

/// A directory whose path no socket can have.
fn deep(dir: &TempDir) -> PathBuf {
    let mut path = dir.path().to_owned();
    for _ in 0..6 {
        path.push("a_name_of_thirty_characters_xx");
    }
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn a_long_path_has_its_socket_elsewhere() {
    let dir = crate::directory::scratch();
    let path = deep(&dir);
    assert!(Connection::open(&path).unwrap().is_none());
    let mut server = start(&path);
    ask(&path);
    let socket = server.path().to_owned();
    let note = path.join("control.at");
    assert_eq!(fs::read_to_string(&note).unwrap(), socket.to_str().unwrap());
    let folder = fs::metadata(socket.parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    // A copy of the directory names the original's socket, which stays.
    let copy = crate::directory::scratch();
    fs::copy(&note, copy.path().join("control.at")).unwrap();
    let _other = start(copy.path());
    ask(&path);
    server.stop();
    assert!(!socket.exists() && !note.exists());
    // What a killed process left there goes, too.
    let mut killed = start(&path);
    let left = killed.path().to_owned();
    fs::copy(&note, path.join("kept")).unwrap();
    killed.stop();
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    fs::rename(path.join("kept"), &note).unwrap();
    let again = start(&path);
    assert!(!left.exists() && again.path().exists());
    ask(&path);
}
