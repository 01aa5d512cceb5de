//! Whitewater, a WebRTC SFU: streams in by WHIP, out by WHEP.
//!
//! This crate only composes: it reads the configuration, starts the data plane and the control
//! plane, ties them together and ends them in order. [`Node`] is the handle that the binary, the
//! tests and the benches use.

#![forbid(unsafe_code)]

pub mod advice;
pub mod cli;
pub mod config;
mod embedded;
mod manager;
mod node;
mod security;

pub use manager::Manager;
pub use node::{Node, StartError};
