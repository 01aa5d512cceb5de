//! Every cap and every time of the engine, in one place.

use std::time::Duration;

/// Peer addresses a session may be reachable at, verified by ICE checks. A browser probes a few
/// paths at the start and keeps one; the oldest unused one is forgotten first.
pub const ADDRESSES_PER_SESSION_MAX: usize = 8;

/// Packets of one stream that one loop turn may forward to a viewer; more are dropped and
/// counted. 256 packets of 1,200 bytes are 300 KB, a key frame of a 4K stream.
pub const PACKETS_PER_TURN_MAX: usize = 256;

/// Viewers of one stream on one shard.
pub const VIEWERS_PER_SHARD_MAX: usize = 20_000;

/// Sent packets kept per outgoing video track to answer NACKs, and how long: a viewer asks again
/// for at most a second (libwebrtc gives up after ten tries or a newer key frame).
pub const RTX_VIDEO_PACKETS_MAX: usize = 512;
/// The same for audio: 50 packets are a second of 20 ms frames.
pub const RTX_AUDIO_PACKETS_MAX: usize = 64;
/// The age at which a sent packet is too old to be worth sending again.
pub const RTX_AGE_MAX: Duration = Duration::from_secs(1);
/// Share of a viewer's rate that retransmissions may take. At 20 % of loss a quarter of what is
/// sent is asked for again, more when feedback is lost too: in simulation a cap of 0.2 showed at
/// most 86 % of the frames then, often two thirds, and this one 81 to 100 %.
pub const RTX_RATIO_MAX: f32 = 0.5;

/// At most two key frame requests a second and layer reach the publisher.
pub const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);
/// Video is held back from a new viewer until a key frame starts, but not longer than this: a
/// payload we cannot read (end-to-end encrypted media) never shows one.
pub const KEYFRAME_WAIT_MAX: Duration = Duration::from_secs(3);
/// How often a waiting viewer asks again.
pub const KEYFRAME_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A connected peer that was not heard for this long is shown as `disconnected`. Browsers check
/// consent every 2.5 s, aiortc and libnice more rarely but send reports at least every 5 s.
pub const DISCONNECTED_AFTER: Duration = Duration::from_secs(7);
/// An RTCP packet is opened for the sake of liveness only when nothing else was heard for this
/// long.
pub const LIVENESS_CHECK_AFTER: Duration = Duration::from_secs(1);

/// ICE restarts of one session: this many at once, one more each second.
pub const RESTARTS_BURST_MAX: u32 = 10;

/// While checks of a generation are this young the highest priority pair wins (aggressive
/// nomination); after it the newest nomination does (path change).
pub const NOMINATION_SETTLES_AFTER: Duration = Duration::from_secs(5);

/// Received datagrams handled before anything is sent, timers run and queues are looked at.
pub const DATAGRAMS_PER_TURN_MAX: usize = 1024;

/// Datagrams of one peer that are handed to another shard before the kernel is asked to bring the
/// rest there itself: more than a handshake has (some 20), a tenth of a second of a video, and
/// half a minute of a viewer's receiver reports.
pub const HANDED_ON_BEFORE_PIN: u32 = 32;

/// Reports of one kind of misbehaviour are logged at most this often.
pub const LOG_INTERVAL: Duration = Duration::from_secs(1);

const _: () = assert!(
    KEYFRAME_REQUEST_INTERVAL.as_millis() <= KEYFRAME_RETRY_INTERVAL.as_millis(),
    "a viewer's retry must not be swallowed by the throttle"
);
const _: () = assert!(
    PACKETS_PER_TURN_MAX <= DATAGRAMS_PER_TURN_MAX,
    "a turn cannot forward more of one stream than it received"
);
