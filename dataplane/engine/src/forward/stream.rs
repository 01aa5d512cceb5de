//! A stream as one shard sees it: who publishes, who watches here, which shards want it.

use std::sync::Arc;
use std::time::Instant;

use whitewater_link::{
    Epoch, LAYERS_ALL, LAYERS_MAX, LayerState, MediaKind, ShardIndex, TrackDescription,
};

use super::channels::StreamChannels;
use super::egress::{Packet, bit};
use super::keyframe::KeyframeThrottle;
use super::ring::Ring;
use super::sound::Sound;

/// One stream on one shard; by default one nobody has said anything about.
#[derive(Debug, Default)]
pub struct Stream {
    /// The newest publisher's number; packets of older ones are dropped.
    pub epoch: Option<Epoch>,
    /// Where the publisher is.
    pub source: Option<Source>,
    /// What it sends.
    pub tracks: Arc<[TrackDescription]>,
    /// What the layers of its video carry, where it has several.
    pub layers: [LayerState; LAYERS_MAX],
    /// Connected viewers on this shard, by session key.
    pub viewers: Vec<u32>,
    /// Sessions of either role on this shard that hold the stream's entry.
    pub holders: u32,
    /// Viewers on this shard, connected or not: while there are any, other shards send packets.
    pub viewers_admitted: u32,
    /// Shards with viewers, one bit each.
    pub wanted_by: u64,
    /// Which layers each of them wants, one bit each; all where none are named.
    pub layers_wanted: Vec<(ShardIndex, u8)>,
    /// Which layers are wanted here; a publisher's shard that is another one was told.
    pub layers_asked: u8,
    /// What this turn forwards.
    pub pending: Vec<Packet>,
    /// What was forwarded lately, by track and layer.
    pub kept: Vec<Ring>,
    /// What redundancy is made of.
    pub sound: Sound,
    /// For requests to a publisher on another shard, by layer.
    pub throttles: [KeyframeThrottle; LAYERS_MAX],
    /// When viewers that wait for a key frame ask again.
    pub retry_at: Option<Instant>,
    /// Its data channels, once there are any.
    pub channels: Option<Box<StreamChannels>>,
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
            self.sound.clear();
            self.layers = Default::default();
            self.layers_wanted.clear();
            self.layers_asked = LAYERS_ALL;
            if let Some(channels) = &mut self.channels {
                channels.open.clear();
            }
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
    pub fn keep(&mut self, now: Instant, mut packet: Packet) {
        (packet.padded, packet.older) = (None, None);
        let place = place(packet.meta.track, packet.meta.layer);
        if place >= self.kept.len() {
            self.kept.resize_with(place + 1, Ring::default);
        }
        if let Some(ring) = self.kept.get_mut(place) {
            ring.push(now, packet);
        }
    }

    /// The packets kept of a track and layer.
    pub fn ring(&self, track: u8, layer: u8) -> Option<&Ring> {
        self.kept.get(place(track, layer))
    }

    /// Forgets what is kept of layers of the video, one bit each: more of them came or will come than
    /// is known here.
    pub fn forget_layers(&mut self, layers: u8) {
        let is_video = |index: usize| {
            let track = self.tracks.get(index / LAYERS_MAX);
            track.is_some_and(|track| track.kind == MediaKind::Video)
        };
        for (index, ring) in self.kept.iter_mut().enumerate() {
            if is_video(index) && layers & bit((index % LAYERS_MAX) as u8) != 0 {
                ring.clear();
            }
        }
    }

    /// Names of the layers of its video; none where there is one.
    pub fn rids(&self) -> &[String] {
        let video = |track: &&TrackDescription| track.kind == MediaKind::Video;
        let track = self.tracks.iter().find(video);
        track.map_or(&[], |track| &track.rids)
    }

    /// The layers that a shard wants, one bit each.
    fn layers_wanted_by(&self, shard: ShardIndex) -> u8 {
        let said = self.layers_wanted.iter().find(|(known, _)| *known == shard);
        said.map_or(LAYERS_ALL, |&(_, layers)| layers)
    }

    /// The layers of the video that are of use to anybody on this node, one bit each.
    pub fn layers_in_use(&self) -> u8 {
        let here = match self.viewers_admitted {
            0 => 0,
            _ => self.layers_asked,
        };
        self.wanting_shards()
            .fold(here, |all, (_, layers)| all | layers)
    }

    /// A shard said which layers it wants; those it wanted before.
    pub fn want_layers(&mut self, shard: ShardIndex, layers: u8) -> u8 {
        let before = self.layers_wanted_by(shard);
        self.layers_wanted.retain(|(known, _)| *known != shard);
        self.layers_wanted.push((shard, layers));
        before
    }

    /// The shards that want packets, and of which layers, one bit each.
    pub fn wanting_shards(&self) -> impl Iterator<Item = (ShardIndex, u8)> + '_ {
        let mask = self.wanted_by;
        (0..u64::BITS as u16)
            .filter(move |bit| mask & (1 << bit) != 0)
            .map(|index| (ShardIndex(index), self.layers_wanted_by(ShardIndex(index))))
    }
}

/// Where the packets of a track and layer are kept.
fn place(track: u8, layer: u8) -> usize {
    usize::from(track) * LAYERS_MAX + usize::from(layer).min(LAYERS_MAX - 1)
}
