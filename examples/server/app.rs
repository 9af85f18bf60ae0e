//! The service of the example server: handlers for every route that the five systems document,
//! and the layer around them.

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, any_service};
use tollgate::layer::{AdminService, AskService, Attributes, LimitLayer};
use tollgate::{Admin, Builder, Limiter};

/// The policy of a system by name, or the one at a path.
pub(crate) fn policy_path(system: &str) -> PathBuf {
    match system {
        "chameleon" | "chastify" | "katforge" | "skakio" | "stream" => {
            let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies");
            policies.join(system).with_extension("toml")
        }
        path => path.into(),
    }
}

/// The routes that a system documents.
fn routes(system: &str) -> &'static [&'static str] {
    match system {
        "chameleon" => &[
            "/v3/edit/{*what}",
            "/v3/analyze/{*what}",
            "/v3/observe/{*what}",
            "/observe/hooks/{id}",
        ],
        "chastify" => &[
            "/api/extensions/sessions/{session}",
            "/api/extensions/sessions/{session}/{*what}",
            "/api/extensions/locks/{lock}/action",
        ],
        "katforge" => &[
            "/v1/gateway/{*what}",
            "/v1/users",
            "/v1/users/check",
            "/v1/leads/contact",
            "/v1/subscribe",
            "/v1/games/{*what}",
        ],
        "skakio" => &[
            "/auth/{what}",
            "/api/listing/{id}",
            "/api/listing/{id}/publications",
            "/api/store-listings",
        ],
        "stream" => &[
            "/connect",
            "/users",
            "/channels",
            "/channels/{kind}/{id}/{*what}",
        ],
        _ => &["/{*any}"],
    }
}

/// Answers after as many milliseconds as the query's `ms` says, with the status that its `status`
/// says: so that a test can have slow requests, and refused log-ins.
async fn answer(request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let number = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter_map(|(known, value)| (known == name).then_some(value));
        values.next()?.parse::<u16>().ok()
    };
    if let Some(millis) = number("ms") {
        tokio::time::sleep(Duration::from_millis(millis.into())).await;
    }
    let status = number("status").and_then(|status| StatusCode::from_u16(status).ok());
    let json = HeaderValue::from_static("application/json");
    let body = ([(header::CONTENT_TYPE, json)], r#"{"status":"ok"}"#);
    (status.unwrap_or(StatusCode::OK), body).into_response()
}

/// Says what only the service knows of a caller: here an account's plan is what its name begins
/// with, as in `growth-17`, and whoever has a session has signed in by its name.
async fn identify(mut request: Request) -> Request {
    let header = |name| request.headers().get(name)?.to_str().ok();
    let query = request.uri().query().unwrap_or_default();
    let mut pairs = query.split('&');
    let app = pairs.find_map(|pair| pair.strip_prefix("api_key="));
    let account = header("x-account-secret").or(app).unwrap_or_default();
    let user = header("cookie").and_then(|cookie| cookie.strip_prefix("session="));
    let mut known = Attributes::new();
    if let Some((plan, _)) = account.split_once('-') {
        known = known.with("plan", plan);
    }
    if let Some(user) = user {
        known = known.with("user", user);
    }
    request.extensions_mut().insert(known);
    request
}

/// Compares two secrets in a time that says nothing of where they differ.
fn is_same(secret: &[u8], known: &[u8]) -> bool {
    let differences = secret.iter().zip(known).map(|(a, b)| a ^ b);
    let all = differences.fold(0, |all, one| black_box(all | one));
    secret.len() == known.len() && all == 0
}

/// Lets only those through who know the token. A real service has better means.
async fn authenticate(State(wanted): State<Arc<str>>, request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION);
    match header.is_some_and(|token| is_same(token.as_bytes(), wanted.as_bytes())) {
        true => next.run(request).await,
        // A browser asks its user then; with `user:word` it sends `Basic dXNlcjp3b3Jk`.
        false => (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Basic")],
        )
            .into_response(),
    }
}

/// The page of limits and keys; nothing without the feature `dashboard`.
#[derive(Clone, Default)]
pub(crate) struct Page {
    #[cfg(feature = "dashboard")]
    dashboard: tollgate::Dashboard,
}

#[cfg(not(feature = "dashboard"))]
impl Page {
    pub(crate) fn watch(&self, builder: Builder) -> Builder {
        builder
    }

    fn router(self, _: Limiter) -> Router {
        Router::new()
    }
}

#[cfg(feature = "dashboard")]
impl Page {
    /// Lets it be told of what the limiter decides.
    pub(crate) fn watch(&self, builder: Builder) -> Builder {
        builder.watch(self.dashboard.clone())
    }

    fn router(self, limiter: Limiter) -> Router {
        let answer =
            move |request: Request| async move { self.dashboard.answer(&limiter, &request) };
        Router::new().route("/admin/dashboard", any(answer))
    }
}

/// The administration of `limiter`, for those who send `Authorization: TOKEN`.
fn admin(limiter: Limiter, page: Page, token: &str) -> Router {
    let admin = Admin::new(limiter.clone());
    Router::new()
        .nest_service("/admin/limits", AdminService::new(admin))
        .merge(page.router(limiter))
        .route_layer(from_fn_with_state(Arc::from(token), authenticate))
}

/// The service of a system; with a token, administrators are let in who know it.
pub(crate) fn service(
    system: &str,
    limiter: Limiter,
    page: Page,
    token: Option<&str>,
) -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
    let layer = LimitLayer::new(limiter.clone())
        .peer(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    let mut router = Router::new()
        .route("/health", any(answer))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .route("/rate_limits", any_service(AskService::new(&layer)));
    for route in routes(system) {
        router = router.route(route, any(answer));
    }
    router = router.layer(layer).layer(map_request(identify));
    if let Some(token) = token {
        router = router.merge(admin(limiter, page, token));
    }
    router.into_make_service_with_connect_info::<SocketAddr>()
}
