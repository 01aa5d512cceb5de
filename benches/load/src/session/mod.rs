//! One session: a socket, the way to the keys, and a publisher or a viewer on top.

mod publisher;
mod viewer;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use whitewater_rtp::{Kind, classify};

pub use publisher::{Pacing, Program};
pub use viewer::Inspection;

pub(crate) use publisher::Publisher;
pub(crate) use viewer::Viewer;

use crate::socket::{Received, Socket};
use crate::stats::{Latency, Totals};
use crate::transport::{Progress, Transport};
use viewer::Taken;

/// Which half of the work a session does.
pub(crate) enum Part {
    Publisher(Box<Publisher>),
    Viewer(Box<Viewer>),
}

/// What a session tells who started it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The handshake is done.
    Secured(Instant),
    /// A viewer got its first packet.
    Media(Instant),
    /// It is over, for this reason.
    Broken(String),
}

/// A session as its worker sees it.
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) socket: Socket,
    transport: Transport,
    part: Part,
    notices: UnboundedSender<Notice>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Secured,
    /// A viewer with media.
    Flowing,
    Broken,
}

impl Session {
    pub(crate) fn new(
        id: u64,
        socket: Socket,
        transport: Transport,
        part: Part,
        notices: UnboundedSender<Notice>,
    ) -> Self {
        Session {
            id,
            socket,
            transport,
            part,
            notices,
            state: State::Connecting,
        }
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.state == State::Connecting
    }

    /// When [`poll`](Self::poll) has something to do; `None` once it is over.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.state == State::Broken {
            return None;
        }
        let part = match &self.part {
            Part::Publisher(publisher) => publisher.due(),
            Part::Viewer(viewer) => viewer.due(),
        };
        let transport = self.transport.due();
        Some(part.map_or(transport, |part| part.min(transport)))
    }

    pub(crate) fn poll(&mut self, now: Instant) {
        if self.state == State::Broken {
            return;
        }
        if now >= self.transport.due() {
            let socket = &self.socket;
            let progress = self
                .transport
                .poll(now, &mut |to, bytes| socket.send(to, bytes));
            self.on_progress(progress, now);
        }
        match &mut self.part {
            Part::Publisher(publisher) => publisher.poll(now, &mut self.socket),
            Part::Viewer(viewer) => viewer.poll(now, &mut self.socket),
        }
    }

    /// Takes what one receive call gave: one packet, or several of one size.
    pub(crate) fn on_received(
        &mut self,
        now: Instant,
        now_ns: u64,
        received: &Received,
        bytes: &[u8],
        latency: &mut Latency,
    ) {
        let arrived_ns = received.arrived_ns.unwrap_or(now_ns);
        for packet in bytes.chunks(received.segment) {
            if self.state == State::Broken {
                return;
            }
            self.on_packet(now, arrived_ns, received.source, packet, latency);
        }
    }

    fn on_packet(
        &mut self,
        now: Instant,
        arrived_ns: u64,
        source: Option<SocketAddr>,
        packet: &[u8],
        latency: &mut Latency,
    ) {
        match (classify(packet), &mut self.part) {
            (Kind::Rtp, Part::Viewer(viewer)) => {
                let taken = viewer.on_rtp(now, arrived_ns, packet, latency);
                if taken == Taken::Media && self.state == State::Secured {
                    self.state = State::Flowing;
                    let _ = self.notices.send(Notice::Media(now));
                }
            }
            (Kind::Rtcp, Part::Viewer(viewer)) => viewer.on_rtcp(now, packet),
            (Kind::Rtcp, Part::Publisher(publisher)) => {
                publisher.on_rtcp(packet, &mut self.socket);
            }
            (Kind::Stun, _) => {
                let socket = &self.socket;
                let Some(from) = source.or_else(|| self.transport.nominated()) else {
                    return;
                };
                let progress = self.transport.on_stun(now, from, packet, &mut |to, bytes| {
                    socket.send(to, bytes);
                });
                self.on_progress(progress, now);
            }
            (Kind::Dtls, _) => {
                let socket = &self.socket;
                let progress = self
                    .transport
                    .on_dtls(packet, &mut |to, bytes| socket.send(to, bytes));
                self.on_progress(progress, now);
            }
            _ => {}
        }
    }

    /// Says goodbye on the media path.
    pub(crate) fn close(&mut self) {
        let socket = &self.socket;
        self.transport
            .close(&mut |to, bytes| socket.send(to, bytes));
        self.state = State::Broken;
    }

    pub(crate) fn speak(&mut self, speaking: bool, now: Instant) {
        if let Part::Publisher(publisher) = &mut self.part {
            publisher.speak(speaking, now);
        }
    }

    pub(crate) fn totals(&self, into: &mut Totals) {
        match &self.part {
            Part::Publisher(publisher) => publisher.totals(into),
            Part::Viewer(viewer) => viewer.totals(into),
        }
    }

    /// The longest silence of a viewer.
    pub(crate) fn gap(&self, now: Instant) -> Option<Duration> {
        match &self.part {
            Part::Publisher(_) => None,
            Part::Viewer(viewer) => viewer.gap(now),
        }
    }

    pub(crate) fn reset_gap(&mut self) {
        if let Part::Viewer(viewer) = &mut self.part {
            viewer.reset_gap();
        }
    }

    fn on_progress(&mut self, progress: Option<Progress>, now: Instant) {
        match progress {
            None => {}
            Some(Progress::Nominated(peer)) => {
                if let Err(error) = self.socket.connect(peer) {
                    self.end(format!("no connection to {peer}: {error}"));
                }
            }
            Some(Progress::Secured(keys)) => {
                let ready = match &mut self.part {
                    Part::Publisher(publisher) => publisher.secured(&keys, now),
                    Part::Viewer(viewer) => viewer.secured(&keys, now),
                };
                match ready {
                    Ok(()) => {
                        self.state = State::Secured;
                        let _ = self.notices.send(Notice::Secured(now));
                    }
                    Err(error) => self.end(error.to_string()),
                }
            }
            Some(Progress::Broken(why)) => self.end(why.to_string()),
        }
    }

    fn end(&mut self, why: String) {
        self.state = State::Broken;
        // Nobody listens any more when the run is over.
        let _ = self.notices.send(Notice::Broken(why));
    }
}

#[cfg(test)]
mod tests;
