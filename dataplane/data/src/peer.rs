//! One peer: its association, its channels, what comes and what goes.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Payload,
    PayloadProtocolIdentifier as Ppid, ReliabilityType, ServerConfig, StreamEvent, Transmit,
    TransportConfig,
};
use whitewater_link::{ChannelTerms, DataKind, DataMessage, Order, Reliability};

use crate::budget::{Budget, Rate};
use crate::dcep::Dcep;
use crate::limits;
use crate::outbox::{Outbox, Overflow, Waiting};

/// Who sends the first packet. The one who dialled does; where both do, either association serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// We do, as soon as we are polled.
    Here,
    /// The peer does.
    There,
}

/// Which SCTP streams our channels have (RFC 8832 §6): even ones those of the DTLS client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// We are the DTLS client.
    Even,
    /// We are the DTLS server.
    Odd,
}

/// How to treat one peer.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Who begins.
    pub begins: Begins,
    /// Whose streams ours are.
    pub ids: Ids,
    /// The largest message the peer takes, in bytes (RFC 8841 §6.1); 0: any.
    pub message_size_max: u64,
    /// How much is read from it.
    pub rate: Rate,
    /// What becomes of reliable messages it does not take in time.
    pub overflow: Overflow,
}

impl Config {
    /// For a peer that is one of many, and takes messages of the usual size.
    pub fn new(begins: Begins, ids: Ids) -> Self {
        Config {
            begins,
            ids,
            message_size_max: 65_536,
            rate: Rate::VIEWER,
            overflow: Overflow::CloseChannel,
        }
    }
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Channels can be opened from now on.
    Up,
    /// The peer opened a channel, or spoke on one that the applications agreed on.
    Opened(u16),
    /// A channel is over, by the peer's wish or because too much waited for it.
    Closed(u16),
    /// A message on an open channel.
    Message(u16, DataMessage),
    /// The association is over, and all channels with it. Nothing follows.
    Over,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way, or waits.
    Queued,
    /// There is no such channel, or it is being closed.
    NoChannel,
    /// It is larger than what the peer takes.
    TooLarge,
    /// There was no room, and it may be lost.
    Dropped,
    /// There was no room: the channel is over, which an [`Event::Closed`] tells too.
    Closed,
}

/// What one peer came to. Cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages dropped because the peer does not take them in time.
    pub late: usize,
    /// Reliable channels closed for that.
    pub fell_behind: usize,
    /// Channels refused, and messages that were none.
    pub refused: usize,
}

/// SCTP with one peer, and the channels on it.
///
/// After every call of another method [`poll_event`](Self::poll_event) and
/// [`poll_packet`](Self::poll_packet) are to be called until they bring nothing, then
/// [`due`](Self::due) is when [`time`](Self::time) is to be called.
pub struct Peer {
    config: Config,
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    channels: Vec<Channel>,
    /// Streams of ours whose reset is not done; they are not used again before.
    resting: Vec<u16>,
    /// Streams of the peer that are no channel.
    unclaimed: Vec<u16>,
    /// Streams with messages to read, the next one first.
    readable: VecDeque<u16>,
    budget: Budget,
    outbox: Outbox,
    /// Sizes of the messages SCTP holds, about.
    held: VecDeque<usize>,
    held_size: usize,
    events: VecDeque<Event>,
    packets: VecDeque<Bytes>,
    counts: Counts,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begun,
    Up,
    Over,
}

struct Channel {
    id: u16,
    terms: ChannelTerms,
    /// Whether the peer knows of it. Before, messages keep their order (RFC 8832 §6).
    acknowledged: bool,
    /// To be closed once what was said before has left.
    closing: bool,
}

impl Peer {
    /// A peer of whom nothing was heard yet.
    pub fn new(config: Config) -> Self {
        let (ends, server) = &*SETTINGS;
        let mut peer = Peer {
            config,
            endpoint: Endpoint::new(ends.clone(), Some(server.clone())),
            association: None,
            channels: Vec::new(),
            resting: Vec::new(),
            unclaimed: Vec::new(),
            readable: VecDeque::new(),
            budget: Budget::new(config.rate),
            outbox: Outbox::default(),
            held: VecDeque::new(),
            held_size: 0,
            events: VecDeque::new(),
            packets: VecDeque::new(),
            counts: Counts::default(),
            stage: Stage::Begun,
        };
        if config.begins == Begins::Here {
            let mut client = ClientConfig::new();
            client.transport = transport();
            peer.association = peer.endpoint.connect(client, NOWHERE).ok();
            // One association, ours: of two that begin, the peer answers us too (RFC 9260 §5.2.1).
            peer.endpoint.reject_new_associations();
        }
        peer
    }

