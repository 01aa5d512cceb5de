//! One continuous media timestamp across source switches.

use std::time::{Duration, Instant};

use super::is_newer_u32;

/// Maps the timestamps of changing sources to one continuous egress timeline.
///
/// Within a source the distance between timestamps is kept exactly; at a switch the timeline goes
/// on from the newest egress timestamp by the time that passed since its frame. Times are those of
/// capture where they are known, else of arrival.
#[derive(Debug, Clone)]
pub struct TimestampMunger {
    clock_rate_hz: u32,
    offset: u32,
    /// The newest egress timestamp, and when its frame was.
    newest: Option<(u32, Instant)>,
}

impl TimestampMunger {
    /// A timeline at `clock_rate_hz` whose first source is passed through with `offset` added.
    ///
    /// A random `offset` gives the random start RFC 3550 §5.1 asks for.
    #[must_use]
    pub fn new(clock_rate_hz: u32, offset: u32) -> Self {
        Self {
            clock_rate_hz,
            offset,
            newest: None,
        }
    }

    /// Continues with another source whose next frame carries `ingress`.
    ///
    /// That frame, of the time `at`, gets the newest egress timestamp plus the time since that one's
    /// frame, and at least one tick more, so that two frames never share a timestamp. Before
    /// anything was mapped the offset stays as it is.
    pub fn switch(&mut self, ingress: u32, at: Instant) {
        let Some((newest, before)) = self.newest else {
            return;
        };
        let elapsed = at.saturating_duration_since(before);
        let first = newest.wrapping_add(self.ticks(elapsed).max(1));
        self.offset = first.wrapping_sub(ingress);
    }

    /// The egress timestamp for `ingress` of the current source, whose frame is of the time `at`.
    pub fn map(&mut self, ingress: u32, at: Instant) -> u32 {
        let egress = ingress.wrapping_add(self.offset);
        if self
            .newest
            .is_none_or(|(newest, _)| is_newer_u32(egress, newest))
        {
            self.newest = Some((egress, at));
        }
        egress
    }

    /// What is added, modulo 2³², to an ingress timestamp of the current source.
    ///
    /// Sender reports use it to translate the source's RTP time.
    #[must_use]
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// The newest egress timestamp and when its frame was.
    #[must_use]
    pub fn newest(&self) -> Option<(u32, Instant)> {
        self.newest
    }

    fn ticks(&self, elapsed: Duration) -> u32 {
        let ticks = elapsed.as_nanos() * u128::from(self.clock_rate_hz) / 1_000_000_000;
        // A pause of more than half the number space (6.6 h at 90 kHz) would look like a step
        // back: cap it there.
        u32::try_from(ticks).unwrap_or(u32::MAX).min(0x7fff_ffff)
    }
}
