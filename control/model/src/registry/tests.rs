//! Rules one by one, then any order of anything against a second bookkeeping.

mod authority;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use whitewater_link::{
    CloseReason, Command, Epoch, LoopReport, MediaKind, Report, Role, SessionCommand, SessionId,
    SessionReport, SessionState, ShardIndex, TrackInfo, Traffic,
};

use super::*;
use crate::{Selection, StreamView, Takeover};

/// A registry with its own time.
struct World {
    registry: Registry,
    start: Instant,
    elapsed: Duration,
    serial: u128,
}

impl World {
    fn new(policy: Policy) -> Self {
        World {
            registry: Registry::new(policy),
            start: Instant::now(),
            elapsed: Duration::from_secs(100),
            serial: 0,
        }
    }

    fn now(&self) -> Now {
        Now {
            mono: self.start + self.elapsed,
            unix_ms: self.unix_ms(),
        }
    }

    fn unix_ms(&self) -> u64 {
        EPOCH_MS + u64::try_from(self.elapsed.as_millis()).expect("short")
    }

    fn pass(&mut self, millis: u64) {
        self.elapsed += Duration::from_millis(millis);
        self.registry.tick(self.now());
    }

    fn id(&mut self) -> SessionId {
        self.serial += 1;
        SessionId(self.serial)
    }

    fn admit(&mut self, side: Side, stream: &str) -> Result<SessionId, Error> {
        let (id, now, stream) = (self.id(), self.now(), name(stream));
        let owner = Principal::Anonymous;
        match side {
            Side::Publish => self.registry.publish(&stream, id, owner, now)?,
            Side::Subscribe => self.registry.subscribe(&stream, id, owner, now)?,
        };
        self.registry.came_from(id, self.serial % 3);
        Ok(id)
    }

    fn answer(&mut self, id: SessionId) -> bool {
        let now = self.now();
        self.registry.answered(
            id,
            Answered {
                shard: ShardIndex(0),
                tracks: vec![track("VP8")],
                has_data_channel: false,
                video_line: Some(0),
                ice_tag: id.0,
            },
            now,
        )
    }

    fn join(&mut self, side: Side, stream: &str) -> SessionId {
        let id = self.admit(side, stream).expect("admitted");
        assert!(self.answer(id));
        id
    }

    fn delete(&mut self, stream: &str, id: SessionId) -> Result<(), Error> {
        let now = self.now();
        self.registry
            .close_session(&name(stream), id, &Principal::Anonymous, now)
    }

    fn closed(&mut self, id: SessionId, reason: CloseReason) {
        let now = self.now();
        self.registry.closed(id, reason, now);
    }

    fn state(&mut self, id: SessionId, state: SessionState) {
        let now = self.now();
        self.registry.state_changed(id, state, now);
    }

    fn report(&mut self, id: SessionId, bytes: u64) {
        let report = Report {
            shard: ShardIndex(0),
            sessions: vec![SessionReport {
                session: id,
                traffic: Traffic {
                    packets: bytes / 100,
                    bytes,
                },
                tracks: Vec::new(),
                silent_for: Duration::ZERO,
            }],
            run: LoopReport::default(),
            drops: Vec::new(),
        };
        let now = self.now();
        self.registry.report(&report, now);
    }

    fn view(&self, stream: &str) -> StreamView {
        self.registry
            .stream(&name(stream), self.now())
            .expect("the stream exists")
    }

    fn exists(&self, stream: &str) -> bool {
        self.registry.stream(&name(stream), self.now()).is_some()
    }

    fn commands(&mut self) -> Vec<Command> {
        self.registry.outbox().drain(..).collect()
    }

    /// The sessions the data plane was told to close, and why.
    fn closes(&mut self) -> Vec<(SessionId, CloseReason)> {
        let commands = self.commands().into_iter();
        commands
            .filter_map(|command| match command {
                Command::Session {
                    session,
                    command: SessionCommand::Close { reason },
                    ..
                } => Some((session, reason)),
                _ => None,
            })
            .collect()
    }
}

fn name(text: &str) -> StreamName {
    StreamName::parse(text).expect("a good name")
}

