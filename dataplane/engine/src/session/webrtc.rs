//! Builds and wraps the str0m instance of a publisher from the plan that the offer was judged to.
//!
//! str0m's own SDP layer is not used: the plan is put in through its direct API, so no sending
//! stream, credential or candidate exists that we did not choose ourselves.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::config::{CryptoProvider, DtlsCert, Fingerprint};
use str0m::format::{Codec, CodecConfig, CodecSpec, FormatParams, PayloadParams};
use str0m::ice::{StunMessage, TransId};
use str0m::media::{Frequency, MediaKind, Mid, Pt, Rid};
use str0m::net::{DatagramRecv, Protocol, Receive};
use str0m::rtp::ExtensionMap;
use str0m::{Candidate, IceCreds, Input, Rtc, RtcConfig, RtcError};
use whitewater_sdp::{CodecPlan, DtlsRole, HashFunction, Plan, TrackPlan};

use super::keys::{self, AppData, KeyCell};
use crate::forward::extension;

/// What every connection of a process shares.
#[derive(Clone)]
pub struct Identity {
    /// The certificate all connections show.
    pub certificate: DtlsCert,
    /// Its sha-256 fingerprint.
    pub fingerprint: [u8; 32],
    /// aws-lc-rs with its DTLS tapped.
    pub crypto: Arc<CryptoProvider>,
}

impl Identity {
    /// A fresh self-signed certificate (RFC 8827 §6.5).
    pub fn generate() -> Option<Self> {
        let crypto = keys::provider();
        let certificate = crypto.dtls_provider.generate_certificate()?;
        let fingerprint = crypto.sha256_provider.sha256(&certificate.certificate);
        Some(Identity {
            certificate,
            fingerprint,
            crypto,
        })
    }
}

/// The SSRCs of one track we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderSsrcs {
    /// Media.
    pub main: u32,
    /// Retransmissions (RFC 4588), if negotiated.
    pub rtx: Option<u32>,
}

/// An `Rtc` that carries a publisher's plan out, with the cell its SRTP keys will appear in.
///
/// # Errors
/// What str0m says, in words for the log.
pub fn build(
    plan: &Plan,
    identity: &Identity,
    now: Instant,
) -> Result<(Box<Rtc>, KeyCell), RtcError> {
    let mut config = RtcConfig::new()
        .set_crypto_provider(identity.crypto.clone())
        .set_dtls_cert(identity.certificate.clone())
        .set_rtp_mode(true)
        .set_ice_lite(true)
        .set_local_ice_credentials(inner_credentials("local"))
        .set_rtcp_report_interval_audio(Duration::from_secs(1))
        .set_rtcp_report_interval_video(Duration::from_secs(1))
        .set_stats_interval(None)
        .clear_codecs()
        .set_extension_map(ExtensionMap::empty());
    let params = plan.tracks().flat_map(|t| &t.codecs).map(payload_params);
    *config.codec_config() = CodecConfig::new_from_payload_params(params.collect());
    let mut extensions = ExtensionMap::empty();
    for planned in plan.tracks().flat_map(|t| &t.extensions) {
        if let Some(known) = extension::for_str0m(&planned.extension) {
            extensions.set(planned.id, known);
        }
    }
    config = config.set_extension_map(extensions);

    let (mut rtc, keys) = keys::tapped(AppData::Taken, || Box::new(config.build(now)));
    if let Ok(candidate) = Candidate::host(INNER_LOCAL, Protocol::Udp) {
        rtc.add_local_candidate(candidate);
    }
    let mut api = rtc.direct_api();
    api.set_remote_ice_credentials(inner_credentials("remote"));
    if let Some(fingerprint) = fingerprint(plan) {
        api.set_remote_fingerprint(fingerprint);
    }
    api.set_ice_controlling(false);
    for track in plan.tracks() {
        declare(&mut api, track);
    }
    let feedback = |track: &&TrackPlan| track.codecs.iter().any(|c| c.feedback.transport_cc);
    if plan.tracks().any(|track| feedback(&track)) {
        api.enable_twcc_feedback();
    }
    let active = plan.dtls_role == DtlsRole::Active;
    api.start_dtls(active)?;
    Ok((rtc, keys))
}

/// Tells str0m that a path exists, so that it lets DTLS and media out. Which path is ours to
/// know: the addresses it sees are stand-ins.
///
/// # Errors
/// str0m's.
pub fn connect_path(
    rtc: &mut Rtc,
    identity: &CryptoProvider,
    now: Instant,
) -> Result<(), RtcError> {
    let hmac = identity.sha1_hmac_provider;
    let (local, remote) = (inner_credentials("local"), inner_credentials("remote"));
    let username = format!("{}:{}", local.ufrag, remote.ufrag);
    let request = StunMessage::binding_request(&username, TransId::new(), true, 1, 1, true);
    let mut buf = [0; 256];
    let size = request
        .to_bytes(Some(local.pass.as_bytes()), &mut buf, |key, parts| {
            hmac.sha1_hmac(key, parts)
        })
        .map_err(|_| RtcError::RemoteSdp("inner check".into()))?;
    receive(rtc, now, &buf[..size])
}

