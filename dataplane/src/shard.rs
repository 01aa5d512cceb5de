//! One core's loop: collect, handle, act.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use whitewater_engine::{
    Batch, Command, Config, Datagram, Engine, Input, Outbox, Pin, Run, limits,
};
use whitewater_link::queue::{Doorbell, Receiver, Sender};
use whitewater_link::{CloseReason, Event, LoopReport, PeerAddr, ShardUplink, Transport};
use whitewater_net::{Backend, Outgoing, Train, give_memory_back, gso};

use crate::dial::FarLine;
use crate::mesh::Mesh;
use crate::negotiator::Loads;
use crate::tcp::{Counters, ShardLine};

/// What one loop owns.
pub(crate) struct Shard {
    pub(crate) config: Config,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) bell: Arc<Doorbell>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) uplink: ShardUplink,
    pub(crate) mesh: Mesh,
    pub(crate) pins: Sender<Pin>,
    pub(crate) tcp: Option<ShardLine>,
    pub(crate) far: FarLine,
    pub(crate) loads: Loads,
    pub(crate) run: LoopReport,
    /// Events that found control's queue full: reliable, so they wait.
    pub(crate) events_waiting: VecDeque<Event>,
    pub(crate) outbox: Outbox,
    pub(crate) outgoing: Outgoing,
    pub(crate) shutting_down_since: Option<Instant>,
}

impl Shard {
    /// Runs until told to end; starts afresh after a panic outside any session.
    pub(crate) fn run(mut self) {
        loop {
            let now = Instant::now();
            let unix_time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            self.config.unix_time = unix_time.unwrap_or_default();
            let mut engine = Engine::new(self.config.clone(), now, seed());
            let turns = || self.turns(&mut engine);
            // What a panic may leave half-done is the engine, which is thrown away, and the
            // outbox, which is emptied below.
            if catch_unwind(AssertUnwindSafe(turns)).is_ok() {
                return;
            }
            tracing::error!(
                shard = self.config.shard.0,
                "the shard panicked and starts again"
            );
            self.outbox = Outbox::default();
            self.outgoing.clear();
            self.far.close_all();
            for session in engine.session_ids() {
                self.events_waiting.push_back(Event::Closed {
                    session,
                    reason: CloseReason::Internal,
                });
            }
            let shard = self.config.shard;
            self.events_waiting
                .push_back(Event::ShardRestarted { shard });
            self.run.panics += 1;
        }
    }

    fn turns(&mut self, engine: &mut Engine) {
        let mut next = Some(Instant::now());
        let mut now = Instant::now();
        let mut report_at = now + REPORT_INTERVAL;
        let mut more = false;
        let mut most = 0;
        while !self.is_done(engine, now) {
            let wake_at = next.map_or(report_at, |next| next.min(report_at));
            let timeout = if more {
                Duration::ZERO
            } else {
                wake_at.saturating_duration_since(now)
            };
            if !self.wait(timeout) {
                return;
            }
            now = Instant::now();
            more = self.collect(engine, now);
            next = self.poll(engine, now);
            self.act();
            let count = u32::try_from(engine.session_count()).unwrap_or(u32::MAX);
            let load = &self.loads[usize::from(self.config.shard.0)];
            if load.load(Ordering::Relaxed) != count && self.commands.is_empty() {
                load.store(count, Ordering::Relaxed);
            }
            self.run.turns += 1;
            most = most.max(count);
            if now >= report_at {
                report_at = now + REPORT_INTERVAL;
                self.report(engine, now);
                // Paid for by those who have gone: each time at least as many as are left.
                if most - count >= GONE_MIN.max(most / 2) {
                    most = count;
                    engine.shrink();
                    give_memory_back();
                }
            }
        }
        self.mesh.ring();
    }

    /// Sleeps until there is something to do. False when the back end is beyond use.
    fn wait(&mut self, timeout: Duration) -> bool {
        self.bell.arm();
        let tcp = self.tcp.as_ref();
        let idle = self.commands.is_empty()
            && self.mesh.is_empty()
            && tcp.is_none_or(|line| line.from_peers.is_empty())
            && self.far.from_far.is_empty();
        let blocked = self.mesh.is_waiting() || !self.events_waiting.is_empty();
        let timeout = match (idle, blocked) {
            (false, _) => Duration::ZERO,
            // Somebody else has to make room first.
            (true, true) => timeout.min(Duration::from_millis(1)),
            (true, false) => timeout,
        };
        let woken = self.backend.wait(Some(timeout));
        self.bell.answer();
        if let Err(error) = woken {
            tracing::error!(shard = self.config.shard.0, %error, "the UDP back end failed");
            return false;
        }
        true
    }

