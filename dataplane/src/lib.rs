//! The real-time plane: one loop per core, each joining the sans-IO engine with a UDP back end.
//!
//! [`spawn`] starts the shards and the negotiator, which talk to control over the line of
//! `whitewater-link` and to each other over queues of their own. No HTTP, no JSON, no lock and no
//! file system in here.

#![forbid(unsafe_code)]

mod addresses;
mod config;
mod dial;
mod mesh;
mod negotiator;
mod shard;
mod spawn;
mod steer;
mod tcp;

pub use addresses::interfaces;
pub use config::Config;
pub use spawn::{DataPlane, ShardInfo, SpawnError, spawn};
pub use whitewater_engine::AudioRed;
pub use whitewater_net::{BackendKind, Choice, join_in_giving_back};
pub use whitewater_sdp::{Codec, MediaKind};
