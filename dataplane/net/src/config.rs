//! How a back end is configured, and what came of it.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::backend::{Backend, BackendKind};

/// Which back end to open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// io_uring where it works, else mmsg.
    #[default]
    Auto,
    /// Exactly this one, or an error.
    Kind(BackendKind),
}

/// Everything a back end needs to open its socket.
#[derive(Debug)]
pub struct Config {
    /// The address to bind; `[::]` takes IPv4 as well, any other IPv6 address does not.
    pub bind: SocketAddr,
    /// Share the port with other sockets that set this too (one per shard).
    pub reuse_port: bool,
    /// Wished kernel receive buffer (SO_RCVBUF), bytes.
    pub recv_buffer_bytes: usize,
    /// Wished kernel send buffer (SO_SNDBUF), bytes.
    pub send_buffer_bytes: usize,
    /// Send trains segmented by the kernel (UDP_SEGMENT), where possible.
    pub gso: bool,
    /// Let the kernel coalesce received datagrams (UDP_GRO), where possible.
    pub gro: bool,
    /// How many receive buffers the back end owns; rounded up to a power of two, 8..=32,768.
    pub recv_buffers: u16,
    /// The largest datagram taken without loss, bytes. With `gro` every buffer holds a whole
    /// coalesced message (64 KiB) and this is ignored.
    pub recv_buffer_size: usize,
    /// The most sends handed to the kernel at once, 1..=64.
    pub send_batch: u16,
    /// An eventfd made by the caller, who keeps a duplicate and adds 1 to ring. The back end reads
    /// it and sets it non-blocking (for the duplicate too: only a full counter would notice).
    pub doorbell: OwnedFd,
    /// Which back end.
    pub backend: Choice,
    /// Compute UDP checksums on transmit. Turned off only by tests: without checksums the kernel
    /// refuses UDP_SEGMENT, which is the way to see a real refusal on any machine.
    #[doc(hidden)]
    pub checksums: bool,
}

impl Config {
    /// The defaults for one shard: GSO and GRO on, 256 buffers, back end chosen by probing.
    #[must_use]
    pub fn new(bind: SocketAddr, doorbell: OwnedFd) -> Self {
        Self {
            bind,
            reuse_port: false,
            recv_buffer_bytes: 4 << 20,
            send_buffer_bytes: 4 << 20,
            gso: true,
            gro: true,
            recv_buffers: 256,
            recv_buffer_size: 2048,
            send_batch: 64,
            doorbell,
            backend: Choice::Auto,
            checksums: true,
        }
    }
}

/// An open back end and how it came to be chosen.
pub struct Opened {
    /// The back end; belongs to the opening thread.
    pub backend: Box<dyn Backend>,
    /// What to log about it.
    pub choice: BackendChoice,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("backend", &self.backend.kind())
            .field("choice", &self.choice)
            .finish()
    }
}

/// Which back end was opened and what the operator may want to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendChoice {
    /// The kind that was opened.
    pub kind: BackendKind,
    /// One line for the log when the first choice was refused: what, why, what to do.
    pub advice: Option<String>,
    /// One line for the log when the kernel granted smaller socket buffers than wished.
    pub buffer_advice: Option<String>,
    /// Receive buffer granted, bytes as the kernel accounts them (twice the payload room).
    pub recv_buffer_bytes: usize,
    /// Send buffer granted, bytes as the kernel accounts them (twice the payload room).
    pub send_buffer_bytes: usize,
}

/// Why no back end could be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// A configured value is out of range.
    Config(&'static str),
    /// The socket could not be made or bound.
    Socket {
        /// What was being done.
        what: &'static str,
        /// The address of the configuration.
        bind: SocketAddr,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The back end that was asked for does not work here.
    Backend {
        /// The kind that was asked for.
        kind: BackendKind,
        /// What the kernel said, and what to do.
        cause: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(what) => f.write_str(what),
            Self::Socket { what, bind, cause } => {
                write!(f, "UDP socket on {bind}: {what}: {cause}")
            }
            Self::Backend { kind, cause } => write!(f, "back end {kind}: {cause}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(_) => None,
            Self::Socket { cause, .. } | Self::Backend { cause, .. } => Some(cause),
        }
    }
}
