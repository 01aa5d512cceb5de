//! What payloads say of how they were made, where they can be read: the slices and parameter sets
//! of H.264, the durations of Opus.
//!
//! A payload may be encrypted from end to end, and then anything can be read from it. So nothing is
//! concluded from H.264 before `UNITS_SURE` units in a row made sense, and nothing from an Opus
//! packet whose duration the timestamps do not confirm.

use whitewater_rtp::payload::h264::{self, Slice};
use whitewater_rtp::payload::opus;
use whitewater_sdp::{Codec, CodecPlan, Feedback, H264Parameters, Match, codec_match};

/// The pictures of an H.264 source.
#[derive(Debug, Default)]
pub struct PictureCheck {
    /// Units in a row that made sense.
    streak: u32,
    picture: Picture,
    b_pictures: u32,
    /// Whether the last IDR picture came without its parameter sets; `None` before the first.
    is_bare: Option<bool>,
    /// profile_idc, constraint flags and level_idc.
    profile: Option<[u8; 3]>,
    judged: Option<Judged>,
}

/// What was seen of the picture whose packets arrive.
#[derive(Debug, Default)]
struct Picture {
    timestamp: Option<u32>,
    has_sps: bool,
    has_pps: bool,
    has_idr: bool,
    has_slice: bool,
}

/// A profile compared with what was agreed for a payload type.
#[derive(Clone, Copy, Debug)]
struct Judged {
    profile: [u8; 3],
    pt: u8,
    fit: Fit,
}

/// How a stream's profile relates to the one that was agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is that one, or one that its decoders decode.
    Fits,
    /// Another profile.
    OtherProfile,
    /// The profile, but a higher level.
    HigherLevel,
}

impl PictureCheck {
    /// Looks at a packet.
    #[inline]
    pub fn note(&mut self, timestamp: u32, payload: &[u8]) {
        if self.picture.timestamp != Some(timestamp) {
            self.picture = Picture {
                timestamp: Some(timestamp),
                ..Picture::default()
            };
        }
        for unit in h264::units(payload) {
            if unit.is_forbidden || !matches!(unit.nal_type, 1..=21) {
                return self.forget();
            }
            self.unit(unit);
        }
    }

    fn unit(&mut self, unit: h264::Unit<'_>) {
        let picture = &mut self.picture;
        if let Some(profile) = unit.profile() {
            picture.has_sps = true;
            self.profile = Some(profile);
        }
        picture.has_pps |= unit.is_pps();
        if unit.is_slice() {
            let Some(slice) = unit.slice() else {
                return self.forget();
            };
            if slice == Slice::B && !picture.has_slice {
                self.b_pictures = self.b_pictures.saturating_add(1);
            }
            picture.has_slice = true;
        }
        if unit.is_idr() && !std::mem::replace(&mut picture.has_idr, true) {
            self.is_bare = Some(!(picture.has_sps && picture.has_pps));
        }
        self.streak = self.streak.saturating_add(1);
    }

    /// What was read cannot have been what was meant.
    fn forget(&mut self) {
        *self = PictureCheck::default();
    }

    fn is_sure(&self) -> bool {
        self.streak >= UNITS_SURE
    }

    /// Pictures since the last call that are shown before one they were sent after (B slices).
    pub fn take_b_pictures(&mut self) -> u32 {
        if !self.is_sure() {
            return 0;
        }
        std::mem::take(&mut self.b_pictures)
    }

    /// Whether the last IDR picture came without the parameter sets one needs to start there.
    pub fn is_bare(&self) -> bool {
        self.is_sure() && self.is_bare == Some(true)
    }

    /// The stream's profile, and how it relates to what was agreed for its payload type.
    pub fn fit(&mut self, pt: u8, agreed: &str) -> Option<([u8; 3], Fit)> {
        let profile = self.profile.filter(|_| self.is_sure())?;
        let known = self.judged.filter(|j| j.profile == profile && j.pt == pt);
        let fit = known.map_or_else(|| fit(profile, agreed), |known| known.fit);
        self.judged = Some(Judged { profile, pt, fit });
        Some((profile, fit))
    }
}

