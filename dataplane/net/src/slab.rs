//! Memory the kernel writes into: page-aligned blocks, and the ring of provided receive buffers.

#![allow(unsafe_code)]

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::cqueue;
use io_uring::types::BufRingEntry;

/// A zeroed, page-aligned block that stays where it is; pages nobody touches cost nothing.
///
/// It is only ever reached through raw pointers, because the kernel writes to parts of it while
/// others are read.
#[derive(Debug)]
pub(crate) struct Memory {
    start: NonNull<u8>,
    size: usize,
}

impl Memory {
    /// A block of `size` bytes (at least one).
    pub(crate) fn new(size: usize) -> io::Result<Self> {
        let size = size.max(1);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // An allocator would zero aligned memory by touching all of it; the kernel does not.
        // SAFETY: a new anonymous mapping at an address of the kernel's choice replaces nothing.
        let start = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, size })
    }

    /// The address of `offset`, for the kernel to write `len` bytes to.
    ///
    /// # Panics
    /// When `offset + len` is outside the block: offsets come from this crate, never from a peer.
    pub(crate) fn at(&self, offset: usize, len: usize) -> NonNull<u8> {
        let end = offset.checked_add(len).expect("no overflow");
        assert!(end <= self.size, "outside the block");
        // SAFETY: `offset` is within the mapping that `start` points to (asserted above), and a
        // mapping never exceeds `isize::MAX` bytes.
        unsafe { self.start.add(offset) }
    }

    /// Reads a part of the block.
    ///
    /// # Safety
    /// While the slice lives nobody, the kernel included, may write to those `len` bytes.
    pub(crate) unsafe fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        let start = self.at(offset, len);
        // SAFETY: `at` checked that the range is inside the mapping, which is zeroed (hence
        // initialised) from the start and lives as long as `self`; the caller keeps writers away.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `start` and `size` are those of the mapping made in `new`, unmapped only here;
        // slices of it borrow `self` and are gone.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.size) };
    }
}

/// Receive buffers shared with an io_uring: a ring of free ones (io_uring_register_buf_ring) and
/// the memory behind them.
///
/// A buffer belongs either to the kernel or to the holder of a [`Held`]; there is no third state,
/// and `Held` can be neither copied nor made elsewhere.
#[derive(Debug)]
pub(crate) struct BufferRing {
    entries: Memory,
    memory: Memory,
    count: u16,
    size: usize,
    tail: u16,
    published: u16,
    held: Box<[bool]>,
    held_count: u16,
}

/// One buffer the kernel filled and handed over.
#[derive(Debug)]
pub(crate) struct Held {
    id: u16,
    len: usize,
}

impl BufferRing {
    /// `count` buffers of `size` bytes, all free; `count` must be a power of two up to 32,768.
    pub(crate) fn new(count: u16, size: usize) -> io::Result<Self> {
        if !count.is_power_of_two() || count > BUFFERS_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let total = size
            .checked_mul(usize::from(count))
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let mut ring = Self {
            entries: Memory::new(usize::from(count) * size_of::<BufRingEntry>())?,
            memory: Memory::new(total)?,
            count,
            size,
            tail: 0,
            published: 0,
            held: vec![false; usize::from(count)].into_boxed_slice(),
            held_count: 0,
        };
        for id in 0..count {
            ring.offer(id);
        }
        ring.publish();
        Ok(ring)
    }

    /// The address of the ring of free buffers, for registration.
    pub(crate) fn entries_addr(&self) -> u64 {
        self.entries.at(0, 0).as_ptr() as u64
    }

    /// How many buffers there are.
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// How many buffers are out of the kernel's hands.
    pub(crate) fn held_count(&self) -> u16 {
        self.held_count
    }

    /// Takes over the buffer that a completion names; `None` if it names none.
    pub(crate) fn claim(&mut self, completion: &cqueue::Entry) -> Option<Held> {
        let id = cqueue::buffer_select(completion.flags())?;
        let held = self.held.get_mut(usize::from(id))?;
        debug_assert!(!*held, "the kernel handed out buffer {id} twice");
        if std::mem::replace(held, true) {
            return None;
        }
        self.held_count += 1;
        let len = usize::try_from(completion.result()).unwrap_or(0);
        Some(Held {
            id,
            len: len.min(self.size),
        })
    }

