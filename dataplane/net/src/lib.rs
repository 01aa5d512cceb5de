//! UDP back ends behind one trait: io_uring, mmsg, tokio-uring and a fake.
//!
//! This crate moves datagrams between a UDP socket and one shard thread; it does not know what is
//! in them. [`open`] picks the back end, [`Backend`] is all a shard sees of it.
//!
//! ```no_run
//! use std::time::Duration;
//! use whitewater_net::{Config, Outgoing, open};
//!
//! let doorbell = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK)?;
//! let mut net = open(Config::new("[::]:3478".parse()?, doorbell))?.backend;
//! let mut outgoing = Outgoing::default();
//! loop {
//!     net.wait(Some(Duration::from_millis(5)))?;
//!     while net
//!         .drain(512, &mut |datagram| {
//!             let echo = datagram.bytes.to_vec();
//!             outgoing.push(datagram.source, Some(datagram.local.ip()), echo);
//!         })
//!         .more
//!     {}
//!     net.send(&outgoing);
//!     outgoing.clear();
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `unsafe` lives in `sys.rs` (system calls) and `slab.rs` (memory the kernel writes to) only.

#![deny(unsafe_code)]

mod backend;
mod borrowed;
mod config;
mod doorbell;
pub mod fake;
pub mod gso;
mod message;
mod mmsg;
mod probe;
mod slab;
mod socket;
mod steer;
mod sys;
mod tokio_uring;
mod units;
mod uring;

pub use backend::{
    Backend, BackendKind, Counters, Datagram, Drained, Outgoing, SendOutcome, Train, WAIT_MAX,
    Woken,
};
pub use borrowed::TrainSender;
pub use config::{BackendChoice, Choice, Config, OpenError, Opened};
pub use probe::{open, probe_uring};
pub use steer::Selector;
pub use sys::{give_memory_back, join_in_giving_back};
