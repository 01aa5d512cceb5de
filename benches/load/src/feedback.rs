//! Transport-wide feedback of a viewer: when packets arrived, told ten times a second as browsers do.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use whitewater_rtp::rtcp::write::{self, TwccStart};

/// Arrivals that have not been told yet.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// The number of the first in `waiting`, once there was a packet.
    next: Option<u16>,
    /// Nanoseconds of this machine's clock; `None` for what has not arrived.
    waiting: VecDeque<Option<u64>>,
    due: Option<Instant>,
    count: u8,
}

impl Arrivals {
    /// Takes note of a packet. What comes after its feedback was sent is left out: it was reported missing.
    pub(crate) fn note(&mut self, seq: u16, arrived_ns: u64, now: Instant) {
        let next = *self.next.get_or_insert(seq);
        let ahead = usize::from(seq.wrapping_sub(next));
        if ahead >= usize::from(u16::MAX / 2) {
            return;
        }
        if ahead >= WINDOW {
            // Nothing was heard for long: what lies between is not worth a report.
            self.waiting.clear();
            self.next = Some(seq);
            return self.note(seq, arrived_ns, now);
        }
        if self.waiting.len() <= ahead {
            self.waiting.resize(ahead + 1, None);
        }
        if let Some(slot) = self.waiting.get_mut(ahead) {
            slot.get_or_insert(arrived_ns);
        }
        self.due.get_or_insert(now + INTERVAL);
    }

    /// When the next message is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes the message that is due into `out`: its length, or `None` when there is nothing to say.
    pub(crate) fn write(
        &mut self,
        now: Instant,
        ssrc: u32,
        media_ssrc: u32,
        out: &mut [u8],
    ) -> Option<usize> {
        self.due = self.due.filter(|due| *due > now);
        let base_seq = self.next?;
        let first_ns = self.waiting.iter().find_map(|at| *at)?;
        let reference = first_ns / REFERENCE_NS;
        let mut last = reference * (REFERENCE_NS / TICK_NS);
        let deltas: Vec<Option<i16>> = self
            .waiting
            .drain(..)
            .map(|at| {
                let tick = at? / TICK_NS;
                let delta = tick.cast_signed() - last.cast_signed();
                // A gap too long to be told ends with an arrival that is not told.
                let delta = i16::try_from(delta).ok()?;
                last = tick;
                Some(delta)
            })
            .collect();
        self.next = Some(base_seq.wrapping_add(deltas.len() as u16));
        let start = TwccStart {
            base_seq,
            reference_time: reference as i32,
            feedback_count: self.count,
        };
        self.count = self.count.wrapping_add(1);
        write::twcc(out, ssrc, media_ssrc, start, deltas.iter().copied()).ok()
    }
}

const INTERVAL: Duration = Duration::from_millis(100);
/// Enough for 45 Mbit/s between two messages, and one message of less than 1,200 bytes.
const WINDOW: usize = 420;
const TICK_NS: u64 = 250_000;
const REFERENCE_NS: u64 = 64_000_000;

#[cfg(test)]
mod tests {
    use whitewater_rtp::rtcp::{Compound, Packet};

    use super::*;

    const MS: u64 = 1_000_000;

    /// The first number told, and each packet's arrival in ms after 640 ms.
    fn told(arrivals: &mut Arrivals, now: Instant) -> Option<(u16, Vec<Option<f64>>)> {
        let mut out = [0; 1200];
        let len = arrivals.write(now, 1, 2, &mut out)?;
        let packet = Compound::new(&out[..len]).next().unwrap().unwrap();
        let Packet::Twcc(feedback) = packet else {
            panic!("not feedback")
        };
        let mut at = f64::from(feedback.reference_time()) * 64.0 - 640.0;
        let entries = feedback.entries().map(|entry| {
            at += f64::from(entry.delta_250us?) / 4.0;
            Some(at)
        });
        Some((feedback.base_seq(), entries.collect()))
    }

    #[test]
    fn arrivals_are_told_once() {
        let now = Instant::now();
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.due(), None);
        for (seq, ms) in [(65_535, 700), (0, 701), (3, 705), (2, 710), (2, 711)] {
            arrivals.note(seq, ms * MS, now);
        }
        assert_eq!(arrivals.due(), Some(now + INTERVAL));
        let (base, times) = told(&mut arrivals, now + INTERVAL).unwrap();
        assert_eq!(base, 65_535);
        assert_eq!(
            times,
            [Some(60.0), Some(61.0), None, Some(70.0), Some(65.0)]
        );
        assert_eq!(arrivals.due(), None);
        assert_eq!(told(&mut arrivals, now + INTERVAL), None);
        // One that was told as missing comes too late, the next ones do not.
        arrivals.note(1, 800 * MS, now);
        assert_eq!(arrivals.due(), None);
        arrivals.note(4, 801 * MS, now);
        let (base, times) = told(&mut arrivals, now + INTERVAL).unwrap();
        assert_eq!((base, times), (4, vec![Some(161.0)]));
    }

    #[test]
    fn a_leap_starts_afresh_and_a_full_window_fits_a_packet() {
        let now = Instant::now();
        let mut arrivals = Arrivals::default();
        arrivals.note(7, 700 * MS, now);
        arrivals.note(7 + WINDOW as u16, 700 * MS, now);
        let (base, times) = told(&mut arrivals, now + INTERVAL).unwrap();
        assert_eq!((base, times), (7 + WINDOW as u16, vec![Some(60.0)]));
        for number in 0..WINDOW as u16 {
            // Every delta takes two bytes.
            let ms = 1000 + u64::from(number % 2) * 100;
            arrivals.note(base.wrapping_add(1 + number), ms * MS, now);
        }
        let (_, times) = told(&mut arrivals, now + INTERVAL).unwrap();
        assert_eq!(times.len(), WINDOW);
        assert!(times.iter().all(Option::is_some));
    }
}
