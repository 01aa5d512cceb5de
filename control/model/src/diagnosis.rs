//! What is wrong with a publisher's media, in words, and since when.

use whitewater_link::{Finding, FindingCode};

/// A finding that has not been cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnosed {
    /// What was found, with the newest measure.
    pub finding: Finding,
    /// When it was raised, in ms since 1970.
    pub since_unix_ms: u64,
}

/// How bad it is for viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Some viewers see or hear nothing, or not what they should.
    Error,
    /// It works, worse than it could.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// The word for it in the APIs.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

impl Diagnosed {
    /// Takes the findings of a report: those that stay keep their time. True if any came or went.
    pub(crate) fn update(known: &mut Vec<Self>, found: &[Finding], unix_ms: u64) -> bool {
        let is = |one: &Finding, other: &Finding| (one.code, one.kind) == (other.code, other.kind);
        let mut is_news = known.len() != found.len();
        let next = found.iter().map(|&finding| {
            let before = known.iter().find(|before| is(&before.finding, &finding));
            is_news |= before.is_none();
            Diagnosed {
                finding,
                since_unix_ms: before.map_or(unix_ms, |before| before.since_unix_ms),
            }
        });
        *known = next.collect();
        is_news
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        use FindingCode as Code;
        match self.finding.code {
            Code::BFrames | Code::ParameterSetsMissing | Code::ProfileMismatch => Severity::Error,
            Code::ClockRate | Code::OpusPacketsLong => Severity::Error,
            Code::KeyframesRare | Code::AudioGaps | Code::AvDrift | Code::Loss => Severity::Warning,
            Code::SenderReportsMissing => Severity::Warning,
            Code::TrackSilent | Code::CodecSwitched | Code::LevelAbove => Severity::Info,
        }
    }

    /// What is the matter.
    pub fn message(&self) -> String {
        let Finding {
            code,
            kind,
            measure,
        } = self.finding;
        let kind = kind.as_str();
        match code {
            FindingCode::BFrames => {
                format!(
                    "the H.264 video has B-frames ({measure} in the last second), which browsers do not put in order: the picture jerks back and forth"
                )
            }
            FindingCode::ParameterSetsMissing => {
                "key frames come without SPS and PPS: viewers that join cannot decode them"
                    .to_owned()
            }
            FindingCode::ProfileMismatch => {
                format!(
                    "the H.264 video is of profile {measure:06x}, which is not what was negotiated: some viewers cannot decode it"
                )
            }
            FindingCode::LevelAbove => {
                format!(
                    "the H.264 video is of level {}, above what was negotiated",
                    level(measure)
                )
            }
            FindingCode::KeyframesRare => {
                format!(
                    "the last key frame came {measure} s ago: viewers that join see nothing until the next one"
                )
            }
            FindingCode::AudioGaps => {
                format!("the audio broke off {measure} times within half a minute")
            }
            FindingCode::TrackSilent => {
                format!("nothing has come of the {kind} for {measure} s")
            }
            FindingCode::AvDrift => {
                format!("the timestamps of audio and video have drifted apart by {measure} ms")
            }
            FindingCode::ClockRate => {
                format!(
                    "the {kind} timestamps advance by {measure} a second, which is not the clock rate that was negotiated"
                )
            }
            FindingCode::Loss => {
                let (whole, tenth) = (measure / 10, measure % 10);
                format!(
                    "{whole}.{tenth} % of the {kind} packets are lost on the way to this server"
                )
            }
            FindingCode::SenderReportsMissing => {
                format!(
                    "no RTCP sender reports come for the {kind}: viewers cannot keep audio and video in sync"
                )
            }
            FindingCode::CodecSwitched => {
                format!(
                    "the {kind} codec was changed in the middle of the stream: viewers without it see or hear nothing"
                )
            }
            FindingCode::OpusPacketsLong => {
                format!(
                    "Opus packets are {measure} ms long, where 120 ms are the most that decoders take"
                )
            }
        }
    }

