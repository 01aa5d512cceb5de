//! Every bound of one peer's data channels.

use std::time::Duration;

/// Channels that are open at once, whoever opened them.
pub const CHANNELS_MAX: usize = 16;
/// SCTP streams that a peer sends on and that are no channel: what was refused and not reset by the
/// peer, and messages that have begun. Beyond it the association is over.
pub const UNCLAIMED_MAX: usize = 32;
/// Bytes of a channel's label, and of its protocol.
pub const NAME_SIZE_MAX: usize = 1024;
/// Bytes of one message, to us and from us. What browsers announce; Live sources send less.
pub const MESSAGE_SIZE_MAX: usize = 256 * 1024;
/// Bytes that are received and not read yet: the window that is announced to the peer. Two messages
/// of the largest size, so that one can be read while the next comes.
pub const RECEIVED_SIZE_MAX: u32 = 512 * 1024;
/// Bytes that wait to be handed to SCTP. Messages are shared by all peers they wait for.
pub const WAITING_SIZE_MAX: usize = 1024 * 1024;
/// Messages that wait, however small.
pub const WAITING_COUNT_MAX: usize = 1024;
/// What a message counts beside its bytes.
pub const MESSAGE_COST: usize = 64;
/// Bytes that SCTP holds before it is handed more: sent and not acknowledged, or not sent yet. At
/// 100 ms of round trip 10 Mbit/s.
pub const HELD_SIZE_MAX: usize = 128 * 1024;
/// Messages that SCTP holds, however small.
pub const HELD_COUNT_MAX: usize = 512;
/// Bytes of an SCTP packet: with 37 of DTLS and 48 of UDP and IPv6 it passes everywhere (RFC 8200
/// §5: 1,280).
pub const PACKET_SIZE_MAX: usize = 1195;
/// Bytes of user data of an SCTP packet with one message, or a part of one. The library packs small
/// messages up to 28 bytes more than that, but counts neither their padding nor the header of the
/// last: of one byte each they come to 20 for every 17 it counts.
pub const PAYLOAD_SIZE_MAX: u32 = 960;
/// Our channels get the SCTP streams from here down: applications that agree on streams take small
/// numbers, and Firefox has 256 to begin with.
pub const STREAM_ID_FIRST: u16 = 254;
/// The first repetition of what was not answered. RFC 9260 §16 proposes a second; ICE has shown by
/// then that the path carries.
pub const RTO_INITIAL: Duration = Duration::from_millis(500);
/// The shortest time to a repetition: more than delayed acknowledgements take (RFC 9260 §6.2).
pub const RTO_MIN: Duration = Duration::from_millis(300);
/// The longest one: after an outage a peer is back within it. A peer that stays away is given up by
/// ICE.
pub const RTO_MAX: Duration = Duration::from_secs(3);

const _: () = assert!(
    MESSAGE_SIZE_MAX + MESSAGE_COST <= WAITING_SIZE_MAX,
    "the largest message fits an empty queue"
);
const _: () = assert!(
    RECEIVED_SIZE_MAX as usize >= 2 * MESSAGE_SIZE_MAX,
    "a message that is being put together never fills the window alone"
);
const _: () = assert!(
    (PAYLOAD_SIZE_MAX as usize + 28) / 17 * 20 + 12 + 20 <= PACKET_SIZE_MAX,
    "a packet of small messages passes everywhere"
);
