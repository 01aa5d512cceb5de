//! The system calls and kernel structs that need `unsafe`, behind safe functions.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fixed, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};

use crate::message::{Domain, Envelope, NAME_SIZE, RECV_CONTROL_SIZE, SEND_CONTROL_SIZE};
use crate::slab::{BufferRing, Held, Memory};

/// A kernel struct that is just bytes.
///
/// # Safety
/// Every bit pattern is a valid value, and there is no padding whose bytes are left unwritten
/// when the value starts from [`zeroed`] or from a full literal.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: integers, no padding.
unsafe impl Plain for u16 {}
// SAFETY: integers, no padding.
unsafe impl Plain for libc::c_int {}
// SAFETY: integers and arrays of them, 16 bytes, no padding.
unsafe impl Plain for libc::sockaddr_in {}
// SAFETY: integers and arrays of them, 28 bytes, no padding.
unsafe impl Plain for libc::sockaddr_in6 {}
// SAFETY: three 32-bit fields, no padding.
unsafe impl Plain for libc::in_pktinfo {}
// SAFETY: 16 bytes and a 32-bit field, no padding.
unsafe impl Plain for libc::in6_pktinfo {}
// SAFETY: integers; where a C library pads the struct it declares the padding as a field.
unsafe impl Plain for libc::cmsghdr {}
// SAFETY: pointers and integers, for which zero is valid; made from `zeroed` only.
unsafe impl Plain for libc::msghdr {}
// SAFETY: a `msghdr` and an integer; made from `zeroed` only.
unsafe impl Plain for libc::mmsghdr {}

/// The first bytes as a struct; `None` if there are too few.
pub(crate) fn read_plain<T: Plain>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: the slice has the size of `T`, every bit pattern is a `T` (`Plain`), and the read
    // does not ask for alignment.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The struct as bytes.
pub(crate) fn plain_bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: the range is exactly `value`, which outlives the slice, and `Plain` promises that
    // all of its bytes are written.
    unsafe { std::slice::from_raw_parts(ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// All bytes zero.
pub(crate) fn zeroed<T: Plain>() -> T {
    // SAFETY: every bit pattern is valid (`Plain`), so zero is.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// The C library's CMSG_SPACE, to check ours against.
/// Gives memory that is free back to the kernel: this thread's heap, what lies free in all, and the
/// C library's, which the cryptographic library lives on. Takes some milliseconds: for when much
/// was freed.
///
/// Without it what thousands of sessions took stays with the process (measured: 14 KiB of each).
pub fn give_memory_back() {
    GIVEN_BACK.fetch_add(1, Ordering::Relaxed);
    join_in_giving_back();
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer and frees nothing that is in use; it locks what it looks at.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Does it for this thread's heap, if another thread has since this one last did: what is allocated
/// here and freed there is not free before this thread looks. A load when there is nothing to do.
pub fn join_in_giving_back() {
    thread_local! {
        static SEEN: Cell<u32> = const { Cell::new(0) };
    }
    let now = GIVEN_BACK.load(Ordering::Relaxed);
    if SEEN.replace(now) != now {
        // SAFETY: it takes no pointer and frees nothing that is in use.
        unsafe { libmimalloc_sys::mi_collect(true) };
    }
}

/// How often memory was given back.
static GIVEN_BACK: AtomicU32 = AtomicU32::new(0);

#[cfg(test)]
pub(crate) fn cmsg_space(len: u32) -> u32 {
    // SAFETY: pure arithmetic.
    unsafe { libc::CMSG_SPACE(len) }
}

/// Sets an integer socket option.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = size_of_val(&value) as libc::socklen_t;
    let value = (&raw const value).cast();
    // SAFETY: `value` outlives the call, its size is passed exactly, and the kernel only reads it.
    let rc = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, size) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives the SO_REUSEPORT group of a socket the program that picks one of its sockets.
pub(crate) fn attach_reuseport_program(
    socket: BorrowedFd<'_>,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let len = libc::c_ushort::try_from(program.len())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog {
        len,
        // The kernel only reads it; the C declaration has no const.
        filter: program.as_ptr().cast_mut(),
    };
    let size = size_of_val(&program) as libc::socklen_t;
    let value = (&raw const program).cast();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF);
    // SAFETY: the struct and the `len` instructions it points to outlive the call, which copies
    // them, and its size is passed exactly.
    let rc = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, size) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Buffers and headers for recvmmsg(2), made once.
#[derive(Debug)]
pub(crate) struct RecvArena {
    payload: Memory,
    names: Memory,
    controls: Memory,
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    size: usize,
    /// Headers the kernel has written to since they were last reset.
    dirty: usize,
}

/// One message in a [`RecvArena`].
#[derive(Debug)]
pub(crate) struct Received<'a> {
    pub(crate) envelope: Option<Envelope>,
    pub(crate) payload: &'a [u8],
}

