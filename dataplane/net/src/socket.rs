//! The UDP socket under every kernel back end, and its options.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Protocol, SockAddr, Socket, Type};

use crate::config::{Config, OpenError};
use crate::message::{Domain, canonical_addr};
use crate::sys;

/// A bound socket and what the kernel granted.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The socket, in blocking mode: every call says itself that it must not wait, and io_uring
    /// takes O_NONBLOCK as "fail instead of waiting for a datagram".
    pub(crate) socket: Socket,
    /// The bound address; a wildcard stays one, the port is the real one.
    pub(crate) addr: SocketAddr,
    /// What the socket can reach.
    pub(crate) domain: Domain,
    /// UDP_SEGMENT is wanted and the kernel knows it.
    pub(crate) gso: bool,
    /// UDP_GRO is on.
    pub(crate) gro: bool,
    /// SO_RCVBUF as granted.
    pub(crate) recv_buffer_bytes: usize,
    /// SO_SNDBUF as granted.
    pub(crate) send_buffer_bytes: usize,
}

impl Bound {
    /// Makes and binds the socket that `config` describes.
    pub(crate) fn open(config: &Config) -> Result<Self, OpenError> {
        let bind = canonical_addr(config.bind);
        let failed = |what| {
            move |cause| OpenError::Socket {
                what,
                bind: config.bind,
                cause,
            }
        };
        let domain = domain(bind);
        let family = socket2::Domain::for_address(bind);
        let socket =
            Socket::new(family, Type::DGRAM, Some(Protocol::UDP)).map_err(failed("socket"))?;
        if domain != Domain::V4 {
            socket
                .set_only_v6(domain == Domain::V6)
                .map_err(failed("IPV6_V6ONLY"))?;
        }
        if config.reuse_port {
            socket
                .set_reuse_port(true)
                .map_err(failed("SO_REUSEPORT"))?;
        }
        set_packet_options(socket.as_fd(), domain).map_err(failed("packet options"))?;
        if !config.checksums {
            sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)
                .map_err(failed("SO_NO_CHECK"))?;
        }
        set_buffers(&socket, config);
        // Zero keeps segmentation per message; an old kernel does not know the option at all.
        let gso = config.gso && set_udp(socket.as_fd(), libc::UDP_SEGMENT, 0);
        let gro = config.gro && set_udp(socket.as_fd(), libc::UDP_GRO, 1);
        socket.bind(&SockAddr::from(bind)).map_err(failed("bind"))?;
        let addr = socket
            .local_addr()
            .map_err(failed("getsockname"))?
            .as_socket()
            .ok_or(OpenError::Config("the socket has no IP address"))?;
        Ok(Self {
            recv_buffer_bytes: socket.recv_buffer_size().map_err(failed("SO_RCVBUF"))?,
            send_buffer_bytes: socket.send_buffer_size().map_err(failed("SO_SNDBUF"))?,
            socket,
            addr: canonical_addr(addr),
            domain,
            gso,
            gro,
        })
    }

    /// Switches receive coalescing off, for a back end that cannot see where to split.
    pub(crate) fn disable_gro(&mut self) {
        if self.gro {
            set_udp(self.socket.as_fd(), libc::UDP_GRO, 0);
            self.gro = false;
        }
    }

    /// What to tell the operator about the buffers, if they are smaller than wished.
    pub(crate) fn buffer_advice(&self, config: &Config) -> Option<String> {
        // The kernel doubles what it is asked for, to account for its own bookkeeping.
        let advice = |what, limit, granted: usize, wished: usize| {
            (granted / 2 < wished).then(|| {
                format!(
                    "UDP {what} buffer is {} bytes instead of {wished}: \
                     raise {limit} to at least {wished}",
                    granted / 2
                )
            })
        };
        let receive = advice(
            "receive",
            "net.core.rmem_max",
            self.recv_buffer_bytes,
            config.recv_buffer_bytes,
        );
        let send = advice(
            "send",
            "net.core.wmem_max",
            self.send_buffer_bytes,
            config.send_buffer_bytes,
        );
        let lines: Vec<String> = receive.into_iter().chain(send).collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn domain(bind: SocketAddr) -> Domain {
    match bind.ip() {
        IpAddr::V4(_) => Domain::V4,
        IpAddr::V6(ip) if ip.is_unspecified() => Domain::Dual,
        IpAddr::V6(_) => Domain::V6,
    }
}

/// Packet information on receive, and no path MTU discovery.
///
/// Discovery is *omitted* on purpose. Our datagrams fit the smallest MTU of IPv6 (1,280 bytes), so
/// there is nothing to discover. WANT and DO believe ICMP "too big" messages, which anybody can
/// forge to shrink our packets and make the kernel refuse segmented sends; PROBE ignores them but
/// sets DF, so a narrow IPv4 path would lose media that a router could have fragmented. OMIT
/// ignores the messages, leaves DF clear and fragments what exceeds the device's own MTU.
fn set_packet_options(socket: BorrowedFd<'_>, domain: Domain) -> io::Result<()> {
    if domain != Domain::V6 {
        let level = libc::IPPROTO_IP;
        let mode = libc::IP_PMTUDISC_OMIT;
        sys::set_option(socket, level, libc::IP_MTU_DISCOVER, mode)?;
    }
    if domain == Domain::V4 {
        return sys::set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1);
    }
    let level = libc::IPPROTO_IPV6;
    sys::set_option(socket, level, libc::IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT)?;
    // This covers IPv4 on a dual-stack socket too: the address comes mapped.
    sys::set_option(socket, level, libc::IPV6_RECVPKTINFO, 1)
}

/// Asks for the buffers as a privileged process may, then as anybody may. What came of it is read
/// back later; a small buffer is worth a warning, not a failure.
fn set_buffers(socket: &Socket, config: &Config) {
    let size = |bytes: usize| libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2);
    let (recv, send) = (config.recv_buffer_bytes, config.send_buffer_bytes);
    let level = libc::SOL_SOCKET;
    if sys::set_option(socket.as_fd(), level, libc::SO_RCVBUFFORCE, size(recv)).is_err() {
        let _ = socket.set_recv_buffer_size(recv);
    }
    if sys::set_option(socket.as_fd(), level, libc::SO_SNDBUFFORCE, size(send)).is_err() {
        let _ = socket.set_send_buffer_size(send);
    }
}

fn set_udp(socket: BorrowedFd<'_>, name: libc::c_int, value: libc::c_int) -> bool {
    sys::set_option(socket, libc::SOL_UDP, name, value).is_ok()
}

/// linux/in6.h; the libc crate names only the IPv4 one, which has the same value.
const IPV6_PMTUDISC_OMIT: libc::c_int = libc::IP_PMTUDISC_OMIT;
