use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use whitewater_link::Network;
use whitewater_model::Policy;

/// Everything the control plane is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where HTTP is served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the management API is served, and nowhere else then; none: at `listen`. Everything else
    /// is served there as well. Beyond loopback it is secured as `listen` is.
    pub admin_listen: Option<SocketAddr>,
    /// How that is secured.
    pub tls: Tls,
    /// Where plain HTTP is answered with the way to HTTPS; needs `tls`.
    pub redirect_listen: Option<SocketAddr>,
    /// For how long browsers are told to come by HTTPS only (RFC 6797); zero: they are not told.
    pub hsts_max_age: Duration,
    /// Streams, sessions, take-over.
    pub policy: Policy,
    /// What a peer may cost us.
    pub limits: HttpLimits,
    /// STUN and TURN servers that clients are told (RFC 9725 §4.6).
    pub ice_servers: Vec<IceServer>,
    /// How credentials are made for TURN servers that have none of their own.
    pub turn: TurnSecret,
    /// Tell the servers in answers to OPTIONS that are no preflights too.
    pub links_on_options: bool,
    /// Other nodes that clients are sent to.
    pub redirects: Redirects,
    /// Origins whose pages may read the management API, e.g. `https://admin.example`. The WHIP,
    /// WHEP and session routes are open to every origin.
    /// `*` stands for every origin.
    pub allowed_origins: Vec<String>,
    /// Names the management API may be called by, without ports. On a loopback address those of
    /// this machine come in addition; elsewhere an empty list lets every name pass.
    pub hosts: Vec<String>,
    /// Proxies that are believed when they say who the client is.
    pub trusted_proxies: Vec<Network>,
    /// Who is let in.
    pub auth: Auth,
    /// Sessions in which this node is the client of another server.
    pub cascade: Cascade,
    /// What `/api/info` tells.
    pub about: About,
    /// How long the data plane may take for an answer before the client gets 504.
    pub answer_timeout: Duration,
    /// How long a counter-offer to a viewer may be answered (WHEP §4.3.2).
    pub counter_offer: Duration,
    /// How long sessions may take to close at shutdown.
    pub drain_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7777)),
            admin_listen: None,
            tls: Tls::Off,
            redirect_listen: None,
            hsts_max_age: Duration::ZERO,
            policy: Policy::default(),
            limits: HttpLimits::default(),
            ice_servers: Vec::new(),
            turn: TurnSecret::default(),
            links_on_options: false,
            redirects: Redirects::default(),
            allowed_origins: Vec::new(),
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            auth: Auth::default(),
            cascade: Cascade::default(),
            about: About::default(),
            answer_timeout: Duration::from_secs(5),
            counter_offer: Duration::from_secs(30),
            drain_max: Duration::from_secs(2),
        }
    }
}

/// How the listener is secured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Not at all: a proxy in front does it, or nobody is on the way.
    #[default]
    Off,
    /// With a certificate chain and its key from PEM files, which are read again when they change.
    Files {
        /// The chain, the server's certificate first.
        certificate: PathBuf,
        /// Its key, not encrypted.
        key: PathBuf,
    },
    /// With a certificate that is made at start and kept in memory.
    SelfSigned {
        /// The host names and IP addresses it is for.
        names: Vec<String>,
    },
}

/// What an HTTP peer may cost us.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// TCP connections at the same time; further ones wait in the kernel's backlog.
    pub connections_max: usize,
    /// Those from one IPv4 address or one IPv6 /64 that is no trusted proxy; further ones are
    /// closed. 0 is no limit.
    pub source_connections_max: usize,
    /// Clients of the stream list's event stream.
    pub sse_clients_max: usize,
    /// Those from one source; 0 is no limit.
    pub source_sse_clients_max: usize,
    /// Event streams of any kind that are open to one source, those of viewers' sessions included; 0
    /// is no limit.
    pub source_event_streams_max: usize,
    /// For a TLS handshake, for a connection's first request, and for a request's head, which in
    /// HTTP/1 begins with the end of the answer before.
    pub header_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
    /// How long a peer may take nothing of its answer.
    pub write_timeout: Duration,
    /// How long an HTTP/2 connection may go without a request.
    pub idle_timeout: Duration,
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
    /// POST, PATCH and DELETE, each, from one IPv4 address or one IPv6 /64.
    pub source_requests: Rate,
    /// POST, PATCH and DELETE, each, with one token.
    pub token_requests: Rate,
    /// Requests for sessions that do not exist, from one source, that hear 404; the others hear
    /// 429. 0 is no limit.
    pub source_misses_per_minute: u32,
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// This many times; 0 is no limit.
    pub count: u32,
    /// In this time.
    pub per: Duration,
    /// This many times at once, after a rest.
    pub burst: u32,
}

