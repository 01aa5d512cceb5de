//! A small WebRTC client: it publishes or watches over a real socket, in a thread of its own.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::{Codec, FormatParams};
use str0m::media::{Direction, Frequency, MediaKind, Mid, Pt, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::http::{Answer, request};
use crate::media::{Pattern, Video, VideoPacket, parse_audio, render_audio};
use crate::transport::{Over, Transport};

/// What a client does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Publish(Pattern),
    Watch,
}

/// What a client wants to be.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) part: Part,
    /// The video codecs with their payload types, most wanted first.
    pub(crate) video: Vec<(Codec, u8)>,
    pub(crate) audio: bool,
    /// The rids of a publisher's layers, the largest first; none: one without a rid.
    pub(crate) layers: &'static [&'static str],
    /// What it says of H.264.
    pub(crate) h264_profile: u32,
    /// What a counter-offer is answered with.
    pub(crate) answer_video: Vec<(Codec, u8)>,
    /// How it reaches the node, and from which address.
    pub(crate) over: Over,
    pub(crate) ip: IpAddr,
    /// Whether it tells when packets arrive (transport-cc): who does not is sent everything at once.
    pub(crate) feedback: bool,
}

impl Wish {
    pub(crate) fn publish() -> Self {
        Self::publish_as(Pattern::default())
    }

    pub(crate) fn publish_as(pattern: Pattern) -> Self {
        Wish {
            part: Part::Publish(pattern),
            video: vec![(Codec::Vp8, 96)],
            audio: true,
            layers: &[],
            h264_profile: 0x0042_e01f,
            answer_video: Vec::new(),
            over: Over::Udp,
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            feedback: true,
        }
    }

    pub(crate) fn watch() -> Self {
        Wish {
            part: Part::Watch,
            ..Self::publish()
        }
    }

    pub(crate) fn with_video(mut self, video: &[(Codec, u8)]) -> Self {
        self.video = video.to_vec();
        self
    }

    /// Publishes these layers.
    pub(crate) fn in_layers(mut self, layers: &'static [&'static str]) -> Self {
        self.layers = layers;
        self
    }

    pub(crate) fn with_h264_profile(mut self, profile_level_id: u32) -> Self {
        self.h264_profile = profile_level_id;
        self
    }

    pub(crate) fn without_feedback(mut self) -> Self {
        self.feedback = false;
        self
    }

    pub(crate) fn without_audio(mut self) -> Self {
        self.audio = false;
        self
    }

    /// Answers a counter-offer with these codecs.
    pub(crate) fn answering_with(mut self, video: &[(Codec, u8)]) -> Self {
        self.answer_video = video.to_vec();
        self
    }

    pub(crate) fn over_tcp(mut self) -> Self {
        self.over = Over::Tcp;
        self
    }

    pub(crate) fn at_ip(mut self, ip: IpAddr) -> Self {
        self.ip = ip;
        self
    }

    fn verb(&self) -> &'static str {
        match self.part {
            Part::Publish(_) => "whip",
            Part::Watch => "whep",
        }
    }
}

/// What a client has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connected: bool,
    /// The other side said goodbye (DTLS close_notify).
    pub(crate) closed: bool,
    pub(crate) video: Video,
    /// Payload types video came with.
    pub(crate) video_pts: BTreeSet<u8>,
    /// Running numbers of the audio packets.
    pub(crate) audio: BTreeSet<u32>,
    /// Packets that are not as they were sent.
    pub(crate) corrupt: u64,
    /// Publisher: the frame that is sent next.
    pub(crate) next_frame: u32,
    /// Publisher: requests for a key frame.
    pub(crate) key_frames_wanted: u64,
    /// Datagrams received.
    pub(crate) received: u64,
}

/// A running client. Dropped, it vanishes without a word.
pub(crate) struct Client {
    http: SocketAddr,
    pub(crate) session: String,
    pub(crate) answer: String,
    seen: Arc<Mutex<Seen>>,
    order: Arc<AtomicU8>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Negotiates and starts; panics when it is refused.
    pub(crate) fn start(http: SocketAddr, stream: &str, wish: Wish) -> Client {
        Self::try_start(http, stream, wish)
            .unwrap_or_else(|answer| panic!("{stream}: {} {}", answer.status, answer.body))
    }

