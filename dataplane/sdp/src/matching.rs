//! Which of a viewer's payload types can carry a publisher's.

use crate::codec::{
    Av1Parameters, Codec, H264Parameters, H264Profile, H265Parameters, Vp9Parameters, parameter,
};
use crate::plan::CodecPlan;

/// How well two payload types fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// The viewer could not decode it.
    None,
    /// The viewer can decode it, though its parameters differ.
    Compatible,
    /// The parameters that matter are the same.
    Exact,
}

/// Whether what `publisher` describes can be sent as what `viewer` describes, unchanged but for
/// the payload type.
///
/// Source: RFC 6184 §8.2.2 (H.264), RFC 7798 §7.2.2 (H.265), RFC 9628 §6 (VP9), AOM's RTP
/// specification §7.2.3 (AV1).
#[must_use]
pub fn codec_match(publisher: &CodecPlan, viewer: &CodecPlan) -> Match {
    variant_match(
        publisher,
        viewer,
        &Variant::of(publisher),
        &Variant::of(viewer),
    )
}

/// Maps each payload type of a publisher to the viewer's that fits best, and its RTX payload type
/// to that one's. Among equals the viewer's order of preference decides.
///
/// Redundancy (RED) is mapped to the viewer's redundancy of what it wraps; where the viewer has none,
/// to what it wraps, which is what is left of it when it is unwrapped.
///
/// Shape: indexed by the publisher's payload type; `None` where nothing fits. Parameters are read
/// once per codec, whatever the number of pairs.
#[must_use]
pub fn map_payload_types(publisher: &[CodecPlan], viewer: &[CodecPlan]) -> [Option<u8>; 128] {
    let variants: Vec<Variant<'_>> = viewer.iter().map(Variant::of).collect();
    let mut map = [None; 128];
    for ours in publisher {
        let variant = Variant::of(ours);
        let mut best: Option<(Match, &CodecPlan)> = None;
        for (theirs, their_variant) in viewer.iter().zip(&variants) {
            let rank = variant_match(ours, theirs, &variant, their_variant);
            if rank > best.map_or(Match::None, |(rank, _)| rank) {
                best = Some((rank, theirs));
            }
        }
        let Some((_, theirs)) = best else {
            continue;
        };
        let mut set = |from: u8, to: u8| {
            if let Some(entry) = map.get_mut(usize::from(from)) {
                *entry = Some(to);
            }
        };
        set(ours.pt, theirs.pt);
        if let (Some(from), Some(to)) = (ours.rtx_pt, theirs.rtx_pt) {
            set(from, to);
        }
    }
    for red in publisher.iter().filter(|ours| ours.codec == Codec::Red) {
        let inner = wrapped(red, publisher).and_then(|inner| map.get(usize::from(inner.pt)));
        let Some(&Some(inner)) = inner else { continue };
        let mut theirs = viewer.iter().filter(|theirs| theirs.codec == Codec::Red);
        let same = theirs.find(|theirs| {
            let wraps = wrapped(theirs, viewer).map(|inner| inner.pt);
            wraps == Some(inner) && theirs.clock_rate == red.clock_rate
        });
        let to = same.map_or(inner, |same| same.pt);
        if let Some(entry) = map.get_mut(usize::from(red.pt)) {
            *entry = Some(to);
        }
    }
    map
}

/// What a redundancy payload type wraps, among the payload types beside it: the first one its format
/// parameters name; where they name none, the first codec of its clock.
///
/// Source: RFC 2198 §4.
#[must_use]
pub fn wrapped<'a>(red: &CodecPlan, beside: &'a [CodecPlan]) -> Option<&'a CodecPlan> {
    let first = red.fmtp.split('/').next().map(str::trim);
    let named = first.filter(|text| !text.is_empty());
    let mut others = beside.iter().filter(|codec| codec.codec != Codec::Red);
    match named {
        Some(text) => {
            let pt: u8 = text.parse().ok()?;
            others.find(|codec| codec.pt == pt)
        }
        None => others.find(|codec| codec.clock_rate == red.clock_rate),
    }
}

