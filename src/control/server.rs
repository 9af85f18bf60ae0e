//! The listening side: a thread that waits for connections, and one for each of the few there are.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::socket_peercred;
use serde_json::Value;

use super::place::Place;
use super::session::{Next, Refusal, Session, refuse};
use crate::directory::{DirectoryError, me};
use crate::sync::{lock, spawn};

/// Connections at a time.
// Bound: the one that was silent longest makes room for the next.
const CONNECTIONS_MAX: usize = 16;
/// How long a frame may take from its first byte to its last, either way.
const FRAME_TIME: Duration = Duration::from_secs(2);
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// How long to wait when the system has no descriptor or thread left for a connection.
const RESPITE: Duration = Duration::from_millis(50);

/// Who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    pub(crate) user: u32,
    pub(crate) process: i32,
}

type Serve = dyn Fn(Caller, &str, &Value) -> Result<Value, Refusal> + Send + Sync;

/// Listens until it is stopped.
pub(crate) struct Server {
    place: Place,
    /// Whatever is written here ends the thread.
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
    /// The process that started it: in one that was forked from that, the socket is another's.
    process: u32,
    connections: Arc<Connections>,
}

/// A connection as others see it.
struct Seat {
    stream: UnixStream,
    /// Since when it has asked for nothing; none while a call is being done.
    silent_since: Option<Instant>,
}

struct Connections {
    serve: Box<Serve>,
    seats: Mutex<HashMap<u64, Seat>>,
}

