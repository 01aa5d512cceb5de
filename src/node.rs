//! One node: the data plane, the control plane, and the line between them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use whitewater_control::{
    About, AbsentStream, Auth, BindError, EtcdAccess, HttpLimits, MetricsAccess, Network, Policy,
    Rate, Redirects, Registrar, Registration, Server, TlsError, TurnSecret,
};
use whitewater_dataplane::{AudioRed, BackendKind, Choice, Codec, DataPlane, SpawnError};

use crate::advice::{self, Readings};
use crate::config::{self, AudioCodec, Backend, Config, Effective, PlayAbsent, Token, VideoCodec};
use crate::security::{self, Security};

/// A started node.
pub struct Node {
    plane: DataPlane,
    server: Server,
    listen: SocketAddr,
    security: Security,
    registrar: Option<Registrar>,
    notes: Vec<String>,
}

/// Why a node could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration asks for what this build does not do.
    Config(&'static str),
    /// The data plane.
    Media(SpawnError),
    /// The certificate or its key.
    Tls(TlsError),
    /// The control plane.
    Http(BindError),
    /// The line between the two.
    Io(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(what) => f.write_str(what),
            StartError::Media(error) => {
                write!(f, "{error}\nchoose another address with --udp ADDR:PORT")
            }
            StartError::Tls(error) => write!(f, "{error}"),
            StartError::Http(error @ BindError::Listen { .. }) => {
                write!(f, "{error}\nchoose another with --listen ADDR:PORT")
            }
            StartError::Http(error) => write!(f, "{error}"),
            StartError::Io(error) => write!(f, "the node could not start: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Config(_) => None,
            StartError::Media(source) => Some(source),
            StartError::Tls(source) => Some(source),
            StartError::Http(source) => Some(source),
            StartError::Io(source) => Some(source),
        }
    }
}

impl Node {
    /// Starts everything; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] names the address or setting at fault.
    pub fn start(effective: &Effective) -> Result<Node, StartError> {
        let config = &effective.config;
        check(config)?;
        let mut notes = effective.notes.clone();
        notes.extend(prepare_machine(config));
        let secret_len = config.auth.secret.expose().len();
        if (1..SECRET_LEN_MIN).contains(&secret_len) {
            notes.push(format!(
                "auth.secret has {secret_len} bytes: with fewer than {SECRET_LEN_MIN} (RFC 7518 \
                 §3.2) who has one token can find it by trying"
            ));
        }

        let media = media_config(config);
        let (control_port, plane_port) =
            whitewater_link::line(usize::from(media.shard_count), EVENTS_MAX)
                .map_err(StartError::Io)?;
        let plane = whitewater_dataplane::spawn(&media, plane_port).map_err(StartError::Media)?;
        let about = About {
            udp_port: plane.udp().port(),
            backend: backend_name(&plane).to_owned(),
            alias: config
                .node
                .alias
                .as_ref()
                .map_or_else(String::new, |alias| alias.name().to_string()),
            region: config.node.region.clone(),
            ..About::default()
        };
        let server =
            Server::bind(control_config(config, about), control_port).map_err(StartError::Http)?;
        for shard in plane.shards() {
            for line in &shard.advice {
                if !notes.contains(line) {
                    notes.push(line.clone());
                }
            }
        }
        let security = Security::new(
            config,
            server.certificate_fingerprint(),
            server.redirect_addr(),
            server.admin_addr(),
        );
        let listen = server.local_addr();
        Ok(Node {
            registrar: registrar(config, &security.base(listen))?,
            listen,
            security,
            plane,
            server,
            notes,
        })
    }

    /// The HTTP address with its real port.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The media address with its real port.
    pub fn udp(&self) -> SocketAddr {
        self.plane.udp()
    }

    /// The media addresses, as `0.0.0.0:7777` or `0.0.0.0:7777-7780`.
    fn media(&self) -> String {
        let shards = self.plane.shards();
        let ports: Vec<u16> = shards.iter().map(|shard| shard.udp.port()).collect();
        media_text(self.udp(), &ports)
    }

