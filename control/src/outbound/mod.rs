//! Requests of our own to other servers.

mod exchange;
mod tls;
mod url;

pub(crate) use exchange::{Failure, Reply, open, send};
pub(crate) use tls::Connector;
pub(crate) use url::Url;

/// How we name ourselves.
pub(crate) const AGENT: &str = concat!("whitewater/", env!("CARGO_PKG_VERSION"));
