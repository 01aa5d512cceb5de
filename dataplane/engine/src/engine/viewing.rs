//! The way to a viewer: packets of its stream out, its feedback in, reports about both.

use std::time::Instant;

use rand::RngExt;
use whitewater_link::{Event, MediaKind};
use whitewater_rtp::ext::AbsSendTime;
use whitewater_rtp::rtcp::{Compound, Packet as Rtcp, ReportBlock, Twcc, write};

use super::Core;
use crate::clock::WallClock;
use crate::drops::{DropReason, Drops};
use crate::forward::batch::{Batch, Route};
use crate::forward::downlink::{Again, Downlink};
use crate::forward::egress::{EgressTrack, Pace, Turn, Way};
use crate::limits;
use crate::session::{CNAME_SIZE_MAX, Session, Side, Viewer};

impl Session {
    /// Sends a turn's packets to this viewer. True while it waits for a key frame of any layer.
    pub(super) fn forward(&mut self, turn: &Turn<'_>, core: &mut Core) -> bool {
        if let Side::Viewer(viewer) = &self.side
            && viewer.is_joining
        {
            self.catch_up(turn.now, core);
        }
        let Some(route) = self.route() else {
            return false;
        };
        let Side::Viewer(viewer) = &mut self.side else {
            return false;
        };
        let parts = (&mut core.batch, &mut core.header[..], &mut core.drops);
        let Some((tracks, mut way)) = viewer.way(route, parts) else {
            return false;
        };
        way.begin(turn);
        // One track after the other: audio between video packets would cut their runs. Audio is
        // never held, so its place does not matter.
        for (index, track) in (0..).zip(tracks) {
            way.track = index;
            track.forward(turn, &mut way);
        }
        way.end(turn.now);
        viewer.mend_lanes(turn.now);
        if viewer
            .downlink
            .as_mut()
            .is_some_and(|path| path.asks_for_key_frame())
        {
            core.wanted.push((self.stream, viewer.awaits()));
        }
        if viewer.uncarried != Some(turn.epoch)
            && viewer.tracks.iter().any(|t| t.lacks_codec_of(turn.epoch))
        {
            viewer.uncarried = Some(turn.epoch);
            core.out.events.push(Event::Uncarried {
                session: self.id,
                epoch: turn.epoch,
            });
        }
        let speaking = viewer
            .tracks
            .iter()
            .filter(|track| track.has_sent())
            .count();
        if speaking > viewer.reports.tracks {
            // Soon, so that a player need not guess how audio and video belong together.
            viewer.reports.tracks = speaking;
            viewer.reports.at = Some(turn.now);
            viewer.reports.count = 0;
        }
        viewer.awaits() != 0
    }

    /// RTCP of a viewer.
    pub(super) fn feedback(&mut self, now: Instant, packet: &[u8], core: &mut Core) {
        let Side::Viewer(viewer) = &mut self.side else {
            return;
        };
        let mut scratch = std::mem::take(&mut core.scratch);
        let opened = viewer
            .outlet
            .as_mut()
            .and_then(|outlet| outlet.feedback.open(packet, &mut scratch).ok())
            .and_then(|size| scratch.get(..size));
        match opened {
            Some(compound) => {
                self.heard(now, core);
                self.read_feedback(now, compound, core);
            }
            None => core.drops.count(DropReason::Unauthentic),
        }
        core.scratch = scratch;
    }

