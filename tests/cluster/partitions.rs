//! Nodes, managers and etcd on hosts of their own, between which links are cut.
//!
//! After every cut is mended the cluster has to be as it should be within ten seconds: one
//! publisher for each stream, every link between two nodes complete, and every viewer with a
//! picture. Nothing may be left over of what went on meanwhile.

use std::time::Duration;

use crate::client::Client;
use crate::node::eventually;
use crate::town::{MANAGERS, NODES, Town};

/// From the moment at which everybody reaches everybody again.
const HEALED_WITHIN: Duration = Duration::from_secs(10);
/// Longer than nodes stay registered without a word, and than links wait for their other end.
const CUT_LASTS: Duration = Duration::from_secs(12);

/// Waits for a picture that moves.
fn sees(town: &Town, viewer: &Client, who: &str, max: Duration) {
    let before = viewer.seen().video.packets;
    town.within(max, &format!("{who} sees the stream"), || {
        viewer.seen().video.packets > before + 30
    });
    assert_eq!(viewer.seen().corrupt, 0, "{who}");
}

/// Heals all cuts and waits until the cluster is as it should be, with a picture for everybody.
fn heals(town: &Town, stream: &str, viewers: &[(&str, &Client)]) {
    let before: Vec<u64> = viewers
        .iter()
        .map(|(_, viewer)| viewer.seen().video.packets)
        .collect();
    town.net.heal();
    let mut packets = before;
    let took = town.within(HEALED_WITHIN, "it is whole again, and all see it", || {
        let census = town.census(stream);
        assert!(census.incoming_max <= 1, "two at one node: {census:?}");
        let whole = town.is_whole(stream).is_ok();
        let now: Vec<u64> = viewers
            .iter()
            .map(|(_, viewer)| viewer.seen().video.packets)
            .collect();
        // Since the last look.
        let all_see = now.iter().zip(&packets).all(|(now, before)| now > before);
        packets = now;
        whole && all_see
    });
    eprintln!("healed after {took:.1?}");
}

#[test]
fn a_node_with_its_manager_is_cut_off_with_the_publisher_and_another_one_comes() {
    let Some(town) = Town::start("one-and-four") else {
        return;
    };
    let first = town.publish("c1", "m1", "cam?nodes=n1");
    let near = town.watch("c1", "m1", "cam?nodes=n1");
    let far = town.watch("c2", "m2", "cam?nodes=n2");
    for (who, viewer) in [("near", &near), ("far", &far)] {
        sees(&town, viewer, who, Duration::from_secs(10));
    }
    let (few, many) = (
        ["n1", "m1", "c1"],
        ["n2", "n3", "n4", "n5", "m2", "etcd", "c2"],
    );
    town.net.part(&few, &many);

    // On this side all goes on, and who comes is placed by what was known.
    sees(&town, &near, "near", Duration::from_secs(5));
    let late = town.watch("c1", "m1", "cam");
    sees(&town, &late, "a late one", Duration::from_secs(10));

    // On the other side somebody else publishes it.
    town.within(HEALED_WITHIN, "the node is given up", || {
        !town.running("m2").contains("n1")
    });
    let second = town.publish("c2", "m2", "cam");
    sees(&town, &far, "far", Duration::from_secs(15));
    std::thread::sleep(CUT_LASTS);
    let census = town.census("cam");
    assert_eq!(census.publishers.len(), 2, "one on each side: {census:?}");
    assert_eq!(census.incoming_max, 1, "{census:?}");

    heals(
        &town,
        "cam",
        &[("near", &near), ("late", &late), ("far", &far)],
    );
    eventually("the first one is told", || first.seen().closed);
    assert!(!second.seen().closed, "who was agreed on last stays");
    town.settles("cam", 3);
    for client in [&near, &late, &far, &second] {
        town.leave(client);
    }
    town.empties();
}

#[test]
fn two_nodes_with_their_manager_are_cut_off_from_the_publisher() {
    let Some(town) = Town::start("two-and-three") else {
        return;
    };
    let publisher = town.publish("c2", "m2", "cam?nodes=n3");
    let viewers = [
        ("at n1", town.watch("c1", "m1", "cam?nodes=n1")),
        ("at n2", town.watch("c1", "m1", "cam?nodes=n2")),
        ("at n4", town.watch("c2", "m2", "cam?nodes=n4")),
    ];
    for (who, viewer) in &viewers {
        sees(&town, viewer, who, Duration::from_secs(10));
    }
    let (few, many) = (
        ["n1", "n2", "m1", "c1"],
        ["n3", "n4", "n5", "m2", "etcd", "c2"],
    );
    town.net.part(&few, &many);
    std::thread::sleep(CUT_LASTS);
    // The larger side is not disturbed.
    sees(&town, &viewers[2].1, "at n4", Duration::from_secs(5));
    let all: Vec<_> = viewers.iter().map(|(who, viewer)| (*who, viewer)).collect();
    heals(&town, "cam", &all);
    assert!(!publisher.seen().closed);
    assert!(viewers.iter().all(|(_, viewer)| !viewer.seen().closed));
    town.settles("cam", viewers.len());
    for (_, viewer) in &viewers {
        town.leave(viewer);
    }
    town.leave(&publisher);
    town.empties();
}

