//! Publishers and viewers of one server, one call each.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::Uri;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::http::{Http, Refused};
use crate::media::VideoCodec;
use crate::sdp::{Answer, Offer, Role, Ssrcs};
use crate::session::{Inspection, Notice, Part, Program, Publisher, Viewer};
use crate::socket::{Socket, SocketOptions};
use crate::stats::Snapshot;
use crate::tls;
use crate::transport::{Identity, Transport};
use crate::worker::{Admission, Line, Worker};

/// Where the server is, and how sessions are run.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The WHIP address; `{stream}` stands for the stream's name.
    pub whip: String,
    /// The WHEP address; `{stream}` stands for the stream's name.
    pub whep: String,
    /// Sent as bearer token.
    pub token: Option<String>,
    /// Authorities for `https` servers, in PEM; this machine's, if not given.
    pub ca_file: Option<PathBuf>,
    /// Threads for viewers; publishers have one of their own.
    pub viewer_threads: usize,
    /// Take runs of equal packets from the kernel in one call.
    pub gro: bool,
    /// The address sockets are bound to; any, if not given.
    pub bind: Option<IpAddr>,
    /// The most time from an offer to the first packet.
    pub join_max: Duration,
}

/// Why no session can be started at all.
#[derive(Debug)]
#[non_exhaustive]
pub enum FleetError {
    /// An address of the server that is none.
    Address(String),
    /// No server can be trusted, in words.
    Trust(String),
    /// The token has characters a header cannot carry.
    Token,
    /// The server's name is not known, or has no route to it.
    Unreachable {
        /// Name and port.
        host: String,
        /// The system's word.
        cause: io::Error,
    },
    /// The crypto library makes no certificate.
    Certificate,
    /// The kernel gives no thread or no poller.
    Io(io::Error),
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) => write!(f, "{text:?} is no http:// or https:// address"),
            Self::Trust(why) => f.write_str(why),
            Self::Token => f.write_str("the token has characters that HTTP cannot carry"),
            Self::Unreachable { host, cause } => write!(f, "{host}: {cause}"),
            Self::Certificate => f.write_str("no certificate could be made"),
            Self::Io(cause) => write!(f, "the system refuses: {cause}"),
        }
    }
}

impl std::error::Error for FleetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable { cause, .. } | Self::Io(cause) => Some(cause),
            _ => None,
        }
    }
}

/// Why one session did not come to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinError(String);

impl JoinError {
    pub(crate) fn stopped() -> Self {
        JoinError("the run was ended before".to_owned())
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JoinError {}

impl From<Refused> for JoinError {
    fn from(refused: Refused) -> Self {
        JoinError(refused.to_string())
    }
}

/// Publishers and viewers of one server. Must be used inside a tokio runtime with time and I/O.
pub struct Fleet {
    options: FleetOptions,
    http: Http,
    identity: Identity,
    /// The address the way to the server starts at.
    local: IpAddr,
    publishers: Worker,
    viewers: Vec<Worker>,
    next_id: AtomicU64,
}

/// How long the steps of a join took, each from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinTimes {
    /// Until the answer was there.
    pub answered: Duration,
    /// Until the DTLS handshake was done.
    pub connected: Duration,
    /// A viewer: until the first packet.
    pub media: Option<Duration>,
}

/// A session that joined. Dropped, it vanishes without a word to the server.
pub struct Member {
    /// How long it took.
    pub times: JoinTimes,
    id: u64,
    line: Line,
    notices: UnboundedReceiver<Notice>,
    http: Http,
    resource: Uri,
    left: bool,
}

impl Fleet {
    /// Starts the threads; nothing is sent yet but a name look-up.
    ///
    /// # Errors
    /// [`FleetError`]
    pub async fn start(options: FleetOptions) -> Result<Fleet, FleetError> {
        let connector = tls::connector(options.ca_file.as_deref()).map_err(FleetError::Trust)?;
        let http = Http::new(options.token.as_deref(), connector).ok_or(FleetError::Token)?;
        let local = match options.bind {
            Some(ip) => ip,
            None => local_address(&address(&options.whip, "x")?).await?,
        };
        address(&options.whep, "x")?;
        let identity = Identity::generate().ok_or(FleetError::Certificate)?;
        let viewers = (0..options.viewer_threads.max(1))
            .map(|index| Worker::start(&format!("load-in-{index}"), VIEWERS_REST))
            .collect::<io::Result<Vec<_>>>()
            .map_err(FleetError::Io)?;
        Ok(Fleet {
            http,
            identity,
            local,
            publishers: Worker::start("load-out", Duration::ZERO).map_err(FleetError::Io)?,
            viewers,
            next_id: AtomicU64::new(1),
            options,
        })
    }

