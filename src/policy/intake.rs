//! Where the attributes of an HTTP request come from: `[request]`.
//!
//! ```text
//! origin = "header NAME" | "bearer" | "query NAME" | "cookie NAME" | "address" | "matched-path"
//! list   = origin { "|" origin }       the first that is present
//! ```

use std::net::IpAddr;

use super::bounds::{
    NAME_BYTES_MAX, ORIGINS_MAX, PHRASE_BYTES_MAX, PROXIES_MAX, REQUEST_ATTRIBUTES_MAX,
};
use super::fault::{Faults, Fix, Place, fix, nearest, quoted};
use super::key::{Attributes, Source};
use super::tree::{Like, Spot};

/// How an HTTP request becomes one that limits are asked about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct IntakeSpec {
    /// By name. What the service says itself goes before.
    pub(crate) attributes: Vec<(Box<str>, Vec<Origin>)>,
    /// Whose word on the client's address is believed.
    pub(crate) trusted: Vec<Network>,
    pub(crate) forwarded: Forwarded,
}

#[cfg_attr(
    not(all(feature = "tower", feature = "tracing")),
    expect(dead_code, reason = "only the layer reads requests")
)]
impl IntakeSpec {
    /// True if an attribute may be the client's address.
    pub(crate) fn needs_address(&self) -> bool {
        let mut all = self.attributes.iter().flat_map(|(_, origins)| origins);
        all.any(|origin| *origin == Origin::Address)
    }
}

/// A place in an HTTP request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// The first header of this name, in small letters.
    Header(Box<str>),
    /// The token of `Authorization: Bearer`.
    Bearer,
    Query(Box<str>),
    Cookie(Box<str>),
    /// The client's address: the peer's, or what trusted proxies say.
    Address,
    /// The template of the route by which axum serves.
    MatchedPath,
}

/// The header in which proxies say for whom they ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Forwarded {
    /// `X-Forwarded-For`, a list to which each proxy adds.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Standard,
    /// `X-Real-IP`, one address.
    XRealIp,
}

/// A range of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn parse(text: &str) -> Result<Self, Fix> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let advice = "write it like \"10.0.0.0/8\" or \"2001:db8::/32\"";
        let wrong = || fix(format!("{} is no network", quoted(text)), advice);
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most),
            None => Some(most),
        };
        let bits: u8 = bits.ok_or_else(wrong)?;
        // As addresses are looked at in their one form: IPv4-mapped as IPv4.
        let (address, bits) = match address.to_canonical() {
            v4 if v4 != address => (v4, bits.checked_sub(96).ok_or_else(wrong)?),
            _ => (address, bits),
        };
        let network = Self { address, bits };
        if network.start() != Self::number(address) {
            let problem = format!("{} has bits beyond its prefix", quoted(text));
            return Err(fix(problem, "write the first address of the network"));
        }
        Ok(network)
    }

    /// The address as a number, its first bit the first of 128.
    fn number(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
            IpAddr::V6(v6) => v6.to_bits(),
        }
    }

    fn start(&self) -> u128 {
        let host_bits = 128 - u32::from(self.bits);
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Self::number(self.address) & mask
    }

    #[cfg_attr(
        all(not(feature = "tower"), not(test)),
        expect(dead_code, reason = "only the layer reads requests")
    )]
    /// True if it holds `address`, which is in its one form (IPv4-mapped as IPv4).
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let same_prefix = Self {
            address,
            bits: self.bits,
        };
        address.is_ipv4() == self.address.is_ipv4() && same_prefix.start() == self.start()
    }
}

/// Reads `[request]`; without one, `ip` is the client's address if anything refers to it.
pub(super) fn read(
    spot: Option<&Spot<'_>>,
    attributes: &Attributes,
    faults: &mut Faults,
) -> IntakeSpec {
    let mut intake = IntakeSpec::default();
    if let Some(spot) = spot {
        read_table(spot, attributes, &mut intake, faults);
    }
    let is_said = intake.attributes.iter().any(|(name, _)| &**name == "ip");
    let brings = |name: &str| {
        let mut specs = attributes.specs.iter();
        specs.any(|spec| &*spec.name == name && spec.source == Source::Request)
    };
    if !is_said && brings("ip") {
        intake.attributes.push(("ip".into(), vec![Origin::Address]));
    }
    intake
}

