//! ICE over TCP (RFC 6544, the passive side): for peers whose network lets no UDP out.
//!
//! One thread has all connections. It finds the datagrams in a peer's byte stream, reads from the
//! first of them, which must be a connectivity check, which shard they are for, and hands them over
//! by a queue; what a shard sends to the peer comes back by another. So a peer that reads slowly
//! costs memory here, up to a bound, and never a shard's time.
//!
//! It does not know sessions: a connection counts as proven once its shard has answered, which it
//! only does to checks with the right password.

mod connection;
mod listen;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::SockRef;
use whitewater_engine::admission::shard_of_check;
use whitewater_engine::framing::{Deframer, frame};
use whitewater_link::ShardIndex;
use whitewater_link::queue::{Doorbell, Receiver, Sender, channel};

use connection::{Connection, Output, ReadOutcome};
pub(crate) use listen::{Listening, listen};

/// A datagram from a peer.
#[derive(Debug)]
pub(crate) struct FromPeer {
    pub(crate) source: SocketAddr,
    /// Our address it came to.
    pub(crate) local: SocketAddr,
    pub(crate) bytes: Box<[u8]>,
}

/// What a shard wants done.
#[derive(Debug)]
pub(crate) enum ToPeer {
    /// A datagram to be sent.
    Datagram {
        /// To whom.
        peer: SocketAddr,
        /// Its payload.
        bytes: Vec<u8>,
    },
    /// The connection is of no use any more.
    HangUp(SocketAddr),
}

/// A shard's end of the line.
pub(crate) struct ShardLine {
    pub(crate) from_peers: Receiver<FromPeer>,
    pub(crate) to_peers: Sender<ToPeer>,
    pub(crate) counters: Arc<Counters>,
}

