//! Starts the shards and the negotiator.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use rand::SeedableRng;
use rand::rngs::StdRng;
use whitewater_engine::admission::Negotiator as Admitter;
use whitewater_engine::session::webrtc::Identity;
use whitewater_engine::{Config as EngineConfig, Outbox, Panics, Pin, Ports};
use whitewater_link::queue::{Doorbell, Receiver, Sender, channel};
use whitewater_link::{LoopReport, PlanePort, ShardIndex, ShardUplink};
use whitewater_net::{Outgoing, open};

use crate::addresses::{Addresses, Bound, interfaces};
use crate::config::{Config, SHARDS_MAX};
use crate::dial::{Dialled, FarLine};
use crate::mesh::Mesh;
use crate::negotiator::{Loads, Negotiator};
use crate::shard::Shard;
use crate::steer::{Steerer, WISHES_MAX};
use crate::tcp::{Caps, ShardLine, Tcp, listen};

/// The running data plane.
pub struct DataPlane {
    shards: Vec<ShardInfo>,
    threads: Vec<JoinHandle<()>>,
}

/// What one shard started with.
#[derive(Clone, Debug)]
pub struct ShardInfo {
    /// Its media address with the real port; the same for all shards, or each its own.
    pub udp: SocketAddr,
    /// Which back end.
    pub backend: whitewater_net::BackendKind,
    /// What the operator could do for a better one.
    pub advice: Vec<String>,
    /// The receive buffer the kernel gave.
    pub recv_buffer_bytes: usize,
    /// The send buffer the kernel gave.
    pub send_buffer_bytes: usize,
    /// Whether sends are grouped.
    pub gso: bool,
}

/// Why the data plane could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// The media address is taken or not ours.
    Bind {
        /// The address.
        udp: SocketAddr,
        /// The kernel's word.
        source: io::Error,
    },
    /// No back end could be opened.
    Backend(String),
    /// The kernel refused a thread or a descriptor.
    Io(io::Error),
    /// No certificate could be made.
    Certificate,
    /// A setting is out of range.
    Config(&'static str),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::Bind { udp, source } => {
                write!(f, "the media address {udp} cannot be used: {source}")
            }
            SpawnError::Backend(why) => write!(f, "no UDP back end could be opened: {why}"),
            SpawnError::Io(source) => write!(f, "the data plane could not start: {source}"),
            SpawnError::Certificate => f.write_str("no DTLS certificate could be made"),
            SpawnError::Config(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SpawnError::Bind { source, .. } | SpawnError::Io(source) => Some(source),
            _ => None,
        }
    }
}

impl From<io::Error> for SpawnError {
    fn from(source: io::Error) -> Self {
        SpawnError::Io(source)
    }
}

impl DataPlane {
    /// What each shard started with.
    pub fn shards(&self) -> &[ShardInfo] {
        &self.shards
    }

    /// The first media address with its real port.
    pub fn udp(&self) -> SocketAddr {
        let first = self.shards.first();
        first.map_or(UNBOUND, |shard| shard.udp)
    }

    /// Waits for the end of all threads, after `Command::Shutdown` or control's end.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a data plane thread panicked");
            }
        }
    }
}

/// Starts the data plane at its end of the line.
///
/// # Errors
/// [`SpawnError`] says which address, back end or setting is at fault.
pub fn spawn(config: &Config, port: PlanePort) -> Result<DataPlane, SpawnError> {
    if config.shard_count == 0 || config.shard_count > SHARDS_MAX {
        return Err(SpawnError::Config("the number of shards must be 1 to 64"));
    }
    let identity = Identity::generate().ok_or(SpawnError::Certificate)?;
    let addresses = free_addresses(config)?;
    let count = usize::from(config.shard_count);
    let loads: Loads = (0..count).map(|_| AtomicU32::new(0)).collect();
    let bells = (0..count)
        .map(|_| Doorbell::new().map(Arc::new))
        .collect::<io::Result<Vec<_>>>()?;
    let meshes = Mesh::all(&bells);
    let mut tcp = OverTcp::start(config, &addresses, &bells)?;
    let (dialled, opener, far) = Dialled::new(config.udp.ip(), config.gso, &bells)?;

    let mut plane = DataPlane {
        shards: Vec::new(),
        threads: tcp.thread.take().into_iter().collect(),
    };
    let thread = std::thread::Builder::new().name("dialled".to_owned());
    plane.threads.push(thread.spawn(move || dialled.run())?);
    let mut lines = tcp.lines.into_iter();
    let mut queues = Vec::new();
    let mut wishes = Vec::new();
    let mut first_socket = None;
    let steer_bell = Arc::new(Doorbell::new()?);
    let ends = bells
        .into_iter()
        .zip(meshes)
        .zip(port.shards)
        .zip(addresses)
        .zip(far);
    for (index, ((((bell, mesh), uplink), udp), far)) in ends.enumerate() {
        let (commands, commands_in) = channel(COMMANDS_MAX, bell.clone());
        queues.push(commands);
        let (pins, pins_in) = channel(WISHES_MAX, steer_bell.clone());
        wishes.push(pins_in);
        let shard = ShardStart {
            index: ShardIndex(index as u16),
            config: config.clone(),
            udp,
            bell,
            mesh,
            pins,
            tcp: lines.next(),
            far,
            uplink,
            loads: loads.clone(),
        };
        let (info, socket) = plane.start_shard(shard, commands_in)?;
        first_socket = first_socket.or(socket);
        plane.shards.push(info);
    }
    if let Some(shard) = plane.shards.first_mut() {
        shard.advice.extend(tcp.advice);
    }
    if ports(config) == Ports::Shared && count > 1 {
        plane.start_steering(first_socket, wishes, steer_bell)?;
    }

    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let mut admitter = Admitter::new(identity, StdRng::from_seed(seed), &config.codecs);
    if !config.data_channels {
        admitter = admitter.without_data_channels();
    }
    let negotiator = Negotiator {
        commands: port.commands,
        bell: port.bell,
        events: port.events,
        shards: queues,
        loads,
        admitter,
        addresses: Addresses::new(tcp.bound, config.advertise.clone()),
        sessions_max: config.sessions_max,
        opener,
        fresh: HashMap::new(),
    };
    let thread = std::thread::Builder::new()
        .name("negotiator".to_owned())
        .spawn(move || negotiator.run())?;
    plane.threads.push(thread);
    Ok(plane)
}

