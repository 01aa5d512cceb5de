//! How many of something each source has at a time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::source::block;

/// Counts places by source. A source without a place takes no memory, so the table is as large as
/// the number of places taken, which something else bounds.
pub(crate) struct Crowd {
    /// For each source; 0: no limit.
    max: usize,
    taken: Mutex<HashMap<u128, usize>>,
}

impl Crowd {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Crowd {
            max,
            taken: Mutex::default(),
        })
    }

    /// Takes a place for a source; `None` when it has as many as it may have.
    pub(crate) fn enter(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let source = block(source);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(source).or_default();
        if self.max > 0 && *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Place {
            crowd: self.clone(),
            source,
        })
    }
}

/// A place that is taken, until it is dropped.
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    source: u128,
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = self.crowd.taken.lock();
        let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = taken.entry(self.source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_source_has_its_own_places_and_gets_them_back() {
        let crowd = Crowd::new(2);
        let first = crowd.enter(ip("192.0.2.1"));
        let second = crowd.enter(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(crowd.enter(ip("192.0.2.1")).is_none());
        let other = crowd.enter(ip("192.0.2.2"));
        assert!(other.is_some());
        drop(first);
        let again = crowd.enter(ip("192.0.2.1"));
        assert!(again.is_some());
        drop((second, other, again));
        assert!(crowd.taken.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn an_ipv6_source_is_its_network_of_64_bits() {
        let crowd = Crowd::new(1);
        let _first = crowd.enter(ip("2001:db8::1")).expect("free");
        assert!(crowd.enter(ip("2001:db8::2")).is_none());
        assert!(crowd.enter(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn zero_is_no_limit() {
        let crowd = Crowd::new(0);
        let places: Vec<_> = (0..100).map(|_| crowd.enter(ip("192.0.2.1"))).collect();
        assert!(places.iter().all(Option::is_some));
    }
}
