use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Cluster, Feed, Holding, Node, NodeName, Status};
use crate::StreamName;

/// Brings what the nodes do in line with what was agreed on, and the other way round.
///
/// It is asked again and again with what is seen and what is agreed on. Most differences are only
/// the time between the two, so that each has to last before something is done about it. Several
/// managers may do this at the same time: what they do is either a compare-and-swap or the end of
/// a session that is too many for all of them.
#[derive(Debug, Default)]
pub struct Steward {
    patience: Patience,
    /// Since when each difference was seen without a break.
    faults: BTreeMap<(StreamName, Fault), Instant>,
}

/// How long a difference may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// What was agreed on is not seen on the node: it was placed there a moment ago.
    pub arrival: Duration,
    /// A node that something was agreed on for is gone.
    pub absence: Duration,
    /// Two nodes have a publisher, or a node gets a stream it should not get.
    pub excess: Duration,
    /// A node has viewers of a stream that it does not get, and that is published elsewhere.
    pub hunger: Duration,
    /// A node that gets a stream from another one has no viewers of it.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            // An offer is answered within 10 s.
            arrival: Duration::from_secs(12),
            absence: Duration::from_secs(3),
            excess: Duration::from_secs(2),
            hunger: Duration::from_millis(500),
            idle: Duration::from_secs(60),
        }
    }
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To be written if it is still `from`; `None`: there is nothing agreed on.
    Write {
        /// The stream.
        stream: StreamName,
        /// What is agreed on now.
        from: Option<Holding>,
        /// What shall be.
        to: Option<Holding>,
    },
    /// To be written if it is still `from`; if that was done, `child` is to get the stream from
    /// `parent`.
    Link {
        /// The stream.
        stream: StreamName,
        /// What is agreed on now.
        from: Holding,
        /// What shall be.
        to: Holding,
        /// A node with viewers.
        child: NodeName,
        /// A node with the stream.
        parent: NodeName,
    },
    /// A session to be ended.
    End {
        /// The node it is on.
        node: NodeName,
        /// Its stream.
        stream: StreamName,
        /// Its id on that node.
        session: String,
    },
}

