//! Wakes a consumer that sleeps in its event loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// An eventfd that is written only while the consumer says it may sleep, so that a busy consumer
/// costs its producers no system call.
///
/// The consumer's turn is: take everything from its queues; [`arm`](Self::arm); look at the queues
/// once more; sleep only if they are empty, on [`fd`](Self::as_fd) becoming readable or a timeout;
/// [`answer`](Self::answer). Any number of producers may [`ring`](Self::ring).
#[derive(Debug)]
pub struct Doorbell {
    fd: OwnedFd,
    sleeping: AtomicBool,
}

impl Doorbell {
    /// A bell nobody has rung.
    ///
    /// # Errors
    /// The kernel's, when it has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Doorbell {
            fd: eventfd(0, flags)?,
            sleeping: AtomicBool::new(false),
        })
    }

    /// Wakes the consumer if it sleeps or is about to. To be called after the push.
    pub fn ring(&self) {
        // Pairs with the fence in `arm`: either this load sees the consumer going to sleep, or
        // the consumer's look at its queues sees the push.
        fence(Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::AcqRel) {
            // A full counter means the bell is ringing already.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    /// Says that the consumer is about to sleep; it must look at its queues once more after this.
    pub fn arm(&self) {
        self.sleeping.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Says that the consumer is awake, and silences the bell.
    pub fn answer(&self) {
        if !self.sleeping.swap(false, Ordering::AcqRel) {
            let mut count = [0; 8];
            // Nothing to read: the ringer has not written yet; its write wakes us once for nothing.
            let _ = rustix::io::read(&self.fd, &mut count);
        }
    }

    /// Sleeps until it is rung, for consumers without an event loop of their own.
    pub fn wait(&self) {
        let mut fds = [rustix::event::PollFd::new(
            &self.fd,
            rustix::event::PollFlags::IN,
        )];
        // An interrupted wait is a spurious wake-up, which every consumer allows for.
        let _ = rustix::event::poll(&mut fds, None);
    }

    /// Like [`wait`](Self::wait), for `millis` at most.
    pub fn wait_for(&self, timeout: std::time::Duration) {
        let mut fds = [rustix::event::PollFd::new(
            &self.fd,
            rustix::event::PollFlags::IN,
        )];
        let timeout = rustix::event::Timespec {
            tv_sec: timeout.as_secs().min(3600) as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let _ = rustix::event::poll(&mut fds, Some(&timeout));
    }

    /// Another handle on the same eventfd, for an event loop that owns what it polls.
    ///
    /// # Errors
    /// The kernel's, when it has no descriptor left.
    pub fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
