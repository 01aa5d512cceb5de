//! The engine of one shard: sans-IO, told everything, asked what to do.

mod closing;
mod flow;
mod intake;
mod lanes;
mod layering;
mod pacing;
mod redialling;
mod replaying;
#[cfg(any(test, feature = "__fuzz"))]
mod seam;
mod steering;
mod talking;
mod timers;
mod viewing;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;
use slab::Slab;
use str0m::config::CryptoProvider;
use whitewater_link::{
    CloseReason, Event, LAYERS_ALL, LAYERS_MAX, LayerState, LoopReport, MediaKind, PatchOutcome,
    PatchRefusal, PeerAddr, Relay, Report, RequestId, Role, Selection, SessionId, SessionState,
    ShardIndex, StreamId, Traffic, Transport,
};
use whitewater_rtp::demux::{Kind, StunView, classify};
use whitewater_sdp::{Fragment, render_fragment};

use crate::admission::{self, Admission};
use crate::clock::WallClock;
use crate::config::{Config, Panics};
use crate::drops::{DropReason, Drops};
use crate::forward::batch::{Batch, Route};
use crate::forward::egress::Packet;
use crate::forward::stream::{Source, Stream};
use crate::limits;
use crate::session::ice::Credentials;
use crate::session::{Session, Side};
use crate::wheel::Wheel;

use steering::Steering;

pub use steering::Pin;

/// Everything that can happen to the sessions of one core.
pub enum Input<'a> {
    /// From the network.
    Datagram(Datagram<'a>),
    /// From control, by way of the negotiator.
    Command(Command),
    /// From another shard.
    Relay(Relay),
}

/// One received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// From whom.
    pub source: PeerAddr,
    /// The address of ours it was sent to.
    pub local: SocketAddr,
    /// Its payload.
    pub bytes: &'a [u8],
}

/// What the negotiator hands to a shard.
pub enum Command {
    /// A new session.
    Admit(Box<Admission>),
    /// A PATCH.
    Patch {
        /// To answer with.
        request: RequestId,
        /// The session.
        session: SessionId,
        /// What it brings.
        fragment: Box<Fragment>,
    },
    /// An ICE restart of a session whose client we are.
    Restart {
        /// To answer with.
        request: RequestId,
        /// The session.
        session: SessionId,
        /// What the other server answered; `None` to begin with.
        answer: Option<Box<Fragment>>,
    },
    /// Ends a session.
    Close {
        /// The session.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// Pauses or resumes a kind of media.
    Mute {
        /// The session.
        session: SessionId,
        /// Which kind.
        kind: MediaKind,
        /// On or off.
        muted: bool,
    },
    /// Which layers a viewer wants.
    Select {
        /// The session.
        session: SessionId,
        /// Its choice.
        selection: Selection,
    },
    /// Ends all sessions of a stream.
    DestroyStream {
        /// The stream.
        stream: StreamId,
        /// Why.
        reason: CloseReason,
    },
    /// Ends all sessions.
    Shutdown,
}

/// What a turn produced for other threads. The caller empties it.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To control, in order.
    pub events: Vec<Event>,
    /// To other shards, in order.
    pub relays: Vec<(ShardIndex, Relay)>,
    /// To the kernel, in order: which socket a peer's datagrams belong to. Never needed for
    /// things to be right.
    pub pins: Vec<Pin>,
    /// TCP connections that no session needs any more, once what is to be sent was sent.
    pub hang_ups: Vec<SocketAddr>,
    /// Ports of sessions' own sockets that are not needed any more, once what is to be sent was
    /// sent.
    pub closed_ports: Vec<u16>,
}

/// The sessions of one core.
pub struct Engine {
    sessions: Slab<Session>,
    core: Core,
}