    /// Negotiates and starts.
    ///
    /// # Errors
    /// The answer by which it was refused.
    pub(crate) fn try_start(
        http: SocketAddr,
        stream: &str,
        wish: Wish,
    ) -> Result<Client, Box<Answer>> {
        let socket = Transport::udp(wish.ip);
        let address = socket.address();
        let (mut rtc, offer, pending) = offer(&wish, address);
        let path = format!("/{}/{stream}", wish.verb());
        let answer = request(http, "POST", &path, Some(("application/sdp", &offer)))
            .expect("the node answers");
        let countered = answer.status == 406 && !wish.answer_video.is_empty();
        if answer.status != 201 && !countered {
            return Err(Box::new(answer));
        }
        let session = answer.header("location").expect("a location").to_owned();
        let (socket, body) = match wish.over {
            Over::Udp => (socket, answer.body.clone()),
            Over::Tcp => over_tcp(&answer.body, wish.ip),
        };
        let mut wish = wish;
        if countered {
            wish.video = wish.answer_video.clone();
            rtc = build(&wish, address);
            let offer = SdpOffer::from_sdp_string(&body).expect("an offer");
            let own = rtc.sdp_api().accept_offer(offer);
            let own = own.expect("an offer with our codec").to_sdp_string();
            let taken = request(http, "PATCH", &session, Some(("application/sdp", &own)))
                .expect("the node answers");
            if taken.status != 204 {
                return Err(Box::new(taken));
            }
        } else {
            let parsed = SdpAnswer::from_sdp_string(&body).expect("an answer");
            rtc.sdp_api()
                .accept_answer(pending.0, parsed)
                .expect("an answer that fits the offer");
        }
        let seen = Arc::new(Mutex::new(Seen::default()));
        let order = Arc::new(AtomicU8::new(GO_ON));
        let road = Road { socket, address };
        let worker = Worker::new(rtc, road, wish, pending.1, seen.clone(), order.clone());
        let thread = std::thread::Builder::new()
            .name("client".to_owned())
            .spawn(move || worker.run())
            .expect("a thread");
        Ok(Client {
            http,
            session,
            answer: answer.body,
            seen,
            order,
            thread: Some(thread),
        })
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the session over HTTP; the status of the answer.
    pub(crate) fn leave(&self) -> u16 {
        let answer = request(self.http, "DELETE", &self.session, None);
        answer.expect("the node answers").status
    }

    /// A publisher sends nothing more, but stays.
    pub(crate) fn hush(&self) {
        self.order.store(HUSH, Ordering::Relaxed);
    }

    /// A publisher that was hushed sends again.
    pub(crate) fn speak(&self) {
        self.order.store(GO_ON, Ordering::Relaxed);
    }

    /// Does not read any more, but stays.
    pub(crate) fn stall(&self) {
        self.order.store(STALL, Ordering::Relaxed);
    }

    /// The two characters of our peer's user name fragment that name its shard.
    pub(crate) fn shard(&self) -> u16 {
        u16::from_str_radix(&self.ufrag()[..2], 16).expect("the shard's number")
    }

    /// The ports of all candidates of the answer.
    pub(crate) fn ports_offered(&self) -> Vec<u16> {
        let candidates = self
            .answer
            .lines()
            .filter(|l| l.starts_with("a=candidate:"));
        let port = |line: &str| line.split(' ').nth(5)?.parse().ok();
        candidates.filter_map(port).collect()
    }

    /// The node's user name fragment.
    pub(crate) fn ufrag(&self) -> &str {
        let line = self.answer.lines();
        let mut ufrags = line.filter_map(|line| line.strip_prefix("a=ice-ufrag:"));
        ufrags.next().expect("a ufrag")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.order.store(VANISH, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("no panic in the client");
            }
        }
    }
}

/// An offer that nobody follows up.
pub(crate) fn offer_text(wish: &Wish) -> String {
    offer(wish, SocketAddr::from(([127, 0, 0, 1], 9))).1
}

type Pending = (SdpPendingOffer, [Mid; 2]);

