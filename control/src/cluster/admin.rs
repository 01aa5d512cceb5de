//! Streams that are made and destroyed through the manager.

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::time::Instant;
use whitewater_model::cluster::{NodeName, Unplaced};
use whitewater_model::{Error, Side, StreamName};

use super::Manager;
use super::peers::Peer;
use super::place::{unplaced, wish};
use super::proxy::unreachable;
use crate::http::path;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty};

/// POST of `/api/streams/{stream}`: on the node that a publisher would go to, unless any has it.
pub(super) async fn create(
    manager: &Manager,
    stream: &StreamName,
    request: &Request,
) -> Result<Response, Problem> {
    let wish = wish(request)?;
    let (peer, place) = {
        let mut inner = manager.peers.lock();
        let has = inner
            .cluster
            .nodes()
            .any(|(_, node)| node.streams.contains_key(stream));
        if has {
            return Err(Error::StreamExists.into());
        }
        let node = inner.cluster.place_publisher(stream, &wish);
        let node = node.map_err(unplaced)?;
        let peer = inner.peers().find(|peer| peer.alias == node).cloned();
        let peer = peer.ok_or_else(|| unplaced(Unplaced::NoNode))?;
        let now = std::time::Instant::now();
        let place = inner.cluster.reserve(&node, stream, Side::Publish, now);
        (peer, place)
    };
    let status = manager.command(&peer, Method::POST, stream).await;
    manager.peers.lock().cluster.release(&place);
    match status? {
        StatusCode::CONFLICT => Err(Error::StreamExists.into()),
        status if status.is_success() => Ok(empty(StatusCode::NO_CONTENT)),
        status => Err(refused(status)),
    }
}

/// DELETE of `/api/streams/{stream}`: on every node that answers. It is not an error when none has
/// it, as with LiveMan.
pub(super) async fn destroy(manager: &Manager, stream: &StreamName) -> Result<Response, Problem> {
    let peers: Vec<_> = {
        let inner = manager.peers.lock();
        let has = |node: &NodeName| {
            let node = inner.cluster.node(node);
            node.is_some_and(|node| node.streams.contains_key(stream))
        };
        let peers = inner.peers().filter(|peer| has(&peer.alias));
        peers.cloned().collect()
    };
    let calls = peers
        .iter()
        .map(|peer| manager.command(peer, Method::DELETE, stream));
    let outcomes = join_all(calls).await;
    if let Ok(Some(held)) = manager.holdings.fetch(stream).await {
        // If somebody was faster, it is in use again.
        let _ = manager.holdings.swap(stream, held.version, None).await;
    }
    for outcome in outcomes {
        let status = outcome?;
        if !status.is_success() && status != StatusCode::NOT_FOUND {
            return Err(refused(status));
        }
    }
    tracing::info!(?stream, "stream destroyed");
    Ok(empty(StatusCode::NO_CONTENT))
}

impl Manager {
    /// One request about a stream, without a body.
    async fn command(
        &self,
        peer: &Peer,
        method: Method,
        stream: &StreamName,
    ) -> Result<StatusCode, Problem> {
        let path = format!("/api/streams/{}", path::encode(stream));
        self.send(peer, method, &path, None).await
    }

    /// Ends a session on a node. Live777 and its like know it by its stream.
    pub(super) async fn end_session(
        &self,
        peer: &Peer,
        stream: &StreamName,
        session: &str,
    ) -> Result<StatusCode, Problem> {
        let path = format!("/session/{}/{session}", path::encode(stream));
        self.send(peer, Method::DELETE, &path, None).await
    }

    /// One request of the manager's own to a node, perhaps with JSON.
    pub(super) async fn send(
        &self,
        peer: &Peer,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<StatusCode, Problem> {
        let url = peer.at(path).ok_or_else(Problem::internal)?;
        let mut headers = peer.headers();
        if body.is_some() {
            let kind = HeaderValue::from_static("application/json");
            headers.insert(CONTENT_TYPE, kind);
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let deadline = Instant::now() + self.config.call_timeout;
        let response = self
            .courier
            .exchange(method, &url, headers, body, ANSWER_SIZE_MAX, deadline)
            .await
            .map_err(unreachable)?;
        Ok(response.status())
    }
}

fn refused(status: StatusCode) -> Problem {
    Problem::new(
        StatusCode::BAD_GATEWAY,
        format!("the node answers {status}"),
    )
}

const ANSWER_SIZE_MAX: usize = 64 * 1024;
