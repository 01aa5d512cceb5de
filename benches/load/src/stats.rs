//! What is counted, and how counts are put together.

use std::time::Duration;

use hdrhistogram::Histogram;

macro_rules! totals {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of any number of sessions since they started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Totals {
            /// Adds those of others.
            pub fn add(&mut self, other: &Totals) {
                $(self.$name += other.$name;)*
            }

            /// What came on top since `earlier`.
            #[must_use]
            pub fn since(&self, earlier: &Totals) -> Totals {
                Totals { $($name: self.$name.saturating_sub(earlier.$name),)* }
            }
        }
    };
}

totals! {
    /// RTP packets publishers sent, retransmissions included.
    sent_packets,
    /// Their bytes, UDP payload.
    sent_bytes,
    /// Packets the kernel did not take.
    refused,
    /// Key frames publishers sent.
    key_frames,
    /// Requests for one that reached publishers.
    key_frames_wanted,
    /// Packets publishers sent again.
    resent,
    /// RTP packets that reached viewers, of any kind.
    received_packets,
    /// Their bytes, UDP payload.
    received_bytes,
    /// Packets from the first to the highest sequence number of each stream.
    expected,
    /// Those of them that have not come.
    lost,
    /// Packets that came again.
    duplicates,
    /// Packets that came after a later one.
    reordered,
    /// Sequence numbers viewers asked for again.
    nacked,
    /// Packets that came as retransmission.
    recovered,
    /// Key frames viewers asked for after a loss that was not repaired.
    keys_asked,
    /// Packets that are no RTP, or of no stream that was negotiated.
    unreadable,
    /// Packets whose every byte was as sent.
    verified,
    /// Packets that authenticated and were not as sent.
    corrupted,
    /// Packets that did not authenticate.
    undecryptable,
    /// Packets of a stream the viewer did not ask for.
    foreign,
    /// Frames all packets of which came.
    frames_whole,
    /// Frames with a hole.
    frames_broken,
    /// Viewers whose first frame was no key frame.
    late_starts,
}

/// How long packets were on their way, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        // Three digits from a microsecond to a minute always make a histogram.
        let histogram = Histogram::new_with_bounds(1_000, 60_000_000_000, 2)
            .or_else(|_| Histogram::new(2))
            .expect("two digits are allowed");
        Latency(histogram)
    }
}

impl Latency {
    pub(crate) fn note(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub(crate) fn add(&mut self, other: &Latency) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// Packets noted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this share of packets did not exceed.
    ///
    /// Units: `quantile` in 0..=1.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }

    /// The longest time.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }
}

/// The state of all sessions at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts since the start, ended sessions included.
    pub totals: Totals,
    /// End-to-end latency since the last reset, of verifying viewers.
    pub latency: Latency,
    /// The longest silence of each viewer that has media, since the last reset.
    pub gaps: Vec<Duration>,
}

impl Snapshot {
    pub(crate) fn add(&mut self, other: &Snapshot) {
        self.totals.add(&other.totals);
        self.latency.add(&other.latency);
        self.gaps.extend(&other.gaps);
    }
}

/// The value that this share of `sorted` does not exceed; `None` of nothing.
pub(crate) fn quantile<T: Copy>(sorted: &[T], quantile: f64) -> Option<T> {
    let rank = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        assert_eq!(quantile::<u8>(&[], 0.5), None);
        let values: Vec<u32> = (1..=100).collect();
        for (share, expected) in [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)] {
            assert_eq!(quantile(&values, share), Some(expected));
        }
        assert_eq!(quantile(&[7], 0.5), Some(7));
    }

    #[test]
    fn latencies_keep_two_digits() {
        let mut latency = Latency::default();
        for ms in 1..=100 {
            latency.note(ms * 1_000_000);
        }
        latency.note(u64::MAX);
        assert_eq!(latency.count(), 101);
        let median = latency.quantile(0.5).as_secs_f64();
        assert!((0.0495..0.0525).contains(&median), "{median}");
        assert!(latency.max() >= Duration::from_secs(59));
    }
}