    /// What the kernel wrote.
    pub(crate) fn bytes(&self, held: &Held) -> &[u8] {
        debug_assert!(self.held.get(usize::from(held.id)) == Some(&true));
        // SAFETY: a `Held` exists only between `claim`, at which the kernel gave the buffer up,
        // and `release`, which consumes it; so nobody writes while the slice lives.
        unsafe {
            self.memory
                .bytes(usize::from(held.id) * self.size, held.len)
        }
    }

    /// Gives a buffer back; the kernel sees it after [`publish`](Self::publish).
    pub(crate) fn release(&mut self, held: Held) {
        if let Some(flag) = self.held.get_mut(usize::from(held.id)) {
            *flag = false;
        }
        self.held_count -= 1;
        self.offer(held.id);
    }

    /// Shows the kernel what was released since the last call.
    pub(crate) fn publish(&mut self) {
        if self.published == self.tail {
            return;
        }
        self.published = self.tail;
        let first = self.entries.at(0, size_of::<BufRingEntry>()).cast();
        // SAFETY: `tail` wants the address of the first entry of an initialised ring; `first` is
        // that, zeroed at allocation.
        let tail = unsafe { BufRingEntry::tail(first.as_ptr()) };
        // SAFETY: `from_ptr` wants a valid, aligned u16 that is only accessed atomically: the
        // field lies at an even offset of page-aligned memory, `offer` writes the other fields
        // only, and the kernel reads it with acquire semantics.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: the entries must be visible before the tail that covers them.
        tail.store(self.tail, Ordering::Release);
    }

    fn offer(&mut self, id: u16) {
        let index = usize::from(self.tail & (self.count - 1));
        let size = size_of::<BufRingEntry>();
        let addr = self.memory.at(usize::from(id) * self.size, self.size);
        let mut entry = self.entries.at(index * size, size).cast::<BufRingEntry>();
        // SAFETY: the entry is inside the zeroed, page-aligned block, and beyond the published
        // tail (there are as many entries as buffers), so the kernel does not look at it yet.
        let entry = unsafe { entry.as_mut() };
        entry.set_addr(addr.as_ptr() as u64);
        // A buffer is at most 66 KB (checked when the back end is configured).
        entry.set_len(u32::try_from(self.size).unwrap_or(u32::MAX));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }
}

/// The kernel's limit for a ring of provided buffers.
pub(crate) const BUFFERS_MAX: u16 = 1 << 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_starts_zeroed_and_keeps_what_is_written() {
        let memory = Memory::new(100).unwrap();
        // SAFETY: nobody else knows the block.
        assert!(unsafe { memory.bytes(0, 100) }.iter().all(|b| *b == 0));
        // SAFETY: inside the block, and no slice of it is alive.
        unsafe { memory.at(99, 1).write(7) };
        // SAFETY: nobody else knows the block.
        assert_eq!(unsafe { memory.bytes(98, 2) }, [0, 7]);
    }

    #[test]
    #[should_panic(expected = "outside the block")]
    fn a_range_outside_the_block_is_refused() {
        let memory = Memory::new(100).unwrap();
        let _ = memory.at(90, 11);
    }

    #[test]
    fn every_buffer_is_offered_once_and_again_after_release() {
        let mut ring = BufferRing::new(8, 64).unwrap();
        assert_eq!((ring.tail, ring.published), (8, 8));
        ring.held[3] = true;
        ring.held_count = 1;
        ring.release(Held { id: 3, len: 0 });
        assert_eq!((ring.tail, ring.published, ring.held_count), (9, 8, 0));
        ring.publish();
        assert_eq!(ring.published, 9);
        let entry = ring.entries.at(0, 16).cast::<BufRingEntry>();
        // SAFETY: the ninth offer went to the first entry, which is initialised; no kernel here.
        let entry = unsafe { entry.as_ref() };
        assert_eq!((entry.bid(), entry.len()), (3, 64));
        assert_eq!(entry.addr(), ring.memory.at(3 * 64, 64).as_ptr() as u64);
    }

    #[test]
    fn sizes_that_the_kernel_would_refuse_are_refused() {
        assert!(BufferRing::new(0, 64).is_err());
        assert!(BufferRing::new(12, 64).is_err());
        assert!(BufferRing::new(BUFFERS_MAX, usize::MAX / 2).is_err());
    }
}
