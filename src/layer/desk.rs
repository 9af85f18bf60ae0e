//! Services that a service may mount: callers ask for their limits, administrators change them.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use serde_json::{Value, json};
use tower_service::Service;

use super::LimitLayer;
use super::body::LimitedBody;
use super::intake::Taken;
use crate::admin::{Admin, BODY_BYTES_MAX};
use crate::ask::Question;

/// The body of such a service's response.
type Said = LimitedBody<Nothing>;

/// No body: what is said is all there is.
#[derive(Debug)]
pub struct Nothing(Infallible);

impl Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        match self.0 {}
    }
}

fn say(status: u16, value: &Value) -> Response<Said> {
    let mut response = Response::new(LimitedBody::refused(value.to_string()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Tells callers how they stand with the limits of the endpoints in the policy's `[ask]`, charging
/// nothing. The query filters: `?endpoints=Connect,SendMessage&platform=ios`.
///
/// The caller is who the policy's `[request]` says; a service that lets callers name themselves
/// there lets them see each other's numbers, so it belongs behind the service's authentication. Its
/// route is best exempt.
///
/// ```
/// # use axum::{Router, routing::any_service};
/// # use tollgate::layer::{AskService, LimitLayer};
/// # fn mount(layer: LimitLayer) -> Router {
/// Router::new()
///     .route("/rate_limits", any_service(AskService::new(&layer)))
///     .layer(layer)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AskService(LimitLayer);

impl AskService {
    /// A service that tells of the limiter of `layer`, and reads requests as it does.
    pub fn new(layer: &LimitLayer) -> Self {
        Self(layer.clone())
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Said> {
        let plan = self.0.limiter.plan_in_force();
        let peer = (self.0.peer)(request.extensions());
        let taken = Taken::from(request, request.uri(), &plan, peer);
        let mut question = Question::new();
        let query = request.uri().query().unwrap_or_default().as_bytes();
        for (name, values) in form_urlencoded::parse(query) {
            let is_endpoint = matches!(&*name, "endpoint" | "endpoints");
            // Others are the caller's, such as a key.
            if !is_endpoint && !plan.ask.by.iter().any(|(known, _)| **known == *name) {
                continue;
            }
            for value in values.split(',').filter(|value| !value.is_empty()) {
                question = match is_endpoint {
                    true => question.endpoint(value),
                    false => question.of(&*name, value),
                };
            }
        }
        match self.0.limiter.ask(&taken.request(), &question) {
            Ok(standings) => {
                let standings: Vec<_> = standings.iter().map(|one| one.json()).collect();
                say(200, &json!({ "rate_limits": standings }))
            }
            Err(error) => say(400, &json!({ "error": error.to_string() })),
        }
    }
}

impl<B> Service<Request<B>> for AskService {
    type Response = Response<Said>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Said>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(&request)))
    }
}

/// Lets administrators change a limiter: [`Admin`] over HTTP. It knows no authentication, and is
/// mounted nowhere by itself: put it behind the service's own.
///
/// A change is on the disk before it is answered, so the thread that serves it waits for that.
///
/// A browser sends what it knows of an administrator, a password or a cookie, with every request
/// that any page makes it send. So what changes something must have the content type
/// `application/json` (a policy's text also `application/toml`), which a page of another site may
/// not send unasked; and what the browser says comes from another site is refused
/// (`Sec-Fetch-Site`).
///
/// ```
/// # use axum::{Router, extract::Request, middleware::{Next, from_fn}, response::Response};
/// # use tollgate::{Admin, Limiter, layer::AdminService};
/// # async fn authenticate(request: Request, next: Next) -> Response { next.run(request).await }
/// # fn mount(limiter: Limiter) -> Router {
/// let admin = AdminService::new(Admin::new(limiter));
/// Router::new()
///     .nest_service("/admin/limits", admin)
///     .layer(from_fn(authenticate))
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AdminService(Admin);

impl AdminService {
    /// A service that does what `admin` can.
    pub fn new(admin: Admin) -> Self {
        Self(admin)
    }
}

impl<B> Service<Request<B>> for AdminService
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Said>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Said>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let admin = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            if let Err((status, why)) = check_origin(&head.method, &head.headers) {
                return Ok(say(status, &json!({ "error": why })));
            }
            let path = head.uri.path_and_query();
            let path = path.map_or(head.uri.path(), |path| path.as_str());
            let reply = match collect(body).await {
                Ok(body) => admin.handle(head.method.as_str(), path, &body),
                Err(TooLong) => {
                    return Ok(say(
                        413,
                        &json!({ "error": "the body is too long, or broken" }),
                    ));
                }
            };
            Ok(say(reply.status, &reply.body))
        })
    }
}

/// # Errors
/// A status and the reason, if a page of another site may have made the browser send this.
fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), (u16, &'static str)> {
    // A browser sets this itself; `none` is what its user typed.
    let mut sites = headers.get_all("sec-fetch-site").iter();
    if !sites.all(|site| site == "same-origin" || site == "none") {
        return Err((403, "a page of another site may not ask for this"));
    }
    let is_said = headers.contains_key(CONTENT_TYPE);
    let is_safe = method == Method::GET || method == Method::HEAD;
    if is_safe || (is_said && headers.get_all(CONTENT_TYPE).iter().all(is_for_admin)) {
        return Ok(());
    }
    Err((415, "the content type must be application/json"))
}

fn is_for_admin(kind: &HeaderValue) -> bool {
    let mut parts = kind.as_bytes().split(|byte| *byte == b';');
    let kind = parts.next().unwrap_or_default().trim_ascii();
    ["application/json", "application/toml"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known.as_bytes()))
}

/// A body that is longer than any that is read, or that did not come whole.
struct TooLong;

async fn collect<B: Body>(body: B) -> Result<Vec<u8>, TooLong> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| TooLong)?;
        if let Ok(mut data) = frame.into_data() {
            while data.has_remaining() {
                let chunk = data.chunk();
                // Bound: no more than this is kept.
                if bytes.len() + chunk.len() > BODY_BYTES_MAX {
                    return Err(TooLong);
                }
                bytes.extend_from_slice(chunk);
                let read = chunk.len();
                data.advance(read);
            }
        }
    }
    Ok(bytes)
}
