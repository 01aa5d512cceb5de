//! A load generator for WHIP and WHEP servers.
//!
//! Publishers and viewers are real enough for a server not to notice: HTTP, ICE, DTLS, SRTP,
//! reports, requests for what was lost. They are cheap all the same: packets leave and arrive in
//! runs, nothing is encoded, and viewers decrypt only if they are asked to verify.
//!
//! [`Fleet`] starts sessions one by one, for benches; [`run`] is the whole `load` subcommand.

#![forbid(unsafe_code)]

mod args;
mod feedback;
mod fleet;
mod http;
mod media;
pub mod process;
mod progress;
mod report;
mod run;
mod sdp;
mod session;
mod socket;
mod stats;
mod tls;
mod track;
mod transport;
mod worker;

pub use args::{LoadArgs, Plan, PlanError, Share};
pub use fleet::{Fleet, FleetError, FleetOptions, JoinError, JoinTimes, Member};
pub use media::VideoCodec;
pub use report::Report;
pub use run::run;
pub use session::{Inspection, Pacing, Program};
pub use stats::{Latency, Snapshot, Totals};
