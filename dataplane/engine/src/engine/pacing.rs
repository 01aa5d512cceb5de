//! What waited for the path to a viewer, and what is sent to learn how much it carries.

use std::time::Instant;

use super::Core;
use crate::drops::DropReason;
use crate::forward::egress::{EgressTrack, Pace, Turn, Way};
use crate::session::{Session, Side};

impl Session {
    /// Sends what waited as far as there is room now, and the padding of a probe.
    pub(super) fn release(&mut self, now: Instant, core: &mut Core) {
        let Side::Viewer(viewer) = &self.side else {
            return;
        };
        let due = viewer.downlink.as_ref().and_then(|path| path.due());
        if due.is_none_or(|due| due > now) {
            return;
        }
        let send_time = core.send_time(now);
        let stream = core.streams.get(&self.stream);
        let epoch = stream.and_then(|stream| stream.epoch);
        let kept = |track: u8, layer: u8| stream?.ring(track, layer);
        let Some(route) = self.route() else {
            return;
        };
        let Side::Viewer(viewer) = &mut self.side else {
            return;
        };
        let parts = (&mut core.batch, &mut core.header[..], &mut core.drops);
        let Some((tracks, mut way)) = viewer.way(route, parts) else {
            return;
        };
        let padding = match &mut way.downlink {
            Some(downlink) => downlink.poll(now),
            None => 0,
        };
        way.forget_others(epoch);
        // As many as a burst has, and what a burst has is bounded.
        while let Some(again) = way.downlink.as_mut().and_then(|path| path.take_again()) {
            if let Some(track) = tracks.get_mut(usize::from(again.track)) {
                track.resend(now, send_time, again.seq, kept, &mut way);
            }
        }
        while let Some(held) = way.downlink.as_mut().and_then(|path| path.take_held()) {
            if let Some(track) = tracks.get_mut(usize::from(held.track)) {
                track.send(send_time, &held.packet, held.rewritten, &mut way);
            }
        }
        if let Some(track) = tracks.iter_mut().find(|track| track.can_pad()) {
            pad(track, padding, send_time, &mut way);
        }
        way.end(now);
        self.note_estimate();
    }

    /// The estimate changes by the clock as well: a viewer that says nothing is sent less.
    fn note_estimate(&mut self) {
        if let Side::Viewer(viewer) = &mut self.side
            && let Some(downlink) = &viewer.downlink
        {
            viewer.available_bps = downlink.available_bps();
        }
    }
}

/// Sends this many bytes of padding, rounded up to whole packets.
fn pad(track: &mut EgressTrack, bytes: usize, send_time: [u8; 3], way: &mut Way<'_>) {
    let mut left = bytes;
    while left > 0 {
        let Some(size) = track.pad(send_time, way) else {
            return;
        };
        left = left.saturating_sub(size);
    }
}

impl Way<'_> {
    /// Before a turn's packets: whether its video fits.
    #[inline]
    pub(super) fn begin(&mut self, turn: &Turn<'_>) {
        if let Some(downlink) = &mut self.downlink {
            downlink.turn(turn.now);
            if !downlink.admits(turn.video_bytes) {
                self.pace = Pace::Bounded;
            }
        }
    }

    /// After what left: when to look again at what did not.
    #[inline]
    pub(super) fn end(&mut self, now: Instant) {
        if let Some(downlink) = &mut self.downlink {
            downlink.settle(now);
        }
    }

    /// Drops what waits of a publisher that is no longer the stream's.
    fn forget_others(&mut self, epoch: Option<whitewater_link::Epoch>) {
        let Some(downlink) = &mut self.downlink else {
            return;
        };
        if downlink
            .held_epoch()
            .is_some_and(|held| Some(held) != epoch)
        {
            let dropped = downlink.clear();
            self.drops.count_many(DropReason::StaleEpoch, dropped);
        }
    }
}
