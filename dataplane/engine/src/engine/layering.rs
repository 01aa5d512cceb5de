//! Layers: what a publisher's carry is told on, and each viewer's choice follows it.

use std::time::Instant;

use whitewater_link::{
    Epoch, Event, LAYERS_MAX, LayerInfo, LayerState, MediaKind, Relay, Role, Selection, ShardIndex,
    StreamId,
};

use super::{Core, Engine};
use crate::forward::choice::Offered;
use crate::forward::egress::EgressTrack;
use crate::forward::ingress::IngressTrack;
use crate::forward::layers;
use crate::forward::stream::Source;
use crate::limits;
use crate::session::{Session, Side};

impl Engine {
    /// Has the viewers of streams whose layers changed choose anew.
    pub(super) fn review_layers(&mut self, now: Instant) {
        let mut changed = std::mem::take(&mut self.core.layered);
        changed.sort_unstable();
        changed.dedup();
        for id in changed.drain(..) {
            let Some(stream) = self.core.streams.get_mut(&id) else {
                continue;
            };
            let viewers = std::mem::take(&mut stream.viewers);
            let mut used = 0;
            for &key in &viewers {
                self.with_session(now, key, |session, core| {
                    used |= session.choose_layer(now, core);
                });
            }
            let Some(stream) = self.core.streams.get_mut(&id) else {
                continue;
            };
            // Nobody joins or leaves meanwhile: leaving is at the turn's end.
            stream.viewers = viewers;
            if !stream.rids().is_empty() {
                self.core.ask_for_layers(id, used);
            }
        }
        self.core.layered = changed;
    }
}

impl Session {
    /// A viewer's wish, from now on.
    pub(super) fn select_layer(&mut self, now: Instant, selection: Selection, core: &mut Core) {
        let Side::Viewer(viewer) = &mut self.side else {
            return;
        };
        viewer.choice.selection = selection;
        self.join(now, core);
    }

    /// Chooses, and has the publisher's shard send what is needed for that.
    pub(super) fn follow_choice(&mut self, now: Instant, core: &mut Core) {
        let used = self.choose_layer(now, core);
        let Some(stream) = core.streams.get(&self.stream) else {
            return;
        };
        // Fewer are asked for when all viewers were looked at.
        if !stream.rids().is_empty() && used & !stream.layers_asked != 0 {
            let layers = used | stream.layers_asked;
            core.ask_for_layers(self.stream, layers);
        }
    }

    /// Chooses the layer of a viewer's video; the layers that are of use to it then.
    fn choose_layer(&mut self, now: Instant, core: &mut Core) -> u8 {
        if self.is_outgrown(core) {
            return 0;
        }
        let Side::Viewer(viewer) = &mut self.side else {
            return 0;
        };
        if viewer.has_lanes() {
            return self.choose_lanes(now, core);
        }
        let Some(stream) = core.streams.get(&self.stream) else {
            return 0;
        };
        let video = |track: &&mut EgressTrack| track.kind == MediaKind::Video;
        let Some(track) = viewer.tracks.iter_mut().find(video) else {
            return 0;
        };
        let (rids, states) = (stream.rids(), &stream.layers);
        let offered = Offered {
            rids,
            count: rids.len(),
            states,
        };
        // Whether the path carries the largest layer is worth knowing, with some to spare.
        let active = stream.layers.iter().filter(|layer| layer.is_active);
        let most = active.map(|layer| layer.bitrate_bps).max().unwrap_or(0);
        viewer.goal_bps = limits::PROBE_GOAL_BPS.max(most.saturating_mul(3) / 2);
        viewer.need_bps = most.saturating_mul(100 + 2 * limits::LAYER_MARGIN_PERCENT) / 100;
        let available = viewer.available_bps.or_else(|| viewer.remb.limit(now));
        let choice = &mut viewer.choice;
        let current = (track.target(), track.limit());
        let (target, limit) = if rids.is_empty() {
            (None, choice.limit(now, states, current.1, available))
        } else {
            choice.among(now, offered, current, available)
        };
        let is_news = track.aim_within(limit) | track.aim(target);
        let path_bps = viewer.downlink.as_ref().and_then(|path| path.pace_bps());
        if is_news && track.awaits() != 0 && !track.can_join(now, stream, path_bps) {
            core.wanted.push((self.stream, track.awaits()));
        }
        track.uses()
    }