    /// Takes one SCTP packet: what one DTLS record carried. What is none is dropped.
    pub fn receive(&mut self, now: Instant, packet: Bytes) {
        if self.stage == Stage::Over {
            return;
        }
        let Some((handle, event)) = self.endpoint.handle(now, NOWHERE, None, None, packet) else {
            self.counts.refused += 1;
            return;
        };
        match event {
            DatagramEvent::NewAssociation(association) => {
                // There is one; every other INIT would leave an entry behind.
                self.endpoint.reject_new_associations();
                self.association.get_or_insert((handle, association));
            }
            DatagramEvent::AssociationEvent(event) => {
                if let Some((_, association)) = &mut self.association {
                    association.handle_event(event);
                }
            }
        }
        self.settle();
    }

    /// Time has passed.
    pub fn time(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association {
            association.handle_timeout(now);
        }
        self.settle();
    }

    /// When [`time`](Self::time) is to be called, if nothing happens before. In the past: as soon
    /// as can be.
    pub fn due(&mut self, now: Instant) -> Option<Instant> {
        if self.stage == Stage::Over {
            return None;
        }
        let (_, association) = self.association.as_ref()?;
        let timer = association.poll_timeout();
        let read = (!self.readable.is_empty()).then(|| self.budget.ready_at(now));
        timer.into_iter().chain(read).min()
    }

