//! Streams and sessions as plain state machines: who publishes what, who watches, what may be
//! taken over, when a stream goes.
//!
//! Nothing here reads a clock, draws a random number, opens a socket or knows HTTP: time and ids
//! are arguments, verbs answer with typed errors, and what the data plane is to do is left in the
//! [`Registry`]'s outbox as [`whitewater_link::Command`]s.

#![forbid(unsafe_code)]
// clippy.toml lists them; tests may read the clock to have a time to start from.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod cluster;
mod diagnosis;
mod error;
mod layer;
mod name;
mod policy;
mod principal;
mod rate;
mod registry;
mod relay;
mod session;
mod stream;
mod time;
mod view;

pub use diagnosis::{Diagnosed, Severity};
pub use error::Error;
pub use layer::Layer;
pub use name::{BadName, StreamName};
pub use policy::{AbsentStream, Policy, Takeover};
pub use principal::{Authority, Principal};
pub use registry::{
    Admission, Answered, Counts, Drain, Purpose, Registry, Scene, SessionRef, Summary, Totals,
};
pub(crate) use relay::{Far, Relay};
pub use relay::{NodeId, Seat};
pub use session::Side;
pub use time::Now;
pub use view::{Cascade, SessionView, SideView, Stats, StreamView};
pub use whitewater_link::{LayerIntake, Loudness, Selection, TrackIntake};
