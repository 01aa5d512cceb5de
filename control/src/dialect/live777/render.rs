//! Live777's JSON, name by name.

use serde::Serialize;
use whitewater_model as model;

use super::intake;
use crate::About;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stream<'a> {
    id: &'a str,
    created_at: u64,
    publish: PubSub<'a>,
    subscribe: PubSub<'a>,
    codecs: Vec<Codec<'a>>,
    provisioned: bool,
    on_demand: bool,
    stats: StreamStats,
    stats_scope: &'static str,
    /// Ours, as are the next ones: what is wrong with the publisher's media.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diagnosis: Vec<intake::Diagnosed>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PubSub<'a> {
    leave_at: u64,
    sessions: Vec<Session<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Session<'a> {
    id: String,
    created_at: u64,
    leave_at: u64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cascade: Option<Cascade<'a>>,
    has_data_channel: bool,
    /// Ours: the rid of the simulcast layer a viewer is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available_bitrate: Option<u64>,
    /// What a publisher brings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tracks: Vec<intake::Track<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<intake::Audio>,
    stats: Stats,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cascade<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    source_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_url: Option<&'a str>,
}

#[derive(Serialize)]
struct Codec<'a> {
    kind: &'static str,
    codec: &'a str,
    fmtp: &'a str,
}

#[derive(Serialize)]
struct StreamStats {
    publish: Stats,
    subscribe: Stats,
}

#[derive(Serialize)]
struct Stats {
    bytes: u64,
    packets: u64,
    bitrate: u64,
}

/// Snake case, unlike the rest.
#[derive(Serialize)]
struct Strategy {
    each_stream_max_sub: u16,
    cascade_push_close_sub: bool,
    auto_create_whip: bool,
    auto_create_whep: bool,
    auto_delete_whip: i64,
    auto_delete_whep: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    version: &'a str,
    git_hash: &'a str,
    build_time: &'a str,
    features: &'a [String],
    udp_port: u16,
    backend: &'a str,
    alias: &'a str,
    region: &'a str,
    pub_max: u32,
    sub_max: u32,
}

pub(super) fn stream(view: &model::StreamView) -> Vec<u8> {
    let stream = Stream {
        id: view.name.as_str(),
        created_at: view.created_unix_ms,
        publish: side(&view.publish),
        subscribe: side(&view.subscribe),
        codecs: view.tracks.iter().map(codec).collect(),
        provisioned: false,
        on_demand: false,
        stats: StreamStats {
            publish: stats(view.publish.stats),
            subscribe: stats(view.subscribe.stats),
        },
        stats_scope: "node",
        diagnosis: view.diagnosis.iter().map(intake::diagnosed).collect(),
    };
    to_json(&stream)
}

pub(super) fn strategy(policy: &model::Policy) -> Vec<u8> {
    let millis = |limit: Option<std::time::Duration>| {
        limit.map_or(-1, |limit| {
            i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)
        })
    };
    to_json(&Strategy {
        // A 16-bit number for its readers.
        each_stream_max_sub: u16::try_from(policy.each_stream_max_sub).unwrap_or(u16::MAX),
        cascade_push_close_sub: policy.cascade_push_close_sub,
        auto_create_whip: policy.auto_create_whip,
        auto_create_whep: policy.auto_create_whep,
        auto_delete_whip: millis(policy.auto_delete_whip),
        auto_delete_whep: millis(policy.auto_delete_whep),
    })
}

pub(super) fn info(about: &About, policy: &model::Policy) -> Vec<u8> {
    to_json(&Info {
        version: &about.version,
        git_hash: &about.git_hash,
        build_time: &about.build_time,
        features: &about.features,
        udp_port: about.udp_port,
        backend: &about.backend,
        alias: &about.alias,
        region: &about.region,
        pub_max: policy.pub_max,
        sub_max: policy.sub_max,
    })
}

fn side(view: &model::SideView) -> PubSub<'_> {
    PubSub {
        leave_at: view.left_unix_ms,
        sessions: view.sessions.iter().map(session).collect(),
    }
}

fn session(view: &model::SessionView) -> Session<'_> {
    Session {
        id: view.id.to_string(),
        created_at: view.created_unix_ms,
        leave_at: view.left_unix_ms,
        state: view.state.as_str(),
        cascade: view.cascade.as_ref().map(|cascade| Cascade {
            source_url: cascade.source_url.as_deref(),
            target_url: cascade.target_url.as_deref(),
            session_url: cascade.session_url.as_deref(),
        }),
        has_data_channel: view.has_data_channel,
        layer: view.layer.as_deref(),
        available_bitrate: view.available_bps,
        tracks: view.tracks.iter().map(intake::track).collect(),
        audio: view.loudness.map(intake::audio),
        stats: stats(view.stats),
    }
}

fn codec(track: &whitewater_link::TrackInfo) -> Codec<'_> {
    Codec {
        kind: track.kind.as_str(),
        codec: &track.codec,
        fmtp: &track.fmtp,
    }
}

fn stats(stats: model::Stats) -> Stats {
    Stats {
        bytes: stats.bytes,
        packets: stats.packets,
        bitrate: stats.bitrate_bps,
    }
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // Structs of texts, numbers and lists always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}
