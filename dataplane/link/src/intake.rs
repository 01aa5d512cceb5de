//! What a publisher brings: its layers measured, how loud it is, and what is wrong with it.

use std::time::Duration;

use crate::MediaKind;

/// What one publisher brings, as far as it was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intake {
    /// In m-line order.
    pub tracks: Vec<TrackIntake>,
    /// How loud it is, where its packets tell (RFC 6464).
    pub loudness: Option<Loudness>,
    /// What is wrong now, each code once a kind of media.
    pub findings: Vec<Finding>,
}

/// One track of a publisher.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackIntake {
    /// The m-section's mid.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// The encoding name of what comes; empty while nothing came.
    pub codec: String,
    /// Its layers, in the offer's order; one without simulcast. Those that sent nothing yet too.
    pub layers: Vec<LayerIntake>,
}

/// One source of a track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerIntake {
    /// Of a simulcast layer: its rid, or its place among the sources of an older client.
    pub rid: Option<String>,
    /// Pixels across; 0 in audio, and while no key frame has told.
    pub width: u16,
    /// Pixels down; 0 in audio, and while no key frame has told.
    pub height: u16,
    /// Over the last second; 0 in audio.
    pub frames_per_second: u16,
    /// Over the last second, header, extensions and payload.
    pub bitrate_bps: u64,
    /// Between the last two key frames; `None` in audio and before the second one.
    pub keyframe_interval: Option<Duration>,
    /// Packets that arrived, retransmitted ones included.
    pub packets: u64,
    /// Packets that never arrived (RFC 3550 appendix A.3).
    pub packets_lost: u64,
    /// Share of the packets of the last seconds that were missing when the next one came, in
    /// 1/1000: what the way here loses before retransmissions repair it.
    pub loss_permille: u16,
    /// Interarrival jitter (RFC 3550 appendix A.8).
    pub jitter: Duration,
}

/// How loud a publisher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loudness {
    /// Smoothed level in dBov, -127 (silence) to 0 (the loudest there is).
    pub level_dbov: i8,
    /// Whether somebody speaks: the level, or the sender's voice flag, with hysteresis.
    pub is_speaking: bool,
}

/// Something wrong with what a publisher sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub code: FindingCode,
    /// Of which of its media.
    pub kind: MediaKind,
    /// A number that goes with it, in the unit that the code says; 0 where it says none.
    pub measure: u32,
}

macro_rules! finding_codes {
    ($($(#[doc = $doc:literal])+ $name:ident => $code:literal,)+) => {
        /// What can be wrong with a publisher's media.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FindingCode { $($(#[doc = $doc])+ $name,)+ }

        impl FindingCode {
            /// All of them, in order of declaration.
            pub const ALL: &'static [FindingCode] = &[$(FindingCode::$name,)+];

            /// The stable name, for APIs and metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(FindingCode::$name => $code,)+ }
            }
        }
    };
}

finding_codes! {
    /// H.264 pictures that are decoded in another order than they are shown in; browsers do not
    /// put them in order. Measure: such pictures in the last second.
    BFrames => "b-frames",
    /// H.264 IDR pictures without the parameter sets in front: nobody can start there.
    ParameterSetsMissing => "parameter-sets-missing",
    /// The stream's H.264 profile is another than was negotiated. Measure: the profile_idc,
    /// constraint and level bytes of the stream, as in `profile-level-id`.
    ProfileMismatch => "profile-mismatch",
    /// The stream's H.264 level is above the one that was negotiated. Measure: as above.
    LevelAbove => "level-above",
    /// No key frame although viewers wait for one, or although it cannot be asked for. Measure:
    /// seconds since the last one.
    KeyframesRare => "keyframes-rare",
    /// Sound that stops and goes on again. Measure: such gaps lately.
    AudioGaps => "audio-gaps",
    /// A negotiated track of which nothing comes while another one flows. Measure: seconds.
    TrackSilent => "track-silent",
    /// Audio and video timestamps drift apart. Measure: milliseconds.
    AvDrift => "av-drift",
    /// RTP timestamps do not advance as fast as the negotiated clock. Measure: the clock as it was
    /// measured, in Hz.
    ClockRate => "clock-rate",
    /// More than a twentieth of the packets is lost on the way here. Measure: lost packets in 1/1000.
    Loss => "loss",
    /// No sender reports (RFC 3550 §6.4.1): audio and video cannot be kept in sync.
    SenderReportsMissing => "sender-reports-missing",
    /// The codec was changed in the middle of the stream.
    CodecSwitched => "codec-switched",
    /// Opus packets of more than 120 ms (RFC 6716 §3.2.5). Measure: milliseconds.
    OpusPacketsLong => "opus-packets-long",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), FindingCode::ALL.len());
    }
}
