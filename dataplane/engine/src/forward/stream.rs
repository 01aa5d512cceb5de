//! A stream as one shard sees it: who publishes, who watches here, which shards want it.

use std::sync::Arc;
use std::time::Instant;

use whitewater_link::{Epoch, ShardIndex, TrackDescription};

use super::egress::Packet;
use super::keyframe::KeyframeThrottle;
use super::ring::Ring;

/// One stream on one shard; by default one nobody has said anything about.
#[derive(Debug, Default)]
pub struct Stream {
    /// The newest publisher's number; packets of older ones are dropped.
    pub epoch: Option<Epoch>,
    /// Where the publisher is.
    pub source: Option<Source>,
    /// What it sends.
    pub tracks: Arc<[TrackDescription]>,
    /// Connected viewers on this shard, by session key.
    pub viewers: Vec<u32>,
    /// Sessions of either role on this shard that hold the stream's entry.
    pub holders: u32,
    /// Viewers on this shard, connected or not: while there are any, other shards send packets.
    pub viewers_admitted: u32,
    /// Shards with viewers, one bit each.
    pub wanted_by: u64,
    /// What this turn forwards.
    pub pending: Vec<Packet>,
    /// What was forwarded lately, by track.
    pub kept: Vec<Ring>,
    /// For requests to a publisher on another shard.
    pub throttle: KeyframeThrottle,
    /// When viewers that wait for a key frame ask again.
    pub retry_at: Option<Instant>,
}

/// Where a publisher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A session of this shard, by key.
    Here(u32),
    /// Another shard.
    There(ShardIndex),
}

impl Stream {
    /// Whether the entry can go.
    pub fn is_unused(&self) -> bool {
        self.holders == 0 && self.wanted_by == 0
    }

    /// Takes a publisher's word if it is not older than what is known. True if it was taken.
    pub fn publish(&mut self, epoch: Epoch, source: Source) -> bool {
        if self.epoch.is_some_and(|known| known > epoch) {
            return false;
        }
        if self.epoch != Some(epoch) {
            self.kept.clear();
        }
        self.epoch = Some(epoch);
        self.source = Some(source);
        true
    }

    /// The publisher left; its epoch stays known, so that stragglers are told apart.
    pub fn unpublish(&mut self, epoch: Epoch) {
        if self.epoch == Some(epoch) {
            self.source = None;
        }
    }

    /// Keeps a forwarded packet to answer NACKs with.
    pub fn keep(&mut self, now: Instant, packet: Packet) {
        let track = usize::from(packet.meta.track);
        if track >= self.kept.len() {
            self.kept.resize_with(track + 1, Ring::default);
        }
        if let Some(ring) = self.kept.get_mut(track) {
            ring.push(now, packet);
        }
    }

    /// The shards that want packets.
    pub fn wanting_shards(&self) -> impl Iterator<Item = ShardIndex> + use<> {
        let mask = self.wanted_by;
        (0..u64::BITS as u16)
            .filter(move |bit| mask & (1 << bit) != 0)
            .map(ShardIndex)
    }
}
