//! What LiveMan's page and its clients read: nodes, streams, and how streams pass through nodes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::Value;
use whitewater_model::cluster::{NodeName, Status};

use super::Manager;
use super::json::{Stream, merge};
use crate::http::path;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, full, json};

/// LiveMan's members first, then ours.
#[derive(Serialize)]
struct Node<'a> {
    alias: &'a str,
    url: &'a str,
    pub_max: u32,
    sub_max: u32,
    status: &'static str,
    duration: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<&'a Value>,
    region: &'a str,
    draining: bool,
    publishers: u32,
    viewers: u32,
}

#[derive(Serialize)]
struct Tree<'a> {
    id: &'a str,
    owner: &'a str,
    links: Vec<Link<'a>>,
}

#[derive(Serialize)]
struct Link<'a> {
    node: &'a str,
    from: &'a str,
}

/// `GET /api/nodes/`, sorted by alias.
pub(super) fn nodes(manager: &Manager) -> Response {
    let inner = manager.peers.lock();
    let nodes: Vec<_> = inner
        .peers()
        .filter_map(|peer| {
            let node = inner.cluster.node(&peer.alias)?;
            let seen = inner.seen(&peer.alias)?;
            let millis = |took: std::time::Duration| format!("{}ms", took.as_millis());
            Some(Node {
                alias: peer.alias.as_str(),
                url: &peer.url,
                pub_max: node.capacity.pub_max,
                sub_max: node.capacity.sub_max,
                status: match node.status {
                    Status::Running => "running",
                    Status::Stopped => "stopped",
                },
                duration: seen.took.map_or_else(|| "-".to_owned(), millis),
                strategy: seen.strategy.as_ref(),
                region: &node.region,
                draining: node.draining,
                publishers: node.publishers(),
                viewers: node.viewers(),
            })
        })
        .collect();
    render(&nodes)
}

/// `GET /api/streams/`, of all nodes or those named by `?nodes=`, all streams or those named by
/// `?streams=`, sorted by id.
pub(super) fn streams(manager: &Manager, request: &Request) -> Result<Response, Problem> {
    let nodes = path::query_values(&request.query, "nodes")?;
    let wanted = path::query_values(&request.query, "streams")?;
    // The lists are taken out of the lock: rendering them takes time.
    let lists: Vec<_> = {
        let inner = manager.peers.lock();
        let peers = inner.peers();
        let peers = peers.filter(|peer| {
            nodes.is_empty() || nodes.iter().any(|node| node == peer.alias.as_str())
        });
        let seen = peers.filter_map(|peer| inner.seen(&peer.alias));
        seen.map(|seen| seen.streams.clone()).collect()
    };
    let streams = lists.iter().flat_map(|list| list.iter());
    let streams = streams.filter(|stream| wanted.is_empty() || wanted.contains(&stream.id));
    Ok(render(&merge(streams)))
}

/// `GET /api/streams/{stream}`: the stream on each node that has it, by alias.
pub(super) fn stream(manager: &Manager, name: &str) -> Response {
    let lists: Vec<_> = {
        let inner = manager.peers.lock();
        let seen = inner.peers().filter_map(|peer| {
            let seen = inner.seen(&peer.alias)?;
            Some((peer.alias.clone(), seen.streams.clone()))
        });
        seen.collect()
    };
    let found: BTreeMap<&str, &Stream> = lists
        .iter()
        .filter_map(|(alias, list)| {
            let stream = list.iter().find(|stream| stream.id == name)?;
            Some((alias.as_str(), stream))
        })
        .collect();
    render(&found)
}

/// `GET /api/cascades`: who has each stream's publisher, and who gets it from whom.
pub(super) fn cascades(manager: &Manager) -> Response {
    let all = manager.holdings.all();
    let trees: Vec<_> = all
        .iter()
        .map(|(stream, held)| Tree {
            id: stream.as_str(),
            owner: held.holding.owner().as_str(),
            links: held
                .holding
                .links()
                .map(|(node, from)| Link {
                    node: node.as_str(),
                    from: from.as_str(),
                })
                .collect(),
        })
        .collect();
    render(&trees)
}

/// `GET /metrics`.
pub(super) fn metrics(manager: &Manager) -> Response {
    let (mut running, mut stopped) = (0, 0);
    for (_, node) in manager.peers.lock().cluster.nodes() {
        match node.status {
            Status::Running => running += 1,
            Status::Stopped => stopped += 1,
        }
    }
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let calls = &manager.calls;
    let text = format!(
        "# HELP whitewater_manager_nodes Nodes now.\n\
         # TYPE whitewater_manager_nodes gauge\n\
         whitewater_manager_nodes{{status=\"running\"}} {running}\n\
         whitewater_manager_nodes{{status=\"stopped\"}} {stopped}\n\
         # HELP whitewater_manager_streams Streams that have a node.\n\
         # TYPE whitewater_manager_streams gauge\n\
         whitewater_manager_streams {}\n\
         # HELP whitewater_manager_calls_total Calls to nodes for clients.\n\
         # TYPE whitewater_manager_calls_total counter\n\
         whitewater_manager_calls_total{{outcome=\"answered\"}} {}\n\
         whitewater_manager_calls_total{{outcome=\"failed\"}} {}\n\
         # HELP whitewater_manager_links_total Links made from node to node.\n\
         # TYPE whitewater_manager_links_total counter\n\
         whitewater_manager_links_total {}\n",
        manager.holdings.all().len(),
        count(&calls.answered),
        count(&calls.failed),
        count(&calls.linked),
    );
    full(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        text,
    )
}

/// `GET /readyz`: whether there is a node to hand calls to.
pub(super) fn ready(manager: &Manager) -> Result<Response, Problem> {
    if manager.guard.waits_for_keys() {
        return Err(Problem::overloaded(
            "no keys of tokens could be fetched yet; the log says why",
        ));
    }
    let inner = manager.peers.lock();
    let mut nodes = inner.cluster.nodes();
    if nodes.any(|(_, node)| node.is_open()) {
        Ok(crate::health::alive())
    } else {
        Err(Problem::overloaded("no node answers"))
    }
}

pub(super) fn render<T: Serialize>(value: &T) -> Response {
    // Structs, texts, numbers and maps by text always serialise.
    json(serde_json::to_vec(value).unwrap_or_default())
}

/// A node's alias in a path.
pub(super) fn alias(text: &str) -> Result<NodeName, Problem> {
    NodeName::parse(text).map_err(|_| Problem::not_found("no node is called so"))
}

/// `GET /api/info`.
pub(super) fn info(manager: &Manager) -> Response {
    let about = &manager.config.http.about;
    render(&serde_json::json!({
        "version": about.version,
        "gitHash": about.git_hash,
        "buildTime": about.build_time,
        "features": ["manager"],
    }))
}
