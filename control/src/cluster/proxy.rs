//! Hands requests on to a node and its answers back, so that the URLs in them lead here again.
//!
//! A session's URL at the manager has the node's name in front of the session's id,
//! `/session/{stream}/{node}~{id}`, and where somebody is asked for credentials a mark behind it
//! that proves whose it is: no manager has to remember anything.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_MATCH, IF_NONE_MATCH, LINK, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, StatusCode, Uri};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use whitewater_model::cluster::NodeName;
use whitewater_model::{Error, StreamName};

use super::courier::{self, CallError};
use super::drain::Drains;
use super::login::{self, Signer};
use super::peers::Peer;
use super::{CallCounters, Manager};
use crate::auth::{self, Rights};
use crate::http::path;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty};
use crate::http::route::{ACCEPT_PATCH, ACCEPT_POST};

/// Which node a session is on, and what it is called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionPath {
    node: NodeName,
    id: String,
    mark: Option<String>,
}

/// Who makes a session, where anybody is asked.
pub(super) struct Owner<'a> {
    signer: &'a Signer,
    who: Option<String>,
}

impl<'a> Owner<'a> {
    pub(super) fn of(manager: &'a Manager, request: &Request) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let asks = manager.config.http.auth.asks();
        Owner {
            signer: &manager.signer,
            who: asks.then(|| auth::bearer_of(&request.headers, query).unwrap_or_default()),
        }
    }

    fn mark(&self, node: &NodeName, id: &str) -> Option<String> {
        let session = format!("{node}~{id}");
        self.who.as_ref().map(|who| self.signer.mark(who, &session))
    }

    fn made(&self, session: &SessionPath) -> bool {
        let own = self.mark(&session.node, &session.id);
        own.is_none_or(|own| {
            let shown = session.mark.as_deref();
            shown.is_some_and(|shown| login::is_same(&own, shown))
        })
    }
}

/// `/session/{stream}/{session}` and all below; `rest` is what follows, with its slash.
pub(super) async fn session(
    manager: &Manager,
    stream: &StreamName,
    session: &str,
    rest: &str,
    request: &mut Request,
) -> Result<Response, Problem> {
    // Whoever made it had one of these.
    request.grant.on(stream, Rights::ANY)?;
    let gone = || Problem::from(Error::NoSuchSession);
    let found = manager.find(stream, session).ok_or_else(gone)?;
    let owner = Owner::of(manager, request);
    // Another one's is as good as none, but for those who look after all.
    if !owner.made(&found) {
        request.grant.on_all(Rights::ADMIN).map_err(|_| gone())?;
    }
    let peer = manager.peers.get(&found.node).ok_or_else(gone)?;
    if !rest.bytes().all(|b| is_plain(b) || b == b'/') {
        return Err(gone());
    }
    let limits = &manager.config.http.limits;
    let size_max = limits.sdp_size_max.max(limits.fragment_size_max);
    let body = match request.method {
        Method::GET | Method::HEAD => Bytes::new(),
        _ => request.read_body(size_max, limits.body_timeout).await?,
    };
    let below = format!("/session/{}/{}{rest}", path::encode(stream), found.id);
    let url = peer.at(&below).ok_or_else(gone)?;
    let headers = request_headers(manager, &peer, request);
    let deadline = Instant::now() + manager.config.call_timeout;
    let method = request.method.clone();
    let response = manager
        .courier
        .call(method, &url, headers, body, deadline)
        .await;
    let response = match response {
        Ok(response) => response,
        Err(error) => {
            CallCounters::count(&manager.calls.failed);
            let is_closed = error == CallError::Refused;
            manager.peers.lock().missed(&peer, is_closed);
            // Where nobody listens is no session any more.
            return Err(if is_closed {
                gone()
            } else {
                unreachable(error)
            });
        }
    };
    CallCounters::count(&manager.calls.answered);
    if is_event_stream(response.headers()) {
        return events(manager, &peer, stream, &owner, response);
    }
    let (parts, body) = response.into_parts();
    let body = courier::collect(body, ANSWER_SIZE_MAX, deadline).await;
    let body = body.map_err(unreachable)?;
    let response = hyper::Response::from_parts(parts, body);
    answer(manager, &peer, stream, &owner, response)
}

impl Manager {
    /// By the name in it; by what was seen for an id as the node has it.
    fn find(&self, stream: &StreamName, session: &str) -> Option<SessionPath> {
        if let Some((node, rest)) = session.split_once('~') {
            let (id, mark) = match rest.split_once('~') {
                Some((id, mark)) => (id, Some(mark.to_owned())),
                None => (rest, None),
            };
            let is_id = id.bytes().all(is_plain) && !id.is_empty() && id.len() <= ID_LEN_MAX;
            let node = NodeName::parse(node).ok()?;
            let id = id.to_owned();
            return is_id.then_some(SessionPath { node, id, mark });
        }
        let inner = self.peers.lock();
        let found = inner.peers().find(|peer| {
            let seen = inner.seen(&peer.alias);
            let streams = seen.map(|seen| seen.streams.iter()).into_iter().flatten();
            streams
                .filter(|found| found.id == stream.as_str())
                .any(|found| {
                    let both = found
                        .publish
                        .sessions
                        .iter()
                        .chain(&found.subscribe.sessions);
                    both.into_iter().any(|known| known.id == session)
                })
        });
        found.map(|peer| SessionPath {
            node: peer.alias.clone(),
            id: session.to_owned(),
            mark: None,
        })
    }
}

