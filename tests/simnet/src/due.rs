//! What is under way between the engines and the peers, by time.

use std::net::SocketAddr;
use std::time::Instant;

use whitewater_link::{Relay, ShardIndex};

/// Something under way.
pub(crate) struct Due {
    pub(crate) at: Instant,
    pub(crate) order: u64,
    pub(crate) what: What,
}

/// What it is.
pub(crate) enum What {
    ToServer {
        source: SocketAddr,
        local: SocketAddr,
        bytes: Vec<u8>,
    },
    ToPeer {
        peer: usize,
        source: SocketAddr,
        bytes: Vec<u8>,
    },
    Relay {
        to: ShardIndex,
        relay: Relay,
    },
    Wake(usize),
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
