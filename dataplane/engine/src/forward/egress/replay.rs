//! A viewer that joins begins with the latest key frame, which is kept, and catches up.
//!
//! It is sent what came since that key frame, faster than it came, until it is where all others
//! are; meanwhile nothing else of the picture is sent to it. What is sent stays in the ring that all
//! viewers share: the viewer has its place in it, and no copies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whitewater_bwe::{Burst, Pacer};
use whitewater_link::{Epoch, MediaKind, PacketMeta, RelayPacket};
use whitewater_rtp::seq::{TimestampMunger, is_newer_u32};

use super::{EgressTrack, Gate, Packet, Way, bit};
use crate::drops::DropReason;
use crate::forward::ring::Group;
use crate::forward::stream::Stream;
use crate::limits;

/// A viewer's place among the packets that are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replay {
    track: u8,
    layer: u8,
    source: (u32, u32),
    /// What is to be sent next, by the publisher's number.
    next: u64,
    began: Instant,
    pacer: Pacer,
    due: Option<Instant>,
    /// What was sent last ended its picture, or nothing was.
    is_between: bool,
    place: Place,
}

/// Where it begins and where the present was then, in the publisher's timestamps.
#[derive(Clone, Copy, Debug)]
struct Place {
    first: u32,
    edge: u32,
    edge_at: Instant,
    /// How long it takes to catch up.
    takes: Duration,
    /// What sender reports go by meanwhile, once something was sent.
    present: Option<(u32, Instant)>,
}

/// What came of a look at the packets that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing to begin with, or no need to.
    Idle,
    /// It goes on: look again.
    Behind,
    /// It came to nothing: a key frame is needed.
    Failed,
}

impl EgressTrack {
    /// From now on the viewer may begin with what is kept, until pictures flow.
    pub fn join(&mut self) {
        self.may_replay = true;
    }

    /// Whether it is behind, or would begin with what is kept.
    pub fn is_joining(&self) -> bool {
        self.replay.is_some() || self.may_replay && self.joins() != 0
    }

    /// When more of what is kept may be sent.
    pub fn replay_due(&self) -> Option<Instant> {
        self.replay.and_then(|replay| replay.due)
    }

    /// Whether it could begin now with what is kept of the stream, over a path that is paced by this.
    pub fn can_join(&self, now: Instant, stream: &Stream, path_bps: Option<u64>) -> bool {
        self.may_replay && self.plan(now, stream, path_bps).is_some()
    }

    /// Begins, or goes on, with what is kept of the stream.
    pub fn catch_up(
        &mut self,
        now: Instant,
        send_time: [u8; 3],
        stream: &Stream,
        way: &mut Way<'_>,
    ) -> Progress {
        let Some(epoch) = stream.epoch else {
            return Progress::Idle;
        };
        if self.replay.is_none() {
            if self.joins() == 0 {
                self.may_replay = false;
            }
            let is_open = way.downlink.as_ref().is_none_or(|path| path.is_open());
            if !self.may_replay || !is_open {
                return Progress::Idle;
            }
            let Some(replay) = self.plan(now, stream, way.pace_bps()) else {
                return Progress::Idle;
            };
            self.begin(replay);
        }
        self.go_on(now, send_time, (epoch, stream), way)
    }

    /// Whether a packet of this turn is reached by way of what is kept.
    #[inline]
    pub(super) fn comes_later(&self, meta: &PacketMeta) -> bool {
        self.replay.is_some_and(|replay| {
            let source = (meta.ssrc, meta.run);
            replay.layer == meta.layer && replay.source == source && replay.next <= meta.seq
        })
    }

    /// Whether what comes after this packet was passed over already, as it came too late: beginning with it
    /// would leave a hole, and all of it is kept.
    pub(super) fn is_begun_by_what_is_kept(&self, meta: &PacketMeta) -> bool {
        self.may_replay && self.replay.is_none() && meta.seq < self.passed_over
    }

    /// Goes on with a source that begins with this packet, by its place in time.
    pub(super) fn switch_timeline(&mut self, munger: &mut TimestampMunger, meta: &PacketMeta) {
        let is_kept = |replay: &&mut Replay| {
            let is_first = replay.place.present.is_none() && replay.next == meta.seq;
            is_first && replay.layer == meta.layer
        };
        let Some(Replay { place, .. }) = self.replay.as_mut().filter(is_kept) else {
            // By when pictures were taken, which their layers have in common, as far as it is known.
            munger.switch(meta.timestamp, meta.captured_at);
            self.replay = None;
            return;
        };
        let ticks = place.takes.as_millis() * u128::from(self.clock_rate) / 1_000;
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        munger.catch_up(place.first, place.edge, place.edge_at, ticks);
        place.present = Some((place.edge.wrapping_add(munger.offset()), place.edge_at));
    }