    /// Looks at what a publisher's layers carry, if it is time to.
    pub(super) fn look_at_layers(&mut self, now: Instant, core: &mut Core) {
        let Side::Publisher(publisher) = &mut self.side else {
            return;
        };
        if publisher.layers_at.is_none_or(|at| at > now) {
            return;
        }
        publisher.layers_at = Some(now + limits::LAYER_TICK);
        self.wish_for_layers(now, core);
        let (Side::Publisher(publisher), Role::Publish { epoch }) = (&mut self.side, self.role)
        else {
            return;
        };
        let told = publisher.layers_told;
        let Some(track) = publisher.video() else {
            return;
        };
        let states = match &mut track.scalable {
            Some(meter) => meter.tick(),
            None => layers::states(now, &mut track.layers),
        };
        let is_news = told.is_none_or(|(before, at)| {
            layers::differ_in_shape(&before, &states)
                || now.saturating_duration_since(at) >= limits::LAYER_RATES_INTERVAL
        });
        if !is_news {
            return;
        }
        publisher.layers_told = Some((states, now));
        core.tell_layers(self, &states);
        let Some(stream) = core.streams.get_mut(&self.stream) else {
            return;
        };
        if stream.epoch != Some(epoch) {
            return;
        }
        stream.layers = states;
        core.layered.push(self.stream);
        for (to, _) in stream.wanting_shards() {
            let message = Relay::Layers {
                stream: self.stream,
                epoch,
                layers: states,
            };
            core.out.relays.push((to, message));
        }
    }
}

impl Core {
    /// Tells control what a publisher's layers carry, if it has several.
    pub(super) fn tell_layers(&mut self, session: &Session, states: &[LayerState; LAYERS_MAX]) {
        let Side::Publisher(publisher) = &session.side else {
            return;
        };
        let layered = |track: &&IngressTrack| track.is_layered() || track.scalable.is_some();
        let Some(track) = publisher.tracks.iter().find(layered) else {
            return;
        };
        if let Some(meter) = &track.scalable {
            self.out.events.push(Event::Layers {
                session: session.id,
                layers: meter.infos(),
            });
            return;
        }
        let rids = &track.description.rids;
        let count = rids.len();
        let offered = Offered {
            rids,
            count,
            states,
        };
        let mut infos = Vec::new();
        let layers = rids.iter().zip(states).zip(&track.layers);
        for (place, ((rid, state), layer)) in (0..).zip(layers) {
            let temporals = (0..).zip(layer.temporal_states(*state));
            infos.extend(temporals.map(|(temporal_id, state)| LayerInfo {
                rid: Some(rid.clone()),
                spatial_id: offered.spatial_id(place),
                temporal_id,
                state,
            }));
        }
        self.out.events.push(Event::Layers {
            session: session.id,
            layers: infos,
        });
    }

    /// What the layers of a stream whose publisher is on another shard carry.
    pub(super) fn layers_are(
        &mut self,
        id: StreamId,
        epoch: Epoch,
        layers: [LayerState; LAYERS_MAX],
    ) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.epoch == Some(epoch)
        {
            stream.layers = layers;
            self.layered.push(id);
        }
    }

    /// Notes which layers are of use here, and tells the publisher's shard if that is another one.
    fn ask_for_layers(&mut self, id: StreamId, layers: u8) {
        let shard = self.config.shard;
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let (Some(source), Some(epoch)) = (stream.source, stream.epoch) else {
            return;
        };
        let before = std::mem::replace(&mut stream.layers_asked, layers);
        if let (Source::There(to), true) = (source, before != layers) {
            stream.forget_layers(before ^ layers);
            let message = Relay::LayersWanted {
                stream: id,
                epoch,
                shard,
                layers,
            };
            self.out.relays.push((to, message));
        }
    }

    /// Another shard told which layers are of use there.
    pub(super) fn layers_wanted(
        &mut self,
        now: Instant,
        id: StreamId,
        epoch: Epoch,
        shard: ShardIndex,
        layers: u8,
    ) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.epoch == Some(epoch)
        {
            let before = stream.want_layers(shard, layers);
            self.relay_kept(now, id, shard, layers & !before);
        }
    }
}
