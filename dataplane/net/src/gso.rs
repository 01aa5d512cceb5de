//! Grouping of datagrams into trains that one segmented send (UDP_SEGMENT) can carry.

use std::net::{IpAddr, SocketAddr};

use crate::backend::Train;

/// The most datagrams in one segmented send (UDP_MAX_SEGMENTS of Linux before 6.9).
pub const SEGMENTS_MAX: u16 = 64;

/// The most bytes of payload in one segmented send: an IP packet of 65,535 bytes less headers,
/// with room to spare for options.
pub const TRAIN_SIZE_MAX: usize = 65_000;

/// One datagram as [`group`] sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Where to.
    pub destination: SocketAddr,
    /// The wished source address.
    pub local: Option<IpAddr>,
    /// Payload bytes.
    pub size: u16,
}

/// Groups consecutive datagrams: same destination and source address, equal size, the last may
/// be shorter, at most [`SEGMENTS_MAX`] of them and [`TRAIN_SIZE_MAX`] bytes. Appends to `trains`;
/// indices count from zero at the first item.
///
/// Every item is in exactly one train and order is kept.
pub fn group(items: impl IntoIterator<Item = Item>, trains: &mut Vec<Train>) {
    let mut open: Option<(Train, usize)> = None;
    for (index, item) in (0u32..).zip(items) {
        match &mut open {
            Some((train, size_last))
                if joins(
                    train,
                    *size_last,
                    item.destination,
                    item.local,
                    usize::from(item.size),
                ) =>
            {
                train.count += 1;
                *size_last = usize::from(item.size);
            }
            _ => {
                trains.extend(open.take().map(|(train, _)| train));
                let train = Train {
                    destination: item.destination,
                    local: item.local,
                    first: index,
                    count: 1,
                    segment_size: item.size,
                };
                open = Some((train, usize::from(item.size)));
            }
        }
    }
    trains.extend(open.map(|(train, _)| train));
}

/// Whether a datagram of `size` bytes may follow `train`, whose last datagram has `size_last`.
pub(crate) fn joins(
    train: &Train,
    size_last: usize,
    destination: SocketAddr,
    local: Option<IpAddr>,
    size: usize,
) -> bool {
    train.destination == destination
        && train.local == local
        && extends(
            usize::from(train.segment_size),
            train.count,
            size_last,
            size,
        )
}

/// The size rule of [`joins`]: a train of `count` datagrams of `segment_size` bytes, the last of
/// them `size_last`, can take one more of `size` bytes. An empty datagram can neither follow nor
/// be followed: the kernel would not emit it.
pub(crate) fn extends(segment_size: usize, count: u16, size_last: usize, size: usize) -> bool {
    size_last == segment_size
        && size > 0
        && size <= segment_size
        && count < SEGMENTS_MAX
        && usize::from(count) * segment_size + size <= TRAIN_SIZE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(port: u16, size: u16) -> Item {
        Item {
            destination: SocketAddr::from(([127, 0, 0, 1], port)),
            local: None,
            size,
        }
    }

    fn shapes(items: &[Item]) -> Vec<(u32, u16, u16)> {
        let mut trains = Vec::new();
        group(items.iter().copied(), &mut trains);
        trains
            .iter()
            .map(|t| (t.first, t.count, t.segment_size))
            .collect()
    }

    #[test]
    fn equal_sizes_make_one_train_and_a_short_one_ends_it() {
        let items = [item(1, 1200), item(1, 1200), item(1, 700), item(1, 700)];
        assert_eq!(shapes(&items), [(0, 3, 1200), (3, 1, 700)]);
    }

    #[test]
    fn a_longer_datagram_starts_a_new_train() {
        let items = [item(1, 1199), item(1, 1200), item(1, 1200)];
        assert_eq!(shapes(&items), [(0, 1, 1199), (1, 2, 1200)]);
    }

    #[test]
    fn destination_and_source_address_separate_trains() {
        let mut other_source = item(1, 100);
        other_source.local = Some(IpAddr::from([127, 0, 0, 2]));
        let items = [item(1, 100), item(2, 100), item(1, 100), other_source];
        assert_eq!(
            shapes(&items),
            [(0, 1, 100), (1, 1, 100), (2, 1, 100), (3, 1, 100)]
        );
    }

    #[test]
    fn both_limits_cut_a_long_run() {
        let small = vec![item(1, 10); 130];
        assert_eq!(shapes(&small), [(0, 64, 10), (64, 64, 10), (128, 2, 10)]);
        // 65,000 / 1,300 = 50 exactly.
        let full = vec![item(1, 1300); 51];
        assert_eq!(shapes(&full), [(0, 50, 1300), (50, 1, 1300)]);
        let over = vec![item(1, 1301); 51];
        assert_eq!(shapes(&over), [(0, 49, 1301), (49, 2, 1301)]);
    }

    #[test]
    fn empty_datagrams_stand_alone() {
        let items = [item(1, 0), item(1, 0), item(1, 5), item(1, 0)];
        assert_eq!(shapes(&items), [(0, 1, 0), (1, 1, 0), (2, 1, 5), (3, 1, 0)]);
    }

    #[test]
    fn every_item_is_in_exactly_one_train() {
        let mut seed = 7u32;
        let items: Vec<Item> = (0..2000)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let size = [0, 100, 100, 100, 1200, 1200, 99, 40_000][(seed >> 16) as usize % 8];
                item(1 + ((seed >> 24) % 2) as u16, size)
            })
            .collect();
        let mut trains = Vec::new();
        group(items.iter().copied(), &mut trains);
        let mut next = 0;
        for train in &trains {
            assert_eq!(train.first, next);
            let run = &items[next as usize..][..usize::from(train.count)];
            let total: usize = run.iter().map(|i| usize::from(i.size)).sum();
            assert!(total <= TRAIN_SIZE_MAX && train.count <= SEGMENTS_MAX);
            let (last, front) = run.split_last().expect("a train is never empty");
            assert!(
                front
                    .iter()
                    .all(|i| i.size == train.segment_size && i.size > 0)
            );
            assert!(last.size <= train.segment_size);
            assert!(run.iter().all(|i| i.destination == train.destination));
            next += u32::from(train.count);
        }
        assert_eq!(next as usize, items.len());
    }
}
