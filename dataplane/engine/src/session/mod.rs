//! One peer connection on its shard.

pub mod agent;
pub mod channels;
pub mod connection;
pub mod dialler;
pub mod ice;
pub mod keys;
pub mod lanes;
pub mod outlet;
pub mod stock;
pub mod webrtc;

use std::time::Instant;

use str0m::Rtc;
use str0m::crypto::dtls::SrtpProfile;
use whitewater_link::{
    CloseReason, Epoch, LAYERS_MAX, LayerState, MediaKind, Role, SessionId, SessionReport,
    SessionState, StreamId, TrackReport, Traffic,
};
use whitewater_rtp::RtpHeader;
use whitewater_rtp::ext::parse_rid;
use whitewater_sdp::{DtlsRole, Extension, Local, Plan};
use whitewater_srtp::{KeyingMaterial, Profile, SrtcpOpener, SrtpOpener};

use crate::admission::Admission;
use crate::config::Config;
use crate::drops::DropReason;
use crate::forward::choice::{Choice, Remb};
use crate::forward::downlink::Downlink;
use crate::forward::egress::{EgressTrack, Start};
use crate::forward::ingress::{IngressTrack, NtpAnchor};
use crate::forward::layers::IngressLayer;
use crate::limits;

use agent::Agent;
use channels::Channels;
use connection::Connection;
use keys::KeyCell;
use lanes::{Lanes, Wishes};
use outlet::Outlet;
use stock::Stock;
use webrtc::SenderSsrcs;

/// One peer connection.
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// The stream it publishes or watches.
    pub stream: StreamId,
    /// Which of the two.
    pub role: Role,
    /// DTLS; a publisher's SRTP and RTCP.
    pub connection: Connection,
    /// Paths and credentials.
    pub ice: Agent,
    /// Our side of the answer; a restart changes its credentials.
    pub local: Box<Local>,
    /// The m-section that stands for the bundle.
    pub tagged_mid: String,
    /// What is particular to the role.
    pub side: Side,
    /// As told to control.
    pub state: SessionState,
    /// When the shard took it in.
    pub admitted_at: Instant,
    /// When anything authenticated was last heard.
    pub heard_at: Instant,
    /// Data channels, if any were negotiated.
    pub channels: Option<Box<Channels>>,
    /// When they want to be looked at.
    pub channels_due: Option<Instant>,
    /// When the connection wants to be called.
    pub connection_due: Option<Instant>,
    /// The earliest wheel entry.
    pub armed: Option<Instant>,
    /// Whether control was told that the publisher is silent.
    pub silent: bool,
    /// Set when the session is to be taken out.
    pub closing: Option<CloseReason>,
    restarts: RestartBudget,
    dtls_role: DtlsRole,
    keys: KeyCell,
    opener: Option<SrtcpOpener>,
    rtp_opener: Option<SrtpOpener>,
    /// Sources that an authentic packet named.
    proven: Vec<u32>,
}

/// What is particular to a publisher or a viewer.
pub enum Side {
    /// Sends media to us.
    Publisher(Publisher),
    /// Is sent media.
    Viewer(Viewer),
}

/// A publisher's tracks.
pub struct Publisher {
    /// In m-line order.
    pub tracks: Vec<IngressTrack>,
    /// What each source is; at most `SOURCES_MAX`, the oldest forgotten.
    pub sources: Vec<SourceTrack>,
    /// When its layers are looked at, if it has several.
    pub layers_at: Option<Instant>,
    /// What was told of them last, and when.
    pub layers_told: Option<([LayerState; LAYERS_MAX], Instant)>,
    /// The numbers under which packets say their rid and the one they repair.
    rid_extensions: [Option<u8>; 2],
    /// Sources of layers that were not agreed; at most `SOURCES_MAX`.
    strangers: Vec<u32>,
    /// Wall clock of the publisher on ours.
    pub anchor: NtpAnchor,
    /// What was taken stock of.
    pub stock: Box<Stock>,
    /// When REMB is due, for publishers that understand nothing better.
    pub remb_at: Option<Instant>,
    /// Of another node, which sends the layers one by one: which it was told to leave out.
    pub wishes: Option<Box<Wishes>>,
}

/// What a publisher's source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTrack {
    /// The source.
    pub ssrc: u32,
    /// Index of its track.
    pub track: u8,
    /// Its layer, 0 without simulcast.
    pub layer: u8,
}

