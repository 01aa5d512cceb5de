//! From an offer to a session that a shard can take in. Runs off the hot cores: everything here
//! may take a millisecond and allocate.

use std::time::Instant;

use rand::{Rng, RngExt};
use whitewater_link::{
    Answer, AnswerKind, LAYERS_MAX, MediaKind, Negotiate, Refusal, RequestId, Role, SessionId,
    ShardIndex, StreamId, TrackInfo,
};
use whitewater_rtp::StunView;
use whitewater_sdp::{
    Capabilities, Direction, Extension, Local, LocalIce, LocalSender, Offer, Plan, SectionPlan,
    TrackPlan, judge, judge_answer, render_answer, render_offer, tracks_for_viewers,
};

use crate::counter::{OpenOffer, OpenOffers, Publications, carries};
use crate::session::agent::Agent;
use crate::session::connection::Connection;
use crate::session::ice::{Credentials, LiteAgent};
use crate::session::keys::KeyCell;
use crate::session::webrtc::{Identity, SenderSsrcs};
use crate::{lanes, limits};

/// The parts of this interface that are not ours, for users that know no other crate of the plane.
pub use whitewater_sdp::{Codec, Fragment, HostCandidate, HostTransport, Limits};

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
    pub connection: Connection,
    /// Where its SRTP keys will appear.
    pub keys: KeyCell,
    /// Its ICE side.
    pub ice: Agent,
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
    pub(crate) rng: R,
    pub(crate) limits: Limits,
    pub(crate) publish: Capabilities,
    pub(crate) subscribe: Capabilities,
    pub(crate) publications: Publications,
    pub(crate) open_offers: OpenOffers,
}

impl<R: Rng> Negotiator<R> {
    /// A negotiator that answers with all of `codecs`.
    pub fn new(identity: Identity, rng: R, codecs: &[Codec]) -> Self {
        let capabilities = |extensions: &[Extension]| Capabilities {
            codecs: codecs.to_vec(),
            extensions: extensions.to_vec(),
            simulcast: true,
            layers_max: LAYERS_MAX,
            data_channels: true,
            ice_lite: true,
            ..Capabilities::default()
        };
        Negotiator {
            identity,
            rng,
            limits: Limits::default(),
            publish: capabilities(PUBLISH_EXTENSIONS),
            subscribe: capabilities(SUBSCRIBE_EXTENSIONS),
            publications: Publications::default(),
            open_offers: OpenOffers::default(),
        }
    }

    /// Answers offers of data channels by turning them down.
    #[must_use]
    pub fn without_data_channels(mut self) -> Self {
        self.publish.data_channels = false;
        self.subscribe.data_channels = false;
        self
    }

    /// Judges an offer and builds the session that serves it on `shard`.
    ///
    /// `candidates` are the transport addresses to offer, most wanted first.
    ///
    /// # Errors
    /// Why the POST is refused, in words for the person who made it. With
    /// [`Refusal::CounterOffer`] an offer of ours waits for [`answer`](Self::answer) or
    /// [`withdraw`](Self::withdraw).
    pub fn admit(
        &mut self,
        now: Instant,
        negotiate: &Negotiate,
        shard: ShardIndex,
        candidates: &[HostCandidate],
    ) -> Result<Box<Admission>, Refusal> {
        let offer = Offer::parse(&negotiate.offer, &self.limits)
            .map_err(|malformed| Refusal::Malformed(malformed.to_string()))?;
        let mut plan = match negotiate.role {
            Role::Publish { epoch } => {
                let plan = judge(&offer, whitewater_sdp::Role::Publish, &self.publish);
                let plan = plan.map_err(unsupported)?;
                self.publications.note(negotiate.stream, epoch, &plan);
                plan
            }
            Role::Subscribe => match self.viewer_plan(&offer, negotiate)? {
                Some(plan) => plan,
                None => return Err(self.counter_offer(negotiate, shard, candidates)),
            },
        };
        let senders = match negotiate.role {
            Role::Subscribe => self.senders(plan.tracks()),
            Role::Publish { .. } => Vec::new(),
        };
        if negotiate.role == Role::Subscribe {
            let (stream, live) = (negotiate.stream, negotiate.live.as_ref());
            self.fill_lanes(stream, live, plan.tracks_mut(), &senders);
        }
        let credentials = credentials(&mut self.rng, shard);
        let local = self.local(
            &negotiate.msid,
            plan.tracks(),
            &senders,
            &credentials,
            candidates,
        );
        let made = Made {
            request: negotiate.request,
            session: negotiate.session,
            stream: negotiate.stream,
            role: negotiate.role,
            answer: render_answer(&plan, &local),
            ice: Agent::Lite(lite_agent(credentials, &plan)),
            plan,
            senders,
            local,
        };
        self.build(now, made)
    }

