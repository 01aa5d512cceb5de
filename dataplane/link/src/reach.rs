//! Which addresses other servers may have, when this one is asked to call them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address of the block.
    pub address: IpAddr,
    /// Leading bits that count: 0..=32 for IPv4, 0..=128 for IPv6.
    pub prefix_len: u8,
}

impl Network {
    /// The block that has this address only.
    pub fn host(address: IpAddr) -> Self {
        Network {
            address,
            prefix_len: if address.is_ipv4() { 32 } else { 128 },
        }
    }

    /// Whether `address` is in the block; an IPv4 address in IPv6 form counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (differs, bit_count) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits() ^ other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits(), 128),
            _ => return false,
        };
        let shift = u32::saturating_sub(bit_count, self.prefix_len.into());
        differs.checked_shr(shift).unwrap_or(0) == 0
    }
}

/// The addresses this server may call on somebody else's wish: all of the internet, and the blocks
/// of its own networks that the operator has named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Blocks that are allowed though they are not of the internet.
    pub allowed: Vec<Network>,
}

impl Reach {
    /// Whether this address may be called.
    pub fn allows(&self, address: IpAddr) -> bool {
        is_global(address) || self.names(address)
    }

    /// Whether this address was named.
    pub fn names(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|block| block.contains(address))
    }
}

/// Whether an address is one of the internet: not of this host, its networks, a group, a
/// documentation or a translation of one of these.
///
/// Source: the special-purpose registries of RFC 6890 as IANA has them, RFC 4291 §2.4 (only 2000::/3
/// is assigned), RFC 6052 (addresses of IPv4 inside 64:ff9b::/96 are judged as such).
pub fn is_global(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => is_global_v6(v6),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4
        .iter()
        .any(|(block, prefix_len)| in_v4(address, *block, *prefix_len))
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() {
        return is_global_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    }
    let within = |block: Ipv6Addr, prefix_len: u8| {
        let block = Network {
            address: block.into(),
            prefix_len,
        };
        block.contains(address.into())
    };
    within(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3)
        && !SPECIAL_V6
            .iter()
            .any(|(block, prefix_len)| within(*block, *prefix_len))
}

fn in_v4(address: Ipv4Addr, block: [u8; 4], prefix_len: u8) -> bool {
    let block = Network {
        address: Ipv4Addr::from_octets(block).into(),
        prefix_len,
    };
    block.contains(address.into())
}

/// Blocks of IPv4 that are not of the internet.
const SPECIAL_V4: &[([u8; 4], u8)] = &[
    // This host on this network.
    ([0, 0, 0, 0], 8),
    // Private, RFC 1918.
    ([10, 0, 0, 0], 8),
    // Shared by a carrier's customers, RFC 6598; clouds have metadata servers here.
    ([100, 64, 0, 0], 10),
    // Loopback.
    ([127, 0, 0, 0], 8),
    // Link-local; the metadata servers of clouds.
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    // Protocol assignments, documentation, 6to4 relays.
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([192, 175, 48, 0], 24),
    // Benchmarks, documentation.
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Groups, reserved, broadcast.
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    // The wire server of one cloud answers here, on an address of the internet.
    ([168, 63, 129, 16], 32),
];

/// Blocks of 2000::/3 that are not of the internet.
const SPECIAL_V6: &[(Ipv6Addr, u8)] = &[
    // Protocol assignments: Teredo, ORCHID, benchmarks.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    // 6to4: an address of IPv4 is inside.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_contains_what_its_prefix_says() {
        for (address, prefix_len, other, inside) in [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.0", false),
            ("10.0.0.0", 8, "::ffff:10.1.2.3", true),
            ("0.0.0.0", 0, "203.0.113.9", true),
            ("0.0.0.0", 0, "2001:db8::1", false),
            ("192.0.2.7", 32, "192.0.2.7", true),
            ("192.0.2.7", 32, "192.0.2.6", false),
            ("2001:db8::", 32, "2001:db8:ffff::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
            ("::", 0, "2001:db8::1", true),
            ("::1", 128, "::1", true),
            ("::1", 128, "::2", false),
        ] {
            let network = Network {
                address: ip(address),
                prefix_len,
            };
            assert_eq!(
                network.contains(ip(other)),
                inside,
                "{other} in {address}/{prefix_len}"
            );
        }
    }

    #[test]
    fn addresses_that_are_not_of_the_internet_are_told_apart() {
        for local in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
        ] {
            assert!(!is_global(ip(local)), "{local}");
        }
        for global in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_global(ip(global)), "{global}");
        }
    }

    #[test]
    fn what_was_named_may_be_reached_and_its_neighbours_may_not() {
        let reach = Reach {
            allowed: vec![
                Network {
                    address: ip("10.1.0.0"),
                    prefix_len: 16,
                },
                Network::host(ip("::1")),
            ],
        };
        for (address, allowed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("::1", true),
            ("::2", false),
            ("8.8.8.8", true),
        ] {
            assert_eq!(reach.allows(ip(address)), allowed, "{address}");
        }
        assert!(!reach.names(ip("8.8.8.8")));
    }
}