/// A viewer's tracks.
pub struct Viewer {
    /// In m-line order.
    pub tracks: Vec<EgressTrack>,
    /// Its keys, once the handshake is done.
    pub outlet: Option<Box<Outlet>>,
    /// The canonical name of all its sources (RFC 3550 §6.5.1), at most `CNAME_SIZE_MAX` bytes.
    pub cname: Box<[u8]>,
    /// Its sender reports.
    pub reports: Reports,
    /// The path to it, where anything can be learnt of that.
    pub downlink: Option<Box<Downlink>>,
    /// Whether it is behind, or may begin with what is kept of its stream.
    pub is_joining: bool,
    /// When more of that may be sent.
    pub replay_at: Option<Instant>,
    /// What the path carries, in bits per second; `None` while that is not known.
    pub available_bps: Option<u64>,
    /// What is worth probing the path for.
    pub goal_bps: u64,
    /// What it would be sent if its path is known to carry it, as far as layers go.
    pub need_bps: u64,
    /// The last publisher of whom control was told that this viewer lacks a codec.
    pub uncarried: Option<Epoch>,
    /// Its choice among the layers.
    pub choice: Choice,
    /// Of another node, which is sent the layers one by one: which there are.
    pub lanes: Option<Box<Lanes>>,
    /// What it says it can receive.
    pub remb: Remb,
}

/// When a viewer is sent reports.
#[derive(Debug, Default)]
pub struct Reports {
    /// The next one; none before the first packet.
    pub at: Option<Instant>,
    /// Those sent since a track began.
    pub count: u32,
    /// Tracks that had sent something at the last look.
    pub tracks: usize,
}

impl Session {
    /// The session an admission describes.
    pub fn new(now: Instant, admission: Admission, rng: &mut impl rand::Rng) -> Self {
        use rand::RngExt;
        let plan = &admission.plan;
        let side = match admission.role {
            Role::Publish { .. } => Side::Publisher(Publisher {
                tracks: plan.tracks().map(IngressTrack::new).collect(),
                sources: Vec::new(),
                layers_at: None,
                layers_told: None,
                rid_extensions: rid_extensions(plan),
                strangers: Vec::new(),
                anchor: NtpAnchor::default(),
                stock: Box::default(),
                remb_at: None,
                wishes: Wishes::planned(plan).map(Box::new),
            }),
            Role::Subscribe => {
                let mut tracks = Vec::new();
                for (track, &ssrcs) in plan.tracks().zip(&admission.senders) {
                    let mut start = || Start {
                        seq: rng.random(),
                        repair_seq: rng.random(),
                        timestamp: rng.random(),
                    };
                    let lanes = track.lanes.as_deref().unwrap_or_default();
                    if lanes.is_empty() {
                        tracks.push(EgressTrack::new(track, ssrcs, start()));
                    }
                    for (layer, lane) in (0..).zip(lanes) {
                        let ssrcs = SenderSsrcs {
                            main: lane.ssrc,
                            rtx: lane.rtx,
                        };
                        tracks.push(EgressTrack::new(track, ssrcs, start()).keeping_to(layer));
                    }
                }
                let is_numbered = tracks.iter().any(EgressTrack::is_numbered);
                let cname = admission.local.senders.first().map_or("", |s| &s.cname);
                let cname = cname.bytes().take(CNAME_SIZE_MAX);
                Side::Viewer(Viewer {
                    tracks,
                    outlet: None,
                    cname: cname.collect(),
                    reports: Reports::default(),
                    downlink: is_numbered.then(|| Box::new(Downlink::new(now))),
                    is_joining: false,
                    replay_at: None,
                    available_bps: None,
                    goal_bps: limits::PROBE_GOAL_BPS,
                    need_bps: 0,
                    uncarried: None,
                    choice: Choice::default(),
                    lanes: Lanes::planned(plan).map(Box::new),
                    remb: Remb::default(),
                })
            }
        };
        let mut local = admission.local;
        local.senders = Vec::new();
        Session {
            id: admission.session,
            stream: admission.stream,
            role: admission.role,
            tagged_mid: plan.tagged_mid().unwrap_or_default().to_owned(),
            dtls_role: plan.dtls_role,
            channels: Channels::new(plan, admission.ice.port().is_some()),
            channels_due: None,
            connection: admission.connection,
            ice: admission.ice,
            local,
            side,
            state: SessionState::New,
            admitted_at: now,
            heard_at: now,
            connection_due: Some(now),
            armed: None,
            silent: false,
            closing: None,
            restarts: RestartBudget::new(now),
            keys: admission.keys,
            opener: None,
            rtp_opener: None,
            proven: Vec::new(),
        }
    }

    /// Whether DTLS is done.
    pub fn is_connected(&self) -> bool {
        matches!(
            self.state,
            SessionState::Connected | SessionState::Disconnected
        )
    }