    /// What happened since.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if !self.read(now) {
                return None;
            }
        }
    }

    /// The next SCTP packet, at most [`limits::PACKET_SIZE_MAX`] bytes: one DTLS record.
    pub fn poll_packet(&mut self, now: Instant) -> Option<Bytes> {
        if self.packets.is_empty() {
            self.hand_over(now);
            self.close_drained();
            let next = self.endpoint.poll_transmit();
            let (_, association) = self.association.as_mut()?;
            if let Some(Transmit {
                payload: Payload::RawEncode(packets),
                ..
            }) = next.or_else(|| association.poll_transmit(now))
            {
                self.packets.extend(packets);
            }
        }
        let packet = self.packets.pop_front();
        if self.stage == Stage::Over && packet.is_none() {
            // The peer was told, if there was anything to tell.
            self.association = None;
        }
        packet
    }

    /// Opens a channel: with a message to the peer, or without one where the terms name a stream.
    /// Messages may be sent on it at once. `None` if the association is not up, there are too many
    /// channels, or the stream is in use.
    pub fn open(&mut self, terms: ChannelTerms) -> Option<u16> {
        if self.stage != Stage::Up || self.channels.len() >= limits::CHANNELS_MAX {
            return None;
        }
        let id = match terms.agreed {
            Some(id) => self.is_free(id).then_some(id)?,
            None => self.free_id()?,
        };
        let (_, association) = self.association.as_mut()?;
        let mut stream = association.open_stream(id, Ppid::Binary).ok()?;
        let acknowledged = terms.agreed.is_some();
        if !acknowledged {
            let open = Dcep::Open(terms.clone()).render();
            stream.write_with_ppi(&open, Ppid::Dcep).ok()?;
        }
        self.insert(id, terms, acknowledged);
        Some(id)
    }

    /// Closes a channel once what was sent on it has left (RFC 8831 §6.7). No event follows.
    pub fn close(&mut self, id: u16) {
        if let Some(channel) = self.channels.iter_mut().find(|channel| channel.id == id) {
            channel.closing = true;
        }
    }

    /// Sends a message; its payload is shared, not copied.
    pub fn send(&mut self, now: Instant, id: u16, message: DataMessage) -> Sent {
        let Some(channel) = self.channel(id).filter(|channel| !channel.closing) else {
            return Sent::NoChannel;
        };
        if message.payload.len() > self.message_size_max() {
            return Sent::TooLarge;
        }
        let reliability = channel.terms.reliability;
        let pushed = self.outbox.push(Waiting {
            id,
            message,
            reliability,
            since: now,
        });
        if let Ok(dropped) = pushed {
            self.counts.late += dropped;
            return Sent::Queued;
        }
        self.counts.late += 1;
        if reliability.is_partial() || self.config.overflow == Overflow::DropMessage {
            return Sent::Dropped;
        }
        self.counts.fell_behind += 1;
        self.lose(id);
        Sent::Closed
    }

    /// What a channel is; `None` if there is none.
    pub fn terms(&self, id: u16) -> Option<&ChannelTerms> {
        self.channel(id).map(|channel| &channel.terms)
    }

    /// Whether channels can be opened.
    pub fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// What it came to.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn message_size_max(&self) -> usize {
        match usize::try_from(self.config.message_size_max) {
            Ok(0) | Err(_) => limits::MESSAGE_SIZE_MAX,
            Ok(max) => max.min(limits::MESSAGE_SIZE_MAX),
        }
    }

    fn channel(&self, id: u16) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.id == id)
    }

    fn is_free(&self, id: u16) -> bool {
        self.channel(id).is_none() && !self.resting.contains(&id) && !self.unclaimed.contains(&id)
    }

    fn free_id(&self) -> Option<u16> {
        let first = match self.config.ids {
            Ids::Even => limits::STREAM_ID_FIRST,
            Ids::Odd => limits::STREAM_ID_FIRST + 1,
        };
        (0..=first).rev().step_by(2).find(|&id| self.is_free(id))
    }

    /// A stream is a channel from now on.
    fn insert(&mut self, id: u16, terms: ChannelTerms, acknowledged: bool) {
        self.unclaimed.retain(|unclaimed| *unclaimed != id);
        self.channels.push(Channel {
            id,
            terms,
            acknowledged,
            closing: false,
        });
        self.apply(id);
    }

    /// Tells SCTP how the messages of a channel are sent.
    fn apply(&mut self, id: u16) {
        let Some(channel) = self.channels.iter().find(|channel| channel.id == id) else {
            return;
        };
        let unordered = channel.acknowledged && channel.terms.order == Order::Free;
        let (kind, value) = match channel.terms.reliability {
            Reliability::Full => (ReliabilityType::Reliable, 0),
            Reliability::Retransmissions(count) => (ReliabilityType::Rexmit, count),
            Reliability::Lifetime(ms) => (ReliabilityType::Timed, ms),
        };
        if let Some((_, association)) = &mut self.association
            && let Ok(mut stream) = association.stream(id)
        {
            // It can only fail where the stream is gone, which an event tells.
            let _ = stream.set_reliability_params(unordered, kind, value);
        }
    }

    /// Looks through what the association has to tell.
    fn settle(&mut self) {
        let Some((_, association)) = &mut self.association else {
            return;
        };
        // Nobody else empties this list.
        while association.accept_stream().is_some() {}
        while let Some(event) = self.association.as_mut().and_then(|(_, a)| a.poll()) {
            match event {
                sctp_proto::Event::Connected => self.on_connected(),
                sctp_proto::Event::HandshakeFailed { .. }
                | sctp_proto::Event::AssociationLost { .. } => self.end(),
                sctp_proto::Event::Stream(event) => self.on_stream(event),
                _ => {}
            }
        }
    }

    fn on_connected(&mut self) {
        let size = u32::try_from(self.message_size_max()).unwrap_or(u32::MAX);
        if let Some((_, association)) = &mut self.association {
            // The messages that open channels are not the application's, and are small.
            association.set_max_send_message_size(size.max(DCEP_SIZE_MAX));
        }
        self.stage = Stage::Up;
        self.events.push_back(Event::Up);
    }

    fn on_stream(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Opened { id } => {
                if self.is_free(id) {
                    self.unclaimed.push(id);
                }
                if self.unclaimed.len() > limits::UNCLAIMED_MAX {
                    self.counts.refused += 1;
                    self.end();
                }
            }
            StreamEvent::Readable { id } if !self.readable.contains(&id) => {
                self.readable.push_back(id);
            }
            StreamEvent::Finished { id } => {
                // RFC 8831 §6.7: the peer's direction is reset, ours follows.
                self.unclaimed.retain(|unclaimed| *unclaimed != id);
                self.readable.retain(|readable| *readable != id);
                self.lose(id);
                self.rest(id);
            }
            StreamEvent::ResetComplete { id } => self.resting.retain(|resting| *resting != id),
            _ => {}
        }
    }

    /// The channel is gone, and not because we wanted it.
    fn lose(&mut self, id: u16) {
        if self.channel(id).is_some_and(|channel| !channel.closing) {
            self.events.push_back(Event::Closed(id));
        }
        self.reset(id);
    }

    /// The channel is gone; its stream is reset if it is still there.
    fn reset(&mut self, id: u16) {
        self.channels.retain(|channel| channel.id != id);
        self.outbox.forget(id);
        if let Some((_, association)) = &mut self.association
            && let Ok(mut stream) = association.stream(id)
        {
            // It fails where the association is not up any more, and the stream goes with it.
            if stream.close().is_ok() {
                self.rest(id);
            }
        }
    }

    fn rest(&mut self, id: u16) {
        if !self.resting.contains(&id) {
            self.resting.push(id);
        }
        // An id that the peer never lets go of is the peer's loss: what is forgotten here is still
        // refused by SCTP.
        if self.resting.len() > RESTING_MAX {
            self.resting.remove(0);
        }
    }

    /// RFC 9260 §9: nothing works any more. Media goes on without.
    fn end(&mut self) {
        if self.stage == Stage::Over {
            return;
        }
        self.stage = Stage::Over;
        self.channels.clear();
        self.readable.clear();
        self.outbox = Outbox::default();
        self.held.clear();
        self.held_size = 0;
        self.events.push_back(Event::Over);
    }

    /// Reads one message. False if there is none, or none may be read now.
    fn read(&mut self, now: Instant) -> bool {
        let Some(id) = self.readable.pop_front() else {
            return false;
        };
        if !self.budget.allows(now) {
            self.readable.push_front(id);
            return false;
        }
        let Some((_, association)) = &mut self.association else {
            return false;
        };
        let Ok(Some(chunks)) = association.stream(id).and_then(|mut s| s.read_sctp()) else {
            // Nothing of a whole message is left of it; others have their turn.
            return true;
        };
        // Turn by turn.
        self.readable.push_back(id);
        self.budget.take(chunks.len());
        let ppid = chunks.ppi;
        let mut payload = BytesMut::zeroed(chunks.len());
        if chunks.read(&mut payload).is_ok() {
            self.on_message(id, ppid, payload.freeze());
        }
        // What is read makes room, and may have brought the end of the stream.
        self.settle();
        true
    }

    fn on_message(&mut self, id: u16, ppid: Ppid, payload: Bytes) {
        // RFC 8831 §6.6: SCTP cannot send nothing, so that one byte stands for it.
        let (kind, payload) = match ppid {
            Ppid::Dcep => return self.on_dcep(id, &payload),
            Ppid::String => (DataKind::Text, payload),
            Ppid::StringEmpty => (DataKind::Text, Bytes::new()),
            Ppid::Binary => (DataKind::Binary, payload),
            Ppid::BinaryEmpty => (DataKind::Binary, Bytes::new()),
            Ppid::Unknown => {
                self.counts.refused += 1;
                return;
            }
        };
        if kind == DataKind::Text && std::str::from_utf8(&payload).is_err() {
            self.counts.refused += 1;
            return;
        }
        let channel = self.channel(id);
        if channel.is_some_and(|channel| channel.closing) {
            return;
        }
        if channel.is_none() {
            // Nothing opened it, so the applications agreed on it.
            let terms = ChannelTerms {
                agreed: Some(id),
                priority: PRIORITY_NORMAL,
                ..ChannelTerms::default()
            };
            if !self.accept(id, terms) {
                return;
            }
        }
        let message = DataMessage { kind, payload };
        self.events.push_back(Event::Message(id, message));
    }

    fn on_dcep(&mut self, id: u16, payload: &[u8]) {
        match Dcep::parse(payload) {
            Ok(Dcep::Ack) => {
                if let Some(channel) = self.channels.iter_mut().find(|c| c.id == id) {
                    channel.acknowledged = true;
                    self.apply(id);
                }
            }
            Ok(Dcep::Open(terms)) if self.channel(id).is_none() => {
                if self.accept(id, terms)
                    && let Some((_, association)) = &mut self.association
                    && let Ok(mut stream) = association.stream(id)
                {
                    let _ = stream.write_with_ppi(&Dcep::Ack.render(), Ppid::Dcep);
                }
            }
            // RFC 8832 §6: a second one, or what cannot be read, closes the channel.
            Ok(Dcep::Open(_)) | Err(_) => {
                self.counts.refused += 1;
                self.lose(id);
            }
        }
    }

    /// Takes a channel of the peer's in, if there is room.
    fn accept(&mut self, id: u16, terms: ChannelTerms) -> bool {
        if self.channels.len() >= limits::CHANNELS_MAX {
            self.counts.refused += 1;
            self.reset(id);
            return false;
        }
        self.insert(id, terms, true);
        self.events.push_back(Event::Opened(id));
        true
    }

    /// Hands waiting messages to SCTP while it does not hold too much.
    fn hand_over(&mut self, now: Instant) {
        while !self.outbox.is_empty() && self.has_room() {
            let Some(next) = self.outbox.pop() else {
                return;
            };
            if next.is_late(now) {
                self.counts.late += 1;
                continue;
            }
            let empty = next.message.payload.is_empty();
            let ppid = match (next.message.kind, empty) {
                (DataKind::Text, false) => Ppid::String,
                (DataKind::Text, true) => Ppid::StringEmpty,
                (DataKind::Binary, false) => Ppid::Binary,
                (DataKind::Binary, true) => Ppid::BinaryEmpty,
            };
            let payload = match empty {
                true => Bytes::from_static(&[0]),
                false => next.message.payload,
            };
            let size = payload.len();
            let Some((_, association)) = &mut self.association else {
                return;
            };
            let written = association.stream(next.id).and_then(|mut stream| {
                stream.set_default_payload_type(ppid)?;
                stream.write_chunks(&mut [payload])
            });
            if written.is_ok() {
                self.held.push_back(size);
                self.held_size += size;
            } else {
                self.counts.late += 1;
            }
        }
    }

    /// Whether SCTP may be handed more. It tells the bytes it holds, not the messages: the newest
    /// ones that come to that many are taken to be those.
    fn has_room(&mut self) -> bool {
        let size = self.buffered();
        while let Some(oldest) = self.held.front()
            && self.held_size - oldest >= size
        {
            self.held_size -= oldest;
            self.held.pop_front();
        }
        size < limits::HELD_SIZE_MAX && self.held.len() < limits::HELD_COUNT_MAX
    }

    /// Bytes that SCTP holds of all channels.
    fn buffered(&mut self) -> usize {
        let Some((_, association)) = &mut self.association else {
            return 0;
        };
        let of = |channel: &Channel| {
            let stream = association.stream(channel.id).ok()?;
            stream.buffered_amount().ok()
        };
        self.channels.iter().filter_map(of).sum()
    }

    /// Closes channels that are to be closed and of which nothing is left to send.
    fn close_drained(&mut self) {
        let mut at = 0;
        while let Some(channel) = self.channels.get(at) {
            let id = channel.id;
            let closing = channel.closing && !self.outbox.has(id);
            let drained = closing
                && self.association.as_mut().is_none_or(|(_, association)| {
                    let stream = association.stream(id);
                    let held = stream.and_then(|stream| stream.buffered_amount());
                    held.unwrap_or(0) == 0
                });
            if drained {
                self.reset(id);
            } else {
                at += 1;
            }
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("channels", &self.channels.len())
            .field("is_up", &self.is_up())
            .finish_non_exhaustive()
    }
}

