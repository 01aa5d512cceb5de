//! The data channels of one session, and which of its stream's they are.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use whitewater_data::{Begins, Config, Counts, Event, Ids, Overflow, Peer, Rate, Sent};
use whitewater_link::{ChannelName, ChannelTerms, DataMessage, Epoch, StreamChannel};
use whitewater_sdp::{DtlsRole, Plan, Role};

use crate::limits;

/// The data channels of a session that negotiated some. It has little more than its settings until
/// the peer says something.
pub struct Channels {
    config: Config,
    peer: Option<Box<Peer>>,
    /// Which channel of the stream each of its channels is.
    ties: Vec<Tie>,
    /// Channels that a viewer opened itself.
    own: Vec<u16>,
    /// The number of a publisher's next channel.
    next: u32,
    /// When the publisher's channels are opened to a viewer. What it has opened itself is tied to
    /// them at once.
    pub join_at: Option<Instant>,
    /// Whether that time has come.
    pub joined: bool,
    /// Whether there may be something to be taken out.
    pub stirred: bool,
    /// What was told of the peer's counts.
    told: Counts,
}

/// One channel's place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tie {
    id: u16,
    epoch: Epoch,
    number: u32,
    /// Whether we opened it for the stream's; it ends with that.
    ours: bool,
}

impl Channels {
    /// For a session that negotiated data channels; `None` for the others.
    ///
    /// `begins`: whoever called the other begins, and every DTLS client may (RFC 8831 §6.2 leaves it
    /// open; a peer that begins too answers us).
    pub fn new(plan: &Plan, dialled: bool) -> Option<Box<Self>> {
        let application = plan.application()?;
        let (begins, ids) = match plan.dtls_role {
            DtlsRole::Active => (Begins::Here, Ids::Even),
            DtlsRole::Passive if dialled => (Begins::Here, Ids::Odd),
            DtlsRole::Passive => (Begins::There, Ids::Odd),
        };
        let (rate, overflow) = match plan.role {
            Role::Publish => (Rate::PUBLISHER, Overflow::DropMessage),
            Role::Subscribe => (Rate::VIEWER, Overflow::CloseChannel),
        };
        Some(Box::new(Channels {
            config: Config {
                begins,
                ids,
                message_size_max: application.max_message_size,
                rate,
                overflow,
            },
            peer: None,
            ties: Vec::new(),
            own: Vec::new(),
            next: 0,
            join_at: None,
            joined: false,
            stirred: false,
            told: Counts::default(),
        }))
    }

    /// DTLS is done.
    pub fn begin(&mut self) {
        if self.config.begins == Begins::Here {
            self.stirred = true;
            self.peer();
        }
    }

    /// Takes one record of the peer's.
    pub fn receive(&mut self, now: Instant, record: Vec<u8>) {
        self.stirred = true;
        self.peer().receive(now, record.into());
    }

    /// Time has passed.
    pub fn time(&mut self, now: Instant) {
        if let Some(peer) = &mut self.peer {
            self.stirred = true;
            peer.time(now);
        }
    }

    /// When it wants to be called.
    pub fn due(&mut self, now: Instant) -> Option<Instant> {
        let peer = self.peer.as_mut()?;
        peer.due(now).into_iter().chain(self.join_at).min()
    }

