//! The tokio-uring crate as a third back end: owned buffers and futures on the same kernel
//! interface. It is kept to be measured against the others, not chosen by itself.
//!
//! What it cannot do, because the crate does not offer it:
//! - no control data on receive: UDP_GRO stays off, and a socket bound to a wildcard reports the
//!   wildcard as [`Datagram::local`] (bind to one address, or answer by the routing table);
//! - no flags on send: a send meeting a full socket is given up after 20 ms, and what the
//!   kernel still holds of it may leave later although it is counted as dropped;
//! - timers in whole milliseconds: a wait lasts at least one;
//! - every operation allocates.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockFilter;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_uring::fs::File;
use tokio_uring::net::UdpSocket;

use crate::backend::{
    Backend, BackendKind, Counters, Datagram, Drained, Outgoing, SendOutcome, Woken,
};
use crate::config::Config;
use crate::doorbell::{self, Doorbell};
use crate::message::{Domain, SEND_CONTROL_SIZE, canonical_addr};
use crate::probe::Sizes;
use crate::socket::Bound;
use crate::units::{Sender, Unit};

/// The tokio-uring back end.
pub(crate) struct TokioUring {
    /// `None` only while dropping.
    runtime: Option<tokio_uring::Runtime>,
    tasks: Vec<JoinHandle<()>>,
    shared: Rc<Shared>,
    socket: Rc<UdpSocket>,
    bound: Bound,
    bell: OwnedFd,
    sender: Sender,
}

impl TokioUring {
    pub(crate) fn open(mut bound: Bound, bell: Doorbell, config: &Config) -> io::Result<Self> {
        bound.disable_gro();
        let sizes = Sizes::new(config, false);
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder())?;
        let socket = Rc::new(UdpSocket::from_std(bound.socket.try_clone()?.into()));
        let bell = OwnedFd::from(bell);
        let shared = Rc::new(Shared {
            capacity: usize::from(sizes.buffers),
            ..Shared::default()
        });
        let receivers = usize::from(sizes.buffers).min(RECEIVERS_MAX);
        let reader = File::from_std(bell.try_clone()?.into());
        let tasks = runtime.block_on(async {
            let receive = |_| {
                let (shared, socket) = (Rc::clone(&shared), Rc::clone(&socket));
                tokio_uring::spawn(receive(shared, socket, sizes.payload))
            };
            let mut tasks: Vec<_> = (0..receivers).map(receive).collect();
            tasks.push(tokio_uring::spawn(listen(Rc::clone(&shared), reader)));
            tasks
        });
        let batch = usize::from(config.send_batch.clamp(1, crate::probe::SEND_BATCH_MAX));
        Ok(Self {
            sender: Sender::new(bound.domain, bound.gso, batch),
            runtime: Some(runtime),
            tasks,
            shared,
            socket,
            bound,
            bell,
        })
    }
}

impl Backend for TokioUring {
    fn wait(&mut self, wish: Option<Duration>) -> io::Result<Woken> {
        let runtime = self.runtime.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let shared = &self.shared;
        let time = doorbell::bounded(wish).max(TICK);
        if shared.is_quiet() {
            runtime.block_on(async {
                let news = async {
                    // A notice may be left over from what was drained long ago.
                    while shared.is_quiet() {
                        shared.news.notified().await;
                    }
                };
                // Elapsed: the wait is over either way.
                let _ = timeout(time, news).await;
                // Let the other tasks that are due deliver as well.
                tokio::task::yield_now().await;
            });
        }
        if let Some(errno) = shared.failed.take() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        Ok(Woken {
            datagrams_ready: !shared.inbox.borrow().is_empty(),
            doorbell: shared.rung.take(),
        })
    }

