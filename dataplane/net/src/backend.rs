//! What every back end offers, and the plain types that cross its boundary.
//!
//! A back end is owned by one shard thread: open it there, use it there, drop it there. It never
//! reads a clock and takes no lock (the fake excepted).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::gso;

/// One received datagram; coalesced ones (UDP_GRO) are already split.
///
/// Shape: `bytes` is one UDP payload, 0..=65,527 bytes, and belongs to the back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it. An IPv4-mapped IPv6 address is given as IPv4.
    pub source: SocketAddr,
    /// The address it was sent to (never the wildcard, unless the back end cannot tell) and the
    /// bound port. An IPv4-mapped IPv6 address is given as IPv4.
    pub local: SocketAddr,
    /// The UDP payload.
    pub bytes: &'a [u8],
}

/// A run of datagrams to one destination that may leave as one segmented send.
///
/// Shape: `size` bytes of [`Outgoing::bytes`] from `start` on. They are cut into datagrams of
/// `segment_size` bytes, the last of which may be shorter; no bytes are one empty datagram. At most
/// [`gso::SEGMENTS_MAX`] datagrams and [`gso::TRAIN_SIZE_MAX`] bytes leave in one send; a longer run
/// is cut by the back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Train {
    /// Where to. IPv4 is reached through a dual-stack socket too.
    pub destination: SocketAddr,
    /// The source address to send from; `None` leaves the choice to the routing table.
    pub local: Option<IpAddr>,
    /// Where its bytes begin.
    pub start: usize,
    /// Bytes of all its datagrams.
    pub size: usize,
    /// Bytes of every datagram but the last.
    pub segment_size: u16,
}

impl Train {
    /// How many datagrams there are, at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        self.size
            .div_ceil(usize::from(self.segment_size).max(1))
            .max(1)
    }
}

/// What one loop turn sends: datagrams back to back in one buffer, and the trains over it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// UDP payloads; may be longer than what the trains point to.
    pub bytes: Vec<u8>,
    /// Runs over `bytes`, sent in this order.
    pub trains: Vec<Train>,
}

impl Outgoing {
    /// Appends one datagram; it joins the last train when destination, source address and size
    /// allow, and starts a new train otherwise. Order is kept.
    ///
    /// A datagram larger than 65,535 bytes is refused (`false`).
    pub fn push(
        &mut self,
        destination: SocketAddr,
        local: Option<IpAddr>,
        datagram: impl AsRef<[u8]>,
    ) -> bool {
        let datagram = datagram.as_ref();
        let Ok(segment_size) = u16::try_from(datagram.len()) else {
            return false;
        };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        match self.trains.last_mut() {
            Some(train)
                if train.start + train.size == start
                    && gso::joins(train, destination, local, datagram.len()) =>
            {
                train.size += datagram.len();
            }
            _ => self.trains.push(Train {
                destination,
                local,
                start,
                size: datagram.len(),
                segment_size,
            }),
        }
        true
    }

    /// The datagrams of all trains one by one; a train over bytes that are not there has none.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let cut = |train: &Train| {
            let end = train.start.checked_add(train.size);
            let bytes = end.and_then(|end| self.bytes.get(train.start..end));
            bytes.map(|bytes| gso::segments(bytes, train.segment_size))
        };
        self.trains.iter().filter_map(cut).flatten()
    }

    /// Forgets everything; the vectors keep their memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.trains.clear();
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trains.is_empty()
    }
}

/// Why [`Backend::wait`] returned. Nothing set: the time is up, or a signal came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Woken {
    /// [`Backend::drain`] has something to hand over.
    pub datagrams_ready: bool,
    /// The doorbell rang since the last wait; it is silent again.
    pub doorbell: bool,
}

/// What [`Backend::drain`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Datagrams handed to the sink.
    pub count: usize,
    /// More datagrams are known or likely to be ready: drain again before waiting long. The next
    /// `wait` does not block while any are held.
    pub more: bool,
}

