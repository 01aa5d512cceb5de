//! Sending, as all kernel back ends do it: trains are cut into kernel sends, tried in batches,
//! and judged. What differs is only how a batch reaches the kernel.

use crate::backend::{Outgoing, SendOutcome, Train};
use crate::gso;
use crate::message::Domain;

/// One kernel send: consecutive datagrams of one train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    train: usize,
    start: usize,
    size: usize,
    count: u16,
}

impl Unit {
    /// The train, the bytes and, if they are to be segmented, the size of a segment; `None` would
    /// be a unit that was not cut from `outgoing`.
    pub(crate) fn resolve<'a>(
        &self,
        outgoing: &'a Outgoing,
    ) -> Option<(&'a Train, &'a [u8], Option<u16>)> {
        let train = outgoing.trains.get(self.train)?;
        let bytes = outgoing.bytes.get(self.start..self.start + self.size)?;
        let segment_size = self.segmented().then_some(train.segment_size);
        Some((train, bytes, segment_size))
    }

    fn segmented(&self) -> bool {
        self.count > 1
    }
}

/// Whether the kernel is to segment trains, and the scratch space of a send.
#[derive(Debug)]
pub(crate) struct Sender {
    domain: Domain,
    gso: bool,
    batch_max: usize,
    units: Vec<Unit>,
    refused: Vec<Unit>,
    results: Vec<i32>,
}

impl Sender {
    /// A sender that tries `batch_max` kernel sends at once.
    pub(crate) fn new(domain: Domain, gso: bool, batch_max: usize) -> Self {
        Self {
            domain,
            gso,
            batch_max,
            units: Vec::with_capacity(batch_max),
            refused: Vec::with_capacity(batch_max),
            results: vec![0; batch_max],
        }
    }

    /// Whether trains are segmented by the kernel.
    pub(crate) fn gso(&self) -> bool {
        self.gso
    }

    /// Sends everything. `attempt` tries a batch and writes one result per unit: the bytes sent
    /// or a negative error number.
    pub(crate) fn send(
        &mut self,
        outgoing: &Outgoing,
        attempt: &mut dyn FnMut(&[Unit], &mut [i32]),
    ) -> SendOutcome {
        let mut outcome = SendOutcome::default();
        let mut cutter = Cutter::new(outgoing, self.domain);
        loop {
            self.units.clear();
            while self.units.len() < self.batch_max
                && let Some(unit) = cutter.next(self.gso, &mut outcome)
            {
                self.units.push(unit);
            }
            if self.units.is_empty() {
                return outcome;
            }
            self.attempt(outgoing, &mut outcome, attempt);
            self.resend_refused(outgoing, &mut outcome, attempt);
        }
    }

    /// Tries `units` once; refused trains are left in `refused`.
    fn attempt(
        &mut self,
        outgoing: &Outgoing,
        outcome: &mut SendOutcome,
        attempt: &mut dyn FnMut(&[Unit], &mut [i32]),
    ) {
        let Some(results) = self.results.get_mut(..self.units.len()) else {
            return;
        };
        attempt(&self.units, results);
        outcome.messages += self.units.len() as u64;
        for (unit, result) in self.units.iter().zip(results) {
            let count = u64::from(unit.count);
            if *result >= 0 {
                outcome.sent += count;
                continue;
            }
            let errno = result.saturating_neg();
            let train = unit.resolve(outgoing).map(|(train, ..)| train);
            if unit.segmented() {
                match refusal(errno) {
                    Some(Refusal::Device) => {
                        outcome.gso_switched_off |= std::mem::replace(&mut self.gso, false);
                        self.refused.push(*unit);
                        continue;
                    }
                    Some(Refusal::Train) => {
                        self.refused.push(*unit);
                        continue;
                    }
                    None => {}
                }
            }
            let pinned = train.is_some_and(|train| train.local.is_some());
            match cause(errno, pinned) {
                Cause::Full => outcome.dropped_full += count,
                Cause::Unreachable => outcome.dropped_unreachable += count,
                Cause::TooLarge => outcome.dropped_too_large += count,
                Cause::Other => {
                    outcome.dropped_other += count;
                    outcome.errno_first.get_or_insert(errno);
                }
            }
        }
    }

    /// Sends the datagrams of refused trains one by one. When they are accepted although the
    /// train was not, and are small enough for any link, segmentation was to blame.
    fn resend_refused(
        &mut self,
        outgoing: &Outgoing,
        outcome: &mut SendOutcome,
        attempt: &mut dyn FnMut(&[Unit], &mut [i32]),
    ) {
        while let Some(unit) = self.refused.pop() {
            let before = outcome.sent;
            let train = unit.resolve(outgoing).map(|(train, ..)| train);
            let segment_size = train.map_or(1, |train| usize::from(train.segment_size).max(1));
            let end = unit.start + unit.size;
            let mut start = unit.start;
            while start < end {
                self.units.clear();
                let starts = (start..end).step_by(segment_size).take(self.batch_max);
                self.units.extend(starts.map(|start| Unit {
                    start,
                    size: segment_size.min(end - start),
                    count: 1,
                    ..unit
                }));
                start += self.units.len() * segment_size;
                self.attempt(outgoing, outcome, attempt);
            }
            if outcome.sent > before && segment_size <= SIZE_FOR_ANY_LINK {
                outcome.gso_switched_off |= std::mem::replace(&mut self.gso, false);
            }
        }
    }
}

