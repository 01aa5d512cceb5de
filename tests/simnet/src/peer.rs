//! One scripted WebRTC peer: full ICE, str0m's own SDP, RTP in and out.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use str0m::bwe::{Bitrate, BweKind};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelConfig;
use str0m::config::DtlsCert;
use str0m::format::{Codec, FormatParams};
use str0m::media::{
    Direction, Frequency, KeyframeRequestKind, MediaKind, Mid, Rid, Simulcast, SimulcastLayer,
};
use str0m::net::{DatagramRecv, Protocol, Receive};
use str0m::rtp::ExtensionMap;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use whitewater_engine::session::keys::{self, AppData, KeyCell};
use whitewater_link::{Epoch, SessionId, ShardIndex};

use crate::channels::Talk;
use crate::link::Wire;
use crate::publisher::{Encoding, Published, Script, Told};
use crate::repair::Feedback;
use crate::viewer::Watched;

/// A payload type of the video section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoFormat {
    /// Payload type.
    pub pt: u8,
    /// That of its retransmissions.
    pub rtx_pt: Option<u8>,
    /// What it stands for.
    pub codec: Codec,
}

/// Which sections the offer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracks {
    /// Audio, then video.
    Both,
    /// Only video.
    Video,
    /// Only audio.
    Audio,
}

/// What a peer offers.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Its sections.
    pub tracks: Tracks,
    /// In order of preference.
    pub video: Vec<VideoFormat>,
    /// Opus.
    pub audio_pt: u8,
    /// Redundancy (RFC 2198) around it, as number and as what is sent: a publisher that has it sends
    /// each packet with the one before.
    pub red_pt: Option<u8>,
    /// Other header extensions than str0m's usual.
    pub extensions: Option<ExtensionMap>,
    /// Data channels it opens; with none there is no section for them.
    pub channels: Vec<ChannelConfig>,
    /// What a publisher sends.
    pub script: Script,
    /// Offers the fingerprint of a certificate that it does not have.
    pub forged_fingerprint: bool,
    /// Whether it sends as much video as the server's feedback says that its path carries.
    pub adapts: bool,
    /// The certificate it shows; one that all peers share otherwise.
    pub certificate: Option<DtlsCert>,
}

impl Default for PeerConfig {
    fn default() -> Self {
        PeerConfig {
            tracks: Tracks::Both,
            video: vec![
                VideoFormat {
                    pt: 96,
                    rtx_pt: Some(97),
                    codec: Codec::Vp8,
                },
                VideoFormat {
                    pt: 102,
                    rtx_pt: Some(103),
                    codec: Codec::H264,
                },
            ],
            audio_pt: 111,
            red_pt: None,
            extensions: None,
            channels: Vec::new(),
            script: Script::default(),
            forged_fingerprint: false,
            adapts: false,
            certificate: None,
        }
    }
}

pub(crate) enum Side {
    Publisher(Box<Published>),
    Viewer(Box<Watched>),
}

/// A peer and the network before it.
pub(crate) struct Peer {
    pub(crate) rtc: Rtc,
    pub(crate) side: Side,
    pub(crate) talk: Talk,
    pub(crate) session: SessionId,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) shard: ShardIndex,
    /// As the peer sees itself.
    pub(crate) private: SocketAddr,
    /// As the server sees it.
    pub(crate) public: SocketAddr,
    pub(crate) up: Wire,
    pub(crate) down: Wire,
    pub(crate) up_filter: Option<fn(&[u8]) -> bool>,
    /// False once the machine is switched off.
    pub(crate) powered: bool,
    pub(crate) connected_at: Option<Instant>,
    /// When the server's close_notify came.
    pub(crate) closed_at: Option<Instant>,
    pub(crate) due: Instant,
    pub(crate) offer: String,
    pub(crate) answer: String,
    pub(crate) video_mid: Option<Mid>,
    pub(crate) audio_mid: Option<Mid>,
    pub(crate) video_pts: Vec<u8>,
    red_pt: Option<u8>,
    pending: Option<SdpPendingOffer>,
    outgoing: Vec<(SocketAddr, Vec<u8>)>,
    /// Those of a group that the offer names.
    sources: Vec<(u32, Rid)>,
    keys: KeyCell,
    /// Whether it offered retransmission, and so asks for what is missing.
    repairs: bool,
    /// Where the server was heard from last.
    heard_from: Option<SocketAddr>,
    /// What a viewer asks by.
    feedback: Option<Feedback>,
}

