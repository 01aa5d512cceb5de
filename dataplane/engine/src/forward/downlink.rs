//! The way to one viewer: how much it carries, and what waits for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use whitewater_bwe::{Bounds, Estimator, Pacer};
use whitewater_link::Epoch;
use whitewater_rtp::rtcp::Twcc;

use super::egress::{Packet, Rewritten};
use crate::limits;

/// Numbers, history, estimate and pace of what one viewer is sent.
///
/// A packet costs a store of eight bytes and a few additions here, a turn two comparisons: nothing
/// waits on a path that has room. What does wait are references to the packets all viewers share,
/// with the numbers they leave under.
#[derive(Debug)]
pub struct Downlink {
    estimator: Estimator,
    pacer: Pacer,
    now_ns: u64,
    /// What there is to send.
    flow: Flow,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Whose packets wait.
    held_epoch: Option<Epoch>,
    /// The RTP timestamp of the key frame that passed or waits last.
    key_frame: Option<u32>,
    again: VecDeque<Again>,
    wake_at: Option<Instant>,
    /// When the estimator has something to do, as it said after the last report or look.
    estimator_at: Option<Instant>,
    /// Whether a key frame is to be asked for, because of what was dropped, and from when on again.
    asks: bool,
    asks_at_ns: u64,
    /// The tracks of which something was dropped that another one's key frame does not make good,
    /// one bit each.
    broken: u32,
}

/// How much there is to send, as the last second or so had it: what left and what was held.
#[derive(Debug, Default)]
struct Flow {
    bytes: u64,
    since_ns: u64,
    /// The two latest spans: a rate is what the larger of them had.
    bps: [u64; 2],
}

/// A packet of video that waits.
#[derive(Clone, Debug)]
pub struct Held {
    /// Which of the viewer's tracks sends it.
    pub track: u8,
    /// Under which numbers.
    pub rewritten: Rewritten,
    /// All viewers' copy.
    pub packet: Packet,
}

/// A retransmission that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// Which of the viewer's tracks was asked.
    pub track: u8,
    /// For which number.
    pub seq: u16,
}

/// What came of holding a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// It waits; this many before it were dropped, up to the key frame it builds on.
    Kept {
        /// Dropped packets.
        dropped: usize,
    },
    /// It was dropped, and with it this many in all: the next to be sent is a key frame.
    Refused {
        /// Dropped packets.
        dropped: usize,
    },
}

impl Downlink {
    /// Of a viewer nothing is known of.
    pub fn new(now: Instant) -> Self {
        let bounds = Bounds {
            min_bps: limits::ESTIMATE_BPS_MIN,
            max_bps: limits::ESTIMATE_BPS_MAX,
        };
        Downlink {
            estimator: Estimator::new(now, bounds),
            pacer: Pacer::default(),
            now_ns: 0,
            flow: Flow::default(),
            held: VecDeque::new(),
            held_bytes: 0,
            held_epoch: None,
            key_frame: None,
            again: VecDeque::new(),
            wake_at: None,
            estimator_at: None,
            asks_at_ns: 0,
            asks: false,
            broken: 0,
        }
    }

    /// The time of what follows.
    #[inline]
    pub fn turn(&mut self, now: Instant) {
        self.estimator.turn(now);
        self.now_ns = self.estimator.now_us() * 1_000;
    }

    /// Whether this much video may leave in one go.
    #[inline]
    pub fn admits(&self, bytes: usize) -> bool {
        self.pacer.admits(self.now_ns, bytes) && self.held.is_empty() && self.again.is_empty()
    }

    /// The transport-wide number of the packet that leaves next.
    #[inline]
    pub fn next_seq(&self) -> u16 {
        self.estimator.next_seq()
    }

    /// A packet left, as a datagram of `size` bytes, with a number of ours or without.
    #[inline]
    pub fn left(&mut self, size: usize, is_numbered: bool) {
        self.pacer.spend(self.now_ns, size);
        self.flow.bytes += size as u64;
        if is_numbered {
            self.estimator.sent(size);
        }
    }

    /// Whether a packet may leave now that waits for nothing before it.
    pub fn is_open(&self) -> bool {
        self.held.is_empty() && self.again.is_empty() && self.pacer.is_open(self.now_ns)
    }