impl Server {
    /// Listens in the directory, whose lock the caller has. `serve` does what calls ask for; it is
    /// called on other threads, of several connections at once.
    ///
    /// # Errors
    /// If there can be no socket, or no thread.
    pub(crate) fn start(
        directory: &Path,
        serve: impl Fn(Caller, &str, &Value) -> Result<Value, Refusal> + Send + Sync + 'static,
    ) -> Result<Self, DirectoryError> {
        let (listener, place) = Place::listen(directory)?;
        let connections = Arc::new(Connections {
            serve: Box::new(serve),
            seats: Mutex::default(),
        });
        let shared = connections.clone();
        let start = || {
            let (stop, stopped) = UnixStream::pair()?;
            listener.set_nonblocking(true)?;
            let listen = move || listen(&listener, &stopped, &shared);
            Ok((stop, spawn("tollgate-control", listen)?))
        };
        match start() {
            Ok((stop, thread)) => Ok(Self {
                place,
                stop,
                thread: Some(thread),
                process: std::process::id(),
                connections,
            }),
            Err(error) => {
                place.remove();
                Err(DirectoryError::io("listen on", &place.socket)(error))
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.place.socket
    }

    /// How many are connected.
    #[cfg(test)]
    pub(super) fn connected(&self) -> usize {
        lock(&self.connections.seats).len()
    }

    /// Removes the socket and leaves whoever is connected; a call that is under way ends by itself.
    pub(crate) fn stop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        if self.process != std::process::id() {
            return;
        }
        self.place.remove();
        let _ = self.stop.write_all(b"!");
        // No call is done on that thread, so it can be waited for wherever this is.
        let _ = thread.join();
        for seat in lock(&self.connections.seats).values() {
            let _ = seat.stream.shutdown(Shutdown::Both);
        }
    }
}

/// Waits for connections until something can be read from `stopped`.
fn listen(listener: &UnixListener, stopped: &UnixStream, connections: &Arc<Connections>) {
    for number in 0.. {
        let mut waiting = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        match poll(&mut waiting, None) {
            Err(rustix::io::Errno::INTR) => continue,
            // Nothing that can be waited for is left.
            Err(_) => return,
            Ok(_) if !waiting[1].revents().is_empty() => return,
            Ok(_) => {}
        }
        match listener.accept() {
            Ok((stream, _)) => {
                // If no thread can be started the connection is closed, and the client sees that.
                let _ = connections.welcome(number, stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => std::thread::sleep(RESPITE),
        }
    }
}

impl Connections {
    /// Starts to talk with whoever has connected.
    fn welcome(self: &Arc<Self>, number: u64, mut stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(FRAME_TIME))?;
        let peer = socket_peercred(&stream)?;
        let caller = Caller {
            user: peer.uid.as_raw(),
            process: peer.pid.as_raw_nonzero().get(),
        };
        if ![me(), 0].contains(&caller.user) {
            let why = format!("user {} may not ask here; user {} may", caller.user, me());
            return farewell(&mut stream, &Refusal::new(403, why));
        }
        if !self.make_room() {
            let why = "too many others are connected, and all wait for calls to be done";
            return farewell(&mut stream, &Refusal::new(503, why));
        }
        let seat = Seat {
            stream: stream.try_clone()?,
            silent_since: Some(Instant::now()),
        };
        lock(&self.seats).insert(number, seat);
        let own = self.clone();
        let talk = move || {
            let seat = Seated { own, number };
            // Whatever fails ends this connection, and nobody else is to know.
            let _ = seat.talk(&mut stream, caller);
        };
        spawn("tollgate-control", talk).map(drop).inspect_err(|_| {
            lock(&self.seats).remove(&number);
        })
    }

    /// Leaves the one that was silent longest, if there are too many; false if none is silent.
    fn make_room(&self) -> bool {
        let mut seats = lock(&self.seats);
        if seats.len() < CONNECTIONS_MAX {
            return true;
        }
        let silent = |(number, seat): (&u64, &Seat)| Some((seat.silent_since?, *number));
        let Some((_, number)) = seats.iter().filter_map(silent).min() else {
            return false;
        };
        if let Some(seat) = seats.remove(&number) {
            let _ = seat.stream.shutdown(Shutdown::Both);
        }
        true
    }
}

/// Says why, and leaves.
fn farewell(stream: &mut UnixStream, refusal: &Refusal) -> io::Result<()> {
    // A client that does not read is not waited for.
    stream.set_nonblocking(true)?;
    let mut out = Vec::new();
    refuse(refusal, &mut out);
    stream.write_all(&out)
}

/// A connection's place among the few; given up however its thread ends.
struct Seated {
    own: Arc<Connections>,
    number: u64,
}

impl Drop for Seated {
    fn drop(&mut self) {
        lock(&self.own.seats).remove(&self.number);
    }
}

impl Seated {
    fn silent(&self, since: Option<Instant>) {
        if let Some(seat) = lock(&self.own.seats).get_mut(&self.number) {
            seat.silent_since = since;
        }
    }

    fn talk(&self, stream: &mut UnixStream, caller: Caller) -> io::Result<()> {
        let mut session = Session::default();
        let mut bytes = [0; 16 << 10];
        let mut out = Vec::new();
        let mut deadline = Instant::now() + FRAME_TIME;
        loop {
            stream.set_read_timeout(Some(left(deadline)?))?;
            let read = stream.read(&mut bytes)?;
            if read == 0 {
                return Ok(());
            }
            let was_within = session.is_within();
            let mut serve = |name: &str, with: &Value| {
                self.silent(None);
                let done = (self.own.serve)(caller, name, with);
                self.silent(Some(Instant::now()));
                done
            };
            let next = session.feed(&bytes[..read], &mut serve, &mut out);
            let has_answered = !out.is_empty();
            send(stream, &out)?;
            out.clear();
            match (next, session.is_within()) {
                (Next::End, _) => return Ok(()),
                (Next::More, false) => deadline = Instant::now() + SILENCE,
                // Each frame has its time, and a byte now and then does not make it longer.
                (Next::More, true) if has_answered || !was_within => {
                    deadline = Instant::now() + FRAME_TIME;
                }
                (Next::More, true) => {}
            }
        }
    }
}

/// What is left until then.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

/// Writes all of it, within the time that a frame may take.
fn send(stream: &mut UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + FRAME_TIME;
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        let written = stream.write(bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.place.socket.display())
    }
}

/// Stops it if that was forgotten.
impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
