//! A page of every limit, and of the keys that are busiest and refused most.

use std::fmt;
use std::sync::Arc;

use http::{Method, Request as HttpRequest, Response, StatusCode};
use serde_json::Value;

use crate::limiter::{Asked, Decision, Limiter, Tally, Watch, Weight, figures};
use crate::policy::Request;

const PAGE: &str = include_str!("page.html");
/// What the page may do: run its own script and style, known by their hashes, and ask the address
/// it came from.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-kFQvM2nEbacuNkZCOmswJASPsS6GHjAw06JZDGAz/jA='; \
    script-src 'sha256-970npNAfxpEhKmGu6b1ZjtQwFl06kGJOPqVlvPBKRYE='; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A page of every limit, and of the keys that are busiest and refused most, live.
///
/// It is told of decisions by [`Builder::watch`](crate::Builder::watch), and served by whatever the
/// service mounts [`answer`](Self::answer) on: behind its own authentication, for it shows keys.
/// Nothing mounts it by itself. Clones are the same.
///
/// Every decision, and every limit asked directly, is counted for its limits; of one in sixteen,
/// unless [`sample`](Self::sample) says otherwise, the keys are looked at. Memory is bounded,
/// whatever the number of keys: a key with more than a hundredth of all requests is in the list.
///
/// ```
/// use tollgate::{Dashboard, Limiter, Policy, Request};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let policy = Policy::from_toml("limits.per-user = { rate = \"10/min\", key = \"user\" }")?;
/// let dashboard = Dashboard::new();
/// let limiter = Limiter::builder(policy)
///     .watch(dashboard.clone())
///     .open(dir.path().join("data"))?;
/// limiter.check(&Request::new().attribute("user", "alice"));
///
/// let request = http::Request::get("/limits?data").body(())?;
/// let response = dashboard.answer(&limiter, &request);
/// assert!(response.body().contains("\"allowed\":1"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Dashboard(Arc<Inner>);

struct Inner {
    tally: Tally,
    sample: u32,
    in_full: bool,
}

impl Default for Dashboard {
    fn default() -> Self {
        Self::new()
    }
}

impl Dashboard {
    /// A page that knows nothing yet.
    pub fn new() -> Self {
        Self::with(16, false)
    }

    /// The same, looking at the keys of one decision in `one_in`; 0 is taken as 1, each. It starts
    /// anew.
    pub fn sample(self, one_in: u32) -> Self {
        Self::with(one_in.max(1), self.0.in_full)
    }

    /// The same with keys in full. Else of a value that is longer than twelve characters, and may
    /// be a secret, only both ends are kept; addresses, routes, paths and methods are. It starts
    /// anew.
    pub fn keys_in_full(self) -> Self {
        Self::with(self.0.sample, true)
    }

    fn with(sample: u32, in_full: bool) -> Self {
        Self(Arc::new(Inner {
            tally: Tally::new(in_full),
            sample,
            in_full,
        }))
    }

    /// The page; and for the query `data` the numbers that it shows, as JSON; for `usage=KEY` how
    /// that key, its parts parted by ` + `, stands with every limit whose key can be this.
    pub fn answer<B>(&self, limiter: &Limiter, request: &HttpRequest<B>) -> Response<String> {
        let is_head = request.method() == Method::HEAD;
        let mut response = match (request.method(), request.uri().query()) {
            (&Method::GET | &Method::HEAD, Some("data")) => {
                let mut response = Response::new(self.data(limiter).to_string());
                put(&mut response, "content-type", "application/json");
                response
            }
            (&Method::GET | &Method::HEAD, Some(query)) if query.starts_with("usage=") => {
                let mut pairs = form_urlencoded::parse(query.as_bytes());
                let key = pairs.next().map(|(_, key)| key).unwrap_or_default();
                let values: Vec<_> = key.split(" + ").collect();
                let answer = limiter.usage_of_all(&values).to_string();
                let mut response = Response::new(answer);
                put(&mut response, "content-type", "application/json");
                response
            }
            (&Method::GET | &Method::HEAD, _) => {
                let mut response = Response::new(PAGE.to_owned());
                put(&mut response, "content-type", "text/html; charset=utf-8");
                put(
                    &mut response,
                    "content-security-policy",
                    CONTENT_SECURITY_POLICY,
                );
                response
            }
            _ => {
                let mut response = Response::new(String::new());
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                put(&mut response, "allow", "GET, HEAD");
                response
            }
        };
        put(&mut response, "cache-control", "no-store");
        put(&mut response, "referrer-policy", "no-referrer");
        put(&mut response, "x-content-type-options", "nosniff");
        if is_head {
            response.body_mut().clear();
        }
        response
    }

    /// The numbers that the page shows.
    fn data(&self, limiter: &Limiter) -> Value {
        let mut data = figures(limiter, &self.0.tally);
        data["sample"] = self.0.sample.into();
        data
    }

    /// Each is counted for its limits, and the keys of some are looked at, which stand for others.
    fn weight(&self) -> Weight {
        Weight {
            limits: 1,
            keys: self.looks().then_some(u64::from(self.0.sample)),
        }
    }

    /// Whether the keys of this one are looked at.
    fn looks(&self) -> bool {
        let sample = self.0.sample;
        sample == 1 || fastrand::u32(0..sample) == 0
    }
}

impl Watch for Dashboard {
    fn decided(&self, request: &Request<'_>, decision: &Decision) {
        self.0.tally.decided(request, decision, self.weight());
    }

    fn asked(&self, asked: &Asked<'_>) {
        let (limit, outcome) = (asked.limit(), asked.outcome());
        self.0
            .tally
            .asked(limit, asked.key(), outcome, self.weight());
    }
}

fn put(response: &mut Response<String>, name: &'static str, value: &'static str) {
    let value = http::HeaderValue::from_static(value);
    response.headers_mut().insert(name, value);
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard")
            .field("sample", &self.0.sample)
            .finish_non_exhaustive()
    }
}
