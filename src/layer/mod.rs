//! A `tower` layer that asks a limiter before each HTTP request: under axum, hyper and tonic.
//!
//! ```no_run
//! use std::net::SocketAddr;
//!
//! use axum::{Router, extract::ConnectInfo, routing::get};
//! use tollgate::{Limiter, Policy, layer::LimitLayer};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::from_toml(&std::fs::read_to_string("policy.toml")?)?;
//! let layer = LimitLayer::new(Limiter::open("data", policy)?)
//!     .peer(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
//! let app = Router::new().route("/", get(|| async { "hello" })).layer(layer);
//! let service = app.into_make_service_with_connect_info::<SocketAddr>();
//! axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, service).await?;
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `axum`, `LimitLayer::axum` finds that address by itself, and judges by the path
//! that the client sent even in a nested router, which takes its prefix off.
//!
//! Everything else is the policy's: `[request]` says where attributes come from, `[response]` what
//! is answered. Put a layer for CORS outside of this one, so that it sees refusals, too; and one
//! that translates gRPC-Web, so that this one sees the trailers.

mod body;
mod desk;
mod future;
mod intake;
mod origin;
mod protocol;
mod proxies;
mod refusal;

use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Extensions, Request, Response, Uri};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

pub use body::LimitedBody;
pub use desk::{AdminService, AskService, Nothing};
pub use future::LimitedFuture;

use crate::limiter::{Admission, Decision, Limiter, Verdict};
use crate::policy::IntakeSpec;
use future::Permitting;
use intake::Taken;
use protocol::Protocol;

/// Attributes that the service itself knows of a request: who has signed in, say. Put into the
/// request's extensions by a layer outside of this one; it goes before what `[request]` says.
///
/// ```
/// let mut request = http::Request::new(());
/// let known = tollgate::layer::Attributes::new().with("user", "alice").with("plan", "growth");
/// request.extensions_mut().insert(known);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Attributes(Vec<(Cow<'static, str>, String)>);

impl Attributes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more; a name given twice keeps the later value. Those that no limit of
    /// the policy refers to are passed over. `method`, `path` and `route` are the request's own:
    /// a request with another, where a limit refers to it, is refused as put together wrongly.
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// Where the address of a connection's other end is to be found.
type PeerOf = dyn Fn(&Extensions) -> Option<IpAddr> + Send + Sync;

/// The address of a connection's other end, put into the extensions of each of its requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer(pub IpAddr);

/// In the extensions of a request that is a repeat by the policy's `[idempotency]`: the same
/// request with the same id was charged before. See [`Decision::is_repeat`].
///
/// ```
/// use tollgate::layer::Repeat;
///
/// fn may_do_the_work(request: &http::Request<()>) -> bool {
///     match request.extensions().get::<Repeat>() {
///         // Uncharged: to be answered with what was answered before.
///         Some(repeat) => repeat.is_charged(),
///         None => true,
///     }
/// }
/// # assert!(may_do_the_work(&http::Request::new(())));
/// ```
///
/// [`Decision::is_repeat`]: crate::Decision::is_repeat
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repeat {
    is_charged: bool,
}

impl Repeat {
    /// True if the repeat was charged like any other request. False only under a policy that says
    /// `repeats = "answered by the service"`.
    pub fn is_charged(self) -> bool {
        self.is_charged
    }

    /// Marks a request that is let in.
    fn mark(decision: &Decision, extensions: &mut Extensions) {
        if decision.is_repeat() {
            let is_charged = decision.verdict() != Verdict::Repeated;
            extensions.insert(Self { is_charged });
        }
    }
}

/// Makes services that ask a limiter first; see the [module](self).
#[derive(Clone)]
pub struct LimitLayer {
    limiter: Limiter,
    peer: Arc<PeerOf>,
    /// The URI as it came, where a router may have changed it since.
    original_uri: fn(&Extensions) -> Option<&Uri>,
    /// That addresses are wanted and not there was told.
    #[cfg(feature = "tracing")]
    told: Arc<std::sync::Once>,
}

impl LimitLayer {
    /// A layer that asks `limiter`, and finds addresses in the extension [`Peer`].
    ///
    /// Requests are judged by their path as it reaches this layer. With the feature `axum` it is
    /// the path that the client sent, in nested routers, too. Without it a layer inside of a nested
    /// router sees a path without the prefix, so the policy's routes do not match it:
    /// [`Health::routes`](crate::Health::routes) tells whether they match anything.
    pub fn new(limiter: Limiter) -> Self {
        Self {
            limiter,
            peer: Arc::new(origin::peer),
            original_uri: origin::original_uri,
            #[cfg(feature = "tracing")]
            told: Arc::new(std::sync::Once::new()),
        }
    }

    /// A layer for axum: it asks `limiter`, finds addresses in [`Peer`] or in axum's
    /// `ConnectInfo<SocketAddr>`, and judges requests by the path that the client sent.
    ///
    /// ```no_run
    /// use std::net::SocketAddr;
    ///
    /// use axum::{Router, routing::get};
    /// use tollgate::{Limiter, Policy, layer::LimitLayer};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let policy = Policy::from_toml(&std::fs::read_to_string("policy.toml")?)?;
    /// let layer = LimitLayer::axum(Limiter::open("data", policy)?);
    /// let app = Router::new().route("/", get(|| async { "hello" })).layer(layer);
    /// let service = app.into_make_service_with_connect_info::<SocketAddr>();
    /// axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, service).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "axum")]
    pub fn axum(limiter: Limiter) -> Self {
        Self::new(limiter).peer(origin::axum_peer)
    }