/// Walks over the trains and cuts kernel sends from them.
struct Cutter<'a> {
    outgoing: &'a Outgoing,
    domain: Domain,
    train: usize,
    /// Bytes of the train that are cut already.
    offset: usize,
    /// Whether anything of the train was looked at.
    is_begun: bool,
}

impl<'a> Cutter<'a> {
    fn new(outgoing: &'a Outgoing, domain: Domain) -> Self {
        Self {
            outgoing,
            domain,
            train: 0,
            offset: 0,
            is_begun: false,
        }
    }

    /// The next send; datagrams that cannot be sent at all are counted on the way.
    fn next(&mut self, gso: bool, outcome: &mut SendOutcome) -> Option<Unit> {
        loop {
            let train = self.outgoing.trains.get(self.train)?;
            let rest = train.size.saturating_sub(self.offset);
            // An empty datagram is a train of its own.
            if self.is_begun && rest == 0 {
                self.train += 1;
                self.offset = 0;
                self.is_begun = false;
                continue;
            }
            self.is_begun = true;
            let segment_size = usize::from(train.segment_size).max(1);
            let count = rest.div_ceil(segment_size).max(1);
            let start = train.start.saturating_add(self.offset);
            let end = start.saturating_add(rest);
            let is_there = self.outgoing.bytes.get(start..end).is_some();
            debug_assert!(is_there, "a train over bytes that are not there");
            if !is_there {
                outcome.dropped_other += count as u64;
                outcome.errno_first.get_or_insert(libc::EINVAL);
                self.offset = train.size;
                continue;
            }
            if !self.domain.reaches(train.destination, train.local) {
                outcome.dropped_unreachable += count as u64;
                self.offset = train.size;
                continue;
            }
            let count_max = match gso {
                true => gso::segments_max(train.segment_size),
                false => 1,
            };
            let count = count.min(count_max);
            let size = rest.min(count * segment_size);
            self.offset += size;
            return Some(Unit {
                train: self.train,
                start,
                size,
                count: count as u16,
            });
        }
    }
}

/// Who refused a segmented send.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// The device or the kernel cannot segment at all.
    Device,
    /// Maybe only this train: a segment above the MTU, or an address that is not ours.
    Train,
}

