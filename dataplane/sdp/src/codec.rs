//! Codecs and the format parameters that tell their variants apart.

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// `m=audio`.
    Audio,
    /// `m=video`.
    Video,
}

impl MediaKind {
    /// The media word of the m-line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// A codec this crate can name. What a server forwards is up to its
/// [`Capabilities`](crate::Capabilities).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Opus (RFC 7587).
    Opus,
    /// Opus with more than two channels, as Chromium has it.
    Multiopus,
    /// G.711 mu-law (RFC 3551).
    Pcmu,
    /// G.711 A-law (RFC 3551).
    Pcma,
    /// G.722 (RFC 3551).
    G722,
    /// Redundant audio (RFC 2198).
    Red,
    /// H.264 (RFC 6184).
    H264,
    /// H.265 (RFC 7798).
    H265,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// AV1 (AOM's RTP specification).
    Av1,
}

impl Codec {
    /// The encoding name as it stands in `a=rtpmap`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Multiopus => "multiopus",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Red => "red",
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
        }
    }

    /// Audio or video.
    #[must_use]
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::Opus | Self::Multiopus | Self::Pcmu | Self::Pcma | Self::G722 | Self::Red => {
                MediaKind::Audio
            }
            Self::H264 | Self::H265 | Self::Vp8 | Self::Vp9 | Self::Av1 => MediaKind::Video,
        }
    }

    /// The codec of an encoding name, which is case-insensitive (RFC 8866 §6.6), within one kind:
    /// `red` and others exist for both.
    #[must_use]
    pub fn from_name(kind: MediaKind, name: &str) -> Option<Self> {
        const ALL: [Codec; 11] = [
            Codec::Opus,
            Codec::Multiopus,
            Codec::Pcmu,
            Codec::Pcma,
            Codec::G722,
            Codec::Red,
            Codec::H264,
            Codec::H265,
            Codec::Vp8,
            Codec::Vp9,
            Codec::Av1,
        ];
        ALL.into_iter()
            .find(|codec| codec.kind() == kind && codec.name().eq_ignore_ascii_case(name))
            // The name before the specification was finished, still sent by old clients.
            .or_else(|| {
                (kind == MediaKind::Video && name.eq_ignore_ascii_case("AV1X")).then_some(Self::Av1)
            })
    }
}

/// The value of one parameter in a `key=value;key=value` list; keys are case-insensitive.
pub(crate) fn parameter<'a>(fmtp: &'a str, key: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
    })
}

fn number<T: std::str::FromStr>(fmtp: &str, key: &str) -> Option<T> {
    parameter(fmtp, key).and_then(|value| value.parse().ok())
}

/// The profiles of H.264 that RFC 6184 §8.1 tells apart, by tools a decoder needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum H264Profile {
    /// Constrained Baseline.
    ConstrainedBaseline,
    /// Baseline.
    Baseline,
    /// Main.
    Main,
    /// Extended.
    Extended,
    /// Constrained High.
    ConstrainedHigh,
    /// High.
    High,
    /// High 10.
    High10,
    /// High 10 Intra.
    High10Intra,
    /// High 4:2:2.
    High422,
    /// High 4:2:2 Intra.
    High422Intra,
    /// High 4:4:4 Predictive.
    High444,
    /// High 4:4:4 Intra.
    High444Intra,
    /// CAVLC 4:4:4 Intra.
    Cavlc444Intra,
    /// Any other combination: profile_idc and profile-iop as sent.
    Other(u8, u8),
}

/// What `a=fmtp` says about an H.264 payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H264Parameters {
    /// The profile.
    pub profile: H264Profile,
    /// level_idc in tenths: 31 is level 3.1; level 1b is 10 with `level_1b`.
    pub level_idc: u8,
    /// True for level 1b, which lies between 1 and 1.1.
    pub level_1b: bool,
    /// 0: single NAL units; 1: aggregates and fragments.
    pub packetization_mode: u8,
    /// True when each direction may have a level of its own.
    pub level_asymmetry_allowed: bool,
}