fn track(codec: &str) -> TrackInfo {
    TrackInfo {
        mid: "0".into(),
        kind: MediaKind::Video,
        codec: codec.into(),
        fmtp: String::new(),
    }
}

const EPOCH_MS: u64 = 1_700_000_000_000;

use Side::{Publish, Subscribe};

#[test]
fn leave_times_are_zero_while_occupied_and_then_tell_the_last_leave() {
    let mut world = World::new(Policy::default());
    world
        .registry
        .create_stream(&name("a"), world.now())
        .expect("new");
    let created = world.unix_ms();
    let left = |world: &World| {
        let view = world.view("a");
        (view.publish.left_unix_ms, view.subscribe.left_unix_ms)
    };
    assert_eq!(
        left(&world),
        (0, created),
        "never published, unwatched since creation"
    );
    world.pass(1000);
    let publisher = world.join(Publish, "a");
    let viewers = [world.join(Subscribe, "a"), world.join(Subscribe, "a")];
    assert_eq!(left(&world), (0, 0));
    world.pass(1000);
    world.delete("a", viewers[0]).expect("live");
    assert_eq!(left(&world), (0, 0), "one is still there");
    world.delete("a", viewers[1]).expect("live");
    let viewers_left = world.unix_ms();
    world.pass(1000);
    world.closed(publisher, CloseReason::PeerLost);
    assert_eq!(left(&world), (world.unix_ms(), viewers_left));
    world.join(Publish, "a");
    assert_eq!(left(&world), (0, viewers_left));
}

#[test]
fn a_pending_session_is_not_listed_and_does_not_move_leave_times() {
    let mut world = World::new(Policy::default());
    world
        .registry
        .create_stream(&name("a"), world.now())
        .expect("new");
    let before = world.view("a");
    world.pass(1000);
    let pending = [world.admit(Publish, "a"), world.admit(Subscribe, "a")];
    assert_eq!(world.view("a"), before);
    assert_eq!(world.registry.counts().pending, 2);
    for id in pending {
        let now = world.now();
        world.registry.refused(id.expect("admitted"), now);
    }
    assert_eq!(world.view("a"), before);
    assert_eq!(world.registry.counts().pending, 0);
}

#[test]
fn a_stream_made_for_a_refused_offer_goes_with_it_but_a_used_one_stays() {
    let mut world = World::new(Policy::default());
    let refused = world.admit(Publish, "a").expect("admitted");
    assert!(world.exists("a"));
    let now = world.now();
    world.registry.refused(refused, now);
    assert!(!world.exists("a"));
    let publisher = world.join(Publish, "a");
    world.delete("a", publisher).expect("live");
    let refused = world.admit(Publish, "a").expect("admitted");
    world.registry.refused(refused, now);
    assert!(world.exists("a"), "somebody was there");
}

#[test]
fn an_empty_stream_goes_after_five_seconds_unless_it_was_made() {
    let mut world = World::new(Policy::default());
    world
        .registry
        .create_stream(&name("made"), world.now())
        .expect("new");
    let viewer = world.join(Subscribe, "auto");
    let visitor = world.join(Publish, "made");
    world.pass(60_000);
    assert!(world.exists("auto"), "a viewer holds it");
    world.delete("auto", viewer).expect("live");
    world.delete("made", visitor).expect("live");
    world.pass(4999);
    assert!(world.exists("auto"));
    let pending = world.admit(Publish, "auto").expect("admitted");
    world.pass(1000);
    assert!(world.exists("auto"), "somebody is about to come");
    let now = world.now();
    world.registry.refused(pending, now);
    world.pass(4999);
    assert!(world.exists("auto"));
    world.pass(1);
    assert!(!world.exists("auto"));
    world.pass(1_000_000);
    assert!(world.exists("made"));
}

