//! Rules one by one, by subject, and a world to try them in; here how streams and sessions come and
//! go.

mod authority;
mod caps;
mod drain;
mod order;
mod players;
mod publishers;
mod relays;

use std::time::{Duration, Instant};

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
                available_bps: None,
                intake: None,
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
