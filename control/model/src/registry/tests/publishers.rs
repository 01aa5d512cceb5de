//! One publisher at a time, and who may replace it.

use super::*;

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
fn viewers_are_held_against_what_was_heard_of_the_publisher_only() {
    let mut world = World::new(Policy::default());
    let publisher = world.join(Publish, "a");
    let live = |world: &mut World| {
        let (id, now) = (world.id(), world.now());
        let owner = Principal::Anonymous;
        let admitted = world.registry.subscribe(&name("a"), id, owner, now);
        let admitted = admitted.expect("admitted");
        (admitted.stream, admitted.live.expect("a publisher"))
    };
    let (stream, before) = live(&mut world);
    assert_eq!(before.tracks, [], "it may send any of what was agreed on");
    let heard = vec![track("VP8")];
    world.registry.stream_up(stream, before.epoch, heard);
    assert_eq!(live(&mut world).1.tracks, [track("VP8")]);
    // The next one may send something else.
    world.delete("a", publisher).expect("live");
    world.join(Publish, "a");
    assert_eq!(live(&mut world).1.tracks, []);
}
