//! WHIP and WHEP at the manager: which node, who agrees, and the call itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::time::Instant;
use whitewater_model::cluster::{Holding, NodeName, Place, Seat, Status, Unplaced, Wish};
use whitewater_model::{Side, StreamName};

use super::config::Calls;
use super::courier::CallError;
use super::holdings::Held;
use super::peers::{Inner, Peer};
use super::proxy::{self, unreachable};
use super::{CallCounters, Manager};
use crate::http::media_type::{self, SDP};
use crate::http::path;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty};
use crate::http::route::ACCEPT_POST;

/// A node with a place on it.
struct Chosen {
    peer: Arc<Peer>,
    place: Place,
}

/// POST of WHIP or WHEP. `forced` names the node where the path does.
pub(super) async fn post(
    manager: &Manager,
    side: Side,
    stream: &StreamName,
    forced: Option<NodeName>,
    request: &mut Request,
) -> Result<Response, Problem> {
    let mut wish = wish(request)?;
    let limits = &manager.config.http.limits;
    let is_proxied = manager.config.calls == Calls::Proxied;
    let offer = if is_proxied {
        media_type::expect(&request.headers, &[SDP])
            .map_err(|problem| problem.with(ACCEPT_POST, SDP))?;
        request
            .read_body(limits.sdp_size_max, limits.body_timeout)
            .await?
    } else {
        request.skip_body().await;
        Bytes::new()
    };
    for attempt in 1.. {
        let chosen = match (&forced, side) {
            (Some(alias), _) => manager.forced(alias, stream, side)?,
            (None, Side::Publish) => manager.claim(stream, &wish).await?,
            (None, Side::Subscribe) => manager.seat(stream, &wish).await?,
        };
        if !is_proxied {
            let now = std::time::Instant::now();
            manager.peers.lock().cluster.settle(&chosen.place, now);
            return elsewhere(&chosen.peer, side, stream);
        }
        if side == Side::Publish {
            manager.make_room(&chosen, stream).await;
        }
        let may_retry = attempt < ATTEMPTS_MAX && forced.is_none();
        match manager
            .hand_on(&chosen, side, stream, &offer, request)
            .await
        {
            Outcome::Answer(response) => return Ok(*response),
            Outcome::NotThere(_) if may_retry => {}
            Outcome::NotThere(problem) | Outcome::Failed(problem) => return Err(problem),
        }
        // What was tried is not tried again.
        wish.not.insert(chosen.peer.alias.clone());
    }
    Err(Problem::internal())
}

/// What came of a call.
enum Outcome {
    Answer(Box<Response>),
    /// Another node may do it: this one certainly did not.
    NotThere(Problem),
    Failed(Problem),
}

impl Manager {
    /// The node somebody is to go to who makes the call himself.
    pub(super) async fn direct(
        &self,
        side: Side,
        stream: &StreamName,
        wish: &Wish,
    ) -> Result<NodeName, Problem> {
        let chosen = match side {
            Side::Publish => self.claim(stream, wish).await?,
            Side::Subscribe => self.seat(stream, wish).await?,
        };
        let now = std::time::Instant::now();
        self.peers.lock().cluster.settle(&chosen.place, now);
        Ok(chosen.peer.alias.clone())
    }

    /// Agrees with the other managers on the node a publisher goes to.
    ///
    /// While a node has the stream's publisher it is that one, and it says itself whether it takes
    /// another. Else it is the one that was agreed on last, if that takes somebody, so that those
    /// who come at the same time meet there; else the one with the least load. Without the store it
    /// is the one all managers choose by themselves.
    async fn claim(&self, stream: &StreamName, wish: &Wish) -> Result<Chosen, Problem> {
        for _ in 0..SWAPS_MAX {
            let held = match self.holdings.fetch(stream).await {
                Ok(held) => held,
                Err(error) => {
                    tracing::debug!(%error, "a publisher is placed without the store");
                    return self.choose(stream, Side::Publish, |inner| {
                        inner.cluster.place_blindly(stream, wish)
                    });
                }
            };
            let (chosen, to) = self.decide(stream, wish, held.as_ref())?;
            let Some(to) = to else {
                return Ok(chosen);
            };
            let expected = held.map_or(0, |held| held.version);
            match self.holdings.swap(stream, expected, Some(to)).await {
                Ok(true) => return Ok(chosen),
                Ok(false) => self.release(&chosen.place),
                Err(error) => {
                    tracing::debug!(%error, "a publisher is placed without the store");
                    return Ok(chosen);
                }
            }
        }
        Err(Problem::overloaded("too many publish this stream at once"))
    }

