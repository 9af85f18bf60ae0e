//! What is left of a caller's limits, endpoint by endpoint: `[ask]`. Nothing is charged.

use std::fmt;

use serde_json::{Value, json};

use crate::limiter::{Decision, Limiter};
use crate::policy::{AskSpec, Request};

/// What is asked: of which endpoints, and which values of the attributes in the policy's
/// `[ask] by`. What is not named is asked for all.
#[derive(Clone, Debug, Default)]
pub struct Question {
    endpoints: Vec<String>,
    values: Vec<(String, String)>,
}

impl Question {
    /// For everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// For this endpoint, and others named.
    pub fn endpoint(mut self, name: impl Into<String>) -> Self {
        self.endpoints.push(name.into());
        self
    }

    /// For this value of an attribute, and others named.
    pub fn of(mut self, attribute: impl Into<String>, value: impl Into<String>) -> Self {
        self.values.push((attribute.into(), value.into()));
        self
    }

    /// A fault if something is named that the policy's `[ask]` has not.
    fn check(&self, ask: &AskSpec) -> Result<(), UnknownQuestion> {
        let unknown = |name: &str, known: Vec<&str>| UnknownQuestion {
            name: name.to_owned(),
            known: known.join(", "),
        };
        for name in &self.endpoints {
            if !ask.endpoints.iter().any(|known| *known.name == **name) {
                let known = ask.endpoints.iter().map(|known| &*known.name);
                return Err(unknown(name, known.collect()));
            }
        }
        for (name, value) in &self.values {
            let Some((_, values)) = ask.by.iter().find(|(known, _)| **known == **name) else {
                let known = ask.by.iter().map(|(known, _)| &**known);
                return Err(unknown(name, known.collect()));
            };
            if !values.iter().any(|known| **known == **value) {
                return Err(unknown(
                    value,
                    values.iter().map(|known| &**known).collect(),
                ));
            }
        }
        Ok(())
    }

    fn wants_endpoint(&self, name: &str) -> bool {
        self.endpoints.is_empty() || self.endpoints.iter().any(|wanted| wanted == name)
    }

    fn wants(&self, attribute: &str, value: &str) -> bool {
        let mut wanted = self.values.iter().filter(|(name, _)| name == attribute);
        let mut any = wanted.clone();
        any.next().is_none() || wanted.any(|(_, wanted)| wanted == value)
    }
}

/// Something was asked for that the policy's `[ask]` does not have.
#[derive(Clone, PartialEq, Eq)]
pub struct UnknownQuestion {
    name: String,
    known: String,
}

impl fmt::Display for UnknownQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "nothing is called {:?} here; known: {}",
            self.name, self.known
        )
    }
}

/// As `Display` shows it: what a `main` ends with is shown so.
impl fmt::Debug for UnknownQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for UnknownQuestion {}

/// How a caller stands with the limits of one endpoint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Standing {
    /// The endpoint's name in `[ask]`.
    pub endpoint: String,
    /// The attributes of `[ask] by`, and their values.
    pub by: Vec<(String, String)>,
    /// What one more request would be told, charging nothing.
    pub decision: Decision,
}

impl Limiter {
    /// How `caller` stands with the limits of the endpoints that the policy's `[ask]` names:
    /// current limit, remaining and reset of each, filtered by `question`. Nothing is charged.
    ///
    /// # Errors
    /// If something is asked for that `[ask]` does not name.
    pub fn ask(
        &self,
        caller: &Request<'_>,
        question: &Question,
    ) -> Result<Vec<Standing>, UnknownQuestion> {
        let policy = self.policy();
        let ask = &policy.plan().ask;
        question.check(ask)?;
        let mut combinations: Vec<Vec<(&str, &str)>> = vec![Vec::new()];
        // Bound: a policy with more than `ASK_MAX` of them is refused.
        for (name, values) in &ask.by {
            let wanted = values.iter().filter(|value| question.wants(name, value));
            let wanted: Vec<_> = wanted.collect();
            combinations = combinations
                .iter()
                .flat_map(|so_far| {
                    wanted.iter().map(|value| {
                        let mut next = so_far.clone();
                        next.push((name, value));
                        next
                    })
                })
                .collect();
        }
        let mut standings = Vec::new();
        for by in &combinations {
            for endpoint in &ask.endpoints {
                if !question.wants_endpoint(&endpoint.name) {
                    continue;
                }
                let mut request = caller.elsewhere(&endpoint.method, &endpoint.path);
                for (name, value) in by {
                    request = request.attribute(name, *value);
                }
                let owned = by
                    .iter()
                    .map(|(name, value)| ((*name).into(), (*value).into()));
                standings.push(Standing {
                    endpoint: endpoint.name.to_string(),
                    by: owned.collect(),
                    decision: self.usage(&request),
                });
            }
        }
        Ok(standings)
    }
}

impl Standing {
    /// As JSON: `{"endpoint": ..., "platform": ..., "limits": [{"name": ..., "limit": ...,
    /// "used": ..., "remaining": ..., "reset": ...}]}`, resets in Unix time. Limits in shadow and
    /// unlimited ones are left out.
    pub fn to_json(&self) -> String {
        self.json().to_string()
    }

    pub(crate) fn json(&self) -> Value {
        let told = self.decision.plan().response.limit;
        let limits = self.decision.limits().filter(|limit| !limit.is_shadow());
        let shown = limits.map(|limit| (limit.name(), limit.shown(told)));
        let mut limits: Vec<_> = shown
            .filter(|(_, shown)| shown.limit < u64::MAX)
            .map(|(name, shown)| {
                json!({
                    "name": name,
                    "limit": shown.limit,
                    "used": shown.used,
                    "remaining": shown.remaining,
                    "reset": shown.reset.as_secs_ceil(),
                })
            })
            .collect();
        let others = self
            .decision
            .concurrency()
            .filter(|limit| !limit.is_shadow());
        limits.extend(others.map(|limit| {
            let (most, running) = (u64::from(limit.limit()), limit.running());
            json!({
                "name": limit.name(),
                "limit": most,
                "used": running,
                "remaining": most.saturating_sub(running),
            })
        }));
        let mut shown = json!({ "endpoint": self.endpoint });
        for (name, value) in &self.by {
            shown[name] = json!(value);
        }
        shown["limits"] = json!(limits);
        shown
    }
}