/// Feeds one datagram in as if it came over the inner path.
///
/// # Errors
/// str0m's; a datagram it cannot classify is one too.
pub fn receive(rtc: &mut Rtc, now: Instant, bytes: &[u8]) -> Result<(), RtcError> {
    let contents = DatagramRecv::try_from(bytes)?;
    rtc.handle_input(Input::Receive(
        now,
        Receive {
            proto: Protocol::Udp,
            source: INNER_REMOTE,
            destination: INNER_LOCAL,
            contents,
        },
    ))
}

/// The codecs that both the plan and str0m know by name; the rest of the crate never sees
/// str0m's.
fn codec(codec: whitewater_sdp::Codec) -> Codec {
    use whitewater_sdp::Codec as Planned;
    match codec {
        // The library has no audio of that name; it looks into no payload.
        Planned::Opus | Planned::Multiopus | Planned::Red => Codec::Opus,
        Planned::Pcmu => Codec::PCMU,
        Planned::Pcma => Codec::PCMA,
        Planned::G722 => Codec::G722,
        Planned::H264 => Codec::H264,
        Planned::H265 => Codec::H265,
        Planned::Vp8 => Codec::Vp8,
        Planned::Vp9 => Codec::Vp9,
        Planned::Av1 => Codec::Av1,
    }
}

fn payload_params(plan: &CodecPlan) -> PayloadParams {
    let spec = CodecSpec {
        codec: codec(plan.codec),
        clock_rate: Frequency::new(plan.clock_rate).unwrap_or(Frequency::NINETY_KHZ),
        channels: plan.channels,
        format: FormatParams::default(),
    };
    let mut params = PayloadParams::new(Pt::from(plan.pt), plan.rtx_pt.map(Pt::from), spec);
    params.set_fb_transport_cc(plan.feedback.transport_cc);
    params.set_fb_nack(plan.feedback.nack);
    params.set_fb_pli(plan.feedback.nack_pli);
    params.set_fb_fir(plan.feedback.ccm_fir);
    params.set_fb_remb(plan.feedback.goog_remb);
    params
}

fn declare(api: &mut str0m::change::DirectApi<'_>, track: &TrackPlan) {
    let mid = Mid::from(track.mid.as_str());
    let kind = match track.kind {
        whitewater_sdp::MediaKind::Audio => MediaKind::Audio,
        whitewater_sdp::MediaKind::Video => MediaKind::Video,
    };
    let media = api.declare_media(mid, kind);
    let has_lanes = track.lanes.as_ref().is_some_and(|lanes| !lanes.is_empty());
    if !track.simulcast.is_empty() && !has_lanes {
        // RFC 8853 §5.5: which source a layer has is said by packets alone.
        for rid in &track.rids {
            media.expect_rid_rx(Rid::from(rid.id.as_str()));
        }
        return;
    }
    let nacks = track.codecs.iter().any(|c| c.feedback.nack);
    for lane in track.lanes.iter().flatten() {
        let rtx = lane.rtx.map(Into::into);
        let stream = api.expect_stream_rx(lane.ssrc.into(), rtx, mid, None);
        stream.suppress_nack(!nacks);
    }
    if has_lanes {
        return;
    }
    let is_used = |ssrc| track.sim_ssrcs.is_empty() || track.sim_ssrcs.contains(&ssrc);
    for known in track.ssrcs.iter().filter(|known| is_used(known.ssrc)) {
        let stream = api.expect_stream_rx(known.ssrc.into(), known.rtx.map(Into::into), mid, None);
        stream.suppress_nack(!nacks);
    }
}

/// The one to compare with: str0m takes one, and knows sha-256 and sha-1.
pub(super) fn fingerprint(plan: &Plan) -> Option<Fingerprint> {
    let best = plan
        .fingerprints
        .iter()
        .find(|f| f.hash == HashFunction::Sha256)
        .or_else(|| {
            plan.fingerprints
                .iter()
                .find(|f| f.hash == HashFunction::Sha1)
        })?;
    Some(Fingerprint {
        hash_func: best.hash.name().to_owned(),
        bytes: best.bytes.clone(),
    })
}

fn inner_credentials(side: &str) -> IceCreds {
    IceCreds {
        ufrag: side.to_owned(),
        pass: "inner path, never on a wire".to_owned(),
    }
}

/// Stand-ins for the path in str0m's eyes.
const INNER_LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const INNER_REMOTE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2);