    /// What a viewer's offer leads to; `None` if it breaks no rule but cannot carry what is
    /// published now.
    fn viewer_plan(&self, offer: &Offer, negotiate: &Negotiate) -> Result<Option<Plan>, Refusal> {
        let live = negotiate.live.as_ref();
        let published = live.and_then(|live| self.publications.tracks(negotiate.stream, live));
        let in_use = live.map_or(&[][..], |live| &live.tracks);
        match judge(offer, whitewater_sdp::Role::Subscribe, &self.subscribe) {
            Ok(plan) => {
                let carries = published.is_none_or(|tracks| carries(&plan, tracks, in_use));
                Ok(carries.then_some(plan))
            }
            Err(refusal) if refusal.nothing_in_common && published.is_some() => Ok(None),
            Err(refusal) => Err(unsupported(refusal)),
        }
    }

    /// draft-ietf-wish-whep §4.3.2: an offer of ours with the publisher's codecs.
    fn counter_offer(
        &mut self,
        negotiate: &Negotiate,
        shard: ShardIndex,
        candidates: &[HostCandidate],
    ) -> Refusal {
        let live = negotiate.live.as_ref();
        let published = live.and_then(|live| self.publications.tracks(negotiate.stream, live));
        let tracks = tracks_for_viewers(published.unwrap_or_default(), &self.subscribe);
        let senders = self.senders(tracks.iter());
        let credentials = credentials(&mut self.rng, shard);
        let local = self.local(
            &negotiate.msid,
            tracks.iter(),
            &senders,
            &credentials,
            candidates,
        );
        let text = render_offer(&tracks, Direction::SendOnly, None, &local);
        let counter_offer = OpenOffer {
            stream: negotiate.stream,
            role: Role::Subscribe,
            socket: None,
            shard,
            tracks,
            data: None,
            senders,
            credentials,
            local,
        };
        match self.keep_offer(negotiate.session, counter_offer) {
            Ok(()) => Refusal::CounterOffer(text),
            Err(refusal) => refusal,
        }
    }

    /// Keeps an offer of ours until it is answered or withdrawn.
    pub(crate) fn keep_offer(
        &mut self,
        session: SessionId,
        offer: OpenOffer,
    ) -> Result<(), Refusal> {
        if self.open_offers.insert(session, offer) {
            return Ok(());
        }
        Err(Refusal::Full {
            what: "open offers",
            max: u32::try_from(limits::OPEN_OFFERS_MAX).unwrap_or(u32::MAX),
        })
    }

