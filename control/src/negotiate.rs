//! What WHIP's and WHEP's POST have in common: an offer in, an answer and a session URL out.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LINK, LOCATION};
use tokio::sync::{OwnedMutexGuard, oneshot};
use whitewater_link::{AnswerKind, Negotiate, Reach, Refusal, RequestId, SessionId};
use whitewater_model::{Admission, Error, NodeId, Now, Registry, Seat, Side, StreamName};

use crate::auth::Rights;
use crate::cascade::way;
use crate::context::{Context, now};
use crate::events;
use crate::http::media_type::{self, FRAGMENT, SDP};
use crate::http::path;
use crate::http::precondition::etag;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty, full};
use crate::http::route::{ACCEPT_PATCH, ACCEPT_POST};
use crate::http::source::block;
use crate::plane::{Ask, PostReply};
use crate::random;

pub(crate) async fn post(
    context: &Context,
    side: Side,
    stream: &StreamName,
    request: &mut Request,
) -> Result<Response, Problem> {
    if let Some(elsewhere) = elsewhere(context, side, stream) {
        request.skip_body().await;
        return Ok(elsewhere);
    }
    media_type::expect(&request.headers, &[SDP])
        .map_err(|problem| problem.with(ACCEPT_POST, SDP))?;
    let limits = &context.config.limits;
    let offer = request
        .read_text(limits.sdp_size_max, limits.body_timeout)
        .await?;
    if offer.trim().is_empty() {
        return Err(Problem::bad_request("the SDP offer is empty"));
    }
    let session = random::session_id().ok_or_else(Problem::internal)?;
    let from_node = way::read(&request.headers)?;
    let reply = ask(
        context,
        side,
        stream,
        session,
        offer,
        from_node.as_deref(),
        request,
    )?;
    match reply.await {
        Ok(PostReply::Made { answer, ice_tag }) => {
            tracing::info!(?session, ?stream, ?side, "session made");
            let mut response = created(context, side, stream, session, answer, ice_tag);
            if from_node.is_some() && side == Side::Subscribe {
                tell_way(context, stream, response.headers_mut());
            }
            Ok(response)
        }
        Ok(PostReply::CounterOffered { offer, until }) => {
            tracing::debug!(?session, ?stream, "counter-offer made");
            let mut response = counter_offered(context, stream, session, offer, until);
            if from_node.is_some() {
                tell_way(context, stream, response.headers_mut());
            }
            Ok(response)
        }
        Ok(PostReply::Refused(refusal)) => {
            let problem = refused(refusal);
            tracing::debug!(?stream, ?side, ?problem, "offer refused");
            Err(problem)
        }
        Ok(PostReply::Busy) => Err(busy()),
        Ok(PostReply::TimedOut) => Err(too_late()),
        Ok(PostReply::Gone | PostReply::Offered { .. }) => Err(Problem::not_found(
            "the session was ended while it was being made",
        )),
        // The line's task ended: so does the server.
        Err(_) => Err(Error::Draining.into()),
    }
}

/// The answer to a counter-offer (WHEP §4.3.2): a PATCH of the session it was made for.
pub(crate) async fn answer(
    context: &Context,
    session: SessionId,
    answer: String,
    gate: OwnedMutexGuard<()>,
) -> Result<Response, Problem> {
    let (reply, receiver) = oneshot::channel();
    let ask = Ask::Answer {
        session,
        answer,
        kind: AnswerKind::Answer,
        // Its viewer checks us, not the other way round.
        reach: Reach::default(),
        reply,
        gate,
    };
    if !context.line.ask(ask) {
        return Err(busy());
    }
    match receiver.await {
        Ok(PostReply::Made { ice_tag, .. }) => {
            tracing::info!(?session, "counter-offer answered");
            let mut response = empty(StatusCode::NO_CONTENT);
            let headers = response.headers_mut();
            headers.insert(ETAG, etag(ice_tag));
            headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
            Ok(response)
        }
        Ok(PostReply::Refused(refusal)) => Err(refused(refusal)),
        Ok(PostReply::Busy) => Err(busy()),
        Ok(PostReply::TimedOut) => Err(too_late()),
        Ok(PostReply::Gone | PostReply::CounterOffered { .. } | PostReply::Offered { .. }) => {
            Err(Error::NoSuchSession.into())
        }
        Err(_) => Err(Error::Draining.into()),
    }
}