    pub(super) fn read_feedback(&mut self, now: Instant, compound: &[u8], core: &mut Core) {
        let mut wanted_layers = 0;
        let mut has_limit = false;
        let mut searches = 0;
        let mut arrivals_left = limits::ARRIVALS_PER_DATAGRAM_MAX;
        for packet in Compound::new(compound).take(limits::RTCP_PACKETS_MAX) {
            let Side::Viewer(viewer) = &mut self.side else {
                return;
            };
            let clock = &core.clock;
            match packet {
                Ok(Rtcp::ReceiverReport(report)) => {
                    for block in report.blocks() {
                        viewer.received(now, clock, &block);
                    }
                }
                Ok(Rtcp::SenderReport(report)) => {
                    for block in report.blocks() {
                        viewer.received(now, clock, &block);
                    }
                }
                Ok(Rtcp::Pli(pli)) => {
                    has_limit |= viewer.has_lanes();
                    wanted_layers |= viewer.asks(pli.media_ssrc);
                }
                Ok(Rtcp::Fir(fir)) => {
                    has_limit |= viewer.has_lanes();
                    for entry in fir.entries() {
                        wanted_layers |= viewer.asks(entry.ssrc);
                    }
                }
                Ok(Rtcp::Nack(nack)) => {
                    let left = limits::RTX_PER_DATAGRAM_MAX - searches;
                    let missing = nack.sequence_numbers().take(left);
                    searches += self.resend(now, nack.media_ssrc(), missing, core);
                }
                Ok(Rtcp::Remb(remb)) if viewer.has_lanes() => {
                    has_limit |= viewer.wishes(&remb);
                }
                Ok(Rtcp::Remb(remb)) => {
                    viewer.remb.said(now, remb.bitrate_bps());
                    has_limit = true;
                    for track in &mut viewer.tracks {
                        track.report.reception.bitrate_bps_max = Some(remb.bitrate_bps());
                    }
                    viewer.limited(now);
                }
                Ok(Rtcp::Twcc(report)) => {
                    let before = viewer.available_bps;
                    arrivals_left = viewer.arrivals(now, &report, arrivals_left);
                    // Down cannot wait; up is looked at with the layers, every now and then, and
                    // where there is much more room than before.
                    let risen = before.unwrap_or(0) / 8 * 9;
                    let known = viewer.available_bps;
                    has_limit |= known < before || known > Some(risen) || before.is_none();
                }
                Ok(_) => {}
                Err(_) => core.drops.count(DropReason::Malformed),
            }
        }
        if wanted_layers != 0 {
            core.wanted.push((self.stream, wanted_layers));
        }
        if has_limit {
            self.follow_choice(now, core);
        }
    }

    /// Answers a NACK; how many numbers it named.
    fn resend(
        &mut self,
        now: Instant,
        media_ssrc: u32,
        missing: impl Iterator<Item = u16>,
        core: &mut Core,
    ) -> usize {
        let send_time = core.send_time(now);
        let stream = core.streams.get(&self.stream);
        let kept = |track: u8, layer: u8| stream?.ring(track, layer);
        let parts = (&mut core.batch, &mut core.header[..], &mut core.drops);
        let Some(route) = self.route() else {
            return 0;
        };
        let Side::Viewer(viewer) = &mut self.side else {
            return 0;
        };
        let Some((tracks, mut way)) = viewer.way(route, parts) else {
            return 0;
        };
        let found = (0..).zip(tracks).find(|(_, t)| t.ssrc() == media_ssrc);
        let Some((index, track)) = found else {
            return 0;
        };
        if let Some(downlink) = &mut way.downlink {
            downlink.turn(now);
        }
        let mut count = 0;
        for seq in missing {
            count += 1;
            let waits = way.downlink.as_mut().filter(|downlink| !downlink.is_open());
            let is_refused = match waits {
                Some(downlink) => !downlink.hold_again(Again { track: index, seq }),
                None if way.batch.is_over() => true,
                None => {
                    track.resend(now, send_time, seq, kept, &mut way);
                    false
                }
            };
            if is_refused {
                way.drops.count(DropReason::RetransmissionRefused);
            }
        }
        way.end(now);
        count
    }

    /// Sends the reports that are due.
    pub(super) fn send_reports(&mut self, now: Instant, core: &mut Core) {
        let Side::Viewer(viewer) = &mut self.side else {
            return;
        };
        if viewer.reports.at.is_none_or(|at| at > now) {
            return;
        }
        let interval = match viewer.reports.count {
            0 => limits::REPORT_INTERVAL_FIRST,
            _ => limits::REPORT_INTERVAL.mul_f64(1.0 + core.rng.random::<f64>()),
        };
        viewer.reports.at = Some(now + interval);
        viewer.reports.count = viewer.reports.count.saturating_add(1);
        self.report_to(now, core, &|_, _| Some(0));
    }

    /// Says good-bye for every source, if any has spoken (RFC 3550 §6.6).
    pub(super) fn say_goodbye(&mut self, now: Instant, core: &mut Core) {
        self.report_to(now, core, &|tracks, out| {
            let mut ssrcs = [0; 2 * TRACKS_PER_REPORT];
            let mut count = 0;
            for (place, ssrc) in ssrcs
                .iter_mut()
                .zip(tracks.iter().flat_map(EgressTrack::ssrcs))
            {
                *place = ssrc;
                count += 1;
            }
            write::bye(out, ssrcs.get(..count)?).ok()
        });
    }

