//! A gRPC service behind the layer, by tonic: `cargo run --features tower --example grpc`.
//!
//! What is served is gRPC's own health check. Try it with
//! `grpcurl -plaintext -proto health.proto 127.0.0.1:3000 grpc.health.v1.Health/Check`.

use std::error::Error;
use std::io::{self, Write};

use tokio::net::TcpListener;
use tollgate::layer::LimitLayer;
use tollgate::{Limiter, Policy};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::{TcpConnectInfo, TcpIncoming};

// A call is a POST to its method's full name; its metadata are headers.
const POLICY: &str = r#"
    [limits.checks]
    rate = "5/s burst 10"
    key = "api_key | ip"

    [limits.watching]
    max_concurrent = 2
    key = "api_key | ip"

    [[routes]]
    route = "POST /grpc.health.v1.Health/Check"
    limits = ["checks"]

    # Each holds its permit until its stream has ended.
    [[routes]]
    route = "POST /grpc.health.v1.Health/Watch"
    limits = ["watching"]

    [request.attributes]
    api_key = "header x-api-key"

    [response]
    headers = ["x-ratelimit-seconds", "retry-after"]
"#;

/// Serves `routes` to every connection that comes, under one limiter.
///
/// # Errors
/// If the system takes no more connections.
pub(crate) async fn serve(
    listener: TcpListener,
    limiter: Limiter,
    routes: Routes,
) -> Result<(), tonic::transport::Error> {
    let layer = LimitLayer::new(limiter)
        .peer(|extensions| Some(extensions.get::<TcpConnectInfo>()?.remote_addr()?.ip()));
    Server::builder()
        .layer(layer)
        .add_routes(routes)
        .serve_with_incoming(TcpIncoming::from(listener))
        .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let limiter = Limiter::open("target/grpc", Policy::from_toml(POLICY)?)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    let (_reporter, health) = tonic_health::server::health_reporter();
    serve(listener, limiter, Routes::new(health)).await?;
    Ok(())
}
