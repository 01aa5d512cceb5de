//! The world: a clock, the engines of one node, the peers and what is under way between them.

mod layering;
mod links;
mod stranger;
mod talking;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use whitewater_engine::admission::{Codec, HostCandidate, HostTransport, Negotiator};
use whitewater_engine::drops::DropReason;
use whitewater_engine::session::keys::KeyCell;
use whitewater_engine::session::webrtc::Identity;
use whitewater_engine::{Command, Config, Datagram, Engine, Input, Outbox, Outgoing, Panics};
use whitewater_link::{
    CloseReason, Epoch, Event, Locality, MediaKind, Negotiate, PatchOutcome, PatchRefusal,
    PeerAddr, Refusal, RequestId, Role, SessionId, SessionState, ShardIndex, StreamId,
};

use crate::due::{Due, What};
use crate::link::Link;
use crate::peer::{Peer, PeerConfig, Place, Side, TICK};
use crate::publisher::Published;
use crate::viewer::Watched;

mod reports;

/// A peer of a [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(usize);

/// The direction of a tapped datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Up,
    /// To the peer.
    Down,
}

/// A datagram that was seen at the server's side of a link.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// When.
    pub at: Instant,
    /// Whose.
    pub peer: PeerId,
    /// Which way.
    pub way: Way,
    /// The address of the server it came to or left from.
    pub server: IpAddr,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// Datagrams and bytes of one address, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// To the server.
    pub datagrams_in: u64,
    /// To the server.
    pub bytes_in: u64,
    /// From the server.
    pub datagrams_out: u64,
    /// From the server.
    pub bytes_out: u64,
}

/// One node and its peers.
pub struct World {
    /// The virtual time.
    pub now: Instant,
    /// When it began.
    pub began: Instant,
    /// Everything the engines told control, with its time.
    pub events: Vec<(Instant, Event)>,
    /// Datagrams at the server, when [`World::tap`] was called.
    pub tapped: Vec<Tapped>,
    /// Video packets from shard to shard, by layer.
    pub relayed: [u64; 8],
    /// What was sent to addresses of nobody here, with where it was to go; for the taking.
    pub strays: Vec<(SocketAddr, Vec<u8>)>,
    tapping: bool,
    rng: StdRng,
    shards: Vec<Engine>,
    shard_due: Vec<Option<Instant>>,
    negotiator: Negotiator<StdRng>,
    queue: BinaryHeap<Reverse<Due>>,
    order: u64,
    peers: Vec<Peer>,
    keys: Vec<KeyCell>,
    by_public: HashMap<SocketAddr, usize>,
    streams: HashMap<String, StreamId>,
    exchanged: HashMap<SocketAddr, Exchanged>,
    numbers: u64,
    server: SocketAddr,
    /// Peers the engines want steered to a shard, and whether the kernel does it.
    pins: HashMap<SocketAddr, ShardIndex>,
    pins_granted: bool,
    /// Relays take this long from shard to shard.
    relay_delay: Duration,
}

impl World {
    /// A node of one shard.
    pub fn new(seed: u64) -> Self {
        World::with_shards(seed, 1)
    }

    /// A node of several shards, 1..=64. Datagrams reach any of them by their addresses, as
    /// `SO_REUSEPORT` has it.
    pub fn with_shards(seed: u64, shard_count: u16) -> Self {
        let config = Config {
            shard_count,
            ..Config::default()
        };
        World::with_config(seed, &config)
    }

    /// A node whose shards are set up like this, but for their numbers.
    pub fn with_config(seed: u64, config: &Config) -> Self {
        static IDENTITY: OnceLock<Identity> = OnceLock::new();
        let identity = IDENTITY.get_or_init(|| Identity::generate().expect("a certificate"));
        let now = Instant::now();
        let mut rng = StdRng::seed_from_u64(seed);
        let shard = |index| {
            let config = Config {
                shard: ShardIndex(index),
                panics: Panics::Propagate,
                ..config.clone()
            };
            Engine::new(config, now, rng.random())
        };
        let shards: Vec<Engine> = (0..config.shard_count).map(shard).collect();
        let codecs = [
            Codec::Opus,
            Codec::Red,
            Codec::Vp8,
            Codec::H264,
            Codec::H265,
            Codec::Vp9,
            Codec::Av1,
        ];
        World {
            now,
            began: now,
            events: Vec::new(),
            tapped: Vec::new(),
            relayed: [0; 8],
            strays: Vec::new(),
            tapping: false,
            shard_due: vec![None; shards.len()],
            negotiator: Negotiator::new(identity.clone(), StdRng::seed_from_u64(!seed), &codecs),
            rng,
            shards,
            queue: BinaryHeap::new(),
            order: 0,
            peers: Vec::new(),
            keys: Vec::new(),
            by_public: HashMap::new(),
            streams: HashMap::new(),
            exchanged: HashMap::new(),
            numbers: 0,
            server: SERVER,
            pins: HashMap::new(),
            pins_granted: false,
            relay_delay: Duration::from_micros(250),
        }
    }