    /// Judges the answer to an offer of ours and builds its session.
    ///
    /// Shape: the session belongs to [`open_offer_shard`](Self::open_offer_shard); its admission's
    /// answer is empty, but where another server made an offer in place of one.
    ///
    /// # Errors
    /// Why the answer is refused. The offer stays until it is answered or withdrawn.
    pub fn answer(&mut self, now: Instant, answer: &Answer) -> Result<Box<Admission>, Refusal> {
        let unknown = || Refusal::Malformed("this offer is over".to_owned());
        let tie_breaker = self.rng.random();
        let waiting = self.open_offers.get(answer.session);
        let waiting = waiting.ok_or_else(unknown)?;
        if answer.kind == AnswerKind::CounterOffer {
            return self.answer_counter_offer(now, answer, tie_breaker);
        }
        let (direction, capabilities) = match waiting.role {
            Role::Publish { .. } => (Direction::RecvOnly, &self.publish),
            Role::Subscribe => (Direction::SendOnly, &self.subscribe),
        };
        let capabilities = Capabilities {
            ice_lite: waiting.socket.is_none(),
            // Never offered, so nothing to be answered.
            simulcast: false,
            ..capabilities.clone()
        };
        let (text, limits) = (&answer.answer, &self.limits);
        let (tracks, data) = (&waiting.tracks, waiting.data.as_deref());
        let judged = judge_answer(tracks, direction, data, text, limits, &capabilities);
        let plan = judged.map_err(|refusal| match refusal {
            whitewater_sdp::Refusal::Malformed(why) => Refusal::Malformed(why.to_string()),
            whitewater_sdp::Refusal::Unsupported(why) => Refusal::Unsupported(why.to_string()),
        })?;
        check_fingerprints(&plan)?;
        let ice = self.agent(now, waiting, &plan, answer, tie_breaker)?;
        let waiting = self.open_offers.remove(answer.session);
        let waiting = waiting.ok_or_else(unknown)?;
        if let Role::Publish { epoch } = waiting.role {
            self.publications.note(waiting.stream, epoch, &plan);
        }
        // Sections the answer turned down have no track, but had their sources.
        let offered = waiting.tracks.iter().zip(&waiting.senders);
        let senders = plan.tracks().filter_map(|track| {
            let mut offered = offered.clone();
            let same = offered.find(|(offered, _)| offered.mid == track.mid)?;
            Some(*same.1)
        });
        let made = Made {
            request: answer.request,
            session: answer.session,
            stream: waiting.stream,
            role: waiting.role,
            answer: String::new(),
            senders: senders.collect(),
            plan,
            ice,
            local: waiting.local,
        };
        self.build(now, made)
    }

    /// The shard that the answer to an offer of ours leads to; its number is in our credentials.
    pub fn open_offer_shard(&self, session: SessionId) -> Option<ShardIndex> {
        self.open_offers.get(session).map(|waiting| waiting.shard)
    }

    /// Offers of ours that wait for their answer.
    pub fn open_offer_count(&self) -> usize {
        self.open_offers.len()
    }

    /// Forgets an offer of ours.
    pub fn withdraw(&mut self, session: SessionId) {
        self.open_offers.remove(session);
    }

    /// Forgets what was said about a stream that was destroyed.
    pub fn forget_stream(&mut self, stream: StreamId) {
        self.publications.forget(stream);
        self.open_offers.forget(stream);
    }

    pub(crate) fn build(&self, now: Instant, made: Made) -> Result<Box<Admission>, Refusal> {
        check_fingerprints(&made.plan)?;
        let built = Connection::new(&made.plan, &self.identity, now);
        let (connection, keys) = built.map_err(|error| {
            tracing::warn!(session = ?made.session, %error, "session could not be built");
            Refusal::Internal
        })?;
        Ok(Box::new(Admission {
            request: made.request,
            session: made.session,
            stream: made.stream,
            role: made.role,
            senders: made.senders,
            answer: made.answer,
            local: Box::new(made.local),
            plan: made.plan,
            connection,
            keys,
            ice: made.ice,
        }))
    }