    /// When the session wants to be looked at, if nothing arrives.
    pub fn due(&self, config: &Config) -> Instant {
        let house = self.house_due(config);
        let due = self.connection_due.map_or(house, |at| at.min(house));
        let due = self.channels_due.map_or(due, |at| at.min(due));
        self.ice.due().map_or(due, |at| due.min(at))
    }

    /// When the next rule about silence applies.
    pub fn house_due(&self, config: &Config) -> Instant {
        if !self.is_connected() {
            return self.admitted_at + config.half_open_timeout;
        }
        let mut due = self.heard_at + config.dead_peer_timeout;
        if let Side::Viewer(viewer) = &self.side {
            due = viewer.reports.at.map_or(due, |at| due.min(at));
            due = viewer.replay_at.map_or(due, |at| due.min(at));
            let paced = viewer.downlink.as_ref().and_then(|path| path.due());
            due = paced.map_or(due, |at| due.min(at));
        }
        if self.state == SessionState::Connected {
            due = due.min(self.heard_at + limits::DISCONNECTED_AFTER);
        }
        if let Side::Publisher(publisher) = &self.side {
            if !self.silent {
                due = due.min(self.heard_at + config.silent_after);
            }
            for at in [publisher.remb_at, publisher.layers_at, publisher.stock.at]
                .into_iter()
                .flatten()
            {
                due = due.min(at);
            }
        }
        due
    }

    /// Whether an incoming RTCP packet is authentic, for peers that send nothing else: str0m
    /// handles RTCP without saying so.
    pub fn is_authentic_rtcp(&mut self, packet: &[u8], scratch: &mut [u8]) -> bool {
        let Some(opener) = &mut self.opener else {
            return false;
        };
        opener.open(packet, scratch).is_ok()
    }

    /// Whether an RTP packet may be handed on: str0m moves a track to a new source before it knows
    /// whether the packet that names it is authentic, so the first packet of each is opened here.
    ///
    /// # Errors
    /// Why it may not: it proves nothing, or says that it is of a layer that was not agreed
    /// (RFC 8853 §5.5).
    pub fn admits_source(&mut self, packet: &[u8], scratch: &mut [u8]) -> Result<(), DropReason> {
        let Some(ssrc) = packet.get(8..12).and_then(|b| b.try_into().ok()) else {
            return Err(DropReason::Malformed);
        };
        let ssrc = u32::from_be_bytes(ssrc);
        if let Side::Publisher(publisher) = &self.side
            && publisher.strangers.contains(&ssrc)
        {
            return Err(DropReason::UnknownLayer);
        }
        // A peer that has proved this many is left to str0m alone.
        if self.proven.contains(&ssrc) || self.proven.len() >= SOURCES_MAX {
            return Ok(());
        }
        let Some(opener) = &mut self.rtp_opener else {
            let connected = self.is_connected();
            return connected.then_some(()).ok_or(DropReason::Unauthentic);
        };
        if opener.open(packet, scratch).is_err() {
            return Err(DropReason::Unauthentic);
        }
        if let Side::Publisher(publisher) = &mut self.side
            && publisher.is_stranger(packet)
        {
            if publisher.strangers.len() < SOURCES_MAX {
                publisher.strangers.push(ssrc);
            }
            return Err(DropReason::UnknownLayer);
        }
        self.proven.push(ssrc);
        Ok(())
    }

    /// Takes the keys from the finished handshake. False when there are none to be used.
    pub fn take_keys(&mut self) -> bool {
        let Some(keys) = self.keys.keys() else {
            return false;
        };
        let profile = match keys.profile {
            SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
            SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
            _ => Profile::Aes128CmSha1_80,
        };
        let role = match self.dtls_role {
            DtlsRole::Active => whitewater_srtp::Role::Client,
            DtlsRole::Passive => whitewater_srtp::Role::Server,
        };
        let Ok(material) = KeyingMaterial::split(profile, &keys.material, role) else {
            return false;
        };
        match &mut self.side {
            Side::Viewer(viewer) => {
                // Indices count from the beginning only with keys of their own, so an outlet is
                // made once; there is no second handshake (RFC 5764 has one per association).
                if viewer.outlet.is_none() {
                    viewer.outlet = Outlet::new(&material).ok().map(Box::new);
                }
                viewer.outlet.is_some()
            }
            Side::Publisher(_) => {
                self.opener = SrtcpOpener::new(&material.remote).ok();
                self.rtp_opener = SrtpOpener::new(&material.remote).ok();
                self.opener.is_some() && self.rtp_opener.is_some()
            }
        }
    }

