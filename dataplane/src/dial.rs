//! The sockets of sessions in which this server is the client of another one.
//!
//! Each such session has a socket of its own. With the shards' one port two sessions with the same
//! server would be the same pair of addresses, which is all that either side tells datagrams apart
//! by. One thread reads all of them and hands over by a queue what comes; what a shard sends comes
//! back by another. There is one such session for each stream that comes from elsewhere or goes
//! there, so they are few, and the step between threads costs little.
//!
//! It knows neither ICE nor sessions: a socket is opened by the negotiator for an offer and closed
//! when its session is gone.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};
use whitewater_engine::dialling::OwnSocket;
use whitewater_engine::session::dialler::Family;
use whitewater_link::ShardIndex;
use whitewater_link::queue::{Doorbell, Receiver, Sender, channel};
use whitewater_net::{Outgoing, Train, TrainSender};

/// A datagram from another server.
#[derive(Debug)]
pub(crate) struct FromFar {
    /// The port of the socket it came to.
    pub(crate) port: u16,
    pub(crate) source: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) bytes: Box<[u8]>,
}

/// What a shard wants done.
#[derive(Debug)]
enum ToFar {
    /// Datagrams of `segment_size` bytes, the last of which may be shorter.
    Train {
        port: u16,
        peer: SocketAddr,
        bytes: Vec<u8>,
        segment_size: u16,
    },
    /// The socket is of no use any more.
    Close(u16),
    /// None of the shard's is.
    CloseAll,
}

/// A shard's end of the line.
pub(crate) struct FarLine {
    pub(crate) from_far: Receiver<FromFar>,
    to_far: Sender<ToFar>,
    /// Closed as soon as there is room to say so.
    unsaid: Vec<u16>,
    dropped: Arc<AtomicU64>,
    /// Bytes on their way to the thread.
    waiting: Arc<AtomicUsize>,
}