impl RecvArena {
    /// Room for `count` messages of `size` bytes each.
    pub(crate) fn new(count: usize, size: usize) -> io::Result<Self> {
        let total = size.checked_mul(count).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut arena = Self {
            payload: Memory::new(total)?,
            names: Memory::new(count * NAME_SIZE)?,
            controls: Memory::new(count * RECV_CONTROL_SIZE)?,
            iovecs: Box::default(),
            headers: vec![zeroed::<libc::mmsghdr>(); count].into_boxed_slice(),
            size,
            dirty: count,
        };
        arena.iovecs = (0..count)
            .map(|index| libc::iovec {
                iov_base: arena.payload.at(index * size, size).as_ptr().cast(),
                iov_len: size,
            })
            .collect();
        Ok(arena)
    }

    /// How many messages one call can take.
    pub(crate) fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// Takes what is in the socket, up to `max` messages, without blocking; `Ok(0)`: nothing.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        self.reset();
        let max = max.min(self.capacity());
        // SAFETY: the headers are `max` valid `mmsghdr`s whose names, controls and single iovecs
        // point into blocks owned by `self` with exactly the lengths given (`reset`, `new`); no
        // slice of those blocks is alive, because `message` borrows `self`.
        let rc = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                max as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        match usize::try_from(rc) {
            Ok(count) => {
                self.dirty = count;
                Ok(count)
            }
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
                e => Err(e),
            },
        }
    }

    /// A message of the last [`receive`](Self::receive); the payload is `None` if cut off.
    pub(crate) fn message(&self, index: usize) -> Option<Received<'_>> {
        let header = self.headers.get(index).filter(|_| index < self.dirty)?;
        let message = &header.msg_hdr;
        if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return Some(Received {
                envelope: None,
                payload: &[],
            });
        }
        let name_len = (message.msg_namelen as usize).min(NAME_SIZE);
        #[allow(clippy::unnecessary_cast)] // Its type differs between C libraries.
        let control_len = (message.msg_controllen as usize).min(RECV_CONTROL_SIZE);
        let payload_len = (header.msg_len as usize).min(self.size);
        // SAFETY: only `receive` lets the kernel write, and it needs `&mut self`.
        let name = unsafe { self.names.bytes(index * NAME_SIZE, name_len) };
        let at = index * RECV_CONTROL_SIZE;
        // SAFETY: only `receive` lets the kernel write, and it needs `&mut self`.
        let control = unsafe { self.controls.bytes(at, control_len) };
        // SAFETY: only `receive` lets the kernel write, and it needs `&mut self`.
        let payload = unsafe { self.payload.bytes(index * self.size, payload_len) };
        Some(Received {
            envelope: Envelope::decode(name, control),
            payload,
        })
    }

    /// Restores the lengths that the kernel overwrote in the first `dirty` headers.
    fn reset(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        let headers = self.headers.iter_mut().zip(&mut self.iovecs).enumerate();
        for (index, (header, iovec)) in headers.take(dirty) {
            let name = self.names.at(index * NAME_SIZE, NAME_SIZE);
            let control = self
                .controls
                .at(index * RECV_CONTROL_SIZE, RECV_CONTROL_SIZE);
            header.msg_len = 0;
            header.msg_hdr.msg_name = name.as_ptr().cast();
            header.msg_hdr.msg_namelen = NAME_SIZE as _;
            header.msg_hdr.msg_control = control.as_ptr().cast();
            header.msg_hdr.msg_controllen = RECV_CONTROL_SIZE as _;
            header.msg_hdr.msg_iov = ptr::from_mut(iovec);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_flags = 0;
        }
    }
}

