use std::collections::BTreeMap;
use std::fmt;

use super::NodeName;

/// What all managers agree on for one stream: the node its publisher is on, and the nodes that get
/// it from another node.
///
/// The links are a tree whose root is the owner; there is no way to make it anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    owner: NodeName,
    /// How often somebody was sent there to publish.
    claims: u64,
    /// From child to parent.
    links: BTreeMap<NodeName, NodeName>,
}

/// How large a tree may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Links between the owner and a node, at most; 0: no links at all.
    pub depth_max: u32,
    /// Nodes that get the stream from one node, at most.
    pub fan_out_max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        // 1 + 8 + 64 + 512 nodes have the stream then.
        Bounds {
            depth_max: 3,
            fan_out_max: 8,
        }
    }
}

/// Why a node was not linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAttached {
    /// It has the stream already.
    Present,
    /// The parent does not have the stream.
    NoParent,
    /// The tree would become too deep.
    TooDeep,
    /// The parent has its number of children.
    TooWide,
}

impl fmt::Display for NotAttached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotAttached::Present => "the node has the stream already",
            NotAttached::NoParent => "the node to get it from does not have the stream",
            NotAttached::TooDeep => "the tree would become too deep",
            NotAttached::TooWide => "the node to get it from has enough children",
        })
    }
}

impl std::error::Error for NotAttached {}

impl Holding {
    /// One without links.
    pub fn new(owner: NodeName) -> Self {
        Holding {
            owner,
            claims: 1,
            links: BTreeMap::new(),
        }
    }

    /// From what somebody wrote down; `None` if it is no tree.
    pub fn from_parts(
        owner: NodeName,
        claims: u64,
        links: impl IntoIterator<Item = (NodeName, NodeName)>,
    ) -> Option<Self> {
        let holding = Holding {
            owner,
            claims,
            links: links.into_iter().collect(),
        };
        let sound = holding
            .links
            .keys()
            .all(|child| *child != holding.owner && holding.depth(child).is_some());
        sound.then_some(holding)
    }

    /// The node with the publisher.
    pub fn owner(&self) -> &NodeName {
        &self.owner
    }

    /// How often somebody was sent there to publish.
    pub fn claims(&self) -> u64 {
        self.claims
    }

    /// One more publisher is sent to the owner: whoever wants to give the stream up for lack of
    /// one has to wait anew.
    pub fn renew(&mut self) {
        self.claims = self.claims.wrapping_add(1);
    }

    /// The links, each from child to parent.
    pub fn links(&self) -> impl Iterator<Item = (&NodeName, &NodeName)> {
        self.links.iter()
    }

    /// The node this one gets the stream from.
    pub fn parent(&self, node: &NodeName) -> Option<&NodeName> {
        self.links.get(node)
    }

    /// Whether the node has the stream.
    pub fn contains(&self, node: &NodeName) -> bool {
        self.owner == *node || self.links.contains_key(node)
    }

    /// Links between the owner and the node; `None` when it does not have the stream.
    pub fn depth(&self, node: &NodeName) -> Option<u32> {
        let mut at = node;
        // As many steps as there are links, so that no loop is followed for ever.
        for depth in 0..=self.links.len() {
            if *at == self.owner {
                return u32::try_from(depth).ok();
            }
            at = self.links.get(at)?;
        }
        None
    }

    /// How many nodes get it from this one.
    pub fn fan_out(&self, node: &NodeName) -> u32 {
        let children = self.links.values().filter(|parent| *parent == node);
        u32::try_from(children.count()).unwrap_or(u32::MAX)
    }

    /// Lets `child` get the stream from `parent`.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn attach(
        &mut self,
        child: NodeName,
        parent: NodeName,
        bounds: Bounds,
    ) -> Result<(), NotAttached> {
        if self.contains(&child) {
            return Err(NotAttached::Present);
        }
        let depth = self.depth(&parent).ok_or(NotAttached::NoParent)?;
        if depth >= bounds.depth_max {
            return Err(NotAttached::TooDeep);
        }
        if self.fan_out(&parent) >= bounds.fan_out_max {
            return Err(NotAttached::TooWide);
        }
        self.links.insert(child, parent);
        Ok(())
    }

    /// Takes a node out, and with it all that get the stream through it; returns them, the node
    /// first. The owner cannot be taken out.
    pub fn detach(&mut self, node: &NodeName) -> Vec<NodeName> {
        if self.links.remove(node).is_none() {
            return Vec::new();
        }
        let mut gone = vec![node.clone()];
        let mut next = 0;
        while let Some(above) = gone.get(next).cloned() {
            let below = self.links.iter().filter(|(_, parent)| **parent == above);
            let below: Vec<_> = below.map(|(child, _)| child.clone()).collect();
            for child in below {
                self.links.remove(&child);
                gone.push(child);
            }
            next += 1;
        }
        gone
    }
}