/// Connects to the passive TCP candidate of this family, and makes the answer's UDP candidates
/// that one: the client's engine need not know.
fn over_tcp(answer: &str, ip: IpAddr) -> (Transport, String) {
    let is_tcp =
        |line: &&str| line.starts_with("a=candidate:") && line.contains(" tcptype passive");
    let address = |line: &str| -> Option<SocketAddr> {
        let mut words = line.split(' ').skip(4);
        let ip = words.next()?.parse().ok()?;
        Some(SocketAddr::new(ip, words.next()?.parse().ok()?))
    };
    let mut addresses = answer.lines().filter(is_tcp).filter_map(address);
    let node = addresses.find(|node| node.is_ipv4() == ip.is_ipv4() && node.ip().is_loopback());
    let node = node.unwrap_or_else(|| panic!("no TCP candidate for {ip} in {answer}"));
    let lines = answer.lines().filter_map(|line| match line {
        _ if is_tcp(&line) => {
            let line = line
                .replace(" tcp ", " udp ")
                .replace(" tcptype passive", "");
            Some(line).filter(|line| address(line) == Some(node))
        }
        _ if line.starts_with("a=candidate:") => None,
        _ => Some(line.to_owned()),
    });
    let answer: String = lines.flat_map(|line| [line, "\r\n".to_owned()]).collect();
    (Transport::tcp(node), answer)
}

fn build(wish: &Wish, address: SocketAddr) -> Rtc {
    let mut config = RtcConfig::new()
        .set_crypto_provider(Arc::new(str0m::crypto::from_feature_flags()))
        .set_rtp_mode(true)
        .set_stats_interval(None)
        .clear_codecs()
        .enable_opus(true, false);
    for &(codec, pt) in &wish.video {
        config.codec_config().add_config(
            pt.into(),
            Some((pt + 1).into()),
            codec,
            Frequency::NINETY_KHZ,
            None,
            format(codec, wish.h264_profile),
        );
    }
    let mut rtc = config.build(Instant::now());
    let candidate = Candidate::host(address, Protocol::Udp).expect("a candidate");
    rtc.add_local_candidate(candidate);
    rtc
}

fn offer(wish: &Wish, address: SocketAddr) -> (Rtc, String, Pending) {
    let mut rtc = build(wish, address);
    let direction = match wish.part {
        Part::Publish(_) => Direction::SendOnly,
        Part::Watch => Direction::RecvOnly,
    };
    let mut changes = rtc.sdp_api();
    let layers = wish.layers.iter().map(|rid| SimulcastLayer::new(rid));
    let simulcast = (!wish.layers.is_empty()).then(|| Simulcast {
        send: layers.collect(),
        recv: Vec::new(),
    });
    let mut add = |kind| {
        let layers = simulcast.clone().filter(|_| kind == MediaKind::Video);
        changes.add_media(kind, direction, None, None, layers)
    };
    // A viewer without audio has one section; its publisher's are not used.
    let first = if wish.audio {
        MediaKind::Audio
    } else {
        MediaKind::Video
    };
    let first = add(first);
    let mids = if wish.audio {
        [first, add(MediaKind::Video)]
    } else {
        [first, first]
    };
    let (offer, pending) = changes.apply().expect("an offer");
    let mut text = offer.to_sdp_string();
    if !wish.feedback {
        let tells =
            |line: &&str| line.contains("transport-wide-cc") || line.ends_with("transport-cc");
        let lines = text.split_inclusive("\r\n");
        text = lines.filter(|line| !tells(&line.trim_end())).collect();
    }
    (rtc, text, (pending, mids))
}

fn format(codec: Codec, h264_profile: u32) -> FormatParams {
    match codec {
        Codec::H264 => FormatParams {
            level_asymmetry_allowed: Some(true),
            packetization_mode: Some(1),
            profile_level_id: Some(h264_profile),
            ..FormatParams::default()
        },
        _ => FormatParams::default(),
    }
}

/// What a client sends and receives by.
struct Road {
    socket: Transport,
    /// The client's own address, in the eyes of its engine.
    address: SocketAddr,
}

/// The thread's side of a client.
struct Worker {
    rtc: Rtc,
    road: Road,
    source: Option<Source>,
    video_pts: Vec<Pt>,
    seen: Arc<Mutex<Seen>>,
    order: Arc<AtomicU8>,
    buffer: Vec<u8>,
}