/// Admits the session and puts the question. From here on the line's task sees to it that the
/// admission is taken back, also when this request is given up.
fn ask(
    context: &Context,
    side: Side,
    stream: &StreamName,
    session: SessionId,
    offer: String,
    from_node: Option<&[NodeId]>,
    request: &Request,
) -> Result<oneshot::Receiver<PostReply>, Problem> {
    let source = block(request.source);
    let admission = context.act(|registry, now| {
        // Once it is in the registry, it ends with what it was let in by. Until here that may have
        // been taken back.
        context.guard.check(&request.grant, now)?;
        if !registry.has_room_for(source) {
            return Err(too_many_half_open());
        }
        registry.yield_place(source, now);
        let admission = match from_node {
            None => {
                let owner = request.grant.principal.clone();
                match side {
                    Side::Publish => registry.publish(stream, session, owner, now)?,
                    Side::Subscribe => registry.subscribe(stream, session, owner, now)?,
                }
            }
            Some(nodes) => {
                let here = context.cascades.node;
                admit_node(registry, side, stream, session, (here, nodes), request, now)?
            }
        };
        if let Some(authority) = request.grant.authority.clone() {
            registry.rest_on(session, authority);
        }
        registry.came_from(session, source);
        Ok::<_, Problem>(admission)
    })?;
    let (reply, receiver) = oneshot::channel();
    let negotiate = Box::new(Negotiate {
        // Numbered where it is sent.
        request: RequestId(0),
        session,
        stream: admission.stream,
        role: admission.role,
        offer,
        locality: request.locality(),
        msid: admission.msid,
        live: admission.live,
    });
    if context.line.ask(Ask::Post { negotiate, reply }) {
        Ok(receiver)
    } else {
        context.act(|registry, now| registry.abandon(session, now));
        Err(busy())
    }
}

/// Admits another node, unless the stream would come back to where it has been. `nodes` are those
/// it has come through, or the one that wants it.
fn admit_node(
    registry: &mut Registry,
    side: Side,
    stream: &StreamName,
    session: SessionId,
    (here, nodes): (NodeId, &[NodeId]),
    request: &Request,
    now: Now,
) -> Result<Admission, Problem> {
    let owner = request.grant.principal.clone();
    let has_been = |node: &NodeId| *node == here || registry.way(stream).contains(node);
    match side {
        Side::Publish if nodes.contains(&here) => Err(way::comes_back()),
        Side::Publish => {
            let admission = registry.publish(stream, session, owner, now)?;
            registry.came_through(session, nodes.to_vec());
            Ok(admission)
        }
        Side::Subscribe if nodes.iter().any(has_been) => Err(way::comes_back()),
        Side::Subscribe => {
            // Who may manage the stream relieves this node; others only say that they do.
            let seat = match request.grant.on(stream, Rights::ADMIN) {
                Ok(()) => Seat::Free,
                Err(_) => Seat::Counted,
            };
            Ok(registry.subscribe_node(stream, session, owner, seat, now)?)
        }
    }
}

/// The way a stream has come, for a node that takes it on.
fn tell_way(context: &Context, stream: &StreamName, headers: &mut HeaderMap) {
    let way = way::onward(context.cascades.node, context.registry().way(stream));
    if let Some(way) = way::render(&way) {
        headers.insert(way::WAY, way);
    }
}

fn created(
    context: &Context,
    side: Side,
    stream: &StreamName,
    session: SessionId,
    answer: String,
    ice_tag: u128,
) -> Response {
    let mut response = full(StatusCode::CREATED, SDP, answer);
    let headers = response.headers_mut();
    headers.insert(ETAG, etag(ice_tag));
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
    introduce(context, side, stream, session, headers);
    response
}

