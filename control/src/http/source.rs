//! Where a request comes from: the TCP peer, or what a trusted proxy says of it.

use std::net::IpAddr;

use hyper::header::{FORWARDED, HeaderMap};

use crate::Network;

/// The client's address: the peer's, unless that is a trusted proxy. Then it is the nearest one in
/// its `X-Forwarded-For` or `Forwarded` (RFC 7239) that is not a trusted proxy itself. What stands
/// farther away was written by the client.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let nearest = |hops: Vec<Option<IpAddr>>| {
        let mut client = peer;
        // A hop without an address (RFC 7239 §6.2, §6.3) ends the way back.
        for hop in hops.into_iter().rev().map_while(|hop| hop) {
            client = hop;
            if !is_trusted(hop) {
                break;
            }
        }
        client
    };
    let has_listed = headers.contains_key(X_FORWARDED_FOR);
    let has_standard = headers.contains_key(FORWARDED);
    match (has_listed, has_standard) {
        (true, false) => nearest(listed(headers)),
        (false, true) => nearest(standard(headers)),
        (false, false) => peer,
        (true, true) => {
            // A proxy that writes the one hands on the other as the client wrote it.
            let client = nearest(listed(headers));
            if nearest(standard(headers)) == client {
                client
            } else {
                peer
            }
        }
    }
}

/// What limits count as one: who has one IPv6 address has its /64.
pub(crate) fn block(source: IpAddr) -> u128 {
    match source.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

/// Whether somebody says that the request came by a proxy.
pub(crate) fn is_relayed(headers: &HeaderMap) -> bool {
    RELAY_HEADERS.iter().any(|name| headers.contains_key(*name))
}

/// `X-Forwarded-For`, farthest first.
fn listed(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    lines
        .flat_map(|line| line.to_str().unwrap_or("?").split(','))
        .map(|hop| address(hop.trim()))
        .collect()
}

/// `Forwarded`, farthest first.
fn standard(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(FORWARDED).iter();
    lines
        .flat_map(|line| split_unquoted(line.to_str().unwrap_or("?"), ','))
        .map(|element| {
            let node = split_unquoted(element, ';').into_iter().find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case("for").then_some(value)
            });
            address(node?.trim().trim_matches('"'))
        })
        .collect()
}

/// Addresses have neither quotes nor backslashes: quoted pairs need no care.
fn split_unquoted(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(|c| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
    .collect()
}

/// With or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let found = if let Some(rest) = text.strip_prefix('[') {
        let (inner, after) = rest.split_once(']')?;
        if !after.is_empty() && !after.starts_with(':') {
            return None;
        }
        IpAddr::V6(inner.parse().ok()?)
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        let (host, _port) = text.split_once(':')?;
        IpAddr::V4(host.parse().ok()?)
    };
    Some(found.to_canonical())
}

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const RELAY_HEADERS: &[&str] = &[
    "forwarded",
    "via",
    X_FORWARDED_FOR,
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    fn seen(peer: &str, trusted: &[(&str, u8)], headers: &[(&'static str, &str)]) -> String {
        let trusted: Vec<Network> = trusted
            .iter()
            .map(|(address, prefix_len)| Network {
                address: address.parse().expect("an address"),
                prefix_len: *prefix_len,
            })
            .collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                value.parse().expect("a value"),
            );
        }
        client(peer.parse().expect("an address"), &map, &trusted).to_string()
    }

    const PROXY: &[(&str, u8)] = &[("10.0.0.0", 8)];

    #[test]
    fn a_peer_that_is_no_trusted_proxy_is_the_client() {
        let headers = [("x-forwarded-for", "203.0.113.9")];
        assert_eq!(seen("192.0.2.1", PROXY, &headers), "192.0.2.1");
        assert_eq!(seen("127.0.0.1", &[], &headers), "127.0.0.1");
        assert_eq!(seen("10.1.2.3", PROXY, &[]), "10.1.2.3");
    }

    #[test]
    fn the_nearest_address_that_is_no_proxy_is_the_client() {
        for (value, wanted) in [
            ("203.0.113.9", "203.0.113.9"),
            ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
            ("6.6.6.6, 203.0.113.9, 10.9.9.9", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            // Without an address there is nobody nearer than the last proxy.
            ("203.0.113.9, unknown", "10.1.2.3"),
            ("203.0.113.9, unknown, 10.9.9.9", "10.9.9.9"),
            ("203.0.113.9,", "10.1.2.3"),
            ("", "10.1.2.3"),
        ] {
            let headers = [("x-forwarded-for", value)];
            assert_eq!(seen("10.1.2.3", PROXY, &headers), wanted, "{value}");
            assert_eq!(seen("::ffff:10.1.2.3", PROXY, &headers), wanted, "{value}");
        }
        let lines = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7"),
        ];
        assert_eq!(seen("10.1.2.3", PROXY, &lines), "7.7.7.7");
    }

    #[test]
    fn the_standard_header_is_read_too() {
        for (value, wanted) in [
            ("for=203.0.113.9", "203.0.113.9"),
            ("For=\"[2001:db8::1]:4711\";proto=http", "2001:db8::1"),
            ("for=6.6.6.6, proto=https;for=203.0.113.9", "203.0.113.9"),
            ("for=6.6.6.6;host=\"a,b;for=1.1.1.1\"", "6.6.6.6"),
            ("for=203.0.113.9, for=_hidden", "10.1.2.3"),
            ("by=203.0.113.9", "10.1.2.3"),
        ] {
            let headers = [("forwarded", value)];
            assert_eq!(seen("10.1.2.3", PROXY, &headers), wanted, "{value}");
        }
    }

    #[test]
    fn two_headers_that_disagree_are_not_believed() {
        let both = |standard| [("x-forwarded-for", "203.0.113.9"), ("forwarded", standard)];
        let agreed = both("for=203.0.113.9");
        assert_eq!(seen("10.1.2.3", PROXY, &agreed), "203.0.113.9");
        let forged = both("for=198.51.100.1");
        assert_eq!(seen("10.1.2.3", PROXY, &forged), "10.1.2.3");
    }
}
