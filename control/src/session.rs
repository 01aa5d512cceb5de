//! The session resource of WHIP and WHEP: trickle and restart (RFC 9725 §4.3), end, mute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hyper::header::ETAG;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::sync::{OwnedMutexGuard, oneshot};
use whitewater_link::{MediaKind, PatchRefusal, SessionId};
use whitewater_model::{Error, SessionRef, StreamName};

use crate::auth::Rights;
use crate::context::Context;
use crate::http::body::read_json;
use crate::http::media_type::{self, FRAGMENT, SDP};
use crate::http::precondition::{Demand, etag};
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty, full, json};
use crate::http::route::ACCEPT_PATCH;
use crate::negotiate;
use crate::plane::{Ask, PatchReply};

pub(crate) async fn serve(
    context: &Context,
    stream: &StreamName,
    session: SessionId,
    request: &mut Request,
) -> Result<Response, Problem> {
    match request.method {
        Method::PATCH => patch(context, stream, session, request).await,
        Method::DELETE => delete(context, stream, session, request),
        Method::POST => mute(context, stream, session, request).await,
        _ => {
            // RFC 9725 §4.1: success without content.
            find_any(context, stream, session, request)?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
    }
}

/// RFC 9725 §4.2. The tag plays no part: ending needs no agreement about ICE.
fn delete(
    context: &Context,
    stream: &StreamName,
    session: SessionId,
    request: &Request,
) -> Result<Response, Problem> {
    find_any(context, stream, session, request)?;
    let principal = &request.grant.principal;
    context.act(|registry, now| registry.close_session(stream, session, principal, now))?;
    tracing::info!(?session, "session ended by its client");
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Trickle and restart. The checks always come in the same order, so that a client always hears
/// of the same mistake first: session, right, media type, tag missing, tag wrong, body.
async fn patch(
    context: &Context,
    stream: &StreamName,
    session: SessionId,
    request: &mut Request,
) -> Result<Response, Problem> {
    let Found::Live(found) = find_any(context, stream, session, request)? else {
        return answer(context, stream, session, request).await;
    };
    media_type::expect(&request.headers, &[FRAGMENT])
        .map_err(|problem| problem.with(ACCEPT_PATCH, FRAGMENT))?;
    let demand = Demand::read(&request.headers);
    check_tag(&demand, &found)?;
    let limits = &context.config.limits;
    let fragment = request
        .read_body(limits.fragment_size_max, limits.body_timeout)
        .await?;
    let gate = context.gates.enter(session).await?;
    // Those before us may have restarted or ended it.
    let found = find(context, stream, session, request)?;
    check_tag(&demand, &found)?;
    let fragment = String::from_utf8(fragment.into())
        .map_err(|_| Problem::bad_request("the fragment is not valid UTF-8"))?;
    let (reply, receiver) = oneshot::channel();
    let ask = Ask::Patch {
        session,
        shard: found.shard,
        fragment,
        reply,
        gate,
    };
    if !context.line.ask(ask) {
        return Err(negotiate::busy());
    }
    match receiver.await {
        // RFC 9725 §4.3.2: no body and no tag, it is the same ICE session.
        Ok(PatchReply::Trickled) => Ok(empty(StatusCode::NO_CONTENT)),
        Ok(PatchReply::Restarted { fragment, ice_tag }) => {
            let mut response = full(StatusCode::OK, FRAGMENT, fragment);
            response.headers_mut().insert(ETAG, etag(ice_tag));
            Ok(response)
        }
        Ok(PatchReply::Refused(refusal)) => Err(refused(refusal)),
        Ok(PatchReply::Busy) => Err(negotiate::busy()),
        Ok(PatchReply::TimedOut) => Err(Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the media side did not answer in time",
        )),
        Err(_) => Err(Error::Draining.into()),
    }
}

/// WHEP §4.3.2: the answer to a counter-offer. It needs no tag, there is none yet.
async fn answer(
    context: &Context,
    stream: &StreamName,
    session: SessionId,
    request: &mut Request,
) -> Result<Response, Problem> {
    media_type::expect(&request.headers, &[SDP])
        .map_err(|problem| problem.with(ACCEPT_PATCH, SDP))?;
    let limits = &context.config.limits;
    let text = request
        .read_text(limits.sdp_size_max, limits.body_timeout)
        .await?;
    let gate = context.gates.enter(session).await?;
    match find_any(context, stream, session, request)? {
        Found::Offered => negotiate::answer(context, session, text, gate).await,
        // Another answer was faster.
        Found::Live(_) => Err(Problem::new(
            StatusCode::CONFLICT,
            "this session's counter-offer was answered already",
        )),
    }
}

fn check_tag(demand: &Demand, found: &SessionRef) -> Result<(), Problem> {
    if *demand == Demand::None {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "a PATCH needs If-Match with the session's ETag, or * for a restart",
        ));
    }
    if demand.is_met_by(found.ice_tag) {
        Ok(())
    } else {
        Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "If-Match does not name the session's current ICE session",
        ))
    }
}

