//! What leaves in one go: datagrams back to back in one buffer, and the runs over them.

use std::net::IpAddr;

use whitewater_link::PeerAddr;

use crate::limits;

/// Datagrams on their way to the network, in order.
///
/// The buffer is written once and kept: a datagram costs neither an allocation nor a copy of its
/// own. Consecutive datagrams of equal size to one destination are one [`Run`], which a back end
/// can send with one call (UDP_SEGMENT).
#[derive(Debug, Default)]
pub struct Batch {
    /// Always initialised to its whole length; `used` says how much of it means something.
    bytes: Vec<u8>,
    used: usize,
    runs: Vec<Run>,
    datagrams: usize,
}

/// Where a datagram goes, and the address of ours it leaves from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// To whom.
    pub destination: PeerAddr,
    /// The address of ours to send from.
    pub local: Option<IpAddr>,
}

/// Consecutive datagrams of one route.
///
/// Shape: `size` bytes of [`Batch::bytes`] from `start` on hold `count` datagrams of
/// `segment_size` bytes each, the last of which may be shorter. At most
/// [`limits::RUN_DATAGRAMS_MAX`] datagrams and [`limits::RUN_SIZE_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where to.
    pub route: Route,
    /// Offset of the first byte.
    pub start: usize,
    /// Bytes of all datagrams together.
    pub size: usize,
    /// Bytes of every datagram but the last.
    pub segment_size: usize,
    /// How many datagrams.
    pub count: usize,
}

/// One datagram of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// To whom.
    pub destination: PeerAddr,
    /// The address of ours to send from.
    pub local: Option<IpAddr>,
    /// Its payload.
    pub bytes: &'a [u8],
}

impl Batch {
    /// The buffer that the runs point into.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, so that its owner can be changed for the time of a send: whoever takes it puts
    /// it, or another one, back.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The runs, in the order in which they are to be sent.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// How many datagrams there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.datagrams
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether it should be sent before more is written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.used >= limits::BATCH_SIZE
    }

    /// Whether it holds so much that answers to NACKs have to stay away.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.used >= limits::BATCH_SIZE_MAX
    }

    /// The datagrams one by one.
    pub fn datagrams(&self) -> impl Iterator<Item = Outgoing<'_>> {
        self.runs.iter().flat_map(|run| {
            let bytes = self.bytes.get(run.start..run.start + run.size);
            let bytes = bytes.unwrap_or_default();
            bytes.chunks(run.segment_size.max(1)).map(|bytes| Outgoing {
                destination: run.route.destination,
                local: run.route.local,
                bytes,
            })
        })
    }

    /// Forgets what was sent; the memory stays.
    pub fn clear(&mut self) {
        self.used = 0;
        self.runs.clear();
        self.datagrams = 0;
    }

    /// Appends one datagram.
    pub fn push(&mut self, route: Route, datagram: &[u8]) {
        let fill = |room: &mut [u8]| {
            room.get_mut(..datagram.len())?.copy_from_slice(datagram);
            Some(datagram.len())
        };
        // There is as much room as asked for.
        let _ = self.write(route, datagram.len(), fill);
    }

    /// Appends the datagram that `fill` writes to the front of a slice of `room` bytes; it says
    /// how long it became, 1..=`room`, and nothing is appended for `None`. Returns that length.
    #[inline]
    pub fn write(
        &mut self,
        route: Route,
        room: usize,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<usize> {
        let end = self.used + room;
        if end > self.bytes.len() {
            // Doubled, so that it happens a few times in a life and not again.
            self.bytes.resize(end.next_power_of_two(), 0);
        }
        let size = fill(self.bytes.get_mut(self.used..end)?)?;
        debug_assert!(size <= room, "what was written fits");
        if size == 0 {
            return None;
        }
        self.append(route, size);
        Some(size)
    }

    fn append(&mut self, route: Route, size: usize) {
        let start = self.used;
        self.used += size;
        self.datagrams += 1;
        if let Some(run) = self.runs.last_mut()
            && run.takes(size)
            && run.route == route
        {
            run.size += size;
            run.count += 1;
            return;
        }
        self.runs.push(Run {
            route,
            start,
            size,
            segment_size: size,
            count: 1,
        });
    }
}

impl Run {
    /// Whether one more datagram of `size` bytes may follow: only the last one may be shorter.
    fn takes(&self, size: usize) -> bool {
        let last_is_whole = self.size == self.count * self.segment_size;
        last_is_whole
            && size <= self.segment_size
            && self.count < limits::RUN_DATAGRAMS_MAX
            && self.size + size <= limits::RUN_SIZE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(port: u16) -> Route {
        Route {
            destination: PeerAddr::udp(([192, 0, 2, 1], port).into()),
            local: None,
        }
    }

    fn counts(batch: &Batch) -> Vec<(usize, usize)> {
        let pair = |run: &Run| (run.segment_size, run.count);
        batch.runs().iter().map(pair).collect()
    }

    #[test]
    fn equal_sizes_to_one_destination_are_one_run_and_a_shorter_one_ends_it() {
        let mut batch = Batch::default();
        for size in [100, 100, 60, 100, 101] {
            batch.push(route(1), &vec![size as u8; size]);
        }
        assert_eq!(counts(&batch), [(100, 3), (100, 1), (101, 1)]);
        batch.push(route(2), &[0; 101]);
        assert_eq!(counts(&batch).len(), 4, "another destination");
        let sizes: Vec<usize> = batch.datagrams().map(|d| d.bytes.len()).collect();
        assert_eq!(sizes, [100, 100, 60, 100, 101, 101]);
        assert!(batch.datagrams().take(5).all(|d| {
            d.bytes
                .iter()
                .all(|&byte| usize::from(byte) == d.bytes.len())
        }));
        assert_eq!(batch.len(), 6);
    }

    #[test]
    fn a_run_ends_at_what_one_send_can_carry() {
        let mut batch = Batch::default();
        for _ in 0..100 {
            batch.push(route(1), &[7; 100]);
        }
        assert_eq!(counts(&batch), [(100, 64), (100, 36)]);
        batch.clear();
        for _ in 0..50 {
            batch.push(route(1), &[7; 1_400]);
        }
        assert_eq!(counts(&batch), [(1_400, 46), (1_400, 4)]);
    }

    #[test]
    fn what_is_refused_leaves_nothing_behind() {
        let mut batch = Batch::default();
        batch.push(route(1), &[1; 10]);
        assert_eq!(batch.write(route(1), 10, |_| None), None);
        assert_eq!(batch.write(route(1), 10, |_| Some(0)), None);
        batch.push(route(1), &[2; 10]);
        let bytes: Vec<u8> = batch.datagrams().flat_map(|d| d.bytes.to_vec()).collect();
        assert_eq!(bytes, [[1; 10], [2; 10]].concat());
    }

    #[test]
    fn memory_is_kept_from_turn_to_turn() {
        let mut batch = Batch::default();
        let turn = |batch: &mut Batch| {
            for port in 0..50 {
                batch.push(route(port), &[0; 1_200]);
            }
            let places = (batch.bytes().as_ptr(), batch.runs().as_ptr());
            batch.clear();
            places
        };
        let first = turn(&mut batch);
        assert_eq!(turn(&mut batch), first);
    }
}
