//! recvmmsg(2), sendmmsg(2) and poll(2): the back end that works everywhere, and nearly as fast
//! as io_uring where packets come in batches.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::backend::{
    Backend, BackendKind, Counters, Datagram, Drained, Outgoing, SendOutcome, Woken,
};
use crate::config::Config;
use crate::doorbell::{self, Doorbell};
use crate::probe::Sizes;
use crate::socket::Bound;
use crate::sys::{RecvArena, SendArena, SendBatch};
use crate::units::{Sender, Unit};

/// The mmsg back end.
#[derive(Debug)]
pub(crate) struct Mmsg {
    bound: Bound,
    bell: Doorbell,
    arena: RecvArena,
    output: Output,
    counters: Counters,
}

/// The sending half of a kernel back end: what judges, and the headers of one batch.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) sender: Sender,
    pub(crate) arena: SendArena,
}

impl Mmsg {
    pub(crate) fn open(bound: Bound, bell: Doorbell, config: &Config) -> io::Result<Self> {
        let sizes = Sizes::new(config, bound.gro);
        // More than a batch would only sit in memory: what does not fit stays in the socket.
        let count = usize::from(sizes.buffers).min(BATCH_MAX);
        Ok(Self {
            arena: RecvArena::new(count, sizes.payload)?,
            output: Output::new(&bound, config),
            bound,
            bell,
            counters: Counters::default(),
        })
    }
}

impl Output {
    pub(crate) fn new(bound: &Bound, config: &Config) -> Self {
        let batch = usize::from(config.send_batch.clamp(1, crate::probe::SEND_BATCH_MAX));
        Self {
            sender: Sender::new(bound.domain, bound.gso, batch),
            arena: SendArena::new(batch),
        }
    }
}

impl Backend for Mmsg {
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Woken> {
        let (datagrams_ready, doorbell) = doorbell::wait(self.bound.as_fd(), &self.bell, timeout)?;
        Ok(Woken {
            datagrams_ready,
            doorbell,
        })
    }

    fn drain(&mut self, budget: usize, sink: &mut dyn FnMut(Datagram<'_>)) -> Drained {
        let mut count = 0;
        let mut errors = 0;
        while count < budget {
            let max = self.arena.capacity().min(budget - count);
            let received = match self.arena.receive(self.bound.as_fd(), max) {
                Ok(received) => received,
                // Interrupted, or an error left on the socket, which reading it has cleared.
                Err(_) if errors < ERRORS_MAX => {
                    errors += 1;
                    continue;
                }
                Err(_) => return Drained { count, more: false },
            };
            self.counters.messages_received += received as u64;
            for index in 0..received {
                let message = self.arena.message(index);
                match message.and_then(|m| m.envelope.map(|envelope| (envelope, m.payload))) {
                    Some((envelope, payload)) => {
                        count += envelope.deliver(self.bound.addr, payload, sink);
                    }
                    None => self.counters.messages_malformed += 1,
                }
            }
            if received < max {
                return Drained { count, more: false };
            }
        }
        Drained { count, more: true }
    }

    fn send(&mut self, outgoing: &Outgoing) -> SendOutcome {
        let Output { sender, arena } = &mut self.output;
        let domain = self.bound.domain;
        let socket = self.bound.as_fd();
        sender.send(outgoing, &mut |units, results| {
            let mut batch = arena.batch();
            if fill(&mut batch, domain, outgoing, units) {
                send_batch(&mut batch, socket, results);
            } else {
                results.fill(-libc::EINVAL);
            }
        })
    }

    fn local_addrs(&self) -> &[SocketAddr] {
        std::slice::from_ref(&self.bound.addr)
    }

    fn kind(&self) -> BackendKind {
        BackendKind::Mmsg
    }

    fn gso(&self) -> bool {
        self.output.sender.gso()
    }

    fn gro(&self) -> bool {
        self.bound.gro
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.bound.as_fd())
    }
}

/// Puts all `units` into a batch, one send each.
pub(crate) fn fill<'a>(
    batch: &mut SendBatch<'a>,
    domain: crate::message::Domain,
    outgoing: &'a Outgoing,
    units: &[Unit],
) -> bool {
    units.iter().all(|unit| {
        let parts = unit.resolve(outgoing);
        parts.is_some_and(|(train, bytes, segment_size)| {
            batch.push(domain, train.destination, train.local, bytes, segment_size)
        })
    })
}

/// sendmmsg stops at the first refusal without saying why; calling again from there tells.
pub(crate) fn send_batch(batch: &mut SendBatch<'_>, socket: BorrowedFd<'_>, results: &mut [i32]) {
    let mut first = 0;
    let mut interrupts = 0;
    while first < batch.len().min(results.len()) {
        let accepted = match batch.send(socket, first) {
            Ok(accepted) if accepted > 0 => accepted,
            Ok(_) => return,
            Err(e) if e.kind() == io::ErrorKind::Interrupted && interrupts < ERRORS_MAX => {
                interrupts += 1;
                continue;
            }
            Err(e) => {
                if let Some(result) = results.get_mut(first) {
                    *result = -e.raw_os_error().unwrap_or(libc::EIO);
                }
                first += 1;
                continue;
            }
        };
        if let Some(results) = results.get_mut(first..first + accepted) {
            results.fill(0);
        }
        first += accepted;
    }
}

/// The most messages taken by one recvmmsg: measured, more gains nothing.
const BATCH_MAX: usize = 64;

/// Errors in a row after which a call gives up until the next turn.
const ERRORS_MAX: u32 = 16;
