//! What a call was given: read within bounds, and nothing passed over.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::super::OverrideKey;
use crate::control::Refusal;
use crate::error::Error;
use crate::policy::Request;

fn bad(why: impl Into<String>) -> Refusal {
    Refusal::new(400, why)
}

/// The arguments of a call.
pub(super) struct Arguments<'a>(&'a Map<String, Value>);

impl<'a> Arguments<'a> {
    pub(super) fn new(with: &'a Value) -> Result<Self, Refusal> {
        let map = with
            .as_object()
            .ok_or_else(|| bad("an object belongs here"))?;
        Ok(Self(map))
    }

    /// # Errors
    /// If there is anything else than these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(bad(format!("nothing is called {name:?} here"))),
            None => Ok(()),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, Refusal> {
        let value = self.0.get(name).and_then(Value::as_str);
        value.ok_or_else(|| bad(format!("{name} must be a text")))
    }

    pub(super) fn whole(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let whole = value.as_u64();
        let whole = whole.ok_or_else(|| bad(format!("{name} must be a whole number")))?;
        Ok(Some(whole))
    }

    pub(super) fn key(&self) -> Result<OwnedKey<'a>, Refusal> {
        let wrong = || {
            bad(
                "key must be {\"attribute\": \"value\"}, or [\"value\"] in the order of the \
                 limit's key",
            )
        };
        match self.0.get("key") {
            Some(Value::String(one)) => Ok(OwnedKey::InOrder(vec![one])),
            Some(Value::Array(values)) => {
                let values = values.iter().map(|value| value.as_str().ok_or_else(wrong));
                Ok(OwnedKey::InOrder(values.collect::<Result<_, _>>()?))
            }
            Some(Value::Object(pairs)) => Ok(OwnedKey::Named(texts(pairs).ok_or_else(wrong)?)),
            _ => Err(wrong()),
        }
    }

    pub(super) fn request(&self) -> Result<OwnedRequest<'a>, Refusal> {
        let map = |name: &str| match self.0.get(name) {
            None => Ok(Vec::new()),
            Some(value) => {
                let pairs = value.as_object().and_then(texts);
                pairs.ok_or_else(|| bad(format!("{name} must be {{\"name\": \"value\"}}")))
            }
        };
        let addresses = map("addresses")?.into_iter().map(|(name, value)| {
            let address = value.parse::<IpAddr>();
            let address = address.map_err(|_| bad(format!("{value:?} is no IP address")))?;
            Ok((name, address))
        });
        let text = |name: &str| self.has(name).then(|| self.text(name)).transpose();
        Ok(OwnedRequest {
            method: text("method")?,
            path: text("path")?,
            attributes: map("attributes")?,
            addresses: addresses.collect::<Result<_, Refusal>>()?,
            cost: self.whole("cost")?,
        })
    }
}

fn texts(pairs: &Map<String, Value>) -> Option<Vec<(&str, &str)>> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| Some((name.as_str(), value.as_str()?)))
        .collect()
}

/// A key as it was given.
pub(super) enum OwnedKey<'a> {
    InOrder(Vec<&'a str>),
    Named(Vec<(&'a str, &'a str)>),
}

impl OwnedKey<'_> {
    /// Does something about the key.
    pub(super) fn named<T>(
        &self,
        act: impl FnOnce(OverrideKey<'_>) -> Result<T, Error>,
    ) -> Result<T, Refusal> {
        Ok(match self {
            Self::InOrder(values) => act(values.as_slice().into())?,
            Self::Named(values) => act(values.as_slice().into())?,
        })
    }
}

/// A request as it was given.
pub(super) struct OwnedRequest<'a> {
    method: Option<&'a str>,
    path: Option<&'a str>,
    attributes: Vec<(&'a str, &'a str)>,
    addresses: Vec<(&'a str, IpAddr)>,
    cost: Option<u64>,
}

impl<'a> OwnedRequest<'a> {
    pub(super) fn request(&self) -> Request<'_> {
        let mut request = match self.path {
            Some(path) => Request::http(self.method.unwrap_or("GET"), path),
            None => Request::new(),
        };
        for (name, text) in &self.attributes {
            request = request.attribute(name, text);
        }
        for (name, address) in &self.addresses {
            request = request.address(name, *address);
        }
        match self.cost {
            Some(cost) => request.cost(cost),
            None => request,
        }
    }
}
