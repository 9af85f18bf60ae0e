//! The control socket of a limiter: whether it listens, and what is done there.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use serde_json::Value;

use super::{Inner, Limiter};
use crate::control::{Caller, Refusal, Server};

/// The control socket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ControlSocket {
    /// Where it is listened on; none if it is not.
    pub path: Option<PathBuf>,
    /// Why it is not, unless nobody wanted it to be.
    pub trouble: Option<String>,
}

/// The listener, if there is one.
#[derive(Debug, Default)]
pub(super) struct Control {
    server: Option<Server>,
    trouble: Option<String>,
}

impl Control {
    /// Listens in the directory of a limiter that was opened. A limiter without a socket is one all
    /// the same, so what goes wrong is only told.
    pub(super) fn start(directory: &Path, inner: &Arc<Inner>) -> Self {
        let inner = Arc::downgrade(inner);
        let serve = move |caller, name: &str, with: &Value| serve(&inner, caller, name, with);
        match Server::start(directory, serve) {
            Ok(server) => Self {
                server: Some(server),
                trouble: None,
            },
            Err(error) => Self {
                server: None,
                trouble: Some(error.to_string()),
            },
        }
    }

    pub(super) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.stop();
        }
    }

    pub(super) fn health(&self) -> ControlSocket {
        ControlSocket {
            path: self.server.as_ref().map(|server| server.path().to_owned()),
            trouble: self.trouble.clone(),
        }
    }
}

fn serve(inner: &Weak<Inner>, caller: Caller, name: &str, with: &Value) -> Result<Value, Refusal> {
    let Some(inner) = inner.upgrade() else {
        return Err(Refusal::new(503, "the service is closing its limiter"));
    };
    let who = format!("uid {}, process {}", caller.user, caller.process);
    Limiter { inner }.call(&who, name, with)
}
