//! A back end in memory, for tests of what is built on [`Backend`].
//!
//! ```
//! use std::net::SocketAddr;
//! use whitewater_net::{Backend, fake};
//!
//! let local = SocketAddr::from(([192, 0, 2, 1], 3478));
//! let (mut backend, handle) = fake::open(local, None).unwrap();
//! handle.inject(SocketAddr::from(([192, 0, 2, 7], 5000)), local, b"hello");
//! assert!(backend.wait(None).unwrap().datagrams_ready);
//! let drained = backend.drain(64, &mut |datagram| assert_eq!(datagram.bytes, b"hello"));
//! assert_eq!(drained.count, 1);
//! ```

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use crate::backend::{
    Backend, BackendKind, Counters, Datagram, Drained, Outgoing, SendOutcome, Woken,
};
use crate::doorbell::{self, Doorbell};
use crate::gso;

/// Opens a fake back end and the handle that plays the network.
///
/// `doorbell` is the eventfd a real back end would get.
///
/// # Errors
/// The kernel's, when it has no descriptor left.
pub fn open(local: SocketAddr, doorbell: Option<OwnedFd>) -> io::Result<(FakeBackend, FakeHandle)> {
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let handle = FakeHandle {
        shared: Arc::new(Shared {
            state: Mutex::new(State::default()),
            wake: wake.try_clone()?,
        }),
    };
    let backend = FakeBackend {
        shared: Arc::clone(&handle.shared),
        wake: Doorbell::new(wake)?,
        doorbell: doorbell.map(Doorbell::new).transpose()?,
        local: [local],
    };
    Ok((backend, handle))
}

/// The back end itself.
#[derive(Debug)]
pub struct FakeBackend {
    shared: Arc<Shared>,
    wake: Doorbell,
    doorbell: Option<Doorbell>,
    local: [SocketAddr; 1],
}

/// The network behind a [`FakeBackend`]; may live on another thread.
#[derive(Debug, Clone)]
pub struct FakeHandle {
    shared: Arc<Shared>,
}

/// One kernel send as a real back end would have made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentMessage {
    /// Where to.
    pub destination: SocketAddr,
    /// The wished source address.
    pub local: Option<IpAddr>,
    /// The datagrams: a whole train while GSO is on, a single one afterwards.
    pub datagrams: Vec<Vec<u8>>,
}

/// What the next sends meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The device refuses segmentation (EIO): the first train of several datagrams switches GSO
    /// off and leaves as singles.
    RefusedGso,
    /// The socket is full (EAGAIN).
    Full,
    /// No route (ENETUNREACH).
    Unreachable,
    /// Too large for the device (EMSGSIZE).
    TooLarge,
    /// Any other error number.
    Other(i32),
}

impl FakeHandle {
    /// Lets a datagram arrive and wakes the back end.
    pub fn inject(&self, source: SocketAddr, local: SocketAddr, bytes: &[u8]) {
        self.shared.state().inbound.push_back(Inbound {
            source,
            local,
            bytes: bytes.to_vec(),
        });
        self.shared.ring();
    }

    /// Everything sent since the last call, in order.
    #[must_use]
    pub fn take_sent(&self) -> Vec<SentMessage> {
        std::mem::take(&mut self.shared.state().sent)
    }

    /// Makes the next `count` kernel sends fail. Failures queue up behind one another.
    pub fn fail_next(&self, failure: Failure, count: usize) {
        let mut state = self.shared.state();
        state.failures.extend(std::iter::repeat_n(failure, count));
    }

    /// Makes the next `wait` return this error.
    pub fn fail_wait(&self, kind: io::ErrorKind) {
        self.shared.state().wait_error = Some(kind);
        self.shared.ring();
    }
}