#[test]
fn the_publishers_leave_can_end_the_stream() {
    let mut world = World::new(Policy {
        auto_delete_whip: Some(Duration::from_millis(500)),
        ..Policy::default()
    });
    world
        .registry
        .create_stream(&name("a"), world.now())
        .expect("new");
    let viewer = world.join(Subscribe, "a");
    world.pass(60_000);
    assert!(world.exists("a"), "never published: nobody left");
    let publisher = world.join(Publish, "a");
    world.delete("a", publisher).expect("live");
    world.pass(499);
    let publisher = world.join(Publish, "a");
    world.pass(10_000);
    assert!(world.exists("a"), "the next one came in time");
    world.delete("a", publisher).expect("live");
    world.commands();
    world.pass(500);
    assert!(!world.exists("a"));
    let gone = world
        .registry
        .session(&name("a"), viewer, &Principal::Anonymous);
    assert_eq!(gone, Err(Error::NoSuchSession));
    let commands = world.commands();
    assert!(
        matches!(commands[..], [Command::DestroyStream { .. }]),
        "{commands:?}"
    );
}

#[test]
fn the_last_viewers_leave_can_end_the_stream_at_once() {
    let mut world = World::new(Policy {
        auto_delete_whep: Some(Duration::ZERO),
        ..Policy::default()
    });
    world.join(Publish, "a");
    world.pass(60_000);
    assert!(world.exists("a"), "never watched: nobody left");
    let viewers = [world.join(Subscribe, "a"), world.join(Subscribe, "a")];
    world.delete("a", viewers[0]).expect("live");
    world.pass(1);
    assert!(world.exists("a"));
    world.delete("a", viewers[1]).expect("live");
    world.pass(1);
    assert!(!world.exists("a"));
    assert_eq!(world.registry.counts().publishers, 0);
}

#[test]
fn a_live_publisher_is_replaced_as_the_rule_says() {
    for (rule, live, silent) in [
        (Takeover::Never, false, false),
        (Takeover::Silent, false, true),
        (Takeover::Always, true, true),
    ] {
        let mut world = World::new(Policy {
            takeover: rule,
            ..Policy::default()
        });
        let first = world.join(Publish, "a");
        world.state(first, SessionState::Connected);
        let newcomer = world.admit(Publish, "a");
        assert_eq!(newcomer.is_ok(), live, "{rule:?}");
        if let Ok(newcomer) = newcomer {
            let now = world.now();
            world.registry.refused(newcomer, now);
        }
        let now = world.now();
        world.registry.publisher_silent(first, true, now);
        assert_eq!(world.admit(Publish, "a").is_ok(), silent, "{rule:?}");
    }
}

#[test]
fn a_publisher_that_is_heard_again_is_safe_again() {
    let mut world = World::new(Policy::default());
    let first = world.join(Publish, "a");
    world.state(first, SessionState::Connected);
    for (silent, admitted) in [(true, true), (false, false)] {
        let now = world.now();
        world.registry.publisher_silent(first, silent, now);
        let newcomer = world.admit(Publish, "a");
        assert_eq!(newcomer.is_ok(), admitted);
        if let Ok(newcomer) = newcomer {
            world.registry.refused(newcomer, now);
        }
    }
    world.state(first, SessionState::Disconnected);
    assert!(world.admit(Publish, "a").is_ok(), "five seconds unheard");
}

#[test]
fn a_half_open_publisher_is_safe_for_three_seconds_after_it_was_heard() {
    let mut world = World::new(Policy::default());
    let first = world.join(Publish, "a");
    world.pass(3000);
    assert!(world.admit(Publish, "a").is_err());
    world.state(first, SessionState::Connecting);
    world.pass(2000);
    world.report(first, 0);
    world.pass(3000);
    assert!(world.admit(Publish, "a").is_err());
    world.pass(1);
    assert!(world.admit(Publish, "a").is_ok());
}

#[test]
fn the_old_publisher_stays_until_the_new_one_is_answered() {
    let mut world = World::new(Policy {
        takeover: Takeover::Always,
        ..Policy::default()
    });
    let old = world.join(Publish, "a");
    let new = world.admit(Publish, "a").expect("the rule allows");
    assert!(world.admit(Publish, "a").is_err(), "one claim at a time");
    assert_eq!(world.view("a").publish.sessions[0].id, old);
    assert_eq!(world.closes(), []);
    assert!(world.answer(new));
    let view = world.view("a");
    assert_eq!(view.publish.sessions.len(), 1);
    assert_eq!(view.publish.sessions[0].id, new);
    assert_eq!(view.publish.left_unix_ms, 0);
    assert_eq!(world.closes(), [(old, CloseReason::TakenOver)]);
    world.closed(old, CloseReason::TakenOver);
    assert_eq!(world.view("a").publish.sessions[0].id, new);
}

