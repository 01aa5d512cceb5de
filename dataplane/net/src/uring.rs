//! io_uring: one multishot receive into a ring of buffers, sends in batches, the doorbell as a
//! poll request, and one system call per turn for all of it.
//!
//! Needs Linux 6.1 (DEFER_TASKRUN). No kernel polling thread and no zero-copy sends: measured,
//! both cost more than they save for datagrams of 1,200 bytes.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::backend::{
    Backend, BackendKind, Counters, Datagram, Drained, Outgoing, SendOutcome, Woken,
};
use crate::config::Config;
use crate::doorbell::{self, Doorbell};
use crate::mmsg::{Output, fill};
use crate::probe::Sizes;
use crate::slab::{BufferRing, Held};
use crate::socket::Bound;
use crate::sys::{Completion, Received, Ring};

/// The io_uring back end.
pub(crate) struct Uring {
    // First, so that the kernel lets go before the socket and the doorbell close.
    ring: Ring,
    bound: Bound,
    bell: Doorbell,
    inbox: Inbox,
    output: Output,
}

impl Uring {
    /// Sets up the ring and starts receiving, so that a kernel that lacks multishot receive or
    /// buffer rings is found out here.
    ///
    /// # Errors
    /// The step that was refused and what the kernel said; the socket is handed back.
    pub(crate) fn open(
        bound: Bound,
        bell: Doorbell,
        config: &Config,
    ) -> Result<Self, Box<Refused>> {
        match Self::start(&bound, &bell, config) {
            Ok((ring, inbox)) => Ok(Self {
                output: Output::new(&bound, config),
                ring,
                bound,
                bell,
                inbox,
            }),
            Err((step, cause)) => Err(Box::new(Refused {
                step,
                cause,
                bound,
                bell,
            })),
        }
    }

    fn start(
        bound: &Bound,
        bell: &Doorbell,
        config: &Config,
    ) -> Result<(Ring, Inbox), (&'static str, io::Error)> {
        let sizes = Sizes::new(config, bound.gro);
        let buffers =
            BufferRing::new(sizes.buffers, sizes.buffer).map_err(|e| ("allocating buffers", e))?;
        let mut ring = Ring::open(bound.as_fd(), bell.as_fd(), buffers)?;
        let mut inbox = Inbox {
            messages: VecDeque::with_capacity(usize::from(sizes.buffers)),
            ..Inbox::default()
        };
        let receive = |e| ("multishot receive", e);
        ring.arm().map_err(receive)?;
        ring.enter(Duration::ZERO).map_err(receive)?;
        inbox.collect(&mut ring);
        match inbox.failed.take() {
            Some(errno) => Err(receive(io::Error::from_raw_os_error(errno))),
            None => Ok((ring, inbox)),
        }
    }
}

impl Uring {
    /// Starts receiving and listening again if they ended; whether receiving did.
    fn arm(&mut self) -> io::Result<bool> {
        let armed = self.ring.arm()?;
        self.inbox.counters.receive_rearmed += u64::from(armed);
        Ok(armed)
    }
}

/// Why there is no io_uring, and what was to be used with it.
pub(crate) struct Refused {
    pub(crate) step: &'static str,
    pub(crate) cause: io::Error,
    pub(crate) bound: Bound,
    pub(crate) bell: Doorbell,
}

impl Backend for Uring {
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Woken> {
        self.ring.publish();
        self.arm()?;
        let timeout = if self.inbox.is_quiet() {
            doorbell::bounded(timeout)
        } else {
            Duration::ZERO
        };
        self.ring.enter(timeout)?;
        self.inbox.collect(&mut self.ring);
        // The kernel hands over in portions, and a request that ended is started again at once;
        // trains are found only in what is there together.
        for _ in 0..ROUNDS_MAX {
            let armed = self.arm()?;
            if !armed && !self.ring.pending() {
                break;
            }
            self.ring.enter(Duration::ZERO)?;
            self.inbox.collect(&mut self.ring);
        }
        if let Some(errno) = self.inbox.failed.take() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let doorbell = std::mem::take(&mut self.inbox.rung);
        if doorbell {
            self.bell.silence();
        }
        Ok(Woken {
            datagrams_ready: !self.inbox.messages.is_empty(),
            doorbell,
        })
    }

