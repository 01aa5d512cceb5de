//! What a publisher brings and what is wrong with it: members that Live777 does not have.

use serde::Serialize;
use whitewater_model::{self as model, LayerIntake, Loudness, TrackIntake};

/// One track of a publisher.
#[derive(Serialize)]
pub(super) struct Track<'a> {
    mid: &'a str,
    kind: &'static str,
    codec: &'a str,
    layers: Vec<Layer<'a>>,
}

/// One source of a track. Pictures and key frames are a video's.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames_per_second: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_frame_interval_ms: Option<u64>,
    bitrate: u64,
    packets: u64,
    packets_lost: u64,
    loss_percent: f64,
    jitter_ms: f64,
}

/// How loud a publisher is.
#[derive(Serialize)]
pub(super) struct Audio {
    level: i8,
    speaking: bool,
}

/// One thing that is wrong.
#[derive(Serialize)]
pub(super) struct Diagnosed {
    code: &'static str,
    kind: &'static str,
    severity: &'static str,
    message: String,
    advice: &'static str,
    since: u64,
}

pub(super) fn track(track: &TrackIntake) -> Track<'_> {
    let is_video = track.kind == whitewater_link::MediaKind::Video;
    Track {
        mid: &track.mid,
        kind: track.kind.as_str(),
        codec: &track.codec,
        layers: track
            .layers
            .iter()
            .map(|each| layer(each, is_video))
            .collect(),
    }
}

fn layer(layer: &LayerIntake, is_video: bool) -> Layer<'_> {
    let pixels = |side: u16| (side > 0).then_some(side);
    let interval = layer.keyframe_interval.map(|interval| interval.as_millis());
    Layer {
        rid: layer.rid.as_deref(),
        width: pixels(layer.width),
        height: pixels(layer.height),
        frames_per_second: is_video.then_some(layer.frames_per_second),
        key_frame_interval_ms: interval.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
        bitrate: layer.bitrate_bps,
        packets: layer.packets,
        packets_lost: layer.packets_lost,
        loss_percent: f64::from(layer.loss_permille) / 10.0,
        jitter_ms: layer.jitter.as_micros().min(u128::from(u32::MAX)) as f64 / 1_000.0,
    }
}

pub(super) fn audio(loudness: Loudness) -> Audio {
    Audio {
        level: loudness.level_dbov,
        speaking: loudness.is_speaking,
    }
}

pub(super) fn diagnosed(diagnosed: &model::Diagnosed) -> Diagnosed {
    Diagnosed {
        code: diagnosed.finding.code.as_str(),
        kind: diagnosed.finding.kind.as_str(),
        severity: diagnosed.severity().as_str(),
        message: diagnosed.message(),
        advice: diagnosed.advice(),
        since: diagnosed.since_unix_ms,
    }
}