/// What a shard's thread starts from.
struct ShardStart {
    index: ShardIndex,
    config: Config,
    udp: SocketAddr,
    bell: Arc<Doorbell>,
    mesh: Mesh,
    pins: Sender<Pin>,
    tcp: Option<ShardLine>,
    far: FarLine,
    uplink: ShardUplink,
    loads: Loads,
}

impl DataPlane {
    fn start_shard(
        &mut self,
        start: ShardStart,
        commands: Receiver<whitewater_engine::Command>,
    ) -> Result<(ShardInfo, Option<OwnedFd>), SpawnError> {
        let (tell, told) = mpsc::channel();
        // The ring belongs to the thread that opens it, so the shard opens its own.
        let run = move || match start.open(commands) {
            Ok((shard, info)) => {
                let socket = shard.backend.socket();
                let socket = socket.and_then(|socket| socket.try_clone_to_owned().ok());
                let _ = tell.send(Ok((info, socket)));
                drop(tell);
                shard.run();
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        };
        let name = format!("shard-{}", self.shards.len());
        let thread = std::thread::Builder::new().name(name).spawn(run)?;
        self.threads.push(thread);
        told.recv()
            .map_err(|_| SpawnError::Backend("the shard's thread ended".to_owned()))?
    }

    /// Where the kernel refuses, the shards go on without, and the operator is told.
    fn start_steering(
        &mut self,
        socket: Option<OwnedFd>,
        wishes: Vec<Receiver<Pin>>,
        bell: Arc<Doorbell>,
    ) -> Result<(), SpawnError> {
        let unsupported = || io::Error::from(io::ErrorKind::Unsupported);
        let steerer = socket
            .ok_or_else(unsupported)
            .and_then(|socket| Steerer::new(socket.as_fd(), wishes, bell));
        match steerer {
            Ok(steerer) => {
                let thread = std::thread::Builder::new().name("steering".to_owned());
                self.threads.push(thread.spawn(move || steerer.run())?);
            }
            Err(error) => {
                let advice = format!(
                    "the kernel steers no datagrams to their shard (SO_ATTACH_REUSEPORT_CBPF:                      {error}), so shards hand them on - media.ports_per_core = true spares that;                      see docs/io.md"
                );
                if let Some(shard) = self.shards.first_mut() {
                    shard.advice.push(advice);
                }
            }
        }
        Ok(())
    }
}

impl ShardStart {
    fn open(
        self,
        commands: Receiver<whitewater_engine::Command>,
    ) -> Result<(Shard, ShardInfo), SpawnError> {
        let config = &self.config;
        let mut net = whitewater_net::Config::new(self.udp, self.bell.try_clone_fd()?);
        let ports = ports(config);
        net.reuse_port = ports == Ports::Shared && config.shard_count > 1;
        net.recv_buffer_bytes = config.recv_buffer_bytes;
        net.send_buffer_bytes = config.send_buffer_bytes;
        net.gso = config.gso;
        net.gro = config.gro;
        net.backend = config.backend;
        let opened = open(net).map_err(|error| SpawnError::Backend(error.to_string()))?;
        let choice = opened.choice;
        let backend = opened.backend;
        let udp = backend
            .local_addrs()
            .first()
            .copied()
            .ok_or_else(|| SpawnError::Backend("the socket has no address".to_owned()))?;
        let info = ShardInfo {
            udp,
            backend: choice.kind,
            advice: [choice.advice, choice.buffer_advice]
                .into_iter()
                .flatten()
                .collect(),
            recv_buffer_bytes: choice.recv_buffer_bytes,
            send_buffer_bytes: choice.send_buffer_bytes,
            gso: backend.gso(),
        };
        let engine = EngineConfig {
            shard: self.index,
            shard_count: config.shard_count,
            ports,
            half_open_timeout: config.half_open_timeout,
            dead_peer_timeout: config.dead_peer_timeout,
            silent_after: config.silent_after,
            sessions_max: config.sessions_max,
            panics: Panics::Contain,
            hold: config.hold,
            pad_runs: config.pad_runs,
            audio_red: config.audio_red,
            ..EngineConfig::default()
        };
        let shard = Shard {
            config: engine,
            backend,
            bell: self.bell,
            commands,
            uplink: self.uplink,
            mesh: self.mesh,
            pins: self.pins,
            tcp: self.tcp,
            far: self.far,
            loads: self.loads,
            run: LoopReport::default(),
            events_waiting: VecDeque::new(),
            outbox: Outbox::default(),
            outgoing: Outgoing::default(),
            shutting_down_since: None,
        };
        Ok((shard, info))
    }
}

/// The thread for ICE over TCP, if there is one.
struct OverTcp {
    /// Where each shard can be reached.
    bound: Vec<Bound>,
    /// One for each shard, or none at all.
    lines: Vec<ShardLine>,
    thread: Option<JoinHandle<()>>,
    advice: Option<String>,
}

impl OverTcp {
    /// Where nothing can be listened on, there is advice in place of a thread.
    fn start(
        config: &Config,
        addresses: &[SocketAddr],
        bells: &[Arc<Doorbell>],
    ) -> Result<Self, SpawnError> {
        let bound = |udp: &SocketAddr| Bound {
            udp: *udp,
            tcp: Vec::new(),
        };
        let mut this = OverTcp {
            bound: addresses.iter().map(bound).collect(),
            lines: Vec::new(),
            thread: None,
            advice: None,
        };
        if !config.tcp {
            return Ok(this);
        }
        let own_ports = ports(config) == Ports::PerShard;
        let distinct = if own_ports { addresses.len() } else { 1 };
        let interfaces = interfaces();
        let mut listening = Vec::new();
        for (index, udp) in addresses.iter().enumerate().take(distinct) {
            let shard = own_ports.then_some(ShardIndex(index as u16));
            match listen(*udp, &config.http, &interfaces, shard) {
                Ok(sockets) => {
                    let local = sockets.iter().filter_map(|l| l.socket.local_addr().ok());
                    let ips: Vec<IpAddr> = local.map(|local| local.ip()).collect();
                    let of_shard =
                        |(at, bound): (usize, _)| (!own_ports || at == index).then_some(bound);
                    for bound in this.bound.iter_mut().enumerate().filter_map(of_shard) {
                        bound.tcp.clone_from(&ips);
                    }
                    listening.extend(sockets);
                }
                Err(refused) => {
                    this.advice = Some(format!(
                        "no ICE over TCP: {refused} - media.tcp = false says so; see \
                         docs/deployment.md"
                    ));
                }
            }
        }
        if listening.is_empty() {
            return Ok(this);
        }
        let caps = Caps {
            connections_max: config.tcp_connections_max as usize,
            source_connections_max: config.tcp_source_connections_max as usize,
        };
        let (tcp, lines) = Tcp::new(listening, bells, caps)?;
        let thread = std::thread::Builder::new().name("ice-tcp".to_owned());
        this.thread = Some(thread.spawn(move || tcp.run())?);
        this.lines = lines;
        Ok(this)
    }
}

fn ports(config: &Config) -> Ports {
    if config.ports_per_core {
        Ports::PerShard
    } else {
        Ports::Shared
    }
}

/// The shards' addresses, with their real ports. Nobody else has them: where the shards share one
/// by SO_REUSEPORT, a second server would get half of the packets without anybody noticing.
fn free_addresses(config: &Config) -> Result<Vec<SocketAddr>, SpawnError> {
    let probe = |udp| {
        let bind = |source| SpawnError::Bind { udp, source };
        UdpSocket::bind(udp).map_err(bind)
    };
    let bound = |socket: &UdpSocket| socket.local_addr().map_err(SpawnError::Io);
    if ports(config) == Ports::Shared {
        let udp = bound(&probe(config.udp)?)?;
        return Ok(vec![udp; usize::from(config.shard_count)]);
    }
    // All are held until the last is found, so that a free port is not found twice.
    let mut held = Vec::new();
    for index in 0..config.shard_count {
        let mut udp = config.udp;
        if udp.port() != 0 {
            let port = udp.port().checked_add(index);
            let too_high = SpawnError::Config("the ports of the last shards would be above 65535");
            udp.set_port(port.ok_or(too_high)?);
        }
        held.push(probe(udp)?);
    }
    held.iter().map(bound).collect()
}

/// Stands for no address.
const UNBOUND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// Joins, closes and patches that wait for a shard.
const COMMANDS_MAX: usize = 1024;