/// Who and where a new peer is.
pub(crate) struct Place {
    pub(crate) session: SessionId,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) address: SocketAddr,
    /// For content: tells publishers apart.
    pub(crate) number: u32,
}

impl Peer {
    /// A peer that has made its offer.
    pub(crate) fn new(
        now: Instant,
        began: Instant,
        config: &PeerConfig,
        link: crate::Link,
        place: Place,
    ) -> Self {
        let (mut rtc, keys) = keys::tapped(AppData::Passed, || rtc_config(config).build(now));
        if config.adapts {
            rtc.bwe().set_bitrate(Bitrate::ZERO, Bitrate::mbps(3));
        }
        let candidate = Candidate::host(place.address, Protocol::Udp).expect("a plain address");
        rtc.add_local_candidate(candidate);
        let direction = match place.epoch {
            Some(_) => Direction::SendOnly,
            None => Direction::RecvOnly,
        };
        let mut changes = rtc.sdp_api();
        let (script, publishes) = (&config.script, place.epoch.is_some());
        let by_rid = publishes && script.told == Told::ByRid;
        let layers = script.layers.iter().filter(|_| by_rid);
        let send: Vec<SimulcastLayer> = layers.map(|e| SimulcastLayer::new(e.rid)).collect();
        let simulcast = (!send.is_empty()).then(|| Simulcast {
            send,
            recv: Vec::new(),
        });
        let mut add = |kind, layers| changes.add_media(kind, direction, None, None, layers);
        let audio_mid = (config.tracks != Tracks::Video).then(|| add(MediaKind::Audio, None));
        let video_mid = (config.tracks != Tracks::Audio).then(|| add(MediaKind::Video, simulcast));
        for channel in &config.channels {
            changes.add_channel_with_config(channel.clone());
        }
        let (offer, pending) = changes.apply().expect("an offer with sections");
        let mut offer = offer.to_sdp_string();
        if let Some(red) = config.red_pt {
            offer = say_red(&offer, red, config.audio_pt);
        }
        let mut sources = Vec::new();
        if publishes && script.told == Told::BySource {
            sources = group(&mut offer, &script.layers);
        }
        if config.forged_fingerprint {
            offer = forge(&offer);
        }
        let side = match place.epoch {
            Some(_) => Side::Publisher(Box::new(Published::new(place.number, began, config))),
            None => Side::Viewer(Box::new(Watched::new(began))),
        };
        Peer {
            rtc,
            side,
            talk: Talk::default(),
            session: place.session,
            epoch: place.epoch,
            shard: ShardIndex(0),
            private: place.address,
            public: place.address,
            up: Wire::new(link.up),
            down: Wire::new(link.down),
            up_filter: None,
            powered: true,
            connected_at: None,
            closed_at: None,
            due: now,
            offer,
            answer: String::new(),
            video_mid,
            audio_mid,
            video_pts: config.video.iter().map(|format| format.pt).collect(),
            red_pt: config.red_pt,
            pending: Some(pending),
            outgoing: Vec::new(),
            sources,
            keys,
            repairs: config.video.iter().any(|format| format.rtx_pt.is_some()),
            heard_from: None,
            feedback: None,
        }
    }

    /// Takes the answer to the offer made last.
    pub(crate) fn accept(&mut self, answer: &str) {
        let known = match self.red_pt {
            Some(red) => unsay_red(answer, red),
            None => answer.to_owned(),
        };
        let parsed = SdpAnswer::from_sdp_string(&known).expect("str0m reads our answer");
        let pending = self.pending.take().expect("an offer is open");
        let accepted = self.rtc.sdp_api().accept_answer(pending, parsed);
        accepted.expect("str0m takes our answer");
        self.answer = answer.to_owned();
        for (ssrc, rid) in self.sources.drain(..) {
            let mid = self.video_mid.expect("layers are of video");
            let mut api = self.rtc.direct_api();
            api.declare_stream_tx(ssrc.into(), None, mid, Some(rid));
        }
    }

    /// Makes new credentials; the fragment for the PATCH.
    pub(crate) fn restart(&mut self) -> String {
        let mut changes = self.rtc.sdp_api();
        let credentials = changes.ice_restart(true);
        let (_, pending) = changes.apply().expect("a restart is a change");
        self.pending = Some(pending);
        format!(
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
            credentials.ufrag, credentials.pass
        )
    }

