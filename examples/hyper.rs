//! Plain hyper behind the layer, with no framework: `cargo run --features tower --example hyper`.

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tollgate::layer::{LimitLayer, Peer};
use tollgate::{Limiter, Policy};
use tower::ServiceBuilder;
use tower::service_fn;

const POLICY: &str = r#"
    [limits.per-address]
    rate = "5/s burst 10"
    key = "ip"

    [response]
    headers = ["x-ratelimit-seconds", "retry-after"]
"#;

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello\n"))))
}

/// Serves every connection that comes, under one limiter.
///
/// # Errors
/// If the system takes no more connections.
pub(crate) async fn serve(listener: TcpListener, limiter: Limiter) -> io::Result<()> {
    let layer = LimitLayer::new(limiter);
    loop {
        let (stream, peer): (_, SocketAddr) = listener.accept().await?;
        let service = ServiceBuilder::new()
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer.ip()));
                request
            })
            .layer(layer.clone())
            .service(service_fn(hello));
        let service = TowerToHyperService::new(service);
        tokio::spawn(async move {
            let io = TokioIo::new(stream);
            if let Err(error) = http1::Builder::new().serve_connection(io, service).await {
                // A client that went away is nothing to end the server for.
                let _ = writeln!(io::stderr(), "{peer}: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let limiter = Limiter::open("target/hyper", Policy::from_toml(POLICY)?)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    serve(listener, limiter).await?;
    Ok(())
}
