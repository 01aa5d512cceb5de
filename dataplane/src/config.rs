//! What the data plane is told at start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use whitewater_engine::AudioRed;
use whitewater_net::Choice;
use whitewater_sdp::Codec;

/// Settings of the whole data plane.
#[derive(Clone, Debug)]
pub struct Config {
    /// The media address; an unspecified IP means every interface, port 0 a free port.
    pub udp: SocketAddr,
    /// Each shard has a port of its own, counted from that of `udp`, in place of one for all.
    pub ports_per_core: bool,
    /// Take ICE over TCP too, on the same port number.
    pub tcp: bool,
    /// Where HTTP listens: not to be taken from it.
    pub http: Vec<SocketAddr>,
    /// ICE TCP connections of all peers together.
    pub tcp_connections_max: u32,
    /// ICE TCP connections of one IPv4 address or IPv6 /64.
    pub tcp_source_connections_max: u32,
    /// Public addresses to offer in place of the interfaces' own (1:1 NAT).
    pub advertise: Vec<IpAddr>,
    /// Loops to run, 1..=64.
    pub shard_count: u16,
    /// Which back end, or the best that works.
    pub backend: Choice,
    /// Group equal-length datagrams to one viewer into one send (UDP_SEGMENT).
    pub gso: bool,
    /// Receive merged datagrams (UDP_GRO).
    pub gro: bool,
    /// Wanted receive buffer of each socket.
    pub recv_buffer_bytes: usize,
    /// Wanted send buffer of each socket.
    pub send_buffer_bytes: usize,
    /// Sessions of all shards together.
    pub sessions_max: u32,
    /// A session that never connects is freed after this.
    pub half_open_timeout: Duration,
    /// A peer nothing authenticated was heard from for this long is gone.
    pub dead_peer_timeout: Duration,
    /// A publisher this quiet may be replaced.
    pub silent_after: Duration,
    /// How long video may wait for the rest of its frame; zero: not at all.
    pub hold: Duration,
    /// Whether packets are padded by a byte where that makes runs longer.
    pub pad_runs: bool,
    /// Whether redundancy is made of sound that comes without it.
    pub audio_red: AudioRed,
    /// Codecs to answer with; the order is the offer's.
    pub codecs: Vec<Codec>,
    /// Whether data channels are taken where they are offered.
    pub data_channels: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            udp: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7777),
            ports_per_core: false,
            tcp: true,
            http: Vec::new(),
            tcp_connections_max: 2000,
            tcp_source_connections_max: 256,
            advertise: Vec::new(),
            shard_count: std::thread::available_parallelism()
                .map_or(1, |cores| cores.get().min(SHARDS_MAX as usize) as u16),
            backend: Choice::Auto,
            gso: true,
            gro: true,
            recv_buffer_bytes: 4 << 20,
            send_buffer_bytes: 4 << 20,
            sessions_max: 50_000,
            half_open_timeout: Duration::from_secs(30),
            dead_peer_timeout: Duration::from_secs(35),
            silent_after: Duration::from_secs(3),
            hold: Duration::ZERO,
            pad_runs: false,
            audio_red: AudioRed::Pass,
            codecs: FORWARDED.to_vec(),
            data_channels: true,
        }
    }
}

/// What can be forwarded: every codec WebRTC peers send, without looking into it.
pub(crate) const FORWARDED: &[Codec] = &[
    Codec::Opus,
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::Red,
    Codec::Multiopus,
    Codec::H264,
    Codec::H265,
    Codec::Vp8,
    Codec::Vp9,
    Codec::Av1,
];

/// A stream keeps one bit per shard that wants it.
pub(crate) const SHARDS_MAX: u16 = 64;
