//! UDP back ends behind one trait: io_uring, mmsg, tokio-uring and a fake.

#![deny(unsafe_code)]

mod backend;
mod config;
mod doorbell;
pub mod fake;
pub mod gso;

pub use backend::{
    Backend, BackendKind, Counters, Datagram, Drained, Outgoing, SendOutcome, Train, WAIT_MAX,
    Woken,
};
pub use config::{BackendChoice, Choice, Config, OpenError, Opened};