    /// Handles everything that is ready, within this turn's budgets. True if more is ready.
    fn collect(&mut self, engine: &mut Engine, now: Instant) -> bool {
        let received = &mut self.run.received;
        let drained = self
            .backend
            .drain(limits::DATAGRAMS_PER_TURN_MAX, &mut |datagram| {
                received.count(datagram.bytes.len());
                let datagram = Datagram {
                    source: PeerAddr::udp(datagram.source),
                    local: datagram.local,
                    bytes: datagram.bytes,
                };
                engine.handle(now, Input::Datagram(datagram));
            });
        let tcp = self.tcp.iter_mut();
        let frames = tcp.flat_map(|line| std::iter::from_fn(|| line.from_peers.pop()));
        for frame in frames.take(limits::DATAGRAMS_PER_TURN_MAX) {
            let datagram = Datagram {
                source: PeerAddr::tcp(frame.source),
                local: frame.local,
                bytes: &frame.bytes,
            };
            engine.handle(now, Input::Datagram(datagram));
        }
        let far = std::iter::from_fn(|| self.far.from_far.pop());
        for datagram in far.take(limits::DATAGRAMS_PER_TURN_MAX) {
            self.run.received.count(datagram.bytes.len());
            let datagram = Datagram {
                source: PeerAddr::dialled(datagram.port, datagram.source),
                local: datagram.local,
                bytes: &datagram.bytes,
            };
            engine.handle(now, Input::Datagram(datagram));
        }
        self.mesh.drain(limits::DATAGRAMS_PER_TURN_MAX, |relay| {
            engine.handle(now, Input::Relay(relay));
        });
        for _ in 0..COMMANDS_PER_TURN_MAX {
            let Some(command) = self.commands.pop() else {
                break;
            };
            if matches!(command, Command::Shutdown) {
                self.shutting_down_since = Some(now);
            }
            engine.handle(now, Input::Command(command));
        }
        drained.more
    }

    /// Lets the engine do its part, and sends what it has to send.
    fn poll(&mut self, engine: &mut Engine, now: Instant) -> Option<Instant> {
        let Shard {
            config,
            backend,
            outgoing,
            outbox,
            run,
            tcp,
            far,
            ..
        } = self;
        engine.poll(now, outbox, &mut |batch| {
            if let Some(line) = tcp {
                send_over_tcp(batch, line);
            }
            send_far(batch, far, run);
            outgoing.trains.clear();
            let udp = |run: &&Run| run.route.destination.transport == Transport::Udp;
            outgoing
                .trains
                .extend(batch.runs().iter().filter(udp).map(train));
            if outgoing.trains.is_empty() {
                return;
            }
            for sent in batch.runs().iter().filter(udp) {
                run.sent.packets += sent.count as u64;
                run.sent.bytes += sent.size as u64;
                run.trains += 1;
            }
            // The buffer changes its owner for the time of the send.
            std::mem::swap(&mut outgoing.bytes, batch.bytes_mut());
            let outcome = backend.send(outgoing);
            std::mem::swap(&mut outgoing.bytes, batch.bytes_mut());
            run.send_dropped += outcome.dropped();
            if outcome.gso_switched_off {
                tracing::warn!(
                    shard = config.shard.0,
                    "the device refused UDP_SEGMENT: datagrams are sent one by one from now on"
                );
            }
        })
    }

    /// Passes on what the engine asked for.
    fn act(&mut self) {
        for (to, relay) in self.outbox.relays.drain(..) {
            self.mesh.push(to, relay);
        }
        self.mesh.ring();
        self.pass_pins_on();
        if let Some(line) = &mut self.tcp {
            line.hang_up(&mut self.outbox.hang_ups);
        }
        self.outbox.hang_ups.clear();
        self.far.flush(&mut self.outbox.closed_ports);
        self.events_waiting.extend(self.outbox.events.drain(..));
        while let Some(event) = self.events_waiting.pop_front() {
            if let Err(back) = self.uplink.events.push(event) {
                self.events_waiting.push_front(back);
                break;
            }
        }
        self.uplink.events.ring();
    }

