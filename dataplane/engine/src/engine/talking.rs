//! What is said on data channels: from a publisher to its viewers, from a viewer to its publisher.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use whitewater_data::{Counts, Event, Sent};
use whitewater_link::{
    ChannelName, DataMessage, DataRelay, Epoch, Relay, Role, ShardIndex, StreamChannel, StreamId,
};

use super::{Core, Engine};
use crate::drops::DropReason;
use crate::forward::batch::Batch;
use crate::forward::channels::StreamChannels;
use crate::forward::stream::Source;
use crate::limits;
use crate::session::{Session, Side};

/// Something that concerns other sessions of the stream, in the order in which it happened.
pub(super) enum Told {
    /// The publisher's channels are others than before.
    Changed(StreamId),
    /// For the viewers here.
    Down {
        stream: StreamId,
        epoch: Epoch,
        number: u32,
        message: DataMessage,
    },
    /// For the publisher here.
    Up {
        stream: StreamId,
        epoch: Epoch,
        name: ChannelName,
        message: DataMessage,
    },
}

impl Engine {
    /// Passes on what was said in this turn.
    pub(super) fn flush_told(&mut self, now: Instant, send: &mut dyn FnMut(&mut Batch)) {
        if self.core.told.is_empty() {
            return;
        }
        let mut spoken_to = Vec::new();
        for told in std::mem::take(&mut self.core.told) {
            self.pass_told(now, &told, &mut spoken_to);
        }
        spoken_to.sort_unstable();
        spoken_to.dedup();
        for key in spoken_to {
            self.with_session(now, key, |session, core| session.pump(now, key, core));
            if self.core.batch.is_full() {
                self.core.send_batch(send);
            }
        }
    }

    fn pass_told(&mut self, now: Instant, told: &Told, spoken_to: &mut Vec<u32>) {
        let (Told::Changed(id) | Told::Down { stream: id, .. } | Told::Up { stream: id, .. }) =
            *told;
        let Some(stream) = self.core.streams.get_mut(&id) else {
            return;
        };
        if let Told::Up { .. } = told {
            let Some(Source::Here(key)) = stream.source else {
                return self.core.drops.count(DropReason::DataUnwanted);
            };
            spoken_to.push(key);
            return self.with_session(now, key, |session, core| session.hear(now, told, core));
        }
        let Some(channels) = &mut stream.channels else {
            return;
        };
        let listeners = std::mem::take(&mut channels.listeners);
        for &key in &listeners {
            self.with_session(now, key, |session, core| session.hear(now, told, core));
        }
        spoken_to.extend(&listeners);
        // Nobody joins meanwhile: that is at the end of each one's own turn.
        if let Some(stream) = self.core.streams.get_mut(&id) {
            stream.channels.get_or_insert_default().listeners = listeners;
        }
    }
}

impl Core {
    /// From another shard.
    pub(super) fn take_data(&mut self, id: StreamId, what: DataRelay) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let (DataRelay::Opened { epoch, .. }
        | DataRelay::Closed { epoch, .. }
        | DataRelay::Down { epoch, .. }
        | DataRelay::Up { epoch, .. }) = what;
        if stream.epoch != Some(epoch) {
            self.drops.count(DropReason::StaleEpoch);
            return;
        }
        match what {
            DataRelay::Opened { channel, .. } => {
                stream.channels.get_or_insert_default().add(channel);
                self.told.push(Told::Changed(id));
            }
            DataRelay::Closed { number, .. } => {
                if let Some(channels) = &mut stream.channels {
                    channels.remove(number);
                    self.told.push(Told::Changed(id));
                }
            }
            DataRelay::Down {
                number, message, ..
            } => self.tell(Told::Down {
                stream: id,
                epoch,
                number,
                // One copy a core: its viewers' reference counting stays on this core.
                message: DataMessage {
                    payload: Bytes::copy_from_slice(&message.payload),
                    ..message
                },
            }),
            DataRelay::Up { name, message, .. } => self.tell(Told::Up {
                stream: id,
                epoch,
                name,
                message,
            }),
        }
    }

    /// A stream's publisher is another or none: its channels are over.
    pub(super) fn end_channels(&mut self, id: StreamId) {
        let channels = self.streams.get_mut(&id).and_then(|s| s.channels.as_mut());
        if let Some(channels) = channels {
            channels.open.clear();
            self.told.push(Told::Changed(id));
        }
    }

    /// Tells a shard with new viewers what is open.
    pub(super) fn tell_channels(&mut self, id: StreamId, to: ShardIndex) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        let (Some(epoch), Some(channels)) = (stream.epoch, &stream.channels) else {
            return;
        };
        for channel in &channels.open {
            let what = DataRelay::Opened {
                epoch,
                channel: channel.clone(),
            };
            self.out.relays.push((to, Relay::Data { stream: id, what }));
        }
    }

    /// A viewer left.
    pub(super) fn stop_listening(&mut self, id: StreamId, key: u32) {
        let channels = self.streams.get_mut(&id).and_then(|s| s.channels.as_mut());
        if let Some(channels) = channels {
            channels.listeners.retain(|listener| *listener != key);
        }
    }

    /// Keeps a message for the end of the turn.
    fn tell(&mut self, told: Told) {
        if self.told.len() < limits::DATA_PER_TURN_MAX {
            self.told.push(told);
        } else {
            self.drops.count(DropReason::TurnOverflow);
        }
    }

    /// Tells the shards that want the stream.
    fn relay_data(&mut self, id: StreamId, what: &DataRelay) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        for (to, _) in stream.wanting_shards() {
            let what = what.clone();
            self.out.relays.push((to, Relay::Data { stream: id, what }));
        }
    }

    /// What is too late is counted where it is found.
    fn count_sent(&mut self, sent: Sent, message: &DataMessage) {
        match sent {
            Sent::Queued => self.data_sent.count(message.payload.len()),
            Sent::Dropped | Sent::Closed => {}
            Sent::NoChannel => self.drops.count(DropReason::DataUnwanted),
            Sent::TooLarge => self.drops.count(DropReason::DataTooLarge),
        }
    }

    fn count_news(&mut self, news: Counts) {
        for (reason, count) in [
            (DropReason::DataLate, news.late),
            (DropReason::DataChannelBehind, news.fell_behind),
            (DropReason::DataRefused, news.refused),
        ] {
            self.drops.count_many(reason, count);
        }
    }
}