/// Headers for a batch of sends, made once.
#[derive(Debug)]
pub(crate) struct SendArena {
    names: Box<[[u8; NAME_SIZE]]>,
    controls: Box<[[u8; SEND_CONTROL_SIZE]]>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    units_max: usize,
}

impl SendArena {
    /// Room for `units` sends.
    pub(crate) fn new(units: usize) -> Self {
        Self {
            names: vec![[0; NAME_SIZE]; units].into_boxed_slice(),
            controls: vec![[0; SEND_CONTROL_SIZE]; units].into_boxed_slice(),
            iovecs: Vec::with_capacity(units),
            headers: Vec::with_capacity(units),
            units_max: units,
        }
    }

    /// Starts a batch whose datagrams live for `'a`.
    pub(crate) fn batch<'a>(&'a mut self) -> SendBatch<'a> {
        self.iovecs.clear();
        self.headers.clear();
        SendBatch { arena: self }
    }
}

/// Sends that point to datagrams borrowed for `'a`.
#[derive(Debug)]
pub(crate) struct SendBatch<'a> {
    arena: &'a mut SendArena,
}

impl<'a> SendBatch<'a> {
    /// Adds one send of `bytes`, which the kernel cuts into datagrams of `segment_size` if that is
    /// given. `false`: the batch is full.
    pub(crate) fn push(
        &mut self,
        domain: Domain,
        destination: SocketAddr,
        local: Option<IpAddr>,
        bytes: &'a [u8],
        segment_size: Option<u16>,
    ) -> bool {
        let arena = &mut *self.arena;
        let index = arena.headers.len();
        // Growing would move what the headers point to.
        if index >= arena.units_max {
            return false;
        }
        let (Some(name), Some(control)) =
            (arena.names.get_mut(index), arena.controls.get_mut(index))
        else {
            return false;
        };
        let name_len = domain.encode_name(destination, name);
        let control_len = domain.encode_control(local, segment_size, control);
        let first = arena.iovecs.len();
        arena.iovecs.push(libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        });
        let mut header: libc::mmsghdr = zeroed();
        header.msg_hdr.msg_name = name.as_mut_ptr().cast();
        header.msg_hdr.msg_namelen = name_len as _;
        if control_len > 0 {
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = control_len as _;
        }
        // Stable: there is capacity for all.
        header.msg_hdr.msg_iov = arena.iovecs.as_mut_ptr().wrapping_add(first);
        header.msg_hdr.msg_iovlen = 1;
        arena.headers.push(header);
        true
    }

    /// How many sends there are.
    pub(crate) fn len(&self) -> usize {
        self.arena.headers.len()
    }

    /// Sends from `first` on by sendmmsg(2), without blocking; returns how many were accepted.
    ///
    /// # Errors
    /// The refusal of the very first one.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>, first: usize) -> io::Result<usize> {
        let Some(headers) = self.arena.headers.get_mut(first..) else {
            return Ok(0);
        };
        // SAFETY: the headers are valid, and what they point to lives: names and controls in the
        // arena borrowed by `self`, iovecs in a vector that did not grow since (`push`), bytes for
        // `'a`. The kernel only reads them and writes `msg_len`.
        let rc = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                SEND_FLAGS as _,
            )
        };
        usize::try_from(rc).map_err(|_| io::Error::last_os_error())
    }
}

/// What a completion of a [`Ring`] was about.
#[derive(Debug)]
pub(crate) enum Completion {
    /// A message was received.
    Message(Held),
    /// The receive request ended; 0 or an error number.
    ReceiveEnded(i32),
    /// The doorbell rang.
    Bell,
    /// The request that listens to the doorbell ended; 0 or an error number.
    BellEnded(i32),
}

