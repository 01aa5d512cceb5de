//! Seeded histories of several managers, nodes and a store: publishers and viewers come and go,
//! calls take their time, nodes die, links between managers, nodes and the store are cut.

mod placement;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::*;
use crate::{Side, StreamName};

const STREAMS: [&str; 3] = ["a", "b", "c"];

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

#[derive(Default)]
struct RealStream {
    direct: Option<(String, u64)>,
    relay: Option<(String, NodeName)>,
    viewers: u32,
}

#[derive(Default)]
struct RealNode {
    up: bool,
    streams: BTreeMap<StreamName, RealStream>,
}

struct Manager {
    cluster: Cluster,
    steward: Steward,
    cut: BTreeSet<NodeName>,
    sees_store: bool,
    copy: BTreeMap<StreamName, Holding>,
}

/// A call on its way to a node.
struct Call {
    manager: usize,
    place: Place,
    stream: StreamName,
    side: Side,
    parent: Option<NodeName>,
    due: u64,
}

struct World {
    dice: Dice,
    start: Instant,
    now_ms: u64,
    nodes: BTreeMap<NodeName, RealNode>,
    /// Nodes that are up are registered: who does not hear them knows that they live.
    registers: bool,
    managers: Vec<Manager>,
    store: BTreeMap<StreamName, Holding>,
    calls: Vec<Call>,
    serial: u64,
    joined: u64,
    linked: u64,
}

fn node(text: &str) -> NodeName {
    NodeName::parse(text).expect("an alias")
}

fn stream(text: &str) -> StreamName {
    StreamName::parse(text).expect("a name")
}

impl World {
    fn new(seed: u64, node_count: usize, manager_count: usize) -> World {
        let names: Vec<_> = (0..node_count).map(|n| node(&format!("n{n}"))).collect();
        let capacity = Capacity {
            pub_max: 4,
            sub_max: 6,
            stream_sub_max: 3,
        };
        let bounds = Bounds {
            depth_max: 2,
            fan_out_max: 2,
        };
        let manager = |_| {
            let mut cluster = Cluster::new(bounds);
            for (index, name) in names.iter().enumerate() {
                let region = ["eu", "us"][index % 2].to_owned();
                cluster.register(name.clone(), region, capacity);
            }
            Manager {
                cluster,
                steward: Steward::new(Patience::default()),
                cut: BTreeSet::new(),
                sees_store: true,
                copy: BTreeMap::new(),
            }
        };
        let up = |name: &NodeName| {
            let node = RealNode {
                up: true,
                ..RealNode::default()
            };
            (name.clone(), node)
        };
        World {
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            start: Instant::now(),
            now_ms: 0,
            nodes: names.iter().map(up).collect(),
            registers: seed.is_multiple_of(2),
            managers: (0..manager_count).map(manager).collect(),
            store: BTreeMap::new(),
            calls: Vec::new(),
            serial: 0,
            joined: 0,
            linked: 0,
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.now_ms)
    }

    fn any_stream(&mut self) -> StreamName {
        stream(STREAMS[self.dice.roll(STREAMS.len())])
    }

    fn any_node(&mut self) -> NodeName {
        let at = self.dice.roll(self.nodes.len());
        self.nodes.keys().nth(at).expect("one of them").clone()
    }

    fn swap(&mut self, name: &StreamName, from: Option<&Holding>, to: Option<Holding>) -> bool {
        if self.store.get(name) != from {
            return false;
        }
        match to {
            Some(to) => self.store.insert(name.clone(), to),
            None => self.store.remove(name),
        };
        true
    }

