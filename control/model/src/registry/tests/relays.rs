//! Sessions between nodes.

use super::*;
use crate::{NodeId, Seat};

impl World {
    fn pull(&mut self, stream: &str) -> Result<SessionId, Error> {
        let (id, now) = (self.id(), self.now());
        let owner = Principal::Anonymous;
        self.registry.pull(&name(stream), id, owner, URL, now)?;
        Ok(id)
    }

    fn push(&mut self, stream: &str) -> Result<SessionId, Error> {
        let (id, now) = (self.id(), self.now());
        let owner = Principal::Anonymous;
        self.registry.push(&name(stream), id, owner, URL, now)?;
        Ok(id)
    }

    fn node(&mut self, stream: &str, seat: Seat) -> Result<SessionId, Error> {
        let (id, now) = (self.id(), self.now());
        let owner = Principal::Anonymous;
        let stream = name(stream);
        self.registry
            .subscribe_node(&stream, id, owner, seat, now)?;
        Ok(id)
    }

    fn go_live(&mut self, id: SessionId) {
        assert!(self.answer(id));
        self.state(id, SessionState::Connected);
    }
}

const URL: &str = "http://far.example/x";

#[test]
fn a_pulled_stream_has_a_publisher_that_shows_where_it_comes_from() {
    let mut world = World::new(Policy::default());
    let id = world.pull("a").expect("admitted");
    world.registry.far_session(id, "http://far.example/s/1");
    world.go_live(id);
    let view = world.view("a");
    let cascade = view.publish.sessions[0].cascade.clone().expect("shown");
    assert_eq!(cascade.source_url.as_deref(), Some(URL));
    assert_eq!(cascade.target_url, None);
    let session_url = cascade.session_url.as_deref();
    assert_eq!(session_url, Some("http://far.example/s/1"));
    // It never replaces anybody, whatever the rule for publishers is, and may be replaced by it.
    assert!(matches!(
        world.pull("a"),
        Err(Error::AlreadyPublished { .. })
    ));
    let mut world = World::new(Policy {
        takeover: Takeover::Always,
        ..Policy::default()
    });
    world.join(Publish, "a");
    assert!(world.pull("a").is_err());
    let id = world.pull("b").expect("admitted");
    world.go_live(id);
    world.join(Publish, "b");
    assert_eq!(world.closes(), [(id, CloseReason::TakenOver)]);
}

#[test]
fn a_pull_that_comes_to_nothing_leaves_nothing() {
    let mut world = World::new(Policy::default());
    let id = world.pull("a").expect("admitted");
    let now = world.now();
    let until = now.mono + Duration::from_secs(15);
    assert!(world.registry.counter_offered(id, until));
    world.commands();
    world.registry.abandon(id, now);
    assert!(!world.exists("a"));
    let withdrawn = world.commands();
    assert!(matches!(withdrawn[0], Command::Withdraw { session } if session == id));
    let mut closed = World::new(Policy {
        auto_create_whip: false,
        ..Policy::default()
    });
    assert_eq!(closed.pull("a"), Err(Error::NoSuchStream));
}

#[test]
fn nodes_are_let_in_while_somebody_is_connected_who_publishes() {
    let mut world = World::new(Policy::default());
    assert_eq!(world.push("a"), Err(Error::NoSuchStream));
    assert_eq!(world.node("a", Seat::Free), Err(Error::NoSuchStream));
    let publisher = world.join(Publish, "a");
    assert!(matches!(world.push("a"), Err(Error::NotLive { .. })));
    assert!(matches!(
        world.node("a", Seat::Counted),
        Err(Error::NotLive { .. })
    ));
    world.state(publisher, SessionState::Connected);
    world.push("a").expect("live");
    world.node("a", Seat::Counted).expect("live");
    world.closed(publisher, CloseReason::PeerClosed);
    assert!(matches!(world.push("a"), Err(Error::NotLive { .. })));
}

#[test]
fn who_passes_a_stream_on_takes_nobodys_place() {
    let mut world = World::new(Policy {
        each_stream_max_sub: 1,
        ..Policy::default()
    });
    let publisher = world.join(Publish, "a");
    world.state(publisher, SessionState::Connected);
    let free = [
        world.push("a").expect("free"),
        world.node("a", Seat::Free).expect("free"),
        world.node("a", Seat::Free).expect("free"),
    ];
    assert!(world.answer(free[0]) && world.answer(free[1]));
    let seated = world.node("a", Seat::Counted).expect("the only place");
    assert!(world.answer(seated));
    let full = Err(Error::LimitReached {
        what: "strategy.each_stream_max_sub",
        max: 1,
    });
    assert_eq!(world.admit(Subscribe, "a"), full);
    assert_eq!(world.node("a", Seat::Counted), full);
    // They leave no place behind, either.
    world.delete("a", free[0]).expect("live");
    let now = world.now();
    world.registry.abandon(free[2], now);
    world.closed(free[1], CloseReason::PeerLost);
    assert_eq!(world.admit(Subscribe, "a"), full);
    world.delete("a", seated).expect("live");
    world.admit(Subscribe, "a").expect("the place is free");
}

#[test]
fn nodes_come_again_when_the_way_of_a_stream_changes() {
    let mut world = World::new(Policy::default());
    let first = world.pull("a").expect("admitted");
    world.registry.came_through(first, vec![NodeId(7)]);
    world.go_live(first);
    assert_eq!(world.registry.way(&name("a")), [NodeId(7)]);
    let viewer = world.join(Subscribe, "a");
    let node = world.node("a", Seat::Free).expect("live");
    assert!(world.answer(node));
    let push = world.push("a").expect("live");
    assert!(world.answer(push));
    world.closed(first, CloseReason::PeerLost);
    assert!(world.registry.way(&name("a")).is_empty());

    let again = world.pull("a").expect("admitted");
    world.registry.came_through(again, vec![NodeId(7)]);
    world.go_live(again);
    assert_eq!(world.closes(), [], "the same way as before");
    world.closed(again, CloseReason::PeerLost);

    let other = world.pull("a").expect("admitted");
    let way = vec![NodeId(8), NodeId(9)];
    world.registry.came_through(other, way.clone());
    world.go_live(other);
    let rerouted = CloseReason::Rerouted;
    assert_eq!(world.closes(), [(node, rerouted), (push, rerouted)]);
    assert_eq!(world.registry.way(&name("a")), way);
    assert!(world.registry.is_live(viewer));
}

#[test]
fn viewers_are_sent_away_and_nodes_stay() {
    let mut world = World::new(Policy::default());
    let publisher = world.join(Publish, "a");
    world.state(publisher, SessionState::Connected);
    let viewer = world.join(Subscribe, "a");
    let push = world.push("a").expect("live");
    let node = world.node("a", Seat::Counted).expect("live");
    assert!(world.answer(push) && world.answer(node));
    let now = world.now();
    world.registry.send_viewers_away(&name("a"), now);
    assert_eq!(world.closes(), [(viewer, CloseReason::Rerouted)]);
    assert!(world.registry.is_watched(&name("a")));
    world.registry.end(push, CloseReason::Idle, now);
    assert_eq!(world.closes(), [(push, CloseReason::Idle)]);
}