/// Everything but the sessions, so that a session and the rest can be borrowed side by side.
struct Core {
    config: Config,
    crypto: CryptoProvider,
    rng: StdRng,
    streams: HashMap<StreamId, Stream>,
    by_id: HashMap<SessionId, u32>,
    by_ufrag: HashMap<String, u32>,
    by_address: HashMap<PeerAddr, u32>,
    /// By the port of the socket that is the session's own.
    by_port: HashMap<u16, u32>,
    /// Verified addresses of other shards' sessions.
    routes: HashMap<SocketAddr, steering::Route>,
    wheel: Wheel,
    /// Streams with packets of this turn.
    dirty: Vec<StreamId>,
    /// Streams whose viewers asked for a key frame, and of which layers, one bit each.
    wanted: Vec<(StreamId, u8)>,
    /// Streams whose layers changed.
    layered: Vec<StreamId>,
    /// Of the stream that is being sent: packets for a later turn.
    later: Vec<Packet>,
    /// When the first of these has waited enough.
    later_at: Option<Instant>,
    /// Streams with an owed request or a retry ahead.
    owed: Vec<StreamId>,
    owed_at: Option<Instant>,
    /// What was said on data channels in this turn.
    told: Vec<talking::Told>,
    /// Messages on data channels, from peers.
    data_received: Traffic,
    /// And to them.
    data_sent: Traffic,
    /// Sessions whose wheel time has come.
    fired: Vec<u32>,
    /// Sessions to take out at the end of the turn.
    leaving: Vec<u32>,
    out: Outbox,
    /// To the network.
    batch: Batch,
    clock: WallClock,
    drops: Drops,
    steered: u64,
    panics: u64,
    scratch: Vec<u8>,
    /// Where the heads of packets are put together.
    header: Vec<u8>,
}

impl Engine {
    /// An engine without sessions. `seed` determines every random choice it makes.
    pub fn new(config: Config, now: Instant, seed: [u8; 32]) -> Self {
        let clock = WallClock::new(now, config.unix_time);
        Engine {
            sessions: Slab::new(),
            core: Core {
                config,
                crypto: str0m::crypto::from_feature_flags(),
                rng: StdRng::from_seed(seed),
                streams: HashMap::new(),
                by_id: HashMap::new(),
                by_ufrag: HashMap::new(),
                by_address: HashMap::new(),
                by_port: HashMap::new(),
                routes: HashMap::new(),
                wheel: Wheel::new(now),
                dirty: Vec::new(),
                later: Vec::new(),
                later_at: None,
                wanted: Vec::new(),
                layered: Vec::new(),
                owed: Vec::new(),
                owed_at: None,
                told: Vec::new(),
                data_received: Traffic::default(),
                data_sent: Traffic::default(),
                fired: Vec::new(),
                leaving: Vec::new(),
                out: Outbox::default(),
                batch: Batch::default(),
                clock,
                drops: Drops::default(),
                steered: 0,
                panics: 0,
                scratch: vec![0; SCRATCH_SIZE],
                header: vec![0; limits::HEADER_SIZE_MAX],
            },
        }
    }

