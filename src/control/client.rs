//! The asking side: a connection to the process that has a directory open.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_peercred;
use serde_json::{Value, json};

use super::VERSION;
use super::frame::{self, BODY_MAX, Begun, CALL, ERROR, HEAD, HELLO, REPLY};

/// How long an answer may take: a call may wait for the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to the process that has a directory open.
///
/// ```
/// use tollgate::control::Connection;
/// # use tollgate::{Limiter, Policy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let data = dir.path().join("data");
/// let policy = Policy::from_toml("limits.per-user = { rate = \"10/min\", key = \"user\" }")?;
/// let limiter = Limiter::open(&data, policy)?;
///
/// // In another process:
/// let mut connection = Connection::open(&data)?.ok_or("nobody has it open")?;
/// let usage = connection.call("usage", r#"{"limit": "per-user", "key": ["alice"]}"#)?;
/// assert!(usage.contains("\"remaining\":10"));
/// # Ok(())
/// # }
/// ```
pub struct Connection {
    stream: UnixStream,
    holder: u32,
    bytes: Vec<u8>,
}

/// Why a call was not done.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// The process that has the directory open said no, for this reason; the status is as in HTTP.
    Refused {
        /// 400 and more: what was asked for makes no sense. 500 and more: it could not be done.
        status: u16,
        /// A sentence.
        why: String,
    },
    /// The connection failed; whether the call was done is not known.
    Io(io::Error),
}

impl Connection {
    /// Connects to the process that has the directory open; none if none has it open, or if that
    /// one does not listen ([`Builder::control`](crate::Builder::control)).
    ///
    /// # Errors
    /// If the system refuses, somebody else than the directory's user listens there, or another
    /// version of the protocol is spoken.
    pub fn open(directory: impl AsRef<Path>) -> Result<Option<Self>, CallError> {
        let directory = directory.as_ref();
        let Some(stream) = super::place::connect(directory)? else {
            return Ok(None);
        };
        let owner = std::fs::metadata(directory)?.uid();
        let peer = socket_peercred(&stream).map_err(io::Error::from)?;
        if ![owner, 0].contains(&peer.uid.as_raw()) {
            let why = "somebody else than the directory's user listens on its control socket";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why).into());
        }
        let mut new = Self {
            stream,
            holder: 0,
            bytes: Vec::new(),
        };
        let hello = json!({ "tollgate": [VERSION, VERSION] });
        let hello = new.ask(HELLO, &hello.to_string())?;
        let hello: Value = serde_json::from_str(&hello).map_err(|_| nonsense())?;
        let holder = hello.get("pid").and_then(Value::as_u64);
        new.holder = holder
            .and_then(|pid| u32::try_from(pid).ok())
            .ok_or_else(nonsense)?;
        Ok(Some(new))
    }

    /// The process that has the directory open.
    pub fn holder(&self) -> u32 {
        self.holder
    }

    /// Has a call done, with these arguments, a JSON object; the answer is JSON, too.
    /// [`Admin::call`](crate::Admin::call) lists the calls.
    ///
    /// # Errors
    /// If it was refused, or the connection failed.
    pub fn call(&mut self, name: &str, with: &str) -> Result<String, CallError> {
        let name = Value::from(name);
        self.ask(CALL, &format!("{{\"call\":{name},\"with\":{with}}}"))
    }

    /// Sends a frame and waits for the next one.
    fn ask(&mut self, kind: u8, body: &str) -> Result<String, CallError> {
        if body.len() > BODY_MAX {
            let why = format!("a call of {} bytes is too long", body.len());
            return Err(CallError::Refused { status: 413, why });
        }
        let mut out = Vec::new();
        frame::write(kind, body.as_bytes(), &mut out);
        self.stream.set_write_timeout(Some(PATIENCE))?;
        if let Err(error) = self.stream.write_all(&out) {
            // Who was turned away at the door may find out why.
            return match self.receive() {
                Err(refused @ CallError::Refused { .. }) => Err(refused),
                _ => Err(error.into()),
            };
        }
        let (answered, body) = self.receive()?;
        let expected = if kind == HELLO { HELLO } else { REPLY };
        match answered == expected {
            true => Ok(body),
            false => Err(nonsense()),
        }
    }

    /// The next frame.
    fn receive(&mut self) -> Result<(u8, String), CallError> {
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = [0; 16 << 10];
        loop {
            match frame::read(&self.bytes, BODY_MAX) {
                Begun::TooLong(_) => return Err(nonsense()),
                Begun::Frame { kind, body } => {
                    let len = HEAD + body.len();
                    let body = String::from_utf8(body.into()).map_err(|_| nonsense())?;
                    self.bytes.drain(..len);
                    return match kind {
                        ERROR => Err(refused(&body)),
                        kind => Ok((kind, body)),
                    };
                }
                Begun::Part => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut bytes)? {
                0 => {
                    let why = "the process that has the directory open ended the connection";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why).into());
                }
                read => self.bytes.extend(&bytes[..read]),
            }
        }
    }
}

fn refused(body: &str) -> CallError {
    let error: Value = serde_json::from_str(body).unwrap_or_default();
    let status = error.get("status").and_then(Value::as_u64);
    let why = error.get("error").and_then(Value::as_str);
    CallError::Refused {
        status: status
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or(500),
        why: why.unwrap_or("no reason was given").into(),
    }
}

fn nonsense() -> CallError {
    let why = "what answered is not the control socket of a limiter";
    io::Error::new(io::ErrorKind::InvalidData, why).into()
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { why, .. } => f.write_str(why),
            Self::Io(error) => match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                    f.write_str("the process that has the directory open does not answer")
                }
                _ => error.fmt(f),
            },
        }
    }
}

impl std::error::Error for CallError {}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection(process {})", self.holder)
    }
}
