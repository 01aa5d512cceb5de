//! Attacks at full rate, minutes long: `tests/run attacks`. What each must not cost others is
//! asserted; how fast it was is written into a table.
//!
//! `ATTACK_SHARE=10` makes a tenth of the numbers, for a short try.

mod connections;
mod line;
mod offers;
mod requests;
mod scene;
mod tokens;

use std::net::Ipv4Addr;

/// So many, or as small a share of it as was asked for.
fn scaled(count: u64) -> u64 {
    let share = std::env::var("ATTACK_SHARE");
    let share: u64 = share.ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    (count / share.max(1)).max(1)
}

/// One of many addresses of this machine; the first ones are those of nobody else here.
fn address(index: u64) -> Ipv4Addr {
    let [.., c, d] = (index % 60_000 + 256).to_be_bytes();
    Ipv4Addr::new(127, 1, c, d)
}
