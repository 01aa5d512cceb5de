//! Managers and nodes as real processes, with WebRTC publishers and viewers that check what they
//! get.

mod etcd;
mod failures;
mod fleet;
mod lists;
mod net;
mod outage;
mod partitions;
mod red5;
mod sessions;
mod store;
mod tokens;
mod town;
mod trees;

#[allow(dead_code)]
#[path = "../wire/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../wire/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../wire/media.rs"]
mod media;
#[allow(dead_code)]
#[path = "../wire/node.rs"]
mod node;
#[allow(dead_code)]
#[path = "../wire/transport.rs"]
mod transport;