#[test]
fn epochs_only_grow_and_old_word_is_not_heard() {
    let mut world = World::new(Policy::default());
    let mut last = Epoch(0);
    for _ in 0..3 {
        let id = world.id();
        let now = world.now();
        let admission = world
            .registry
            .publish(&name("a"), id, Principal::Anonymous, now);
        let admission = admission.expect("free");
        let Role::Publish { epoch } = admission.role else {
            panic!("a publisher's role");
        };
        assert!(epoch > last);
        world.answer(id);
        world
            .registry
            .stream_up(admission.stream, last, vec![track("H264")]);
        assert_eq!(world.view("a").tracks, [track("VP8")]);
        world
            .registry
            .stream_up(admission.stream, epoch, vec![track("AV1")]);
        assert_eq!(world.view("a").tracks, [track("AV1")]);
        last = epoch;
        world.delete("a", id).expect("live");
        assert_eq!(world.view("a").tracks, []);
    }
}

#[test]
fn an_answer_nobody_waits_for_is_closed() {
    let mut world = World::new(Policy::default());
    let destroyed = world.admit(Publish, "a").expect("free");
    let now = world.now();
    world
        .registry
        .destroy_stream(&name("a"), now)
        .expect("it exists");
    let abandoned = world.admit(Subscribe, "b").expect("free");
    world.registry.abandon(abandoned, now);
    world.commands();
    for id in [destroyed, abandoned] {
        assert!(!world.answer(id));
        assert_eq!(world.closes(), [(id, CloseReason::Deleted)]);
    }
    assert_eq!(world.registry.counts().closing, 2);
    for id in [destroyed, abandoned] {
        world.closed(id, CloseReason::Deleted);
    }
    assert_eq!(world.registry.counts(), Counts::default());
}

#[test]
fn caps_count_sessions_until_the_data_plane_let_them_go() {
    let mut world = World::new(Policy {
        sessions_max: 2,
        ..Policy::default()
    });
    let one = world.join(Subscribe, "a");
    world.admit(Subscribe, "a").expect("the second");
    let full = Err(Error::LimitReached {
        what: "limits.sessions_max",
        max: 2,
    });
    assert_eq!(world.admit(Subscribe, "a"), full);
    world.delete("a", one).expect("live");
    assert_eq!(world.admit(Subscribe, "a"), full, "still closing");
    world.closed(one, CloseReason::Deleted);
    world.admit(Subscribe, "a").expect("a place is free");
}

#[test]
fn sessions_that_do_not_connect_are_capped() {
    let mut world = World::new(Policy {
        half_open_max: 2,
        ..Policy::default()
    });
    let one = world.join(Subscribe, "a");
    let other = world.join(Subscribe, "a");
    let full = Err(Error::LimitReached {
        what: "limits.sessions_half_open_max",
        max: 2,
    });
    assert_eq!(world.admit(Subscribe, "a"), full);
    world.state(one, SessionState::Connected);
    world.state(one, SessionState::Disconnected);
    world.state(one, SessionState::Connected);
    let third = world.admit(Subscribe, "a").expect("one connected");
    assert_eq!(world.admit(Subscribe, "a"), full);
    let now = world.now();
    world.registry.refused(third, now);
    world.closed(other, CloseReason::NeverConnected);
    world.closed(one, CloseReason::PeerClosed);
    assert_eq!(world.registry.counts().unconnected, 0);
    world.join(Subscribe, "a");
    world.join(Subscribe, "a");
}

