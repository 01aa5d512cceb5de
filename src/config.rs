//! The configuration of a node: what can be set, where it is read from, how it is shown.
//!
//! Every key is declared once, in [`keys`]: its type, default, unit and documentation. The typed
//! [`Config`], the environment names, `whitewater config print`, the reference in
//! `docs/configuration.md` and the texts of refusals all come from that table. Values are set by
//! flags, environment and file, in this order of precedence, and each of them is judged alike.
//!
//! It is not the place where a value takes effect: the node turns a [`Config`] into the
//! configurations of its crates.

mod compat;
mod keys;
mod load;
mod node;
mod print;
mod problem;
mod value;

pub use keys::{Auth, Config, Http, Ice, Key, Limits, Log, Media, Play, Publish, Sdp, Strategy};
pub use load::{Effective, Flag, Source, Sources, load};
pub use print::{effective, reference};
pub use problem::{ConfigError, Place, Problem};
pub use value::{
    AudioCodec, Backend, IceServer, LogLevel, Network, Origin, PlayAbsent, Secret, Takeover, Token,
    VideoCodec,
};

#[cfg(test)]
mod tests;
