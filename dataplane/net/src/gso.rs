//! Grouping of datagrams into trains that one segmented send (UDP_SEGMENT) can carry.

use std::net::{IpAddr, SocketAddr};

use crate::backend::Train;

/// The most datagrams in one segmented send (UDP_MAX_SEGMENTS of Linux before 6.9).
pub const SEGMENTS_MAX: u16 = 64;

/// The most bytes of payload in one segmented send: an IP packet of 65,535 bytes less headers,
/// with room to spare for options.
pub const TRAIN_SIZE_MAX: usize = 65_000;

/// Whether a datagram of `size` bytes may follow `train`: same destination and source address,
/// equal size or shorter, and nothing shorter before it. An empty datagram can neither follow nor
/// be followed: the kernel would not emit it.
pub(crate) fn joins(
    train: &Train,
    destination: SocketAddr,
    local: Option<IpAddr>,
    size: usize,
) -> bool {
    let segment_size = usize::from(train.segment_size);
    train.destination == destination
        && train.local == local
        && (1..=segment_size).contains(&size)
        && train.size.is_multiple_of(segment_size)
        && train.count() < usize::from(SEGMENTS_MAX)
        && train.size + size <= TRAIN_SIZE_MAX
}

/// The most datagrams of `segment_size` bytes that one send carries, at least 1.
pub(crate) fn segments_max(segment_size: u16) -> usize {
    let by_size = TRAIN_SIZE_MAX / usize::from(segment_size).max(1);
    by_size.clamp(1, usize::from(SEGMENTS_MAX))
}

/// The datagrams of a train; no bytes are one empty datagram.
pub(crate) fn segments(bytes: &[u8], segment_size: u16) -> impl Iterator<Item = &[u8]> {
    let empty = bytes.is_empty().then_some(bytes);
    empty
        .into_iter()
        .chain(bytes.chunks(usize::from(segment_size).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Outgoing;

    #[derive(Clone, Copy)]
    struct Item {
        destination: SocketAddr,
        local: Option<IpAddr>,
        size: u16,
    }

    fn item(port: u16, size: u16) -> Item {
        Item {
            destination: SocketAddr::from(([127, 0, 0, 1], port)),
            local: None,
            size,
        }
    }

    fn outgoing(items: &[Item]) -> Outgoing {
        let mut outgoing = Outgoing::default();
        for item in items {
            let datagram = vec![0; usize::from(item.size)];
            assert!(outgoing.push(item.destination, item.local, datagram));
        }
        outgoing
    }

    /// Number of the first datagram, how many, and their size, of each train.
    fn shapes(items: &[Item]) -> Vec<(usize, usize, u16)> {
        let outgoing = outgoing(items);
        let mut first = 0;
        let shape = |train: &Train| {
            first += train.count();
            (first - train.count(), train.count(), train.segment_size)
        };
        outgoing.trains.iter().map(shape).collect()
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
        let outgoing = outgoing(&items);
        let mut next = 0;
        for train in &outgoing.trains {
            let run = &items[next..][..train.count()];
            let total: usize = run.iter().map(|i| usize::from(i.size)).sum();
            assert_eq!(total, train.size);
            assert!(total <= TRAIN_SIZE_MAX && train.count() <= usize::from(SEGMENTS_MAX));
            let (last, front) = run.split_last().expect("a train is never empty");
            assert!(
                front
                    .iter()
                    .all(|i| i.size == train.segment_size && i.size > 0)
            );
            assert!(last.size <= train.segment_size);
            assert!(run.iter().all(|i| i.destination == train.destination));
            next += train.count();
        }
        assert_eq!(next, items.len());
        let sizes = outgoing.datagrams().map(<[u8]>::len);
        assert!(sizes.eq(items.iter().map(|item| usize::from(item.size))));
    }
}