    /// Keeps a packet of video until there is room for it.
    ///
    /// Bounded in time and number: what would wait too long is dropped up to the next key frame.
    /// A key frame is not, so that a picture comes at all.
    pub fn hold(&mut self, epoch: Epoch, held: Held) -> Holding {
        let mut dropped = 0;
        if self.held_epoch != Some(epoch) {
            dropped = self.clear();
            self.held_epoch = Some(epoch);
        }
        let is_key = held.packet.meta.keyframe_start
            || self.key_frame == Some(held.rewritten.timestamp) && !self.held.is_empty();
        if held.packet.meta.keyframe_start {
            self.note_key_frame(held.rewritten.timestamp);
        }
        // Counted when it comes, and not again when it leaves.
        self.flow.bytes += held.size() as u64;
        let bytes = self.held_bytes + held.size();
        let is_late = self.pacer.time_of(bytes) > limits::HELD_TIME_MAX;
        if self.held.len() < limits::HELD_PACKETS_MAX && (is_key || !is_late) {
            self.push(held);
            return Holding::Kept { dropped };
        }
        // The last key frame that waits, and whether it is all that does.
        let begins = |held: &Held| held.packet.meta.keyframe_start;
        match self.held.iter().rposition(begins) {
            Some(at) if at > 0 => {
                for gone in self.held.drain(..at) {
                    self.held_bytes -= gone.size();
                    self.broken |= track_bit(gone.track);
                }
                // Of its own track nothing is missing behind the key frame.
                if let Some(key) = self.held.front() {
                    self.broken &= !track_bit(key.track);
                }
                self.push(held);
                Holding::Kept {
                    dropped: dropped + at,
                }
            }
            Some(_) => self.refuse(dropped),
            None => {
                dropped += self.clear_but_begun();
                self.refuse(dropped)
            }
        }
    }

    fn refuse(&mut self, dropped: usize) -> Holding {
        self.asks = true;
        Holding::Refused {
            dropped: dropped + 1,
        }
    }

    /// Whether something was dropped that only a key frame makes good: asked for at once, but not
    /// again and again, since all viewers pay for a key frame.
    pub fn asks_for_key_frame(&mut self) -> bool {
        let asks = self.asks && self.now_ns >= self.asks_at_ns;
        if asks {
            self.asks = false;
            self.asks_at_ns = self.now_ns + limits::PATH_KEYFRAME_INTERVAL.as_nanos() as u64;
        }
        asks
    }

    /// The tracks that have to begin anew, one bit each, because of what was dropped: where several
    /// carry video, one's key frame does not make good what another has lost.
    pub fn take_broken(&mut self) -> u32 {
        std::mem::take(&mut self.broken)
    }

    /// Notes a key frame that left without waiting.
    pub fn note_key_frame(&mut self, timestamp: u32) {
        self.key_frame = Some(timestamp);
        self.asks = false;
    }

    /// Keeps a retransmission until there is room for it; false when too many wait.
    pub fn hold_again(&mut self, again: Again) -> bool {
        let has_room = self.again.len() < limits::HELD_REPEATS_MAX;
        if has_room {
            self.again.push_back(again);
        }
        has_room
    }

    /// Takes out a retransmission that may leave now. They go first: who asked for them waits
    /// already.
    pub fn take_again(&mut self) -> Option<Again> {
        if !self.pacer.is_open(self.now_ns) {
            return None;
        }
        self.again.pop_front()
    }

    /// Takes out a packet of video that may leave now.
    pub fn take_held(&mut self) -> Option<Held> {
        if !self.pacer.is_open(self.now_ns) || !self.again.is_empty() {
            return None;
        }
        let held = self.held.pop_front()?;
        self.held_bytes -= held.size();
        self.flow.bytes = self.flow.bytes.saturating_sub(held.size() as u64);
        Some(held)
    }

    /// Forgets the video that waits; how much of it there was.
    pub fn clear(&mut self) -> usize {
        let count = self.held.len();
        self.held.clear();
        self.held_bytes = 0;
        count
    }

    /// Forgets what waits behind a key frame whose first packets have left: the rest of it makes them
    /// a picture. How much was forgotten.
    fn clear_but_begun(&mut self) -> usize {
        let begun = |held: &&Held| self.key_frame == Some(held.rewritten.timestamp);
        let rest = self.held.iter().take_while(begun).count();
        let count = self.held.len() - rest;
        for gone in self.held.drain(rest..) {
            self.held_bytes -= gone.size();
            self.broken |= track_bit(gone.track);
        }
        count
    }