#[test]
fn a_source_is_charged_with_what_has_not_connected() {
    let mut world = World::new(Policy {
        source_half_open_max: 2,
        ..Policy::default()
    });
    let rooms = |world: &World| [0, 1, 2].map(|source| world.registry.has_room_for(source));
    // The sources of these are 1, 2, 0, 1.
    let one = world.admit(Subscribe, "a").expect("admitted");
    world.join(Subscribe, "a");
    world.join(Subscribe, "a");
    let four = world.join(Subscribe, "a");
    assert_eq!(rooms(&world), [true, false, true]);
    // Told again, it is the same session.
    world.registry.came_from(one, 2);
    assert_eq!(rooms(&world), [true, false, true]);
    world.state(four, SessionState::Connected);
    assert_eq!(rooms(&world), [true; 3]);
    world.closed(four, CloseReason::PeerClosed);
    let now = world.now();
    world.registry.abandon(one, now);
    assert_eq!(world.registry.charged(), (2, 2));
    world
        .registry
        .destroy_stream(&name("a"), now)
        .expect("it is there");
    assert_eq!(world.registry.charged(), (0, 0));
}

#[test]
fn a_close_that_is_never_confirmed_does_not_count_for_ever() {
    let mut world = World::new(Policy::default());
    let viewer = world.join(Subscribe, "a");
    world.delete("a", viewer).expect("live");
    assert_eq!(world.registry.counts().closing, 1);
    world.pass(60_000);
    assert_eq!(world.registry.counts().closing, 0);
}

#[test]
fn no_viewer_is_let_in_where_none_is_allowed() {
    let mut world = World::new(Policy {
        each_stream_max_sub: 0,
        ..Policy::default()
    });
    assert!(matches!(
        world.admit(Subscribe, "a"),
        Err(Error::LimitReached { .. })
    ));
    assert!(!world.exists("a"));
}

#[test]
fn nothing_new_is_taken_while_draining() {
    let mut world = World::new(Policy::default());
    let viewer = world.join(Subscribe, "a");
    world.registry.drain(world.now());
    world.registry.drain(world.now());
    assert!(
        matches!(world.commands()[..], [Command::Shutdown]),
        "told once"
    );
    assert_eq!(world.admit(Publish, "a"), Err(Error::Draining));
    assert_eq!(world.admit(Subscribe, "a"), Err(Error::Draining));
    let now = world.now();
    assert_eq!(
        world.registry.create_stream(&name("b"), now),
        Err(Error::Draining)
    );
    world.delete("a", viewer).expect("leaving is allowed");
}

#[test]
fn traffic_is_summed_over_sessions_that_left() {
    let mut world = World::new(Policy::default());
    let first = world.join(Publish, "a");
    world.report(first, 0);
    world.pass(1000);
    world.report(first, 10_000);
    let stats = world.view("a").publish.stats;
    assert_eq!(
        (stats.bytes, stats.packets, stats.bitrate_bps),
        (10_000, 100, 80_000)
    );
    world.delete("a", first).expect("live");
    world.report(first, 99_999);
    let second = world.join(Publish, "a");
    world.report(second, 500);
    let stats = world.view("a").publish.stats;
    assert_eq!(
        (stats.bytes, stats.packets, stats.bitrate_bps),
        (10_500, 105, 0)
    );
    assert_eq!(world.registry.totals().rtp_in.bytes, 10_500);
    assert_eq!(world.registry.totals().rtp_out.bytes, 0);
}

#[test]
fn a_name_that_no_msid_can_carry_gets_another_one() {
    let id = StreamId(7);
    let long = "x".repeat(65);
    for odd in ["a b", "a/b", "中", "-", long.as_str(), "a:b", "a\"b"] {
        assert_eq!(msid(&name(odd), id), "stream-7", "{odd}");
    }
    for good in ["cam", "a.b-c_d", &"x".repeat(64)] {
        assert_eq!(msid(&name(good), id), good);
    }
}