/// What all associations have in common, kept once.
static SETTINGS: LazyLock<(Arc<EndpointConfig>, Arc<ServerConfig>)> = LazyLock::new(|| {
    let mut ends = EndpointConfig::new();
    ends.max_payload_size(limits::PAYLOAD_SIZE_MAX);
    let mut server = ServerConfig::new();
    server.transport = transport();
    (Arc::new(ends), Arc::new(server))
});

fn transport() -> Arc<TransportConfig> {
    static TRANSPORT: LazyLock<Arc<TransportConfig>> = LazyLock::new(|| {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let size = u32::try_from(limits::MESSAGE_SIZE_MAX).unwrap_or(u32::MAX);
        Arc::new(
            TransportConfig::default()
                // ICE says when a peer is gone.
                .with_max_init_retransmits(None)
                .with_max_data_retransmits(None)
                .with_rto_initial_ms(ms(limits::RTO_INITIAL))
                .with_rto_min_ms(ms(limits::RTO_MIN))
                .with_rto_max_ms(ms(limits::RTO_MAX))
                .with_max_receive_buffer_size(limits::RECEIVED_SIZE_MAX)
                .with_max_receive_message_size(size),
        )
    });
    TRANSPORT.clone()
}

/// SCTP in DTLS has no addresses (RFC 8261 §6.1); the library wants one.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5000);
/// RFC 8831 §6.4
const PRIORITY_NORMAL: u16 = 256;
/// A message that opens a channel.
const DCEP_SIZE_MAX: u32 = 12 + 2 * limits::NAME_SIZE_MAX as u32;
/// Streams remembered as not to be used again yet.
const RESTING_MAX: usize = 4 * limits::CHANNELS_MAX;
