//! The files, and what each must lead to.

use whitewater_sdp::DtlsRole::{self, Active, Passive};
use whitewater_sdp::Role::{self, Publish, Subscribe};

/// What one file must lead to.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) dtls_role: DtlsRole,
    /// Per m-line: codecs as `name/pt` in the answer's order, or `data`.
    pub(crate) sections: &'static [&'static [&'static str]],
}

const CHROME_AUDIO: &[&str] = &["opus/111", "G722/9", "PCMU/0", "PCMA/8"];
const CHROME_SENDS: &[&str] = &[
    "VP8/96", "H264/102", "H264/104", "H264/108", "H264/114", "H264/116", "H264/39", "AV1/45",
    "VP9/98", "VP9/100",
];
const CHROME_RECEIVES: &[&str] = &[
    "VP8/96", "VP9/98", "VP9/100", "VP9/35", "VP9/37", "H264/102", "H264/104", "H264/108",
    "H264/114", "H264/116", "H264/39", "H264/41", "H264/43", "AV1/45", "AV1/47",
];
const FIREFOX_AUDIO: &[&str] = &["opus/109", "G722/9", "PCMU/0", "PCMA/8"];
const FIREFOX_VIDEO: &[&str] = &["VP8/120", "VP9/121", "AV1/99"];
const SAFARI_VIDEO: &[&str] = &[
    "H264/96", "H264/98", "H264/100", "H264/127", "H265/104", "H265/106", "VP8/108", "VP9/123",
    "VP9/35",
];
const AIORTC_AUDIO: &[&str] = &["opus/96", "G722/9", "PCMU/0", "PCMA/8"];
const AIORTC_VIDEO: &[&str] = &["VP8/97", "H264/99", "H264/101"];
const PION_VIDEO: &[&str] = &["VP8/96", "H264/102", "H264/106", "AV1/45", "VP9/98"];

pub(crate) const CASES: &[Case] = &[
    case(
        "chrome-publish",
        Publish,
        Passive,
        &[CHROME_AUDIO, CHROME_SENDS],
    ),
    case(
        "chrome-publish-simulcast",
        Publish,
        Passive,
        &[CHROME_AUDIO, CHROME_SENDS],
    ),
    case(
        "chrome-watch",
        Subscribe,
        Passive,
        &[CHROME_AUDIO, CHROME_RECEIVES],
    ),
    case(
        "chrome-watch-data",
        Subscribe,
        Passive,
        &[CHROME_RECEIVES, CHROME_AUDIO, &["data"]],
    ),
    case(
        "firefox-publish",
        Publish,
        Passive,
        &[FIREFOX_AUDIO, FIREFOX_VIDEO],
    ),
    case(
        "firefox-publish-simulcast",
        Publish,
        Passive,
        &[FIREFOX_AUDIO, FIREFOX_VIDEO],
    ),
    case(
        "firefox-watch",
        Subscribe,
        Passive,
        &[FIREFOX_AUDIO, FIREFOX_VIDEO],
    ),
    case(
        "firefox-watch-data",
        Subscribe,
        Passive,
        &[FIREFOX_VIDEO, FIREFOX_AUDIO, &["data"]],
    ),
    case(
        "safari-publish",
        Publish,
        Passive,
        &[CHROME_AUDIO, SAFARI_VIDEO],
    ),
    case(
        "safari-watch",
        Subscribe,
        Passive,
        &[CHROME_AUDIO, SAFARI_VIDEO],
    ),
    case(
        "aiortc-publish",
        Publish,
        Passive,
        &[AIORTC_AUDIO, AIORTC_VIDEO],
    ),
    case(
        "aiortc-watch-data",
        Subscribe,
        Passive,
        &[AIORTC_AUDIO, AIORTC_VIDEO, &["data"]],
    ),
    case(
        "gstreamer-publish",
        Publish,
        Passive,
        &[&["VP8/96"], &["opus/97"]],
    ),
    case(
        "gstreamer-watch",
        Subscribe,
        Passive,
        &[&["VP8/96"], &["opus/97"]],
    ),
    case(
        "ffmpeg-publish",
        Publish,
        Active,
        &[&["opus/111"], &["H264/106"]],
    ),
    case(
        "ffmpeg-publish-active",
        Publish,
        Passive,
        &[&["opus/111"], &["H264/106"]],
    ),
    case(
        "obs-publish",
        Publish,
        Passive,
        &[&["opus/111"], &["H264/96"]],
    ),
    case(
        "obs-publish-simulcast",
        Publish,
        Passive,
        &[&["opus/111"], &["H264/96"]],
    ),
    case(
        "whipclientsink-publish",
        Publish,
        Passive,
        &[&["VP8/96", "H264/97", "VP9/98", "AV1/99"], &["opus/107"]],
    ),
    case(
        "webrtc-rs-publish",
        Publish,
        Passive,
        &[&["H264/102"], &["opus/111"]],
    ),
    case(
        "pion-publish",
        Publish,
        Passive,
        &[CHROME_AUDIO, PION_VIDEO],
    ),
    case(
        "pion-watch",
        Subscribe,
        Passive,
        &[CHROME_AUDIO, PION_VIDEO],
    ),
    case(
        "larix-publish",
        Publish,
        Passive,
        &[&["opus/111"], &["H264/98", "H265/100", "VP8/96"]],
    ),
];

const fn case(
    name: &'static str,
    role: Role,
    dtls_role: DtlsRole,
    sections: &'static [&'static [&'static str]],
) -> Case {
    Case {
        name,
        role,
        dtls_role,
        sections,
    }
}
