//! Socket addresses and control messages as bytes, both ways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::backend::Datagram;
use crate::sys::{self, Plain};

/// Room for any IP socket address.
pub(crate) const NAME_SIZE: usize = size_of::<libc::sockaddr_in6>();

/// Room for what the kernel attaches to a received message: the packet information and the
/// segment size, with one more of the larger kind to spare.
pub(crate) const RECV_CONTROL_SIZE: usize =
    2 * space(size_of::<libc::in6_pktinfo>()) + space(size_of::<libc::c_int>());

/// Room for what we attach to a sent message: the packet information and the segment size.
pub(crate) const SEND_CONTROL_SIZE: usize =
    space(size_of::<libc::in6_pktinfo>()) + space(size_of::<u16>());

/// Which addresses a socket can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Domain {
    /// An IPv4 socket.
    V4,
    /// An IPv6 socket that takes nothing else.
    V6,
    /// An IPv6 socket that reaches IPv4 by mapped addresses.
    Dual,
}

impl Domain {
    /// Whether the socket can send to `destination` from `local`.
    pub(crate) fn reaches(self, destination: SocketAddr, local: Option<IpAddr>) -> bool {
        let destination_v4 = canonical(destination.ip()).is_ipv4();
        let possible = match self {
            Self::V4 => destination_v4,
            Self::V6 => !destination_v4,
            Self::Dual => true,
        };
        possible && local.is_none_or(|local| canonical(local).is_ipv4() == destination_v4)
    }

    /// The segment size's neighbour: writes the address a message goes to; returns its length.
    pub(crate) fn encode_name(self, destination: SocketAddr, name: &mut [u8; NAME_SIZE]) -> usize {
        match (self, canonical(destination.ip())) {
            (Self::V4, IpAddr::V4(ip)) => put(name, 0, &sockaddr_v4(ip, destination.port())),
            (_, ip) => put(name, 0, &sockaddr_v6(ip, destination)),
        }
    }

    /// Writes the control messages of a send; returns their length (0: none).
    pub(crate) fn encode_control(
        self,
        local: Option<IpAddr>,
        segment_size: Option<u16>,
        control: &mut [u8; SEND_CONTROL_SIZE],
    ) -> usize {
        let mut len = 0;
        match (self, local.map(canonical)) {
            (_, None) => {}
            (Self::V4, Some(IpAddr::V4(ip))) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(ip.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                len += put_control(control, len, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            (_, Some(ip)) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: mapped(ip).octets(),
                    },
                    ipi6_ifindex: 0,
                };
                len += put_control(control, len, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
        if let Some(size) = segment_size {
            len += put_control(control, len, libc::SOL_UDP, libc::UDP_SEGMENT, &size);
        }
        len
    }
}

/// What came with a message besides its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Envelope {
    source: SocketAddr,
    local: Option<IpAddr>,
    segment_size: Option<usize>,
}

impl Envelope {
    /// Reads the address and the control messages; `None` without a usable address.
    pub(crate) fn decode(name: &[u8], control: &[u8]) -> Option<Self> {
        let mut envelope = Self {
            source: decode_name(name)?,
            local: None,
            segment_size: None,
        };
        for (level, kind, data) in Controls(control) {
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: Option<libc::in_pktinfo> = sys::read_plain(data);
                    envelope.local = info.map(|info| v4_from(info.ipi_addr).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: Option<libc::in6_pktinfo> = sys::read_plain(data);
                    envelope.local =
                        info.map(|info| canonical(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()));
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size: Option<libc::c_int> = sys::read_plain(data);
                    envelope.segment_size = size
                        .and_then(|size| usize::try_from(size).ok())
                        .filter(|size| *size > 0);
                }
                _ => {}
            }
        }
        Some(envelope)
    }

