//! What we ask another server for: everything that can be forwarded.

use crate::capabilities::Capabilities;
use crate::codec::{Codec, MediaKind};
use crate::extension::Extension;
use crate::plan::{CodecPlan, Direction, ExtensionPlan, Feedback, TrackPlan};

/// The tracks of an offer to a server whose stream is wanted here: one of audio, one of video.
///
/// Shape: all codecs of `capabilities` in their order, in the variants that are in use, video with
/// retransmissions; a kind without codecs has no track. The mids are `0` and `1`. Header extensions
/// have the ids 1 to 14 in both sections; those of simulcast, which is not asked for, are left out.
///
/// Source: RFC 9429 §5.2.1, RFC 9143 §9 (numbers mean the same in all sections of a bundle).
#[must_use]
pub fn tracks_to_receive(capabilities: &Capabilities) -> Vec<TrackPlan> {
    let mut numbers = (96..=127).chain(35..=63);
    let mut tracks: Vec<TrackPlan> = Vec::new();
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let wanted = capabilities.codecs.iter();
        let codecs: Vec<CodecPlan> = wanted
            .filter(|codec| codec.kind() == kind)
            .flat_map(|codec| variants(*codec).iter().map(|fmtp| (*codec, *fmtp)))
            .filter_map(|(codec, fmtp)| plan(codec, fmtp, &mut numbers))
            .collect();
        if !codecs.is_empty() {
            let mid = tracks.len().to_string();
            tracks.push(track(mid, kind, codecs, extensions(capabilities)));
        }
    }
    tracks
}

fn track(
    mid: String,
    kind: MediaKind,
    codecs: Vec<CodecPlan>,
    extensions: Vec<ExtensionPlan>,
) -> TrackPlan {
    TrackPlan {
        mid,
        mid_offered: true,
        kind,
        direction: Direction::RecvOnly,
        proto: "UDP/TLS/RTP/SAVPF".to_owned(),
        codecs,
        extensions,
        ssrcs: Vec::new(),
        sim_ssrcs: Vec::new(),
        rids: Vec::new(),
        simulcast: Vec::new(),
        // A server that knows nothing of it sends one source.
        lanes: (kind == MediaKind::Video).then(Vec::new),
        msid: None,
        extmap_allow_mixed: false,
        rtcp_rsize: true,
    }
}

fn extensions(capabilities: &Capabilities) -> Vec<ExtensionPlan> {
    let of_simulcast = |e: &&Extension| matches!(e, Extension::Rid | Extension::RepairedRid);
    let wanted = capabilities.extensions.iter().filter(|e| !of_simulcast(e));
    // RFC 8285 §4.2: the ids of the one-byte form.
    (1..=14)
        .zip(wanted)
        .map(|(id, extension)| ExtensionPlan {
            id,
            extension: extension.clone(),
            directed: false,
        })
        .collect()
}

/// One payload type and, of video, one for its retransmissions; `None` when none is left.
fn plan(codec: Codec, fmtp: &str, numbers: &mut impl Iterator<Item = u8>) -> Option<CodecPlan> {
    let is_video = codec.kind() == MediaKind::Video;
    let pt = match codec {
        // RFC 3551 §6.
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        _ => numbers.next()?,
    };
    let rtx_pt = if is_video {
        Some(numbers.next()?)
    } else {
        None
    };
    Some(CodecPlan {
        pt,
        rtx_pt,
        codec,
        clock_rate: match codec {
            Codec::Opus | Codec::Multiopus | Codec::Red => 48_000,
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 8_000,
            _ => 90_000,
        },
        channels: match codec {
            // RFC 7587 §7: always.
            Codec::Opus => Some(2),
            Codec::Multiopus => Some(6),
            _ => None,
        },
        fmtp: fmtp.to_owned(),
        answer_fmtp: fmtp.to_owned(),
        feedback: Feedback {
            nack: true,
            nack_pli: is_video,
            ccm_fir: is_video,
            transport_cc: true,
            goog_remb: is_video,
        },
    })
}

/// The format parameters of each variant of a codec that peers send, most wanted first.
fn variants(codec: Codec) -> &'static [&'static str] {
    match codec {
        Codec::Opus => &["minptime=10;useinbandfec=1;stereo=1"],
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Vp8 => &[""],
        // Constrained Baseline, Baseline, Main, High; a decoder of mode 1 takes mode 0 as well, but
        // an answer may not change the mode (RFC 6184 §8.2.2).
        Codec::H264 => &[
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f",
            "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f",
            "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f",
        ],
        // Main and Main 10, up to level 6.
        Codec::H265 => &[
            "profile-id=1;tier-flag=0;level-id=180;tx-mode=SRST",
            "profile-id=2;tier-flag=0;level-id=180;tx-mode=SRST",
        ],
        Codec::Vp9 => &[
            "profile-id=0",
            "profile-id=2",
            "profile-id=1",
            "profile-id=3",
        ],
        // AV1 §A.3: level 31 has no bounds.
        Codec::Av1 => &[
            "level-idx=31;profile=0;tier=1",
            "level-idx=31;profile=1;tier=1",
        ],
        // What is in their packets cannot be known beforehand.
        Codec::Multiopus | Codec::Red => &[],
    }
}