/// Anything that can happen, in any order. Numbers choose among what exists.
#[derive(Clone, Debug)]
enum Op {
    Create(u8),
    Destroy(u8),
    Admit(bool, u8),
    Answer(u8),
    Refuse(u8),
    Abandon(u8),
    Delete(u8),
    PeerClosed(u8),
    ConfirmClose(u8),
    State(u8, u8),
    Silent(u8, bool),
    Mute(u8, bool),
    Report(u8, u16),
    Pass(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => (0..3_u8).prop_map(Op::Create),
        1 => (0..3_u8).prop_map(Op::Destroy),
        6 => (any::<bool>(), 0..3_u8).prop_map(|(publish, stream)| Op::Admit(publish, stream)),
        6 => any::<u8>().prop_map(Op::Answer),
        2 => any::<u8>().prop_map(Op::Refuse),
        1 => any::<u8>().prop_map(Op::Abandon),
        2 => any::<u8>().prop_map(Op::Delete),
        2 => any::<u8>().prop_map(Op::PeerClosed),
        3 => any::<u8>().prop_map(Op::ConfirmClose),
        2 => (any::<u8>(), 0..5_u8).prop_map(|(pick, state)| Op::State(pick, state)),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(pick, silent)| Op::Silent(pick, silent)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(pick, muted)| Op::Mute(pick, muted)),
        1 => (any::<u8>(), any::<u16>()).prop_map(|(pick, bytes)| Op::Report(pick, bytes)),
        3 => (0..7000_u16).prop_map(Op::Pass),
    ]
}

/// What the operations did, kept apart from the registry.
#[derive(Default)]
struct Books {
    /// Asked of the data plane and not yet answered, also when control has given up.
    asked: BTreeMap<SessionId, (Side, usize)>,
    /// Alive in the data plane.
    alive: BTreeMap<SessionId, (Side, usize)>,
    /// Told to close.
    told: BTreeSet<SessionId>,
}