    /// The node for a publisher, and what is to be agreed on for it.
    fn decide(
        &self,
        stream: &StreamName,
        wish: &Wish,
        held: Option<&Held>,
    ) -> Result<(Chosen, Option<Holding>), Problem> {
        let mut to = None;
        let chosen = self.choose(stream, Side::Publish, |inner| {
            let takes = |node: &NodeName| {
                let is_open = inner.cluster.node(node).is_some_and(|node| node.is_open());
                is_open && !wish.not.contains(node)
            };
            let owner = held.map(|held| held.holding.owner());
            let seen = inner.cluster.publishing_node(stream);
            if let Some(seen) = seen.filter(|node| takes(node)) {
                if owner != Some(seen) {
                    to = Some(Holding::new(seen.clone()));
                }
                return Ok(seen.clone());
            }
            if let (Some(held), Some(owner)) = (held, owner.filter(|node| takes(node))) {
                let mut renewed = held.holding.clone();
                renewed.renew();
                to = Some(renewed);
                return Ok(owner.clone());
            }
            let node = inner.cluster.place_publisher(stream, wish)?;
            to = Some(Holding::new(node.clone()));
            Ok(node)
        })?;
        Ok((chosen, to))
    }

    /// Finds a viewer a place. One whose stream lost its node waits for its publisher, which mostly
    /// is on its way to another one: to come again would take longer.
    async fn seat(&self, stream: &StreamName, wish: &Wish) -> Result<Chosen, Problem> {
        let until = tokio::time::Instant::now() + RETURN_AWAITED;
        loop {
            let seated = self.seat_now(stream, wish).await;
            let is_late = tokio::time::Instant::now() >= until;
            match &seated {
                Err(problem)
                    if !is_late
                        && problem.status() == StatusCode::SERVICE_UNAVAILABLE
                        && self.peers.lock().is_orphan(stream) => {}
                _ => return seated,
            }
            tokio::time::sleep(RETURN_LOOK).await;
        }
    }

    /// Finds a viewer a place on a node that has the stream, or lets another node get it.
    async fn seat_now(&self, stream: &StreamName, wish: &Wish) -> Result<Chosen, Problem> {
        let mut wish = wish.clone();
        let mut looks = LOOKS_MAX;
        for _ in 0..SWAPS_MAX + LOOKS_MAX {
            let known = self.holdings.known(stream);
            let mut link = None;
            let chosen = self.choose(stream, Side::Subscribe, |inner| {
                let seen = inner.cluster.publishing_node(stream);
                let known = known.or_else(|| Some(Holding::new(seen?.clone())));
                match inner.cluster.place_viewer(stream, &wish, known.as_ref())? {
                    Seat::On(node) => Ok(node),
                    Seat::Link { child, parent } => {
                        link = Some(parent);
                        Ok(child)
                    }
                }
            });
            let chosen = match chosen {
                // Nobody is turned away for somebody who was counted twice.
                Err(problem)
                    if looks > 0
                        && problem.status() == StatusCode::SERVICE_UNAVAILABLE
                        && self.peers.lock().cluster.may_count_twice() =>
                {
                    looks -= 1;
                    tokio::time::sleep(self.config.poll_every).await;
                    continue;
                }
                // Players that hear 404 do not come again.
                Err(problem)
                    if problem.status() == StatusCode::NOT_FOUND
                        && self.peers.lock().is_orphan(stream) =>
                {
                    let why = "the stream's node went away, its publisher has not come back so far";
                    return Err(Problem::overloaded(why));
                }
                other => other?,
            };
            let Some(parent) = link else {
                return Ok(chosen);
            };
            match self.link(stream, &chosen.peer, &parent).await {
                Ok(true) => return Ok(chosen),
                Ok(false) => self.release(&chosen.place),
                Err(problem) => {
                    self.release(&chosen.place);
                    tracing::debug!(?stream, node = %chosen.peer.alias, ?problem, "no link");
                    wish.not.insert(chosen.peer.alias.clone());
                }
            }
        }
        Err(Problem::overloaded(
            "the stream cannot be brought to another node now",
        ))
    }

