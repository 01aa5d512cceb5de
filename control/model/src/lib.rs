//! Streams, sessions and nodes as plain state machines.
