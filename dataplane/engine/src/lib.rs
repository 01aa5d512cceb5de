//! Sans-IO WebRTC sessions and forwarding for one core.
//!
//! [`Engine`] holds the sessions of one shard. It is told what happened
//! ([`Input`]) and asked what to do ([`Outbox`]); it has no socket, thread or clock, and its
//! randomness comes from a seed. [`admission`] turns an offer into a session off the hot core.
//!
//! It does not know which back end carries its datagrams, nor who asked for a session over which
//! API.

#![forbid(unsafe_code)]
// clippy.toml lists them; tests may read the clock to have a time to start from.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod admission;
mod clock;
mod config;
mod counter;
pub mod dialling;
pub mod drops;
mod engine;
pub mod forward;
#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod lanes;
pub mod limits;
pub mod session;
pub mod wheel;

pub use config::{AudioRed, Config, Panics, Ports};
pub use engine::{Command, Datagram, Engine, Input, Outbox, Pin};
pub use forward::batch::{Batch, Outgoing, Route, Run};

/// Frames on TCP, for users that know no other crate of the plane.
pub use whitewater_rtp::framing;
