//! Another node, which is a client of the world's: it takes streams from there and brings some.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use whitewater_engine::admission::{
    Codec, Fragment, HostCandidate, HostTransport, Limits, Negotiator,
};
use whitewater_engine::dialling::OwnSocket;
use whitewater_engine::session::dialler::Family;
use whitewater_engine::session::webrtc::Identity;
use whitewater_engine::{Command, Config, Datagram, Engine, Input, Outbox, Outgoing, Panics};
use whitewater_link::{
    Answer, AnswerKind, CloseReason, Epoch, Event, LayerInfo, Live, Locality, MakeOffer, Network,
    PatchOutcome, PeerAddr, Reach, RequestId, Role, SessionId, SessionReport, ShardIndex, StreamId,
    TrackInfo, Transport,
};

use crate::link::{Link, Wire};
use crate::world::World;

/// A node of one shard; every session of it has a port of its own.
pub struct Far {
    /// Everything its engine told control, with its time.
    pub events: Vec<(Instant, Event)>,
    engine: Engine,
    /// Where its datagrams come from.
    address: IpAddr,
    /// Hides what only nodes of ours say to each other.
    is_plain: bool,
    due: Option<Instant>,
    negotiator: Negotiator<StdRng>,
    rng: StdRng,
    ports: u16,
    epochs: HashMap<StreamId, Epoch>,
    numbers: u64,
    up: Wire,
    down: Wire,
    /// On their way to it: when, to which port.
    coming: Vec<(Instant, u16, Vec<u8>)>,
    /// On their way to the world: when, from which port.
    going: Vec<(Instant, u16, Vec<u8>)>,
}

impl Far {
    /// A node without sessions, at the other end of a link.
    pub fn new(world: &World, seed: u64, link: Link) -> Self {
        let identity = Identity::generate().expect("a certificate");
        let config = Config {
            panics: Panics::Propagate,
            ..Config::default()
        };
        let codecs = [Codec::Opus, Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1];
        let mut seeds = [0; 32];
        seeds[..8].copy_from_slice(&seed.to_be_bytes());
        Far {
            events: Vec::new(),
            engine: Engine::new(config, world.now, seeds),
            address: ADDRESS,
            is_plain: false,
            due: None,
            negotiator: Negotiator::new(identity, StdRng::seed_from_u64(seed), &codecs),
            rng: StdRng::seed_from_u64(!seed),
            ports: 40_000,
            epochs: HashMap::new(),
            numbers: 0,
            up: Wire::new(link.up),
            down: Wire::new(link.down),
            coming: Vec::new(),
            going: Vec::new(),
        }
    }

    /// Takes the world's stream, which is `stream` here. The session here and the one there.
    pub fn pull(
        &mut self,
        world: &mut World,
        from: &str,
        stream: StreamId,
    ) -> (SessionId, SessionId) {
        self.numbers += 1;
        let epoch = Epoch(self.numbers);
        self.epochs.insert(stream, epoch);
        self.dial(world, from, None, stream, Role::Publish { epoch }, None)
    }

    /// Brings a stream of here, which a pull has brought, to the world.
    pub fn push(
        &mut self,
        world: &mut World,
        to: &str,
        stream: StreamId,
    ) -> (SessionId, SessionId) {
        let live = Live {
            epoch: self.epochs[&stream],
            tracks: self.tracks(stream),
        };
        let epoch = world.next_epoch();
        self.dial(world, to, Some(epoch), stream, Role::Subscribe, Some(live))
    }

    /// It appears under another address from now on: nothing that is sent to the one before arrives.
    pub fn move_away(&mut self) {
        self.address = ELSEWHERE;
    }

    /// An ICE restart of a session of here, as the client of the world's session.
    ///
    /// # Panics
    /// When either side refuses.
    pub fn restart(&mut self, world: &mut World, session: SessionId, there: SessionId) {
        let PatchOutcome::Restarted { fragment } = self.step_of_restart(world, session, None)
        else {
            panic!("it begins with credentials of ours");
        };
        let answer = world.patch_session(there, &fragment);
        let PatchOutcome::Restarted { fragment } = answer.expect("the world's node restarts")
        else {
            panic!("new credentials are a restart");
        };
        let answer = Fragment::parse(&fragment, &Limits::default()).expect("its fragment");
        let outcome = self.step_of_restart(world, session, Some(Box::new(answer)));
        assert_eq!(outcome, PatchOutcome::Trickled);
    }

