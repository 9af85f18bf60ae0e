//! Addresses as keys: one form for each, IPv6 by its prefix.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::terms::KeyValue;

/// The prefix of addresses that translators (NAT64) make of IPv4 addresses (RFC 6052). All clients
/// behind such a translator would be one if only a prefix of these counted.
const NAT64: [u8; 12] = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];

/// The IPv4 address that a translator made `address` of.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let inside = <[u8; 4]>::try_from(octets.strip_prefix(&NAT64)?).ok()?;
    Some(inside.into())
}

/// `address` as it counts: IPv4-mapped and translated from IPv4 as IPv4, IPv6 by its first
/// `ipv6_prefix` bits.
pub(super) fn value(address: IpAddr, ipv6_prefix: u8) -> KeyValue<'static> {
    let address = match address.to_canonical() {
        IpAddr::V6(v6) => translated(v6).map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 => v4,
    };
    match address {
        IpAddr::V4(v4) => KeyValue::V4(v4.octets()),
        IpAddr::V6(v6) => {
            let host_bits = 128 - u32::from(ipv6_prefix.min(128));
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            KeyValue::V6(Ipv6Addr::from_bits(v6.to_bits() & mask).octets())
        }
    }
}

/// The address that `text` writes; a zone id (`%eth0`) does not count.
pub(super) fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    match text.split_once('%') {
        Some((address, _zone)) => address.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, ipv6_prefix: u8) -> KeyValue<'static> {
        value(parse(text.as_bytes()).unwrap(), ipv6_prefix)
    }

    #[test]
    fn one_address_has_one_form() {
        let v4 = KeyValue::V4([192, 0, 2, 7]);
        assert_eq!(of("192.0.2.7", 64), v4);
        assert_eq!(of("::ffff:192.0.2.7", 64), v4);
        assert_eq!(of("::ffff:c000:207", 0), v4);
        assert_eq!(of("fe80::1%eth0", 64), of("FE80:0::1", 64));
        assert_eq!(parse(b"192.0.2.7%eth0"), None);
        assert_eq!(parse(b"unknown"), None);
    }

    #[test]
    fn h9_an_address_that_was_translated_counts_as_the_one_inside() {
        let wanted = KeyValue::V4([198, 51, 100, 1]);
        for prefix in [1, 64, 96, 128] {
            assert_eq!(of("64:ff9b::198.51.100.1", prefix), wanted);
        }
        assert_ne!(of("64:ff9b::203.0.113.9", 64), wanted);
        assert_ne!(of("64:ff9b:1::198.51.100.1", 64), wanted);
        assert_ne!(of("64:ff9b::1:198.51.100.1", 64), wanted);
        assert_eq!(parse(&[0xff]), None);
    }

    #[test]
    fn an_ipv6_address_counts_by_its_prefix() {
        let (a, b) = ("2001:db8:1:2:3::1", "2001:db8:1:2:ffff::2");
        assert_eq!(of(a, 64), of(b, 64));
        assert_ne!(of(a, 128), of(b, 128));
        assert_ne!(of(a, 64), of("2001:db8:1:3::1", 64));
        assert_eq!(of(a, 56), of("2001:db8:1:ff::1", 56));
        assert_ne!(of(a, 56), of("2001:db8:1:100::1", 56));
        assert_eq!(of(a, 0), KeyValue::V6([0; 16]));
    }
}
