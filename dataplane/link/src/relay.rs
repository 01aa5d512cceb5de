//! What shards tell each other: a stream's packets once per core, and what its viewers want.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::{DataRelay, Epoch, LAYERS_MAX, LayerState, MediaKind, ShardIndex, StreamId};

/// Between two shards. When the queue is full the oldest is dropped and counted.
#[derive(Debug)]
pub enum Relay {
    /// This shard has viewers of the stream (or has none any more).
    Interest {
        /// The stream.
        stream: StreamId,
        /// Who wants it.
        shard: ShardIndex,
        /// Whether any viewer is left.
        wanted: bool,
    },
    /// What the stream's publisher sends; repeated whenever it changes and to a new subscriber.
    Described {
        /// The stream.
        stream: StreamId,
        /// Of this publisher.
        epoch: Epoch,
        /// The publisher's shard.
        from: ShardIndex,
        /// Its tracks, by index in the packets.
        tracks: Arc<[TrackDescription]>,
    },
    /// The publisher left.
    Ended {
        /// The stream.
        stream: StreamId,
        /// Of this publisher.
        epoch: Epoch,
    },
    /// One packet.
    Packet(RelayPacket),
    /// A packet of before: what a viewer can begin with, in order, from a key frame on.
    Kept(RelayPacket),
    /// The publisher's video was muted: what was sent before is shown to nobody who joins later.
    Muted {
        /// The stream.
        stream: StreamId,
        /// Of this publisher.
        epoch: Epoch,
    },
    /// A viewer needs a key frame.
    KeyframeWanted {
        /// The stream.
        stream: StreamId,
        /// Of these layers, one bit each.
        layers: u8,
    },
    /// What the layers of a stream's video carry, where it has several.
    Layers {
        /// The stream.
        stream: StreamId,
        /// Of this publisher.
        epoch: Epoch,
        /// By place in the description's rids.
        layers: [LayerState; LAYERS_MAX],
    },
    /// The layers that viewers of this shard are sent or change to; the others need not be told
    /// packet by packet. All of them until this is said.
    LayersWanted {
        /// The stream.
        stream: StreamId,
        /// Of this publisher.
        epoch: Epoch,
        /// Who wants them.
        shard: ShardIndex,
        /// One bit each.
        layers: u8,
    },
    /// This peer address belongs to a session of `shard` (told after its ICE check succeeded).
    Route {
        /// The peer.
        peer: SocketAddr,
        /// Its shard.
        shard: ShardIndex,
        /// False when the session is gone.
        present: bool,
    },
    /// Of a stream's data channels.
    Data {
        /// The stream.
        stream: StreamId,
        /// What is told.
        what: DataRelay,
    },
    /// A datagram that reached the wrong shard's socket.
    Datagram {
        /// From whom.
        source: SocketAddr,
        /// Our address it was sent to.
        local: SocketAddr,
        /// The datagram.
        bytes: Box<[u8]>,
    },
}

/// One decrypted RTP packet on its way to another core.
#[derive(Debug)]
pub struct RelayPacket {
    /// The stream.
    pub stream: StreamId,
    /// Of this publisher.
    pub epoch: Epoch,
    /// Everything but the payload.
    pub meta: PacketMeta,
    /// The payload without padding. The receiving shard copies it once into memory of its own, so
    /// that the reference count is not shared by all its viewers' sends.
    pub payload: Arc<[u8]>,
}

/// An RTP packet's header as the forwarding needs it.
#[derive(Clone, Debug)]
pub struct PacketMeta {
    /// Index of the track in the publisher's description.
    pub track: u8,
    /// Its kind.
    pub kind: MediaKind,
    /// Simulcast layer, by its place in the description's rids; 0 without simulcast.
    pub layer: u8,
    /// The publisher's payload type.
    pub pt: u8,
    /// The marker bit.
    pub marker: bool,
    /// Whether a decoder can start here.
    pub keyframe_start: bool,
    /// The publisher's synchronisation source.
    pub ssrc: u32,
    /// Counts the gaps made on purpose (a muted publisher): packets of another run are numbered
    /// on without a gap, and video starts again with a key frame.
    pub run: u32,
    /// Extended sequence number of this source.
    pub seq: u64,
    /// RTP timestamp, in the codec's clock.
    pub timestamp: u32,
    /// When the packet was captured on our clock, by the publisher's sender reports where known,
    /// else its arrival. The base of the viewers' sender reports.
    pub captured_at: Instant,
    /// When it arrived.
    pub arrived_at: Instant,
    /// The running numbers of pictures in its payload, where the codec has them.
    pub pictures: Option<PictureNumbers>,
    /// Its place in a scalable stream, where its payload tells.
    pub scale: Option<Scale>,
    /// Header extensions that travel through (RFC 8285 values, publisher's encoding).
    pub extensions: PassedExtensions,
}

/// Which layers inside a scalable stream a packet is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Spatial layer, 0..=7.
    pub spatial: u8,
    /// Temporal layer, 0..=7.
    pub temporal: u8,
    /// From this picture on its temporal layer needs nothing of it from before.
    pub switches_up: bool,
    /// Who can decode this picture needs nothing from before of the temporal layers up to this one;
    /// 0 where it promises nothing.
    pub opens: u8,
    /// Last packet of its spatial layer's frame.
    pub ends_frame: bool,
    /// Nothing that follows needs it.
    pub is_discardable: bool,
}

/// The running numbers in a VP8 or VP9 payload descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureNumbers {
    /// Whose descriptor it is.
    pub codec: PictureCodec,
    /// The picture id, 0..=32767; 0 where it is not sent.
    pub picture_id: u16,
    /// The number of base-layer pictures; 0 where it is not sent.
    pub tl0_pic_idx: u8,
}

/// A codec whose payload descriptor counts pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureCodec {
    /// RFC 7741 §4.2.
    Vp8,
    /// RFC 9628 §4.2.
    Vp9,
}

/// Header extensions that are the publisher's word to the viewer.
#[derive(Clone, Debug, Default)]
pub struct PassedExtensions {
    /// RFC 6464: level in -dBov and the voice flag.
    pub audio_level: Option<(i8, bool)>,
    /// 3GPP CVO, the raw byte.
    pub video_orientation: Option<u8>,
    /// Playout delay, the raw three bytes.
    pub playout_delay: Option<[u8; 3]>,
    /// Video content type, the raw byte.
    pub video_content_type: Option<u8>,
    /// Absolute capture time, raw.
    pub absolute_capture_time: Option<Arc<[u8]>>,
    /// AV1 dependency descriptor, raw.
    pub dependency_descriptor: Option<Arc<[u8]>>,
    /// Colour space, raw.
    pub color_space: Option<Arc<[u8]>>,
    /// Video timing, raw.
    pub video_timing: Option<Arc<[u8]>>,
}

/// One track of a publisher.
#[derive(Clone, Debug)]
pub struct TrackDescription {
    /// Audio or video.
    pub kind: MediaKind,
    /// Payload types in the offer's order: number, encoding name, clock rate, channels, fmtp.
    pub codecs: Vec<CodecDescription>,
    /// Names of its simulcast layers, at most [`LAYERS_MAX`], in the offer's order; empty without
    /// simulcast.
    pub rids: Vec<String>,
}

/// One payload type of a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecDescription {
    /// Payload type, 0..=127.
    pub pt: u8,
    /// Encoding name as in `a=rtpmap`.
    pub name: String,
    /// In Hz.
    pub clock_rate: u32,
    /// Audio channels.
    pub channels: Option<u8>,
    /// Format parameters as offered.
    pub fmtp: String,
}
