//! Two peers and a line between them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use whitewater_link::{ChannelTerms, DataKind, DataMessage, Order, Reliability};

use crate::{Begins, Config, Event, Ids, Overflow, Peer, Rate, Sent, limits};

/// One end, and what it was told.
struct End {
    peer: Peer,
    seen: Vec<Event>,
    arriving: VecDeque<Bytes>,
}

impl End {
    fn new(config: Config) -> Self {
        End {
            peer: Peer::new(config),
            seen: Vec::new(),
            arriving: VecDeque::new(),
        }
    }

    fn look(&mut self, now: Instant, out: &mut Vec<Bytes>) {
        loop {
            self.seen
                .extend(std::iter::from_fn(|| self.peer.poll_event(now)));
            let before = out.len();
            out.extend(std::iter::from_fn(|| self.peer.poll_packet(now)));
            if out.len() == before {
                return;
            }
        }
    }

    fn opened(&self) -> Vec<u16> {
        let opened = self.seen.iter().filter_map(|event| match event {
            Event::Opened(id) => Some(*id),
            _ => None,
        });
        opened.collect()
    }

    fn messages(&self, wanted: u16) -> Vec<&DataMessage> {
        let messages = self.seen.iter().filter_map(|event| match event {
            Event::Message(id, message) if *id == wanted => Some(message),
            _ => None,
        });
        messages.collect()
    }
}

struct Line {
    now: Instant,
    /// A server, and its client.
    ends: [End; 2],
    /// Every so many-th packet is lost; 0: none.
    lose_every: usize,
    carried: usize,
    cut: bool,
}

impl Line {
    fn new(server: Config, client: Config) -> Self {
        Line {
            now: Instant::now(),
            ends: [End::new(server), End::new(client)],
            lose_every: 0,
            carried: 0,
            cut: false,
        }
    }

    fn up() -> Self {
        Line::up_with(SERVER_CONFIG(), CLIENT_CONFIG())
    }

    fn up_with(server: Config, client: Config) -> Self {
        let mut line = Line::new(server, client);
        line.run(Duration::from_millis(200));
        assert!(line.ends.iter().all(|end| end.seen == [Event::Up]));
        for end in &mut line.ends {
            end.seen.clear();
        }
        line
    }

    /// Ten milliseconds a step from end to end.
    fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            self.now += Duration::from_millis(10);
            let mut sent = [Vec::new(), Vec::new()];
            for (end, out) in self.ends.iter_mut().zip(&mut sent) {
                for packet in end.arriving.drain(..) {
                    end.peer.receive(self.now, packet);
                }
                if end.peer.due(self.now).is_some_and(|due| due <= self.now) {
                    end.peer.time(self.now);
                }
                end.look(self.now, out);
            }
            for (from, packets) in sent.into_iter().enumerate() {
                for packet in packets {
                    let size = packet.len();
                    assert!(size <= limits::PACKET_SIZE_MAX, "{size}");
                    self.carried += 1;
                    let lost = self.lose_every > 0 && self.carried.is_multiple_of(self.lose_every);
                    if !lost && !self.cut {
                        self.ends[1 - from].arriving.push_back(packet);
                    }
                }
            }
        }
    }

    fn send(&mut self, from: usize, id: u16, message: DataMessage) -> Sent {
        self.ends[from].peer.send(self.now, id, message)
    }
}

const SERVER: usize = 0;
const CLIENT: usize = 1;
const SERVER_CONFIG: fn() -> Config = || Config::new(Begins::There, Ids::Odd);
const CLIENT_CONFIG: fn() -> Config = || Config {
    rate: Rate::PUBLISHER,
    message_size_max: 0,
    ..Config::new(Begins::Here, Ids::Even)
};

