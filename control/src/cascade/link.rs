//! One stream's way between this node and another server: kept up until nobody wants it any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use whitewater_link::{
    AnswerKind, CloseReason, Locality, MakeOffer, RequestId, SessionId, SessionState,
};
use whitewater_model::{Error, StreamName};

use super::failure::Failure;
use super::far::{Created, FarSession};
use super::{Direction, News, Phase, Standing, way};
use crate::auth::Grant;
use crate::context::Context;
use crate::http::problem::Problem;
use crate::negotiate;
use crate::outbound::Url;
use crate::plane::{Ask, PostReply};
use crate::random;

/// What is kept up.
pub(super) struct Link {
    /// Its place in the book.
    pub(super) id: u64,
    pub(super) stream: StreamName,
    pub(super) direction: Direction,
    pub(super) url: Url,
    /// The URL as it is shown: without what may be secret.
    pub(super) shown: String,
    pub(super) token: Option<HeaderValue>,
    pub(super) grant: Grant,
    /// True once nobody wants it any more.
    pub(super) end: watch::Receiver<bool>,
}

/// A session that came about.
pub(super) struct Up {
    pub(super) session: SessionId,
    pub(super) far: FarSession,
    pub(super) news: watch::Receiver<News>,
    /// When its media could flow first.
    connected_at: Option<Instant>,
    /// When another path was looked for last.
    pub(super) restarted_at: Option<Instant>,
}

/// How far an attempt came, to be undone.
#[derive(Default)]
struct Traces {
    session: Option<SessionId>,
    far: Option<FarSession>,
}

