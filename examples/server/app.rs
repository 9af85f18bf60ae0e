//! The service of the example server: handlers for every route that the five systems document,
//! and the layer around them.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tollgate::Limiter;
use tollgate::layer::{Attributes, LimitLayer};

/// The policy of a system by name, or the one in a file.
///
/// # Errors
/// If there is no such file.
pub(crate) fn policy_text(system: &str) -> std::io::Result<String> {
    Ok(match system {
        "chameleon" => include_str!("../policies/chameleon.toml").to_owned(),
        "chastify" => include_str!("../policies/chastify.toml").to_owned(),
        "katforge" => include_str!("../policies/katforge.toml").to_owned(),
        "skakio" => include_str!("../policies/skakio.toml").to_owned(),
        "stream" => include_str!("../policies/stream.toml").to_owned(),
        path => std::fs::read_to_string(path)?,
    })
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

/// The service of a system.
pub(crate) fn service(
    system: &str,
    limiter: Limiter,
) -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
    let layer = LimitLayer::new(limiter)
        .peer(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    let mut router = Router::new().route("/health", any(answer));
    for route in routes(system) {
        router = router.route(route, any(answer));
    }
    router
        .layer(layer)
        .layer(map_request(identify))
        .into_make_service_with_connect_info::<SocketAddr>()
}