fn read_table(
    spot: &Spot<'_>,
    attributes: &Attributes,
    intake: &mut IntakeSpec,
    faults: &mut Faults,
) {
    let known = &["attributes", "trusted_proxies", "forwarded"];
    let fields = spot.fields(known, faults);
    if let Some(spot) = fields.get("attributes") {
        for (name, spot) in spot.entries(REQUEST_ATTRIBUTES_MAX, faults) {
            is_referred_to(name, attributes, &spot.place, faults);
            if let Some(origins) = read_origins(&spot, faults) {
                intake.attributes.push((name.into(), origins));
            }
        }
    }
    if let Some(spot) = fields.get("trusted_proxies") {
        for item in spot.items_or_one(PROXIES_MAX, faults) {
            let network = item.parsed(NAME_BYTES_MAX, "10.0.0.0/8", Network::parse, faults);
            intake.trusted.extend(network);
        }
    }
    if let Some(spot) = fields.get("forwarded") {
        let options = [
            ("x-forwarded-for", Forwarded::XForwardedFor),
            ("forwarded", Forwarded::Standard),
            ("x-real-ip", Forwarded::XRealIp),
        ];
        intake.forwarded = spot.choice(&options, faults).unwrap_or_default();
        if fields.get("trusted_proxies").is_none() {
            let advice = "add trusted_proxies = [\"10.0.0.0/8\"], or leave it out";
            let problem = "nobody's word is believed, so forwarded means nothing";
            faults.push(&spot.place, fix(problem, advice));
        }
    }
}

/// A fault unless a key, a tier or a cost refers to the attribute.
pub(super) fn is_referred_to(
    name: &str,
    attributes: &Attributes,
    place: &Place,
    faults: &mut Faults,
) {
    let specs = attributes.specs.iter();
    let known = specs.filter(|spec| spec.source == Source::Request);
    if known.clone().any(|spec| &*spec.name == name) {
        return;
    }
    if matches!(name, "method" | "path" | "route") {
        let problem = format!("{name} is known of every request");
        faults.push(place, fix(problem, "leave it out"));
        return;
    }
    let problem = format!("nothing refers to {}", quoted(name));
    match nearest(name, known.map(|spec| &*spec.name)) {
        // Either of the two may be the one that is meant.
        Some(near) => {
            let advice = format!("{near} is referred to: write the same name in both places");
            faults.push(place, fix(problem, advice));
        }
        None => {
            let advice = "leave it out, or name it in a key, a tier or a cost";
            // What refers to it may be what is a fault.
            if !faults.any(may_refer) {
                faults.push(place, fix(problem, advice));
            }
        }
    }
}

/// True if the value at this path refers to attributes, or has such values in it.
fn may_refer(path: &str) -> bool {
    let (table, rest) = path.split_once('.').unwrap_or((path, ""));
    let is_whole = !rest.contains('.');
    let refers = rest.ends_with("key") || rest.contains(".cost");
    matches!(table, "limits" | "tiers" | "idempotency") && (is_whole || refers)
        || table == "tiers" && rest.contains(".when")
}

fn read_origins(spot: &Spot<'_>, faults: &mut Faults) -> Option<Vec<Origin>> {
    let text = spot.text(PHRASE_BYTES_MAX, Like::Form("header X-Api-Key"), faults)?;
    let place: &Place = &spot.place;
    let mut origins = Vec::new();
    for part in text.split('|') {
        origins.push(faults.take(place, parse_origin(part))?);
    }
    if origins.len() > ORIGINS_MAX {
        let advice = format!("at most {ORIGINS_MAX}");
        faults.push(place, fix("too many places to look", advice));
    }
    Some(origins)
}

fn parse_origin(text: &str) -> Result<Origin, Fix> {
    let mut words = text.split_whitespace();
    let (kind, name, rest) = (words.next(), words.next(), words.next());
    let advice = "write \"header X-Api-Key\", \"bearer\", \"query NAME\", \"cookie NAME\", \
                  \"address\" or \"matched-path\"";
    let wrong = || fix(format!("{} is no place in a request", quoted(text)), advice);
    let is_token = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        name.len() <= NAME_BYTES_MAX && name.bytes().all(fits)
    };
    match (kind, name, rest) {
        (Some("bearer"), None, None) => Ok(Origin::Bearer),
        (Some("address"), None, None) => Ok(Origin::Address),
        (Some("matched-path"), None, None) => Ok(Origin::MatchedPath),
        (Some(kind), Some(name), None) if is_token(name) => match kind {
            "header" => Ok(Origin::Header(name.to_ascii_lowercase().into())),
            "query" => Ok(Origin::Query(name.into())),
            "cookie" => Ok(Origin::Cookie(name.into())),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "::1", "127.0.0.1"),
            ("::1", "::1", "::2"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network:?}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?}");
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "::/129",
            "host",
            "1.2.3.4/x",
        ] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn places_are_read_as_they_are_written() {
        let header = |name: &str| Origin::Header(name.into());
        assert_eq!(parse_origin(" header X-Api-Key "), Ok(header("x-api-key")));
        assert_eq!(parse_origin("bearer"), Ok(Origin::Bearer));
        assert_eq!(parse_origin("matched-path"), Ok(Origin::MatchedPath));
        assert_eq!(
            parse_origin("query limit"),
            Ok(Origin::Query("limit".into()))
        );
        for text in [
            "",
            "header",
            "header a b",
            "peer x",
            "query \u{e9}",
            "Bearer",
        ] {
            assert!(parse_origin(text).is_err(), "{text}");
        }
    }
}