    /// What a person who starts the node wants to read: lines, each with its end.
    pub fn greeting(&self) -> String {
        let base = self.security.base(self.listen);
        let shards = self.plane.shards();
        let gso = shards.iter().any(|shard| shard.gso);
        let mut text = format!(
            "Whitewater {version}\n\
             \n  Page      {base}/\
             \n  Publish   {base}/whip/STREAM   (WHIP)\
             \n  Watch     {base}/whep/STREAM   (WHEP)\
             {security}\
             \n  Media     UDP {udp}, {count} {shards}, back end {backend}{gso}\n",
            version = env!("CARGO_PKG_VERSION"),
            security = self.security.lines(),
            udp = self.media(),
            count = shards.len(),
            shards = if shards.len() == 1 { "shard" } else { "shards" },
            backend = backend_text(&self.plane),
            gso = if gso {
                ", UDP segmentation offload"
            } else {
                ""
            },
        );
        for note in &self.notes {
            text += &format!("\nnote: {note}");
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        text.push('\n');
        text
    }

    /// Serves until `stop` is ready, then ends in order: sessions are told, the shards end, the
    /// listener closes.
    ///
    /// # Errors
    /// The HTTP listener's.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let registrar = self.registrar.map(|registrar| {
            let (leave, left) = tokio::sync::oneshot::channel::<()>();
            let staying = registrar.run(async {
                let _ = left.await;
            });
            (leave, tokio::spawn(staying))
        });
        let stop = async {
            stop.await;
            // Nobody is sent here any more.
            if let Some((leave, staying)) = registrar {
                drop(leave);
                let _ = staying.await;
            }
        };
        let result = self.server.run(stop).await;
        let plane = self.plane;
        // The shards end by themselves within a second of control's last word.
        let joined = tokio::task::spawn_blocking(move || plane.join());
        let _ = tokio::time::timeout(JOIN_MAX, joined).await;
        result
    }
}

/// Whether a node could be started with this, as far as can be told without starting it.
pub(crate) fn check(config: &Config) -> Result<(), StartError> {
    refuse_unserved(config)?;
    security::refuse(config)?;
    whitewater_control::check_tls(&security::tls(config)).map_err(StartError::Tls)
}

/// What keeps the node registered, if it is to be.
fn registrar(config: &Config, base: &str) -> Result<Option<Registrar>, StartError> {
    let Some(alias) = config
        .node
        .alias
        .as_ref()
        .filter(|_| !config.cluster.etcd.is_empty())
    else {
        return Ok(None);
    };
    let node = &config.node;
    let url = node.url.as_ref().map_or(base, |url| url.as_str());
    let registration = Registration {
        alias: alias.name().clone(),
        url: url.to_owned(),
        region: node.region.clone(),
        pub_max: node.pub_max,
        sub_max: node.sub_max,
        etcd: etcd(config),
        ca_file: file(&config.cluster.ca_file),
    };
    Registrar::new(&registration)
        .map(Some)
        .map_err(StartError::Io)
}

/// How the store is reached.
pub(crate) fn etcd(config: &Config) -> EtcdAccess {
    let cluster = &config.cluster;
    let urls = cluster.etcd.iter().map(|url| url.as_str().to_owned());
    EtcdAccess {
        urls: urls.collect(),
        username: cluster.etcd_username.clone(),
        password: cluster.etcd_password.expose().to_owned(),
    }
}

/// A password is somebody's.
pub(crate) fn refuse_nameless(config: &Config) -> Result<(), StartError> {
    let cluster = &config.cluster;
    if cluster.etcd_username.is_empty() && !cluster.etcd_password.is_empty() {
        return Err(StartError::Config(
            "cluster.etcd_password is set and cluster.etcd_username is not: both are needed",
        ));
    }
    Ok(())
}

/// What the configuration can say and this version does not do must not be taken silently.
fn refuse_unserved(config: &Config) -> Result<(), StartError> {
    if !config.ice.lite {
        return Err(StartError::Config(
            "ice.lite = false: full ICE is not available, this node is always the lite side",
        ));
    }
    let keyless = config
        .ice
        .servers
        .iter()
        .any(config::IceServer::needs_secret);
    if keyless && config.ice.turn_secret.is_empty() {
        return Err(StartError::Config(
            "ice.servers has a TURN server without username and credential: set them, or \
             ice.turn_secret",
        ));
    }
    let node = &config.node;
    let is_everywhere = config.http.listen.ip().is_unspecified();
    if !config.cluster.etcd.is_empty() && node.alias.is_none() {
        return Err(StartError::Config(
            "cluster.etcd registers this node, and it has no name: set node.alias, as --alias eu-1",
        ));
    }
    if !config.cluster.etcd.is_empty() && is_everywhere && node.url.is_none() {
        return Err(StartError::Config(
            "cluster.etcd registers this node, and http.listen names no address others can reach: \
             set node.url",
        ));
    }
    refuse_nameless(config)?;
    refuse_unguarded(config)
}