    fn step_of_restart(
        &mut self,
        world: &World,
        session: SessionId,
        answer: Option<Box<Fragment>>,
    ) -> PatchOutcome {
        self.numbers += 1;
        let request = RequestId(self.numbers);
        let command = Command::Restart {
            request,
            session,
            answer,
        };
        self.engine.handle(world.now, Input::Command(command));
        self.poll(world.now);
        let outcome = self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Patched {
                request: answered,
                outcome,
                ..
            } if *answered == request => Some(outcome.clone()),
            _ => None,
        });
        outcome.expect("it is answered").expect("it is done")
    }

    /// From now on it speaks as a server of somebody else's would.
    pub fn speak_plainly(&mut self) {
        self.is_plain = true;
    }

    /// The counters of a session of here; `None` once it is closed.
    pub fn report(&self, now: Instant, session: SessionId) -> Option<SessionReport> {
        let mut sessions = self.engine.report(now).sessions.into_iter();
        sessions.find(|report| report.session == session)
    }

    /// What was told last of the layers that a session brings here.
    pub fn layers(&self, wanted: SessionId) -> &[LayerInfo] {
        let told = self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Layers { session, layers } if *session == wanted => Some(layers),
            _ => None,
        });
        told.map_or(&[], Vec::as_slice)
    }

    /// Ends a session of here.
    pub fn close(&mut self, world: &World, session: SessionId) {
        let reason = CloseReason::Deleted;
        let command = Command::Close { session, reason };
        self.engine.handle(world.now, Input::Command(command));
        self.due = Some(world.now);
    }

    /// Changes the link; what is under way stays.
    pub fn relink(&mut self, link: Link) {
        self.up.path = link.up;
        self.down.path = link.down;
    }

    /// Lets time pass, there and here.
    pub fn run_for(&mut self, world: &mut World, span: Duration) {
        let end = world.now + span;
        while world.now < end {
            world.run_for(STEP.min(end - world.now));
            self.step(world);
        }
    }

    /// Nothing may be left behind.
    ///
    /// # Panics
    /// When something is.
    pub fn assert_quiescent(&self) {
        assert!(self.engine.is_quiescent(), "the far node keeps something");
    }

    /// Why and when a session of here was closed, if it was.
    pub fn closed(&self, session: SessionId) -> Option<(Instant, CloseReason)> {
        self.events.iter().find_map(|(at, event)| match event {
            Event::Closed {
                session: closed,
                reason,
            } if *closed == session => Some((*at, *reason)),
            _ => None,
        })
    }

    /// The codecs a stream of here has, as its publisher showed them.
    fn tracks(&self, wanted: StreamId) -> Vec<TrackInfo> {
        let told = self.events.iter().rev().find_map(|(_, event)| match event {
            Event::StreamUp { stream, tracks, .. } if *stream == wanted => Some(tracks.clone()),
            _ => None,
        });
        told.unwrap_or_default()
    }

    fn dial(
        &mut self,
        world: &mut World,
        name: &str,
        epoch_there: Option<Epoch>,
        stream: StreamId,
        role: Role,
        live: Option<Live>,
    ) -> (SessionId, SessionId) {
        self.numbers += 1;
        self.ports += 1;
        let session = SessionId(u128::from(self.numbers));
        let wish = MakeOffer {
            request: RequestId(self.numbers),
            session,
            stream,
            role,
            locality: Locality::Remote,
            msid: "relay".to_owned(),
            live,
        };
        let socket = OwnSocket {
            port: self.ports,
            family: Family::V4,
        };
        let candidate = HostCandidate {
            transport: HostTransport::Udp,
            addr: SocketAddr::new(ADDRESS, self.ports),
        };
        let offer = self
            .negotiator
            .offer(&wish, ShardIndex(0), socket, &[candidate]);
        let mut offer = offer.expect("an offer");
        if self.is_plain {
            let is_ours = |line: &&str| line.starts_with("a=whitewater-");
            offer = offer
                .split_inclusive("\r\n")
                .filter(|line| !is_ours(line))
                .collect();
        }
        let (there, text) = world
            .admit(name, &offer, epoch_there)
            .expect("the world's node takes our offers");
        let answer = Answer {
            request: RequestId(self.numbers),
            session,
            answer: text,
            kind: AnswerKind::Answer,
            reach: Reach {
                allowed: vec![Network::host(world.server_address().ip())],
            },
        };
        let admission = self.negotiator.answer(world.now, &answer);
        let admission = admission.expect("we take its answers");
        self.engine
            .handle(world.now, Input::Command(Command::Admit(admission)));
        self.due = Some(world.now);
        (session, there)
    }

    fn step(&mut self, world: &mut World) {
        let now = world.now;
        for (to, bytes) in std::mem::take(&mut world.strays) {
            if to.ip() == self.address {
                let arrivals = self.down.carry(now, bytes.len(), &mut self.rng);
                let arrivals = arrivals.into_iter();
                self.coming
                    .extend(arrivals.map(|at| (at, to.port(), bytes.clone())));
            }
        }
        let mut arrived = due(&mut self.coming, now);
        arrived.sort_by_key(|(at, ..)| *at);
        let handled = !arrived.is_empty();
        for (_, port, bytes) in arrived {
            let datagram = Datagram {
                source: PeerAddr::dialled(port, world.server_address()),
                local: SocketAddr::new(ADDRESS, port),
                bytes: &bytes,
            };
            self.engine.handle(now, Input::Datagram(datagram));
        }
        if handled || self.due.is_some_and(|at| at <= now) {
            self.poll(now);
        }
        for (_, port, bytes) in due(&mut self.going, now) {
            world.inject(SocketAddr::new(self.address, port), &bytes);
        }
    }

    fn poll(&mut self, now: Instant) {
        let mut out = Outbox::default();
        let mut sent = Vec::new();
        self.due = self.engine.poll(now, &mut out, &mut |batch| {
            let owned = |out: Outgoing<'_>| (out.destination, out.bytes.to_vec());
            sent.extend(batch.datagrams().map(owned));
        });
        for (destination, bytes) in sent {
            let Transport::Dialled(port) = destination.transport else {
                panic!("a session of a client leaves by its own port");
            };
            let arrivals = self.up.carry(now, bytes.len(), &mut self.rng);
            let arrivals = arrivals.into_iter();
            self.going
                .extend(arrivals.map(|at| (at, port, bytes.clone())));
        }
        self.events
            .extend(out.events.into_iter().map(|event| (now, event)));
    }
}

/// Takes out what is due.
fn due<T>(waiting: &mut Vec<(Instant, u16, T)>, now: Instant) -> Vec<(Instant, u16, T)> {
    let (due, later) = std::mem::take(waiting)
        .into_iter()
        .partition(|(at, ..)| *at <= now);
    *waiting = later;
    due
}

/// Between two looks at what is under way.
const STEP: Duration = Duration::from_millis(1);
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 3));
