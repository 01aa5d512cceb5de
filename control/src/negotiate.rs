//! What WHIP's and WHEP's POST have in common: an offer in, an answer and a session URL out.

use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue, LINK, LOCATION};
use tokio::sync::oneshot;
use whitewater_link::{Negotiate, Refusal, RequestId, SessionId};
use whitewater_model::{Error, Side, StreamName};

use crate::context::Context;
use crate::http::media_type::{self, FRAGMENT, SDP};
use crate::http::path;
use crate::http::precondition::etag;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, full};
use crate::http::router::{ACCEPT_PATCH, ACCEPT_POST};
use crate::plane::{Ask, PostReply};
use crate::random;

pub(crate) async fn post(
    context: &Context,
    side: Side,
    stream: &StreamName,
    request: &mut Request,
) -> Result<Response, Problem> {
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
    let reply = ask(context, side, stream, session, offer, request)?;
    match reply.await {
        Ok(PostReply::Made { answer, ice_tag }) => {
            tracing::info!(?session, ?stream, ?side, "session made");
            Ok(created(context, stream, session, answer, ice_tag))
        }
        Ok(PostReply::Refused(refusal)) => {
            let problem = refused(refusal);
            tracing::debug!(?stream, ?side, ?problem, "offer refused");
            Err(problem)
        }
        Ok(PostReply::Busy) => Err(busy()),
        Ok(PostReply::TimedOut) => Err(Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the media side did not answer in time",
        )),
        Ok(PostReply::Gone) => Err(Problem::not_found(
            "the session was ended while it was being made",
        )),
        // The line's task ended: so does the server.
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
    request: &Request,
) -> Result<oneshot::Receiver<PostReply>, Problem> {
    let owner = request.grant.principal.clone();
    let admission = context.act(|registry, now| {
        // Once it is in the registry, it ends with what it was let in by. Until here that may have
        // been taken back.
        context.guard.check(&request.grant, now)?;
        let admission = match side {
            Side::Publish => registry.publish(stream, session, owner, now)?,
            Side::Subscribe => registry.subscribe(stream, session, owner, now)?,
        };
        if let Some(authority) = request.grant.authority.clone() {
            registry.rest_on(session, authority);
        }
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
    });
    if context.line.ask(Ask::Post { negotiate, reply }) {
        Ok(receiver)
    } else {
        context.act(|registry, now| registry.abandon(session, now));
        Err(busy())
    }
}

fn created(
    context: &Context,
    stream: &StreamName,
    session: SessionId,
    answer: String,
    ice_tag: u128,
) -> Response {
    let mut response = full(StatusCode::CREATED, SDP, answer);
    let headers = response.headers_mut();
    let location = format!("/session/{}/{session}", path::encode(stream));
    // Unreserved characters, escapes and hex digits are always a valid value.
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(LOCATION, location);
    }
    headers.insert(ETAG, etag(ice_tag));
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
    for link in &context.ice_links {
        headers.append(LINK, link.clone());
    }
    response
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Malformed(rule) => Problem::bad_request(rule),
        Refusal::Unsupported(what) => Problem::unprocessable(what),
        // WHEP §4.3.2 leaves the choice between a counter-offer and refusing. The line has no
        // way to bring a counter-offer's answer back, so none is made.
        Refusal::CounterOffer(_) => Problem::unprocessable(
            "the offer has no section and codec for any track of this stream",
        ),
        Refusal::Full { what, max } => {
            Problem::overloaded(format!("the limit {what} of {max} is reached"))
        }
        Refusal::Draining => Error::Draining.into(),
        Refusal::Internal => Problem::internal(),
    }
}

pub(crate) fn busy() -> Problem {
    Problem::overloaded("too many requests wait for the media side")
}