    /// What happened.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event> {
        self.peer.as_mut()?.poll_event(now)
    }

    /// What is to be sent, in a record of its own.
    pub fn poll_packet(&mut self, now: Instant) -> Option<Bytes> {
        self.peer.as_mut()?.poll_packet(now)
    }

    /// What the peer came to since this was asked last.
    pub fn news(&mut self) -> Counts {
        let Some(now) = self.peer.as_ref().map(|peer| peer.counts()) else {
            return Counts::default();
        };
        let before = std::mem::replace(&mut self.told, now);
        Counts {
            late: now.late - before.late,
            fell_behind: now.fell_behind - before.fell_behind,
            refused: now.refused - before.refused,
        }
    }

    /// A publisher's new channel gets its number.
    pub fn name(&mut self, id: u16, epoch: Epoch) -> Option<Arc<StreamChannel>> {
        let terms = self.peer.as_ref()?.terms(id)?.clone();
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.ties.push(Tie {
            id,
            epoch,
            number,
            ours: false,
        });
        Some(Arc::new(StreamChannel { number, terms }))
    }

    /// A channel is over; which one of the stream's it was.
    pub fn forget(&mut self, id: u16) -> Option<u32> {
        self.own.retain(|own| *own != id);
        let at = self.ties.iter().position(|tie| tie.id == id)?;
        Some(self.ties.swap_remove(at).number)
    }

    /// All of them are over.
    pub fn clear(&mut self) {
        self.own.clear();
        self.ties.clear();
        self.join_at = None;
    }

    /// Which one of the stream's a channel is.
    pub fn number(&self, id: u16) -> Option<u32> {
        let tie = self.ties.iter().find(|tie| tie.id == id)?;
        Some(tie.number)
    }

    /// A viewer opened a channel itself.
    pub fn note_own(&mut self, now: Instant, id: u16) {
        self.own.push(id);
        if let Some(at) = &mut self.join_at {
            *at = (*at).min(now + limits::OWN_CHANNELS_WAIT_MORE);
        }
    }

    /// Where a viewer's message goes: to the channel of the publisher's that its own is, or else to
    /// the first with its label.
    pub fn target(&self, id: u16, open: &[Arc<StreamChannel>]) -> Option<ChannelName> {
        if let Some(number) = self.number(id) {
            return Some(ChannelName::Number(number));
        }
        let terms = self.peer.as_ref()?.terms(id)?;
        if let Some(agreed) = terms.agreed {
            // The applications know of it, whether we do or not.
            return Some(ChannelName::Agreed(agreed));
        }
        let named = |channel: &&Arc<StreamChannel>| is_named(&channel.terms, &terms.label);
        let channel = open.iter().find(named)?;
        Some(ChannelName::Number(channel.number))
    }

    /// Brings a viewer's channels to what the stream has open: what ended is closed, what is new is
    /// a channel that the viewer opened under that label, or is opened once it has joined.
    pub fn follow(&mut self, epoch: Epoch, open: &[Arc<StreamChannel>]) {
        let Some(peer) = self.peer.as_mut().filter(|peer| peer.is_up()) else {
            return;
        };
        self.stirred = true;
        self.ties.retain(|tie| {
            let lasts = |channel: &Arc<StreamChannel>| channel.number == tie.number;
            let lasts = tie.epoch == epoch && open.iter().any(lasts);
            if !lasts && tie.ours {
                peer.close(tie.id);
            }
            lasts
        });
        for channel in open {
            if self.ties.iter().any(|tie| tie.number == channel.number) {
                continue;
            }
            let ties = &self.ties;
            let own = self.own.iter().copied().find(|&id| {
                let terms = peer.terms(id);
                let same = terms.is_some_and(|terms| match channel.terms.agreed {
                    Some(_) => terms.agreed == channel.terms.agreed,
                    None => is_named(terms, &channel.terms.label),
                });
                same && ties.iter().all(|tie| tie.id != id)
            });
            let joined = self.joined;
            let opened = || joined.then(|| peer.open(channel.terms.clone())).flatten();
            let Some(id) = own.or_else(opened) else {
                continue;
            };
            self.ties.push(Tie {
                id,
                epoch,
                number: channel.number,
                ours: own.is_none(),
            });
        }
    }

    /// Sends a message of the stream's to a viewer.
    pub fn send(
        &mut self,
        now: Instant,
        epoch: Epoch,
        number: u32,
        message: &DataMessage,
    ) -> Option<Sent> {
        let is = |tie: &&Tie| tie.number == number && tie.epoch == epoch;
        let id = self.ties.iter().find(is)?.id;
        self.stirred = true;
        Some(self.peer.as_mut()?.send(now, id, message.clone()))
    }

    /// Sends a viewer's message to the publisher. One that the applications agreed on is opened by
    /// it.
    pub fn send_up(&mut self, now: Instant, name: ChannelName, message: DataMessage) -> Sent {
        let Some(peer) = self.peer.as_mut().filter(|peer| peer.is_up()) else {
            return Sent::NoChannel;
        };
        self.stirred = true;
        let id = match name {
            ChannelName::Number(number) => {
                let tie = self.ties.iter().find(|tie| tie.number == number);
                tie.map(|tie| tie.id)
            }
            ChannelName::Agreed(id) => match peer.terms(id) {
                Some(terms) => (terms.agreed == Some(id)).then_some(id),
                None => peer.open(ChannelTerms {
                    agreed: Some(id),
                    ..ChannelTerms::default()
                }),
            },
        };
        id.map_or(Sent::NoChannel, |id| peer.send(now, id, message))
    }

    fn peer(&mut self) -> &mut Peer {
        let config = self.config;
        self.peer.get_or_insert_with(|| Box::new(Peer::new(config)))
    }
}

/// A channel with a label, of that label.
fn is_named(terms: &ChannelTerms, label: &str) -> bool {
    terms.agreed.is_none() && terms.label == label
}
