//! What is known of a request: borrowed, of fixed size, without allocating.

use std::fmt;
use std::net::IpAddr;

use arrayvec::ArrayVec;

use super::bounds::{ODD_PATH_BYTES_MAX, REQUEST_ATTRIBUTES_MAX};

/// A value that a request brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AttributeValue<'r> {
    Text(&'r [u8]),
    Address(IpAddr),
}

/// One request, or whatever else is to be limited: attributes, and for HTTP a method and a path.
///
/// Attributes are what the service knows for sure: who the caller is, where from, on which plan.
/// An empty value counts as none. A name given twice keeps the later value.
///
/// ```
/// use std::net::Ipv4Addr;
/// use tollgate::Request;
///
/// let request = Request::http("GET", "/sessions/42")
///     .attribute("api_key", "pk_live_42")
///     .address("ip", Ipv4Addr::LOCALHOST)
///     .cost(3);
/// ```
#[derive(Clone, Debug)]
pub struct Request<'r> {
    pub(super) method: &'r str,
    pub(super) path: Option<&'r str>,
    /// The query, where the path comes without it.
    query: Option<&'r str>,
    pub(super) cost: u64,
    attributes: ArrayVec<(&'r str, AttributeValue<'r>), REQUEST_ATTRIBUTES_MAX>,
    misuse: Option<RequestError>,
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'r> Request<'r> {
    /// Something to limit that is no HTTP request; it meets no route, and so the policy's default.
    #[inline]
    pub fn new() -> Self {
        Self {
            method: "",
            path: None,
            query: None,
            cost: 1,
            attributes: ArrayVec::new(),
            misuse: None,
        }
    }

    /// An HTTP request. The path is taken as it came over the wire; its query is passed over. A
    /// path that a service could read in two ways, and that would meet two routes, is an error:
    /// see [`RequestError::PathAmbiguous`].
    #[inline]
    pub fn http(method: &'r str, path: &'r str) -> Self {
        let mut request = Self::new();
        request.method = method;
        request.path = Some(path);
        request
    }

    /// The request with an attribute: a text, or bytes.
    ///
    /// More than 32 attributes, or one called `method`, `path` or `route`, make every check of
    /// this request an error.
    #[inline]
    pub fn attribute<V: AsRef<[u8]> + ?Sized>(self, name: &'r str, value: &'r V) -> Self {
        self.with(name, AttributeValue::Text(value.as_ref()))
    }

    /// The request with an attribute that is an address. IPv4-mapped addresses, and those that
    /// a translator makes of IPv4 ones (`64:ff9b::/96`), count as IPv4; IPv6 addresses by their
    /// prefix.
    #[inline]
    pub fn address(self, name: &'r str, address: impl Into<IpAddr>) -> Self {
        self.with(name, AttributeValue::Address(address.into()))
    }

    /// The request with what it costs, for limits that do not say so themselves; 1 if unsaid.
    /// Zero looks without taking.
    #[inline]
    pub fn cost(mut self, cost: u64) -> Self {
        self.cost = cost;
        self
    }

    #[inline]
    fn with(mut self, name: &'r str, value: AttributeValue<'r>) -> Self {
        self.put(name, value);
        self
    }

    /// Adds an attribute where the request stands: it is large.
    #[inline]
    pub(crate) fn put(&mut self, name: &'r str, value: AttributeValue<'r>) {
        if matches!(name, "method" | "path" | "route") {
            self.misuse = Some(RequestError::ReservedName);
            return;
        }
        if let Some((_, known)) = self.attributes.iter_mut().find(|(known, _)| *known == name) {
            *known = value;
        } else if self.attributes.try_push((name, value)).is_err() {
            // Bound: an attribute that finds no room makes the check an error.
            self.misuse = Some(RequestError::TooManyAttributes);
        }
    }

    /// The same caller with another HTTP request, which costs one.
    pub(crate) fn elsewhere(&self, method: &'r str, path: &'r str) -> Self {
        let mut request = self.clone();
        (request.method, request.path, request.cost) = (method, Some(path), 1);
        request
    }

    /// True if it has a path, and so may meet a route.
    #[inline]
    pub(crate) fn is_http(&self) -> bool {
        self.path.is_some()
    }

    pub(crate) fn method(&self) -> &'r str {
        self.method
    }

    /// What follows the path's question mark; empty if nothing does.
    pub(crate) fn query(&self) -> &'r str {
        let behind_path = || self.path?.split_once('?').map(|(_, query)| query);
        self.query.or_else(behind_path).unwrap_or_default()
    }

    /// Says the query of a request whose path comes without it.
    #[cfg(feature = "tower")]
    pub(crate) fn put_query(&mut self, query: Option<&'r str>) {
        self.query = query;
    }

    /// The attribute's value, unless it is absent or empty.
    pub(super) fn get(&self, name: &str) -> Option<AttributeValue<'r>> {
        let (_, value) = self.attributes.iter().find(|(known, _)| *known == name)?;
        match value {
            AttributeValue::Text([]) => None,
            value => Some(*value),
        }
    }

    /// # Errors
    /// If the request was put together wrongly.
    pub(super) fn check(&self) -> Result<(), RequestError> {
        self.misuse.map_or(Ok(()), Err)
    }
}

/// Why a request cannot be judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// It has more than 32 attributes.
    TooManyAttributes,
    /// An attribute is called `method`, `path` or `route`.
    ReservedName,
    /// The path is longer than 1024 bytes and not plain: it has percent-escapes, empty segments, a
    /// slash at its end, semicolons, backslashes or bytes beyond ASCII.
    PathTooLong,
    /// The path has dot segments, or services would route it in different ways: as it is written it
    /// meets another route than once it is normalised.
    PathAmbiguous,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyAttributes => {
                write!(
                    f,
                    "a request has at most {REQUEST_ATTRIBUTES_MAX} attributes"
                )
            }
            Self::ReservedName => {
                write!(
                    f,
                    "method, path and route are no attributes: use Request::http"
                )
            }
            Self::PathTooLong => write!(
                f,
                "a path that is not written plainly has at most {ODD_PATH_BYTES_MAX} bytes"
            ),
            Self::PathAmbiguous => write!(
                f,
                "the path has dot segments, or is spelled so that it could mean another route"
            ),
        }
    }
}

impl std::error::Error for RequestError {}
