//! Trains on sockets that somebody else has, as the back ends send them.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use crate::backend::{Outgoing, SendOutcome};
use crate::message::Domain;
use crate::mmsg::{Output, fill, send_batch};
use crate::sys::SendArena;
use crate::units::Sender;

/// Sends on the UDP sockets of others, all of which are bound to the same address.
#[derive(Debug)]
pub struct TrainSender {
    domain: Domain,
    output: Output,
}

impl TrainSender {
    /// For sockets bound to `ip`: an IPv6 wildcard reaches IPv4 too. Trains are segmented by the
    /// kernel (UDP_SEGMENT) with `gso`, until a device refuses.
    #[must_use]
    pub fn new(ip: IpAddr, gso: bool) -> Self {
        let domain = match ip {
            IpAddr::V4(_) => Domain::V4,
            IpAddr::V6(ip) if ip.is_unspecified() => Domain::Dual,
            IpAddr::V6(_) => Domain::V6,
        };
        TrainSender {
            domain,
            output: Output {
                sender: Sender::new(domain, gso, BATCH),
                arena: SendArena::new(BATCH),
            },
        }
    }

    /// Whether trains are segmented by the kernel; may become false at run time.
    #[must_use]
    pub fn gso(&self) -> bool {
        self.output.sender.gso()
    }

    /// Sends everything without blocking.
    pub fn send(&mut self, socket: BorrowedFd<'_>, outgoing: &Outgoing) -> SendOutcome {
        let Output { sender, arena } = &mut self.output;
        let domain = self.domain;
        sender.send(outgoing, &mut |units, results| {
            let mut batch = arena.batch();
            if fill(&mut batch, domain, outgoing, units) {
                send_batch(&mut batch, socket, results);
            } else {
                results.fill(-libc::EINVAL);
            }
        })
    }
}

/// Trains in one call.
const BATCH: usize = 16;

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    /// Sends datagrams of these sizes in one go; what arrived, and in how many sends.
    fn carried(from: &str, to: &str, gso: bool, sizes: &[usize]) -> (Vec<Vec<u8>>, u64) {
        let sender = UdpSocket::bind(from).expect("an address");
        let receiver = UdpSocket::bind(to).expect("an address");
        let patience = Some(Duration::from_secs(5));
        receiver.set_read_timeout(patience).expect("a timeout");
        let to = receiver.local_addr().expect("bound");
        let mut outgoing = Outgoing::default();
        for (number, &size) in (0..).zip(sizes) {
            assert!(outgoing.push(to, None, vec![number; size]));
        }
        let ip = sender.local_addr().expect("bound").ip();
        let mut trains = TrainSender::new(ip, gso);
        let outcome = trains.send(sender.as_fd(), &outgoing);
        assert_eq!((outcome.sent, outcome.dropped()), (sizes.len() as u64, 0));
        let one = |_| {
            let mut buffer = [0; 2048];
            let size = receiver.recv(&mut buffer).expect("it arrives");
            buffer[..size].to_vec()
        };
        let sends = outcome.messages;
        (sizes.iter().map(one).collect(), sends)
    }

    #[test]
    fn equal_sizes_leave_in_one_send_and_arrive_one_by_one() {
        let sizes = [1200; 40];
        let wanted: Vec<Vec<u8>> = (0..40).map(|number| vec![number; 1200]).collect();
        let (arrived, sends) = carried("127.0.0.1:0", "127.0.0.1:0", true, &sizes);
        assert_eq!((arrived, sends), (wanted.clone(), 1));
        let (arrived, sends) = carried("127.0.0.1:0", "127.0.0.1:0", false, &sizes);
        assert_eq!((arrived, sends), (wanted, 40));
        let (arrived, _) = carried("127.0.0.1:0", "127.0.0.1:0", true, &[300, 300, 20, 500]);
        let sizes: Vec<usize> = arrived.iter().map(Vec::len).collect();
        assert_eq!(sizes, [300, 300, 20, 500]);
    }

    #[test]
    fn a_socket_for_both_families_reaches_either() {
        if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            return eprintln!("skipped: no IPv6 here");
        }
        for to in ["127.0.0.1:0", "[::1]:0"] {
            let (arrived, sends) = carried("[::]:0", to, true, &[700, 700, 700]);
            assert_eq!((arrived.len(), sends), (3, 1), "{to}");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_counted() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("an address");
        let mut outgoing = Outgoing::default();
        let to: SocketAddr = "[::1]:9".parse().expect("an address");
        assert!(outgoing.push(to, None, [1; 10]));
        let mut trains = TrainSender::new("127.0.0.1".parse().expect("an address"), true);
        let outcome = trains.send(socket.as_fd(), &outgoing);
        assert_eq!((outcome.sent, outcome.dropped_unreachable), (0, 1));
    }
}