    /// Applies one input. Never blocks and never reads a clock.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram(datagram) => {
                let steering = self.core.steering(datagram.source.transport);
                self.datagram(now, datagram, steering);
            }
            Input::Command(command) => self.command(now, command),
            Input::Relay(relay) => self.relay(now, relay),
        }
    }

    /// Forwards what was handled, runs what is due, sends what came of it and moves the rest into
    /// `out`; returns when to call again if nothing arrives.
    ///
    /// `send` is handed the datagrams: once at the end, and before that whenever there are many
    /// (see [`limits::BATCH_SIZE`]). The batch is empty again when it returns.
    ///
    /// Must be called after every batch of [`handle`](Self::handle) calls and when the returned
    /// time is reached; calling it more often is a no-op. `now` must not go backwards.
    pub fn poll(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        send: &mut dyn FnMut(&mut Batch),
    ) -> Option<Instant> {
        self.review_layers(now);
        self.flush_streams(now, send);
        self.flush_told(now, send);
        self.run_timers(now);
        self.request_keyframes(now);
        self.take_out_leaving(now);
        self.flush_told(now, send);
        self.core.send_batch(send);
        out.events.append(&mut self.core.out.events);
        out.relays.append(&mut self.core.out.relays);
        out.pins.append(&mut self.core.out.pins);
        out.hang_ups.append(&mut self.core.out.hang_ups);
        out.closed_ports.append(&mut self.core.out.closed_ports);
        let core = &self.core;
        // What was said in answer to what was passed on.
        let told = (!core.told.is_empty()).then_some(now);
        [core.wheel.next(), core.owed_at, core.later_at, told]
            .into_iter()
            .flatten()
            .min()
    }

    /// Sessions alive.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The sessions alive.
    pub fn session_ids(&self) -> Vec<SessionId> {
        self.sessions
            .iter()
            .map(|(_, session)| session.id)
            .collect()
    }

    /// Whether nothing is left behind: no session, stream, address or name.
    pub fn is_quiescent(&self) -> bool {
        self.sessions.is_empty()
            && self.core.streams.is_empty()
            && self.core.by_id.is_empty()
            && self.core.by_ufrag.is_empty()
            && self.core.by_address.is_empty()
            && self.core.by_port.is_empty()
    }

    /// Verified addresses of other shards' sessions that are known here.
    pub fn route_count(&self) -> usize {
        self.core.routes.len()
    }

    /// Dropped packets by reason.
    pub fn drops(&self) -> &Drops {
        &self.core.drops
    }

    /// All counters; the loop's own are the caller's to fill in.
    pub fn report(&self, now: Instant) -> Report {
        let sessions = self.sessions.iter();
        Report {
            shard: self.core.config.shard,
            sessions: sessions.map(|(_, session)| session.report(now)).collect(),
            run: LoopReport {
                sessions: self.sessions.len() as u64,
                steered: self.core.steered,
                data_received: self.core.data_received,
                data_sent: self.core.data_sent,
                panics: self.core.panics,
                ..LoopReport::default()
            },
            drops: self.core.drops.labelled(),
        }
    }

    fn datagram(&mut self, now: Instant, datagram: Datagram<'_>, steering: Steering) {
        let kind = classify(datagram.bytes);
        if let Transport::Dialled(port) = datagram.source.transport {
            return self.dialled(now, port, kind, datagram);
        }
        match kind {
            Kind::Stun => self.stun(now, datagram, steering),
            Kind::Dtls | Kind::Rtp | Kind::Rtcp => {
                let Some(&key) = self.core.by_address.get(&datagram.source) else {
                    self.core.steer_by_route(datagram, steering);
                    return;
                };
                self.with_session(now, key, |session, core| {
                    session.receive(now, key, kind, datagram, core);
                });
            }
            Kind::Unknown => self.core.drops.count(DropReason::UnknownProtocol),
        }
    }

    /// A datagram to the socket of one session. Its checks and their answers may come from
    /// anywhere, all else from a verified address.
    fn dialled(&mut self, now: Instant, port: u16, kind: Kind, datagram: Datagram<'_>) {
        let Some(&key) = self.core.by_port.get(&port) else {
            return self.core.drops.count(DropReason::UnverifiedSource);
        };
        match kind {
            Kind::Stun => self.with_session(now, key, |session, core| {
                session.check(now, key, datagram, core);
            }),
            Kind::Dtls | Kind::Rtp | Kind::Rtcp
                if self.core.by_address.get(&datagram.source) == Some(&key) =>
            {
                self.with_session(now, key, |session, core| {
                    session.receive(now, key, kind, datagram, core);
                });
            }
            Kind::Unknown => self.core.drops.count(DropReason::UnknownProtocol),
            _ => self.core.drops.count(DropReason::UnverifiedSource),
        }
    }

    fn stun(&mut self, now: Instant, datagram: Datagram<'_>, steering: Steering) {
        // RFC 8489 §14.7: what a wrong FINGERPRINT ends is no STUN message.
        let view = StunView::parse(datagram.bytes)
            .filter(|view| view.is_binding_request() && view.fingerprint_holds(datagram.bytes));
        let Some((ufrag, _)) = view.as_ref().and_then(StunView::username) else {
            self.core.drops.count(DropReason::StunMalformed);
            return;
        };
        let Some(&key) = self.core.by_ufrag.get(ufrag) else {
            let shard = admission::shard_of(ufrag);
            self.core.steer_by_ufrag(shard, datagram, steering);
            return;
        };
        self.with_session(now, key, |session, core| {
            session.check(now, key, datagram, core);
        });
    }

    fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Admit(admission) => self.admit(now, *admission),
            Command::Patch {
                request,
                session,
                fragment,
            } => self.patch(now, request, session, &fragment),
            Command::Restart {
                request,
                session,
                answer,
            } => self.restart(now, request, session, answer.as_deref()),
            Command::Close { session, reason } => {
                if let Some(&key) = self.core.by_id.get(&session) {
                    self.close(now, key, reason);
                }
            }
            Command::Mute {
                session,
                kind,
                muted,
            } => {
                if let Some(&key) = self.core.by_id.get(&session) {
                    self.with_session(now, key, |session, core| {
                        session.mute(now, kind, muted, core);
                    });
                }
            }
            Command::Select { session, selection } => {
                if let Some(&key) = self.core.by_id.get(&session) {
                    self.with_session(now, key, |session, core| {
                        session.select_layer(now, selection, core);
                    });
                }
            }
            Command::DestroyStream { stream, reason } => {
                self.close_all(now, reason, |session| session.stream == stream);
            }
            Command::Shutdown => self.close_all(now, CloseReason::Shutdown, |_| true),
        }
    }

    fn relay(&mut self, now: Instant, relay: Relay) {
        match relay {
            Relay::Interest {
                stream,
                shard,
                wanted,
            } => self.core.interest(now, stream, shard, wanted),
            Relay::Described {
                stream,
                epoch,
                tracks,
                from,
            } => self.core.described(stream, epoch, tracks, from),
            Relay::Ended { stream, epoch } => {
                if let Some(entry) = self.core.streams.get_mut(&stream) {
                    entry.unpublish(epoch);
                    if entry.source.is_none() {
                        self.core.end_channels(stream);
                    }
                }
            }
            Relay::Packet(packet) => self.core.take_relayed(packet),
            Relay::Kept(packet) => self.core.take_kept(now, packet),
            Relay::Muted { stream, epoch } => self.core.forget_pictures(stream, epoch),
            Relay::Data { stream, what } => self.core.take_data(stream, what),
            Relay::KeyframeWanted { stream, layers } => self.core.wanted.push((stream, layers)),
            Relay::Layers {
                stream,
                epoch,
                layers,
            } => self.core.layers_are(stream, epoch, layers),
            Relay::LayersWanted {
                stream,
                epoch,
                shard,
                layers,
            } => self.core.layers_wanted(now, stream, epoch, shard, layers),
            Relay::Route {
                peer,
                shard,
                present,
            } => self.core.route(peer, shard, present),
            Relay::Datagram {
                source,
                local,
                bytes,
            } => {
                let datagram = Datagram {
                    source: PeerAddr::udp(source),
                    local,
                    bytes: &bytes,
                };
                self.datagram(now, datagram, Steering::Done);
            }
        }
    }

    fn admit(&mut self, now: Instant, admission: Admission) {
        let tracks = admission::track_infos(&admission.plan);
        let has_data_channel = admission::has_data_channel(&admission.plan);
        let video_line = admission::video_line(&admission.plan);
        let (request, id) = (admission.request, admission.session);
        let answer = admission.answer.clone();
        let session = Session::new(now, admission, &mut self.core.rng);
        let (stream, role) = (session.stream, session.role);
        let key = self.sessions.insert(session);
        let key = u32::try_from(key).expect("sessions_max is a u32");
        let core = &mut self.core;
        core.by_id.insert(id, key);
        for ufrag in self.sessions[key as usize].ice.ufrags() {
            core.by_ufrag.insert(ufrag.to_owned(), key);
        }
        if let Some(port) = self.sessions[key as usize].ice.port() {
            core.by_port.insert(port, key);
        }
        core.join(stream, role, key, &self.sessions[key as usize]);
        core.out.events.push(Event::Answered {
            request,
            session: id,
            shard: core.config.shard,
            answer,
            tracks,
            has_data_channel,
            video_line,
        });
        let none = [LayerState::default(); LAYERS_MAX];
        core.tell_layers(&self.sessions[key as usize], &none);
        // str0m has something to say at once where we are the DTLS client.
        self.with_session(now, key, |session, core| session.pump(now, key, core));
    }

    fn patch(&mut self, now: Instant, request: RequestId, id: SessionId, fragment: &Fragment) {
        let outcome = match self.core.by_id.get(&id).copied() {
            Some(key) => {
                let session = &mut self.sessions[key as usize];
                session.patch(now, key, fragment, &mut self.core)
            }
            None => Err(PatchRefusal::Gone),
        };
        self.core.out.events.push(Event::Patched {
            request,
            session: id,
            outcome,
        });
    }

    /// Runs `act` on a session and does what must follow every change: wheel, leaving, and
    /// containing a panic.
    fn with_session(&mut self, now: Instant, key: u32, act: impl FnOnce(&mut Session, &mut Core)) {
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let core = &mut self.core;
        match core.config.panics {
            Panics::Propagate => act(session, core),
            // The session is dropped whole, so no half-changed state of it is seen again; the
            // core's maps are only changed by single calls that do not panic half-way.
            Panics::Contain => {
                if catch_unwind(AssertUnwindSafe(|| act(session, core))).is_err() {
                    core.panics += 1;
                    tracing::error!(session = ?session.id, "a session panicked and was dropped");
                    session.closing = Some(CloseReason::Internal);
                }
            }
        }
        if session.closing.is_some() {
            core.leaving.push(key);
        } else {
            core.arm(now, key, session);
        }
    }
}

