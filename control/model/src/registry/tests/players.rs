//! What viewers' players meet: counter-offers, layers, being asked to come again.

use super::*;

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
