//! The least that forwarding can cost: seal and send, with no server around it.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recvmsg, setsockopt, sockopt};
use rustix::event::{Timespec, epoll};
use whitewater_net::{Backend, BackendKind, Choice, Config, Outgoing, Train, open};
use whitewater_srtp::{MasterKey, Profile, SrtpSealer};

use crate::common::Failed;

/// Sealed packets to many peers, each with a key of its own.
pub(crate) struct Sender {
    peers: Vec<Peer>,
    payload: Vec<u8>,
    profile: Profile,
    index: u64,
}

struct Peer {
    address: SocketAddr,
    sealer: SrtpSealer,
}

/// How sealed packets leave.
pub(crate) enum Exit {
    /// Through a back end of the server's.
    Backend(Box<dyn Backend>),
    /// One system call for each packet.
    Naive(UdpSocket),
}

impl Exit {
    pub(crate) fn backend(kind: BackendKind, gso: bool) -> Result<Exit, Failed> {
        let bell = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
        let mut config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), bell);
        config.backend = Choice::Kind(kind);
        config.gso = gso;
        Ok(Exit::Backend(open(config)?.backend))
    }

    pub(crate) fn naive() -> Result<Exit, Failed> {
        Ok(Exit::Naive(UdpSocket::bind("127.0.0.1:0")?))
    }
}

impl Sender {
    /// Packets of `size` bytes on the wire, tag included.
    pub(crate) fn new(sinks: &Sinks, size: usize) -> Result<Sender, Failed> {
        let profile = Profile::AeadAes128Gcm;
        let peer = |(number, address): (usize, &SocketAddr)| -> Result<Peer, Failed> {
            let mut key = [7; 16];
            key[..8].copy_from_slice(&(number as u64).to_be_bytes());
            let master = MasterKey::new(profile, &key, &[9; 12])?;
            Ok(Peer {
                address: *address,
                sealer: SrtpSealer::new(&master)?,
            })
        };
        let peers = sinks.addresses.iter().enumerate().map(peer);
        Ok(Sender {
            peers: peers.collect::<Result<_, _>>()?,
            payload: vec![0x5a; size - HEADER_SIZE - profile.rtp_overhead()],
            profile,
            index: 0,
        })
    }

    /// A run of `count` packets to every peer; how many were taken.
    ///
    /// As in the server, packets are sealed where they are sent from: `outgoing` keeps its bytes.
    pub(crate) fn send(&mut self, count: u64, exit: &mut Exit, outgoing: &mut Outgoing) -> u64 {
        let size = HEADER_SIZE + self.payload.len() + self.profile.rtp_overhead();
        let run_size = size * count as usize;
        outgoing.trains.clear();
        outgoing.bytes.resize(run_size * self.peers.len(), 0);
        let mut sent = 0;
        for (number, peer) in self.peers.iter().enumerate() {
            let start = number * run_size;
            let run = &mut outgoing.bytes[start..start + run_size];
            for (packet, index) in run.chunks_mut(size).zip(self.index..) {
                let mut header = [0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
                header[2..4].copy_from_slice(&(index as u16).to_be_bytes());
                let sealed = peer.sealer.seal(&header, &self.payload, 9, index, packet);
                debug_assert_eq!(sealed, Ok(size));
                if let Exit::Naive(socket) = exit {
                    sent += u64::from(socket.send_to(packet, peer.address).is_ok());
                }
            }
            outgoing.trains.push(Train {
                destination: peer.address,
                local: None,
                start,
                size: run_size,
                segment_size: size as u16,
            });
        }
        self.index += count;
        if let Exit::Backend(backend) = exit {
            sent += backend.send(outgoing).sent;
        }
        sent
    }
}

/// Sockets that are emptied by a thread of their own, as a load generator's are: in whole runs
/// (UDP_GRO), or packet by packet.
pub(crate) struct Sinks {
    pub(crate) addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sinks {
    pub(crate) fn start(count: usize, gro: bool) -> Result<Sinks, Failed> {
        let mut sockets = Vec::new();
        for _ in 0..count {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            setsockopt(&socket, sockopt::UdpGroSegment, &gro)?;
            setsockopt(&socket, sockopt::RcvBuf, &(1 << 20))?;
            sockets.push(socket);
        }
        let addresses = sockets
            .iter()
            .map(UdpSocket::local_addr)
            .collect::<Result<_, _>>()?;
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, socket) in sockets.iter().enumerate() {
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&poller, socket, data, epoll::EventFlags::IN)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || drain(&poller, &sockets, &stopped));
        Ok(Sinks {
            addresses,
            stop,
            thread: Some(thread),
        })
    }
}

/// Empties sockets as the load generator's viewers do: what a receiver waits by is part of what a
/// send costs on loopback.
fn drain(poller: &OwnedFd, sockets: &[UdpSocket], stopped: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    let mut events = Vec::with_capacity(1024);
    let mut busy = false;
    while !stopped.load(Ordering::Relaxed) {
        let timeout = if busy { Duration::ZERO } else { WAIT };
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        events.clear();
        let space = rustix::buffer::spare_capacity(&mut events);
        if epoll::wait(poller, space, Some(&timeout)).is_err() {
            continue;
        }
        if events.is_empty() && busy {
            std::thread::sleep(REST);
        }
        busy = !events.is_empty();
        for event in &events {
            let number = event.data.u64();
            let Some(socket) = sockets.get(number as usize) else {
                continue;
            };
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            while recvmsg::<()>(fd, &mut slices, None, flags).is_ok() {}
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// CPU time of this thread, in the kernel and out of it.
pub(crate) fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let spent = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(spent.unwrap_or(0))
}

/// Sends to each peer for `round`, as many packets every `interval` as `counts` says in turn; CPU
/// nanoseconds a packet.
pub(crate) fn paced(
    sender: &mut Sender,
    exit: &mut Exit,
    counts: &[u64],
    interval: Duration,
    round: Duration,
) -> f64 {
    let mut outgoing = Outgoing::default();
    let mut counts = counts.iter().copied().cycle();
    sender.send(counts.next().unwrap_or(1), exit, &mut outgoing);
    let (start, spent) = (Instant::now(), on_cpu());
    let (mut due, mut packets) = (start, 0);
    while start.elapsed() < round {
        packets += sender.send(counts.next().unwrap_or(1), exit, &mut outgoing);
        due += interval;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    (on_cpu() - spent).as_nanos() as f64 / packets.max(1) as f64
}

const HEADER_SIZE: usize = 12;
const WAIT: Duration = Duration::from_millis(100);
/// Between two looks, as the load generator's.
const REST: Duration = Duration::from_millis(2);