/// Somebody has to say who may come in where others can.
pub(crate) fn refuse_unguarded(config: &Config) -> Result<(), StartError> {
    let auth = &config.auth;
    let guarded = auth_config(auth).asks();
    if guarded && auth.open {
        return Err(StartError::Config(
            "auth.open = true lets everybody in, the tokens and keys of [auth] keep people out: \
             remove the one or the others",
        ));
    }
    let is_local = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    let admin_is_local = config.http.admin_listen.is_none_or(is_local);
    if !guarded && !auth.open && !admin_is_local {
        return Err(StartError::Config(
            "http.admin_listen can be reached from other machines, and nothing says who may use it:\n\
             set auth.tokens or another source of tokens or keys in [auth], or --set auth.open=true",
        ));
    }
    if !guarded && !auth.open && !is_local(config.http.listen) {
        return Err(StartError::Config(
            "http.listen can be reached from other machines, and nothing says who may use it.\n\
             set auth.tokens, as WHITEWATER_AUTH_TOKENS=<a long random text>, or auth.secret,\n\
             or another source of tokens or keys in [auth];\n\
             or let everybody publish, watch and delete: --set auth.open=true;\n\
             or stay on this machine: --listen 127.0.0.1:7777",
        ));
    }
    Ok(())
}

/// Raises what can be raised and says what stands in the way.
fn prepare_machine(config: &Config) -> Vec<String> {
    let mut readings = Readings::take(Path::new("/proc"));
    let raised = readings.raise_open_files(|limit| {
        let limit = rustix::process::Rlimit {
            current: limit.soft,
            maximum: limit.hard,
        };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
            .map_err(io::Error::from)
    });
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let advice = advice::advise(&readings, config, usize::from(shard_count(config)));
    advice.iter().map(ToString::to_string).collect()
}

fn shard_count(config: &Config) -> u16 {
    match config.media.shards {
        0 => whitewater_dataplane::Config::default().shard_count,
        count => count,
    }
}

fn media_config(config: &Config) -> whitewater_dataplane::Config {
    let media = &config.media;
    whitewater_dataplane::Config {
        udp: media.udp,
        ports_per_core: media.ports_per_core,
        tcp: media.tcp,
        http: [Some(config.http.listen), config.http.admin_listen]
            .into_iter()
            .flatten()
            .collect(),
        tcp_connections_max: config.limits.tcp_connections_max,
        tcp_source_connections_max: config.limits.source_tcp_connections_max,
        advertise: media.advertise.clone(),
        shard_count: shard_count(config),
        backend: match media.backend {
            Backend::Auto => Choice::Auto,
            Backend::Uring => Choice::Kind(BackendKind::Uring),
            Backend::Mmsg => Choice::Kind(BackendKind::Mmsg),
            Backend::TokioUring => Choice::Kind(BackendKind::TokioUring),
        },
        gso: media.gso,
        gro: media.gro,
        recv_buffer_bytes: media.recv_buffer_bytes,
        send_buffer_bytes: media.send_buffer_bytes,
        sessions_max: config.limits.sessions_max,
        half_open_timeout: seconds(config.limits.half_open_timeout_s),
        dead_peer_timeout: seconds(config.limits.dead_peer_timeout_s),
        silent_after: Duration::from_millis(config.publish.silent_after_ms.into()),
        hold: Duration::from_micros(config.forward.hold_us.into()),
        pad_runs: config.forward.pad_runs,
        audio_red: match config.forward.audio_red {
            config::AudioRed::Pass => AudioRed::Pass,
            config::AudioRed::Make => AudioRed::Make,
        },
        codecs: codecs(&config.sdp),
        data_channels: config.sdp.data_channels,
    }
}

