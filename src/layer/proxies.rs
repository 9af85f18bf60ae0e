//! Who asks: the connection's other end, or whom proxies that are trusted say they ask for.
//!
//! Each proxy adds at the right whom it was asked by. So the list is read from the right, and the
//! first address that is not a trusted proxy's is the client's: what stands left of it the client
//! may have written himself. Where something there is no address, the proxy that sent it is taken
//! for the client: never all such clients for one.

use std::net::IpAddr;

use http::HeaderMap;

use crate::policy::{Forwarded, IntakeSpec};

/// Addresses looked at in one list.
// Bound: a longer list is a client's, not that of proxies.
const HOPS_MAX: usize = 64;

/// The client's address, if the connection's other end is known.
pub(super) fn client(
    intake: &IntakeSpec,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
) -> Option<IpAddr> {
    let mut client = peer?.to_canonical();
    let is_trusted = |address: IpAddr| intake.trusted.iter().any(|net| net.contains(address));
    let name = match intake.forwarded {
        Forwarded::XForwardedFor => "x-forwarded-for",
        Forwarded::Standard => "forwarded",
        Forwarded::XRealIp => "x-real-ip",
    };
    if intake.trusted.is_empty() || !is_trusted(client) {
        return Some(client);
    }
    let lines = headers.get_all(name).iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops.take(HOPS_MAX) {
        let address = std::str::from_utf8(hop)
            .ok()
            .and_then(|hop| match intake.forwarded {
                Forwarded::XForwardedFor | Forwarded::XRealIp => address(hop.trim()),
                Forwarded::Standard => node(hop).and_then(address),
            });
        let Some(address) = address else { break };
        client = address.to_canonical();
        if !is_trusted(client) {
            break;
        }
    }
    Some(client)
}

/// The `for` of an element of `Forwarded`, its quotes taken off.
fn node(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let is_for = name.trim().eq_ignore_ascii_case("for");
        is_for.then(|| value.trim().trim_matches('"'))
    })
}

/// The address that `text` writes, with or without a port, in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, _port) = rest.split_once(']')?;
        return address.parse().ok().map(IpAddr::V6);
    }
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let (address, port) = text.rsplit_once(':')?;
            port.parse::<u16>().ok()?;
            address.parse().ok().map(IpAddr::V4)
        }
    }
}
