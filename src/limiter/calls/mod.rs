//! What can be asked of a running limiter by name, and what is answered: the same calls over the
//! control socket and in [`Admin::call`](crate::Admin::call), which lists them.

mod answer;
mod asked;

use serde_json::{Map, Value, json};

use super::{Limiter, figures};
use crate::control::Refusal;
use crate::error::{Error, ErrorKind};
use crate::policy::{Policy, PolicyDiff, PolicyFaults};
use answer::{Want, answer_to_limit, answer_to_request};
use asked::{Arguments, OwnedKey};

/// Overrides told at once.
// Bound: ten thousand of the longest would not fit into one answer.
const OVERRIDES_PAGE: usize = 500;
/// Calls that change something, but for policies, which tell of themselves.
const CHANGES: [&str; 3] = ["set_override", "remove_override", "reset"];

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::UnknownLimit => 404,
            ErrorKind::Invalid | ErrorKind::Policy => 422,
            _ => 500,
        };
        Self::new(status, error.to_string())
    }
}

impl From<PolicyFaults> for Refusal {
    fn from(faults: PolicyFaults) -> Self {
        Self::new(422, faults.to_string())
    }
}

impl Limiter {
    /// Does the call of this name; `who` asks for it.
    pub(crate) fn call(&self, who: &str, name: &str, with: &Value) -> Result<Value, Refusal> {
        let with = Arguments::new(with)?;
        let limit = with.text("limit").ok();
        let done = self.done(who, name, &with)?;
        if CHANGES.contains(&name) {
            self.inner.tell_of_change(who, name, limit);
        }
        Ok(done)
    }

    fn done(&self, who: &str, name: &str, with: &Arguments<'_>) -> Result<Value, Refusal> {
        match name {
            "health" => with.only(&[]).and_then(|()| self.health_as_json()),
            "top" => with.only(&[]).and_then(|()| self.top()),
            "policy" => with.only(&[]).map(|()| self.policy_as_json()),
            "usage" => self.answer(with, Want::Look),
            "check" => self.answer(with, Want::Charge),
            "overrides" => {
                with.only(&["from"])?;
                Ok(self.overrides_as_json(with.whole("from")?.unwrap_or(0)))
            }
            "set_override" => {
                with.only(&["limit", "key", "rate"])?;
                let (limit, rate) = (with.text("limit")?, with.text("rate")?);
                with.key()?
                    .named(|key| self.set_override(limit, key, rate))?;
                Ok(json!({ "set": true }))
            }
            "remove_override" => {
                with.only(&["limit", "key"])?;
                let limit = with.text("limit")?;
                let found = with.key()?.named(|key| self.remove_override(limit, key))?;
                Ok(json!({ "removed": found }))
            }
            "reset" => {
                with.only(&["limit", "key"])?;
                let limits = match with.has("limit") {
                    true => vec![with.text("limit")?.to_owned()],
                    false => self.limits_that_fit(&with.key()?)?,
                };
                for limit in &limits {
                    with.key()?.named(|key| self.reset(limit, key))?;
                }
                Ok(json!({ "reset": true, "limits": limits }))
            }
            "replace_policy" => {
                with.only(&["text"])?;
                self.put_in_force(who, with.text("text")?.parse()?)
            }
            "preview_policy" => {
                with.only(&["text"])?;
                let policy: Policy = with.text("text")?.parse()?;
                let warnings: Vec<_> = policy.warnings().map(str::to_owned).collect();
                changes(&self.preview_policy(&policy), &warnings)
            }
            "reload" => {
                with.only(&[])?;
                let policy = self.policy();
                let path = policy.path().ok_or_else(|| {
                    Refusal::new(409, "the service did not read its policy from a file")
                })?;
                self.put_in_force(who, Policy::from_path(path)?)
            }
            _ => {
                let why = format!("there is no call {name:?} in this version of the service");
                Err(Refusal::new(404, why))
            }
        }
    }

