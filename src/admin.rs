//! Administration over whatever carries requests: JSON in, JSON out.

use std::fmt;

use serde_json::{Value, json};

use crate::control::{CallError, Refusal};
use crate::limiter::Limiter;

/// The longest body that is read.
// Bound: a policy's text has at most as much.
#[cfg(feature = "tower")]
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// Changes a limiter on behalf of an administrator. It knows no authentication: whoever can reach
/// it can do everything, so it belongs behind the service's own.
#[derive(Clone)]
pub struct Admin {
    limiter: Limiter,
    who: String,
}

/// What a request to [`Admin`] came to.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct AdminReply {
    /// An HTTP status.
    pub status: u16,
    pub(crate) body: Value,
}

impl AdminReply {
    /// What to answer, as JSON.
    pub fn json(&self) -> String {
        self.body.to_string()
    }
}

impl Admin {
    /// Administration of `limiter`.
    pub fn new(limiter: Limiter) -> Self {
        Self {
            limiter,
            who: "admin".into(),
        }
    }

    /// The same on behalf of somebody of this name, whom those who watch are told of at a change.
    pub fn on_behalf_of(mut self, who: impl Into<String>) -> Self {
        self.who = who.into();
        self
    }

    /// Has a call done, with these arguments, a JSON object: as
    /// [`control::Connection::call`](crate::control::Connection::call) does it in another process.
    ///
    /// | call | arguments | what it does |
    /// |---|---|---|
    /// | `health` | | tells how the limiter is doing |
    /// | `top` | | tells what is decided, from the first such call on |
    /// | `policy` | | tells the limits in words |
    /// | `usage` | `limit`, `key`; or a request | tells how a key stands, charging nothing |
    /// | `check` | `limit`, `key`, `cost`; or a request | makes one decision, which is charged |
    /// | `overrides` | `from` | tells what is overridden, 500 at a time |
    /// | `set_override` | `limit`, `key`, `rate` | gives a key a rate of its own |
    /// | `remove_override` | `limit`, `key` | takes it back |
    /// | `reset` | `limit`, `key` | forgets what a key has used |
    /// | `replace_policy` | `text` | puts another policy in force, until the process ends |
    /// | `preview_policy` | `text` | tells what that would change |
    /// | `reload` | | reads the file again that the policy was read from |
    ///
    /// A key is a text, a list of its values in the order of the limit's key, or an object of
    /// attributes and their values. A request is `method`, `path`, `attributes` and `addresses`
    /// (objects), and `cost`. Without `limit`, `usage` and `reset` are about every limit whose key
    /// can be this one.
    ///
    /// # Errors
    /// If it makes no sense, or cannot be done.
    pub fn call(&self, name: &str, with: &str) -> Result<String, CallError> {
        let refused = |Refusal { status, why }| CallError::Refused { status, why };
        let with = serde_json::from_str(with);
        let with = with.map_err(|error| refused(not_json(&error)))?;
        let done = self.limiter.call(&self.who, name, &with);
        done.map(|answer| answer.to_string()).map_err(refused)
    }

    /// Does what a request asks for. `path` is what follows the place where it is mounted. It may
    /// write to the disk, and waits for that.
    ///
    /// | request | body | call |
    /// |---|---|---|
    /// | `GET overrides`, `GET overrides?from=N` | | `overrides` |
    /// | `PUT overrides` | the call's arguments | `set_override` |
    /// | `DELETE overrides` | the call's arguments | `remove_override` |
    /// | `POST reset` | the call's arguments | `reset` |
    /// | `POST usage` | the call's arguments | `usage` |
    /// | `POST check` | the call's arguments | `check` |
    /// | `GET health` | | `health` |
    /// | `GET policy` | | `policy` |
    /// | `PUT policy` | the policy, TOML or JSON | `replace_policy` |
    /// | `POST policy` | the policy, TOML or JSON | `preview_policy` |
    /// | `POST reload` | | `reload` |
    ///
    /// What each call does is said at [`call`](Self::call).
    ///
    /// Whoever carries requests from browsers here must refuse those that a page of another site
    /// may have sent, as `layer::AdminService` does.
    pub fn handle(&self, method: &str, path: &str, body: &[u8]) -> AdminReply {
        match self.answer(method, path.trim_matches('/'), body) {
            Ok(body) => AdminReply { status: 200, body },
            Err(Refusal { status, why }) => AdminReply {
                status,
                body: json!({ "error": why }),
            },
        }
    }

    fn answer(&self, method: &str, path: &str, body: &[u8]) -> Result<Value, Refusal> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let nothing = || Ok(json!({}));
        let as_json = || serde_json::from_slice::<Value>(body).map_err(|error| not_json(&error));
        let as_text = || match std::str::from_utf8(body) {
            Ok(text) => Ok(json!({ "text": text })),
            Err(_) => Err(Refusal::new(400, "the body is not UTF-8")),
        };
        let (call, with) = match (method, path) {
            ("GET", "overrides") => ("overrides", from(query)),
            ("PUT", "overrides") => ("set_override", as_json()),
            ("DELETE", "overrides") => ("remove_override", as_json()),
            ("POST", "reset") => ("reset", as_json()),
            ("POST", "usage") => ("usage", as_json()),
            ("POST", "check") => ("check", as_json()),
            ("GET", "health") => ("health", nothing()),
            ("GET", "policy") => ("policy", nothing()),
            ("PUT", "policy") => ("replace_policy", as_text()),
            ("POST", "policy") => ("preview_policy", as_text()),
            ("POST", "reload") => ("reload", nothing()),
            (_, "overrides" | "reset" | "usage" | "check" | "health" | "policy" | "reload") => {
                return Err(Refusal::new(405, "not this method"));
            }
            _ => return Err(Refusal::new(404, "nothing is here")),
        };
        self.limiter.call(&self.who, call, &with?)
    }
}

fn not_json(error: &serde_json::Error) -> Refusal {
    Refusal::new(400, format!("this is not JSON: {error}"))
}

/// From which of them on: `from=500`.
fn from(query: &str) -> Result<Value, Refusal> {
    match query.strip_prefix("from=").map(str::parse::<u64>) {
        None if query.is_empty() => Ok(json!({})),
        Some(Ok(from)) => Ok(json!({ "from": from })),
        _ => Err(Refusal::new(400, "the query is from=N")),
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Admin").field(&self.limiter).finish()
    }
}
