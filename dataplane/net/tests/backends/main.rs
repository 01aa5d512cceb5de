//! Every kernel back end over real loopback sockets, with GSO and GRO on and off.

mod addresses;
mod fake;
mod flood;
mod opening;
mod refusal;
mod round_trip;
mod waking;

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use whitewater_net::{Backend, BackendKind, Choice, Config, open, probe_uring};

/// One cell of the matrix.
#[derive(Debug, Clone, Copy)]
struct Setup {
    kind: BackendKind,
    gso: bool,
    gro: bool,
}

/// A received datagram, owned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    source: SocketAddr,
    local: SocketAddr,
    bytes: Vec<u8>,
}

impl Setup {
    fn open(self, bind: &str) -> Box<dyn Backend> {
        self.open_with(bind, |_| {}).0
    }

    /// Opens with changes to the configuration; also returns a handle to ring the doorbell with.
    fn open_with(
        self,
        bind: &str,
        change: impl FnOnce(&mut Config),
    ) -> (Box<dyn Backend>, OwnedFd) {
        let bell = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
        let ringer = bell.try_clone().expect("a duplicate");
        let mut config = Config::new(bind.parse().expect("an address"), bell);
        config.backend = Choice::Kind(self.kind);
        config.gso = self.gso;
        config.gro = self.gro;
        config.recv_buffer_size = 65_535;
        config.recv_buffers = 64;
        change(&mut config);
        let opened = open(config).unwrap_or_else(|e| panic!("{self:?} on {bind}: {e}"));
        assert_eq!(opened.backend.kind(), self.kind);
        assert_eq!(opened.choice.kind, self.kind);
        (opened.backend, ringer)
    }
}

/// The kinds that work here: io_uring may be forbidden where the tests run.
fn kinds() -> Vec<BackendKind> {
    let mut kinds = vec![BackendKind::Mmsg];
    match probe_uring() {
        Ok(()) => kinds.extend([BackendKind::Uring, BackendKind::TokioUring]),
        Err(reason) => eprintln!("only mmsg is tested: {reason}"),
    }
    kinds
}

/// Every kind with everything on.
fn each_kind(mut test: impl FnMut(Setup)) {
    for kind in kinds() {
        let (gso, gro) = (true, true);
        test(Setup { kind, gso, gro });
    }
}

/// Every kind with every combination of GSO and GRO.
fn each_setup(mut test: impl FnMut(Setup)) {
    for kind in kinds() {
        for (gso, gro) in [(true, true), (true, false), (false, true), (false, false)] {
            test(Setup { kind, gso, gro });
        }
    }
}

/// A plain socket that gives up after a while.
fn peer(bind: &str) -> UdpSocket {
    let socket = UdpSocket::bind(bind).expect("a socket");
    let timeout = Some(PATIENCE);
    socket.set_read_timeout(timeout).expect("a timeout");
    socket
}

fn addr(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("bound")
}

/// The loopback address to reach a back end at.
fn at(backend: &dyn Backend, ip: &str) -> SocketAddr {
    let port = backend.local_addrs()[0].port();
    SocketAddr::new(ip.parse().expect("an address"), port)
}

fn receive_from(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 70_000];
    let (size, source) = socket.recv_from(&mut buffer).expect("a datagram in time");
    buffer.truncate(size);
    (buffer, source)
}

/// Drains until `count` datagrams came or patience ends.
fn receive(backend: &mut dyn Backend, count: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let end = Instant::now() + PATIENCE;
    while seen.len() < count && Instant::now() < end {
        backend.wait(Some(Duration::from_millis(50))).expect("wait");
        drain(backend, &mut seen);
    }
    seen
}

/// Hands over everything that is there now.
fn drain(backend: &mut dyn Backend, seen: &mut Vec<Seen>) {
    loop {
        let before = seen.len();
        let drained = backend.drain(16, &mut |datagram| {
            seen.push(Seen {
                source: datagram.source,
                local: datagram.local,
                bytes: datagram.bytes.to_vec(),
            });
        });
        assert_eq!(drained.count, seen.len() - before);
        assert!(
            drained.count < 16 + 64,
            "a budget is exceeded by one message at most"
        );
        if !drained.more {
            return;
        }
    }
}

/// Bytes that differ from one datagram to the next in every position.
fn payload(seed: usize, size: usize) -> Vec<u8> {
    (0..size)
        .map(|index| (seed.wrapping_mul(31) ^ index ^ (index >> 8)) as u8)
        .collect()
}

const PATIENCE: Duration = Duration::from_secs(5);