    /// A compound of sender reports and descriptions for each group of tracks, and what `end`
    /// appends to it; it is told the group and says how much it wrote.
    fn report_to(&mut self, now: Instant, core: &mut Core, end: End<'_>) {
        let Some(route) = self.route() else {
            return;
        };
        let Side::Viewer(viewer) = &mut self.side else {
            return;
        };
        let Viewer {
            tracks,
            outlet: Some(outlet),
            cname,
            ..
        } = viewer
        else {
            return;
        };
        for group in tracks.chunks(TRACKS_PER_REPORT) {
            let mut compound = [0; REPORT_SIZE_MAX];
            let mut len = 0;
            let mut reports = || {
                for info in group.iter().filter_map(|t| t.sender_info(now, &core.clock)) {
                    len += write::sender_report(compound.get_mut(len..)?, &info, &[]).ok()?;
                    len += write::sdes_cname(compound.get_mut(len..)?, info.ssrc, cname).ok()?;
                }
                if len > 0 {
                    len += end(group, compound.get_mut(len..)?)?;
                }
                Some(())
            };
            // Nothing sent, nothing to report on.
            if reports().is_none() || len == 0 {
                continue;
            }
            let room = len + outlet.rtcp_overhead;
            let sealed = core.batch.write(route, room, |out| {
                outlet.rtcp.seal(compound.get(..len)?, out).ok()
            });
            if sealed.is_none() {
                core.drops.count(DropReason::SealRefused);
            }
        }
    }

    pub(super) fn route(&self) -> Option<Route> {
        let path = self.ice.path()?;
        Some(Route {
            destination: path.remote,
            local: Some(path.local),
        })
    }
}

impl Viewer {
    /// The tracks and the way to them, once the handshake is done.
    pub(super) fn way<'a>(
        &'a mut self,
        route: Route,
        (batch, header, drops): (&'a mut Batch, &'a mut [u8], &'a mut Drops),
    ) -> Option<(&'a mut [EgressTrack], Way<'a>)> {
        let way = Way {
            route,
            outlet: self.outlet.as_deref()?,
            batch,
            header,
            drops,
            downlink: self.downlink.as_deref_mut(),
            pace: Pace::Free,
            track: 0,
        };
        Some((&mut self.tracks, way))
    }

    fn received(&mut self, now: Instant, clock: &WallClock, block: &ReportBlock) {
        for track in &mut self.tracks {
            track.received(now, clock, block);
        }
    }

    /// A transport-wide report; at most `left` of its arrivals are read. How many may still be.
    fn arrivals(&mut self, now: Instant, report: &Twcc<'_>, left: usize) -> usize {
        let can_pad = self.tracks.iter().any(EgressTrack::can_pad);
        let goal_bps = if can_pad { self.goal_bps } else { 0 };
        // Nobody reports on numbers that were not given.
        let Some(downlink) = &mut self.downlink else {
            return left;
        };
        let left = downlink.feedback(now, report, left, goal_bps, self.need_bps);
        self.available_bps = downlink.available_bps();
        left
    }

    /// The viewer said what it can receive: as far as that is believed, it bounds the estimate, or
    /// is all there is of one.
    fn limited(&mut self, now: Instant) {
        match self.remb.limit(now) {
            Some(bps) => {
                let made = || Box::new(Downlink::new(now));
                self.downlink.get_or_insert_with(made).remb(now, Some(bps));
            }
            None => {
                if let Some(downlink) = &mut self.downlink {
                    downlink.remb(now, None);
                }
            }
        }
        let known = self.downlink.as_ref();
        self.available_bps = known.and_then(|downlink| downlink.available_bps());
    }

    /// A request for a key frame: of which layers, one bit each; none when it names nothing of ours.
    fn asks(&mut self, media_ssrc: u32) -> u8 {
        let video = |t: &&mut EgressTrack| t.kind == MediaKind::Video && t.ssrc() == media_ssrc;
        let Some(track) = self.tracks.iter_mut().find(video) else {
            return 0;
        };
        track.report.keyframe_requests += 1;
        // Who asks for a layer has use for it.
        track.want(true);
        track.asked_for()
    }
}

impl Core {
    /// The value of abs-send-time now.
    pub(super) fn send_time(&self, now: Instant) -> [u8; 3] {
        AbsSendTime::from_duration(self.clock.since_1900(now)).to_bytes()
    }
}

/// Writes what ends a compound about a group of tracks.
type End<'a> = &'a dyn Fn(&[EgressTrack], &mut [u8]) -> Option<usize>;

/// Tracks in one compound, so that it fits any path's MTU.
const TRACKS_PER_REPORT: usize = 4;
/// A sender report of 28 bytes and a description of at most 12 and the name for each of them, and
/// a good-bye to two sources of each.
const REPORT_SIZE_MAX: usize = TRACKS_PER_REPORT * (28 + 12 + CNAME_SIZE_MAX + 8) + 4;
const _: () = assert!(
    REPORT_SIZE_MAX < 1_100,
    "a compound fits a datagram of any path"
);