#[test]
fn a_manager_that_does_not_hear_a_node_does_no_harm() {
    let Some(town) = Town::start("one-way") else {
        return;
    };
    let publisher = town.publish("c1", "m1", "cam?nodes=n1");
    let here = town.watch("c1", "m1", "cam?nodes=n1");
    let there = town.watch("c2", "m2", "cam?nodes=n2");
    for (who, viewer) in [("here", &here), ("there", &there)] {
        sees(&town, viewer, who, Duration::from_secs(10));
    }
    // What the node says does not reach this manager any more; all else does.
    town.net.cut(&["n1"], &["m1"]);
    town.within(HEALED_WITHIN, "one manager gives the node up", || {
        !town.running("m1").contains("n1")
    });
    for _ in 0..10 {
        std::thread::sleep(Duration::from_secs(1));
        assert!(town.running("m2").contains("n1"), "the other one does not");
        let census = town.census("cam");
        assert_eq!(census.publishers, ["n1"], "{census:?}");
        assert!(census.half_open.is_empty(), "{census:?}");
    }
    for (who, viewer) in [("here", &here), ("there", &there)] {
        sees(&town, viewer, who, Duration::from_secs(3));
        assert!(!viewer.seen().closed, "{who}");
    }
    assert!(!publisher.seen().closed);

    // Somebody who publishes it at the manager that is wrong does so in place of the first.
    let second = town.publish("c1", "m1", "cam");
    town.within(HEALED_WITHIN, "one of the two stays", || {
        let census = town.census("cam");
        assert!(census.incoming_max <= 1, "{census:?}");
        census.publishers.len() == 1
    });
    eventually("the first one is told", || publisher.seen().closed);
    heals(&town, "cam", &[("here", &here), ("there", &there)]);
    assert!(!second.seen().closed);
    town.settles("cam", 2);
    for client in [&here, &there, &second] {
        town.leave(client);
    }
    town.empties();
}

#[test]
fn two_nodes_that_do_not_reach_each_other_are_linked_again() {
    let Some(town) = Town::start("node-to-node") else {
        return;
    };
    let publisher = town.publish("c1", "m1", "cam?nodes=n1");
    let viewer = town.watch("c2", "m2", "cam?nodes=n2");
    sees(&town, &viewer, "the viewer", Duration::from_secs(10));
    // One way is enough: nothing of the stream comes any more, and no word either.
    town.net.cut(&["n1"], &["n2"]);
    town.within(Duration::from_secs(20), "the link is given up", || {
        let census = town.census("cam");
        census.relays.is_empty() || !census.half_open.is_empty()
    });
    std::thread::sleep(CUT_LASTS);
    heals(&town, "cam", &[("the viewer", &viewer)]);
    assert!(!viewer.seen().closed && !publisher.seen().closed);
    town.settles("cam", 1);
    town.leave(&viewer);
    town.leave(&publisher);
    town.empties();
}

#[test]
fn a_host_whose_cable_is_pulled_comes_back_without_what_it_had() {
    let Some(town) = Town::start("cable") else {
        return;
    };
    let first = town.publish("c1", "m1", "cam?nodes=n1");
    let viewer = town.watch("c2", "m2", "cam?nodes=n2");
    sees(&town, &viewer, "the viewer", Duration::from_secs(10));
    town.net.unplug("n1");
    for manager in MANAGERS {
        town.within(HEALED_WITHIN, "the node is given up", || {
            town.running(manager).len() == NODES.len() - 1
        });
    }
    let second = town.publish("c1", "m2", "cam");
    sees(&town, &viewer, "the viewer", Duration::from_secs(15));
    // Its publisher is silent by now, its viewer sees the other one.
    town.net.plug("n1");
    heals(&town, "cam", &[("the viewer", &viewer)]);
    assert!(!second.seen().closed);
    town.settles("cam", 1);
    drop(first);
    town.leave(&viewer);
    town.leave(&second);
    town.empties();
}