    /// One manager looks at all nodes, and at the store.
    fn look(&mut self, at: usize) {
        let now = self.now();
        let manager = &mut self.managers[at];
        for (name, real) in &self.nodes {
            if self.registers && real.up {
                manager.cluster.registered(name);
            }
            if !real.up {
                manager.cluster.lost(name);
                continue;
            }
            if manager.cut.contains(name) {
                manager.cluster.silent(name);
                continue;
            }
            let streams = real.streams.iter().map(|(stream, real)| {
                let feed = match (&real.direct, &real.relay) {
                    (Some((session, created)), _) => Feed::Direct {
                        session: session.clone(),
                        created_unix_ms: *created,
                    },
                    (None, Some((session, from))) => Feed::Relay {
                        session: session.clone(),
                        from: from.clone(),
                    },
                    (None, None) => Feed::None,
                };
                let viewers = real.viewers;
                (stream.clone(), Sighting { feed, viewers })
            });
            manager.cluster.observe(name, streams.collect(), now);
        }
        if manager.sees_store {
            manager.copy = self.store.clone();
        }
    }

    fn publish(&mut self, at: usize, name: &StreamName) {
        let manager = &self.managers[at];
        let wish = Wish::default();
        let chosen = if manager.sees_store {
            let held = self.store.get(name).cloned();
            let live = |node: &NodeName| {
                let node = manager.cluster.node(node);
                node.is_some_and(|node| node.status == Status::Running)
            };
            let seen = manager.cluster.publishing_node(name).cloned();
            match (held, seen) {
                (Some(held), _) if live(held.owner()) => {
                    let mut renewed = held.clone();
                    renewed.renew();
                    let owner = held.owner().clone();
                    assert!(self.swap(name, Some(&held), Some(renewed)));
                    Ok(owner)
                }
                (held, _) => {
                    let chosen = manager.cluster.place_publisher(name, &wish);
                    if let Ok(node) = &chosen {
                        let to = Some(Holding::new(node.clone()));
                        assert!(self.swap(name, held.as_ref(), to));
                    }
                    chosen
                }
            }
        } else {
            manager.cluster.place_blindly(name, &wish)
        };
        if let Ok(node) = chosen {
            // What the node gets from elsewhere makes room.
            let relay = self.managers[at].cluster.relay_session(&node, name);
            if let Some(session) = relay.map(str::to_owned)
                && !self.managers[at].cut.contains(&node)
            {
                self.end(&node, name, &session);
            }
            self.call(at, &node, name, Side::Publish, None);
        }
    }

    fn watch(&mut self, at: usize, name: &StreamName) {
        let manager = &self.managers[at];
        let held = if manager.sees_store {
            self.store.get(name).cloned()
        } else {
            manager.copy.get(name).cloned()
        };
        let region = ["", "eu", "us"][self.dice.roll(3)].to_owned();
        let wish = Wish {
            region,
            ..Wish::default()
        };
        let manager = &self.managers[at];
        match manager.cluster.place_viewer(name, &wish, held.as_ref()) {
            Ok(Seat::On(node)) => self.call(at, &node, name, Side::Subscribe, None),
            Ok(Seat::Link { child, parent }) if manager.sees_store => {
                let mut to = held.clone().expect("a link needs a holding");
                let bounds = manager.cluster.bounds();
                to.attach(child.clone(), parent.clone(), bounds)
                    .expect("a link that was proposed can be made");
                assert!(self.swap(name, held.as_ref(), Some(to)));
                self.linked += 1;
                self.call(at, &child, name, Side::Subscribe, Some(parent));
            }
            Ok(Seat::Link { .. }) | Err(_) => {}
        }
    }

    fn call(
        &mut self,
        manager: usize,
        node: &NodeName,
        stream: &StreamName,
        side: Side,
        parent: Option<NodeName>,
    ) {
        let now = self.now();
        let place = self.managers[manager]
            .cluster
            .reserve(node, stream, side, now);
        let due = self.now_ms + self.dice.roll(900) as u64;
        self.calls.push(Call {
            manager,
            place,
            stream: stream.clone(),
            side,
            parent,
            due,
        });
    }

    fn arrive(&mut self) {
        let (due, rest) = std::mem::take(&mut self.calls)
            .into_iter()
            .partition(|call| call.due <= self.now_ms);
        self.calls = rest;
        for call in Vec::from_iter::<Vec<Call>>(due) {
            let reached = !self.managers[call.manager].cut.contains(&call.place.node);
            if reached && let Some(parent) = call.parent {
                self.pull(&call.place.node, &call.stream, parent);
            }
            let made = reached && self.session(&call.place.node, &call.stream, call.side);
            let now = self.now();
            let cluster = &mut self.managers[call.manager].cluster;
            if made {
                cluster.settle(&call.place, now);
            } else {
                cluster.release(&call.place);
            }
        }
    }

