//! A thread that runs many sessions: it waits for their sockets and timers, and for orders.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use slab::Slab;
use tokio::sync::oneshot;

use crate::session::{Notice, Part, Session};
use crate::socket::{Control, Socket};
use crate::stats::{Latency, Snapshot, Totals};
use crate::transport::Transport;

/// A session to run.
pub(crate) struct Admission {
    pub(crate) id: u64,
    pub(crate) socket: Socket,
    pub(crate) transport: Transport,
    pub(crate) part: Part,
    pub(crate) notices: tokio::sync::mpsc::UnboundedSender<Notice>,
}

enum Order {
    Admit(Box<Admission>),
    Remove(u64),
    Speak(u64, bool),
    ResetMarks,
    Snapshot(oneshot::Sender<Snapshot>),
    /// Whoever still holds a line talks to nobody from here on.
    End,
}

/// A running worker. Dropped, it ends without a word to any server.
pub(crate) struct Worker {
    line: Line,
    thread: Option<JoinHandle<()>>,
}

/// A way to give a worker orders.
#[derive(Clone)]
pub(crate) struct Line {
    orders: Sender<Order>,
    bell: Arc<OwnedFd>,
}

impl Worker {
    /// Starts a thread. `rest` is how long it sleeps between two looks at its sockets while all
    /// sessions are connected: packets are then taken in batches.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn start(name: &str, rest: Duration) -> io::Result<Worker> {
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(BELL);
        epoll::add(&poller, bell.as_fd(), data, epoll::EventFlags::IN)?;
        let (orders, received) = channel();
        let state = Loop {
            poller,
            bell: bell.clone(),
            orders: received,
            sessions: Slab::new(),
            timers: BinaryHeap::new(),
            connecting: 0,
            rest,
            retired: Totals::default(),
            latency: Latency::default(),
            buffer: vec![0; 65_536],
            control: Control::default(),
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || state.run())?;
        Ok(Worker {
            line: Line { orders, bell },
            thread: Some(thread),
        })
    }

    pub(crate) fn line(&self) -> &Line {
        &self.line
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.line.order(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Line {
    pub(crate) fn admit(&self, admission: Admission) {
        self.order(Order::Admit(Box::new(admission)));
    }

    pub(crate) fn remove(&self, id: u64) {
        self.order(Order::Remove(id));
    }

    pub(crate) fn speak(&self, id: u64, speaking: bool) {
        self.order(Order::Speak(id, speaking));
    }

    /// Latencies and gaps are counted from now.
    pub(crate) fn reset_marks(&self) {
        self.order(Order::ResetMarks);
    }

    pub(crate) async fn snapshot(&self) -> Snapshot {
        let (tell, told) = oneshot::channel();
        self.order(Order::Snapshot(tell));
        told.await.unwrap_or_default()
    }

    fn order(&self, order: Order) {
        // A worker that ended has no sessions to give orders about.
        let _ = self.orders.send(order);
        ring(&self.bell);
    }
}

fn ring(bell: &OwnedFd) {
    // A full counter is a bell that rings.
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

/// The thread's side.
struct Loop {
    poller: OwnedFd,
    bell: Arc<OwnedFd>,
    orders: Receiver<Order>,
    sessions: Slab<Entry>,
    /// The same session may stand here more than once; only its own `due` counts.
    timers: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    connecting: usize,
    rest: Duration,
    /// Of sessions that ended.
    retired: Totals,
    latency: Latency,
    buffer: Vec<u8>,
    control: Control,
}

struct Entry {
    session: Session,
    due: Option<Instant>,
}

impl Loop {
    fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        // Sockets had something at the last look and may have more.
        let mut busy = false;
        loop {
            if !self.take_orders() {
                return;
            }
            self.run_timers(Instant::now());
            let timeout = if busy {
                Timespec::default()
            } else {
                self.timeout(Instant::now())
            };
            events.clear();
            let space = rustix::buffer::spare_capacity(&mut events);
            if epoll::wait(&self.poller, space, Some(&timeout)).is_err() {
                continue;
            }
            let now = Instant::now();
            if events.is_empty() && busy {
                // All are empty: what comes next is taken together.
                let until_timer = self
                    .next_due()
                    .map_or(self.rest, |due| due.saturating_duration_since(now));
                std::thread::sleep(self.rest.min(until_timer));
            }
            busy = !events.is_empty() && self.connecting == 0 && !self.rest.is_zero();
            let now_ns = unix_ns();
            for event in &events {
                let key = event.data.u64();
                if key == BELL {
                    let mut count = [0; 8];
                    let _ = rustix::io::read(&self.bell, &mut count);
                } else if let Ok(key) = usize::try_from(key) {
                    self.receive(key, now, now_ns);
                }
            }
        }
    }

    /// False when this is to end.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::End) => return false,
                Ok(order) => self.obey(order),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Admit(admission) => self.admit(*admission, now),
            Order::Remove(id) => {
                let found = self.find(id);
                if let Some(mut entry) = found.and_then(|key| self.sessions.try_remove(key)) {
                    self.connecting -= usize::from(entry.session.is_connecting());
                    entry.session.close();
                    entry.session.totals(&mut self.retired);
                }
            }
            Order::Speak(id, speaking) => {
                if let Some(key) = self.find(id) {
                    if let Some(entry) = self.sessions.get_mut(key) {
                        entry.session.speak(speaking, now);
                    }
                    self.schedule(key);
                }
            }
            Order::ResetMarks => {
                self.latency = Latency::default();
                for (_, entry) in &mut self.sessions {
                    entry.session.reset_gap();
                }
            }
            Order::Snapshot(tell) => {
                let _ = tell.send(self.snapshot(now));
            }
            Order::End => {}
        }
    }

    fn admit(&mut self, admission: Admission, now: Instant) {
        let Admission {
            id,
            socket,
            transport,
            part,
            notices,
        } = admission;
        let session = Session::new(id, socket, transport, part, notices.clone());
        let entry = self.sessions.vacant_entry();
        let key = entry.key();
        let data = epoll::EventData::new_u64(key as u64);
        let flags = epoll::EventFlags::IN;
        if let Err(error) = epoll::add(&self.poller, &session.socket, data, flags) {
            let _ = notices.send(Notice::Broken(format!("epoll: {error}")));
            return;
        }
        entry.insert(Entry { session, due: None });
        self.connecting += 1;
        self.with(key, |session| session.poll(now));
    }

    fn run_timers(&mut self, now: Instant) {
        while let Some(Reverse((due, key, id))) = self.timers.peek().copied() {
            if due > now {
                return;
            }
            self.timers.pop();
            let Some(entry) = self.sessions.get_mut(key) else {
                continue;
            };
            if entry.session.id == id && entry.due == Some(due) {
                entry.due = None;
                self.with(key, |session| session.poll(now));
            }
        }
    }

    fn receive(&mut self, key: usize, now: Instant, now_ns: u64) {
        let Some(entry) = self.sessions.get(key) else {
            return;
        };
        // One call: what is left comes with the next look, when the others had theirs.
        let socket = &entry.session.socket;
        let Some(received) = socket.receive(&mut self.buffer, &mut self.control) else {
            return;
        };
        let bytes = self.buffer.get(..received.size).unwrap_or_default();
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let was_connecting = entry.session.is_connecting();
        let session = &mut entry.session;
        session.on_received(now, now_ns, &received, bytes, &mut self.latency);
        self.acted(key, was_connecting);
    }

    /// Lets a session act and notes what came of it.
    fn with(&mut self, key: usize, act: impl FnOnce(&mut Session)) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let was_connecting = entry.session.is_connecting();
        act(&mut entry.session);
        self.acted(key, was_connecting);
    }

    fn acted(&mut self, key: usize, was_connecting: bool) {
        let entry = self.sessions.get(key);
        let is_connecting = entry.is_some_and(|entry| entry.session.is_connecting());
        self.connecting -= usize::from(was_connecting && !is_connecting);
        self.schedule(key);
    }

    fn schedule(&mut self, key: usize) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(due) = entry.session.due() else {
            return;
        };
        if entry.due.is_none_or(|scheduled| due < scheduled) {
            entry.due = Some(due);
            self.timers.push(Reverse((due, key, entry.session.id)));
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((due, _, _))| *due)
    }

    fn timeout(&self, now: Instant) -> Timespec {
        let wait = self.next_due().map_or(WAIT_MAX, |due| {
            due.saturating_duration_since(now).min(WAIT_MAX)
        });
        Timespec {
            tv_sec: wait.as_secs().cast_signed(),
            tv_nsec: wait.subsec_nanos().into(),
        }
    }

    fn find(&self, id: u64) -> Option<usize> {
        let mut sessions = self.sessions.iter();
        sessions
            .find(|(_, entry)| entry.session.id == id)
            .map(|(key, _)| key)
    }

    fn snapshot(&self, now: Instant) -> Snapshot {
        let mut snapshot = Snapshot {
            totals: self.retired,
            latency: self.latency.clone(),
            gaps: Vec::new(),
        };
        for (_, entry) in &self.sessions {
            entry.session.totals(&mut snapshot.totals);
            snapshot.gaps.extend(entry.session.gap(now));
        }
        snapshot
    }
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

const BELL: u64 = u64::MAX;
const EVENTS_MAX: usize = 1024;
const WAIT_MAX: Duration = Duration::from_millis(500);