/// What a node is told of a client's request.
pub(super) fn request_headers(manager: &Manager, peer: &Peer, request: &Request) -> HeaderMap {
    let mut headers = peer.headers();
    for name in TO_NODE {
        if let Some(value) = request.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if manager.config.hands_on_tokens
        && let Some(own) = request.headers.get(AUTHORIZATION)
    {
        headers.insert(AUTHORIZATION, own.clone());
    }
    // A node that trusts this manager limits clients by their own addresses. Who is on this
    // machine is told the node's addresses on it, if the node is here too.
    if !request.source.is_loopback()
        && let Ok(source) = HeaderValue::from_str(&request.source.to_string())
    {
        headers.insert(X_FORWARDED_FOR, source);
    }
    headers
}

/// A node's answer as the manager's own.
///
/// # Errors
/// 502 when the node does not take the manager's token, or names a session in a way that is not
/// known.
pub(super) fn answer(
    manager: &Manager,
    peer: &Peer,
    stream: &StreamName,
    owner: &Owner<'_>,
    answer: hyper::Response<Bytes>,
) -> Result<Response, Problem> {
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    if refused.contains(&answer.status()) && !manager.config.hands_on_tokens {
        tracing::warn!(node = %peer.alias, "the node does not take the manager's token");
        return Err(Problem::new(
            StatusCode::BAD_GATEWAY,
            "the node does not take the manager's token",
        ));
    }
    let mut response = empty(answer.status());
    *response.headers_mut() = answer_headers(peer, stream, owner, &answer)?;
    if !answer.body().is_empty() {
        let body = http_body_util::Full::new(answer.into_body());
        *response.body_mut() = body.boxed_unsync();
    }
    Ok(response)
}

fn answer_headers<T>(
    peer: &Peer,
    stream: &StreamName,
    owner: &Owner<'_>,
    answer: &hyper::Response<T>,
) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::new();
    for name in TO_CLIENT {
        for value in answer.headers().get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    let strange = || {
        Problem::new(
            StatusCode::BAD_GATEWAY,
            "the node names its session in a way that is not known",
        )
    };
    if let Some(location) = answer.headers().get(LOCATION) {
        let own = location
            .to_str()
            .ok()
            .and_then(|text| own_path(peer, stream, owner, text));
        let own = own.and_then(|own| HeaderValue::from_str(&own).ok());
        headers.insert(LOCATION, own.ok_or_else(strange)?);
    }
    for link in answer.headers().get_all(LINK) {
        let Ok(text) = link.to_str() else {
            continue;
        };
        if let Ok(own) = HeaderValue::from_str(&own_links(peer, stream, owner, text)) {
            headers.append(LINK, own);
        }
    }
    Ok(headers)
}

/// The manager's path for a session's URL of a node; `None` if it is none.
fn own_path(peer: &Peer, stream: &StreamName, owner: &Owner<'_>, url: &str) -> Option<String> {
    let path = if url.starts_with('/') && !url.starts_with("//") {
        url.to_owned()
    } else {
        let url: Uri = url.parse().ok()?;
        url.scheme().is_some().then(|| url.path().to_owned())?
    };
    let base: Uri = peer.url.parse().ok()?;
    let base = base.path().trim_end_matches('/');
    let below = path.strip_prefix(base).unwrap_or(&path);
    let rest = below.strip_prefix("/session/")?;
    let (name, rest) = rest.split_once('/')?;
    if path::stream_name(name).ok()? != *stream {
        return None;
    }
    let (id, rest) = match rest.split_once('/') {
        Some((id, rest)) => (id, format!("/{rest}")),
        None => (rest, String::new()),
    };
    let is_id = !id.is_empty() && id.len() <= ID_LEN_MAX && id.bytes().all(is_plain);
    let stream = path::encode(stream);
    let mark = owner.mark(&peer.alias, id);
    let mark = mark.map_or_else(String::new, |mark| format!("~{mark}"));
    is_id.then(|| format!("/session/{stream}/{}~{id}{mark}{rest}", peer.alias))
}

/// RFC 8288 §3: each target stands in angle brackets. Those of sessions are made the manager's.
fn own_links(peer: &Peer, stream: &StreamName, owner: &Owner<'_>, text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((target, after)) = after.split_once('>') else {
            break;
        };
        let own = own_path(peer, stream, owner, target);
        whole.push_str(before);
        whole.push('<');
        whole.push_str(own.as_deref().unwrap_or(target));
        whole.push('>');
        rest = after;
    }
    whole + rest
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// One event stream that is handed on.
struct Relay {
    body: Incoming,
    node: NodeName,
    changes: watch::Receiver<u64>,
    drains: Drains,
    ending: watch::Receiver<bool>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

impl Relay {
    /// What is told next. When the node goes away, or is to be left, the last word is that the
    /// player shall come again.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.is_over {
                return None;
            }
            if self.drains.has(&self.node) {
                self.is_over = true;
                return Some(Bytes::from_static(COME_AGAIN));
            }
            tokio::select! {
                frame = self.body.frame() => match frame {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Some(data);
                        }
                    }
                    Some(Err(_)) => {
                        self.is_over = true;
                        return Some(Bytes::from_static(COME_AGAIN));
                    }
                    None => return None,
                },
                changed = self.changes.changed() => changed.ok()?,
                _ = self.ending.wait_for(|ending| *ending) => return None,
            }
        }
    }
}

