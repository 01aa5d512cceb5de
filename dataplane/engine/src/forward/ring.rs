//! What was forwarded lately, kept once for all viewers of a shard: to answer their NACKs, and to
//! begin with where one joins.

use std::time::{Duration, Instant};

use super::egress::Packet;
use crate::limits;

/// The latest packets of one track of a publisher, in the clear.
///
/// Packets are found by the publisher's own numbers; which of them a viewer means by one of its
/// numbers is known to that viewer's [`SeqMunger`](whitewater_rtp::SeqMunger). Memory is bounded
/// by the number of packets kept and by their age; what builds on the latest key frame is kept longer,
/// as long as it is not much.
#[derive(Debug, Default)]
pub struct Ring {
    slots: Vec<Option<Packet>>,
    /// Of the source whose packets are kept: its SSRC and run.
    source: Option<(u32, u32)>,
    /// The oldest number that may still be kept, and the first not seen yet.
    oldest: u64,
    next: u64,
    group: Option<Found>,
}

/// The latest key frame and what came after it.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// Its first packet.
    first: u64,
    timestamp: u32,
    /// Of it and all that came after it, headers and all.
    bytes: usize,
    /// The first number behind it that nothing came for yet.
    whole_to: u64,
}

/// What a viewer can begin with: everything since a key frame, without a hole.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Where the key frame starts.
    pub first: &'a Packet,
    /// What came last.
    pub newest: &'a Packet,
    /// Size of all of it, headers and all.
    pub bytes: usize,
}

impl Ring {
    /// Keeps a packet; forgets what is too old by `now` or too far behind it.
    pub fn push(&mut self, now: Instant, packet: Packet) {
        let capacity = match packet.meta.kind {
            whitewater_link::MediaKind::Audio => limits::RTX_AUDIO_PACKETS_MAX,
            whitewater_link::MediaKind::Video => limits::RTX_VIDEO_PACKETS_MAX,
        };
        let (source, seq) = ((packet.meta.ssrc, packet.meta.run), packet.meta.seq);
        let jumped = seq >= self.next.saturating_add(capacity as u64)
            || seq.saturating_add(capacity as u64) < self.next;
        if self.source != Some(source) || jumped {
            self.clear();
            self.source = Some(source);
            (self.oldest, self.next) = (seq, seq);
        }
        if self.slots.is_empty() {
            self.slots.resize_with(capacity, || None);
        }
        if seq < self.oldest {
            return;
        }
        self.next = self.next.max(seq.saturating_add(1));
        self.note_group(&packet);
        while self.oldest < self.next && self.is_over(now, capacity) {
            if let Some(slot) = self.slot(self.oldest) {
                *slot = None;
            }
            self.oldest += 1;
        }
        if self.group.is_some_and(|group| group.first < self.oldest) {
            self.group = None;
        }
        if let Some(slot) = self.slot(seq) {
            *slot = Some(packet);
        }
        self.extend_group();
    }

    /// The packet `seq` of the source `(ssrc, run)`, if it is kept and not too old.
    #[must_use]
    pub fn get(&self, now: Instant, source: (u32, u32), seq: u64) -> Option<&Packet> {
        if self.source != Some(source) || !(self.oldest..self.next).contains(&seq) {
            return None;
        }
        let packet = self.at(seq)?;
        let age = now.saturating_duration_since(packet.meta.arrived_at);
        (age <= self.age_max(seq)).then_some(packet)
    }