    fn begin(&mut self, replay: Replay) {
        self.layer = replay.layer;
        self.gate = Gate::Waiting(None);
        self.replay = Some(replay);
    }

    /// Forgets the replay: the viewer needs a key frame.
    fn give_up(&mut self) -> Progress {
        self.replay = None;
        self.may_replay = false;
        self.gate = Gate::Waiting(None);
        Progress::Failed
    }

    /// The layers whose latest key frame would do, one bit each.
    fn joins(&self) -> u8 {
        let is_there = self.target.is_none_or(|target| target == self.layer);
        // Up inside a scalable stream is another matter: there the past is known.
        match self.gate {
            Gate::Open if is_there => 0,
            _ => self.awaits(),
        }
    }

    /// What it would begin with, and how.
    fn plan(&self, now: Instant, stream: &Stream, path_bps: Option<u64>) -> Option<Replay> {
        let age_max = match self.gate {
            Gate::Open => limits::REPLAY_SWITCH_AGE_MAX,
            Gate::Waiting(_) => limits::REPLAY_AGE_MAX,
        };
        plan(now, stream, (self.joins(), age_max), path_bps)
    }

    fn go_on(
        &mut self,
        now: Instant,
        send_time: [u8; 3],
        (epoch, stream): (Epoch, &Stream),
        way: &mut Way<'_>,
    ) -> Progress {
        // Each round sends a packet that is kept, or is the last but one.
        while let Some(mut replay) = self.replay {
            let ring = stream.ring(replay.track, replay.layer);
            let ring = ring.filter(|ring| ring.source() == Some(replay.source));
            let Some(ring) = ring else {
                return self.give_up();
            };
            // A picture that was begun is ended, if it can be.
            let may_leave = replay.is_between || ring.at(replay.next).is_none();
            if may_leave
                && ring.key_frame().is_some_and(|first| first > replay.next)
                && let Some(newer) = self.plan_anew(now, stream, way.pace_bps())
            {
                self.begin(newer);
                continue;
            }
            if replay.next >= ring.end() {
                self.replay = None;
                return Progress::Idle;
            }
            if now.saturating_duration_since(replay.began) > limits::REPLAY_TIME_MAX {
                return self.give_up();
            }
            let is_open = way.downlink.as_ref().is_none_or(|path| path.is_open());
            if !is_open || !replay.pacer.is_open(replay.elapsed_ns(now)) {
                break;
            }
            let Some(packet) = ring.at(replay.next) else {
                if ring.is_broken(now, replay.next) {
                    return self.give_up();
                }
                break;
            };
            if replay.passes_over(&packet.meta) {
                // Left out of the numbering, so that the viewer sees no loss.
                self.seq.skip(packet.meta.seq);
                self.pictures.skip(packet.meta.pictures);
                way.drops.count(DropReason::AboveLayer);
                replay.next += 1;
                replay.is_between = packet.meta.marker;
                self.replay = Some(replay);
                continue;
            }
            self.send_kept(now, send_time, (epoch, stream), packet, way);
            let place = self.replay.map(|replay| replay.place);
            let Some(place) = place.filter(|place| place.present.is_some()) else {
                // It cannot be sent: not even a key frame would help.
                return self.give_up();
            };
            let bytes = packet.payload.len() + limits::RTX_HEADER_SIZE_TYPICAL;
            replay.pacer.spend(replay.elapsed_ns(now), bytes);
            replay.next += 1;
            replay.is_between = packet.meta.marker;
            replay.place = place;
            self.replay = Some(replay);
        }
        if let Some(replay) = &mut self.replay {
            replay.due = Some(now + replay.pause(now).max(way.pause()));
        }
        Progress::Behind
    }

    /// What it would rather go on with, as there is a newer key frame.
    fn plan_anew(&self, now: Instant, stream: &Stream, path_bps: Option<u64>) -> Option<Replay> {
        let layers = bit(self.target.unwrap_or(self.layer));
        plan(now, stream, (layers, limits::REPLAY_AGE_MAX), path_bps)
    }

