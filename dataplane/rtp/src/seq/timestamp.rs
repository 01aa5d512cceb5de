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
    catch_up: Option<CatchUp>,
}

/// The current source's frames from before it was joined, drawn together.
#[derive(Debug, Clone, Copy)]
struct CatchUp {
    /// The ingress timestamp of the first of them.
    first: u32,
    /// From that to where the timeline is the source's own again, in ticks.
    span: u32,
    /// By how much the first is later than it would be.
    lag: u32,
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
            catch_up: None,
        }
    }

    /// Continues with another source whose next frame carries `ingress`.
    ///
    /// That frame, of the time `at`, gets the newest egress timestamp plus the time since that one's
    /// frame, and at least one tick more, so that two frames never share a timestamp. Before
    /// anything was mapped the offset stays as it is.
    pub fn switch(&mut self, ingress: u32, at: Instant) {
        self.catch_up = None;
        let Some((newest, before)) = self.newest else {
            return;
        };
        let elapsed = at.saturating_duration_since(before);
        let first = newest.wrapping_add(self.ticks(elapsed).max(1));
        self.offset = first.wrapping_sub(ingress);
    }

    /// Continues with another source that is shown from an earlier frame on: `first` of it is sent
    /// now, although its newest is `edge`, of the time `at`.
    ///
    /// What lies before the present is drawn together so that it has passed after `within` ticks,
    /// at an even pace; from then on the timeline is the same as if `edge` had been the first frame.
    /// To a receiver that is sent frames at that pace they are neither early nor late.
    pub fn catch_up(&mut self, first: u32, edge: u32, at: Instant, within: u32) {
        self.switch(edge, at);
        let lag = edge.wrapping_sub(first);
        if lag == 0 || lag > LAG_MAX {
            return;
        }
        // Frames keep timestamps of their own down to a 64th of their distance.
        let within = within.clamp(lag / 64 + 1, LAG_MAX);
        let span = lag + within;
        self.catch_up = Some(CatchUp { first, span, lag });
    }

    /// The egress timestamp for `ingress` of the current source, whose frame is of the time `at`.
    pub fn map(&mut self, ingress: u32, at: Instant) -> u32 {
        let (mut egress, mut at) = (ingress.wrapping_add(self.offset), at);
        if let Some(catch_up) = self.catch_up {
            let ahead = catch_up.ahead(ingress);
            egress = egress.wrapping_add(ahead);
            at += self.duration(ahead);
            if ahead == 0 && catch_up.is_long_over(ingress) {
                self.catch_up = None;
            }
        }
        if self
            .newest
            .is_none_or(|(newest, _)| is_newer_u32(egress, newest))
        {
            self.newest = Some((egress, at));
        }
        egress
    }

    /// As [`map`](Self::map), of a frame that was mapped lately and is sent again.
    #[must_use]
    pub fn again(&self, ingress: u32) -> u32 {
        let ahead = self.catch_up.map_or(0, |catch_up| catch_up.ahead(ingress));
        ingress.wrapping_add(self.offset).wrapping_add(ahead)
    }

    /// What is added, modulo 2³², to an ingress timestamp of the current source, but for frames
    /// from before it was joined.
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

    fn duration(&self, ticks: u32) -> Duration {
        let nanos = u64::from(ticks) * 1_000_000_000 / u64::from(self.clock_rate_hz.max(1));
        Duration::from_nanos(nanos)
    }

    fn ticks(&self, elapsed: Duration) -> u32 {
        let ticks = elapsed.as_nanos() * u128::from(self.clock_rate_hz) / 1_000_000_000;
        // A pause of more than half the number space (6.6 h at 90 kHz) would look like a step
        // back: cap it there.
        u32::try_from(ticks).unwrap_or(u32::MAX).min(0x7fff_ffff)
    }
}

impl CatchUp {
    /// By how much a frame is put later than the source has it.
    fn ahead(&self, ingress: u32) -> u32 {
        let since = ingress.wrapping_sub(self.first);
        if since >= self.span {
            // Of the present, or from before the first.
            return 0;
        }
        let passed = u64::from(since) * u64::from(self.lag) / u64::from(self.span.max(1));
        self.lag.saturating_sub(passed as u32)
    }

    /// Whether nothing it applies to is sent again any more.
    fn is_long_over(&self, ingress: u32) -> bool {
        let since = ingress.wrapping_sub(self.first);
        (LAG_MAX..1 << 31).contains(&since)
    }
}

/// Ticks that are worth catching up with: 40 s at 90 kHz. A larger distance is none of time.
const LAG_MAX: u32 = 3_600_000;
