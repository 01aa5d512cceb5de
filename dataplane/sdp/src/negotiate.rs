//! Which codecs of a section both sides know, and what is answered about them.

use crate::capabilities::{Capabilities, Role};
use crate::codec::{Codec, H264Parameters, H265Parameters, MediaKind, parameter};
use crate::plan::{CodecPlan, Feedback};
use crate::section::{Payload, Section};

/// Every codec both sides know, in the offer's order.
///
/// RFC 9429 §5.3.1 keeps the offer's order of preference; a server that changes it makes browsers
/// send what they like least.
pub(crate) fn codecs(
    section: &Section,
    kind: MediaKind,
    role: Role,
    capabilities: &Capabilities,
) -> Vec<CodecPlan> {
    let repairs = repairs(section);
    let mut codecs: Vec<CodecPlan> = section
        .payloads
        .iter()
        .filter_map(|payload| {
            let (codec, clock_rate, channels) = identify(payload, kind)?;
            if !capabilities.codecs.contains(&codec) {
                return None;
            }
            Some(CodecPlan {
                pt: payload.pt,
                rtx_pt: repairs
                    .iter()
                    .find(|repair| repair.apt == payload.pt && repair.clock_rate == clock_rate)
                    .map(|repair| repair.pt),
                codec,
                clock_rate,
                channels,
                fmtp: payload.fmtp.clone(),
                answer_fmtp: answer_fmtp(codec, &payload.fmtp, role)?,
                feedback: feedback(payload.feedback.union(section.feedback_all), kind),
            })
        })
        .collect();
    drop_orphaned_redundancy(&mut codecs);
    codecs
}

/// The restrictions of a rid, less the payload types that were not agreed; `None` when none of
/// those it asks for is left (RFC 8851 §6.2.2).
pub(crate) fn rid_restrictions(restrictions: &str, codecs: &[CodecPlan]) -> Option<String> {
    let mut kept = Vec::new();
    for restriction in restrictions.split(';').map(str::trim_ascii) {
        let Some(list) = restriction.strip_prefix("pt=") else {
            if !restriction.is_empty() {
                kept.push(restriction.to_owned());
            }
            continue;
        };
        let agreed: Vec<&str> = list
            .split(',')
            .filter(|pt| {
                pt.parse::<u8>()
                    .is_ok_and(|pt| codecs.iter().any(|codec| codec.pt == pt))
            })
            .collect();
        if agreed.is_empty() {
            return None;
        }
        kept.push(format!("pt={}", agreed.join(",")));
    }
    Some(kept.join(";"))
}

/// Codec, clock rate and channels of a payload type, if it is one of ours with its proper clock.
fn identify(payload: &Payload, kind: MediaKind) -> Option<(Codec, u32, Option<u8>)> {
    let Some((name, clock_rate, channels)) = &payload.map else {
        // RFC 3551 §6: these three need no rtpmap.
        return match (payload.pt, kind) {
            (0, MediaKind::Audio) => Some((Codec::Pcmu, 8_000, None)),
            (8, MediaKind::Audio) => Some((Codec::Pcma, 8_000, None)),
            (9, MediaKind::Audio) => Some((Codec::G722, 8_000, None)),
            _ => None,
        };
    };
    let codec = Codec::from_name(kind, name)?;
    let fits = match codec {
        // RFC 7587 §4.1: always 48000/2; some leave the channels out.
        Codec::Opus => *clock_rate == 48_000 && matches!(channels, None | Some(2)),
        Codec::Multiopus => *clock_rate == 48_000 && channels.is_some_and(|count| count > 2),
        Codec::Red => *clock_rate == 48_000,
        // RFC 3551 §4.5.2: 8000 also for G.722, an old mistake that stays.
        Codec::Pcmu | Codec::Pcma | Codec::G722 => {
            *clock_rate == 8_000 && matches!(channels, None | Some(1))
        }
        Codec::H264 | Codec::H265 | Codec::Vp8 | Codec::Vp9 | Codec::Av1 => *clock_rate == 90_000,
    };
    let channels = match kind {
        MediaKind::Audio => *channels,
        MediaKind::Video => None,
    };
    fits.then_some((codec, *clock_rate, channels))
}

/// A payload type of retransmissions.
struct Repair {
    pt: u8,
    apt: u8,
    clock_rate: u32,
}

/// RFC 4588 §8.1: retransmissions say by `apt` which payload type they repair.
fn repairs(section: &Section) -> Vec<Repair> {
    section
        .payloads
        .iter()
        .filter_map(|payload| {
            let (name, clock_rate, _) = payload.map.as_ref()?;
            let apt = parameter(&payload.fmtp, "apt")?.parse().ok()?;
            (name.eq_ignore_ascii_case("rtx") && payload.pt != apt).then_some(Repair {
                pt: payload.pt,
                apt,
                clock_rate: *clock_rate,
            })
        })
        .collect()
}

/// RFC 4585 §4.2: only what was offered is answered. Pictures are asked for in video only.
fn feedback(offered: Feedback, kind: MediaKind) -> Feedback {
    let is_video = kind == MediaKind::Video;
    Feedback {
        nack: offered.nack,
        nack_pli: offered.nack_pli && is_video,
        ccm_fir: offered.ccm_fir && is_video,
        transport_cc: offered.transport_cc,
        goog_remb: offered.goog_remb,
    }
}