impl H264Parameters {
    /// Reads format parameters; `None` when `profile-level-id` or `packetization-mode` is there
    /// but nonsense.
    ///
    /// Source: RFC 6184 §8.1. Absent, `profile-level-id` means Baseline level 1 (`420010`) and
    /// `packetization-mode` 0.
    #[must_use]
    pub fn parse(fmtp: &str) -> Option<Self> {
        let id = match parameter(fmtp, "profile-level-id") {
            Some(text) if text.len() == 6 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
                u32::from_str_radix(text, 16).ok()?
            }
            Some(_) => return None,
            None => 0x42_00_0A,
        };
        let [_, idc, iop, level] = id.to_be_bytes();
        let packetization_mode = match parameter(fmtp, "packetization-mode") {
            None => 0,
            Some(text) => text.parse().ok().filter(|mode| *mode <= 2)?,
        };
        // RFC 6184 §8.1: constraint_set3 marks level 1b in the profiles that predate it.
        let level_1b =
            (level == 11 && iop & 0x10 != 0 && matches!(idc, 66 | 77 | 88)) || level == 9;
        Some(Self {
            profile: profile(idc, iop),
            level_idc: if level_1b { 10 } else { level },
            level_1b,
            packetization_mode,
            level_asymmetry_allowed: parameter(fmtp, "level-asymmetry-allowed") == Some("1"),
        })
    }

    /// A number that orders levels: level 1b lies between 1 and 1.1.
    #[must_use]
    pub const fn level_rank(self) -> u16 {
        self.level_idc as u16 * 2 + self.level_1b as u16
    }
}

/// RFC 6184 §8.1, table 5: combinations of profile_idc and profile-iop that mean the same.
fn profile(idc: u8, iop: u8) -> H264Profile {
    let set = |mask: u8, value: u8| iop & mask == value;
    match idc {
        66 if set(0x4F, 0x40) => H264Profile::ConstrainedBaseline,
        77 if set(0x8F, 0x80) => H264Profile::ConstrainedBaseline,
        88 if set(0xCF, 0xC0) => H264Profile::ConstrainedBaseline,
        66 if set(0x4F, 0x00) => H264Profile::Baseline,
        88 if set(0xCF, 0x80) => H264Profile::Baseline,
        77 if set(0xAF, 0x00) => H264Profile::Main,
        88 if set(0xCF, 0x00) => H264Profile::Extended,
        100 if iop == 0x0C => H264Profile::ConstrainedHigh,
        100 if iop == 0x00 => H264Profile::High,
        110 if iop == 0x00 => H264Profile::High10,
        110 if iop == 0x10 => H264Profile::High10Intra,
        122 if iop == 0x00 => H264Profile::High422,
        122 if iop == 0x10 => H264Profile::High422Intra,
        244 if iop == 0x00 => H264Profile::High444,
        244 if iop == 0x10 => H264Profile::High444Intra,
        44 if iop == 0x10 => H264Profile::Cavlc444Intra,
        _ => H264Profile::Other(idc, iop),
    }
}

/// What `a=fmtp` says about an H.265 payload type.
///
/// Source: RFC 7798 §7.1, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H265Parameters {
    /// `profile-id`, 1 (Main) unless said.
    pub profile_id: u8,
    /// `tier-flag`, 0 (Main tier) unless said.
    pub tier_flag: u8,
    /// `level-id`, thirty times the level; 93 (3.1) unless said.
    pub level_id: u8,
    /// `tx-mode` other than single-stream (`SRST`), which is all WebRTC has.
    pub multi_stream: bool,
}

impl H265Parameters {
    /// Reads format parameters; unreadable ones count as absent.
    #[must_use]
    pub fn parse(fmtp: &str) -> Self {
        Self {
            profile_id: number(fmtp, "profile-id").unwrap_or(1),
            tier_flag: number(fmtp, "tier-flag").unwrap_or(0),
            level_id: number(fmtp, "level-id").unwrap_or(93),
            multi_stream: parameter(fmtp, "tx-mode")
                .is_some_and(|mode| !mode.eq_ignore_ascii_case("SRST")),
        }
    }
}

/// What `a=fmtp` says about a VP9 payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp9Parameters {
    /// `profile-id`, 0 unless said (RFC 9628 §6).
    pub profile_id: u8,
}

impl Vp9Parameters {
    /// Reads format parameters; unreadable ones count as absent.
    #[must_use]
    pub fn parse(fmtp: &str) -> Self {
        Self {
            profile_id: number(fmtp, "profile-id").unwrap_or(0),
        }
    }
}

/// What `a=fmtp` says about an AV1 payload type.
///
/// Source: AOM's RTP specification §7.2, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Av1Parameters {
    /// `profile`, 0 (Main) unless said.
    pub profile: u8,
    /// `level-idx`, 5 (3.1) unless said.
    pub level_idx: u8,
    /// `tier`, 0 (Main tier) unless said.
    pub tier: u8,
}

impl Av1Parameters {
    /// Reads format parameters; unreadable ones count as absent.
    #[must_use]
    pub fn parse(fmtp: &str) -> Self {
        Self {
            profile: number(fmtp, "profile").unwrap_or(0),
            level_idx: number(fmtp, "level-idx").unwrap_or(5),
            tier: number(fmtp, "tier").unwrap_or(0),
        }
    }
}