    /// A node is asked for a session.
    fn session(&mut self, at: &NodeName, name: &StreamName, side: Side) -> bool {
        self.serial += 1;
        let real = self.nodes.get_mut(at).expect("a node");
        if !real.up {
            return false;
        }
        let found = real.streams.entry(name.clone()).or_default();
        match side {
            Side::Publish if found.direct.is_some() || found.relay.is_some() => return false,
            Side::Publish => found.direct = Some((self.serial.to_string(), self.now_ms)),
            Side::Subscribe => {
                found.viewers += 1;
                self.joined += 1;
            }
        }
        true
    }

    /// A node is asked to get a stream from another.
    fn pull(&mut self, at: &NodeName, name: &StreamName, from: NodeName) {
        self.serial += 1;
        let real = self.nodes.get_mut(at).expect("a node");
        let found = real.streams.entry(name.clone()).or_default();
        if real.up && found.direct.is_none() && found.relay.is_none() {
            found.relay = Some((self.serial.to_string(), from));
        }
    }

    fn end(&mut self, at: &NodeName, name: &StreamName, session: &str) {
        let real = self.nodes.get_mut(at).expect("a node");
        if let Some(found) = real.streams.get_mut(name) {
            found.direct.take_if(|(id, _)| id == session);
            found.relay.take_if(|(id, _)| id == session);
        }
    }

    fn steward(&mut self, at: usize) {
        let now = self.now();
        let manager = &mut self.managers[at];
        if !manager.sees_store {
            return;
        }
        let steps = manager.steward.steps(&manager.cluster, &manager.copy, now);
        for step in steps {
            match step {
                Step::Write { stream, from, to } => {
                    self.swap(&stream, from.as_ref(), to);
                }
                Step::Link {
                    stream,
                    from,
                    to,
                    child,
                    parent,
                } => {
                    if self.swap(&stream, Some(&from), Some(to))
                        && !self.managers[at].cut.contains(&child)
                    {
                        self.pull(&child, &stream, parent);
                    }
                }
                Step::End {
                    node,
                    stream,
                    session,
                } => {
                    if !self.managers[at].cut.contains(&node) {
                        self.end(&node, &stream, &session);
                    }
                }
            }
        }
    }

    /// Something happens to clients.
    fn traffic(&mut self) {
        let at = self.dice.roll(self.managers.len());
        let name = self.any_stream();
        match self.dice.roll(10) {
            0 | 1 => self.publish(at, &name),
            2..=5 => self.watch(at, &name),
            6 => {
                let node = self.any_node();
                let real = self.nodes.get_mut(&node).expect("a node");
                if let Some(found) = real.streams.get_mut(&name) {
                    found.direct = None;
                }
            }
            7 | 8 => {
                let node = self.any_node();
                let real = self.nodes.get_mut(&node).expect("a node");
                if let Some(found) = real.streams.get_mut(&name) {
                    found.viewers = found.viewers.saturating_sub(1);
                }
            }
            _ => {}
        }
    }

    /// Something happens to the machines.
    fn fault(&mut self) {
        let at = self.dice.roll(self.managers.len());
        let node = self.any_node();
        match self.dice.roll(6) {
            0 => {
                let real = self.nodes.get_mut(&node).expect("a node");
                real.up = !real.up;
                real.streams.clear();
            }
            1 | 2 => {
                self.managers[at].cut.insert(node);
            }
            3 => self.managers[at].cut.clear(),
            4 => self.managers[at].sees_store = false,
            _ => self.managers[at].sees_store = true,
        }
    }

    fn heal(&mut self) {
        for manager in &mut self.managers {
            manager.cut.clear();
            manager.sees_store = true;
        }
        for real in self.nodes.values_mut() {
            real.up = true;
        }
    }

