//! SDP and connection set-up, off the hot cores.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rand::rngs::StdRng;
use whitewater_engine::Command as ShardCommand;
use whitewater_engine::admission::Negotiator as Admitter;
use whitewater_link::queue::{Doorbell, Receiver, Sender};
use whitewater_link::{
    Command, Event, Negotiate, PatchRefusal, Refusal, SessionCommand, ShardIndex,
};
use whitewater_sdp::{Fragment, Limits};

use crate::addresses::Addresses;

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
        }
    }

    /// False when this was the last command.
    fn handle(&mut self, command: Command) -> bool {
        match command {
            Command::Negotiate(negotiate) => self.negotiate(&negotiate),
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
            },
            Command::DestroyStream { stream, reason } => {
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

    fn negotiate(&mut self, negotiate: &Negotiate) {
        let refusal = match self.admit(negotiate) {
            Ok(()) => return,
            Err(refusal) => refusal,
        };
        self.tell(Event::Refused {
            request: negotiate.request,
            session: negotiate.session,
            refusal,
        });
    }

    fn admit(&mut self, negotiate: &Negotiate) -> Result<(), Refusal> {
        let full = Refusal::Full {
            what: "sessions",
            max: self.sessions_max,
        };
        let load = |index: usize| self.loads[index].load(Ordering::Relaxed);
        let total: u32 = (0..self.shards.len()).map(load).sum();
        let least = (0..self.shards.len()).min_by_key(|&index| load(index));
        let Some(index) = least.filter(|_| total < self.sessions_max) else {
            return Err(full);
        };
        let shard = ShardIndex(index as u16);
        let now = Instant::now();
        let addresses: Vec<SocketAddr> = self.addresses.offered(now, shard, negotiate.locality);
        if addresses.is_empty() {
            tracing::warn!("no address to offer: set media.advertise or media.udp");
            return Err(Refusal::Internal);
        }
        let admitter = &mut self.admitter;
        let admit = || admitter.admit(now, negotiate, shard, &addresses);
        // Nothing of a half-built session is kept; the negotiator's random generator may have
        // moved on, which does no harm.
        let admission = catch_unwind(AssertUnwindSafe(admit)).unwrap_or_else(|_| {
            tracing::error!(session = ?negotiate.session, "negotiation panicked");
            Err(Refusal::Internal)
        })?;
        if !self.send(shard, ShardCommand::Admit(admission)) {
            return Err(full);
        }
        // Counted at once, so that a burst of joins spreads; the shard's own count follows.
        self.loads[index].fetch_add(1, Ordering::Relaxed);
        Ok(())
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