/// RFC 6184 §8.1: the profile class counts, not the bytes.
fn fit([idc, constraints, level]: [u8; 3], agreed: &str) -> Fit {
    let Some(negotiated) = H264Parameters::parse(agreed) else {
        return Fit::Fits;
    };
    let mode = negotiated.packetization_mode;
    let with = |fmtp: String| CodecPlan {
        pt: 0,
        rtx_pt: None,
        codec: Codec::H264,
        clock_rate: 90_000,
        channels: None,
        fmtp,
        answer_fmtp: String::new(),
        feedback: Feedback::default(),
    };
    let sent = format!("profile-level-id={idc:02x}{constraints:02x}{level:02x}");
    let sent = format!("{sent};packetization-mode={mode};level-asymmetry-allowed=1");
    let Some(actual) = H264Parameters::parse(&sent) else {
        return Fit::Fits;
    };
    // Here the level is for itself.
    let taken = format!("{agreed};level-asymmetry-allowed=1");
    let agrees = actual.profile == negotiated.profile
        || codec_match(&with(sent), &with(taken)) != Match::None;
    match agrees {
        false => Fit::OtherProfile,
        true if actual.level_rank() > negotiated.level_rank() => Fit::HigherLevel,
        true => Fit::Fits,
    }
}

/// The durations of an Opus source's packets.
#[derive(Debug, Default)]
pub struct SoundCheck {
    last: Option<(u64, u32, u32)>,
    longest: u32,
}

impl SoundCheck {
    /// Looks at a packet.
    #[inline]
    pub fn note(&mut self, seq: u64, timestamp: u32, payload: &[u8]) {
        let duration = opus::duration(payload).unwrap_or(0);
        let before = self.last.replace((seq, timestamp, duration));
        if let Some((before, then, said)) = before
            && said > DURATION_MAX
            && seq == before + 1
            && timestamp.wrapping_sub(then) == said
        {
            self.longest = self.longest.max(said);
        }
    }

    /// The longest packet since the last call, if it was longer than is allowed; in milliseconds.
    pub fn take_longest_ms(&mut self) -> Option<u32> {
        let longest = std::mem::take(&mut self.longest);
        (longest > 0).then_some(longest / 48)
    }
}

