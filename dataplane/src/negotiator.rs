//! SDP and connection set-up, off the hot cores.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rand::rngs::StdRng;
use whitewater_engine::Command as ShardCommand;
use whitewater_engine::admission::{Admission, Negotiator as Admitter};
use whitewater_link::queue::{Doorbell, Receiver, Sender};
use whitewater_link::{
    Answer, Command, Event, MakeOffer, Negotiate, PatchRefusal, Refusal, RequestId, SessionCommand,
    SessionId, ShardIndex,
};
use whitewater_net::join_in_giving_back;
use whitewater_sdp::{Fragment, Limits};

use crate::addresses::Addresses;
use crate::dial::{Fresh, Opener, SOCKETS_MAX};

/// How many sessions each shard has: written by the shard, read when a session is placed.
pub(crate) type Loads = Arc<[AtomicU32]>;

/// Turns control's commands into the shards'.
pub(crate) struct Negotiator {
    pub(crate) commands: Receiver<Command>,
    pub(crate) bell: Arc<Doorbell>,
    pub(crate) events: Sender<Event>,
    pub(crate) shards: Vec<Sender<ShardCommand>>,
    pub(crate) loads: Loads,
    pub(crate) admitter: Admitter<StdRng>,
    pub(crate) addresses: Addresses,
    pub(crate) sessions_max: u32,
    pub(crate) opener: Opener,
    /// The sockets of offers to other servers that wait for their answer.
    pub(crate) fresh: HashMap<SessionId, Fresh>,
}

impl Negotiator {
    /// Works until control is gone or says so.
    pub(crate) fn run(mut self) {
        loop {
            while let Some(command) = self.commands.pop() {
                if !self.handle(command) {
                    return;
                }
            }
            if self.commands.is_abandoned() && self.commands.is_empty() {
                self.shut_down();
                return;
            }
            self.bell.arm();
            if self.commands.is_empty() {
                // Bounded, so that control's end without a word is noticed.
                self.bell.wait_for(std::time::Duration::from_secs(1));
            }
            self.bell.answer();
            join_in_giving_back();
        }
    }

    /// False when this was the last command.
    fn handle(&mut self, command: Command) -> bool {
        match command {
            Command::Negotiate(negotiate) => {
                if let Err(refusal) = self.admit(&negotiate) {
                    self.refuse(negotiate.request, negotiate.session, refusal);
                }
            }
            Command::Offer(wish) => match self.offer(&wish) {
                Ok(offer) => self.tell(Event::Offered {
                    request: wish.request,
                    session: wish.session,
                    offer,
                }),
                Err(refusal) => self.refuse(wish.request, wish.session, refusal),
            },
            Command::Answer(answer) => {
                if let Err(refusal) = self.answer(&answer) {
                    self.refuse(answer.request, answer.session, refusal);
                }
            }
            Command::Withdraw { session } => {
                self.fresh.remove(&session);
                self.admitter.withdraw(session);
            }
            Command::Session {
                shard,
                session,
                command,
            } => match command {
                SessionCommand::Patch { request, fragment } => {
                    match Fragment::parse(&fragment, &Limits::default()) {
                        Ok(fragment) => {
                            let patch = ShardCommand::Patch {
                                request,
                                session,
                                fragment: Box::new(fragment),
                            };
                            if !self.send(shard, patch) {
                                self.tell(Event::Patched {
                                    request,
                                    session,
                                    outcome: Err(PatchRefusal::TooMany),
                                });
                            }
                        }
                        Err(malformed) => self.tell(Event::Patched {
                            request,
                            session,
                            outcome: Err(PatchRefusal::Malformed(malformed.to_string())),
                        }),
                    }
                }
                SessionCommand::Restart { request, answer } => {
                    self.restart((shard, session), request, answer);
                }
                SessionCommand::Close { reason } => {
                    self.send_surely(shard, || ShardCommand::Close { session, reason });
                }
                SessionCommand::Mute { kind, muted } => {
                    self.send_surely(shard, || ShardCommand::Mute {
                        session,
                        kind,
                        muted,
                    });
                }
                SessionCommand::Select { selection } => {
                    self.send_surely(shard, || ShardCommand::Select {
                        session,
                        selection: selection.clone(),
                    });
                }
            },
            Command::DestroyStream { stream, reason } => {
                self.admitter.forget_stream(stream);
                let admitter = &self.admitter;
                self.fresh
                    .retain(|session, _| admitter.open_offer_shard(*session).is_some());
                for index in 0..self.shards.len() {
                    let shard = ShardIndex(index as u16);
                    self.send_surely(shard, || ShardCommand::DestroyStream { stream, reason });
                }
            }
            Command::Shutdown => {
                self.shut_down();
                return false;
            }
        }
        true
    }