/// The codecs that are answered; an empty list of a kind allows all of that kind.
fn codecs(sdp: &config::Sdp) -> Vec<Codec> {
    let mut codecs = whitewater_dataplane::Config::default().codecs;
    let video = |codec: &VideoCodec| match codec {
        VideoCodec::Vp8 => Codec::Vp8,
        VideoCodec::Vp9 => Codec::Vp9,
        VideoCodec::H264 => Codec::H264,
        VideoCodec::H265 => Codec::H265,
        VideoCodec::Av1 => Codec::Av1,
    };
    let audio = |codec: &AudioCodec| match codec {
        AudioCodec::Opus => Codec::Opus,
        AudioCodec::Pcmu => Codec::Pcmu,
        AudioCodec::Pcma => Codec::Pcma,
        AudioCodec::G722 => Codec::G722,
        AudioCodec::Red => Codec::Red,
        AudioCodec::Multiopus => Codec::Multiopus,
    };
    let video: Vec<Codec> = sdp.video_codecs.iter().map(video).collect();
    let audio: Vec<Codec> = sdp.audio_codecs.iter().map(audio).collect();
    codecs.retain(|codec| {
        let allowed = match codec.kind() {
            whitewater_dataplane::MediaKind::Video => &video,
            whitewater_dataplane::MediaKind::Audio => &audio,
        };
        allowed.is_empty() || allowed.contains(codec)
    });
    codecs
}

pub(crate) fn control_config(config: &Config, about: About) -> whitewater_control::Config {
    let http = &config.http;
    let strategy = &config.strategy;
    let limits = &config.limits;
    let delay = |ms: i64| u64::try_from(ms).ok().map(Duration::from_millis);
    let server = |server: &config::IceServer| whitewater_control::IceServer {
        urls: server.urls.clone(),
        username: some(&server.username),
        credential: some(server.credential.expose()),
    };
    whitewater_control::Config {
        listen: http.listen,
        admin_listen: http.admin_listen,
        tls: security::tls(config),
        redirect_listen: config.tls.redirect_listen,
        hsts_max_age: seconds(config.tls.hsts_max_age_s),
        policy: Policy {
            auto_create_whip: strategy.auto_create_whip,
            auto_create_whep: strategy.auto_create_whep,
            auto_delete_whip: delay(strategy.auto_delete_whip),
            auto_delete_whep: delay(strategy.auto_delete_whep),
            pub_max: config.node.pub_max,
            sub_max: config.node.sub_max,
            each_stream_max_sub: strategy.each_stream_max_sub,
            cascade_push_close_sub: strategy.cascade_push_close_sub,
            takeover: match config.publish.takeover {
                config::Takeover::Never => whitewater_control::Takeover::Never,
                config::Takeover::Silent => whitewater_control::Takeover::Silent,
                config::Takeover::Always => whitewater_control::Takeover::Always,
            },
            silent_after: Duration::from_millis(config.publish.silent_after_ms.into()),
            absent: match config.play.absent {
                PlayAbsent::Wait => AbsentStream::Wait,
                PlayAbsent::Refuse => AbsentStream::Refuse,
            },
            streams_max: limits.streams_max,
            sessions_max: limits.sessions_max,
            half_open_max: limits.sessions_half_open_max,
            source_half_open_max: limits.source_half_open_max,
            ..Policy::default()
        },
        limits: HttpLimits {
            connections_max: http.connections_max as usize,
            source_connections_max: http.source_connections_max as usize,
            sse_clients_max: http.sse_clients_max as usize,
            source_sse_clients_max: http.source_sse_clients_max as usize,
            source_event_streams_max: http.source_event_streams_max as usize,
            header_timeout: seconds(http.header_timeout_s),
            body_timeout: seconds(http.body_timeout_s),
            write_timeout: seconds(http.write_timeout_s),
            idle_timeout: seconds(http.idle_timeout_s),
            header_size_max: http.header_bytes_max,
            sdp_size_max: http.sdp_body_bytes_max,
            fragment_size_max: http.fragment_body_bytes_max,
            json_size_max: http.json_body_bytes_max,
            source_requests: Rate::per_second(
                limits.source_requests_per_second,
                limits.source_requests_burst,
            ),
            token_requests: Rate::per_second(
                limits.token_requests_per_second,
                limits.token_requests_burst,
            ),
            source_misses_per_minute: limits.source_misses_per_minute,
            ..HttpLimits::default()
        },
        ice_servers: config.ice.servers.iter().map(server).collect(),
        turn: TurnSecret {
            secret: config.ice.turn_secret.expose().to_owned(),
            ttl: seconds(config.ice.turn_credential_ttl_s),
        },
        links_on_options: config.ice.links_on_options,
        redirects: Redirects {
            publish: config.publish.redirect.as_str().map(str::to_owned),
            play: config.play.redirect.as_str().map(str::to_owned),
        },
        counter_offer: seconds(config.play.counter_offer_s),
        allowed_origins: http
            .allowed_origins
            .iter()
            .map(|origin| origin.as_str().to_owned())
            .collect(),
        hosts: http
            .hosts
            .iter()
            .map(|host| host.as_str().to_owned())
            .collect(),
        trusted_proxies: http
            .trusted_proxies
            .iter()
            .map(|block| Network {
                address: block.address,
                prefix_len: block.prefix_len,
            })
            .collect(),
        auth: auth_config(&config.auth),
        cascade: cascade_config(&config.cascade),
        about,
        drain_max: Duration::from_millis(limits.drain_timeout_ms.into()),
        ..whitewater_control::Config::default()
    }
}

