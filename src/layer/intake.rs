//! From an HTTP request to the attributes that the policy asks for: `[request]`.

use std::borrow::Cow;
use std::net::IpAddr;

use http::Uri;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap};

use super::Attributes;
use super::origin::matched_path;
use super::proxies::client;
use crate::policy::{AttributeValue, Origin, Plan, Request};

/// What was taken from a request.
pub(super) struct Taken<'r> {
    method: Cow<'r, str>,
    path: Cow<'r, str>,
    query: Option<Cow<'r, str>>,
    values: Vec<(Cow<'r, str>, Value<'r>)>,
}

enum Value<'r> {
    Text(Cow<'r, [u8]>),
    Address(IpAddr),
}

impl<'r> Taken<'r> {
    /// What `plan` asks of `request`, which came from `peer` and is judged by `uri`.
    pub(super) fn from<B>(
        request: &'r http::Request<B>,
        uri: &'r Uri,
        plan: &'r Plan,
        peer: Option<IpAddr>,
    ) -> Self {
        let mut taken = Self {
            method: request.method().as_str().into(),
            path: uri.path().into(),
            query: uri.query().map(Cow::Borrowed),
            values: Vec::with_capacity(plan.intake.attributes.len()),
        };
        for (name, origins) in &plan.intake.attributes {
            let look = |origin: &'r Origin| match origin {
                Origin::Address => {
                    client(&plan.intake, request.headers(), peer).map(Value::Address)
                }
                Origin::MatchedPath => matched_path(request.extensions())
                    .map(|path| Value::Text(path.as_bytes().into())),
                _ => text(origin, request.headers(), uri).map(Value::Text),
            };
            if let Some(value) = origins.iter().find_map(look) {
                taken.values.push((Cow::Borrowed(name), value));
            }
        }
        if let Some(own) = request.extensions().get::<Attributes>() {
            for (name, value) in own.iter() {
                if plan.attributes.iter().any(|spec| *spec.name == *name) {
                    let value = Value::Text(Cow::Borrowed(value.as_bytes()));
                    taken.values.push((Cow::Borrowed(name), value));
                }
            }
        }
        taken
    }

    /// The request to ask a limiter about.
    pub(super) fn request(&self) -> Request<'_> {
        let mut request = Request::http(&self.method, &self.path);
        request.put_query(self.query.as_deref());
        for (name, value) in &self.values {
            let value = match value {
                Value::Text(text) => AttributeValue::Text(text),
                Value::Address(address) => AttributeValue::Address(*address),
            };
            request.put(name, value);
        }
        request
    }

    /// The same for as long as it is wanted.
    pub(super) fn into_owned(self) -> Taken<'static> {
        let own = |(name, value): (Cow<'_, str>, Value<'_>)| {
            let value = match value {
                Value::Text(text) => Value::Text(text.into_owned().into()),
                Value::Address(address) => Value::Address(address),
            };
            (name.into_owned().into(), value)
        };
        Taken {
            method: self.method.into_owned().into(),
            path: self.path.into_owned().into(),
            query: self.query.map(|query| query.into_owned().into()),
            values: self.values.into_iter().map(own).collect(),
        }
    }
}

/// What stands there, unless it is empty.
fn text<'r>(origin: &Origin, headers: &'r HeaderMap, uri: &'r Uri) -> Option<Cow<'r, [u8]>> {
    let found: Cow<'r, [u8]> = match origin {
        Origin::Header(name) => headers.get(&**name)?.as_bytes().into(),
        Origin::Bearer => bearer(headers)?.into(),
        Origin::Cookie(name) => cookie(headers, name.as_bytes())?.into(),
        Origin::Query(name) => {
            let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
            let (_, value) = pairs.find(|(known, _)| *known == **name)?;
            match value {
                Cow::Borrowed(text) => text.as_bytes().into(),
                Cow::Owned(text) => text.into_bytes().into(),
            }
        }
        Origin::Address | Origin::MatchedPath => return None,
    };
    (!found.is_empty()).then_some(found)
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    is_bearer.then(|| token.trim_ascii())
}

/// The value of the first cookie of this name.
fn cookie<'r>(headers: &'r HeaderMap, name: &[u8]) -> Option<&'r [u8]> {
    let pairs = headers.get_all(COOKIE).iter();
    pairs
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}
