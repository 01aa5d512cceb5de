//! Which layer a viewer is sent, and what it waits for.

use std::time::Instant;

use whitewater_link::{LAYERS_ALL, MediaKind};

use super::{EgressTrack, Gate, bit};
use crate::forward::scale::Limit;
use crate::limits;

/// A track that carries one layer of a simulcast and no other, beside those for the other layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Which layer.
    pub layer: u8,
    /// Whether the peer has use for it.
    pub is_wanted: bool,
    /// Whether it is sent.
    pub is_sent: bool,
    /// When it began with what is kept last.
    replayed_at: Option<Instant>,
}

impl EgressTrack {
    /// Carries this layer from now on, and no other.
    #[must_use]
    pub fn keeping_to(mut self, layer: u8) -> Self {
        self.aim(Some(layer));
        self.lane = Some(Lane {
            layer,
            is_wanted: true,
            is_sent: true,
            replayed_at: None,
        });
        self
    }

    /// The only layer it carries, if there is but one.
    pub fn lane(&self) -> Option<Lane> {
        self.lane
    }

    /// Takes the peer's word on whether it has use for the only layer; true if that is news.
    pub fn want(&mut self, is_wanted: bool) -> bool {
        let lane = self.lane.as_mut();
        lane.is_some_and(|lane| std::mem::replace(&mut lane.is_wanted, is_wanted) != is_wanted)
    }

    /// Sends the only layer or leaves it out; it goes on with a key frame. True if that is news.
    pub fn open(&mut self, now: Instant, is_sent: bool) -> bool {
        let Some(lane) = &mut self.lane else {
            return false;
        };
        let is_news = std::mem::replace(&mut lane.is_sent, is_sent) != is_sent;
        if is_news {
            self.begin_anew(now);
        }
        is_news
    }

    /// Goes on with a key frame: something before it will not come. One that is kept will do, but a
    /// peer that leaves and comes back all the time is not sent the same again and again.
    pub fn begin_anew(&mut self, now: Instant) {
        self.gate = Gate::Waiting(None);
        self.replay = None;
        let Some(lane) = self.lane.as_mut().filter(|lane| lane.is_sent) else {
            return;
        };
        let is_recent = |at| now.saturating_duration_since(at) < limits::LANE_REPLAY_INTERVAL;
        self.may_replay = !lane.replayed_at.is_some_and(is_recent);
        if self.may_replay {
            lane.replayed_at = Some(now);
        }
    }

    /// Whether its only layer is left out.
    #[inline]
    pub(super) fn rests(&self) -> bool {
        self.lane.is_some_and(|lane| !lane.is_sent)
    }

    /// Whether nothing is sent, whatever comes.
    #[inline]
    pub(super) fn is_off(&self) -> bool {
        self.muted || self.rests()
    }

    /// Chooses the layer to be sent, from its next key frame on; any where none is chosen. True if
    /// that is another choice than before.
    pub fn aim(&mut self, target: Option<u8>) -> bool {
        let is_news = self.target != target;
        self.target = target;
        if let (Some(target), Gate::Waiting(_)) = (target, self.gate) {
            if is_news {
                // How long was waited for another one says nothing of this.
                self.gate = Gate::Waiting(None);
            }
            self.layer = target;
        }
        is_news
    }

    /// Chooses what is sent of a scalable stream; true if that is another choice than before.
    pub fn aim_within(&mut self, limit: Limit) -> bool {
        self.scale.aim(limit)
    }

    /// What was chosen of a scalable stream.
    pub fn limit(&self) -> Limit {
        self.scale.target()
    }

    /// The layer that was chosen.
    pub fn target(&self) -> Option<u8> {
        self.target
    }

    /// The layers a viewer means that asks for a key frame, one bit each.
    pub fn asked_for(&self) -> u8 {
        bit(self.layer) | self.awaits()
    }

    /// The layers whose next key frame is waited for, one bit each.
    pub fn awaits(&self) -> u8 {
        if self.kind != MediaKind::Video || self.is_off() {
            return 0;
        }
        match (self.gate, self.target) {
            (Gate::Waiting(_), None) => LAYERS_ALL,
            (Gate::Waiting(_), Some(target)) => bit(target),
            (Gate::Open, Some(target)) if target != self.layer => bit(target),
            (Gate::Open, _) if self.scale.awaits_key() => bit(self.layer),
            (Gate::Open, _) => 0,
        }
    }

    /// The layers whose packets are of use, one bit each.
    pub fn uses(&self) -> u8 {
        match self.target {
            _ if self.kind != MediaKind::Video || self.is_off() => 0,
            Some(target) => bit(self.layer) | bit(target),
            None => LAYERS_ALL,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::switching::track;
    use super::*;

    #[test]
    fn a_lane_carries_its_layer_while_it_is_open_and_no_other() {
        let mut track = track(MediaKind::Video).keeping_to(2);
        let now = Instant::now();
        assert_eq!((track.awaits(), track.uses()), (0b100, 0b100));
        assert!(!track.open(now, true), "it is");
        assert!(track.open(now, false) && !track.open(now, false));
        assert_eq!((track.awaits(), track.uses()), (0, 0));
        assert!(!track.is_waiting() && track.rests());
        assert!(track.open(now, true));
        assert_eq!((track.awaits(), track.uses()), (0b100, 0b100));
        // What the peer has use for is another matter.
        assert!(track.want(false) && !track.want(false) && track.want(true));
    }

    #[test]
    fn what_is_kept_is_not_sent_again_and_again() {
        let mut track = track(MediaKind::Video).keeping_to(0);
        let now = Instant::now();
        let replays = |track: &mut EgressTrack, ms| {
            let at = now + Duration::from_millis(ms);
            track.open(at, false);
            track.open(at, true);
            track.may_replay
        };
        assert!(replays(&mut track, 0));
        assert!(!replays(&mut track, 1) && !replays(&mut track, 999));
        assert!(replays(&mut track, 1_000));
    }
}