fn cascade_config(cascade: &config::Cascade) -> whitewater_control::Cascade {
    let mut made = whitewater_control::Cascade {
        ca_file: file(&cascade.ca_file),
        idle_timeout: seconds(cascade.idle_timeout_s),
        links_max: cascade.links_max as usize,
        ..whitewater_control::Cascade::default()
    };
    for callable in &cascade.allow {
        match callable {
            config::Callable::Network(block) => made.networks.push(Network {
                address: block.address,
                prefix_len: block.prefix_len,
            }),
            config::Callable::Host(host) => made.hosts.push(host.as_str().to_owned()),
        }
    }
    made
}

pub(crate) fn auth_config(auth: &config::Auth) -> Auth {
    Auth {
        tokens: texts(&auth.tokens),
        publish_tokens: texts(&auth.publish_tokens),
        watch_tokens: texts(&auth.watch_tokens),
        tokens_file: file(&auth.tokens_file),
        secret: auth.secret.expose().to_owned(),
        key_files: auth.key_files.clone(),
        jwks_url: some(&auth.jwks_url),
        jwks_interval: seconds(auth.jwks_interval_s),
        jwks_ca_file: file(&auth.jwks_ca_file),
        issuers: auth.issuers.clone(),
        audiences: auth.audiences.clone(),
        leeway: seconds(auth.leeway_s),
        revocations_file: file(&auth.revocations_file),
        token_in_url: auth.token_in_url,
        metrics: match auth.metrics {
            config::MetricsAccess::Local => MetricsAccess::Local,
            config::MetricsAccess::Open => MetricsAccess::Open,
            config::MetricsAccess::Manage => MetricsAccess::Manage,
        },
    }
}

fn texts(tokens: &[Token]) -> Vec<String> {
    let texts = tokens.iter().map(|token| token.expose().to_owned());
    texts.collect()
}

pub(crate) fn file(path: &Path) -> Option<PathBuf> {
    (path != "").then(|| path.to_owned())
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

pub(crate) fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

fn backend_name(plane: &DataPlane) -> &'static str {
    plane
        .shards()
        .first()
        .map_or("none", |shard| shard.backend.name())
}

fn backend_text(plane: &DataPlane) -> &'static str {
    match plane.shards().first().map(|shard| shard.backend) {
        Some(BackendKind::Uring) => "io_uring",
        Some(BackendKind::Mmsg) => "mmsg (recvmmsg and sendmmsg)",
        Some(BackendKind::TokioUring) => "tokio-uring",
        Some(BackendKind::Fake) => "fake",
        None => "none",
    }
}

/// `first` with the ports of all shards.
fn media_text(first: SocketAddr, ports: &[u16]) -> String {
    let after = |pair: &[u16]| pair[0].checked_add(1) == Some(pair[1]);
    match ports {
        [_, .., last] if ports.windows(2).all(after) => format!("{first}-{last}"),
        [port, others @ ..] if others.iter().any(|other| other != port) => {
            let others: Vec<String> = others.iter().map(u16::to_string).collect();
            format!("{first} and {}", others.join(" and "))
        }
        _ => first.to_string(),
    }
}