    fn drain(&mut self, budget: usize, sink: &mut dyn FnMut(Datagram<'_>)) -> Drained {
        let shared = &self.shared;
        let mut count = 0;
        while count < budget {
            let Some((source, buffer)) = shared.inbox.borrow_mut().pop_front() else {
                break;
            };
            sink(Datagram {
                source,
                local: self.bound.addr,
                bytes: &buffer,
            });
            shared.recycle(buffer);
            count += 1;
        }
        if count > 0 {
            shared.room.notify_waiters();
        }
        Drained {
            count,
            more: !shared.inbox.borrow().is_empty(),
        }
    }

    fn send(&mut self, outgoing: &Outgoing) -> SendOutcome {
        let Some(runtime) = &self.runtime else {
            return SendOutcome::default();
        };
        let (socket, bound) = (&self.socket, &self.bound);
        self.sender.send(outgoing, &mut |units, results| {
            results.fill(-libc::EAGAIN);
            if !writable(bound.as_fd()) {
                return;
            }
            runtime.block_on(async {
                let sends: Vec<_> = units
                    .iter()
                    .map(|unit| tokio_uring::spawn(send(socket, bound.domain, outgoing, unit)))
                    .collect();
                for (send, result) in sends.into_iter().zip(results) {
                    if let Some(sent) = finish(send, bound.as_fd()).await {
                        *result = sent;
                    }
                }
            });
        })
    }

    fn local_addrs(&self) -> &[SocketAddr] {
        std::slice::from_ref(&self.bound.addr)
    }

    fn kind(&self) -> BackendKind {
        BackendKind::TokioUring
    }

    fn gso(&self) -> bool {
        self.sender.gso()
    }

    fn gro(&self) -> bool {
        false
    }

    fn counters(&self) -> Counters {
        self.shared.counters.get()
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.bound.as_fd())
    }
}

impl Drop for TokioUring {
    /// The crate frees the buffers of pending operations just before it cancels them. So nothing
    /// may arrive any more by then: the socket is closed to traffic, what is in it is taken out,
    /// and the reader of the doorbell is rung out of its read.
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        let drop_all = SockFilter::new(libc::BPF_RET as u16, 0, 0, 0);
        let closed = self.bound.socket.attach_filter(&[drop_all]);
        self.shared.closing.set(true);
        // Wakes the reader; a full counter has woken it already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        let mut quiet = false;
        for _ in 0..CLOSING_TURNS_MAX {
            self.shared.recycle_all();
            quiet = closed.is_ok()
                && self.tasks.last().is_some_and(JoinHandle::is_finished)
                && !readable(self.bound.as_fd());
            if quiet {
                break;
            }
            runtime.block_on(async { sleep(TICK).await });
        }
        if quiet {
            for task in &self.tasks {
                task.abort();
            }
            drop(runtime);
        } else {
            // Leaking is the only safe way left.
            tracing::warn!("tokio-uring: operations still pending at close; memory is kept");
            std::mem::forget(runtime);
        }
    }
}

/// What the tasks and the back end share; all on one thread.
#[derive(Debug, Default)]
struct Shared {
    inbox: RefCell<VecDeque<(SocketAddr, Vec<u8>)>>,
    spare: RefCell<Vec<Vec<u8>>>,
    capacity: usize,
    rung: Cell<bool>,
    failed: Cell<Option<i32>>,
    closing: Cell<bool>,
    counters: Cell<Counters>,
    /// Something to return from `wait` with.
    news: Notify,
    /// The inbox is not full any more.
    room: Notify,
}

impl Shared {
    fn is_quiet(&self) -> bool {
        let failed = self.failed.get().is_some();
        !failed && !self.rung.get() && self.inbox.borrow().is_empty()
    }

    fn count(&self, add: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        add(&mut counters);
        self.counters.set(counters);
    }

    fn recycle(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < self.capacity {
            spare.push(buffer);
        }
    }

    fn recycle_all(&self) {
        self.inbox.borrow_mut().clear();
        self.room.notify_waiters();
    }

    /// A buffer with one byte more than the largest datagram: more than that shows truncation.
    fn buffer(&self, payload: usize) -> Vec<u8> {
        let mut buffer = self.spare.borrow_mut().pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve_exact(payload + 1);
        buffer
    }
}

/// Receives for ever, one datagram at a time; as many of these run as may be outstanding.
async fn receive(shared: Rc<Shared>, socket: Rc<UdpSocket>, payload: usize) {
    let mut failures = 0;
    while failures < FAILURES_MAX {
        while shared.inbox.borrow().len() >= shared.capacity {
            shared.count(|counters| counters.receive_exhausted += 1);
            shared.room.notified().await;
        }
        let (result, mut buffer) = socket.recv_from(shared.buffer(payload)).await;
        match result {
            Ok((size, source)) => {
                failures = 0;
                shared.count(|counters| counters.messages_received += 1);
                if size > payload {
                    shared.count(|counters| counters.messages_malformed += 1);
                    continue;
                }
                buffer.truncate(size);
                let source = without_flow_label(canonical_addr(source));
                shared.inbox.borrow_mut().push_back((source, buffer));
                shared.news.notify_one();
            }
            Err(e) => {
                failures += 1;
                if failures == FAILURES_MAX {
                    shared.failed.set(e.raw_os_error().or(Some(libc::EIO)));
                    shared.news.notify_one();
                }
            }
        }
    }
}

