//! Lanes: the layers of a simulcast on their way to another node, each on a source of its own.

use rand::{Rng, RngExt};
use whitewater_link::{Live, StreamId};
use whitewater_sdp::{LanePlan, MediaKind, TrackPlan};

use crate::admission::Negotiator;
use crate::forward::layers::IngressLayer;
use crate::session::webrtc::SenderSsrcs;

impl<R: Rng> Negotiator<R> {
    /// Fills in the lanes of the tracks that have them: one for each layer that is published now. The
    /// first one's sources are the track's own, so that who knows nothing of lanes finds one plain
    /// source.
    pub(crate) fn fill_lanes<'a>(
        &mut self,
        stream: StreamId,
        live: Option<&Live>,
        tracks: impl Iterator<Item = &'a mut TrackPlan>,
        senders: &[SenderSsrcs],
    ) {
        let names = self.layer_names(stream, live);
        let own = senders
            .iter()
            .flat_map(|s| std::iter::once(s.main).chain(s.rtx));
        let mut used: Vec<u32> = own.collect();
        for (track, own) in tracks.zip(senders) {
            if track.lanes.is_none() {
                continue;
            }
            let mut lanes = Vec::with_capacity(names.len());
            for rid in &names {
                let (ssrc, rtx) = match lanes.is_empty() {
                    true => (own.main, own.rtx),
                    false => {
                        let ssrc = unused(&mut self.rng, &mut used);
                        (ssrc, own.rtx.map(|_| unused(&mut self.rng, &mut used)))
                    }
                };
                let rid = rid.clone();
                lanes.push(LanePlan { rid, ssrc, rtx });
            }
            track.lanes = Some(lanes);
        }
    }

    /// What the layers are called that are published now; nothing where there is one.
    fn layer_names(&self, stream: StreamId, live: Option<&Live>) -> Vec<String> {
        let published = live.and_then(|live| self.publications.tracks(stream, live));
        let mut tracks = published.unwrap_or_default().iter();
        let video = tracks.find(|track| track.kind == MediaKind::Video);
        video.map_or_else(Vec::new, IngressLayer::names)
    }
}

/// A source that none of `used` is, and is one of them from now on.
pub(crate) fn unused(rng: &mut impl Rng, used: &mut Vec<u32>) -> u32 {
    loop {
        let ssrc: u32 = rng.random();
        // Zero is what bandwidth probes use.
        if ssrc != 0 && !used.contains(&ssrc) {
            used.push(ssrc);
            return ssrc;
        }
    }
}
