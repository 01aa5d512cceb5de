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

/// Bytes of sealed datagrams after which a batch is sent before more is sealed: small enough to
/// stay in a core's second-level cache between sealing and sending.
pub const BATCH_SIZE: usize = 512 * 1024;
/// Bytes of a batch beyond which a turn's retransmissions are refused.
pub const BATCH_SIZE_MAX: usize = 8 * BATCH_SIZE;
/// Datagrams of one segmented send (UDP_MAX_SEGMENTS of Linux before 6.9).
pub const RUN_DATAGRAMS_MAX: usize = 64;
/// Bytes of one segmented send: an IP packet of 65,535 bytes less headers, with room to spare.
pub const RUN_SIZE_MAX: usize = 65_000;
/// Room to put the head of a packet to a viewer together: 12 bytes, four of the extension block,
/// and eleven extensions of which four may have up to 255 bytes; and after it a whole payload, for
/// retransmissions.
pub const HEADER_SIZE_MAX: usize = 1280 + 65_535;

/// Packets kept of each video track of a stream, once for all viewers of a shard, to answer
/// NACKs: half a second of 20 Mbit/s, and all of the age below of 10 Mbit/s.
pub const RTX_VIDEO_PACKETS_MAX: usize = 1024;
/// The same for audio: 50 packets are a second of 20 ms frames.
pub const RTX_AUDIO_PACKETS_MAX: usize = 64;
/// The age at which a sent packet is too old to be worth sending again: a viewer asks again for
/// at most a second (libwebrtc gives up after ten tries or a newer key frame).
pub const RTX_AGE_MAX: Duration = Duration::from_secs(1);
/// Share of what a viewer is sent that may be sent again, in 1/256: a fifth, and one and a half
/// times the loss it reports up to two fifths. At 20 % of loss a quarter of what is sent is asked
/// for again, more when feedback is lost too.
pub const RTX_SHARE_256_MIN: u32 = 51;
/// The upper end of it.
pub const RTX_SHARE_256_MAX: u32 = 102;
/// What may be saved up of that share for a burst of loss.
pub const RTX_BURST_BYTES_MAX: u32 = 256 * 1024;
/// What a header takes, when the size of a retransmission is weighed.
pub const RTX_HEADER_SIZE_TYPICAL: usize = 40;
/// Packets looked for because of one RTCP datagram; a generic NACK can name 6,000.
pub const RTX_PER_DATAGRAM_MAX: usize = 256;
/// One loss asked for again within a round trip is not answered twice; while no report has told
/// the round trip it is taken for this.
pub const RTX_INTERVAL_DEFAULT: Duration = Duration::from_millis(20);
/// A round trip measured longer counts as this: a viewer asks again for good reason then.
pub const RTX_INTERVAL_MAX: Duration = Duration::from_millis(100);

/// Redundancy that is made of a viewer's sound takes at most one part in so many of what its path
/// carries, once that was seen to be full.
pub const RED_SHARE: u64 = 8;
/// A packet of sound with the one before it; more does not bring it along. With headers it fits any
/// path.
pub const RED_SIZE_MAX: usize = 1_000;

/// A viewer that joins begins with what is kept since the latest key frame if that is no older than
/// this; else the publisher is asked for one. Viewers one after the other cost a key frame every two
/// seconds at most, and a decoder has sixty pictures to catch up with.
pub const REPLAY_AGE_MAX: Duration = Duration::from_secs(2);
/// The same for a viewer that chooses another layer by hand: it is shown what it has seen already in
/// another size, so only what is newer than the time for which the publisher cannot be asked again.
pub const REPLAY_SWITCH_AGE_MAX: Duration = Duration::from_millis(600);
/// And if it is no more than this: two seconds of 2 Mbit/s.
pub const REPLAY_BYTES_MAX: usize = 512 * 1024;
/// The same in packets.
pub const REPLAY_PACKETS_MAX: usize = 512;
/// Packets since the latest key frame are kept this long, so that who has begun finds the rest.
pub const REPLAY_KEPT_FOR: Duration = Duration::from_millis(2_500);
/// A packet that is missing is waited for this long: the publisher's retransmission takes a round trip.
pub const REPLAY_HOLE_AGE_MAX: Duration = Duration::from_millis(100);
/// What is kept is sent this many times as fast as it came: two seconds in four tenths.
pub const REPLAY_SPEED: u64 = 6;
/// At least this fast, so that a key frame does not take long,
pub const REPLAY_BPS_MIN: u64 = 2_000_000;
/// and not faster than this.
pub const REPLAY_BPS_MAX: u64 = 40_000_000;
/// Who has not caught up by then waits for the next key frame.
pub const REPLAY_TIME_MAX: Duration = Duration::from_millis(1_500);

