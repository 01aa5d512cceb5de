//! One engine, viewers without a handshake, and a publisher on another shard.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use whitewater_link::{
    CloseReason, Epoch, Event, LAYERS_ALL, LAYERS_MAX, LayerState, Locality, MediaKind, Negotiate,
    PassedExtensions, PeerAddr, Relay, RelayPacket, RequestId, Role, Selection, SessionId,
    ShardIndex, StreamId,
};
use whitewater_rtp::rtcp::write;
use whitewater_rtp::{RtpPacket, SeqExtender};
use whitewater_sdp::Codec;
use whitewater_srtp::{KeyingMaterial, Profile, SrtpOpener};

use crate::admission::Negotiator;
use crate::config::{Config, Panics};
use crate::engine::{Command, Engine, Input, Outbox};
use crate::forward::egress::Rewritten;
use crate::forward::egress::switching::{Arrival, Pattern, Sent, Source, decodes, published};
use crate::limits;
use crate::session::webrtc::Identity;

/// Everything an operation list works on.
pub(super) struct Stage {
    now: Instant,
    due: Option<Instant>,
    engine: Engine,
    negotiator: Negotiator<StdRng>,
    publisher: Option<Publisher>,
    epochs: u64,
    /// All packets there were; each says its place here.
    sent: Vec<Sent>,
    viewers: Vec<Viewer>,
}

struct Publisher {
    epoch: Epoch,
    pattern: Pattern,
    source: Source,
    /// Layers a key frame was asked for of.
    wanted: u8,
    keys: [Option<Instant>; LAYERS_MAX],
}

struct Viewer {
    id: SessionId,
    peer: PeerAddr,
    ssrc: u32,
    opener: SrtpOpener,
    seqs: SeqExtender,
    used: HashSet<(u32, u16, u64)>,
    packets: Vec<(Rewritten, Sent)>,
    is_connected: bool,
    is_closed: bool,
}

impl Stage {
    pub(super) fn new(now: Instant, rng: &mut impl Rng) -> Self {
        static IDENTITY: OnceLock<Identity> = OnceLock::new();
        let identity = IDENTITY.get_or_init(|| Identity::generate().expect("a certificate"));
        let config = Config {
            shard_count: 2,
            panics: Panics::Propagate,
            ..Config::default()
        };
        let mut stage = Stage {
            now,
            due: None,
            engine: Engine::new(config, now, [rng.random(); 32]),
            negotiator: Negotiator::new(
                identity.clone(),
                StdRng::seed_from_u64(1),
                &[Codec::Opus, Codec::Vp8],
            ),
            publisher: None,
            epochs: 0,
            sent: Vec::new(),
            viewers: Vec::new(),
        };
        stage.admit();
        stage.publish(rng);
        stage
    }

    /// One operation, and what comes of it.
    pub(super) fn act(&mut self, rng: &mut impl Rng) {
        match rng.random_range(0..32) {
            0 => self.admit(),
            1 | 2 => self.connect(rng),
            3 => self.close(rng),
            4 => self.publish(rng),
            5 => self.end_publisher(rng),
            6 => self.tell_layers(rng),
            7 => self.mute(rng),
            8 | 9 => self.select(rng),
            10..=13 => self.feedback(rng),
            14..=17 => self.pass(Duration::from_millis(rng.random_range(0..200))),
            _ => self.picture(rng),
        }
        self.poll();
    }

    /// Everybody leaves, and what was sent is looked at; how much that is.
    pub(super) fn end(mut self) -> usize {
        self.handle(Input::Command(Command::Shutdown));
        self.poll();
        self.poll();
        assert_eq!(self.engine.session_count(), 0);
        for viewer in &mut self.viewers {
            viewer.packets.sort_by_key(|(rewritten, _)| rewritten.seq);
            decodes(&viewer.packets, Arrival::Anyhow, "as sent");
        }
        self.viewers.iter().map(|viewer| viewer.packets.len()).sum()
    }

    fn handle(&mut self, input: Input<'_>) {
        self.engine.handle(self.now, input);
    }

