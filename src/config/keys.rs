//! Every key, declared once: from this table come the typed [`Config`], its defaults, the
//! environment names, the printed configuration and the reference.
//!
//! A new key is one entry here; nothing else has to know its name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::address::{Callable, HostName, Network, Origin};
use super::cluster::{Account, Alias, BaseUrl, NodeEntry};
use super::ice_server::IceServer;
use super::node::{Node, Shape};
use super::redirect::RedirectUrl;
use super::secret::{Secret, Token};
use super::value::{Refused, Value};
use super::word::{
    AudioCodec, AudioRed, Backend, Calls, LogLevel, MetricsAccess, PlayAbsent, Takeover, VideoCodec,
};

/// What is known of a key.
pub struct Key {
    /// The section it stands in, as `http`.
    pub section: &'static str,
    /// Its name in the section, as `listen`.
    pub name: &'static str,
    /// What it does, in lines.
    pub doc: &'static [&'static str],
    /// The unit of its value; empty if it has none.
    pub unit: &'static str,
    /// Its own flag without dashes, as `listen`; empty if there is none.
    pub flag: &'static str,
    /// Whether its value is, or holds, something that is never shown.
    pub secret: bool,
    /// The bounds of a whole number.
    pub(crate) range: RangeInclusive<i64>,
    pub(crate) shape: Shape,
    pub(crate) allowed: fn(&RangeInclusive<i64>) -> String,
    pub(crate) read: fn(&mut Config, &Node, &RangeInclusive<i64>) -> Result<(), Refused>,
    /// The value in TOML, secrets masked.
    pub(crate) render: fn(&Config) -> String,
}

impl Key {
    /// The full name, as `http.listen`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that sets it, as `WHITEWATER_HTTP_LISTEN`.
    pub fn environment(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}_{}", self.section, self.name).to_uppercase()
    }

    /// What can be written, as the end of the sentence "allowed: …".
    pub fn allowed(&self) -> String {
        (self.allowed)(&self.range)
    }

    /// All keys, section by section.
    pub fn all() -> &'static [Self] {
        KEYS
    }

    /// The key with this full name.
    pub fn find(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path() == path)
    }
}

/// What every environment variable of the node starts with.
pub(crate) const ENVIRONMENT_PREFIX: &str = "WHITEWATER_";

/// A section: name, documentation in lines.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static [&'static str],
}

macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])+
        $Section:ident in $section:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $Type:ty = $default:expr $(, $about:ident: $fact:expr)*;
            )+
        }
    )+) => {
        /// Everything that can be configured; `Default` works on a laptop and is safe to run.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Config {
            $( $(#[doc = $section_doc])+ pub $section: $Section, )+
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {
                $( $(#[doc = $doc])+ pub $key: $Type, )+
            }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $( $key: $default, )+ }
                }
            }
        )+

        /// The sections in the order they are shown.
        pub(crate) static SECTIONS: &[Section] = &[
            $( Section { name: stringify!($section), doc: &[$( $section_doc ),+] }, )+
        ];

        /// The keys, section by section.
        pub(crate) static KEYS: &[Key] = &[$($( Key {
            section: stringify!($section),
            name: stringify!($key),
            doc: &[$( $doc ),+],
            secret: <$Type as Value>::SECRET,
            shape: <$Type as Value>::SHAPE,
            allowed: <$Type as Value>::allowed,
            read: |config, node, range| {
                config.$section.$key = Value::read(node, range)?;
                Ok(())
            },
            render: |config| Value::render(&config.$section.$key),
            $( $about: $fact, )*
            ..PLAIN
        }, )+)+];
    };
}

/// What most keys have in common; the fields without meaning here are set for each key.
const PLAIN: Key = Key {
    section: "",
    name: "",
    doc: &[],
    unit: "",
    flag: "",
    secret: false,
    range: i64::MIN..=i64::MAX,
    shape: Shape::Text,
    allowed: |_| String::new(),
    read: |_, _, _| Ok(()),
    render: |_| String::new(),
};

/// One day: longer waits are mistakes in the unit.
const DAY_S: i64 = 86_400;
const DAY_MS: i64 = DAY_S * 1000;
const KIB: i64 = 1024;
const MIB: i64 = 1024 * KIB;