    /// A tenth of a second.
    fn step(&mut self) {
        self.now_ms += 100;
        self.arrive();
        for at in 0..self.managers.len() {
            // Managers look twice a second, each at another time.
            if (self.now_ms / 100 + at as u64).is_multiple_of(5) {
                self.look(at);
                self.steward(at);
            }
        }
        self.check_holdings();
    }

    fn check_holdings(&self) {
        for (name, holding) in &self.store {
            for (child, parent) in holding.links() {
                assert_ne!(
                    child,
                    holding.owner(),
                    "{name}: the owner gets it from {parent}"
                );
                let depth = holding.depth(child).expect("a way to the owner");
                assert!(depth <= 2, "{name}: {child} is {depth} deep");
                assert!(holding.fan_out(parent) <= 2, "{name}: {parent} is too wide");
            }
        }
    }

    fn publishers(&self, name: &StreamName) -> Vec<&NodeName> {
        let publishes = |real: &RealNode| {
            let found = real.streams.get(name);
            real.up && found.is_some_and(|found| found.direct.is_some())
        };
        let nodes = self.nodes.iter().filter(|(_, real)| publishes(real));
        nodes.map(|(name, _)| name).collect()
    }

    /// After the faults everything is as agreed on, and what was agreed on makes sense.
    fn check_converged(&self, seed: u64) {
        for text in STREAMS {
            let name = stream(text);
            let publishers = self.publishers(&name);
            assert!(
                publishers.len() <= 1,
                "seed {seed}: {text} on {publishers:?}"
            );
            let owner = self.store.get(&name).map(Holding::owner);
            assert_eq!(owner, publishers.first().copied(), "seed {seed}: {text}");
            for (node, real) in &self.nodes {
                let Some(found) = real.streams.get(&name) else {
                    continue;
                };
                let parent = self
                    .store
                    .get(&name)
                    .and_then(|holding| holding.parent(node));
                let from = found.relay.as_ref().map(|(_, from)| from);
                assert_eq!(from, parent, "seed {seed}: {text} on {node}");
                let fed = found.direct.is_some() || found.relay.is_some();
                let room = self.store.get(&name).is_some_and(|holding| {
                    let all = self.nodes.keys().filter(|name| holding.contains(name));
                    all.clone().any(|name| {
                        holding.fan_out(name) < 2 && holding.depth(name).is_some_and(|d| d < 2)
                    })
                });
                assert!(
                    fed || found.viewers == 0 || !room,
                    "seed {seed}: viewers of {text} on {node} get nothing"
                );
            }
        }
    }
}

#[test]
fn without_faults_a_stream_never_has_two_publishers() {
    let (mut joined, mut linked) = (0, 0);
    for seed in 1..=1000 {
        let mut world = World::new(seed, 5, 3);
        for _ in 0..400 {
            world.traffic();
            world.step();
            for text in STREAMS {
                let publishers = world.publishers(&stream(text)).len();
                assert!(
                    publishers <= 1,
                    "seed {seed} at {} ms: {text}",
                    world.now_ms
                );
            }
        }
        joined += world.joined;
        linked += world.linked;
    }
    // The histories are worth something.
    assert!(
        joined > 8000 && linked > 800,
        "{joined} viewers, {linked} links"
    );
}

#[test]
fn after_faults_the_cluster_becomes_one_again() {
    for seed in 1..=1000 {
        let mut world = World::new(seed, 5, 3);
        for turn in 0..400 {
            world.traffic();
            if turn % 7 == 0 {
                world.fault();
            }
            world.step();
        }
        world.heal();
        for _ in 0..600 {
            world.step();
        }
        world.check_converged(seed);
    }
}

