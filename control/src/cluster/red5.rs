//! Red5's Stream Manager, "REST API for Streams" 2.0: where to publish a stream, where to play it,
//! which streams there are.
//!
//! A stream `name` of scope `live` is the stream `name` here, one of another scope is
//! `scope/name`. Nodes take both under Red5's own paths too, so that an address that is told here
//! can be used as it is.

use hyper::header::{ALLOW, AUTHORIZATION, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use serde::Serialize;
use whitewater_model::cluster::{Node, NodeName, Status, Wish};
use whitewater_model::{Side, StreamName};

use super::peers::{Inner, Peer};
use super::{Manager, lists, login};
use crate::auth::Rights;
use crate::context::now;
use crate::http::path;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty, full};

/// One answer of a lookup.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    name: String,
    scope: String,
    server_address: String,
    region: String,
    /// Ours: the whole URL, for those who need not guess.
    #[serde(skip_serializing_if = "Option::is_none")]
    whip_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    whep_url: Option<String>,
    #[serde(flatten)]
    stats: Option<Stats>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    current_subscribers: u32,
    start_time: u64,
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Ask<'a> {
    List {
        stats: bool,
    },
    Event {
        scope: &'a str,
        name: &'a str,
        stats: bool,
    },
    DeleteAll,
}

/// Everything under `/streammanager/api/{version}/`; `rest` is what follows.
pub(super) async fn serve(
    manager: &Manager,
    version: &str,
    rest: &str,
    request: &mut Request,
) -> Response {
    let answered = if VERSIONS.contains(&version) {
        dispatch(manager, rest, request).await
    } else {
        Err(Problem::not_found("no such version of the API"))
    };
    answered.unwrap_or_else(|problem| {
        let mut response = error(&problem);
        if problem.status() == StatusCode::METHOD_NOT_ALLOWED {
            let methods = HeaderValue::from_static(methods(rest));
            response.headers_mut().insert(ALLOW, methods);
        }
        response
    })
}

/// OPTIONS of the same.
pub(super) fn options(rest: &str) -> Response {
    let mut response = empty(StatusCode::OK);
    let methods = HeaderValue::from_static(methods(rest));
    response.headers_mut().insert(ALLOW, methods);
    response
}

fn methods(rest: &str) -> &'static str {
    match parse(rest) {
        Some(Ask::DeleteAll) => "DELETE, OPTIONS",
        _ => "GET, HEAD, OPTIONS",
    }
}

async fn dispatch(
    manager: &Manager,
    rest: &str,
    request: &mut Request,
) -> Result<Response, Problem> {
    let ask = parse(rest).ok_or_else(|| Problem::not_found("no such resource"))?;
    let is_read = request.method == Method::GET || request.method == Method::HEAD;
    match ask {
        Ask::DeleteAll if request.method == Method::DELETE => {
            if !has_token(manager, request)? {
                return Err(Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "Invalid access token",
                ));
            }
            delete_all(manager).await
        }
        Ask::List { stats } if is_read => {
            admit(manager, request, |grant| grant.on_all(Rights::ANY))?;
            Ok(lists::render(&list(manager, stats)))
        }
        Ask::Event { scope, name, stats } if is_read => {
            let stream = stream_name(scope, name)?;
            let place = if stats {
                admit(manager, request, |grant| grant.on(&stream, Rights::ANY))?;
                origin(manager, &stream, true)
            } else {
                lookup(manager, &stream, request).await?
            };
            let found = place.ok_or_else(|| {
                Problem::not_found(format!("Stream /{scope}/{name} is not publishing"))
            })?;
            Ok(lists::render(&found))
        }
        _ => Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this method has no meaning here",
        )),
    }
}

/// The node to publish on, or to play from. `None`: there is nothing to play.
async fn lookup(
    manager: &Manager,
    stream: &StreamName,
    request: &mut Request,
) -> Result<Option<Found>, Problem> {
    let query = |key: &str| Ok::<_, Problem>(path::query_values(&request.query, key)?.pop());
    let side = match query("action")?.as_deref() {
        Some("broadcast") => Side::Publish,
        Some("subscribe") => Side::Subscribe,
        _ => {
            return Err(Problem::bad_request(
                "action must be broadcast or subscribe",
            ));
        }
    };
    let wish = Wish {
        region: query("region")?.unwrap_or_default(),
        strict: query("strict")?.is_some_and(|strict| strict == "true"),
        ..Wish::default()
    };
    admit(manager, request, |grant| grant.on(stream, side.into()))?;
    // A place is kept for whoever asks.
    let principal = &request.grant.principal;
    manager
        .limiter
        .charge(&Method::POST, request.source, principal)?;
    if side == Side::Subscribe && origin(manager, stream, false).is_none() {
        return Ok(None);
    }
    let node = manager
        .direct(side, stream, &wish)
        .await
        .map_err(|problem| {
            // The page knows 400 and 404: nobody waits for a node here.
            if problem.status() == StatusCode::SERVICE_UNAVAILABLE {
                Problem::not_found("no node is available")
            } else {
                problem
            }
        })?;
    let inner = manager.peers.lock();
    Ok(inner.found(&node, stream, None, Some(side)))
}

