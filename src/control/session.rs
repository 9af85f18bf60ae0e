//! One side of a conversation: bytes in, bytes out. No socket, no clock.

use serde_json::{Value, json};

use super::VERSION;
use super::frame::{self, BODY_MAX, Begun, CALL, ERROR, HEAD, HELLO, HELLO_MAX, REPLY};

/// Why a call was not done: a status as in HTTP, and a sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) why: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { status, why }
    }
}

/// Whether a conversation goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    More,
    End,
}

/// What a client said so far that was not answered.
#[derive(Debug, Default)]
pub(super) struct Session {
    bytes: Vec<u8>,
    is_greeted: bool,
}

impl Session {
    /// True if a frame was begun and not finished.
    pub(super) fn is_within(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Takes bytes from the client, answers every frame that is whole by `serve`, and says whether
    /// to go on. After `End` the client is to be left.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        serve: &mut dyn FnMut(&str, &Value) -> Result<Value, Refusal>,
        out: &mut Vec<u8>,
    ) -> Next {
        self.bytes.extend(bytes);
        let mut read = 0;
        let next = loop {
            let most = if self.is_greeted { BODY_MAX } else { HELLO_MAX };
            let answered = match frame::read(&self.bytes[read..], most) {
                Begun::Part => break Next::More,
                Begun::TooLong(len) => {
                    let why = format!("a frame of {len} bytes is too long; at most {most}");
                    refuse(&Refusal::new(413, why), out);
                    break Next::End;
                }
                Begun::Frame { kind, body } => {
                    read += HEAD + body.len();
                    match (self.is_greeted, kind) {
                        (false, HELLO) => greet(body, out).map(|()| self.is_greeted = true),
                        (true, CALL) => {
                            match call(body, serve) {
                                Ok(reply) => {
                                    frame::write(REPLY, reply.to_string().as_bytes(), out);
                                }
                                // The next call may be a better one.
                                Err(refusal) => refuse(&refusal, out),
                            }
                            Ok(())
                        }
                        (false, _) => Err(Refusal::new(400, "the first frame must be a hello")),
                        (true, kind) => {
                            let why = format!("frames of kind {kind} are not known here");
                            Err(Refusal::new(400, why))
                        }
                    }
                }
            };
            if let Err(refusal) = answered {
                refuse(&refusal, out);
                break Next::End;
            }
        };
        self.bytes.drain(..read);
        next
    }
}

/// Answers a hello.
fn greet(body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    let no_hello = || Refusal::new(400, "this is no hello of Tollgate's");
    let hello: Value = serde_json::from_slice(body).map_err(|_| no_hello())?;
    let bound = |at: usize| hello.get("tollgate")?.get(at)?.as_u64();
    let (Some(oldest), Some(newest)) = (bound(0), bound(1)) else {
        return Err(no_hello());
    };
    if !(oldest..=newest).contains(&VERSION) {
        let why = format!(
            "the service speaks version {VERSION} of the protocol, this command {oldest} to \
             {newest}: use the command of the service's version"
        );
        return Err(Refusal::new(505, why));
    }
    let own = json!({ "tollgate": VERSION, "pid": std::process::id() });
    frame::write(HELLO, own.to_string().as_bytes(), out);
    Ok(())
}

fn call(
    body: &[u8],
    serve: &mut dyn FnMut(&str, &Value) -> Result<Value, Refusal>,
) -> Result<Value, Refusal> {
    let bad = |why: String| Refusal::new(400, why);
    let call: Value =
        serde_json::from_slice(body).map_err(|error| bad(format!("this is not JSON: {error}")))?;
    let name = call.get("call").and_then(Value::as_str);
    let name = name.ok_or_else(|| bad("a call has a name: {\"call\": NAME}".into()))?;
    serve(name, call.get("with").unwrap_or(&json!({})))
}

/// Adds an error.
pub(super) fn refuse(refusal: &Refusal, out: &mut Vec<u8>) {
    let error = json!({ "status": refusal.status, "error": refusal.why });
    frame::write(ERROR, error.to_string().as_bytes(), out);
}

/// What a client said may be anything: it is answered in whole frames, however it was cut.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzzed(bytes: &[u8]) {
    let mut serve = |name: &str, with: &Value| match name {
        "echo" => Ok(with.clone()),
        "long" => Ok(Value::from("x".repeat(BODY_MAX))),
        _ => Err(Refusal::new(404, "nothing is here")),
    };
    let mut at_once = Vec::new();
    let mut session = Session::default();
    let ended = session.feed(bytes, &mut serve, &mut at_once);
    assert!(session.bytes.len() <= bytes.len());

    let mut in_pieces = Vec::new();
    let mut session = Session::default();
    let mut last = Next::More;
    for piece in bytes.chunks(1 + bytes.len() / 7) {
        last = session.feed(piece, &mut serve, &mut in_pieces);
        if last == Next::End {
            break;
        }
    }
    assert_eq!((ended, &at_once), (last, &in_pieces));

    // What is answered is frames, of which only an error is the last that ends it.
    let mut rest = &at_once[..];
    let mut kinds = Vec::new();
    while !rest.is_empty() {
        let Begun::Frame { kind, body } = frame::read(rest, BODY_MAX) else {
            unreachable!("half a frame was answered");
        };
        assert!(serde_json::from_slice::<Value>(body).is_ok());
        kinds.push(kind);
        rest = &rest[HEAD + body.len()..];
    }
    assert!(ended == Next::More || kinds.last() == Some(&ERROR));
    assert!(kinds.iter().skip(1).all(|kind| *kind != HELLO));
}
