//! Viewers that join begin with what is kept of the stream, where that is enough.

use std::time::Instant;

use whitewater_link::{
    Epoch, LAYERS_ALL, Relay, RelayPacket, ShardIndex, StreamId, TrackDescription,
};

use super::Core;
use crate::drops::DropReason;
use crate::forward::egress::{EgressTrack, Packet, Progress, bit};
use crate::forward::ring::Ring;
use crate::forward::stream::Source;
use crate::limits;
use crate::session::{Session, Side};

impl Session {
    /// Has a viewer's video begin anew with what is kept, as soon as everything before is on its way;
    /// false where that is not enough.
    pub(super) fn join(&mut self, now: Instant, core: &mut Core) -> bool {
        let Side::Viewer(viewer) = &mut self.side else {
            return false;
        };
        viewer.tracks.iter_mut().for_each(EgressTrack::join);
        self.follow_choice(now, core);
        let Side::Viewer(viewer) = &mut self.side else {
            return false;
        };
        let Some(stream) = core.streams.get(&self.stream) else {
            return false;
        };
        let path_bps = viewer.downlink.as_ref().and_then(|path| path.pace_bps());
        let mut tracks = viewer.tracks.iter();
        let can_join = tracks.any(|track| track.can_join(now, stream, path_bps));
        viewer.is_joining = true;
        viewer.replay_at = can_join.then_some(now);
        can_join
    }

    /// Sends what is due of what is kept, to a viewer that joins.
    pub(super) fn catch_up(&mut self, now: Instant, core: &mut Core) {
        let send_time = core.send_time(now);
        let Some(route) = self.route() else {
            return;
        };
        let Side::Viewer(viewer) = &mut self.side else {
            return;
        };
        let Some(stream) = core.streams.get(&self.stream) else {
            return;
        };
        let parts = (&mut core.batch, &mut core.header[..], &mut core.drops);
        let Some((tracks, mut way)) = viewer.way(route, parts) else {
            return;
        };
        if let Some(downlink) = &mut way.downlink {
            downlink.turn(now);
        }
        let mut wanted = 0;
        let (mut due, mut is_joining) = (None, false);
        for (index, track) in (0..).zip(tracks) {
            way.track = index;
            if track.catch_up(now, send_time, stream, &mut way) == Progress::Failed {
                wanted |= track.awaits();
            }
            is_joining |= track.is_joining();
            due = due.into_iter().chain(track.replay_due()).min();
        }
        way.end(now);
        (viewer.is_joining, viewer.replay_at) = (is_joining, due);
        if wanted != 0 {
            core.wanted.push((self.stream, wanted));
        }
    }

    /// The same by the clock.
    pub(super) fn catch_up_when_due(&mut self, now: Instant, core: &mut Core) {
        if let Side::Viewer(viewer) = &self.side
            && viewer.replay_at.is_some_and(|at| at <= now)
        {
            self.catch_up(now, core);
        }
    }
}

impl Core {
    /// Tells another shard, which wants these layers from now on, what a viewer there can begin with.
    pub(super) fn relay_kept(&mut self, now: Instant, id: StreamId, to: ShardIndex, layers: u8) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        let (Some(epoch), Some(Source::Here(_))) = (stream.epoch, stream.source) else {
            return;
        };
        for ring in &stream.kept {
            let Some(group) = ring.group(now, limits::REPLAY_AGE_MAX) else {
                continue;
            };
            let first = &group.first.meta;
            if layers & bit(first.layer) == 0 {
                continue;
            }
            for packet in (first.seq..ring.end()).filter_map(|seq| ring.at(seq)) {
                let kept = RelayPacket {
                    stream: id,
                    epoch,
                    meta: packet.meta.clone(),
                    payload: packet.payload.clone(),
                };
                self.out.relays.push((to, Relay::Kept(kept)));
            }
        }
    }

    /// A packet that the publisher's shard kept.
    pub(super) fn take_kept(&mut self, now: Instant, packet: RelayPacket) {
        let Some(stream) = self.streams.get_mut(&packet.stream) else {
            return;
        };
        if stream.epoch != Some(packet.epoch) {
            return self.drops.count(DropReason::StaleEpoch);
        }
        if stream.viewers_admitted > 0 {
            stream.keep(now, Packet::copied(packet));
        }
    }

    /// What was sent of a kind before the publisher was muted is shown to nobody who joins later.
    pub(super) fn forget_pictures(&mut self, id: StreamId, epoch: Epoch) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.epoch != Some(epoch) {
            return;
        }
        stream.kept.iter_mut().for_each(Ring::forget_group);
        if let Some(Source::Here(_)) = stream.source {
            for (to, _) in stream.wanting_shards() {
                let message = Relay::Muted { stream: id, epoch };
                self.out.relays.push((to, message));
            }
        }
    }

    /// What the publisher on another shard sends.
    pub(super) fn described(
        &mut self,
        id: StreamId,
        epoch: Epoch,
        tracks: std::sync::Arc<[TrackDescription]>,
        from: ShardIndex,
    ) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if !stream.publish(epoch, Source::There(from)) {
            return;
        }
        stream.tracks = tracks;
        // Where there are layers, each viewer asks for the one it chooses; and who is not connected
        // yet may find a key frame here.
        if stream.rids().is_empty() && !stream.viewers.is_empty() {
            self.wanted.push((id, LAYERS_ALL));
        }
        self.layered.push(id);
        self.end_channels(id);
    }
}