impl FarLine {
    /// Sends datagrams of one size, the last of which may be shorter; lost and counted when the
    /// line is full.
    pub(crate) fn send(&mut self, port: u16, peer: SocketAddr, bytes: &[u8], segment_size: usize) {
        let count = bytes.len().div_ceil(segment_size.max(1)) as u64;
        let has_room = self.waiting.load(Ordering::Relaxed) + bytes.len() <= WAITING_SIZE_MAX;
        let segment_size = u16::try_from(segment_size).ok().filter(|_| has_room);
        let Some(segment_size) = segment_size else {
            self.dropped.fetch_add(count, Ordering::Relaxed);
            return;
        };
        self.waiting.fetch_add(bytes.len(), Ordering::Relaxed);
        let train = ToFar::Train {
            port,
            peer,
            bytes: bytes.to_vec(),
            segment_size,
        };
        if self.to_far.push(train).is_err() {
            self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Passes on which sockets are of no use any more, and wakes the thread.
    pub(crate) fn flush(&mut self, closed: &mut Vec<u16>) {
        self.unsaid.append(closed);
        let said = self
            .unsaid
            .iter()
            .take_while(|port| self.to_far.push(ToFar::Close(**port)).is_ok())
            .count();
        self.unsaid.drain(..said);
        self.to_far.ring();
    }

    /// Closes all sockets of this shard.
    pub(crate) fn close_all(&mut self) {
        self.unsaid.clear();
        let _ = self.to_far.push(ToFar::CloseAll);
        self.to_far.ring();
    }

    /// Datagrams that were lost on the way to a server.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The negotiator's word.
#[derive(Debug)]
enum Order {
    Open {
        shard: ShardIndex,
        socket: std::net::UdpSocket,
        own: OwnSocket,
    },
    Close(u16),
}

/// Opens sockets and hands them over.
pub(crate) struct Opener {
    orders: Sender<Order>,
    ip: IpAddr,
    open: Arc<AtomicUsize>,
}

/// A socket that waits for the answer to its offer.
#[derive(Debug)]
pub(crate) struct Fresh {
    socket: std::net::UdpSocket,
    pub(crate) own: OwnSocket,
    /// One less when it is gone.
    _seat: Seat,
}

/// Counts one socket.
#[derive(Debug)]
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Opener {
    /// A socket on a free port; `None` when there are too many.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn open(&self) -> io::Result<Option<Fresh>> {
        let seat = Seat(self.open.clone());
        if self.open.fetch_add(1, Ordering::Relaxed) >= SOCKETS_MAX {
            return Ok(None);
        }
        let address = SocketAddr::new(self.ip, 0);
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(!self.ip.is_unspecified())?;
        }
        // As much as the kernel gives.
        let _ = socket.set_recv_buffer_size(RECV_BUFFER_SIZE);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = std::net::UdpSocket::from(socket);
        let own = OwnSocket {
            port: socket.local_addr()?.port(),
            family: match self.ip {
                IpAddr::V4(_) => Family::V4,
                IpAddr::V6(ip) if ip.is_unspecified() => Family::Both,
                IpAddr::V6(_) => Family::V6,
            },
        };
        Ok(Some(Fresh {
            socket,
            own,
            _seat: seat,
        }))
    }

    /// Gives a socket to the session of this shard. False when the thread is behind or gone.
    pub(crate) fn hand_over(&mut self, shard: ShardIndex, fresh: Fresh) -> bool {
        let Fresh { socket, own, _seat } = fresh;
        // Counted by the thread from here on.
        self.open.fetch_add(1, Ordering::Relaxed);
        let sent = self.orders.send(Order::Open { shard, socket, own }).is_ok();
        if !sent {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }

    /// Takes a socket back.
    pub(crate) fn close(&mut self, port: u16) {
        let _ = self.orders.send(Order::Close(port));
    }
}

/// The most sockets there may be.
pub(crate) const SOCKETS_MAX: usize = 1024;

/// The thread's state.
pub(crate) struct Dialled {
    poll: Poll,
    bell: Arc<Doorbell>,
    orders: Receiver<Order>,
    shards: Vec<PlaneLine>,
    sockets: HashMap<u16, Own>,
    /// Those with more to read than was their share.
    unread: Vec<u16>,
    open: Arc<AtomicUsize>,
    buffer: Vec<u8>,
    /// Where the sockets are, and whether the kernel is to segment trains.
    ip: IpAddr,
    gso: bool,
}

/// What is sent by; made by the thread itself.
struct Post {
    sender: TrainSender,
    outgoing: Outgoing,
}

struct Own {
    socket: UdpSocket,
    local: SocketAddr,
    shard: usize,
}

/// This thread's end of a shard's line.
struct PlaneLine {
    from_far: Sender<FromFar>,
    to_far: Receiver<ToFar>,
    dropped: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
}

impl Dialled {
    /// A thread's state, the negotiator's end and the shards' ends in the order of their `bells`.
    /// Sockets are opened on `ip`, and send by UDP_SEGMENT with `gso`.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn new(
        ip: IpAddr,
        gso: bool,
        bells: &[Arc<Doorbell>],
    ) -> io::Result<(Self, Opener, Vec<FarLine>)> {
        let poll = Poll::new()?;
        let bell = Arc::new(Doorbell::new()?);
        let fd = bell.as_fd().as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), BELL, Interest::READABLE)?;
        let (orders, orders_in) = channel(SOCKETS_MAX, bell.clone());
        let open = Arc::new(AtomicUsize::new(0));
        let opener = Opener {
            orders,
            ip,
            open: open.clone(),
        };
        let (mut shards, mut lines) = (Vec::new(), Vec::new());
        for shard_bell in bells {
            let (up, up_in) = channel(QUEUE_MAX, shard_bell.clone());
            let (down, down_in) = channel(QUEUE_MAX, bell.clone());
            let dropped = Arc::new(AtomicU64::new(0));
            let waiting = Arc::new(AtomicUsize::new(0));
            shards.push(PlaneLine {
                from_far: up,
                to_far: down_in,
                dropped: dropped.clone(),
                waiting: waiting.clone(),
            });
            lines.push(FarLine {
                from_far: up_in,
                to_far: down,
                unsaid: Vec::new(),
                dropped,
                waiting,
            });
        }
        let dialled = Dialled {
            poll,
            bell,
            orders: orders_in,
            shards,
            sockets: HashMap::new(),
            unread: Vec::new(),
            open,
            buffer: vec![0; DATAGRAM_SIZE_MAX],
            ip,
            gso,
        };
        Ok((dialled, opener, lines))
    }

    /// Works until all shards are gone.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut post = Post {
            sender: TrainSender::new(self.ip, self.gso),
            outgoing: Outgoing::default(),
        };
        while !self.shards.iter().all(|s| s.to_far.is_abandoned()) {
            self.bell.arm();
            // Bounded, so that the end of the shards is noticed.
            let timeout = if self.is_busy() {
                Duration::ZERO
            } else {
                IDLE_LOOK
            };
            let polled = self.poll.poll(&mut events, Some(timeout));
            self.bell.answer();
            if let Err(error) = polled
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "sessions with other servers end: their sockets cannot be waited for");
                return;
            }
            self.take_orders();
            for port in std::mem::take(&mut self.unread) {
                self.read(port);
            }
            for event in &events {
                if event.token() != BELL {
                    self.read(event.token().0 as u16);
                }
            }
            self.take_from_shards(&mut post);
            for shard in &mut self.shards {
                shard.from_far.ring();
            }
        }
    }

    /// Whether there is something to do that nothing will wake us for.
    fn is_busy(&self) -> bool {
        let told = |shard: &PlaneLine| !shard.to_far.is_empty();
        !self.unread.is_empty() || !self.orders.is_empty() || self.shards.iter().any(told)
    }

    fn take_orders(&mut self) {
        while let Some(order) = self.orders.pop() {
            match order {
                Order::Open { shard, socket, own } => {
                    if let Err(error) = self.take_in(shard, socket, own.port) {
                        tracing::error!(%error, "a socket cannot be waited for");
                        self.open.fetch_sub(1, Ordering::Relaxed);
                    }
                }
                Order::Close(port) => self.close(port),
            }
        }
    }

    fn take_in(
        &mut self,
        shard: ShardIndex,
        socket: std::net::UdpSocket,
        port: u16,
    ) -> io::Result<()> {
        let local = socket.local_addr()?;
        let mut socket = UdpSocket::from_std(socket);
        let token = Token(usize::from(port));
        self.poll
            .registry()
            .register(&mut socket, token, Interest::READABLE)?;
        let own = Own {
            socket,
            local,
            shard: usize::from(shard.0),
        };
        self.sockets.insert(port, own);
        Ok(())
    }

    fn read(&mut self, port: u16) {
        let Some(own) = self.sockets.get(&port) else {
            return;
        };
        let Some(line) = self.shards.get_mut(own.shard) else {
            return;
        };
        for _ in 0..READS_PER_TURN_MAX {
            let (size, source) = match own.socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // What an ICMP message reported; the next call reads on.
                Err(_) => continue,
            };
            let bytes = self.buffer.get(..size).unwrap_or_default();
            let datagram = FromFar {
                port,
                source: SocketAddr::new(source.ip().to_canonical(), source.port()),
                local: own.local,
                bytes: bytes.into(),
            };
            if line.from_far.push(datagram).is_err() {
                line.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.unread.push(port);
    }

    fn take_from_shards(&mut self, post: &mut Post) {
        for index in 0..self.shards.len() {
            for _ in 0..QUEUE_MAX {
                let next = self.shards.get_mut(index).and_then(|s| s.to_far.pop());
                match next {
                    Some(ToFar::Train {
                        port,
                        peer,
                        bytes,
                        segment_size,
                    }) => {
                        let size = bytes.len();
                        let train = Train {
                            destination: peer,
                            local: None,
                            start: 0,
                            size,
                            segment_size,
                        };
                        post.outgoing.bytes = bytes;
                        post.outgoing.trains.clear();
                        post.outgoing.trains.push(train);
                        let lost = self.send(port, &train, post);
                        if let Some(line) = self.shards.get(index) {
                            line.waiting.fetch_sub(size, Ordering::Relaxed);
                            line.dropped.fetch_add(lost, Ordering::Relaxed);
                        }
                    }
                    Some(ToFar::Close(port)) => self.close(port),
                    Some(ToFar::CloseAll) => {
                        let its = |(port, own): (&u16, &Own)| (own.shard == index).then_some(*port);
                        let ports: Vec<u16> = self.sockets.iter().filter_map(its).collect();
                        ports.into_iter().for_each(|port| self.close(port));
                    }
                    None => break,
                }
            }
        }
    }

    /// Sends what was put down; how many datagrams of it were lost.
    fn send(&mut self, port: u16, train: &Train, post: &mut Post) -> u64 {
        if !self.sockets.contains_key(&port) {
            // The session may be faster than its socket.
            self.take_orders();
        }
        let Some(own) = self.sockets.get(&port) else {
            return train.count() as u64;
        };
        let outcome = post.sender.send(own.socket.as_fd(), &post.outgoing);
        if outcome.gso_switched_off {
            tracing::warn!(
                "the device refused UDP_SEGMENT: datagrams to other servers are sent one by one from now on"
            );
        }
        outcome.dropped()
    }

    fn close(&mut self, port: u16) {
        if let Some(mut own) = self.sockets.remove(&port) {
            let _ = self.poll.registry().deregister(&mut own.socket);
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Beyond every port.
const BELL: Token = Token(usize::MAX - 1);
/// What waits between this thread and a shard, each way.
const QUEUE_MAX: usize = 4096;
/// Bytes that wait to be sent for a shard: a second of 64 Mbit/s.
const WAITING_SIZE_MAX: usize = 8 * 1024 * 1024;
const EVENTS_MAX: usize = 1024;
/// From one socket, before the others have their turn.
const READS_PER_TURN_MAX: usize = 256;
const DATAGRAM_SIZE_MAX: usize = 65_536;
/// A second of 16 Mbit/s, should a shard be late.
const RECV_BUFFER_SIZE: usize = 2 * 1024 * 1024;
const IDLE_LOOK: Duration = Duration::from_secs(1);