/// WHEP §4.3.2: 406 with an offer of ours, the session it will make, and until when. There is no
/// entity tag before there is an ICE session.
fn counter_offered(
    context: &Context,
    stream: &StreamName,
    session: SessionId,
    offer: String,
    until: SystemTime,
) -> Response {
    let mut response = full(StatusCode::NOT_ACCEPTABLE, SDP, offer);
    let headers = response.headers_mut();
    // RFC 9110 §5.6.7: a date has blanks and a comma, so it is quoted as a parameter.
    let content_type = format!("{SDP}; valid-until=\"{}\"", httpdate::fmt_http_date(until));
    if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(SDP));
    introduce(context, Side::Subscribe, stream, session, headers);
    response
}

/// What a client has to know of its session.
fn introduce(
    context: &Context,
    side: Side,
    stream: &StreamName,
    session: SessionId,
    headers: &mut HeaderMap,
) {
    let location = format!("/session/{}/{session}", path::encode(stream));
    // Unreserved characters, escapes and hex digits are always a valid value.
    let links = events::links(&location);
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(LOCATION, location);
    }
    // WHEP §4.10: each extension has a link of its own.
    for link in links.iter().filter(|_| side == Side::Subscribe) {
        if let Ok(link) = HeaderValue::from_str(link) {
            headers.append(LINK, link);
        }
    }
    tell_servers(context, session, headers);
}

/// RFC 9725 §4.6: the STUN and TURN servers.
pub(crate) fn tell_servers(context: &Context, session: SessionId, headers: &mut HeaderMap) {
    for link in context.ice_links.for_session(session, now().unix_ms) {
        headers.append(LINK, link);
    }
}

/// RFC 9725 §4.5: another node, if clients are sent there. The body is sent again, unchanged.
fn elsewhere(context: &Context, side: Side, stream: &StreamName) -> Option<Response> {
    let redirects = &context.config.redirects;
    let template = match side {
        Side::Publish => redirects.publish.as_ref(),
        Side::Subscribe => redirects.play.as_ref(),
    };
    let url = fill(template?, stream);
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    response
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_str(&url).ok()?);
    Some(response)
}

/// Whether a text can stand for another node: an absolute http or https URL, without a user name or
/// password, in which `{stream}` may stand for a stream's name.
pub fn is_url_template(text: &str) -> bool {
    let plain = text.replace("{stream}", "");
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| plain.strip_prefix(scheme));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    // RFC 3986 §2: the URL is repeated in a header.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]!$&'()*+,;=%@".contains(c);
    host.is_some_and(|host| !host.is_empty() && !host.contains('@')) && plain.chars().all(allowed)
}

/// A URL template with the stream's name in it.
pub(crate) fn fill(template: &str, stream: &StreamName) -> String {
    template.replace("{stream}", &path::encode(stream))
}

pub(crate) fn too_late() -> Problem {
    Problem::new(
        StatusCode::GATEWAY_TIMEOUT,
        "the media side did not answer in time",
    )
}

pub(crate) fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Malformed(rule) => Problem::bad_request(rule),
        Refusal::Unsupported(what) => Problem::unprocessable(what),
        // The line's task answers these by a reply of its own.
        Refusal::CounterOffer(_) | Refusal::Internal => Problem::internal(),
        Refusal::Full { what, max } => {
            Problem::overloaded(format!("the limit {what} of {max} is reached"))
        }
        Refusal::Draining => Error::Draining.into(),
    }
}

/// RFC 9725 §5: who floods has to wait, the others do not.
fn too_many_half_open() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too many sessions from this address have not connected yet",
    )
    .retry_after(HALF_OPEN_RETRY_AFTER)
}

pub(crate) fn busy() -> Problem {
    Problem::overloaded("too many requests wait for the media side")
}

/// Most connect within this.
const HALF_OPEN_RETRY_AFTER: Duration = Duration::from_secs(5);