impl Rate {
    /// `count` times a second, `burst` times at once.
    pub fn per_second(count: u32, burst: u32) -> Self {
        Rate {
            count,
            per: Duration::from_secs(1),
            burst,
        }
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            connections_max: 10_000,
            source_connections_max: 1000,
            sse_clients_max: 256,
            source_sse_clients_max: 64,
            // One for each of a thousand viewers behind one address.
            source_event_streams_max: 1000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            header_size_max: 32 * 1024,
            sdp_size_max: 256 * 1024,
            fragment_size_max: 64 * 1024,
            json_size_max: 64 * 1024,
            h2_streams_max: 100,
            // An office behind one address, all of which joins at once.
            source_requests: Rate::per_second(200, 1000),
            // 10 000 viewers with one token who join within a minute are 167 a second.
            token_requests: Rate::per_second(1000, 5000),
            source_misses_per_minute: 20,
        }
    }
}

/// Who is let in. Without any tokens and keys everybody is, and may do everything.
#[derive(Clone)]
pub struct Auth {
    /// Bearer tokens that may do everything.
    pub tokens: Vec<String>,
    /// Bearer tokens that may publish every stream.
    pub publish_tokens: Vec<String>,
    /// Bearer tokens that may watch every stream.
    pub watch_tokens: Vec<String>,
    /// A file of tokens, read again when it changes: lines of rights, token, stream.
    pub tokens_file: Option<PathBuf>,
    /// The HMAC key of JSON Web Tokens, which say for themselves what they allow; empty: there is
    /// none.
    pub secret: String,
    /// Files of public keys of JSON Web Tokens, in PEM or as JSON Web Key Set, read again when
    /// they change.
    pub key_files: Vec<PathBuf>,
    /// Where a JSON Web Key Set is fetched: https, or http to a loopback address.
    pub jwks_url: Option<String>,
    /// How often it is fetched.
    pub jwks_interval: Duration,
    /// Certificates, in PEM, that its server is trusted by instead of those of the system.
    pub jwks_ca_file: Option<PathBuf>,
    /// Issuers (`iss`) whose tokens are taken; empty: all who have a key.
    pub issuers: Vec<String>,
    /// Names of this server in tokens' `aud`; empty: only tokens for nobody in particular are
    /// taken.
    pub audiences: Vec<String>,
    /// How far the clocks of issuers may differ from ours.
    pub leeway: Duration,
    /// Where revocations are kept and read from; none: they end with the process.
    pub revocations_file: Option<PathBuf>,
    /// Take the token as `?token=` too, for clients that cannot send headers.
    pub token_in_url: bool,
    /// Who may look at the metrics and at what this server is.
    pub metrics: MetricsAccess,
}

/// Who may look at `/metrics` and `/api/info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsAccess {
    /// This machine; others as everything else that is for all streams.
    #[default]
    Local,
    /// Everybody.
    Open,
    /// Who may manage all streams.
    Manage,
}

impl Auth {
    /// Whether anybody is asked for credentials.
    pub fn asks(&self) -> bool {
        let lists = [&self.tokens, &self.publish_tokens, &self.watch_tokens];
        lists.iter().any(|list| !list.is_empty()) || self.tokens_file.is_some() || self.takes_jwt()
    }

    /// Whether JSON Web Tokens are taken.
    pub(crate) fn takes_jwt(&self) -> bool {
        !self.secret.is_empty() || !self.key_files.is_empty() || self.jwks_url.is_some()
    }
}