    fn drain(&mut self, budget: usize, sink: &mut dyn FnMut(Datagram<'_>)) -> Drained {
        let mut count = 0;
        while count < budget
            && let Some(held) = self.inbox.messages.pop_front()
        {
            self.inbox.counters.messages_received += 1;
            let message = Message {
                ring: &mut self.ring,
                held: Some(held),
            };
            match message.parts() {
                Some(Received {
                    envelope: Some(envelope),
                    payload,
                }) => count += envelope.deliver(self.bound.addr, payload, sink),
                _ => self.inbox.counters.messages_malformed += 1,
            }
        }
        self.ring.publish();
        Drained {
            count,
            more: !self.inbox.messages.is_empty(),
        }
    }

    fn send(&mut self, outgoing: &Outgoing) -> SendOutcome {
        let Output { sender, arena } = &mut self.output;
        let (ring, inbox) = (&mut self.ring, &mut self.inbox);
        let domain = self.bound.domain;
        sender.send(outgoing, &mut |units, results| {
            let mut batch = arena.batch();
            if fill(&mut batch, domain, outgoing, units) {
                ring.send(&mut batch, results, &mut |other| inbox.take(other));
            } else {
                results.fill(-libc::EINVAL);
            }
        })
    }

    fn local_addrs(&self) -> &[SocketAddr] {
        std::slice::from_ref(&self.bound.addr)
    }

    fn kind(&self) -> BackendKind {
        BackendKind::Uring
    }

    fn gso(&self) -> bool {
        self.output.sender.gso()
    }

    fn gro(&self) -> bool {
        self.bound.gro
    }

    fn counters(&self) -> Counters {
        self.inbox.counters
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.bound.as_fd())
    }
}

/// What completions brought and nobody has asked for yet.
#[derive(Debug, Default)]
struct Inbox {
    /// Never more than there are buffers.
    messages: VecDeque<Held>,
    rung: bool,
    failed: Option<i32>,
    failures: u32,
    counters: Counters,
}

impl Inbox {
    fn is_quiet(&self) -> bool {
        self.messages.is_empty() && !self.rung && self.failed.is_none()
    }

    fn collect(&mut self, ring: &mut Ring) {
        while let Some(completion) = ring.next() {
            self.take(completion);
        }
    }

    fn take(&mut self, completion: Completion) {
        match completion {
            Completion::Message(held) => {
                self.failures = 0;
                self.messages.push_back(held);
            }
            Completion::Bell => self.rung = true,
            Completion::ReceiveEnded(libc::ENOBUFS) => self.counters.receive_exhausted += 1,
            Completion::ReceiveEnded(errno) => self.ended(errno),
            Completion::BellEnded(errno) => {
                // Whatever was rung meanwhile must not be lost.
                self.rung = true;
                self.ended(errno);
            }
        }
    }

    /// A request ended that ought to run for ever. It is started again unless the error says that
    /// this cannot help, or has not helped for long.
    fn ended(&mut self, errno: i32) {
        self.failures += 1;
        let hopeless = matches!(
            errno,
            libc::EINVAL | libc::EBADF | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::EFAULT
        );
        if hopeless || self.failures > FAILURES_MAX {
            self.failed = Some(errno);
        }
    }
}

/// A message on its way to the sink; its buffer goes back even if the sink panics.
struct Message<'a> {
    ring: &'a mut Ring,
    held: Option<Held>,
}

impl Message<'_> {
    fn parts(&self) -> Option<Received<'_>> {
        self.ring.message(self.held.as_ref()?)
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.ring.release(held);
        }
    }
}

/// How often one wait goes back for more completions: each round brings at least 32 messages
/// while there are any, and buffers end before rounds do.
const ROUNDS_MAX: u32 = 64;

/// Ends of a request in a row, without a message in between, that count as a dead receive path.
const FAILURES_MAX: u32 = 1000;
