//! What a network does to datagrams.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

/// Both directions between a peer and the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// From the peer.
    pub up: Path,
    /// To the peer.
    pub down: Path,
}

/// One direction.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Every datagram takes this long.
    pub delay: Duration,
    /// And up to this much longer, in order.
    pub jitter: Duration,
    /// Share of datagrams lost, each for itself.
    pub loss: f64,
    /// Losses that come together.
    pub burst: Option<Burst>,
    /// Share of datagrams that are overtaken, by up to `REORDER_BY_MAX`.
    pub reorder: f64,
    /// Share of datagrams that arrive twice.
    pub duplicate: f64,
    /// What fits through.
    pub bandwidth_bps: Option<u64>,
    /// Datagrams that would wait longer than this before a full bandwidth are lost.
    pub queue: Duration,
    /// A receiver that has no time to read now and then: what arrives meanwhile is read together.
    pub stalls: Option<Stalls>,
}

/// Times in which nothing is read. Nothing is lost by them.
#[derive(Clone, Copy, Debug)]
pub struct Stalls {
    /// How long one takes, at least and at most.
    pub takes: (Duration, Duration),
    /// The time between two of them, at least and at most.
    pub apart: (Duration, Duration),
}

/// Losses that come together.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Probability that a datagram begins one.
    pub begins: f64,
    /// Datagrams lost in one.
    pub len: u32,
}

impl Default for Path {
    /// A good network: 10 ms.
    fn default() -> Self {
        Path {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: 0.0,
            burst: None,
            reorder: 0.0,
            duplicate: 0.0,
            bandwidth_bps: None,
            queue: QUEUE,
            stalls: None,
        }
    }
}

impl Link {
    /// 10 ms each way, nothing lost.
    pub fn good() -> Self {
        Link::default()
    }

    /// 20 ms each way and 10 ms of jitter.
    pub fn wifi() -> Self {
        Link::good().both(|path| {
            path.delay = Duration::from_millis(20);
            path.jitter = Duration::from_millis(10);
        })
    }

    /// Changes both directions alike.
    #[must_use]
    pub fn both(mut self, change: impl Fn(&mut Path)) -> Self {
        change(&mut self.up);
        change(&mut self.down);
        self
    }

    /// Loses this share towards the peer.
    #[must_use]
    pub fn loss_down(mut self, share: f64) -> Self {
        self.down.loss = share;
        self
    }

    /// Loses this share in both directions.
    #[must_use]
    pub fn loss(self, share: f64) -> Self {
        self.both(|path| path.loss = share)
    }

    /// Loses `len` datagrams in a row, towards the peer.
    #[must_use]
    pub fn burst_loss(mut self, begins: f64, len: u32) -> Self {
        self.down.burst = Some(Burst { begins, len });
        self
    }

    /// Lets this share be overtaken, in both directions.
    #[must_use]
    pub fn reorder(self, share: f64) -> Self {
        self.both(|path| path.reorder = share)
    }

    /// Delivers this share twice, in both directions.
    #[must_use]
    pub fn duplicate(self, share: f64) -> Self {
        self.both(|path| path.duplicate = share)
    }

    /// Lets this much through towards the peer, with a queue of this length before it.
    #[must_use]
    pub fn bottleneck_down(mut self, bandwidth_bps: u64, queue: Duration) -> Self {
        self.down.bandwidth_bps = Some(bandwidth_bps);
        self.down.queue = queue;
        self
    }

    /// Has the peer read nothing now and then, for 50 to 800 ms, and then all there is.
    #[must_use]
    pub fn starved(mut self) -> Self {
        self.down.stalls = Some(Stalls {
            takes: (Duration::from_millis(50), Duration::from_millis(800)),
            apart: (Duration::from_millis(50), Duration::from_millis(1_000)),
        });
        self
    }

    /// Lets this much through in either direction.
    #[must_use]
    pub fn bandwidth_bps(self, bandwidth_bps: u64) -> Self {
        self.both(|path| path.bandwidth_bps = Some(bandwidth_bps))
    }
}

/// A direction with what it remembers.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) path: Path,
    /// The last datagram that was not overtaken arrives then.
    last_at: Option<Instant>,
    neck: Arc<Mutex<Neck>>,
    /// How long the last datagram waited for the bandwidth, and took it.
    pub(crate) queued: Duration,
    burst_left: u32,
    /// Nothing arrives that is sent before.
    dark_until: Option<Instant>,
    /// The latest stall.
    stall: Option<(Instant, Instant)>,
    pub(crate) lost: u64,
}

/// What several directions may have to share.
#[derive(Debug, Default)]
struct Neck {
    /// Until when the bandwidth is taken.
    busy_until: Option<Instant>,
}

impl Neck {
    /// When a datagram is through; `None` when the queue has no room for it.
    fn pass(&mut self, now: Instant, size: usize, bps: u64, queue: Duration) -> Option<Instant> {
        let free_at = self.busy_until.map_or(now, |busy| busy.max(now));
        if free_at - now > queue {
            return None;
        }
        let nanos = (size as u64 + HEADERS_SIZE) * 8 * 1_000_000_000 / bps.max(1);
        let through_at = free_at + Duration::from_nanos(nanos);
        self.busy_until = Some(through_at);
        Some(through_at)
    }
}

impl Wire {
    pub(crate) fn new(path: Path) -> Self {
        Wire {
            path,
            last_at: None,
            neck: Arc::default(),
            queued: Duration::ZERO,
            burst_left: 0,
            dark_until: None,
            stall: None,
            lost: 0,
        }
    }

