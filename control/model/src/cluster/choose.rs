use std::collections::BTreeSet;
use std::fmt;

use super::{Cluster, Feed, Holding, Node, NodeName, Status};
use crate::StreamName;

/// What somebody who wants a place says about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Only these; empty: any.
    pub nodes: BTreeSet<NodeName>,
    /// None of these: they were tried.
    pub not: BTreeSet<NodeName>,
    /// Rather there than elsewhere; empty: anywhere.
    pub region: String,
    /// There or nowhere.
    pub strict: bool,
}

/// Where a viewer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seat {
    /// To a node that has the stream.
    On(NodeName),
    /// To `child`, which is to get the stream from `parent` first.
    Link {
        /// The node the viewer goes to.
        child: NodeName,
        /// A node that has the stream.
        parent: NodeName,
    },
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unplaced {
    /// No node answers that is wanted.
    NoNode,
    /// All that are wanted have as much as they take.
    Full,
    /// No node has the stream.
    NoStream,
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unplaced::NoNode => "no node is available",
            Unplaced::Full => "all nodes that could take this are full",
            Unplaced::NoStream => "no such stream on any node",
        })
    }
}

impl std::error::Error for Unplaced {}

/// Smaller is better, from left to right.
type Cost = (bool, u64, u32, u64);

impl Cluster {
    /// The node a publisher goes to: the one that has the stream's publisher, or else the one with
    /// the least load, in the wished region if there is one.
    ///
    /// # Errors
    /// `NoNode`, `Full`.
    pub fn place_publisher(&self, stream: &StreamName, wish: &Wish) -> Result<NodeName, Unplaced> {
        if let Some(node) = self.open_publishing_node(stream, wish) {
            // Whether it takes another one is the node's to say.
            return Ok(node.clone());
        }
        let open = self.wanted(wish).filter(|(_, node)| node.is_open());
        let mut open = open.peekable();
        if open.peek().is_none() {
            return Err(Unplaced::NoNode);
        }
        let free = open.filter(|(name, node)| self.publishers(name) < node.capacity.pub_max);
        let best = free.min_by_key(|(name, node)| {
            // What it gets from elsewhere would have to be ended first.
            let gets = node
                .streams
                .get(stream)
                .is_some_and(|s| s.feed != Feed::None);
            (gets, self.cost(name, node, stream, wish))
        });
        best.map(|(name, _)| name.clone()).ok_or(Unplaced::Full)
    }

    /// The node that has the stream's publisher, if it takes others and was not tried yet.
    fn open_publishing_node(&self, stream: &StreamName, wish: &Wish) -> Option<&NodeName> {
        let name = self.publishing_node(stream)?;
        let is_open = self.nodes.get(name).is_some_and(Node::is_open);
        (is_open && !wish.not.contains(name)).then_some(name)
    }

    /// The session by which a node gets a stream from another node.
    pub fn relay_session(&self, name: &NodeName, stream: &StreamName) -> Option<&str> {
        match &self.nodes.get(name)?.streams.get(stream)?.feed {
            Feed::Relay { session, .. } => Some(session),
            Feed::None | Feed::Direct { .. } => None,
        }
    }

    /// The node whose publisher this stream has, as far as can be seen. Of several, the one whose
    /// publisher came first.
    pub fn publishing_node(&self, stream: &StreamName) -> Option<&NodeName> {
        let direct =
            self.nodes
                .iter()
                .filter_map(|(name, node)| match &node.streams.get(stream)?.feed {
                    Feed::Direct {
                        created_unix_ms, ..
                    } if node.status == Status::Running => Some((*created_unix_ms, name)),
                    _ => None,
                });
        direct.min().map(|(_, name)| name)
    }

    /// Where a viewer goes. `holding` is what was agreed on for the stream.
    ///
    /// A node that has the stream and a free place, in the wished region where one is; else a link
    /// to a node with a free place that does not have the stream yet.
    ///
    /// # Errors
    /// `NoNode`, `NoStream`, `Full`.
    pub fn place_viewer(
        &self,
        stream: &StreamName,
        wish: &Wish,
        holding: Option<&Holding>,
    ) -> Result<Seat, Unplaced> {
        if !self.wanted(wish).any(|(_, node)| node.is_open()) {
            return Err(Unplaced::NoNode);
        }
        let is_source = |name: &NodeName| self.has(name, stream, holding);
        let mut sources: Vec<_> = self.nodes.keys().filter(|name| is_source(name)).collect();
        if sources.is_empty() {
            // A stream that waits for its publisher.
            let waits = self.nodes.iter().filter(|(_, node)| {
                node.status == Status::Running && node.streams.contains_key(stream)
            });
            sources = waits.map(|(name, _)| name).collect();
        }
        if sources.is_empty() {
            return Err(Unplaced::NoStream);
        }
        let free = |(name, node): &(&NodeName, &Node)| {
            node.is_open()
                && self.viewers(name) < node.capacity.sub_max
                && self.stream_viewers(name, stream) < node.capacity.stream_sub_max
        };
        let seated = self
            .wanted(wish)
            .filter(|candidate| sources.contains(&candidate.0) && free(candidate))
            .min_by_key(|(name, node)| self.cost(name, node, stream, wish));
        let is_near = |name: &NodeName| {
            let node = self.nodes.get(name);
            wish.region.is_empty() || node.is_some_and(|node| node.region == wish.region)
        };
        if let Some((name, _)) = seated
            && is_near(name)
        {
            return Ok(Seat::On(name.clone()));
        }
        let linked = self
            .wanted(wish)
            .filter(|candidate| !sources.contains(&candidate.0) && free(candidate))
            .filter(|(name, _)| seated.is_none() || is_near(name))
            .filter_map(|(name, node)| {
                let parent = self.parent_for(node, stream, holding)?;
                Some((self.cost(name, node, stream, wish), name, parent))
            })
            .min();
        match (linked, seated) {
            (Some((_, child, parent)), _) => Ok(Seat::Link {
                child: child.clone(),
                parent: parent.clone(),
            }),
            (None, Some((name, _))) => Ok(Seat::On(name.clone())),
            (None, None) => Err(Unplaced::Full),
        }
    }

