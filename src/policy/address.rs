//! Addresses as keys: one form for each, IPv6 by its prefix.

use std::net::{IpAddr, Ipv6Addr};

use super::terms::KeyValue;

/// `address` as it counts: IPv4-mapped as IPv4, IPv6 by its first `ipv6_prefix` bits.
pub(super) fn value(address: IpAddr, ipv6_prefix: u8) -> KeyValue<'static> {
    match address.to_canonical() {
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
