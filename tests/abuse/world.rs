//! A service that counts what it serves, and a client that writes its requests byte by byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::any;
use socket2::{Domain, Socket, Type};
use tollgate::layer::{LimitLayer, Repeat};
use tollgate::{Limiter, ManualClock, Policy, Timestamp};

/// 2025-10-09T08:00:00Z, the beginning of an hour.
const START: Timestamp = Timestamp::from_secs(1_759_996_800);

/// What the service did.
#[derive(Default)]
struct Record {
    /// Requests that reached a handler.
    served: usize,
    /// Those of them that were marked as repeats that nobody paid for.
    free: usize,
}

/// A service that runs until this is dropped.
pub(crate) struct World {
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
    runtime: Option<tokio::runtime::Runtime>,
    _dir: tempfile::TempDir,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

async fn record(
    State(record): State<Arc<Mutex<Record>>>,
    request: Request,
    next: Next,
) -> Response {
    let repeat = request.extensions().get::<Repeat>();
    let is_free = repeat.is_some_and(|repeat| !repeat.is_charged());
    // Before the handler: a client that hangs up is served all the same.
    {
        let mut record = record.lock().unwrap();
        record.served += 1;
        record.free += usize::from(is_free);
    }
    let response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        record.lock().unwrap().served -= 1;
    }
    response
}

/// Serves every path under a policy.
pub(crate) fn serve(policy: &str) -> World {
    let routes = Router::new()
        .route("/", any(|| async {}))
        .route("/{*any}", any(|| async {}));
    serve_routes(policy, routes)
}

/// Serves these routes under a policy. What no route serves is not counted.
pub(crate) fn serve_routes(policy: &str, routes: Router) -> World {
    serve_with(policy, |_| routes)
}

/// The same for routes that need the limiter.
pub(crate) fn serve_with(policy: &str, routes: impl FnOnce(Limiter) -> Router) -> World {
    let policy = Policy::from_toml(policy).unwrap_or_else(|faults| panic!("{faults}"));
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(START);
    let builder = Limiter::builder(policy).counters(10_000);
    let limiter = builder
        .clock(clock.clone())
        .open(dir.path().join("data"))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let address = listener.local_addr().unwrap();
    let layer = LimitLayer::new(limiter.clone())
        .peer(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    let counted = Arc::new(Mutex::new(Record::default()));
    let app = routes(limiter)
        .route_layer(from_fn_with_state(counted.clone(), record))
        .layer(layer)
        .into_make_service_with_connect_info::<SocketAddr>();
    runtime.spawn(async move { axum::serve(listener, app).await });
    World {
        address,
        record: counted,
        runtime: Some(runtime),
        _dir: dir,
    }
}

/// A connection that a client may write anything to.
pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// All that comes until the other end closes.
    pub(crate) fn read(mut self) -> Answer {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        Answer {
            status: status.unwrap_or(0),
            text,
        }
    }
}

impl World {
    /// A connection from a local address: one of `127.0.0.0/8`.
    pub(crate) fn connect(&self, from: &str) -> Wire {
        let from = SocketAddr::new(from.parse().unwrap(), 0);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&self.address.into()).unwrap();
        Wire(TcpStream::from(socket))
    }

    /// Sends a request from an address: its first line, such as `GET /x`, and lines of headers.
    pub(crate) fn send_from(&self, from: &str, line: &str, headers: &[&str]) -> Answer {
        let mut wire = self.connect(from);
        let host = match headers.iter().any(|line| line.starts_with("Host:")) {
            true => "",
            false => "Host: service\r\n",
        };
        let mut head = format!("{line} HTTP/1.1\r\n{host}Connection: close\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        wire.write(head);
        wire.read()
    }

    pub(crate) fn send(&self, line: &str, headers: &[&str]) -> Answer {
        self.send_from("127.0.0.1", line, headers)
    }

    /// How many requests the service served.
    pub(crate) fn served(&self) -> usize {
        self.record.lock().unwrap().served
    }

    /// How many of them came as repeats that nobody paid for.
    pub(crate) fn free(&self) -> usize {
        self.record.lock().unwrap().free
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