    /// Whether another restart is allowed now.
    pub fn may_restart(&mut self, now: Instant) -> bool {
        self.restarts.take(now)
    }

    /// Cumulative counters.
    pub fn report(&self, now: Instant) -> SessionReport {
        let tracks: Vec<TrackReport> = match &self.side {
            Side::Publisher(p) => p.tracks.iter().map(|track| track.report.clone()).collect(),
            Side::Viewer(v) => v.tracks.iter().map(|track| track.report.clone()).collect(),
        };
        let mut traffic = Traffic::default();
        for track in &tracks {
            traffic.packets += track.traffic.packets;
            traffic.bytes += track.traffic.bytes;
        }
        let available_bps = match &self.side {
            Side::Publisher(_) => None,
            Side::Viewer(viewer) => viewer.available_bps,
        };
        let intake = match &self.side {
            Side::Publisher(publisher) => publisher.stock.intake.clone(),
            Side::Viewer(_) => None,
        };
        SessionReport {
            session: self.id,
            traffic,
            tracks,
            available_bps,
            intake,
            silent_for: now.saturating_duration_since(self.heard_at),
        }
    }
}

impl Publisher {
    /// The track and layer that media of this source belongs to.
    pub fn source_of(&mut self, rtc: &mut Rtc, ssrc: u32) -> Option<SourceTrack> {
        if let Some(known) = self.sources.iter().find(|known| known.ssrc == ssrc) {
            return Some(*known);
        }
        let mut api = rtc.direct_api();
        let stream = api.stream_rx(&ssrc.into())?;
        let (mid, rid) = (stream.mid(), stream.rid());
        let index = self
            .tracks
            .iter()
            .position(|track| str0m::media::Mid::from(track.mid.as_str()) == mid)?;
        let layer = self.tracks.get(index)?.layer_of(ssrc, rid)?;
        let source = SourceTrack {
            ssrc,
            track: u8::try_from(index).ok()?,
            layer,
        };
        if self.sources.len() >= SOURCES_MAX {
            self.sources.remove(0);
        }
        self.sources.push(source);
        Some(source)
    }

    /// Whether a packet says that it is of a layer that was not agreed.
    fn is_stranger(&self, packet: &[u8]) -> bool {
        let layers = || self.tracks.iter().flat_map(|track| &track.layers);
        if !layers().any(IngressLayer::is_named) {
            return false;
        }
        let Ok(header) = RtpHeader::parse(packet) else {
            return false;
        };
        let said = self.rid_extensions.into_iter().flatten();
        let mut rids = said.filter_map(|id| parse_rid(header.extension(id)?));
        rids.any(|rid| !layers().any(|layer| layer.has_rid(rid)))
    }

    /// The video track, which there is at most one of.
    pub fn video(&mut self) -> Option<&mut IngressTrack> {
        let video = |track: &&mut IngressTrack| track.kind == MediaKind::Video;
        self.tracks.iter_mut().find(video)
    }
}

impl Viewer {
    /// The layers whose next key frame it waits for, one bit each.
    pub fn awaits(&self) -> u8 {
        let awaited = self.tracks.iter().map(EgressTrack::awaits);
        awaited.fold(0, |all, one| all | one)
    }
}

/// The numbers of the extensions that name a layer; within a bundle one number means one extension.
fn rid_extensions(plan: &Plan) -> [Option<u8>; 2] {
    [Extension::Rid, Extension::RepairedRid]
        .map(|wanted| plan.tracks().find_map(|track| track.extension_id(&wanted)))
}

/// A token bucket for ICE restarts, each of which costs a key derivation and an answer.
struct RestartBudget {
    tokens: u32,
    filled_at: Instant,
}

impl RestartBudget {
    fn new(now: Instant) -> Self {
        RestartBudget {
            tokens: limits::RESTARTS_BURST_MAX,
            filled_at: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let whole_seconds = now.saturating_duration_since(self.filled_at).as_secs();
        if whole_seconds > 0 {
            self.filled_at = now;
            let gained = u32::try_from(whole_seconds).unwrap_or(u32::MAX);
            self.tokens = self
                .tokens
                .saturating_add(gained)
                .min(limits::RESTARTS_BURST_MAX);
        }
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}

/// Length of a canonical name as it is sent; the ones in our answers are shorter.
pub const CNAME_SIZE_MAX: usize = 128;

/// Sources of one publisher whose track is remembered; a publisher that changes its SSRC on every
/// packet costs a look-up each, not memory.
const SOURCES_MAX: usize = 16;