    /// Whose video waits.
    pub fn held_epoch(&self) -> Option<Epoch> {
        self.held_epoch.filter(|_| !self.held.is_empty())
    }

    /// Packets that wait.
    pub fn held_len(&self) -> usize {
        self.held.len()
    }

    /// After what left or was held: when to look again.
    pub fn settle(&mut self, now: Instant) {
        let waits = !self.held.is_empty() || !self.again.is_empty();
        self.wake_at = waits.then(|| now + self.pause());
    }

    /// When there is something to do.
    #[inline]
    pub fn due(&self) -> Option<Instant> {
        match (self.wake_at, self.estimator_at) {
            (Some(wake_at), Some(at)) => Some(wake_at.min(at)),
            (wake_at, at) => wake_at.or(at),
        }
    }

    /// Does what is due; bytes of padding that are to leave now.
    pub fn poll(&mut self, now: Instant) -> usize {
        self.turn(now);
        let is_due = self.estimator_at.is_some_and(|at| at <= now);
        let padding = if is_due { self.estimator.poll(now) } else { 0 };
        self.pace();
        padding
    }

    /// Takes a transport-wide feedback message, of which at most `left` arrivals are read; how many
    /// are left for the rest of its datagram. `goal_bps` is what is worth probing for, `need_bps` what
    /// would be sent if the path is known to carry it.
    pub fn feedback(
        &mut self,
        now: Instant,
        report: &Twcc<'_>,
        left: usize,
        goal_bps: u64,
        need_bps: u64,
    ) -> usize {
        let entries = report.entries().take(left);
        let entries = entries.map(|entry| (entry.seq, entry.delta_250us));
        let reference = report.reference_time();
        self.estimator.feedback(now, reference, entries);
        // Only now is it sure that probes would be reported on.
        let need_bps = need_bps.max(self.flow.bps());
        self.estimator.set_goal(goal_bps, need_bps);
        self.now_ns = self.estimator.now_us() * 1_000;
        self.pace();
        left.saturating_sub(usize::from(report.status_count()))
    }

    /// Takes the viewer's own estimate; `None` when that is not believed.
    pub fn remb(&mut self, now: Instant, bps: Option<u64>) {
        self.estimator.remb(now, bps);
        self.pace();
    }

    /// How fast the path is sent to, where that is bounded.
    pub fn pace_bps(&self) -> Option<u64> {
        self.pacer.rate_bps()
    }

    /// Until it has room again.
    pub fn pause(&self) -> Duration {
        Duration::from_nanos(self.pacer.next_ns(self.now_ns).saturating_sub(self.now_ns))
    }

    /// What the path carries, if that is known.
    pub fn available_bps(&self) -> Option<u64> {
        self.estimator.available_bps()
    }

    /// What the path carries, where it was lately seen to be full: who is sent little is known to carry
    /// little more, full or not.
    pub fn full_bps(&self) -> Option<u64> {
        let known = self.estimator.available_bps();
        known.filter(|_| self.estimator.is_full())
    }

    fn push(&mut self, held: Held) {
        self.held_bytes += held.size();
        self.held.push_back(held);
    }

    fn pace(&mut self) {
        self.estimator_at = self.estimator.due();
        self.flow.look(self.now_ns);
        self.estimator.pace(&mut self.pacer, self.flow.bps());
    }
}

impl Flow {
    /// Ends a span that is long enough.
    fn look(&mut self, now_ns: u64) {
        let span_ns = now_ns.saturating_sub(self.since_ns);
        if span_ns < FLOW_SPAN_NS {
            return;
        }
        let latest = u128::from(self.bytes) * 8_000_000_000 / u128::from(span_ns);
        self.bps = [u64::try_from(latest).unwrap_or(u64::MAX), self.bps[0]];
        (self.bytes, self.since_ns) = (0, now_ns);
    }

    fn bps(&self) -> u64 {
        self.bps[0].max(self.bps[1])
    }
}

fn track_bit(track: u8) -> u32 {
    1_u32.checked_shl(track.into()).unwrap_or(0)
}

const FLOW_SPAN_NS: u64 = 500_000_000;

impl Held {
    fn size(&self) -> usize {
        self.packet.payload.len() + limits::RTX_HEADER_SIZE_TYPICAL
    }
}

#[cfg(test)]
mod tests;
