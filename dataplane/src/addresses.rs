//! Which transport addresses an answer offers.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use whitewater_link::{Locality, ShardIndex};
use whitewater_sdp::{HostCandidate, HostTransport};

/// What a shard's peers can reach.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// Its UDP socket's address, with the real port; shards differ in the port only.
    pub(crate) udp: SocketAddr,
    /// The addresses on which TCP is listened, on the same port; the unspecified one is all.
    pub(crate) tcp: Vec<IpAddr>,
}

/// The host's addresses, looked up again now and then because interfaces come and go.
pub(crate) struct Addresses {
    /// Of each shard.
    bound: Vec<Bound>,
    advertise: Vec<IpAddr>,
    interfaces: Vec<IpAddr>,
    looked_up_at: Option<Instant>,
}

impl Addresses {
    /// For shards that can be reached at `bound`.
    pub(crate) fn new(bound: Vec<Bound>, advertise: Vec<IpAddr>) -> Self {
        Addresses {
            bound,
            advertise,
            interfaces: Vec::new(),
            looked_up_at: None,
        }
    }

    /// The addresses to offer to a peer of `shard`, most wanted first.
    ///
    /// Loopback is only for peers whose HTTP request came over loopback: to anybody else it
    /// names a host of their own.
    pub(crate) fn offered(
        &mut self,
        now: Instant,
        shard: ShardIndex,
        locality: Locality,
    ) -> Vec<HostCandidate> {
        self.look_up(now);
        let Some(bound) = self.bound.get(usize::from(shard.0)) else {
            return Vec::new();
        };
        let (advertise, interfaces) = (&self.advertise, &self.interfaces);
        let offered = select(bound.udp, advertise, interfaces, locality);
        let over = |transport| {
            move |addr: &SocketAddr| HostCandidate {
                transport,
                addr: *addr,
            }
        };
        // What is forwarded to us comes to any address.
        let listens = |addr: &&SocketAddr| {
            let ip = addr.ip();
            let advertised = advertise.contains(&ip) && !interfaces.contains(&ip);
            let at = |listened: &IpAddr| listened.is_unspecified() || *listened == ip;
            bound.tcp.iter().any(|listened| advertised || at(listened))
        };
        let tcp = offered.iter().filter(listens).take(TCP_OFFERED_MAX);
        // UDP first: some clients look at the first candidate only.
        let udp = offered.iter().map(over(HostTransport::Udp));
        udp.chain(tcp.map(over(HostTransport::TcpPassive)))
            .collect()
    }

    /// The addresses of a socket on this port, for another server that may want to check them.
    /// What a NAT forwards leads to other ports, so advertised addresses are not among them.
    pub(crate) fn own(
        &mut self,
        now: Instant,
        port: u16,
        locality: Locality,
    ) -> Vec<HostCandidate> {
        self.look_up(now);
        let Some(bound) = self.bound.first() else {
            return Vec::new();
        };
        let bound = SocketAddr::new(bound.udp.ip(), port);
        let candidate = |addr| HostCandidate {
            transport: HostTransport::Udp,
            addr,
        };
        let offered = select(bound, &[], &self.interfaces, locality);
        offered.into_iter().map(candidate).collect()
    }

    fn look_up(&mut self, now: Instant) {
        let age = |at: Instant| now.saturating_duration_since(at);
        if self
            .looked_up_at
            .is_none_or(|at| age(at) >= LOOKUP_INTERVAL)
        {
            self.looked_up_at = Some(now);
            self.interfaces = interfaces();
        }
    }
}

fn select(
    bound: SocketAddr,
    advertise: &[IpAddr],
    interfaces: &[IpAddr],
    locality: Locality,
) -> Vec<SocketAddr> {
    let reachable = |ip: &&IpAddr| {
        let family = bound.is_ipv6() || ip.is_ipv4();
        family && (bound.ip().is_unspecified() || bound.ip() == **ip)
    };
    let on_loopback = locality == Locality::Loopback;
    let mut offered: Vec<IpAddr> = Vec::new();
    if on_loopback {
        offered.extend(
            interfaces
                .iter()
                .filter(|ip| ip.is_loopback())
                .filter(reachable),
        );
    }
    if advertise.is_empty() {
        offered.extend(
            interfaces
                .iter()
                .filter(|ip| !ip.is_loopback())
                .filter(reachable),
        );
    } else {
        offered.extend(advertise);
        // A peer on this host cannot rely on the NAT turning its packets round.
        if on_loopback {
            offered.extend(
                interfaces
                    .iter()
                    .filter(|ip| !ip.is_loopback())
                    .filter(reachable),
            );
        }
    }
    let mut seen = Vec::new();
    offered.retain(|ip| {
        let fresh = !seen.contains(ip);
        seen.push(*ip);
        fresh
    });
    offered.truncate(OFFERED_MAX);
    let with_port = |ip| SocketAddr::new(ip, bound.port());
    offered.into_iter().map(with_port).collect()
}