fn events(
    manager: &Manager,
    peer: &Arc<Peer>,
    stream: &StreamName,
    owner: &Owner<'_>,
    response: hyper::Response<Incoming>,
) -> Result<Response, Problem> {
    let place = manager.event_streams.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::overloaded("too many clients listen already"))?;
    let headers = answer_headers(peer, stream, owner, &response)?;
    let relay = Relay {
        body: response.into_body(),
        node: peer.alias.clone(),
        changes: manager.drains.changes(),
        drains: manager.drains.clone(),
        ending: manager.ending.subscribe(),
        is_over: false,
        _place: place,
    };
    let frames = stream::unfold(relay, |mut relay| async move {
        let bytes = relay.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), relay))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    *response.headers_mut() = headers;
    Ok(response)
}

pub(super) fn unreachable(error: CallError) -> Problem {
    match error {
        CallError::TimedOut => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the node did not answer in time",
        ),
        _ => Problem::new(
            StatusCode::BAD_GATEWAY,
            format!("the node cannot be asked: {error}"),
        ),
    }
}

/// RFC 3986 §2.3, without the tilde: that is ours.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const TO_NODE: [HeaderName; 5] = [ACCEPT, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH, LAST_EVENT_ID];
const TO_CLIENT: [HeaderName; 8] = [
    ACCEPT_PATCH,
    ACCEPT_POST,
    ALLOW,
    CACHE_CONTROL,
    CONTENT_TYPE,
    ETAG,
    RETRY_AFTER,
    WWW_AUTHENTICATE,
];
/// An answer of SDP or a fragment.
const ANSWER_SIZE_MAX: usize = 1024 * 1024;
const ID_LEN_MAX: usize = 128;
/// WHEP extensions, "Server Sent Events": without a URL it is the one the player has.
const COME_AGAIN: &[u8] = b"event: reconnect\ndata: {}\n\n";

#[cfg(test)]
mod tests {
    use super::super::config::NodeEntry;
    use super::*;

    fn peer(url: &str) -> Peer {
        Peer::new(&NodeEntry {
            alias: NodeName::parse("eu.1").expect("an alias"),
            url: url.to_owned(),
            token: String::new(),
            region: None,
            pub_max: None,
            sub_max: None,
        })
        .expect("a good entry")
    }

    #[test]
    fn a_session_of_a_node_is_one_of_the_manager() {
        let stream = StreamName::parse("my cam").expect("a name");
        let signer = Signer::new("key");
        let nobody = Owner {
            signer: &signer,
            who: None,
        };
        let plain = peer("http://10.0.0.1:7777");
        let below = peer("https://a.example/sub");
        for (peer, url, own) in [
            (
                &plain,
                "/session/my%20cam/0af-9",
                "/session/my%20cam/eu.1~0af-9",
            ),
            (
                &plain,
                "/session/my%20cam/1/layer",
                "/session/my%20cam/eu.1~1/layer",
            ),
            (
                &plain,
                "http://10.0.0.1:7777/session/my%20cam/1/events/2",
                "/session/my%20cam/eu.1~1/events/2",
            ),
            (
                &below,
                "/sub/session/my%20cam/1",
                "/session/my%20cam/eu.1~1",
            ),
            (&below, "/session/my%20cam/1", "/session/my%20cam/eu.1~1"),
        ] {
            assert_eq!(
                own_path(peer, &stream, &nobody, url).as_deref(),
                Some(own),
                "{url}"
            );
        }
        for url in [
            "",
            "/",
            "1",
            "/session/other/1",
            "/session/my%20cam/",
            "/session/my%20cam/a~b",
            "/whep/my%20cam",
            "//evil.example/session/my%20cam/1",
        ] {
            assert_eq!(own_path(&plain, &stream, &nobody, url), None, "{url}");
        }
        let links = "<stun:s.example>; rel=\"ice-server\", </session/my%20cam/1/layer>; rel=\"x\"";
        assert_eq!(
            own_links(&plain, &stream, &nobody, links),
            "<stun:s.example>; rel=\"ice-server\", </session/my%20cam/eu.1~1/layer>; rel=\"x\""
        );
        assert_eq!(own_links(&plain, &stream, &nobody, "<a"), "<a");
    }
}
