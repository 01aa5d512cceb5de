//! Sending, as all kernel back ends do it: trains are cut into kernel sends, tried in batches,
//! and judged. What differs is only how a batch reaches the kernel.

use crate::backend::{Outgoing, SendOutcome, Train};
use crate::gso;
use crate::message::Domain;

/// One kernel send: consecutive datagrams of one train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    train: usize,
    first: usize,
    count: u16,
}

impl Unit {
    /// The train and the datagrams; `None` would be a unit that was not cut from `outgoing`.
    pub(crate) fn resolve<'a>(&self, outgoing: &'a Outgoing) -> Option<(&'a Train, &'a [Vec<u8>])> {
        let datagrams = self.first..self.first + usize::from(self.count);
        Some((
            outgoing.trains.get(self.train)?,
            outgoing.datagrams.get(datagrams)?,
        ))
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
            let train = unit.resolve(outgoing).map(|(train, _)| train);
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
            let mut first = unit.first;
            let end = unit.first + usize::from(unit.count);
            while first < end {
                let next = end.min(first + self.batch_max);
                self.units.clear();
                self.units.extend((first..next).map(|first| Unit {
                    first,
                    count: 1,
                    ..unit
                }));
                self.attempt(outgoing, outcome, attempt);
                first = next;
            }
            let size = unit
                .resolve(outgoing)
                .and_then(|(_, datagrams)| datagrams.first())
                .map_or(0, Vec::len);
            if outcome.sent > before && size <= SIZE_FOR_ANY_LINK {
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
    offset: usize,
}

impl<'a> Cutter<'a> {
    fn new(outgoing: &'a Outgoing, domain: Domain) -> Self {
        Self {
            outgoing,
            domain,
            train: 0,
            offset: 0,
        }
    }

    /// The next send; datagrams that cannot be sent at all are counted on the way.
    fn next(&mut self, gso: bool, outcome: &mut SendOutcome) -> Option<Unit> {
        loop {
            let train = self.outgoing.trains.get(self.train)?;
            let count = usize::from(train.count);
            let first = train.first as usize + self.offset;
            let rest = count - self.offset;
            if rest == 0 {
                self.train += 1;
                self.offset = 0;
                continue;
            }
            let datagrams = self
                .outgoing
                .datagrams
                .get(first..first + rest)
                .unwrap_or_default();
            debug_assert_eq!(
                datagrams.len(),
                rest,
                "a train over datagrams that are not there"
            );
            if datagrams.is_empty() {
                outcome.dropped_other += rest as u64;
                outcome.errno_first.get_or_insert(libc::EINVAL);
                self.offset = count;
                continue;
            }
            if !self.domain.reaches(train.destination, train.local) {
                outcome.dropped_unreachable += rest as u64;
                self.offset = count;
                continue;
            }
            let run = if gso { run_len(datagrams) } else { 1 };
            self.offset += usize::from(run);
            return Some(Unit {
                train: self.train,
                first,
                count: run,
            });
        }
    }
}

/// How many datagrams from the first on may leave as one segmented send. Sizes are looked at
/// rather than believed: a wrong segment size would cut datagrams in the wrong places.
fn run_len(datagrams: &[Vec<u8>]) -> u16 {
    let mut sizes = datagrams.iter().map(Vec::len);
    let Some(segment_size) = sizes.next() else {
        return 0;
    };
    let mut last = segment_size;
    let mut count = 1;
    for size in sizes {
        if !gso::extends(segment_size, count, last, size) {
            break;
        }
        last = size;
        count += 1;
    }
    count
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
    fn a_train_that_lies_about_its_sizes_is_cut_where_they_change() {
        let mut out = outgoing(&[100, 100, 100]);
        out.datagrams[1] = vec![0; 150];
        let (outcome, counts) = tried(&mut sender(true), &out, |_| 1);
        assert_eq!((outcome.sent, counts), (3, vec![1, 2]));
    }

    #[test]
    fn an_overlong_train_is_cut_at_the_limit() {
        let mut out = outgoing(&[10; 1]);
        out.datagrams = vec![vec![0; 10]; 150];
        out.trains[0].count = 150;
        let (outcome, counts) = tried(&mut sender(true), &out, |_| 1);
        assert_eq!((outcome.sent, counts), (150, vec![64, 64, 22]));
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