impl Session {
    fn patch(
        &mut self,
        now: Instant,
        key: u32,
        fragment: &Fragment,
        core: &mut Core,
    ) -> Result<PatchOutcome, PatchRefusal> {
        let Some((ufrag, pwd)) = fragment.credentials(&self.tagged_mid) else {
            return Ok(PatchOutcome::Trickled);
        };
        let remote = Credentials {
            ufrag: ufrag.to_owned(),
            pwd: pwd.to_owned(),
        };
        if remote == *self.ice.remote() {
            // A lite agent sends no checks, so the peer's candidates are of no use to it.
            return Ok(PatchOutcome::Trickled);
        }
        if self.ice.port().is_some() {
            // RFC 9725 §4.3: the client restarts, which here is this server.
            return Err(PatchRefusal::Unsupported(
                "this session is with another server, it cannot be restarted from here".to_owned(),
            ));
        }
        if !self.may_restart(now) {
            return Err(PatchRefusal::TooMany);
        }
        // RFC 9725 §4.3.3: other credentials than the current ones ask for a restart.
        let fresh = admission::credentials(&mut core.rng, core.config.shard);
        core.by_ufrag.insert(fresh.ufrag.clone(), key);
        self.local.ice.ufrag.clone_from(&fresh.ufrag);
        self.local.ice.pwd.clone_from(&fresh.pwd);
        let lite = self.ice.lite_mut();
        if let Some(retired) = lite.and_then(|lite| lite.restart(fresh, remote)) {
            core.by_ufrag.remove(&retired);
        }
        Ok(PatchOutcome::Restarted {
            fragment: render_fragment(&self.tagged_mid, &self.local),
        })
    }

