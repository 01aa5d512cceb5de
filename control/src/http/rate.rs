//! How often somebody may ask: token buckets in tables of fixed size.
//!
//! A bucket is one number, the time at which it will be full again; a request that would move it
//! more than the burst ahead of now is refused (the generic cell rate algorithm). A bucket that is
//! full has nothing to remember, so a slot needs no owner and nothing is ever swept: two callers
//! that meet in one slot share it while both are busy, which costs a few of them patience and the
//! server no memory. Which slot is whose depends on a random key.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use whitewater_model::Principal;

use super::problem::Problem;
use super::source::block;
use crate::{HttpLimits, Rate};

/// All buckets of the server.
pub(crate) struct Limiter {
    sources: Buckets,
    tokens: Buckets,
    misses: Buckets,
}

impl Limiter {
    pub(crate) fn new(limits: &HttpLimits) -> Self {
        let misses = Rate {
            count: limits.source_misses_per_minute,
            per: Duration::from_secs(60),
            burst: limits.source_misses_per_minute,
        };
        Limiter {
            sources: Buckets::new(limits.source_requests, SOURCES),
            tokens: Buckets::new(limits.token_requests, TOKENS),
            misses: Buckets::new(misses, SOURCES),
        }
    }

    /// Charges a request that changes something to where it comes from and to who sends it. Each
    /// method has buckets of its own: who joins too fast can still leave.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub(crate) fn charge(
        &self,
        method: &Method,
        source: IpAddr,
        principal: &Principal,
    ) -> Result<(), Problem> {
        if ![Method::POST, Method::PATCH, Method::DELETE].contains(method) {
            return Ok(());
        }
        let now = Instant::now();
        self.sources
            .take((method, block(source)), now)
            .map_err(|wait| too_many("too many requests from this address", wait))?;
        match principal {
            Principal::Bearer(_) => self
                .tokens
                .take((method, principal), now)
                .map_err(|wait| too_many("too many requests with this token", wait)),
            _ => Ok(()),
        }
    }

    /// Charges a session URL that names nothing. It stays possible to reach one's own sessions
    /// after too many of these: neighbours behind one address must not keep each other from
    /// hanging up, and ids are too long to be found by trying.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub(crate) fn charge_miss(&self, source: IpAddr) -> Result<(), Problem> {
        self.misses
            .take(block(source), Instant::now())
            .map_err(|wait| too_many("too many unknown sessions asked for", wait))
    }
}

fn too_many(detail: &'static str, wait: Duration) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(wait)
}

/// One table.
struct Buckets {
    /// When each is full again, in nanoseconds after `started`.
    full_at: Box<[AtomicU64]>,
    hasher: RandomState,
    started: Instant,
    /// What one request costs; `None`: nothing is limited.
    interval_ns: Option<u64>,
    /// How far ahead of now a bucket may come to be full.
    depth_ns: u64,
}

impl Buckets {
    fn new(rate: Rate, slot_count: usize) -> Self {
        let per = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
        let interval_ns = per.checked_div(rate.count.into());
        let slot_count = if interval_ns.is_some() { slot_count } else { 0 };
        Buckets {
            full_at: (0..slot_count).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            started: Instant::now(),
            interval_ns,
            depth_ns: interval_ns
                .unwrap_or_default()
                .saturating_mul(rate.burst.max(1).into()),
        }
    }

    /// # Errors
    /// How long until the next one.
    fn take(&self, key: impl Hash, now: Instant) -> Result<(), Duration> {
        let Some(interval) = self.interval_ns else {
            return Ok(());
        };
        let now = now.saturating_duration_since(self.started).as_nanos();
        // 584 years.
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let index = self.hasher.hash_one(key) % self.full_at.len().max(1) as u64;
        let slot = usize::try_from(index)
            .ok()
            .and_then(|i| self.full_at.get(i));
        let Some(slot) = slot else {
            return Ok(());
        };
        let mut wait = 0;
        let taken = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let next = full_at.max(now).saturating_add(interval);
            wait = next.saturating_sub(now).saturating_sub(self.depth_ns);
            (wait == 0).then_some(next)
        });
        taken.map(drop).map_err(|_| Duration::from_nanos(wait))
    }
}

/// Half a megabyte each. With 10 000 busy sources one in seven shares its buckets.
const SOURCES: usize = 65_536;
const TOKENS: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(count: u32, burst: u32, slot_count: usize) -> Buckets {
        let rate = Rate {
            count,
            per: Duration::from_secs(1),
            burst,
        };
        Buckets::new(rate, slot_count)
    }

    #[test]
    fn the_burst_passes_then_the_rate() {
        let buckets = buckets(10, 5, 64);
        let start = buckets.started + Duration::from_secs(7);
        for n in 0..5 {
            assert!(buckets.take("a", start).is_ok(), "{n}");
        }
        assert_eq!(buckets.take("a", start), Err(Duration::from_millis(100)));
        let later = start + Duration::from_millis(50);
        assert_eq!(buckets.take("a", later), Err(Duration::from_millis(50)));
        let later = start + Duration::from_millis(100);
        assert_eq!(buckets.take("a", later), Ok(()));
        assert!(buckets.take("a", later).is_err());
        // After a long rest it is the burst again and no more.
        let later = start + Duration::from_secs(3600);
        for n in 0..5 {
            assert!(buckets.take("a", later).is_ok(), "{n}");
        }
        assert!(buckets.take("a", later).is_err());
    }

    #[test]
    fn a_refused_request_costs_nothing() {
        let buckets = buckets(10, 1, 64);
        let start = buckets.started;
        assert!(buckets.take("a", start).is_ok());
        for _ in 0..1000 {
            assert_eq!(buckets.take("a", start), Err(Duration::from_millis(100)));
        }
        let later = start + Duration::from_millis(100);
        assert!(buckets.take("a", later).is_ok());
    }

    #[test]
    fn one_busy_caller_leaves_nearly_all_others_alone() {
        let buckets = buckets(1, 1, 1024);
        let start = buckets.started;
        while buckets.take(0_u32, start).is_ok() {}
        let refused = (1..=256_u32).filter(|n| buckets.take(n, start).is_err());
        // 256 in 1024 slots: about 30 meet one another.
        assert!(refused.count() < 80);
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit() {
        let buckets = buckets(0, 0, 64);
        for _ in 0..10_000 {
            assert!(buckets.take("a", buckets.started).is_ok());
        }
    }

    #[test]
    fn an_address_stands_for_its_block() {
        let same = |a: &str, b: &str| {
            block(a.parse().expect("an address")) == block(b.parse().expect("an address"))
        };
        assert!(same("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"));
        assert!(!same("2001:db8:0:1::1", "2001:db8:0:2::1"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }
}