/// The node with the stream's publisher.
fn origin(manager: &Manager, stream: &StreamName, with_stats: bool) -> Option<Found> {
    let inner = manager.peers.lock();
    let node = inner.cluster.publishing_node(stream)?.clone();
    let stats = with_stats.then(|| inner.stats(&node, stream));
    inner.found(&node, stream, stats, None)
}

/// All streams that are published, the longest first.
fn list(manager: &Manager, with_stats: bool) -> Vec<Found> {
    let inner = manager.peers.lock();
    let mut streams: Vec<&StreamName> = inner
        .cluster
        .nodes()
        .filter(|(_, node)| node.status == Status::Running)
        .flat_map(|(_, node)| node.streams.iter())
        .filter(|(_, sighting)| sighting.feed.is_direct())
        .map(|(stream, _)| stream)
        .collect();
    streams.sort();
    streams.dedup();
    let found = streams.into_iter().filter_map(|stream| {
        let node = inner.cluster.publishing_node(stream)?;
        let stats = inner.stats(node, stream);
        let started = stats.start_time;
        let found = inner.found(node, stream, with_stats.then_some(stats), None)?;
        Some((started, found))
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by(|(one, a), (other, b)| (one, &a.scope, &a.name).cmp(&(other, &b.scope, &b.name)));
    found.into_iter().map(|(_, found)| found).collect()
}

impl Inner {
    fn found(
        &self,
        node: &NodeName,
        stream: &StreamName,
        stats: Option<Stats>,
        side: Option<Side>,
    ) -> Option<Found> {
        let peer = self.peers().find(|peer| peer.alias == *node)?;
        let region = self.cluster.node(node).map(|node| node.region.clone());
        let (scope, name) = split(stream);
        let name_in_url = path::encode(stream);
        let url = |own: Side, verb: &str| {
            (side == Some(own)).then(|| format!("{}/{verb}/{name_in_url}", peer.url))
        };
        Some(Found {
            name: name.to_owned(),
            scope: format!("/{scope}"),
            server_address: host(peer)?,
            region: region.unwrap_or_default(),
            whip_url: url(Side::Publish, "whip"),
            whep_url: url(Side::Subscribe, "whep"),
            stats,
        })
    }

    fn stats(&self, node: &NodeName, stream: &StreamName) -> Stats {
        let nodes = self.cluster.nodes();
        let viewers = nodes.filter_map(|(_, node): (_, &Node)| node.streams.get(stream));
        let viewers = viewers.map(|sighting| sighting.viewers);
        let started =
            self.cluster
                .node(node)
                .and_then(|node| match node.streams.get(stream)?.feed {
                    whitewater_model::cluster::Feed::Direct {
                        created_unix_ms, ..
                    } => Some(created_unix_ms),
                    _ => None,
                });
        Stats {
            current_subscribers: viewers.fold(0, u32::saturating_add),
            start_time: started.unwrap_or_default(),
        }
    }
}

/// Takes everything back that was agreed on. What is live is agreed on anew when it is seen next.
async fn delete_all(manager: &Manager) -> Result<Response, Problem> {
    let mut count = 0;
    for (stream, held) in manager.holdings.all() {
        let away = |_| Problem::overloaded("the store of the cluster does not answer");
        let swapped = manager.holdings.swap(&stream, held.version, None).await;
        count += u32::from(swapped.map_err(away)?);
    }
    Ok(lists::render(&serde_json::json!({
        "count": count,
        "timestamp": now().unix_ms,
    })))
}

/// Without tokens and keys everybody is let in, as Red5 has it. With them somebody has to say who
/// he is: by them, or by the access token.
fn admit(
    manager: &Manager,
    request: &mut Request,
    needs: impl FnOnce(&crate::auth::Grant) -> Result<(), Problem>,
) -> Result<(), Problem> {
    if has_token(manager, request)? {
        return Ok(());
    }
    let query = request.uri().query().unwrap_or_default();
    request.grant = manager.guard.admit(&request.headers, query, now())?;
    needs(&request.grant)
}

/// Whether the admin routes' token was shown, in the query or as a bearer token.
fn has_token(manager: &Manager, request: &Request) -> Result<bool, Problem> {
    let own = &manager.config.red5_token;
    if own.is_empty() {
        return Ok(false);
    }
    let shown = path::query_values(request.uri().query().unwrap_or_default(), "accessToken")?.pop();
    let bearer = request.headers.get(AUTHORIZATION);
    let bearer = bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    Ok([shown.as_deref(), bearer]
        .into_iter()
        .flatten()
        .fold(false, |known, text| known | login::is_same(own, text)))
}

fn parse(rest: &str) -> Option<Ask<'_>> {
    let parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
    match parts.as_slice() {
        ["event", "list"] => Some(Ask::List { stats: false }),
        ["event", "list", "stats"] => Some(Ask::List { stats: true }),
        ["admin", "event"] => Some(Ask::DeleteAll),
        // The scope may have several segments.
        ["event", .., _, "stats"] if parts.len() > 3 => {
            let name = parts.get(parts.len() - 2)?;
            scope_of(rest, &format!("/{name}/stats")).map(|scope| Ask::Event {
                scope,
                name,
                stats: true,
            })
        }
        ["event", .., name] if parts.len() > 2 => {
            scope_of(rest, &format!("/{name}")).map(|scope| Ask::Event {
                scope,
                name,
                stats: false,
            })
        }
        _ => None,
    }
}

fn scope_of<'a>(rest: &'a str, end: &str) -> Option<&'a str> {
    rest.trim_end_matches('/')
        .strip_prefix("event/")?
        .strip_suffix(end)
}