    fn mute(&mut self, now: Instant, kind: MediaKind, muted: bool, core: &mut Core) {
        match &mut self.side {
            Side::Publisher(publisher) => {
                for track in publisher.tracks.iter_mut().filter(|t| t.kind == kind) {
                    if track.muted && !muted {
                        track.run = track.run.wrapping_add(1);
                    }
                    track.muted = muted;
                }
                if let (true, MediaKind::Video, Role::Publish { epoch }) = (muted, kind, self.role)
                {
                    core.forget_pictures(self.stream, epoch);
                }
            }
            Side::Viewer(viewer) => {
                for track in viewer.tracks.iter_mut().filter(|t| t.kind == kind) {
                    track.mute(muted);
                }
                if let (MediaKind::Video, Some(downlink)) = (kind, &mut viewer.downlink) {
                    core.drops.count_many(DropReason::Muted, downlink.clear());
                }
            }
        }
        if !muted && kind == MediaKind::Video && !self.join(now, core) {
            core.wanted.push((self.stream, self.awaited_layers()));
        }
    }

    /// Tells control about a change of state.
    fn enter(&mut self, state: SessionState, core: &mut Core) {
        if self.state != state {
            self.state = state;
            core.out.events.push(Event::StateChanged {
                session: self.id,
                state,
            });
        }
    }