    /// Publishes a stream. `source` goes into every packet, for verifying viewers.
    ///
    /// # Errors
    /// Why it did not come to be; nothing is left of it at the server then.
    pub async fn publish(
        &self,
        stream: &str,
        source: u32,
        program: Program,
    ) -> Result<Member, JoinError> {
        let wish = Wish {
            stream,
            role: Role::Publish,
            video: program.video,
            audio: program.audio,
        };
        self.join(wish, |names, answer, now| {
            let Names { cname, ssrcs, .. } = names;
            let publisher = Publisher::new(program, source, cname, ssrcs, answer, now);
            Part::Publisher(Box::new(publisher))
        })
        .await
    }

    /// Watches a stream of the given codec until the first packet is there.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn watch(
        &self,
        stream: &str,
        video: Option<VideoCodec>,
        audio: bool,
        inspection: Inspection,
    ) -> Result<Member, JoinError> {
        let wish = Wish {
            stream,
            role: Role::Watch,
            video,
            audio,
        };
        self.join(wish, |names, answer, now| {
            let Names { cname, ssrcs, .. } = names;
            let viewer = Viewer::new(inspection, ssrcs.video, cname, answer, now);
            Part::Viewer(Box::new(viewer))
        })
        .await
    }

    /// The state of all sessions.
    pub async fn snapshot(&self) -> Snapshot {
        let mut sum = Snapshot::default();
        for worker in self.viewers.iter().chain([&self.publishers]) {
            sum.add(&worker.line().snapshot().await);
        }
        sum
    }

    /// Latencies and silences count from now.
    pub fn reset_marks(&self) {
        for worker in &self.viewers {
            worker.line().reset_marks();
        }
    }

    async fn join(
        &self,
        wish: Wish<'_>,
        part: impl FnOnce(Names, &Answer, Instant) -> Part,
    ) -> Result<Member, JoinError> {
        let started = Instant::now();
        let end = started + self.options.join_max;
        let template = match wish.role {
            Role::Publish => &self.options.whip,
            Role::Watch => &self.options.whep,
        };
        let url = address(template, wish.stream).map_err(|error| JoinError(error.to_string()))?;
        let socket = self.socket(wish.role)?;
        let names = Names::draw()?;
        let offer = Offer {
            role: wish.role,
            video: wish.video,
            audio: wish.audio,
            ufrag: &names.ufrag,
            password: &names.password,
            fingerprint: &self.identity.fingerprint,
            address: SocketAddr::new(self.local, socket.address().port()),
            cname: &names.cname,
            ssrcs: names.ssrcs,
        };
        let created = self.http.offer(&url, &offer.render(), end).await?;
        let answered = started.elapsed();
        let resource = created.resource.clone();
        let joined = match Answer::parse(&created.answer) {
            Ok(answer) => {
                let part = |names, now| part(names, &answer, now);
                let step = Step {
                    role: wish.role,
                    started,
                    end,
                };
                self.connect(step, socket, names, &answer, created.resource, part)
                    .await
            }
            Err(unusable) => Err(JoinError(format!("POST {url}: {unusable}"))),
        };
        match joined {
            Ok(mut member) => {
                member.times.answered = answered;
                Ok(member)
            }
            Err(error) => {
                self.http.delete(&resource).await;
                Err(error)
            }
        }
    }

    async fn connect(
        &self,
        step: Step,
        socket: Socket,
        names: Names,
        answer: &Answer,
        resource: Uri,
        part: impl FnOnce(Names, Instant) -> Part,
    ) -> Result<Member, JoinError> {
        let Step { role, started, end } = step;
        let now = Instant::now();
        let (ufrag, password) = (&names.ufrag, &names.password);
        let family = socket.address();
        let transport = Transport::new(&self.identity, answer, ufrag, password, family, now);
        let transport = transport.ok_or_else(|| {
            JoinError(format!(
                "none of the server's candidates can be reached from {}",
                self.local
            ))
        })?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let worker = match role {
            Role::Publish => &self.publishers,
            Role::Watch => {
                let index = id as usize % self.viewers.len();
                self.viewers.get(index).unwrap_or(&self.publishers)
            }
        };
        let gone = || JoinError("the thread of this session ended".to_owned());
        let line = worker.line().clone();
        let (tell, notices) = unbounded_channel();
        line.admit(Admission {
            id,
            socket,
            transport,
            part: part(names, now),
            notices: tell,
        });
        // Dropped on any way out of here, it takes the session off its worker.
        let mut member = Member {
            times: JoinTimes::default(),
            id,
            line,
            notices,
            http: self.http.clone(),
            resource,
            left: false,
        };
        loop {
            let notice = tokio::time::timeout_at(end.into(), member.notices.recv()).await;
            match notice {
                Ok(Some(Notice::Secured(at))) => {
                    member.times.connected = at - started;
                    if role == Role::Publish {
                        return Ok(member);
                    }
                }
                Ok(Some(Notice::Media(at))) => {
                    member.times.media = Some(at - started);
                    return Ok(member);
                }
                Ok(Some(Notice::Broken(why))) => return Err(JoinError(why)),
                Ok(None) => return Err(gone()),
                Err(_) if member.times.connected.is_zero() => {
                    return Err(JoinError("no connection in time".to_owned()));
                }
                Err(_) => return Err(JoinError("connected, but no media in time".to_owned())),
            }
        }
    }