impl Worker {
    fn new(
        rtc: Rtc,
        road: Road,
        wish: Wish,
        mids: [Mid; 2],
        seen: Arc<Mutex<Seen>>,
        order: Arc<AtomicU8>,
    ) -> Self {
        let source = match wish.part {
            Part::Publish(pattern) => Some(Source::new(pattern, mids, &wish)),
            Part::Watch => None,
        };
        Worker {
            rtc,
            road,
            source,
            video_pts: wish.video.iter().map(|(_, pt)| (*pt).into()).collect(),
            seen,
            order,
            buffer: vec![0; 2048],
        }
    }

    fn run(mut self) {
        let mut due = Instant::now();
        loop {
            match self.order.load(Ordering::Relaxed) {
                VANISH => return,
                STALL => {
                    std::thread::sleep(LOOK_UP_INTERVAL);
                    continue;
                }
                _ => {}
            }
            self.wait(due.min(Instant::now() + LOOK_UP_INTERVAL));
            while self.receive() {}
            self.publish();
            if self
                .rtc
                .handle_input(Input::Timeout(Instant::now()))
                .is_err()
            {
                self.seen().closed = true;
            }
            due = self.pump();
            if !self.rtc.is_alive() {
                self.seen().closed = true;
                // Nothing more will happen; stay until told to go.
                due = Instant::now() + LOOK_UP_INTERVAL;
            }
            if let Some(source) = &self.source {
                due = due.min(source.due());
            }
        }
    }

    fn wait(&self, until: Instant) {
        let timeout = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(timeout).expect("a short time");
        let socket = self.road.socket.socket();
        let mut sockets = [PollFd::new(&socket, PollFlags::IN)];
        // Woken by a signal: the loop looks at everything anyway.
        let _ = poll(&mut sockets, Some(&timeout));
    }

    /// Takes one datagram. True if there was one.
    fn receive(&mut self) -> bool {
        let (size, source) = match self.road.socket.receive(&mut self.buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // The node went away: ICMP says so on loopback.
            Err(_) => return true,
        };
        let destination = self.road.address;
        self.seen().received += 1;
        let datagram = &self.buffer[..size];
        let Ok(receive) = Receive::new(Protocol::Udp, source, destination, datagram) else {
            self.seen().corrupt += 1;
            return true;
        };
        let taken = self
            .rtc
            .handle_input(Input::Receive(Instant::now(), receive));
        if taken.is_err() {
            self.seen().closed = true;
        }
        self.pump();
        true
    }

    fn publish(&mut self) {
        let hushed = self.order.load(Ordering::Relaxed) == HUSH;
        let connected = self.seen().connected;
        let Some(source) = &mut self.source else {
            return;
        };
        if hushed || !connected {
            source.wait();
            return;
        }
        source.send(&mut self.rtc);
        let next_frame = source.frame;
        self.seen().next_frame = next_frame;
    }

