//! A service that is deployed anew without a gap and without a second quota: the next process is
//! started beside the one that serves, waits for its directory, and goes on where that one ends.
//!
//! Both take their connections from one socket that they were given, as systemd gives it
//! (`LISTEN_FDS`): who comes while neither serves waits in its queue, and nobody is turned away.
//!
//! ```sh
//! systemd-socket-activate -l 3000 cargo run --features tower --example deploy -- DATA POLICY.toml
//! ```

mod drain;

use std::error::Error;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::get;
use listenfd::ListenFd;
use tokio::signal::unix::{SignalKind, signal};
use tollgate::layer::LimitLayer;
use tollgate::{Limiter, Policy, WhenHeld};

/// How long the process before may take to end: as long as the supervisor waits before it kills it.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long to wait for requests of those who are connected.
const DRAIN: Duration = Duration::from_secs(1);

fn open(data: &Path, policy: &Path) -> Result<Limiter, tollgate::Error> {
    Limiter::builder(Policy::from_path(policy)?)
        .when_held(WhenHeld::Wait(PATIENCE))
        .open(data)
}

/// The socket that was given, or one of its own.
fn listener() -> std::io::Result<TcpListener> {
    let listener = match ListenFd::from_env().take_tcp_listener(0)? {
        Some(given) => given,
        None => TcpListener::bind("127.0.0.1:3000")?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    out.flush()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(data), Some(policy)) = (paths.next(), paths.next()) else {
        return Err("deploy DATA POLICY.toml".into());
    };
    let listener = listener()?;
    say("waiting")?;
    // Nothing is accepted before the counts are this process's.
    let limiter = tokio::task::spawn_blocking(move || open(&data, &policy)).await??;
    let mut terminate = signal(SignalKind::terminate())?;
    let process = std::process::id().to_string();
    let service = Router::new()
        .route("/", get(move || async move { process }))
        .layer(LimitLayer::new(limiter.clone()))
        .layer(from_fn(drain::answered))
        .into_make_service_with_connect_info::<drain::Unanswered>();
    let (door, handle) = drain::Door::new(tokio::net::TcpListener::from_std(listener)?);
    say("serving")?;
    // On SIGTERM nothing more is accepted, and what was is answered.
    axum::serve(door, service)
        .with_graceful_shutdown(async move {
            terminate.recv().await;
            // Who connects and says nothing holds nobody up.
            let _ = tokio::time::timeout(DRAIN, handle.shut()).await;
        })
        .await?;
    // The next process has the directory from here on.
    limiter.close()?;
    Ok(())
}
