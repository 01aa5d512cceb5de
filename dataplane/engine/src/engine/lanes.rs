//! The layers of a simulcast between two nodes: one copy of each that the far node has use for.
//!
//! The node that receives tells which layers it has no use for by a bandwidth estimate of nothing
//! for their sources (REMB), again and again, and that it has by any other; a request for a key
//! frame says so too. The one that sends leaves those out.

use std::time::Instant;

use str0m::bwe::Bitrate;
use whitewater_link::{CloseReason, LAYERS_MAX, Role};
use whitewater_rtp::rtcp::Remb;

use super::Core;
use crate::forward::choice::Offered;
use crate::forward::egress::{EgressTrack, bit};
use crate::limits;
use crate::session::{Publisher, Session, Side, Viewer};

impl Session {
    /// Ends the session with another node whose lanes are not the layers that are published now:
    /// it comes again for those. True if it is so.
    pub(super) fn is_outgrown(&mut self, core: &Core) -> bool {
        let (Side::Viewer(viewer), Some(stream)) = (&self.side, core.streams.get(&self.stream))
        else {
            return false;
        };
        let is_live = stream.epoch.is_some() && stream.source.is_some();
        let differs = |names: &[String]| names != stream.rids();
        let is_outgrown = is_live
            && viewer
                .lanes
                .as_ref()
                .is_some_and(|lanes| differs(&lanes.names));
        if is_outgrown {
            self.closing.get_or_insert(CloseReason::Rerouted);
        }
        is_outgrown
    }

    /// Sends another node the layers it has use for, the smaller ones first where the path does not
    /// carry all; those that are sent, one bit each.
    pub(super) fn choose_lanes(&mut self, now: Instant, core: &mut Core) -> u8 {
        let Side::Viewer(viewer) = &mut self.side else {
            return 0;
        };
        let Some(stream) = core.streams.get(&self.stream) else {
            return 0;
        };
        let states = &stream.layers;
        let offered = Offered {
            rids: stream.rids(),
            count: stream.rids().len(),
            states,
        };
        let path_bps = viewer.downlink.as_ref().and_then(|path| path.pace_bps());
        let available = viewer.available_bps;
        let Viewer { tracks, lanes, .. } = viewer;
        let Some(lanes) = lanes else {
            return 0;
        };
        let any_flows = states.iter().any(|state| state.is_active);
        let (mut sent_bps, mut wanted_bps, mut is_full) = (0_u64, 0_u64, false);
        let (mut used, mut awaited, mut can_join) = (0, 0, false);
        for layer in offered.ascending() {
            let is = |track: &&mut EgressTrack| track.lane().is_some_and(|l| l.layer == layer);
            let Some(track) = tracks.iter_mut().find(is) else {
                continue;
            };
            let state = states.get(usize::from(layer)).copied().unwrap_or_default();
            let Some(lane) = track.lane() else { continue };
            if !lane.is_wanted || (any_flows && !state.is_active) {
                track.open(now, false);
                continue;
            }
            wanted_bps += state.bitrate_bps;
            let with = sent_bps.saturating_add(state.bitrate_bps);
            let margin = if lane.is_sent {
                0
            } else {
                limits::LAYER_MARGIN_PERCENT
            };
            let needed = with.saturating_mul(100 + margin) / 100;
            let is_smallest = used == 0 && !is_full;
            let fits = is_smallest || available.is_none_or(|bps| needed <= bps);
            let is_sent = !is_full && (lane.is_sent && fits || lanes.admits(now, layer, fits));
            is_full |= !is_sent;
            track.open(now, is_sent);
            if is_sent {
                sent_bps = with;
                used |= bit(layer);
            }
            if track.can_join(now, stream, path_bps) {
                can_join = true;
            } else {
                awaited |= track.awaits();
            }
        }
        viewer.goal_bps = limits::PROBE_GOAL_BPS.max(wanted_bps.saturating_mul(3) / 2);
        viewer.need_bps = wanted_bps.saturating_mul(100 + 2 * limits::LAYER_MARGIN_PERCENT) / 100;
        if can_join {
            viewer.is_joining = true;
            viewer.replay_at.get_or_insert(now);
        }
        if awaited != 0 {
            core.wanted.push((self.stream, awaited));
        }
        used
    }

    /// Tells another node which of its layers are of use here, if it is time to.
    pub(super) fn wish_for_layers(&mut self, now: Instant, core: &Core) {
        let Some(stream) = core.streams.get(&self.stream) else {
            return;
        };
        let (Side::Publisher(publisher), Role::Publish { epoch }) = (&mut self.side, self.role)
        else {
            return;
        };
        if stream.epoch != Some(epoch) {
            return;
        }
        let told = publisher.settle_wishes(now, stream.layers_in_use());
        let Some(rtc) = self.connection.media().filter(|_| !told.is_empty()) else {
            return;
        };
        let mut api = rtc.direct_api();
        for (ssrc, is_left_out) in told {
            if let Some(stream) = api.stream_rx(&ssrc.into()) {
                let mbps = if is_left_out { 0 } else { WANTED_MBPS };
                stream.request_remb(Bitrate::mbps(mbps));
            }
        }
        self.connection_due = Some(now);
    }
}

impl Publisher {
    /// The sources to be told about now, and whether each is left out.
    fn settle_wishes(&mut self, now: Instant, in_use: u8) -> Vec<(u32, bool)> {
        let Some(mut wishes) = self.wishes.take() else {
            return Vec::new();
        };
        let told = self.layers_told.map(|(states, _)| states);
        let mut sources = Vec::new();
        if let (Some(states), Some(track)) = (told, self.video())
            && wishes.settle(now, in_use, &mut track.layers, &states)
        {
            let layers = track.layers.iter().take(LAYERS_MAX);
            let known = layers.filter_map(|layer| Some((layer.source()?, layer.is_left_out())));
            sources.extend(known);
        }
        self.wishes = Some(wishes);
        sources
    }
}

impl Viewer {
    /// Whether it is another node that is sent the layers one by one.
    pub(super) fn has_lanes(&self) -> bool {
        self.lanes
            .as_ref()
            .is_some_and(|lanes| !lanes.names.is_empty())
    }

    /// Takes another node's word on which layers it has use for; true if that is news.
    pub(super) fn wishes(&mut self, remb: &Remb<'_>) -> bool {
        let is_wanted = remb.bitrate_bps() > 0;
        let mut is_news = false;
        for ssrc in remb.ssrcs().take(LAYERS_MAX) {
            let named = self.tracks.iter_mut().find(|track| track.ssrc() == ssrc);
            is_news |= named.is_some_and(|track| track.want(is_wanted));
        }
        is_news
    }

    /// Where several tracks carry video, has those begin anew that lost something.
    pub(super) fn mend_lanes(&mut self, now: Instant) {
        let Some(downlink) = self.downlink.as_mut().filter(|_| self.lanes.is_some()) else {
            return;
        };
        let broken = downlink.take_broken();
        for (index, track) in self.tracks.iter_mut().enumerate() {
            if track.lane().is_some() && broken.checked_shr(index as u32).unwrap_or(0) & 1 != 0 {
                track.begin_anew(now);
            }
        }
    }
}

/// Any number but none says that a layer is wanted.
const WANTED_MBPS: u64 = 100;