    /// Does what the connection asks for; returns when it wants to be called again.
    fn pump(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => return at,
                Ok(Output::Transmit(transmit)) => {
                    let socket = &mut self.road.socket;
                    socket.send(&transmit.contents, transmit.destination);
                }
                Ok(Output::Event(event)) => self.on_event(event),
                Err(_) => {
                    self.seen().closed = true;
                    return Instant::now() + LOOK_UP_INTERVAL;
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Connected => seen.connected = true,
            Event::Closed => seen.closed = true,
            Event::KeyframeRequest(request) => {
                seen.key_frames_wanted += 1;
                if let Some(source) = &mut self.source {
                    source.want_key(request.rid);
                }
            }
            Event::RtpPacket(packet) if packet.payload.is_empty() => {}
            Event::RtpPacket(packet) => {
                let pt = packet.header.payload_type;
                if self.video_pts.contains(&pt) {
                    seen.video_pts.insert(*pt);
                    match VideoPacket::parse(&packet.payload) {
                        Some(packet) => seen.video.take(packet),
                        None => seen.corrupt += 1,
                    }
                } else {
                    match parse_audio(&packet.payload) {
                        Some(number) => _ = seen.audio.insert(number),
                        None => seen.corrupt += 1,
                    }
                }
            }
            _ => {}
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a publisher's media comes from.
struct Source {
    pattern: Pattern,
    audio: Mid,
    video: Mid,
    video_pt: Pt,
    video_due: Instant,
    audio_due: Instant,
    frame: u32,
    /// The next packet of `frame`.
    index: u16,
    layers: Vec<Encoding>,
    audio_number: u32,
}

/// One of a publisher's layers, or all it has.
struct Encoding {
    rid: Option<Rid>,
    key: bool,
    key_wanted: bool,
    seq: u64,
}

impl Source {
    fn new(pattern: Pattern, mids: [Mid; 2], wish: &Wish) -> Self {
        let encoding = |rid| Encoding {
            rid,
            key: true,
            key_wanted: true,
            seq: 1000,
        };
        let named = wish
            .layers
            .iter()
            .map(|rid| encoding(Some(Rid::from(*rid))));
        let mut layers: Vec<Encoding> = named.collect();
        if layers.is_empty() {
            layers.push(encoding(None));
        }
        let now = Instant::now();
        Source {
            pattern,
            audio: mids[0],
            video: mids[1],
            video_pt: wish.video[0].1.into(),
            video_due: now,
            audio_due: now,
            frame: 0,
            index: 0,
            layers,
            audio_number: 0,
        }
    }

    /// A request without a rid is for all layers.
    fn want_key(&mut self, rid: Option<Rid>) {
        let is_meant = |layer: &&mut Encoding| rid.is_none() || layer.rid == rid;
        self.layers
            .iter_mut()
            .filter(is_meant)
            .for_each(|layer| layer.key_wanted = true);
    }

    fn due(&self) -> Instant {
        self.video_due.min(self.audio_due)
    }

    /// Not now: nothing is made up for later.
    fn wait(&mut self) {
        let later = Instant::now() + LOOK_UP_INTERVAL;
        self.video_due = self.video_due.max(later);
        self.audio_due = self.audio_due.max(later);
    }

    fn send(&mut self, rtc: &mut Rtc) {
        let now = Instant::now();
        while self.audio_due <= now {
            self.audio_due += AUDIO_INTERVAL;
            self.send_audio(rtc, now);
        }
        while self.video_due <= now {
            self.send_video(rtc, now);
        }
    }

    fn send_audio(&mut self, rtc: &mut Rtc, now: Instant) {
        let number = self.audio_number;
        self.audio_number += 1;
        let mut api = rtc.direct_api();
        let stream = api
            .stream_tx_by_mid(self.audio, None)
            .expect("declared by the offer");
        let time = number.wrapping_mul(960);
        let payload = render_audio(number);
        let seq = u64::from(number) + 500;
        stream.write_rtp(RtpWrite::new(
            OPUS_PT.into(),
            seq.into(),
            time,
            now,
            payload,
        ));
    }

    fn send_video(&mut self, rtc: &mut Rtc, now: Instant) {
        // The largest layer sets the pace.
        let mut whole = 1;
        for (layer, encoding) in (0..).zip(&mut self.layers) {
            if self.index == 0 {
                encoding.key = std::mem::take(&mut encoding.key_wanted);
            }
            let count = self.pattern.packet_count(encoding.key, layer);
            whole = whole.max(count);
            let until = if self.pattern.smooth {
                count.min(self.index + 1)
            } else {
                count
            };
            let mut api = rtc.direct_api();
            let stream = api
                .stream_tx_by_mid(self.video, encoding.rid)
                .expect("declared by the offer");
            for index in self.index..until {
                let packet = VideoPacket {
                    frame: self.frame,
                    index,
                    count,
                    key: encoding.key,
                    layer,
                };
                let time = self.frame.wrapping_mul(3000);
                let payload = packet.render(self.pattern.payload_size);
                let write = RtpWrite::new(self.video_pt, encoding.seq.into(), time, now, payload);
                encoding.seq += 1;
                stream.write_rtp(write.marker(index + 1 == count).nackable(true));
            }
        }
        self.index = if self.pattern.smooth {
            self.index + 1
        } else {
            whole
        };
        if self.pattern.smooth {
            self.video_due += self.pattern.frame_interval / u32::from(whole);
        } else {
            self.video_due += self.pattern.frame_interval;
        }
        if self.index >= whole {
            self.index = 0;
            self.frame += 1;
        }
    }
}

const GO_ON: u8 = 0;
const HUSH: u8 = 1;
const VANISH: u8 = 2;
const STALL: u8 = 3;

const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// How often orders are looked at.
const LOOK_UP_INTERVAL: Duration = Duration::from_millis(20);
/// str0m's own.
const OPUS_PT: u8 = 111;
