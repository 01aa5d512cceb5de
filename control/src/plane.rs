//! The only task that owns the line to the data plane.
//!
//! Handlers ask through [`Line`]; the task ties each answer to its request, feeds events and
//! reports into the registry and sends what the registry's verbs left in its outbox. A command of
//! the outbox is never lost: when the queue is full it waits. A negotiation that cannot be queued
//! is refused at once.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, OwnedMutexGuard, mpsc, oneshot};
use whitewater_link::{
    Answer, AnswerKind, Command, ControlPort, Event, LoopReport, MakeOffer, Negotiate,
    PatchOutcome, PatchRefusal, Reach, Refusal, Report, RequestId, SessionCommand, SessionId,
    SessionState, ShardIndex,
};
use whitewater_model::Answered;

use crate::context::{Context, now};
use crate::random;

/// The handlers' side.
pub(crate) struct Line {
    asks: mpsc::Sender<Ask>,
    outbox_filled: Notify,
    shards: Mutex<Vec<Option<ShardStatus>>>,
}

/// What one shard told last.
#[derive(Clone)]
pub(crate) struct ShardStatus {
    pub(crate) at: Instant,
    pub(crate) run: LoopReport,
    pub(crate) drops: Vec<(&'static str, u64)>,
}

/// A question that has an answer.
pub(crate) enum Ask {
    Post {
        negotiate: Box<Negotiate>,
        reply: oneshot::Sender<PostReply>,
    },
    Patch {
        session: SessionId,
        shard: ShardIndex,
        fragment: String,
        reply: oneshot::Sender<PatchReply>,
        /// Held until the answer is here, so that the next PATCH meets the tag this one leaves.
        gate: OwnedMutexGuard<()>,
    },
    /// A step of an ICE restart of a session with another server: to begin with, then with what that
    /// answered.
    Restart {
        session: SessionId,
        shard: ShardIndex,
        answer: Option<String>,
        reply: oneshot::Sender<PatchReply>,
        /// As in a `Patch`.
        gate: OwnedMutexGuard<()>,
    },
    /// An offer to another server.
    Offer {
        wish: Box<MakeOffer>,
        reply: oneshot::Sender<PostReply>,
    },
    /// What was said to an offer of the data plane's own; its reply is as that of a POST.
    Answer {
        session: SessionId,
        answer: String,
        kind: AnswerKind,
        /// Which of its candidates may be called.
        reach: Reach,
        reply: oneshot::Sender<PostReply>,
        /// As in a `Patch`.
        gate: OwnedMutexGuard<()>,
    },
}

/// What came of a POST.
pub(crate) enum PostReply {
    Made {
        answer: String,
        ice_tag: u128,
    },
    /// An offer of the data plane's own, which may be answered until then.
    CounterOffered {
        offer: String,
        until: SystemTime,
    },
    /// The offer that was asked for.
    Offered {
        offer: String,
    },
    Refused(Refusal),
    /// The queue to the data plane is full, or the data plane is gone.
    Busy,
    TimedOut,
    /// The stream was destroyed meanwhile.
    Gone,
}

/// What came of a PATCH.
pub(crate) enum PatchReply {
    Trickled,
    Restarted { fragment: String, ice_tag: u128 },
    Refused(PatchRefusal),
    Busy,
    TimedOut,
}

impl Line {
    /// A line for `shard_count` shards, and the end its task takes.
    pub(crate) fn new(shard_count: usize) -> (Self, mpsc::Receiver<Ask>) {
        let (asks, receiver) = mpsc::channel(ASKS_MAX);
        let line = Line {
            asks,
            outbox_filled: Notify::new(),
            shards: Mutex::new(vec![None; shard_count]),
        };
        (line, receiver)
    }

    /// Puts a question. False when too many wait already.
    pub(crate) fn ask(&self, ask: Ask) -> bool {
        self.asks.try_send(ask).is_ok()
    }

    /// Says that the outbox has something.
    pub(crate) fn wake(&self) {
        self.outbox_filled.notify_one();
    }

    pub(crate) fn shards(&self) -> Vec<Option<ShardStatus>> {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.clone()
    }