/// What of the parameters decides whether two payload types fit.
enum Variant<'a> {
    /// RFC 7587 §4 and others: every decoder decodes every stream.
    Any,
    /// Names other payload types: matched by these alone.
    Wrapper,
    Channels([Option<&'a str>; 3]),
    H264(H264Parameters),
    H265(H265Parameters),
    Vp9(Vp9Parameters),
    Av1(Av1Parameters),
    Unreadable,
}

impl<'a> Variant<'a> {
    fn of(codec: &'a CodecPlan) -> Self {
        let fmtp = codec.fmtp.as_str();
        match codec.codec {
            Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Vp8 => Self::Any,
            Codec::Red => Self::Wrapper,
            Codec::Multiopus => Self::Channels(
                ["num_streams", "coupled_streams", "channel_mapping"]
                    .map(|name| parameter(fmtp, name)),
            ),
            Codec::H264 => H264Parameters::parse(fmtp).map_or(Self::Unreadable, Self::H264),
            Codec::H265 => Self::H265(H265Parameters::parse(fmtp)),
            Codec::Vp9 => Self::Vp9(Vp9Parameters::parse(fmtp)),
            Codec::Av1 => Self::Av1(Av1Parameters::parse(fmtp)),
        }
    }
}

fn variant_match(
    publisher: &CodecPlan,
    viewer: &CodecPlan,
    ours: &Variant<'_>,
    theirs: &Variant<'_>,
) -> Match {
    if publisher.codec != viewer.codec
        || publisher.clock_rate != viewer.clock_rate
        || channels(publisher) != channels(viewer)
    {
        return Match::None;
    }
    match (ours, theirs) {
        (Variant::Any, Variant::Any) => Match::Exact,
        (Variant::Channels(ours), Variant::Channels(theirs)) => exact_if(ours == theirs),
        (Variant::H264(ours), Variant::H264(theirs)) => h264_match(*ours, *theirs),
        (Variant::H265(ours), Variant::H265(theirs)) => h265_match(*ours, *theirs),
        (Variant::Vp9(ours), Variant::Vp9(theirs)) => exact_if(ours == theirs),
        (Variant::Av1(ours), Variant::Av1(theirs)) => av1_match(*ours, *theirs),
        _ => Match::None,
    }
}

fn exact_if(same: bool) -> Match {
    if same { Match::Exact } else { Match::None }
}

/// Absent channels mean what the codec always has.
fn channels(codec: &CodecPlan) -> u8 {
    codec
        .channels
        .unwrap_or(if codec.codec == Codec::Opus { 2 } else { 1 })
}

fn h264_match(publisher: H264Parameters, viewer: H264Parameters) -> Match {
    // RFC 6184 §8.1: without asymmetry the level bounds what may be sent to the viewer. With it,
    // the number is what the viewer would send, and says nothing about what it decodes.
    if !viewer.level_asymmetry_allowed && viewer.level_rank() < publisher.level_rank() {
        return Match::None;
    }
    // RFC 6184 §5.4: mode 1 knows all packet types of mode 0, not the other way round.
    if publisher.packetization_mode > viewer.packetization_mode {
        return Match::None;
    }
    if publisher.profile == viewer.profile
        && publisher.packetization_mode == viewer.packetization_mode
    {
        return Match::Exact;
    }
    if publisher.profile == viewer.profile || h264_decodes(viewer.profile, publisher.profile) {
        return Match::Compatible;
    }
    Match::None
}

/// Whether a decoder of one profile decodes streams of another (H.264 annex A.2).
fn h264_decodes(decoder: H264Profile, stream: H264Profile) -> bool {
    use H264Profile::{Baseline, ConstrainedBaseline, ConstrainedHigh, High, Main};
    matches!(
        (stream, decoder),
        (
            ConstrainedBaseline,
            Baseline | Main | ConstrainedHigh | High
        ) | (Main | ConstrainedHigh, High)
            // Not so by the letter, but no encoder in use makes what the two differ in, and many
            // announce one where they mean the other.
            | (Baseline, ConstrainedBaseline)
    )
}

fn h265_match(publisher: H265Parameters, viewer: H265Parameters) -> Match {
    if publisher.multi_stream || viewer.multi_stream {
        return Match::None;
    }
    let covers = viewer.tier_flag >= publisher.tier_flag && viewer.level_id >= publisher.level_id;
    match (publisher.profile_id, viewer.profile_id) {
        (ours, theirs) if ours == theirs && covers => Match::Exact,
        // What a publisher announces is the most it may send, mostly it sends less.
        (ours, theirs) if ours == theirs => Match::Compatible,
        // Main 10 decoders decode Main (H.265 annex A.3.3).
        (1, 2) => Match::Compatible,
        _ => Match::None,
    }
}

fn av1_match(publisher: Av1Parameters, viewer: Av1Parameters) -> Match {
    if publisher.profile != viewer.profile {
        return Match::None;
    }
    if viewer.tier >= publisher.tier && viewer.level_idx >= publisher.level_idx {
        return Match::Exact;
    }
    // What a publisher announces is the most it may send, mostly it sends less.
    Match::Compatible
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Feedback;

    fn codec(codec: Codec, pt: u8, fmtp: &str) -> CodecPlan {
        CodecPlan {
            pt,
            rtx_pt: None,
            codec,
            clock_rate: 90_000,
            channels: None,
            fmtp: fmtp.to_owned(),
            answer_fmtp: String::new(),
            feedback: Feedback::default(),
        }
    }

    fn h264(ours: &str, theirs: &str) -> Match {
        codec_match(
            &codec(Codec::H264, 96, ours),
            &codec(Codec::H264, 97, theirs),
        )
    }

    const ASYMMETRIC: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=";

    #[test]
    fn h264_of_the_same_class_is_exact_whatever_its_spelling() {
        // RFC 6184 §8.1, table 5: 42e0, 42c0 and 4d80 are all Constrained Baseline.
        let with = |id: &str| format!("{ASYMMETRIC}{id}");
        assert_eq!(h264(&with("42e01f"), &with("42c02a")), Match::Exact);
        assert_eq!(h264(&with("42e01f"), &with("4d801f")), Match::Exact);
        assert_eq!(h264(&with("42e01f"), &with("42001f")), Match::Compatible);
        assert_eq!(h264(&with("42001f"), &with("42e01f")), Match::Compatible);
        assert_eq!(h264(&with("640c1f"), &with("64001f")), Match::Compatible);
        assert_eq!(h264(&with("64001f"), &with("42e01f")), Match::None);
        assert_eq!(h264(&with("640c1f"), &with("42e01f")), Match::None);
    }

    #[test]
    fn h264_level_counts_where_asymmetry_is_not_allowed() {
        // RFC 6184 §8.1
        let symmetric = "packetization-mode=1;profile-level-id=";
        let with = |prefix: &str, id: &str| format!("{prefix}{id}");
        assert_eq!(
            h264(&with(symmetric, "42e01f"), &with(symmetric, "42e01f")),
            Match::Exact
        );
        assert_eq!(
            h264(&with(symmetric, "42e01f"), &with(symmetric, "42e01e")),
            Match::None
        );
        assert_eq!(
            h264(&with(symmetric, "42e01f"), &with(ASYMMETRIC, "42e01e")),
            Match::Exact
        );
        assert_eq!(
            h264(&with(ASYMMETRIC, "42e00a"), &with(symmetric, "42e01f")),
            Match::Exact
        );
    }

    #[test]
    fn h264_mode_zero_fits_mode_one_but_not_back() {
        // RFC 6184 §5.4
        let zero = "level-asymmetry-allowed=1;profile-level-id=42e01f";
        let one = format!("{ASYMMETRIC}42e01f");
        assert_eq!(h264(zero, &one), Match::Compatible);
        assert_eq!(h264(&one, zero), Match::None);
        assert_eq!(h264(zero, zero), Match::Exact);
    }

    #[test]
    fn the_best_payload_type_is_chosen_and_rtx_follows() {
        let mut publisher = codec(Codec::H264, 102, &format!("{ASYMMETRIC}42e01f"));
        publisher.rtx_pt = Some(103);
        let viewer: Vec<_> = ["64001f", "42001f", "42e01f", "42e034"]
            .iter()
            .zip([110, 112, 114, 116])
            .map(|(id, pt)| CodecPlan {
                rtx_pt: Some(pt + 1),
                ..codec(Codec::H264, pt, &format!("{ASYMMETRIC}{id}"))
            })
            .collect();
        let map = map_payload_types(&[publisher.clone()], &viewer);
        assert_eq!(map[102], Some(114));
        assert_eq!(map[103], Some(115));
        assert_eq!(map.iter().flatten().count(), 2);

        let map = map_payload_types(&[publisher], &viewer[..2]);
        assert_eq!(map[102], Some(110));
    }

    #[test]
    fn a_viewer_without_rtx_gets_none() {
        let mut publisher = codec(Codec::Vp8, 96, "");
        publisher.rtx_pt = Some(97);
        let map = map_payload_types(&[publisher], &[codec(Codec::Vp8, 120, "max-fs=12288")]);
        assert_eq!(map[96], Some(120));
        assert_eq!(map[97], None);
    }

    #[test]
    fn profiles_of_the_other_codecs_must_agree() {
        let of = |kind, ours: &str, theirs: &str| {
            codec_match(&codec(kind, 96, ours), &codec(kind, 97, theirs))
        };
        assert_eq!(of(Codec::Vp9, "", "profile-id=0"), Match::Exact);
        assert_eq!(of(Codec::Vp9, "profile-id=2", "profile-id=0"), Match::None);
        assert_eq!(
            of(Codec::Av1, "", "level-idx=5;profile=0;tier=0"),
            Match::Exact
        );
        assert_eq!(
            of(Codec::Av1, "level-idx=13", "level-idx=5"),
            Match::Compatible
        );
        assert_eq!(of(Codec::Av1, "profile=1", ""), Match::None);
        assert_eq!(
            of(Codec::H265, "profile-id=1;level-id=93", "level-id=180"),
            Match::Exact
        );
        assert_eq!(of(Codec::H265, "profile-id=2", "profile-id=1"), Match::None);
        assert_eq!(
            codec_match(&codec(Codec::Vp8, 96, ""), &codec(Codec::Vp9, 96, "")),
            Match::None
        );
    }

    #[test]
    fn redundancy_is_mapped_by_what_it_wraps() {
        // RFC 2198 §4
        let audio = |kind, pt, fmtp| CodecPlan {
            clock_rate: 48_000,
            channels: Some(2),
            ..codec(kind, pt, fmtp)
        };
        let opus = |pt| audio(Codec::Opus, pt, "minptime=10");
        let red = |pt, fmtp| audio(Codec::Red, pt, fmtp);
        let publisher = [opus(111), red(63, "111/111")];
        let map = |viewer: &[CodecPlan]| {
            let map = map_payload_types(&publisher, viewer);
            (map[111], map[63])
        };
        assert_eq!(map(&[opus(111), red(63, "111/111")]), (Some(111), Some(63)));
        assert_eq!(map(&[red(35, "109/109"), opus(109)]), (Some(109), Some(35)));
        assert_eq!(map(&[red(35, ""), opus(109)]), (Some(109), Some(35)));
        assert_eq!(map(&[opus(109)]), (Some(109), Some(109)), "unwrapped");
        let pcmu = CodecPlan {
            clock_rate: 8_000,
            channels: None,
            ..codec(Codec::Pcmu, 0, "")
        };
        let other = [opus(109), pcmu.clone(), red(35, "0/0")];
        assert_eq!(map(&other), (Some(109), Some(109)), "another wrapper");
        assert_eq!(map(&[pcmu, red(35, "0/0")]), (None, None));
        let nonsense = [opus(111), red(63, "x/y")];
        assert_eq!(map_payload_types(&nonsense, &[opus(96)])[63], None);
    }

    #[test]
    fn opus_matches_with_and_without_channels() {
        let mut ours = codec(Codec::Opus, 111, "stereo=1");
        let mut theirs = codec(Codec::Opus, 109, "");
        (ours.channels, theirs.channels) = (Some(2), None);
        assert_eq!(codec_match(&ours, &theirs), Match::Exact);
        theirs.clock_rate = 16_000;
        assert_eq!(codec_match(&ours, &theirs), Match::None);
    }
}