fn stream_name(scope: &str, name: &str) -> Result<StreamName, Problem> {
    let plain = |text: &str| {
        let each = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
        !text.is_empty() && text.len() <= PART_LEN_MAX && text.bytes().all(each)
    };
    let scope = scope.replace("%2F", "/").replace("%2f", "/");
    let scope = scope.trim_matches('/');
    if !scope.split('/').all(plain) || !plain(name) {
        return Err(Problem::bad_request(
            "a scope or stream has letters, digits, . _ ~ - only",
        ));
    }
    let whole = if scope == path::USUAL_APP {
        name.to_owned()
    } else {
        format!("{scope}/{name}")
    };
    StreamName::parse(&whole).map_err(|bad| Problem::bad_request(bad.to_string()))
}

/// Scope and name of a stream.
fn split(stream: &StreamName) -> (&str, &str) {
    let text = stream.as_str();
    match text.rsplit_once('/') {
        Some((scope, name)) if !scope.is_empty() && !name.is_empty() => (scope, name),
        _ => (path::USUAL_APP, text),
    }
}

/// Without scheme and port, IPv6 addresses in brackets.
fn host(peer: &Peer) -> Option<String> {
    let url: Uri = peer.url.parse().ok()?;
    url.host().map(str::to_owned)
}

/// Its clients read `errorMessage`.
fn error(problem: &Problem) -> Response {
    let body = serde_json::json!({
        "errorMessage": problem.detail(),
        "timestamp": now().unix_ms,
    });
    full(problem.status(), "application/json", body.to_string())
}

const VERSIONS: [&str; 5] = ["1.0", "2.0", "3.0", "3.1", "4.0"];
const PART_LEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_from_their_end() {
        let event = |scope, name, stats| Some(Ask::Event { scope, name, stats });
        for (rest, ask) in [
            ("event/list", Some(Ask::List { stats: false })),
            ("event/list/", Some(Ask::List { stats: false })),
            ("event/list/stats", Some(Ask::List { stats: true })),
            ("event/live/demo", event("live", "demo", false)),
            ("event/live/demo/stats", event("live", "demo", true)),
            ("event/live/conf1/demo", event("live/conf1", "demo", false)),
            ("event/live/stats", event("live", "stats", false)),
            ("admin/event", Some(Ask::DeleteAll)),
            ("event", None),
            ("event/live", None),
            ("admin/nodegroup", None),
            ("", None),
        ] {
            assert_eq!(parse(rest), ask, "{rest}");
        }
    }

    #[test]
    fn a_scope_is_in_the_name_unless_it_is_the_usual_one() {
        for (scope, name, own) in [
            ("live", "demo", "demo"),
            ("conf", "demo", "conf/demo"),
            ("live%2Fconf1", "demo", "live/conf1/demo"),
        ] {
            let stream = stream_name(scope, name).expect("good names");
            assert_eq!(stream.as_str(), own);
            let (scope, name) = split(&stream);
            assert_eq!(stream_name(scope, name).expect("good names"), stream);
        }
        for (scope, name) in [("", "a"), ("a b", "c"), ("live", "ä"), ("live", "a%20")] {
            assert!(stream_name(scope, name).is_err(), "{scope} {name}");
        }
    }
}
