//! What was forwarded lately, kept once for all viewers of a shard to answer their NACKs.

use std::time::Instant;

use super::egress::Packet;
use crate::limits;

/// The latest packets of one track of a publisher, in the clear.
///
/// Packets are found by the publisher's own numbers; which of them a viewer means by one of its
/// numbers is known to that viewer's [`SeqMunger`](whitewater_rtp::SeqMunger). Memory is bounded
/// by the number of packets kept and by their age.
#[derive(Debug, Default)]
pub struct Ring {
    slots: Vec<Option<Packet>>,
    /// Of the source whose packets are kept: its SSRC and run.
    source: Option<(u32, u32)>,
    /// The oldest number that may still be kept, and the first not seen yet.
    oldest: u64,
    next: u64,
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
        while self.oldest < self.next && self.is_over(now, capacity) {
            if let Some(slot) = self.slot(self.oldest) {
                *slot = None;
            }
            self.oldest += 1;
        }
        if let Some(slot) = self.slot(seq) {
            *slot = Some(packet);
        }
    }

    /// The packet `seq` of the source `(ssrc, run)`, if it is kept and not too old.
    #[must_use]
    pub fn get(&self, now: Instant, source: (u32, u32), seq: u64) -> Option<&Packet> {
        if self.source != Some(source) || !(self.oldest..self.next).contains(&seq) {
            return None;
        }
        let at = (seq % (self.slots.len() as u64).max(1)) as usize;
        let packet = self.slots.get(at)?.as_ref()?;
        let age = now.saturating_duration_since(packet.meta.arrived_at);
        (packet.meta.seq == seq && age <= limits::RTX_AGE_MAX).then_some(packet)
    }

    /// Forgets everything; the place for it stays.
    pub fn clear(&mut self) {
        self.slots.fill_with(|| None);
        self.source = None;
    }

    /// Whether the oldest packet has to go: it is too old, or its slot is needed.
    fn is_over(&mut self, now: Instant, capacity: usize) -> bool {
        if self.next - self.oldest > capacity as u64 {
            return true;
        }
        let oldest = self.oldest;
        let kept = self.slot(oldest).and_then(|slot| slot.as_ref());
        // A gap is passed over as soon as it is the oldest: whatever comes for it comes too late.
        match kept {
            Some(packet) => {
                now.saturating_duration_since(packet.meta.arrived_at) > limits::RTX_AGE_MAX
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
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use whitewater_link::{MediaKind, PacketMeta, PassedExtensions};

    use super::*;

    const SOURCE: (u32, u32) = (9, 0);

    fn packet(at: Instant, ssrc: u32, seq: u64) -> Packet {
        Packet {
            meta: PacketMeta {
                track: 0,
                kind: MediaKind::Video,
                layer: 0,
                pt: 96,
                marker: false,
                keyframe_start: false,
                ssrc,
                run: 0,
                seq,
                timestamp: 0,
                captured_at: at,
                arrived_at: at,
                pictures: None,
                scale: None,
                extensions: PassedExtensions::default(),
            },
            payload: Arc::from(&seq.to_be_bytes()[..]),
            padded: None,
        }
    }

    fn kept(ring: &Ring, now: Instant, seq: u64) -> bool {
        let found = ring.get(now, SOURCE, seq);
        if let Some(packet) = found {
            assert_eq!(packet.payload[..], seq.to_be_bytes());
        }
        found.is_some()
    }

    #[test]
    fn the_latest_packets_are_found_by_number_and_the_rest_is_gone() {
        let now = Instant::now();
        let mut ring = Ring::default();
        let max = limits::RTX_VIDEO_PACKETS_MAX as u64;
        for seq in 65_000..65_000 + 3 * max {
            ring.push(now, packet(now, 9, seq));
        }
        let end = 65_000 + 3 * max;
        assert!((end - max..end).all(|seq| kept(&ring, now, seq)));
        assert!((65_000..end - max).all(|seq| !kept(&ring, now, seq)));
        assert!(!kept(&ring, now, end));
    }

    #[test]
    fn what_is_too_old_is_neither_sent_nor_held() {
        let start = Instant::now();
        let mut ring = Ring::default();
        let old = packet(start, 9, 1);
        let watch = Arc::downgrade(&old.payload);
        ring.push(start, old);
        let later = start + limits::RTX_AGE_MAX + Duration::from_millis(1);
        assert!(kept(&ring, start, 1));
        assert!(!kept(&ring, later, 1));
        ring.push(later, packet(later, 9, 2));
        assert!(watch.upgrade().is_none(), "its memory is free");
        assert!(kept(&ring, later, 2));
    }

    #[test]
    fn late_packets_fill_their_gap() {
        let now = Instant::now();
        let mut ring = Ring::default();
        for seq in [10, 11, 14, 13, 12] {
            ring.push(now, packet(now, 9, seq));
        }
        assert!((10..=14).all(|seq| kept(&ring, now, seq)));
        ring.push(now, packet(now, 9, 9));
        assert!(!kept(&ring, now, 9), "from before the beginning");
    }

    #[test]
    fn another_source_or_a_leap_starts_again() {
        let now = Instant::now();
        let mut ring = Ring::default();
        ring.push(now, packet(now, 9, 10));
        ring.push(now, packet(now, 8, 10));
        assert!(!kept(&ring, now, 10));
        assert!(ring.get(now, (8, 0), 10).is_some());
        for leap in [u64::MAX - 1, 5, 1 << 40] {
            ring.push(now, packet(now, 9, leap));
            assert!(kept(&ring, now, leap), "{leap}");
        }
    }
}
