use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::tls::TlsError;

/// Why the control plane cannot serve.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// A setting that cannot be.
    Config(io::Error),
    /// The certificate or its key.
    Tls(TlsError),
    /// An address that is taken or not ours.
    Listen {
        /// The address.
        address: SocketAddr,
        /// The kernel's word.
        source: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Config(source) => write!(f, "{source}"),
            BindError::Tls(source) => write!(f, "{source}"),
            BindError::Listen { address, source } => {
                write!(f, "the HTTP address {address} cannot be used: {source}")
            }
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::Config(source) | BindError::Listen { source, .. } => Some(source),
            BindError::Tls(source) => Some(source),
        }
    }
}

impl From<TlsError> for BindError {
    fn from(source: TlsError) -> Self {
        BindError::Tls(source)
    }
}
