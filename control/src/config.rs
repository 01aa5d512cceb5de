use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use whitewater_model::Policy;

/// Everything the control plane is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where HTTP is served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Streams, sessions, take-over.
    pub policy: Policy,
    /// What a peer may cost us.
    pub limits: HttpLimits,
    /// STUN and TURN servers that clients are told (RFC 9725 §4.6).
    pub ice_servers: Vec<IceServer>,
    /// Origins whose pages may read the management API, e.g. `https://admin.example`. The WHIP,
    /// WHEP and session routes are open to every origin.
    pub allowed_origins: Vec<String>,
    /// What `/api/info` tells.
    pub about: About,
    /// How long the data plane may take for an answer before the client gets 504.
    pub answer_timeout: Duration,
    /// How long sessions may take to close at shutdown.
    pub drain_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7777)),
            policy: Policy::default(),
            limits: HttpLimits::default(),
            ice_servers: Vec::new(),
            allowed_origins: Vec::new(),
            about: About::default(),
            answer_timeout: Duration::from_secs(5),
            drain_max: Duration::from_secs(2),
        }
    }
}

/// What an HTTP peer may cost us.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// TCP connections at the same time; further ones wait in the kernel's backlog.
    pub connections_max: usize,
    /// Clients of the stream list's event stream.
    pub sse_clients_max: usize,
    /// For a request's head, and for a connection's first request.
    pub header_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
    /// A request's head, in bytes.
    pub header_size_max: usize,
    /// An SDP offer, in bytes.
    pub sdp_size_max: usize,
    /// An RFC 8840 fragment, in bytes.
    pub fragment_size_max: usize,
    /// A JSON body, in bytes.
    pub json_size_max: usize,
    /// Requests at the same time on one HTTP/2 connection.
    pub h2_streams_max: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            connections_max: 10_000,
            sse_clients_max: 256,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            header_size_max: 32 * 1024,
            sdp_size_max: 256 * 1024,
            fragment_size_max: 64 * 1024,
            json_size_max: 64 * 1024,
            h2_streams_max: 100,
        }
    }
}

/// A STUN or TURN server.
#[derive(Clone, Default)]
pub struct IceServer {
    /// `stun:`, `stuns:`, `turn:` or `turns:` URIs (RFC 7064, RFC 7065), handed on unchanged.
    pub urls: Vec<String>,
    /// For TURN.
    pub username: Option<String>,
    /// For TURN.
    pub credential: Option<String>,
}

/// The credential is a secret.
impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .field("credential", &self.credential.as_ref().map(|_| "***"))
            .finish()
    }
}

/// What `/api/info` tells.
#[derive(Clone, Debug)]
pub struct About {
    /// The program's version.
    pub version: String,
    /// The commit it was built from; may be empty.
    pub git_hash: String,
    /// When it was built; may be empty.
    pub build_time: String,
    /// Optional parts that are in.
    pub features: Vec<String>,
    /// The UDP port media arrives at; 0 when not known.
    pub udp_port: u16,
    /// The data plane's back end, e.g. `uring`.
    pub backend: String,
}

impl Default for About {
    fn default() -> Self {
        About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_hash: String::new(),
            build_time: String::new(),
            features: Vec::new(),
            udp_port: 0,
            backend: String::new(),
        }
    }
}