sections! {
    /// The HTTP listener: WHIP, WHEP, the management API and the web page.
    Http in http {
        /// Address and TCP port to listen on. The default is reachable from this machine only.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 7777)), flag: "listen";
        /// Address and TCP port of a listener for the management API (everything under /api, and
        /// /metrics), which http.listen then answers 404. All other routes are served there as well.
        /// On a loopback address it speaks plain HTTP, elsewhere as http.listen does. Empty: the
        /// management API is served by http.listen.
        admin_listen: Option<SocketAddr> = None;
        /// Web origins whose pages may use the management API, besides the node's own. WHIP, WHEP
        /// and session routes are open to pages of every origin and do not need this.
        allowed_origins: Vec<Origin> = Vec::new();
        /// Names, without ports, by which the management API may be called. While the node listens
        /// on a loopback address, only localhost, 127.0.0.0/8 and ::1 may be used besides these,
        /// and a reverse proxy which hands on another Host is answered 403. On other addresses an
        /// empty list allows every name.
        hosts: Vec<HostName> = Vec::new();
        /// Reverse proxies whose Forwarded and X-Forwarded-For headers are believed. Limits per
        /// address count their clients; without this all clients of a proxy count as one.
        trusted_proxies: Vec<Network> = Vec::new();
        /// Connections open at a time; further ones wait in the kernel's queue.
        connections_max: u32 = 10_000, range: 1..=1_000_000;
        /// Of these, those of one IPv4 address or IPv6 /64; further ones are closed at once. Trusted
        /// proxies are not counted. 0: no limit.
        source_connections_max: u32 = 1000, range: 0..=1_000_000;
        /// Listeners of the event stream at a time; further ones are answered 503.
        sse_clients_max: u32 = 256, range: 0..=100_000;
        /// Of these, those of one IPv4 address or IPv6 /64. 0: no limit.
        source_sse_clients_max: u32 = 64, range: 0..=100_000;
        /// Event streams of any kind open at a time to one IPv4 address or IPv6 /64, those of viewers'
        /// sessions included; further ones are answered 503. 0: no limit.
        source_event_streams_max: u32 = 1000, range: 0..=1_000_000;
        /// Largest SDP body of a WHIP or WHEP request; larger ones are answered 413.
        sdp_body_bytes_max: usize = 256 * 1024, unit: "bytes", range: KIB..=4 * MIB;
        /// Largest trickle ICE or ICE restart fragment; larger ones are answered 413.
        fragment_body_bytes_max: usize = 64 * 1024, unit: "bytes", range: KIB..=MIB;
        /// Largest JSON body of the management API; larger ones are answered 413.
        json_body_bytes_max: usize = 64 * 1024, unit: "bytes", range: KIB..=4 * MIB;
        /// Largest request head; larger ones are answered 431.
        header_bytes_max: usize = 32 * 1024, unit: "bytes", range: 8 * KIB..=MIB;
        /// How long a client may take for the TLS handshake, and then to send a request head. With
        /// HTTP/1 the head's time begins when the answer before it ends.
        header_timeout_s: u32 = 10, unit: "seconds", range: 1..=600;
        /// How long a client may take to send a request body.
        body_timeout_s: u32 = 10, unit: "seconds", range: 1..=600;
        /// How long a client may take nothing of its answer.
        write_timeout_s: u32 = 30, unit: "seconds", range: 1..=600;
        /// How long an HTTP/2 connection may stay without a request.
        idle_timeout_s: u32 = 60, unit: "seconds", range: 1..=86_400;
    }

    /// HTTPS. With a certificate, http.listen speaks HTTPS only: TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2.
    Tls in tls {
        /// PEM file with the certificate chain, the server's own certificate first. It is read again
        /// within seconds of a change; one that cannot be used leaves the former in place. Empty: no
        /// TLS.
        certificate: PathBuf = PathBuf::new();
        /// PEM file with the certificate's key: RSA, ECDSA or Ed25519, not encrypted.
        key: PathBuf = PathBuf::new();
        /// Make a certificate at start, for tests on a local network. Browsers warn of it once; its
        /// fingerprint is printed. It is kept in memory only.
        self_signed: bool = false, flag: "tls-self-signed";
        /// Address and TCP port where plain HTTP is answered with the way to HTTPS (308); empty: none.
        redirect_listen: Option<SocketAddr> = None;
        /// Tell browsers to come by HTTPS only for this long (Strict-Transport-Security). Hard to
        /// take back: begin with minutes. 0: say nothing.
        hsts_max_age_s: u32 = 0, unit: "seconds", range: 0..=63_072_000;
    }

    /// The UDP port media flows through, and the threads that forward it.
    Media in media {
        /// Address and UDP port of all media; all shards share it.
        udp: SocketAddr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7777)), flag: "udp";
        /// Give each shard a port of its own, counted up from that of udp: with 4 shards 7777 to 7780.
        /// No datagram is ever handed from shard to shard then.
        ports_per_core: bool = false, flag: "ports-per-core";
        /// Take ICE over TCP too, on the port number of udp, for peers whose network lets no UDP out.
        /// Addresses where HTTP has this TCP port are left out.
        tcp: bool = true;
        /// Addresses told to peers as ICE candidates; empty: the addresses of this host. Set it
        /// behind a NAT which forwards the UDP port.
        advertise: Vec<IpAddr> = Vec::new(), flag: "advertise";
        /// Threads which forward media; 0: one per core.
        shards: u16 = 0, range: 0..=64, flag: "shards";
        /// How datagrams are received and sent; auto takes io_uring where the kernel allows it.
        backend: Backend = Backend::Auto, flag: "backend";
        /// Send runs of datagrams in one call (UDP_SEGMENT). Switched off by itself where refused.
        gso: bool = true;
        /// Receive runs of datagrams in one call (UDP_GRO).
        gro: bool = true;
        /// Receive buffer of each UDP socket; the kernel caps it at net.core.rmem_max.
        recv_buffer_bytes: usize = 4 * 1024 * 1024, unit: "bytes", range: 64 * KIB..=1024 * MIB;
        /// Send buffer of each UDP socket; the kernel caps it at net.core.wmem_max.
        send_buffer_bytes: usize = 4 * 1024 * 1024, unit: "bytes", range: 64 * KIB..=1024 * MIB;
    }

    /// Connectivity: how peers find the node.
    Ice in ice {
        /// Be the lite side of ICE, for nodes with a reachable address; false: full ICE.
        lite: bool = true;
        /// STUN and TURN servers told to WHIP and WHEP clients. STUN URLs need no user name. TURN
        /// URLs have a user name and a credential of their own, or ice.turn_secret is set.
        servers: Vec<IceServer> = Vec::new();
        /// Secret shared with the TURN servers that have no user name of their own (coturn's
        /// static-auth-secret). Every session is then told credentials made with it.
        turn_secret: Secret = Secret::default();
        /// How long such credentials can be used.
        turn_credential_ttl_s: u32 = DAY_S as u32, unit: "seconds", range: 60..=DAY_S;
        /// Tell the servers in answers to OPTIONS too, for clients which ask before they offer.
        /// Preflights of browsers are never told.
        links_on_options: bool = false;
    }

    /// How streams come and go.
    Strategy in strategy {
        /// Create a stream when somebody publishes it; false: it must be created first.
        auto_create_whip: bool = true;
        /// Create a stream when somebody watches it; false: it must be created first.
        auto_create_whep: bool = true;
        /// Viewers a stream may have; further ones are answered 503.
        each_stream_max_sub: u32 = 65_535, range: 0..=1_000_000;
        /// End the other viewers of a stream once it is pushed to another node.
        cascade_push_close_sub: bool = false;
        /// Delete a stream this long after its publisher left; 0: at once, -1: never.
        auto_delete_whip: i64 = -1, unit: "milliseconds", range: -1..=DAY_MS;
        /// Delete a stream this long after its last viewer left; 0: at once, -1: never.
        auto_delete_whep: i64 = -1, unit: "milliseconds", range: -1..=DAY_MS;
    }

    /// What publishers meet.
    Publish in publish {
        /// Whether a second publisher of a stream replaces the first: never, once the first is
        /// silent, or always. Otherwise it is answered 409.
        takeover: Takeover = Takeover::Silent;
        /// A publisher that has not been heard of for this long is silent.
        silent_after_ms: u32 = 3000, unit: "milliseconds", range: 500..=600_000;
        /// Send publishers to another node: their POST is answered 307 with this URL, where {stream}
        /// stands for the stream. Empty: nobody is sent away.
        redirect: RedirectUrl = RedirectUrl::default();
    }

    /// How packets reach viewers.
    Forward in forward {
        /// Video may wait this long for the rest of its frame, so that more of it leaves in one
        /// segmented send: less CPU with publishers that spread a frame over time, for as much more
        /// delay. Sound never waits. 0: nothing does.
        hold_us: u32 = 0, unit: "microseconds", range: 0..=5000;
        /// Give a byte of padding to packets that are a byte shorter than others of their frame, so
        /// that all of it leaves in one segmented send. Some receivers do not expect padding in media.
        pad_runs: bool = false;
        /// Redundant sound (RED, RFC 2198) for viewers that agreed to it: passed on from publishers that
        /// send it, or made as well of the Opus of those that send none. Each packet then has the one
        /// before in it, so that a loss is not heard; on a path that was seen to be full
        /// that adds an eighth of what it carries at most.
        audio_red: AudioRed = AudioRed::Pass;
    }

    /// What viewers meet.
    Play in play {
        /// A viewer of a stream without a publisher waits for one, or is refused with 409.
        absent: PlayAbsent = PlayAbsent::Wait;
        /// A viewer that could play nothing of a stream is answered 406 with a counter-offer, which
        /// it may accept for this long.
        counter_offer_s: u32 = 30, unit: "seconds", range: 2..=600;
        /// Send viewers to another node: their POST is answered 307 with this URL, where {stream}
        /// stands for the stream. Empty: nobody is sent away.
        redirect: RedirectUrl = RedirectUrl::default();
    }

    /// Streams that come from other servers or go there (POST /api/cascade).
    Cascade in cascade {
        /// Servers that may be called though they are on this machine or in its networks: addresses,
        /// blocks of them, and host names. Every server of the internet may be called.
        allow: Vec<Callable> = Vec::new();
        /// PEM file with the certificates other servers are trusted by. Empty: those of the system.
        ca_file: PathBuf = PathBuf::new();
        /// Give a stream that comes from another server up when nobody has watched it for this long;
        /// 0: never.
        idle_timeout_s: u32 = 60, unit: "seconds", range: 0..=DAY_S;
        /// Streams that come from other servers or go there at a time; further ones are answered 503.
        links_max: u32 = 1000, range: 1..=1024;
    }

    /// Caps: what the node does not go beyond, whoever asks.
    Limits in limits {
        /// A session that has not connected after this long is closed.
        half_open_timeout_s: u32 = 30, unit: "seconds", range: 1..=600;
        /// A session whose peer has not been heard of for this long is closed.
        dead_peer_timeout_s: u32 = 35, unit: "seconds", range: 5..=DAY_S;
        /// How long players may take to leave when the node stops and asks them to come again, and then
        /// sessions to say goodbye. Nobody is waited for who does not listen to events.
        drain_timeout_ms: u32 = 2000, unit: "milliseconds", range: 0..=600_000;
        /// Streams at a time; further ones are answered 503.
        streams_max: u32 = 10_000, range: 1..=1_000_000;
        /// Sessions at a time, publishers and viewers; further ones are answered 503.
        sessions_max: u32 = 20_000, range: 1..=1_000_000;
        /// Sessions at a time which are not yet connected; further ones are answered 503, or take the
        /// place of the oldest one of an address that has more of them.
        sessions_half_open_max: u32 = 2000, range: 1..=1_000_000;
        /// Of these, those of one IPv4 address or IPv6 /64; further ones are answered 429. 0: no limit.
        source_half_open_max: u32 = 500, range: 0..=1_000_000;
        /// ICE TCP connections at a time; further ones are closed at once.
        tcp_connections_max: u32 = 2000, range: 0..=100_000;
        /// ICE TCP connections at a time from one IPv4 address or IPv6 /64.
        source_tcp_connections_max: u32 = 256, range: 1..=100_000;
        /// POST requests a second from one IPv4 address or IPv6 /64, and as many PATCH and as many
        /// DELETE requests; further ones are answered 429. 0: no limit.
        source_requests_per_second: u32 = 200, range: 0..=1_000_000;
        /// How many of these may come at once after a rest.
        source_requests_burst: u32 = 1000, range: 1..=1_000_000;
        /// POST requests a second with one token, and as many PATCH and as many DELETE requests;
        /// further ones are answered 429. 0: no limit.
        token_requests_per_second: u32 = 1000, range: 0..=1_000_000;
        /// How many of these may come at once after a rest.
        token_requests_burst: u32 = 5000, range: 1..=1_000_000;
        /// Requests a minute from one IPv4 address or IPv6 /64 for sessions that do not exist, which
        /// are answered 404; further ones are answered 429. 0: no limit.
        source_misses_per_minute: u32 = 20, range: 0..=1_000_000;
    }

    /// Who may use the node. With neither tokens nor keys everybody who reaches http.listen may do
    /// everything; unless that is a loopback address, this must be asked for with auth.open. Files are
    /// read again within two seconds of a change; one that cannot be used leaves what was read before.
    Auth in auth {
        /// Bearer tokens that may do everything.
        tokens: Vec<Token> = Vec::new();
        /// Bearer tokens that may publish every stream, and nothing else.
        publish_tokens: Vec<Token> = Vec::new();
        /// Bearer tokens that may watch every stream, and nothing else.
        watch_tokens: Vec<Token> = Vec::new();
        /// File with one bearer token on each line: RIGHTS TOKEN STREAM, where RIGHTS is all, or some
        /// of publish, watch and manage with commas between; without STREAM it is for all. Sessions
        /// end when their token is removed.
        tokens_file: PathBuf = PathBuf::new();
        /// Key of the JSON Web Tokens (HS256, HS384, HS512) that say what may be done until when:
        /// {"id": stream or "*", "exp": seconds since 1970, "mode": sum of 4 watch, 2 publish,
        /// 1 manage}. Use at least 32 random bytes.
        secret: Secret = Secret::default();
        /// Files with public keys of such tokens (RS256 to RS512, PS256 to PS512, ES256 to ES512,
        /// EdDSA): PEM, or a JSON Web Key Set. Sessions end when the key of their token is removed.
        key_files: Vec<PathBuf> = Vec::new();
        /// Where such keys are fetched as JSON Web Key Set: https, or http to this machine. It is done
        /// in the background; when it fails the keys fetched before stay. Empty: nowhere.
        jwks_url: String = String::new();
        /// How often that is done; sooner when a token names a key that is not known.
        jwks_interval_s: u32 = 60, unit: "seconds", range: 1..=DAY_S;
        /// PEM file with the certificates its server is trusted by. Empty: those of the system.
        jwks_ca_file: PathBuf = PathBuf::new();
        /// Issuers whose tokens are taken (claim iss); empty: of everybody who has one of the keys.
        issuers: Vec<String> = Vec::new();
        /// What tokens call this server (claim aud); empty: only tokens without the claim are taken.
        audiences: Vec<String> = Vec::new();
        /// How far the clocks of issuers may differ from this machine's.
        leeway_s: u32 = 60, unit: "seconds", range: 0..=300;
        /// File the revocations of POST /api/auth/revocations are kept in. Without one they are
        /// forgotten when the node ends.
        revocations_file: PathBuf = PathBuf::new();
        /// Let everybody do everything on an address other machines can reach.
        open: bool = false;
        /// Who may see /metrics and /api/info, where others need a token: this machine without one and
        /// others with the manage right (local), everybody (open), or nobody without it (manage).
        metrics: MetricsAccess = MetricsAccess::Local;
        /// Take the token from the URL too (?token=), for devices which cannot send headers. URLs
        /// end up in the logs of proxies.
        token_in_url: bool = false;
    }

    /// This node as one of several behind a manager.
    Member in node {
        /// What it is called, if it registers in cluster.etcd: 1 to 64 letters, digits, dots, hyphens and
        /// underscores.
        alias: Option<Alias> = None, flag: "alias";
        /// Where it stands, in any word: managers place viewers near.
        region: String = String::new(), flag: "region";
        /// Publishers it takes, other nodes aside; further ones are answered 503.
        pub_max: u32 = 65_535, range: 0..=65_535, flag: "pub-max";
        /// Viewers it takes, other nodes aside; further ones are answered 503.
        sub_max: u32 = 65_535, range: 0..=65_535, flag: "sub-max";
        /// Where managers and other nodes reach its API, if it registers. Empty: http.listen.
        url: Option<BaseUrl> = None;
    }

    /// What a manager and its nodes share.
    Cluster in cluster {
        /// URLs of one etcd, in which nodes register and managers agree. Empty: there is one manager, and
        /// it is told its nodes.
        etcd: Vec<BaseUrl> = Vec::new(), flag: "etcd";
        /// PEM file with the certificates that nodes and etcd are trusted by. Empty: those of the system.
        ca_file: PathBuf = PathBuf::new();
        /// Who logs in at etcd, where that asks for users. Empty: nobody.
        etcd_username: String = String::new();
        /// The password for that. Over http:// it can be read on the way.
        etcd_password: Secret = Secret::default();
    }

    /// The manager: `whitewater manager`. Its HTTP side goes by the sections http, tls, limits and auth, as a
    /// node's does.
    Manager in manager {
        /// Address and TCP port of the manager (its --listen). The default is reachable from this machine
        /// only.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8888));
        /// The nodes, besides those that register (--node ALIAS=URL,region=R, once for each). A token is what
        /// the manager shows to the node; region, pub_max and sub_max go before what the node says itself.
        nodes: Vec<NodeEntry> = Vec::new();
        /// What the manager shows to nodes that registered.
        node_token: Option<Token> = None;
        /// Show nodes the token of the client instead, where the client has one: for nodes that know the
        /// same tokens and keys as the manager.
        hand_on_tokens: bool = false;
        /// Nodes the manager starts itself on this machine, for a try-out (--embedded).
        embedded: u16 = 0, range: 0..=16;
        /// Whether the manager hands WHIP and WHEP calls on to a node, or tells the client the node's URL
        /// (307).
        calls: Calls = Calls::Proxy;
        /// How often each node is asked what it has.
        poll_ms: u32 = 500, unit: "milliseconds", range: 50..=60_000;
        /// A node that takes longer for an answer to that has not answered; the second time it is given up.
        poll_timeout_ms: u32 = 2000, unit: "milliseconds", range: 50..=60_000;
        /// How long a node may take for the answer to a client; then the client gets 504.
        call_timeout_ms: u32 = 10_000, unit: "milliseconds", range: 100..=60_000;
        /// Nodes a stream may pass on its way from its publisher's node to a viewer's; 0: viewers go to the
        /// publisher's node or nowhere.
        tree_depth_max: u32 = 3, range: 0..=8;
        /// Nodes that may get a stream from one node.
        tree_fan_out_max: u32 = 8, range: 1..=1000;
        /// A node that gets a stream from another one and has had no viewer of it for this long gets it no
        /// longer.
        tree_idle_s: u32 = 60, unit: "seconds", range: 1..=DAY_S;
        /// How long the sessions of a node that is being emptied may stay.
        drain_s: u32 = 60, unit: "seconds", range: 0..=DAY_S;
        /// Who may log in at the page and at /api/login.
        accounts: Vec<Account> = Vec::new();
        /// Token of the admin routes in Red5's dialect (?accessToken=). Empty: they are closed.
        red5_token: Secret = Secret::default();
    }

    /// What is negotiated.
    Sdp in sdp {
        /// Video codecs that are accepted; empty: all.
        video_codecs: Vec<VideoCodec> = Vec::new();
        /// Audio codecs that are accepted; empty: all.
        audio_codecs: Vec<AudioCodec> = Vec::new();
        /// Take data channels where they are offered; false: their section of a viewer's offer is
        /// rejected, and a publisher's offer of some is refused.
        data_channels: bool = true;
    }

    /// What is logged.
    Log in log {
        /// The least important lines that are written.
        level: LogLevel = LogLevel::Info, flag: "log";
    }
}