    /// One datagram from the server.
    pub(crate) fn receive(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) {
        if !self.powered {
            return;
        }
        let Ok(contents) = DatagramRecv::try_from(bytes) else {
            return;
        };
        self.heard_from = Some(source);
        let receive = Receive {
            proto: Protocol::Udp,
            source,
            destination: self.private,
            contents,
        };
        // What the peer cannot take in is lost for it; the verdict shows it.
        let _ = self.rtc.handle_input(Input::Receive(now, receive));
        // str0m keeps one received packet: it is taken out before the next comes in.
        self.pump(now);
        self.due = now;
    }

    /// Takes everything out of str0m; when it wants to be called.
    fn pump(&mut self, now: Instant) -> Instant {
        while self.rtc.is_alive() {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => return at,
                Ok(Output::Transmit(transmit)) => {
                    self.outgoing
                        .push((transmit.destination, transmit.contents.into()));
                }
                Ok(Output::Event(event)) => self.on_event(now, event),
                Err(_) => break,
            }
        }
        now + IDLE_MAX
    }

    /// Does what is due; sends through `send`.
    pub(crate) fn drive(&mut self, now: Instant, send: &mut impl FnMut(SocketAddr, Vec<u8>)) {
        if !self.powered {
            return;
        }
        if self.closed_at.is_none() && self.connected_at.is_some() {
            match &mut self.side {
                Side::Publisher(publisher) => {
                    publisher.play(now, &mut self.rtc, self.video_mid, self.audio_mid);
                }
                Side::Viewer(viewer) => {
                    if viewer.wants_keyframe(now) {
                        self.request_keyframe();
                    }
                    self.ask_again(now);
                }
            }
        }
        let _ = self.rtc.handle_input(Input::Timeout(now));
        let rtc_due = self.pump(now);
        for (to, bytes) in self.outgoing.drain(..) {
            send(to, bytes);
        }
        let script_due = match &self.side {
            Side::Publisher(publisher) if self.connected_at.is_some() => publisher.due(),
            // What was due already was looked at just now; the next datagram comes first.
            Side::Viewer(viewer) => viewer.due().filter(|due| *due > now),
            Side::Publisher(_) => None,
        };
        let due = script_due.map_or(rtc_due, |due| due.min(rtc_due));
        self.due = due.clamp(now + TICK, now + IDLE_MAX);
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        match (event, &mut self.side) {
            (Event::Connected, _) => self.connected_at = Some(now),
            (Event::Closed, _) => self.closed_at = Some(now),
            (
                event @ (Event::ChannelOpen(..) | Event::ChannelData(_) | Event::ChannelClose(_)),
                _,
            ) => self.talk.note(now, &event, &mut self.rtc),
            (Event::KeyframeRequest(request), Side::Publisher(publisher)) => {
                publisher.requested(now, request.rid);
            }
            (
                Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }),
                Side::Publisher(publisher),
            ) => {
                publisher.estimate = Some(estimate.as_u64());
            }
            (Event::RtpPacket(packet), Side::Viewer(viewer)) => {
                let pt = *packet.header.payload_type;
                let video = self.video_pts.contains(&pt);
                let is_red = self.red_pt == Some(pt);
                viewer.packet(now, video, is_red, &packet);
            }
            _ => {}
        }
    }

    /// Says by REMB what it can receive.
    pub(crate) fn say_bitrate(&mut self, bps: u64) {
        let Some(mid) = self.video_mid else {
            return;
        };
        let mut api = self.rtc.direct_api();
        if let Some(stream) = api.stream_rx_by_mid(mid, None) {
            stream.request_remb(Bitrate::bps(bps));
        }
    }

    /// Asks for what is missing of the video, in the library's place.
    fn ask_again(&mut self, now: Instant) {
        let Some(mid) = self.video_mid.filter(|_| self.repairs) else {
            return;
        };
        if self.feedback.is_none() {
            let mut api = self.rtc.direct_api();
            if let Some(stream) = api.stream_rx_by_mid(mid, None) {
                stream.suppress_nack(true);
                let is_client = self.answer.contains("a=setup:passive");
                self.feedback = Feedback::new(&self.keys, is_client);
            }
        }
        let Side::Viewer(viewer) = &mut self.side else {
            return;
        };
        let (Some(feedback), Some(server)) = (&mut self.feedback, self.heard_from) else {
            return;
        };
        let asked = viewer.asks_again(now);
        let asked = asked.and_then(|(ssrc, seqs)| feedback.nack(ssrc, &seqs));
        self.outgoing
            .extend(asked.map(|datagram| (server, datagram)));
    }

    fn request_keyframe(&mut self) {
        let Some(mid) = self.video_mid else {
            return;
        };
        let mut api = self.rtc.direct_api();
        if let Some(stream) = api.stream_rx_by_mid(mid, None) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
    }
}