    fn admit(&mut self) {
        let alive = self
            .viewers
            .iter()
            .filter(|viewer| !viewer.is_closed)
            .count();
        if alive >= VIEWERS_MAX || self.viewers.len() >= SESSIONS_MAX {
            return;
        }
        let number = self.viewers.len() as u8 + 1;
        let negotiate = Negotiate {
            request: RequestId(number.into()),
            session: SessionId(number.into()),
            stream: STREAM,
            role: Role::Subscribe,
            offer: OFFER.to_owned(),
            locality: Locality::Remote,
            msid: "fuzzed".to_owned(),
            live: None,
        };
        let shard = ShardIndex(0);
        let admission = self.negotiator.admit(self.now, &negotiate, shard, &[]);
        let admission = admission.expect("a recorded offer");
        let mut tracks = admission.plan.tracks().zip(&admission.senders);
        let video = tracks.find(|(track, _)| track.kind == whitewater_sdp::MediaKind::Video);
        let ssrc = video.map(|(_, ssrcs)| ssrcs.main).expect("it has video");
        drop(tracks);
        let keys = material(number, whitewater_srtp::Role::Client);
        self.viewers.push(Viewer {
            id: negotiate.session,
            peer: PeerAddr::udp(SocketAddr::from((Ipv4Addr::new(10, 0, 0, number), 9))),
            ssrc,
            opener: SrtpOpener::new(&keys.remote).expect("keys"),
            seqs: SeqExtender::default(),
            used: HashSet::new(),
            packets: Vec::new(),
            is_connected: false,
            is_closed: false,
        });
        self.handle(Input::Command(Command::Admit(admission)));
    }

    fn any(&self, rng: &mut impl Rng) -> Option<usize> {
        let count = self.viewers.len();
        (count > 0).then(|| rng.random_range(0..count))
    }

    fn connect(&mut self, rng: &mut impl Rng) {
        let Some(index) = self.any(rng) else { return };
        let (id, peer) = (self.viewers[index].id, self.viewers[index].peer);
        let keys = material(index as u8 + 1, whitewater_srtp::Role::Server);
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.engine.connect(self.now, id, (peer, local), &keys);
        self.viewers[index].is_connected = true;
    }

    fn close(&mut self, rng: &mut impl Rng) {
        let Some(index) = self.any(rng) else { return };
        let session = self.viewers[index].id;
        let reason = CloseReason::Deleted;
        self.handle(Input::Command(Command::Close { session, reason }));
    }

    fn publish(&mut self, rng: &mut impl Rng) {
        self.epochs += 1;
        let epoch = Epoch(self.epochs);
        let pattern = Pattern::any(rng);
        let mut tracks = published("VP8", 100);
        if pattern.layers > 1 {
            tracks[0].rids = (0..pattern.layers)
                .map(|layer| format!("l{layer}"))
                .collect();
        }
        self.publisher = Some(Publisher {
            epoch,
            pattern,
            source: Source::new(self.now, rng, self.epochs as u32, pattern),
            wanted: 0,
            keys: [None; LAYERS_MAX],
        });
        self.handle(Input::Relay(Relay::Described {
            stream: STREAM,
            epoch,
            from: ShardIndex(1),
            tracks: Arc::from(tracks),
        }));
    }

    fn end_publisher(&mut self, rng: &mut impl Rng) {
        let Some(epoch) = self.publisher.as_ref().map(|publisher| publisher.epoch) else {
            return;
        };
        let stream = STREAM;
        if rng.random() {
            return self.handle(Input::Relay(Relay::Muted { stream, epoch }));
        }
        self.publisher = None;
        self.handle(Input::Relay(Relay::Ended { stream, epoch }));
    }