impl ShardLine {
    /// Sends one datagram; lost and counted when the line is full.
    pub(crate) fn send(&mut self, peer: SocketAddr, bytes: Vec<u8>) {
        if self
            .to_peers
            .push(ToPeer::Datagram { peer, bytes })
            .is_err()
        {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Passes on which connections are of no use any more, and wakes the thread. One that finds
    /// the line full is closed for being quiet, later.
    pub(crate) fn hang_up(&mut self, peers: &mut Vec<SocketAddr>) {
        for peer in peers.drain(..) {
            let _ = self.to_peers.push(ToPeer::HangUp(peer));
        }
        self.to_peers.ring();
    }
}

/// What is counted for each shard: written here, read by the shard.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections with it now.
    pub(crate) connections: AtomicU64,
    /// Datagrams lost because the peer reads too slowly or a queue was full.
    pub(crate) dropped: AtomicU64,
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    /// In all.
    pub(crate) connections_max: usize,
    /// From one IPv4 address or IPv6 /64.
    pub(crate) source_connections_max: usize,
}

/// The thread's state.
pub(crate) struct Tcp {
    poll: Poll,
    bell: Arc<Doorbell>,
    listeners: Vec<Listener>,
    shards: Vec<PlaneLine>,
    caps: Caps,
    connections: Slab<Connection<TcpStream>>,
    by_peer: HashMap<SocketAddr, usize>,
    by_source: HashMap<IpAddr, usize>,
    unproven_count: usize,
    /// Listeners where more knock than was their share.
    unaccepted: Vec<usize>,
    /// Connections with more to read than was their share.
    unread: Vec<usize>,
    /// Connections with new frames to write.
    unwritten: Vec<usize>,
    buffer: Vec<u8>,
}

/// A listening socket; where every shard has its own port, those who come here are for `shard`.
struct Listener {
    socket: TcpListener,
    shard: Option<ShardIndex>,
}

/// This thread's end of a shard's line.
struct PlaneLine {
    from_peers: Sender<FromPeer>,
    to_peers: Receiver<ToPeer>,
    counters: Arc<Counters>,
}

impl Tcp {
    /// Takes over the listening sockets. `bells` are the shards', whose ends of the line are
    /// returned in their order.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn new(
        listening: Vec<Listening>,
        bells: &[Arc<Doorbell>],
        caps: Caps,
    ) -> io::Result<(Self, Vec<ShardLine>)> {
        let poll = Poll::new()?;
        let bell = Arc::new(Doorbell::new()?);
        let fd = bell.as_fd().as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), BELL, Interest::READABLE)?;
        let mut listeners = Vec::new();
        for (index, listening) in listening.into_iter().enumerate() {
            let mut socket = TcpListener::from_std(listening.socket);
            let token = Token(LISTENERS.0 - index);
            poll.registry()
                .register(&mut socket, token, Interest::READABLE)?;
            listeners.push(Listener {
                socket,
                shard: listening.shard,
            });
        }
        let mut shards = Vec::new();
        let mut lines = Vec::new();
        for shard_bell in bells {
            let (up, up_in) = channel(QUEUE_MAX, shard_bell.clone());
            let (down, down_in) = channel(QUEUE_MAX, bell.clone());
            let counters = Arc::new(Counters::default());
            shards.push(PlaneLine {
                from_peers: up,
                to_peers: down_in,
                counters: counters.clone(),
            });
            lines.push(ShardLine {
                from_peers: up_in,
                to_peers: down,
                counters,
            });
        }
        let tcp = Tcp {
            poll,
            bell,
            listeners,
            shards,
            caps,
            connections: Slab::new(),
            by_peer: HashMap::new(),
            by_source: HashMap::new(),
            unproven_count: 0,
            unaccepted: Vec::new(),
            unread: Vec::new(),
            unwritten: Vec::new(),
            buffer: vec![0; READ_SIZE],
        };
        Ok((tcp, lines))
    }

    /// Works until all shards are gone.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut sweep_at = Instant::now() + SWEEP_INTERVAL;
        while !self.shards.iter().all(|s| s.to_peers.is_abandoned()) {
            self.bell.arm();
            let timeout = if self.is_busy() {
                Duration::ZERO
            } else {
                sweep_at.saturating_duration_since(Instant::now())
            };
            let polled = self.poll.poll(&mut events, Some(timeout));
            self.bell.answer();
            if let Err(error) = polled
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "ICE over TCP ends: its connections cannot be waited for");
                return;
            }
            let now = Instant::now();
            for index in std::mem::take(&mut self.unaccepted) {
                self.accept(now, index);
            }
            for key in std::mem::take(&mut self.unread) {
                self.read(key);
            }
            for event in &events {
                self.on_event(now, event);
            }
            self.take_from_shards(now);
            for key in std::mem::take(&mut self.unwritten) {
                self.write(key);
            }
            if now >= sweep_at {
                sweep_at = now + SWEEP_INTERVAL;
                self.sweep(now);
            }
            for shard in &mut self.shards {
                shard.from_peers.ring();
            }
        }
    }

    /// Whether there is something to do that nothing will wake us for.
    fn is_busy(&self) -> bool {
        let told = |shard: &PlaneLine| !shard.to_peers.is_empty();
        !self.unread.is_empty() || !self.unaccepted.is_empty() || self.shards.iter().any(told)
    }

    fn on_event(&mut self, now: Instant, event: &mio::event::Event) {
        let token = event.token();
        if token == BELL {
            return;
        }
        if token.0 > LISTENERS.0 - self.listeners.len() {
            return self.accept(now, LISTENERS.0 - token.0);
        }
        if event.is_writable() {
            self.write(token.0);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(token.0);
        }
    }

    /// Takes in who knocks. Those beyond a cap are closed at once, so that the kernel's queue does
    /// not fill up with them.
    fn accept(&mut self, now: Instant, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            let Some(listener) = self.listeners.get(index) else {
                return;
            };
            let shard = listener.shard;
            match listener.socket.accept() {
                Ok((stream, _)) => {
                    // A peer that is gone already is no error of ours.
                    let _ = self.take_in(now, stream, shard);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // No descriptor is left: tried again at the sweep.
                    tracing::debug!(%error, "a TCP connection could not be accepted");
                    return;
                }
            }
        }
        self.unaccepted.push(index);
    }

    fn take_in(
        &mut self,
        now: Instant,
        mut stream: TcpStream,
        shard: Option<ShardIndex>,
    ) -> io::Result<()> {
        let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let (peer, local) = (
            canonical(stream.peer_addr()?),
            canonical(stream.local_addr()?),
        );
        let from_source = self.by_source.get(&source(peer)).copied().unwrap_or(0);
        let full = self.connections.len() >= self.caps.connections_max
            || self.unproven_count >= UNPROVEN_MAX
            || from_source >= self.caps.source_connections_max;
        // One peer address can reach two of ours; it would be one path to a session.
        if full || self.by_peer.contains_key(&peer) {
            return Ok(());
        }
        stream.set_nodelay(true)?;
        // What the kernel takes cannot be dropped any more when it is late.
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_SIZE_MAX)?;
        let entry = self.connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(entry.key()), interest)?;
        self.by_peer.insert(peer, entry.key());
        *self.by_source.entry(source(peer)).or_default() += 1;
        self.unproven_count += 1;
        entry.insert(Connection {
            stream,
            peer,
            local,
            expected: shard,
            shard: None,
            proven: false,
            ends_at: now + UNPROVEN_MAX_AGE,
            input: Deframer::default(),
            output: Output::default(),
        });
        Ok(())
    }

    fn read(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let shards = &mut self.shards;
        let (source, local) = (connection.peer, connection.local);
        let (expected, before) = (connection.expected, connection.shard);
        let mut shard = before;
        let mut rubbish = false;
        let named = |bytes: &[u8]| {
            shard_of_check(bytes).filter(|shard| expected.is_none_or(|expected| expected == *shard))
        };
        let outcome = connection.read(&mut self.buffer, |bytes| {
            // RFC 6544 §7: a connection is nobody's until a check comes.
            shard = shard.or_else(|| named(bytes));
            let line = shard.and_then(|shard| shards.get_mut(usize::from(shard.0)));
            let Some(line) = line.filter(|_| !rubbish) else {
                rubbish = true;
                shard = before;
                return;
            };
            let datagram = FromPeer {
                source,
                local,
                bytes: bytes.into(),
            };
            if line.from_peers.push(datagram).is_err() {
                line.counters.dropped.fetch_add(1, Ordering::Relaxed);
            }
        });
        connection.shard = shard;
        if before.is_none()
            && let Some(line) = shard.and_then(|shard| shards.get(usize::from(shard.0)))
        {
            line.counters.connections.fetch_add(1, Ordering::Relaxed);
        }
        match outcome {
            _ if rubbish => self.close(key),
            ReadOutcome::Over => self.close(key),
            ReadOutcome::More => self.unread.push(key),
            ReadOutcome::Empty => {}
        }
    }

    fn write(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.write().is_err() {
            self.close(key);
        }
    }

    fn take_from_shards(&mut self, now: Instant) {
        for index in 0..self.shards.len() {
            for _ in 0..QUEUE_MAX {
                let next = self.shards.get_mut(index).and_then(|s| s.to_peers.pop());
                match next {
                    Some(ToPeer::Datagram { peer, bytes }) => {
                        self.send(now, index, peer, &bytes);
                    }
                    Some(ToPeer::HangUp(peer)) => {
                        if let Some(&key) = self.by_peer.get(&peer) {
                            // With its last words, as far as the kernel takes them.
                            self.write(key);
                            self.close(key);
                        }
                    }
                    None => break,
                }
            }
        }
    }

    fn send(&mut self, now: Instant, shard: usize, peer: SocketAddr, bytes: &[u8]) {
        let connection = self
            .by_peer
            .get(&peer)
            .copied()
            .and_then(|key| Some((key, self.connections.get_mut(key)?)));
        let Some(line) = self.shards.get(shard) else {
            return;
        };
        let Some(((key, connection), frame)) = connection.zip(frame(bytes)) else {
            line.counters.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if !connection.proven {
            connection.proven = true;
            self.unproven_count -= 1;
        }
        connection.ends_at = now + QUIET_MAX;
        if connection.output.is_empty() {
            self.unwritten.push(key);
        }
        let dropped = connection.output.push(frame);
        line.counters.dropped.fetch_add(dropped, Ordering::Relaxed);
    }

    /// Closes what has had its time, and looks at the listeners again.
    fn sweep(&mut self, now: Instant) {
        let ended = |(key, c): (usize, &Connection<TcpStream>)| (c.ends_at <= now).then_some(key);
        let ended: Vec<usize> = self.connections.iter().filter_map(ended).collect();
        for key in ended {
            self.close(key);
        }
        for index in 0..self.listeners.len() {
            self.accept(now, index);
        }
    }

    fn close(&mut self, key: usize) {
        let Some(mut connection) = self.connections.try_remove(key) else {
            return;
        };
        let _ = self.poll.registry().deregister(&mut connection.stream);
        self.by_peer.remove(&connection.peer);
        let source = source(connection.peer);
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
        self.unproven_count -= usize::from(!connection.proven);
        let line = connection
            .shard
            .and_then(|s| self.shards.get(usize::from(s.0)));
        if let Some(line) = line {
            line.counters.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// One IPv4 address or IPv6 /64: what one household or host has.
fn source(peer: SocketAddr) -> IpAddr {
    match peer.ip() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// Beyond every key of a connection.
const BELL: Token = Token(usize::MAX - 1);
const LISTENERS: Token = Token(usize::MAX - 2);
/// Datagrams that wait between this thread and a shard, each way.
const QUEUE_MAX: usize = 4096;
const EVENTS_MAX: usize = 1024;
/// New connections in one turn.
const ACCEPTS_PER_TURN_MAX: usize = 64;
/// One read; what is cut off by it is kept, at most one frame.
const READ_SIZE: usize = 16 * 1024;
/// Connections nobody has vouched for yet; each may cost a descriptor and a frame's memory.
const UNPROVEN_MAX: usize = 1024;
/// A browser sends its first check at once, and again after some hundred milliseconds.
const UNPROVEN_MAX_AGE: Duration = Duration::from_secs(10);
/// A session's connection is sent a report or an answer to a check every few seconds.
const QUIET_MAX: Duration = Duration::from_secs(60);
/// What the kernel may hold unsent; the rest waits here, where the oldest can go.
const UNSENT_SIZE_MAX: u32 = 32 * 1024;
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
