//! Sending again what was refused: as a policy for tower's retry layer, and for a plain function.

use http::{HeaderMap, Method, Request, Response, StatusCode};
use tower::retry::Policy;

use super::backoff::Backoff;
use super::error::{CallError, RateLimited};
use super::notice::Notice;
use super::timing::{BoxFuture, Timing};

/// In a request's extensions: whether it may be sent again, whatever its method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repeatable(pub bool);

/// Sends again what was refused with 429, as a [`tower::retry::Policy`].
///
/// A request is sent again only if it may be repeated: its method is idempotent, or it has an
/// `Idempotency-Key`, or its extensions say so ([`Repeatable`]; that goes before all else). Not if
/// its body cannot be copied, nor if the service says not to (`X-Should-Retry: false`). The last
/// response goes to the caller as it is; [`RateLimited::check`] makes an error of it.
///
/// ```
/// use std::time::Duration;
/// use tollgate::client::{Backoff, Retry, Timing};
/// use tower::ServiceBuilder;
///
/// let backoff = Backoff::doubling(Duration::from_secs(1)).tries(5);
/// let retry: Retry<String> = Retry::new(backoff, Timing::new(tokio::time::sleep));
/// let client = ServiceBuilder::new().retry(retry).service_fn(
///     |_request: http::Request<String>| async { http::Response::builder().body(()) },
/// );
/// ```
#[derive(Debug)]
pub struct Retry<B> {
    backoff: Backoff,
    timing: Timing,
    copy_body: fn(&B) -> Option<B>,
    also_unavailable: bool,
    sent: u32,
}

impl<B: Clone> Retry<B> {
    /// For requests whose bodies can be copied.
    pub fn new(backoff: Backoff, timing: Timing) -> Self {
        Self::copying(backoff, timing, |body| Some(body.clone()))
    }
}

impl<B> Retry<B> {
    /// For requests whose bodies are copied by `copy_body`; one that it does not copy is sent once.
    pub fn copying(backoff: Backoff, timing: Timing, copy_body: fn(&B) -> Option<B>) -> Self {
        Self {
            backoff,
            timing,
            copy_body,
            also_unavailable: false,
            sent: 0,
        }
    }

    /// Sends again what was answered with 503, too.
    pub fn also_unavailable(mut self) -> Self {
        self.also_unavailable = true;
        self
    }

    fn is_refusal(&self, status: StatusCode) -> bool {
        status == StatusCode::TOO_MANY_REQUESTS
            || (self.also_unavailable && status == StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl<B> Clone for Retry<B> {
    fn clone(&self) -> Self {
        Self {
            timing: self.timing.clone(),
            ..*self
        }
    }
}

impl<B, R, E> Policy<Request<B>, Response<R>, E> for Retry<B> {
    type Future = BoxFuture<()>;

    fn retry(
        &mut self,
        _request: &mut Request<B>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<BoxFuture<()>> {
        self.sent = self.sent.saturating_add(1);
        let response = result.as_ref().ok()?;
        if !self.is_refusal(response.status()) {
            return None;
        }
        let notice = Notice::of(response, self.timing.now());
        let delay = delay(&self.backoff, &self.timing, self.sent, &notice)?;
        Some(self.timing.sleep(delay))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        if !may_be_repeated(request) {
            return None;
        }
        let mut copy = Request::new((self.copy_body)(request.body())?);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        Some(copy)
    }
}

/// Calls `send` until it is not refused, waiting in between: for a client without tower. Whoever
/// calls this says that `send` may be repeated.
///
/// # Errors
/// The last refusal, if there were as many as the backoff has tries, or if the service says not to
/// try again; what `send` fails with, at once.
///
/// ```
/// use std::time::Duration;
/// use tollgate::client::{Backoff, Timing, with_retries};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let backoff = Backoff::constant(Duration::from_secs(5)).tries(3);
/// let timing = Timing::new(tokio::time::sleep);
/// let response = with_retries(&backoff, &timing, || async {
///     http::Response::builder().body("an answer")
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
pub async fn with_retries<F, S, R, E>(
    backoff: &Backoff,
    timing: &Timing,
    mut send: F,
) -> Result<Response<R>, CallError<E>>
where
    F: FnMut() -> S,
    S: Future<Output = Result<Response<R>, E>>,
{
    let mut sent = 0_u32;
    loop {
        let response = send().await.map_err(CallError::Send)?;
        sent = sent.saturating_add(1);
        let notice = Notice::of(&response, timing.now());
        if !notice.is_refusal() {
            return Ok(response);
        }
        drop(response);
        match delay(backoff, timing, sent, &notice) {
            Some(delay) => timing.sleep(delay).await,
            None => return Err(CallError::RateLimited(RateLimited::new(notice, sent))),
        }
    }
}

/// How long to wait after a refusal; none if that was the last try.
fn delay(
    backoff: &Backoff,
    timing: &Timing,
    sent: u32,
    notice: &Notice,
) -> Option<std::time::Duration> {
    if notice.may_repeat() == Some(false) {
        return None;
    }
    backoff.next_delay(sent, notice.wait(), |most| timing.random(most))
}

fn may_be_repeated<B>(request: &Request<B>) -> bool {
    match request.extensions().get() {
        Some(Repeatable(may)) => *may,
        None => is_idempotent(request.method(), request.headers()),
    }
}

fn is_idempotent(method: &Method, headers: &HeaderMap) -> bool {
    method.is_idempotent() || headers.contains_key("idempotency-key")
}