/// What [`Backend::send`] did. `sent` and the `dropped_*` fields count datagrams and add up to the
/// number of datagrams in all trains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendOutcome {
    /// Accepted by the kernel.
    pub sent: u64,
    /// The socket or the device queue was full (EAGAIN, ENOBUFS, ENOMEM).
    pub dropped_full: u64,
    /// No route, or an address the socket cannot send to or from.
    pub dropped_unreachable: u64,
    /// Larger than a datagram or the device can carry (EMSGSIZE).
    pub dropped_too_large: u64,
    /// Any other refusal; the first one's number is in `errno_first`.
    pub dropped_other: u64,
    /// Kernel sends that were tried (a whole train counts once).
    pub messages: u64,
    /// The first error number behind `dropped_other`.
    pub errno_first: Option<i32>,
    /// Segmentation was refused during this call and is off from here on.
    pub gso_switched_off: bool,
}

impl SendOutcome {
    /// Every datagram that was not sent, whatever the cause.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped_full + self.dropped_unreachable + self.dropped_too_large + self.dropped_other
    }
}

/// Running totals of one back end; never reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Receive messages; with UDP_GRO one message may carry many datagrams.
    pub messages_received: u64,
    /// Messages thrown away because they did not fit their buffer or had no usable address.
    pub messages_malformed: u64,
    /// Times the receive request had to be started again (io_uring back ends).
    pub receive_rearmed: u64,
    /// Times the receive buffers ran out (io_uring back ends). The kernel's socket buffer holds
    /// what comes meanwhile.
    pub receive_exhausted: u64,
}

/// The kind of a back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// io_uring: multishot receive, batched sends.
    Uring,
    /// recvmmsg and sendmmsg.
    Mmsg,
    /// The tokio-uring crate: portable between runtimes, measured, never chosen by itself.
    TokioUring,
    /// In memory, for tests.
    Fake,
}

impl BackendKind {
    /// The name used in configuration, logs and metric labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Mmsg => "mmsg",
            Self::TokioUring => "tokio-uring",
            Self::Fake => "fake",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A UDP socket and the way it is driven.
///
/// A loop turn is `wait`, `drain` (until `more` is false or the turn's budget is spent), `send`.
pub trait Backend {
    /// Blocks until datagrams are ready, the doorbell rings or `timeout` has passed.
    ///
    /// No call blocks longer than [`WAIT_MAX`], whatever `timeout` says (`None`: no wish), so an
    /// empty [`Woken`] may come early: look at the timers and wait again. `Some(ZERO)` does not
    /// block. Does not block while datagrams of an earlier wait are still held.
    ///
    /// # Errors
    /// The kernel refuses the receive path altogether; the back end is of no further use.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Woken>;

    /// Hands datagrams to `sink` in order of arrival, then recycles their buffers.
    ///
    /// Stops once `budget` datagrams are handed over; the rest of a coalesced message is finished
    /// (at most 63 more), and a budget of zero hands over nothing.
    fn drain(&mut self, budget: usize, sink: &mut dyn FnMut(Datagram<'_>)) -> Drained;

    /// Sends every train in order. All of `outgoing` is free again on return.
    ///
    /// Never blocks on a full socket: what does not fit is dropped and counted. When the kernel or
    /// the device refuses segmentation the trains are sent again one by one and GSO stays off.
    fn send(&mut self, outgoing: &Outgoing) -> SendOutcome;

    /// The bound addresses (a wildcard stays a wildcard, the port is the real one).
    fn local_addrs(&self) -> &[SocketAddr];

    /// Which back end this is.
    fn kind(&self) -> BackendKind;

    /// Whether trains leave segmented by the kernel; may become false at run time.
    fn gso(&self) -> bool;

    /// Whether the kernel may hand over coalesced datagrams.
    fn gro(&self) -> bool;

    /// Totals since the back end was opened.
    fn counters(&self) -> Counters;

    /// The UDP socket, for steering programs and inspection; `None` for the fake.
    fn socket(&self) -> Option<BorrowedFd<'_>>;
}

/// The longest any [`Backend::wait`] blocks. A lost wake-up costs at most this.
pub const WAIT_MAX: Duration = Duration::from_secs(1);