/// What a viewer's path is taken to carry, whatever it says: audio and a little more, and what no
/// stream needs.
pub const ESTIMATE_BPS_MIN: u64 = 50_000;
/// The upper end of it.
pub const ESTIMATE_BPS_MAX: u64 = 100_000_000;
/// What a viewer's path is probed for where no layer asks for more: whether it carries this is
/// known within a second of its first picture, for some 8 KB.
pub const PROBE_GOAL_BPS: u64 = 2_000_000;
/// Arrivals read from one RTCP datagram: at 250 ms between reports 8,000 packets a second.
pub const ARRIVALS_PER_DATAGRAM_MAX: usize = 2 * whitewater_bwe::HISTORY_LEN;
/// A viewer of whose video something had to be dropped for want of room asks for a key frame at once,
/// but no more often than this: what does not fit is not made to fit by key frames, for which all
/// viewers pay.
pub const PATH_KEYFRAME_INTERVAL: Duration = Duration::from_secs(4);
/// Packets that wait for a viewer's path: the largest key frame that arrives whole.
pub const HELD_PACKETS_MAX: usize = 512;
/// What waits is dropped up to the next key frame when it would take longer than this to leave.
pub const HELD_TIME_MAX: Duration = Duration::from_millis(1_500);
/// Retransmissions that wait for a viewer's path.
pub const HELD_REPEATS_MAX: usize = 128;

/// Packets of one compound RTCP datagram that are read.
pub const RTCP_PACKETS_MAX: usize = 64;
/// The second sender report follows the first by this, so that a viewer can relate the clocks of
/// audio and video early.
pub const REPORT_INTERVAL_FIRST: Duration = Duration::from_secs(1);
/// Later ones follow by this and up to as much again, at random (RFC 3550 §6.2).
pub const REPORT_INTERVAL: Duration = Duration::from_millis(1500);

/// At most two key frame requests a second and layer reach the publisher.
pub const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);
/// How long a publisher takes for a key frame, until its own are known: a picture, a round trip and what
/// its encoder needs.
pub const KEYFRAME_ANSWER_TYPICAL: Duration = Duration::from_millis(100);
/// A request is repeated once when its answer takes twice as long as usual, but not before this.
pub const KEYFRAME_REPEAT_AFTER_MIN: Duration = Duration::from_millis(200);
/// Video is held back from a new viewer until a key frame starts, but not longer than this: a
/// payload we cannot read (end-to-end encrypted media) never shows one.
pub const KEYFRAME_WAIT_MAX: Duration = Duration::from_secs(3);
/// How often a waiting viewer asks again.
pub const KEYFRAME_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How often a publisher is looked at as a whole, for reports and for what is wrong with it.
pub const STOCK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the layers of a publisher's video are looked at.
pub const LAYER_TICK: Duration = Duration::from_millis(125);
/// A layer that brought nothing for this long while others did does not flow.
pub const LAYER_SILENT_AFTER: Duration = Duration::from_millis(500);
/// How often the bit rates of layers are told on, to control and to the viewers' choice.
pub const LAYER_RATES_INTERVAL: Duration = Duration::from_secs(1);
/// A viewer moves to a larger layer once that has fitted for this long, with
/// [`LAYER_MARGIN_PERCENT`] to spare; to a smaller one at once.
pub const LAYER_UP_AFTER: Duration = Duration::from_secs(1);
/// The same, when the last move had to be taken back soon, and there is not twice the room: what
/// changes more than once a minute is worse to watch than what stays small.
pub const LAYER_UP_AGAIN_AFTER: Duration = Duration::from_secs(45);
/// Soon in this sense.
pub const LAYER_UP_SOON: Duration = Duration::from_secs(15);
/// A layer of another node's that nobody has used for this long is not sent here any more.
pub const LAYER_UNUSED_FOR: Duration = Duration::from_secs(2);
/// How often another node is told which of its layers are of use, should a message be lost.
pub const LAYER_WISH_INTERVAL: Duration = Duration::from_secs(1);
/// A layer that was asked for again comes within this time, or counts as one that does not flow.
pub const LAYER_BACK_WITHIN: Duration = Duration::from_secs(2);
/// A node that takes a layer again may begin with what is kept of it this often.
pub const LANE_REPLAY_INTERVAL: Duration = Duration::from_secs(1);
/// See [`LAYER_UP_AFTER`].
pub const LAYER_MARGIN_PERCENT: u64 = 15;
/// How long a fall of what a viewer says it can receive (REMB) is believed. The receiver estimates
/// by what it is sent: on a small layer it never says that a larger one would fit.
pub const REMB_BELIEVED_FOR: Duration = Duration::from_secs(10);
/// The same, after it fell again and again as soon as it was no longer believed.
pub const REMB_BELIEVED_FOR_MAX: Duration = Duration::from_secs(120);

