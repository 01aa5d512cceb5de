//! A simulated network: virtual clock, seeded links, scripted WebRTC peers.
//!
//! A [`World`] holds the engines of one node, the negotiator before them, and peers that speak
//! real ICE, DTLS, SRTP and RTCP to them over [`Link`]s that lose, delay, reorder, duplicate and
//! rewrite. Nothing sleeps and nothing reads a clock: a minute of media takes a second.
//!
//! One seed determines links, ids and credentials. What the peers' WebRTC stack randomises inside
//! (SSRCs, transaction ids) changes bytes, never the verdict.
//!
//! It knows neither sockets nor HTTP; `tests/wire` and `tests/http` are about these.

#![forbid(unsafe_code)]

mod bits;
mod channels;
mod described;
mod due;
mod far;
mod link;
mod media;
mod peer;
mod plot;
mod publisher;
mod repair;
pub mod stun;
mod viewer;
mod world;

pub use rand;
pub use str0m;
pub use whitewater_engine as engine;
pub use whitewater_link as link_types;

pub use bits::Line;
pub use channels::{Said, Talk};
pub use described::Described;
pub use far::Far;
pub use link::{Burst, Link, Path, Stalls};
pub use media::{Content, NotOurs, Piece, Temporal};
pub use peer::{PeerConfig, Tracks, VideoFormat};
pub use plot::Plot;
pub use publisher::{Encoding, Published, Script, THREE_LAYERS, Told};
pub use viewer::{Heard, Shown, Track, Watched};
pub use world::{PeerId, Tapped, Way, World};
