//! The formats that are read, by name.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::fields::Usual;
use super::w3c;

/// How the lines of a log are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Format {
    Common,
    Combined,
    NginxJson,
    Caddy,
    Traefik,
    TraefikJson,
    Alb,
    CloudFront,
    S3,
    HaProxy,
    W3c,
    Envoy,
    EnvoyJson,
    Cloudflare,
    Json,
    Csv,
    /// In nginx's or in Apache's own notation.
    Custom(String),
}

/// Names, the first of each format being the one that is told.
const NAMES: [(&str, Format); 19] = [
    ("common", Format::Common),
    ("combined", Format::Combined),
    ("nginx", Format::Combined),
    ("apache", Format::Combined),
    ("nginx-json", Format::NginxJson),
    ("caddy", Format::Caddy),
    ("traefik", Format::Traefik),
    ("traefik-json", Format::TraefikJson),
    ("alb", Format::Alb),
    ("cloudfront", Format::CloudFront),
    ("s3", Format::S3),
    ("haproxy", Format::HaProxy),
    ("w3c", Format::W3c),
    ("iis", Format::W3c),
    ("envoy", Format::Envoy),
    ("envoy-json", Format::EnvoyJson),
    ("cloudflare", Format::Cloudflare),
    ("json", Format::Json),
    ("csv", Format::Csv),
];

/// For the help of the command.
pub(crate) const HELP: &str = "\
Formats: common, combined (also nginx, apache), nginx-json, caddy, traefik, traefik-json, alb,
cloudfront, s3, haproxy, w3c (also iis), envoy, envoy-json, cloudflare, json, csv; or what the
server's configuration says: '$remote_addr [$time_local] \"$request\"' or '%h %t \"%r\"'.";

const ENVOY: &str = "[$time] \"$request\" $status $response_flags $bytes_received $bytes \
                     $duration $upstream_time \"$forwarded_for\" \"$user_agent\" \"$request_id\" \
                     \"$vhost\" \"$upstream_host\"";

/// The trace id and others follow.
const ALB: &str = "$type $time $elb $peer $target $request_time $target_time $response_time \
                   $status $target_status $received $bytes \"$request\" \"$user_agent\" ";

const S3: &str = "$owner $bucket [$time] $ip $user $request_id $operation $object \"$request\" \
                  $status $error ";

/// Behind what syslog writes; the captured headers are between the queues and the request.
const HAPROXY: &str = "$peer [$time] $frontend $backend $timers $status $bytes $request_cookie \
                       $response_cookie $termination $connections $queues_and_headers\"$request\"";

const CADDY: &[Usual] = &[
    ("ts", "time"),
    ("request.method", "method"),
    ("request.uri", "path"),
    ("request.client_ip", "ip"),
    ("request.remote_ip", "ip"),
    ("request.remote_addr", "peer"),
    ("request.host", "vhost"),
    ("request.headers.User-Agent", "user_agent"),
    ("request.headers.X-Forwarded-For", "forwarded_for"),
    ("user_id", "user"),
];

const TRAEFIK: &[Usual] = &[
    ("StartUTC", "time"),
    ("RequestMethod", "method"),
    ("RequestPath", "path"),
    ("ClientHost", "ip"),
    ("ClientAddr", "peer"),
    ("ClientUsername", "user"),
    ("RequestHost", "vhost"),
    ("DownstreamStatus", "status"),
    ("request_User-Agent", "user_agent"),
    ("request_X-Forwarded-For", "forwarded_for"),
];

const ENVOY_JSON: &[Usual] = &[
    ("start_time", "time"),
    ("downstream_remote_address", "peer"),
    ("authority", "vhost"),
    ("response_code", "status"),
];

const CLOUDFLARE: &[Usual] = &[
    ("EdgeStartTimestamp", "time"),
    ("ClientRequestMethod", "method"),
    ("ClientRequestURI", "path"),
    ("ClientRequestPath", "path"),
    ("ClientIP", "ip"),
    ("ClientRequestHost", "vhost"),
    ("ClientRequestUserAgent", "user_agent"),
    ("EdgeResponseStatus", "status"),
];