    /// The same, judging requests by the path as it reaches this layer: without the prefix that
    /// nested routers of axum took off, and with what other layers made of it. The policy must then
    /// name such paths.
    #[cfg(feature = "axum")]
    pub fn remaining_path(mut self) -> Self {
        self.original_uri = |_| None;
        self
    }

    /// The same, finding the address of the connection's other end by `peer`.
    ///
    /// Without an address a limit by `ip` does with all requests what its `when_key_missing` says:
    /// it refuses them, unless it says otherwise. [`Health::requests_without_key`] counts them,
    /// and with the feature `tracing` an error is logged, once.
    ///
    /// [`Health::requests_without_key`]: crate::Health::requests_without_key
    pub fn peer(
        mut self,
        peer: impl Fn(&Extensions) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.peer = Arc::new(peer);
        self
    }
}

impl fmt::Debug for LimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LimitLayer").field(&self.limiter).finish()
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service that asks a limiter first. Clones share the limiter, however often it is cloned.
///
/// - Every response has the headers of the policy's `[response]`, but for exempt routes, which are
///   neither charged nor answered for. A header that the service sets itself stays.
/// - A CORS preflight request is a request like any other: nothing tells this layer whether a
///   handler runs for it. A layer for CORS outside of this one answers it before it comes here.
/// - A refusal never reaches the service.
/// - A request that is a repeat by `[idempotency]` has a [`Repeat`] among its extensions.
/// - Permits (`max_concurrent`) are held until the response's body has ended or is dropped; a
///   request that is cancelled while it waits gives up its place and is charged nothing. What goes
///   on over an upgraded connection (WebSocket) is no body: its permit is back with the response.
/// - What a limit with `charged_status` took is given back when the service answers with another
///   status, not when it fails or is cancelled: a client must not get a try for free by hanging up.
/// - A gRPC request is answered in gRPC's way: a refusal has a `grpc-status` and the status 200,
///   the policy's headers are metadata, and `charged_status` goes by the HTTP status that stands
///   for gRPC's, in the trailers, too. Under tonic the peer's address is in its `TcpConnectInfo`.
#[derive(Clone, Debug)]
pub struct Limited<S> {
    inner: S,
    layer: LimitLayer,
}

/// What comes of a request before the service sees it.
enum Entry {
    // In a box: it is large, and what follows is moved about.
    Judged(Box<Admission>),
    /// It has to wait for permits.
    Waits(Permitting),
}

impl LimitLayer {
    /// Says once in the log that addresses are wanted and not there.
    #[cfg(feature = "tracing")]
    #[cold]
    fn tell_of_no_address(&self, intake: &IntakeSpec) {
        if intake.needs_address() {
            self.told.call_once(|| {
                tracing::error!(
                    target: "tollgate",
                    "the policy counts by address, and the service does not say the connection's: \
                     under axum use LimitLayer::axum and into_make_service_with_connect_info, \
                     elsewhere LimitLayer::peer"
                );
            });
        }
    }

    #[cfg(not(feature = "tracing"))]
    fn tell_of_no_address(&self, _: &IntakeSpec) {}

    fn enter<B>(&self, request: &Request<B>) -> Entry {
        let plan = self.limiter.plan_in_force();
        let peer = (self.peer)(request.extensions());
        if peer.is_none() {
            self.tell_of_no_address(&plan.intake);
        }
        let uri = (self.original_uri)(request.extensions());
        let uri = uri.unwrap_or(request.uri());
        let taken = Taken::from(request, uri, &plan, peer);
        let at_once = self.limiter.acquire_at_once(&taken.request());
        match at_once {
            Some(admission) => Entry::Judged(admission),
            None => {
                let (limiter, taken) = (self.limiter.clone(), taken.into_owned());
                Entry::Waits(Box::pin(async move {
                    Box::new(limiter.acquire_async(&taken.request()).await)
                }))
            }
        }
    }
}

impl<S, B, R> Service<Request<B>> for Limited<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes>,
{
    type Response = Response<LimitedBody<R>>;
    type Error = S::Error;
    type Future = LimitedFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let limiter = &self.layer.limiter;
        let protocol = Protocol::of(request.method(), request.headers());
        match self.layer.enter(&request) {
            Entry::Judged(admission) if admission.is_allowed() => {
                Repeat::mark(admission.decision(), request.extensions_mut());
                let served = self.inner.call(request);
                LimitedFuture::serving(protocol, limiter.clone(), admission, served)
            }
            Entry::Judged(admission) => LimitedFuture::refused(protocol, admission),
            Entry::Waits(permitting) => {
                // The one that is ready is the one to call later; a clone may not be.
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                let limiter = limiter.clone();
                LimitedFuture::waiting(protocol, limiter, permitting, ready, request)
            }
        }
    }
}
