//! From an offer to a session that a shard can take in. Runs off the hot cores: everything here
//! may take a millisecond and allocate.

use std::net::SocketAddr;
use std::time::Instant;

use rand::{Rng, RngExt};
use str0m::Rtc;
use whitewater_link::{MediaKind, Negotiate, Refusal, Role, SessionId, ShardIndex, StreamId};
use whitewater_link::{RequestId, TrackInfo};
use whitewater_sdp::{
    Capabilities, Extension, HostCandidate, HostTransport, Local, LocalIce, LocalSender, Offer,
    Plan, SectionPlan, judge, render_answer,
};

use crate::session::ice::{Credentials, LiteAgent};
use crate::session::keys::KeyCell;
use crate::session::webrtc::{self, Identity, SenderSsrcs};

/// The parts of this interface that are not ours, for users that know no other crate of the plane.
pub use whitewater_sdp::{Codec, Fragment, Limits};

/// A session on its way to its shard.
pub struct Admission {
    /// To answer with.
    pub request: RequestId,
    /// The session.
    pub session: SessionId,
    /// Its stream.
    pub stream: StreamId,
    /// Its side.
    pub role: Role,
    /// What was negotiated.
    pub plan: Plan,
    /// What a viewer is sent under, one entry per track.
    pub senders: Vec<SenderSsrcs>,
    /// The answer, to be given out once the shard has taken the session in.
    pub answer: String,
    /// Our side of the answer, for later fragments.
    pub local: Box<Local>,
    /// The connection.
    pub rtc: Box<Rtc>,
    /// Where its SRTP keys will appear.
    pub keys: KeyCell,
    /// Its ICE side.
    pub ice: LiteAgent,
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission")
            .field("session", &self.session)
            .field("stream", &self.stream)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// What the negotiator knows about the node.
pub struct Negotiator<R> {
    identity: Identity,
    rng: R,
    limits: Limits,
    publish: Capabilities,
    subscribe: Capabilities,
}

impl<R: Rng> Negotiator<R> {
    /// A negotiator that answers with all of `codecs`.
    pub fn new(identity: Identity, rng: R, codecs: &[Codec]) -> Self {
        let capabilities = |extensions: &[Extension]| Capabilities {
            codecs: codecs.to_vec(),
            extensions: extensions.to_vec(),
            simulcast: false,
            data_channels: false,
            ice_lite: true,
            ..Capabilities::default()
        };
        Negotiator {
            identity,
            rng,
            limits: Limits::default(),
            publish: capabilities(PUBLISH_EXTENSIONS),
            subscribe: capabilities(SUBSCRIBE_EXTENSIONS),
        }
    }

    /// Judges an offer and builds the session that serves it on `shard`.
    ///
    /// `addresses` are the transport addresses to offer, most wanted first.
    ///
    /// # Errors
    /// Why the POST is refused, in words for the person who made it.
    pub fn admit(
        &mut self,
        now: Instant,
        negotiate: &Negotiate,
        shard: ShardIndex,
        addresses: &[SocketAddr],
    ) -> Result<Box<Admission>, Refusal> {
        let offer = Offer::parse(&negotiate.offer, &self.limits)
            .map_err(|malformed| Refusal::Malformed(malformed.to_string()))?;
        let (role, capabilities) = match negotiate.role {
            Role::Publish { .. } => (whitewater_sdp::Role::Publish, &self.publish),
            Role::Subscribe => (whitewater_sdp::Role::Subscribe, &self.subscribe),
        };
        let plan = judge(&offer, role, capabilities)
            .map_err(|unsupported| Refusal::Unsupported(unsupported.to_string()))?;
        let strong = |f: &whitewater_sdp::Fingerprint| {
            use whitewater_sdp::HashFunction::{Sha1, Sha256};
            matches!(f.hash, Sha1 | Sha256)
        };
        if !plan.fingerprints.iter().any(strong) {
            return Err(Refusal::Unsupported(
                "the offer has no sha-256 certificate fingerprint (a=fingerprint)".to_owned(),
            ));
        }

        let senders = match negotiate.role {
            Role::Subscribe => self.senders(&plan),
            Role::Publish { .. } => Vec::new(),
        };
        let credentials = credentials(&mut self.rng, shard);
        let local = self.local(negotiate, &plan, &senders, &credentials, addresses);
        let answer = render_answer(&plan, &local);
        let (rtc, keys) = webrtc::build(&plan, &self.identity, now).map_err(|error| {
            tracing::warn!(session = ?negotiate.session, %error, "session could not be built");
            Refusal::Internal
        })?;
        let remote = Credentials {
            ufrag: plan.remote_ice.ufrag.clone(),
            pwd: plan.remote_ice.pwd.clone(),
        };
        let ice = LiteAgent::new(credentials, remote, hmac_sha1);
        Ok(Box::new(Admission {
            request: negotiate.request,
            session: negotiate.session,
            stream: negotiate.stream,
            role: negotiate.role,
            senders,
            answer,
            local: Box::new(local),
            plan,
            rtc,
            keys,
            ice,
        }))
    }