fn refusal(errno: i32) -> Option<Refusal> {
    match errno {
        libc::EIO | libc::EOPNOTSUPP => Some(Refusal::Device),
        libc::EINVAL | libc::EMSGSIZE => Some(Refusal::Train),
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Cause {
    Full,
    Unreachable,
    TooLarge,
    Other,
}

/// `pinned`: the send asked for a source address, which the kernel refuses as EINVAL if it is
/// not (or no longer) one of the host's.
fn cause(errno: i32, pinned: bool) -> Cause {
    match errno {
        libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => Cause::Full,
        libc::ENETUNREACH
        | libc::EHOSTUNREACH
        | libc::ENETDOWN
        | libc::EHOSTDOWN
        | libc::ENODEV
        | libc::EADDRNOTAVAIL
        | libc::EAFNOSUPPORT
        | libc::ECONNREFUSED
        | libc::EACCES
        | libc::EPERM => Cause::Unreachable,
        libc::EINVAL if pinned => Cause::Unreachable,
        libc::EMSGSIZE => Cause::TooLarge,
        _ => Cause::Other,
    }
}

/// A datagram of this size fits the smallest MTU of IPv6 (RFC 8200 §5: 1,280 bytes, less 40 for
/// the IP and 8 for the UDP header), so a refusal of such segments is not about the MTU.
const SIZE_FOR_ANY_LINK: usize = 1280 - 40 - 8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn outgoing(sizes: &[usize]) -> Outgoing {
        let mut outgoing = Outgoing::default();
        for size in sizes {
            let destination = SocketAddr::from(([192, 0, 2, 1], 9));
            assert!(outgoing.push(destination, None, vec![0; *size]));
        }
        outgoing
    }

    /// Sends and returns the counts of all units that were tried.
    fn tried(
        sender: &mut Sender,
        outgoing: &Outgoing,
        mut judge: impl FnMut(&Unit) -> i32,
    ) -> (SendOutcome, Vec<u16>) {
        let mut counts = Vec::new();
        let outcome = sender.send(outgoing, &mut |units, results| {
            for (unit, result) in units.iter().zip(results) {
                counts.push(unit.count);
                *result = judge(unit);
            }
        });
        (outcome, counts)
    }

    fn sender(gso: bool) -> Sender {
        Sender::new(Domain::V4, gso, 4)
    }

    #[test]
    fn trains_leave_whole_with_gso_and_singly_without() {
        let out = outgoing(&[100, 100, 50, 70]);
        let (outcome, counts) = tried(&mut sender(true), &out, |_| 1);
        assert_eq!((outcome.sent, outcome.messages), (4, 2));
        assert_eq!(counts, [3, 1]);
        let (outcome, counts) = tried(&mut sender(false), &out, |_| 1);
        assert_eq!((outcome.sent, counts), (4, vec![1; 4]));
    }

    #[test]
    fn an_overlong_train_is_cut_at_the_limit() {
        let mut out = outgoing(&[10; 1]);
        out.bytes = vec![0; 1_495];
        out.trains[0].size = 1_495;
        let (outcome, counts) = tried(&mut sender(true), &out, |_| 1);
        assert_eq!((outcome.sent, counts), (150, vec![64, 64, 22]));
    }

    #[test]
    fn empty_datagrams_are_sent_one_by_one() {
        let out = outgoing(&[0, 0, 5, 0]);
        let (outcome, counts) = tried(&mut sender(true), &out, |_| 0);
        assert_eq!((outcome.sent, counts), (4, vec![1; 4]));
    }

    #[test]
    fn refused_singles_have_the_sizes_they_had() {
        let out = outgoing(&[100, 100, 100, 100, 100, 30]);
        let mut bytes = Vec::new();
        let outcome = sender(true).send(&out, &mut |units, results| {
            for (unit, result) in units.iter().zip(results) {
                let (_, slice, segment_size) = unit.resolve(&out).expect("cut from it");
                *result = if segment_size.is_some() {
                    -libc::EIO
                } else {
                    1
                };
                bytes.extend(segment_size.is_none().then_some(slice.len()));
            }
        });
        assert_eq!(
            (outcome.sent, bytes),
            (6, vec![100, 100, 100, 100, 100, 30])
        );
    }

    #[test]
    fn a_device_refusal_resends_singly_and_switches_gso_off() {
        for errno in [libc::EIO, libc::EOPNOTSUPP] {
            let mut sender = sender(true);
            let out = outgoing(&[100; 6]);
            let judge = |unit: &Unit| if unit.count > 1 { -errno } else { 100 };
            let (outcome, counts) = tried(&mut sender, &out, judge);
            assert!(outcome.gso_switched_off && !sender.gso());
            assert_eq!((outcome.sent, outcome.dropped()), (6, 0));
            assert_eq!(counts, [6, 1, 1, 1, 1, 1, 1]);
            let (outcome, _) = tried(&mut sender, &out, judge);
            assert!(!outcome.gso_switched_off, "it was off already");
        }
    }

    #[test]
    fn einval_switches_gso_off_only_if_small_singles_pass() {
        let refuse = |unit: &Unit| if unit.count > 1 { -libc::EINVAL } else { 1 };
        let mut small = sender(true);
        let (outcome, _) = tried(&mut small, &outgoing(&[1232; 3]), refuse);
        assert!(outcome.gso_switched_off && outcome.sent == 3);

        let mut large = sender(true);
        let (outcome, _) = tried(&mut large, &outgoing(&[1233; 3]), refuse);
        assert!(!outcome.gso_switched_off && large.gso() && outcome.sent == 3);

        let mut foreign = sender(true);
        let mut out = outgoing(&[100; 3]);
        out.trains[0].local = Some([198, 51, 100, 1].into());
        let (outcome, _) = tried(&mut foreign, &out, |_| -libc::EINVAL);
        assert!(!outcome.gso_switched_off && foreign.gso());
        assert_eq!(outcome.dropped_unreachable, 3);
    }

    #[test]
    fn every_refusal_is_counted_under_its_cause() {
        for (errno, field) in [
            (libc::EAGAIN, 0),
            (libc::ENOBUFS, 0),
            (libc::ENETUNREACH, 1),
            (libc::EPERM, 1),
            (libc::EMSGSIZE, 2),
            (libc::EFAULT, 3),
            (libc::EINVAL, 3),
        ] {
            let (outcome, _) = tried(&mut sender(true), &outgoing(&[9]), |_| -errno);
            let fields = [
                outcome.dropped_full,
                outcome.dropped_unreachable,
                outcome.dropped_too_large,
                outcome.dropped_other,
            ];
            assert_eq!(fields.iter().sum::<u64>(), 1);
            assert_eq!(fields[field], 1, "{errno}");
            assert_eq!(outcome.errno_first.is_some(), field == 3);
        }
    }

    #[test]
    fn a_destination_of_the_wrong_family_is_dropped_without_trying() {
        let mut out = outgoing(&[9, 9]);
        let six: SocketAddr = "[2001:db8::1]:9".parse().unwrap();
        assert!(out.push(six, None, vec![1]));
        let (outcome, counts) = tried(&mut sender(true), &out, |_| 9);
        assert_eq!((outcome.sent, outcome.dropped_unreachable), (2, 1));
        assert_eq!(counts, [2]);
    }
}