/// The addresses of all interfaces that can be reached without a zone.
pub fn interfaces() -> Vec<IpAddr> {
    let all = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "the host's addresses cannot be listed; set media.advertise");
        Vec::new()
    });
    let mut addresses: Vec<IpAddr> = all.iter().map(|interface| interface.ip()).collect();
    // Link-local addresses need a zone, which an SDP candidate has no room for.
    addresses.retain(|ip| match ip {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    });
    addresses
}

const LOOKUP_INTERVAL: Duration = Duration::from_secs(5);
/// Addresses in one answer; clients pair each of theirs with each of ours.
const OFFERED_MAX: usize = 16;
/// Of those over TCP: clients open a connection to each.
const TCP_OFFERED_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter()
            .map(|ip| ip.parse().expect("an address"))
            .collect()
    }

    fn offered(bound: &str, advertise: &[&str], locality: Locality) -> Vec<String> {
        let interfaces = ips(&["127.0.0.1", "::1", "192.0.2.7", "2001:db8::7"]);
        let bound = bound.parse().expect("an address");
        let offered = select(bound, &ips(advertise), &interfaces, locality);
        offered.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn loopback_is_offered_to_loopback_only() {
        let remote = offered("0.0.0.0:7777", &[], Locality::Remote);
        assert_eq!(remote, ["192.0.2.7:7777"]);
        let here = offered("0.0.0.0:7777", &[], Locality::Loopback);
        assert_eq!(here, ["127.0.0.1:7777", "192.0.2.7:7777"]);
    }

    #[test]
    fn a_dual_stack_socket_offers_both_families() {
        let here = offered("[::]:1", &[], Locality::Remote);
        assert_eq!(here, ["192.0.2.7:1", "[2001:db8::7]:1"]);
    }

    #[test]
    fn advertised_addresses_stand_in_for_the_hosts_own() {
        let remote = offered("0.0.0.0:7777", &["203.0.113.9"], Locality::Remote);
        assert_eq!(remote, ["203.0.113.9:7777"]);
        let here = offered("0.0.0.0:7777", &["203.0.113.9"], Locality::Loopback);
        assert_eq!(
            here,
            ["127.0.0.1:7777", "203.0.113.9:7777", "192.0.2.7:7777"]
        );
    }

    #[test]
    fn each_shard_offers_its_own_port() {
        let bound = ["192.0.2.7:5", "192.0.2.7:6"].map(|udp| over_tcp(udp, &[]));
        let mut addresses = Addresses::new(bound.to_vec(), ips(&["203.0.113.9"]));
        for (shard, port) in [(0, Some(5)), (1, Some(6)), (2, None)] {
            let now = Instant::now();
            let offered = addresses.offered(now, ShardIndex(shard), Locality::Remote);
            assert_eq!(offered.first().map(|offered| offered.addr.port()), port);
        }
    }

    fn over_tcp(udp: &str, tcp: &[&str]) -> Bound {
        Bound {
            udp: udp.parse().expect("an address"),
            tcp: ips(tcp),
        }
    }

    #[test]
    fn tcp_is_offered_after_udp_at_the_addresses_it_is_listened_on() {
        let offered = |tcp: &[&str], advertise: &[&str]| {
            let mut addresses = Addresses::new(vec![over_tcp("[::]:7", tcp)], ips(advertise));
            let now = Instant::now();
            addresses.interfaces = ips(&["192.0.2.7", "2001:db8::7"]);
            addresses.looked_up_at = Some(now);
            let offered = addresses.offered(now, ShardIndex(0), Locality::Remote);
            let text = |c: &HostCandidate| match c.transport {
                HostTransport::Udp => format!("udp {}", c.addr),
                HostTransport::TcpPassive => format!("tcp {}", c.addr),
            };
            offered.iter().map(text).collect::<Vec<_>>()
        };
        let udp = ["udp 192.0.2.7:7", "udp [2001:db8::7]:7"];
        assert_eq!(offered(&[], &[]), udp);
        let all = [udp[0], udp[1], "tcp 192.0.2.7:7", "tcp [2001:db8::7]:7"];
        assert_eq!(offered(&["::"], &[]), all);
        let one = [udp[0], udp[1], "tcp 192.0.2.7:7"];
        assert_eq!(offered(&["192.0.2.7"], &[]), one);
        let forwarded = ["udp 203.0.113.9:7", "tcp 203.0.113.9:7"];
        assert_eq!(offered(&["192.0.2.7"], &["203.0.113.9"]), forwarded);
        assert_eq!(offered(&[], &["203.0.113.9"]), forwarded[..1]);
    }

    #[test]
    fn a_bound_address_is_the_only_one() {
        let here = offered("192.0.2.7:5", &[], Locality::Loopback);
        assert_eq!(here, ["192.0.2.7:5"]);
    }
}