    fn senders(&mut self, plan: &Plan) -> Vec<SenderSsrcs> {
        let mut used = Vec::new();
        let mut ssrc = || loop {
            let ssrc: u32 = self.rng.random();
            // Zero is what bandwidth probes use.
            if ssrc != 0 && !used.contains(&ssrc) {
                used.push(ssrc);
                return ssrc;
            }
        };
        let mut one = |track: &whitewater_sdp::TrackPlan| SenderSsrcs {
            main: ssrc(),
            rtx: (track.codecs.iter().any(|c| c.rtx_pt.is_some())).then(&mut ssrc),
        };
        plan.tracks().map(&mut one).collect()
    }

    fn local(
        &mut self,
        negotiate: &Negotiate,
        plan: &Plan,
        senders: &[SenderSsrcs],
        credentials: &Credentials,
        addresses: &[SocketAddr],
    ) -> Local {
        let candidate = |&addr: &SocketAddr| HostCandidate {
            transport: HostTransport::Udp,
            addr,
        };
        let sender = |(track, ssrcs): (&whitewater_sdp::TrackPlan, &SenderSsrcs)| LocalSender {
            mid: track.mid.clone(),
            track_id: format!("{}-{}", negotiate.msid, track.kind.name()),
            ssrc: ssrcs.main,
            rtx: ssrcs.rtx,
            cname: negotiate.msid.clone(),
        };
        Local {
            // RFC 9429 §5.2.1: 63 random bits.
            session_id: self.rng.random::<u64>() >> 1,
            ice: LocalIce {
                ufrag: credentials.ufrag.clone(),
                pwd: credentials.pwd.clone(),
                lite: true,
                options: vec!["ice2".to_owned(), "trickle".to_owned()],
            },
            fingerprint: self.identity.fingerprint,
            candidates: addresses.iter().map(candidate).collect(),
            stream_id: negotiate.msid.clone(),
            senders: plan.tracks().zip(senders).map(sender).collect(),
            max_message_size: 256 * 1024,
        }
    }
}

/// The accepted tracks as the APIs show them.
pub fn track_infos(plan: &Plan) -> Vec<TrackInfo> {
    let info = |track: &whitewater_sdp::TrackPlan| {
        let first = track.codecs.first();
        TrackInfo {
            mid: track.mid.clone(),
            kind: match track.kind {
                whitewater_sdp::MediaKind::Audio => MediaKind::Audio,
                whitewater_sdp::MediaKind::Video => MediaKind::Video,
            },
            codec: first.map_or_else(String::new, |codec| codec.codec.name().to_owned()),
            fmtp: first.map_or_else(String::new, |codec| codec.fmtp.clone()),
        }
    };
    plan.tracks().map(info).collect()
}

/// Whether data channels were negotiated.
pub fn has_data_channel(plan: &Plan) -> bool {
    let application = |section: &SectionPlan| matches!(section, SectionPlan::Application(_));
    plan.sections.iter().any(application)
}

/// Fresh credentials from a CSPRNG (RFC 8445 §5.3 asks for 24 and 128 random bits; these have 60
/// and 144). The first two characters name the shard, so that a check that reaches another
/// shard's socket can be handed on.
pub fn credentials(rng: &mut impl Rng, shard: ShardIndex) -> Credentials {
    let mut token = |len: usize| -> String {
        let character = |_| char::from(ICE_CHARS[usize::from(rng.random::<u8>() & 0x3f)]);
        (0..len).map(character).collect()
    };
    Credentials {
        ufrag: format!("{:02x}{}", shard.0 & 0xff, token(10)),
        pwd: token(24),
    }
}

/// The shard that [`credentials`] wrote into a user name fragment.
pub fn shard_of(ufrag: &str) -> Option<ShardIndex> {
    let digits = ufrag.get(..2)?;
    u16::from_str_radix(digits, 16).ok().map(ShardIndex)
}

/// HMAC-SHA1 by the library that str0m uses.
pub fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    str0m::crypto::from_feature_flags()
        .sha1_hmac_provider
        .sha1_hmac(key, parts)
}

/// RFC 8839 §5.1: 64 characters, so that six random bits choose one without a bias.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const PUBLISH_EXTENSIONS: &[Extension] = &[
    Extension::Mid,
    Extension::Rid,
    Extension::RepairedRid,
    Extension::AbsSendTime,
    Extension::TransportSequence,
    Extension::AudioLevel,
    Extension::VideoOrientation,
    Extension::PlayoutDelay,
    Extension::VideoContentType,
    Extension::VideoTiming,
    Extension::ColorSpace,
    Extension::AbsCaptureTime,
    Extension::DependencyDescriptor,
];

/// Without transport-wide sequence numbers: until the viewers' bandwidth is estimated here their
/// feedback would be parsed for nothing, and they estimate themselves (REMB) when it is absent.
const SUBSCRIBE_EXTENSIONS: &[Extension] = &[
    Extension::Mid,
    Extension::AbsSendTime,
    Extension::AudioLevel,
    Extension::VideoOrientation,
    Extension::PlayoutDelay,
    Extension::VideoContentType,
    Extension::VideoTiming,
    Extension::ColorSpace,
    Extension::AbsCaptureTime,
    Extension::DependencyDescriptor,
];
