//! Nodes and a manager in front of them.

use std::net::SocketAddr;

use serde_json::Value;

use crate::client::Client;
use crate::http::request;
use crate::node::{Process, eventually, eventually_or};

/// Processes that belong together. Dropped, they are killed.
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<(String, Process)>,
    pub(crate) manager: Process,
}

impl Fleet {
    /// Nodes called a, b, c and a manager that is told of them and sees them.
    pub(crate) fn start(count: usize, node_arguments: &[&str]) -> Fleet {
        Self::start_with(count, node_arguments, &[])
    }

    pub(crate) fn start_with(
        count: usize,
        node_arguments: &[&str],
        manager_arguments: &[&str],
    ) -> Fleet {
        let aliases = ["a", "b", "c"].iter().take(count);
        let nodes: Vec<_> = aliases
            .map(|alias| {
                let own = ["--shards", "1", "--alias", alias];
                let node = Process::serving(&[&own, node_arguments].concat());
                ((*alias).to_owned(), node)
            })
            .collect();
        let manager = manage(&nodes, manager_arguments);
        let fleet = Fleet { nodes, manager };
        eventually_or(
            "all nodes run",
            || fleet.running().len() == count,
            || fleet.manager.errors(),
        );
        fleet
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.manager.http()
    }

    pub(crate) fn node(&self, alias: &str) -> &Process {
        let mut nodes = self.nodes.iter();
        let found = nodes.find(|(own, _)| own == alias);
        &found.expect("a node of this name").1
    }

    /// Takes a node away without a word.
    pub(crate) fn kill(&mut self, alias: &str) {
        let at = self.nodes.iter().position(|(own, _)| own == alias);
        drop(self.nodes.remove(at.expect("a node of this name")));
    }

    pub(crate) fn running(&self) -> Vec<String> {
        let nodes = get(self.http(), "/api/nodes/");
        let nodes = nodes.as_array().expect("a list").iter();
        let running = nodes.filter(|node| node["status"] == "running");
        running.map(|node| text(&node["alias"])).collect()
    }

    /// The nodes that have a stream.
    pub(crate) fn homes(&self, stream: &str) -> Vec<String> {
        let found = get(self.http(), &format!("/api/streams/{stream}"));
        found
            .as_object()
            .expect("by alias")
            .keys()
            .cloned()
            .collect()
    }

    /// The node a client's session is on, as its URL says.
    pub(crate) fn home(client: &Client) -> String {
        let id = client.session.rsplit('/').next().expect("an id");
        let (node, _) = id.split_once('~').expect("a node's name");
        node.to_owned()
    }
}

/// A manager of these nodes.
pub(crate) fn manage(nodes: &[(String, Process)], arguments: &[&str]) -> Process {
    let nodes: Vec<_> = nodes
        .iter()
        .map(|(alias, node)| format!("{alias}=http://{}", node.http()))
        .collect();
    let mut all = vec!["manager", "--listen", "127.0.0.1:0"];
    all.extend(["--set", "manager.poll_ms=100"]);
    for node in &nodes {
        all.extend(["--node", node.as_str()]);
    }
    all.extend(arguments);
    let manager = Process::start(&all);
    manager.wait_for("Page");
    manager
}

/// A list or object the manager tells.
pub(crate) fn get(http: SocketAddr, path: &str) -> Value {
    let answer = request(http, "GET", path, None).expect("an answer");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).expect("JSON")
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Waits until a viewer has seen so many whole frames without a gap.
pub(crate) fn watched(viewer: &Client, frames: u32) {
    eventually_or(
        "the viewer sees the stream",
        || viewer.seen().video.run() >= frames,
        || format!("{:?}", *viewer.seen()),
    );
    assert_eq!(viewer.seen().corrupt, 0);
}

/// Waits until a node has so many sessions.
pub(crate) fn sessions(node: &Process, count: f64) {
    let metric = || crate::http::metric(node.http(), "whitewater_sessions", "");
    eventually("the sessions are as many as they should be", || {
        metric() == count
    });
}
