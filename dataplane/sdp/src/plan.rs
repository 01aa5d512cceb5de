//! What both sides will do: the outcome of judging an offer.

use crate::candidate::Candidate;
use crate::capabilities::Role;
use crate::codec::{Codec, MediaKind};
use crate::extension::Extension;
use crate::lanes::LanePlan;

/// Everything an engine needs to carry a session out, and everything needed to render the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the peer does.
    pub role: Role,
    /// The peer's ICE credentials and abilities.
    pub remote_ice: RemoteIce,
    /// The peer's usable candidates; host names and unknown transports are left out.
    pub candidates: Vec<Candidate>,
    /// True when the peer said that no more candidates will follow.
    pub end_of_candidates: bool,
    /// The certificates the peer may show, one or more (RFC 8122 §5).
    pub fingerprints: Vec<Fingerprint>,
    /// Our own part in the DTLS handshake.
    pub dtls_role: DtlsRole,
    /// The accepted mids in the order of the offer's BUNDLE group; empty where there was none,
    /// which only an offer with a single m-line may do.
    pub bundle: Vec<String>,
    /// True when `a=extmap-allow-mixed` stood at session level.
    pub extmap_allow_mixed: bool,
    /// One entry per m-line, in their order.
    pub sections: Vec<SectionPlan>,
}

impl Plan {
    /// The accepted media sections, in the order of their m-lines.
    pub fn tracks(&self) -> impl Iterator<Item = &TrackPlan> {
        self.sections.iter().filter_map(|section| match section {
            SectionPlan::Media(track) => Some(track),
            _ => None,
        })
    }

    /// The same, to be changed.
    pub fn tracks_mut(&mut self) -> impl Iterator<Item = &mut TrackPlan> {
        self.sections
            .iter_mut()
            .filter_map(|section| match section {
                SectionPlan::Media(track) => Some(track),
                _ => None,
            })
    }

    /// The accepted data channel section, if there is one.
    #[must_use]
    pub fn application(&self) -> Option<&ApplicationPlan> {
        self.sections.iter().find_map(|section| match section {
            SectionPlan::Application(application) => Some(application),
            _ => None,
        })
    }

    /// The mid whose section stands for the bundle: the first accepted one of the group (RFC 9143
    /// §7.3.1), or the only section where there is no group.
    #[must_use]
    pub fn tagged_mid(&self) -> Option<&str> {
        if let Some(mid) = self.bundle.first() {
            return Some(mid);
        }
        self.sections.iter().find_map(|section| match section {
            SectionPlan::Media(track) => Some(track.mid.as_str()),
            SectionPlan::Application(application) => Some(application.mid.as_str()),
            SectionPlan::Rejected(_) => None,
        })
    }
}

/// The peer's side of ICE.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteIce {
    /// User name fragment, 4..=256 ICE characters (RFC 8839 §5.4).
    pub ufrag: String,
    /// Password, 22..=256 ICE characters. Left out of `Debug`.
    pub pwd: String,
    /// True when the peer is an ICE-lite agent.
    pub lite: bool,
    /// What the peer said in `a=ice-options`.
    pub options: IceOptions,
}

impl std::fmt::Debug for RemoteIce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteIce")
            .field("ufrag", &self.ufrag)
            .field("lite", &self.lite)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The known tokens of `a=ice-options`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IceOptions {
    /// `trickle` (RFC 8840 §4.1.1).
    pub trickle: bool,
    /// `ice2` (RFC 8445 §10).
    pub ice2: bool,
}

/// The hash of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// How the hash was made.
    pub hash: HashFunction,
    /// The hash itself, always of the length its function makes.
    pub bytes: Vec<u8>,
}

/// Hash functions of certificates (RFC 8122 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashFunction {
    /// `sha-1`, 20 bytes. Too weak to be the only one.
    Sha1,
    /// `sha-256`, 32 bytes.
    Sha256,
    /// `sha-384`, 48 bytes.
    Sha384,
    /// `sha-512`, 64 bytes.
    Sha512,
}

impl HashFunction {
    /// The name as it stands in `a=fingerprint`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Bytes of one hash.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Who starts the DTLS handshake (RFC 8842 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsRole {
    /// We send the ClientHello: `a=setup:active`.
    Active,
    /// We wait for it: `a=setup:passive`.
    Passive,
}

/// What becomes of one m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionPlan {
    /// Audio or video.
    Media(TrackPlan),
    /// Data channels.
    Application(ApplicationPlan),
    /// Answered with port 0.
    Rejected(RejectedSection),
}

/// Which way media flows, from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// We receive: the peer publishes.
    RecvOnly,
    /// We send: the peer watches.
    SendOnly,
}