/// What we answer; `None` for a variant of the codec that cannot be carried.
fn answer_fmtp(codec: Codec, fmtp: &str, role: Role) -> Option<String> {
    match codec {
        Codec::Opus => Some(opus_answer(fmtp, role)),
        Codec::H264 => {
            // RFC 6184 §5.4: mode 2 interleaves, which no WebRTC stack does.
            H264Parameters::parse(fmtp).filter(|parameters| parameters.packetization_mode < 2)?;
            // RFC 6184 §8.2.2: the configuration is answered as offered. Parameter sets belong
            // to the sender, max-* ones to the receiver who said them.
            Some(keep(
                fmtp,
                &[
                    "level-asymmetry-allowed",
                    "packetization-mode",
                    "profile-level-id",
                ],
            ))
        }
        Codec::H265 => {
            if H265Parameters::parse(fmtp).multi_stream {
                return None;
            }
            // RFC 7798 §7.2.2: profile, tier and level are symmetric.
            Some(keep(
                fmtp,
                &[
                    "profile-space",
                    "profile-id",
                    "tier-flag",
                    "level-id",
                    "interop-constraints",
                    "profile-compatibility-indicator",
                    "tx-mode",
                ],
            ))
        }
        Codec::Vp9 => Some(keep(fmtp, &["profile-id"])),
        Codec::Av1 => Some(keep(fmtp, &["profile", "level-idx", "tier"])),
        Codec::Multiopus | Codec::Red => Some(fmtp.to_owned()),
        // VP8's max-fs and max-fr are what the peer can receive, not what we can.
        Codec::Vp8 | Codec::Pcmu | Codec::Pcma | Codec::G722 => Some(String::new()),
    }
}

/// RFC 7587 §7.1: all of Opus's parameters are wishes of the receiver, except the `sprop-` ones.
/// We repeat the wishes, so that a publisher sends what it would like to get.
fn opus_answer(fmtp: &str, role: Role) -> String {
    let mut answer = keep(
        fmtp,
        &[
            "minptime",
            "maxptime",
            "ptime",
            "maxplaybackrate",
            "maxaveragebitrate",
            "stereo",
            "useinbandfec",
            "usedtx",
            "cbr",
        ],
    );
    // A publisher that has stereo sends it only to a receiver that wants it.
    if role == Role::Publish
        && parameter(fmtp, "sprop-stereo") == Some("1")
        && parameter(fmtp, "stereo").is_none()
    {
        if !answer.is_empty() {
            answer.push(';');
        }
        answer.push_str("stereo=1");
    }
    answer
}

/// The named parameters of a list, as offered and in the offer's order, each once.
fn keep(fmtp: &str, names: &[&str]) -> String {
    let mut seen = vec![false; names.len()];
    let mut kept = Vec::new();
    for pair in fmtp.split(';') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let (name, value) = (name.trim_ascii(), value.trim_ascii());
        let position = names.iter().position(|n| n.eq_ignore_ascii_case(name));
        if let Some(flag) = position.and_then(|position| seen.get_mut(position))
            && !std::mem::replace(flag, true)
        {
            kept.push(format!("{name}={value}"));
        }
    }
    kept.join(";")
}

/// RFC 2198 §4: redundancy is made of other payload types; without them it cannot be read.
fn drop_orphaned_redundancy(codecs: &mut Vec<CodecPlan>) {
    let others: Vec<u8> = codecs
        .iter()
        .filter(|codec| codec.codec != Codec::Red)
        .map(|codec| codec.pt)
        .collect();
    codecs.retain(|codec| {
        codec.codec != Codec::Red
            || (!others.is_empty()
                && codec
                    .fmtp
                    .split('/')
                    .filter(|part| !part.is_empty())
                    .all(|part| part.trim().parse().is_ok_and(|pt| others.contains(&pt))))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opus_wishes_are_repeated_and_stereo_is_asked_for() {
        let offered = "minptime=10;useinbandfec=1;sprop-stereo=1;x-unknown=7";
        assert_eq!(
            opus_answer(offered, Role::Publish),
            "minptime=10;useinbandfec=1;stereo=1"
        );
        assert_eq!(
            opus_answer(offered, Role::Subscribe),
            "minptime=10;useinbandfec=1"
        );
        assert_eq!(
            opus_answer("stereo=0;sprop-stereo=1", Role::Publish),
            "stereo=0"
        );
        assert_eq!(opus_answer("", Role::Publish), "");
    }

    #[test]
    fn h264_answers_its_configuration_only() {
        let answer = |fmtp| answer_fmtp(Codec::H264, fmtp, Role::Publish);
        assert_eq!(
            answer("profile-level-id=42e01f;sprop-parameter-sets=Z0,aM;packetization-mode=1"),
            Some("profile-level-id=42e01f;packetization-mode=1".to_owned())
        );
        assert_eq!(answer(""), Some(String::new()));
        // RFC 6184 §5.4 and §8.1: interleaved mode and nonsense cannot be carried.
        assert_eq!(answer("packetization-mode=2"), None);
        assert_eq!(answer("profile-level-id=42e0zz"), None);
        assert_eq!(answer("profile-level-id=42e01"), None);
    }

    #[test]
    fn a_parameter_said_twice_is_answered_once() {
        assert_eq!(
            keep("profile-id=0;Profile-ID=2", &["profile-id"]),
            "profile-id=0"
        );
    }

    #[test]
    fn rid_restrictions_lose_payload_types_that_were_not_agreed() {
        let codec = |pt| CodecPlan {
            pt,
            rtx_pt: None,
            codec: Codec::Vp8,
            clock_rate: 90_000,
            channels: None,
            fmtp: String::new(),
            answer_fmtp: String::new(),
            feedback: Feedback::default(),
        };
        let codecs = [codec(96), codec(98)];
        let restrict = |text| rid_restrictions(text, &codecs);
        assert_eq!(
            restrict("pt=96,97;max-width=1280"),
            Some("pt=96;max-width=1280".to_owned())
        );
        assert_eq!(restrict("pt=97"), None);
        assert_eq!(restrict(""), Some(String::new()));
    }
}