impl Backend for FakeBackend {
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Woken> {
        let timeout = if self.shared.state().inbound.is_empty() {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        let bells = [Some(&self.wake), self.doorbell.as_ref()];
        let [_, doorbell] = doorbell::wait_any(bells, timeout)?;
        let mut state = self.shared.state();
        if let Some(kind) = state.wait_error.take() {
            return Err(kind.into());
        }
        Ok(Woken {
            datagrams_ready: !state.inbound.is_empty(),
            doorbell,
        })
    }

    fn drain(&mut self, budget: usize, sink: &mut dyn FnMut(Datagram<'_>)) -> Drained {
        let mut count = 0;
        while count < budget {
            // The lock is not held while the sink runs: it may use the handle.
            let Some(inbound) = self.shared.state().inbound.pop_front() else {
                break;
            };
            sink(Datagram {
                source: inbound.source,
                local: inbound.local,
                bytes: &inbound.bytes,
            });
            count += 1;
        }
        let mut state = self.shared.state();
        state.counters.messages_received += count as u64;
        Drained {
            count,
            more: !state.inbound.is_empty(),
        }
    }

    fn send(&mut self, outgoing: &Outgoing) -> SendOutcome {
        let mut state = self.shared.state();
        let mut outcome = SendOutcome::default();
        for train in &outgoing.trains {
            let bytes = outgoing.bytes.get(train.start..train.start + train.size);
            let Some(bytes) = bytes else {
                outcome.dropped_other += train.count() as u64;
                continue;
            };
            let datagrams: Vec<Vec<u8>> = gso::segments(bytes, train.segment_size)
                .map(<[u8]>::to_vec)
                .collect();
            let mut start = 0;
            while start < datagrams.len() {
                let len = if state.gso_off { 1 } else { datagrams.len() };
                let Some(run) = datagrams.get(start..start + len) else {
                    break;
                };
                let message = SentMessage {
                    destination: train.destination,
                    local: train.local,
                    datagrams: run.to_vec(),
                };
                if state.send(message, &mut outcome) {
                    start += len;
                }
            }
        }
        outcome
    }

    fn local_addrs(&self) -> &[SocketAddr] {
        &self.local
    }

    fn kind(&self) -> BackendKind {
        BackendKind::Fake
    }

    fn gso(&self) -> bool {
        !self.shared.state().gso_off
    }

    fn gro(&self) -> bool {
        false
    }

    fn counters(&self) -> Counters {
        self.shared.state().counters
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: OwnedFd,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere leaves plain data behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        // A full counter means it is ringing already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

#[derive(Debug, Default)]
struct State {
    inbound: VecDeque<Inbound>,
    sent: Vec<SentMessage>,
    failures: VecDeque<Failure>,
    wait_error: Option<io::ErrorKind>,
    gso_off: bool,
    counters: Counters,
}

impl State {
    /// Whether the message is dealt with; `false`: send it again without GSO.
    fn send(&mut self, message: SentMessage, outcome: &mut SendOutcome) -> bool {
        let count = message.datagrams.len() as u64;
        let segmented = count > 1;
        let failure = match self.failures.front() {
            // A refusal waits for a send it applies to.
            Some(Failure::RefusedGso) if !segmented => None,
            Some(_) => self.failures.pop_front(),
            None => None,
        };
        outcome.messages += 1;
        match failure {
            None => {
                outcome.sent += count;
                self.sent.push(message);
            }
            Some(Failure::RefusedGso) => {
                self.gso_off = true;
                outcome.gso_switched_off = true;
                return false;
            }
            Some(Failure::Full) => outcome.dropped_full += count,
            Some(Failure::Unreachable) => outcome.dropped_unreachable += count,
            Some(Failure::TooLarge) => outcome.dropped_too_large += count,
            Some(Failure::Other(errno)) => {
                outcome.dropped_other += count;
                outcome.errno_first.get_or_insert(errno);
            }
        }
        true
    }
}

#[derive(Debug)]
struct Inbound {
    source: SocketAddr,
    local: SocketAddr,
    bytes: Vec<u8>,
}