    pub(crate) fn senders<'a>(
        &mut self,
        tracks: impl Iterator<Item = &'a TrackPlan>,
    ) -> Vec<SenderSsrcs> {
        let mut used = Vec::new();
        let mut ssrc = || lanes::unused(&mut self.rng, &mut used);
        let one = |track: &TrackPlan| SenderSsrcs {
            main: ssrc(),
            rtx: (track.codecs.iter().any(|c| c.rtx_pt.is_some())).then(&mut ssrc),
        };
        tracks.map(one).collect()
    }

    pub(crate) fn local<'a>(
        &mut self,
        msid: &str,
        tracks: impl Iterator<Item = &'a TrackPlan>,
        senders: &[SenderSsrcs],
        credentials: &Credentials,
        candidates: &[HostCandidate],
    ) -> Local {
        let sender = |(track, ssrcs): (&TrackPlan, &SenderSsrcs)| LocalSender {
            mid: track.mid.clone(),
            track_id: format!("{msid}-{}", track.kind.name()),
            ssrc: ssrcs.main,
            rtx: ssrcs.rtx,
            cname: msid.to_owned(),
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
            candidates: candidates.to_vec(),
            stream_id: msid.to_owned(),
            senders: tracks.zip(senders).map(sender).collect(),
            max_message_size: whitewater_data::limits::MESSAGE_SIZE_MAX as u64,
        }
    }
}

/// What an offer or answer led to, before it is a session.
pub(crate) struct Made {
    pub(crate) request: RequestId,
    pub(crate) session: SessionId,
    pub(crate) stream: StreamId,
    pub(crate) role: Role,
    pub(crate) plan: Plan,
    pub(crate) senders: Vec<SenderSsrcs>,
    pub(crate) answer: String,
    pub(crate) ice: Agent,
    pub(crate) local: Local,
}

/// The side of ICE that waits for its client.
pub(crate) fn lite_agent(credentials: Credentials, plan: &Plan) -> LiteAgent {
    LiteAgent::new(credentials, remote_credentials(plan), hmac_sha1)
}

pub(crate) fn remote_credentials(plan: &Plan) -> Credentials {
    Credentials {
        ufrag: plan.remote_ice.ufrag.clone(),
        pwd: plan.remote_ice.pwd.clone(),
    }
}

pub(crate) fn unsupported(refusal: whitewater_sdp::Unsupported) -> Refusal {
    Refusal::Unsupported(refusal.to_string())
}

/// str0m compares certificates by one of these hashes.
fn check_fingerprints(plan: &Plan) -> Result<(), Refusal> {
    use whitewater_sdp::HashFunction::{Sha1, Sha256};
    let known = |f: &whitewater_sdp::Fingerprint| matches!(f.hash, Sha1 | Sha256);
    if plan.fingerprints.iter().any(known) {
        Ok(())
    } else {
        Err(Refusal::Unsupported(
            "there is no sha-256 certificate fingerprint (a=fingerprint)".to_owned(),
        ))
    }
}

/// The accepted tracks as the APIs show them.
pub fn track_infos(plan: &Plan) -> Vec<TrackInfo> {
    let info = |track: &whitewater_sdp::TrackPlan| {
        // Redundancy is shown as what it wraps.
        let plain = |codec: &&whitewater_sdp::CodecPlan| codec.codec != Codec::Red;
        let first = track.codecs.iter().find(plain);
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

/// Which m-line, counted from 0, is the accepted video section.
pub fn video_line(plan: &Plan) -> Option<u16> {
    let video = |section: &SectionPlan| matches!(section, SectionPlan::Media(track) if track.kind == whitewater_sdp::MediaKind::Video);
    let index = plan.sections.iter().position(video)?;
    u16::try_from(index).ok()
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

/// The shard whose session a connectivity check is for, by its user name; `None` if it is no check.
/// Nothing is authenticated.
pub fn shard_of_check(datagram: &[u8]) -> Option<ShardIndex> {
    let view = StunView::parse(datagram).filter(StunView::is_binding_request)?;
    let (ufrag, _) = view.username()?;
    shard_of(ufrag)
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

const SUBSCRIBE_EXTENSIONS: &[Extension] = &[
    Extension::Mid,
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
