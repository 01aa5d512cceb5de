//! The HTTP control plane: WHIP, WHEP, sessions, API dialects and the web page.
//!
//! It may be slow and may fail, but never touches a packet: it speaks to the data plane only
//! through a [`whitewater_link::ControlPort`]. [`Server::bind`] takes that port, and
//! [`Server::run`] serves until its shutdown future is ready.
//!
//! A request's way: a dialect parses it, the registry of `whitewater-model` decides, a command
//! goes to the data plane, its event comes back, and the dialect renders what came of it.

#![forbid(unsafe_code)]

mod assets;
mod auth;
mod cascade;
mod cluster;
mod config;
mod context;
mod dialect;
mod drain;
mod events;
mod health;
mod http;
mod metrics;
mod negotiate;
mod outbound;
mod plane;
mod random;
mod session;
mod whep;
mod whip;

pub use cluster::{
    Account, Calls, EtcdAccess, ManagerConfig, ManagerServer, NodeEntry, Registrar, Registration,
};
pub use config::{
    About, Auth, Cascade, Config, HttpLimits, IceServer, MetricsAccess, Rate, Redirects, Tls,
    TurnSecret,
};
#[cfg(feature = "__fuzz")]
pub use http::fuzz::Unplugged;
pub use http::{BindError, Server, TlsError, check_tls};
pub use negotiate::is_url_template;
pub use random::random_token;
pub use whitewater_link::Network;
pub use whitewater_model::cluster::{BadNodeName, Bounds, NodeName, Patience};
pub use whitewater_model::{AbsentStream, Policy, Takeover};