    fn connect_path(&mut self, now: Instant, core: &Core) -> bool {
        self.connection.open(now, &core.crypto).is_ok()
    }
}

impl Core {
    /// Puts a session into its stream's entry.
    fn join(&mut self, id: StreamId, role: Role, key: u32, session: &Session) {
        let shard = self.config.shard;
        let stream = self.streams.entry(id).or_default();
        stream.holders += 1;
        match (role, &session.side) {
            (Role::Publish { epoch }, Side::Publisher(publisher)) => {
                if stream.publish(epoch, Source::Here(key)) {
                    stream.tracks = publisher
                        .tracks
                        .iter()
                        .map(|track| track.description.clone())
                        .collect();
                    self.layered.push(id);
                    if stream.channels.is_some() {
                        self.told.push(talking::Told::Changed(id));
                    }
                    for (to, _) in stream.wanting_shards() {
                        let tracks = stream.tracks.clone();
                        self.out
                            .relays
                            .push((to, described(id, epoch, shard, tracks)));
                    }
                }
            }
            _ => {
                stream.viewers_admitted += 1;
                if stream.viewers_admitted == 1 {
                    self.tell_interest(id, true);
                }
            }
        }
    }

    fn tell_interest(&mut self, stream: StreamId, wanted: bool) {
        let shard = self.config.shard;
        self.broadcast(|| Relay::Interest {
            stream,
            shard,
            wanted,
        });
    }

    fn broadcast(&mut self, message: impl Fn() -> Relay) {
        for index in 0..self.config.shard_count {
            let to = ShardIndex(index);
            if to != self.config.shard {
                self.out.relays.push((to, message()));
            }
        }
    }

    fn interest(&mut self, now: Instant, id: StreamId, shard: ShardIndex, wanted: bool) {
        let own = self.config.shard;
        let bit = 1_u64.checked_shl(u32::from(shard.0)).unwrap_or(0);
        if !wanted {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.wanted_by &= !bit;
                stream.layers_wanted.retain(|(known, _)| *known != shard);
                if stream.is_unused() {
                    self.streams.remove(&id);
                }
            }
            return;
        }
        let stream = self.streams.entry(id).or_default();
        stream.wanted_by |= bit;
        if let (Some(epoch), Some(Source::Here(_))) = (stream.epoch, stream.source) {
            let tracks = stream.tracks.clone();
            self.out
                .relays
                .push((shard, described(id, epoch, own, tracks)));
            let layers = stream.layers;
            if layers.iter().any(|layer| layer.is_active) {
                let message = Relay::Layers {
                    stream: id,
                    epoch,
                    layers,
                };
                self.out.relays.push((shard, message));
            }
            self.relay_kept(now, id, shard, LAYERS_ALL);
            self.tell_channels(id, shard);
        }
    }

    fn send(&mut self, destination: PeerAddr, local: Option<IpAddr>, bytes: &[u8]) {
        let route = Route { destination, local };
        self.batch.push(route, bytes);
    }

    fn send_batch(&mut self, send: &mut dyn FnMut(&mut Batch)) {
        if !self.batch.is_empty() {
            send(&mut self.batch);
            self.batch.clear();
        }
    }
}

fn described(
    stream: StreamId,
    epoch: whitewater_link::Epoch,
    from: ShardIndex,
    tracks: std::sync::Arc<[whitewater_link::TrackDescription]>,
) -> Relay {
    Relay::Described {
        stream,
        epoch,
        from,
        tracks,
    }
}

/// Room for the largest datagram, when it is opened here.
const SCRATCH_SIZE: usize = 65_536;
const _: () = assert!(
    limits::ADDRESSES_PER_SESSION_MAX > 1,
    "a path change needs the old and the new address"
);
