//! Going out of service.

use super::*;

#[test]
fn nothing_new_is_taken_while_draining() {
    let mut world = World::new(Policy::default());
    let viewer = world.join(Subscribe, "a");
    world.registry.shut_down(world.now());
    world.registry.shut_down(world.now());
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
fn sessions_stay_until_the_deadline_and_not_longer() {
    let mut world = World::new(Policy::default());
    let publisher = world.join(Publish, "a");
    let viewer = world.join(Subscribe, "a");
    let late = world.admit(Subscribe, "a").expect("not yet draining");
    begin(&mut world, 10);
    world.pass(9_999);
    assert_eq!(world.closes(), []);
    assert_eq!(world.admit(Subscribe, "a"), Err(Error::Draining));
    world.pass(1);
    let ended = [publisher, viewer].map(|id| (id, CloseReason::Shutdown));
    assert_eq!(world.closes(), ended);
    // One that was being let in when it began goes as well.
    assert!(world.answer(late));
    world.pass(250);
    assert_eq!(world.closes(), [(late, CloseReason::Shutdown)]);
    assert!(world.registry.is_draining(), "and it stays so");
    assert_eq!(world.admit(Publish, "a"), Err(Error::Draining));
    world.pass(60_000);
    assert_eq!(world.closes(), [], "nobody is told twice");
}

#[test]
fn a_drain_can_be_moved_and_taken_back() {
    let mut world = World::new(Policy::default());
    assert!(!world.registry.cancel_drain(), "there is none");
    let viewer = world.join(Subscribe, "a");
    begin(&mut world, 10);
    let since = world.registry.drain().expect("under way").since.unix_ms;
    world.pass(5000);
    begin(&mut world, 60);
    let drain = world.registry.drain().expect("under way");
    assert_eq!(drain.since.unix_ms, since, "it began once");
    assert_eq!(drain.deadline.unix_ms, world.unix_ms() + 60_000);
    world.pass(30_000);
    assert!(world.registry.cancel_drain());
    assert!(!world.registry.is_draining());
    world.pass(60_000);
    assert_eq!(world.closes(), []);
    world.delete("a", viewer).expect("it is still there");
    world.join(Publish, "a");
}

#[test]
fn from_a_shutdown_there_is_no_way_back() {
    let mut world = World::new(Policy::default());
    begin(&mut world, 10);
    let now = world.now();
    let patience = Duration::from_secs(1);
    world.registry.begin_drain(Purpose::Shutdown, patience, now);
    begin(&mut world, 10);
    assert!(!world.registry.cancel_drain());
    assert!(world.registry.is_draining());
}

#[test]
fn a_counter_offer_is_no_session_to_wait_for() {
    let mut world = World::new(Policy::default());
    let session = world.admit(Subscribe, "a").expect("admitted");
    let until = world.now().mono + Duration::from_secs(30);
    assert!(world.registry.counter_offered(session, until));
    begin(&mut world, 10);
    let commands = world.commands();
    assert!(matches!(commands[0], Command::Withdraw { session: gone } if gone == session));
    assert_eq!(world.registry.counts().pending, 0);
}

fn begin(world: &mut World, seconds: u64) {
    let (now, patience) = (world.now(), Duration::from_secs(seconds));
    world
        .registry
        .begin_drain(Purpose::Maintenance, patience, now);
}
