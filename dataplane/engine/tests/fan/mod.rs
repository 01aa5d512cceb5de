//! One engine with connected viewers, and packets that reach it as from another shard: what
//! forwarding costs without what a publisher costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whitewater_simnet::engine::{Config, Input, Outbox};
use whitewater_simnet::link_types::{
    Epoch, MediaKind, PacketMeta, PassedExtensions, Relay, RelayPacket, ShardIndex, StreamId,
};
use whitewater_simnet::{Content, Link, PeerConfig, Piece, World};

/// The engine and its stream.
pub(crate) struct Fan {
    world: World,
    now: Instant,
    stream: StreamId,
    epoch: Epoch,
    seq: u64,
    frames: u32,
    outbox: Outbox,
}

/// What one turn sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// Datagrams.
    pub(crate) datagrams: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
    /// Runs they were sent in.
    pub(crate) runs: usize,
}

impl Fan {
    /// An engine with this many viewers, all of whom get what comes next.
    pub(crate) fn new(seed: u64, viewers: usize) -> Self {
        Fan::with(seed, &Config::default(), (viewers, &PeerConfig::default()))
    }

    /// An engine that is set up like this, with so many viewers of one kind.
    pub(crate) fn with(
        seed: u64,
        config: &Config,
        (viewers, viewer): (usize, &PeerConfig),
    ) -> Self {
        let mut world = World::with_config(seed, config);
        let publisher = world.publisher("cam");
        for _ in 0..viewers {
            let viewer = world.watch("cam", viewer, Link::good());
            // Nothing is learnt of their paths, so that none is found to be full.
            world.lose_up(viewer, is_rtcp);
        }
        world.run_for(Duration::from_secs(2));
        // Its packets would come between ours.
        world.vanish(publisher);
        world.run_for(Duration::from_millis(500));
        Fan {
            now: world.now,
            stream: world.stream("cam"),
            epoch: world.epoch(publisher).expect("it publishes"),
            world,
            seq: 1 << 20,
            frames: 0,
            outbox: Outbox::default(),
        }
    }

    /// A frame arrives, is forwarded, and time passes.
    pub(crate) fn frame(&mut self, packets: u16, payload_size: usize, time: Duration) -> Sent {
        self.arrive(packets, payload_size);
        let sent = self.forward();
        self.pass(time);
        sent
    }

    /// The packets of one frame arrive; the first frame is a key frame.
    pub(crate) fn arrive(&mut self, packets: u16, payload_size: usize) {
        for index in 0..packets {
            let content = Content {
                publisher: 1,
                frame: self.frames,
                index,
                count: packets,
                key: self.frames == 0,
                layer: 0,
                picture: (self.frames & 0x7fff) as u16,
                reference: self.frames.saturating_sub(1),
                temporal: None,
                captured: Duration::ZERO,
            };
            let relayed = RelayPacket {
                stream: self.stream,
                epoch: self.epoch,
                meta: self.meta(index, packets),
                payload: Arc::from(content.render(Piece::Video, payload_size)),
            };
            let input = Input::Relay(Relay::Packet(relayed));
            let now = self.now;
            self.world.engine(ShardIndex(0)).handle(now, input);
            self.seq += 1;
        }
        self.frames += 1;
    }

    /// A packet of sound arrives.
    pub(crate) fn arrive_sound(&mut self, payload_size: usize) {
        let meta = PacketMeta {
            track: 0,
            kind: MediaKind::Audio,
            pt: 111,
            ssrc: 0x50_5eed,
            timestamp: self.frames.wrapping_mul(960),
            ..self.meta(0, 1)
        };
        let relayed = RelayPacket {
            stream: self.stream,
            epoch: self.epoch,
            meta,
            payload: Arc::from(vec![0x5a; payload_size]),
        };
        let input = Input::Relay(Relay::Packet(relayed));
        let now = self.now;
        self.world.engine(ShardIndex(0)).handle(now, input);
        self.seq += 1;
        self.frames += 1;
    }

    /// Sends what arrived.
    pub(crate) fn forward(&mut self) -> Sent {
        let mut sent = Sent::default();
        let (now, outbox) = (self.now, &mut self.outbox);
        let engine = self.world.engine(ShardIndex(0));
        engine.poll(now, outbox, &mut |batch| {
            sent.datagrams += batch.len();
            sent.runs += batch.runs().len();
            sent.bytes += batch.runs().iter().map(|run| run.size).sum::<usize>();
        });
        sent
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn meta(&self, index: u16, count: u16) -> PacketMeta {
        PacketMeta {
            track: 1,
            kind: MediaKind::Video,
            layer: 0,
            pt: 96,
            marker: index + 1 == count,
            keyframe_start: self.frames == 0 && index == 0,
            ssrc: 0x5eed,
            run: 0,
            seq: self.seq,
            timestamp: self.frames.wrapping_mul(3_000),
            captured_at: self.now,
            arrived_at: self.now,
            pictures: None,
            scale: None,
            extensions: PassedExtensions::default(),
        }
    }
}

/// RFC 5761 §4.
fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [0x80..=0xbf, 192..=223, ..])
}