/// Of random bytes one unit in five makes sense: as many as this in a row do not.
const UNITS_SURE: u32 = 30;
/// RFC 6716 §3.2.5: 120 ms, in samples.
const DURATION_MAX: u32 = 5_760;

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: [u8; 5] = [0x67, 0x42, 0xe0, 0x1f, 0xda];
    const PPS: [u8; 3] = [0x68, 0xce, 0x3c];
    // first_mb_in_slice 0, slice_type 7 (I), 5 (P), 6 (B).
    const IDR: [u8; 3] = [0x65, 0x88, 0x80];
    const P: [u8; 3] = [0x41, 0x9a, 0x00];
    const B: [u8; 3] = [0x01, 0x9e, 0x00];
    const AGREED: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";

    fn check(pictures: &[&[&[u8]]]) -> PictureCheck {
        let mut check = PictureCheck::default();
        for (picture, timestamp) in pictures.iter().cycle().zip(1..=60_u32) {
            for payload in *picture {
                check.note(timestamp * 3_000, payload);
            }
        }
        check
    }

    #[test]
    fn pictures_that_are_shown_out_of_order_are_counted() {
        let mut usual = check(&[&[&SPS, &PPS, &IDR], &[&P], &[&P]]);
        assert_eq!(usual.take_b_pictures(), 0);
        assert!(!usual.is_bare());
        // A second slice of the picture is no second picture; a fragment is read at its start.
        let fragment = [0x7c, 0x81, 0x9e, 0x00];
        let middle = [0x7c, 0x01, 0x9e, 0x00];
        let mut b = check(&[&[&SPS, &PPS, &IDR], &[&P], &[&B, &B], &[&fragment, &middle]]);
        assert_eq!(b.take_b_pictures(), 30);
        assert_eq!(b.take_b_pictures(), 0, "they are taken");
    }

    #[test]
    fn a_key_frame_needs_its_parameter_sets_in_front() {
        assert!(check(&[&[&IDR], &[&P]]).is_bare());
        assert!(check(&[&[&PPS, &IDR], &[&P]]).is_bare());
        let mut together = vec![0x18, 0, 5];
        together.extend_from_slice(&SPS);
        together.extend_from_slice(&[0, 3]);
        together.extend_from_slice(&PPS);
        assert!(!check(&[&[&together, &IDR, &IDR], &[&P]]).is_bare());
        // Not those of a key frame before.
        let mut later = check(&[&[&SPS, &PPS, &IDR], &[&P]]);
        for payload in [&IDR, &P] {
            later.note(7, payload);
        }
        assert!(later.is_bare());
    }

    #[test]
    fn the_profile_is_compared_by_class_and_the_level_by_rank() {
        assert_eq!(fit([0x42, 0xe0, 0x1f], AGREED), Fit::Fits);
        assert_eq!(fit([0x4d, 0x80, 0x1f], AGREED), Fit::Fits, "the same class");
        assert_eq!(fit([0x42, 0x00, 0x1e], AGREED), Fit::Fits, "in name only");
        assert_eq!(fit([0x64, 0x00, 0x1f], AGREED), Fit::OtherProfile);
        assert_eq!(fit([0x4d, 0x40, 0x1f], AGREED), Fit::OtherProfile);
        assert_eq!(fit([0x42, 0xe0, 0x28], AGREED), Fit::HigherLevel);
        let symmetric = "packetization-mode=1;profile-level-id=42e01f";
        assert_eq!(fit([0x42, 0xe0, 0x28], symmetric), Fit::HigherLevel);
        assert_eq!(
            fit([0x42, 0xe0, 0x28], "profile-level-id=nonsense"),
            Fit::Fits
        );
        let mut seen = check(&[&[&SPS, &PPS, &IDR], &[&P]]);
        let expected = Some(([0x42, 0xe0, 0x1f], Fit::Fits));
        assert_eq!(seen.fit(96, AGREED), expected);
        assert_eq!(seen.fit(96, AGREED), expected);
    }

    /// What x264 made, unit by unit.
    fn real(stream: &str) -> PictureCheck {
        let mut check = PictureCheck::default();
        for line in stream.lines() {
            let (picture, unit) = line.split_once(' ').expect("two columns");
            let picture: u32 = picture.parse().expect("a number");
            let digits = unit.as_bytes().chunks(2);
            let digits = digits.map(|pair| std::str::from_utf8(pair).expect("ASCII"));
            let bytes = digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal"));
            check.note(picture * 3_000, &bytes.collect::<Vec<u8>>());
        }
        check
    }

    #[test]
    fn streams_of_a_real_encoder_are_told_apart() {
        const CORPUS: [&str; 2] = [
            include_str!("../../../../tests/corpus/h264/x264-main-bframes.txt"),
            include_str!("../../../../tests/corpus/h264/x264-baseline-zerolatency.txt"),
        ];
        let [mut with, mut without] = CORPUS.map(real);
        let b = with.take_b_pictures();
        assert!((20..=50).contains(&b), "of sixty pictures {b}");
        let main = AGREED.replace("42e01f", "4d001f");
        assert_eq!(with.fit(96, &main), Some(([0x4d, 0x40, 0x0d], Fit::Fits)));
        assert_eq!(
            with.fit(97, AGREED).map(|(_, fit)| fit),
            Some(Fit::OtherProfile)
        );
        assert_eq!(without.take_b_pictures(), 0);
        assert_eq!(
            without.fit(96, AGREED),
            Some(([0x42, 0xc0, 0x0d], Fit::Fits))
        );
        assert!(!with.is_bare() && !without.is_bare());
    }

    #[test]
    fn nothing_is_concluded_from_noise() {
        let mut state = 0x2545_f491_u32;
        let mut noise = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_be_bytes()
        };
        let mut check = PictureCheck::default();
        let mut sound = SoundCheck::default();
        for packet in 0..200_000_u32 {
            let payload = [noise(), noise(), noise()].concat();
            check.note(packet / 3, &payload);
            sound.note(packet.into(), packet.wrapping_mul(960), &payload);
            assert_eq!(check.take_b_pictures(), 0);
            assert!(!check.is_bare() && check.fit(96, AGREED).is_none());
        }
        assert_eq!(sound.take_longest_ms(), None);
    }

    #[test]
    fn long_sound_is_told_where_the_timestamps_agree() {
        let mut sound = SoundCheck::default();
        // 20 ms frames, 3 and 8 of them: 60 and 160 ms.
        let (usual, long) = ([31 << 3 | 3, 3], [31 << 3 | 3, 8]);
        for (seq, timestamp) in (0..9).zip((0..).step_by(2_880)) {
            sound.note(seq, timestamp, &usual);
        }
        assert_eq!(sound.take_longest_ms(), None);
        sound.note(9, 40_000, &long);
        sound.note(10, 40_000 + 960, &long);
        assert_eq!(sound.take_longest_ms(), None, "it was not that long");
        sound.note(11, 40_960 + 7_680, &long);
        assert_eq!(sound.take_longest_ms(), Some(160));
        assert_eq!(sound.take_longest_ms(), None);
    }
}