    fn note(&self, report: Report, at: Instant) {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = shards.get_mut(usize::from(report.shard.0)) {
            *slot = Some(ShardStatus {
                at,
                run: report.run,
                drops: report.drops,
            });
        }
    }
}

/// The task.
pub(crate) struct Plane {
    port: ControlPort,
    bell: AsyncFd<OwnedFd>,
    asks: mpsc::Receiver<Ask>,
    context: Arc<Context>,
    request_serial: u64,
    waiting: HashMap<RequestId, Waiting>,
    /// In the order asked, which is the order of the deadlines.
    deadlines: VecDeque<(Instant, RequestId)>,
    /// Taken from the outbox, not yet in the queue.
    backlog: VecDeque<Command>,
    ticked_at: Instant,
}

enum Waiting {
    Post {
        session: SessionId,
        reply: oneshot::Sender<PostReply>,
    },
    Patch {
        reply: oneshot::Sender<PatchReply>,
        gate: OwnedMutexGuard<()>,
    },
    Answer {
        session: SessionId,
        reply: oneshot::Sender<PostReply>,
        gate: OwnedMutexGuard<()>,
    },
}

impl Plane {
    pub(crate) fn new(
        port: ControlPort,
        asks: mpsc::Receiver<Ask>,
        context: Arc<Context>,
    ) -> io::Result<Self> {
        let fd = port.bell.try_clone_fd()?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that give their descriptor \
                      away; an OwnedFd keeps its own for as long as the AsyncFd has it"
        )]
        let bell = AsyncFd::with_interest(fd, Interest::READABLE)?;
        Ok(Plane {
            bell,
            port,
            asks,
            context,
            request_serial: 0,
            waiting: HashMap::new(),
            deadlines: VecDeque::new(),
            backlog: VecDeque::new(),
            ticked_at: Instant::now(),
        })
    }

    /// Serves the line for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let context = self.context.clone();
        loop {
            self.turn();
            self.port.bell.arm();
            if self.has_news() {
                self.port.bell.answer();
                // Other tasks get their turn however fast the data plane talks.
                tokio::task::yield_now().await;
                continue;
            }
            let nap = self.nap();
            tokio::select! {
                ready = self.bell.readable() => {
                    // Cleared before it is read, so that a ring in between is seen again.
                    if let Ok(mut guard) = ready {
                        guard.clear_ready();
                    }
                }
                ask = self.asks.recv() => {
                    if let Some(ask) = ask {
                        self.put(ask);
                    }
                }
                () = context.line.outbox_filled.notified() => {}
                () = tokio::time::sleep(nap) => {}
            }
            self.port.bell.answer();
        }
    }

    fn turn(&mut self) {
        self.hear_events();
        self.hear_reports();
        for _ in 0..ASKS_MAX {
            match self.asks.try_recv() {
                Ok(ask) => self.put(ask),
                Err(_) => break,
            }
        }
        self.expire();
        self.tick();
        self.flush();
        self.port.commands.ring();
    }

    fn has_news(&self) -> bool {
        self.port.events.iter().any(|queue| !queue.is_empty())
            || self.port.reports.iter().any(|queue| !queue.is_empty())
    }

    fn nap(&self) -> Duration {
        if !self.backlog.is_empty() {
            return BACKLOG_RETRY;
        }
        self.deadlines.front().map_or(TICK, |(deadline, _)| {
            deadline.saturating_duration_since(Instant::now()).min(TICK)
        })
    }

    fn put(&mut self, ask: Ask) {
        self.request_serial += 1;
        let request = RequestId(self.request_serial);
        let (command, waiting) = match ask {
            Ask::Post {
                mut negotiate,
                reply,
            } => {
                negotiate.request = request;
                let session = negotiate.session;
                (
                    Command::Negotiate(negotiate),
                    Waiting::Post { session, reply },
                )
            }
            Ask::Patch {
                session,
                shard,
                fragment,
                reply,
                gate,
            } => {
                let command = SessionCommand::Patch { request, fragment };
                (
                    Command::Session {
                        shard,
                        session,
                        command,
                    },
                    Waiting::Patch { reply, gate },
                )
            }
            Ask::Restart {
                session,
                shard,
                answer,
                reply,
                gate,
            } => {
                let command = SessionCommand::Restart { request, answer };
                (
                    Command::Session {
                        shard,
                        session,
                        command,
                    },
                    Waiting::Patch { reply, gate },
                )
            }
            Ask::Offer { mut wish, reply } => {
                wish.request = request;
                let session = wish.session;
                (Command::Offer(wish), Waiting::Post { session, reply })
            }
            Ask::Answer {
                session,
                answer,
                kind,
                reach,
                reply,
                gate,
            } => {
                let command = Command::Answer(Box::new(Answer {
                    request,
                    session,
                    answer,
                    kind,
                    reach,
                }));
                let waiting = Waiting::Answer {
                    session,
                    reply,
                    gate,
                };
                (command, waiting)
            }
        };
        if self.port.commands.is_abandoned() || self.port.commands.push(command).is_err() {
            self.give_up(waiting, GaveUp::Busy);
            return;
        }
        self.waiting.insert(request, waiting);
        let deadline = Instant::now() + self.context.config.answer_timeout;
        self.deadlines.push_back((deadline, request));
    }

    fn expire(&mut self) {
        let at = Instant::now();
        while let Some((deadline, request)) = self.deadlines.front().copied()
            && (deadline <= at || !self.waiting.contains_key(&request))
        {
            self.deadlines.pop_front();
            if let Some(waiting) = self.waiting.remove(&request) {
                tracing::warn!("the data plane did not answer in time");
                self.give_up(waiting, GaveUp::TimedOut);
            }
        }
    }

    fn give_up(&self, waiting: Waiting, why: GaveUp) {
        match waiting {
            Waiting::Post { session, reply } => {
                self.context
                    .act(|registry, now| registry.abandon(session, now));
                let _ = reply.send(match why {
                    GaveUp::Busy => PostReply::Busy,
                    GaveUp::TimedOut => PostReply::TimedOut,
                });
            }
            Waiting::Patch { reply, gate } => {
                drop(gate);
                let _ = reply.send(match why {
                    GaveUp::Busy => PatchReply::Busy,
                    GaveUp::TimedOut => PatchReply::TimedOut,
                });
            }
            Waiting::Answer {
                session,
                reply,
                gate,
            } => {
                let reply_with = match why {
                    // Nothing was asked: the counter-offer stays.
                    GaveUp::Busy => PostReply::Busy,
                    GaveUp::TimedOut => {
                        self.context
                            .act(|registry, now| registry.abandon(session, now));
                        PostReply::TimedOut
                    }
                };
                drop(gate);
                let _ = reply.send(reply_with);
            }
        }
    }

    fn hear_events(&mut self) {
        for index in 0..self.port.events.len() {
            for _ in 0..EVENTS_PER_TURN {
                let Some(event) = self
                    .port
                    .events
                    .get_mut(index)
                    .and_then(|queue| queue.pop())
                else {
                    break;
                };
                self.hear(event);
            }
        }
    }

    fn hear(&mut self, event: Event) {
        let context = self.context.clone();
        match event {
            Event::Answered {
                request,
                session,
                shard,
                answer,
                tracks,
                has_data_channel,
                video_line,
            } => {
                let Some(ice_tag) = random::bits() else {
                    context.act(|registry, now| registry.abandon(session, now));
                    tracing::error!("the kernel gives no random bits");
                    return;
                };
                let made = Answered {
                    shard,
                    tracks,
                    has_data_channel,
                    video_line,
                    ice_tag,
                };
                let wanted = context.act(|registry, now| registry.answered(session, made, now));
                let reply = match self.waiting.remove(&request) {
                    Some(Waiting::Post { reply, .. } | Waiting::Answer { reply, .. }) => reply,
                    _ => return,
                };
                if !wanted {
                    let _ = reply.send(PostReply::Gone);
                } else if reply.send(PostReply::Made { answer, ice_tag }).is_err() {
                    tracing::info!(?session, "the client hung up before it had its answer");
                    context.act(|registry, now| registry.abandon(session, now));
                } else {
                    tracing::debug!(?session, shard = shard.0, "session answered");
                }
            }
            Event::Offered {
                request,
                session,
                offer,
            } => self.offered(request, session, offer),
            Event::Refused {
                request,
                session,
                refusal,
            } => self.refused(request, session, refusal),
            Event::Patched {
                request,
                session,
                outcome,
            } => self.patched(request, session, outcome),
            Event::StateChanged { session, state } => {
                if state == SessionState::Connected {
                    tracing::info!(?session, "session connected");
                } else {
                    tracing::debug!(?session, state = state.as_str(), "session changed state");
                }
                context.act(|registry, now| registry.state_changed(session, state, now));
                context.cascades.hear_state(session, state);
            }
            Event::Closed { session, reason } => {
                tracing::info!(?session, reason = reason.as_str(), "session closed");
                context.act(|registry, now| registry.closed(session, reason, now));
                context.cascades.hear_closed(session, reason);
            }
            Event::StreamUp {
                stream,
                epoch,
                tracks,
            } => context.act(|registry, _| registry.stream_up(stream, epoch, tracks)),
            Event::Layers { session, layers } => {
                context.act(|registry, _| registry.layers_are(session, layers));
            }
            Event::Speaking { session, loudness } => {
                context.act(|registry, _| registry.speaking(session, loudness));
            }
            Event::Uncarried { session, epoch } => {
                if context.registry().should_reconnect(session, epoch) {
                    context.events.reconnect(&context, session);
                    context.cascades.hear_uncarried(session);
                }
            }
            Event::PublisherSilent { session, silent } => {
                context.act(|registry, now| registry.publisher_silent(session, silent, now));
            }
            Event::ShardRestarted { shard } => {
                tracing::warn!(shard = shard.0, "shard restarted");
            }
        }
    }

    /// An offer to another server, which has as long to answer as its caller waits, and a little.
    fn offered(&mut self, request: RequestId, session: SessionId, offer: String) {
        let context = self.context.clone();
        let until = Instant::now() + context.config.cascade.connect_max + OFFER_SPARE;
        let wanted = context.act(|registry, _| registry.counter_offered(session, until));
        let Some(Waiting::Post { reply, .. }) = self.waiting.remove(&request) else {
            return context.act(|registry, now| registry.abandon(session, now));
        };
        if !wanted {
            let _ = reply.send(PostReply::Gone);
        } else if reply.send(PostReply::Offered { offer }).is_err() {
            context.act(|registry, now| registry.abandon(session, now));
        }
    }

    fn refused(&mut self, request: RequestId, session: SessionId, refusal: Refusal) {
        let context = self.context.clone();
        match (self.waiting.remove(&request), refusal) {
            // It can still be answered until its time is over.
            (Some(Waiting::Answer { reply, .. }), refusal) => {
                let _ = reply.send(PostReply::Refused(refusal));
            }
            (Some(Waiting::Post { reply, .. }), Refusal::CounterOffer(offer)) => {
                let patience = context.config.counter_offer;
                let (mono, until) = (Instant::now() + patience, SystemTime::now() + patience);
                let wanted = context.act(|registry, _| registry.counter_offered(session, mono));
                if !wanted {
                    let _ = reply.send(PostReply::Gone);
                } else if reply
                    .send(PostReply::CounterOffered { offer, until })
                    .is_err()
                {
                    context.act(|registry, now| registry.abandon(session, now));
                }
            }
            // Nobody waits: the data plane must not keep it either.
            (_, Refusal::CounterOffer(_)) => context.act(|registry, now| {
                registry.counter_offered(session, now.mono);
                registry.abandon(session, now);
            }),
            (waiting, refusal) => {
                context.act(|registry, now| registry.refused(session, now));
                if let Some(Waiting::Post { reply, .. }) = waiting {
                    let _ = reply.send(PostReply::Refused(refusal));
                }
            }
        }
    }

    fn patched(
        &mut self,
        request: RequestId,
        session: SessionId,
        outcome: Result<PatchOutcome, PatchRefusal>,
    ) {
        let reply = match outcome {
            Ok(PatchOutcome::Trickled) => PatchReply::Trickled,
            Ok(PatchOutcome::Restarted { fragment }) => {
                // Also when nobody waits any more: the old tag names nothing now.
                let ice_tag = random::bits().unwrap_or_default();
                self.context
                    .act(|registry, _| registry.restarted(session, ice_tag));
                tracing::info!(?session, "ICE restarted");
                PatchReply::Restarted { fragment, ice_tag }
            }
            Err(refusal) => PatchReply::Refused(refusal),
        };
        if let Some(Waiting::Patch {
            reply: waiting,
            gate,
        }) = self.waiting.remove(&request)
        {
            drop(gate);
            let _ = waiting.send(reply);
        }
    }

    fn hear_reports(&mut self) {
        for index in 0..self.port.reports.len() {
            let mut newest = None;
            while let Some(report) = self
                .port
                .reports
                .get_mut(index)
                .and_then(|queue| queue.pop())
            {
                newest = Some(report);
            }
            if let Some(report) = newest {
                self.context
                    .act(|registry, now| registry.report(&report, now));
                self.context.line.note(report, now().mono);
            }
        }
    }

    fn tick(&mut self) {
        let at = Instant::now();
        if at.saturating_duration_since(self.ticked_at) < TICK {
            return;
        }
        self.ticked_at = at;
        self.context.act(|registry, now| registry.tick(now));
        self.context.gates.sweep();
        if self.port.commands.is_abandoned()
            && self.context.plane_alive.swap(false, Ordering::Relaxed)
        {
            tracing::error!("the data plane is gone");
        }
    }

    fn flush(&mut self) {
        self.backlog.append(self.context.registry().outbox());
        while let Some(command) = self.backlog.pop_front() {
            if let Err(command) = self.port.commands.push(command) {
                self.backlog.push_front(command);
                break;
            }
        }
    }
}

#[derive(Clone, Copy)]
enum GaveUp {
    Busy,
    TimedOut,
}

/// Questions that may wait for the task, which sleeps microseconds.
const ASKS_MAX: usize = 1024;
/// From one queue, before the others have their turn.
const EVENTS_PER_TURN: usize = 256;
/// For our own part of it.
const OFFER_SPARE: Duration = Duration::from_secs(5);
/// How often the registry's clocks are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How soon a full queue is tried again.
const BACKLOG_RETRY: Duration = Duration::from_millis(5);