    fn tell_layers(&mut self, rng: &mut impl Rng) {
        let Some(publisher) = &self.publisher else {
            return;
        };
        let pattern = publisher.pattern;
        let count = pattern.layers.max(pattern.spatials);
        let mut layers = [LayerState::default(); LAYERS_MAX];
        for (place, state) in (0..count).zip(&mut layers) {
            *state = LayerState {
                is_active: rng.random_range(0..4) > 0,
                bitrate_bps: 100_000 << place,
                width: 320 << place,
                height: 180 << place,
                frames_per_second: 30,
                temporal_count: pattern.temporals,
                temporal_percent: [50, 75, 100, 100],
            };
        }
        let epoch = publisher.epoch;
        self.handle(Input::Relay(Relay::Layers {
            stream: STREAM,
            epoch,
            layers,
        }));
    }

    fn mute(&mut self, rng: &mut impl Rng) {
        let Some(index) = self.any(rng) else { return };
        let (session, muted) = (self.viewers[index].id, rng.random());
        let kind = MediaKind::Video;
        self.handle(Input::Command(Command::Mute {
            session,
            kind,
            muted,
        }));
    }

    fn select(&mut self, rng: &mut impl Rng) {
        let Some(index) = self.any(rng) else { return };
        let mut maybe = |max: u32| rng.random::<bool>().then(|| rng.random_range(0..max));
        let selection = Selection {
            rid: maybe(5).map(|layer| format!("l{layer}")),
            spatial_id_max: maybe(4),
            temporal_id: maybe(4),
            ..Selection::default()
        };
        let session = self.viewers[index].id;
        self.handle(Input::Command(Command::Select { session, selection }));
    }

    fn feedback(&mut self, rng: &mut impl Rng) {
        let Some(index) = self.any(rng) else { return };
        let viewer = &self.viewers[index];
        if !viewer.is_connected {
            return;
        }
        let (id, ssrc) = (viewer.id, viewer.ssrc);
        let mut compound = [0; 256];
        let written = match rng.random_range(0..4) {
            0 => write::pli(&mut compound, 1, ssrc).ok(),
            1 => {
                let newest = viewer.seqs.highest().unwrap_or(0) as u16;
                let first = newest.wrapping_sub(rng.random_range(0..600));
                let missing = (0..16).map(|n| first.wrapping_add(n));
                write::nack(&mut compound, 1, ssrc, missing).ok()
            }
            2 => {
                let bps = rng.random_range(20_000..4_000_000);
                write::remb(&mut compound, 1, bps, &[ssrc]).ok()
            }
            _ => {
                rng.fill_bytes(&mut compound[..64]);
                // A version, a type that is read, and a length that fits.
                compound[0] = 0x80 | compound[0] & 0x1f;
                compound[1] = 200 + compound[1] % 8;
                (compound[2], compound[3]) = (0, 15);
                Some(64)
            }
        };
        if let Some(compound) = written.and_then(|len| compound.get(..len)) {
            self.engine.hear(self.now, id, compound);
        }
    }

