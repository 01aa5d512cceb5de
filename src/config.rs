//! The configuration of a node: what can be set, where it is read from, how it is shown.
//!
//! Every key is declared once, in `keys.rs`: its type, default, unit and documentation. The typed
//! [`Config`], the environment names, `whitewater config print`, the reference in
//! `docs/configuration.md` and the texts of refusals all come from that table. Values are set by
//! flags, environment and file, in this order of precedence, and each of them is judged alike.
//!
//! It is not the place where a value takes effect: the node turns a [`Config`] into the
//! configurations of its crates.

mod address;
mod cluster;
mod compat;
mod ice_server;
mod keys;
mod load;
mod node;
mod print;
mod problem;
mod redirect;
mod secret;
mod value;
mod word;

pub use address::{Callable, HostName, Network, Origin};
pub use cluster::{Account, Alias, BaseUrl, NodeEntry};
pub use ice_server::IceServer;
pub use keys::{
    Auth, Cascade, Cluster, Config, Http, Ice, Key, Limits, Log, Manager, Media, Member, Play,
    Publish, Sdp, Strategy, Tls,
};
pub use load::{Effective, Flag, Source, Sources, load};
pub use print::{effective, reference};
pub use problem::{ConfigError, Place, Problem};
pub use redirect::RedirectUrl;
pub use secret::{Secret, Token};
pub use word::{
    AudioCodec, AudioRed, Backend, Calls, LogLevel, MetricsAccess, PlayAbsent, Takeover, VideoCodec,
};

#[cfg(test)]
mod tests;
