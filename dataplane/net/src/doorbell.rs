//! The reading end of the caller's doorbell, and waiting with poll(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::backend::WAIT_MAX;

/// An eventfd that some other thread rings.
#[derive(Debug)]
pub(crate) struct Doorbell {
    fd: OwnedFd,
}

impl Doorbell {
    /// Takes the eventfd and makes it non-blocking: a reader that loses the race for the count
    /// (the caller's own duplicate may be read too) must not hang.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd })
    }

    /// Silences the bell. To be called once readiness is seen; whatever is rung after this
    /// returns shows up as new readiness.
    pub(crate) fn silence(&self) {
        let mut count = [0; 8];
        // EAGAIN: somebody else silenced it, which is as good.
        let _ = rustix::io::read(&self.fd, &mut count);
    }
}

impl From<Doorbell> for OwnedFd {
    fn from(bell: Doorbell) -> Self {
        bell.fd
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits until a socket is readable or a bell rings, silences the bell and says which it was.
pub(crate) fn wait(
    socket: BorrowedFd<'_>,
    bell: &Doorbell,
    timeout: Option<Duration>,
) -> io::Result<(bool, bool)> {
    let mut fds = [
        PollFd::from_borrowed_fd(socket, PollFlags::IN),
        PollFd::new(bell, PollFlags::IN),
    ];
    poll_bounded(&mut fds, timeout)?;
    let [readable, rung] = fds.map(|fd| !fd.revents().is_empty());
    if rung {
        bell.silence();
    }
    Ok((readable, rung))
}

/// Waits until one of the bells rings, silences those that do and says which they were.
pub(crate) fn wait_any(
    bells: [Option<&Doorbell>; 2],
    timeout: Option<Duration>,
) -> io::Result<[bool; 2]> {
    let mut fds: Vec<PollFd<'_>> = bells
        .iter()
        .flatten()
        .map(|bell| PollFd::new(*bell, PollFlags::IN))
        .collect();
    poll_bounded(&mut fds, timeout)?;
    let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
    Ok(bells.map(|bell| {
        let Some(bell) = bell else { return false };
        let rung = ready.next().unwrap_or(false);
        if rung {
            bell.silence();
        }
        rung
    }))
}

/// A wait of at most [`WAIT_MAX`].
pub(crate) fn bounded(timeout: Option<Duration>) -> Duration {
    timeout.map_or(WAIT_MAX, |wish| wish.min(WAIT_MAX))
}

fn poll_bounded(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    let timeout = bounded(timeout);
    let timespec = Timespec {
        tv_sec: i64::from(u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX)),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    match poll(fds, Some(&timespec)) {
        // A signal: the caller looks at its timers and comes back.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
