//! From a decision to what an HTTP service says: status, headers, and a body for a refusal.
//!
//! No framework: strings in, strings out. What is said, and in which dialect, is the policy's
//! `[response]`; the numbers are those of the limit that rules.

#[cfg(feature = "sfv")]
mod draft;
mod facts;
mod grpc;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::limiter::Decision;
use crate::policy::{
    Fact, Filled, HeaderSpec, Piece, RefusalKind, RefusalSpec, ResponseSpec, fill,
};
use facts::Facts;
#[cfg(feature = "tower")]
pub(crate) use grpc::http_status;

/// What an HTTP service says about a decision, in the words of the policy's `[response]`.
///
/// ```
/// # use tollgate::{Limiter, Policy, Request};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let policy = Policy::from_toml(r#"
///     [limits.per-minute]
///     rate = "1/min"
///     key = "user"
///
///     [response]
///     headers = ["x-ratelimit-seconds", "retry-after"]
///     body = { error = "slow down", wait = "{retry_after}" }
/// "#)?;
/// let limiter = Limiter::open(dir.path().join("data"), policy)?;
/// let request = Request::new().attribute("user", "alice");
/// assert_eq!(limiter.check(&request).answer().status(), None);
///
/// let refused = limiter.check(&request);
/// let answer = refused.answer();
/// assert_eq!(answer.status(), Some(429));
/// answer.headers(|name, value| println!("{name}: {value}")); // retry-after: 60, ...
/// let mut body = String::new();
/// assert_eq!(answer.body(&mut body), Some("application/json"));
/// assert_eq!(body, r#"{"error":"slow down","wait":60}"#);
/// # Ok(())
/// # }
/// ```
pub struct Answer<'d> {
    #[cfg(feature = "sfv")]
    decision: &'d Decision,
    spec: &'d ResponseSpec,
    /// Why it is refused, and what the policy says of such refusals in particular.
    refusal: Option<(RefusalKind, Option<&'d RefusalSpec>)>,
    facts: Facts<'d>,
}

impl Decision {
    /// What to answer over HTTP; nothing is worked out but the numbers of the limit that rules.
    pub fn answer(&self) -> Answer<'_> {
        let spec = &self.plan().response;
        let facts = Facts::of(self);
        let refusal = facts.refusal;
        let refusal = refusal.map(|kind| (kind, spec.refusal(kind, facts.limit_name)));
        Answer {
            #[cfg(feature = "sfv")]
            decision: self,
            spec,
            refusal,
            facts,
        }
    }
}

impl<'d> Answer<'d> {
    /// The status of a refusal; none if the service is to answer itself.
    ///
    /// Unless the policy says otherwise it is 429 where waiting helps; 400 where it does not, or
    /// 403 where nothing is admitted at all; 503 where it is the limiter that cannot.
    pub fn status(&self) -> Option<u16> {
        let (kind, own) = self.refusal?;
        let said = own.and_then(|own| own.status);
        Some(said.unwrap_or(match kind {
            RefusalKind::Limited => 429,
            RefusalKind::Impossible if self.facts.limit == Some(0) => 403,
            RefusalKind::Impossible => 400,
            RefusalKind::Unavailable => 503,
        }))
    }

    /// Why it is refused, in a few plain words; none if the service is to answer itself.
    pub fn reason(&self) -> Option<&'static str> {
        self.facts.reason
    }

    /// Gives `put` every header, name in small letters and value. Nothing is allocated for the
    /// headers of dialects but those of the IETF draft.
    ///
    /// A header of which a value is unknown is left out: that of a wait on a response that makes
    /// nobody wait, say, or that of a tier for a caller without one.
    pub fn headers(&self, mut put: impl FnMut(&str, &str)) {
        let own = self.refusal.and_then(|(_, own)| own);
        for header in self.spec.headers_of(own) {
            match header {
                HeaderSpec::Line { name, value } => self.line(name, value, &mut put),
                HeaderSpec::Draft => {
                    #[cfg(feature = "sfv")]
                    draft::headers(self.decision, &self.facts, &mut put);
                }
            }
        }
    }

    fn line(&self, name: &str, value: &[Piece], put: &mut impl FnMut(&str, &str)) {
        if let [Piece::Text(fact, None)] = value {
            let mut digits = itoa::Buffer::new();
            if let Some(text) = self.fact(*fact).text(&mut digits) {
                put(name, text);
            }
            return;
        }
        let is_known = |piece: &Piece| match piece {
            Piece::Literal(_) | Piece::Text(_, Some(_)) | Piece::Json(..) => true,
            Piece::Text(fact, None) | Piece::Member(_, fact) => {
                !matches!(self.fact(*fact), Filled::Unknown)
            }
        };
        if value.iter().all(is_known) {
            let mut text = String::new();
            fill(value, |fact| self.fact(fact), &mut text);
            put(name, &text);
        }
    }

    /// Appends the body of a refusal to `out` and gives its media type; nothing if the service is
    /// to answer itself.
    pub fn body(&self, out: &mut String) -> Option<&'d str> {
        let (kind, own) = self.refusal?;
        let body = self.spec.body_of(kind, own);
        fill(&body.pieces, |fact| self.fact(fact), out);
        Some(&body.content_type)
    }

    fn fact(&self, fact: Fact) -> Filled<'d> {
        match fact {
            Fact::Status => self
                .status()
                .map_or(Filled::Unknown, |status| Filled::Number(u64::from(status))),
            fact => self.facts.get(fact),
        }
    }
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut answer = f.debug_map();
        answer.entry(&"status", &self.status());
        self.headers(|name, value| {
            answer.entry(&name, &value);
        });
        answer.finish()
    }
}