    /// A step of an ICE restart of a session with another server.
    fn restart(
        &mut self,
        (shard, session): (ShardIndex, SessionId),
        request: RequestId,
        answer: Option<String>,
    ) {
        let parse = |text: String| Fragment::parse(&text, &Limits::default()).map(Box::new);
        let refusal = match answer.map(parse).transpose() {
            Ok(answer) => {
                let restart = ShardCommand::Restart {
                    request,
                    session,
                    answer,
                };
                let sent = self.send(shard, restart);
                (!sent).then_some(PatchRefusal::TooMany)
            }
            Err(malformed) => Some(PatchRefusal::Malformed(malformed.to_string())),
        };
        if let Some(refusal) = refusal {
            self.tell(Event::Patched {
                request,
                session,
                outcome: Err(refusal),
            });
        }
    }

    fn refuse(&mut self, request: RequestId, session: SessionId, refusal: Refusal) {
        self.tell(Event::Refused {
            request,
            session,
            refusal,
        });
    }

    fn admit(&mut self, negotiate: &Negotiate) -> Result<(), Refusal> {
        let shard = self.least_loaded()?;
        let now = Instant::now();
        let addresses = self.addresses.offered(now, shard, negotiate.locality);
        if addresses.is_empty() {
            tracing::warn!("no address to offer: set media.advertise or media.udp");
            return Err(Refusal::Internal);
        }
        let admitter = &mut self.admitter;
        let admission = contained(negotiate.session, || {
            admitter.admit(now, negotiate, shard, &addresses)
        })?;
        self.place(shard, admission)
    }

    /// An offer of ours, with a socket that waits for its session.
    fn offer(&mut self, wish: &MakeOffer) -> Result<String, Refusal> {
        let shard = self.least_loaded()?;
        let fresh = self.opener.open().map_err(|error| {
            tracing::error!(%error, "no socket for a session with another server");
            Refusal::Internal
        })?;
        let fresh = fresh.ok_or(Refusal::Full {
            what: "sessions with other servers",
            max: SOCKETS_MAX as u32,
        })?;
        let now = Instant::now();
        let candidates = self.addresses.own(now, fresh.own.port, wish.locality);
        let admitter = &mut self.admitter;
        let offer = contained(wish.session, || {
            admitter.offer(wish, shard, fresh.own, &candidates)
        })?;
        self.fresh.insert(wish.session, fresh);
        Ok(offer)
    }

    fn answer(&mut self, answer: &Answer) -> Result<(), Refusal> {
        let shard = self.admitter.open_offer_shard(answer.session);
        if !self.has_room() {
            return Err(self.full());
        }
        let admitter = &mut self.admitter;
        let admission = contained(answer.session, || admitter.answer(Instant::now(), answer))?;
        let shard = shard.ok_or(Refusal::Internal)?;
        let Some(fresh) = self.fresh.remove(&answer.session) else {
            return self.place(shard, admission);
        };
        let port = fresh.own.port;
        if !self.opener.hand_over(shard, fresh) {
            return Err(self.full());
        }
        let placed = self.place(shard, admission);
        if placed.is_err() {
            self.opener.close(port);
        }
        placed
    }

    fn least_loaded(&self) -> Result<ShardIndex, Refusal> {
        let load = |index: usize| self.loads[index].load(Ordering::Relaxed);
        let least = (0..self.shards.len()).min_by_key(|&index| load(index));
        let index = least.filter(|_| self.has_room());
        index
            .map(|index| ShardIndex(index as u16))
            .ok_or_else(|| self.full())
    }

    fn place(&mut self, shard: ShardIndex, admission: Box<Admission>) -> Result<(), Refusal> {
        if !self.send(shard, ShardCommand::Admit(admission)) {
            return Err(self.full());
        }
        // Counted at once, so that a burst of joins spreads; the shard's own count follows.
        if let Some(load) = self.loads.get(usize::from(shard.0)) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        let loads = self.loads.iter();
        let total: u32 = loads.map(|load| load.load(Ordering::Relaxed)).sum();
        total < self.sessions_max
    }

    fn full(&self) -> Refusal {
        Refusal::Full {
            what: "sessions",
            max: self.sessions_max,
        }
    }

    fn send(&mut self, shard: ShardIndex, command: ShardCommand) -> bool {
        self.shards
            .get_mut(usize::from(shard.0))
            .is_some_and(|queue| queue.send(command).is_ok())
    }

    /// For commands that must arrive: waits while the shard works its queue off.
    fn send_surely(&mut self, shard: ShardIndex, command: impl Fn() -> ShardCommand) {
        let Some(queue) = self.shards.get_mut(usize::from(shard.0)) else {
            return;
        };
        while !queue.is_abandoned() && queue.send(command()).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn tell(&mut self, event: Event) {
        let mut event = event;
        while let Err(back) = self.events.send(event) {
            if self.events.is_abandoned() {
                return;
            }
            event = back;
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn shut_down(&mut self) {
        for index in 0..self.shards.len() {
            self.send_surely(ShardIndex(index as u16), || ShardCommand::Shutdown);
        }
    }
}

/// Nothing of a half-built session is kept; the negotiator's random generator may have moved on,
/// which does no harm.
fn contained<T>(
    session: SessionId,
    work: impl FnOnce() -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!(?session, "negotiation panicked");
        Err(Refusal::Internal)
    })
}