    /// Puts a policy in force on behalf of `who`, and says what is and what that changed.
    fn put_in_force(&self, who: &str, policy: Policy) -> Result<Value, Refusal> {
        let warnings: Vec<_> = policy.warnings().map(str::to_owned).collect();
        let diff = self.replace_policy(policy)?;
        self.inner.tell_of_change(who, "replace_policy", None);
        let mut answer = self.policy_as_json();
        answer["changes"] = changes(&diff, &warnings)?;
        Ok(answer)
    }

    fn answer(&self, with: &Arguments<'_>, want: Want) -> Result<Value, Refusal> {
        if want == Want::Look && with.has("key") && !with.has("limit") {
            with.only(&["key"])?;
            if let OwnedKey::InOrder(values) = with.key()? {
                return Ok(self.usage_of_all(&values));
            }
        }
        if with.has("limit") {
            with.only(&["limit", "key", "cost"])?;
            let limit = self.limit(with.text("limit")?)?;
            let key = match with.has("key") {
                true => with.key()?,
                false => OwnedKey::InOrder(Vec::new()),
            };
            let cost = with.whole("cost")?.unwrap_or(1);
            return answer_to_limit(&limit, &key, cost, want);
        }
        with.only(&["method", "path", "attributes", "addresses", "cost"])?;
        answer_to_request(self, &with.request()?.request(), want)
    }

    /// How a key stands with every limit whose key can be this one.
    pub(crate) fn usage_of_all(&self, values: &[&str]) -> Value {
        let key = OwnedKey::InOrder(values.to_vec());
        let names = self.limits_that_fit(&key).unwrap_or_default();
        let usage = names.into_iter().filter_map(|name| {
            let usage = key.named(|key| self.usage_of(&name, key)).ok()?;
            Some(json!({
                "limit": name, "used": usage.used(), "of": usage.limit(),
                "reset": usage.reset_at().as_secs_ceil(), "allowed": usage.is_allowed(),
            }))
        });
        json!({ "usage": usage.collect::<Vec<_>>() })
    }

    /// The limits whose key can be this one.
    fn limits_that_fit(&self, key: &OwnedKey<'_>) -> Result<Vec<String>, Refusal> {
        let policy = self.policy();
        let names = policy.limits().map(|(name, _)| name);
        let fits = |name: &&str| key.named(|key| self.usage_of(name, key)).is_ok();
        let names: Vec<_> = names.filter(fits).map(str::to_owned).collect();
        match names.is_empty() {
            true => Err(Refusal::new(422, "no limit has a key like this one")),
            false => Ok(names),
        }
    }

    fn health_as_json(&self) -> Result<Value, Refusal> {
        let failed = |error: serde_json::Error| Refusal::new(500, error.to_string());
        serde_json::to_value(self.health()).map_err(failed)
    }

    /// What is counted from the first such call on, and until five seconds after the last.
    fn top(&self) -> Result<Value, Refusal> {
        let mut top = figures(self, &self.inner.live.look());
        top["health"] = self.health_as_json()?;
        Ok(top)
    }

    fn policy_as_json(&self) -> Value {
        let policy = self.policy();
        let limits = policy.limits().chain(policy.concurrency());
        let limits: Map<_, _> = limits
            .map(|(name, words)| (name.to_owned(), words.into()))
            .collect();
        json!({ "limits": limits })
    }

    fn overrides_as_json(&self, from: u64) -> Value {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let all = self.overrides();
        let told = all.iter().skip(from).take(OVERRIDES_PAGE).map(|one| {
            let key = one.key.iter();
            let key: Map<_, _> = key
                .map(|(name, value)| (name.clone(), value.as_str().into()))
                .collect();
            json!({ "limit": one.limit, "key": key, "rate": one.rate })
        });
        let mut answer = json!({ "overrides": told.collect::<Vec<_>>() });
        let next = from.saturating_add(OVERRIDES_PAGE);
        if next < all.len() {
            answer["next"] = next.into();
        }
        answer
    }
}

/// What a change of policy changes, as JSON and in words.
fn changes(diff: &PolicyDiff, warnings: &[String]) -> Result<Value, Refusal> {
    let failed = |error: serde_json::Error| Refusal::new(500, error.to_string());
    let mut changes = serde_json::to_value(diff).map_err(failed)?;
    changes["warnings"] = warnings.into();
    changes["text"] = diff.to_string().into();
    Ok(changes)
}