    fn socket(&self, role: Role) -> Result<Socket, JoinError> {
        let ip = match (self.options.bind, self.local) {
            (Some(ip), _) => ip,
            (None, IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
            (None, IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let options = SocketOptions {
            gro: self.options.gro,
            timestamps: role == Role::Watch,
            receive_buffer: RECEIVE_BUFFER,
        };
        Socket::bind(SocketAddr::new(ip, 0), options)
            .map_err(|error| JoinError(format!("no UDP socket: {error}")))
    }
}

impl Member {
    /// Waits until the session breaks; says why. Can be dropped and called again.
    pub async fn broken(&mut self) -> String {
        loop {
            match self.notices.recv().await {
                Some(Notice::Broken(why)) => return why,
                Some(_) => {}
                None => return "the thread of this session ended".to_owned(),
            }
        }
    }

    /// Why the session broke, if it did.
    pub fn broken_by_now(&mut self) -> Option<String> {
        while let Ok(notice) = self.notices.try_recv() {
            if let Notice::Broken(why) = notice {
                return Some(why);
            }
        }
        None
    }

    /// A publisher falls silent or speaks again.
    pub fn speak(&self, speaking: bool) {
        self.line.speak(self.id, speaking);
    }

    /// Ends the session here and at the server; whether the server agreed.
    pub async fn leave(mut self) -> bool {
        let deleted = self.http.delete(&self.resource).await;
        self.left = true;
        self.line.remove(self.id);
        deleted
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if !self.left {
            self.line.remove(self.id);
        }
    }
}

/// What the second half of a join needs to know of the first.
struct Step {
    role: Role,
    started: Instant,
    end: Instant,
}

struct Wish<'a> {
    stream: &'a str,
    role: Role,
    video: Option<VideoCodec>,
    audio: bool,
}

/// What a session is called by.
struct Names {
    ufrag: String,
    password: String,
    cname: String,
    ssrcs: Ssrcs,
}

impl Names {
    /// RFC 8839 §5.4: at least 24 and 128 bits.
    fn draw() -> Result<Names, JoinError> {
        let mut bytes = [0_u8; 44];
        getrandom::fill(&mut bytes).map_err(|error| JoinError(error.to_string()))?;
        let hex = |range: std::ops::Range<usize>| {
            let part = bytes.get(range).unwrap_or_default();
            part.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let number = |at: usize| {
            let part = bytes.get(at..at + 4).and_then(|part| part.try_into().ok());
            u32::from_be_bytes(part.unwrap_or_default())
        };
        // Different whatever was drawn.
        let first = number(40) & !3 | 1;
        Ok(Names {
            ufrag: hex(0..4),
            password: hex(4..24),
            cname: hex(24..32),
            ssrcs: Ssrcs {
                audio: first,
                video: first + 1,
                rtx: first + 2,
            },
        })
    }
}

fn address(template: &str, stream: &str) -> Result<Uri, FleetError> {
    let text = template.replace("{stream}", stream);
    let uri: Uri = text
        .parse()
        .map_err(|_| FleetError::Address(text.clone()))?;
    match uri.host() {
        Some(_) if matches!(uri.scheme_str(), Some("http" | "https")) => Ok(uri),
        _ => Err(FleetError::Address(text)),
    }
}

/// The address of ours that packets to the server start from.
async fn local_address(url: &Uri) -> Result<IpAddr, FleetError> {
    let name = url.host().unwrap_or_default();
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let usual = if url.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let port = url.port_u16().unwrap_or(usual);
    let unreachable = |cause| FleetError::Unreachable {
        host: format!("{name}:{port}"),
        cause,
    };
    let mut found = tokio::net::lookup_host((name, port))
        .await
        .map_err(unreachable)?;
    let server = found
        .next()
        .ok_or_else(|| unreachable(io::Error::other("the name has no address")))?;
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Connecting a UDP socket sends nothing: it asks the routing table.
    let probe = || {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(server)?;
        socket.local_addr()
    };
    probe().map(|address| address.ip()).map_err(unreachable)
}

/// How long viewers' threads leave their sockets alone between two looks.
const VIEWERS_REST: Duration = Duration::from_millis(2);
/// A key frame and some.
const RECEIVE_BUFFER: usize = 1 << 20;