    /// Has the same bottleneck as another direction.
    pub(crate) fn share(&mut self, other: &Wire) {
        self.neck = other.neck.clone();
    }

    /// Loses the next `count` datagrams.
    pub(crate) fn lose_next(&mut self, count: u32) {
        self.burst_left = count;
    }

    /// Loses everything sent before `until`.
    pub(crate) fn black_out(&mut self, until: Instant) {
        self.dark_until = Some(until);
    }

    /// When a datagram sent now arrives: never, once, or more often.
    pub(crate) fn carry(&mut self, now: Instant, size: usize, rng: &mut StdRng) -> Vec<Instant> {
        // Drawn always, so that one link's fate does not depend on another's settings.
        let [loss, burst, reorder, duplicate, jitter]: [f64; 5] =
            std::array::from_fn(|_| unit(rng));
        let path = self.path;
        if self.dark_until.is_some_and(|until| now < until) {
            return self.lose();
        }
        if self.burst_left > 0 {
            self.burst_left -= 1;
            return self.lose();
        }
        if let Some(kind) = path.burst.filter(|kind| burst < kind.begins) {
            self.burst_left = kind.len.saturating_sub(1);
            return self.lose();
        }
        if loss < path.loss {
            return self.lose();
        }
        let mut sent_at = now;
        if let Some(bandwidth_bps) = path.bandwidth_bps {
            let mut neck = self.neck.lock().unwrap_or_else(PoisonError::into_inner);
            let passed_at = neck.pass(now, size, bandwidth_bps, path.queue);
            drop(neck);
            let Some(passed_at) = passed_at else {
                return self.lose();
            };
            self.queued = passed_at - now;
            sent_at = passed_at;
        }
        let in_order = sent_at + path.delay + path.jitter.mul_f64(jitter);
        let in_order = self.read_at(in_order, rng);
        let in_order = self.last_at.map_or(in_order, |last| last.max(in_order));
        let arrives_at = if reorder < path.reorder {
            in_order + REORDER_BY_MAX.mul_f64(reorder / path.reorder)
        } else {
            self.last_at = Some(in_order);
            in_order
        };
        let mut arrivals = vec![arrives_at];
        if duplicate < path.duplicate {
            arrivals.push(arrives_at + REORDER_BY_MAX.mul_f64(duplicate / path.duplicate));
        }
        arrivals
    }

    /// When that is read which arrives at `at`.
    fn read_at(&mut self, at: Instant, rng: &mut StdRng) -> Instant {
        let Some(stalls) = self.path.stalls else {
            return at;
        };
        let mut between = |(least, most): (Duration, Duration)| {
            least + most.saturating_sub(least).mul_f64(unit(rng))
        };
        let (mut from, mut until) = self.stall.unwrap_or((at, at));
        while until <= at {
            from = until + between(stalls.apart);
            until = from + between(stalls.takes);
        }
        self.stall = Some((from, until));
        if at >= from { until } else { at }
    }

    fn lose(&mut self) -> Vec<Instant> {
        self.lost += 1;
        Vec::new()
    }
}

/// In [0, 1).
fn unit(rng: &mut impl Rng) -> f64 {
    f64::from(rng.random::<u32>()) / (f64::from(u32::MAX) + 1.0)
}

/// A datagram is overtaken by what is sent in the next 20 ms.
pub(crate) const REORDER_BY_MAX: Duration = Duration::from_millis(20);
/// The queue of a bottleneck of which nothing else is said.
const QUEUE: Duration = Duration::from_millis(200);
/// IPv4 and UDP.
const HEADERS_SIZE: u64 = 28;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn carried(link: Link, count: usize) -> (Vec<(usize, Instant)>, Instant) {
        let mut rng = StdRng::seed_from_u64(1);
        let start = Instant::now();
        let mut wire = Wire::new(link.down);
        let send = |index: usize| {
            let now = start + Duration::from_millis(index as u64);
            let arrivals = wire.carry(now, 1000, &mut rng);
            arrivals.into_iter().map(move |at| (index, at))
        };
        ((0..count).flat_map(send).collect(), start)
    }

    #[test]
    fn a_good_link_delivers_everything_once_and_in_order() {
        let (arrivals, start) = carried(Link::wifi(), 1000);
        assert_eq!(arrivals.len(), 1000);
        assert!(arrivals.is_sorted_by_key(|(_, at)| *at));
        assert!(arrivals[0].1 >= start + Duration::from_millis(20));
    }

    #[test]
    fn shares_are_kept() {
        let (lossy, _) = carried(Link::good().loss(0.2), 10_000);
        assert!((7_800..8_200).contains(&lossy.len()), "{}", lossy.len());
        let (twice, _) = carried(Link::good().duplicate(0.1), 10_000);
        assert!((10_800..11_200).contains(&twice.len()), "{}", twice.len());
        let (mixed, _) = carried(Link::good().reorder(0.1), 10_000);
        let overtaken = mixed
            .windows(2)
            .filter(|pair| pair[1].1 < pair[0].1)
            .count();
        assert!((700..1_100).contains(&overtaken), "{overtaken}");
    }

    #[test]
    fn bandwidth_limits_what_arrives() {
        // 1,028 bytes every millisecond are 8.2 Mbit/s.
        let (arrivals, start) = carried(Link::good().bandwidth_bps(1_000_000), 5_000);
        let last = arrivals.last().expect("some arrive").1 - start;
        let bps = arrivals.len() as f64 * 8.0 * 1028.0 / last.as_secs_f64();
        assert!((900_000.0..1_100_000.0).contains(&bps), "{bps}");
    }
}
