//! A UDP socket of one session: runs of equal packets leave in one call (GSO) and arrive in one
//! (GRO), where the kernel does that.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket as Raw, Type};

/// How a socket is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketOptions {
    /// Take runs of equal packets in one call.
    pub(crate) gro: bool,
    /// Have the kernel note when packets arrive.
    pub(crate) timestamps: bool,
    /// Receive buffer, bytes.
    pub(crate) receive_buffer: usize,
}

/// A non-blocking UDP socket.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: Raw,
    address: SocketAddr,
    connected: bool,
    gso: bool,
}

/// What one receive call gave.
pub(crate) struct Received {
    pub(crate) size: usize,
    /// Every packet but the last has this size.
    pub(crate) segment: usize,
    /// Where from; not told once the socket is connected.
    pub(crate) source: Option<SocketAddr>,
    /// The kernel's note of the arrival, nanoseconds since 1970.
    pub(crate) arrived_ns: Option<u64>,
}

/// Room for what the kernel says besides the bytes.
pub(crate) struct Control(Vec<u8>);

impl Default for Control {
    fn default() -> Self {
        Control(cmsg_space!(i32, TimeSpec))
    }
}

impl Socket {
    /// A socket on a free port.
    ///
    /// # Errors
    /// The kernel's, as when the process may have no more files open.
    pub(crate) fn bind(address: SocketAddr, options: SocketOptions) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let inner = Raw::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        inner.set_nonblocking(true)?;
        // What cannot be had makes the run slower or its clock coarser, not wrong.
        let _ = inner.set_recv_buffer_size(options.receive_buffer);
        if options.gro {
            let _ = setsockopt(&inner, sockopt::UdpGroSegment, &true);
        }
        if options.timestamps {
            let _ = setsockopt(&inner, sockopt::ReceiveTimestampns, &true);
        }
        inner.bind(&address.into())?;
        let address = inner.local_addr()?.as_socket();
        let address = address.ok_or_else(|| io::Error::other("not an IP socket"))?;
        Ok(Socket {
            inner,
            address,
            connected: false,
            gso: true,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From here on only this peer is heard and sent to.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        self.inner.connect(&peer.into())?;
        self.connected = true;
        Ok(())
    }

    /// Sends one datagram; a full socket is a loss like any other.
    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let _ = if self.connected {
            self.inner.send(bytes)
        } else {
            self.inner.send_to(bytes, &to.into())
        };
    }

    /// Sends packets of `segment` bytes, the last one maybe shorter; how many were taken.
    pub(crate) fn send_run(&mut self, bytes: &[u8], segment: usize) -> usize {
        let segment = segment.max(1);
        let run_max = (RUN_SIZE_MAX / segment).clamp(1, RUN_COUNT_MAX) * segment;
        bytes
            .chunks(run_max)
            .map(|run| self.send_one_run(run, segment))
            .sum()
    }

    fn send_one_run(&mut self, run: &[u8], segment: usize) -> usize {
        let count = run.len().div_ceil(segment);
        if self.gso && count > 1 {
            let size = u16::try_from(segment).unwrap_or(u16::MAX);
            let control = [ControlMessage::UdpGsoSegments(&size)];
            let slices = [IoSlice::new(run)];
            let fd = self.inner.as_raw_fd();
            match sendmsg::<()>(fd, &slices, &control, MsgFlags::MSG_DONTWAIT, None) {
                Ok(_) => return count,
                // The device cannot: one by one from here on.
                Err(Errno::EIO | Errno::EINVAL | Errno::EOPNOTSUPP) => self.gso = false,
                Err(_) => return 0,
            }
        }
        let sent = run
            .chunks(segment)
            .filter(|one| self.inner.send(one).is_ok());
        sent.count()
    }

    /// Takes what one call gives; `None` when there is nothing.
    pub(crate) fn receive(&self, buffer: &mut [u8], control: &mut Control) -> Option<Received> {
        let fd = self.inner.as_raw_fd();
        let mut slices = [IoSliceMut::new(buffer)];
        for _ in 0..ERRORS_MAX {
            let flags = MsgFlags::MSG_DONTWAIT;
            let message =
                match recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control.0), flags) {
                    Ok(message) => message,
                    Err(Errno::EAGAIN) => return None,
                    // ICMP's word about something sent earlier comes once each.
                    Err(_) => continue,
                };
            let mut received = Received {
                size: message.bytes,
                segment: message.bytes.max(1),
                source: None,
                arrived_ns: None,
            };
            for note in message.cmsgs().ok().into_iter().flatten() {
                match note {
                    ControlMessageOwned::UdpGroSegments(size) => {
                        received.segment = usize::try_from(size).unwrap_or(0).max(1);
                    }
                    ControlMessageOwned::ScmTimestampns(at) => {
                        let seconds = u64::try_from(at.tv_sec()).unwrap_or(0);
                        let nanoseconds = u64::try_from(at.tv_nsec()).unwrap_or(0);
                        received.arrived_ns = Some(seconds * 1_000_000_000 + nanoseconds);
                    }
                    _ => {}
                }
            }
            if !self.connected {
                received.source = message.address.as_ref().and_then(ip_address);
            }
            return Some(received);
        }
        None
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

fn ip_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::new(v6.ip().into(), v6.port()))
}

/// The kernel's limits on one segmented send.
const RUN_COUNT_MAX: usize = 64;
const RUN_SIZE_MAX: usize = 65_000;
/// Pending errors looked past in one call.
const ERRORS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_arrive_whole_and_in_order() {
        let options = SocketOptions {
            gro: true,
            timestamps: true,
            receive_buffer: 1 << 20,
        };
        let loopback = "127.0.0.1:0".parse().unwrap();
        let receiver = Socket::bind(loopback, options).unwrap();
        let mut sender = Socket::bind(loopback, options).unwrap();
        sender.connect(receiver.address()).unwrap();
        // 70 packets of 1,000 bytes are more than one call takes; the last one is short.
        let bytes: Vec<u8> = (0..70_u8).flat_map(|number| [number; 1000]).collect();
        assert_eq!(sender.send_run(&bytes[..69_500], 1000), 70);
        let (mut buffer, mut control) = (vec![0; 65_536], Control::default());
        let mut seen = Vec::new();
        while let Some(received) = receiver.receive(&mut buffer, &mut control) {
            assert_eq!(received.source, Some(sender.address()));
            assert!(received.arrived_ns.is_some());
            for packet in buffer[..received.size].chunks(received.segment) {
                seen.push((packet[0], packet.len()));
            }
        }
        let expected = (0..70).map(|number| (number, if number == 69 { 500 } else { 1000 }));
        assert_eq!(seen, expected.collect::<Vec<_>>());
    }
}