/// Events of each shard that may wait for control: a few per session, of which thousands may
/// change at once when a stream ends.
const EVENTS_MAX: usize = 65_536;
/// The least for HS256.
const SECRET_LEN_MIN: usize = 32;
/// The shards allow themselves a second.
const JOIN_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said to a node with these environment variables.
    fn refusal(environment: &[(&str, &str)]) -> Option<String> {
        let variable = |(name, value): &(&str, &str)| (name.into(), value.into());
        let sources = config::Sources {
            environment: environment.iter().map(variable).collect(),
            ..config::Sources::default()
        };
        let effective = config::load(&sources).expect("a good configuration");
        let refused = refuse_unserved(&effective.config);
        refused.err().map(|error| error.to_string())
    }

    const EVERYWHERE: (&str, &str) = ("WHITEWATER_HTTP_LISTEN", "0.0.0.0:7777");
    const OPEN: (&str, &str) = ("WHITEWATER_AUTH_OPEN", "true");
    const TOKENS: (&str, &str) = ("WHITEWATER_AUTH_TOKENS", "hush-token");
    const SECRET: (&str, &str) = ("WHITEWATER_AUTH_SECRET", "hush-key");
    const OTHERS: [(&str, &str); 5] = [
        ("WHITEWATER_AUTH_PUBLISH_TOKENS", "hush-token"),
        ("WHITEWATER_AUTH_WATCH_TOKENS", "hush-token"),
        ("WHITEWATER_AUTH_TOKENS_FILE", "/etc/tokens"),
        ("WHITEWATER_AUTH_KEY_FILES", "/etc/key.pem"),
        ("WHITEWATER_AUTH_JWKS_URL", "https://id.example/keys"),
    ];

    #[test]
    fn the_greeting_names_every_media_port_once() {
        let text = |ports: &[u16]| media_text("0.0.0.0:7777".parse().expect("an address"), ports);
        assert_eq!(text(&[7777]), "0.0.0.0:7777");
        assert_eq!(text(&[7777, 7777, 7777]), "0.0.0.0:7777");
        assert_eq!(text(&[7777, 7778, 7779]), "0.0.0.0:7777-7779");
        assert_eq!(text(&[7777, 9, 10]), "0.0.0.0:7777 and 9 and 10");
    }

    #[test]
    fn on_loopback_nobody_has_to_say_who_may_come_in() {
        assert_eq!(refusal(&[]), None);
        for listen in [
            "127.0.0.1:1",
            "127.1.2.3:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(
                refusal(&[("WHITEWATER_HTTP_LISTEN", listen)]),
                None,
                "{listen}"
            );
        }
    }

    #[test]
    fn turn_servers_need_a_credential_from_somewhere() {
        let server = (
            "WHITEWATER_ICE_SERVERS",
            "[{ urls = \"turn:turn.example\" }]",
        );
        let text = refusal(&[server]).expect("refused");
        assert!(text.contains("ice.turn_secret"), "{text}");
        let secret = ("WHITEWATER_ICE_TURN_SECRET", "hush-turn");
        assert_eq!(refusal(&[server, secret]), None);
    }

    #[test]
    fn elsewhere_somebody_has_to() {
        for listen in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1"] {
            let text = refusal(&[("WHITEWATER_HTTP_LISTEN", listen)]).expect("refused");
            for way_out in [
                "auth.tokens",
                "auth.secret",
                "--set auth.open=true",
                "--listen",
            ] {
                assert!(text.contains(way_out), "{text}");
            }
        }
        for said in [OPEN, TOKENS, SECRET].into_iter().chain(OTHERS) {
            assert_eq!(refusal(&[EVERYWHERE, said]), None);
        }
    }

    #[test]
    fn a_listener_for_the_management_api_is_reached_from_elsewhere_too() {
        let listen = |address| ("WHITEWATER_HTTP_ADMIN_LISTEN", address);
        assert_eq!(refusal(&[listen("127.0.0.1:1")]), None);
        let text = refusal(&[listen("0.0.0.0:1")]).expect("refused");
        assert!(text.contains("http.admin_listen"), "{text}");
        for said in [OPEN, TOKENS, SECRET] {
            assert_eq!(refusal(&[listen("0.0.0.0:1"), said]), None);
        }
        let text = refusal(&[EVERYWHERE, listen("127.0.0.1:1")]).expect("refused");
        assert!(text.contains("http.listen"), "{text}");
    }

    #[test]
    fn open_and_guarded_exclude_each_other() {
        for guard in [TOKENS, SECRET].into_iter().chain(OTHERS) {
            let text = refusal(&[OPEN, guard]).expect("refused");
            assert!(
                text.contains("auth.open") && !text.contains("hush"),
                "{text}"
            );
        }
    }
}
