use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Bounds, NodeName};
use crate::{Side, StreamName};

/// What one manager sees of all nodes.
#[derive(Debug, Default)]
pub struct Cluster {
    pub(super) nodes: BTreeMap<NodeName, Node>,
    pub(super) bounds: Bounds,
    reserved: Vec<Reservation>,
    serial: u64,
}

/// One node, as far as is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Where it stands; empty: nowhere in particular.
    pub region: String,
    /// What it takes.
    pub capacity: Capacity,
    /// Whether it answers.
    pub status: Status,
    /// Takes nothing new.
    pub draining: bool,
    /// What it has, by name.
    pub streams: BTreeMap<StreamName, Sighting>,
    /// It keeps itself registered.
    pub(super) is_registered: bool,
    /// It was lost by its silence.
    pub(super) is_silent: bool,
}

/// What a node takes, relays between nodes aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Publishers.
    pub pub_max: u32,
    /// Viewers of all streams together.
    pub sub_max: u32,
    /// Viewers of one stream.
    pub stream_sub_max: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Capacity {
            pub_max: 65_535,
            sub_max: 65_535,
            stream_sub_max: 65_535,
        }
    }
}

/// Whether a node answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// It did when it was last asked.
    Running,
    /// It did not, or was not asked yet.
    #[default]
    Stopped,
}

/// One stream on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// Where it comes from.
    pub feed: Feed,
    /// Viewers, without other nodes.
    pub viewers: u32,
}

/// Where a node has a stream from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Feed {
    /// Nobody publishes it here.
    #[default]
    None,
    /// A publisher, or a server that is none of the nodes.
    Direct {
        /// The publisher's session.
        session: String,
        /// When it was made, in ms since 1970.
        created_unix_ms: u64,
    },
    /// Another node.
    Relay {
        /// The session it comes by.
        session: String,
        /// That node.
        from: NodeName,
    },
}

/// A place that is kept for a session which is being made. To be given back by
/// [`Cluster::settle`] or [`Cluster::release`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    serial: u64,
    /// The node.
    pub node: NodeName,
}

#[derive(Debug)]
struct Reservation {
    serial: u64,
    node: NodeName,
    stream: StreamName,
    side: Side,
    made_at: Instant,
    /// The node said yes then: what it is asked later, it answers with the session in it.
    settled_at: Option<Instant>,
}

impl Cluster {
    /// One without nodes.
    pub fn new(bounds: Bounds) -> Self {
        Cluster {
            bounds,
            ..Cluster::default()
        }
    }