    /// What can be done about it.
    pub fn advice(&self) -> &'static str {
        match self.finding.code {
            FindingCode::BFrames => {
                "turn B-frames off in the encoder: x264 tune=zerolatency or bframes=0, FFmpeg -bf 0, OBS \"Max B-frames\" 0"
            }
            FindingCode::ParameterSetsMissing => {
                "have the encoder repeat its headers: FFmpeg -bsf:v dump_extra, x264 repeat-headers=1, GStreamer h264parse or rtph264pay config-interval=-1"
            }
            FindingCode::ProfileMismatch => {
                "encode the profile that the offer announces (FFmpeg -profile:v baseline), or announce the one that is encoded"
            }
            FindingCode::LevelAbove => {
                "announce the level in the offer's profile-level-id, or encode a smaller picture or fewer frames"
            }
            FindingCode::KeyframesRare => {
                "set a key frame interval of about 2 s (FFmpeg -g, OBS \"Keyframe Interval\"), or let the encoder answer PLI"
            }
            FindingCode::AudioGaps => {
                "look at the audio source and at the load of the publishing machine"
            }
            FindingCode::TrackSilent => {
                "nothing, if it is switched off on purpose; else look at the source"
            }
            FindingCode::AvDrift => {
                "stamp audio and video by one clock: FFmpeg -use_wallclock_as_timestamps 1 or -af aresample=async=1"
            }
            FindingCode::ClockRate => {
                "stamp pictures by when they were taken and send in real time: FFmpeg -re, the source's true frame rate"
            }
            FindingCode::Loss => {
                "lower the bit rate, or improve the way to the server: cable in place of Wi-Fi, another route"
            }
            FindingCode::SenderReportsMissing => {
                "switch RTCP on in the publisher, and let it through the firewall (it shares the port of the media)"
            }
            FindingCode::CodecSwitched => "keep to one codec for the time of a session",
            FindingCode::OpusPacketsLong => "use Opus frames of 20 ms: FFmpeg -frame_duration 20",
        }
    }
}

/// level_idc in tenths (ITU-T H.264 annex A).
fn level(profile: u32) -> String {
    let [_, _, _, level] = profile.to_be_bytes();
    format!("{}.{}", level / 10, level % 10)
}

#[cfg(test)]
mod tests {
    use whitewater_link::MediaKind;

    use super::*;

    fn finding(code: FindingCode, kind: MediaKind, measure: u32) -> Finding {
        Finding {
            code,
            kind,
            measure,
        }
    }

    #[test]
    fn what_stays_keeps_its_time_and_what_is_over_is_gone() {
        let mut known = Vec::new();
        let loss = |measure| finding(FindingCode::Loss, MediaKind::Video, measure);
        let audio_loss = finding(FindingCode::Loss, MediaKind::Audio, 60);
        assert!(Diagnosed::update(&mut known, &[loss(60)], 1_000));
        assert!(
            !Diagnosed::update(&mut known, &[loss(73)], 2_000),
            "a number alone"
        );
        assert_eq!(
            (known[0].since_unix_ms, known[0].finding.measure),
            (1_000, 73)
        );
        assert!(Diagnosed::update(
            &mut known,
            &[audio_loss, loss(73)],
            3_000
        ));
        assert_eq!(
            [known[0], known[1]].map(|d| d.since_unix_ms),
            [3_000, 1_000]
        );
        assert!(Diagnosed::update(&mut known, &[audio_loss], 4_000));
        assert!(
            Diagnosed::update(&mut known, &[loss(80)], 5_000),
            "one for another"
        );
        assert_eq!(known[0].since_unix_ms, 5_000);
        assert!(Diagnosed::update(&mut known, &[], 6_000) && known.is_empty());
    }

    #[test]
    fn every_code_has_words_and_measures_are_in_them() {
        for &code in FindingCode::ALL {
            let diagnosed = Diagnosed {
                finding: finding(code, MediaKind::Video, 73),
                since_unix_ms: 0,
            };
            let words = diagnosed.message();
            assert!(
                words.len() > 20 && diagnosed.advice().len() > 20,
                "{code:?}: {words}"
            );
        }
        let words = |code, measure| {
            let finding = finding(code, MediaKind::Video, measure);
            let since_unix_ms = 0;
            Diagnosed {
                finding,
                since_unix_ms,
            }
            .message()
        };
        assert!(words(FindingCode::Loss, 73).starts_with("7.3 % of the video"));
        assert!(words(FindingCode::ProfileMismatch, 0x64_00_1f).contains("64001f"));
        assert!(words(FindingCode::LevelAbove, 0x42_e0_28).contains("level 4.0"));
    }
}
