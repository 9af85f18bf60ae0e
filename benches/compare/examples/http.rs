//! One service three times, for a load test from outside: bare, behind Tollgate's layer, and behind
//! `tower_governor`. `benches/compare/http.sh` runs it.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::net::TcpListener;
use tollgate::layer::LimitLayer;
use tollgate::{Limiter, Policy};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;

/// As many as never refuse: what is compared is the cost of asking.
const ONE_LIMIT: &str = r#"
    [limits.per-address]
    rate = "20000000/s burst 2000000000"
    key = "ip"

    [response]
    headers = ["x-ratelimit-seconds", "retry-after"]
"#;

/// What a service would really have: a route, a tier, three limits, all headers.
const THREE_LIMITS: &str = r#"
    [limits.second]
    rate = "20000000/s burst 2000000000"
    key = "ip"
    [limits.minute]
    rate = "1000000000/min"
    algorithm = "fixed window"
    key = "ip"
    [limits.day]
    rate = "1000000000/day"
    algorithm = "calendar"
    key = "ip"
    [tiers.local]
    when = { ip = "127.0.0.1" }
    [[routes]]
    route = "GET /items/{id}"
    limits = ["second", "minute", "day"]
    [response]
    headers = ["x-ratelimit-unix", "x-ratelimit-tier", "retry-after"]
"#;

fn bare() -> Router {
    Router::new().route("/items/{id}", get(|| async { "hello" }))
}

fn tollgate(policy: &str) -> Result<(Router, tempfile::TempDir), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let limiter = Limiter::open(dir.path().join("data"), Policy::from_toml(policy)?)?;
    let layer = LimitLayer::new(limiter)
        .peer(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    Ok((bare().layer(layer), dir))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = GovernorConfigBuilder::default()
        .per_nanosecond(1)
        .burst_size(1_000_000_000)
        .use_headers()
        .finish()
        .ok_or("governor refuses its configuration")?;
    let (one, _one) = tollgate(ONE_LIMIT)?;
    let (three, _three) = tollgate(THREE_LIMITS)?;
    let services = [
        ("bare", bare()),
        ("tollgate, one limit", one),
        ("tollgate, three limits", three),
        (
            "tower_governor, one limit",
            bare().layer(GovernorLayer::new(Arc::new(config))),
        ),
    ];
    let mut out = std::io::stdout();
    for (name, service) in services {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(out, "{}\t{name}", listener.local_addr()?)?;
        let service = service.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
    }
    writeln!(out, "listening")?;
    out.flush()?;
    std::future::pending().await
}