/// One accepted audio or video section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackPlan {
    /// The section's id, unique in the plan. Its m-line's number where the offer gave none.
    pub mid: String,
    /// False when the offer had no `a=mid` here, so that the answer has none either.
    pub mid_offered: bool,
    /// Audio or video.
    pub kind: MediaKind,
    /// Which way media flows, from our side.
    pub direction: Direction,
    /// The profile of the m-line, such as `UDP/TLS/RTP/SAVPF`.
    pub proto: String,
    /// Codecs both sides know, never empty, in the offer's order.
    pub codecs: Vec<CodecPlan>,
    /// Extensions both sides know, in the offer's order.
    pub extensions: Vec<ExtensionPlan>,
    /// What the peer said about its own SSRCs; RTX ones stand with those they repair.
    pub ssrcs: Vec<SsrcPlan>,
    /// The SSRCs of `a=ssrc-group:SIM`, lowest layer first as offered; empty where simulcast is not
    /// wanted or agreed by rids.
    pub sim_ssrcs: Vec<u32>,
    /// The rids the peer sends, in the offer's order; empty where simulcast is not agreed.
    pub rids: Vec<RidPlan>,
    /// The simulcast streams, in the offer's order; empty where simulcast is not agreed.
    pub simulcast: Vec<SimulcastLayer>,
    /// Between two nodes: the layers, each on a source of its own, in the publisher's order; empty
    /// where there is one. `None` where the peer knows nothing of that.
    pub lanes: Option<Vec<LanePlan>>,
    /// Stream and track id of the first `a=msid`; an absent track id is empty.
    pub msid: Option<(String, String)>,
    /// True when `a=extmap-allow-mixed` holds for this section.
    pub extmap_allow_mixed: bool,
    /// True when the offer had `a=rtcp-rsize`.
    pub rtcp_rsize: bool,
}

impl TrackPlan {
    /// The id under which an extension was agreed.
    #[must_use]
    pub fn extension_id(&self, wanted: &Extension) -> Option<u8> {
        self.extensions
            .iter()
            .find(|extension| extension.extension == *wanted)
            .map(|extension| extension.id)
    }

    /// The codec a payload type stands for; RTX payload types are not codecs.
    #[must_use]
    pub fn codec(&self, pt: u8) -> Option<&CodecPlan> {
        self.codecs.iter().find(|codec| codec.pt == pt)
    }
}

/// One agreed codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecPlan {
    /// Payload type, 0..=127.
    pub pt: u8,
    /// Payload type of its retransmissions (RFC 4588), if agreed.
    pub rtx_pt: Option<u8>,
    /// Which codec.
    pub codec: Codec,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Channels, where the rtpmap says so.
    pub channels: Option<u8>,
    /// Format parameters as offered, without the payload type; empty if there are none.
    pub fmtp: String,
    /// Format parameters we answer with; empty if there are none.
    pub answer_fmtp: String,
    /// Feedback both sides use.
    pub feedback: Feedback,
}

/// RTCP feedback (RFC 4585 §4.2, RFC 5104 §7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// `nack`: lost packets are named.
    pub nack: bool,
    /// `nack pli`: a picture is lost.
    pub nack_pli: bool,
    /// `ccm fir`: a key frame is asked for.
    pub ccm_fir: bool,
    /// `transport-cc`: arrival times for the transport-wide sequence numbers.
    pub transport_cc: bool,
    /// `goog-remb`: the receiver estimates bandwidth.
    pub goog_remb: bool,
}

/// One agreed header extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionPlan {
    /// Local identifier, 1..=14 or 16..=255; above 14 only in the two-byte form.
    pub id: u8,
    /// What it carries.
    pub extension: Extension,
    /// True when the offer named a direction, so that the answer names ours (RFC 8285 §6).
    pub directed: bool,
}

/// One SSRC the peer announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SsrcPlan {
    /// The media SSRC.
    pub ssrc: u32,
    /// The SSRC that repairs it (`a=ssrc-group:FID`).
    pub rtx: Option<u32>,
    /// The CNAME, where it was said.
    pub cname: Option<String>,
}

/// One agreed rid (RFC 8851).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RidPlan {
    /// The id that packets carry.
    pub id: String,
    /// Restrictions such as `pt=96;max-width=1280`, empty if there are none; payload types that
    /// were not agreed are left out.
    pub restrictions: String,
}

/// One stream of `a=simulcast` (RFC 8853 §5.1): alternatives for the same layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulcastLayer {
    /// Rids, of which the sender uses one; each with whether it starts paused.
    pub alternatives: Vec<(String, bool)>,
}

/// The accepted data channel section (RFC 8841).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationPlan {
    /// The section's id, unique in the plan. Its m-line's number where the offer gave none.
    pub mid: String,
    /// False when the offer had no `a=mid` here.
    pub mid_offered: bool,
    /// The profile of the m-line, such as `UDP/DTLS/SCTP`.
    pub proto: String,
    /// The format of the m-line: `webrtc-datachannel`, or a port in the older form.
    pub format: String,
    /// The peer's SCTP port.
    pub sctp_port: u16,
    /// The largest message the peer takes, in bytes; 0 means any (RFC 8841 §6.1).
    pub max_message_size: u64,
}

impl ApplicationPlan {
    /// As an offer of ours has it (RFC 8841 §5).
    pub(crate) fn of_ours(mid: &str) -> Self {
        ApplicationPlan {
            mid: mid.to_owned(),
            mid_offered: true,
            proto: "UDP/DTLS/SCTP".to_owned(),
            format: "webrtc-datachannel".to_owned(),
            sctp_port: 5000,
            max_message_size: 0,
        }
    }
}

/// A section that is answered with port 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedSection {
    /// The section's id, if it had one.
    pub mid: Option<String>,
    /// The media word of the m-line.
    pub media: String,
    /// The profile of the m-line.
    pub proto: String,
    /// The first format of the m-line.
    pub format: String,
    /// Why, in words.
    pub reason: &'static str,
}