    /// Agrees on a link and has it made. False when something else was agreed on meanwhile.
    async fn link(
        &self,
        stream: &StreamName,
        child: &Peer,
        parent: &NodeName,
    ) -> Result<bool, Problem> {
        let away = |_| Problem::overloaded("the store of the cluster does not answer");
        let held = self.holdings.fetch(stream).await.map_err(away)?;
        let (mut to, version) = match held {
            Some(held) => (held.holding, held.version),
            None => {
                let inner = self.peers.lock();
                let Some(owner) = inner.cluster.publishing_node(stream) else {
                    return Ok(false);
                };
                (Holding::new(owner.clone()), 0)
            }
        };
        let bounds = self.config.bounds;
        if to
            .attach(child.alias.clone(), parent.clone(), bounds)
            .is_err()
        {
            return Ok(false);
        }
        if !self
            .holdings
            .swap(stream, version, Some(to))
            .await
            .map_err(away)?
        {
            return Ok(false);
        }
        if let Err(problem) = self.cascade(stream, child, parent).await {
            self.unlink(stream, &child.alias).await;
            return Err(problem);
        }
        CallCounters::count(&self.calls.linked);
        tracing::info!(?stream, node = %child.alias, from = %parent, "linked");
        Ok(true)
    }

    /// Asks a node to get a stream from another one.
    pub(super) async fn cascade(
        &self,
        stream: &StreamName,
        child: &Peer,
        parent: &NodeName,
    ) -> Result<(), Problem> {
        let parent = self.peers.get(parent);
        let parent = parent.ok_or_else(|| Problem::overloaded("a node went away"))?;
        let name = path::encode(stream);
        let mut wish = json!({ "sourceUrl": format!("{}/whep/{name}", parent.url) });
        let token = parent.authorization.as_ref();
        if let Some(token) = token.and_then(|token| token.to_str().ok()) {
            wish["token"] = token.into();
        }
        let path = format!("/api/cascade/{name}");
        let status = self.send(child, Method::POST, &path, Some(wish)).await?;
        match status {
            status if status.is_success() => Ok(()),
            // It gets the stream already.
            StatusCode::CONFLICT => Ok(()),
            status => Err(Problem::new(
                StatusCode::BAD_GATEWAY,
                format!("a node does not get the stream: it answers {status}"),
            )),
        }
    }

    /// Takes back a link that did not come to be.
    pub(super) async fn unlink(&self, stream: &StreamName, child: &NodeName) {
        for _ in 0..SWAPS_MAX {
            let Ok(Some(held)) = self.holdings.fetch(stream).await else {
                return;
            };
            let mut to = held.holding;
            if to.detach(child).is_empty() {
                return;
            }
            match self.holdings.swap(stream, held.version, Some(to)).await {
                Ok(false) => {}
                // What is left is put right in time.
                Ok(true) | Err(_) => return,
            }
        }
    }

    /// Ends what a publisher's node gets from another one: it is to be the first of the tree.
    async fn make_room(&self, chosen: &Chosen, stream: &StreamName) {
        let node = &chosen.peer.alias;
        let session = {
            let inner = self.peers.lock();
            let session = inner.cluster.relay_session(node, stream);
            session.map(str::to_owned)
        };
        if let Some(session) = session
            && let Err(problem) = self.end_session(&chosen.peer, stream, &session).await
        {
            // Then the node says why it takes nobody.
            tracing::debug!(?stream, %node, ?problem, "no room for the publisher");
        }
    }

    fn forced(&self, alias: &NodeName, stream: &StreamName, side: Side) -> Result<Chosen, Problem> {
        self.choose(stream, side, |inner| {
            let node = inner.cluster.node(alias);
            match node {
                Some(node) if node.status == Status::Running => Ok(alias.clone()),
                _ => Err(Unplaced::NoNode),
            }
        })
    }

    /// Chooses and keeps the place, so that who chooses next sees it.
    fn choose(
        &self,
        stream: &StreamName,
        side: Side,
        choice: impl FnOnce(&Inner) -> Result<NodeName, Unplaced>,
    ) -> Result<Chosen, Problem> {
        let mut inner = self.peers.lock();
        let node = choice(&inner).map_err(unplaced)?;
        let peer = inner.peers().find(|peer| peer.alias == node).cloned();
        let peer = peer.ok_or_else(|| unplaced(Unplaced::NoNode))?;
        let now = std::time::Instant::now();
        let place = inner.cluster.reserve(&node, stream, side, now);
        Ok(Chosen { peer, place })
    }

    fn release(&self, place: &Place) {
        self.peers.lock().cluster.release(place);
    }