    /// How large trees may become.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// All nodes by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeName, &Node)> {
        self.nodes.iter()
    }

    /// One node.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Makes a node known, or changes what is known of it beside its streams.
    pub fn register(&mut self, name: NodeName, region: String, capacity: Capacity) {
        let node = self.nodes.entry(name).or_default();
        node.region = region;
        node.capacity = capacity;
    }

    /// Forgets a node.
    pub fn forget(&mut self, name: &NodeName) {
        self.nodes.remove(name);
        self.reserved.retain(|place| place.node != *name);
    }

    /// A node said what it has, on being asked at `asked_at`.
    pub fn observe(
        &mut self,
        name: &NodeName,
        streams: BTreeMap<StreamName, Sighting>,
        asked_at: Instant,
    ) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        node.status = Status::Running;
        node.is_silent = false;
        node.streams = streams;
        let seen = |place: &Reservation| place.settled_at.is_some_and(|at| at <= asked_at);
        self.reserved
            .retain(|place| place.node != *name || !seen(place));
    }

    /// Nobody listens where a node was: what it had is gone.
    pub fn lost(&mut self, name: &NodeName) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.status = Status::Stopped;
            node.is_silent = false;
            node.streams.clear();
        }
        self.reserved.retain(|place| place.node != *name);
    }

    /// A node does not answer. Nobody is sent there any more, but what was agreed on stays as long
    /// as it keeps itself registered: others may reach it.
    pub fn silent(&mut self, name: &NodeName) {
        self.lost(name);
        if let Some(node) = self.nodes.get_mut(name) {
            node.is_silent = true;
        }
    }

    /// A node keeps itself registered, until it is forgotten.
    pub fn registered(&mut self, name: &NodeName) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.is_registered = true;
        }
    }

    /// Whether a node takes nothing new. False if it is not known.
    pub fn set_draining(&mut self, name: &NodeName, draining: bool) -> bool {
        let node = self.nodes.get_mut(name);
        node.map(|node| node.draining = draining).is_some()
    }

    /// Keeps a place on a node until it is settled, released, or `PLACE_LASTS` over.
    pub fn reserve(
        &mut self,
        node: &NodeName,
        stream: &StreamName,
        side: Side,
        now: Instant,
    ) -> Place {
        let old = |place: &Reservation| now.saturating_duration_since(place.made_at) > PLACE_LASTS;
        self.reserved.retain(|place| !old(place));
        self.serial += 1;
        self.reserved.push(Reservation {
            serial: self.serial,
            node: node.clone(),
            stream: stream.clone(),
            side,
            made_at: now,
            settled_at: None,
        });
        Place {
            serial: self.serial,
            node: node.clone(),
        }
    }

    /// The session was made; it will be seen when the node is asked next.
    pub fn settle(&mut self, place: &Place, now: Instant) {
        let mut all = self.reserved.iter_mut();
        if let Some(found) = all.find(|other| other.serial == place.serial) {
            found.settled_at = Some(now);
        }
    }

    /// The session was not made.
    pub fn release(&mut self, place: &Place) {
        self.reserved.retain(|other| other.serial != place.serial);
    }

    /// Whether somebody may be counted twice: in what a node said, and by the place that was kept
    /// until it is asked next.
    pub fn may_count_twice(&self) -> bool {
        self.reserved.iter().any(|place| place.settled_at.is_some())
    }

    /// What is published on a node: seen there, or made there since it was asked last.
    pub fn published(&self, name: &NodeName) -> impl Iterator<Item = &StreamName> {
        let streams = self
            .nodes
            .get(name)
            .into_iter()
            .flat_map(|node| &node.streams);
        let seen = streams.filter(|(_, sighting)| sighting.feed.is_direct());
        let made = self.reserved.iter().filter(move |place| {
            place.node == *name && place.side == Side::Publish && place.settled_at.is_some()
        });
        seen.map(|(stream, _)| stream)
            .chain(made.map(|place| &place.stream))
    }

    /// Publishers, kept places included.
    pub fn publishers(&self, name: &NodeName) -> u32 {
        let seen = self.nodes.get(name).map_or(0, Node::publishers);
        seen.saturating_add(self.kept(name, Side::Publish, None))
    }

    /// Viewers, kept places included.
    pub fn viewers(&self, name: &NodeName) -> u32 {
        let seen = self.nodes.get(name).map_or(0, Node::viewers);
        seen.saturating_add(self.kept(name, Side::Subscribe, None))
    }

    /// Viewers of one stream, kept places included.
    pub fn stream_viewers(&self, name: &NodeName, stream: &StreamName) -> u32 {
        let seen = self.nodes.get(name).and_then(|n| n.streams.get(stream));
        let seen = seen.map_or(0, |sighting| sighting.viewers);
        seen.saturating_add(self.kept(name, Side::Subscribe, Some(stream)))
    }

    /// Whether somebody is about to publish the stream there.
    pub(super) fn expects(&self, name: &NodeName, stream: &StreamName) -> bool {
        self.kept(name, Side::Publish, Some(stream)) > 0
    }

    /// Places kept for this side of a node, of one stream or of all.
    fn kept(&self, node: &NodeName, side: Side, stream: Option<&StreamName>) -> u32 {
        let kept = self.reserved.iter().filter(|place| {
            place.node == *node
                && place.side == side
                && stream.is_none_or(|stream| place.stream == *stream)
        });
        u32::try_from(kept.count()).unwrap_or(u32::MAX)
    }
}

impl Node {
    /// Publishers it has.
    pub fn publishers(&self) -> u32 {
        let direct = self.streams.values().filter(|s| s.feed.is_direct());
        u32::try_from(direct.count()).unwrap_or(u32::MAX)
    }

    /// Viewers it has.
    pub fn viewers(&self) -> u32 {
        let each = self.streams.values().map(|sighting| sighting.viewers);
        each.fold(0, u32::saturating_add)
    }

    /// Whether it is gone for everybody, as far as can be told from here.
    pub fn is_gone(&self) -> bool {
        self.status == Status::Stopped && !(self.is_silent && self.is_registered)
    }

    /// Whether it answers and takes something new.
    pub fn is_open(&self) -> bool {
        self.status == Status::Running && !self.draining
    }
}

impl Feed {
    /// Whether it comes from outside the cluster.
    pub fn is_direct(&self) -> bool {
        matches!(self, Feed::Direct { .. })
    }
}

/// Longer than any answer takes: who kept the place has forgotten it.
pub(super) const PLACE_LASTS: Duration = Duration::from_secs(30);