fn refused(refusal: PatchRefusal) -> Problem {
    match refusal {
        PatchRefusal::Malformed(rule) => Problem::bad_request(rule),
        PatchRefusal::Unsupported(what) => Problem::unprocessable(what),
        PatchRefusal::TooMany => too_many("this session was restarted too often"),
        PatchRefusal::Gone => Error::NoSuchSession.into(),
    }
}

fn too_many(detail: &'static str) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(PATCH_RETRY_AFTER)
}

#[derive(Deserialize)]
struct Mute {
    kind: Kind,
    enabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Audio,
    Video,
}

/// Live777's switch for one kind of media.
async fn mute(
    context: &Context,
    stream: &StreamName,
    session: SessionId,
    request: &mut Request,
) -> Result<Response, Problem> {
    find(context, stream, session, request)?;
    let Mute { kind, enabled } = read_json(context, request).await?;
    let kind = match kind {
        Kind::Audio => MediaKind::Audio,
        Kind::Video => MediaKind::Video,
    };
    let principal = &request.grant.principal;
    context.act(|registry, _| registry.mute(stream, session, principal, kind, !enabled))?;
    Ok(json("{}"))
}

/// The session, if it was made by whoever asks. Another one's is as good as none: who must not
/// touch it need not know that it is there.
pub(crate) fn find(
    context: &Context,
    stream: &StreamName,
    session: SessionId,
    request: &Request,
) -> Result<SessionRef, Problem> {
    let found = context
        .registry()
        .session(stream, session, &request.grant.principal)?;
    // Tokens with the same subject are one principal, but need not allow the same.
    request.grant.on(stream, found.side.into())?;
    Ok(found)
}

/// What a session URL stands for.
enum Found {
    Live(SessionRef),
    /// A counter-offer that waits for its answer.
    Offered,
}

/// As [`find`], also where a counter-offer waits for its answer.
fn find_any(
    context: &Context,
    stream: &StreamName,
    session: SessionId,
    request: &Request,
) -> Result<Found, Problem> {
    let principal = &request.grant.principal;
    let offered = context.registry().counter_offer(stream, session, principal);
    if offered.is_err() {
        return find(context, stream, session, request).map(Found::Live);
    }
    request.grant.on(stream, Rights::SUBSCRIBE)?;
    Ok(Found::Offered)
}

/// One PATCH at a time and session: each has to meet the tag the one before left.
#[derive(Default)]
pub(crate) struct Gates {
    gates: Mutex<HashMap<SessionId, Weak<tokio::sync::Mutex<()>>>>,
}

impl Gates {
    pub(crate) async fn enter(&self, session: SessionId) -> Result<OwnedMutexGuard<()>, Problem> {
        let gate = self.gate(session);
        if Arc::strong_count(&gate) > PATCHES_WAITING_MAX {
            return Err(too_many(
                "too many requests for this session at the same time",
            ));
        }
        Ok(gate.lock_owned().await)
    }

    fn gate(&self, session: SessionId) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = gates.entry(session).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let gate = Arc::default();
            *slot = Arc::downgrade(&gate);
            gate
        })
    }

    /// Forgets the gates nobody stands at.
    pub(crate) fn sweep(&self) {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| gate.strong_count() > 0);
    }
}

const PATCHES_WAITING_MAX: usize = 64;
const PATCH_RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(2);
