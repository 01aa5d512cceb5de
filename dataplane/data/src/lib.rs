//! SCTP and data channels with one peer (RFC 8831), sans-IO.
//!
//! A [`Peer`] is told what its peer's DTLS records brought and is asked what is to go into ours; it
//! opens channels, takes and brings whole messages, and is bounded in everything that a peer could
//! make it keep. SCTP itself is `sctp-proto`'s; the three messages with which channels are opened
//! are in [`dcep`].
//!
//! It knows nothing of DTLS, sockets or streams, and has no clock: time is an argument.
//!
//! ```
//! use std::time::Instant;
//! use whitewater_data::{Begins, Config, Event, Ids, Peer};
//!
//! let now = Instant::now();
//! let mut ours = Peer::new(Config::new(Begins::There, Ids::Odd));
//! let mut theirs = Peer::new(Config::new(Begins::Here, Ids::Even));
//! for _ in 0..4 {
//!     while let Some(packet) = theirs.poll_packet(now) {
//!         ours.receive(now, packet);
//!     }
//!     while let Some(packet) = ours.poll_packet(now) {
//!         theirs.receive(now, packet);
//!     }
//! }
//! assert!(matches!(ours.poll_event(now), Some(Event::Up)));
//! ```

#![forbid(unsafe_code)]
// clippy.toml lists them; tests may read the clock to have a time to start from.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod budget;
pub mod dcep;
#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod limits;
mod outbox;
mod peer;

pub use budget::Rate;
pub use outbox::Overflow;
pub use peer::{Begins, Config, Counts, Event, Ids, Peer, Sent};

#[cfg(test)]
mod tests;