    /// Hands the datagrams of one message to `sink`; returns how many there were.
    pub(crate) fn deliver(
        &self,
        bound: SocketAddr,
        payload: &[u8],
        sink: &mut dyn FnMut(Datagram<'_>),
    ) -> usize {
        let local = SocketAddr::new(self.local.unwrap_or(bound.ip()), bound.port());
        let mut count = 0;
        let mut rest = payload;
        loop {
            let len = self.segment_size.unwrap_or(usize::MAX).min(rest.len());
            let (bytes, behind) = rest.split_at(len);
            sink(Datagram {
                source: self.source,
                local,
                bytes,
            });
            count += 1;
            rest = behind;
            // An empty datagram is one datagram; a coalesced message ends with its last byte.
            if rest.is_empty() {
                return count;
            }
        }
    }
}

/// IPv4 in its own form, whichever way the kernel gave it.
pub(crate) fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// [`canonical`] for an address with a port.
pub(crate) fn canonical_addr(addr: SocketAddr) -> SocketAddr {
    match canonical(addr.ip()) {
        // The scope of a link-local address must survive.
        IpAddr::V6(_) => addr,
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn v4_from(addr: libc::in_addr) -> Ipv4Addr {
    Ipv4Addr::from(addr.s_addr.to_ne_bytes())
}

fn sockaddr_v4(ip: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: FAMILY_V4,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(ip.octets()),
        },
        sin_zero: [0; 8],
    }
}

fn sockaddr_v6(ip: IpAddr, whole: SocketAddr) -> libc::sockaddr_in6 {
    let (flowinfo, scope_id) = match whole {
        SocketAddr::V6(addr) if ip.is_ipv6() => (addr.flowinfo(), addr.scope_id()),
        _ => (0, 0),
    };
    libc::sockaddr_in6 {
        sin6_family: FAMILY_V6,
        sin6_port: whole.port().to_be(),
        sin6_flowinfo: flowinfo,
        sin6_addr: libc::in6_addr {
            s6_addr: mapped(ip).octets(),
        },
        sin6_scope_id: scope_id,
    }
}

fn decode_name(name: &[u8]) -> Option<SocketAddr> {
    let family: libc::sa_family_t = sys::read_plain(name)?;
    match family {
        FAMILY_V4 => {
            let addr: libc::sockaddr_in = sys::read_plain(name)?;
            let port = u16::from_be(addr.sin_port);
            Some(SocketAddrV4::new(v4_from(addr.sin_addr), port).into())
        }
        FAMILY_V6 => {
            let addr: libc::sockaddr_in6 = sys::read_plain(name)?;
            let ip = Ipv6Addr::from(addr.sin6_addr.s6_addr);
            let port = u16::from_be(addr.sin6_port);
            // The flow label is the sender's business and would make one peer look like many.
            let addr = SocketAddrV6::new(ip, port, 0, addr.sin6_scope_id);
            Some(canonical_addr(addr.into()))
        }
        _ => None,
    }
}

/// The control messages in a buffer the kernel wrote: level, type, data.
struct Controls<'a>(&'a [u8]);

impl<'a> Iterator for Controls<'a> {
    type Item = (libc::c_int, libc::c_int, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header: libc::cmsghdr = sys::read_plain(self.0)?;
        // The type of the length differs between C libraries.
        #[allow(clippy::useless_conversion)]
        let len = usize::try_from(header.cmsg_len).ok()?;
        let data = self.0.get(HEADER_SIZE..len)?;
        self.0 = self.0.get(aligned(len)..).unwrap_or_default();
        Some((header.cmsg_level, header.cmsg_type, data))
    }
}

/// Appends one control message at `offset`; returns the room it takes.
fn put_control<T: Plain>(
    control: &mut [u8],
    offset: usize,
    level: libc::c_int,
    kind: libc::c_int,
    data: &T,
) -> usize {
    let mut header: libc::cmsghdr = sys::zeroed();
    header.cmsg_len = (HEADER_SIZE + size_of::<T>()) as _;
    header.cmsg_level = level;
    header.cmsg_type = kind;
    put(control, offset, &header);
    put(control, offset + HEADER_SIZE, data);
    space(size_of::<T>())
}

/// Copies a kernel struct to `offset`; returns its size.
fn put<T: Plain>(buffer: &mut [u8], offset: usize, value: &T) -> usize {
    let bytes = sys::plain_bytes(value);
    // The buffers are sized for every combination that is written (the constants above).
    buffer[offset..offset + bytes.len()].copy_from_slice(bytes);
    bytes.len()
}

