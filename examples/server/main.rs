//! Serves one of the five example systems, with handlers that do nothing but answer:
//!
//! ```sh
//! cargo run --features tower --example server -- skakio --listen 127.0.0.1:3000
//! ```
//!
//! Try it with `curl -i -H 'X-Api-Key: pk_test' http://127.0.0.1:3000/api/listing/1`. With
//! `--features tower,dashboard` and `--admin 'Basic YWRtaW46c2VjcmV0'` a browser is shown
//! `http://127.0.0.1:3000/admin/dashboard` for `admin` and `secret`.

mod app;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tollgate::{Limiter, Policy};

/// What the command line says.
struct Args {
    system: String,
    listen: String,
    data: PathBuf,
    /// The token of administrators.
    admin: Option<String>,
}

const USAGE: &str = "server NAME|POLICY.toml [--listen ADDRESS] [--data DIRECTORY] [--admin TOKEN]";

fn args() -> Result<Args, String> {
    let mut words = std::env::args().skip(1);
    let mut args = Args {
        system: words.next().ok_or(USAGE)?,
        listen: "127.0.0.1:3000".to_owned(),
        data: PathBuf::from("target/server"),
        admin: None,
    };
    while let Some(word) = words.next() {
        let value = words
            .next()
            .ok_or(format!("{word} needs a value: {USAGE}"))?;
        match word.as_str() {
            "--listen" => args.listen = value,
            "--data" => args.data = value.into(),
            "--admin" => args.admin = Some(value),
            _ => return Err(format!("{word} is unknown: {USAGE}")),
        }
    }
    Ok(args)
}

/// Ends when the process is asked to.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = args()?;
    let policy = Policy::from_path(app::policy_path(&args.system))?;
    let page = app::Page::default();
    let builder = page.watch(Limiter::builder(policy).counters(10_000));
    let limiter = builder.open(&args.data)?;
    let listener = tokio::net::TcpListener::bind(&args.listen).await?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}", listener.local_addr()?)?;
    out.flush()?;
    let service = app::service(&args.system, limiter.clone(), page, args.admin.as_deref());
    // Requests under way are answered before it ends.
    axum::serve(listener, service)
        .with_graceful_shutdown(stopped()?)
        .await?;
    limiter.close()?;
    Ok(())
}
