//! Where sessions go, and what a holding may look like: without faults and without time.

use super::*;

#[test]
fn a_publisher_goes_where_there_is_room_and_returns_to_where_it_was() {
    let mut cluster = Cluster::new(Bounds::default());
    let start = Instant::now();
    for (name, region, pub_max) in [("a", "eu", 1), ("b", "us", 9), ("c", "us", 0)] {
        let capacity = Capacity {
            pub_max,
            ..Capacity::default()
        };
        cluster.register(node(name), region.to_owned(), capacity);
    }
    let cam = stream("cam");
    let nowhere = cluster.place_publisher(&cam, &Wish::default());
    assert_eq!(nowhere, Err(Unplaced::NoNode), "none was seen yet");
    for name in ["a", "b", "c"] {
        cluster.observe(&node(name), BTreeMap::new(), start);
    }
    let in_region = |region: &str, strict| Wish {
        region: region.to_owned(),
        strict,
        ..Wish::default()
    };
    let placed = cluster.place_publisher(&cam, &in_region("eu", false));
    assert_eq!(placed, Ok(node("a")));
    let place = cluster.reserve(&node("a"), &cam, Side::Publish, start);
    let other = stream("other");
    let placed = cluster.place_publisher(&other, &in_region("eu", false));
    assert_eq!(placed, Ok(node("b")), "the next best");
    let placed = cluster.place_publisher(&other, &in_region("eu", true));
    assert_eq!(placed, Err(Unplaced::Full));
    cluster.release(&place);
    let placed = cluster.place_publisher(&other, &in_region("eu", true));
    assert_eq!(placed, Ok(node("a")));
    // A settled place is counted until the node was asked afterwards.
    let place = cluster.reserve(&node("a"), &cam, Side::Publish, start);
    let later = start + Duration::from_secs(1);
    cluster.settle(&place, later);
    cluster.observe(&node("a"), BTreeMap::new(), start);
    assert_eq!(cluster.publishers(&node("a")), 1);
    let sighting = Sighting {
        feed: Feed::Direct {
            session: "1".to_owned(),
            created_unix_ms: 1,
        },
        viewers: 0,
    };
    cluster.observe(&node("a"), [(cam.clone(), sighting)].into(), later);
    assert_eq!(cluster.publishers(&node("a")), 1);
    let placed = cluster.place_publisher(&cam, &in_region("us", false));
    assert_eq!(placed, Ok(node("a")), "it has this publisher");
    cluster.set_draining(&node("a"), true);
    let placed = cluster.place_publisher(&cam, &in_region("us", false));
    assert_eq!(placed, Ok(node("b")), "it is to be left");
    let placed = cluster.place_publisher(&other, &in_region("eu", true));
    assert_eq!(placed, Err(Unplaced::NoNode));
}

#[test]
fn a_link_enters_a_region_once() {
    let mut cluster = Cluster::new(Bounds::default());
    let start = Instant::now();
    let capacity = Capacity {
        stream_sub_max: 1,
        ..Capacity::default()
    };
    for (name, region) in [("e1", "eu"), ("u1", "us"), ("u2", "us")] {
        cluster.register(node(name), region.to_owned(), capacity);
        cluster.observe(&node(name), BTreeMap::new(), start);
    }
    let cam = stream("cam");
    let direct = Sighting {
        feed: Feed::Direct {
            session: "1".to_owned(),
            created_unix_ms: 1,
        },
        viewers: 0,
    };
    cluster.observe(&node("e1"), [(cam.clone(), direct)].into(), start);
    let mut holding = Holding::new(node("e1"));
    let us = Wish {
        region: "us".to_owned(),
        ..Wish::default()
    };
    let first = cluster.place_viewer(&cam, &us, Some(&holding));
    let Ok(Seat::Link { child, parent }) = first else {
        panic!("{first:?}");
    };
    assert_eq!(parent, node("e1"));
    holding
        .attach(child.clone(), parent, cluster.bounds())
        .expect("room");
    let relay = Sighting {
        feed: Feed::Relay {
            session: "2".to_owned(),
            from: node("e1"),
        },
        viewers: 1,
    };
    cluster.observe(&child, [(cam.clone(), relay)].into(), start);
    let second = cluster.place_viewer(&cam, &us, Some(&holding));
    let Ok(Seat::Link {
        child: other,
        parent,
    }) = second
    else {
        panic!("{second:?}");
    };
    assert_ne!(other, child);
    assert_eq!(parent, child, "not across the border again");
    // Where the wished region has no room, any other will do.
    for name in ["u1", "u2"] {
        cluster.set_draining(&node(name), true);
    }
    let third = cluster.place_viewer(&cam, &us, Some(&holding));
    assert_eq!(third, Ok(Seat::On(node("e1"))));
    let unknown = cluster.place_viewer(&stream("none"), &us, None);
    assert_eq!(unknown, Err(Unplaced::NoStream));
}

#[test]
fn a_holding_is_a_tree_whoever_wrote_it() {
    let link = |child: &str, parent: &str| (node(child), node(parent));
    let read = |links: &[(&str, &str)]| {
        let links = links.iter().map(|(child, parent)| link(child, parent));
        Holding::from_parts(node("o"), 1, links)
    };
    assert!(read(&[("a", "o"), ("b", "a")]).is_some());
    for broken in [
        &[("a", "b"), ("b", "a")][..],
        &[("a", "a")],
        &[("o", "a"), ("a", "o")],
        &[("a", "x")],
    ] {
        assert_eq!(read(broken), None, "{broken:?}");
    }
    let mut holding = read(&[("a", "o"), ("b", "a"), ("c", "b"), ("d", "o")]).expect("a tree");
    let bounds = Bounds {
        depth_max: 3,
        fan_out_max: 2,
    };
    let mut attach = |child: &str, parent: &str| holding.attach(node(child), node(parent), bounds);
    assert_eq!(attach("e", "c"), Err(NotAttached::TooDeep));
    assert_eq!(attach("e", "o"), Err(NotAttached::TooWide));
    assert_eq!(attach("a", "d"), Err(NotAttached::Present));
    assert_eq!(attach("o", "a"), Err(NotAttached::Present));
    assert_eq!(attach("e", "x"), Err(NotAttached::NoParent));
    assert_eq!(attach("e", "b"), Ok(()));
    let gone: BTreeSet<_> = holding.detach(&node("a")).into_iter().collect();
    assert_eq!(gone, ["a", "b", "c", "e"].map(node).into());
    assert!(holding.detach(&node("o")).is_empty());
    assert_eq!(holding.links().count(), 1);
}