/// CMSG_ALIGN.
const fn aligned(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

/// CMSG_SPACE.
const fn space(len: usize) -> usize {
    HEADER_SIZE + aligned(len)
}

const HEADER_SIZE: usize = aligned(size_of::<libc::cmsghdr>());
const FAMILY_V4: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
const FAMILY_V6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn round_trip(domain: Domain, text: &str) -> Option<SocketAddr> {
        let mut name = [0; NAME_SIZE];
        let len = domain.encode_name(addr(text), &mut name);
        decode_name(&name[..len])
    }

    #[test]
    fn control_arithmetic_agrees_with_the_c_library() {
        for len in [2, 4, 12, 20] {
            let (ours, theirs) = (space(len as usize), sys::cmsg_space(len) as usize);
            assert_eq!(ours, theirs, "{len}");
        }
    }

    #[test]
    fn addresses_survive_and_mapped_ones_come_back_as_ipv4() {
        for (domain, text) in [
            (Domain::V4, "192.0.2.1:3478"),
            (Domain::Dual, "192.0.2.1:3478"),
            (Domain::Dual, "[2001:db8::1]:65535"),
            (Domain::V6, "[fe80::1%3]:9"),
        ] {
            assert_eq!(round_trip(domain, text), Some(addr(text)));
        }
        let back = round_trip(Domain::V4, "[::ffff:192.0.2.1]:1");
        assert_eq!(back, Some(addr("192.0.2.1:1")));
    }

    #[test]
    fn a_socket_reaches_only_its_own_families() {
        let (four, six) = (addr("192.0.2.1:1"), addr("[2001:db8::1]:1"));
        assert!(Domain::V4.reaches(four, None) && !Domain::V4.reaches(six, None));
        assert!(Domain::V6.reaches(six, None) && !Domain::V6.reaches(four, None));
        assert!(Domain::Dual.reaches(four, None) && Domain::Dual.reaches(six, None));
        assert!(!Domain::Dual.reaches(four, Some(six.ip())));
        let mapped = addr("[::ffff:192.0.2.9]:1").ip();
        assert!(Domain::Dual.reaches(four, Some(mapped)));
    }

    #[test]
    fn control_messages_are_read_back() {
        for (domain, ip) in [
            (Domain::Dual, "192.0.2.1"),
            (Domain::Dual, "2001:db8::1"),
            (Domain::V6, "2001:db8::1"),
        ] {
            let ip: IpAddr = ip.parse().expect("an address");
            let mut control = [0; SEND_CONTROL_SIZE];
            let len = domain.encode_control(Some(ip), Some(1200), &mut control);
            assert_eq!(len, SEND_CONTROL_SIZE);
            let name = {
                let mut name = [0; NAME_SIZE];
                Domain::Dual.encode_name(addr("192.0.2.7:7"), &mut name);
                name
            };
            let envelope = Envelope::decode(&name, &control[..len]).expect("readable");
            assert_eq!(envelope.local, Some(ip));
            let kinds: Vec<_> = Controls(&control)
                .map(|(l, k, d)| (l, k, d.len()))
                .collect();
            assert_eq!(kinds[1], (libc::SOL_UDP, libc::UDP_SEGMENT, 2));
        }
    }

    #[test]
    fn cut_off_control_messages_are_ignored() {
        let mut control = [0; SEND_CONTROL_SIZE];
        let local = Some(addr("192.0.2.1:1").ip());
        let len = Domain::V4.encode_control(local, Some(9), &mut control);
        for cut in 0..len {
            assert!(Controls(&control[..cut]).count() <= 2, "{cut}");
        }
        let liar = [0xff; 64];
        assert_eq!(Controls(&liar).count(), 0);
        assert_eq!(Controls(&[0; 64]).count(), 0);
        assert!(Envelope::decode(&[], &[]).is_none());
        assert!(Envelope::decode(&[0xff; 28], &[]).is_none());
    }

    #[test]
    fn a_coalesced_message_is_split_and_an_empty_one_is_one() {
        let bound = addr("0.0.0.0:5000");
        let mut envelope = Envelope {
            source: addr("192.0.2.7:7"),
            local: Some(addr("192.0.2.1:0").ip()),
            segment_size: Some(4),
        };
        let mut seen = Vec::new();
        let mut sink = |d: Datagram<'_>| seen.push((d.local, d.bytes.to_vec()));
        assert_eq!(envelope.deliver(bound, b"aaaabbbbcc", &mut sink), 3);
        assert_eq!(envelope.deliver(bound, b"aaaa", &mut sink), 1);
        assert_eq!(envelope.deliver(bound, b"", &mut sink), 1);
        envelope.segment_size = None;
        envelope.local = None;
        assert_eq!(envelope.deliver(bound, b"whole", &mut sink), 1);
        let bytes: Vec<_> = seen.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        assert_eq!(
            bytes,
            [&b"aaaa"[..], b"bbbb", b"cc", b"aaaa", b"", b"whole"]
        );
        assert_eq!(seen[0].0, addr("192.0.2.1:5000"));
        assert_eq!(seen[5].0, bound);
    }
}