impl Step {
    /// The stream it is about.
    pub fn stream(&self) -> &StreamName {
        match self {
            Step::Write { stream, .. } | Step::Link { stream, .. } | Step::End { stream, .. } => {
                stream
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// A publisher that was not agreed on, while none was.
    Unclaimed(NodeName),
    /// The owner has no publisher since it was claimed for the last time.
    Silent(u64),
    /// The owner is gone.
    OwnerGone(NodeName),
    /// Somebody who is not the owner has a publisher.
    Rival(NodeName, String),
    /// A link is agreed on and not there.
    LinkDown(NodeName),
    /// The node at one of the ends of the link to this one is gone.
    LinkBroken(NodeName),
    /// It has viewers and does not get the stream.
    Hungry(NodeName),
    /// A link is there and not agreed on, or from another node than agreed on.
    Stray(NodeName, String),
    /// A link nobody needs.
    Idle(NodeName, String),
}

impl Steward {
    /// One that has seen nothing yet.
    pub fn new(patience: Patience) -> Self {
        Steward {
            patience,
            faults: BTreeMap::new(),
        }
    }

    /// What is to be done now. `holdings` is all that is agreed on.
    pub fn steps(
        &mut self,
        cluster: &Cluster,
        holdings: &BTreeMap<StreamName, Holding>,
        now: Instant,
    ) -> Vec<Step> {
        let mut faults = BTreeMap::new();
        for stream in streams(cluster, holdings) {
            let holding = holdings.get(stream);
            for fault in look(cluster, stream, holding) {
                let key = (stream.clone(), fault);
                let since = self.faults.get(&key).copied().unwrap_or(now);
                faults.insert(key, since);
            }
        }
        self.faults = faults;
        let due = self.faults.iter().filter(|((_, fault), since)| {
            now.saturating_duration_since(**since) >= self.patience_with(fault)
        });
        let mut steps = Vec::new();
        let mut written = None;
        for ((stream, fault), _) in due {
            // One change of a stream at a time: the next one starts from what came of it.
            for step in mend(cluster, stream, holdings.get(stream), fault) {
                if !matches!(step, Step::End { .. }) {
                    if written == Some(stream) {
                        continue;
                    }
                    written = Some(stream);
                }
                steps.push(step);
            }
        }
        steps
    }

    fn patience_with(&self, fault: &Fault) -> Duration {
        match fault {
            Fault::Unclaimed(_) => Duration::ZERO,
            Fault::Silent(_) | Fault::LinkDown(_) => self.patience.arrival,
            Fault::OwnerGone(_) | Fault::LinkBroken(_) => self.patience.absence,
            Fault::Rival(..) | Fault::Stray(..) => self.patience.excess,
            Fault::Hungry(_) => self.patience.hunger,
            Fault::Idle(..) => self.patience.idle,
        }
    }
}

/// All streams that are seen or agreed on, once each.
fn streams<'a>(
    cluster: &'a Cluster,
    holdings: &'a BTreeMap<StreamName, Holding>,
) -> impl Iterator<Item = &'a StreamName> {
    let seen = cluster.nodes.values().flat_map(|node| node.streams.keys());
    let all: std::collections::BTreeSet<_> = seen.chain(holdings.keys()).collect();
    all.into_iter()
}

fn look(cluster: &Cluster, stream: &StreamName, holding: Option<&Holding>) -> Vec<Fault> {
    let mut faults = Vec::new();
    match holding {
        None => {
            if let Some(node) = cluster.publishing_node(stream) {
                faults.push(Fault::Unclaimed(node.clone()));
            }
        }
        Some(holding) => {
            look_at_owner(cluster, stream, holding, &mut faults);
            look_at_links(cluster, stream, holding, &mut faults);
        }
    }
    for (name, node) in &cluster.nodes {
        let Some(sighting) = node.streams.get(stream) else {
            continue;
        };
        match &sighting.feed {
            Feed::Direct { session, .. }
                if holding.is_some_and(|holding| holding.owner() != name) =>
            {
                faults.push(Fault::Rival(name.clone(), session.clone()));
            }
            Feed::Relay { session, from }
                if holding.is_none_or(|holding| holding.parent(name) != Some(from)) =>
            {
                faults.push(Fault::Stray(name.clone(), session.clone()));
            }
            Feed::Relay { session, .. } => {
                let passes_on = holding.is_some_and(|holding| holding.fan_out(name) > 0);
                if cluster.stream_viewers(name, stream) == 0 && !passes_on {
                    faults.push(Fault::Idle(name.clone(), session.clone()));
                }
            }
            Feed::None
                if node.status == Status::Running
                    && sighting.viewers > 0
                    && holding.is_some_and(|holding| !holding.contains(name)) =>
            {
                faults.push(Fault::Hungry(name.clone()));
            }
            Feed::None | Feed::Direct { .. } => {}
        }
    }
    faults
}

fn look_at_owner(
    cluster: &Cluster,
    stream: &StreamName,
    holding: &Holding,
    faults: &mut Vec<Fault>,
) {
    let owner = holding.owner();
    let node = cluster.nodes.get(owner);
    if node.is_none_or(Node::is_gone) {
        faults.push(Fault::OwnerGone(owner.clone()));
    } else if node.is_some_and(|node| node.status == Status::Running)
        && !publishes(cluster, owner, stream)
        && !cluster.expects(owner, stream)
    {
        faults.push(Fault::Silent(holding.claims()));
    }
}

fn look_at_links(
    cluster: &Cluster,
    stream: &StreamName,
    holding: &Holding,
    faults: &mut Vec<Fault>,
) {
    for (child, parent) in holding.links() {
        let [node, from] = [child, parent].map(|end| {
            let node = cluster.nodes.get(end);
            node.filter(|node| !node.is_gone())
        });
        let (Some(node), Some(_)) = (node, from) else {
            faults.push(Fault::LinkBroken(child.clone()));
            continue;
        };
        let sighting = node.streams.get(stream);
        let is_heard = node.status == Status::Running;
        if is_heard && !sighting.is_some_and(|s| matches!(s.feed, Feed::Relay { .. })) {
            faults.push(Fault::LinkDown(child.clone()));
        }
    }
}

fn publishes(cluster: &Cluster, name: &NodeName, stream: &StreamName) -> bool {
    let sighting = cluster.nodes.get(name).and_then(|n| n.streams.get(stream));
    sighting.is_some_and(|sighting| sighting.feed.is_direct())
}

/// What mends a fault that lasted.
fn mend(
    cluster: &Cluster,
    stream: &StreamName,
    holding: Option<&Holding>,
    fault: &Fault,
) -> Vec<Step> {
    let write = |to: Option<Holding>| Step::Write {
        stream: stream.clone(),
        from: holding.cloned(),
        to,
    };
    let end = |node: &NodeName, session: &String| Step::End {
        node: node.clone(),
        stream: stream.clone(),
        session: session.clone(),
    };
    let without = |node: &NodeName| {
        let mut rest = holding.cloned()?;
        (!rest.detach(node).is_empty()).then(|| write(Some(rest)))
    };
    match fault {
        Fault::Unclaimed(node) => vec![write(Some(Holding::new(node.clone())))],
        // Who publishes it elsewhere now is the owner; the links are made anew from there.
        Fault::Silent(_) | Fault::OwnerGone(_) => {
            let heir = cluster.publishing_node(stream);
            let has_links = holding.is_some_and(|holding| holding.links().next().is_some());
            if heir.is_none() && has_links && matches!(fault, Fault::OwnerGone(_)) {
                // Its links go when they break.
                return Vec::new();
            }
            vec![write(heir.map(|node| Holding::new(node.clone())))]
        }
        Fault::Rival(node, session) => {
            // Until the owner has its publisher there is no second one.
            let both = holding.is_some_and(|holding| publishes(cluster, holding.owner(), stream));
            if both {
                vec![end(node, session)]
            } else {
                Vec::new()
            }
        }
        Fault::LinkDown(child) | Fault::LinkBroken(child) => without(child).into_iter().collect(),
        Fault::Hungry(node) => link(cluster, stream, holding, node).into_iter().collect(),
        Fault::Stray(node, session) => match adopted(cluster, stream, holding, node) {
            Some(to) => vec![write(Some(to))],
            None => vec![end(node, session)],
        },
        Fault::Idle(node, session) => {
            let mut steps = vec![end(node, session)];
            steps.extend(without(node));
            steps
        }
    }
}

/// The tree with a link in it that somebody else made, if it fits in.
fn adopted(
    cluster: &Cluster,
    stream: &StreamName,
    holding: Option<&Holding>,
    child: &NodeName,
) -> Option<Holding> {
    let sighting = cluster.nodes.get(child)?.streams.get(stream)?;
    let Feed::Relay { from, .. } = &sighting.feed else {
        return None;
    };
    let mut to = holding?.clone();
    to.attach(child.clone(), from.clone(), cluster.bounds)
        .ok()?;
    Some(to)
}

fn link(
    cluster: &Cluster,
    stream: &StreamName,
    holding: Option<&Holding>,
    child: &NodeName,
) -> Option<Step> {
    let from = holding?.clone();
    let parent = cluster
        .parent_for(cluster.nodes.get(child)?, stream, holding)?
        .clone();
    let mut to = from.clone();
    to.attach(child.clone(), parent.clone(), cluster.bounds)
        .ok()?;
    Some(Step::Link {
        stream: stream.clone(),
        from,
        to,
        child: child.clone(),
        parent,
    })
}