/// Reads the doorbell for ever.
async fn listen(shared: Rc<Shared>, bell: File) {
    let mut count = Vec::with_capacity(8);
    let mut failures = 0;
    while !shared.closing.get() {
        let (result, buffer) = bell.read_at(count, 0).await;
        count = buffer;
        match result {
            Ok(_) => {
                failures = 0;
                shared.rung.set(true);
                shared.news.notify_one();
            }
            // The caller's own duplicate was read first.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => sleep(TICK).await,
            Err(e) => {
                failures += 1;
                if failures == FAILURES_MAX {
                    shared.failed.set(e.raw_os_error().or(Some(libc::EIO)));
                    shared.news.notify_one();
                    return;
                }
            }
        }
    }
}

/// One kernel send, with copies of everything: the operation owns its buffers.
fn send(
    socket: &Rc<UdpSocket>,
    domain: Domain,
    outgoing: &Outgoing,
    unit: &Unit,
) -> impl Future<Output = i32> + 'static {
    let socket = Rc::clone(socket);
    let parts = unit.resolve(outgoing).map(|(train, bytes, segment_size)| {
        let mut control = [0; SEND_CONTROL_SIZE];
        let len = domain.encode_control(train.local, segment_size, &mut control);
        let control = control.get(..len).unwrap_or_default().to_vec();
        let destination = for_domain(domain, train.destination);
        (vec![bytes.to_vec()], destination, control)
    });
    async move {
        let Some((buffers, destination, control)) = parts else {
            return -libc::EINVAL;
        };
        let control = Some(control).filter(|control| !control.is_empty());
        let (result, _, _) = socket.sendmsg(buffers, Some(destination), control).await;
        match result {
            Ok(_) => 0,
            Err(e) => -e.raw_os_error().unwrap_or(libc::EIO),
        }
    }
}

/// Waits for a send; `None` if the socket stays full. Time alone proves nothing: on a busy machine
/// the send may be long done and only its completion not yet looked at.
async fn finish(mut send: JoinHandle<i32>, socket: BorrowedFd<'_>) -> Option<i32> {
    for _ in 0..SEND_WAITS_MAX {
        match timeout(SEND_WAIT, &mut send).await {
            Ok(sent) => return Some(sent.unwrap_or(-libc::EIO)),
            Err(_) if writable(socket) => {}
            Err(_) => break,
        }
    }
    send.abort();
    None
}

/// The destination in the socket's own family.
fn for_domain(domain: Domain, destination: SocketAddr) -> SocketAddr {
    match (domain, canonical_addr(destination)) {
        (Domain::Dual, SocketAddr::V4(addr)) => {
            SocketAddrV6::new(addr.ip().to_ipv6_mapped(), addr.port(), 0, 0).into()
        }
        (_, addr) => addr,
    }
}

fn without_flow_label(mut addr: SocketAddr) -> SocketAddr {
    if let SocketAddr::V6(addr) = &mut addr {
        addr.set_flowinfo(0);
    }
    addr
}

fn writable(socket: BorrowedFd<'_>) -> bool {
    ready(socket, PollFlags::OUT)
}

fn readable(socket: BorrowedFd<'_>) -> bool {
    ready(socket, PollFlags::IN)
}

fn ready(socket: BorrowedFd<'_>, flags: PollFlags) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::from_borrowed_fd(socket, flags)];
    poll(&mut fds, Some(&now)).is_ok_and(|count| count > 0)
}

/// The resolution of tokio's timer.
const TICK: Duration = Duration::from_millis(1);

/// How long a send may meet a full socket, and how often it is given the benefit of the doubt.
const SEND_WAIT: Duration = Duration::from_millis(20);
const SEND_WAITS_MAX: u32 = 100;

/// Receives outstanding at once.
const RECEIVERS_MAX: usize = 64;

/// Errors in a row after which receiving is given up.
const FAILURES_MAX: u32 = 1000;

/// How long closing waits for pending operations, in milliseconds.
const CLOSING_TURNS_MAX: u32 = 500;