    /// Records every datagram that reaches or leaves the server from now on.
    pub fn tap(&mut self) {
        self.tapping = true;
    }

    /// From now on the kernel brings the peers to their shard that it is asked to.
    pub fn grant_pins(&mut self) {
        self.pins_granted = true;
    }

    // ---- peers come

    /// A publisher as [`PeerConfig::default`] has it, on a good link.
    pub fn publisher(&mut self, stream: &str) -> PeerId {
        self.publish(stream, &PeerConfig::default(), Link::good())
    }

    /// A publisher.
    pub fn publish(&mut self, stream: &str, config: &PeerConfig, link: Link) -> PeerId {
        self.numbers += 1;
        let epoch = Epoch(self.numbers);
        let joined = self.join(stream, config, link, Some(epoch));
        joined.expect("the offer is served")
    }

    /// A viewer as [`PeerConfig::default`] has it.
    pub fn viewer(&mut self, stream: &str, link: Link) -> PeerId {
        self.watch(stream, &PeerConfig::default(), link)
    }

    /// A viewer.
    pub fn watch(&mut self, stream: &str, config: &PeerConfig, link: Link) -> PeerId {
        let joined = self.join(stream, config, link, None);
        joined.expect("the offer is served")
    }

    /// Offers, is answered, and starts.
    ///
    /// # Errors
    /// Why the server refuses.
    pub fn join(
        &mut self,
        stream: &str,
        config: &PeerConfig,
        link: Link,
        epoch: Option<Epoch>,
    ) -> Result<PeerId, Refusal> {
        let number = self.numbers + 1;
        self.numbers = number;
        let stream = *self
            .streams
            .entry(stream.to_owned())
            .or_insert(StreamId(number));
        let index = self.peers.len();
        let [_, _, high, low] = (index as u32).to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 5_000));
        let place = Place {
            session: SessionId(self.rng.random()),
            epoch,
            address,
            number: number as u32,
        };
        let mut peer = Peer::new(self.now, self.began, config, link, place);
        let role = epoch.map_or(Role::Subscribe, |epoch| Role::Publish { epoch });
        let negotiate = Negotiate {
            request: RequestId(number),
            session: peer.session,
            stream,
            role,
            offer: peer.offer.clone(),
            locality: Locality::Remote,
            msid: format!("stream-{}", stream.0),
            live: None,
        };
        let load = |shard: &usize| self.shards[*shard].session_count();
        let least = (0..self.shards.len()).min_by_key(load).unwrap_or(0);
        let shard = ShardIndex(least as u16);
        let candidate = HostCandidate {
            transport: HostTransport::Udp,
            addr: self.server,
        };
        let admission = self
            .negotiator
            .admit(self.now, &negotiate, shard, &[candidate])?;
        self.keys.push(admission.keys.clone());
        peer.shard = shard;
        self.by_public.insert(address, index);
        self.command(shard, Command::Admit(admission));
        let answered = self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Answered {
                session, answer, ..
            } if *session == peer.session => Some(answer.clone()),
            _ => None,
        });
        peer.accept(&answered.expect("an admitted session is answered"));
        self.peers.push(peer);
        self.wake(index, self.now);
        Ok(PeerId(index))
    }

    // ---- what happens to them

    /// DELETE on the session.
    pub fn leave(&mut self, peer: PeerId) {
        let (shard, session) = self.session(peer);
        let reason = CloseReason::Deleted;
        self.command(shard, Command::Close { session, reason });
    }

    /// The peer says good-bye itself, by RTCP BYE and DTLS close_notify.
    pub fn hang_up(&mut self, peer: PeerId) {
        let _ = self.peers[peer.0].rtc.close();
        self.wake(peer.0, self.now);
    }

    /// The machine is switched off: nothing is said any more.
    pub fn vanish(&mut self, peer: PeerId) {
        self.peers[peer.0].powered = false;
    }

    /// Everything of the stream ends.
    pub fn destroy(&mut self, stream: &str) {
        let stream = self.streams[stream];
        for shard in 0..self.shards.len() {
            let reason = CloseReason::StreamDestroyed;
            let command = Command::DestroyStream { stream, reason };
            self.command(ShardIndex(shard as u16), command);
        }
    }

    /// Every session is told that the server goes away.
    pub fn shut_down(&mut self) {
        for shard in 0..self.shards.len() {
            self.command(ShardIndex(shard as u16), Command::Shutdown);
        }
    }

    /// Pauses or resumes a kind.
    pub fn mute(&mut self, peer: PeerId, kind: MediaKind, muted: bool) {
        let (shard, session) = self.session(peer);
        let command = Command::Mute {
            session,
            kind,
            muted,
        };
        self.command(shard, command);
    }

    /// ICE restart by PATCH. The link works meanwhile.
    ///
    /// # Errors
    /// Why the server refuses.
    pub fn restart_ice(&mut self, peer: PeerId) -> Result<(), PatchRefusal> {
        let text = self.peers[peer.0].restart();
        let fragment = self.patch(peer, &text)?;
        let PatchOutcome::Restarted { fragment } = fragment else {
            panic!("new credentials are a restart");
        };
        let line = |text: &str, name: &str| {
            let found = text.lines().find(|line| line.starts_with(name));
            found.map(str::to_owned).unwrap_or_default()
        };
        let mut answer = self.peers[peer.0].answer.clone();
        for name in ["a=ice-ufrag:", "a=ice-pwd:"] {
            answer = answer.replace(&line(&answer, name), &line(&fragment, name));
        }
        self.peers[peer.0].accept(&answer);
        self.wake(peer.0, self.now);
        Ok(())
    }

    /// PATCH with any fragment.
    ///
    /// # Errors
    /// Why the server refuses.
    pub fn patch(&mut self, peer: PeerId, text: &str) -> Result<PatchOutcome, PatchRefusal> {
        let (shard, session) = self.session(peer);
        self.patch_at(shard, session, text)
    }

    /// Stops or goes on with sending media; the connection stays.
    pub fn pause_media(&mut self, peer: PeerId, paused: bool) {
        self.published_mut(peer).paused = paused;
    }

    // ---- time

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let queued = self.queue.peek().map(|due| due.0.at);
            let shards = self.shard_due.iter().flatten().min().copied();
            let next = queued.into_iter().chain(shards).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(self.on_grid(next));
            self.turn();
        }
        self.now = self.now.max(end);
    }

    /// Lets time pass until `done`, at most `span`. True if it came to that.
    pub fn run_until(&mut self, span: Duration, done: impl Fn(&World) -> bool) -> bool {
        let end = self.now + span;
        while !done(self) {
            if self.now >= end {
                return false;
            }
            self.run_for(Duration::from_millis(5).min(end - self.now));
        }
        true
    }

    /// Nothing may be left behind once everybody is gone.
    ///
    /// # Panics
    /// When something is.
    pub fn assert_quiescent(&mut self) {
        // What relays say about the end is still on its way.
        self.run_for(Duration::from_secs(1));
        for (index, shard) in self.shards.iter().enumerate() {
            assert!(shard.is_quiescent(), "shard {index} keeps something");
            assert_eq!(shard.route_count(), 0, "shard {index} keeps routes");
        }
    }

    /// Everybody leaves by DELETE, and nothing may be left behind.
    ///
    /// # Panics
    /// When something is.
    pub fn close_down(&mut self) {
        for index in 0..self.peers.len() {
            self.leave(PeerId(index));
        }
        self.assert_quiescent();
    }

    // ---- questions

    /// What a viewer saw.
    ///
    /// # Panics
    /// When the peer publishes.
    pub fn watched(&self, peer: PeerId) -> &Watched {
        match &self.peers[peer.0].side {
            Side::Viewer(viewer) => viewer,
            Side::Publisher(_) => panic!("not a viewer"),
        }
    }

    /// What a publisher did.
    ///
    /// # Panics
    /// When the peer watches.
    pub fn published(&self, peer: PeerId) -> &Published {
        match &self.peers[peer.0].side {
            Side::Publisher(publisher) => publisher,
            Side::Viewer(_) => panic!("not a publisher"),
        }
    }

    /// The longest time a viewer saw nothing new since its first frame.
    pub fn longest_freeze(&self, peer: PeerId) -> Duration {
        let watched = self.watched(peer);
        let first = watched.shown.first().map_or(self.began, |shown| shown.at);
        watched.freeze_between(first, self.now)
    }

    /// When a peer's ICE and DTLS were done.
    pub fn connected_at(&self, peer: PeerId) -> Option<Instant> {
        self.peers[peer.0].connected_at
    }

    /// When a peer heard close_notify from the server.
    pub fn closed_at(&self, peer: PeerId) -> Option<Instant> {
        self.peers[peer.0].closed_at
    }

    /// The session's id and shard.
    pub fn session(&self, peer: PeerId) -> (ShardIndex, SessionId) {
        (self.peers[peer.0].shard, self.peers[peer.0].session)
    }

    /// The answer the peer works with.
    pub fn answer(&self, peer: PeerId) -> &str {
        &self.peers[peer.0].answer
    }

    /// The offer the peer made.
    pub fn offer(&self, peer: PeerId) -> &str {
        &self.peers[peer.0].offer
    }

    /// The SRTP keys of the server's side.
    pub fn keys(&self, peer: PeerId) -> &KeyCell {
        &self.keys[peer.0]
    }

    /// The address under which the server sees the peer.
    pub fn public_address(&self, peer: PeerId) -> SocketAddr {
        self.peers[peer.0].public
    }

    /// The server's address.
    pub fn server_address(&self) -> SocketAddr {
        self.server
    }

    /// Why and when the session was closed, if it was.
    pub fn closed(&self, peer: PeerId) -> Option<(Instant, CloseReason)> {
        let id = self.peers[peer.0].session;
        self.events.iter().find_map(|(at, event)| match event {
            Event::Closed { session, reason } if *session == id => Some((*at, *reason)),
            _ => None,
        })
    }

    /// Its states with their times.
    pub fn states(&self, peer: PeerId) -> Vec<(Instant, SessionState)> {
        let id = self.peers[peer.0].session;
        let states = self.events.iter().filter_map(|(at, event)| match event {
            Event::StateChanged { session, state } if *session == id => Some((*at, *state)),
            _ => None,
        });
        states.collect()
    }

    /// Dropped packets of a kind, on all shards.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.drops().of(reason))
            .sum()
    }

    /// Sessions on all shards.
    pub fn session_count(&self) -> usize {
        self.shards.iter().map(Engine::session_count).sum()
    }

    /// Datagrams that were handed from shard to shard.
    pub fn steered(&self) -> u64 {
        let reports = self.shards.iter().map(|shard| shard.report(self.now));
        reports.map(|report| report.run.steered).sum()
    }

    /// Addresses the kernel is asked to bring to a shard.
    pub fn pin_count(&self) -> usize {
        self.pins.len()
    }

    /// What went to and from an address, of a peer or not.
    pub fn exchanged(&self, address: SocketAddr) -> Exchanged {
        self.exchanged.get(&address).copied().unwrap_or_default()
    }

    /// A shard's engine, for tests that measure it. What it sends and says then is the caller's.
    pub fn engine(&mut self, shard: ShardIndex) -> &mut Engine {
        &mut self.shards[usize::from(shard.0)]
    }

    /// The number under which the engines know a stream.
    pub fn stream(&self, stream: &str) -> StreamId {
        self.streams[stream]
    }

    /// A publisher's turn at its stream; `None` for viewers.
    pub fn epoch(&self, publisher: PeerId) -> Option<Epoch> {
        self.peers[publisher.0].epoch
    }

    // ---- inside

    fn published_mut(&mut self, peer: PeerId) -> &mut Published {
        match &mut self.peers[peer.0].side {
            Side::Publisher(publisher) => publisher,
            Side::Viewer(_) => panic!("not a publisher"),
        }
    }

    fn command(&mut self, shard: ShardIndex, command: Command) {
        let index = usize::from(shard.0);
        self.shards[index].handle(self.now, Input::Command(command));
        self.poll_shard(index);
    }

    fn push(&mut self, at: Instant, what: What) {
        self.order += 1;
        let order = self.order;
        self.queue.push(Reverse(Due { at, order, what }));
    }

    fn wake(&mut self, peer: usize, at: Instant) {
        self.push(at, What::Wake(peer));
    }

    fn on_grid(&self, at: Instant) -> Instant {
        let nanos = at.saturating_duration_since(self.began).as_nanos();
        let ticks = nanos.div_ceil(TICK.as_nanos());
        self.began + TICK * ticks as u32
    }

    /// Everything that is due by now: datagrams first, then those they concern.
    fn turn(&mut self) {
        let mut peers: Vec<usize> = Vec::new();
        let mut shards: Vec<usize> = Vec::new();
        while self.queue.peek().is_some_and(|due| due.0.at <= self.now) {
            let Some(Reverse(due)) = self.queue.pop() else {
                break;
            };
            match due.what {
                What::ToServer {
                    source,
                    local,
                    bytes,
                } => shards.push(self.at_server(source, local, &bytes)),
                What::ToPeer {
                    peer,
                    source,
                    bytes,
                } => {
                    self.peers[peer].receive(self.now, source, &bytes);
                    peers.push(peer);
                }
                What::Relay { to, relay } => {
                    let index = usize::from(to.0);
                    self.shards[index].handle(self.now, Input::Relay(relay));
                    shards.push(index);
                }
                What::Wake(peer) => peers.push(peer),
            }
        }
        let due = |at: &Option<Instant>| at.is_some_and(|at| at <= self.now);
        shards.extend((0..self.shards.len()).filter(|&index| due(&self.shard_due[index])));
        shards.sort_unstable();
        shards.dedup();
        for index in shards {
            self.poll_shard(index);
        }
        peers.sort_unstable();
        peers.dedup();
        for index in peers {
            if self.peers[index].due <= self.now {
                self.drive(index);
            }
        }
    }

    /// A datagram arrives; which shard got it.
    fn at_server(&mut self, source: SocketAddr, local: SocketAddr, bytes: &[u8]) -> usize {
        let entry = self.exchanged.entry(source).or_default();
        entry.datagrams_in += 1;
        entry.bytes_in += bytes.len() as u64;
        if let Some(&peer) = self.by_public.get(&source).filter(|_| self.tapping) {
            self.note(peer, Way::Up, local.ip(), bytes);
        }
        let datagram = Datagram {
            source: PeerAddr::udp(source),
            local,
            bytes,
        };
        let pinned = self.pins.get(&source).filter(|_| self.pins_granted);
        let index = match pinned {
            Some(shard) => usize::from(shard.0),
            None => shard_for(source, self.shards.len()),
        };
        self.shards[index].handle(self.now, Input::Datagram(datagram));
        index
    }

    fn poll_shard(&mut self, index: usize) {
        let mut out = Outbox::default();
        let mut sent = Vec::new();
        self.shard_due[index] = self.shards[index].poll(self.now, &mut out, &mut |batch| {
            let owned = |out: Outgoing<'_>| (out.destination.addr, out.local, out.bytes.to_vec());
            sent.extend(batch.datagrams().map(owned));
        });
        for (destination, local, bytes) in sent {
            let entry = self.exchanged.entry(destination).or_default();
            entry.datagrams_out += 1;
            entry.bytes_out += bytes.len() as u64;
            let Some(&peer) = self.by_public.get(&destination) else {
                self.strays.push((destination, bytes));
                continue;
            };
            let local = local.unwrap_or(self.server.ip());
            if self.tapping {
                self.note(peer, Way::Down, local, &bytes);
            }
            let source = SocketAddr::new(local, self.server.port());
            let size = bytes.len();
            let arrivals = self.peers[peer].down.carry(self.now, size, &mut self.rng);
            for at in arrivals {
                let bytes = bytes.clone();
                self.push(
                    at,
                    What::ToPeer {
                        peer,
                        source,
                        bytes,
                    },
                );
            }
        }
        let now = self.now;
        self.events
            .extend(out.events.into_iter().map(|event| (now, event)));
        for pin in out.pins {
            match pin.shard {
                Some(shard) => self.pins.insert(pin.peer, shard),
                None => self.pins.remove(&pin.peer),
            };
        }
        for (to, relay) in out.relays {
            self.count_relayed(&relay);
            self.push(now + self.relay_delay, What::Relay { to, relay });
        }
    }

    fn drive(&mut self, index: usize) {
        let mut sent = Vec::new();
        self.peers[index].drive(self.now, &mut |to, bytes| sent.push((to, bytes)));
        let source = self.peers[index].public;
        let filter = self.peers[index].up_filter;
        for (local, bytes) in sent {
            if filter.is_some_and(|which| which(&bytes)) {
                continue;
            }
            let arrivals = self.peers[index]
                .up
                .carry(self.now, bytes.len(), &mut self.rng);
            for at in arrivals {
                let bytes = bytes.clone();
                self.push(
                    at,
                    What::ToServer {
                        source,
                        local,
                        bytes,
                    },
                );
            }
        }
        if self.peers[index].powered {
            self.wake(index, self.peers[index].due);
        }
    }

    fn note(&mut self, peer: usize, way: Way, server: IpAddr, bytes: &[u8]) {
        self.tapped.push(Tapped {
            at: self.now,
            peer: PeerId(peer),
            way,
            server,
            bytes: bytes.to_vec(),
        });
    }
}

/// As the kernel spreads datagrams over sockets: by the source, for us at random.
fn shard_for(source: SocketAddr, count: usize) -> usize {
    let mut mixed = u64::from(source.port());
    if let IpAddr::V4(ip) = source.ip() {
        mixed |= u64::from(u32::from(ip)) << 16;
    }
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % count
}

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 3478);
