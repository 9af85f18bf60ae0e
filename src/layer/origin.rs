//! What a framework knows of a request before its own routers changed it.
//!
//! axum's nested routers take their prefix off the URI, so a layer inside of one sees a path that
//! no client sent and no policy names. axum keeps the URI as it came in an extension.

use std::net::IpAddr;

use http::{Extensions, Uri};

use super::Peer;

/// The URI as it came, if a router may have changed it since.
#[cfg(feature = "axum")]
pub(super) fn original_uri(extensions: &Extensions) -> Option<&Uri> {
    let original = extensions.get::<axum::extract::OriginalUri>()?;
    Some(&original.0)
}

#[cfg(not(feature = "axum"))]
pub(super) fn original_uri(_: &Extensions) -> Option<&Uri> {
    None
}

/// The template of the route by which axum serves; nothing before axum has routed.
#[cfg(feature = "axum")]
pub(super) fn matched_path(extensions: &Extensions) -> Option<&str> {
    let matched = extensions.get::<axum::extract::MatchedPath>()?;
    Some(matched.as_str())
}

#[cfg(not(feature = "axum"))]
pub(super) fn matched_path(_: &Extensions) -> Option<&str> {
    None
}

/// The address in the extension [`Peer`].
pub(super) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    Some(extensions.get::<Peer>()?.0)
}

/// The address in the extension [`Peer`], or else in axum's `ConnectInfo`.
#[cfg(feature = "axum")]
pub(super) fn axum_peer(extensions: &Extensions) -> Option<IpAddr> {
    use std::net::SocketAddr;

    use axum::extract::ConnectInfo;

    let connection = || extensions.get::<ConnectInfo<SocketAddr>>();
    peer(extensions).or_else(|| Some(connection()?.0.ip()))
}
