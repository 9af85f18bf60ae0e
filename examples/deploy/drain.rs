//! Connections that end well: none is accepted any more, and each that was has its first answer.
//!
//! A server that is only told to shut down closes what it has just accepted without reading the
//! request, and its sender sees an error.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// A socket that is accepted from until the door is shut.
pub(crate) struct Door {
    listener: TcpListener,
    shut: watch::Receiver<bool>,
    /// Dropped when it is shut, and by each connection that has had its answer.
    unanswered: Option<mpsc::Sender<()>>,
}

/// Shuts a [`Door`].
pub(crate) struct Handle {
    shut: watch::Sender<bool>,
    unanswered: mpsc::Receiver<()>,
}

/// Of a connection: held until it has had its first answer, or is gone.
#[derive(Clone, Debug)]
pub(crate) struct Unanswered(Arc<Mutex<Option<mpsc::Sender<()>>>>);

impl Door {
    pub(crate) fn new(listener: TcpListener) -> (Self, Handle) {
        let (shut, seen) = watch::channel(false);
        let (held, unanswered) = mpsc::channel(1);
        let door = Self {
            listener,
            shut: seen,
            unanswered: Some(held),
        };
        (door, Handle { shut, unanswered })
    }
}

impl Handle {
    /// Shuts the door, and waits until everybody who came in has had an answer.
    pub(crate) async fn shut(mut self) {
        let _ = self.shut.send(true);
        // Nobody sends anything: it ends with the last who could.
        let _ = self.unanswered.recv().await;
    }
}

impl Listener for Door {
    type Io = TcpStream;
    type Addr = Unanswered;

    async fn accept(&mut self) -> (TcpStream, Unanswered) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => Some(accepted),
                _ = self.shut.wait_for(|shut| *shut) => None,
            };
            let Some(accepted) = accepted else {
                self.unanswered = None;
                return std::future::pending().await;
            };
            match accepted {
                Ok((stream, _)) => {
                    return (
                        stream,
                        Unanswered(Arc::new(Mutex::new(self.unanswered.clone()))),
                    );
                }
                // Another process took it, or the system has no descriptor left.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Unanswered> {
        Ok(Unanswered(Arc::default()))
    }
}

impl Connected<IncomingStream<'_, Door>> for Unanswered {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Remembers that a connection has its first answer.
pub(crate) async fn answered(
    ConnectInfo(Unanswered(held)): ConnectInfo<Unanswered>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    held.lock().unwrap_or_else(PoisonError::into_inner).take();
    response
}