impl Link {
    /// Brings a session about, tells `told` what came of it, and keeps it up.
    pub(super) async fn keep(
        mut self,
        context: Arc<Context>,
        told: oneshot::Sender<Result<(), Problem>>,
    ) {
        let mut up = match self.first(&context).await {
            Ok(up) => {
                let _ = told.send(Ok(()));
                up
            }
            Err(failure) => {
                tracing::info!(stream = ?self.stream, server = ?self.url, why = %failure, "no session with the other server");
                let _ = told.send(Err(failure.into()));
                return;
            }
        };
        // Nobody watches what comes from elsewhere since then.
        let mut idle_since = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            let reason = self.watch_over(&context, &mut up, &mut idle_since).await;
            context.cascades.forget(up.session);
            tracing::info!(stream = ?self.stream, server = ?self.url, reason = reason.as_str(), "session with the other server ended");
            if is_final(reason) || *self.end.borrow() {
                if !context.registry().is_draining() {
                    // A server that is gone takes its time not to answer, and another link may be
                    // wanted meanwhile.
                    context.cascades.leave(self.id);
                }
                context.cascades.caller.delete(&up.far).await;
                return;
            }
            context.cascades.note(self.id, |standing| {
                standing.phase = Phase::Resting;
                standing.failure = Some(reason.as_str());
            });
            // A server that is not reached any more takes its time not to answer.
            let (far, caller) = (up.far, context.clone());
            tokio::spawn(async move { caller.cascades.caller.delete(&far).await });
            let lasted = up.connected_at.map(|at| at.elapsed());
            if lasted.is_some_and(|lasted| lasted >= STEADY_AFTER) {
                pause = PAUSE_MIN;
            }
            up = loop {
                if !self.rest(&context, pause, &mut idle_since).await {
                    return;
                }
                pause = (pause * 2).min(PAUSE_MAX);
                let budget = context.config.cascade.connect_max;
                match self.attempt(&context, budget).await {
                    Ok(up) => break up,
                    Err(failure) => {
                        tracing::info!(stream = ?self.stream, server = ?self.url, why = %failure, "no session with the other server");
                        if failure.is_final() {
                            return;
                        }
                        context.cascades.note(self.id, |standing| {
                            standing.failure = Some(failure.label());
                            standing.failures = standing.failures.saturating_add(1);
                        });
                        pause = failure
                            .retry_after()
                            .map_or(pause, |after| after.max(pause));
                    }
                }
            };
        }
    }

    /// The attempt that a caller waits for. Where the other server says when to come again, that
    /// is done as long as the time lasts.
    async fn first(&self, context: &Arc<Context>) -> Result<Up, Failure> {
        let until = Instant::now() + context.config.cascade.connect_max;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let failure = match self.attempt(context, left).await {
                Ok(up) => return Ok(up),
                Err(failure) => failure,
            };
            let after = failure.retry_after().map(|after| after.max(PAUSE_MIN));
            let in_time = |after: &Duration| Instant::now() + *after + ATTEMPT_MIN < until;
            match after.filter(in_time) {
                Some(after) => sleep(after).await,
                None => return Err(failure),
            }
        }
    }

    async fn attempt(&self, context: &Arc<Context>, budget: Duration) -> Result<Up, Failure> {
        let mut traces = Traces::default();
        let mut end = self.end.clone();
        let outcome = tokio::select! {
            tried = timeout(budget, self.connect(context, &mut traces)) => {
                tried.unwrap_or(Err(Failure::TimedOut))
            }
            _ = end.wait_for(|end| *end) => Err(Failure::Here(Problem::new(
                StatusCode::CONFLICT,
                "the link is not wanted any more",
            ))),
        };
        context.cascades.count(outcome.as_ref().err());
        if outcome.is_err() {
            if let Some(session) = traces.session {
                context.cascades.forget(session);
                context.act(|registry, now| registry.abandon(session, now));
            }
            if let Some(far) = traces.far {
                context.cascades.caller.delete(&far).await;
            }
        }
        outcome
    }

    async fn connect(&self, context: &Context, traces: &mut Traces) -> Result<Up, Failure> {
        let caller = &context.cascades.caller;
        let target = caller.look_up(self.url.clone()).await?;
        let session = random::session_id().ok_or_else(|| Failure::Here(Problem::internal()))?;
        let news = context.cascades.listen(session);
        traces.session = Some(session);
        let admission = self.admit(context, session)?;
        let wish = MakeOffer {
            request: RequestId(0),
            session,
            stream: admission.stream,
            role: admission.role,
            locality: if target.is_loopback() {
                Locality::Loopback
            } else {
                Locality::Remote
            },
            msid: admission.msid,
            live: admission.live,
        };
        let (reply, receiver) = oneshot::channel();
        let wish = Box::new(wish);
        if !context.line.ask(Ask::Offer { wish, reply }) {
            return Err(Failure::NotNow(negotiate::busy()));
        }
        let offer = match receiver.await {
            Ok(PostReply::Offered { offer }) => offer,
            reply => return Err(refused_here(reply.ok())),
        };
        let here = context.cascades.node;
        let told = match self.direction {
            Direction::Pull => vec![here],
            Direction::Push => way::onward(here, context.registry().way(&self.stream)),
        };
        let token = self.token.as_ref();
        let created = caller.post(&target, &offer, token, &told).await?;
        traces.far = Some(created.session.clone());
        self.check_way(context, session, &created)?;
        let shown = shown(created.session.url());
        context.act(|registry, _| registry.far_session(session, &shown));
        self.answer(context, session, created, news).await
    }

    fn admit(
        &self,
        context: &Context,
        session: SessionId,
    ) -> Result<whitewater_model::Admission, Failure> {
        context.act(|registry, now| {
            let stands = context.guard.check(&self.grant, now);
            stands.map_err(Failure::Here)?;
            let owner = self.grant.principal.clone();
            let (stream, url) = (&self.stream, self.shown.as_str());
            let admission = match self.direction {
                Direction::Pull => registry.pull(stream, session, owner, url, now)?,
                Direction::Push => registry.push(stream, session, owner, url, now)?,
            };
            if let Some(authority) = self.grant.authority.clone() {
                registry.rest_on(session, authority);
            }
            Ok(admission)
        })
    }

    /// A stream that has been here must not come again.
    fn check_way(
        &self,
        context: &Context,
        session: SessionId,
        created: &Created,
    ) -> Result<(), Failure> {
        if self.direction == Direction::Push {
            return Ok(());
        }
        let here = context.cascades.node;
        if created.way.contains(&here) || created.way.len() >= way::NODES_MAX {
            return Err(Failure::Loop);
        }
        let way = created.way.clone();
        context.act(|registry, _| registry.came_through(session, way));
        Ok(())
    }

    async fn answer(
        &self,
        context: &Context,
        session: SessionId,
        created: Created,
        news: watch::Receiver<News>,
    ) -> Result<Up, Failure> {
        let gate = context.gates.enter(session).await.map_err(Failure::Here)?;
        let (reply, receiver) = oneshot::channel();
        let ask = Ask::Answer {
            session,
            answer: created.answer,
            kind: created.kind,
            reach: created.reach,
            reply,
            gate,
        };
        if !context.line.ask(ask) {
            return Err(Failure::NotNow(negotiate::busy()));
        }
        match receiver.await {
            Ok(PostReply::Made { answer, .. }) => {
                if created.kind == AnswerKind::CounterOffer {
                    let caller = &context.cascades.caller;
                    caller.answer_offer(&created.session, answer).await?;
                }
                tracing::info!(?session, stream = ?self.stream, server = ?self.url, direction = self.direction.as_str(), "session with another server made");
                Ok(Up {
                    session,
                    far: created.session,
                    news,
                    connected_at: None,
                    restarted_at: None,
                })
            }
            Ok(PostReply::Refused(refusal)) => Err(Failure::Misshapen(match refusal {
                whitewater_link::Refusal::Malformed(why)
                | whitewater_link::Refusal::Unsupported(why) => {
                    format!("its answer cannot be taken: {why}")
                }
                _ => return Err(refused_here(None)),
            })),
            reply => Err(refused_here(reply.ok())),
        }
    }

    /// Returns when the session is over, and why.
    async fn watch_over(
        &mut self,
        context: &Context,
        up: &mut Up,
        idle_since: &mut Instant,
    ) -> CloseReason {
        let mut gone_since = None;
        loop {
            let news = *up.news.borrow_and_update();
            if let Some(reason) = news.closed {
                return reason;
            }
            let session = up.session;
            let end = |reason| context.act(|registry, now| registry.end(session, reason, now));
            if *self.end.borrow() {
                end(CloseReason::Deleted);
                return CloseReason::Deleted;
            }
            if news.state == SessionState::Disconnected && !self.finds_a_path(context, up).await {
                // A server that is heard of no more may have been started anew: waiting until its
                // consent has expired would only take longer.
                end(CloseReason::PeerLost);
            }
            if news.uncarried {
                // Another publisher came, with codecs that were not offered.
                end(CloseReason::Rerouted);
            }
            if news.state == SessionState::Connected && up.connected_at.is_none() {
                up.connected_at = Some(Instant::now());
                self.connected(context);
            }
            if self.is_idle(context, idle_since) {
                end(CloseReason::Idle);
                return CloseReason::Idle;
            }
            // The data plane's last word always comes; should it not, this is its place.
            if context.registry().is_live(up.session) {
                gone_since = None;
            } else if gone_since.get_or_insert_with(Instant::now).elapsed() > LAST_WORD_MAX {
                return CloseReason::Internal;
            }
            tokio::select! {
                changed = up.news.changed() => if changed.is_err() {
                    return CloseReason::Internal;
                },
                _ = self.end.changed() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn connected(&self, context: &Context) {
        context.cascades.note(self.id, |standing| {
            *standing = Standing {
                phase: Phase::Connected,
                failure: None,
                failures: 0,
            };
        });
        let policy = &context.config.policy;
        if self.direction == Direction::Push && policy.cascade_push_close_sub {
            context.act(|registry, now| registry.send_viewers_away(&self.stream, now));
        }
    }

    /// Whether nobody has watched what comes from elsewhere for too long.
    fn is_idle(&self, context: &Context, since: &mut Instant) -> bool {
        let max = context.config.cascade.idle_timeout;
        if self.direction == Direction::Push || max.is_zero() {
            return false;
        }
        if context.registry().is_watched(&self.stream) {
            *since = Instant::now();
        }
        since.elapsed() >= max
    }

    /// Waits before the next attempt. False when there is no use in one.
    async fn rest(&mut self, context: &Context, pause: Duration, idle_since: &mut Instant) -> bool {
        let until = Instant::now() + spread(pause);
        let rests = |standing: &mut Standing| standing.phase = Phase::Resting;
        context.cascades.note(self.id, rests);
        loop {
            let wanted = match self.direction {
                Direction::Pull => !self.is_idle(context, idle_since),
                Direction::Push => context.registry().has_stream(&self.stream),
            };
            if !wanted || *self.end.borrow() || context.registry().is_draining() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let tries = |standing: &mut Standing| standing.phase = Phase::Connecting;
                context.cascades.note(self.id, tries);
                return true;
            }
            tokio::select! {
                _ = self.end.changed() => {}
                () = sleep(left.min(LOOK_EVERY)) => {}
            }
        }
    }
}

/// Whether the session's end is the link's.
fn is_final(reason: CloseReason) -> bool {
    match reason {
        CloseReason::Deleted
        | CloseReason::StreamDestroyed
        | CloseReason::Expired
        | CloseReason::Revoked
        | CloseReason::TakenOver
        | CloseReason::Shutdown
        | CloseReason::Idle => true,
        CloseReason::PeerClosed
        | CloseReason::NeverConnected
        | CloseReason::PeerLost
        | CloseReason::HandshakeFailed
        | CloseReason::Rerouted
        | CloseReason::Internal => false,
    }
}

/// Why the data plane would not.
fn refused_here(reply: Option<PostReply>) -> Failure {
    match reply {
        Some(PostReply::Refused(refusal)) => match refusal {
            whitewater_link::Refusal::Full { .. } => Failure::NotNow(negotiate::refused(refusal)),
            // A publisher that is not known yet, or one that left.
            whitewater_link::Refusal::Unsupported(_) => Failure::NotNow(
                Error::NotLive {
                    retry_after: PAUSE_MIN,
                }
                .into(),
            ),
            refusal => Failure::Here(negotiate::refused(refusal)),
        },
        Some(PostReply::Busy) => Failure::NotNow(negotiate::busy()),
        Some(PostReply::TimedOut) => Failure::NotNow(negotiate::too_late()),
        Some(PostReply::Gone) => Failure::Here(Error::NoSuchStream.into()),
        _ => Failure::Here(Error::Draining.into()),
    }
}

/// A URL without the part that may hold a token.
pub(super) fn shown(url: &Url) -> String {
    let text = url.text();
    match text.split_once('?') {
        Some((start, query)) => match crate::auth::redact(query) {
            query if query.is_empty() => start.to_owned(),
            query => format!("{start}?{query}"),
        },
        None => text,
    }
}

/// Three quarters to all of it, so that many links do not come back at the same moment.
fn spread(pause: Duration) -> Duration {
    let bits = random::bits().unwrap_or_default() as u32 & 0xff;
    pause * (768 + bits) / 1024
}

/// The first pause; each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A session that was connected for this long was no failure.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// Less time than this is not enough for another attempt.
const ATTEMPT_MIN: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LAST_WORD_MAX: Duration = Duration::from_secs(10);