    /// What a viewer can begin with, if the key frame is no older than `age_max` and there is not too
    /// much of it.
    ///
    /// A hole at the end may be filled yet: while it is young, what comes before it is worth sending.
    #[must_use]
    pub fn group(&self, now: Instant, age_max: Duration) -> Option<Group<'_>> {
        let found = self.group?;
        let first = self.at(found.first)?;
        let newest = self.at(found.whole_to.checked_sub(1)?)?;
        let age = now.saturating_duration_since(first.meta.arrived_at);
        let count = self.next - found.first;
        let fits = age <= age_max
            && found.bytes <= limits::REPLAY_BYTES_MAX
            && count <= limits::REPLAY_PACKETS_MAX as u64;
        (fits && !self.is_broken(now, found.whole_to)).then_some(Group {
            first,
            newest,
            bytes: found.bytes,
        })
    }

    /// Where the latest key frame starts.
    #[must_use]
    pub fn key_frame(&self) -> Option<u64> {
        self.group.map(|group| group.first)
    }

    /// Whose packets are kept.
    #[must_use]
    pub fn source(&self) -> Option<(u32, u32)> {
        self.source
    }

    /// The first number nothing was kept of yet.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.next
    }

    /// The packet `seq`, if it is kept.
    #[must_use]
    pub fn at(&self, seq: u64) -> Option<&Packet> {
        let at = (seq % (self.slots.len() as u64).max(1)) as usize;
        let packet = self.slots.get(at)?.as_ref()?;
        (packet.meta.seq == seq).then_some(packet)
    }

    /// Whether nothing will come for `seq` any more, although something came after it.
    #[must_use]
    pub fn is_broken(&self, now: Instant, seq: u64) -> bool {
        if seq < self.oldest {
            return true;
        }
        // Nearly always the next one.
        let after = (seq..self.next).find_map(|seq| self.at(seq));
        after.is_some_and(|packet| {
            let missed = now.saturating_duration_since(packet.meta.arrived_at);
            missed > limits::REPLAY_HOLE_AGE_MAX
        })
    }

    /// Forgets what a viewer could begin with; what is asked for again is still there.
    pub fn forget_group(&mut self) {
        self.group = None;
    }

    /// Forgets everything; the place for it stays.
    pub fn clear(&mut self) {
        self.slots.fill_with(|| None);
        self.source = None;
        self.group = None;
    }

    /// Begins a group where a key frame starts, and counts what is of it.
    fn note_group(&mut self, packet: &Packet) {
        let meta = &packet.meta;
        if self.at(meta.seq).is_some() {
            return;
        }
        let bytes = packet.payload.len() + limits::RTX_HEADER_SIZE_TYPICAL;
        if meta.keyframe_start {
            // Parameter sets and slices of one picture each look like a start.
            let begins = self.group.is_none_or(|known| {
                let is_same = known.timestamp == meta.timestamp;
                is_same && meta.seq < known.first || !is_same && meta.seq > known.first
            });
            if begins {
                let sizes = (meta.seq + 1..self.next).filter_map(|seq| self.at(seq));
                let sizes = sizes.map(|p| p.payload.len() + limits::RTX_HEADER_SIZE_TYPICAL);
                let after: usize = sizes.sum();
                self.group = Some(Found {
                    first: meta.seq,
                    timestamp: meta.timestamp,
                    bytes: bytes + after,
                    whole_to: meta.seq,
                });
                return;
            }
        }
        if let Some(group) = &mut self.group
            && meta.seq > group.first
        {
            group.bytes += bytes;
        }
    }

    /// Passes over what there is now without a hole.
    fn extend_group(&mut self) {
        let Some(mut whole_to) = self.group.map(|group| group.whole_to) else {
            return;
        };
        while whole_to < self.next && self.at(whole_to).is_some() {
            whole_to += 1;
        }
        if let Some(group) = &mut self.group {
            group.whole_to = whole_to;
        }
    }

    /// How old the packet `seq` may become.
    fn age_max(&self, seq: u64) -> Duration {
        let grouped =
            |group: Found| seq >= group.first && group.bytes <= 2 * limits::REPLAY_BYTES_MAX;
        match self.group.is_some_and(grouped) {
            true => limits::REPLAY_KEPT_FOR,
            false => limits::RTX_AGE_MAX,
        }
    }

    /// Whether the oldest packet has to go: it is too old, or its slot is needed.
    fn is_over(&self, now: Instant, capacity: usize) -> bool {
        if self.next - self.oldest > capacity as u64 {
            return true;
        }
        let oldest = self.oldest;
        // A gap is passed over as soon as it is the oldest: whatever comes for it comes too late.
        match self.at(oldest) {
            Some(packet) => {
                now.saturating_duration_since(packet.meta.arrived_at) > self.age_max(oldest)
            }
            None => self.next - oldest > GAP_KEPT_MAX,
        }
    }

    fn slot(&mut self, seq: u64) -> Option<&mut Option<Packet>> {
        let at = seq % (self.slots.len() as u64).max(1);
        self.slots.get_mut(at as usize)
    }
}

/// A number at the old end that nothing came for is given up when it is this far behind.
const GAP_KEPT_MAX: u64 = 32;

#[cfg(test)]
mod tests;
