//! What a session has to do with other nodes.

use std::fmt;

/// One node while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u128);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}…", self.0 >> 96)
    }
}

/// Whether a viewer counts against those a stream may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seat {
    /// As everybody.
    #[default]
    Counted,
    /// It passes the stream on: if it needed a place, a full node could never be relieved.
    Free,
}

/// A session's part in the way of a stream between nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relay {
    /// The other end, where this node is its client.
    pub(crate) far: Option<Far>,
    /// Of a publisher: the nodes the stream came through before this one, the nearest first.
    pub(crate) way: Vec<NodeId>,
    /// Of a viewer: another node, which was told the way of the stream.
    pub(crate) knows_way: bool,
    /// Of a viewer.
    pub(crate) seat: Seat,
}

/// The other end of a session.
#[derive(Clone, Debug)]
pub(crate) struct Far {
    /// The WHEP or WHIP URL.
    pub(crate) url: String,
    /// The session there, once it is known.
    pub(crate) session_url: Option<String>,
}