#[test]
fn two_publishers_are_one_within_ten_seconds_of_the_end_of_a_partition() {
    let mut world = World::new(1, 2, 2);
    let name = stream("a");
    for at in 0..2 {
        world.look(at);
        // Each manager reaches one of the nodes, and nobody the store.
        let other = node(["n1", "n0"][at]);
        world.managers[at].cut.insert(other.clone());
        world.managers[at].sees_store = false;
        world.look(at);
        world.publish(at, &name);
    }
    for _ in 0..20 {
        world.step();
    }
    assert_eq!(world.publishers(&name).len(), 2, "a partition cannot know");
    world.heal();
    for _ in 0..100 {
        world.step();
    }
    assert_eq!(world.publishers(&name).len(), 1);
}

#[test]
fn a_manager_that_does_not_hear_a_registered_node_takes_nothing_back() {
    for cut in ["n0", "n1"] {
        let mut world = World::new(2, 3, 2);
        let name = stream("a");
        world.look(0);
        assert!(world.session(&node("n0"), &name, Side::Publish));
        assert!(world.session(&node("n1"), &name, Side::Subscribe));
        for _ in 0..30 {
            world.step();
        }
        let agreed = world.store[&name].clone();
        assert_eq!(agreed.parent(&node("n1")), Some(&node("n0")));
        let relay = world.nodes[&node("n1")].streams[&name].relay.clone();
        assert!(relay.is_some());
        world.managers[0].cut.insert(node(cut));
        for _ in 0..600 {
            world.step();
            assert_eq!(world.store.get(&name), Some(&agreed));
            assert_eq!(world.nodes[&node("n1")].streams[&name].relay, relay);
            assert_eq!(world.publishers(&name), [&node("n0")]);
        }
        // That it is not registered any more is as good as seeing its end.
        let real = world.nodes.get_mut(&node(cut)).expect("a node");
        real.up = false;
        real.streams.clear();
        for _ in 0..100 {
            world.step();
        }
        let left = world.store.get(&name);
        assert!(
            left.is_none_or(|left| left.links().next().is_none()),
            "{left:?}"
        );
    }
}

#[test]
fn viewers_of_a_broken_link_get_the_stream_another_way() {
    let mut world = World::new(1, 3, 1);
    let name = stream("a");
    world.look(0);
    assert!(world.session(&node("n0"), &name, Side::Publish));
    for child in ["n1", "n2"] {
        assert!(world.session(&node(child), &name, Side::Subscribe));
    }
    for _ in 0..30 {
        world.step();
    }
    let fed = |world: &World, at: &str| world.nodes[&node(at)].streams[&name].relay.clone();
    let from = |world: &World, at: &str| fed(world, at).map(|(_, from)| from);
    assert_eq!(from(&world, "n1"), Some(node("n0")));
    assert_eq!(from(&world, "n2"), Some(node("n0")));
    // The publisher comes back elsewhere when its node dies.
    let real = world.nodes.get_mut(&node("n0")).expect("a node");
    real.up = false;
    real.streams.clear();
    for _ in 0..10 {
        world.step();
    }
    world.publish(0, &name);
    for _ in 0..10 {
        world.step();
    }
    let publisher = world.publishers(&name)[0].clone();
    assert_ne!(publisher, node("n0"));
    for _ in 0..80 {
        world.step();
    }
    let other = if publisher == node("n1") { "n2" } else { "n1" };
    assert_eq!(from(&world, other), Some(publisher));
}

#[test]
fn a_link_that_somebody_else_made_is_kept_if_it_fits_in() {
    let mut world = World::new(1, 3, 1);
    let name = stream("a");
    world.look(0);
    assert!(world.session(&node("n0"), &name, Side::Publish));
    world.pull(&node("n1"), &name, node("n0"));
    // From a node that does not have it.
    world.pull(&node("n2"), &stream("b"), node("n0"));
    for at in ["n1", "n2"] {
        assert!(world.session(&node(at), &name, Side::Subscribe));
    }
    for _ in 0..80 {
        world.step();
    }
    let holding = &world.store[&name];
    assert_eq!(holding.owner(), &node("n0"));
    assert_eq!(holding.parent(&node("n1")), Some(&node("n0")));
    let stray = &world.nodes[&node("n2")].streams[&stream("b")];
    assert_eq!(stray.relay, None);
}