    fn pass_pins_on(&mut self) {
        if self.pins.is_abandoned() {
            // Nobody listens where the kernel takes no wishes.
            return self.outbox.pins.clear();
        }
        let waiting = &mut self.outbox.pins;
        let passed = waiting
            .iter()
            .take_while(|pin| self.pins.push(**pin).is_ok());
        let count = passed.count();
        waiting.drain(..count);
        self.pins.ring();
    }

    fn report(&mut self, engine: &Engine, now: Instant) {
        let mut report = engine.report(now);
        let session_level = report.run;
        let tcp = |counter: fn(&Counters) -> &AtomicU64| {
            let line = self.tcp.as_ref();
            line.map_or(0, |line| counter(&line.counters).load(Ordering::Relaxed))
        };
        report.run = LoopReport {
            backend: self.backend.kind().name(),
            gso: self.backend.gso(),
            relay_dropped: self.mesh.dropped,
            tcp_connections: tcp(|counters| &counters.connections),
            tcp_dropped: tcp(|counters| &counters.dropped),
            sessions: session_level.sessions,
            steered: session_level.steered,
            data_received: session_level.data_received,
            data_sent: session_level.data_sent,
            panics: session_level.panics + self.run.panics,
            send_dropped: self.run.send_dropped + self.far.dropped(),
            ..self.run.clone()
        };
        // A full queue means control has not read the last ones; this one is not missed.
        let _ = self.uplink.reports.send(report);
    }

    fn is_done(&self, engine: &Engine, now: Instant) -> bool {
        self.shutting_down_since.is_some_and(|since| {
            let gone = engine.session_count() == 0 && self.events_waiting.is_empty();
            gone || now.saturating_duration_since(since) >= SHUTDOWN_MAX
        })
    }
}

/// Hands the datagrams of peers over TCP to the thread that has their connections.
fn send_over_tcp(batch: &Batch, line: &mut ShardLine) {
    for run in batch.runs() {
        let PeerAddr { transport, addr } = run.route.destination;
        if transport == Transport::Tcp {
            let bytes = batch.bytes().get(run.start..run.start + run.size);
            let datagrams = bytes.unwrap_or_default().chunks(run.segment_size.max(1));
            datagrams.for_each(|datagram| line.send(addr, datagram.to_vec()));
        }
    }
}

/// Hands the datagrams to other servers to the thread that has their sockets.
fn send_far(batch: &Batch, far: &mut FarLine, report: &mut LoopReport) {
    for run in batch.runs() {
        let PeerAddr { transport, addr } = run.route.destination;
        let Transport::Dialled(port) = transport else {
            continue;
        };
        report.sent.packets += run.count as u64;
        report.sent.bytes += run.size as u64;
        let bytes = batch.bytes().get(run.start..run.start + run.size);
        far.send(port, addr, bytes.unwrap_or_default(), run.segment_size);
    }
}

/// The engine's word for it in the back end's.
fn train(run: &Run) -> Train {
    Train {
        destination: run.route.destination.addr,
        // A back end that cannot tell the local address reports the bound one.
        local: run.route.local.filter(|ip| !ip.is_unspecified()),
        start: run.start,
        size: run.size,
        segment_size: run.segment_size as u16,
    }
}

const _: () = assert!(
    limits::RUN_DATAGRAMS_MAX <= gso::SEGMENTS_MAX as usize
        && limits::RUN_SIZE_MAX <= gso::TRAIN_SIZE_MAX,
    "a run is one send"
);

fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    // Without randomness there are no credentials, and nothing this process may do.
    getrandom::fill(&mut seed).expect("the kernel's random source works");
    seed
}

const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// So many sessions have gone that it pays to look for memory to give back: they had megabytes.
const GONE_MIN: u32 = 64;
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);
/// A join costs some 100 µs of a shard: 64 of them are the longest a turn is held up by joins.
const COMMANDS_PER_TURN_MAX: usize = 64;