/// A connected peer that was not heard for this long is shown as `disconnected`. Browsers check
/// consent every 2.5 s, aiortc and libnice more rarely but send reports at least every 5 s.
pub const DISCONNECTED_AFTER: Duration = Duration::from_secs(7);
/// An RTCP packet is opened for the sake of liveness only when nothing else was heard for this
/// long.
pub const LIVENESS_CHECK_AFTER: Duration = Duration::from_secs(1);

/// A flight of the DTLS handshake that was not answered is sent again after this, then after twice
/// as long, and so on. RFC 6347 §4.2.4.1 proposes a second and leaves it to whoever has reason for
/// less: here the join waits, and a needless repetition costs two kilobytes.
pub const HANDSHAKE_RTO: Duration = Duration::from_millis(100);
/// As often as it takes to reach `limits.half_open_timeout_s`, and for repetitions of the peer
/// that are answered out of the same budget.
pub const HANDSHAKE_RETRIES_MAX: usize = 14;

/// ICE restarts of one session: this many at once, one more each second.
pub const RESTARTS_BURST_MAX: u32 = 10;

/// While checks of a generation are this young the highest priority pair wins (aggressive
/// nomination); after it the newest nomination does (path change).
pub const NOMINATION_SETTLES_AFTER: Duration = Duration::from_secs(5);

/// Addresses of another server that one session of ours checks: those of its answer, and those its
/// own checks come from.
pub const DIALLED_CANDIDATES_MAX: usize = 16;
/// Between the first checks of two candidates (RFC 8445 §14.2 proposes 50 ms and allows less).
pub const CHECK_PACE: Duration = Duration::from_millis(20);
/// A check that was not answered is repeated after this, then after twice as long, and so on.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The longest time between two checks of one candidate.
pub const CHECK_INTERVAL_MAX: Duration = Duration::from_millis(1600);
/// Checks of a candidate without an answer, some eight seconds of them.
pub const CHECKS_PER_CANDIDATE_MAX: u32 = 9;
/// Another server of which no candidate has answered by then is not there.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often another server is asked whether it still wants what it is sent (RFC 7675 §5.1).
pub const CONSENT_INTERVAL: Duration = Duration::from_secs(5);
/// Without an answer to that for this long nothing is sent there any more (RFC 7675 §5.1).
pub const CONSENT_EXPIRES_AFTER: Duration = Duration::from_secs(30);

/// Records of application data taken from one poll of a publisher's connection: a datagram has
/// fewer, and DTLS keeps 30.
pub const RECORDS_PER_POLL_MAX: usize = 64;
/// SCTP packets handed to DTLS before it is asked for what is to be sent; it keeps ten.
pub const RECORDS_PER_ROUND_MAX: usize = 8;
/// How long a viewer is waited for to open channels of its own, before the publisher's are opened
/// to it: browsers open theirs a round trip after the association is there, and an application
/// that has one of the same label does not want another.
pub const OWN_CHANNELS_WAIT: Duration = Duration::from_millis(300);
/// The same, once it has opened one: the others come along with it.
pub const OWN_CHANNELS_WAIT_MORE: Duration = Duration::from_millis(30);
/// What is said on a stream's data channels in one turn of a shard; more is dropped and counted.
pub const DATA_PER_TURN_MAX: usize = 4096;

/// Received datagrams handled before anything is sent, timers run and queues are looked at.
pub const DATAGRAMS_PER_TURN_MAX: usize = 1024;

/// Datagrams of one peer that are handed to another shard before the kernel is asked to bring the
/// rest there itself: more than a handshake has (some 20), a tenth of a second of a video, and
/// half a minute of a viewer's receiver reports.
pub const HANDED_ON_BEFORE_PIN: u32 = 32;

/// Offers of ours that wait for their answer, some 20 KiB each; control's cap on sessions that have
/// not connected is the one that is met.
pub const OPEN_OFFERS_MAX: usize = 10_000;
/// Streams whose publisher's offer is remembered for counter-offers.
pub const PUBLICATIONS_MAX: usize = 100_000;

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
const _: () = assert!(
    REPLAY_PACKETS_MAX * 2 <= RTX_VIDEO_PACKETS_MAX,
    "what is sent from the ring stays in it meanwhile"
);
const _: () = assert!(
    REPLAY_SWITCH_AGE_MAX.as_millis() >= KEYFRAME_REQUEST_INTERVAL.as_millis(),
    "a layer is either there or can be asked for"
);
const _: () = assert!(
    REPLAY_KEPT_FOR.as_millis() > REPLAY_AGE_MAX.as_millis(),
    "what was begun can be ended"
);