    fn send_kept(
        &mut self,
        now: Instant,
        send_time: [u8; 3],
        (epoch, stream): (Epoch, &Stream),
        packet: &Packet,
        way: &mut Way<'_>,
    ) {
        match self.rewrite(now, epoch, &stream.tracks, &packet.meta) {
            Ok(rewritten) => {
                if packet.meta.keyframe_start
                    && let Some(downlink) = &mut way.downlink
                {
                    downlink.note_key_frame(rewritten.timestamp);
                }
                self.send(send_time, packet, rewritten, way);
                let place = self.replay.map(|replay| replay.place);
                self.captured = place.and_then(|place| place.present).or(self.captured);
            }
            Err(reason) => way.drops.count(reason),
        }
    }
}

impl Replay {
    fn elapsed_ns(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.began);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether a packet is of a picture of before the present that nothing builds on: the viewer is there
    /// the sooner without it.
    fn passes_over(&self, meta: &PacketMeta) -> bool {
        let is_past = is_newer_u32(self.place.edge, meta.timestamp);
        // Of several frames of a picture the last ends it: those go whole.
        let is_spare = meta
            .scale
            .is_some_and(|s| s.is_discardable && s.spatial == 0 && s.temporal > 0);
        is_past && is_spare
    }

    /// Until more may leave, if the path has room.
    fn pause(&self, now: Instant) -> Duration {
        let elapsed = self.elapsed_ns(now);
        let pause = self.pacer.next_ns(elapsed).saturating_sub(elapsed);
        Duration::from_nanos(pause).max(PAUSE_MIN)
    }
}

impl Packet {
    /// One copy a core: its viewers' reference counting stays on this core.
    pub fn copied(relayed: RelayPacket) -> Self {
        Packet {
            meta: relayed.meta,
            payload: Arc::from(&relayed.payload[..]),
            padded: None,
            older: None,
        }
    }
}

impl Way<'_> {
    /// How fast the path is sent to, where that is bounded.
    fn pace_bps(&self) -> Option<u64> {
        self.downlink.as_ref().and_then(|path| path.pace_bps())
    }

    /// Until the path has room.
    fn pause(&self) -> Duration {
        let path = self.downlink.as_ref();
        path.map_or(Duration::ZERO, |path| path.pause())
    }
}

/// The first of these layers that there is a young key frame of, and how to catch up from it.
fn plan(
    now: Instant,
    stream: &Stream,
    (layers, age_max): (u8, Duration),
    path_bps: Option<u64>,
) -> Option<Replay> {
    if layers == 0 || stream.source.is_none() {
        return None;
    }
    stream.kept.iter().find_map(|ring| {
        let group = ring.group(now, age_max)?;
        let meta = &group.first.meta;
        let is_wanted = meta.kind == MediaKind::Video && layers & bit(meta.layer) != 0;
        is_wanted.then(|| paced(now, group, path_bps))?
    })
}

/// Several times as fast as it came, as far as the path goes; `None` where that takes too long.
fn paced(now: Instant, group: Group<'_>, path_bps: Option<u64>) -> Option<Replay> {
    let (first, newest) = (&group.first.meta, &group.newest.meta);
    let came_in = now.saturating_duration_since(first.arrived_at);
    let came_in = came_in.max(CAME_IN_MIN).as_millis() as u64;
    let bits = group.bytes as u64 * 8;
    let rate_bps = bits * 1_000 / came_in;
    let wanted_bps =
        (rate_bps * limits::REPLAY_SPEED).clamp(limits::REPLAY_BPS_MIN, limits::REPLAY_BPS_MAX);
    let bps = path_bps.map_or(wanted_bps, |path_bps| path_bps.min(wanted_bps));
    // Meanwhile more comes.
    let gained_bps = bps.checked_sub(rate_bps).filter(|&gained| gained > 0)?;
    let takes = Duration::from_millis(bits * 1_000 / gained_bps);
    if takes > limits::REPLAY_TIME_MAX / 2 {
        return None;
    }
    let mut pacer = Pacer::default();
    pacer.set_rate(Some(bps), Burst::Run);
    Some(Replay {
        track: first.track,
        layer: first.layer,
        source: (first.ssrc, first.run),
        next: first.seq,
        began: now,
        pacer,
        due: None,
        is_between: true,
        place: Place {
            first: first.timestamp,
            edge: newest.timestamp,
            edge_at: newest.captured_at,
            takes,
            present: None,
        },
    })
}

/// A key frame alone does not tell the rate of what it belongs to.
const CAME_IN_MIN: Duration = Duration::from_millis(250);
/// The wheel's grain.
const PAUSE_MIN: Duration = Duration::from_millis(1);