fn rtc_config(config: &PeerConfig) -> RtcConfig {
    static CERTIFICATE: OnceLock<DtlsCert> = OnceLock::new();
    // Ours repeats handshakes as early as browsers do.
    let crypto = keys::provider();
    let certificate = CERTIFICATE.get_or_init(|| {
        let made = crypto.dtls_provider.generate_certificate();
        made.expect("the crypto library makes certificates")
    });
    let mut rtc = RtcConfig::new()
        .set_crypto_provider(crypto.clone())
        .set_dtls_cert(config.certificate.as_ref().unwrap_or(certificate).clone())
        .set_rtp_mode(true)
        .set_rtcp_report_interval_audio(Duration::from_secs(1))
        .set_rtcp_report_interval_video(Duration::from_secs(1))
        .clear_codecs();
    let codecs = rtc.codec_config();
    codecs.add_config(
        config.audio_pt.into(),
        None,
        Codec::Opus,
        Frequency::FORTY_EIGHT_KHZ,
        Some(2),
        FormatParams::parse_line(OPUS),
    );
    if let Some(red) = config.red_pt {
        codecs.add_config(
            red.into(),
            None,
            Codec::G722,
            Frequency::FORTY_EIGHT_KHZ,
            Some(2),
            FormatParams::default(),
        );
    }
    for format in &config.video {
        let (pt, rtx) = (format.pt.into(), format.rtx_pt.map(Into::into));
        match format.codec {
            Codec::H264 => codecs.add_h264(pt, rtx, true, 0x42_e0_1f),
            codec => codecs.add_config(
                pt,
                rtx,
                codec,
                Frequency::NINETY_KHZ,
                None,
                FormatParams::default(),
            ),
        }
    }
    if config.adapts {
        rtc = rtc.enable_bwe(Some(Bitrate::kbps(500)));
    }
    match &config.extensions {
        Some(extensions) => rtc.set_extension_map(extensions.clone()),
        None => rtc,
    }
}

/// Times are kept on a grid, so that what happens together is handled together.
pub(crate) const TICK: Duration = Duration::from_micros(250);
/// A peer is looked at this often even when it says nothing.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Names a source for each layer in the last section of an offer, beside the one it has.
fn group(offer: &mut String, layers: &[Encoding]) -> Vec<(u32, Rid)> {
    let rids = layers.iter().map(|layer| Rid::from(layer.rid));
    let sources: Vec<(u32, Rid)> = (0x51_0000..).zip(rids).collect();
    let names: Vec<String> = sources.iter().map(|(ssrc, _)| ssrc.to_string()).collect();
    for name in &names {
        offer.push_str(&format!("a=ssrc:{name} cname:layers\r\n"));
    }
    offer.push_str(&format!("a=ssrc-group:SIM {}\r\n", names.join(" ")));
    sources
}

/// Says that a payload type is redundancy, for which str0m has no name in audio: it takes it for
/// another codec.
fn say_red(sdp: &str, red: u8, inner: u8) -> String {
    replace(sdp, red, "red/48000/2", &format!("{inner}/{inner}"))
}

fn unsay_red(sdp: &str, red: u8) -> String {
    replace(sdp, red, "G722/48000/2", "")
}

fn replace(sdp: &str, pt: u8, name: &str, parameters: &str) -> String {
    let (map, fmtp) = (format!("a=rtpmap:{pt} "), format!("a=fmtp:{pt} "));
    let line = |line: &str| match line {
        line if line.starts_with(&map) && parameters.is_empty() => format!("{map}{name}\r\n"),
        line if line.starts_with(&map) => format!("{map}{name}\r\n{fmtp}{parameters}\r\n"),
        line if line.starts_with(&fmtp) => String::new(),
        line => format!("{line}\r\n"),
    };
    sdp.lines().map(line).collect()
}

const OPUS: &str = "minptime=10;useinbandfec=1";

/// Another first byte in every fingerprint.
fn forge(offer: &str) -> String {
    let line = |line: &str| match line.strip_prefix("a=fingerprint:sha-256 ") {
        Some(rest) => {
            let byte = if rest.starts_with("00") { "01" } else { "00" };
            format!("a=fingerprint:sha-256 {byte}{}\r\n", &rest[2..])
        }
        None => format!("{line}\r\n"),
    };
    offer.lines().map(line).collect()
}