    fn picture(&mut self, rng: &mut impl Rng) {
        let now = self.now;
        let Some(publisher) = &mut self.publisher else {
            return;
        };
        let layer = rng.random_range(0..publisher.pattern.layers);
        let bit = 1 << layer;
        let key_at = publisher.keys[usize::from(layer)];
        let is_old = key_at.is_none_or(|at| now - at > KEY_AGE_MAX);
        let key = is_old || publisher.wanted & bit != 0 || rng.random_range(0..64) == 0;
        if key {
            publisher.wanted &= !bit;
            publisher.keys[usize::from(layer)] = Some(now);
        }
        publisher.source.now = now;
        let epoch = publisher.epoch;
        let loses = rng.random_range(0..4) == 0;
        for sent in publisher.source.picture(rng, layer, key) {
            // Its start is not lost: who waits for long is sent what it may not be able to decode.
            if loses && !sent.meta.keyframe_start && rng.random_range(0..4) == 0 {
                continue;
            }
            let size = 5 + usize::from(rng.random::<u8>()) * 4;
            let mut payload = vec![0; size];
            payload[1..5].copy_from_slice(&(self.sent.len() as u32).to_be_bytes());
            let relayed = RelayPacket {
                stream: STREAM,
                epoch,
                meta: sent.meta.clone(),
                payload: Arc::from(payload),
            };
            self.sent.push(sent);
            self.engine
                .handle(now, Input::Relay(Relay::Packet(relayed)));
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        // Whoever wants to be called later than now is.
        while let Some(due) = self.due.filter(|due| *due > self.now && *due < end) {
            self.now = due;
            self.poll();
        }
        self.now = end;
    }

    fn poll(&mut self) {
        let mut out = Outbox::default();
        let mut sent: Vec<(PeerAddr, Vec<u8>)> = Vec::new();
        self.due = self.engine.poll(self.now, &mut out, &mut |batch| {
            let datagrams = batch.datagrams();
            sent.extend(datagrams.map(|one| (one.destination, one.bytes.to_vec())));
        });
        for (peer, datagram) in sent {
            let found = self.viewers.iter_mut().find(|viewer| viewer.peer == peer);
            let viewer = found.expect("only viewers are sent anything");
            assert!(
                viewer.is_connected,
                "nothing is sent before the keys are there"
            );
            assert!(!viewer.is_closed, "nothing is sent after the end");
            viewer.take(&datagram, &self.sent);
        }
        for event in out.events {
            if let Event::Closed { session, .. } = event {
                let viewers = self.viewers.iter_mut();
                for viewer in viewers.filter(|viewer| viewer.id == session) {
                    viewer.is_closed = true;
                }
            }
        }
        for (_, relay) in out.relays {
            if let (Relay::KeyframeWanted { layers, .. }, Some(publisher)) =
                (relay, &mut self.publisher)
            {
                publisher.wanted |= layers & LAYERS_ALL;
            }
        }
        assert!(self.engine.held_len_max() <= limits::HELD_PACKETS_MAX);
    }
}

impl Viewer {
    fn take(&mut self, datagram: &[u8], all: &[Sent]) {
        let is_rtcp = datagram
            .get(1)
            .is_some_and(|second| (192..224).contains(second));
        if is_rtcp || datagram.first().is_none_or(|first| first & 0xc0 != 0x80) {
            return;
        }
        let mut plain = vec![0; datagram.len()];
        let opened = self.opener.open(datagram, &mut plain);
        let len = opened.expect("authentic, under an index of its own");
        let packet = RtpPacket::parse(&plain[..len]).expect("a packet");
        let header = packet.header();
        let index = self.opener.highest_index(header.ssrc()).unwrap_or(0);
        let fresh = (header.ssrc(), header.sequence_number(), index >> 16);
        assert!(self.used.insert(fresh), "an index is used once: {fresh:?}");
        let payload = packet.payload();
        if header.ssrc() != self.ssrc {
            return;
        }
        let place = payload.get(1..5).and_then(|bytes| bytes.try_into().ok());
        let place = u32::from_be_bytes(place.expect("what was sent")) as usize;
        let mut sent = all.get(place).expect("what was sent").clone();
        // Numbers of pictures and frames are the other target's matter.
        (sent.meta.extensions, sent.meta.pictures) = (PassedExtensions::default(), None);
        self.packets.push((
            Rewritten {
                pt: header.payload_type(),
                seq: self.seqs.extend(header.sequence_number()),
                timestamp: header.timestamp(),
                marker: header.marker(),
                pictures: None,
                frame_offset: 0,
            },
            sent,
        ));
    }
}

/// The keys of one session, as either side has them.
fn material(number: u8, role: whitewater_srtp::Role) -> KeyingMaterial {
    let profile = Profile::AeadAes128Gcm;
    let exported: Vec<u8> = (0..profile.keying_len() as u8)
        .map(|byte| byte ^ number)
        .collect();
    KeyingMaterial::split(profile, &exported, role).expect("long enough")
}

const OFFER: &str = include_str!("../../../../tests/corpus/sdp/chrome-watch.sdp");
const STREAM: StreamId = StreamId(1);
const VIEWERS_MAX: usize = 5;
const SESSIONS_MAX: usize = 12;
/// A key frame comes before anybody has waited so long that anything is sent.
const KEY_AGE_MAX: Duration = Duration::from_millis(1_200);
