//! Wall-clock time for reports, derived from the monotonic clock.

use std::time::{Duration, Instant};

/// What the wall clock showed at one moment; afterwards it is taken to run as the monotonic one.
///
/// Receivers use only differences, so that a clock that is wrong or gets corrected does no harm.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    began: Instant,
    since_1900: Duration,
}

impl WallClock {
    /// A clock that showed `unix` since 1970 at `began`.
    #[must_use]
    pub fn new(began: Instant, unix: Duration) -> Self {
        WallClock {
            began,
            since_1900: unix.saturating_add(UNIX_EPOCH_SINCE_1900),
        }
    }

    /// Time since 1900 at `at`, not before the clock began.
    #[must_use]
    pub fn since_1900(&self, at: Instant) -> Duration {
        let passed = at.saturating_duration_since(self.began);
        self.since_1900.saturating_add(passed)
    }

    /// The same as 32.32 fixed-point seconds, which wrap in 2036 (RFC 3550 §4).
    #[must_use]
    pub fn ntp(&self, at: Instant) -> u64 {
        let time = self.since_1900(at);
        let fraction = (u64::from(time.subsec_nanos()) << 32) / 1_000_000_000;
        (time.as_secs() << 32) | fraction
    }
}

/// RFC 868: 70 years, 17 of them with a leap day.
const UNIX_EPOCH_SINCE_1900: Duration = Duration::from_secs(2_208_988_800);

/// The middle 32 bits of an NTP time, in 1/65536 s (RFC 3550 §4).
#[must_use]
pub(crate) fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_time_counts_from_1900_and_wraps_in_2036() {
        let began = Instant::now();
        let unix = Duration::from_secs(2_085_978_495);
        let clock = WallClock::new(began, unix);
        assert_eq!(clock.ntp(began) >> 32, u64::from(u32::MAX));
        let later = clock.ntp(began + Duration::from_millis(1_500));
        assert_eq!(later, 0x8000_0000, "half a second into the next era");
        assert_eq!(middle(later), 0x8000);
    }
}
