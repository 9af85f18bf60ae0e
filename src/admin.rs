//! Administration over whatever carries requests: overrides, resets, the policy. JSON in, JSON out.
//!
//! ```text
//! GET    overrides                                    what is overridden
//! PUT    overrides   {"limit", "key": {...}, "rate"}   set one
//! DELETE overrides   {"limit", "key": {...}}           take one back
//! POST   reset       {"limit", "key": {...}}           forget what a key has used
//! GET    policy                                       the limits in words
//! PUT    policy      TOML, or JSON                     put another in force, until it ends
//! POST   reload                                       read the policy's file again
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind};
use crate::limiter::Limiter;
use crate::policy::{Policy, PolicyFaults};

/// The longest body that is read.
// Bound: a policy's text has at most as much.
#[cfg(feature = "tower")]
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// Changes a limiter on behalf of an administrator. It knows no authentication: whoever can reach
/// it can do everything, so it belongs behind the service's own.
#[derive(Clone)]
pub struct Admin {
    limiter: Limiter,
    policy_file: Option<PathBuf>,
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

/// Why a request cannot be done: its status, and a sentence.
struct Refused(u16, String);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::UnknownLimit => 404,
            ErrorKind::Invalid | ErrorKind::Policy => 422,
            _ => 500,
        };
        Self(status, error.to_string())
    }
}

impl From<PolicyFaults> for Refused {
    fn from(faults: PolicyFaults) -> Self {
        Self(422, faults.to_string())
    }
}

impl Admin {
    /// Administration of `limiter`.
    pub fn new(limiter: Limiter) -> Self {
        Self {
            limiter,
            policy_file: None,
        }
    }

    /// The same, reading the policy from this file when it is told to reload.
    pub fn policy_file(mut self, path: impl AsRef<Path>) -> Self {
        self.policy_file = Some(path.as_ref().to_owned());
        self
    }

    /// Does what a request asks for; see the source's head for what there is. `path` is what
    /// follows the place where it is mounted. It may write to the disk, and waits for that.
    ///
    /// Whoever carries requests from browsers here must refuse those that a page of another site
    /// may have sent, as `layer::AdminService` does.
    pub fn handle(&self, method: &str, path: &str, body: &[u8]) -> AdminReply {
        let done = match (method, path.trim_matches('/')) {
            ("GET", "overrides") => Ok(self.overrides()),
            ("PUT", "overrides") => self.set_override(body),
            ("DELETE", "overrides") => self.remove_override(body),
            ("POST", "reset") => self.reset(body),
            ("GET", "policy") => Ok(self.policy()),
            ("PUT", "policy") => self.replace_policy(body),
            ("POST", "reload") => self.reload(),
            (_, "overrides" | "reset" | "policy" | "reload") => {
                Err(Refused(405, "not this method".into()))
            }
            _ => Err(Refused(404, "nothing is here".into())),
        };
        match done {
            Ok(body) => AdminReply { status: 200, body },
            Err(Refused(status, why)) => AdminReply {
                status,
                body: json!({ "error": why }),
            },
        }
    }

    fn overrides(&self) -> Value {
        let overrides = self.limiter.overrides().into_iter().map(|one| {
            let key: serde_json::Map<_, _> = one
                .key
                .into_iter()
                .map(|(name, value)| (name, value.into()))
                .collect();
            json!({ "limit": one.limit, "key": key, "rate": one.rate })
        });
        json!({ "overrides": overrides.collect::<Vec<_>>() })
    }

    fn set_override(&self, body: &[u8]) -> Result<Value, Refused> {
        let asked = Asked::read(body)?;
        let rate = asked.text("rate")?;
        let key = asked.key()?;
        self.limiter
            .set_override(asked.text("limit")?, key.as_slice(), rate)?;
        Ok(json!({ "set": true }))
    }

    fn remove_override(&self, body: &[u8]) -> Result<Value, Refused> {
        let asked = Asked::read(body)?;
        let key = asked.key()?;
        let limit = asked.text("limit")?;
        let found = self.limiter.remove_override(limit, key.as_slice())?;
        Ok(json!({ "removed": found }))
    }

    fn reset(&self, body: &[u8]) -> Result<Value, Refused> {
        let asked = Asked::read(body)?;
        let key = asked.key()?;
        self.limiter.reset(asked.text("limit")?, key.as_slice())?;
        Ok(json!({ "reset": true }))
    }

    fn policy(&self) -> Value {
        let policy = self.limiter.policy();
        let limits = policy.limits().chain(policy.concurrency());
        let limits: serde_json::Map<_, _> = limits
            .map(|(name, words)| (name.to_owned(), words.into()))
            .collect();
        json!({ "limits": limits })
    }

    fn replace_policy(&self, body: &[u8]) -> Result<Value, Refused> {
        let text = std::str::from_utf8(body);
        let text = text.map_err(|_| Refused(400, "the body is not UTF-8".into()))?;
        self.limiter.replace_policy(text.parse()?)?;
        Ok(self.policy())
    }

    fn reload(&self) -> Result<Value, Refused> {
        let path = self.policy_file.as_ref();
        let path =
            path.ok_or_else(|| Refused(409, "the policy was not read from a file".into()))?;
        self.limiter.replace_policy(Policy::from_path(path)?)?;
        Ok(self.policy())
    }
}

/// A request's body.
struct Asked(Value);

impl Asked {
    fn read(body: &[u8]) -> Result<Self, Refused> {
        let value = serde_json::from_slice::<Value>(body);
        let value = value.map_err(|error| Refused(400, format!("this is not JSON: {error}")))?;
        let known = ["limit", "key", "rate"];
        let fields = value.as_object();
        let fields = fields.ok_or_else(|| Refused(400, "an object belongs here".into()))?;
        if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Refused(400, format!("nothing is called {name:?} here")));
        }
        Ok(Self(value))
    }

    fn text(&self, name: &str) -> Result<&str, Refused> {
        let value = self.0.get(name).and_then(Value::as_str);
        value.ok_or_else(|| Refused(400, format!("{name} must be a text")))
    }

    /// Names of attributes, and their values.
    fn key(&self) -> Result<Vec<(&str, &str)>, Refused> {
        let wrong = || Refused(400, "key must be {\"attribute\": \"value\"}".into());
        let key = self.0.get("key").and_then(Value::as_object);
        let pairs = key.ok_or_else(wrong)?.iter();
        pairs
            .map(|(name, value)| Ok((name.as_str(), value.as_str().ok_or_else(wrong)?)))
            .collect()
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Admin").field(&self.limiter).finish()
    }
}