/// An io_uring with one UDP socket, one doorbell and its receive buffers.
///
/// Everything the kernel was told about lives in here, and goes only when the kernel is done.
pub(crate) struct Ring {
    /// `None` once the kernel refused something that leaves the queues in an unknown state.
    ring: Option<IoUring>,
    /// `None` only while dropping.
    buffers: Option<BufferRing>,
    template: Box<libc::msghdr>,
    receiving: bool,
    listening: bool,
}

impl Ring {
    /// Sets up a ring for the calling thread, which must be the only one to use it.
    ///
    /// # Errors
    /// The step that was refused and what the kernel said.
    pub(crate) fn open(
        socket: BorrowedFd<'_>,
        bell: BorrowedFd<'_>,
        buffers: BufferRing,
    ) -> Result<Self, (&'static str, io::Error)> {
        let completions = (u32::from(buffers.count()) + 4 * SUBMISSIONS).next_power_of_two();
        let ring = builder(completions)
            .build(SUBMISSIONS)
            .map_err(|e| ("io_uring_setup", e))?;
        check_operations(&ring)?;
        let files = [socket.as_raw_fd(), bell.as_raw_fd()];
        ring.submitter()
            .register_files(&files)
            .map_err(|e| ("registering files", e))?;
        // SAFETY: the ring of buffers has `count` entries at that address and lives in `self`
        // until the kernel has let go of it (see `drop`).
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                buffers.entries_addr(),
                buffers.count(),
                BUFFER_GROUP,
                0,
            )
        }
        .map_err(|e| ("registering a buffer ring", e))?;
        let mut template: libc::msghdr = zeroed();
        template.msg_namelen = NAME_SIZE as _;
        template.msg_controllen = RECV_CONTROL_SIZE as _;
        Ok(Self {
            ring: Some(ring),
            buffers: Some(buffers),
            template: Box::new(template),
            receiving: false,
            listening: false,
        })
    }

    /// Starts whatever is not running: receiving, if there is a buffer to receive into, and
    /// listening to the doorbell. Submitted with the next [`enter`](Self::enter). Returns whether
    /// receiving was started.
    pub(crate) fn arm(&mut self) -> io::Result<bool> {
        let can_receive = self
            .buffers
            .as_ref()
            .is_some_and(|buffers| buffers.held_count() < buffers.count());
        let mut started = false;
        if !self.receiving && can_receive {
            let template = ptr::from_ref(&*self.template);
            let entry = opcode::RecvMsgMulti::new(SOCKET, template, BUFFER_GROUP).build();
            // SAFETY: the template is boxed and lives in `self`, the buffers too; the kernel
            // writes to buffers only while they are on the ring of free ones.
            unsafe { self.push(&entry.user_data(RECEIVE)) }?;
            self.receiving = true;
            started = true;
        }
        if !self.listening {
            let entry = opcode::PollAdd::new(BELL, libc::POLLIN as u32)
                .multi(true)
                .build();
            // SAFETY: a poll refers to no memory of ours.
            unsafe { self.push(&entry.user_data(LISTEN)) }?;
            self.listening = true;
        }
        Ok(started)
    }

    /// Submits what is queued and waits for at least one completion or until `timeout`; a zero
    /// timeout only collects, and costs no system call if there is nothing to do.
    pub(crate) fn enter(&mut self, timeout: Duration) -> io::Result<()> {
        let ring = self.ring.as_mut().ok_or_else(broken)?;
        if timeout.is_zero() {
            let mut submission = ring.submission();
            submission.sync();
            let idle = submission.is_empty() && !submission.taskrun() && !submission.cq_overflow();
            drop(submission);
            return if idle { Ok(()) } else { self.wait(0, timeout) };
        }
        let waiting = !ring.completion().is_empty();
        self.wait(usize::from(!waiting), timeout)
    }

    /// Whether the kernel has more completions to hand over than are visible.
    pub(crate) fn pending(&mut self) -> bool {
        self.ring.as_mut().is_some_and(|ring| {
            let submission = ring.submission();
            submission.taskrun() || submission.cq_overflow()
        })
    }

    /// Takes the next visible completion.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        loop {
            let completion = self.ring.as_mut()?.completion().next()?;
            match completion.user_data() {
                RECEIVE => return Some(self.received(&completion)),
                LISTEN => {
                    if !cqueue::more(completion.flags()) {
                        self.listening = false;
                        if completion.result() < 0 {
                            return Some(Completion::BellEnded(-completion.result()));
                        }
                    }
                    return Some(Completion::Bell);
                }
                // A cancellation's own completion.
                _ => {}
            }
        }
    }

    /// Sends a whole batch and waits until the kernel has read all of it. `results[i]` becomes
    /// the bytes sent or a negative error number; other completions go to `others`.
    pub(crate) fn send(
        &mut self,
        batch: &mut SendBatch<'_>,
        results: &mut [i32],
        others: &mut dyn FnMut(Completion),
    ) {
        let count = batch.len().min(results.len());
        results.fill(-libc::EIO);
        if self.ring.is_none() {
            return;
        }
        for (index, header) in (0u64..).zip(&batch.arena.headers).take(count) {
            let entry = opcode::SendMsg::new(SOCKET, &raw const header.msg_hdr)
                .flags(SEND_FLAGS as u32)
                .build()
                .user_data(SEND | index);
            // SAFETY: the header and all it points to live as long as `batch`, and this function
            // returns only when every pushed send has completed or the ring is closed.
            if unsafe { self.push(&entry) }.is_err() {
                self.close();
                return;
            }
        }
        let mut left = count;
        let mut refusals = 0;
        while left > 0 {
            if self.wait(left, SEND_WAIT).is_err() {
                refusals += 1;
                if refusals > REFUSALS_MAX {
                    // What is still queued can only be taken back by closing the ring; what was
                    // submitted has completed, since a send that must not wait never does.
                    self.close();
                    return;
                }
                // Out of memory for requests, which passes.
                std::thread::sleep(REFUSAL_PAUSE);
            }
            while let Some(ring) = self.ring.as_mut() {
                let Some(completion) = ring.completion().next() else {
                    break;
                };
                let data = completion.user_data();
                if data & SEND == 0 {
                    if let Some(other) = self.other(&completion) {
                        others(other);
                    }
                } else {
                    left -= 1;
                    let index = (data & !SEND) as usize;
                    if let Some(result) = results.get_mut(index) {
                        *result = completion.result();
                    }
                }
            }
        }
    }

    /// Splits a received message into its parts; no envelope if it is cut off.
    pub(crate) fn message<'a>(&'a self, held: &Held) -> Option<Received<'a>> {
        let bytes = self.buffers.as_ref()?.bytes(held);
        let message = RecvMsgOut::parse(bytes, &self.template).ok()?;
        let whole = !message.is_payload_truncated() && !message.is_control_data_truncated();
        // The parser hands out borrows of itself; its payload has a fixed place in `bytes`.
        let end = PAYLOAD_OFFSET + message.payload_data().len();
        Some(Received {
            envelope: whole
                .then(|| Envelope::decode(message.name_data(), message.control_data()))
                .flatten(),
            payload: bytes.get(PAYLOAD_OFFSET..end)?,
        })
    }

    /// Gives a buffer back, visible to the kernel after [`publish`](Self::publish).
    pub(crate) fn release(&mut self, held: Held) {
        if let Some(buffers) = &mut self.buffers {
            buffers.release(held);
        }
    }

    /// Shows the kernel the released buffers.
    pub(crate) fn publish(&mut self) {
        if let Some(buffers) = &mut self.buffers {
            buffers.publish();
        }
    }

    fn other(&mut self, completion: &cqueue::Entry) -> Option<Completion> {
        match completion.user_data() {
            RECEIVE => Some(self.received(completion)),
            LISTEN if cqueue::more(completion.flags()) => Some(Completion::Bell),
            LISTEN => {
                self.listening = false;
                Some(match completion.result() {
                    errno @ ..0 => Completion::BellEnded(-errno),
                    _ => Completion::Bell,
                })
            }
            _ => None,
        }
    }

    fn received(&mut self, completion: &cqueue::Entry) -> Completion {
        if !cqueue::more(completion.flags()) {
            self.receiving = false;
        }
        match self.buffers.as_mut().and_then(|b| b.claim(completion)) {
            Some(held) => Completion::Message(held),
            None => Completion::ReceiveEnded(completion.result().min(0).saturating_neg()),
        }
    }

    /// One io_uring_enter. Being interrupted, timing out or having to take completions first are
    /// no errors.
    fn wait(&mut self, want: usize, timeout: Duration) -> io::Result<()> {
        let ring = self.ring.as_mut().ok_or_else(broken)?;
        let timespec = Timespec::from(timeout);
        let args = SubmitArgs::new().timespec(&timespec);
        match ring.submitter().submit_with_args(want, &args) {
            Ok(_) => Ok(()),
            Err(e) => match e.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY) => Ok(()),
                _ => Err(e),
            },
        }
    }

    /// Queues an entry, making room by submitting if necessary.
    ///
    /// # Safety
    /// Whatever the entry points to must stay valid until it completes.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        for _ in 0..PUSHES_MAX {
            let ring = self.ring.as_mut().ok_or_else(broken)?;
            // SAFETY: passed on to the caller.
            if unsafe { ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.wait(0, Duration::ZERO)?;
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    fn close(&mut self) {
        tracing::error!("io_uring refuses to take submissions; the ring is closed");
        self.cancel();
        self.ring = None;
    }

    /// Ends every request; keeps the buffers for ever if the kernel does not confirm it.
    fn cancel(&mut self) {
        let Some(ring) = &self.ring else { return };
        let timeout = Timespec::from(CANCEL_WAIT);
        let confirmed = match ring
            .submitter()
            .register_sync_cancel(Some(timeout), CancelBuilder::any())
        {
            Ok(()) => true,
            Err(e) => e.raw_os_error() == Some(libc::ENOENT),
        };
        if !confirmed {
            std::mem::forget(self.buffers.take());
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Then the fields go: the ring before the buffers (declaration order).
        self.cancel();
    }
}

/// Tries what [`Ring::open`] needs first, and forgets it again.
pub(crate) fn probe_ring() -> Result<(), (&'static str, io::Error)> {
    let ring = builder(2 * SUBMISSIONS)
        .build(SUBMISSIONS)
        .map_err(|e| ("io_uring_setup", e))?;
    check_operations(&ring)
}

fn builder(completions: u32) -> io_uring::Builder {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_cqsize(completions)
        .setup_submit_all()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag();
    builder
}

fn check_operations(ring: &IoUring) -> Result<(), (&'static str, io::Error)> {
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|e| ("probing operations", e))?;
    let needed = [
        ("SENDMSG", opcode::SendMsg::CODE),
        ("RECVMSG", opcode::RecvMsgMulti::CODE),
        ("POLL_ADD", opcode::PollAdd::CODE),
    ];
    for (name, code) in needed {
        if !probe.is_supported(code) {
            return Err((name, io::Error::from_raw_os_error(libc::EOPNOTSUPP)));
        }
    }
    Ok(())
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the io_uring is closed")
}

/// What precedes the payload in a provided buffer: `struct io_uring_recvmsg_out` (four 32-bit
/// fields), the name and the control messages, each at full length.
pub(crate) const PAYLOAD_OFFSET: usize = 16 + NAME_SIZE + RECV_CONTROL_SIZE;

/// A full socket drops, it does not wait; and no SIGPIPE.
const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

const SOCKET: Fixed = Fixed(0);
const BELL: Fixed = Fixed(1);
const BUFFER_GROUP: u16 = 0;

/// A batch of sends and the requests that are started again, with room to spare.
const SUBMISSIONS: u32 = 128;

const RECEIVE: u64 = 1;
const LISTEN: u64 = 2;
const SEND: u64 = 1 << 32;

/// Sends complete while they are submitted; this only bounds a surprise.
const SEND_WAIT: Duration = Duration::from_millis(100);
const REFUSALS_MAX: u32 = 100;
const REFUSAL_PAUSE: Duration = Duration::from_millis(1);
const PUSHES_MAX: u32 = 8;
const CANCEL_WAIT: Duration = Duration::from_secs(1);
