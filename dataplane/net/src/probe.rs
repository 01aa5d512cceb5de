//! Opening: which back end works here, and what to say about one that does not.

use std::io;

use crate::backend::BackendKind;
use crate::config::{BackendChoice, Choice, Config, OpenError, Opened};
use crate::doorbell::Doorbell;
use crate::mmsg::Mmsg;
use crate::slab::BUFFERS_MAX;
use crate::socket::Bound;
use crate::sys;
use crate::tokio_uring::TokioUring;
use crate::uring::Uring;

/// Opens the back end that `config` asks for, on the thread that will use it.
///
/// [`Choice::Auto`] takes io_uring and, where that is refused, mmsg, with a line of advice in
/// [`BackendChoice::advice`].
///
/// # Errors
/// The socket cannot be made or bound, or the very back end that was asked for does not work.
pub fn open(config: Config) -> Result<Opened, OpenError> {
    check(&config)?;
    let bound = Bound::open(&config)?;
    let bell = config
        .doorbell
        .try_clone()
        .and_then(Doorbell::new)
        .map_err(|cause| OpenError::Socket {
            what: "doorbell",
            bind: config.bind,
            cause,
        })?;
    let mut choice = BackendChoice {
        kind: BackendKind::Mmsg,
        advice: None,
        buffer_advice: bound.buffer_advice(&config),
        recv_buffer_bytes: bound.recv_buffer_bytes,
        send_buffer_bytes: bound.send_buffer_bytes,
    };
    let failed = |kind| move |cause| OpenError::Backend { kind, cause };
    let mmsg = |bound, bell| -> Result<_, OpenError> {
        Ok(Box::new(
            Mmsg::open(bound, bell, &config).map_err(failed(BackendKind::Mmsg))?,
        ))
    };
    let backend: Box<dyn crate::Backend> = match config.backend {
        Choice::Auto => match Uring::open(bound, bell, &config) {
            Ok(uring) => Box::new(uring),
            Err(refused) => {
                let reason = reason(refused.step, &refused.cause);
                choice.advice = Some(format!("{reason} - using sendmmsg; see docs/io.md"));
                mmsg(refused.bound, refused.bell)?
            }
        },
        Choice::Kind(BackendKind::Uring) => match Uring::open(bound, bell, &config) {
            Ok(uring) => Box::new(uring),
            Err(refused) => {
                let reason = reason(refused.step, &refused.cause);
                let cause = io::Error::new(refused.cause.kind(), reason);
                return Err(failed(BackendKind::Uring)(cause));
            }
        },
        Choice::Kind(BackendKind::Mmsg) => mmsg(bound, bell)?,
        Choice::Kind(kind @ BackendKind::TokioUring) => {
            Box::new(TokioUring::open(bound, bell, &config).map_err(failed(kind))?)
        }
        Choice::Kind(BackendKind::Fake) => {
            return Err(OpenError::Config(
                "the fake back end is opened with fake::open",
            ));
        }
    };
    choice.kind = backend.kind();
    Ok(Opened { backend, choice })
}

/// Whether io_uring can be used here, for a check without a socket.
///
/// # Errors
/// Says in words what was refused and what to do, without naming the fallback.
pub fn probe_uring() -> Result<(), String> {
    sys::probe_ring().map_err(|(step, cause)| reason(step, &cause))
}

/// The buffers that follow from a configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// How many.
    pub(crate) buffers: u16,
    /// The largest payload, bytes.
    pub(crate) payload: usize,
    /// The payload and what the kernel puts in front of it in a provided buffer, bytes.
    pub(crate) buffer: usize,
}

impl Sizes {
    pub(crate) fn new(config: &Config, gro: bool) -> Self {
        // A coalesced message that does not fit is cut off and lost, so there is no smaller size.
        let payload = if gro {
            DATAGRAM_SIZE_MAX
        } else {
            config.recv_buffer_size.clamp(1, DATAGRAM_SIZE_MAX)
        };
        Self {
            buffers: config
                .recv_buffers
                .clamp(RECV_BUFFERS_MIN, BUFFERS_MAX)
                .next_power_of_two(),
            payload,
            buffer: (sys::PAYLOAD_OFFSET + payload).next_multiple_of(CACHE_LINE_SIZE),
        }
    }
}

fn check(config: &Config) -> Result<(), OpenError> {
    if config.recv_buffers == 0 || config.recv_buffers > BUFFERS_MAX {
        return Err(OpenError::Config("recv_buffers must be 1..=32768"));
    }
    if config.recv_buffer_size == 0 || config.recv_buffer_size > DATAGRAM_SIZE_MAX {
        return Err(OpenError::Config("recv_buffer_size must be 1..=65535"));
    }
    if config.send_batch == 0 || config.send_batch > SEND_BATCH_MAX {
        return Err(OpenError::Config("send_batch must be 1..=64"));
    }
    Ok(())
}

/// A refusal in words.
fn reason(step: &str, cause: &io::Error) -> String {
    let setup = step == "io_uring_setup";
    match cause.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring not permitted (seccomp or kernel.io_uring_disabled)".to_owned()
        }
        Some(libc::ENOSYS) => {
            "io_uring not available (seccomp, or a kernel built without it)".to_owned()
        }
        Some(libc::ENOMEM) => {
            "io_uring refused for lack of memory (raise the memlock limit, ulimit -l)".to_owned()
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "io_uring refused for lack of file descriptors (ulimit -n)".to_owned()
        }
        Some(libc::EINVAL) if setup => "io_uring too old (Linux 6.1 or newer needed)".to_owned(),
        Some(libc::EINVAL | libc::EOPNOTSUPP) => {
            format!("io_uring too old (no {step}; Linux 6.1 or newer needed)")
        }
        _ => format!("io_uring does not work ({step}: {cause})"),
    }
}

/// The largest UDP payload, and with UDP_GRO the largest run of them.
pub(crate) const DATAGRAM_SIZE_MAX: usize = 65_535;

/// The most sends in one batch: measured, more gains nothing.
pub(crate) const SEND_BATCH_MAX: u16 = 64;

/// With fewer, a receive request ends more often than it receives.
const RECV_BUFFERS_MIN: u16 = 8;

/// Keeps neighbouring buffers from sharing a cache line.
const CACHE_LINE_SIZE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_the_kernel_has_words() {
        let words = |step, errno| reason(step, &io::Error::from_raw_os_error(errno));
        for errno in [libc::EPERM, libc::EACCES] {
            assert_eq!(
                words("io_uring_setup", errno),
                "io_uring not permitted (seccomp or kernel.io_uring_disabled)"
            );
        }
        assert!(words("io_uring_setup", libc::ENOSYS).contains("not available"));
        assert!(words("io_uring_setup", libc::ENOMEM).contains("memlock"));
        assert!(words("io_uring_setup", libc::EINVAL).contains("too old"));
        assert!(words("multishot receive", libc::EINVAL).contains("no multishot receive"));
        assert!(words("SENDMSG", libc::EOPNOTSUPP).contains("no SENDMSG"));
        assert!(words("io_uring_setup", libc::EMFILE).contains("descriptors"));
        assert!(words("x", libc::EFAULT).contains("x: "));
    }
}
