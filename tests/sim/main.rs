//! Whole engines over simulated networks: sentences that hold for every seed.
//!
//! Virtual time only. A seed that fails is a bug, not bad luck.

mod adapting;
mod bandwidth;
mod cascade;
mod changes;
mod channels;
mod hostile;
mod intake;
mod joining;
mod lanes;
mod layers;
mod liveness;
mod loss;
mod mobility;
mod quality;
mod redundancy;
mod replay;
mod restarts;
mod sizes;
mod temporal;
mod uplink;

use std::time::Duration;

/// Seeds that gate. One that is found to fail is fixed and then added.
const SEEDS: [u64; 3] = [1, 203, 0xb0a7];

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// User name fragment and password of an SDP.
fn credentials(sdp: &str) -> [String; 2] {
    ["a=ice-ufrag:", "a=ice-pwd:"].map(|name| {
        let line = sdp.lines().find_map(|line| line.strip_prefix(name));
        line.expect("every SDP of ours has them").to_owned()
    })
}