    async fn hand_on(
        &self,
        chosen: &Chosen,
        side: Side,
        stream: &StreamName,
        offer: &Bytes,
        request: &Request,
    ) -> Outcome {
        let Chosen { peer, place } = chosen;
        // Released also when the client goes away meanwhile.
        let kept = Kept {
            manager: self,
            place,
            is_settled: false,
        };
        let Some(url) = peer.at(&target(side, stream)) else {
            return Outcome::Failed(Problem::internal());
        };
        let headers = proxy::request_headers(self, peer, request);
        let deadline = Instant::now() + self.config.call_timeout;
        let answer = self
            .courier
            .exchange(
                Method::POST,
                &url,
                headers,
                offer.clone(),
                ANSWER_SIZE_MAX,
                deadline,
            )
            .await;
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                CallCounters::count(&self.calls.failed);
                self.peers.lock().missed(peer, error == CallError::Refused);
                return if error.is_unsent() {
                    Outcome::NotThere(unreachable(error))
                } else {
                    Outcome::Failed(unreachable(error))
                };
            }
        };
        CallCounters::count(&self.calls.answered);
        let status = response.status();
        let is_made = status == StatusCode::CREATED || status == StatusCode::NOT_ACCEPTABLE;
        if is_made {
            kept.settle();
        }
        let owner = proxy::Owner::of(self, request);
        match proxy::answer(self, peer, stream, &owner, response) {
            Ok(response) if status == StatusCode::SERVICE_UNAVAILABLE => {
                drop(response);
                Outcome::NotThere(Problem::overloaded("the nodes that could do this are full"))
            }
            Ok(response) => Outcome::Answer(Box::new(response)),
            Err(problem) => Outcome::Failed(problem),
        }
    }
}

/// A place that is given back unless it is settled.
struct Kept<'a> {
    manager: &'a Manager,
    place: &'a Place,
    is_settled: bool,
}

impl Kept<'_> {
    fn settle(mut self) {
        self.is_settled = true;
        let now = std::time::Instant::now();
        self.manager.peers.lock().cluster.settle(self.place, now);
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.manager.release(self.place);
        }
    }
}

/// What the query and the header say about the node: `?nodes=`, repeated, `?region=` or `Region`.
pub(super) fn wish(request: &Request) -> Result<Wish, Problem> {
    let names = path::query_values(&request.query, "nodes")?;
    let nodes: BTreeSet<_> = names
        .iter()
        .filter_map(|name| NodeName::parse(name).ok())
        .collect();
    if nodes.is_empty() && !names.is_empty() {
        return Err(unplaced(Unplaced::NoNode));
    }
    let region = path::query_values(&request.query, "region")?.pop();
    let region = region.or_else(|| {
        let header = request.headers.get(REGION)?;
        header.to_str().ok().map(str::to_owned)
    });
    Ok(Wish {
        nodes,
        region: region.unwrap_or_default(),
        ..Wish::default()
    })
}

pub(super) fn unplaced(why: Unplaced) -> Problem {
    match why {
        Unplaced::NoStream => Problem::not_found(why.to_string()),
        Unplaced::NoNode | Unplaced::Full => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, why.to_string()).retry_after(RETRY_AFTER)
        }
    }
}

fn target(side: Side, stream: &StreamName) -> String {
    let verb = match side {
        Side::Publish => "whip",
        Side::Subscribe => "whep",
    };
    format!("/{verb}/{}", path::encode(stream))
}

/// RFC 9725 §4.5: the body is sent again, unchanged.
fn elsewhere(peer: &Peer, side: Side, stream: &StreamName) -> Result<Response, Problem> {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    let url = format!("{}{}", peer.url, target(side, stream));
    let url = HeaderValue::from_str(&url).map_err(|_| Problem::internal())?;
    response.headers_mut().insert(LOCATION, url);
    Ok(response)
}

/// Where a viewer or publisher would like to be.
pub(super) const REGION: &str = "region";
/// Nodes tried for one request.
const ATTEMPTS_MAX: u32 = 3;
/// Times that others may be faster.
const SWAPS_MAX: u32 = 8;
/// As often a node is asked anew before a viewer hears that all are full.
const LOOKS_MAX: u32 = 2;
/// An answer of SDP.
const ANSWER_SIZE_MAX: usize = 1024 * 1024;
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How long a viewer waits for a publisher whose node went away, and how often it is looked for.
const RETURN_AWAITED: Duration = Duration::from_secs(2);
const RETURN_LOOK: Duration = Duration::from_millis(200);