    /// The node `child` should get the stream from. One of its own region if there is any that has
    /// the stream, so that the tree enters a region once; else the one nearest to the publisher.
    pub(super) fn parent_for(
        &self,
        child: &Node,
        stream: &StreamName,
        holding: Option<&Holding>,
    ) -> Option<&NodeName> {
        let holding = holding?;
        let known = |name: &NodeName| Some((self.nodes.get(name)?, holding.depth(name)?));
        let fits = |name: &NodeName| {
            known(name).is_some_and(|(node, depth)| {
                node.status == Status::Running
                    && depth < self.bounds.depth_max
                    && holding.fan_out(name) < self.bounds.fan_out_max
            })
        };
        let parents = self.nodes.keys();
        let parents = parents.filter(|name| fits(name) && self.has(name, stream, Some(holding)));
        parents.min_by_key(|name| {
            let (is_far, depth) = known(name).map_or((true, u32::MAX), |(node, depth)| {
                (node.region != child.region, depth)
            });
            (is_far, depth, holding.fan_out(name), (*name).clone())
        })
    }

    /// Whether the node has the stream's media, or is about to.
    fn has(&self, name: &NodeName, stream: &StreamName, holding: Option<&Holding>) -> bool {
        let Some(node) = self.nodes.get(name) else {
            return false;
        };
        let seen = node
            .streams
            .get(stream)
            .is_some_and(|s| s.feed != Feed::None);
        let agreed = holding.is_some_and(|holding| holding.contains(name));
        node.status == Status::Running && (seen || agreed || self.expects(name, stream))
    }

    fn wanted(&self, wish: &Wish) -> impl Iterator<Item = (&NodeName, &Node)> {
        self.nodes.iter().filter(|(name, node)| {
            (wish.nodes.is_empty() || wish.nodes.contains(*name))
                && !wish.not.contains(*name)
                && (!wish.strict || wish.region.is_empty() || node.region == wish.region)
        })
    }

    /// What it costs to go there: distance, how full it is in millionths, how many sessions it
    /// has, and a number that spreads streams over nodes of equal load in the same way on every
    /// manager.
    fn cost(&self, name: &NodeName, node: &Node, stream: &StreamName, wish: &Wish) -> Cost {
        let is_far = !wish.region.is_empty() && node.region != wish.region;
        let (publishers, viewers) = (self.publishers(name), self.viewers(name));
        let share = |count: u32, max: u32| u64::from(count) * 1_000_000 / u64::from(max.max(1));
        let load =
            share(publishers, node.capacity.pub_max).max(share(viewers, node.capacity.sub_max));
        // Whole percents: a difference of one session is not worth a difference.
        let load = load / 10_000;
        let sessions = publishers.saturating_add(viewers);
        (is_far, load, sessions, spread(stream, name))
    }

    /// The node for a publisher that every manager chooses without asking anybody, for as long as
    /// they see the same nodes: by rendezvous hashing, whatever the load.
    ///
    /// # Errors
    /// `NoNode`, `Full`.
    pub fn place_blindly(&self, stream: &StreamName, wish: &Wish) -> Result<NodeName, Unplaced> {
        if let Some(node) = self.open_publishing_node(stream, wish) {
            return Ok(node.clone());
        }
        let open = self.wanted(wish).filter(|(_, node)| node.is_open());
        let mut open = open.peekable();
        if open.peek().is_none() {
            return Err(Unplaced::NoNode);
        }
        let free = open.filter(|(name, node)| self.publishers(name) < node.capacity.pub_max);
        let best = free.max_by_key(|(name, _)| spread(stream, name));
        best.map(|(name, _)| name.clone()).ok_or(Unplaced::Full)
    }
}

/// FNV-1a over both names, mixed once more so that aliases which differ in one digit differ
/// everywhere (the finaliser of MurmurHash3).
fn spread(stream: &StreamName, node: &NodeName) -> u64 {
    let bytes = stream
        .as_str()
        .bytes()
        .chain([0])
        .chain(node.as_str().bytes());
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (sum ^ sum >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ mixed >> 33
}
