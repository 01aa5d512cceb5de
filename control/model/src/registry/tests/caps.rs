//! How many there may be.

use super::*;

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
fn a_node_takes_as_many_of_each_side_as_it_says() {
    let mut world = World::new(Policy {
        pub_max: 1,
        sub_max: 2,
        takeover: Takeover::Always,
        ..Policy::default()
    });
    let full = |what, max| Err(Error::LimitReached { what, max });
    let publisher = world.admit(Publish, "a").expect("the first");
    assert_eq!(world.admit(Publish, "b"), full("node.pub_max", 1));
    assert!(!world.exists("b"));
    assert!(world.answer(publisher));
    assert_eq!(world.admit(Publish, "b"), full("node.pub_max", 1));
    // Who takes a publisher's place needs no other.
    world.join(Publish, "a");
    let viewer = world.join(Subscribe, "a");
    world.admit(Subscribe, "b").expect("the second");
    assert_eq!(world.admit(Subscribe, "a"), full("node.sub_max", 2));
    world.delete("a", viewer).expect("live");
    world.closed(viewer, CloseReason::Deleted);
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
fn a_source_with_few_takes_the_place_of_one_with_many() {
    let mut world = World::new(Policy {
        half_open_max: 4,
        ..Policy::default()
    });
    let join = |world: &mut World, source| {
        let (id, now) = (world.id(), world.now());
        world.registry.yield_place(source, now);
        let stream = name("a");
        let admitted = world
            .registry
            .subscribe(&stream, id, Principal::Anonymous, now);
        world.registry.came_from(id, source);
        admitted.map(|_| {
            assert!(world.answer(id));
            id
        })
    };
    let many: Vec<SessionId> = (0..4).map(|_| join(&mut world, 1).expect("room")).collect();
    assert!(join(&mut world, 1).is_err(), "not for one of its own");
    world.state(many[0], SessionState::Connected);
    let fourth = join(&mut world, 1).expect("one connected");
    // The oldest that has not connected goes.
    let newcomer = join(&mut world, 2).expect("a place was made");
    assert_eq!(world.closes(), [(many[1], CloseReason::NeverConnected)]);
    // Not for many newcomers at once, whoever they are.
    assert!(join(&mut world, 3).is_err());
    world.pass(10);
    join(&mut world, 3).expect("a place was made");
    assert_eq!(world.closes(), [(many[2], CloseReason::NeverConnected)]);
    // Two of one source, one each of two others: nobody has two more than a newcomer but that one.
    world.pass(10);
    assert!(join(&mut world, 2).is_err(), "it has one already");
    join(&mut world, 4).expect("a place was made");
    assert_eq!(world.closes(), [(many[3], CloseReason::NeverConnected)]);
    // One each: nobody has more than the others.
    world.pass(10);
    assert!(join(&mut world, 5).is_err());
    assert_eq!(world.closes(), []);
    for id in [many[0], fourth, newcomer] {
        world.delete("a", id).expect("it is still there");
    }
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
