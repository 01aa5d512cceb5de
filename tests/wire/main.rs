//! Whole nodes over real sockets: HTTP in front, media on loopback, every back end.
//!
//! What is asserted is what arrives, never how fast.

mod attacks;
mod cascade;
mod client;
mod counter;
mod events;
mod flood;
mod forwarding;
mod http;
mod lanes;
mod load;
mod media;
mod node;
mod process;
mod publishers;
mod reach;
mod siege;
mod transport;
