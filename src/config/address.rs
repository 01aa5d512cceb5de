//! Values that are addresses: sockets, hosts, blocks of hosts, web origins.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::node::{Kind, Node};
use super::value::{Refused, Value, quoted};

impl Value for SocketAddr {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "an IP address and a port, as \"127.0.0.1:7777\" or \"[::]:7777\"".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        let Kind::Text(text) = &node.kind else {
            return Err(match node.kind {
                Kind::Number(port) => refused().hint(every_address(&port.to_string())),
                _ => refused(),
            });
        };
        text.parse().map_err(|_| {
            if let Ok(address) = text.parse::<IpAddr>() {
                let example = SocketAddr::new(address, 7777);
                refused().hint(format!("the port is missing: write \"{example}\""))
            } else if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
                refused().hint(every_address(port))
            } else if text.starts_with("localhost") {
                refused().hint("names are not looked up: write 127.0.0.1 or [::1]")
            } else {
                refused()
            }
        })
    }

    fn render(&self) -> String {
        quoted(&self.to_string())
    }
}

fn every_address(port: &str) -> String {
    let port = port.parse().unwrap_or(7777_u16);
    format!(
        "the address is missing: write \"0.0.0.0:{port}\" for every IPv4 address, \
         \"[::]:{port}\" for IPv6 too, \"127.0.0.1:{port}\" for this machine only"
    )
}

impl Value for IpAddr {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "an IP address peers can reach, as \"203.0.113.7\" or \"2001:db8::7\"".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        let Kind::Text(text) = &node.kind else {
            return Err(refused());
        };
        match text.parse::<Self>() {
            Ok(address) if address.is_unspecified() || address.is_multicast() => {
                Err(refused().hint("nobody can send to this address"))
            }
            Ok(address) => Ok(address),
            Err(_) if text.parse::<SocketAddr>().is_ok() => {
                Err(refused().hint("without a port: the port is that of media.udp"))
            }
            Err(_) => Err(refused()),
        }
    }

    fn render(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A block of IP addresses: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address of the block.
    pub address: IpAddr,
    /// Leading bits that count: 0..=32 for IPv4, 0..=128 for IPv6.
    pub prefix_len: u8,
}

impl Network {
    /// The block `prefix_len` bits of `address` name, host bits cleared; `None` if it is too long.
    fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) => {
                let shift = 32_u32.checked_sub(u32::from(prefix_len))?;
                let kept = u32::MAX.checked_shl(shift).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & kept))
            }
            IpAddr::V6(v6) => {
                let shift = 128_u32.checked_sub(u32::from(prefix_len))?;
                let kept = u128::MAX.checked_shl(shift).unwrap_or(0);
                IpAddr::V6((v6.to_bits() & kept).into())
            }
        };
        Some(Self {
            address,
            prefix_len,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl Value for Network {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "an IP address or a block of them, as \"10.0.0.0/8\" or \"2001:db8::/32\"".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        let Kind::Text(text) = &node.kind else {
            return Err(refused());
        };
        let (address, prefix_len) = match text.split_once('/') {
            Some((address, bits)) => (address, bits.parse::<u8>().ok()),
            None => (
                text.as_str(),
                Some(if text.contains(':') { 128 } else { 32 }),
            ),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(refused());
        };
        match prefix_len.and_then(|bits| Self::new(address, bits)) {
            Some(network) if network.address == address => Ok(network),
            Some(network) => Err(refused().hint(format!("write \"{network}\" for the block"))),
            None => Err(refused()),
        }
    }

    fn render(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A server that may be called: by its address, a block of addresses, or its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callable {
    /// Every server there.
    Network(Network),
    /// This one, wherever it is.
    Host(HostName),
}

impl Value for Callable {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "an IP address, a block of them as \"10.0.0.0/8\", or a host name as \"origin.example\""
            .to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        let Kind::Text(text) = &node.kind else {
            return Err(refused());
        };
        let is_address = text.contains('/') || text.parse::<IpAddr>().is_ok();
        if is_address && !text.contains("://") {
            return Network::read(node, range).map(Self::Network);
        }
        // What is all digits and dots would be looked up as an address, whatever it says.
        if text.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return Err(refused());
        }
        let host = HostName::read(node, range)?;
        if host.0.starts_with('[') {
            return Err(refused().hint("an address is written without brackets"));
        }
        Ok(Self::Host(host))
    }

    fn render(&self) -> String {
        match self {
            Self::Network(network) => network.render(),
            Self::Host(host) => host.render(),
        }
    }
}

/// A host's name or address as it stands in a `Host` header, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// In lower case; IPv6 addresses in brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for HostName {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "a host name as \"studio.example\", or an address as \"192.0.2.7\" or \"[2001:db8::7]\""
            .to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        let Kind::Text(text) = &node.kind else {
            return Err(refused());
        };
        if text.contains("://") {
            return Err(refused().hint("without http:// or https://"));
        }
        if let Some(inner) = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            && inner.parse::<std::net::Ipv6Addr>().is_ok()
        {
            return Ok(Self(text.to_lowercase()));
        }
        if text.contains(':') {
            return Err(refused().hint("without a port; IPv6 addresses in brackets"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if text.is_empty() || !text.chars().all(plain) {
            return Err(refused());
        }
        Ok(Self(text.to_lowercase()))
    }

    fn render(&self) -> String {
        quoted(&self.0)
    }
}

/// A web origin (RFC 6454 §6.2), or `*` for every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// As a browser writes it in the `Origin` header, or `*`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Origin {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "an origin as browsers write it, as \"https://studio.example\", or \"*\" for all".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        let Kind::Text(text) = &node.kind else {
            return Err(refused());
        };
        if text == "*" {
            return Ok(Self(text.clone()));
        }
        let authority = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let Some(authority) = authority.filter(|rest| !rest.is_empty()) else {
            return Err(refused().hint("it starts with http:// or https://"));
        };
        if authority.contains('/') {
            return Err(refused().hint("an origin has no path, not even a closing slash"));
        }
        if authority.contains('@') {
            return Err(refused().masked());
        }
        let plain = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || "-._:[]".contains(c);
        if !authority.chars().all(plain) {
            return Err(refused().hint("lower-case letters, digits, dots and a port only"));
        }
        Ok(Self(text.clone()))
    }

    fn render(&self) -> String {
        quoted(&self.0)
    }
}
