use whitewater_link::{Loudness, SessionId, SessionState, TrackInfo, TrackIntake};

use crate::{Diagnosed, StreamName};

/// One stream at one moment, for a dialect to render.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamView {
    /// Its name.
    pub name: StreamName,
    /// When it was made, in ms since 1970.
    pub created_unix_ms: u64,
    /// The publishing side; at most one session.
    pub publish: SideView,
    /// The watching side, in order of arrival.
    pub subscribe: SideView,
    /// The publisher's tracks; none without a publisher.
    pub tracks: Vec<TrackInfo>,
    /// What is wrong with the publisher's media now.
    pub diagnosis: Vec<Diagnosed>,
}

/// One side of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct SideView {
    /// When the last one left, in ms since 1970; 0 while occupied. 0 for the publishing side of a
    /// stream that was never published, the time of creation for one that was never watched.
    pub left_unix_ms: u64,
    /// The sessions that live now.
    pub sessions: Vec<SessionView>,
    /// Of all sessions this side ever had; the rate is that of the living ones.
    pub stats: Stats,
}

/// One session at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionView {
    /// The key to it.
    pub id: SessionId,
    /// When it was answered, in ms since 1970.
    pub created_unix_ms: u64,
    /// 0 while it lives.
    pub left_unix_ms: u64,
    /// `RTCPeerConnectionState`.
    pub state: SessionState,
    /// The far end, for sessions between nodes.
    pub cascade: Option<Cascade>,
    /// Whether a data channel was negotiated.
    pub has_data_channel: bool,
    /// Whether its audio is paused.
    pub muted_audio: bool,
    /// Whether its video is paused.
    pub muted_video: bool,
    /// The simulcast layer a viewer is sent, by its rid.
    pub layer: Option<String>,
    /// What the path to a viewer carries, in bits per second; `None` for publishers and while it is
    /// not known.
    pub available_bps: Option<u64>,
    /// What a publisher brings, track by track; none of viewers, and in its first second.
    pub tracks: Vec<TrackIntake>,
    /// How loud a publisher is, where its packets tell.
    pub loudness: Option<Loudness>,
    /// Its traffic.
    pub stats: Stats,
}

/// Where the other end of a session between nodes is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cascade {
    /// The WHEP URL it is pulled from.
    pub source_url: Option<String>,
    /// The WHIP URL it is pushed to.
    pub target_url: Option<String>,
    /// The far session's URL.
    pub session_url: Option<String>,
}

/// RTP traffic without retransmissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Header, extensions and payload.
    pub bytes: u64,
    /// RTP packets.
    pub packets: u64,
    /// Over the last two seconds of reports.
    pub bitrate_bps: u64,
}
