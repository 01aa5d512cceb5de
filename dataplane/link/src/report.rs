//! What a shard counted. Cumulative, sent once a second; the newest wins and loss is harmless.

use std::time::Duration;

use crate::{Intake, MediaKind, SessionId, ShardIndex};

/// All counters of one shard.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose.
    pub shard: ShardIndex,
    /// One entry a live session.
    pub sessions: Vec<SessionReport>,
    /// The loop itself.
    pub run: LoopReport,
    /// Dropped packets by reason: metric label and count since start.
    pub drops: Vec<(&'static str, u64)>,
}

/// One session's counters since it began.
#[derive(Clone, Debug)]
pub struct SessionReport {
    /// Whose.
    pub session: SessionId,
    /// RTP from the peer (publisher) or to the peer (viewer), header, extensions and payload,
    /// without retransmissions and SRTP tags.
    pub traffic: Traffic,
    /// Per track, in m-line order.
    pub tracks: Vec<TrackReport>,
    /// What the path to a viewer carries, in bits per second; `None` for publishers and while it is
    /// not known.
    pub available_bps: Option<u64>,
    /// Of a publisher: what it brings.
    pub intake: Option<Box<Intake>>,
    /// Time since anything authenticated was heard.
    pub silent_for: Duration,
}

/// One track's counters.
#[derive(Clone, Debug)]
pub struct TrackReport {
    /// Audio or video.
    pub kind: MediaKind,
    /// As in [`SessionReport::traffic`].
    pub traffic: Traffic,
    /// Key frame requests passed to the publisher, or received from the viewer.
    pub keyframe_requests: u64,
    /// Key frames seen.
    pub keyframes: u64,
    /// Retransmissions to a viewer (RFC 4588), not part of `traffic`.
    pub repeated: Traffic,
    /// The layer a viewer is sent, by its place in the publisher's offer; `None` without simulcast
    /// and for publishers.
    pub layer: Option<u8>,
    /// Padding to a viewer, by which it is learnt what its path carries; not part of `traffic`.
    pub padding: Traffic,
    /// What a viewer reports of what it receives.
    pub reception: Reception,
}

/// The latest receiver report on a track (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// Packets lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; negative with duplicates.
    pub packets_lost: i64,
    /// Interarrival jitter.
    pub jitter: Duration,
    /// The round trip, smoothed; `None` until a report allowed to measure it.
    pub round_trip: Option<Duration>,
    /// What the viewer thinks it can receive on all tracks together (REMB), if it says so.
    pub bitrate_bps_max: Option<u64>,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// RTP packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Traffic {
    /// Counts one packet of `size` bytes.
    pub fn count(&mut self, size: usize) {
        self.packets += 1;
        self.bytes += size as u64;
    }
}

/// A shard's loop.
#[derive(Clone, Debug, Default)]
pub struct LoopReport {
    /// The back end's name.
    pub backend: &'static str,
    /// Whether sends are grouped by UDP_SEGMENT now.
    pub gso: bool,
    /// Loop turns.
    pub turns: u64,
    /// Datagrams received and their bytes.
    pub received: Traffic,
    /// Datagrams sent and their bytes.
    pub sent: Traffic,
    /// Send calls (trains); `sent.packets / trains` is the mean run length.
    pub trains: u64,
    /// Datagrams the kernel refused.
    pub send_dropped: u64,
    /// Datagrams for another shard that were handed over.
    pub steered: u64,
    /// Messages that peers sent on data channels.
    pub data_received: Traffic,
    /// Messages taken for peers on data channels, once for each of them.
    pub data_sent: Traffic,
    /// Relay messages lost because a shard's queue was full.
    pub relay_dropped: u64,
    /// ICE TCP connections with this shard now.
    pub tcp_connections: u64,
    /// Datagrams over TCP that were lost because the peer reads too slowly or a queue was full.
    pub tcp_dropped: u64,
    /// Sessions alive.
    pub sessions: u64,
    /// Panics caught, each of which cost one session.
    pub panics: u64,
}