impl Session {
    /// Takes what there is out of the data channels. True if something was handed to the connection.
    pub(super) fn pump_channels(&mut self, now: Instant, key: u32, core: &mut Core) -> bool {
        let Some(channels) = self.channels.as_mut().filter(|channels| channels.stirred) else {
            return false;
        };
        if channels.join_at.is_some_and(|at| at <= now) {
            channels.join_at = None;
            channels.joined = true;
            self.follow_channels(core);
        }
        while let Some(event) = self.channels.as_mut().and_then(|c| c.poll_event(now)) {
            self.on_channel(now, key, event, core);
        }
        let Some(channels) = &mut self.channels else {
            return false;
        };
        let mut sent = false;
        for _ in 0..limits::RECORDS_PER_ROUND_MAX {
            let Some(packet) = channels.poll_packet(now) else {
                break;
            };
            self.connection.send(now, packet);
            sent = true;
        }
        channels.stirred = sent;
        self.channels_due = channels.due(now);
        core.count_news(channels.news());
        sent
    }

    /// A record of the peer's.
    pub(super) fn on_record(&mut self, now: Instant, record: Vec<u8>, core: &mut Core) {
        self.heard(now, core);
        if let Some(channels) = &mut self.channels {
            channels.receive(now, record);
        }
    }

    /// The time of the data channels has come.
    pub(super) fn channels_time(&mut self, now: Instant, key: u32, core: &mut Core) {
        self.channels_due = None;
        if let Some(channels) = &mut self.channels {
            channels.time(now);
        }
        self.pump(now, key, core);
    }

    fn on_channel(&mut self, now: Instant, key: u32, event: Event, core: &mut Core) {
        if let Event::Message(_, message) = &event {
            core.data_received.count(message.payload.len());
        }
        match self.role {
            Role::Publish { epoch } => self.on_publishers_channel(epoch, event, core),
            Role::Subscribe => self.on_viewers_channel(now, key, event, core),
        }
    }