/// The fields that only one server's objects have: one of each list.
const SIGNS: [(Format, &[&[&str]]); 5] = [
    (
        Format::Cloudflare,
        &[
            &["EdgeStartTimestamp"],
            &["ClientIP", "ClientRequestURI", "ClientRequestPath"],
        ],
    ),
    (
        Format::TraefikJson,
        &[&["StartUTC", "time"], &["RequestMethod"], &["ClientHost"]],
    ),
    (
        Format::Caddy,
        &[&["ts"], &["request.uri"], &["request.method"]],
    ),
    (
        Format::EnvoyJson,
        &[
            &["start_time"],
            &[
                "response_code",
                "downstream_remote_address",
                "response_flags",
            ],
        ],
    ),
    (
        Format::NginxJson,
        &[
            &["remote_addr"],
            &[
                "time_iso8601",
                "time_local",
                "msec",
                "time",
                "timestamp",
                "@timestamp",
            ],
            &["request", "request_uri", "uri"],
        ],
    ),
];

impl Format {
    /// The format of a JSON object that has these fields.
    pub(super) fn of_object(fields: &[String]) -> Self {
        let has = |any: &&[&str]| {
            any.iter()
                .any(|sign| fields.iter().any(|field| field == sign))
        };
        let known = SIGNS.iter().find(|(_, signs)| signs.iter().all(has));
        known.map_or(Self::Json, |(format, _)| format.clone())
    }

    /// The fields that it has beside the usual ones.
    pub(super) fn fields(&self) -> &'static [Usual] {
        match self {
            Self::Caddy => CADDY,
            Self::TraefikJson => TRAEFIK,
            Self::EnvoyJson => ENVOY_JSON,
            Self::Cloudflare => CLOUDFLARE,
            Self::W3c | Self::CloudFront => w3c::FIELDS,
            // The names that this file itself gives.
            Self::Envoy | Self::Alb | Self::S3 | Self::HaProxy => &[
                ("time", "time"),
                ("request", "request"),
                ("peer", "peer"),
                ("ip", "ip"),
                ("forwarded_for", "forwarded_for"),
            ],
            _ => &[],
        }
    }

    /// True if all its records are of HTTP requests.
    pub(super) fn is_http(&self) -> bool {
        !matches!(self, Self::Json | Self::Csv)
    }

    /// What its lines look like, in nginx's notation or Apache's.
    pub(super) fn pattern(&self) -> Option<&str> {
        match self {
            Self::Envoy => Some(ENVOY),
            Self::Alb => Some(ALB),
            Self::S3 => Some(S3),
            Self::HaProxy => Some(HAPROXY),
            Self::Custom(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, format)| format == self);
        match (self, name) {
            (Self::Custom(text), _) => f.write_str(text),
            (_, Some((name, _))) => f.write_str(name),
            (_, None) => f.write_str("?"),
        }
    }
}

impl From<Format> for String {
    fn from(format: Format) -> Self {
        format.to_string()
    }
}

impl TryFrom<String> for Format {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        text.parse()
    }
}

impl FromStr for Format {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Some((_, format)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(format.clone());
        }
        if text.contains(['$', '%']) {
            return Ok(Self::Custom(text.to_owned()));
        }
        let names = NAMES.map(|(name, _)| name).join(", ");
        bail!("{text} is none of {names}, and no format in nginx's or Apache's notation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_name_and_comes_back() {
        for (name, format) in NAMES {
            assert_eq!(name.parse::<Format>().unwrap(), format);
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
            assert!(HELP.contains(name), "{name}");
        }
        let custom: Format = "%h %t".parse().unwrap();
        assert_eq!(custom.to_string(), "%h %t");
        let fault = "nonsense".parse::<Format>().unwrap_err().to_string();
        assert!(
            fault.contains("combined") && fault.contains("Apache"),
            "{fault}"
        );
    }
}