fn text(text: &str) -> DataMessage {
    DataMessage {
        kind: DataKind::Text,
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn binary(size: usize) -> DataMessage {
    DataMessage {
        kind: DataKind::Binary,
        payload: vec![7; size].into(),
    }
}

fn labelled(label: &str) -> ChannelTerms {
    ChannelTerms {
        label: label.to_owned(),
        ..ChannelTerms::default()
    }
}

fn partial(label: &str) -> ChannelTerms {
    ChannelTerms {
        order: Order::Free,
        reliability: Reliability::Retransmissions(0),
        ..labelled(label)
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_channel_is_opened_with_its_terms_and_carries_both_kinds_both_ways() {
    // RFC 8832 §6, RFC 8831 §6.6
    let mut line = Line::up();
    let terms = ChannelTerms {
        protocol: "json".to_owned(),
        priority: 512,
        ..partial("game")
    };
    let id = line.ends[SERVER].peer.open(terms.clone()).unwrap();
    assert_eq!(id % 2, 1, "the server's streams are odd");
    let said = [text("hällo"), text(""), binary(3), binary(0)];
    for message in &said {
        assert_eq!(line.send(SERVER, id, message.clone()), Sent::Queued);
    }
    line.run(SECOND);
    assert_eq!(line.ends[CLIENT].opened(), [id]);
    assert_eq!(line.ends[CLIENT].peer.terms(id), Some(&terms));
    for message in &said {
        line.send(CLIENT, id, message.clone());
    }
    line.run(SECOND);
    for end in [CLIENT, SERVER] {
        assert_eq!(line.ends[end].messages(id), said.each_ref());
    }
}

#[test]
fn reliable_channels_survive_loss_and_keep_the_order() {
    let mut line = Line::up();
    line.lose_every = 7;
    let id = line.ends[CLIENT].peer.open(labelled("chat")).unwrap();
    let said: Vec<DataMessage> = (0..200).map(|n| text(&n.to_string())).collect();
    for message in &said {
        line.send(CLIENT, id, message.clone());
        line.run(Duration::from_millis(20));
    }
    line.run(20 * SECOND);
    assert_eq!(
        line.ends[SERVER].messages(id),
        said.iter().collect::<Vec<_>>()
    );
}

#[test]
fn a_message_of_the_largest_size_passes_and_a_larger_one_is_refused() {
    // RFC 8841 §6.1
    let mut line = Line::up();
    let id = line.ends[CLIENT].peer.open(labelled("file")).unwrap();
    let whole = binary(limits::MESSAGE_SIZE_MAX);
    assert_eq!(line.send(CLIENT, id, whole.clone()), Sent::Queued);
    line.run(5 * SECOND);
    assert_eq!(line.ends[SERVER].messages(id), [&whole]);
    let over = binary(limits::MESSAGE_SIZE_MAX + 1);
    assert_eq!(line.send(CLIENT, id, over), Sent::TooLarge);
    // The client said nothing of larger ones than the usual.
    assert_eq!(line.send(SERVER, id, binary(65_536)), Sent::Queued);
    assert_eq!(line.send(SERVER, id, binary(65_537)), Sent::TooLarge);
}

#[test]
fn a_channel_that_was_agreed_on_needs_no_message_to_open() {
    // RFC 8831 §6.4
    let mut line = Line::up();
    let terms = ChannelTerms {
        agreed: Some(3),
        ..ChannelTerms::default()
    };
    assert_eq!(line.ends[CLIENT].peer.open(terms.clone()), Some(3));
    assert_eq!(line.ends[CLIENT].peer.open(terms), None, "it is in use");
    line.send(CLIENT, 3, text("first"));
    line.run(SECOND);
    let server = &line.ends[SERVER];
    assert_eq!(server.opened(), [3]);
    assert_eq!(server.peer.terms(3).unwrap().agreed, Some(3));
    assert_eq!(server.messages(3), [&text("first")]);
    assert_eq!(line.send(SERVER, 3, text("second")), Sent::Queued);
    line.run(SECOND);
    assert_eq!(line.ends[CLIENT].messages(3), [&text("second")]);
}

#[test]
fn a_closed_channel_says_all_it_had_and_its_stream_is_used_again() {
    // RFC 8831 §6.7
    let mut line = Line::up();
    for round in 0..40 {
        let id = line.ends[SERVER].peer.open(labelled("chat")).unwrap();
        line.send(SERVER, id, text("bye"));
        line.ends[SERVER].peer.close(id);
        assert_eq!(line.send(SERVER, id, text("late")), Sent::NoChannel);
        line.run(2 * SECOND);
        let client = &mut line.ends[CLIENT];
        let told = [
            Event::Opened(id),
            Event::Message(id, text("bye")),
            Event::Closed(id),
        ];
        assert_eq!(client.seen, told, "round {round}");
        client.seen.clear();
        assert_eq!(line.ends[SERVER].seen, [], "who closes is not told");
        assert!(
            id > 200,
            "streams are used again, not one after the other: {id}"
        );
    }
}

#[test]
fn the_other_sides_close_is_told_and_answered() {
    let mut line = Line::up();
    let id = line.ends[CLIENT].peer.open(labelled("chat")).unwrap();
    line.run(SECOND);
    line.ends[CLIENT].peer.close(id);
    line.run(2 * SECOND);
    assert_eq!(
        line.ends[SERVER].seen,
        [Event::Opened(id), Event::Closed(id)]
    );
    assert_eq!(line.send(SERVER, id, text("?")), Sent::NoChannel);
    // The stream is free at both ends.
    let again = line.ends[CLIENT].peer.open(labelled("chat"));
    assert_eq!(again, Some(id));
    line.run(SECOND);
    assert_eq!(line.ends[SERVER].opened(), [id, id]);
}

#[test]
fn a_peer_that_takes_nothing_loses_the_oldest_of_what_may_be_lost() {
    let mut line = Line::up();
    let id = line.ends[SERVER].peer.open(partial("positions")).unwrap();
    line.run(SECOND);
    line.cut = true;
    let sent = 5_000;
    for n in 0..sent {
        let message = text(&format!("{n:0>1000}"));
        assert_eq!(line.send(SERVER, id, message), Sent::Queued);
        let out = &mut Vec::new();
        line.ends[SERVER].look(line.now, out);
    }
    let dropped = line.ends[SERVER].peer.counts().late;
    assert!(dropped > 3_500, "{dropped}");
    line.cut = false;
    line.run(60 * SECOND);
    let arrived = line.ends[CLIENT].messages(id);
    assert!(arrived.len() > 900, "{}", arrived.len());
    assert_eq!(
        arrived.last(),
        Some(&&text(&format!("{:0>1000}", sent - 1)))
    );
    assert_eq!(line.send(SERVER, id, text("goes on")), Sent::Queued);
}

#[test]
fn a_reliable_channel_that_falls_behind_is_closed_and_the_others_are_not() {
    let mut line = Line::up();
    let chat = line.ends[SERVER].peer.open(labelled("chat")).unwrap();
    let positions = line.ends[SERVER].peer.open(partial("positions")).unwrap();
    line.run(SECOND);
    line.cut = true;
    let mut sent = 0;
    while line.send(SERVER, chat, binary(10_000)) == Sent::Queued {
        sent += 10_000;
        line.ends[SERVER].look(line.now, &mut Vec::new());
        assert!(sent < 2 * limits::WAITING_SIZE_MAX);
    }
    assert!(sent > limits::WAITING_SIZE_MAX / 2);
    line.run(SECOND);
    assert_eq!(line.ends[SERVER].seen, [Event::Closed(chat)]);
    assert_eq!(line.ends[SERVER].peer.counts().fell_behind, 1);
    line.cut = false;
    line.run(30 * SECOND);
    assert!(line.ends[CLIENT].seen.contains(&Event::Closed(chat)));
    line.send(SERVER, positions, text("here"));
    line.run(SECOND);
    assert_eq!(line.ends[CLIENT].messages(positions), [&text("here")]);
}

#[test]
fn what_many_say_to_one_is_dropped_before_it_ends_a_channel() {
    let server = Config {
        overflow: Overflow::DropMessage,
        ..SERVER_CONFIG()
    };
    let mut line = Line::up_with(server, CLIENT_CONFIG());
    let id = line.ends[SERVER].peer.open(labelled("chat")).unwrap();
    line.cut = true;
    let sent = (0..3_000).map(|_| line.ends[SERVER].peer.send(line.now, id, text("x")));
    let dropped = sent.filter(|sent| *sent == Sent::Dropped).count();
    assert!(dropped >= 3_000 - limits::WAITING_COUNT_MAX - limits::HELD_COUNT_MAX);
    line.cut = false;
    line.run(20 * SECOND);
    assert!(line.ends[SERVER].peer.terms(id).is_some());
    assert!(line.ends[CLIENT].messages(id).len() >= limits::WAITING_COUNT_MAX);
}

#[test]
fn what_is_too_old_is_not_sent_any_more() {
    let mut line = Line::up();
    let short = ChannelTerms {
        reliability: Reliability::Lifetime(100),
        ..labelled("positions")
    };
    let id = line.ends[SERVER].peer.open(short).unwrap();
    line.run(SECOND);
    line.cut = true;
    for n in 0..600 {
        line.send(SERVER, id, text(&format!("{n:0>1000}")));
    }
    line.run(5 * SECOND);
    line.cut = false;
    line.send(SERVER, id, text("now"));
    line.run(20 * SECOND);
    let arrived = line.ends[CLIENT].messages(id);
    assert!(arrived.len() < 10, "{}", arrived.len());
    assert_eq!(arrived.last(), Some(&&text("now")));
}

#[test]
fn a_flood_is_read_at_our_pace_and_nothing_of_it_is_lost() {
    let mut line = Line::up();
    let id = line.ends[CLIENT].peer.open(labelled("chat")).unwrap();
    for n in 0..900 {
        assert_eq!(line.send(CLIENT, id, text(&n.to_string())), Sent::Queued);
    }
    line.run(SECOND);
    let read = line.ends[SERVER].messages(id).len();
    let rate = Rate::VIEWER.messages as usize;
    assert!((rate..=2 * rate + 2).contains(&read), "{read}");
    line.run(10 * SECOND);
    let all: Vec<DataMessage> = (0..900).map(|n| text(&n.to_string())).collect();
    assert_eq!(
        line.ends[SERVER].messages(id),
        all.iter().collect::<Vec<_>>()
    );
}

#[test]
fn channels_beyond_the_cap_are_refused_one_by_one() {
    let mut line = Line::up();
    for n in 0..limits::CHANNELS_MAX {
        assert!(
            line.ends[CLIENT]
                .peer
                .open(labelled(&n.to_string()))
                .is_some()
        );
    }
    assert_eq!(line.ends[CLIENT].peer.open(labelled("more")), None);
    line.run(SECOND);
    assert_eq!(line.ends[SERVER].opened().len(), limits::CHANNELS_MAX);
    // The server has no room for one of its own either, and a peer that has another idea of the
    // cap loses the channel alone.
    assert_eq!(line.ends[SERVER].peer.open(labelled("ours")), None);
    let first = line.ends[SERVER].opened()[0];
    line.ends[SERVER].peer.close(first);
    line.run(2 * SECOND);
    assert!(line.ends[SERVER].peer.open(labelled("ours")).is_some());
    line.run(SECOND);
    assert!(line.ends[CLIENT].peer.open(labelled("one more")).is_none());
}

#[test]
fn garbage_and_repeated_inits_change_nothing() {
    let mut line = Line::up();
    let id = line.ends[CLIENT].peer.open(labelled("chat")).unwrap();
    let now = line.now;
    for size in 0..200 {
        let garbage = vec![size as u8; size];
        line.ends[SERVER].peer.receive(now, garbage.into());
    }
    // RFC 9260 §5.2.2: INITs of strangers in the same line.
    for _ in 0..1_000 {
        let mut stranger = Peer::new(CLIENT_CONFIG());
        let init = stranger.poll_packet(now).expect("it begins");
        line.ends[SERVER].peer.receive(now, init);
    }
    line.send(CLIENT, id, text("still here"));
    line.run(SECOND);
    assert_eq!(line.ends[SERVER].messages(id), [&text("still here")]);
}