    fn on_publishers_channel(&mut self, epoch: Epoch, event: Event, core: &mut Core) {
        let (id, Some(channels)) = (self.stream, &mut self.channels) else {
            return;
        };
        let stream = core.streams.get_mut(&id);
        let Some(stream) = stream.filter(|stream| stream.epoch == Some(epoch)) else {
            core.drops.count(DropReason::StaleEpoch);
            return;
        };
        let what = match event {
            Event::Up => return,
            Event::Opened(channel) => {
                let Some(channel) = channels.name(channel, epoch) else {
                    return;
                };
                stream.channels.get_or_insert_default().add(channel.clone());
                core.told.push(Told::Changed(id));
                DataRelay::Opened { epoch, channel }
            }
            Event::Closed(channel) => {
                let Some(number) = channels.forget(channel) else {
                    return;
                };
                let open = stream.channels.get_or_insert_default();
                open.remove(number);
                core.told.push(Told::Changed(id));
                DataRelay::Closed { epoch, number }
            }
            Event::Message(channel, message) => {
                if channels.number(channel).is_none() {
                    // One that the applications agreed on, of which a viewer told us.
                    self.on_publishers_channel(epoch, Event::Opened(channel), core);
                }
                let number = self.channels.as_ref().and_then(|c| c.number(channel));
                let stream = core.streams.get_mut(&id);
                let (Some(number), Some(stream)) = (number, stream) else {
                    return;
                };
                let open = stream.channels.get_or_insert_default();
                let terms = open.open.iter().find(|open| open.number == number);
                let reliability = terms.map(|open| open.terms.reliability);
                core.tell(Told::Down {
                    stream: id,
                    epoch,
                    number,
                    message: message.clone(),
                });
                DataRelay::Down {
                    epoch,
                    number,
                    reliability: reliability.unwrap_or_default(),
                    message,
                }
            }
            Event::Over => {
                channels.clear();
                let numbers = stream
                    .channels
                    .as_mut()
                    .map(|c| std::mem::take(&mut c.open));
                core.told.push(Told::Changed(id));
                for channel in numbers.unwrap_or_default() {
                    let number = channel.number;
                    core.relay_data(id, &DataRelay::Closed { epoch, number });
                }
                return;
            }
        };
        core.relay_data(id, &what);
    }

    fn on_viewers_channel(&mut self, now: Instant, key: u32, event: Event, core: &mut Core) {
        let (id, Some(channels)) = (self.stream, &mut self.channels) else {
            return;
        };
        match event {
            Event::Up => {
                channels.join_at = Some(now + limits::OWN_CHANNELS_WAIT);
                self.listen(key, core);
            }
            Event::Opened(channel) => {
                channels.note_own(now, channel);
                // It may be one the publisher has open.
                self.follow_channels(core);
            }
            Event::Closed(channel) => {
                channels.forget(channel);
            }
            Event::Over => channels.clear(),
            Event::Message(channel, message) => {
                let stream = core.streams.get(&id);
                let open = stream.and_then(|stream| stream.channels.as_ref());
                let open = open.map_or(&[][..], |channels| &channels.open);
                let name = channels.target(channel, open);
                let epoch = stream.and_then(|stream| stream.epoch);
                let source = stream.and_then(|stream| stream.source);
                let (Some(name), Some(epoch), Some(source)) = (name, epoch, source) else {
                    return core.drops.count(DropReason::DataUnwanted);
                };
                match source {
                    Source::Here(_) => core.tell(Told::Up {
                        stream: id,
                        epoch,
                        name,
                        message,
                    }),
                    Source::There(shard) => {
                        let what = DataRelay::Up {
                            epoch,
                            name,
                            message,
                        };
                        let relay = Relay::Data { stream: id, what };
                        core.out.relays.push((shard, relay));
                    }
                }
            }
        }
    }

    /// A viewer hears of the stream's channels from now on.
    fn listen(&mut self, key: u32, core: &mut Core) {
        if let (Side::Viewer(_), Some(stream)) = (&self.side, core.streams.get_mut(&self.stream)) {
            let all: &mut StreamChannels = stream.channels.get_or_insert_default();
            all.listeners.push(key);
        }
    }

    fn follow_channels(&mut self, core: &Core) {
        let stream = core.streams.get(&self.stream);
        let open = stream.and_then(|stream| stream.channels.as_ref());
        let epoch = stream.and_then(|stream| stream.epoch);
        if let (Some(channels), Some(epoch)) = (&mut self.channels, epoch) {
            let none: &[Arc<StreamChannel>] = &[];
            channels.follow(epoch, open.map_or(none, |channels| &channels.open));
        }
    }

    /// Something another session of the stream said or did.
    fn hear(&mut self, now: Instant, told: &Told, core: &mut Core) {
        let Some(channels) = &mut self.channels else {
            return;
        };
        let (sent, message) = match told {
            Told::Changed(_) => return self.follow_channels(core),
            Told::Down {
                epoch,
                number,
                message,
                ..
            } => (channels.send(now, *epoch, *number, message), message),
            Told::Up {
                epoch,
                name,
                message,
                ..
            } => {
                let is_for_it = self.role == (Role::Publish { epoch: *epoch });
                let sent = match is_for_it {
                    true => channels.send_up(now, *name, message.clone()),
                    false => Sent::NoChannel,
                };
                (Some(sent), message)
            }
        };
        // A channel that is not open to this viewer yet has nothing to say to it.
        if let Some(sent) = sent {
            core.count_sent(sent, message);
        }
    }
}
