//! Sessions end with what they were let in by.

use std::time::Instant;

use super::*;
use crate::Authority;

fn authority(root: u128, names: &[u128], until: Option<Instant>) -> Authority {
    Authority {
        until,
        root,
        names: names.to_vec(),
    }
}

#[test]
fn a_session_ends_with_its_authorisation() {
    let mut world = World::new(Policy::default());
    let until = world.now().mono + Duration::from_secs(10);
    let ending: Vec<SessionId> = [Side::Publish, Side::Subscribe]
        .into_iter()
        .map(|side| {
            let id = world.admit(side, "a").expect("admitted");
            world.registry.rest_on(id, authority(1, &[], Some(until)));
            assert!(world.answer(id));
            id
        })
        .collect();
    let staying = world.join(Side::Subscribe, "a");
    let early = world.admit(Side::Subscribe, "a").expect("admitted");
    world
        .registry
        .rest_on(early, authority(1, &[], Some(until)));
    assert!(world.answer(early));
    world.delete("a", early).expect("it is there");
    world.registry.outbox().clear();

    world.pass(9_999);
    assert!(world.registry.outbox().is_empty());
    world.pass(1);
    let closed: Vec<SessionId> = world
        .registry
        .outbox()
        .drain(..)
        .map(|command| match command {
            Command::Session {
                session,
                command:
                    SessionCommand::Close {
                        reason: CloseReason::Expired,
                    },
                ..
            } => session,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(closed, ending);
    assert_eq!(world.delete("a", ending[0]), Err(Error::NoSuchSession));
    world.delete("a", staying).expect("it stays");
    assert_eq!(world.registry.ends.len(), 0, "nothing is remembered");
}

#[test]
fn a_session_whose_authority_fell_is_ended_and_one_not_yet_answered_never_lives() {
    let mut world = World::new(Policy::default());
    let admit = |world: &mut World, side, authority| {
        let id = world.admit(side, "a").expect("admitted");
        world.registry.rest_on(id, authority);
        id
    };
    let publisher = admit(&mut world, Side::Publish, authority(1, &[10], None));
    assert!(world.answer(publisher));
    let by_name = admit(&mut world, Side::Subscribe, authority(1, &[10, 11], None));
    assert!(world.answer(by_name));
    let by_root = admit(&mut world, Side::Subscribe, authority(2, &[10], None));
    assert!(world.answer(by_root));
    let pending = admit(&mut world, Side::Subscribe, authority(2, &[], None));
    let open = world.join(Side::Subscribe, "a");
    world.registry.outbox().clear();

    let now = world.now();
    assert_eq!(world.registry.end_unless(|_| true, now), 0);
    assert!(world.registry.outbox().is_empty());

    let stands = |authority: &Authority| authority.root != 2 && !authority.names.contains(&11);
    assert_eq!(world.registry.end_unless(stands, now), 2);
    let mut closed: Vec<SessionId> = world
        .registry
        .outbox()
        .drain(..)
        .map(|command| match command {
            Command::Session {
                session,
                command:
                    SessionCommand::Close {
                        reason: CloseReason::Revoked,
                    },
                ..
            } => session,
            other => panic!("{other:?}"),
        })
        .collect();
    closed.sort_unstable();
    let mut wanted = vec![by_name, by_root];
    wanted.sort_unstable();
    assert_eq!(closed, wanted);
    assert!(!world.answer(pending), "nobody waits for it any more");
    assert_eq!(world.registry.end_unless(stands, now), 0);
    world.delete("a", publisher).expect("it stands");
    world
        .delete("a", open)
        .expect("nobody asked it for anything");
}
