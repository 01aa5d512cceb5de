//! Many nodes as one: which node takes a publisher or a viewer, which node passes a stream on to
//! which, and how what the nodes do is brought in line with what was agreed on.
//!
//! Three parts, none of which knows a clock, a socket or a store:
//!
//! - [`Cluster`] is what one manager sees of the nodes, and chooses among them;
//! - [`Holding`] is what all managers agree on for one stream: who has its publisher, and the tree
//!   of links by which other nodes get it. It is changed by compare-and-swap, as a whole;
//! - [`Steward`] compares the two and says what is to be done about the differences.

mod choose;
mod holding;
mod name;
mod node;
mod steward;
#[cfg(test)]
mod tests;

pub use choose::{Seat, Unplaced, Wish};
pub use holding::{Bounds, Holding, NotAttached};
pub use name::{BadNodeName, NodeName};
pub use node::{Capacity, Cluster, Feed, Node, Place, Sighting, Status};
pub use steward::{Patience, Step, Steward};
