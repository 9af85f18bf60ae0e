//! A case's limits as a policy of Tollgate.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;
use tollgate::{Policy, PolicyFaults};

/// The limits of a case as a policy, and the attributes that its requests bring.
pub(crate) struct CasePolicy {
    text: String,
    /// True if limits apply to some methods only.
    pub(crate) has_routes: bool,
}

impl CasePolicy {
    /// The policy of `limits`; an error names what Tollgate has no word for.
    pub(crate) fn new(limits: &Value) -> Result<Self, String> {
        let limits = limits.as_object().unwrap();
        let mut made = Self {
            text: String::new(),
            has_routes: false,
        };
        let mut zones = BTreeSet::new();
        for (name, limit) in limits {
            if let Some(zone) = limit["zone"].as_str()
                && !zones.insert(zone)
            {
                return Err(format!("limits share the counter {zone}"));
            }
            made.limit(name, limit);
        }
        if limits.is_empty() {
            // A policy has a limit; this one is met by no request of the case.
            made.text.push_str("[limits.elsewhere]\nrate = \"deny\"\n");
            made.route("TRACE", "elsewhere");
        }
        for (name, limit) in limits {
            if let Some(condition) = limit["condition"].as_str() {
                let method = condition.strip_prefix("req_method == '").unwrap();
                made.route(method.strip_suffix('\'').unwrap(), name);
            }
        }
        Ok(made)
    }

    pub(crate) fn policy(&self) -> Result<Policy, PolicyFaults> {
        Policy::from_toml(&self.text)
    }

    fn limit(&mut self, name: &str, limit: &Value) {
        let number = |field: &str| limit[field].as_u64().unwrap();
        let (rate, algorithm) = match limit["kind"].as_str().unwrap() {
            "gcra" => {
                let (tokens, period_ms) = (number("tokens"), number("period_ms"));
                let burst = number("capacity");
                (format!("{tokens} per {period_ms} ms burst {burst}"), None)
            }
            "leaky_meter" => {
                // Excess may reach the burst, and the request itself comes on top.
                let (tokens, period_ms) = (number("tokens"), number("period_ms"));
                let burst = number("burst") + 1;
                (format!("{tokens} per {period_ms} ms burst {burst}"), None)
            }
            "rate" => (format!("{} burst 1", limit["text"].as_str().unwrap()), None),
            "fixed_window" if number("limit") == 0 => ("deny".to_owned(), None),
            "fixed_window" => {
                let algorithm = match limit["anchor"].as_str().unwrap() {
                    "epoch" => "fixed window",
                    "first_hit" => "fixed window from first hit",
                    anchor => panic!("{name} is anchored at {anchor}"),
                };
                let rate = format!("{} per {} ms", number("limit"), number("window_ms"));
                (rate, Some(algorithm))
            }
            kind => panic!("{name} is a {kind}"),
        };
        let vars = limit["key_vars"].as_array().map(|vars| {
            let vars = vars.iter().map(|var| var.as_str().unwrap());
            vars.collect::<Vec<_>>().join(" + ")
        });
        // In a case of several zones, one whose key is empty does not count.
        let key = vars.unwrap_or_else(|| format!("key | {name}"));
        let out = &mut self.text;
        writeln!(out, "[limits.{name}]\nrate = \"{rate}\"\nkey = \"{key}\"").unwrap();
        writeln!(out, "when_key_missing = \"skip\"").unwrap();
        if let Some(algorithm) = algorithm {
            writeln!(out, "algorithm = \"{algorithm}\"").unwrap();
        }
        if limit["shadow"] == true || limit["dry_run"] == true {
            writeln!(out, "shadow = true").unwrap();
        }
    }

    fn route(&mut self, method: &str, limit: &str) {
        self.has_routes = true;
        let out = &mut self.text;
        writeln!(
            out,
            "[[routes]]\nroute = \"{method} /\"\nlimits = [\"{limit}\"]"
        )
        .unwrap();
    }
}