impl Default for Auth {
    fn default() -> Self {
        Auth {
            tokens: Vec::new(),
            publish_tokens: Vec::new(),
            watch_tokens: Vec::new(),
            tokens_file: None,
            secret: String::new(),
            key_files: Vec::new(),
            jwks_url: None,
            jwks_interval: Duration::from_secs(60),
            jwks_ca_file: None,
            issuers: Vec::new(),
            audiences: Vec::new(),
            // RFC 7519 §4.1.4: a small leeway, no more than a few minutes.
            leeway: Duration::from_secs(60),
            revocations_file: None,
            token_in_url: false,
            metrics: MetricsAccess::default(),
        }
    }
}

/// Tokens and secret are counted, not shown.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("tokens", &self.tokens.len())
            .field("publish_tokens", &self.publish_tokens.len())
            .field("watch_tokens", &self.watch_tokens.len())
            .field("has_secret", &!self.secret.is_empty())
            .field("key_files", &self.key_files)
            .field("issuers", &self.issuers)
            .field("audiences", &self.audiences)
            .field("token_in_url", &self.token_in_url)
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}

/// Sessions in which this node is the client of another server.
#[derive(Clone, Debug)]
pub struct Cascade {
    /// Blocks of addresses that may be called though they are not of the internet.
    pub networks: Vec<Network>,
    /// Hosts that may be called whatever their addresses are, in lower case.
    pub hosts: Vec<String>,
    /// Certificates, in PEM, that other servers are trusted by instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long a call of the API may take to bring a session about.
    pub connect_max: Duration,
    /// A stream from another server that nobody watches for this long is given up; zero: never.
    pub idle_timeout: Duration,
    /// Streams that come from other servers or go there, together.
    pub links_max: usize,
}

impl Default for Cascade {
    fn default() -> Self {
        Cascade {
            networks: Vec::new(),
            hosts: Vec::new(),
            ca_file: None,
            connect_max: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            links_max: 1000,
        }
    }
}

/// A STUN or TURN server.
#[derive(Clone, Default)]
pub struct IceServer {
    /// `stun:`, `stuns:`, `turn:` or `turns:` URIs (RFC 7064, RFC 7065), handed on unchanged.
    pub urls: Vec<String>,
    /// For TURN; without it the credentials are made with [`TurnSecret`].
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

/// The secret shared with TURN servers (draft-uberti-behave-turn-rest §2.2).
#[derive(Clone)]
pub struct TurnSecret {
    /// The HMAC key; empty: no credentials are made.
    pub secret: String,
    /// How long a credential can be used.
    pub ttl: Duration,
}

impl Default for TurnSecret {
    fn default() -> Self {
        TurnSecret {
            secret: String::new(),
            ttl: Duration::from_secs(86_400),
        }
    }
}

/// The key is a secret.
impl fmt::Debug for TurnSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnSecret")
            .field("is_set", &!self.secret.is_empty())
            .field("ttl", &self.ttl)
            .finish()
    }
}

/// Other nodes that clients are sent to (RFC 9725 §4.5). In a URL `{stream}` stands for the
/// stream's name, percent-encoded.
#[derive(Clone, Debug, Default)]
pub struct Redirects {
    /// For POSTs of WHIP.
    pub publish: Option<String>,
    /// For POSTs of WHEP.
    pub play: Option<String>,
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
    /// What this node is called in a cluster; may be empty.
    pub alias: String,
    /// Where it stands; may be empty.
    pub region: String,
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
            alias: String::new(),
            region: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_in_the_debug_text() {
        let auth = Auth {
            tokens: vec!["hush-token".to_owned()],
            publish_tokens: vec!["hush-token".to_owned()],
            watch_tokens: vec!["hush-token".to_owned()],
            secret: "hush-key".to_owned(),
            ..Auth::default()
        };
        let text = format!("{auth:?}");
        assert!(!text.contains("hush"), "{text}");
        let turn = TurnSecret {
            secret: "hush-turn".to_owned(),
            ..TurnSecret::default()
        };
        let text = format!("{turn:?}");
        assert!(!text.contains("hush"), "{text}");
    }
}