fn pick<T: Copy>(from: impl ExactSizeIterator<Item = T>, number: u8) -> Option<T> {
    let len = from.len();
    let mut from = from;
    from.nth(usize::from(number).checked_rem(len)?)
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn apply(world: &mut World, books: &mut Books, op: &Op) {
    let now = world.now();
    let alive = |books: &Books, number| pick(books.alive.iter(), number).map(|(id, at)| (*id, *at));
    match *op {
        Op::Create(stream) => {
            let _ = world
                .registry
                .create_stream(&name(NAMES[usize::from(stream)]), now);
        }
        Op::Destroy(stream) => {
            let _ = world
                .registry
                .destroy_stream(&name(NAMES[usize::from(stream)]), now);
        }
        Op::Admit(publish, stream) => {
            let side = if publish { Publish } else { Subscribe };
            let stream = usize::from(stream);
            if let Ok(id) = world.admit(side, NAMES[stream]) {
                books.asked.insert(id, (side, stream));
            }
        }
        Op::Answer(number) => {
            if let Some(id) = pick(books.asked.keys(), number).copied() {
                let at = books.asked.remove(&id).expect("just seen");
                books.alive.insert(id, at);
                world.answer(id);
            }
        }
        Op::Refuse(number) => {
            if let Some(id) = pick(books.asked.keys(), number).copied() {
                books.asked.remove(&id);
                world.registry.refused(id, now);
            }
        }
        Op::Abandon(number) => {
            if let Some(id) = pick(books.asked.keys(), number).copied() {
                world.registry.abandon(id, now);
            }
        }
        Op::Delete(number) => {
            if let Some((id, (_, stream))) = alive(books, number) {
                let _ = world.delete(NAMES[stream], id);
            }
        }
        Op::PeerClosed(number) => {
            if let Some((id, _)) = alive(books, number) {
                books.alive.remove(&id);
                books.told.remove(&id);
                world.closed(id, CloseReason::PeerClosed);
            }
        }
        Op::ConfirmClose(number) => {
            if let Some(id) = pick(books.told.iter(), number).copied() {
                books.told.remove(&id);
                books.alive.remove(&id);
                world.closed(id, CloseReason::Deleted);
            }
        }
        Op::State(number, state) => {
            let states = [
                SessionState::New,
                SessionState::Connecting,
                SessionState::Connected,
                SessionState::Disconnected,
                SessionState::Failed,
            ];
            if let Some((id, _)) = alive(books, number) {
                world.state(id, states[usize::from(state)]);
            }
        }
        Op::Silent(number, silent) => {
            if let Some((id, _)) = alive(books, number) {
                world.registry.publisher_silent(id, silent, now);
            }
        }
        Op::Mute(number, muted) => {
            if let Some((id, (_, stream))) = alive(books, number) {
                let stream = name(NAMES[stream]);
                let owner = Principal::Anonymous;
                let _ = world
                    .registry
                    .mute(&stream, id, &owner, MediaKind::Audio, muted);
            }
        }
        Op::Report(number, bytes) => {
            if let Some((id, _)) = alive(books, number) {
                world.report(id, u64::from(bytes));
            }
        }
        Op::Pass(millis) => world.pass(u64::from(millis)),
    }
}

/// Does what the data plane would do with the commands: destroying ends what belongs to the
/// stream, and everything it ends is confirmed later.
fn obey(world: &mut World, books: &mut Books) {
    for command in world.commands() {
        match command {
            Command::Session {
                session,
                command: SessionCommand::Close { .. },
                ..
            } if books.alive.contains_key(&session) => {
                books.told.insert(session);
            }
            Command::DestroyStream { .. } => {
                let registry = &world.registry;
                let gone = books
                    .alive
                    .keys()
                    .filter(|id| !registry.sessions.contains_key(id));
                books.told.extend(gone.copied());
            }
            _ => {}
        }
    }
}

fn check(world: &World, books: &Books) {
    let now = world.now();
    let views = world.registry.streams(now);
    let counts = world.registry.counts();
    let mut listed = BTreeSet::new();
    let mut publishers = 0;
    for view in &views {
        assert!(view.publish.sessions.len() <= 1, "never two publishers");
        publishers += view.publish.sessions.len();
        for (side, seen) in [(Publish, &view.publish), (Subscribe, &view.subscribe)] {
            let occupied = !seen.sessions.is_empty();
            assert!(!occupied || seen.left_unix_ms == 0, "0 while occupied");
            assert!(seen.left_unix_ms <= now.unix_ms);
            for session in &seen.sessions {
                let at = books
                    .alive
                    .get(&session.id)
                    .expect("listed sessions are alive");
                assert_eq!((at.0, NAMES[at.1]), (side, view.name.as_str()));
                assert!(
                    !books.told.contains(&session.id),
                    "a closed one is not listed"
                );
                assert!(listed.insert(session.id), "listed once");
            }
        }
        let empty = view.subscribe.sessions.is_empty();
        assert!(!empty || view.subscribe.left_unix_ms >= view.created_unix_ms);
        assert!(view.tracks.is_empty() || !view.publish.sessions.is_empty());
    }
    // What lives and was not told to close is listed: nothing lives on unseen.
    for id in books.alive.keys().filter(|id| !books.told.contains(id)) {
        assert!(listed.contains(id), "{id:?} lives unseen");
    }
    assert_eq!(counts.streams, views.len());
    assert_eq!(counts.publishers, publishers);
    assert_eq!(counts.viewers, listed.len() - publishers);
    assert!(counts.pending <= books.asked.len());
    let live = world.registry.sessions.values();
    let unconnected = live.filter(|session| !session.ever_connected).count();
    assert_eq!(counts.unconnected, unconnected);
    let half_open = counts.pending + unconnected;
    assert_eq!(world.registry.charged(), (half_open, half_open as u32));
}

proptest! {
    #[test]
    fn the_books_agree_whatever_happens(
        ops in proptest::collection::vec(op(), 0..120),
        takeover in prop_oneof![
            Just(Takeover::Never), Just(Takeover::Silent), Just(Takeover::Always)
        ],
    ) {
        let mut world = World::new(Policy {
            takeover,
            each_stream_max_sub: 3,
            sessions_max: 12,
            half_open_max: 5,
            ..Policy::default()
        });
        let mut books = Books::default();
        for op in &ops {
            apply(&mut world, &mut books, op);
            obey(&mut world, &mut books);
            check(&world, &books);
        }
        // Everybody goes: nothing is left behind.
        for stream in NAMES {
            let now = world.now();
            let _ = world.registry.destroy_stream(&name(stream), now);
        }
        for id in std::mem::take(&mut books.asked).into_keys() {
            world.answer(id);
            books.alive.insert(id, (Subscribe, 0));
        }
        obey(&mut world, &mut books);
        prop_assert_eq!(books.told.len(), books.alive.len(), "all were told to close");
        for id in books.alive.into_keys() {
            world.closed(id, CloseReason::Deleted);
        }
        prop_assert_eq!(world.registry.counts(), Counts::default());
        prop_assert!(world.registry.streams(world.now()).is_empty());
        prop_assert!(world.registry.pending.is_empty() && world.registry.names.is_empty());
    }
}

#[test]
fn e_ctr_5_a_counter_offer_ends_by_time_by_its_owner_or_with_its_stream() {
    let mut world = World::new(Policy::default());
    world.join(Side::Publish, "a");
    let offered = |world: &mut World| {
        let id = world.admit(Side::Subscribe, "a").expect("admitted");
        let until = world.now().mono + Duration::from_secs(30);
        assert!(world.registry.counter_offered(id, until));
        let known = world
            .registry
            .counter_offer(&name("a"), id, &Principal::Anonymous);
        assert_eq!(known, Ok(()));
        id
    };
    let withdrawn = |world: &mut World| -> Vec<SessionId> {
        let commands = world.commands().into_iter();
        commands
            .filter_map(|command| match command {
                Command::Withdraw { session } => Some(session),
                _ => None,
            })
            .collect()
    };
    let by_time = offered(&mut world);
    world.pass(29_000);
    assert_eq!(withdrawn(&mut world), []);
    world.pass(1_000);
    assert_eq!(withdrawn(&mut world), [by_time]);
    assert!(!world.answer(by_time), "too late");
    world.commands();

    let deleted = offered(&mut world);
    assert_eq!(world.delete("a", deleted), Ok(()));
    assert_eq!(withdrawn(&mut world), [deleted]);

    let answered = offered(&mut world);
    assert!(world.answer(answered));
    let gone = world
        .registry
        .counter_offer(&name("a"), answered, &Principal::Anonymous);
    assert_eq!(gone, Err(Error::NoSuchSession));
    assert_eq!(withdrawn(&mut world), []);

    let orphaned = offered(&mut world);
    let now = world.now();
    world
        .registry
        .destroy_stream(&name("a"), now)
        .expect("it is there");
    assert!(!world.answer(orphaned));

    // Nobody waited any more: the data plane must not keep it.
    let until = world.now().mono;
    world.commands();
    assert!(!world.registry.counter_offered(orphaned, until));
    assert_eq!(withdrawn(&mut world), [orphaned]);
}

#[test]
fn x_lay_6_a_choice_of_layers_survives_the_publisher() {
    let mut world = World::new(Policy::default());
    let publisher = world.join(Side::Publish, "a");
    let viewer = world.join(Side::Subscribe, "a");
    let wish = Selection {
        spatial_id: Some(0),
        ..Selection::default()
    };
    let select = |world: &mut World, line, wish: Selection| {
        let now = world.now();
        let owner = Principal::Anonymous;
        let registry = &mut world.registry;
        registry.select(&name("a"), viewer, &owner, line, wish, now)
    };
    assert_eq!(select(&mut world, None, wish.clone()), Ok(()));
    world.delete("a", publisher).expect("it is there");
    world.join(Side::Publish, "a");
    assert_eq!(world.registry.selection(viewer), Some(&wish));
    // A refused one changes nothing.
    let above = Selection {
        spatial_id: Some(1),
        ..Selection::default()
    };
    assert_eq!(select(&mut world, Some(0), above), Err(Error::NoSuchLayer));
    assert_eq!(
        select(&mut world, Some(1), wish.clone()),
        Err(Error::NoSuchLayer)
    );
    assert_eq!(world.registry.selection(viewer), Some(&wish));
    assert_eq!(select(&mut world, None, Selection::default()), Ok(()));
    let automatic = world
        .registry
        .selection(viewer)
        .map(Selection::is_automatic);
    assert_eq!(automatic, Some(true));
}

#[test]
fn only_a_publisher_that_came_later_makes_a_viewer_come_again() {
    let mut world = World::new(Policy::default());
    let early = world.join(Side::Subscribe, "a");
    world.join(Side::Publish, "a");
    let late = world.join(Side::Subscribe, "a");
    let epoch = Epoch(1);
    assert!(world.registry.should_reconnect(early, epoch));
    assert!(!world.registry.should_reconnect(late, epoch));
    assert!(world.registry.should_reconnect(late, Epoch(2)));
}
